"""The gateway itself: an ASGI app that forwards every request to one service, and its answer back, as they are."""

from __future__ import annotations

from verbguard.errors import ConfigError
from verbguard.gateway.fields import forwarded, origin_of
from verbguard.gateway.heads import Head, Receive, Scope, Send, content_of, mount_of, refused, reply, target_of
from verbguard.gateway.naming import Names
from verbguard.gateway.passing import Passing
from verbguard.gateway.table import GatewayTable, origin
from verbguard.gateway.upstream import Upstream
from verbguard.gateway.websockets import hand_over
from verbguard.http import Headers

__all__ = ["Gateway"]

_COUNTED = ("OPTIONS", "TRACE")  # RFC 9110 7.6.2


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
            head = Head(scope["headers"])
            refusal = refused("GET", scope, head)
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
        head = Head(scope["headers"])
        refusal = refused(method, scope, head)
        if refusal is not None:
            if (claim := scope.get("verbguard.run")) is not None:
                claim.not_run()
            return await reply(send, refusal)
        content = await content_of(head, scope.get("http_version", "1.1"), receive)
        if content is not None and content.gone:
            return None
        exchange = Passing(self, scope, receive, send, content)
        try:
            await exchange.run(method, target_of(scope), self._fields(scope, head))
        finally:
            exchange.over()
        return None

    def _fields(self, scope: Scope, head: Head) -> Headers:
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
