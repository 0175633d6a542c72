"""One request's life as values: what goes in, what comes out, and what was found. No server, no store, no clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verbguard import Action, ConfigError, Finding, Policy, Replay, action, collection, item
from verbguard.exchange import PENDING, Exchange
from verbguard.http import Headers, Request, Response
from verbguard.location import MAX_BYTES
from verbguard.plans import Guard
from verbguard.records import Busy, Clash, Done, Outcome, Record, State, Unknown, Won
from verbguard.routes import Route, expression

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# ---- an application as values


class Table:
    """The router of an application that has these routes."""

    declared_order = True

    def __init__(self, *routes: Route) -> None:
        self._routes = list(routes)

    def routes(self) -> list[Route]:
        return self._routes

    def version(self) -> object:
        return len(self._routes)

    def matching(self, request: Request) -> list[Route]:
        return [route for route in self._routes if expression(route.template).fullmatch(request.path)]

    def native_allow(self, routes: Sequence[Route], method: str) -> str | None:
        return None


def route(template: str, *methods: str) -> Route:
    return Route(template=template, methods=frozenset(methods))


SHOP = (
    route("/items", "GET", "POST", "PUT"),
    route("/items/{id}", "GET", "PUT", "PATCH", "DELETE"),
    route("/forms", "POST"),
    route("/status", "GET", "POST", "PUT", "DELETE", "PATCH"),
)


@dataclass(slots=True)
class Seen:
    """What a client gets and what the observers heard."""

    response: Response
    findings: list[Finding]
    exchange: Exchange
    ran: bool = True  # whether the application was asked
    sent: list[bytes] = field(default_factory=list)  # the content, piece by piece as it might leave

    def said(self, rule: str) -> Action | None:
        """What was done about a rule, if it spoke."""
        return next((finding.action for finding in self.findings if finding.rule == rule), None)

    def value(self, name: bytes) -> bytes | None:
        values = [value for found, value in self.response.headers if found.lower() == name]
        assert len(values) < 2, values
        return values[0] if values else None


def talk(
    request: Request,
    answer: Response,
    profile: str = "guard",
    policies: dict[str, Policy] | None = None,
    *,
    outcome: Outcome | None = None,
    pieces: list[bytes] | None = None,
    content: bytes = b"",
    routes: Sequence[Route] = SHOP,
    **arguments: Any,
) -> Seen:
    """A request and the application's answer to it, through one exchange as an adapter would lead it."""
    findings: list[Finding] = []
    guard = Guard(policies, profile=profile, observers=[findings.append], **arguments)
    guard.compile(Table(*routes))
    exchange = Exchange(guard, guard.settle(request), request)
    refused = exchange.open()
    if refused is None and exchange.mode:
        exchange.claim(content)
        refused = exchange.claimed(Won(1) if outcome is None else outcome)
    if refused is not None:
        return Seen(refused, findings, exchange, ran=False)
    exchange.answered(answer.status, list(answer.headers))
    pieces = [answer.body] if pieces is None else pieces
    sent = [exchange.content(piece, at < len(pieces) - 1) for at, piece in enumerate(pieces)]
    given = exchange.replaced or Response(exchange.status, exchange.headers, b"".join(sent))
    return Seen(given, findings, exchange, sent=sent)


def ask(method: str, path: str, **fields: str) -> Request:
    return Request(method, path, [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()])


def says(status: int, body: bytes = b"", /, **fields: str) -> Response:
    return Response(status, [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()], body)


def problem_of(seen: Seen) -> dict[str, Any]:
    """The problem document of a refusal, which names its rule."""
    assert seen.value(b"content-type") == b"application/problem+json"
    assert seen.value(b"content-length") == b"%d" % len(seen.response.body)
    document: dict[str, Any] = json.loads(seen.response.body)
    assert document["status"] == seen.response.status
    assert document["type"].endswith("/" + document["rule"])
    assert document["title"] and document["detail"]
    return document


# ---- profiles

JSON = {"content_type": "application/json"}
CREATED = says(201, b'{"id":9}', **JSON)

