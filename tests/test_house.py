"""The house layer of the status table: presets, wildcards, where a table holds, and what is done about a code outside of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from test_exchange import SHOP, Seen, Table, ask, says, talk

from verbguard import Action, ConfigError, Policy, collection, guarded, item
from verbguard.config import loads
from verbguard.house import INFRASTRUCTURE, PRESETS, admits
from verbguard.http import Request
from verbguard.layouts import ANSWERS
from verbguard.methods import METHODS, may_answer
from verbguard.plans import Guard
from verbguard.routes import Route

HOUSE = "status-house-table"
WRITES = ("POST", "PUT", "PATCH", "DELETE")
READS = ("GET", "HEAD")


def told(seen: Seen) -> Action | None:
    return seen.said(HOUSE)


def answered(method: str, status: int, statuses: Any, profile: str = "guard", **more: Any) -> Seen:
    """What `/status` makes of an answer under a house table of its own."""
    policies = {"/status": Policy(statuses=statuses)}
    return talk(ask(method, "/status"), says(status, b"x", content_type="a/b", location="/a"), profile, policies, **more)


# ---- the tables

# A second copy of what the guidelines say for certain, kept apart so that a slip in one of them shows.
ZALANDO = {
    200: "GET HEAD POST PUT PATCH DELETE",
    201: "POST PUT",
    202: "POST PUT PATCH DELETE",
    207: "POST DELETE",
    303: "POST PUT PATCH DELETE",
    304: "GET HEAD",
    400: "GET HEAD POST PUT PATCH DELETE",
    409: "POST PUT PATCH DELETE",
    410: "GET HEAD POST PUT PATCH DELETE",
    412: "PUT PATCH DELETE",
    422: "",
    423: "PUT PATCH DELETE",
    428: "GET HEAD POST PUT PATCH DELETE",
}


@pytest.mark.parametrize("status", ZALANDO)
def test_zalando(status: int) -> None:
    """A code is admitted for the methods that the guidelines name beside it."""
    named = {method for method in READS + WRITES if admits(PRESETS["zalando"][method], status)}
    assert named == set(ZALANDO[status].split())


def test_a_doubt_is_no_finding() -> None:
    """What the editions of the guidelines do not agree on, or do not speak of, is admitted."""
    zalando = PRESETS["zalando"]
    assert {"OPTIONS", "TRACE", "CONNECT", "QUERY"}.isdisjoint(zalando)
    assert all(admits(zalando["PUT"], status) for status in (307, 308, 411, 414, 417, 421, 425, 426, 431, 451))
    assert admits(zalando["GET"], 206) and admits(zalando["POST"], 204)


STRICT_REST = {
    "GET": {200, 206, 301, 302, 303, 304, 307, 308},
    "HEAD": {200, 301, 302, 303, 304, 307, 308},
    "POST": {200, 201, 202, 204, 303, 307, 308},
    "PUT": {200, 201, 204, 307, 308},
    "PATCH": {200, 202, 204, 303, 307, 308},
    "DELETE": {200, 202, 204, 307, 308},
    "OPTIONS": {200, 204},
    "QUERY": {200, 303, 304, 307, 308},
}


def test_strict_rest() -> None:
    """A textbook's table: the 2xx and 3xx of each method."""
    found = {method: {code for code in row if code < 400} for method, row in PRESETS["strict-rest"].items()}
    assert found == STRICT_REST


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stays_inside_of_http(name: str) -> None:
    """The RFC layer is locked: no preset lets a method answer what means nothing, and all let the infrastructure answer."""
    for method, row in PRESETS[name].items():
        assert method in METHODS
        assert [code for code in row if not may_answer(method, code)] == []
        assert all(admits(row, code) for code in INFRASTRUCTURE)


def test_rfc_is_no_house_table() -> None:
    """`rfc` says what HTTP says: for no method and status does it make a difference."""
    for method in METHODS:
        for status in range(200, 600):
            assert admits(PRESETS["rfc"][method], status) or not may_answer(method, status)


# ---- spellings

