"""The internal GET: ask the wrapped application for a target's state, as the client of a request would."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from copy import deepcopy
from io import BytesIO
from typing import Any

from verbguard.derived import Look
from verbguard.http import Headers

__all__ = ["LOOK", "look", "look_blocking", "unsent"]

logger = logging.getLogger("verbguard")

LOOK = 30.0  # seconds that the state may take to come; a write that waits for it keeps the others waiting

Message = MutableMapping[str, Any]

# What lets the server read a content that then is never seen.
_UNSEEN = frozenset(["http.response.pathsend", "http.response.zerocopysend"])


class _Enough(Exception):
    """Stops an application whose further content nobody wants."""


def unsent(extensions: Any) -> Any:
    """A scope's extensions without those by which the server sends a file itself: its bytes must come by here."""
    if not extensions or _UNSEEN.isdisjoint(extensions):
        return extensions
    return {name: value for name, value in extensions.items() if name not in _UNSEEN}


async def look(app: Callable[..., Awaitable[None]], scope: MutableMapping[str, Any], headers: Headers, bound: int) -> Look:
    """What a GET with these fields shows of the target of an ASGI scope."""
    import asyncio  # here, as programs that speak WSGI never load it

    seen = Look(bound)
    asked: dict[str, Any] = {**scope, "method": "GET", "headers": headers, "extensions": unsent(scope.get("extensions"))}
    if type(asked.get("state")) is dict:
        asked["state"] = {**asked["state"]}
    if isinstance(asked.get("session"), dict):  # a layer outside saves what changes in it, and the client has asked for no GET
        with suppress(Exception):  # one that cannot be copied
            asked["session"] = deepcopy(asked["session"])
    begun = False

    async def receive() -> Message:
        nonlocal begun
        if begun:
            await asyncio.Event().wait()  # this client does not go away
        begun = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            wanted = seen.begin(message["status"], [*message.get("headers", ())])
        elif kind == "http.response.body":
            wanted = seen.add(message.get("body", b""))
            seen.complete = not message.get("more_body", False)
        else:
            return
        if not wanted:
            raise _Enough

    try:
        async with asyncio.timeout(LOOK):
            await app(asked, receive, send)
    except Exception as error:
        if seen.whole and not seen.complete:
            _failed(seen, error)
    return seen


def look_blocking(app: Callable[..., Iterable[bytes]], environ: dict[str, Any], bound: int) -> Look:
    """What a GET shows of the target of a WSGI environ that has its fields already."""
    seen = Look(bound)
    asked = {**environ, "REQUEST_METHOD": "GET", "wsgi.input": BytesIO()}

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], Any]:
        seen.begin(int(status[:3]), [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers])
        return seen.add

    try:
        result = app(asked, start_response)
        try:
            for piece in result:
                if not seen.add(piece):
                    break
            else:
                seen.complete = True
        finally:
            if (close := getattr(result, "close", None)) is not None:
                with suppress(Exception):
                    close()
    except Exception as error:
        _failed(seen, error)
    return seen


def _failed(seen: Look, error: Exception) -> None:
    logger.warning("the internal GET of a target with preconditions or replay.verify failed", exc_info=error)
    seen.fail()
