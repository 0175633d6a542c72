"""Every rule speaks at least once and stays quiet at least once; what it then says is data."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verbguard import Action, Kind, Policy, Profile
from verbguard.http import CONTENT_FIELDS, Headers, Request, Response
from verbguard.rules import CATALOGUE, Answer, Finding, Rule, Target, When, catalogue

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

RULES = catalogue()
CHECKED = {id: rule for id, rule in RULES.items() if rule.when is not When.REPLAY}

# ---- what a case is made of

COLLECTION, ITEM, ACTION, UNKNOWN = Kind.COLLECTION, Kind.ITEM, Kind.ACTION, Kind.UNKNOWN
FULL = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def at(kind: Kind = UNKNOWN, *, allow: Any = FULL, mapped: bool = True, child: str | None = None, **policy: Any) -> Target:
    """What is known of the target; the method is the request's."""
    return Target(
        method="",
        template="/items",
        kind=kind,
        policy=Policy(**policy),
        allow=frozenset(allow),
        mapped=mapped,
        child=child,
        resolves=lambda path: re.fullmatch(r"/items/[^/]+", path) is not None,
    )


def ask(method: str, path: str = "/items", **fields: str) -> Request:
    """A request; `if_match="x"` is the field If-Match."""
    return Request(method, path, [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()])


def says(status: int, body: bytes | None = None, /, **fields: str) -> Answer:
    """The application's answer; its fields are spelled as applications do."""
    headers: Headers = [(name.replace("_", "-").title().encode(), value.encode()) for name, value in fields.items()]
    return Answer(status, headers, body)


def spoken(rule: Rule, target: Target, request: Request, answer: Answer | None) -> Finding | None:
    """What the rule finds; a plan does not ask it where its facts say that it is not concerned."""
    target = Target(**{name: getattr(target, name) for name in Target.__slots__} | {"method": request.method})
    if not rule.concerns_method(request.method):
        return None
    if rule.fields is not None and not rule.fields & request.fields.keys():
        return None
    if answer is None:
        return rule.check(request, target)
    present = {name.lower() for name, _ in answer.headers}
    if rule.statuses is not None and answer.status not in rule.statuses:
        return None
    if (rule.given is not None and not rule.given & request.fields.keys()) or rule.absent in present:
        return None
    return rule.check(request, answer, target)


ALLOW = [(b"allow", b"GET, HEAD, POST, OPTIONS")]
ALL = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
POSTS = {"GET", "HEAD", "POST", "OPTIONS"}
OVERRIDES = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
RANGES = frozenset({b"range", b"if-range"})
LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
DESCRIBE = LENGTHS | {b"content-type", b"content-encoding", b"content-language", b"content-range"}
JSON = {"content_type": "application/json"}
PREFLIGHT = {"origin": "http://a", "access_control_request_method": "PUT"}
PATCHED = [(b"accept-patch", b"a/b, c/d")]

Expected = dict[str, Any] | None
Case = tuple[str, Target, Request, Answer | None, Expected]

