"""A small application that misbehaves on request: one URL surface through ASGI and through WSGI, bare and guarded.

    /items              GET; POST answers 201 without Location; PUT, which a collection should not have
    /items/{id}         GET, PUT, PATCH, DELETE; 405 to HEAD and OPTIONS, as FastAPI does
    /slow/{name}        POST: answers when /open/{name} was asked, and gives up when its client is gone
    /patient/{name}     the same, under a policy that lets a retry wait for the first answer
    /drafts/{name}      PUT: the same as a keyless item
    /stream/{name}      GET, POST: a first chunk, and a second one when /open/{name} was asked
    /echo/{status}      any method: that status with content and its Content-Length
    /loose/{status}     any method: that status with content of undeclared length
    /empty/{status}     any method: that status with a content of no bytes
    /hints              GET: 103 (Early Hints) before the answer, where the server offers it
    /marker             GET: tells a test that a connection is still in step
    /count/{METHOD}/... GET: how often the handler of that method and path has run
    /open/{name}        GET: lets the handlers at this gate go on
    /reached/{name}     GET: answers when a handler has come to this gate

A request says `X-Guard: off` to reach the bare application, `X-Guard: strict` for the strict profile: one server
process serves the three, and counts for the three.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import verbguard
from verbguard import Policy, Replay, action, collection, item
from verbguard.asgi import GuardMiddleware as AsgiGuard
from verbguard.wsgi import GuardMiddleware as WsgiGuard

PATIENCE = 10.0  # seconds a handler waits at a gate; a test that fails must not keep a thread for ever
PAYLOAD = b"payload"
MARK = ("X-App", "1")  # on every answer of the application, to tell it from one the server makes by itself


class Event(Protocol):
    """What `asyncio.Event` and `threading.Event` share."""

    def set(self) -> None: ...
    def is_set(self) -> bool: ...


@dataclass(slots=True)
class Gate:
    """A place in a handler: `reached` when it comes there, `opened` when it may go on."""

    reached: Any
    opened: Any


@dataclass(slots=True)
class Reply:
    status: int
    content: tuple[bytes | Gate, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    gate: Gate | None = None  # passed before the answer begins
    event: Any = None  # waited for before the answer begins

    @classmethod
    def json(cls, status: int, value: object, *headers: tuple[str, str], gate: Gate | None = None) -> Reply:
        content = json.dumps(value).encode()
        length = ("Content-Length", str(len(content)))
        return cls(status, (content,), (("Content-Type", "application/json"), length, *headers), gate)

    @classmethod
    def text(cls, status: int, text: bytes, *headers: tuple[str, str]) -> Reply:
        length = ("Content-Length", str(len(text)))
        return cls(status, (text,), (("Content-Type", "text/plain"), length, *headers))


@dataclass(slots=True)
class Service:
    """Handlers, what they count, and the gates between them; how to wait is the adapter's business."""

    event: Callable[[], Event]
    runs: Counter[str] = field(default_factory=Counter)
    gates: defaultdict[str, Gate] = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.gates = defaultdict(lambda: Gate(self.event(), self.event()))

    def gate(self, name: str) -> Gate:
        with self.lock:
            return self.gates[name]

    def reads(self, path: str) -> bool:
        """Whether the handler of this path takes the request content before it answers."""
        return not path.startswith(("/echo/", "/loose/", "/empty/"))

    def reply(self, method: str, path: str) -> Reply:
        match path.split("/")[1:]:
            case ["marker"]:
                return Reply.text(200, b"marker")
            case ["hints"]:
                return Reply.text(200, b"hinted")
            case ["count", wanted, *parts]:
                return Reply.json(200, self.runs[f"{wanted} /{'/'.join(parts)}"])
            case ["open", name]:
                self.gate(name).opened.set()
                return Reply.json(200, "opened")
            case ["reached", name]:
                reply = Reply.json(200, "reached")
                reply.event = self.gate(name).reached
                return reply
            case ["echo", status]:
                return self.misbehave(method, path, Reply.text(int(status), PAYLOAD, ("ETag", '"v1"')))
            case ["loose", status]:
                return self.misbehave(method, path, Reply(int(status), (PAYLOAD,), (("Content-Type", "text/plain"),)))
            case ["empty", status]:
                return self.misbehave(method, path, Reply(int(status)))
            case parts:
                return self.resource(method, path, parts)

    def misbehave(self, method: str, path: str, reply: Reply) -> Reply:
        self.run(method, path)
        return reply

    def resource(self, method: str, path: str, parts: list[str]) -> Reply:
        handlers: dict[str, Callable[[int], Reply]]
        match parts:
            case ["items"]:
                handlers = {
                    "GET": lambda run: Reply.json(200, []),
                    "POST": lambda run: Reply.json(201, {"id": run}),
                    "PUT": lambda run: Reply.json(200, {"run": run}),
                }
            case ["items", name] if name:
                handlers = {
                    "GET": lambda run: Reply.json(200, {"id": name}, ("ETag", '"v1"')),
                    "PUT": lambda run: Reply.json(200, {"run": run}),
                    "PATCH": lambda run: Reply.json(200, {"run": run}),
                    "DELETE": lambda run: Reply(204),
                }
            case ["slow" | "patient", name]:
                handlers = {"POST": lambda run: Reply.json(200, {"run": run}, gate=self.gate(name))}
            case ["drafts", name]:
                handlers = {"PUT": lambda run: Reply.json(200, {"run": run}, gate=self.gate(name))}
            case ["stream", name]:
                chunks = (b"one", self.gate(name), b"two")
                streamed = Reply(200, chunks, (("Content-Type", "text/plain"),))
                handlers = {"GET": lambda run: streamed, "POST": lambda run: streamed}
            case _:
                return Reply.text(404, b"nothing here")
        if method not in handlers:
            return Reply.text(405, b"not this method", ("Allow", ", ".join(handlers)))
        return handlers[method](self.run(method, path))

    def run(self, method: str, path: str) -> int:
        with self.lock:
            self.runs[f"{method} {path}"] += 1
            return self.runs[f"{method} {path}"]


Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