PROFILES = [
    # rule                          request                                  the app says          observe guard strict
    ("put-no-collection", ask("PUT", "/items"), says(200, b"x"), 200, 405, 405),
    ("put-content-range-400", ask("PUT", "/items/1", content_range="bytes 0-1/9"), says(200, b"x"), 200, 400, 400),
    ("method-unknown-501", ask("FOO", "/items/1"), says(200, b"x"), 200, 501, 501),
    ("method-case-sensitive", ask("get", "/items/1"), says(200, b"x"), 200, 501, 501),
    ("method-token-grammar", ask("G T", "/items/1"), says(200, b"x"), 200, 400, 400),
    ("trace-off", ask("TRACE", "/items/1"), says(200, b"x"), 200, 405, 405),
    ("trace-off", ask("TRACE", "/nowhere"), says(200, b"x"), 200, 501, 501),
    ("connect-off", ask("CONNECT", "example.org:443"), says(200), 200, 501, 501),
    ("connect-port", ask("CONNECT", "example.org:"), says(200), 200, 400, 400),
    ("target-asterisk-options-only", ask("GET", "*"), says(200), 200, 400, 400),
    ("options-asterisk", ask("OPTIONS", "*"), says(404), 404, 204, 204),
    ("options-auto", ask("OPTIONS", "/items/1"), says(405), 405, 204, 204),
    ("method-not-allowed-405", ask("POST", "/items/1"), says(405), 405, 405, 405),
    ("status-405-needs-allow", ask("POST", "/forms"), says(405), 405, 405, 405),
    ("get-no-content", ask("GET", "/items/1", content_length="5"), says(200, b"x"), 200, 200, 200),
    ("content-typed", ask("POST", "/forms", content_length="5"), says(200, b"x"), 200, 200, 200),
    ("content-coding-accepted", ask("POST", "/forms", content_encoding="foo"), says(200, b"x"), 200, 200, 200),
    ("content-range-request-ignored", ask("POST", "/forms", content_range="x"), says(200, b"x"), 200, 200, 200),
    ("early-data-unsafe", ask("PUT", "/items/1", early_data="1"), says(204), 204, 425, 425),
    ("expect-unknown", ask("PUT", "/items/1", expect="x"), says(204), 204, 204, 204),
    ("framing-cl-te", ask("POST", "/forms", content_length="5", transfer_encoding="chunked"), says(204), 204, 400, 400),
    ("options-content-typed", ask("OPTIONS", "/forms", content_length="5"), says(204), 204, 400, 400),
    ("host-exactly-one", ask("PUT", "/items/1", host="a b"), says(204), 204, 400, 400),
    ("status-415-accept-encoding-only-coding", ask("POST", "/forms"), says(415, accept_encoding="gzip"), 415, 415, 415),
    ("options-allow", ask("OPTIONS", "/items/1"), says(200), 200, 200, 200),
    ("put-create-201", ask("PUT", "/items/1", if_none_match="*"), says(200, b"x"), 200, 201, 201),
    ("put-replace-200-204", ask("PUT", "/items/1", if_match='"a"'), says(201, b"x"), 201, 200, 200),
    ("put-replace-200-204", ask("PUT", "/items/1", if_match='"a"'), says(201), 201, 204, 204),
    ("put-201-location", ask("PUT", "/items/1"), says(201, b"x"), 201, 201, 201),
    ("post-201-location", ask("POST", "/items"), CREATED, 201, 201, 201),
    ("post-201-location", ask("POST", "/items"), says(201, b"{}", **JSON), 201, 201, 500),
    ("post-201-location", ask("POST", "/forms"), says(201, b"x"), 201, 201, 500),
    ("post-redirect-explicit", ask("POST", "/items"), says(302, location="/a"), 302, 302, 302),
    ("status-method-table", ask("PUT", "/items/1"), says(207, b"x"), 207, 207, 500),
    ("status-method-table", ask("PUT", "/items/1"), says(205), 205, 204, 204),
    ("status-method-table", ask("GET", "/items/1"), says(203, b"x"), 203, 200, 200),
    ("status-method-table", ask("POST", "/forms"), says(226, b"x"), 226, 200, 200),
    ("status-method-table", ask("PUT", "/items/1"), says(206, b"x"), 206, 200, 200),
    ("status-method-table", ask("PUT", "/items/1"), says(206, b"x", content_range="bytes 0-0/9"), 206, 206, 500),
    ("status-method-table", ask("POST", "/forms"), says(416, b"x"), 416, 416, 500),
    ("status-206-needs-range", ask("GET", "/items/1"), says(206, b"x"), 206, 206, 500),
    ("status-304-needs-precondition", ask("GET", "/items/1"), says(304), 304, 304, 500),
    ("if-none-match-unsafe-412", ask("PUT", "/items/1", if_none_match="*"), says(304), 304, 412, 412),
    ("if-none-match-unsafe-412", ask("PUT", "/items/1"), says(304), 304, 204, 204),
    ("safe-no-state-status", ask("GET", "/items/1"), says(201, b"x"), 201, 200, 200),
    ("safe-no-state-status", ask("GET", "/items/1"), says(201), 201, 204, 204),
    ("delete-status-set", ask("DELETE", "/items/1"), says(201, b"x"), 201, 200, 200),
    ("delete-status-set", ask("DELETE", "/items/1"), says(201), 201, 204, 204),
    ("delete-200-has-content", ask("DELETE", "/items/1"), says(200), 200, 204, 204),
    ("patch-412-had-precondition", ask("PATCH", "/items/1"), says(412), 412, 412, 412),
    ("status-412-needs-precondition", ask("PUT", "/items/1"), says(412), 412, 412, 412),
    ("status-206-needs-range", ask("GET", "/items/1"), says(206, b"x", content_range="bytes 0-0/1"), 206, 200, 200),
    ("status-registered", ask("POST", "/forms"), says(299, b"x", **JSON), 299, 299, 299),
    ("status-reserved", ask("POST", "/forms"), says(402), 402, 402, 402),
    ("status-gateway-only", ask("GET", "/items/1"), says(502), 502, 502, 502),
    ("status-3xx-location", ask("GET", "/items/1"), says(302), 302, 302, 500),
    ("status-redirect-loop", ask("GET", "/items/1"), says(302, location="/items/1"), 302, 302, 302),
    ("status-304-fields", ask("GET", "/items/1", if_none_match='"a"'), says(304), 304, 304, 304),
    ("status-401-needs-www-authenticate", ask("GET", "/items/1"), says(401), 401, 401, 401),
    ("status-407-needs-proxy-authenticate", ask("GET", "/items/1"), says(407), 407, 407, 407),
    ("status-406-needs-negotiation", ask("GET", "/items/1"), says(406), 406, 406, 406),
    ("status-411-needs-missing-length", ask("POST", "/forms", content_length="5"), says(411), 411, 411, 411),
    ("status-415-needs-content", ask("POST", "/forms"), says(415), 415, 415, 415),
    ("status-416-needs-range", ask("GET", "/items/1"), says(416), 416, 416, 416),
    ("status-417-needs-expect", ask("POST", "/forms"), says(417), 417, 417, 417),
    ("status-425-needs-early-data", ask("POST", "/forms"), says(425), 425, 425, 425),
    ("status-426-needs-upgrade", ask("POST", "/forms"), says(426), 426, 426, 426),
    ("status-428-had-no-precondition", ask("PUT", "/items/1", if_match='"a"'), says(428), 428, 428, 428),
    ("status-428-429-431-511-no-store", ask("POST", "/forms"), says(429), 429, 429, 429),
    ("status-451-blocked-by", ask("GET", "/items/1"), says(451), 451, 451, 451),
    ("retry-after-grammar", ask("POST", "/forms"), says(503, retry_after="soon"), 503, 503, 503),
    ("no-te-1xx-204", ask("DELETE", "/items/1"), says(204, transfer_encoding="chunked"), 204, 204, 204),
    ("length-304-exact", ask("GET", "/items/1", if_none_match='"a"'), says(304, content_length="0"), 304, 304, 304),
    ("response-typed", ask("GET", "/items/1"), says(200, b"x"), 200, 200, 200),
    ("response-typed", ask("GET", "/items/1"), says(200, b"x", content_length="1"), 200, 200, 200),
    ("age-only-caches", ask("POST", "/forms"), says(200, b"x", age="5", **JSON), 200, 200, 200),
    ("deprecation-date", ask("GET", "/items/1"), says(200, b"x", deprecation="true", **JSON), 200, 200, 200),
    ("status-100-599", ask("GET", "/items/1"), says(600), 600, 500, 500),
    ("status-100-599", ask("GET", "/items/1"), says(1_200), 1_200, 500, 500),
    ("status-final-not-1xx", ask("PUT", "/items/1"), says(103), 103, 500, 500),
    ("no-length-1xx-204", ask("DELETE", "/items/1"), says(204, content_length="0"), 204, 204, 204),
    ("no-content-205", ask("POST", "/forms"), says(205, b"x", content_length="1"), 205, 205, 205),
    ("status-304-lean", ask("GET", "/items/1", if_none_match='"a"'), says(304, **JSON), 304, 304, 304),
    ("no-content-1xx-204-304", ask("DELETE", "/items/1"), says(204, b"x"), 204, 204, 204),
    ("head-no-content", ask("HEAD", "/items/1"), says(200, b"x"), 200, 200, 200),
]
IDS = [f"{row[0]}-{row[1].method}-{row[2].status}" for row in PROFILES]
UNSAID_IN_OBSERVE = {"no-content-1xx-204-304", "head-no-content"}  # they say that content was dropped, and none was


def again(request: Request) -> Request:
    """The same request once more; an exchange may take fields from it."""
    return Request(request.method, request.path, list(request.headers))


@pytest.mark.parametrize(("rule", "request_", "answer", "observe", "guard", "strict"), PROFILES, ids=IDS)
def test_profiles(rule: str, request_: Request, answer: Response, observe: int, guard: int, strict: int) -> None:
    """What each profile does about each rule: look, mend or refuse, and fail loudly."""
    for profile, status in (("observe", observe), ("guard", guard), ("strict", strict)):
        seen = talk(again(request_), answer, profile)
        assert seen.response.status == status, profile
        if profile != "observe" or rule not in UNSAID_IN_OBSERVE:
            assert seen.said(rule) is not None, profile
        if status == 500 and answer.status != 500:
            assert problem_of(seen)["rule"] == rule


@pytest.mark.parametrize(("rule", "request_", "answer"), [row[:3] for row in PROFILES], ids=IDS)
def test_observe_changes_nothing(rule: str, request_: Request, answer: Response) -> None:
    """In `observe` the app sees the request and the client the answer as if there were no guard."""
    request = again(request_)
    seen = talk(request, answer, "observe")
    assert seen.ran
    assert seen.response == answer
    assert request.headers == request_.headers
    assert {finding.action for finding in seen.findings} <= {Action.OBSERVE}


STATUSES = st.integers(200, 599)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PROPFIND"])
TARGETS = st.sampled_from(["/items", "/items/1", "/forms", "/status", "/nowhere"])
ASKED = st.lists(
    st.sampled_from(
        [
            (b"if-match", b'"a"'),
            (b"if-none-match", b"*"),
            (b"range", b"bytes=0-1"),
            (b"idempotency-key", b"k"),
            (b"origin", b"http://a"),
            (b"x-http-method-override", b"DELETE"),
        ]
    ),
    unique=True,
    max_size=3,
)
SAID = st.lists(
    st.sampled_from(
        [
            (b"Content-Type", b"application/json"),
            (b"content-type", b"text/event-stream"),
            (b"Content-Length", b"8"),
            (b"location", b"/items/9"),
            (b"allow", b"GET"),
            (b"ETag", b'"a"'),
            (b"set-cookie", b"a=b"),
            (b"set-cookie", b"c=d"),
        ]
    ),
    unique=True,
    max_size=4,
)
PIECES = st.lists(st.sampled_from([b"", b'{"id":9}', b"x", b"y" * 70_000]), min_size=1, max_size=3)


