"""Apps whose POST /effects writes one row and records its answer, in the ways that a test has scripted for its key.

What a run does after `record_in`: `commit`; `rollback` and answer 409; `raise` before the commit; `lie`: roll back and answer
201; `commit-raise` and `commit-fail`: raise, or answer 500, though it has committed; `raise-first`: before `record_in`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from flask import Flask
from flask import Response as FlaskResponse
from flask import request as flask_request

import verbguard
from recorded.kinds import ASYNC, BLOCKING, Open, Place
from verbguard import ConfigError


class Boom(Exception):
    """A mistake of the handler's."""


class Script:
    """What the runs of each key do, one after the other, and what `record_in` said."""

    def __init__(self, place: Place, kind: str) -> None:
        self.place = place
        self.kind = kind
        self.steps: dict[str, list[str]] = defaultdict(list)
        self.recorded: list[Any] = []
        self.runs: list[str] = []
        self.errors: list[str] = []
        self.answer: Callable[[int], tuple[int, Any, bytes]] = answer

    def opened(self) -> Any:
        return (BLOCKING | ASYNC)[self.kind][1](self.place)

    def note(self, error: Exception) -> None:
        """What `record_in` complained of."""
        if isinstance(error, ConfigError):
            self.errors.append(str(error))

    def begin(self, key: str) -> str:
        self.runs.append(key)
        steps = self.steps[key]
        return steps.pop(0) if steps else "commit"


def answer(number: int) -> tuple[int, Any, bytes]:
    """What a client gets for its effect."""
    fields = {"Location": f"/effects/{number}", "Content-Type": "application/json", "X-Number": str(number)}
    return 201, fields, json.dumps({"effect": number}).encode()


def run(script: Script, key: str) -> tuple[int, Any, bytes]:
    """The handler, on a blocking connection."""
    step = script.begin(key)
    with script.opened() as opened:
        number = opened.effect(key)
        if step == "raise-first":
            opened.rollback()
            raise Boom
        told = script.answer(number)
        try:
            script.recorded.append(verbguard.current().record_in(opened.connection, *told))
            _end(step, opened)()
        except Exception as error:
            script.note(error)
            opened.rollback()
            raise
    return _said(step, told)


async def run_async(script: Script, key: str) -> tuple[int, Any, bytes]:
    """The same on one of asyncio's."""
    step = script.begin(key)
    async with script.opened() as opened:
        number = await opened.effect(key)
        if step == "raise-first":
            await opened.rollback()
            raise Boom
        told = script.answer(number)
        try:
            script.recorded.append(await verbguard.current().record_in(opened.connection, *told))
            await _end(step, opened)()
        except Exception as error:
            script.note(error)
            await opened.rollback()
            raise
    return _said(step, told)


def _end(step: str, opened: Open) -> Callable[[], Any]:
    if step.startswith("commit"):
        return opened.commit
    if step == "raise":
        raise Boom
    return opened.rollback


def _said(step: str, told: tuple[int, Any, bytes]) -> tuple[int, Any, bytes]:
    if step == "commit-raise":
        raise Boom
    if step == "commit-fail":
        return 500, {}, b"failed"
    return (409, {}, b"rolled back") if step == "rollback" else told


def fastapi_def(script: Script) -> Any:
    """Handlers that run in threads."""
    app = FastAPI()

    @app.post("/effects")
    def effects(request: Request) -> Response:
        status, headers, body = run(script, request.headers.get("idempotency-key", ""))
        return Response(body, status, dict(headers))

    @app.put("/effects/{number}")
    def put(number: int, request: Request) -> Response:
        status, headers, body = run(script, request.headers.get("idempotency-key", ""))
        return Response(body, 200, {"content-type": "application/json"})

    @app.get("/effects/{number}")
    def show(number: int) -> dict[str, int]:
        return {"effect": number}

    return app


def fastapi_async(script: Script) -> Any:
    """Handlers on the event loop."""
    app = FastAPI()

    @app.post("/effects")
    async def effects(request: Request) -> Response:
        key = request.headers.get("idempotency-key", "")
        status, headers, body = await run_async(script, key) if script.kind in ASYNC else run(script, key)
        return Response(body, status, dict(headers))

    @app.get("/effects/{number}")
    async def show(number: int) -> dict[str, int]:
        return {"effect": number}

    return app


def flask(script: Script) -> Any:
    """Views of Flask."""
    app = Flask("recorded")

    @app.post("/effects")
    def effects() -> FlaskResponse:
        status, headers, body = run(script, flask_request.headers.get("Idempotency-Key", ""))
        return FlaskResponse(body, status, dict(headers))

    @app.put("/effects/<int:number>")
    def put(number: int) -> FlaskResponse:
        run(script, flask_request.headers.get("Idempotency-Key", ""))
        return FlaskResponse("{}", 200, {"content-type": "application/json"})

    @app.get("/effects/<int:number>")
    def show(number: int) -> dict[str, int]:
        return {"effect": number}

    return app


def bare_generator(script: Script) -> Any:
    """WSGI without a framework, whose work is done while its iterable is read."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        status, headers, body = run(script, environ.get("HTTP_IDEMPOTENCY_KEY", ""))
        start_response(f"{status} Said", list(dict(headers).items()))
        yield body[:4]
        yield body[4:]

    return app


DOORS: dict[str, Callable[[Script], Any]] = {
    "fastapi-def": fastapi_def,
    "fastapi-async": fastapi_async,
    "flask": flask,
    "wsgi-generator": bare_generator,
}
