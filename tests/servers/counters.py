"""Applications that know nothing of ETags, with a file for each counter: `fastapi_app`, `flask_app`, and `gateway_app` in front
of `bare_app`, which has no guard.

/counters/{name}   GET, PUT and DELETE; a PUT takes a moment between its decision and its effect, as a database does.
                   preconditions="derive", and a condition is required
/plain/{name}      the same files, where nothing is required and a repeated PUT is verified
/runs              how many writes have run in this process

The directory is $COUNTERS: whoever else writes into it passes no guard. $COUNTERS_STORE names the replay store, and
$COUNTERS_UPSTREAM the service behind the gateway.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import fastapi
import flask

import verbguard
from verbguard import Replay, item
from verbguard.gateway import Gateway

HOME = Path(os.environ["COUNTERS"])
STORE = os.environ.get("COUNTERS_STORE", "memory://")
MOMENT = 0.002

POLICIES = {
    "/counters/{name}": item(preconditions="derive", require_precondition=True),
    "/plain/{name}": item(replay=Replay(verify="etag")),
}


def put(name: str, content: bytes) -> None:
    """Replace a file as a whole: whoever reads sees the old or the new content."""
    fresh = HOME / f".{name}-{uuid4()}"
    fresh.write_bytes(content)
    fresh.replace(HOME / name)


def _fastapi() -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    runs = 0

    @app.get("/counters/{name}")
    @app.get("/plain/{name}")
    def read(name: str) -> fastapi.Response:
        file = HOME / name
        if not file.exists():
            raise fastapi.HTTPException(404)
        return fastapi.Response(file.read_text(), media_type="text/plain")

    @app.put("/counters/{name}")
    @app.put("/plain/{name}")
    async def write(name: str, request: fastapi.Request) -> fastapi.Response:
        nonlocal runs
        content = await request.body()
        await asyncio.sleep(MOMENT)
        runs += 1
        put(name, content)
        return fastapi.Response(status_code=204)

    @app.delete("/counters/{name}")
    async def remove(name: str) -> fastapi.Response:
        nonlocal runs
        runs += 1
        (HOME / name).unlink()
        return fastapi.Response(status_code=204)

    @app.get("/runs")
    def count() -> int:
        return runs

    return app


def _flask() -> flask.Flask:
    app = flask.Flask(__name__)
    runs: list[str] = []

    @app.get("/counters/<name>")
    @app.get("/plain/<name>")
    def read(name: str) -> Any:
        file = HOME / name
        return file.read_text() if file.exists() else ("", 404)

    @app.put("/counters/<name>")
    @app.put("/plain/<name>")
    def write(name: str) -> Any:
        content = flask.request.get_data()
        time.sleep(MOMENT)
        runs.append(name)
        put(name, content)
        return "", 204

    @app.delete("/counters/<name>")
    def remove(name: str) -> Any:
        runs.append(name)
        (HOME / name).unlink()
        return "", 204

    @app.get("/runs")
    def count() -> str:
        return str(len(runs))

    return app


fastapi_app = verbguard.guard(_fastapi(), policies=POLICIES, store=STORE)
flask_app = verbguard.guard(
    _flask(), policies={key.replace("{name}", "<name>"): policy for key, policy in POLICIES.items()}, store=STORE
)
bare_app = _flask()
gateway_app = verbguard.guard(
    Gateway(os.environ.get("COUNTERS_UPSTREAM", "http://127.0.0.1:9000")), policies=POLICIES, store=STORE
)
