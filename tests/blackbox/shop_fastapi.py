"""The shop, served by FastAPI."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from blackbox.shop import ROUTES, Call, Reply, World


def fastapi_shop(world: World) -> FastAPI:
    app = FastAPI()
    for method, path, handler in ROUTES:
        app.add_api_route(path, _endpoint(world, handler), methods=[method])

    @app.post("/form")
    async def form(request: Request) -> Response:
        async with request.form() as fields:
            parts = {
                name: value if isinstance(value, str) else (await value.read()).decode("latin-1")
                for name, value in fields.items()
            }
        return _response(world.form(Call(request.method, b"", {}, parts)))

    @app.post("/upload")
    @app.put("/upload/{name}")
    async def upload(request: Request) -> Response:
        number, total, length = world.run("upload"), hashlib.sha256(), 0
        async for piece in request.stream():
            total.update(piece)
            length += len(piece)
        return JSONResponse({"number": number, "length": length, "sha256": total.hexdigest()})

    @app.post("/watching")
    async def watching(request: Request) -> Response:
        """A handler that stops early once it learns that the client has gone."""
        await request.body()
        number = world.run("watching")
        await run_in_threadpool(world.gate("watching").wait_inside)
        gone = await request.is_disconnected()
        return JSONResponse({"number": number, "gone": gone})

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("echo " + await websocket.receive_text())
        await websocket.close()

    return app


def _endpoint(world: World, handler: Callable[[World, Call], Reply]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        call = Call(request.method, await request.body(), dict(request.path_params))
        return _response(await run_in_threadpool(handler, world, call))

    return endpoint


def _response(reply: Reply) -> Response:
    after = BackgroundTask(reply.after) if reply.after else None
    if isinstance(reply.body, bytes):
        response = Response(reply.body, reply.status, media_type=reply.media, background=after)
    else:
        response = StreamingResponse(reply.body, reply.status, media_type=reply.media, background=after)
    for name, value in reply.headers:
        response.headers.append(name, value)
    return response
