"""How much later does a guarded application with 500 routes answer its first request?

Each figure is processor time of a process of its own: the same application, bare and guarded, from its routes being there
to its first answer. `loading` is what `import verbguard` and the door for this framework cost, `routes` what the guard makes
of the 500 routes. Bytecode is kept in a folder that is filled beforehand, as in an installation. overhead.py prints it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from harness import Estimate, Progress

ROUTES = 500  # half of them collections, half of them items; five methods on each pair
MOST = 9  # processes for each figure: the first time something is done varies less than the thousandth


# ---- the applications


def starlette(count: int) -> Any:
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    def handler(number: int) -> Callable[..., Any]:
        async def handle(request: Any) -> Response:
            return Response(b"%d" % number, media_type="text/plain")

        return handle

    pairs = [(template, methods, handler(number)) for number, (template, methods) in enumerate(templates(count))]
    return Starlette(routes=[Route(template, handle, methods=methods) for template, methods, handle in pairs])


def fastapi(count: int) -> Any:
    from fastapi import FastAPI

    def handler(number: int) -> Callable[..., Any]:
        async def handle() -> int:
            return number

        return handle

    app = FastAPI()
    for number, (template, methods) in enumerate(templates(count)):
        app.add_api_route(template, handler(number), methods=methods, name=str(number))
    return app


def flask(count: int) -> Any:
    from flask import Flask

    def handler(number: int) -> Callable[..., Any]:
        return lambda **_: str(number)

    app = Flask("benchmark")
    for number, (template, methods) in enumerate(templates(count)):
        rule = template.replace("{", "<").replace("}", ">")
        app.add_url_rule(rule, str(number), handler(number), methods=methods)
    return app


def templates(count: int) -> Iterator[tuple[str, list[str]]]:
    for number in range(count // 2):
        yield f"/v{number}/things", ["GET", "POST"]
        yield f"/v{number}/things/{{id}}", ["GET", "PUT", "DELETE"]


FRAMEWORKS = {"Starlette": starlette, "FastAPI": fastapi, "Flask": flask}


# ---- what a process of its own measures


def answer(app: Any, name: str) -> None:
    """One GET, answered."""
    if name == "Flask":
        _wsgi(app)
    else:
        asyncio.run(_asgi(app))


async def _asgi(app: Any) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""}
    scope |= {"method": "GET", "path": "/v1/things/7", "raw_path": b"/v1/things/7", "query_string": b""}
    await app(scope | {"headers": [(b"host", b"x")], "server": ("x", 80), "client": ("y", 1)}, receive, send)
    assert sent[0]["status"] == 200, sent


def _wsgi(app: Any) -> None:
    from werkzeug.test import Client

    assert Client(app).get("/v1/things/7").status_code == 200


def measured(name: str, guarded: bool) -> tuple[float, float]:
    """Milliseconds until the guard is loaded, and from then on until the first answer."""
    make = FRAMEWORKS[name]
    app, other = make(ROUTES), make(4)
    answer(make(4), name)  # what the framework does once is not the question
    start = time.process_time()
    if guarded:
        import verbguard

        answer(verbguard.guard(other), name)
    loaded = time.process_time()
    answer(verbguard.guard(app) if guarded else app, name)
    return (loaded - start) * 1e3, (time.process_time() - loaded) * 1e3


# ---- all of them


@contextmanager
def bytecode() -> Iterator[dict[str, str]]:
    """Surroundings in which compiled modules are kept, whatever this process was told."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        yield {**kept, "PYTHONPYCACHEPREFIX": folder}


def child(name: str, guarded: bool, surroundings: dict[str, str]) -> tuple[float, float]:
    command = [sys.executable, __file__, name, "guarded" if guarded else "bare"]
    done = subprocess.run(command, env=surroundings, stdout=subprocess.PIPE, text=True, check=True)
    loading, routes = json.loads(done.stdout)
    return loading, routes


def startups(rounds: int, frameworks: set[str]) -> dict[str, tuple[Estimate, Estimate, Estimate]]:
    """framework -> milliseconds of loading, of its 500 routes, and of both; what is not installed is left out."""
    found = {}
    progress = Progress()
    with bytecode() as surroundings:
        for name in (name for name in FRAMEWORKS if name in frameworks and find_spec(name.lower())):
            progress.start(f"start-up of {name} with {ROUTES} routes")
            child(name, True, surroundings)
            pairs = [(child(name, True, surroundings), child(name, False, surroundings)) for _ in range(min(rounds, MOST))]
            loading = [guarded[0] - bare[0] for guarded, bare in pairs]
            routes = [guarded[1] - bare[1] for guarded, bare in pairs]
            both = [sum(each) for each in zip(loading, routes, strict=True)]
            found[name] = Estimate.of(loading), Estimate.of(routes), Estimate.of(both)
            progress.done()
    return found


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], sys.argv[2] == "guarded")))
