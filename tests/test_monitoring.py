"""What operators see: the lines of the access log, the figures, health; and that none of it harms a request."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import verbguard
from verbguard.monitoring.accesslog import AccessLog, json_line, moment, shown_target, text_line
from verbguard.monitoring.accounts import Account, note
from verbguard.monitoring.admin import HEALTH, METRICS, Administered, Health
from verbguard.monitoring.draining import Drain
from verbguard.monitoring.layer import Dated, Monitored
from verbguard.monitoring.metrics import Metrics
from verbguard.monitoring.services import Timed
from verbguard.monitoring.stores import observed
from verbguard.records import Claim, Record
from verbguard.stores import open as open_store

Scope = dict[str, Any]


def scope(method: str = "GET", target: bytes = b"/", query: bytes = b"", **more: Any) -> Scope:
    found = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": target.decode("latin-1"),
        "raw_path": target,
        "query_string": query,
        "headers": [(b"host", b"h")],
        "client": ("127.0.0.1", 5),
    }
    return found | more


async def receive() -> Scope:
    return {"type": "http.request", "body": b"", "more_body": False}


async def run(app: Any, about: Scope) -> list[Scope]:
    """What the client's side of the server is told."""
    told: list[Scope] = []

    async def send(message: Scope) -> None:
        told.append(message)

    await app(about, receive, send)
    return told


def answering(status: int = 200, *pieces: bytes, headers: Any = ()) -> Any:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


# ---- the access log

TARGETS = [
    # target, query                              as the log has it
    (b"/a", b"", "/a"),
    (b"/a", b"x=1&y=2", "/a?x=1&y=2"),
    (b"/a", b"token=abc&x=1", "/a?token=***&x=1"),
    (b"/a", b"x=1&api_key=abc", "/a?x=1&api_key=***"),
    (b"/a", b"X-Amz-Signature=ab%3D&X-Amz-Credential=c/d/e", "/a?X-Amz-Signature=***&X-Amz-Credential=***/d/e"),
    (b"/a", b"to%6Ben=abc", "/a?to%6Ben=***"),
    (b"/a", b"password=", "/a?password=***"),
    (b"/a", b"Code=1;state=2", "/a?Code=***;state=2"),
    (b"/a;jsessionid=abc/b", b"", "/a;jsessionid=***/b"),
    (b"http://me:secret@h/a", b"x", "http://***@h/a?x"),
    (b'/a" 200 5\r\nforged', b"", "/a%22%20200%205%0D%0Aforged"),
    (b"/a\x1b[31m\x00\xff\\", b"", "/a%1B[31m%00%FF%5C"),
    (b"/" + b"x" * 5_000, b"", "/" + "x" * 1_999 + "..."),
    (b"*", b"", "*"),
]


@pytest.mark.parametrize(("target", "query", "shown"), TARGETS)
def test_a_target_in_the_log(target: bytes, query: bytes, shown: str) -> None:
    """No secret that its name gives away, no byte that ends the line or its quotes."""
    assert shown_target(target, query) == shown


def account(**facts: Any) -> Account:
    found = Account(scope("PUT", b"/orders", b"draft=1"))
    for name, value in ({"status": 405, "size": 184, "complete": True, "seconds": 0.00321} | facts).items():
        setattr(found, name, value)
    return found


START = '2026-11-29T19:36:26.123Z 127.0.0.1:5 "PUT /orders?draft=1 HTTP/1.1"'
LINES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    # what is known                                text after the request line                        what JSON adds
    ({}, "405 184 3.2ms", {}),
    ({"findings": [("a", "reject"), ("b", "observe"), ("a", "observe")]}, "405 184 3.2ms rule=a,b", {"rules": ["a", "b"]}),
    ({"replay": "replayed", "status": 200}, "200 184 3.2ms replayed", {"replay": "replayed", "status": 200}),
    ({"upstream_seconds": 0.002}, "405 184 3.2ms upstream=2.0ms", {"upstream_ms": 2.0}),
    ({"size": -1}, "405 - 3.2ms", {"bytes": None}),
    ({"complete": False}, "405 184 3.2ms cut", {"fate": "cut"}),
    ({"status": 0, "stopped": "cancelled", "complete": False}, "- 184 3.2ms cancelled", {"fate": "cancelled", "status": 0}),
    ({"status": 0, "stopped": "KeyError", "complete": False}, "500 184 3.2ms failed", {"fate": "failed", "status": 500}),
]


