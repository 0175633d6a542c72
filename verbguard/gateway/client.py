"""`Upstream` over aiohttp: the one file that knows it.

It is told to leave every message as it is: no cookies, no redirects, no decompression, no fields of its own, and a target that
is sent byte for byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from multidict import CIMultiDict, istr
from yarl import URL

from verbguard.gateway.connections import Connector, listen, send_octets
from verbguard.gateway.upstream import Answer, Closed, Content, Forbidden, Hints, Late, Malformed, Truncated, Unreached
from verbguard.http import Headers
from verbguard.methods import SAFE

__all__ = ["AiohttpUpstream"]

IDLE = 4.0  # seconds that a connection is kept for the next request: less than the 5 after which common servers hang up
EXPECT = 1.0  # seconds that content waits for a 100 (Continue), which old services do not send (RFC 9110 10.1.1)
_CONDITIONS = frozenset(["if", "if-match", "if-none-match", "if-unmodified-since"])
LARGEST_MESSAGE = 16 << 20  # bytes of a WebSocket message, as uvicorn takes them
LARGEST_FIELD = 64 << 10  # bytes of a status line or of a field
MOST_FIELDS = 1_000

# Schemes by which a service takes all that follows on a connection for the same person's, against RFC 9110 3.3: such a
# connection is nobody else's. NTLM needs several requests on one, and fails here; Negotiate with Kerberos needs one.
_BY_CONNECTION = ("ntlm", "negotiate")

_OF_THE_CLIENT = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class _Names(dict[bytes, istr]):
    """A field's name as ASGI has it -> as aiohttp takes it."""

    def __missing__(self, name: bytes) -> istr:
        found = istr(name.decode("ascii"))
        if len(self) < 2_000:  # clients may make names up
            self[name] = found
        return found


_NAMES = _Names()
_HINTS: ContextVar[Hints | None] = ContextVar("hints", default=None)  # aiohttp hands a request on without its caller
_BEGUN: ContextVar[list[None] | None] = ContextVar("begun", default=None)  # an entry for each time that a request was sent
_AS_OCTETS = istr(":octets")  # a name that no field has: this head is not UTF-8


