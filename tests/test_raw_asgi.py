"""The corners of ASGI: a guarded callable is used by any server, and uses any program, as the specification says."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Awaitable
from typing import Any

import pytest
from blackbox import asgi_apps as apps
from blackbox.answers import Answer, Ask, ask
from blackbox.asgi_apps import Program
from blackbox.drivers import Exchange, run_lifespan, run_websocket

import verbguard
from verbguard import action, collection, item

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
POLICIES = {
    "/things": collection(methods=frozenset({"GET", "POST"})),
    "/things/{id}": item(),
    "/do": action(),
}


def run(app: Any, request: Ask) -> Answer:
    return asyncio.run(Exchange(app, request, "2.3").run())


def outcome(app: Any, request: Ask) -> tuple[Any, ...]:
    """Everything that a server sees of an exchange: answer, further messages, whether it ended, what was raised."""

    async def play() -> tuple[Any, ...]:
        exchange = Exchange(app, request, "2.3")
        answer = await exchange.run()
        return answer.status, answer.headers, answer.body, type(answer.error), exchange.complete, exchange.other

    return asyncio.run(play())


def names(functions: list[Any]) -> list[str]:
    return [function.__name__ for function in functions]


BODIES = {"none": b"", "one message": b"body", "many messages": [b"bo", b"", b"dy"]}


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("policies", [None, POLICIES], ids=["bare", "policies"])
@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("answer", apps.EVERY, ids=names(apps.EVERY))
def test_the_first_answer_is_the_program_s_own(answer: Any, method: str, key: str | None, policies: Any, content: Any) -> None:
    """Content, further messages and errors reach the server as they would without the guard."""
    bare, program = Program(answer), Program(answer)
    expected = outcome(bare, ask(method, "/things/1", key=key, body=content))
    guarded = verbguard.guard(program, policies=policies)
    assert outcome(guarded, ask(method, "/things/1", key=key, body=content)) == expected
    assert (program.runs, program.seen) == (bare.runs, bare.seen)


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("method", METHODS)
def test_an_error_after_the_start_is_no_complete_answer(method: str, key: str | None) -> None:
    """Whether the start has left by then or was still held, the server sees the error and no end of the answer."""
    status, _, content, error, complete, _ = outcome(
        verbguard.guard(Program(apps.raises_after_start)), ask(method, "/", key=key)
    )
    assert status in {200, 500}
    assert (content, error, complete) == (b"", LookupError, False)


REPLAYABLE = [*apps.PLAIN, apps.fails_behind]


@pytest.mark.parametrize("answer", REPLAYABLE, ids=names(REPLAYABLE))
def test_the_replay_is_the_first_answer(answer: Any) -> None:
    """Whatever the form of the answer, its replay has the same status, pairs and content."""
    program = Program(answer)
    guarded = verbguard.guard(program)
    first, second = (run(guarded, ask("POST", "/do", key="k", body=b"body")) for _ in range(2))
    assert (first.replayed, second.replayed, second.error) == (False, True, None)
    assert (second.status, second.body) == (first.status, first.body)
    assert second.values("x-twice") == first.values("x-twice")
    assert program.runs == 1


NOT_KEPT = [apps.raises_half_way, apps.stops_half_way, apps.sends_a_path]


@pytest.mark.parametrize("answer", NOT_KEPT, ids=names(NOT_KEPT))
def test_what_was_not_seen_whole_is_never_replayed(answer: Any) -> None:
    """Broken answers and files that the server sends itself are tombstones for POST."""
    program = Program(answer)
    guarded = verbguard.guard(program)
    run(guarded, ask("POST", "/do", key="k"))
    retry = run(guarded, ask("POST", "/do", key="k"))
    assert (retry.status, retry.rule, program.runs) == (409, "idem-not-retained", 1)


FAILED = [apps.raises_at_once, apps.raises_after_start, apps.says_nothing]


@pytest.mark.parametrize("answer", FAILED, ids=names(FAILED))
def test_no_answer_is_a_kept_failure(answer: Any) -> None:
    """A POST that fell before its first content has had its one run; a PUT has another."""
    program = Program(answer)
    guarded = verbguard.guard(program)
    run(guarded, ask("POST", "/do", key="k"))
    assert run(guarded, ask("POST", "/do", key="k")).status in {409, 500}
    assert program.runs == 1
    for _ in range(2):
        run(guarded, ask("PUT", "/do", key="p"))
    assert program.runs == 3


# -- receive ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_receive_goes_on_after_the_body(method: str, key: str | None) -> None:
    """After the body the program may wait for the disconnect: it comes when the answer is out, not before."""

    async def listen(program: Program, scope: Any, receive: Any, send: Any) -> None:
        await apps.drain(receive)
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        program.seen.append(waiting.done())
        await send(apps.start())
        await send(apps.body(b"answered"))
        program.seen.append((await waiting)["type"])

    program = Program(listen)
    answer = run(verbguard.guard(program, policies=POLICIES), ask(method, "/things/1", key=key, body=b"x"))
    assert (answer.body, answer.error) == (b"answered", None)
    assert program.seen == [False, "http.disconnect"]


def test_a_refusal_reads_nothing() -> None:
    """405 for a collection needs the head only: `receive` is not called."""
    request = ask("PUT", "/things", body=b"x" * 1000)
    answer = run(verbguard.guard(Program(apps.echo), policies=POLICIES), request)
    assert (answer.status, answer.rule, answer.allow) == (405, "put-no-collection", {"GET", "HEAD", "POST", "OPTIONS"})
    assert request.reads == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_error_of_the_server_s_receive_is_the_program_s(method: str) -> None:
    """What `receive` raises belongs to the layers outside, such as a bound on the body: it comes out as it was."""

    class TooLarge(Exception):
        pass

    async def receive() -> Any:
        raise TooLarge

    async def send(message: Any) -> None:
        raise AssertionError("nothing can be sent")

    for key in (None, "k"):
        exchange = Exchange(None, ask(method, "/do", key=key, body=b"x"), "2.3")
        guarded = verbguard.guard(Program(apps.echo), policies=POLICIES)
        with pytest.raises(TooLarge):
            asyncio.run(guarded(exchange.scope(), receive, send))
        answer = run(guarded, ask(method, "/do", key=key, body=b"x"))
        assert (answer.status, answer.body, answer.replayed) == (200, b"x", False)


UVLOOP = RuntimeError("unable to perform operation on <TCPTransport closed=True reading=False>; the handler is closed")


def gone(error: Exception | None = None) -> Any:
    """A server's `send` after its client has left, by the newer specification."""

    async def send(message: Any) -> None:
        raise error or OSError("the client is gone")

    return send


