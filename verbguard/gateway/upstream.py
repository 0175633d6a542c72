"""The service behind the gateway: one request sent, one answer received, over connections that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from verbguard.http import Headers

__all__ = [
    "Answer",
    "Closed",
    "Content",
    "Forbidden",
    "Hints",
    "Late",
    "Malformed",
    "Socket",
    "Truncated",
    "Unreached",
    "Upstream",
]


Hints = Callable[[list[bytes]], None]  # hears the values of Link in a 103


class Unreached(Exception):
    """The service was never sent anything: nothing has run. `late` says that it took too long to reach."""

    def __init__(self, message: str, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


class Malformed(Exception):
    """The service got the request, or part of it, and gave no answer that can be passed on. What it did, nobody knows."""


class Late(Exception):
    """The service got the request and has not answered in time. What it does, nobody knows."""


class Truncated(Exception):
    """The answer ended before it was complete."""


class Forbidden(Exception):
    """The request cannot be sent as it is, and was not."""


class Closed(Exception):
    """The service answered a WebSocket handshake with `status` and `headers` instead of opening the connection."""

    def __init__(self, status: int, headers: Headers) -> None:
        super().__init__(f"the handshake was answered with {status}")
        self.status = status
        self.headers = headers


class Content:
    """A request's content, as it comes from the client.

    `length` is what Content-Length says, None for chunked content. `first` has been received already, and `whole` says that
    nothing will follow. A small content is kept, so that it can be sent again.
    """

    patience: float | None = None  # seconds without a piece after which the client has stopped: it holds a connection meanwhile
    stopped = False  # whether it has

    MOST_KEPT = 64 << 10  # bytes: what servers hand over at once, in one piece or in two

    def __init__(self, length: int | None, first: bytes, whole: bool, receive: Callable[[], Awaitable[Any]]) -> None:
        self.length = length
        self.first = first
        self.whole = whole
        self.gone = False  # whether the client left before the end
        self._reading = False
        self._lost = False
        self._receive = receive

    @property
    def taken(self) -> bool:
        """Whether some of it cannot be had again, or somebody still waits for it."""
        return self._lost or self._reading and not self.whole

    async def pieces(self) -> AsyncIterator[bytes]:
        """The pieces, the first one first. Raises ConnectionAbortedError where the client leaves or stops before the end."""
        if self.first:
            yield self.first
        while not self.whole:
            self._reading = True
            try:
                async with asyncio.timeout(self.patience):
                    message = await self._receive()
            except TimeoutError:
                self.stopped = True
                raise ConnectionAbortedError("the client stopped in the middle of its content") from None
            if message["type"] != "http.request":
                self.gone = True
                raise ConnectionAbortedError("the client went away before the end of its content")
            if not message.get("more_body", False):
                self.whole = True
            if piece := message.get("body", b""):
                if self._lost or len(self.first) + len(piece) > self.MOST_KEPT:
                    self._lost = True
                else:
                    self.first += piece
                yield piece

    @property
    def coming(self) -> bool:
        """Whether the client is sending it; not while it waits to be asked for it."""
        return not (self.whole or self.gone) and (self.taken or bool(self.first))

    async def spend(self, seconds: float) -> None:
        """Take what is still coming, for nobody.

        A connection that is closed while something on it is unread is reset, and with it the answer may be lost to its client
        (RFC 9112 9.6).
        """
        with suppress(TimeoutError, ConnectionAbortedError):
            async with asyncio.timeout(seconds):
                async for _ in self.pieces():
                    pass


class Answer(Protocol):
    """An answer whose head is here. Names are as the service spells them."""

    @property
    def status(self) -> int:
        """The status code, whatever it is."""

    @property
    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        """The field lines in their order."""

    async def read(self) -> bytes:
        """The next piece; empty at the end. Raises Truncated where the service ends before its message does."""

    def ended(self) -> bool:
        """Whether no piece will follow, as far as is known without waiting."""

    def close(self) -> None:
        """Give the connection back if the answer is complete, else cut it."""


class Socket(Protocol):
    """An open WebSocket connection to the service."""

    @property
    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        """The field lines of the answer to the handshake."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the service chose."""

    async def send(self, message: str | bytes) -> None:
        """Send a text or binary message."""

    async def receive(self) -> str | bytes | tuple[int, str]:
        """The next message, or the code and the reason with which the connection ended."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection, unless it is closed."""


class Upstream(Protocol):
    """A service that can be asked.

    `ask` sends a request and returns the answer as soon as its head is there. Raises Forbidden, Unreached, Malformed or Late;
    a request is sent a second time only where its method is idempotent and its content is at hand, and at most once.
    `target` is the path and the query as the client wrote them, `headers` hold one Host.
    """

    async def ask(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        content: Content | None = None,
        overdue: Callable[[], float] | None = None,
        hints: Hints | None = None,
    ) -> Answer:
        """Send a request. Where no answer is there in time, `overdue` says for how many seconds more one is wanted.

        `hints` hears the values of Link in each 103 (Early Hints) before the answer.
        """

    async def connect(self, target: bytes, headers: Headers, subprotocols: Sequence[str]) -> Socket:
        """Open a WebSocket. Raises Closed for another answer, Forbidden, Unreached or Malformed."""

    async def close(self) -> None:
        """End all connections."""
