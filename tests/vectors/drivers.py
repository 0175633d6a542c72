"""Two clients that speak ASGI and WSGI themselves, as a server would, and watch the protocol while they do.

Both are asked in the same three words: `start` sends a request, `leave` disconnects its client, and the future of an
exchange gives the `Reply`. What went wrong with the protocol is collected in `faults`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from vectors.conversation import Reply, Request

HOST = "testserver"


class AsgiExchange:
    """One request over ASGI: the server's side of `receive` and `send`."""

    def __init__(self, request: Request, faults: list[str]) -> None:
        self.request, self.faults = request, faults
        self.read: Future[None] = Future()  # the request's content was delivered completely
        self.gone = asyncio.Event()
        self.send_raises = False
        self.left = False
        half = len(request.body) // 2
        self.pending = [request.body[:half], request.body[half:]] if half else [request.body]
        self.short = request.declared > len(request.body)  # the client goes away before the end of its content
        self.touched = False
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.over = False

    async def receive(self) -> dict[str, Any]:
        self.touched = True
        if self.pending and not self.left:
            piece = self.pending.pop(0)
            if not self.pending:
                self.read.set_result(None)
            return {"type": "http.request", "body": piece, "more_body": bool(self.pending) or self.short}
        if not self.short:
            await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        if self.left:
            if self.send_raises:
                raise OSError("the client has left")
            return
        if message["type"] == "http.response.start":
            self.begin(message)
        elif message["type"] == "http.response.body":
            self.go_on(message)
        else:
            self.faults.append(f"sent {message['type']}, which no extension of this server offers")

    def begin(self, message: Mapping[str, Any]) -> None:
        if self.status is not None:
            self.faults.append("sent http.response.start twice")
        self.status = message["status"]
        for name, value in message.get("headers", ()):
            if not isinstance(name, bytes) or not isinstance(value, bytes) or name != name.lower():
                self.faults.append(f"header {name!r}: {value!r} is not two byte strings with a lower-case name")
            self.headers.append((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")))

    def go_on(self, message: Mapping[str, Any]) -> None:
        if self.status is None:
            self.faults.append("sent content before http.response.start")
        if self.over:
            self.faults.append("sent content after its end")
        self.body += message.get("body", b"")
        if not message.get("more_body", False):
            self.over = True
            self.gone.set()

    async def run(self, app: Callable[..., Any]) -> Reply:
        raised = None
        try:
            await app(self.scope(), self.receive, self.send)
        except Exception as error:  # a server answers for the application
            raised = error
        finally:
            self.gone.set()
        if raised is None and not self.over and not self.left:
            self.faults.append("returned without a complete answer")
        if self.status is None:
            return Reply(500, [], b"Internal Server Error", self.touched, raised)
        return Reply(self.status, self.headers, self.body, self.touched, raised)

    def scope(self) -> dict[str, Any]:
        headers = [(b"host", HOST.encode())]
        headers += [(name.encode(), value.encode("latin-1")) for name, value in self.request.headers]
        if self.request.body and not any(name == b"content-length" for name, _ in headers):
            headers.append((b"content-length", str(len(self.request.body)).encode()))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self.request.method,
            "scheme": "http",
            "path": self.request.path,
            "raw_path": self.request.target.partition("?")[0].encode(),
            "query_string": self.request.query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": (HOST, 80),
            "state": {},
        }

    def leave(self, send: str) -> None:
        self.left, self.send_raises = True, send == "raises"
        self.gone.set()


class AsgiClient:
    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app
        self.faults: list[str] = []

    def start(self, request: Request) -> tuple[AsgiExchange, asyncio.Future[Reply]]:
        exchange = AsgiExchange(request, self.faults)
        return exchange, asyncio.ensure_future(exchange.run(self.app))


class Input:
    """`wsgi.input` that knows whether it was touched, and when it has been read to its end."""

    def __init__(self, body: bytes, read: Future[None]) -> None:
        self.body, self.position, self.done, self.touched = body, 0, read, False

    def read(self, size: int | None = -1) -> bytes:
        self.touched = True
        stop = len(self.body) if size is None or size < 0 else self.position + size
        return self._take(stop)

    def readline(self, size: int | None = -1) -> bytes:
        self.touched = True
        stop = self.body.find(b"\n", self.position) + 1 or len(self.body)
        return self._take(stop if size is None or size < 0 else min(stop, self.position + size))

    def readlines(self, hint: int | None = None) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Input:
        return self

    def __next__(self) -> bytes:
        if line := self.readline():
            return line
        raise StopIteration

    def _take(self, stop: int) -> bytes:
        taken = self.body[self.position : stop]
        self.position += len(taken)
        if self.position >= len(self.body) and not self.done.done():
            self.done.set_result(None)
        return taken


class WsgiExchange:
    """One request over WSGI: the server's side of PEP 3333."""

    def __init__(self, request: Request, faults: list[str]) -> None:
        self.request, self.faults = request, faults
        self.read: Future[None] = Future()
        self.input = Input(request.body, self.read)
        self.left = False
        self.status: str | None = None
        self.headers: list[tuple[str, str]] = []
        self.written = b""

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[..., Any]:
        if self.status is not None and exc_info is None:
            self.faults.append("called start_response twice without exc_info")
        if not isinstance(status, str) or not status[:3].isdigit() or status[3:4] != " ":
            self.faults.append(f"status line {status!r}")
        if not all(isinstance(name, str) and isinstance(value, str) for name, value in headers):
            self.faults.append(f"headers are not pairs of str: {headers!r}")
        self.status, self.headers = status, list(headers)
        return self.write

    def write(self, data: bytes) -> None:
        if self.left:
            raise OSError("the client has left")
        self.written += data

    def run(self, app: Callable[..., Any]) -> Reply:
        raised = None
        try:
            self.converse(app)
        except OSError as error:
            raised = None if self.left else error
        except Exception as error:  # a server answers for the application
            raised = error
        touched = self.input.touched
        if self.status is None:
            return Reply(500, [], b"Internal Server Error", touched, raised)
        return Reply(int(self.status[:3]), self.headers, self.written, touched, raised)

    def converse(self, app: Callable[..., Any]) -> None:
        """Run the application, write each chunk, and close; a write to a client that has left raises, then closes."""
        chunks = app(self.environ(), self.start_response)
        try:
            for chunk in chunks:
                if chunk and self.status is None:
                    self.faults.append("gave content before start_response")
                self.write(chunk)
            if self.status is None:
                self.faults.append("returned without start_response")
        finally:
            if hasattr(chunks, "close"):
                chunks.close()

    def environ(self) -> dict[str, Any]:
        path = self.request.path.encode().decode("latin-1")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": self.request.query,
            "RAW_URI": self.request.target,
            "REQUEST_URI": self.request.target,
            "SERVER_NAME": HOST,
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": HOST,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": self.input,
            "wsgi.errors": Errors(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if self.request.body:
            environ["CONTENT_LENGTH"] = str(len(self.request.body))
        for name, value in self.request.headers:
            variable = name.upper().replace("-", "_")
            variable = variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"
            # Two lines of one name arrive joined: every WSGI server does this.
            repeated = variable in environ and variable.startswith("HTTP_")
            environ[variable] = f"{environ[variable]},{value}" if repeated else value
        return environ

    def leave(self, send: str) -> None:
        self.left = True


class Errors:
    """`wsgi.errors`; what an application logs there is not a conversation's business."""

    def write(self, text: str) -> int:
        return len(text)

    def writelines(self, lines: list[str]) -> None: ...

    def flush(self) -> None: ...


class WsgiClient:
    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app
        self.faults: list[str] = []

    def start(self, request: Request) -> tuple[WsgiExchange, asyncio.Future[Reply]]:
        """Each exchange has a thread, as under a threaded WSGI server."""
        exchange = WsgiExchange(request, self.faults)
        return exchange, asyncio.ensure_future(asyncio.to_thread(exchange.run, self.app))