@given(METHODS, TARGETS, ASKED, STATUSES, SAID, PIECES)
def test_observe_never_changes_anything(
    method: str, path: str, fields: Headers, status: int, headers: Headers, pieces: list[bytes]
) -> None:
    """Whatever is asked and answered, `observe` passes it byte for byte."""
    seen = talk(Request(method, path, fields), Response(status, headers), "observe", pieces=pieces)
    assert seen.response == Response(status, headers, b"".join(pieces))


@given(METHODS, TARGETS, ASKED, STATUSES, SAID, PIECES)
def test_a_success_is_never_destroyed(
    method: str, path: str, fields: Headers, status: int, headers: Headers, pieces: list[bytes]
) -> None:
    """In `guard` an app's 2xx stays a 2xx with its content and its fields, but for what its status cannot have."""
    seen = talk(Request(method, path, fields), Response(status, headers), pieces=pieces)
    if not seen.ran or not status < 300:
        return
    assert 200 <= seen.response.status < 300
    kept = [value for name, value in seen.response.headers if name == b"set-cookie"]
    assert kept == [value for name, value in headers if name == b"set-cookie"]
    if seen.response.status not in (204, 205) and method != "HEAD":
        assert seen.response.body == b"".join(pieces)


@given(METHODS, TARGETS, ASKED, STATUSES, SAID, PIECES, st.sampled_from(["guard", "strict"]))
def test_what_is_sent_is_well_framed(
    method: str, path: str, fields: Headers, status: int, headers: Headers, pieces: list[bytes], profile: str
) -> None:
    """No content follows HEAD, 204, 205 or 304, and no length is promised where none may be."""
    seen = talk(Request(method, path, fields), Response(status, headers), profile, pieces=pieces)
    bodiless = seen.response.status in (204, 205, 304)
    if bodiless or method == "HEAD" and seen.ran and seen.exchange.replaced is None and not seen.exchange.again:
        assert seen.response.body == b""
    if seen.response.status == 204:
        assert seen.value(b"content-length") is None
        assert seen.value(b"transfer-encoding") is None
    if seen.response.status == 205:
        assert seen.value(b"content-length") == b"0"


# ---- overrides

OVERRIDES: list[tuple[str, dict[str, str], Request, Response, int]] = [
    ("a refusal that is only found", {"put-no-collection": "observe"}, ask("PUT", "/items"), says(200, b"x"), 200),
    ("a refusal that is off", {"put-no-collection": "off"}, ask("PUT", "/items"), says(200, b"x"), 200),
    ("a finding that replaces", {"status-method-table": "replace"}, ask("PUT", "/status"), says(207, b"x"), 500),
    (
        "a Content-Range that is agreed on",
        {"put-content-range-400": "off"},
        ask("PUT", "/status", content_range="x"),
        says(200),
        200,
    ),
    ("a status that fails loudly", {"status-206-needs-range": "replace"}, ask("GET", "/status"), says(206, b"x"), 500),
    ("a status that is left alone", {"status-method-table": "off"}, ask("PUT", "/status"), says(205), 205),
    ("a status that is only found", {"status-method-table": "observe"}, ask("PUT", "/status"), says(205), 205),
    ("an interim answer that is left", {"status-final-not-1xx": "off"}, ask("GET", "/status"), says(103), 103),
    ("DELETE 200 that is meant", {"delete-200-has-content": "off"}, ask("DELETE", "/status"), says(200), 200),
    ("a method that is let in", {"method-unknown-501": "observe"}, ask("FOO", "/status"), says(200), 200),
]


@pytest.mark.parametrize(
    ("rules", "request_", "answer", "status"), [row[1:] for row in OVERRIDES], ids=[row[0] for row in OVERRIDES]
)
def test_a_route_overrides_its_profile(rules: dict[str, str], request_: Request, answer: Response, status: int) -> None:
    """`rules={id: action}` decides on its route, and on no other."""
    policy = Policy(rules=rules)  # type: ignore[arg-type]
    for template in ("/items", "/status"):
        seen = talk(again(request_), answer, policies={template: policy})
        mine = template == request_.path
        assert seen.response.status == (status if mine else talk(again(request_), answer).response.status)


HONOURED: list[tuple[str, str, Request, Response, Outcome | None]] = [
    ("put-no-collection", "repair", ask("PUT", "/status"), says(200), None),
    ("put-no-collection", "replace", ask("PUT", "/status"), says(200), None),
    ("put-content-range-400", "replace", ask("PUT", "/status", content_range="x"), says(200), None),
    ("post-201-location", "reject", ask("POST", "/status"), says(201), None),
    ("status-method-table", "reject", ask("PUT", "/status"), says(207), None),
    ("idem-key-missing-400", "observe", ask("POST", "/status"), says(200), None),
    ("idem-key-single", "observe", ask("POST", "/status", idempotency_key='"a", "b"'), says(200), None),
    ("idem-key-format", "off", ask("POST", "/status", idempotency_key=""), says(200), None),
    ("idem-key-reuse-422", "observe", ask("POST", "/status", idempotency_key="k"), says(200), Clash()),
    ("idem-key-inflight-409", "observe", ask("POST", "/status", idempotency_key="k"), says(200), Busy(1.0)),
    ("idem-outcome-unknown", "off", ask("POST", "/status", idempotency_key="k"), says(200), Unknown()),
]


@pytest.mark.parametrize(
    ("rule", "asked", "request_", "answer", "outcome"), HONOURED, ids=[f"{row[0]}-{row[1]}" for row in HONOURED]
)
def test_an_override_is_honoured_or_refused(
    rule: str, asked: str, request_: Request, answer: Response, outcome: Outcome | None
) -> None:
    """A finding never says that something was done that was not: an action that a rule cannot take is a ConfigError."""
    kind = "collection" if rule == "put-no-collection" else None
    policy = Policy(kind=kind, rules={rule: asked}, replay=Replay(required=rule == "idem-key-missing-400"))  # type: ignore[dict-item,arg-type]
    try:
        seen = talk(again(request_), answer, policies={"/status": policy}, outcome=outcome)
    except ConfigError as error:
        assert rule in str(error) and asked in str(error)
        return
    done = seen.said(rule)
    assert done is (None if asked == "off" else Action(asked))
    assert (not seen.ran) is (done is Action.REJECT)
    assert (seen.response.status == 500) is (done is Action.REPLACE)
    assert (seen.response != answer) is (done in (Action.REJECT, Action.REPLACE, Action.REPAIR))


MENDS: list[tuple[Policy, Response, dict[bytes, bytes | None]]] = [
    # policy                               answer                                  its fields in `guard` and `strict`
    (Policy(challenge="Bearer"), says(401), {b"www-authenticate": b"Bearer"}),
    (Policy(challenge="Bearer"), says(401, www_authenticate="Basic"), {b"www-authenticate": b"Basic"}),
    (Policy(retry_after=7), says(503), {b"retry-after": b"7"}),
    (Policy(retry_after=7), says(429), {b"retry-after": b"7", b"cache-control": b"no-store"}),
    (Policy(retry_after=7), says(429, retry_after="soon"), {b"retry-after": None}),
    (Policy(retry_after=7), says(503, retry_after="1"), {b"retry-after": b"1"}),
    (Policy(), says(503), {b"retry-after": None}),
    (Policy(), says(304, content_length="7"), {b"content-length": None}),
]


@pytest.mark.parametrize(("policy", "answer", "fields"), MENDS)
def test_fields_that_a_status_needs(policy: Policy, answer: Response, fields: dict[bytes, bytes | None]) -> None:
    """What a policy lets the guard add is added where it is missing; the app's own word stays, and in `observe` everything."""
    for profile in ("observe", "guard", "strict"):
        seen = talk(ask("GET", "/status", if_none_match='"a"'), answer, profile, {"/status": policy})
        assert seen.response.status == answer.status
        if profile == "observe":
            assert seen.response.headers == answer.headers
        else:
            assert {name: seen.value(name) for name in fields} == fields