@pytest.mark.parametrize(("facts", "rest", "more"), LINES)
def test_a_line(facts: dict[str, Any], rest: str, more: dict[str, Any]) -> None:
    """Text for people, JSON for machines, of the same facts."""
    known, began = account(**facts), 1795980986.123456
    assert text_line(known, began) == f"{START} {rest}"
    plain = {
        "time": "2026-11-29T19:36:26.123Z",
        "client": "127.0.0.1:5",
        "method": "PUT",
        "target": "/orders?draft=1",
        "protocol": "HTTP/1.1",
        "status": 405,
        "bytes": 184,
        "ms": 3.21,
    }
    expected = {name: value for name, value in (plain | more).items() if value is not None}
    assert json.loads(json_line(known, began)) == expected


def test_what_clients_say_cannot_forge_a_line() -> None:
    """A method, a version or an address that is none stays one word of one line."""
    known = Account(scope('X"\nY', b"/\n", http_version="1.1\r\n", client=("a b\n", 1)))
    line = text_line(known, 0.0)
    assert line.startswith('1970-01-01T00:00:00.000Z a?b?:1 "X??Y /%0A HTTP/1.1??" - 0') and "\n" not in line


def test_addresses_of_all_kinds() -> None:
    """IPv6 in brackets, and a socket without an address."""
    assert '[::1]:5 "' in text_line(Account(scope(client=("::1", 5))), 0.0)
    assert 'Z - "' in text_line(Account(scope(client=None)), 0.0)
    assert '"GET /a HTTP/1.1"' in text_line(Account(scope(target=b"/a", raw_path=None)), 0.0)


def test_moments_follow_one_another() -> None:
    """A second that is remembered is not told of another."""
    assert [moment(when) for when in (0.5, 1.25, 0.0)] == [
        "1970-01-01T00:00:00.500Z",
        "1970-01-01T00:00:01.250Z",
        "1970-01-01T00:00:00.000Z",
    ]


# ---- the layers


async def test_an_account_of_an_answer() -> None:
    """Status, bytes, findings and replay are those of this request, not of another one that runs beside it."""
    kept: list[Account] = []
    policies = {"/items": verbguard.collection(), "/items/{id}": verbguard.item()}
    guarded = verbguard.guard(answering(200, b"four"), policies=policies, store=observed(None), observers=[note])
    app = Monitored(guarded, [kept.append])
    put = scope("PUT", b"/items/1")
    await asyncio.gather(run(app, scope("PUT", b"/items")), run(app, put), run(app, scope("GET", b"/items/2")))
    await run(app, scope("PUT", b"/items/1"))
    await run(app, scope("POST", b"/other", headers=[(b"host", b"h"), (b"idempotency-key", b"k")]))
    found = {(each.method, each.template, each.status, each.replay) for each in kept}
    assert found == {
        ("PUT", "/items", 405, ""),
        ("PUT", "/items/{id}", 200, "claimed"),
        ("PUT", "/items/{id}", 200, "replayed"),
        ("GET", "/items/{id}", 200, ""),
        ("POST", "(unmapped)", 200, "claimed"),
    }
    rules = {each.method + " " + each.template: [rule for rule, _ in each.findings] for each in kept[:1]}
    assert rules == {"PUT /items": ["put-no-collection"]}
    assert {each.size for each in kept if each.status == 200} == {4} and all(each.complete for each in kept)


