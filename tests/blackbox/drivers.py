"""Two servers without sockets: they call an app as a server would, and hold it to the protocol while they do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol, Self

from blackbox.answers import Answer, Ask, Pairs, Pending, ask


class Driver(Protocol):
    """What the checks need of a server."""

    def start(self, request: Ask) -> Pending: ...

    def close(self) -> None: ...


class Client:
    """Sends requests through a driver; the words the checks are written in."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def start(self, method: str, target: str, /, **options: Any) -> Pending:
        return self.driver.start(ask(method, target, **options))

    def send(self, method: str, target: str, /, **options: Any) -> Answer:
        return self.start(method, target, **options).answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.driver.close()


# -- ASGI -------------------------------------------------------------------------------------------------------------


class Exchange:
    """One request over ASGI, with a server's manners: disconnect after the last byte, nothing accepted after it."""

    def __init__(self, app: Any, request: Ask, spec_version: str) -> None:
        self.app = app
        self.request = request
        self.spec_version = spec_version
        self.parts = request.parts
        self.part: bytes | None = next(self.parts, b"")
        self.status = 0
        self.headers: Pairs = []
        self.body = bytearray()
        self.complete = False
        self.gone = asyncio.Event()
        self.other: list[Any] = []  # messages that are neither start nor body, in order

    def scope(self) -> dict[str, Any]:
        request = self.request
        scheme = request.extra.get("scheme", "http")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": self.spec_version},
            "http_version": "1.1",
            "method": request.method,
            "scheme": scheme,
            "path": request.path_bytes.decode(),
            "raw_path": request.raw_path.encode(),
            "query_string": request.query.encode(),
            "root_path": request.root_path,
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in self.fields()],
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
            "state": {},
            **request.extra,
        }

    def fields(self) -> Pairs:
        given = {name.lower() for name, _ in self.request.headers}
        host = [] if "host" in given else [("host", "testserver")]
        return host + self.request.headers + ([] if "content-length" in given else self.framing())

    def framing(self) -> Pairs:
        body = self.request.body
        if not isinstance(body, bytes):
            return [("transfer-encoding", "chunked")]
        return [("content-length", str(len(body) + bool(self.request.cut)))] if body else []

    async def receive(self) -> dict[str, Any]:
        self.request.reads.append(1)
        if self.part is not None:
            part, self.part = self.part, next(self.parts, None)
            return {"type": "http.request", "body": part, "more_body": self.part is not None or bool(self.request.cut)}
        if self.request.cut:
            return {"type": "http.disconnect"}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        match message["type"]:
            case "http.response.start":
                assert not self.status, "an answer starts once"
                self.status = message["status"]
                # Names should be lower case; Django's are not, and servers take them.
                pairs = message.get("headers", ())
                self.headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in pairs]
            case "http.response.body":
                assert self.status, "content follows the start"
                assert not self.complete, "nothing follows the last message"
                self.take(bytes(message.get("body", b"")))
                if not message.get("more_body", False):
                    self.complete = True
                    self.gone.set()
            case _:
                self.other.append(message)

    def take(self, chunk: bytes) -> None:
        self.body += chunk
        if chunk:
            self.request.chunks.put(chunk)

    async def run(self) -> Answer:
        error: BaseException | None = None
        try:
            await self.app(self.scope(), self.receive, self.send)
        except Exception as raised:
            error = raised
            if isinstance(raised, AssertionError):
                raise
        # Where nothing was sent a server answers for the app.
        return Answer(self.status or 500, self.headers, bytes(self.body), error)


