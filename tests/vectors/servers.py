"""Five ways to serve the reference application: bare ASGI, bare WSGI, FastAPI, Starlette and Flask.

Content goes out in two pieces wherever it has two bytes, so that no vector passes only because an answer is one chunk.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from flask import Flask
from flask import Response as FlaskResponse
from flask import request as flask_request
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vectors.reference import TABLE, Answer, Call, Reference, Row, find

PATIENCE = 20  # seconds before a conversation that hangs becomes a failure; no passing one waits
PREFLIGHT = Answer(
    200, b"OK", (("access-control-allow-origin", "*"), ("access-control-allow-methods", "GET, POST, PUT, PATCH"))
)


def is_preflight(method: str, names: set[str]) -> bool:
    return method == "OPTIONS" and {"origin", "access-control-request-method"} <= names


def finished(reference: Reference, answer: Answer, accepts: str) -> Answer:
    """The answer as it leaves the application: compressed where the application compresses."""
    if reference.compress and "gzip" in accepts and answer.body:
        headers = (*answer.headers, ("content-encoding", "gzip"), ("vary", "Accept-Encoding"))
        return Answer(answer.status, gzip.compress(answer.body, mtime=0), headers)
    return answer


def pieces(body: bytes) -> list[bytes]:
    return [body[: len(body) // 2], body[len(body) // 2 :]] if len(body) > 1 else [body]


# -- bare ASGI ---------------------------------------------------------------------------------------------------


def asgi(reference: Reference) -> Callable[..., Any]:
    async def app(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        headers = tuple((name.decode(), value.decode("latin-1")) for name, value in scope["headers"])
        await say(await respond(scope, headers, receive), headers, send)

    async def respond(scope: dict[str, Any], headers: tuple[tuple[str, str], ...], receive: Any) -> Answer | None:
        if reference.cors and is_preflight(scope["method"], {name for name, _ in headers}):
            return PREFLIGHT
        found = find(scope["method"], scope["path"])
        if isinstance(found, Answer):
            return found
        row, params = found
        call = Call(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode(),
            headers=headers,
            body=await content(receive),
            params=params,
        )
        run = reference.enter(row, call)
        if row.name in reference.holds and not await held(reference, receive):
            reference.abandoned += 1
            return None
        return reference.perform(row, call, run)

    async def say(answer: Answer | None, headers: tuple[tuple[str, str], ...], send: Any) -> None:
        if answer is None:
            return
        answer = finished(reference, answer, dict(headers).get("accept-encoding", ""))
        raw = [(name.encode(), value.encode()) for name, value in answer.headers]
        await deliver(answer.status, raw, answer.body, send)

    return app


async def deliver(status: int, headers: list[tuple[bytes, bytes]], body: bytes, send: Callable[..., Any]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    *first, last = pieces(body)
    for piece in first:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": last})


async def content(receive: Callable[..., Any]) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def held(reference: Reference, receive: Callable[..., Any]) -> bool:
    """Wait to be let go on. False: the client was seen to leave first, and this application gives up, as many do."""
    opened = asyncio.wrap_future(reference.opened)
    gone = asyncio.ensure_future(receive())
    try:
        done, _ = await asyncio.wait({opened, gone}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        return opened in done
    finally:
        gone.cancel()


# -- bare WSGI ---------------------------------------------------------------------------------------------------


class Closing:
    """An iterable with the `close` of PEP 3333, so that a conversation can tell whether anybody called it."""

    def __init__(self, chunks: list[bytes], closed: list[bool]) -> None:
        self.chunks, self.closed, self.mark = iter(chunks), closed, len(closed)
        closed.append(False)

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed[self.mark] = True


def wsgi(reference: Reference) -> Callable[..., Any]:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Closing:
        answer = finished(reference, respond(environ), environ.get("HTTP_ACCEPT_ENCODING", ""))
        start_response(status_line(answer.status), list(answer.headers))
        return Closing(pieces(answer.body), reference.closed)

    def respond(environ: dict[str, Any]) -> Answer:
        headers = tuple(environ_headers(environ))
        if reference.cors and is_preflight(environ["REQUEST_METHOD"], {name for name, _ in headers}):
            return PREFLIGHT
        found = find(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if isinstance(found, Answer):
            return found
        row, params = found
        call = Call(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            query=environ["QUERY_STRING"],
            headers=headers,
            body=environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)),
            params=params,
        )
        return run_row(reference, row, call)

    return app


def run_row(reference: Reference, row: Row, call: Call) -> Answer:
    run = reference.enter(row, call)
    if row.name in reference.holds:
        reference.opened.result(timeout=PATIENCE)
    return reference.perform(row, call, run)


def status_line(status: int) -> str:
    known = {member.value: member.phrase for member in HTTPStatus}
    return f"{status} {known.get(status, 'Unknown')}"


def environ_headers(environ: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            yield name[5:].replace("_", "-").lower(), value
        elif name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            yield name.replace("_", "-").lower(), value


# -- frameworks --------------------------------------------------------------------------------------------------


class Verbatim(Response):
    """A Starlette response that says exactly what the reference answered."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body, answer.status)
        self.raw_headers = [(name.encode(), value.encode()) for name, value in answer.headers]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await deliver(self.status_code, self.raw_headers, bytes(self.body), send)


