"""What is measured: two bare applications, the requests, and the server's end of an exchange.

Scopes, environs and exchanges are made before the clock starts, the way a server makes them whatever is installed, so
they do not dilute the ratios. After each chunk status, content, replay marker and the number of times the application
ran are checked: a guard that does not do its work fails here instead of looking fast.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import time
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
ASGIApp = Callable[[Scope, Any, Any], Any]
WSGIApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

NOUNS = ("users", "orders", "invoices", "carts", "shops", "teams", "jobs", "files", "tags", "items")
TEMPLATES = tuple(f"/v1/{noun}{tail}" for noun in NOUNS for tail in ("", "/{id}"))  # twenty, as a service has
CONTENT = json.dumps({"id": 42, "name": "x" * 150, "tags": ["a", "b"]}).encode().ljust(200)
SENT = b'{"name": "' + b"y" * 188 + b'"}'
TOKEN = "Bearer 0123456789abcdef0123456789abcdef"

_serial = itertools.count(1)  # every request has a target and a key of its own, unless it repeats another one


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table: which request, and what must come of it."""

    name: str
    method: str
    path: str
    status: int
    keyed: bool = False
    replay: bool = False  # the request was answered before, outside the clock
    marked: bool = False  # the answer says that it is a replay
    runs: bool = True  # the application is called
    sent: bytes = SENT

    def first(self) -> Row:
        """The request that a replay repeats."""
        return replace(self, replay=False, marked=False, runs=True)

    def unguarded(self) -> Row:
        """The same request to an application that nothing guards: it runs, whatever the verb promises."""
        return replace(self.first(), status=201 if self.method == "POST" else 200)


REPLAY: dict[str, Any] = {"replay": True, "marked": True, "runs": False}
ROWS = (
    Row(name="idle GET", method="GET", path="/v1/items/{}", status=200, sent=b""),
    Row(name="first keyless PUT", method="PUT", path="/v1/items/{}", status=200),
    Row(name="keyless replay", method="PUT", path="/v1/items/{}", status=200, **REPLAY),
    Row(name="first keyed POST", method="POST", path="/v1/items", status=201, keyed=True),
    Row(name="keyed replay", method="POST", path="/v1/items", status=201, keyed=True, **REPLAY),
    Row(name="refusal", method="PUT", path="/v1/items", status=405, runs=False),
)


class WrongAnswer(Exception):
    """A contender that does not do what the row says; its time would mean nothing."""


def serials(count: int) -> list[int]:
    """Numbers that no request has had yet."""
    return list(itertools.islice(_serial, count))


# ------------------------------------------------------------------------------------------------------- ASGI
class Exchange:
    """The server's end: gives the content once, then blocks until the answer is complete."""

    __slots__ = ("content", "done", "ended", "headers", "received", "status")

    def __init__(self, content: bytes) -> None:
        self.content: bytes | None = content
        self.received = b""
        self.status = 0
        self.headers: Iterable[tuple[bytes, bytes]] = ()
        self.done = False
        self.ended: asyncio.Event | None = None

    async def receive(self) -> Message:
        content = self.content
        if content is not None:
            self.content = None
            return {"type": "http.request", "body": content, "more_body": False}
        if not self.done:
            self.ended = self.ended or asyncio.Event()
            await self.ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = message.get("headers", ())
            return
        self.received += message.get("body", b"")
        if not message.get("more_body", False):
            self.done = True
            if self.ended is not None:
                self.ended.set()