@pytest.mark.parametrize("may_close", [True, False])
def test_fields_of_the_connection_are_added_where_the_interface_takes_them(may_close: bool) -> None:
    """Upgrade and Connection go out over HTTP/1 and ASGI; WSGI and HTTP/2 forbid them, so that there it is a finding."""
    findings: list[Finding] = []
    guard = Guard({"/status": Policy(upgrade="HTTP/3.0")}, observers=[findings.append])
    guard.compile(Table(*SHOP))
    request = ask("GET", "/status")
    exchange = Exchange(guard, guard.settle(request), request)
    exchange.may_close = may_close
    exchange.open()
    exchange.answered(426, [])
    assert exchange.headers == ([(b"upgrade", b"HTTP/3.0"), (b"connection", b"upgrade")] if may_close else [])
    assert [(finding.rule, finding.action) for finding in findings] == [
        ("status-426-needs-upgrade", Action.REPAIR if may_close else Action.OBSERVE)
    ]


def test_errors_are_explained_where_a_policy_says_so() -> None:
    """An error without content gets a problem document that keeps the app's fields; one with content is left alone."""
    policies = {"/status": Policy(rules={"status-4xx-5xx-explained": "repair"}, challenge="Bearer")}  # type: ignore[dict-item]
    seen = talk(ask("GET", "/status"), says(401, content_length="0", x_run="1"), policies=policies)
    assert (seen.response.status, seen.value(b"x-run"), seen.value(b"www-authenticate")) == (401, b"1", b"Bearer")
    document = json.loads(seen.response.body)
    assert (document["status"], document["title"], seen.value(b"content-type")) == (
        401,
        "Unauthorized",
        b"application/problem+json",
    )
    assert seen.value(b"content-length") == b"%d" % len(seen.response.body)
    whole = talk(ask("GET", "/status"), says(404, b"gone", content_type="a/b"), policies=policies)
    assert (whole.response.body, whole.findings) == (b"gone", [])
    assert talk(ask("GET", "/status"), says(404)).response.body == b""


def test_two_locations() -> None:
    """More than one Location is told, and in `strict` replaced; one is never looked at."""
    twice = Response(302, [(b"location", b"/a"), (b"Location", b"/b")])
    assert talk(ask("GET", "/status"), twice).said("location-single") is Action.OBSERVE
    assert talk(ask("GET", "/status"), twice, "strict").response.status == 500
    assert talk(ask("GET", "/status"), Response(302, [(b"location", b"/a")]), "strict").findings == []


def test_a_rule_that_is_off_says_nothing() -> None:
    """`off` is silence, `observe` is a finding."""
    for action_, heard in (("off", None), ("observe", Action.OBSERVE)):
        policies = {"/status": Policy(rules={"status-method-table": action_})}  # type: ignore[dict-item]
        assert talk(ask("PUT", "/status"), says(207), policies=policies).said("status-method-table") is heard


def test_a_route_has_statuses_of_its_own() -> None:
    """`statuses` replaces the table's 2xx and 3xx for one method of one route; errors stay with the table."""
    policies = {"/status": Policy(statuses={"PUT": {200, 207}})}
    for status, expected in ((207, 207), (200, 200), (204, 500), (404, 404), (201, 500), (409, 409)):
        seen = talk(ask("PUT", "/status"), says(status, b"x"), "strict", policies)
        assert seen.response.status == expected, status


# ---- refusals


def test_a_refusal_is_a_problem_that_lists_what_is_allowed() -> None:
    """PUT on a collection: 405, a complete Allow without PUT, and a document that names the rule and the way out."""
    seen = talk(ask("PUT", "/items"), says(200))
    assert seen.value(b"allow") == b"GET, HEAD, POST, OPTIONS"
    assert problem_of(seen)["rule"] == "put-no-collection"
    assert "/items/{id}" in problem_of(seen)["detail"]


def test_one_refusal_does_not_leak_into_the_next() -> None:
    """A prepared answer is sent many times, and no request changes it for the others."""
    guard = Guard(observers=[lambda finding: None])
    guard.compile(Table(*SHOP))
    bodies = set()
    for _ in range(3):
        request = Request("PUT", "/items", [(b"content-length", b"999999")])
        exchange = Exchange(guard, guard.settle(request), request)
        exchange.may_close = True
        answer = exchange.open()
        assert answer is not None
        assert [pair for pair in answer.headers if pair[0] == b"connection"] == [(b"connection", b"close")]
        bodies.add(answer.body)
    assert len(bodies) == 1


PENDINGS = [
    # fields of the request                                         closes
    ([], False),
    ([(b"content-length", b"0")], False),
    ([(b"content-length", b"%d" % PENDING)], False),
    ([(b"content-length", b"%d" % (PENDING + 1))], True),
    ([(b"transfer-encoding", b"chunked")], True),
    ([(b"content-length", b"5"), (b"expect", b"100-continue")], True),
    ([(b"content-length", b"x")], True),
]


@pytest.mark.parametrize(("fields", "closes"), PENDINGS)
def test_a_refusal_that_leaves_content_ends_the_connection(fields: Headers, closes: bool) -> None:
    """With more than a little content unread HTTP/1 is told; where the interface forbids it, it is not."""
    guard = Guard(observers=[lambda finding: None])
    guard.compile(Table(*SHOP))
    for may_close in (True, False):
        request = Request("PUT", "/items", list(fields))
        exchange = Exchange(guard, guard.settle(request), request)
        exchange.may_close = may_close
        answer = exchange.open()
        assert answer is not None
        assert ((b"connection", b"close") in answer.headers) is (closes and may_close)


def test_fields_that_would_change_the_method_are_taken_away() -> None:
    """An override field and a Range that means nothing do not reach the app; everything else does, in order."""
    fields = [(b"a", b"1"), (b"x-http-method-override", b"DELETE"), (b"range", b"bytes=0-1"), (b"b", b"2"), (b"a", b"3")]
    request = Request("POST", "/items", fields)
    seen = talk(request, says(200))
    assert request.headers == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert seen.said("method-no-override") is Action.REPAIR
    assert seen.said("range-get-only") is Action.REPAIR


def test_range_stays_on_get() -> None:
    """GET has ranges."""
    request = ask("GET", "/items/1", range="bytes=0-1")
    talk(request, says(206, b"x", content_range="bytes 0-0/9"))
    assert request.headers == [(b"range", b"bytes=0-1")]


# ---- content that a rule has to see

BIG = b'{"id":9,"text":"' + b"x" * MAX_BYTES + b'"}'

HELD: list[tuple[str, Response, list[bytes], list[bytes], bytes | None]] = [
    # promise               the app's head                            its pieces             sent piece by piece    Location
    ("JSON at once", says(201, **JSON), [b'{"id":9}'], [b'{"id":9}'], b"/items/9"),
    ("JSON in pieces", says(201, **JSON), [b'{"id"', b":9}"], [b"", b'{"id":9}'], b"/items/9"),
    ("an empty end", says(201, **JSON), [b'{"id":9}', b""], [b"", b'{"id":9}'], b"/items/9"),
    ("no JSON", says(201, content_type="text/plain"), [b"a", b"b"], [b"a", b"b"], None),
    ("a stream", says(201, content_type="application/x-ndjson"), [b"{}", b"{}"], [b"{}", b"{}"], None),
    ("too much", says(201, **JSON), [BIG, b"z"], [BIG, b"z"], None),
    ("declared too much", says(201, content_length="99999", **JSON), [b"{", b"}"], [b"{", b"}"], None),
    ("compressed", says(201, content_encoding="gzip", **JSON), [b"a", b"b"], [b"a", b"b"], None),
    ("a Location of its own", says(201, location="/x", **JSON), [b"{", b"}"], [b"{", b"}"], b"/x"),
    ("another status", says(200, **JSON), [b"{", b"}"], [b"{", b"}"], None),
    ("a +json type", says(201, content_type="application/hal+json"), [b'{"id":9}'], [b'{"id":9}'], b"/items/9"),
]


