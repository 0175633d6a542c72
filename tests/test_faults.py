"""When the guard itself fails: a safe request runs unguarded, an unsafe one is refused before the app runs, an answer passes.

Each fault is put where it could be: into a rule, the engine, the store. Nothing is lost, nothing runs twice, all is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blackbox.answers import Answer
from blackbox.drivers import AsgiDriver, Client, Driver, WsgiDriver

import verbguard
from verbguard import Action, Finding, Replay, StoreError, collection, item
from verbguard.exchange import Exchange
from verbguard.plans import Guard
from verbguard.renewal import renewer
from verbguard.routes import RouteMap
from verbguard.rules import CATALOGUE, catalogue
from verbguard.stores import open as open_store
from verbguard.stores.memory import MemoryStore


class Boom(Exception):
    """A mistake of ours."""


def boom(*arguments: Any, **named: Any) -> Any:
    raise Boom


class Program:
    """An app that answers as the query says, in one piece or in two, and counts how often it ran."""

    def __init__(self, pieces: tuple[bytes, ...] = (b'{"id":9}',), error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.runs = 0

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        self.runs += 1
        if self.error is not None:
            raise self.error
        status = int(scope["query_string"] or b"200")
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
        for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def wsgi(self, environ: Any, start_response: Any) -> Any:
        self.runs += 1
        if self.error is not None:
            raise self.error
        start_response(f"{environ['QUERY_STRING'] or '200'} Reason", [("Content-Type", "application/json")])
        return list(self.pieces)

    def lazily(self, environ: Any, start_response: Any) -> Any:
        yield from self.wsgi(environ, start_response)


POLICIES = {
    "/items": collection(location="/items/{id}", methods={"GET", "POST"}),
    "/items/{id}": item(methods={"GET", "PUT", "DELETE"}),
    "/required": collection(replay=Replay(required=True)),
}


@pytest.fixture(params=["asgi", "wsgi", "lazily"])
def interface(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Stage:
    """A guarded program, its client, and what the observers heard."""

    def __init__(self, interface: str, program: Program | None = None, **arguments: Any) -> None:
        self.program = program or Program()
        self.heard: list[Finding] = []
        app = getattr(self.program, interface)
        settings = {"policies": POLICIES, "observers": [self.heard.append], **arguments}
        guarded = verbguard.guard(app, **settings)
        driver: Driver = AsgiDriver(guarded) if interface == "asgi" else WsgiDriver(guarded)
        self.client = Client(driver)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: Any) -> None:
        self.client.driver.close()

    def send(self, method: str, target: str, **options: Any) -> Answer:
        return self.client.send(method, target, **options)

    def actions(self, rule: str) -> list[Action]:
        return [finding.action for finding in self.heard if finding.rule == rule]


def break_rule(monkeypatch: pytest.MonkeyPatch, id: str) -> None:
    """From now on this rule fails whenever it is asked."""
    monkeypatch.setitem(CATALOGUE, id, replace(catalogue()[id], check=boom))


# ---- before the app runs

Breaking = Callable[[pytest.MonkeyPatch], None]


def of_rule(id: str) -> Breaking:
    return lambda monkeypatch: break_rule(monkeypatch, id)


def of_method(kind: type, name: str) -> Breaking:
    return lambda monkeypatch: monkeypatch.setattr(kind, name, boom)


RANGE = {"headers": [("Range", "bytes=0-1")]}

SAFE: list[tuple[str, Breaking, str, str, dict[str, Any]]] = [
    ("a rule about the target", of_rule("method-token-grammar"), "GET", "/items", {}),
    ("a rule about the target, HEAD", of_rule("method-token-grammar"), "HEAD", "/items", {}),
    ("a rule about the target, OPTIONS", of_rule("method-unknown-501"), "OPTIONS", "/items", {}),
    ("a rule about a field", of_rule("range-get-only"), "HEAD", "/items", RANGE),
    ("the engine's opening", of_method(Exchange, "open"), "HEAD", "/items", {}),
    ("looking for the route", of_method(Guard, "settle"), "GET", "/items/9", {}),
    ("looking everywhere", of_method(RouteMap, "settle"), "GET", "/unknown", {}),
    ("start-up at the first request", of_method(Guard, "start"), "GET", "/items", {}),
]
UNSAFE: list[tuple[str, Breaking, str, str, dict[str, Any]]] = [
    ("a rule about the target", of_rule("method-token-grammar"), "POST", "/items", {}),
    ("the rule about collections", of_rule("put-no-collection"), "PUT", "/items", {}),
    ("a rule about a field", of_rule("range-get-only"), "PUT", "/items/1", RANGE),
    ("another rule about a field", of_rule("put-content-range-400"), "PUT", "/items/1", {"headers": [("Content-Range", "x")]}),
    ("the engine's opening", of_method(Exchange, "open"), "DELETE", "/items/1", {}),
    ("the engine's claim", of_method(Exchange, "claim"), "POST", "/items", {"key": "k"}),
    ("the engine's claim, keyless", of_method(Exchange, "claim"), "PUT", "/items/1", {}),
    ("looking for the route", of_method(Guard, "settle"), "PATCH", "/items/9", {}),
    ("looking everywhere", of_method(RouteMap, "settle"), "PUT", "/unknown", {}),
    ("start-up at the first request", of_method(Guard, "start"), "POST", "/items", {}),
]


@pytest.mark.parametrize(("breaking", "method", "target", "options"), [row[1:] for row in SAFE], ids=[row[0] for row in SAFE])
def test_a_safe_request_runs_unguarded(
    interface: str, breaking: Breaking, method: str, target: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading goes on whatever has failed here, as if there were no guard, and the fault is told."""
    with Stage(interface) as stage:
        breaking(monkeypatch)
        answer = stage.send(method, target, **options)
        assert (answer.status, answer.error, stage.program.runs) == (200, None, 1)
        assert stage.actions("guard-fault") == [Action.OBSERVE]