CASES: list[Case] = [
    # rule                       target                       request                              answer   finds
    ("put-no-collection", at(COLLECTION, allow=POSTS), ask("PUT"), None, {"status": 405, "headers": ALLOW}),
    ("put-no-collection", at(COLLECTION, put="allow"), ask("PUT"), None, None),
    ("put-no-collection", at(ITEM), ask("PUT"), None, None),
    ("put-no-collection", at(UNKNOWN), ask("PUT"), None, None),
    ("put-no-collection", at(Kind.STORE), ask("PUT"), None, None),
    ("put-no-collection", at(Kind.SINGLETON), ask("PUT"), None, None),
    ("put-no-collection", at(COLLECTION), ask("POST"), None, None),
    ("put-content-range-400", at(ITEM), ask("PUT", content_range="bytes 0-3/10"), None, {"status": 400}),
    ("put-content-range-400", at(UNKNOWN), ask("PUT", content_range="x"), None, {"status": 400}),
    ("put-content-range-400", at(ITEM), ask("PUT"), None, None),
    ("put-content-range-400", at(ITEM), ask("PATCH", content_range="bytes 0-3/10"), None, None),
    ("put-create-201", at(ITEM), ask("PUT", if_none_match="*"), says(200), {"set_status": 201}),
    ("put-create-201", at(ITEM), ask("PUT", if_none_match=" * "), says(204), {"set_status": 201}),
    ("put-create-201", at(ITEM), ask("PUT", if_none_match='"a"'), says(200), None),
    ("put-create-201", at(ITEM), ask("PUT", if_none_match="*"), says(412), None),
    ("put-create-201", at(ITEM), ask("PUT", if_none_match="*"), says(202), None),
    ("put-create-201", at(ITEM), ask("PUT"), says(200), None),
    ("put-replace-200-204", at(ITEM), ask("PUT", if_match='"a"'), says(201, b"x"), {"set_status": 200}),
    ("put-replace-200-204", at(ITEM), ask("PUT", if_match='"a"'), says(201, b""), {"set_status": 204}),
    ("put-replace-200-204", at(ITEM), ask("PUT", if_match='"a"'), says(201), {"set_status": 200}),
    ("put-replace-200-204", at(ITEM), ask("PUT", if_match='"a"'), says(200), None),
    ("put-replace-200-204", at(ITEM), ask("PUT"), says(201), None),
    ("put-201-location", at(ITEM), ask("PUT", "/items/7"), says(201), {"add": [(b"location", b"/items/7")]}),
    ("put-201-location", at(ITEM), ask("PUT", "/items/7"), says(201, location="/a"), None),
    ("put-201-location", at(ITEM), ask("PUT", "/items/7"), says(204), None),
    ("put-201-location", at(ITEM), ask("PUT", "//evil/7"), says(201), None),
    ("put-201-location", at(ITEM), ask("PUT", "/items/.."), says(201), None),
    (
        "post-201-location",
        at(location="/items/{id}"),
        ask("POST"),
        says(201, b'{"id":9}'),
        {"add": [(b"location", b"/items/9")]},
    ),
    (
        "post-201-location",
        at(COLLECTION, child="/items/{x}"),
        ask("POST"),
        says(201, b'{"x":9}'),
        {"add": [(b"location", b"/items/9")]},
    ),
    ("post-201-location", at(COLLECTION), ask("POST"), says(201, b"{}"), {"status": 500, "add": []}),
    ("post-201-location", at(), ask("POST"), says(201), {"status": 500, "add": []}),
    ("post-201-location", at(location="/items/{id}"), ask("POST"), says(201, b'{"id":9}', location="/a"), None),
    ("post-201-location", at(ACTION), ask("POST"), says(201, b'{"id":9}'), None),
    ("post-201-location", at(location="/items/{id}"), ask("POST"), says(200, b'{"id":9}'), None),
    ("post-201-location", at(location="/items/{id}"), ask("PATCH"), says(201, b'{"id":9}'), None),
    ("post-redirect-explicit", at(), ask("POST"), says(301), {"status": 0}),
    ("post-redirect-explicit", at(), ask("POST"), says(302), {"status": 0}),
    ("post-redirect-explicit", at(), ask("POST"), says(303), None),
    ("post-redirect-explicit", at(), ask("POST"), says(307), None),
    ("post-redirect-explicit", at(), ask("GET"), says(302), None),
    ("range-get-only", at(), ask("PUT", range="bytes=0-3"), None, {"drop": RANGES}),
    ("range-get-only", at(), ask("HEAD", range="bytes=0-3"), None, {"drop": RANGES}),
    ("range-get-only", at(), ask("POST", if_range='"a"'), None, {"drop": RANGES}),
    ("range-get-only", at(), ask("GET", range="bytes=0-3"), None, None),
    ("range-get-only", at(), ask("QUERY", range="bytes=0-3"), None, None),
    ("range-get-only", at(), ask("PUT"), None, None),
    ("method-token-grammar", at(), ask("GE T"), None, {"status": 400}),
    ("method-token-grammar", at(), ask("GET\r\n"), None, {"status": 400}),
    ("method-token-grammar", at(), ask(""), None, {"status": 400}),
    ("method-token-grammar", at(), ask("GÉT"), None, {"status": 400}),
    ("method-token-grammar", at(), ask("M-SEARCH"), None, None),
    ("method-case-sensitive", at(), ask("get"), None, {"status": 501}),
    ("method-case-sensitive", at(), ask("Put"), None, {"status": 501}),
    ("method-case-sensitive", at(), ask("GET"), None, None),
    ("method-case-sensitive", at(), ask("foo"), None, None),
    ("method-case-sensitive", at(methods={"get"}), ask("get"), None, None),
    ("method-unknown-501", at(), ask("FOO"), None, {"status": 501}),
    ("method-unknown-501", at(), ask("foo"), None, {"status": 501}),
    ("method-unknown-501", at(), ask("propfind"), None, {"status": 501}),
    ("method-unknown-501", at(), ask("PROPFIND"), None, None),
    ("method-unknown-501", at(), ask("QUERY"), None, None),
    ("method-unknown-501", at(), ask("get"), None, None),
    ("method-unknown-501", at(methods={"FOO"}), ask("FOO"), None, None),
    ("method-unknown-501", at(allow={"FOO"}), ask("FOO"), None, None),
    ("trace-off", at(allow=POSTS), ask("TRACE"), None, {"status": 405, "headers": ALLOW}),
    ("trace-off", at(allow=()), ask("TRACE"), None, {"status": 501, "headers": []}),
    ("trace-off", at(methods={"TRACE"}), ask("TRACE"), None, None),
    ("trace-off", at(), ask("GET"), None, None),
    ("connect-port", at(), ask("CONNECT", "example.org:"), None, {"status": 400}),
    ("connect-port", at(), ask("CONNECT", "example.org:x"), None, {"status": 400}),
    ("connect-port", at(), ask("CONNECT", "example.org:0"), None, {"status": 400}),
    ("connect-port", at(), ask("CONNECT", "example.org:65536"), None, {"status": 400}),
    ("connect-port", at(), ask("CONNECT", "example.org:443"), None, None),
    ("connect-port", at(), ask("CONNECT", "[::1]:443"), None, None),
    ("connect-off", at(), ask("CONNECT", "example.org:443"), None, {"status": 501}),
    ("connect-off", at(), ask("GET"), None, None),
    ("target-asterisk-options-only", at(), ask("GET", "*"), None, {"status": 400}),
    ("target-asterisk-options-only", at(), ask("PUT", "*"), None, {"status": 400}),
    ("target-asterisk-options-only", at(), ask("OPTIONS", "*"), None, None),
    ("target-asterisk-options-only", at(), ask("GET", "/*"), None, None),
    ("options-asterisk", at(), ask("OPTIONS", "*"), None, {"status": 204, "answer": Response(204)}),
    ("options-asterisk", at(), ask("OPTIONS"), None, None),
    ("method-no-override", at(), ask("POST", x_http_method_override="DELETE"), None, {"drop": OVERRIDES}),
    ("method-no-override", at(), ask("POST", x_http_method="DELETE"), None, {"drop": OVERRIDES}),
    ("method-no-override", at(), ask("GET", x_method_override="DELETE"), None, {"drop": OVERRIDES}),
    ("method-no-override", at(), ask("POST"), None, None),
    ("status-405-needs-allow", at(), ask("LOCK"), says(405), {"add": [(b"allow", ALL)], "drop": {b"allow"}}),
    ("status-405-needs-allow", at(allow=POSTS), ask("PUT"), says(405, allow="GET"), {"add": ALLOW, "drop": {b"allow"}}),
    (
        "status-405-needs-allow",
        at(allow=POSTS),
        ask("POST"),
        says(405, allow="GET"),
        {"add": [(b"allow", b"GET, HEAD, OPTIONS")]},
    ),
    ("status-405-needs-allow", at(allow={"GET"}), ask("PUT"), says(405, allow="LOCK"), {"add": [(b"allow", b"GET, LOCK")]}),
    ("status-405-needs-allow", at(allow={"GET"}), ask("PUT"), says(405, allow="GET, PUT"), {"add": [(b"allow", b"GET")]}),
    ("status-405-needs-allow", at(allow=()), ask("PUT"), says(405), {"add": [], "drop": frozenset()}),
    ("status-405-needs-allow", at(allow=()), ask("PUT"), says(405, allow=""), None),
    ("status-405-needs-allow", at(allow=POSTS), ask("PUT"), says(405, allow="POST,HEAD ,GET, OPTIONS"), None),
    ("status-405-needs-allow", at(), ask("PUT"), says(404), None),
    ("options-allow", at(), ask("OPTIONS"), says(200), {"add": [(b"allow", ALL)]}),
    ("options-allow", at(allow=POSTS), ask("OPTIONS"), says(204, allow="GET"), {"add": ALLOW, "drop": {b"allow"}}),
    (
        "options-allow",
        at(accept_patch=("a/b", "c/d")),
        ask("OPTIONS"),
        says(204, allow=ALL.decode()),
        {"add": PATCHED, "drop": set()},
    ),
    (
        "options-allow",
        at(allow=POSTS, accept_patch=("a/b",)),
        ask("OPTIONS"),
        says(204, allow="GET, HEAD, POST, OPTIONS"),
        None,
    ),
    ("options-allow", at(), ask("OPTIONS"), says(200, allow=ALL.decode()), None),
    ("options-allow", at(), ask("OPTIONS", **PREFLIGHT), says(200), None),
    ("options-allow", at(allow=()), ask("OPTIONS"), says(200), None),
    ("options-allow", at(), ask("OPTIONS"), says(404), None),
    ("options-auto", at(allow=POSTS), ask("OPTIONS"), says(405), {"status": 204, "answer": Response(204, ALLOW)}),
    ("options-auto", at(allow=POSTS), ask("OPTIONS", origin="http://a"), says(405), {"status": 204}),
    ("options-auto", at(), ask("OPTIONS", **PREFLIGHT), says(405), None),
    ("options-auto", at(allow=()), ask("OPTIONS"), says(405), None),
    ("options-auto", at(), ask("OPTIONS"), says(404), None),
    ("method-get-head-supported", at(), ask("HEAD"), says(405), {"set_status": 200}),
    ("method-get-head-supported", at(allow={"POST"}), ask("HEAD"), says(405), None),
    ("method-get-head-supported", at(), ask("HEAD"), says(404), None),
    ("method-get-head-supported", at(), ask("POST"), says(405), None),
    ("no-length-1xx-204", at(), ask("PUT"), says(204, content_length="0"), {"drop": LENGTHS}),
    ("no-length-1xx-204", at(), ask("GET"), says(204, transfer_encoding="chunked"), {"drop": LENGTHS}),
    ("no-length-1xx-204", at(), ask("PUT"), says(204), None),
    ("no-length-1xx-204", at(), ask("PUT"), says(200, content_length="0"), None),
    ("no-content-205", at(), ask("POST"), says(205), {"add": [(b"content-length", b"0")]}),
    ("no-content-205", at(), ask("POST"), says(205, content_length="7", **JSON), {"add": [(b"content-length", b"0")]}),
    ("no-content-205", at(), ask("POST"), says(205, content_length="0"), None),
    ("no-content-205", at(), ask("POST"), says(200), None),
    ("status-304-lean", at(), ask("GET"), says(304, etag='"a"', **JSON), {"drop": DESCRIBE}),
    ("status-304-lean", at(), ask("GET"), says(304, content_length="7"), {"drop": DESCRIBE}),
    ("status-304-lean", at(), ask("GET"), says(304, etag='"a"', vary="accept"), None),
    ("status-304-lean", at(), ask("GET"), says(200, **JSON), None),
    ("status-100-599", at(), ask("GET"), says(600), {"status": 500}),
    ("status-100-599", at(), ask("GET"), says(99), {"status": 500}),
    ("status-100-599", at(), ask("GET"), says(-1), {"status": 500}),
    ("status-100-599", at(), ask("GET"), says(1_000), {"status": 500}),
    ("status-100-599", at(), ask("GET"), says(599), None),
    ("status-100-599", at(), ask("GET"), says(100), None),
    ("status-final-not-1xx", at(), ask("GET"), says(103), {"status": 500}),
    ("status-final-not-1xx", at(), ask("PUT"), says(100), {"status": 500}),
    ("status-final-not-1xx", at(), ask("GET"), says(101), {"status": 500}),
    ("status-final-not-1xx", at(), ask("GET", upgrade="websocket"), says(101), None),
    ("status-final-not-1xx", at(), ask("GET"), says(200), None),
    ("safe-no-state-status", at(), ask("GET"), says(201, b"x"), {"set_status": 200}),
    ("safe-no-state-status", at(), ask("GET"), says(201, b""), {"set_status": 204}),
    ("safe-no-state-status", at(), ask("HEAD"), says(201, b""), {"set_status": 200}),
    ("safe-no-state-status", at(), ask("OPTIONS"), says(201, b""), {"set_status": 204}),
    ("safe-no-state-status", at(statuses={"GET": {201}}), ask("GET"), says(201), None),
    ("safe-no-state-status", at(), ask("POST"), says(201), None),
    ("delete-status-set", at(), ask("DELETE"), says(201, b"x"), {"set_status": 200}),
    ("delete-status-set", at(), ask("DELETE"), says(201, b""), {"set_status": 204}),
    ("delete-status-set", at(statuses={"DELETE": {201}}), ask("DELETE"), says(201), None),
    ("delete-status-set", at(), ask("DELETE"), says(202), None),
    ("status-206-needs-range", at(), ask("GET"), says(206), {"status": 500}),
    ("status-206-needs-range", at(), ask("QUERY"), says(206), {"status": 500}),
    ("status-206-needs-range", at(), ask("GET", range="bytes=0-3"), says(206), None),
    ("status-206-needs-range", at(), ask("GET"), says(200), None),
    ("status-304-needs-precondition", at(), ask("GET"), says(304), {"status": 500}),
    ("status-304-needs-precondition", at(), ask("HEAD"), says(304), {"status": 500}),
    ("status-304-needs-precondition", at(), ask("GET", if_none_match='"a"'), says(304), None),
    ("status-304-needs-precondition", at(), ask("GET", if_modified_since="x"), says(304), None),
    ("status-304-needs-precondition", at(), ask("GET"), says(200), None),
    ("if-none-match-unsafe-412", at(), ask("PUT", if_none_match="*"), says(304), {"set_status": 412}),
    ("if-none-match-unsafe-412", at(), ask("POST", if_match='"a"'), says(304), {"set_status": 412}),
    ("if-none-match-unsafe-412", at(), ask("DELETE", if_unmodified_since="x"), says(304), {"set_status": 412}),
    ("if-none-match-unsafe-412", at(), ask("PUT"), says(304), {"set_status": 204}),
    ("if-none-match-unsafe-412", at(), ask("GET"), says(304), None),
    ("if-none-match-unsafe-412", at(statuses={"PUT": {304}}), ask("PUT"), says(304), None),
    ("if-none-match-unsafe-412", at(), ask("PUT"), says(200), None),
    ("delete-200-has-content", at(), ask("DELETE"), says(200, b""), {"set_status": 204}),
    ("delete-200-has-content", at(), ask("DELETE"), says(200, b"x"), None),
    ("delete-200-has-content", at(), ask("DELETE"), says(200), None),
    ("delete-200-has-content", at(statuses={"DELETE": {200}}), ask("DELETE"), says(200, b""), None),
    ("delete-200-has-content", at(), ask("PUT"), says(200, b""), None),
    ("patch-412-had-precondition", at(), ask("PATCH"), says(412), {"set_status": 0}),
    ("patch-412-had-precondition", at(), ask("GET"), says(412), {"set_status": 0}),
    ("patch-412-had-precondition", at(), ask("PATCH", if_match='"a"'), says(412), None),
    ("patch-412-had-precondition", at(), ask("PUT", if_none_match="*"), says(412), None),
    ("patch-412-had-precondition", at(), ask("GET", if_range='"a"'), says(412), None),
    ("patch-412-had-precondition", at(), ask("PATCH"), says(409), None),
    ("status-method-table", at(), ask("PUT"), says(207), {"set_status": 0, "status": 500}),
    ("status-method-table", at(), ask("PUT"), says(205), {"set_status": 204, "drop": CONTENT_FIELDS}),
    ("status-method-table", at(), ask("GET"), says(203), {"set_status": 200}),
    ("status-method-table", at(), ask("POST"), says(226), {"set_status": 200}),
    ("status-method-table", at(), ask("PUT"), says(206), {"set_status": 200}),
    ("status-method-table", at(), ask("HEAD"), says(206), {"set_status": 200}),
    ("status-method-table", at(), ask("PUT"), says(206, content_range="bytes 0-3/9"), {"set_status": 0, "status": 500}),
    ("status-method-table", at(), ask("GET"), says(501), {"set_status": 0, "status": 500}),
    ("status-method-table", at(statuses={"PUT": {200}}), ask("PUT"), says(204), {"set_status": 0, "status": 500}),
    ("status-method-table", at(statuses={"PUT": {207}}), ask("PUT"), says(207), None),
    ("status-method-table", at(statuses={"PUT": {200}}), ask("PUT"), says(404), None),
    ("status-method-table", at(statuses={"POST": {207}}), ask("PUT"), says(204), None),
    ("status-method-table", at(), ask("POST"), says(205), None),
    ("status-method-table", at(), ask("GET", range="bytes=0-3"), says(206), None),
    ("status-method-table", at(), ask("GET", a_im="feed"), says(226), None),
    ("status-method-table", at(), ask("GET"), says(299), None),
]


