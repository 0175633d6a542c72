"""ASGI callables that use the corners of the protocol, each of them legal, and some that break it.

Every program answers every method and path alike and counts its runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Answer = Callable[["Program", Scope, Receive, Send], Awaitable[None]]

TEXT = [(b"content-type", b"text/plain")]


class Program:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.runs = 0
        self.seen: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.runs += 1
        await self.answer(self, scope, receive, send)


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*TEXT, *headers]}


def body(content: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def drain(receive: Receive) -> bytes:
    """Read the whole body, however many messages it takes."""
    content = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        content += message.get("body", b"")
        if not message.get("more_body", False):
            return content


async def one_message(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    await drain(receive)
    await send(start(200, (b"content-length", b"3")))
    await send(body(b"one"))


async def bare_messages(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """What a message may leave out."""
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


async def many_messages(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    await drain(receive)
    await send(start(200, (b"x-twice", b"1"), (b"x-twice", b"2")))
    for content in (b"a ", b"", b"b ", b"c"):
        await send(body(content, more=True))
    await send(body())


async def iterables(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """Headers as tuples of lists, content as a view of memory: servers take them."""
    await send({"type": "http.response.start", "status": 200, "headers": ([b"content-type", b"text/plain"],)})
    await send({"type": "http.response.body", "body": memoryview(b"viewed")})


async def without_reading(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(202))
    await send(body(b"did not read"))


async def while_reading(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """An answer that begins before the request has ended."""
    await send(start())
    await send(body(b"echo: ", more=True))
    await send(body(await drain(receive)))


async def goes_on(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """Work behind the answer, in the same call."""
    await drain(receive)
    await send(start())
    await send(body(b"goes on"))
    await asyncio.sleep(0)
    program.seen.append("worked")


async def fails_behind(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    await drain(receive)
    await send(start())
    await send(body(b"fails behind"))
    raise LookupError("behind the answer")


async def in_a_task(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """The answer comes from another task than the one that was called."""

    async def work() -> None:
        await drain(receive)
        await send(start())
        await send(body(b"from a task"))

    await asyncio.create_task(work())


async def raises_at_once(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    raise LookupError("at once")


async def raises_half_way(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    await send(body(b"half ", more=True))
    raise LookupError("half way")


async def raises_after_start(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    raise LookupError("after the start")


async def says_nothing(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """Returns without an answer: servers make a 500 of it."""


async def stops_half_way(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """Returns without its last message: servers close the connection."""
    await send(start())
    await send(body(b"stops", more=True))


async def hints(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """Messages of an extension that the guard may not know."""
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    await send(start())
    await send(body(b"hinted"))


async def trailers(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    await send({**start(200, (b"trailer", b"x-sum")), "trailers": True})
    await send(body(b"with trailers"))
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False})


async def sends_a_path(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(200, (b"content-length", b"9")))
    await send({"type": "http.response.pathsend", "path": "/a/file"})


async def echo(program: Program, scope: Scope, receive: Receive, send: Send) -> None:
    """Says something in any case: an empty 200 to DELETE would rightly become a 204."""
    content = await drain(receive)
    await send(start())
    await send(body(content or b"nothing"))


PLAIN = [one_message, bare_messages, many_messages, iterables, while_reading, without_reading, goes_on, in_a_task, echo]
ODD = [fails_behind, hints, trailers, sends_a_path]
RAISING = [raises_at_once, raises_half_way, says_nothing, stops_half_way]
EVERY = [*PLAIN, *ODD, *RAISING]
