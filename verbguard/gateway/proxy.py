"""The gateway itself: an ASGI app that forwards every request to one service, and its answer back, as they are."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from verbguard.errors import ConfigError
from verbguard.gateway.fields import PSEUDONYM, answered, forwarded, origin_of
from verbguard.gateway.naming import Names
from verbguard.gateway.table import GatewayTable, origin
from verbguard.gateway.upstream import Answer, Content, Forbidden, Hints, Late, Malformed, Truncated, Unreached, Upstream
from verbguard.gateway.websockets import hand_over
from verbguard.http import Headers, Response, header, problem, quoted_path, reason
from verbguard.rules.methods import HOSTS

__all__ = ["Gateway"]

logger = logging.getLogger("verbguard")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LATE = 504, "The service has not answered in time", "What became of the request is not known."

LARGEST_HEAD = 128 << 10  # bytes of a request's fields: twice what h11 and hypercorn take, and httptools takes any number
LINGER = 5.0  # seconds in which a client may finish what is not wanted any more, as the usual servers give it
LOOK = 0.05  # seconds until somebody looks whether the client is still there: most answers are out by then

_RULE = "gateway-502-504"
_COUNTED = ("OPTIONS", "TRACE")  # RFC 9110 7.6.2
_ON_HTTP1 = ("1.1", "1.0")
_VERSIONS = (*_ON_HTTP1, "2", "3")
MOST_PASSES = 8  # times that one request comes by a gateway of this kind: nobody has so many in a row


class Gateway:
    """An HTTP service as an ASGI app, for `verbguard.guard(Gateway("http://127.0.0.1:9000"))`.

    `upstream` is the service's origin: scheme, host and port. `public` is the origin that clients see, such as
    `https://api.example.com`: with it what names the upstream is rewritten to a whole URL, without it to a path. `host` says
    which Host the service gets: the client's ("public", so that it builds its links as if it stood alone) or its own
    ("upstream", for one that serves nothing else). Times are seconds: `connect_timeout` to reach the service (5, as a
    service on the same network answers at once), `timeout` without a byte from it (60, as long as the usual proxy waits) and
    `late` for an answer that a key still waits for after its client was told 504. `trust_forwarded` keeps what an earlier hop
    says in Forwarded and X-Forwarded-*: only where every client is such a hop. `connections` to the service are open at most.

    Raises ConfigError for arguments that cannot be meant.
    """

    __verbguard_gateway__ = True

    def __init__(
        self,
        upstream: str,
        *,
        public: str | None = None,
        host: str = "public",
        connect_timeout: float = 5.0,
        timeout: float = 60.0,
        late: float = 30.0,
        trust_forwarded: bool = False,
        connections: int = 100,
        client: Upstream | None = None,
    ) -> None:
        asked = GatewayTable(
            upstream=origin(upstream, "upstream"),
            public=public,
            host=host,
            connect_timeout=connect_timeout,
            timeout=timeout,
            late=late,
            trust_forwarded=trust_forwarded,
            connections=connections,
        )
        assert asked.upstream is not None
        self.upstream = asked.upstream
        self.names = Names(asked.upstream, asked.public, own=host == "upstream")
        self.trusted = trust_forwarded
        self.late = asked.late
        self.timeout = asked.timeout
        self.client = client or _aiohttp(asked)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._forward(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "websocket":
            head = _Head(scope["headers"])
            refusal = _refused("GET", scope, head)
            await hand_over(self.client, scope, receive, send, target_of(scope), self._fields(scope, head), refusal)
        else:
            raise NotImplementedError(f"a gateway has no answer to {kind!r}")

    async def close(self) -> None:
        """End all connections to the service."""
        await self.client.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        head = _Head(scope["headers"])
        refusal = _refused(method, scope, head)
        if refusal is not None:
            if (claim := scope.get("verbguard.run")) is not None:
                claim.not_run()
            return await _reply(send, refusal)
        content = await _content(head, scope.get("http_version", "1.1"), receive)
        if content is not None and content.gone:
            return None
        exchange = _Passing(self, scope, receive, send, content)
        try:
            await exchange.run(method, target_of(scope), self._fields(scope, head))
        finally:
            exchange.over()
        return None

    def _fields(self, scope: Scope, head: _Head) -> Headers:
        client = scope.get("client")
        found = forwarded(
            scope["headers"],
            version=scope.get("http_version", "1.1"),
            host=head.host,
            client=client[0] if client else "",
            scheme=scope.get("scheme", "http"),
            trusted=self.trusted,
        )
        found.insert(0, (b"host", self.names.host_for(head.host)))
        if head.hops and scope.get("method") in _COUNTED:
            left = b"max-forwards", b"%d" % (head.hops - 1)
            found = [left if name == b"max-forwards" else (name, value) for name, value in found]
        return self.names.inward(found, head.host, mount_of(scope))


class _Passing:
    """One request on its way to the service, and the answer on its way back."""

    def __init__(self, gateway: Gateway, scope: Scope, receive: Receive, send: Send, content: Content | None) -> None:
        self.gateway = gateway
        self.scope = scope
        self.receive = receive
        self.send = send
        self.content = content
        self.claim: Any = scope.get("verbguard.run")  # what a guard holds for this request, if it holds a claim
        self.told: asyncio.Task[None] | None = None  # the client is told that its answer is late
        self.hinting: asyncio.Task[None] | None = None  # the early hints on their way to the client
        self.gone = False  # whether the client is away
        self.look: asyncio.TimerHandle | None = None
        self.watch: asyncio.Task[None] | None = None
        self.limit: asyncio.Timeout | None = None

    async def run(self, method: str, target: bytes, fields: Headers) -> None:
        """Ask and answer, until the client goes away."""
        loop = asyncio.get_running_loop()
        self.look = loop.call_later(LOOK, self._watch)
        try:
            async with asyncio.timeout(None) as self.limit:
                answer = await self._asked(method, target, fields)
                if answer is not None:
                    try:
                        await self._pass(answer)
                    finally:
                        answer.close()
        except TimeoutError:
            if not self.gone:
                raise
        except OSError:
            self.gone = True  # as a server says it when something is sent to a client that left

    async def _asked(self, method: str, target: bytes, fields: Headers) -> Answer | None:
        """The service's answer; None where there is none and the client has been told."""
        try:
            overdue = None if self.claim is None else self._overdue
            answer = await self.gateway.client.ask(method, target, fields, self.content, overdue, self._hints())
        except Forbidden as error:
            await self._tell(400, "The request cannot be forwarded", f"It cannot be passed on unchanged: {error}.", ran=False)
        except Unreached as error:
            logger.warning("verbguard: the service at %s was not reached: %s", self.gateway.upstream, error)
            status, title = (504, "The service was not reached in time") if error.late else (502, "The service was not reached")
            await self._tell(status, title, "The request was not sent to it; it may be repeated.", ran=False)
        except Malformed as error:
            if self.content is not None and self.content.gone:
                self.gone = True
                return None
            if self.content is not None and self.content.stopped:
                # RFC 9110 15.5.9; with a key all of the content was here before, so no claim has to hear of it
                closing = [(b"connection", b"close")] if self.scope.get("http_version", "1.1") in _ON_HTTP1 else []
                await _reply(self.send, _unserved(408, "The rest of the content did not come in time.", closing))
                return None
            logger.warning("verbguard: the service at %s gave no answer: %s", self.gateway.upstream, error)
            await self._tell(502, "The service gave no valid answer", "What became of the request is not known.")
        except Late:
            await self._tell(*_LATE)
        else:
            if self.told is not None:
                await self.told
            await self._hinted()
            if 200 <= answer.status <= 599:
                return answer
            answer.close()
            logger.warning("verbguard: the service at %s answered with the status %s", self.gateway.upstream, answer.status)
            await self._tell(502, "The service answered with a status that HTTP does not have", f"It said {answer.status}.")
        return None

    async def _tell(self, status: int, title: str, detail: str, ran: bool = True) -> None:
        """An answer of the gateway's own. A guard that holds a claim learns whether the request can have run."""
        self.scope["verbguard.unanswered"] = status  # who counts what the service owes looks for it
        answer = problem(_RULE, title, status, detail)
        await self._hinted()
        if self.told is not None:
            await self.told
        elif self.claim is None:
            await _reply(self.send, answer)
        elif ran:
            await self.claim.unknown(answer)
        else:
            self.claim.not_run()
            await _reply(self.send, answer)

    def _hints(self) -> Hints | None:
        """Where early hints go; None where the server or its client does not take them (RFC 9110 15.2)."""
        scope = self.scope
        if "http.response.early_hint" not in (scope.get("extensions") or ()) or scope.get("http_version") == "1.0":
            return None
        return self._hint

    def _hint(self, links: list[bytes]) -> None:
        message = {"type": "http.response.early_hint", "links": links}
        self.hinting = asyncio.get_running_loop().create_task(self._say_hint(message, self.hinting))

    async def _say_hint(self, message: Message, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        with suppress(OSError):  # whether the client is there is seen when the answer is sent
            await self.send(message)

    async def _hinted(self) -> None:
        """The answer comes behind all hints."""
        if self.hinting is not None:
            await self.hinting

    def _overdue(self) -> float:
        """The client is told that the answer is late; for its retry the answer is still wanted."""
        self.told = asyncio.get_running_loop().create_task(self.claim.unknown(problem(_RULE, _LATE[1], 504, _LATE[2])))
        return self.gateway.late

    async def _pass(self, answer: Answer) -> None:
        """The answer, piece by piece: the next is read when the last has been taken."""
        http1 = self.scope.get("http_version", "1.1") in _ON_HTTP1
        headers = answered(answer.status, answer.headers, self.scope["method"], http1)
        if mount := mount_of(self.scope):
            host = header(self.scope["headers"], b"host")
            headers = self.gateway.names.outward(answer.status, headers, host, mount)
        else:
            headers = self.gateway.names.outward(answer.status, headers)
        content = self.content
        if content is not None and not content.whole and http1:
            headers.append((b"connection", b"close"))  # what the client still sends is not the next request
        bodiless = self.scope["method"] == "HEAD" or answer.status in (204, 304)
        await self.send({"type": "http.response.start", "status": answer.status, "headers": headers})
        try:
            piece, more = b"", not bodiless
            while more:
                piece = await answer.read()
                more = bool(piece) and not answer.ended()
                if more:
                    await self._hand({"type": "http.response.body", "body": piece, "more_body": True})
            if content is not None and content.coming:
                await self._hand({"type": "http.response.body", "body": piece, "more_body": True})
                answer.close()
                await content.spend(LINGER)
                piece = b""
            await self.send({"type": "http.response.body", "body": piece, "more_body": False})
        except Truncated as error:
            # The server cuts the connection of an app that leaves in the middle: the client must not take this for all.
            if not self.gone:
                logger.warning("verbguard: the service at %s: %s", self.gateway.upstream, error)

    async def _hand(self, message: Message) -> None:
        """A piece to a client that takes it in time; one that does not would hold a connection to the service."""
        try:
            async with asyncio.timeout(self.gateway.timeout) as limit:
                await self.send(message)
        except TimeoutError:
            if not limit.expired():
                raise
            self.gone = True
            logger.info("verbguard: a client took nothing of an answer for %g s", self.gateway.timeout)
            raise Truncated("the client takes nothing") from None

    # ---- the client's presence

    def _watch(self) -> None:
        """Somebody has to notice when the client goes away; not while its content is still being received."""
        content = self.content
        if content is not None and not content.whole:
            self.look = asyncio.get_running_loop().call_later(LOOK, self._watch)
            return
        self.watch = asyncio.get_running_loop().create_task(self._wait_for_the_end())

    async def _wait_for_the_end(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time())

    def over(self) -> None:
        """Nobody has to look any longer."""
        if self.look is not None:
            self.look.cancel()
        for task in (self.watch, self.hinting):
            if task is not None:
                task.cancel()


def mount_of(scope: Scope) -> str:
    """The path below which clients find the service, as it stands in a URL."""
    prefix = scope.get("root_path")
    return quoted_path(prefix.rstrip("/")) if prefix else ""


def target_of(scope: Scope) -> bytes:
    """The path below the mount and the query, as the client wrote them."""
    path = scope.get("raw_path") or quoted_path(scope["path"]).encode("ascii")
    path = path.partition(b"?")[0]
    prefix = mount_of(scope).encode("ascii")
    if prefix and (path == prefix or path.startswith(prefix + b"/")):
        path = path[len(prefix) :] or b"/"
    query = scope.get("query_string", b"")
    return path + b"?" + query if query else path


def _refused(method: str, scope: Scope, head: _Head) -> Response | None:
    """What no gateway of this kind forwards, whether a guard stands in front of it or not."""
    version = scope.get("http_version", "1.1")
    closing = [(b"connection", b"close")] if version in _ON_HTTP1 else []
    if version not in _VERSIONS:
        # RFC 9110 15.6.6; httptools takes HTTP/0.9 for a request like any other, and h11 whatever the request line says
        return _unserved(505, f"HTTP/{version} is not served.", [])
    if head.passes >= MOST_PASSES:
        # RFC 9110 7.6: nobody forwards a message to itself "unless it is protected from an infinite request loop"
        return _unserved(508, "The service behind this gateway leads back to it: Via shows it.", closing)
    if head.size > LARGEST_HEAD:
        return _unserved(431, f"The fields of a request hold at most {LARGEST_HEAD} bytes.", closing)  # RFC 6585 5
    if method == "CONNECT":
        return problem("connect-off", "CONNECT is not implemented", 501, "This is a gateway, and no proxy.")
    if method != method.upper():
        return problem("method-case-sensitive", "Methods are case-sensitive", 501, "This gateway knows only upper case.")
    if head.hosts != 1 and (head.hosts or version == "1.1") or head.hosts == 1 and not HOSTS[head.host]:
        detail = "Host is missing." if not head.hosts else "Host is repeated, or no host."
        return problem("host-exactly-one", "Host is missing, repeated or invalid", 400, detail)
    if head.coded and (head.length is not None or version == "1.0"):
        # RFC 9112 6.1: HTTP/1.0 has no codings, and who put the field there may not be who frames the content
        other = "Content-Length" if head.length is not None else "HTTP/1.0"
        detail = f"{other} beside Transfer-Encoding: nobody can tell where the content ends."
        return problem("framing-cl-te", "Two framing fields", 400, detail, closing)
    if head.coded and not head.chunked:
        # "A server that receives a request message with a transfer coding it does not understand SHOULD respond with 501",
        # RFC 9112 6.1. What a server has decoded is passed on as chunked, and would lose the other coding.
        return problem("framing-cl-te", "A transfer coding that is not known", 501, "This gateway knows only chunked.", closing)
    if scope["path"] != "*" and (not (target := target_of(scope)).startswith(b"/") or b"#" in target):
        # What a service makes of these nobody knows, so nobody can judge them for it: `@other.example` behind its own name is
        # another host, and what follows a `#` may be left out (RFC 9112 3.2, RFC 9110 4.2.5).
        return _unserved(400, "A target begins with a slash, and has no fragment.", closing)
    if scope["path"] == "*":
        # The question is about the server that the client is connected with, which is this one.
        return Response(204, [(b"allow", b"GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE")])
    if head.hops == 0 and method == "OPTIONS":
        return Response(204)
    if head.hops == 0 and method == "TRACE":
        return problem("options-max-forwards", "TRACE is not answered here", 501, "Max-Forwards lets it go no further.")
    return None


def _unserved(status: int, detail: str, further: Headers) -> Response:
    """A problem of no rule, whose type is the status itself (RFC 9457 4.2.1)."""
    body = json.dumps({"status": status, "title": reason(status), "detail": detail}).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    return Response(status, [*headers, (b"cache-control", b"no-store"), *further], body)


class _Head:
    """What the fields of a request say of its connection and its content."""

    __slots__ = ("chunked", "coded", "expects", "hops", "host", "hosts", "length", "passes", "size")

    def __init__(self, headers: Headers) -> None:
        self.host: bytes | None = None
        self.hosts = 0
        self.length: int | None = None
        self.hops: int | None = None  # what Max-Forwards says
        self.coded = self.chunked = self.expects = False
        self.size = 0
        self.passes = 0  # how often Via names a gateway of this kind
        for name, value in headers:
            self.size += len(name) + len(value)
            if name == b"host":
                self.host = value
                self.hosts += 1
            elif name == b"content-length":
                self.length = int(value) if value.isdigit() else 0
            elif name == b"transfer-encoding":
                self.chunked = not self.coded and value.strip().lower() == b"chunked"
                self.coded = True
            elif name == b"expect":
                self.expects = value.lower() == b"100-continue"
            elif name == b"via":
                self.passes += value.count(PSEUDONYM)
            elif name == b"max-forwards" and value.isdigit() and len(value) < 10:
                self.hops = int(value)


async def _content(head: _Head, version: str, receive: Receive) -> Content | None:
    """The request's content, of which the first piece is here, unless the client waits to be asked for it; None without one.

    From HTTP/2 on there may be content that no field announces.
    """
    unannounced = head.length is None and not head.coded and version not in _ON_HTTP1
    if not (head.chunked or head.length or unannounced):
        return None
    if head.expects and not unannounced:
        return Content(head.length, b"", False, receive)
    message = await receive()
    content = Content(head.length, message.get("body", b""), not message.get("more_body", False), receive)
    content.gone = message["type"] != "http.request"
    if unannounced and content.whole and not content.first and not content.gone:
        return None
    return content


async def _reply(send: Send, answer: Response) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers]})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def _aiohttp(asked: GatewayTable) -> Upstream:
    try:
        from verbguard.gateway.client import AiohttpUpstream
    except ModuleNotFoundError as missing:
        if missing.name not in ("aiohttp", "multidict", "yarl"):
            raise
        raise ConfigError("a gateway needs aiohttp: pip install 'verbguard[gateway]'") from None
    found = origin_of(asked.upstream or "")
    assert found is not None
    scheme, name, port = found
    return AiohttpUpstream(
        scheme,
        name,
        port,
        connect_timeout=asked.connect_timeout,
        timeout=asked.timeout,
        late=asked.late,
        connections=asked.connections,
    )