@pytest.mark.parametrize(
    ("id", "target", "request_", "answer", "expected"), CASES, ids=[f"{case[0]}-{at}" for at, case in enumerate(CASES)]
)
def test_cases(id: str, target: Target, request_: Request, answer: Answer | None, expected: Expected) -> None:
    """A rule finds what breaks it, with the mend that the profile may apply, and nothing else."""
    finding = spoken(RULES[id], target, request_, answer)
    if expected is None:
        assert finding is None
    else:
        assert finding is not None
        assert {name: getattr(finding, name) for name in expected} == expected
        assert finding.message


def test_every_rule_speaks_and_stays_quiet() -> None:
    """A new rule comes with two rows at least: one where it speaks and one where it does not."""
    assert {case[0] for case in CASES if case[4] is not None} == CHECKED.keys()
    assert {case[0] for case in CASES if case[4] is None} == CHECKED.keys()


# ---- the catalogue

IDS = [
    "put-no-collection",
    "put-content-range-400",
    "put-create-201",
    "put-201-location",
    "post-201-location",
    "status-method-table",
    "method-unknown-501",
    "method-case-sensitive",
    "method-no-override",
    "trace-off",
    "connect-off",
    "status-405-needs-allow",
    "options-auto",
    "method-get-head-supported",
    "no-length-1xx-204",
    "no-content-205",
    "status-304-lean",
    "status-100-599",
    "status-final-not-1xx",
    "delete-200-has-content",
    "if-none-match-unsafe-412",
    "idem-key-missing-400",
    "idem-key-syntax",
    "idem-key-single",
    "idem-key-format",
    "idem-key-reuse-422",
    "idem-key-inflight-409",
    "idem-outcome-unknown",
    "idem-not-retained",
    "idem-replay-result",
    "idem-scope-principal",
]


