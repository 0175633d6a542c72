"""A WSGI app under an ASGI server: a2wsgi, and what an app may expect of its environ.

a2wsgi leaves three things out that matter here: it never says that `wsgi.input` ends by itself, so a chunked body
reads as empty; it calls every process one of many, which turns off what needs one process; and a client that
disappears looks to it like the end of the body.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from werkzeug.wsgi import ClosingIterator

Environ = dict[str, Any]
WSGI = Callable[[Environ, Any], Iterable[bytes]]
ASGI = Callable[[Any, Any, Any], Awaitable[None]]

THREADS = 10  # a2wsgi's own default: requests handled at once
SPOOL = 1 << 20  # bytes of a chunked body held in memory; more goes to a temporary file
RECEIVE = "verbguard.bridge.receive"  # where the ASGI side leaves its receive for the WSGI side


def over_asgi(app: WSGI, threads: int = THREADS, many: bool = False) -> ASGI:
    """The WSGI app as an ASGI app, its environ as complete as a WSGI server's. `many`: whether several processes serve it."""
    from a2wsgi import WSGIMiddleware

    bridge = WSGIMiddleware(completed(app, many), workers=threads)  # type: ignore[arg-type]

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await bridge(scope, receive, send)
            return
        inner: Any = {**scope, RECEIVE: (asyncio.get_running_loop(), receive)}
        try:
            await bridge(inner, receive, send)
        finally:
            scope.setdefault("verbguard", inner.get("verbguard"))  # for who watches: see asgi.py

    return asgi


def completed(app: WSGI, many: bool = False) -> WSGI:
    """Give the app an input that ends, the raw target, its error stream and the truth about processes."""
    from verbguard.wsgi import MARK

    def wsgi(environ: Environ, start_response: Any) -> Iterable[bytes]:
        scope = environ["asgi.scope"]
        loop, receive = scope[RECEIVE]
        query = scope["query_string"].decode("latin-1")
        target = scope.get("raw_path", b"").decode("latin-1") or "/"
        environ.update(
            {
                "wsgi.input": io.BufferedReader(Body(loop, receive)),
                "wsgi.input_terminated": True,
                "wsgi.multiprocess": many,
                "wsgi.errors": sys.stderr,
                "REQUEST_URI": f"{target}?{query}" if query else target,
            }
        )
        try:
            return app(environ, start_response)
        finally:
            scope["verbguard"] = environ.get(MARK)

    return wsgi


def measured(app: WSGI) -> WSGI:
    """State the length of a chunked body, for the many apps that read only what CONTENT_LENGTH promises.

    It goes inside the guard: what is refused is never read.
    """

    def wsgi(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ.get("CONTENT_LENGTH") or not environ.get("HTTP_TRANSFER_ENCODING"):
            return app(environ, start_response)
        body = tempfile.SpooledTemporaryFile(SPOOL)  # noqa: SIM115 - closed with the answer
        shutil.copyfileobj(environ["wsgi.input"], body)
        environ["CONTENT_LENGTH"] = str(body.tell())
        # A length and a transfer coding together would contradict each other (RFC 9112 6.3).
        del environ["HTTP_TRANSFER_ENCODING"]
        body.seek(0)
        environ["wsgi.input"] = body
        try:
            return ClosingIterator(app(environ, start_response), [body.close])
        except BaseException:
            body.close()
            raise

    return wsgi


class Body(io.RawIOBase):
    """The request's content as a file: each read waits, in the app's thread, for the server's next message."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[], Any]) -> None:
        super().__init__()
        self._loop = loop
        self._receive = receive
        self._left = b""
        self._more = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and self._more:
            message = asyncio.run_coroutine_threadsafe(self._receive(), self._loop).result()
            if message["type"] == "http.disconnect":
                # Half a body must not pass for a whole one.
                raise ConnectionResetError("the client left before its request was complete")
            self._left = message.get("body", b"")
            self._more = message.get("more_body", False)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