def test_an_error_of_the_server_s_send_reaches_the_program() -> None:
    """Some servers raise when the client is gone: a program whose answer nobody keeps hears of it."""
    exchange = Exchange(None, ask("POST", "/do"), "2.4")
    with pytest.raises(OSError, match="gone"):
        asyncio.run(verbguard.guard(Program(apps.one_message))(exchange.scope(), exchange.receive, gone()))


@pytest.mark.parametrize("error", [OSError("the client is gone"), UVLOOP], ids=["an OSError", "uvloop's own error"])
def test_an_answer_that_nobody_took_is_kept(error: Exception) -> None:
    """With a key the effect is recorded although the client was gone before the answer: the retry replays it."""
    program = Program(apps.many_messages)
    guarded = verbguard.guard(program)
    exchange = Exchange(None, ask("POST", "/do", key="k"), "2.4")
    with contextlib.suppress(OSError):  # whether the program hears of it is the guard's choice here
        asyncio.run(guarded(exchange.scope(), exchange.receive, gone(error)))
    retry = run(guarded, ask("POST", "/do", key="k"))
    assert (retry.status, retry.body, retry.replayed, program.runs) == (200, b"a b c", True, 1)


def test_a_server_that_finds_fault_with_an_answer_is_heard() -> None:
    """An error that does not say that the client left is the program's, as it would be without a guard."""
    exchange = Exchange(None, ask("POST", "/do", key="k"), "2.4")
    with pytest.raises(RuntimeError, match="longer"):
        asyncio.run(
            verbguard.guard(Program(apps.one_message))(
                exchange.scope(), exchange.receive, gone(RuntimeError("Response content longer than Content-Length"))
            )
        )


# -- scopes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "webtransport", "http.something", None])
def test_other_scopes_pass_untouched(kind: str | None) -> None:
    """The very scope, receive and send go through: nothing of the guard's is between."""
    passed: list[Any] = []

    async def program(scope: Any, receive: Any, send: Any) -> None:
        passed.extend([scope, receive, send])

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        raise AssertionError

    scope: dict[str, Any] = {"path": "/things", "headers": [(b"idempotency-key", b"k")]}
    if kind is not None:  # a program's own tests may drive it with what no server sends
        scope["type"] = kind
    before = dict(scope)
    asyncio.run(verbguard.guard(program)(scope, receive, send))
    assert passed[0] is scope
    assert scope == before
    if kind != "lifespan":
        assert passed[1:] == [receive, send]


