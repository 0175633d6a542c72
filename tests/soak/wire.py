"""HTTP/1.1 over asyncio's streams, as small as two hundred clients in one process need it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

__all__ = ["Answer", "Broken", "Line"]

PATIENCE = 20.0  # seconds for an answer: longer than any run and any outage, so that a request is never given up half-way


class Broken(Exception):
    """The connection ended before the answer did."""


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def done(self) -> bool:
        return 200 <= self.status < 300

    @property
    def lost(self) -> bool:
        """Whether the server says that the run outlived its lease, so that its answer is not the result."""
        return self.headers.get("idempotency-status") == "lease-lost"


class Line:
    """A connection to one server, opened when it is needed and used again while it lasts."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """The answer. Raises Broken when there is none; whether the request had an effect is then not known."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.send(method, path, headers, body)
                return await self._answer()
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError
            self.close()
            raise Broken(repr(error)) from error

    async def send(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        fields = {"Host": "loopback", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._streams[1].write(head.encode("latin-1") + b"\r\n" + body)
        await self._streams[1].drain()

    async def _answer(self) -> Answer:
        assert self._streams is not None
        reader = self._streams[0]
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(int(first.split()[1]), headers, body)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
