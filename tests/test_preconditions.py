"""Conditions of requests: evaluated as the RFC says, before the handler, and after everything else that refuses or answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import etag
import pytest
from blackbox.answers import Answer
from blackbox.drivers import AsgiDriver, Client, WsgiDriver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers.fixtures import Serve, serve
from servers.processes import Running
from servers.wire import request

import verbguard
from verbguard import Action, Finding, Policy, Replay, item
from verbguard.conditions import failed_precondition, state_of
from verbguard.http import Request
from verbguard.stores.memory import MemoryStore

__all__ = ["serve"]  # pytest finds fixtures by the names of a module

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

DATE = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
HTTP_DATE = "Sun, 06 Nov 1994 08:49:37 GMT"

# ---- the evaluator is the RFC's

OPAQUE = st.sampled_from(["", "a", "b", "*", "a,b", "W/", "é"])  # few, so that tags often match
TAG = st.builds(lambda opaque, weak: ("W/" if weak else "") + f'"{opaque}"', OPAQUE, st.booleans())
SPACE = st.sampled_from(["", " ", "\t", "  "])
LIST = st.lists(st.tuples(SPACE, TAG, SPACE), min_size=1, max_size=4).map(lambda parts: ",".join(map("".join, parts)))
CONDITION = st.none() | LIST | st.sampled_from(["*", " * ", '"*"', '""', 'W/""', '"a", , "b"', ',"a"'])


GARBAGE = st.binary(max_size=40) | st.text(st.sampled_from('"W/*, abé'), max_size=12).map(lambda text: text.encode("latin-1"))


def conditional(**fields: str | None) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items() if value is not None]
    return Request("PUT", "/items/7", pairs)


@given(CONDITION, CONDITION, st.none() | TAG, st.booleans())
def test_it_agrees_with_an_evaluator_that_others_wrote(
    match: str | None, none: str | None, current: str | None, untagged: bool
) -> None:
    """For every list that can be read, the verdict is that of the package `etag`, which has a parser of its own."""
    exists = current is not None or untagged
    theirs = etag.evaluate_preconditions("PUT", current, if_match=match, if_none_match=none, exists=exists)
    state = current if current is not None else (None, None) if untagged else None
    assert failed_precondition(conditional(if_match=match, if_none_match=none), state) == (theirs == 412)


@given(GARBAGE, st.none() | TAG)
def test_garbage_in_if_match_lets_nothing_through_that_the_other_stops(value: bytes, current: str | None) -> None:
    """What cannot be read is false. The one kindness is a tag without quotes, which names the state all the same."""
    ours = failed_precondition(Request("PUT", "/items/7", [(b"if-match", value)]), current)
    if not ours and not etag.if_match(value, current):
        assert current is not None
        assert current.strip('"').encode("latin-1") in value


@given(GARBAGE, st.none() | TAG)
def test_garbage_in_if_none_match_lets_nothing_through_that_the_other_stops(value: bytes, current: str | None) -> None:
    """A condition that nobody can read protects as if it were false."""
    ours = failed_precondition(Request("PUT", "/items/7", [(b"if-none-match", value)]), current)
    assert ours or etag.if_none_match(value, current)


@given(st.binary(max_size=60), st.datetimes() | st.datetimes(timezones=st.timezones()))
def test_no_date_makes_it_raise(value: bytes, modified: datetime) -> None:
    """ "A recipient MUST ignore the If-Unmodified-Since header field if the received field value is not a valid HTTP-date"."""
    failed_precondition(Request("PUT", "/items/7", [(b"if-unmodified-since", value)]), modified)


@pytest.mark.parametrize("pair", [False, True], ids=["alone", "in a pair"])
@pytest.mark.parametrize(
    ("modified", "failed"),
    [
        (DATE, False),
        (DATE + timedelta(microseconds=999_999), False),
        (DATE + timedelta(seconds=1), True),
        (DATE - timedelta(days=1), False),
        (DATE.replace(tzinfo=None), False),
        ((DATE + timedelta(seconds=1)).replace(tzinfo=None), True),
    ],
)
def test_dates_are_compared_by_the_second(modified: datetime, failed: bool, pair: bool) -> None:
    """HTTP's dates have no fractions, and a datetime without a zone is taken as UTC."""
    state = ('"v1"', modified) if pair else modified
    assert failed_precondition(conditional(if_unmodified_since=HTTP_DATE), state) is failed