class AiohttpUpstream:
    """One service, by its scheme, host and port, with a pool of connections that belongs to the running event loop.

    Times are seconds: `connect_timeout` to get a connection, `timeout` between two signs of life, and `late` what may be added
    to it. `connections` is how many are open at most.
    """

    def __init__(
        self, scheme: str, host: str, port: int, *, connect_timeout: float, timeout: float, late: float, connections: int
    ) -> None:
        self.timeout = timeout
        self._connect_timeout = connect_timeout
        self._base = {"scheme": scheme, "host": f"[{host}]" if ":" in host else host, "port": port}
        self._limits, self._wider = (
            aiohttp.ClientTimeout(connect=connect_timeout, sock_connect=connect_timeout, sock_read=seconds)
            for seconds in (timeout, timeout + late)
        )
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session of the running loop."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=Connector(limit=self._connections, keepalive_timeout=IDLE),
                request_class=_Request,
                ws_response_class=_Handshaken,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_OF_THE_CLIENT,
                auto_decompress=False,
                trust_env=False,
                max_line_size=LARGEST_FIELD,
                max_field_size=LARGEST_FIELD,
                max_headers=MOST_FIELDS,
            )
        return self._session

    def url(self, target: bytes, encoding: str = "utf-8") -> URL:
        """The URL whose target is sent byte for byte. Raises UnicodeDecodeError for one in another encoding."""
        path, _, query = target.partition(b"?")
        return URL.build(path=path.decode(encoding), query_string=query.decode(encoding), encoded=True, **self._base)  # type: ignore[arg-type]

    def _exactly(self, target: bytes, headers: Headers) -> tuple[URL, CIMultiDict[str]]:
        """The target and the field lines, as aiohttp sends them byte for byte."""
        try:
            return self.url(target), _fields(headers)
        except UnicodeDecodeError:
            fields = _fields(headers, "latin-1")
            fields[_AS_OCTETS] = ""
            return self.url(target, "latin-1"), fields

    async def ask(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        content: Content | None = None,
        overdue: Callable[[], float] | None = None,
        hints: Hints | None = None,
    ) -> Answer:
        """See `Upstream.ask`."""
        _HINTS.set(hints)
        url, fields = self._exactly(target, headers)
        patience = _Patience(self.timeout, overdue)
        sent = None if content is None else _Sent(content, patience)
        if sent is None:
            patience.begin(self._connect_timeout)
        begun: list[None] = []
        _BEGUN.set(begun)
        limits = self._limits if overdue is None else self._wider
        try:
            async with asyncio.timeout(None) as patience.limit:
                found = await self.session.request(
                    method, url, headers=fields, data=sent, allow_redirects=False, timeout=limits
                )
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            if begun:
                raise Malformed(f"its connection ended, and it was not reached again: {_said(error)}") from error
            raise Unreached(_said(error), late=isinstance(error, TimeoutError)) from error
        except TimeoutError as error:
            raise Late("no answer in time") from error
        except aiohttp.ClientError as error:
            raise Malformed(_said(error)) from error
        except ValueError as error:
            raise Forbidden(str(error)) from error
        finally:
            patience.end()
        _judge_codings(found)
        return _Answer(found)

    async def connect(self, target: bytes, headers: Headers, subprotocols: Sequence[str]) -> _Socket:
        """See `Upstream.connect`."""
        url, fields = self._exactly(target, headers)
        wait = aiohttp.ClientWSTimeout(ws_close=self.timeout)
        try:
            async with asyncio.timeout(self._connect_timeout + self.timeout):
                found = await self.session.ws_connect(
                    url, protocols=subprotocols, headers=fields, timeout=wait, max_msg_size=LARGEST_MESSAGE
                )
        except aiohttp.WSServerHandshakeError as error:
            lines = (error.headers or {}).items()
            raise Closed(
                error.status, [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in lines]
            ) from error
        except (TimeoutError, aiohttp.ClientConnectorError) as error:
            raise Unreached(_said(error), late=isinstance(error, TimeoutError)) from error
        except aiohttp.ClientError as error:
            raise Malformed(_said(error)) from error
        except ValueError as error:
            raise Forbidden(str(error)) from error
        return _Socket(found)

    async def close(self) -> None:
        """End all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _said(error: Exception) -> str:
    """What went wrong, in one line of a log, without the target that aiohttp names: its query may hold a secret."""
    if isinstance(error, TimeoutError):
        return "no connection in time"
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    words = " ".join(said.split())
    return words if isinstance(error, aiohttp.ClientConnectorError) else f"{type(error).__name__}: {words}"


def _judge_codings(found: aiohttp.ClientResponse) -> None:
    """Raises Malformed for content in a coding of the connection that cannot be taken off (RFC 9112 6.1, 7)."""
    codings = found.headers.getall("Transfer-Encoding", None)
    if codings is not None and [coding.strip().lower() for coding in codings] != ["chunked"]:
        found.close()
        raise Malformed(f"Transfer-Encoding: {', '.join(codings)!r}: no coding but chunked was asked for")


def _fields(headers: Headers, encoding: str = "utf-8") -> CIMultiDict[str]:
    """The field lines as aiohttp takes them."""
    fields: CIMultiDict[str] = CIMultiDict()
    for name, value in headers:
        fields.add(_NAMES[name], value.decode(encoding))
    return fields


class _Patience:
    """The wait for the head of an answer, which begins when all of the request is sent."""

    limit: asyncio.Timeout
    _handle: asyncio.TimerHandle | None = None
    _over = False

    def __init__(self, timeout: float, overdue: Callable[[], float] | None) -> None:
        self.timeout = timeout
        self._overdue = overdue
        self._loop = asyncio.get_running_loop()

    def begin(self, more: float = 0.0) -> None:
        """All is sent, or will be when a connection is there, which takes `more` seconds at most."""
        if self._over:  # some answer before they have all of the content
            return
        if self._handle is not None:
            self._handle.cancel()  # the same content is sent a second time
        self._handle = self._loop.call_later(self.timeout + more, self._late)

    def end(self) -> None:
        """The head is there, or will not come."""
        self._over = True
        if self._handle is not None:
            self._handle.cancel()

    def _late(self) -> None:
        if not self._over and not self.limit.expired():
            self.limit.reschedule(self._loop.time() + (0.0 if self._overdue is None else self._overdue()))


def _no_longer(awaited: asyncio.Future[bool]) -> None:
    if not awaited.done():
        awaited.set_result(True)


class _NoContent:
    """The methods to which no `Content-Length: 0` is added: all but those whose content means something (RFC 9110 8.6)."""

    def __contains__(self, method: str) -> bool:
        return method not in aiohttp.ClientRequest.POST_METHODS


class _Request(aiohttp.ClientRequest):
    """A request whose content does not wait for ever for a 100 (Continue), and that says nothing which the client did not."""

    GET_METHODS = _NoContent()  # type: ignore[assignment]

    async def send(self, conn: Any) -> Any:
        """Send the head, and begin with the content."""
        if (begun := _BEGUN.get()) is not None:
            if begun and self.method not in SAFE and not _CONDITIONS.isdisjoint(map(str.lower, self.headers)):
                # What the first time has done would make the condition false, and its client would be told that nothing was.
                raise aiohttp.ClientConnectionError("the connection ended; a write with a condition is not repeated")
            begun.append(None)
        if self.headers.get("Authorization", "")[:9].lower().startswith(_BY_CONNECTION):
            conn.protocol.force_close()
        if self.headers.pop(_AS_OCTETS, None) is not None:
            send_octets(conn)
        if (hints := _HINTS.get()) is not None:
            listen(conn, hints)
        return await super().send(conn)

    def update_expect_continue(self, expect: bool = False) -> None:
        """Note whether a 100 is awaited, and end the wait in time."""
        super().update_expect_continue(expect)
        if self._continue is not None:
            self.loop.call_later(EXPECT, _no_longer, self._continue)


class _Sent(Payload):
    """A request's content on its way to the service, a piece when the service has taken the last one."""

    def __init__(self, content: Content, patience: _Patience) -> None:
        super().__init__(content)
        self._size = content.length
        content.patience = patience.timeout
        self._autoclose = True
        self._patience = patience

    @property
    def consumed(self) -> bool:
        """Whether the content cannot be sent a second time."""
        content: Content = self._value
        return content.taken

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Nobody asks: the content is the client's."""
        raise NotImplementedError

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send it all."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send it all; a service that takes nothing for too long ends it."""
        async for piece in self._value.pieces():
            async with asyncio.timeout(self._patience.timeout):
                await writer.write(piece)
        self._patience.begin()