@pytest.mark.parametrize(("head", "pieces", "sent", "location"), [row[1:] for row in HELD], ids=[row[0] for row in HELD])
def test_only_a_small_json_201_is_held(head: Response, pieces: list[bytes], sent: list[bytes], location: bytes | None) -> None:
    """POST 201 in JSON waits for its end, up to a bound; everything else flows."""
    seen = talk(ask("POST", "/items"), head, pieces=pieces)
    assert seen.sent == sent
    assert seen.value(b"location") == location
    assert seen.response.status == 201 or head.status == 200


FIRST = [
    # pieces              status   sent
    ([b"x"], 200, b"x"),
    ([b""], 204, b""),
    ([b"", b""], 204, b""),
    ([b"", b"x"], 200, b"x"),
    ([b"x", b"y"], 200, b"xy"),
]


@pytest.mark.parametrize(("pieces", "status", "body"), FIRST)
def test_whether_there_is_content_is_seen(pieces: list[bytes], status: int, body: bytes) -> None:
    """DELETE 200 becomes 204 only when nothing at all follows."""
    seen = talk(ask("DELETE", "/items/1"), says(200), pieces=pieces)
    assert (seen.response.status, seen.response.body) == (status, body)


@pytest.mark.parametrize(("length", "status"), [("0", 204), ("5", 200)])
def test_a_declared_length_is_believed(length: str, status: int) -> None:
    """With Content-Length nothing has to wait."""
    guard = Guard(observers=[lambda finding: None])
    guard.compile(Table(*SHOP))
    request = ask("DELETE", "/items/1")
    exchange = Exchange(guard, guard.settle(request), request)
    assert exchange.open() is None
    exchange.answered(200, [(b"content-length", length.encode())])
    assert (exchange.holding.value, exchange.status) == (0, status)


def test_205_on_put_becomes_204_without_what_describes_content() -> None:
    """The repaired status has no content, no type and no length."""
    seen = talk(ask("PUT", "/items/1"), says(205, b"x", content_length="1", etag='"a"', **JSON))
    assert seen.response == Response(204, [(b"etag", b'"a"')], b"")


def test_head_from_get() -> None:
    """Where the app says 405 to HEAD and has GET, the adapter is asked to run GET; where it has none, 405 stays."""
    assert talk(ask("HEAD", "/items/1"), says(405)).exchange.again
    seen = talk(ask("HEAD", "/forms"), says(405))
    assert not seen.exchange.again
    assert (seen.response.status, seen.value(b"allow")) == (405, b"POST, OPTIONS")


def test_options_from_the_routes() -> None:
    """OPTIONS on a known resource lists it; a CORS preflight is the CORS layer's."""
    policies = {"/items/{id}": item(accept_patch=("application/merge-patch+json",))}
    seen = talk(ask("OPTIONS", "/items/1"), says(405), policies=policies)
    assert seen.value(b"allow") == b"GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
    assert seen.value(b"accept-patch") == b"application/merge-patch+json"
    preflight = ask("OPTIONS", "/items/1", origin="http://a", access_control_request_method="PUT")
    assert talk(preflight, says(405, b"cors")).response.body == b"cors"
    preflight = ask("OPTIONS", "/items/1", origin="http://a", access_control_request_method="PUT")
    assert talk(preflight, says(200, b"cors")).response == says(200, b"cors")


# ---- CORS

ORIGIN = {"origin": "http://a"}
EXPOSED = [
    # the app's expose field    what scripts may read then
    (None, {"location"}),
    ("", {"location"}),
    ("ETag", {"etag", "location"}),
    ("Location", {"location"}),
    ("X-Location", {"x-location", "location"}),
    ("ETag, LOCATION", {"etag", "location"}),
]


@pytest.mark.parametrize(("given_", "expected"), EXPOSED)
def test_an_added_location_is_exposed(given_: str | None, expected: set[str]) -> None:
    """A cross-origin script can read the Location that the guard added; fields of the app stay exposed."""
    fields = {} if given_ is None else {"access_control_expose_headers": given_}
    seen = talk(ask("POST", "/items", **ORIGIN), says(201, b'{"id":9}', **JSON, **fields))
    value = (seen.value(b"access-control-expose-headers") or b"").decode().lower()
    assert {name.strip() for name in value.split(",") if name.strip()} == expected


def test_everything_exposed_stays_so() -> None:
    """`*` needs no company."""
    seen = talk(ask("POST", "/items", **ORIGIN), says(201, b'{"id":9}', access_control_expose_headers="*", **JSON))
    assert (seen.value(b"access-control-expose-headers") or b"").strip() == b"*"


def test_same_origin_answers_have_no_cors_fields() -> None:
    """Without Origin nothing about CORS is added, and without an addition neither."""
    assert talk(ask("POST", "/items"), CREATED).value(b"access-control-expose-headers") is None
    assert talk(ask("GET", "/items", **ORIGIN), says(200)).value(b"access-control-expose-headers") is None


# ---- claims

KEYED = ask("POST", "/items", idempotency_key="abc")
RECORD = Record(201, [(b"location", b"/items/9"), (b"x", b"1"), (b"x", b"2")], b"{}")

MODES: list[tuple[str, Request, dict[str, Policy] | None, str]] = [
    ("POST with a key", again(KEYED), None, "keyed"),
    ("PATCH with a key", ask("PATCH", "/items/1", idempotency_key="k"), None, "keyed"),
    ("PUT with a key", ask("PUT", "/items/1", idempotency_key="k"), None, "keyed"),
    ("DELETE with a key", ask("DELETE", "/items/1", idempotency_key="k"), None, "keyed"),
    ("PUT with a key and a condition", ask("PUT", "/items/1", idempotency_key="k", if_match='"a"'), None, "keyed"),
    ("POST on what is not known, with a key", ask("POST", "/nowhere", idempotency_key="k"), None, "keyed"),
    ("PUT of an item", ask("PUT", "/items/1"), None, "keyless"),
    ("PUT of what is not known", ask("PUT", "/status"), None, ""),
    ("PUT of an action", ask("PUT", "/status"), {"/status": action()}, ""),
    ("PUT of a singleton", ask("PUT", "/status"), {"/status": Policy(kind="singleton")}, "keyless"),
    ("PUT of a store", ask("PUT", "/status"), {"/status": Policy(kind="store")}, "keyless"),
    ("PUT with If-Match", ask("PUT", "/items/1", if_match='"a"'), None, ""),
    ("PUT with If-None-Match", ask("PUT", "/items/1", if_none_match="*"), None, ""),
    ("PUT with If-Unmodified-Since", ask("PUT", "/items/1", if_unmodified_since="x"), None, ""),
    ("PUT with a lock", Request("PUT", "/items/1", [(b"if", b"(<urn:uuid:1>)")]), None, ""),
    ("PUT with a lock and a key", Request("PUT", "/items/1", [(b"if", b"(<u:1>)"), (b"idempotency-key", b"k")]), None, "keyed"),
    ("PUT with CalDAV's condition", ask("PUT", "/items/1", if_schedule_tag_match='"a"'), None, ""),
    ("PUT with a condition of GET", ask("PUT", "/items/1", if_modified_since="x"), None, "keyless"),
    ("PUT that wants to run", ask("PUT", "/items/1", cache_control="No-Cache"), None, ""),
    ("PUT with another Cache-Control", ask("PUT", "/items/1", cache_control="max-age=0"), None, "keyless"),
    ("PUT with a Range that is taken away", ask("PUT", "/items/1", range="bytes=0-1"), None, "keyless"),
    ("PUT with a dot segment", ask("PUT", "/items/.."), None, ""),
    ("PUT of an item whose name begins with a dot", ask("PUT", "/items/.x"), None, "keyless"),
    ("PUT where keyless is off", ask("PUT", "/items/1"), {"/items/{id}": item(replay=Replay(keyless=False))}, ""),
    ("PUT where replay is off", ask("PUT", "/items/1"), {"/items/{id}": item(replay=None)}, ""),
    ("a key where replay is off", ask("PUT", "/items/1", idempotency_key="k"), {"/items/{id}": item(replay=None)}, ""),
    (
        "a key where keys are off",
        ask("PUT", "/items/1", idempotency_key="k"),
        {"/items/{id}": item(replay=Replay(keyed=False))},
        "keyless",
    ),
    ("POST without a key", ask("POST", "/items"), None, ""),
    ("GET with a key", ask("GET", "/items", idempotency_key="k"), None, ""),
    ("GET with two keys", ask("GET", "/items", idempotency_key='"a", "b"'), None, ""),
    ("QUERY with a key", ask("QUERY", "/items", idempotency_key="k"), None, ""),
    ("PROPFIND with a key", ask("PROPFIND", "/items", idempotency_key="k"), None, ""),
]