class AsgiDriver:
    """An event loop in a thread of its own, so that a check can talk while the app works."""

    def __init__(self, app: Any, *, spec_version: str = "2.3") -> None:
        self.app = app
        self.spec_version = spec_version  # 2.3 is uvicorn's: below 2.4 Starlette listens for the disconnect itself
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="asgi-driver")
        self.thread.start()

    def start(self, request: Ask) -> Pending:
        return Pending(request, self.submit(self.exchange(request).run))

    def exchange(self, request: Ask) -> Exchange:
        return Exchange(self.app, request, self.spec_version)

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(function(), self.loop)

    def close(self) -> None:
        self.submit(self.drain).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def drain(self) -> None:
        """What asyncio.run does at its end: cancel what is left, then let generators and threads finish."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()


class NotStarted(Exception):
    """The app said at start-up that it cannot run; a server prints why and ends."""


async def run_lifespan(app: Any, state: dict[str, Any] | None = None) -> list[str]:
    """Start the app and stop it; what it said to both."""
    told = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    said: list[str] = []

    async def receive() -> dict[str, Any]:
        return told.pop(0)

    async def send(message: Any) -> None:
        said.append(message["type"])
        if message["type"] == "lifespan.startup.failed":
            raise NotStarted(message["message"])

    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
    await app(scope | ({} if state is None else {"state": state}), receive, send)
    return said


async def run_websocket(app: Any, path: str, *texts: str, headers: Pairs | None = None) -> list[dict[str, Any]]:
    """Connect, say these texts and leave; every message the app sent."""
    told: list[dict[str, Any]] = [{"type": "websocket.connect"}]
    told += [{"type": "websocket.receive", "text": text} for text in texts]
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return told.pop(0) if told else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers or []],
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        "subprotocols": [],
        "state": {},
    }
    await app(scope, receive, send)
    return said


# -- WSGI -------------------------------------------------------------------------------------------------------------


class Input:
    """`wsgi.input` over the parts of a body; a hang-up is an error for some servers and a short read for others."""

    def __init__(self, request: Ask) -> None:
        self.request = request
        self.parts = request.parts
        self.rest = b""

    def read(self, size: int | None = -1) -> bytes:
        self.request.reads.append(1)
        whole = size is None or size < 0
        while (whole or len(self.rest) < (size or 0)) and (part := next(self.parts, None)) is not None:
            self.rest += part
        if self.request.cut == "error" and not self.rest:
            raise OSError("the client hung up")
        taken = self.rest if whole else self.rest[:size]
        self.rest = self.rest[len(taken) :]
        return taken

    def readline(self, size: int | None = -1) -> bytes:
        line = bytearray()
        while (size is None or size < 0 or len(line) < size) and (byte := self.read(1)):
            line += byte
            if byte == b"\n":
                break
        return bytes(line)

    def readlines(self, hint: int = -1) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Any:
        return iter(self.readline, b"")


def environ(request: Ask) -> dict[str, Any]:
    values: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": request.root_path,
        "PATH_INFO": request.path_bytes.decode("latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": request.target,
        "REQUEST_URI": request.target,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": Input(request),
        "wsgi.errors": Errors(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in [("Host", "testserver"), *request.headers]:
        key = name.upper().replace("-", "_")
        key = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
        # A CGI-style server joins repeated fields; Host alone is replaced.
        values[key] = f"{values[key]},{value}" if key in values and key != "HTTP_HOST" else value
    if isinstance(request.body, bytes):
        length = len(request.body) + 1 if request.cut else len(request.body)
        if length:
            values["CONTENT_LENGTH"] = str(length)
    else:
        values["wsgi.input_terminated"] = True
        values["HTTP_TRANSFER_ENCODING"] = "chunked"
    return values | request.extra


class Errors:
    """`wsgi.errors` that keeps a test's output quiet."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, text: str) -> None:
        self.lines.append(text)

    def writelines(self, lines: list[str]) -> None:
        self.lines.extend(lines)

    def flush(self) -> None:
        pass


class WsgiExchange:
    """One request over WSGI, with a server's manners: the head goes out with the first content, close comes once."""

    def __init__(self, app: Any, request: Ask) -> None:
        self.app = app
        self.request = request
        self.status = 0
        self.headers: Pairs = []
        self.body = bytearray()
        self.head_sent = False

    def start_response(self, status: str, headers: Pairs, exc_info: Any = None) -> Callable[[bytes], None]:
        if exc_info:
            try:
                if self.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        else:
            assert not self.status, "start_response is called once, unless it reports an error"
        assert status[3:4] == " " or len(status) == 3
        assert all(type(name) is str and type(value) is str for name, value in headers)
        self.status = int(status[:3])
        self.headers = [(name.lower(), value) for name, value in headers]
        return self.take

    def take(self, chunk: bytes) -> None:
        assert type(chunk) is bytes, "content is bytes"
        if chunk:
            assert self.status, "content follows start_response"
            self.head_sent = True
            self.body += chunk
            self.request.chunks.put(chunk)

    def run(self, *, leave_after: int | None = None) -> Answer:
        """Play the whole exchange, or let the client go after so many pieces of content."""
        error: BaseException | None = None
        result: Any = None
        try:
            result = self.app(environ(self.request), self.start_response)
            for number, chunk in enumerate(result):
                if number == leave_after:
                    break
                self.take(chunk)
            assert self.status or leave_after is not None, "the app answered"
        except AssertionError:
            raise
        except BaseException as raised:
            error = raised
        finally:
            if hasattr(result, "close"):
                result.close()
        if error and not self.head_sent:  # nothing went out yet: the server answers for the app
            return Answer(500, [], b"", error)
        return Answer(self.status, self.headers, bytes(self.body), error)


class WsgiDriver:
    """A threaded server: every request has a thread."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.pool = ThreadPoolExecutor(max_workers=64, thread_name_prefix="wsgi-driver")

    def start(self, request: Ask) -> Pending:
        return Pending(request, self.pool.submit(WsgiExchange(self.app, request).run))

    def close(self) -> None:
        self.pool.shutdown()
