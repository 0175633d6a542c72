"""WebSocket through the gateway: two connections whose messages are handed over, one by one, both ways (RFC 6455)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from verbguard.gateway.fields import answered
from verbguard.gateway.upstream import Closed, Forbidden, Malformed, Socket, Unreached, Upstream
from verbguard.http import Headers, Response, problem

__all__ = ["hand_over"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# What each hop says of its own connection.
_HANDSHAKE = frozenset(b"sec-websocket-" + name for name in (b"accept", b"extensions", b"key", b"protocol", b"version"))
# Codes that no endpoint may send: none at all, and a connection that broke, which is a bad gateway's.
_UNSAID = {1005: 1000, 1006: 1014}


async def hand_over(
    client: Upstream,
    scope: MutableMapping[str, Any],
    receive: Receive,
    send: Send,
    target: bytes,
    fields: Headers,
    refusal: Response | None = None,
) -> None:
    """Connect to the service, and pass messages until one side closes; then the other hears the same code.

    With a `refusal` the service is not asked at all.
    """
    await receive()  # websocket.connect
    if refusal is not None:
        return await _refuse(scope, send, refusal)
    fields = [pair for pair in fields if pair[0] not in _HANDSHAKE]
    try:
        socket = await client.connect(target, fields, scope.get("subprotocols", []))
    except Closed as refused:
        headers = [pair for pair in answered(refused.status, refused.headers) if pair[0] != b"content-length"]
        return await _refuse(scope, send, Response(refused.status, headers))
    except Forbidden as error:
        detail = f"It cannot be passed on unchanged: {error}."
        return await _refuse(scope, send, problem("gateway-502-504", "The request cannot be forwarded", 400, detail))
    except (Unreached, Malformed) as error:
        status = 504 if isinstance(error, Unreached) and error.late else 502
        title = "The service did not take the connection"
        return await _refuse(scope, send, problem("gateway-502-504", title, status, "Try again later."))
    headers = [pair for pair in answered(101, socket.headers) if pair[0] not in _HANDSHAKE]
    await send({"type": "websocket.accept", "subprotocol": socket.subprotocol, "headers": headers})
    await _both_ways(socket, receive, send)
    return None


async def _both_ways(socket: Socket, receive: Receive, send: Send) -> None:
    ways = [asyncio.ensure_future(_inward(socket, receive)), asyncio.ensure_future(_outward(socket, send))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await socket.close()


async def _inward(socket: Socket, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            code = message.get("code") or 1005
            return await socket.close(_UNSAID.get(code, code), message.get("reason") or "")
        text = message.get("text")
        await socket.send(message["bytes"] if text is None else text)


async def _outward(socket: Socket, send: Send) -> None:
    while True:
        piece = await socket.receive()
        if isinstance(piece, tuple):
            code, reason = piece
            return await send({"type": "websocket.close", "code": _UNSAID.get(code, code), "reason": reason})
        await send({"type": "websocket.send", "text" if isinstance(piece, str) else "bytes": piece})


async def _refuse(scope: MutableMapping[str, Any], send: Send, answer: Response) -> None:
    """An HTTP answer instead of the handshake, where the server can send one; else its own 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        return await send({"type": "websocket.close", "code": 1008})
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": answer.headers})
    return await send({"type": "websocket.http.response.body", "body": answer.body, "more_body": False})