def scope(row: Row, serial: int) -> Scope:
    path = row.path.format(serial)
    headers = [
        (b"host", b"127.0.0.1:8000"),
        (b"user-agent", b"python-httpx/0.28.1"),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"gzip, deflate, br"),
        (b"connection", b"keep-alive"),
        (b"authorization", TOKEN.encode()),
        (b"x-request-id", b"4b2f6b1c-7f1a-4d4f-9d1c-2f5f6d8a9b0c"),
    ]
    if row.method != "GET":
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(row.sent))]
    if row.keyed:
        headers.append((b"idempotency-key", b'"3f2504e0-4f89-41d3-9a0c-%012d"' % serial))
    return {
        **{"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1"},
        **{"server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 50000), "scheme": "http", "root_path": ""},
        **{"method": row.method, "path": path, "raw_path": path.encode(), "query_string": b""},
        **{"headers": headers, "state": {}},
    }


class BareASGI:
    """An application as small as one can be: reads what was sent, answers 200 bytes of JSON."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.calls = 0
        self.content = content

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        self.calls += 1
        method = scope["method"]
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self.content))]
        status = 200
        if method != "GET":
            while (await receive()).get("more_body", False):
                pass
        if method == "POST":
            status = 201
            headers.append((b"location", b"/v1/items/42"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        # bytes(bytearray()) makes new bytes, as a real application does: a record must pay for what it keeps
        await send({"type": "http.response.body", "body": bytes(bytearray(self.content)), "more_body": False})


async def run_asgi(app: ASGIApp, row: Row, numbers: list[int], content: bytes = CONTENT) -> int:
    """The nanoseconds that these requests took."""
    batch = [(scope(row, number), Exchange(row.sent)) for number in numbers]
    start = time.perf_counter_ns()
    for request, exchange in batch:
        await app(request, exchange.receive, exchange.send)
    spent = time.perf_counter_ns() - start
    for _, exchange in batch:
        marked = (b"idempotent-replayed", b"true") in exchange.headers
        check(row, exchange.status, exchange.received, content, marked, exchange.done)
    return spent


# ------------------------------------------------------------------------------------------------------- WSGI
class Started:
    """The server's start_response."""

    __slots__ = ("headers", "received", "status")

    def __init__(self) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.received = b""

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        self.status = status
        self.headers = headers
        return self.write

    def write(self, data: bytes) -> None:
        self.received += data


def environ(row: Row, serial: int) -> dict[str, Any]:
    path = row.path.format(serial)
    made: dict[str, Any] = {
        **{"REQUEST_METHOD": row.method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "", "RAW_URI": path},
        **{"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "SERVER_PROTOCOL": "HTTP/1.1"},
        **{"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:8000", "HTTP_USER_AGENT": "python-httpx/0.28.1"},
        **{"HTTP_ACCEPT": "application/json", "HTTP_ACCEPT_ENCODING": "gzip, deflate, br"},
        **{"HTTP_CONNECTION": "keep-alive", "HTTP_AUTHORIZATION": TOKEN},
        **{"HTTP_X_REQUEST_ID": "4b2f6b1c-7f1a-4d4f-9d1c-2f5f6d8a9b0c"},
        **{"wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.errors": io.StringIO(), "wsgi.run_once": False},
        **{"wsgi.input": io.BytesIO(row.sent), "wsgi.input_terminated": True},
        **{"wsgi.multithread": True, "wsgi.multiprocess": False},
    }
    if row.method != "GET":
        made |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(row.sent))}
    if row.keyed:
        made["HTTP_IDEMPOTENCY_KEY"] = f'"3f2504e0-4f89-41d3-9a0c-{serial:012d}"'
    return made


class BareWSGI:
    """The same application for WSGI."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.calls += 1
        method = environ["REQUEST_METHOD"]
        headers = [("Content-Type", "application/json"), ("Content-Length", "200")]
        status = "200 OK"
        if method != "GET":
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        if method == "POST":
            status = "201 Created"
            headers.append(("Location", "/v1/items/42"))
        start_response(status, headers)
        return [bytes(bytearray(CONTENT))]


def run_wsgi(app: WSGIApp, row: Row, numbers: list[int]) -> int:
    """The nanoseconds that these requests took."""
    batch = [(environ(row, number), Started()) for number in numbers]
    start = time.perf_counter_ns()
    for request, started in batch:
        chunks = app(request, started)
        try:
            for data in chunks:
                started.received += data
        finally:
            if close := getattr(chunks, "close", None):
                close()
    spent = time.perf_counter_ns() - start
    for _, started in batch:
        marked = any(name.lower() == "idempotent-replayed" and value == "true" for name, value in started.headers)
        check(row, int(started.status[:3]), started.received, CONTENT, marked, True)
    return spent


def check(row: Row, status: int, received: bytes, content: bytes, marked: bool, done: bool) -> None:
    if not done or status != row.status:
        raise WrongAnswer(f"{row.name}: status {status}, finished: {done}")
    # Some packages keep the JSON and not the bytes; they are timed all the same. verbguard is not let off.
    exact = row.marked or not row.replay
    if status < 400 and received != content and (exact or json.loads(received) != json.loads(content)):
        raise WrongAnswer(f"{row.name}: content {received[:60]!r}")
    if row.marked and not marked:
        raise WrongAnswer(f"{row.name}: the answer is not marked as a replay")
