"""The shop in FastAPI, guarded; outside of the guard a middleware that cancels what takes too long."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

import verbguard
from processes.shop import BLOCKED, BUSY, HELD, Reply, Shop

shop = Shop()
api = FastAPI(openapi_url=None)


def told(reply: Reply) -> Response:
    return JSONResponse(reply.content, reply.status, reply.headers)


async def done(request: Request) -> Reply:
    return shop.done(request.method, request.url.path, await request.body())


@api.get("/pid")
async def pid() -> Response:
    return told(Reply(200, {}, {"pid": os.getpid()}))


@api.post("/orders")
async def order(request: Request) -> Response:
    reply = await done(request)
    await asyncio.sleep(BUSY)
    return told(reply)


@api.get("/things/{name}")
async def show(name: str) -> Response:
    return told(shop.shown(name))


async def change(name: str, request: Request) -> Response:
    return told(await done(request))


api.add_api_route("/things/{name}", change, methods=["PUT", "POST", "PATCH", "DELETE"])
api.add_api_route("/required/{name}", change, methods=["POST"])


async def hold(name: str, request: Request) -> Response:
    reply = await done(request)
    while not shop.ledger.is_open(name):
        await asyncio.sleep(0.01)
    return told(reply)


for family in HELD:
    api.add_api_route(f"/{family}/{{name}}", hold, methods=["PUT", "POST"])


@api.post("/blocking/{name}")
async def block(name: str, request: Request) -> Response:
    reply = await done(request)
    time.sleep(BLOCKED)
    return told(reply)


verbguard.guard(api, **shop.options)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """`X-Timeout`: seconds after which the request's task is cancelled, as timeout middleware does it."""
    limit = dict(scope.get("headers", ())).get(b"x-timeout")
    if limit is None:
        await api(scope, receive, send)
        return
    try:
        async with asyncio.timeout(float(limit)):
            await api(scope, receive, send)
    except TimeoutError:
        await Response("too late", 504)(scope, receive, send)