@pytest.mark.parametrize(("request_", "policies", "mode"), [row[1:] for row in MODES], ids=[row[0] for row in MODES])
def test_who_claims(request_: Request, policies: dict[str, Policy] | None, mode: str) -> None:
    """Keys are honoured on what changes something; a PUT without one only where its meaning is known."""
    assert talk(request_, says(200), policies=policies).exchange.mode == mode


def test_observe_claims_nothing() -> None:
    """A profile that changes nothing replays nothing and refuses no key."""
    required = {"/items": collection(replay=Replay(required=True))}
    assert talk(again(KEYED), says(200), "observe").exchange.mode == ""
    assert talk(ask("POST", "/items"), says(200), "observe", required).ran
    assert talk(ask("POST", "/items", idempotency_key='"a", "b"'), says(200), "observe").ran


OUTCOMES: list[tuple[str, Request, Outcome, int, str]] = [
    ("kept", KEYED, Done(RECORD), 201, "idem-replay-result"),
    ("another request", KEYED, Clash(), 422, "idem-key-reuse-422"),
    ("running", KEYED, Busy(9.5), 409, "idem-key-inflight-409"),
    ("cut off", KEYED, Unknown(), 409, "idem-outcome-unknown"),
    ("too large", KEYED, Done(Record(201, [], b"", State.TOO_LARGE)), 409, "idem-not-retained"),
    ("broken", KEYED, Done(Record(200, [], b"", State.BROKEN)), 409, "idem-not-retained"),
    ("kept, keyless", ask("PUT", "/items/1"), Done(Record(200, [], b"x")), 200, "idem-replay-result"),
]


@pytest.mark.parametrize(
    ("request_", "outcome", "status", "rule"), [row[1:] for row in OUTCOMES], ids=[row[0] for row in OUTCOMES]
)
def test_what_the_store_says(request_: Request, outcome: Outcome, status: int, rule: str) -> None:
    """Every word of the store has one answer, and the app is not asked again."""
    seen = talk(again(request_), says(200), outcome=outcome)
    assert not seen.ran
    assert seen.response.status == status
    assert seen.said(rule) is not None
    assert (seen.value(b"idempotent-replayed") == b"true") is (rule == "idem-replay-result")
    if rule != "idem-replay-result":
        assert problem_of(seen)["rule"] == rule


def test_a_replay_is_the_first_answer() -> None:
    """Status, content and pairs in their order, and one field that says so."""
    seen = talk(again(KEYED), says(200), outcome=Done(RECORD))
    assert seen.response == Response(201, [*RECORD.headers, (b"idempotent-replayed", b"true")], b"{}")
    assert RECORD.headers == [(b"location", b"/items/9"), (b"x", b"1"), (b"x", b"2")]


def test_a_replay_can_be_read_by_scripts() -> None:
    """Location and the mark of a replay are exposed to a cross-origin script."""
    seen = talk(ask("POST", "/items", idempotency_key="abc", **ORIGIN), says(200), outcome=Done(RECORD))
    assert seen.value(b"access-control-expose-headers") == b"location, idempotent-replayed"


def test_a_refused_twin_knows_when_to_come_back() -> None:
    """409 in flight carries Retry-After in whole seconds."""
    seen = talk(again(KEYED), says(200), outcome=Busy(0.2))
    assert int(seen.value(b"retry-after") or b"0") >= 1


def test_what_was_not_retained_is_told() -> None:
    """A tombstone gives the status of the first answer, and where its result is."""
    seen = talk(again(KEYED), says(200), outcome=Done(Record(201, [(b"location", b"/items/9")], b"", State.TOO_LARGE)))
    assert seen.value(b"location") == b"/items/9"
    assert problem_of(seen)["original_status"] == 201


def test_a_keyless_twin_is_never_refused() -> None:
    """Two equal PUTs are legal HTTP: when the first one still runs after all patience, the second one runs too."""
    seen = talk(ask("PUT", "/items/1"), says(200, b"x"), outcome=Busy(9.0))
    assert seen.ran
    assert seen.response.status == 200
    assert seen.exchange.patience == 0.0 or seen.exchange.mode == ""


KEYS = [
    ('"a", "b"', "idem-key-single"),
    ("", "idem-key-format"),
    ('""', "idem-key-format"),
    ("k" * 256, "idem-key-format"),
    ("a\x01b", "idem-key-format"),
]


@pytest.mark.parametrize(("key", "rule"), KEYS)
def test_a_key_that_names_nothing_is_refused(key: str, rule: str) -> None:
    """400 before the app runs and before anything is read, with the rule that the key breaks."""
    seen = talk(ask("POST", "/items", idempotency_key=key), says(200))
    assert not seen.ran
    assert seen.response.status == 400
    assert problem_of(seen)["rule"] == rule
    assert seen.exchange.claimed_as is None


def test_a_bare_key_is_refused_in_strict() -> None:
    """A String has quotes; `strict` says so, and a route may ask for the same in `guard`."""
    assert problem_of(talk(again(KEYED), says(200), "strict"))["rule"] == "idem-key-syntax"
    quoted = ask("POST", "/items", idempotency_key='"abc"')
    assert talk(quoted, says(201, location="/items/9"), "strict").ran
    policies = {"/items": collection(rules={"idem-key-syntax": "reject"})}
    assert problem_of(talk(again(KEYED), says(200), policies=policies))["rule"] == "idem-key-syntax"


def test_two_key_lines_are_two_keys() -> None:
    """Repeated field lines are one list, and a list is no key."""
    request = Request("POST", "/items", [(b"idempotency-key", b"a"), (b"idempotency-key", b"b")])
    assert problem_of(talk(request, says(200)))["rule"] == "idem-key-single"


def test_a_required_key() -> None:
    """400 without one, on every method that honours keys; reading needs none."""
    policies = {"/items": collection(replay=Replay(required=True)), "/items/{id}": item(replay=Replay(required=True))}
    for method, path in (("POST", "/items"), ("PATCH", "/items/1"), ("PUT", "/items/1"), ("DELETE", "/items/1")):
        seen = talk(ask(method, path), says(200), policies=policies)
        assert problem_of(seen)["rule"] == "idem-key-missing-400"
    assert talk(ask("GET", "/items"), says(200), policies=policies).ran
    assert talk(again(KEYED), says(200), policies=policies).ran


@pytest.mark.parametrize("nobody", [None, "", b""])
def test_a_principal_that_is_nobody_has_no_key(nobody: Any) -> None:
    """A key belongs to somebody; a callable that knows nobody refuses it, and replays nothing without one."""
    seen = talk(again(KEYED), says(200), principal=lambda request: nobody)
    assert problem_of(seen)["rule"] == "idem-scope-principal"
    assert talk(ask("PUT", "/items/1"), says(200), principal=lambda request: nobody).exchange.mode == ""


