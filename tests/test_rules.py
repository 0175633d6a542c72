"""Every rule speaks at least once and stays quiet at least once; what it then says is data."""

from __future__ import annotations

import importlib
import pkgutil
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import rulecases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rulecases import COLLECTION, ITEM, Expected, at, spoken

from verbguard import Action, Policy, Profile
from verbguard.conditions import State
from verbguard.http import Headers, Request
from verbguard.rules import CATALOGUE, Answer, Rule, Target, When, catalogue

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

RULES = catalogue()
CHECKED = {id: rule for id, rule in RULES.items() if rule.when is not When.REPLAY}

CASES = [
    case
    for module in pkgutil.iter_modules(rulecases.__path__)
    for case in importlib.import_module(f"rulecases.{module.name}").CASES
]


@pytest.mark.parametrize(
    ("id", "target", "request_", "answer", "expected"), CASES, ids=[f"{case[0]}-{at}" for at, case in enumerate(CASES)]
)
def test_cases(id: str, target: Target, request_: Request, answer: Any, expected: Expected) -> None:
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
    opted = rule.default is rule.strict is Action.OFF  # nothing until a policy asks for it
    assert observe is (Action.OFF if opted else Action.OBSERVE)
    assert not opted or rule.opt is not None
    assert (guard is Action.REPLACE) == (rule.id in DESTRUCTIVE)
    order = list(Action)
    assert order.index(strict) >= order.index(guard) or strict is Action.REPLACE
    if rule.when in (When.REQUEST, When.BODY, When.STATE):
        assert guard in (Action.OFF, Action.OBSERVE, Action.REPAIR, Action.REJECT)
    elif rule.when is not When.REPLAY:
        assert guard is not Action.REJECT


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_policy_outranks_the_profile(rule: Rule, action: Action) -> None:
    """`rules={id: action}` on a route is what happens there, in every profile, with a route map or without."""
    policy = Policy(rules={rule.id: action})
    assert {rule.action(profile, policy, mapped) for profile in Profile for mapped in (True, False)} == {action}


def test_without_a_route_map_the_guard_is_humble() -> None:
    """Methods, override fields and ranges of reads are only found where the app's routes are not known."""
    humble = {id for id, rule in RULES.items() if rule.map_needed}
    assert humble == {
        *("method-unknown-501", "method-case-sensitive", "method-no-override", "method-not-allowed-405"),
        *("range-unknown-unit", "if-range-needs-range"),
    }
    for id in humble:
        for profile in Profile:
            assert RULES[id].action(profile, Policy(), mapped=False) is Action.OBSERVE


# ---- no answer makes a rule raise

ASKED_FOR = sorted({name for rule in RULES.values() for name in (rule.fields or frozenset()) | (rule.given or frozenset())})
SHOWN = sorted({name for rule in RULES.values() for name in rule.has or ()})
USUAL = [b"Allow", b"Content-Length", b"Content-Type", b"Location", b"Content-Location", b"Link", b"Content-Range"]
FIELD = st.tuples(st.sampled_from([*USUAL, *SHOWN]) | st.binary(max_size=8), st.binary(max_size=30))
ASKED = st.tuples(st.sampled_from([b"range", b"if-match", b"upgrade", b"origin", b"a-im", *ASKED_FOR]), st.binary(max_size=30))
YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)
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
    st.sampled_from([State(False), State(True), State(True, "a"), State(True, "", True), State(True, None, False, YEAR_1)]),
)
def test_no_message_makes_a_rule_raise(
    method: str, path: str, fields: Headers, status: int, headers: Headers, body: bytes | None, target: Target, state: State
) -> None:
    """A rule finds; whatever a client or an app sends, it never raises."""
    request = Request(method, path, fields)
    for rule in CHECKED.values():
        answer = {When.STATE: state, When.BODY: body or b""}.get(rule.when, Answer(status, headers, body))
        spoken(rule, target, request, None if rule.when is When.REQUEST else answer)