@pytest.mark.parametrize(
    ("breaking", "method", "target", "options"), [row[1:] for row in UNSAFE], ids=[row[0] for row in UNSAFE]
)
def test_an_unsafe_request_is_refused(
    interface: str, breaking: Breaking, method: str, target: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be judged does not run: 503 before the app, a problem that says so, and when to come back."""
    with Stage(interface) as stage:
        breaking(monkeypatch)
        answer = stage.send(method, target, body=b"{}", **options)
        assert (answer.status, answer.error, stage.program.runs) == (503, None, 0)
        assert answer.rule == "guard-fault"
        assert int(answer.value("retry-after") or "0") > 0
        assert stage.actions("guard-fault") == [Action.REJECT]


def test_the_fault_is_logged_with_its_traceback(
    interface: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever reads the log can report the mistake."""
    with Stage(interface) as stage:
        of_method(Guard, "settle")(monkeypatch)
        stage.send("GET", "/items")
    assert any(record.exc_info and record.exc_info[0] is Boom and record.name == "verbguard" for record in caplog.records)


def test_a_fault_passes(interface: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One fault breaks one request; the next one is guarded again."""
    with Stage(interface) as stage:
        with monkeypatch.context() as broken:
            of_method(Guard, "repeat")(broken)
            assert stage.send("PUT", "/items").status == 503
        assert stage.send("PUT", "/items").status == 405
        assert stage.send("POST", "/items?201").value("location") == "/items/9"


def test_an_app_s_own_error_is_no_fault_of_ours(interface: str) -> None:
    """What the app raises reaches the server as it is, and no finding claims it."""
    error = LookupError("the app's")
    with Stage(interface, Program(error=error)) as stage:
        for method in ("GET", "HEAD", "POST", "PUT"):
            assert stage.send(method, "/items/1").error is error
        assert stage.actions("guard-fault") == []


def test_a_principal_that_raises(interface: str) -> None:
    """The application's callable fails: nobody knows whose the key is, so that an unsafe request does not run."""
    with Stage(interface, principal=boom) as stage:
        assert stage.send("GET", "/items").status == 200
        answer = stage.send("POST", "/items?201", key="k")
        assert (answer.status, stage.program.runs) == (503, 1)
        assert stage.send("POST", "/items?201").status == 201


def test_an_authorize_that_raises(interface: str) -> None:
    """A stored answer is not given away when the hook that guards it fails, and nothing runs a second time."""
    policies = {"/items": collection(location="/items/{id}", replay=Replay(authorize=boom))}
    with Stage(interface, policies=policies) as stage:
        assert stage.send("POST", "/items?201", key="k").status == 201
        answer = stage.send("POST", "/items?201", key="k")
        assert answer.status in (403, 503)
        assert b'"id"' not in answer.body
        assert stage.program.runs == 1


# ---- after the app has answered

ANSWERED: list[tuple[str, Breaking, str, str, tuple[bytes, ...]]] = [
    # promise                            what fails                                    request            its content
    ("a rule about the status", of_rule("status-method-table"), "PUT", "/items/1?207", (b"x",)),
    ("a rule about the status of a read", of_rule("status-206-needs-range"), "GET", "/items/1?206", (b"x",)),
    ("a rule about the status of a failure", of_rule("status-405-needs-allow"), "DELETE", "/items?405", (b"x",)),
    ("a rule about content", of_rule("post-201-location"), "POST", "/items?201", (b'{"id":9}',)),
    ("a rule about content in pieces", of_rule("post-201-location"), "POST", "/items?201", (b'{"id"', b":9}")),
    ("a rule about no content", of_rule("delete-200-has-content"), "DELETE", "/items/1", ()),
    ("a rule about some content", of_rule("delete-200-has-content"), "DELETE", "/items/1", (b"x", b"y")),
    ("a rule about the content of a read", of_rule("safe-no-state-status"), "GET", "/items/1?201", (b"x",)),
    ("a rule about framing", of_rule("put-201-location"), "PUT", "/items/1?201", (b"x",)),
    ("the engine's judgement", of_method(Exchange, "answered"), "PUT", "/items/1", (b"x",)),
    ("the engine's content", of_method(Exchange, "content"), "PUT", "/items/1", (b"x", b"y")),
    ("the engine's record", of_method(Exchange, "record"), "PUT", "/items/1", (b"x", b"y")),
    ("the engine's judgement of HEAD", of_method(Exchange, "answered"), "HEAD", "/items/1", ()),
]


@pytest.mark.parametrize("key", [None, "k"], ids=["keyless", "keyed"])
@pytest.mark.parametrize(
    ("breaking", "method", "target", "pieces"), [row[1:] for row in ANSWERED], ids=[row[0] for row in ANSWERED]
)
def test_an_answer_passes_as_the_app_made_it(
    interface: str,
    breaking: Breaking,
    method: str,
    target: str,
    pieces: tuple[bytes, ...],
    key: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The effect has happened, so the client gets what the app said of it: all of it, once, with the app's own status."""
    with Stage(interface, Program(pieces)) as stage:
        breaking(monkeypatch)
        answer = stage.send(method, target, key=key, body=b"{}" if method != "HEAD" else b"")
        assert answer.error is None
        assert answer.status == int(target.partition("?")[2] or "200")
        assert answer.body == b"".join(pieces)
        assert stage.program.runs == 1
        assert stage.actions("guard-fault")


@pytest.mark.parametrize(
    ("breaking", "target", "pieces"),
    [
        (of_rule("post-201-location"), "/items?201", (b'{"id"', b":9}")),
        (of_method(Exchange, "answered"), "/items?200", (b"x",)),
        (of_method(Exchange, "content"), "/items?200", (b"x",)),
        (of_method(Exchange, "record"), "/items?200", (b"x",)),
    ],
    ids=["a rule", "the judgement", "the content", "the record"],
)
def test_a_keyed_post_never_runs_twice(
    interface: str, breaking: Breaking, target: str, pieces: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that could not be kept is known to have been given: the retry is told so, and the effect stays one."""
    with Stage(interface, Program(pieces)) as stage:
        with monkeypatch.context() as broken:
            breaking(broken)
            assert stage.send("POST", target, key="k").status == int(target.partition("?")[2])
        assert stage.send("POST", target, key="k").status in (200, 201, 409)
        assert stage.program.runs == 1


# ---- the store fails


class Failing(MemoryStore):
    """A store of which some operations fail while it is `down`."""

    def __init__(self, *operations: str, error: Exception | None = None) -> None:
        super().__init__()
        self.down = True
        self.operations = operations
        self.error = error or StoreError("no connection")

    def __getattribute__(self, name: str) -> Any:
        if name in ("claim", "save", "release", "start", "end", "renew", "linger") and name in self.operations and self.down:
            return self._failing
        return super().__getattribute__(name)

    def _failing(self, *arguments: Any) -> Any:
        raise self.error


ERRORS = [StoreError("no connection"), OSError("refused"), TimeoutError("too late")]
by_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


@by_error
def test_a_store_that_does_not_answer(interface: str, error: Exception) -> None:
    """Optional protection is missed and told; a required key is refused, since it cannot be honoured."""
    with Stage(interface, store=Failing("claim", error=error)) as stage:
        assert stage.send("POST", "/items?201", key="k").status == 201
        assert stage.send("PUT", "/items/1").status == 200
        assert stage.actions("idem-unprotected") == [Action.OBSERVE, Action.OBSERVE]
        assert stage.program.runs == 2
        answer = stage.send("POST", "/required", key="k")
        assert (answer.status, answer.rule, stage.program.runs) == (503, "idem-store-down", 2)
        assert int(answer.value("retry-after") or "0") > 0


@by_error
@pytest.mark.parametrize("operation", ["save", "release", "start", "end"])
def test_a_store_that_fails_later(interface: str, operation: str, error: Exception) -> None:
    """Whatever operation fails, the app runs once and its answer reaches the client."""
    with Stage(interface, store=Failing(operation, error=error)) as stage:
        requests = [
            ("POST", "/items?201", "k"),
            ("POST", "/items?201", None),
            ("PUT", "/items/1", None),
            ("DELETE", "/items/1?404", "d"),
        ]
        for number, (method, target, key) in enumerate(requests, start=1):
            answer = stage.send(method, target, key=key)
            assert (answer.status, answer.error) == (int(target.partition("?")[2] or "200"), None)
            assert stage.program.runs == number
        assert stage.actions("guard-fault") + stage.actions("idem-unprotected")


@pytest.mark.parametrize("operation", ["start", "end"])
def test_after_a_failed_bump_nothing_keyless_is_replayed(interface: str, operation: str) -> None:
    """A write that the store did not hear of may have changed anything: PUT A, PATCH, PUT A runs three times."""
    store = Failing(operation)
    store.down = False
    policies = {**POLICIES, "/items/{id}": item(methods={"GET", "PUT", "PATCH"})}
    with Stage(interface, store=store, policies=policies) as stage:
        assert stage.send("PUT", "/items/1", body=b"A").status == 200
        store.down = True
        assert stage.send("PATCH", "/items/1", body=b"B").status == 200
        store.down = False
        answer = stage.send("PUT", "/items/1", body=b"A")
        assert not answer.replayed
        assert stage.program.runs == 3


def test_after_an_outage_nothing_keyless_is_replayed(interface: str) -> None:
    """A claim that failed ran unseen: PUT A, PUT B in the outage, PUT A ends at A."""
    store = Failing("claim")
    store.down = False
    with Stage(interface, store=store) as stage:
        assert stage.send("PUT", "/items/1", body=b"A").status == 200
        store.down = True
        assert stage.send("PUT", "/items/1", body=b"B").status == 200
        store.down = False
        assert not stage.send("PUT", "/items/1", body=b"A").replayed
        assert stage.program.runs == 3


def test_a_total_outage_is_remembered(interface: str) -> None:
    """Neither claim nor bump got through while the store was down; what it kept before is not told afterwards."""
    store = Failing("claim", "start", "end", "save", "release")
    store.down = False
    with Stage(interface, store=store) as stage:
        assert stage.send("PUT", "/items/1", body=b"A").status == 200
        store.down = True
        assert stage.send("PUT", "/items/1", body=b"B").status == 200
        store.down = False
        assert not stage.send("PUT", "/items/1", body=b"A").replayed
        assert stage.program.runs == 3


def test_a_store_that_lost_a_claim(interface: str) -> None:
    """A save that comes too late is told, and the answer reaches the client all the same."""

    class Forgetful(MemoryStore):
        def save(self, claim: Any, token: int, record: Any) -> bool:
            return False

    with Stage(interface, store=Forgetful()) as stage:
        assert stage.send("POST", "/items?201", key="k").status == 201
        assert stage.actions("idem-lease-lost") == [Action.OBSERVE]


def test_a_renewal_that_comes_after_the_end(tmp_path: Path) -> None:
    """A renewal on its way while the answer is kept finds no run any more; the client is not told of a lost lease."""

    class Renewed:
        asynchronous = True

        def __init__(self, store: Any) -> None:
            self.sync, self._store = store, store.aio

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        async def save(self, claim: Any, token: int, record: Any) -> bool:
            kept: bool = await self._store.save(claim, token, record)
            renewer._renew(self.sync, claim, token)
            return kept

    with Stage("asgi", store=Renewed(open_store(f"sqlite:///{tmp_path}/store"))) as stage:
        answer = stage.send("POST", "/items?201", key="k")
        assert (answer.status, answer.value("idempotency-status")) == (201, None)
        assert stage.send("POST", "/items?201", key="k").replayed


def test_a_full_store(interface: str) -> None:
    """A store that may drop nothing more says so; the request runs unprotected, and what is kept stays kept."""
    with Stage(interface, store=MemoryStore(max_bytes=400)) as stage:
        statuses = [stage.send("POST", "/items?201", key=f"k{number}").status for number in range(5)]
        assert statuses == [201] * 5
        assert stage.actions("idem-unprotected")
        assert stage.send("POST", "/items?201", key="k0").replayed