SPELLINGS: list[tuple[Any, Any]] = [
    ({"PUT": ["204"]}, {"PUT": {204}}),
    ({"PUT": ("204", 200)}, {"PUT": [200, 204]}),
    ({"PUT": ["2xx"]}, {"PUT": [code for code in range(200, 300) if may_answer("PUT", code)]}),
    ({"PUT": ["2XX"]}, {"PUT": ["2xx"]}),
    ({"preset": "zalando"}, "zalando"),
    ({"preset": "rfc", "PUT": {204}}, {"preset": "rfc", "PUT": ["204"]}),
    ({"preset": "strict-rest", "TRACE": ["2xx"]}, {**PRESETS["strict-rest"], "TRACE": ["2xx"]}),
    ({}, {}),
]


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_equal_tables_are_equal(one: Any, other: Any) -> None:
    """A table is a value: how its codes were spelled does not matter, and a policy of it is the same again."""
    policy = Policy(statuses=one)
    assert policy == Policy(statuses=other) == Policy(statuses=policy.statuses)


FILES: list[tuple[str, Any]] = [
    ('statuses = "zalando"', "zalando"),
    ('statuses = { preset = "zalando", PUT = ["2xx"] }', {"preset": "zalando", "PUT": ["2xx"]}),
    ('statuses = { PUT = [200, "204", "4xx"] }', {"PUT": {200, 204, "4xx"}}),
]


@pytest.mark.parametrize(("text", "statuses"), FILES)
def test_the_file_says_the_same(text: str, statuses: Any) -> None:
    """TOML spells a table as Python does, for the project and for a route."""
    config = loads(f"[default]\n{text}\n[policies.'/a']\n{text}")
    assert config.default == config.policies["/a"] == Policy(statuses=statuses)