@pytest.mark.parametrize("id", IDS)
def test_ids_stay(id: str) -> None:
    """Ids are quoted in reports, policies and clients' code: they are never renamed."""
    assert id in RULES


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_rule_says_what_it_is(rule: Rule) -> None:
    """Id, title, citation and, where a function judges, a page of its own."""
    assert RULES[rule.id] is CATALOGUE[rule.id] is rule
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.id)
    assert rule.title
    assert len(rule.title) <= 60
    assert not rule.title.endswith(".")
    assert re.search(r"RFC \d+|draft-", rule.cites)
    if rule.when is not When.REPLAY:
        assert rule.check.__doc__
        assert rule.check.__doc__.strip().partition("\n")[0]


DESTRUCTIVE = {"status-100-599", "status-final-not-1xx"}


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_actions_of_the_profiles(rule: Rule) -> None:
    """`observe` only finds, `guard` replaces nothing but what is no answer at all, `strict` does no less than `guard`."""
    policy = Policy()
    observe, guard, strict = (rule.action(profile, policy) for profile in Profile)
    assert observe is Action.OBSERVE
    assert (guard is Action.REPLACE) == (rule.id in DESTRUCTIVE)
    order = list(Action)
    assert order.index(strict) >= order.index(guard) or strict is Action.REPLACE
    if rule.when is When.REQUEST:
        assert guard in (Action.OBSERVE, Action.REPAIR, Action.REJECT)
    elif rule.when is not When.REPLAY:
        assert guard is not Action.REJECT


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_policy_outranks_the_profile(rule: Rule, action: Action) -> None:
    """`rules={id: action}` on a route is what happens there, in every profile, with a route map or without."""
    policy = Policy(rules={rule.id: action})
    assert {rule.action(profile, policy, mapped) for profile in Profile for mapped in (True, False)} == {action}


