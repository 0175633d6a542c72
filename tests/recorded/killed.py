"""A server that is made to be killed: a process of its own that starts it again each time, on the same port.

    python -m recorded.killed DOOR STORE DATABASE TABLE FOLDER AFTER_CRASH

Tests leave files in FOLDER: `die-POINT` kills the server where it comes to that point, once; `wait-POINT` makes it wait there,
with a file `at-POINT` until that is removed. The port and the process's number are in FOLDER, too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import uvicorn
import waitress
from fastapi import FastAPI, Request, Response
from flask import Flask
from flask import Response as FlaskResponse
from flask import request as flask_request

import verbguard
from recorded.kinds import Place, psycopg_default, sqlite_default
from verbguard import Replay, collection

POINTS = ("begun", "effect", "recorded", "committed", "leaving", "left")
LEASE = 0.5


class Points:
    """Where a test may strike."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> None:
        if _taken(self.folder / f"die-{name}"):
            os.kill(os.getpid(), signal.SIGKILL)
        waiting = self.folder / f"at-{name}"
        if _taken(self.folder / f"wait-{name}", waiting):
            end = time.monotonic() + 30
            while waiting.exists() and time.monotonic() < end:
                time.sleep(0.005)


def _taken(file: Path, to: Path | None = None) -> bool:
    """Whether the file was there; only one takes it."""
    try:
        file.unlink() if to is None else file.rename(to)
    except FileNotFoundError:
        return False
    return True


class Handler:
    """Writes one effect, and records its answer with it."""

    def __init__(self, place: Place, point: Points) -> None:
        self.place = place
        self.point = point
        self.opened = psycopg_default if place.where.startswith("postgresql") else sqlite_default

    def __call__(self, key: str) -> bytes:
        self.point("begun")
        with self.opened(self.place) as opened:
            try:
                number = opened.effect(key)
                self.point("effect")
                body = json.dumps({"id": number, "key": key}).encode()
                verbguard.current().record_in(opened.connection, 201, {"Content-Type": "application/json"}, body)
                self.point("recorded")
                opened.commit()
            except Exception:
                opened.rollback()
                raise
        self.point("committed")
        return body


def fastapi_app(handler: Handler, **settings: Any) -> Any:
    app = FastAPI()

    @app.post("/effects")
    def effects(request: Request) -> Response:
        return Response(handler(request.headers["idempotency-key"]), 201, media_type="application/json")

    @app.get("/effects/{number}")
    def show(number: int) -> int:
        return number

    @app.post("/others")
    def others() -> int:
        return 1

    verbguard.guard(app, **settings)

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        async def leaving(message: Any) -> None:
            if message["type"] == "http.response.body":
                handler.point("leaving")
            await send(message)

        await app(scope, receive, leaving)
        if (b"idempotency-key", b"left") in scope.get("headers", ()):  # one that is answered may come here late
            handler.point("left")

    return outside


def flask_app(handler: Handler, **settings: Any) -> Any:
    app = Flask("killed")

    @app.post("/effects")
    def effects() -> FlaskResponse:
        return FlaskResponse(handler(flask_request.headers["Idempotency-Key"]), 201, content_type="application/json")

    @app.get("/effects/<int:number>")
    def show(number: int) -> str:
        return str(number)

    @app.post("/others")
    def others() -> str:
        return "1"

    verbguard.guard(app, **settings)

    class Outside:
        def __init__(self, result: Any, key: str) -> None:
            self.result = result
            self.key = key

        def __iter__(self) -> Any:
            for piece in self.result:
                handler.point("leaving")
                yield piece

        def close(self) -> None:
            if hasattr(self.result, "close"):
                self.result.close()
            if self.key == "left":  # one that is answered may come here late
                handler.point("left")

    def outside(environ: Any, start_response: Any) -> Iterable[bytes]:
        return Outside(app(environ, start_response), environ.get("HTTP_IDEMPOTENCY_KEY", ""))

    return outside


def serve(door: str, app: Any, listener: socket.socket) -> None:
    if door == "fastapi":
        config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none")
        uvicorn.Server(config).run(sockets=[listener])
    else:
        waitress.serve(app, sockets=[listener], threads=8)


def child(door: str, store: str, place: Place, folder: Path, after_crash: Any, listener: socket.socket) -> None:
    policies = {"/effects": collection(replay=Replay(required=True, lease=LEASE, after_crash=after_crash))}
    make = fastapi_app if door == "fastapi" else flask_app
    app = make(Handler(place, Points(folder)), store=store, policies=policies)
    written = folder / "new-pid"
    written.write_text(str(os.getpid()))
    written.rename(folder / "pid")
    serve(door, app, listener)


def main(door: str, store: str, database: str, table: str, folder: str, after_crash: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=128)) as listener:
        (Path(folder) / "port").write_text(str(listener.getsockname()[1]))
        above, mother = os.getppid(), os.getpid()
        while True:
            number = os.fork()
            if not number:
                _dies_with(mother)
                child(door, store, Place(database, table), Path(folder), after_crash, listener)
                os._exit(1)
            while os.waitpid(number, os.WNOHANG) == (0, 0):
                if os.getppid() != above:  # the tests are gone, however they ended
                    os._exit(1)
                time.sleep(0.005)


def _dies_with(mother: int) -> None:
    """A test that ends must leave no server behind: a thread sees that the process above is gone."""
    from threading import Thread

    def watch() -> None:
        while os.getppid() == mother:
            time.sleep(0.2)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