class _Answer:
    """An answer as aiohttp has it."""

    def __init__(self, found: aiohttp.ClientResponse) -> None:
        self._found = found
        self.status = found.status
        self.headers = found.raw_headers

    async def read(self) -> bytes:
        """The next piece; empty at the end."""
        try:
            return await self._found.content.readany()
        except TimeoutError as error:
            raise Truncated("the service stopped in the middle of its answer") from error
        except aiohttp.ClientError as error:
            raise Truncated(f"the answer ended before it was complete: {error}") from error

    def ended(self) -> bool:
        """Whether no piece will follow."""
        return self._found.content.at_eof()

    def close(self) -> None:
        """Give the connection back, or cut it."""
        self._found.close()


class _Handshaken(aiohttp.ClientWebSocketResponse):
    """A WebSocket that remembers how its handshake was answered."""

    def __init__(
        self, reader: Any, writer: Any, protocol: str | None, response: aiohttp.ClientResponse, *rest: Any, **more: Any
    ) -> None:
        super().__init__(reader, writer, protocol, response, *rest, **more)
        self.answered = response.raw_headers


class _Socket:
    """A WebSocket as aiohttp has it."""

    def __init__(self, found: Any) -> None:
        self._found: _Handshaken = found
        self.headers = self._found.answered
        self.subprotocol = self._found.protocol

    async def send(self, message: str | bytes) -> None:
        """Send a text or binary message."""
        if isinstance(message, str):
            await self._found.send_str(message)
        else:
            await self._found.send_bytes(message)

    async def receive(self) -> str | bytes | tuple[int, str]:
        """The next message, or the code and the reason of the end."""
        message = await self._found.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return message.data  # type: ignore[no-any-return]
        if message.type is aiohttp.WSMsgType.CLOSE:
            return message.data or 1005, message.extra or ""
        return self._found.close_code or 1006, ""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection, unless it is closed."""
        await self._found.close(code=code, message=reason.encode())