def test_without_a_route_map_the_guard_is_humble() -> None:
    """Unknown methods and override fields are only found where the app's routes are not known."""
    humble = {id for id, rule in RULES.items() if rule.map_needed}
    assert humble == {"method-unknown-501", "method-case-sensitive", "method-no-override"}
    for id in humble:
        for profile in Profile:
            assert RULES[id].action(profile, Policy(), mapped=False) is Action.OBSERVE


# ---- no answer makes a rule raise

FIELD = st.tuples(
    st.sampled_from([b"Allow", b"Content-Length", b"Content-Type", b"Location", b"Content-Location", b"Link", b"Content-Range"])
    | st.binary(max_size=8),
    st.binary(max_size=30),
)
ASKED = st.tuples(
    st.sampled_from(
        [b"range", b"if-match", b"if-none-match", b"upgrade", b"origin", b"a-im", b"content-range", b"x-method-override"]
    ),
    st.binary(max_size=30),
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "FOO"])
PATHS = st.sampled_from(["/items", "/items/7", "*", "", "//x", "example.org:443"]) | st.text(max_size=10)


@given(
    METHODS | st.text(max_size=5),
    PATHS,
    st.lists(ASKED, max_size=3),
    st.integers(-5, 1_000),
    st.lists(FIELD, max_size=4),
    st.none() | st.binary(max_size=30),
    st.sampled_from([at(), at(COLLECTION, child="/items/{id}"), at(ITEM, allow=()), at(location="/items/{id}")]),
)
def test_no_message_makes_a_rule_raise(
    method: str, path: str, fields: Headers, status: int, headers: Headers, body: bytes | None, target: Target
) -> None:
    """A rule finds; whatever a client or an app sends, it never raises."""
    request = Request(method, path, fields)
    for rule in CHECKED.values():
        spoken(rule, target, request, None if rule.when is When.REQUEST else Answer(status, headers, body))