async def test_an_answer_that_ends_early() -> None:
    """What an app leaves out, raises, or is cancelled in is told, and passes through."""
    kept: list[Account] = []

    async def halfway(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if scope["path"] == "/raises":
            raise KeyError("x")
        if scope["path"] == "/cancelled":
            raise asyncio.CancelledError

    app = Monitored(halfway, [kept.append])
    await run(app, scope(target=b"/leaves"))
    with pytest.raises(KeyError):
        await run(app, scope(target=b"/raises"))
    with pytest.raises(asyncio.CancelledError):
        await run(app, scope(target=b"/cancelled"))
    assert [(each.status, each.size, each.complete, each.stopped) for each in kept] == [
        (200, 4, False, ""),
        (200, 4, False, "KeyError"),
        (200, 4, False, "cancelled"),
    ]


async def test_files_that_the_server_sends() -> None:
    """Nobody has counted the bytes of a file that the server reads itself, and the answer is whole."""
    kept: list[Account] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/some/file"})

    await run(Monitored(app, [kept.append]), scope())
    assert [(each.size, each.complete) for each in kept] == [(-1, True)]


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([{"type": "websocket.accept"}, {"type": "websocket.close"}], 101),
        ([{"type": "websocket.close"}], 403),
        ([{"type": "websocket.http.response.start", "status": 502, "headers": []}], 502),
    ],
)
async def test_a_websocket_is_a_line_when_it_ends(messages: list[Scope], status: int) -> None:
    """Its handshake is a GET; what the server answered to it is the status."""
    kept: list[Account] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    about = scope(target=b"/ws", type="websocket")
    del about["method"]
    await run(Monitored(app, [kept.append]), about)
    assert f'"GET /ws WebSocket/1.1" {status} 0' in text_line(kept[0], 0.0) and "cut" not in text_line(kept[0], 0.0)


async def test_a_report_that_fails_harms_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """The client gets its answer, the next report its account, and the log a traceback."""
    kept: list[Account] = []

    def broken(account: Account) -> None:
        raise OSError("no space left on device")

    told = await run(Monitored(answering(200, b"ok"), [broken, kept.append]), scope())
    assert [message["type"] for message in told][-1] == "http.response.body" and len(kept) == 1
    assert "no space left on device" in caplog.text


async def test_the_log_is_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    """One record for each request on `verbguard.access`; a percent sign in a target is no format."""
    with caplog.at_level(logging.INFO, "verbguard.access"):
        await run(Monitored(answering(200, b"ok"), [AccessLog()]), scope(target=b"/100%s"))
    assert [record.getMessage().split('"')[1] for record in caplog.records] == ["GET /100%s HTTP/1.1"]


@pytest.mark.parametrize(
    ("headers", "dates"),
    [([], [b"now"]), ([(b"date", b"then")], [b"then"]), ([(b"Date", b"then")], [b"then"]), (((b"x", b"y"),), [b"now"])],
)
async def test_one_date(headers: Any, dates: list[bytes]) -> None:
    """An answer keeps its Date, and gets one where it has none."""
    told = await run(Dated(answering(headers=headers), lambda: b"now"), scope())
    assert [value for name, value in told[0]["headers"] if name.lower() == b"date"] == dates


async def test_how_long_the_service_takes() -> None:
    """Until it begins to answer; what the gateway itself answered in its place is told apart."""
    kept: list[Account] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["path"] == "/down":
            scope["verbguard.unanswered"] = 502
        await answering(502 if scope["path"] == "/down" else 200)(scope, receive, send)

    app.mark = "found"  # type: ignore[attr-defined]
    assert Timed(app).mark == "found"
    for target in (b"/", b"/down"):
        await run(Monitored(Timed(app), [kept.append]), scope(target=target))
    assert [each.unanswered for each in kept] == [0, 502]
    assert all(0 <= each.upstream_seconds <= each.seconds for each in kept)


# ---- the store