@pytest.mark.parametrize(
    "current",
    ["v1", "", '"v1', 'w/"v1"', '"a"b"', 7, b'"v1"', ("a", None), ('"a"', "yesterday"), ('"a"',), ('"a"', None, 1), True],
)
def test_a_state_that_nobody_can_read_is_no_state(current: Any) -> None:
    """A mistake in a validator is an error, never a condition that happens to be true."""
    with pytest.raises((ValueError, TypeError)):
        state_of(current)


# ---- in an exchange


class Program:
    """A naive app: it counts, and writes whatever it is told."""

    def __init__(self) -> None:
        self.runs = 0
        self.status = 200

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        self.runs += 1
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    def wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        self.runs += 1
        start_response(f"{self.status} Reason", [])
        return [b"done"]


class Stage:
    """The program behind a guard whose policy tells the state as `current` says."""

    def __init__(self, interface: str, current: Any = '"v1"', **arguments: Any) -> None:
        self.program, self.heard, self.store = Program(), [], MemoryStore()
        self.current, self.asked = current, 0
        self.heard: list[Finding] = []
        promises = arguments.pop("promises", {})
        policy = item(methods={"GET", "PUT", "PATCH", "DELETE", "POST"}, **{"validator": self.tell, **promises})
        settings_ = {"policies": {"/items/{id}": policy}, "observers": [self.heard.append], "store": self.store, **arguments}
        guarded = verbguard.guard(getattr(self.program, interface), **settings_)
        self.client = Client(AsgiDriver(guarded) if interface == "asgi" else WsgiDriver(guarded))

    def tell(self, request: Any) -> Any:
        self.asked += 1
        return self.current(request) if callable(self.current) else self.current

    def send(self, method: str = "PUT", key: str | None = None, body: bytes = b"{}", **fields: str) -> Answer:
        headers = [(name.replace("_", "-"), value) for name, value in fields.items()]
        return self.client.send(method, "/items/7", body=body, headers=headers, **({"key": key} if key else {}))

    def said(self, rule: str) -> list[Action]:
        return [finding.action for finding in self.heard if finding.rule == rule]


Open = Callable[..., Stage]


@pytest.fixture(params=["asgi", "wsgi"])
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    stages: list[Stage] = []

    def open(*arguments: Any, **options: Any) -> Stage:
        stages.append(Stage(request.param, *arguments, **options))
        return stages[-1]

    yield open
    for stage in stages:
        stage.client.driver.close()