asgi_service = Service(asyncio.Event)


async def bare_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return await _lifespan(receive, send)
    assert scope["type"] == "http", scope["type"]
    if asgi_service.reads(scope["path"]) and not await _took_content(receive):
        return
    if scope["path"] == "/hints" and "http.response.early_hint" in scope.get("extensions", ()):
        await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    reply = asgi_service.reply(scope["method"], scope["path"])
    if reply.event:
        await asyncio.wait_for(reply.event.wait(), PATIENCE)
    if reply.gate and not await _passed(reply.gate, receive):
        return  # as a framework does that cancels the handler of a client that has gone
    headers = [(name.lower().encode(), value.encode()) for name, value in (*reply.headers, MARK)]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    for part in reply.content:
        if isinstance(part, Gate):
            part.reached.set()
            await asyncio.wait_for(part.opened.wait(), PATIENCE)
        else:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


async def _lifespan(receive: Receive, send: Send) -> None:
    for moment in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{moment}"
        await send({"type": f"lifespan.{moment}.complete"})


async def _took_content(receive: Receive) -> bool:
    while (message := await receive())["type"] == "http.request":
        if not message.get("more_body"):
            return True
    return False


async def _passed(gate: Gate, receive: Receive) -> bool:
    """Wait at the gate, with an eye on the client."""
    gate.reached.set()
    opened, gone = asyncio.create_task(gate.opened.wait()), asyncio.create_task(_next(receive))
    done, rest = await asyncio.wait({opened, gone}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    return opened in done


async def _next(receive: Receive) -> dict[str, Any]:
    # A coroutine of our own: what granian's receive() returns is awaitable, and neither a coroutine nor a whole Future.
    return await receive()


wsgi_service = Service(threading.Event)


def bare_wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if wsgi_service.reads(path) and not _read_content(environ):
        return _start(Reply.text(400, b"the content ends early"), start_response)
    if path == "/hints" and "wsgi.early_hints" in environ:
        environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
    reply = wsgi_service.reply(method, path)
    if reply.event:
        assert reply.event.wait(PATIENCE)
    if reply.gate:
        reply.gate.reached.set()
        assert reply.gate.opened.wait(PATIENCE)
    return _start(reply, start_response)


def _read_content(environ: dict[str, Any]) -> bool:
    if environ.get("wsgi.input_terminated"):
        environ["wsgi.input"].read()
        return True
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return len(environ["wsgi.input"].read(length)) == length


def _start(reply: Reply, start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response(f"{reply.status} Whatever", [*reply.headers, MARK])
    return _parts(reply)


def _parts(reply: Reply) -> Iterator[bytes]:
    for part in reply.content:
        if isinstance(part, Gate):
            part.reached.set()
            assert part.opened.wait(PATIENCE)
        else:
            yield part


# Where nothing shows an application's routes, tokens that nobody registered pass with a finding: here they are refused.
TOKENS = {"method-unknown-501": "reject", "method-case-sensitive": "reject"}

POLICIES = {
    "/items": collection(location="/items/{id}", methods=frozenset({"GET", "POST"})),
    "/items/{id}": item(methods=frozenset({"GET", "PUT", "PATCH", "DELETE"}), rules=TOKENS),
    "/slow/{name}": action(methods=frozenset({"POST"})),
    "/patient/{name}": action(replay=Replay(wait=PATIENCE), methods=frozenset({"POST"})),
    "/drafts/{name}": item(methods=frozenset({"PUT"})),
    "/stream/{name}": action(methods=frozenset({"GET", "POST"})),
    "/echo/{status}": Policy(kind="unknown", replay=None),
    "/loose/{status}": Policy(kind="unknown", replay=None),
    "/empty/{status}": Policy(kind="unknown", replay=None),
}

ASGI = {
    "off": bare_asgi,
    "guard": verbguard.guard(bare_asgi, policies=POLICIES),
    "strict": AsgiGuard(bare_asgi, policies=POLICIES, profile="strict"),
}
WSGI = {
    "off": bare_wsgi,
    "guard": verbguard.guard(bare_wsgi, policies=POLICIES),
    "strict": WsgiGuard(bare_wsgi, policies=POLICIES, profile="strict"),
}


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    wanted = dict(scope.get("headers", ())).get(b"x-guard", b"guard").decode()
    await ASGI[wanted](scope, receive, send)


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return WSGI[environ.get("HTTP_X_GUARD", "guard")](environ, start_response)