@pytest.mark.parametrize("policies", [None, POLICIES], ids=["bare", "policies"])
@pytest.mark.parametrize("method", METHODS)
def test_a_scope_with_nothing_but_method_and_path_is_served(method: str, policies: Any) -> None:
    """Servers tell more, a program's own tests often do not."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    program = Program(apps.one_message)
    guarded = verbguard.guard(program, policies=policies)
    for _ in range(2):  # the first request also starts the guard
        asyncio.run(guarded({"type": "http", "method": method, "path": "/x"}, receive, send))
    assert [message["status"] for message in sent[::2]] == [200, 200]
    assert (program.runs, [message["body"] for message in sent[1::2]]) == (2, [b"one", b"one"])


def test_lifespan_and_websockets_of_a_bare_callable() -> None:
    """A program that serves all three is served by one guard."""

    async def program(scope: Any, receive: Any, send: Any) -> None:
        match scope["type"]:
            case "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
            case "websocket":
                await receive()
                await send({"type": "websocket.accept"})
                await send({"type": "websocket.send", "text": (await receive())["text"]})

    guarded = verbguard.guard(program, policies=POLICIES)
    assert asyncio.run(run_lifespan(guarded)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    said = asyncio.run(run_websocket(guarded, "/things", "hello", headers=[("Idempotency-Key", "k")]))
    assert said == [{"type": "websocket.accept"}, {"type": "websocket.send", "text": "hello"}]


def test_a_program_without_lifespan() -> None:
    """A program that refuses lifespan refuses it through the guard too: the server then goes on without."""

    async def program(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http", "no lifespan here"

    with pytest.raises(AssertionError, match="no lifespan here"):
        asyncio.run(run_lifespan(verbguard.guard(program)))


def test_the_scope_is_passed_on() -> None:
    """The program gets the server's keys with their values, the ones the guard does not know included."""
    seen: dict[str, Any] = {}
    marker = object()

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        await send(apps.start())
        await send(apps.body())

    request = ask("GET", "/a%20b?c=%26", headers=[("X-One", "1")], extra={"server.socket": marker})
    run(verbguard.guard(look), request)
    scope = Exchange(None, request, "2.3").scope()
    assert {name: seen[name] for name in scope if name != "state"} == {n: v for n, v in scope.items() if n != "state"}
    assert seen["server.socket"] is marker


def test_unknown_methods_pass_on_a_bare_callable() -> None:
    """Without a route map the guard is humble: a method it does not know is the program's to judge."""
    program = Program(apps.one_message)
    assert run(verbguard.guard(program), ask("FOO", "/")).status == 200
    assert program.runs == 1


# -- ways to be an app ------------------------------------------------------------------------------------------------


class Callable:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await apps.one_message(Program(apps.one_message), scope, receive, send)


class Awaiting:
    """Not a coroutine function: it returns what is awaited, as partials and wrappers of other languages do."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        return Callable()(scope, receive, send)


class Method:
    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await Callable()(scope, receive, send)


@pytest.mark.parametrize(
    "app", [Callable(), Awaiting(), Method().serve, Callable().__call__], ids=["object", "awaitable", "method", "bound"]
)
def test_every_kind_of_callable_is_recognised(app: Any) -> None:
    """Objects, methods and functions that only return an awaitable are ASGI programs."""
    guarded = verbguard.guard(app, policies=POLICIES)
    assert run(guarded, ask("GET", "/things/1")).body == b"one"
    assert run(guarded, ask("PUT", "/things", body=b"x")).rule == "put-no-collection"


IMPORTS = ["import verbguard.asgi", "import verbguard.wsgi", "from verbguard import guard", "import verbguard.config"]


@pytest.mark.parametrize("first", IMPORTS)
def test_guard_is_a_function_whatever_was_imported_before(first: str) -> None:
    """`verbguard.guard(app)` works in every program, also after a door was imported by hand."""
    use = "verbguard.guard(lambda environ, start_response: [])"
    program = f"{first}\nimport verbguard\n{use}\nfrom verbguard import guard\nguard.__code__"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_fields_that_can_be_read_once_reach_the_app(method: str) -> None:
    """The standard promises an iterable of iterables; what the guard reads first is still there for the app, and the server."""
    seen: list[list[tuple[bytes, bytes]]] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append([(name, value) for name, value in scope["headers"]])
        start = {"type": "http.response.start", "status": 200, "headers": iter([iter((b"x-one", b"1"))])}
        await send(start)
        await send({"type": "http.response.body", "body": b"{}"})

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [(name, value) for name, value in message["headers"]]
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/things/1", "query_string": b"", "http_version": "1.1"}
    scope["headers"] = iter([iter((b"host", b"a")), iter((b"x-two", b"2"))])
    guarded = verbguard.guard(app, policies={"/things/{id}": verbguard.item()})
    await guarded(scope, receive, send)
    assert seen == [[(b"host", b"a"), (b"x-two", b"2")]]
    assert sent[0]["headers"] == [(b"x-one", b"1")]
