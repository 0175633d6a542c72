"""One request straight into an ASGI app, without a server between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Answer", "ask"]


class Answer(NamedTuple):
    """The whole answer to a request."""

    status: int
    headers: list[tuple[bytes, bytes]]
    content: bytes

    @property
    def replayed(self) -> bool:
        """Whether the guard says that it is the answer of an earlier run."""
        return (b"idempotent-replayed", b"true") in self.headers


async def ask(
    app: Any,
    method: str,
    path: str,
    key: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = ((b"content-type", b"text/plain"),),
) -> Answer:
    """What the app answers to a request with some content, and with this Idempotency-Key, if any."""
    fields = [(b"host", b"h"), *headers, *([(b"idempotency-key", key)] if key else [])]
    scope = {"type": "http", "method": method, "path": path, "headers": fields, "http_version": "1.1"}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"content", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return Answer(sent[0]["status"], sent[0]["headers"], b"".join(each["body"] for each in sent[1:]))
