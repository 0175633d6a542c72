"""A service that sends content where none belongs: the answer is complete without it, and so is the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from verbguard.gateway import Gateway

HEADS = [
    # method, what the service says                                                             status
    ("HEAD", [b"HTTP/1.1 405 No\r\nContent-Length: 11\r\n\r\ncannot HEAD"], 405),
    ("HEAD", [b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n", b"as for GET!"], 200),
    ("HEAD", [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"], 200),
    ("HEAD", [b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r", b"\n<html>"], 200),
    ("HEAD", [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"], 200),
    ("HEAD", [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"], 200),
    ("HEAD", [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"], 200),
    ("HEAD", [b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"], 200),
    ("DELETE", [b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\ndeleted"], 204),
    ("DELETE", [b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", b"deleted"], 204),
    ("DELETE", [b"HTTP/1.1 20", b"4 No Content\r\nContent-Length: 0\r\n\r\n"], 204),
    ("GET", [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nabc"], 304),
    ("PUT", [b"HTTP/1.1 204 No Content\r\n", b"X-A: 1\r\n\r\n"], 204),
]


@asynccontextmanager
async def service(pieces: list[bytes]) -> AsyncIterator[tuple[int, list[str]]]:
    """A service that says this once, and to every other request that all is well."""
    asked: list[str] = []
    running: list[asyncio.Task[None]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.append(asyncio.current_task())  # type: ignore[arg-type]
        while head := await reader.read(65_536):
            asked.append(head.split(b" ", 1)[0].decode())
            if len(asked) > 1:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
            else:
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.02)  # so that they come one by one; the test is right if they do not
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()
        await asyncio.gather(*running)


@asynccontextmanager
async def gate(port: int) -> AsyncIterator[Gateway]:
    gateway = Gateway(f"http://127.0.0.1:{port}")
    try:
        yield gateway
    finally:
        await gateway.close()


async def asked(gateway: Callable[..., Any], method: str) -> tuple[int, bytes]:
    scope = {"type": "http", "method": method, "path": "/a", "raw_path": b"/a", "query_string": b"", "http_version": "1.1"}
    scope |= {"headers": [(b"host", b"a")], "scheme": "http", "client": ("127.0.0.1", 1)}
    sent: list[dict[str, Any]] = []
    forever = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await forever.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await gateway(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize(("method", "pieces", "status"), HEADS)
async def test_content_where_none_belongs(method: str, pieces: list[bytes], status: int) -> None:
    """It is no part of this answer, and not the beginning of the next."""
    async with service(pieces) as (port, heard), gate(port) as gateway:
        assert await asked(gateway, method) == (status, b"")
        for _ in range(3):
            assert await asked(gateway, "GET") == (200, b"well")
        assert heard == [method, "GET", "GET", "GET"]
