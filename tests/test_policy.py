"""Policies are values that cannot be wrong and alive: each mistake is a ConfigError that helps, each default has its reason."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from verbguard import (
    Action,
    ConfigError,
    Kind,
    Policy,
    Profile,
    Replay,
    VerbguardError,
    action,
    collection,
    guarded,
    item,
    singleton,
)
from verbguard.http import Request
from verbguard.plans import Guard
from verbguard.policy import policy_of

# ---- mistakes in one value

VALUES: list[tuple[str, Callable[[], Any], list[str]]] = [
    # mistake                       how it is made                                     what the message names
    ("an unknown field", lambda: collection(locaton="/a/{id}"), ["collection()", "locaton", "location"]),
    ("an unknown field of item", lambda: item(reply=None), ["item()", "reply", "replay"]),
    ("an unknown kind", lambda: Policy(kind="colection"), ["kind", "colection", "collection"]),  # type: ignore[arg-type]
    ("a kind that is none", lambda: Policy(kind=7), ["kind", "7", "collection", "item"]),  # type: ignore[arg-type]
    ("put misspelled", lambda: collection(put="alow"), ["put", "alow", "allow"]),
    ("put as a bool", lambda: collection(put=True), ["put", "True", "allow"]),
    ("an unknown method", lambda: item(statuses={"PUTT": {200}}), ["statuses", "PUTT", "PUT"]),
    ("a method in lower case", lambda: item(statuses={"put": {200}}), ["statuses", "put", "PUT"]),
    ("a status too low", lambda: item(statuses={"PUT": {20}}), ["statuses.PUT", "20", "200"]),
    ("a status too high", lambda: item(statuses={"PUT": {600}}), ["statuses.PUT", "600", "599"]),
    ("an interim status", lambda: item(statuses={"PUT": {103}}), ["statuses.PUT", "103"]),
    ("a status that is no code", lambda: item(statuses={"PUT": {"20x"}}), ["statuses.PUT", "'20x'", "'2xx'"]),
    ("a class that is none", lambda: item(statuses={"PUT": {"6xx"}}), ["statuses.PUT", "'6xx'", "5xx"]),
    ("the interim class", lambda: item(statuses={"PUT": {"1xx"}}), ["statuses.PUT", "'1xx'", "2xx"]),
    ("a text too low", lambda: item(statuses={"PUT": {"103"}}), ["statuses.PUT", "'103'", "200"]),
    ("a text too high", lambda: item(statuses={"PUT": {"600"}}), ["statuses.PUT", "'600'", "599"]),
    ("a text too long", lambda: item(statuses={"PUT": {"0200"}}), ["statuses.PUT", "'0200'", "599"]),
    ("a text of other digits", lambda: item(statuses={"PUT": {"٢٠٠"}}), ["statuses.PUT", "2xx"]),
    ("an empty text", lambda: item(statuses={"PUT": {""}}), ["statuses.PUT", "''", "2xx"]),
    ("one text, no set", lambda: item(statuses={"PUT": "2xx"}), ["statuses.PUT", "'2xx'", "{200"]),
    ("a status that is none", lambda: item(statuses={"PUT": {None}}), ["statuses.PUT", "None", "2xx"]),
    ("an unknown preset", lambda: item(statuses="zalndo"), ["statuses", "zalndo", "'zalando'"]),
    ("a preset spelled with _", lambda: item(statuses="strict_rest"), ["statuses", "strict_rest", "'strict-rest'"]),
    ("an unknown preset to start from", lambda: item(statuses={"preset": "rcf"}), ["statuses.preset", "rcf", "'rfc'"]),
    ("a preset that is no text", lambda: item(statuses={"preset": {200}}), ["statuses.preset", "200", "zalando"]),
    ("the preset's key misspelled", lambda: item(statuses={"prset": "rfc"}), ["statuses.prset", "'preset'"]),
    ("a status as a bool", lambda: item(statuses={"PUT": {True}}), ["statuses.PUT", "True"]),
    ("one status, no set", lambda: item(statuses={"PUT": 200}), ["statuses.PUT", "200", "{200"]),
    ("statuses that are no mapping", lambda: item(statuses=200), ["statuses", "200"]),
    ("an extension misspelled", lambda: Policy(extension="wbdav"), ["extension", "wbdav", "'webdav'"]),  # type: ignore[arg-type]
    ("an extension as a bool", lambda: Policy(extension=True), ["extension", "True", "webdav"]),  # type: ignore[arg-type]
    ("statuses of a method of no extension", lambda: Policy(statuses={"LOCK": {200}}), ["statuses.LOCK"]),
    ("methods that are one text", lambda: item(methods="PURGE"), ["methods", "PURGE"]),
    ("methods that are no set", lambda: item(methods=5), ["methods", "5"]),
    ("media types that are one text", lambda: item(accept_patch="text/plain"), ["accept_patch", "text/plain"]),
    ("media types that are no sequence", lambda: item(accept_patch=5), ["accept_patch", "5"]),
    ("an unknown action", lambda: item(rules={"put-no-collection": "obsreve"}), ["put-no-collection", "obsreve", "observe"]),
    ("rules that are no mapping", lambda: item(rules=["put-no-collection"]), ["rules", "put-no-collection"]),
    ("a location without a slash", lambda: collection(location="a/{id}"), ["location", "a/{id}", "/"]),
    ("a location that is no text", lambda: collection(location=7), ["location", "7"]),
    ("an unknown field of replay", lambda: item(replay={"windw": 5}), ["item()", "replay", "windw", "window"]),
    ("a replay that is none", lambda: item(replay=30), ["replay", "30", "Replay"]),
    ("a replay that is False", lambda: item(replay=False), ["replay", "False", "None"]),
    ("a window longer than keep", lambda: Replay(window=10, keep=5), ["window", "10", "keep", "5"]),
    ("a window of no length", lambda: Replay(window=0), ["window", "0"]),
    ("a window of less", lambda: Replay(window=-1), ["window", "-1"]),
    ("a window as text", lambda: Replay(window="30"), ["window", "'30'"]),  # type: ignore[arg-type]
    ("a window that is no number", lambda: Replay(window=float("nan")), ["window", "nan"]),
    ("keep as None", lambda: Replay(keep=None), ["keep", "None"]),  # type: ignore[arg-type]
    ("a lease as a bool", lambda: Replay(lease=True), ["lease", "True"]),
    ("a lease of no length", lambda: Replay(lease=0), ["lease", "0"]),
    ("a wait of less than nothing", lambda: Replay(wait=-1), ["wait", "-1"]),
    ("a wait that is no number", lambda: Replay(wait=float("nan")), ["wait", "nan"]),
    ("a wait as a bool", lambda: Replay(wait=True), ["wait", "True"]),
    ("on_error misspelled", lambda: Replay(on_error="relase"), ["on_error", "relase", "release"]),  # type: ignore[arg-type]
    ("after_crash misspelled", lambda: Replay(after_crash="re-run"), ["after_crash", "re-run", "rerun"]),  # type: ignore[arg-type]
    ("a fingerprint misspelled", lambda: Replay(fingerprint="jsn"), ["fingerprint", "jsn", "json"]),  # type: ignore[arg-type]
    ("authorize that is not callable", lambda: Replay(authorize="admin"), ["authorize", "admin"]),  # type: ignore[arg-type]
    ("required without keyed", lambda: Replay(required=True, keyed=False), ["required", "keyed"]),
    ("required as text", lambda: Replay(required="no"), ["required", "no"]),  # type: ignore[arg-type]
    ("keyed as text", lambda: Replay(keyed="false"), ["keyed", "false"]),  # type: ignore[arg-type]
    ("keyless as text", lambda: Replay(keyless="off"), ["keyless", "off"]),  # type: ignore[arg-type]
    ("a bound below zero", lambda: Replay(max_response=-1), ["max_response", "-1"]),
    ("a bound as text", lambda: Replay(max_request="1M"), ["max_request", "1M"]),  # type: ignore[arg-type]
    ("release as one number", lambda: Replay(release=503), ["release", "503"]),  # type: ignore[arg-type]
    ("release of no status", lambda: Replay(release={42}), ["release", "42"]),
    ("a decorator without a policy", lambda: guarded(item), ["guarded", "item"]),  # type: ignore[arg-type]
    ("a decorator around an endpoint", lambda: guarded(lambda: None), ["guarded", "Policy"]),  # type: ignore[arg-type]
]


def explained(make: Callable[[], Any], words: list[str]) -> None:
    """Making it raises ConfigError, and the message has all of these words."""
    with pytest.raises(ConfigError) as raised:
        make()
    message = str(raised.value)
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(("make", "words"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES])
def test_mistakes_in_a_value(make: Callable[[], Any], words: list[str]) -> None:
    """A wrong value names its field, itself and what would do, at the line that made it."""
    explained(make, words)


def test_config_errors_have_one_root() -> None:
    """A caller may catch VerbguardError for everything of ours, or ValueError for a value."""
    assert issubclass(ConfigError, VerbguardError)
    assert issubclass(ConfigError, ValueError)


# ---- mistakes that show when policies meet

ROUTES: list[tuple[str, dict[str, Any], list[str]]] = [
    # mistake                          arguments of the guard                                 what the message names
    ("no slash", {"policies": {"items": item()}}, ["'items'", "/"]),
    ("no template", {"policies": {"PUT": item()}}, ["'PUT'", "/"]),
    ("no key", {"policies": {"": item()}}, ["''", "/"]),
    ("a method in lower case", {"policies": {"put /items": item()}}, ["put /items", "PUT"]),
    ("a method misspelled", {"policies": {"PUTT /items": item()}}, ["PUTT /items", "PUT"]),
    ("two spaces", {"policies": {"PUT  /items": item()}}, ["PUT  /items"]),
    ("a key that is no text", {"policies": {7: item()}}, ["7"]),
    ("a value that is no policy", {"policies": {"/items": "item"}}, ["/items", "'item'", "Policy"]),
    ("a constructor, not called", {"policies": {"/items": item}}, ["/items", "Policy"]),
    ("pairs instead of a mapping", {"policies": [("/items", item())]}, ["policies"]),
    ("an unknown rule", {"policies": {"/items": item(rules={"put-no-colection": "off"})}}, ["/items", "put-no-collection"]),
    ("an unknown rule of all", {"default": Policy(rules={"post-201-locations": Action.OFF})}, ["default", "post-201-location"]),
    ("a default that is none", {"default": "item"}, ["default", "'item'", "Policy"]),
    ("an unknown profile", {"profile": "gaurd"}, ["profile", "gaurd", "guard"]),
    ("a profile that is none", {"profile": None}, ["profile", "None", "guard"]),
    ("a principal that is not callable", {"principal": "x-user"}, ["principal", "x-user", "callable"]),
    ("an observer that is not callable", {"observers": ["log"]}, ["observer", "log", "callable"]),
    ("one observer, no sequence", {"observers": print}, ["observers", "print"]),
]


@pytest.mark.parametrize(("arguments", "words"), [row[1:] for row in ROUTES], ids=[row[0] for row in ROUTES])
def test_mistakes_in_the_arguments(arguments: dict[str, Any], words: list[str]) -> None:
    """What the guard is given is checked when it is made, and the message names the route."""
    explained(lambda: Guard(**arguments), words)


KINDS = [
    ({"PUT /items/{id}": item(), "POST /items/{id}": collection()}, ["/items/{id}", "item", "collection"]),
    ({"/items/{id}": item(), "POST /items/{id}": action()}, ["/items/{id}", "item", "action"]),
    ({"/items/{id}": item(), "/items/{item_id}": singleton()}, ["/items/{", "item", "singleton"]),
]


@pytest.mark.parametrize(("policies", "words"), KINDS, ids=["methods", "general", "names"])
def test_a_resource_has_one_kind(policies: dict[str, Policy], words: list[str]) -> None:
    """Two policies that declare one route to be two things contradict each other, whatever its parameters are called."""
    explained(Guard(policies).compile, words)


def test_a_declared_kind_may_be_said_once() -> None:
    """A policy that says no kind contradicts none."""
    guard = Guard({"/items/{id}": item(), "POST /items/{id}": Policy(replay=None)})
    guard.compile()
    assert guard.settle(Request("PUT", "/items/1")).target.kind is Kind.ITEM


# ---- values

DEFAULTS: dict[str, object] = {
    "keyed": True,
    "keyless": None,
    "required": False,
    "window": 30.0,
    "keep": 86_400.0,
    "lease": 10.0,
    "wait": None,
    "after_crash": "unknown",
    "on_unknown": None,
    "max_request": 1 << 20,
    "max_response": 1 << 20,
    "authorize": None,
    "fingerprint": "bytes",
    "verify": None,
    "release": frozenset(),
}


def test_the_promised_defaults() -> None:
    """The names and defaults of Replay are a promise."""
    replay = Replay()
    assert {name: getattr(replay, name) for name in DEFAULTS} == DEFAULTS
    assert {each.name for each in fields(Replay)} == {*DEFAULTS, "on_error"}


def test_the_promised_fields() -> None:
    """The names of Policy are a promise; a policy that says nothing changes nothing that is inferred."""
    assert {each.name for each in fields(Policy)} >= {
        "kind",
        "put",
        "methods",
        "statuses",
        "replay",
        "location",
        "accept_patch",
        "rules",
    }
    policy = Policy()
    assert (policy.kind, policy.put, policy.replay, policy.location) == (None, "refuse", Replay(), None)
    assert not policy.methods | policy.statuses.keys() | policy.rules.keys()
    assert policy.accept_patch == ()


CONSTRUCTORS = [(collection, Kind.COLLECTION), (item, Kind.ITEM), (singleton, Kind.SINGLETON), (action, Kind.ACTION)]


@pytest.mark.parametrize(("constructor", "kind"), CONSTRUCTORS, ids=[kind.value for _, kind in CONSTRUCTORS])
def test_constructors_are_policies_of_a_kind(constructor: Callable[..., Policy], kind: Kind) -> None:
    """`item(...)` is `Policy(kind="item", ...)`."""
    assert constructor() == Policy(kind=kind) == Policy(kind=kind.value)
    assert constructor(replay=None, put="allow") == Policy(kind=kind, replay=None, put="allow")


SPELLINGS = [
    (item(methods={"PURGE"}), item(methods=frozenset(["PURGE"]))),
    (item(methods=["PURGE", "PURGE"]), item(methods=frozenset(["PURGE"]))),
    (item(statuses={"PUT": [200, 204]}), item(statuses={"PUT": frozenset({204, 200})})),
    (item(accept_patch=["a/b"]), item(accept_patch=("a/b",))),
    (item(rules={"put-no-collection": "off"}), item(rules={"put-no-collection": Action.OFF})),
    (item(replay={"window": 5}), item(replay=Replay(window=5.0))),
    (item(replay=Replay(release=[503])), item(replay=Replay(release=frozenset({503})))),
]


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_equal_promises_are_equal(one: Policy, other: Policy) -> None:
    """A policy is a value: how its sets were spelled does not matter."""
    assert one == other


def test_policies_cannot_be_changed() -> None:
    """A value that was checked stays as it was checked, also when what it was made of changes."""
    with pytest.raises(FrozenInstanceError):
        item().put = "allow"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Replay().window = 5  # type: ignore[misc]
    statuses = {"PUT": {200}}
    policy = item(statuses=statuses)
    statuses["PUT"].add(207)
    statuses["POST"] = {200}
    assert policy.statuses == {"PUT": {200}}


def test_words_are_words() -> None:
    """Kinds, actions and profiles compare with the words that spell them."""
    assert [kind.value for kind in Kind] == ["collection", "item", "singleton", "store", "action", "unknown"]
    assert [each.value for each in Action] == ["off", "observe", "repair", "reject", "replace"]
    assert [profile.value for profile in Profile] == ["observe", "guard", "strict"]
    assert Guard(profile="strict").profile is Profile.STRICT


# ---- the decorator

POLICY = item(replay=Replay(window=5))
OTHER = item(replay=Replay(window=7))


def decorated() -> Callable[[], str]:
    @guarded(POLICY)
    def endpoint() -> str:
        return "done"

    return endpoint


class Resource:
    """A class endpoint with a policy of its own, and another on one of its methods."""

    @guarded(OTHER)
    def put(self) -> None: ...

    def get(self) -> None: ...


class View:
    """A class view whose method carries the policy."""

    @guarded(POLICY)
    def put(self) -> None: ...

    def delete(self) -> None: ...


def wrapped(endpoint: Callable[[], str]) -> Callable[[], str]:
    @functools.wraps(endpoint)
    def around() -> str:
        return endpoint()

    return around


def as_view(view: type) -> Callable[[], None]:
    """As Flask makes a function of a class."""

    def function() -> None: ...

    function.view_class = view  # type: ignore[attr-defined]
    return function


FOUND = [
    ("itself", decorated(), "PUT", POLICY),
    ("a partial", functools.partial(decorated()), "PUT", POLICY),
    ("a partial of a partial", functools.partial(functools.partial(decorated())), "PUT", POLICY),
    ("below functools.wraps", wrapped(decorated()), "PUT", POLICY),
    ("a partial below wraps", wrapped(wrapped(decorated())), "PUT", POLICY),
    ("a bound method", View().put, "PUT", POLICY),
    ("a method of a class", View, "PUT", POLICY),
    ("a method of another verb", View, "DELETE", None),
    ("a class as a whole", guarded(POLICY)(Resource), "GET", POLICY),
    ("its method first", guarded(POLICY)(Resource), "PUT", OTHER),
    ("Flask's view function", as_view(View), "PUT", POLICY),
    ("Flask's, of another verb", as_view(View), "DELETE", None),
    ("nothing", lambda: None, "PUT", None),
    ("None", None, "PUT", None),
]


@pytest.mark.parametrize(("endpoint", "method", "expected"), [row[1:] for row in FOUND], ids=[row[0] for row in FOUND])
def test_a_decorated_endpoint_is_found(endpoint: Any, method: str, expected: Policy | None) -> None:
    """Whatever other decorators, partials and classes stand around it, the policy of an endpoint counts."""
    assert policy_of(endpoint, method) == expected


def test_the_decorator_returns_the_same_function() -> None:
    """`@guarded` marks and wraps nothing, so that the order of decorators does not matter."""

    def endpoint() -> str:
        return "done"

    assert guarded(POLICY)(endpoint) is endpoint
    assert endpoint() == "done"
    assert endpoint.__verbguard__ is POLICY  # type: ignore[attr-defined]


def test_the_search_ends() -> None:
    """An object that has every attribute, such as a mock, and a function that wraps itself are no policies."""
    from unittest.mock import Mock

    def itself() -> None: ...

    itself.__wrapped__ = itself  # type: ignore[attr-defined]
    assert policy_of(itself, "PUT") is None
    assert policy_of(Mock(), "PUT") is None