def starlette_endpoint(reference: Reference, row: Row) -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        call = Call(
            method=request.method,
            path=request.scope["path"],
            query=request.url.query,
            headers=tuple(request.headers.items()),
            body=await request.body(),
            params=request.path_params,
        )
        run = reference.enter(row, call)
        if row.name in reference.holds:
            await asyncio.wait({asyncio.wrap_future(reference.opened)}, timeout=PATIENCE)
        answer = reference.perform(row, call, run)
        return Verbatim(finished(reference, answer, request.headers.get("accept-encoding", "")))

    return endpoint


def fastapi(reference: Reference) -> FastAPI:
    app = FastAPI(openapi_url=None)
    for row in TABLE:
        app.api_route(row.template, methods=[row.method])(starlette_endpoint(reference, row))
    if reference.cors:
        app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    return app


def starlette(reference: Reference) -> Starlette:
    routes = [Route(row.template, starlette_endpoint(reference, row), methods=[row.method]) for row in TABLE]
    app = Starlette(routes=routes)
    if reference.cors:
        app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    return app


def flask(reference: Reference) -> Flask:
    app = Flask("reference")
    for row in TABLE:
        rule = row.template.replace("{", "<").replace("}", ">")
        app.add_url_rule(rule, endpoint=row.name, view_func=flask_view(reference, row), methods=[row.method])
    if reference.cors:
        app.before_request(flask_preflight)
    return app


def flask_view(reference: Reference, row: Row) -> Callable[..., Any]:
    def view(**params: str) -> FlaskResponse:
        call = Call(
            method=flask_request.method,
            path=flask_request.path,
            query=flask_request.query_string.decode(),
            headers=tuple((name.lower(), value) for name, value in flask_request.headers.items()),
            body=flask_request.get_data(),
            params=params,
        )
        answer = finished(reference, run_row(reference, row, call), flask_request.headers.get("Accept-Encoding", ""))
        return flask_response(answer)

    return view


def flask_preflight() -> FlaskResponse | None:
    names = {name.lower() for name, _ in flask_request.headers.items()}
    return flask_response(PREFLIGHT) if is_preflight(flask_request.method, names) else None


def flask_response(answer: Answer) -> FlaskResponse:
    response = FlaskResponse(pieces(answer.body), answer.status)
    response.headers.clear()
    response.headers.extend(answer.headers)
    return response


# -- compression outside the application --------------------------------------------------------------------------


def gzip_asgi(app: Any) -> Any:
    return GZipMiddleware(app, minimum_size=1)


def gzip_wsgi(app: Callable[..., Any]) -> Callable[..., Any]:
    """A small compressing middleware: what a WSGI deployment has in front of its application."""

    def compressed(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        started: list[Any] = []
        chunks = app(environ, lambda *arguments: started.append(arguments))
        try:
            body = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        status, headers = started[-1][:2]
        if body and "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            body = gzip.compress(body, mtime=0)
            headers = [pair for pair in headers if pair[0].lower() != "content-length"]
            headers += [("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]

    return compressed
