"""uvicorn's HTTP/1 protocols, with bounds on the head of a request: uvicorn itself waits for one as long as it takes, and of
its two parsers the faster one takes a head of any size."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib.util import find_spec
from typing import Any

__all__ = ["HEAD_SECONDS", "HEAD_SIZE", "bounded"]

HEAD_SECONDS = 30.0  # longer than any client needs; a connection that never says what it wants is not held for ever
HEAD_SIZE = 64 << 10  # bytes, beyond the first read: the most that h11 takes by default, and eight times what nginx does

# RFC 6585 section 5
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def bounded(name: str) -> str:
    """Where uvicorn finds the protocol of that name with the bounds ("auto": the faster one, where it is installed).

    A name, as workers are sent their settings.
    """
    fast = name == "httptools" or (name == "auto" and find_spec("httptools") is not None)
    return f"{__name__}:{'BoundedHttpTools' if fast else 'BoundedH11'}"


def __getattr__(name: str) -> Any:
    made = {"BoundedH11": _h11, "BoundedHttpTools": _httptools}.get(name)
    if made is None:
        raise AttributeError(name)
    return made()


@cache
def _h11() -> type[asyncio.Protocol]:
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class BoundedH11(_Bounded, H11Protocol):
        def in_a_head(self) -> bool:
            return self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])

    return BoundedH11


@cache
def _httptools() -> type[asyncio.Protocol]:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class BoundedHttpTools(_Bounded, HttpToolsProtocol):
        _begun = False

        def on_message_begin(self) -> None:
            self._begun = True
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._begun = False
            super().on_headers_complete()

        def in_a_head(self) -> bool:
            return self._begun

    return BoundedHttpTools


class _Bounded:
    """Ends a connection whose next request does not show all of its head in time, or shows too much of it."""

    cycle: Any
    loop: asyncio.AbstractEventLoop
    transport: Any

    _clock: asyncio.TimerHandle | None = None
    _seen = 0  # bytes of a head, after the piece that it began in

    def in_a_head(self) -> bool:
        """Whether some of a request's head is here, and its end is not."""
        raise NotImplementedError

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        self._clock = self.loop.call_later(HEAD_SECONDS, self._end)

    def data_received(self, data: bytes) -> None:
        was = self.in_a_head()
        super().data_received(data)  # type: ignore[misc]
        if not self.in_a_head():
            self._forget()
            return
        if self._clock is None:
            self._clock = self.loop.call_later(HEAD_SECONDS, self._end)
        if was:
            self._seen += len(data)
        if self._seen > HEAD_SIZE:
            self._end(_TOO_LARGE)

    def connection_lost(self, error: Exception | None) -> None:
        self._forget()
        super().connection_lost(error)  # type: ignore[misc]

    def _forget(self) -> None:
        self._seen = 0
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _end(self, words: bytes = b"") -> None:
        self._clock = None
        if self.transport.is_closing():
            return
        running = self.cycle is not None and not self.cycle.response_complete
        if words and not running:
            self.transport.write(words)
        elif running and not words:
            self._clock = self.loop.call_later(HEAD_SECONDS, self._end)  # an answer is on its way; it is not cut for this
            return
        self.transport.close()
