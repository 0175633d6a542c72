"""How `verbguard serve` bounds the head of a request, by either parser of uvicorn: raw bytes to a real server."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from verbguard.cli import heads

PATIENCE = 30.0  # seconds: only a test that hangs needs them
HELLO = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once, and leaves the content of a request where it is."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(parser: str) -> Iterator[socket.socket]:
    """A connection to a server of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    protocol = heads.bounded(parser)
    settings = uvicorn.Config(
        app,
        http=protocol,
        h11_max_incomplete_event_size=2 * heads.HEAD_SIZE,
        lifespan="off",
        log_config=None,
        date_header=False,
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with socket.create_connection(listener.getsockname(), PATIENCE) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def told(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    found = b""
    while piece := client.recv(1 << 16):
        found += piece
    return found


def answer(client: socket.socket) -> bytes:
    """One answer of the app."""
    found = b""
    while not found.endswith(b"\r\n\r\nok"):
        piece = client.recv(1 << 16)
        assert piece, found
        found += piece
    return found


parsers = pytest.mark.parametrize("parser", ["h11", "httptools"])


@parsers
@pytest.mark.parametrize(
    "begins", [b"", b"GET /a HTTP/1.1\r\nHost", HELLO + b"GET /b HT"], ids=["nothing", "half", "the second"]
)
def test_a_head_that_does_not_come(monkeypatch: pytest.MonkeyPatch, parser: str, begins: bytes) -> None:
    """A connection is closed when the head of its request takes too long, also the head of a later one."""
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.05)
    with serving(parser) as client:
        client.sendall(begins)
        assert told(client).count(b"HTTP/1.1 200") == begins.count(HELLO)


@parsers
def test_a_later_head_that_does_not_come(monkeypatch: pytest.MonkeyPatch, parser: str) -> None:
    """A request that was answered buys its connection no more patience."""
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.05)
    with serving(parser) as client:
        client.sendall(HELLO)
        assert answer(client).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /b HT")
        assert told(client) == b""


@parsers
def test_a_head_that_is_too_large(parser: str) -> None:
    """431, and the connection ends; a head of half that size is taken."""
    field = b"x-padding: " + b"y" * 1_000 + b"\r\n"
    with serving(parser) as client:
        client.sendall(HELLO[:-2] + field * (heads.HEAD_SIZE // 2 // len(field)) + b"\r\n")
        assert answer(client).startswith(b"HTTP/1.1 200")
        client.sendall(HELLO[:-2])
        pieces = iter(range(2_000))  # one after the other, so that nothing is on its way when the server closes
        while not select.select([client], [], [], 0.02)[0]:
            next(pieces)
            client.sendall(field)
        assert told(client).startswith(b"HTTP/1.1 431 ")


@parsers
def test_content_is_no_head(monkeypatch: pytest.MonkeyPatch, parser: str) -> None:
    """Content that the app leaves unread, however much and slow, is neither too large nor too late."""
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.05)
    size = 4 * heads.HEAD_SIZE
    with serving(parser) as client:
        client.sendall(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + b"x" * 10)
        assert answer(client).startswith(b"HTTP/1.1 200")
        late = threading.Event()
        late.wait(0.2)  # longer than a head may take
        client.sendall(b"x" * (size - 10) + HELLO)
        assert answer(client).startswith(b"HTTP/1.1 200")