@pytest.mark.parametrize("profile", ["guard", "strict"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_a_false_condition_is_412_before_the_handler(opened: Open, method: str, profile: str) -> None:
    """Every method that changes something is stopped, and the refusal says why."""
    stage = opened(profile=profile)
    answer = stage.send(method, if_match='"v0"')
    assert (answer.status, answer.rule, stage.program.runs) == (412, "if-match-evaluated", 0)
    answer = stage.send(method, if_none_match="*")
    assert (answer.status, answer.rule, stage.program.runs) == (412, "if-none-match-star", 0)


def test_a_true_condition_runs(opened: Open) -> None:
    """The handler runs once, and sees what the client sent."""
    stage = opened()
    assert stage.send(if_match='"v0", "v1"').status == 200
    assert stage.program.runs == 1


def test_observe_only_looks(opened: Open) -> None:
    """In the profile `observe` a false condition is a finding, and a validator that fails stops nobody."""
    stage = opened(profile="observe")
    assert stage.send(if_match='"v0"').status == 200
    assert stage.said("if-match-evaluated") == [Action.OBSERVE]
    stage.current = "no tag"
    assert stage.send(if_match='"v0"').status == 200
    assert stage.said("guard-fault") == [Action.OBSERVE]


def test_what_has_no_condition_asks_nobody(opened: Open) -> None:
    """The validator may be a query: it is asked for conditional writes only."""
    stage = opened()
    stage.send()
    stage.send("GET", if_none_match='"v1"', body=b"")
    stage.send("OPTIONS", if_match='"v0"', body=b"")
    assert stage.asked == 0


def test_other_refusals_come_first(opened: Open) -> None:
    """ "A server MUST ignore all received preconditions if its response [...] would have been" another refusal."""
    stage = opened(profile="guard")
    for fields, status in (({"content_range": "bytes 0-1/9"}, 400), ({"idempotency_key": "a, b"}, 400)):
        assert stage.send(if_match='"v0"', **fields).status == status
    assert stage.asked == 0


@pytest.mark.parametrize("rule", ["if-match-evaluated", "if-none-match-star"])
def test_a_rule_that_is_off_refuses_nothing(opened: Open, rule: str) -> None:
    stage = opened(promises={"rules": {rule: "off"}})
    field = "if_match" if rule == "if-match-evaluated" else "if_none_match"
    assert stage.send(**{field: '"v0"' if field == "if_match" else "*"}).status < 300
    assert stage.program.runs == 1


# ---- with a key


def test_a_retry_is_replayed_and_not_judged_again(opened: Open) -> None:
    """The first attempt changed the state that its condition named; the retry hears the first answer."""
    stage = opened()
    assert stage.send(key="k", if_match='"v1"').status == 200
    stage.current = '"v2"'
    again = stage.send(key="k", if_match='"v1"')
    assert (again.status, again.replayed, stage.program.runs, stage.asked) == (200, True, 1, 1)
    other = stage.send(key="other", if_match='"v1"')
    assert (other.status, stage.program.runs) == (412, 1)


def test_a_refused_key_can_be_used_again(opened: Open) -> None:
    """The claim of a request with a false condition is given back: the same request may run when its state is there."""
    stage = opened(current='"v0"')
    assert stage.send(key="k", if_match='"v1"').status == 412
    stage.current = '"v1"'
    answer = stage.send(key="k", if_match='"v1"')
    assert (answer.status, answer.replayed, stage.program.runs) == (200, False, 1)


def test_a_refused_request_leaves_no_claim(opened: Open) -> None:
    """Nothing is renewed, and no other request waits for it."""
    from verbguard.renewal import renewer

    before = len(renewer.held)
    stage = opened(current='"v0"')
    assert stage.send(key="k", if_match='"v1"').status == 412
    assert len(renewer.held) == before
    stage.current = ValueError
    assert stage.send(key="k", if_match='"v1"').status == 503
    assert len(renewer.held) == before


# ---- a validator that fails


class Boom(Exception):
    """A mistake in an application."""


def boom(request: Any) -> Any:
    raise Boom


@pytest.mark.parametrize("current", [boom, "no quotes", 7, ("a", "b")], ids=["raises", "text", "number", "pair"])
@pytest.mark.parametrize("key", [None, "k"], ids=["keyless", "keyed"])
def test_a_validator_that_fails_stops_the_write(opened: Open, current: Any, key: str | None) -> None:
    """503 before the handler: a condition that cannot be evaluated is never run as if it were true."""
    stage = opened(current=lambda request: current(request) if callable(current) else current)
    answer = stage.send(key=key, if_match='"v1"')
    assert (answer.status, answer.rule, stage.program.runs) == (503, "guard-fault", 0)
    stage.current = '"v1"'
    assert stage.send(key=key, if_match='"v1"').status == 200


async def async_v1(request: Any) -> str:
    await asyncio.sleep(0)
    return '"v1"'


def test_an_async_validator_is_awaited_under_asgi() -> None:
    stage = Stage("asgi", current=async_v1)
    try:
        assert stage.send(if_match='"v0"').status == 412
        assert stage.send(if_match='"v1"').status == 200
    finally:
        stage.client.driver.close()


def test_an_async_validator_under_wsgi_stops_the_write() -> None:
    """WSGI cannot wait; the log says so, and nothing runs."""
    stage = Stage("wsgi", current=async_v1)
    assert stage.send(if_match='"v1"').status == 503
    assert stage.program.runs == 0


async def test_a_cancelled_validator_leaves_no_claim() -> None:
    """The server may cancel a request while the validator waits; its key is free again at once."""
    program, reached = Program(), asyncio.Event()

    async def waits(request: Any) -> str:
        reached.set()
        await asyncio.sleep(60)
        return '"v1"'

    store = MemoryStore()
    validators: list[Callable[[Any], Awaitable[str]]] = [waits, async_v1]
    policy = item(methods={"PUT"}, validator=lambda request: validators.pop(0)(request))
    guarded = verbguard.guard(program.asgi, policies={"/items/{id}": policy}, store=store)
    fields = [(b"if-match", b'"v1"'), (b"idempotency-key", b"k"), (b"content-length", b"0")]
    scope = {"type": "http", "method": "PUT", "path": "/items/7", "query_string": b"", "headers": fields}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    first = asyncio.create_task(guarded({**scope}, receive, send))
    await reached.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await guarded({**scope}, receive, send)
    assert (sent[0]["status"], program.runs) == (200, 1)


# ---- 428


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_route_can_require_a_condition(opened: Open, method: str) -> None:
    """428 before the content is read, not to be stored, and the text says what to send."""
    stage = opened(promises={"require_precondition": True, "validator": None})
    answer = stage.send(method)
    rule = "put-conditional-required" if method == "PUT" else "lost-update-428"
    assert (answer.status, answer.rule, stage.program.runs) == (428, rule, 0)
    assert answer.value("cache-control") == "no-store"
    assert "If-Match" in answer.json()["detail"]
    assert stage.send(method, if_match='"v1"').status == 200
    assert stage.send(method, if_unmodified_since=HTTP_DATE).status == 200
    assert stage.send(method, if_none_match='"v9"').status == 200


def test_a_condition_that_nobody_can_read_is_none(opened: Open) -> None:
    stage = opened(promises={"require_precondition": True, "validator": None})
    for fields in ({"if_match": ""}, {"if_unmodified_since": "soon"}, {"if_none_match": ","}):
        assert stage.send(**fields).status in (400, 428)
    assert stage.program.runs == 0


def test_nothing_else_requires_one(opened: Open) -> None:
    """POST and reading go on; without the promise everything does; `observe` only looks."""
    stage = opened(promises={"require_precondition": True})
    assert stage.send("POST").status == 200
    assert stage.send("GET", body=b"").status == 200
    assert opened().send().status == 200
    stage = opened(promises={"require_precondition": True}, profile="observe")
    assert stage.send().status == 200
    assert stage.said("put-conditional-required") == [Action.OBSERVE]


def test_a_required_key_is_not_used_up_by_a_428(opened: Open) -> None:
    stage = opened(promises={"require_precondition": True, "replay": Replay(required=True)})
    assert stage.send(key="k").status == 428
    assert stage.send(key="k", if_match='"v1"').status == 200


def test_what_promises_nothing_pays_nothing() -> None:
    """Without `validator` and `require_precondition` no rule about conditions is asked of an ordinary write."""
    from verbguard.plans import Guard

    guard = Guard({"/items/{id}": Policy(kind="item", methods={"PUT"})}, observers=[lambda finding: None])
    guard.compile()
    guard.start(True)
    plan = guard.find("/items/7").plan("PUT")
    ordinary = [b"host", b"user-agent", b"accept", b"authorization", b"content-type", b"content-length", b"idempotency-key"]
    asked = Request("PUT", "/items/7", [(name, b"x") for name in ordinary])
    from verbguard.layouts import BY_NAMES

    asked.deciding(BY_NAMES)
    assert plan.asked(asked.layout) == ()
    assert not plan.states


# ---- over real sockets

NAIVE = [
    ("uvicorn-h11", "fastapi_app"),
    ("uvicorn-httptools", "fastapi_app"),
    ("waitress", "flask_app"),
    ("gunicorn", "flask_app"),
]


@pytest.fixture(scope="module", params=NAIVE, ids=[name for name, _ in NAIVE])
def notes(request: pytest.FixtureRequest, serve: Serve) -> Running:
    name, app = request.param
    return serve(f"servers.notes:{app}", name)


def test_a_lost_update_is_stopped(notes: Running) -> None:
    """Two people read one note and both save: the second is told, and the first one's text is there."""

    def ask(method: str, target: str, content: bytes | None = None, **fields: str) -> Any:
        return notes.ask(request(method, target, content, **fields))

    assert ask("PUT", "/notes/a", b"first").status == 428
    assert ask("PUT", "/notes/a", b"first", if_none_match="*").status == 201
    assert ask("PUT", "/notes/a", b"again", if_none_match="*").status == 412
    tag = ask("GET", "/notes/a").get("etag")
    anna = ask("PUT", "/notes/a", b"Anna's", if_match=tag, idempotency_key="anna-1")
    bert = ask("PUT", "/notes/a", b"Bert's", if_match=tag, idempotency_key="bert-1")
    assert (anna.status, bert.status, bert.rule) == (204, 412, "if-match-evaluated")
    again = ask("PUT", "/notes/a", b"Anna's", if_match=tag, idempotency_key="anna-1")
    assert (again.status, again.replayed) == (204, True)
    read = ask("GET", "/notes/a")
    assert read.content == b"Anna's"
    assert ask("DELETE", "/notes/a", if_match=tag).status == 412
    assert ask("DELETE", "/notes/a", if_match=read.get("etag")).status == 204
    assert ask("GET", "/runs").content == b"3"