MISTAKES = [
    ("statuses = 'zalandoo'", ["shop.toml", "default", "zalandoo", "'zalando'"]),
    ("statuses = { preset = 'strict' }", ["statuses.preset", "'strict'", "strict-rest"]),
    ("statuses = { PUT = ['2x'] }", ["statuses.PUT", "'2x'", "'2xx'"]),
    ("statuses = { PUT = '2xx' }", ["statuses.PUT", "'2xx'", "{200"]),
    ("statuses = { PTU = ['2xx'] }", ["statuses.PTU", "'PUT'"]),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_mistakes_in_a_file(text: str, words: list[str]) -> None:
    """A name or wildcard that cannot be meant is a ConfigError with the nearest spelling, and the file's name."""
    with pytest.raises(ConfigError) as raised:
        loads(f"[default]\n{text}", "shop.toml")
    assert [word for word in words if word not in str(raised.value)] == [], str(raised.value)


def test_a_private_method_has_a_row() -> None:
    """A row for a method that the policy adds is judged too, although HTTP's own table does not know it."""
    policies = {"/status": Policy(methods={"PURGE"}, statuses={"PURGE": [204]})}
    for status, action in ((200, Action.OBSERVE), (204, None), (503, None)):
        assert told(talk(ask("PURGE", "/status"), says(status), policies=policies)) is action


# ---- what is done

DONE = [
    # method   status   table                                             observe guard strict
    ("PUT", 202, "strict-rest", (202, 202, 500)),
    ("POST", 422, "zalando", (422, 422, 500)),
    ("GET", 302, "zalando", (302, 302, 500)),
    ("PUT", 409, {"PUT": [204, 412]}, (409, 409, 500)),
]


@pytest.mark.parametrize(("method", "status", "table", "expected"), DONE)
def test_a_code_outside_is_a_finding(method: str, status: int, table: Any, expected: tuple[int, ...]) -> None:
    """`guard` tells and changes nothing, `strict` puts a 500 in its place; nothing is ever repaired."""
    for profile, wanted in zip(("observe", "guard", "strict"), expected, strict=True):
        seen = answered(method, status, table, profile)
        assert seen.response.status == wanted, profile
        assert told(seen) is (Action.REPLACE if profile == "strict" else Action.OBSERVE)
        assert seen.said("status-method-table") is None


@pytest.mark.parametrize("status", sorted(INFRASTRUCTURE - {501}))
def test_the_infrastructure_may_answer(status: int) -> None:
    """Codes that servers, proxies and logins make are no house's affair, even where the table has no code at all."""
    seen = answered("PUT", status, {"PUT": [418]}, "strict")
    assert told(seen) is None


def test_repairs_come_first() -> None:
    """What the guard mends is judged as it leaves."""
    policies = {"/status": Policy(statuses={"DELETE": [204], "PUT": [204]})}
    assert told(talk(ask("DELETE", "/status"), says(200), "strict", policies)) is None
    seen = talk(ask("PUT", "/status"), says(205), "strict", policies)
    assert (seen.response.status, told(seen)) == (204, None)
    policies = {"/status": Policy(statuses={"PUT": [200]})}
    seen = talk(ask("PUT", "/status"), says(205), "strict", policies)
    assert (seen.response.status, told(seen)) == (500, Action.REPLACE)


def test_a_mend_stays_in_the_house_where_it_can() -> None:
    """201 to DELETE becomes 200 or 204; where the table has only one of them, that one."""
    for row, status in (([200], 200), ([204], 204), ([200, 204], 204)):
        policies = {"/status": Policy(statuses={"DELETE": row})}
        assert talk(ask("DELETE", "/status"), says(201), policies=policies).response.status == status


def test_the_rfc_layer_is_locked() -> None:
    """A wildcard or a preset admits nothing that HTTP does not; a code that a row names by itself is meant."""
    tables: list[Any] = [{"PUT": ["2xx"]}, "zalando", "rfc"]
    for table in tables:
        assert answered("PUT", 207, table).said("status-method-table") is Action.OBSERVE
    assert answered("PUT", 207, {"PUT": ["2xx", 207]}).findings == []


# ---- where a table holds


def plan_of(policies: Mapping[str, Policy], default: Policy, method: str, path: str = "/items/1") -> Policy:
    guard = Guard(dict(policies), default=default)
    guard.compile(Table(*SHOP))
    return guard.settle(Request(method, path)).target.policy


def test_the_project_s_table_holds_on_every_route() -> None:
    """A route with a policy of its own has the project's table all the same, but for the methods that it speaks of itself."""
    default = Policy(statuses="zalando")
    assert plan_of({}, default, "PUT").house == PRESETS["zalando"]
    assert plan_of({"/items/{id}": item()}, default, "PUT") == item(statuses="zalando")
    own = plan_of({"/items/{id}": item(statuses={"PUT": [200]})}, default, "PUT").house
    assert own == {**PRESETS["zalando"], "PUT": {200}}
    for method in READS + WRITES:
        assert plan_of({"/items/{id}": item(statuses="rfc")}, default, method).house[method] == PRESETS["rfc"][method]


def test_a_decorated_route_has_it_too() -> None:
    """The decorator is a spelling of the same policies."""

    @guarded(item(statuses={"PUT": [200]}))
    def put() -> None: ...

    routes = [Route(template="/things/{id}", methods=frozenset({"PUT", "PATCH"}), endpoint=put)]
    guard = Guard(default=Policy(statuses="zalando"))
    guard.compile(Table(*routes))
    house = guard.settle(Request("PUT", "/things/1")).target.policy.house
    assert (house["PUT"], house["PATCH"]) == ({200}, PRESETS["zalando"]["PATCH"])


def test_it_can_be_switched() -> None:
    """The rule has the switches of all rules: off, and loud."""
    for chosen, status, action in (("off", 202, None), ("observe", 202, Action.OBSERVE), ("replace", 500, Action.REPLACE)):
        policies = {"/status": Policy(statuses="strict-rest", rules={HOUSE: chosen})}  # type: ignore[dict-item]
        seen = talk(ask("PUT", "/status"), says(202), policies=policies)
        assert (seen.response.status, told(seen)) == (status, action)


# ---- what it costs

CONTENT = (b"content-type", b"content-length")
ORDINARY = [
    ("GET", "/items/1", 200, CONTENT),
    ("GET", "/items", 200, (b"content-type",)),
    ("PUT", "/items/1", 200, CONTENT),
    ("POST", "/forms", 200, CONTENT),
    ("POST", "/items", 201, (*CONTENT, b"location")),
]


@pytest.mark.parametrize("table", [{}, "zalando", "strict-rest"])
@pytest.mark.parametrize(("method", "path", "status", "fields"), ORDINARY)
def test_an_ordinary_answer_costs_nothing(method: str, path: str, status: int, fields: tuple[bytes, ...], table: Any) -> None:
    """No rule about statuses, framing or fields is asked of it, whatever the house table."""
    from verbguard.rules import catalogue, framing, needs
    from verbguard.rules import fields as everywhere
    from verbguard.rules import status as statuses

    families = {module.__name__ for module in (everywhere, framing, needs, statuses)}
    for profile in ("observe", "guard", "strict"):
        guard = Guard({"/items": collection(), "/items/{id}": item()}, default=Policy(statuses=table), profile=profile)
        guard.compile(Table(*SHOP))
        plan = guard.settle(Request(method, path))
        asked = {rule.id for rule, _ in plan.checks.of(status, ANSWERS[fields])}
        assert [id for id in asked if catalogue()[id].check.__module__ in families] == []
        assert not [rule for rule, _ in plan.triggers if rule.check.__module__ in families]
