"""A connection to the service, watched more closely than aiohttp does by itself.

- Interim answers end: a service that sends them for ever gives no answer (RFC 9110 15.2).
- What follows a complete answer is no part of it, and does not spoil it; the connection is not used again (RFC 9112 6.3).
  Nor is it where content may come late: after HEAD, which old scripts take for GET, and after a 204 or 304 that announces some.
- What comes while nobody has asked is no answer to the next request.
- A head may hold any bytes, as HTTP allows, where aiohttp writes UTF-8 only (RFC 9110 5.5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from verbguard.gateway.upstream import Hints

__all__ = ["Connector", "listen", "send_octets"]

MOST_INTERIM = 64  # interim answers to one request: a service that works long says 102 every few seconds
_END = b"\r\n\r\n"


class Connector(aiohttp.TCPConnector):
    """A pool of connections of this kind, for the running event loop."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_Connection, loop=self._loop)  # type: ignore[assignment]


class _Connection(ResponseHandler):
    """One connection; `_answer` is the content of the final answer once its head is here."""

    hints: Hints | None = None  # who hears the links of a 103
    _answer: Any = None
    _interim = 0
    _before = b""  # the end of what has come of a head

    def set_response_params(self, **params: Any) -> None:
        """A request is about to be sent."""
        self._answer = self.hints = None
        self._interim = 0
        self._before = b""
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """An answer's head is here."""
        message, content = data
        if not 100 <= message.code < 200 or message.code == 101:
            self._answer = content
            if self._skip_payload or (message.code in (204, 304) and _announced(message)):
                self.force_close()
        else:
            self._interim += 1
            if self._interim > MOST_INTERIM:
                self.set_exception(aiohttp.ClientPayloadError("interim answers without an end"))
                self._hang_up()
                return
            if message.code == 103 and self.hints is not None:
                self.hints([value for name, value in message.raw_headers if name.lower() == b"link"])
        super().feed_data(data, size)

    def set_exception(self, exc: Any, *cause: Any) -> None:
        """The connection is at fault, and so is an answer that still comes: the parser forgets it, and it would never end."""
        answer = self._answer
        if answer is not None and not answer.is_eof() and answer.exception() is None:
            answer.set_exception(aiohttp.ClientPayloadError(str(exc)))
        super().set_exception(exc, *cause)

    def data_received(self, data: bytes) -> None:
        """Bytes are here. A head is looked at by itself, so that what is wrong behind it does not take it away."""
        while data and self._answer is None and not self._upgraded and self._exception is None:
            end = (self._before + data).find(_END) + 4 - len(self._before)
            if end < 4 - len(self._before) or end == len(data):
                self._before = (self._before + data)[-3:]
                break
            super().data_received(data[:end])
            data, self._before = data[end:], b""
        if data and self._answer is not None and not self._upgraded and self._answer.is_eof():
            self.force_close()
            self._hang_up()
            return
        if self._exception is None:
            super().data_received(data)

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.close()


def _announced(message: Any) -> bool:
    return bool(message.chunked or message.headers.get("Content-Length", "0").strip("0"))


def listen(connection: Any, hints: Hints) -> None:
    """Tell of the early hints that come on this connection before the answer to the request that is sent now."""
    connection.protocol.hints = hints


def send_octets(connection: Any) -> None:
    """What is written next on this connection begins with a head, whose characters are meant as bytes."""
    connection.protocol.transport = _Octets(connection.protocol)


class _Octets:
    """Stands for a transport until the head is written."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._transport: asyncio.Transport = protocol.transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """The head, and what may follow it at once."""
        self._protocol.transport = self._transport
        head, end, rest = bytes(data).partition(_END)
        self._transport.write(head.decode("utf-8").encode("latin-1") + end + rest)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """The same in several pieces."""
        self.write(b"".join(pieces))