CLAIM = Claim(b"ident", b"p" * 32, None, False, False, 10.0, 60.0, b"", b"", "POST", "/")


@pytest.fixture(params=["memory://", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/replays.db" if request.param == "sqlite" else request.param


async def test_a_store_that_is_watched_is_the_store(url: str) -> None:
    """Every word means the same, whether it is said on a loop or without one."""
    store = open_store(url)
    watched = observed(store)
    assert (watched.shared, watched.health() >= 0) == (store.shared, True)
    won = watched.claim(CLAIM)
    assert watched.save(CLAIM, won.token, Record(200, [], b"kept"))
    again = getattr(watched, "aio", None)
    outcome = await again.claim(CLAIM) if again is not None else watched.claim(CLAIM)
    assert outcome.record.body == b"kept"


class Failing:
    """A store that is down."""

    shared = True

    def __getattr__(self, name: str) -> Any:
        if name in ("aio", "asynchronous", "sync", "epoch", "settle"):
            raise AttributeError(name)

        def operation(*arguments: Any) -> Any:
            raise verbguard.StoreError("down")

        return operation


class FailingOnALoop(Failing):
    asynchronous = True

    def __getattr__(self, name: str) -> Any:
        if name in ("aio", "sync", "epoch", "settle"):
            raise AttributeError(name)

        async def operation(*arguments: Any) -> Any:
            raise verbguard.StoreError("down")

        return operation


@pytest.mark.parametrize("kind", [Failing, FailingOnALoop])
async def test_failures_of_the_store_are_counted(kind: type[Failing]) -> None:
    """The operation that failed; the guard hears of it as before."""
    failed: list[str] = []
    app = verbguard.guard(answering(200), store=observed(kind(), failed.append), observers=[note])
    told = await run(app, scope("POST", b"/a", headers=[(b"host", b"h"), (b"idempotency-key", b"k")]))
    assert told[0]["status"] == 200 and failed[0] == "claim"


# ---- figures


def figures(metrics: Metrics) -> dict[str, float]:
    content, kind = metrics.text()
    assert kind.startswith("text/plain")
    lines = [line.rpartition(" ") for line in content.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines if "_created" not in name and "_bucket" not in name}


async def test_labels_never_come_from_clients() -> None:
    """However a client spells its method and its target, there are as many series as routes and methods that are known."""
    metrics = Metrics()
    policies = {"/items": verbguard.collection(), "/items/{id}": verbguard.item()}
    app = Monitored(verbguard.guard(answering(200), policies=policies, observers=[metrics.found]), [metrics])
    for number in range(50):
        for method in ("GET", f"M{number}", "CONNECT", "PUT"):
            for target in (b"/items/%d", b"/x%d", b"http://h%d/items", b"h%d:443", b"/items?%d"):
                await run(app, scope(method, target % number))
    series = [name for name in figures(metrics) if name.startswith("verbguard_requests_total")]
    templates = {re.search(r'template="([^"]*)"', name)[1] for name in series}  # type: ignore[index]
    assert templates <= {"/items", "/items/{id}", "(unmapped)", "(target)"}
    assert len(series) <= 40


async def test_figures_of_a_request() -> None:
    """Requests by method, class and route; findings; replays; what the upstream owes; how long it all took."""
    metrics = Metrics(lambda: 3)
    policies = {"/items": verbguard.collection(), "/items/{id}": verbguard.item()}
    store = observed(None, metrics.store_failed)
    app = verbguard.guard(answering(200), policies=policies, store=store, observers=[metrics.found])
    app = Monitored(app, [metrics])
    for _ in range(3):
        await run(app, scope("PUT", b"/items/1"))
    await run(app, scope("PUT", b"/items"))
    metrics.refresh()
    metrics.store_failed("save")
    found = figures(metrics)
    assert found['verbguard_requests_total{method="PUT",status="2xx",template="/items/{id}"}'] == 3
    assert found['verbguard_requests_total{method="PUT",status="4xx",template="/items"}'] == 1
    assert found['verbguard_findings_total{action="reject",rule="put-no-collection"}'] == 1
    assert found['verbguard_replays_total{template="/items/{id}"}'] == 2
    assert found['verbguard_claims_total{template="/items/{id}"}'] == 1
    assert found['verbguard_store_errors_total{operation="save"}'] == 1
    assert found["verbguard_claims_in_flight"] == 3
    assert found['verbguard_request_seconds_count{method="PUT"}'] == 4


# ---- the admin port


@pytest.fixture
def listener() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


class Lifespan:
    """A server's side of an app's life."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.inbox: asyncio.Queue[Scope] = asyncio.Queue()
        self.outbox: asyncio.Queue[Scope] = asyncio.Queue()

    async def __aenter__(self) -> Lifespan:
        self.task = asyncio.create_task(self.app({"type": "lifespan"}, self.inbox.get, self.outbox.put))
        await self.inbox.put({"type": "lifespan.startup"})
        assert await self._said() == "lifespan.startup.complete"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.inbox.put({"type": "lifespan.shutdown"})
        assert await self._said() == "lifespan.shutdown.complete"
        await self.task

    async def _said(self) -> str:
        async with asyncio.timeout(10):
            return str((await self.outbox.get())["type"])


async def asked(listener: socket.socket, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_an_app_without_a_lifespan_has_an_admin_port(listener: socket.socket) -> None:
    """The app raises at what it does not know, or returns; the port opens and closes all the same."""

    async def raises(scope: Scope, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    async with Lifespan(Administered(raises, listener, Health(Drain()), None)):
        assert await asked(listener, HEALTH) == (200, '{"status": "ok"}')
        assert await asked(listener, METRICS) == (501, "Metrics need prometheus-client: pip install 'verbguard[prometheus]'\n")
    with pytest.raises(OSError):
        socket.create_connection(listener.getsockname(), timeout=5)


async def test_an_app_that_fails_to_start_fails(listener: socket.socket) -> None:
    """Its own word counts, and nothing is opened."""
    said: list[Scope] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def send(message: Scope) -> None:
        said.append(message)

    await Administered(app, listener, Health(Drain()), None)({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in said] == ["lifespan.startup.failed"]


async def test_health_of_what_is_needed(listener: socket.socket) -> None:
    """A store that is down, an upstream that nobody can reach, an end that has begun: 503, and why."""
    host, port = listener.getsockname()
    here = f"http://{host}:{port}"
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nowhere = f"http://127.0.0.1:{gone.getsockname()[1]}"
    assert (await Health(Drain(), open_store(), here).found())[1]["status"] == "ok"
    status, words = await Health(Drain(), Failing(), here).found()
    assert (status, words["status"], words["store"]["error"], words["upstream"]["ok"]) == (503, "failing", "down", True)
    assert (await Health(Drain(), FailingOnALoop()).found())[0] == 503
    status, words = await Health(Drain(), open_store(), nowhere).found()
    assert (status, words["store"]["ok"], words["upstream"]["ok"]) == (503, True, False)
    drain = Drain()
    health = Health(drain)
    assert await health.found() == (200, {"status": "ok"})
    drain.begin()
    assert await health.found() == (503, {"status": "draining"})


async def test_health_is_not_asked_for_more_often_than_it_changes() -> None:
    """A crowd of probes is one question to the store a second."""
    asks: list[None] = []

    class Counting:
        def health(self) -> float:
            asks.append(None)
            return 0.0

    health = Health(Drain(), Counting())
    for _ in range(20):
        await health.found()
    assert 1 <= len(asks) <= 2


def test_an_end_is_seen_by_all_processes(tmp_path: Path) -> None:
    """One begins it, the others look."""
    one, other = Drain(str(tmp_path)), Drain(str(tmp_path))
    assert not other.begun
    one.begin()
    assert one.begun and other.begun