def test_a_principal_callable_sees_the_request() -> None:
    """It gets method, path and fields, and its word replaces the digest of the credentials."""
    asked: list[tuple[str, str, Headers]] = []

    def principal(request: Any) -> str:
        asked.append((request.method, request.path, request.headers))
        return "ada"

    claims = []
    for token in ("a", "b"):
        request = ask("POST", "/items", idempotency_key="abc", authorization=f"Bearer {token}")
        claims.append(talk(request, says(200), principal=principal).exchange.claimed_as)
    assert claims[0] is not None and claims[1] is not None
    assert claims[0].ident == claims[1].ident
    assert claims[0].fingerprint == claims[1].fingerprint
    assert asked[0][:2] == ("POST", "/items")
    assert (b"authorization", b"Bearer a") in asked[0][2]


@pytest.mark.parametrize("name", ["x_tenant_id", "x_organization_id", "x_account_id"])
def test_what_no_longer_says_who_still_says_what(name: str) -> None:
    """With a principal callable, the tenant that a keyless PUT names is part of what it asks for."""
    idents = set()
    for tenant in ("a", "b"):
        seen = talk(ask("PUT", "/items/1", **{name: tenant}), says(200), principal=lambda request: "ada")
        assert seen.exchange.claimed_as is not None
        idents.add(seen.exchange.claimed_as.ident)
    assert len(idents) == 2


WINDOWS = [
    # policies                                                                 seconds
    (None, 5.0),
    ({"/items/{id}": Policy(replay=Replay(window=3))}, 3.0),
    ({"/items/{id}": Policy(replay=Replay(window=60))}, 5.0),
    ({"/items/{id}": item()}, 30.0),
    ({"/items/{id}": item(replay=Replay(window=60))}, 60.0),
]


@pytest.mark.parametrize(("policies", "seconds"), WINDOWS)
def test_a_guess_has_a_short_window(policies: dict[str, Policy] | None, seconds: float) -> None:
    """Thirty seconds where a person said what the resource is, five where it was inferred."""
    claim = talk(ask("PUT", "/items/1"), says(200), policies=policies).exchange.claimed_as
    assert claim is not None
    assert (claim.keyless, claim.keep) == (True, seconds)


def test_a_keyed_claim_has_its_route_s_clocks() -> None:
    """`keep` and `lease` are the route's; PUT and DELETE may run again after a crash, POST and PATCH if the route says so."""
    replay = Replay(keep=60, window=30, lease=3)
    policies = {"/items": collection(replay=replay), "/items/{id}": item(replay=replay)}
    for method, path, rerun in (("POST", "/items", False), ("PATCH", "/items/1", False), ("PUT", "/items/1", True)):
        claim = talk(ask(method, path, idempotency_key="k"), says(200), policies=policies).exchange.claimed_as
        assert claim is not None
        assert (claim.keyless, claim.keep, claim.lease, claim.rerun) == (False, 60.0, 3.0, rerun)
    reruns = {"/items": collection(replay=Replay(after_crash="rerun"))}
    claim = talk(again(KEYED), says(200), policies=reruns).exchange.claimed_as
    assert claim is not None and claim.rerun


# ---- what is kept

RESULTS = [
    # request                 the app says                              kept
    (KEYED, says(201, b"x", location="/items/9"), Record(201, [(b"location", b"/items/9")], b"x")),
    (KEYED, CREATED, Record(201, [(b"content-type", b"application/json"), (b"location", b"/items/9")], b'{"id":9}')),
    (KEYED, says(200, b"x", set_cookie="a=b", date="now", x="1"), Record(200, [(b"x", b"1")], b"x")),
    (KEYED, says(302, location="/a"), Record(302, [(b"location", b"/a")])),
    (KEYED, says(303, location="/a"), Record(303, [(b"location", b"/a")])),
    (KEYED, says(307, location="/a"), None),
    (KEYED, says(308, location="/a"), None),
    (KEYED, says(400, b"x"), Record(400, [], b"x")),
    (KEYED, says(422, b"x"), Record(422, [], b"x")),
    (KEYED, says(401), None),
    (KEYED, says(404), None),
    (KEYED, says(409), None),
    (KEYED, says(429), None),
    (KEYED, says(500, b"x"), Record(500, [], b"x")),
    (KEYED, says(503), None),
    (ask("PUT", "/items/1", idempotency_key="k"), says(500, b"x"), None),
    (ask("DELETE", "/items/1", idempotency_key="k"), says(204), Record(204, [])),
    (ask("DELETE", "/items/1", idempotency_key="k"), says(200), Record(204, [])),
    (ask("DELETE", "/items/1", idempotency_key="k"), says(204, b"x", content_length="1"), Record(204, [])),
    (ask("PUT", "/items/1"), says(200, b"x"), Record(200, [], b"x")),
    (ask("PUT", "/items/1"), says(404, b"x"), None),
    (ask("PUT", "/items/1"), says(303, location="/a"), None),
    (ask("PUT", "/items/1"), says(500), None),
]


def same(one: Record | None, other: Record | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.status, one.headers, one.body, one.state) == (other.status, other.headers, other.body, other.state)


@pytest.mark.parametrize(("request_", "answer", "expected"), RESULTS, ids=lambda value: getattr(value, "status", ""))
def test_what_is_kept(request_: Request, answer: Response, expected: Record | None) -> None:
    """The result of the operation as the client saw it, mended; what proves that nothing was done is let go."""
    found = talk(again(request_), answer).exchange.record()
    assert same(found, expected), found and (found.status, found.headers, found.body, found.state)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 303, 400, 422, 502])
def test_a_route_lets_further_statuses_go(status: int) -> None:
    """`release={...}` is honoured for every status that it lists, successes included."""
    policies = {"/items": collection(replay=Replay(release=frozenset({status})))}
    answer = says(status, b"" if status == 204 else b"x", location="/items/9")
    assert talk(again(KEYED), answer, policies=policies).exchange.record() is None


def test_a_route_keeps_or_releases_its_errors() -> None:
    """`on_error` is the fate of a 5xx, and of a raise."""
    for on_error, kept in (("keep", True), ("release", False)):
        policies = {"/items/{id}": item(replay=Replay(on_error=on_error))}  # type: ignore[arg-type]
        for method in ("PUT", "PATCH", "DELETE"):
            exchange = talk(ask(method, "/items/1", idempotency_key="k"), says(500, b"x"), policies=policies).exchange
            assert (exchange.record() is not None) is kept, method


BOUND = {"/items": collection(replay=Replay(max_response=10)), "/items/{id}": item(replay=Replay(max_response=10))}


def test_an_answer_above_the_bound_is_a_tombstone() -> None:
    """Its status and Location are known, its content is not; the first client gets all of it."""
    head = says(201, location="/items/9", x="1")
    for pieces in ([b"x" * 11], [b"x" * 6, b"x" * 6], [b"x" * 11, b""]):
        seen = talk(again(KEYED), head, policies=BOUND, pieces=pieces)
        assert seen.response.body == b"".join(pieces)
        assert same(seen.exchange.record(), Record(201, [(b"location", b"/items/9")], b"", State.TOO_LARGE))
    assert talk(ask("PUT", "/items/1"), says(200), policies=BOUND, pieces=[b"x" * 11]).exchange.record() is None
    exact = talk(again(KEYED), head, policies=BOUND, pieces=[b"x" * 10]).exchange.record()
    assert exact is not None and exact.state is State.WHOLE


@pytest.mark.parametrize("kind", ["text/event-stream", "multipart/x-mixed-replace; boundary=a", "application/x-ndjson"])
def test_a_stream_is_a_tombstone(kind: str) -> None:
    """What is open-ended passes piece by piece and is not kept."""
    seen = talk(again(KEYED), says(200, content_type=kind), pieces=[b"a", b"b"])
    assert seen.sent == [b"a", b"b"]
    record = seen.exchange.record()
    assert record is not None and record.state is State.TOO_LARGE


def test_an_answer_that_is_shorter_than_it_said_is_broken() -> None:
    """Compared with its declared length, a POST's answer that ended early is a tombstone, a PUT's is let go."""
    record = talk(again(KEYED), says(200, b"abc", content_length="5")).exchange.record()
    assert record is not None and record.state is State.BROKEN
    assert talk(ask("PUT", "/items/1", idempotency_key="k"), says(200, b"abc", content_length="5")).exchange.record() is None
    assert talk(ask("PUT", "/items/1"), says(200, b"abc", content_length="5")).exchange.record() is None


