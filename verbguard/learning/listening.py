"""An ASGI layer that hears what passes, changes nothing, and keeps no more of it than learning needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from verbguard.http import Headers
from verbguard.learning.exchanges import Exchanged
from verbguard.location import MAX_BYTES

__all__ = ["Recorder"]

MOST_CONTENT = 1 << 20  # bytes of a request that are compared with those of its retry; a larger one is compared with nothing

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Recorder:
    """Hands each exchange that passes to `heard`, once it is over; one that was cut off before its head is none."""

    def __init__(self, app: Any, heard: Callable[[Exchanged], None]) -> None:
        self.app = app
        self.heard = heard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)  # type: ignore[no-any-return]
        hearing = _Hearing(scope, receive, send)
        try:
            await self.app(scope, hearing.receive, hearing.send)
        finally:
            if hearing.status:
                self.heard(hearing.exchanged())
        return None


class _Hearing:
    """One exchange, as it passes."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._content: bytearray | None = bytearray()
        self._complete = False
        self._body = bytearray()
        self._answered: Headers = []
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            if self._content is not None:
                self._content += message.get("body", b"")
                if len(self._content) > MOST_CONTENT:
                    self._content = None
            self._complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._answered = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
        elif message["type"] == "http.response.body" and self._tells and len(self._body) <= MAX_BYTES:
            self._body += message.get("body", b"")
        await self._send(message)

    @property
    def _tells(self) -> bool:
        """Whether the content of the answer may tell where a creation is."""
        return self.status == 201 and self._scope["method"] == "POST"

    def exchanged(self) -> Exchanged:
        whole = self._content is not None and self._complete
        return Exchanged(
            method=self._scope["method"],
            path=self._scope["path"],
            status=self.status,
            query=self._scope.get("query_string", b""),
            headers=[(bytes(name).lower(), bytes(value)) for name, value in self._scope["headers"]],
            content=bytes(self._content or b"") if whole else None,
            answered=self._answered,
            body=bytes(self._body) if self._tells and len(self._body) <= MAX_BYTES else None,
        )
