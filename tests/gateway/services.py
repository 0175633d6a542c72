"""Services as real clients know them, and the gateway in front of them that `UPSTREAM` and `GUARDED` name."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

import verbguard
from verbguard.gateway import Gateway

PIECE = 1 << 16


def repositories(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Git's own smart HTTP service, a CGI program, for the repositories below `REPOSITORIES`."""
    told = {name: value for name, value in environ.items() if isinstance(value, str) and name.isupper()}
    told |= {"GIT_PROJECT_ROOT": os.environ["REPOSITORIES"], "GIT_HTTP_EXPORT_ALL": "1"}
    if "HTTP_GIT_PROTOCOL" in environ:
        told["GIT_PROTOCOL"] = environ["HTTP_GIT_PROTOCOL"]
    program = subprocess.Popen(
        ["git", "http-backend"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"], **told}
    )
    assert program.stdin is not None and program.stdout is not None
    while piece := environ["wsgi.input"].read(PIECE):
        program.stdin.write(piece)
    program.stdin.close()
    status, headers = "200 OK", []
    while line := program.stdout.readline().strip():
        name, _, value = line.decode("latin-1").partition(": ")
        if name == "Status":
            status = value
        else:
            headers.append((name, value))
    start_response(status, headers)
    return _output(program)


def _output(program: subprocess.Popen[bytes]) -> Iterator[bytes]:
    assert program.stdout is not None
    with program:
        while piece := program.stdout.read(PIECE):
            yield piece


async def streams(scope: Any, receive: Any, send: Any) -> None:
    """`/refused` answers before it reads, `/events` speaks slowly, and a WebSocket says what it hears."""
    if scope["type"] == "websocket":
        return await _echo(scope, receive, send)
    if scope["type"] == "http":
        events = scope["path"] == "/events"
        kind = b"text/event-stream" if events else b"text/plain"
        await send({"type": "http.response.start", "status": 200 if events else 413, "headers": [(b"content-type", kind)]})
        for number in range(5 if events else 0):
            await send({"type": "http.response.body", "body": b"id: %d\n\n" % number, "more_body": True})
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"" if events else b"too much"})
    return None


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] != "/echo":
        return await send({"type": "websocket.close"})
    offered = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": offered[-1] if offered else None})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "leave":
            return await send({"type": "websocket.close", "code": 4001, "reason": "as you wish"})
        await send(
            {"type": "websocket.send", **{key: message[key] for key in ("text", "bytes") if message.get(key) is not None}}
        )
    return None


if "UPSTREAM" in os.environ:
    app: Any = Gateway(os.environ["UPSTREAM"])
    if os.environ["GUARDED"] == "yes":
        app = verbguard.guard(app)