def test_what_the_guard_replaced_is_what_is_kept() -> None:
    """A retry gets what the first client got, also where `strict` put a 500 in an answer's place."""
    seen = talk(ask("POST", "/forms", idempotency_key='"k"'), says(201, b"x"), "strict")
    record = seen.exchange.record()
    assert seen.response.status == 500
    assert record is not None
    assert (record.status, record.body) == (500, seen.response.body)


def failing(request: Request, *, started: bool = False, cancelled: bool = False, **policy: Any) -> Record | None:
    """What is kept of a request whose application raised."""
    guard = Guard({request.path: Policy(**policy)}, observers=[lambda finding: None])
    guard.compile()
    exchange = Exchange(guard, guard.settle(request), request)
    assert exchange.open() is None
    exchange.claim(b"")
    assert exchange.claimed(Won(1)) is None
    if started:
        exchange.answered(200, [(b"location", b"/a")])
        exchange.content(b"x", True)
        exchange.begun = True
    return exchange.failed(cancelled)


def test_a_raise_is_the_app_s_500() -> None:
    """Kept for POST and PATCH, so that it runs at most once; released for PUT and DELETE, which promise to be repeatable."""
    for method, kept in (("POST", True), ("PATCH", True), ("PUT", False), ("DELETE", False)):
        record = failing(ask(method, "/a", idempotency_key="k"))
        assert (record is not None) is kept, method
        assert record is None or (record.status, record.state) == (500, State.WHOLE)
    assert failing(ask("POST", "/a", idempotency_key="k"), replay=Replay(on_error="release")) is None
    assert failing(ask("PUT", "/a", idempotency_key="k"), replay=Replay(on_error="keep")) is not None
    assert failing(ask("PUT", "/a"), kind="item") is None


def test_an_answer_that_ends_in_a_raise_is_broken() -> None:
    """What was sent before cannot be called back: a POST is not run again, a PUT is."""
    record = failing(ask("POST", "/a", idempotency_key="k"), started=True)
    assert record is not None
    assert same(record, Record(200, [(b"location", b"/a")], b"", State.BROKEN))
    assert failing(ask("PUT", "/a", idempotency_key="k"), started=True) is None


def test_a_cancelled_run_locks_no_key() -> None:
    """Cancellation has no outcome of its own: the claim is let go, unless an answer was on its way."""
    assert failing(ask("POST", "/a", idempotency_key="k"), cancelled=True) is None
    record = failing(ask("POST", "/a", idempotency_key="k"), cancelled=True, started=True)
    assert record is not None and record.state is State.BROKEN
    assert failing(ask("PUT", "/a", idempotency_key="k"), cancelled=True) is None


# ---- what a write touches

TOUCHES = [
    # method, path, fields                                         ages at least
    (ask("PUT", "/items/1"), {"/items/1"}),
    (ask("PUT", "/items/1/parts/2"), {"/items/1/parts/2", "/items/1"}),
    (ask("POST", "/items/1/parts"), {"/items/1/parts", "/items/1"}),
    (ask("DELETE", "/items"), {"/items"}),
    (ask("POST", "/items/1:publish"), {"/items/1"}),
    (ask("POST", "/items/1/cancel"), {"/items/1"}),
    (ask("COPY", "/items/1", destination="/items/2"), {"/items/2"}),
    (ask("MOVE", "/items/1", destination="http://a/items/2?x"), {"/items/1", "/items/2"}),
    (ask("MOVE", "/items/1", destination="http://a/caf\u00e9/2"), {"/caf\u00e9/2"}),  # UTF-8 as it is
    (Request("PUT", "/items/1", [(b"if", b'</items/2> (<u:1>) <http://a/items/3> (["e"])')]), {"/items/2", "/items/3"}),
    (Request("LOCK", "/items/1", [(b"if", b"(<urn:uuid:1>)")]), {"/items/1"}),
    (ask("LOCK", "/items/1"), {"/items/1"}),
    (ask("POST", "/elsewhere"), {"/elsewhere"}),
]


@pytest.mark.parametrize(("request_", "ages"), TOUCHES, ids=lambda value: getattr(value, "path", ""))
def test_what_a_write_ages(request_: Request, ages: set[str]) -> None:
    """Its target, every state above it, the item of an action, and where COPY and MOVE write."""
    actions = (route("/items/{id}:publish", "POST"), route("/items/{id}/cancel", "POST"))
    parts = (route("/items/{id}/parts", "GET", "POST"), route("/items/{id}/parts/{part}", "GET", "PUT"))
    routes = (*SHOP, *actions, *parts)
    touch = talk(request_, says(200), routes=routes).exchange.touch
    assert touch is not None
    assert ages <= set(touch.marks) | set(touch.sweeps)


def test_a_post_spares_the_members_that_exist() -> None:
    """A new member changes the collection and no other member; any other write ages everything below."""
    post = talk(ask("POST", "/items"), says(201, location="/items/9")).exchange.touch
    assert post is not None
    assert not post.sweeps
    delete = talk(ask("DELETE", "/items"), says(204)).exchange.touch
    assert delete is not None
    assert "/items" in delete.sweeps


def test_what_an_answer_names_is_aged() -> None:
    """Location and Content-Location of a success say what else was changed."""
    for name in ("location", "content_location"):
        touch = talk(ask("POST", "/status"), says(201, **{name: "/items/9"})).exchange.touch
        assert touch is not None and touch.named is not None
        assert any("/items/9" in chain for chain in touch.named)
    refused = talk(ask("POST", "/status"), says(404, location="/items/9")).exchange.touch
    assert refused is not None and not refused.named


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "QUERY", "PROPFIND", "REPORT", "SEARCH"])
def test_a_read_ages_nothing(method: str) -> None:
    """What the registry calls safe leaves every kept answer alone."""
    assert talk(ask(method, "/items/1"), says(200)).exchange.touch is None


# ---- what clients choose fills no memory


def test_names_that_clients_choose_are_not_remembered_without_bound() -> None:
    """Neither a thousand names in one request nor one of 8 kB enters the table of layouts."""
    from verbguard.layouts import BY_NAMES

    before = len(BY_NAMES)
    talk(Request("PUT", "/items/1", [(b"x-%d" % number, b"1") for number in range(1_000)]), says(200))
    talk(Request("PUT", "/items/1", [(b"x" * 8_000, b"1")]), says(200))
    assert len(BY_NAMES) == before
    talk(Request("PUT", "/items/1", [(b"x-usual-but-new", b"1")]), says(200))
    assert len(BY_NAMES) == before + 1


@pytest.mark.parametrize("lengths", [("3", "x"), ("x", "3")])
def test_lengths_that_disagree_are_not_taken_for_none(lengths: tuple[str, str]) -> None:
    """Of repeated Content-Length lines the last that is a number counts: an answer that is shorter was cut."""
    headers = [(b"content-length", value.encode()) for value in lengths]
    seen = talk(again(ask("PUT", "/items/1")), Response(200, headers, b"ab"))
    assert seen.exchange.record() is None


@pytest.mark.parametrize("profile", ["observe", "guard"])
def test_what_would_only_be_told_holds_nothing_back(profile: str) -> None:
    """Content without a type is told, and its head and pieces leave as the app sends them."""
    findings: list[Finding] = []
    guard = Guard(None, profile=profile, observers=[findings.append])
    guard.compile(Table(*SHOP))
    request = ask("GET", "/items/1")
    exchange = Exchange(guard, guard.settle(request), request)
    assert exchange.open() is None
    exchange.answered(200, [])
    assert exchange.holding.value == 0
    assert exchange.content(b"a", True) == b"a"
    assert "response-typed" in {finding.rule for finding in findings}
    assert exchange.content(b"b", False) == b"b"
