"""Small Starlette programs: every kind of route node that Starlette knows, and one that nobody knows."""

from __future__ import annotations

import json
from typing import Any

from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send


async def listing(request: Request) -> Response:
    return JSONResponse(["ink", "pen"])


async def create(request: Request) -> Response:
    await request.body()
    return JSONResponse({"id": 7}, 201)


async def read(request: Request) -> Response:
    return JSONResponse({"params": dict(request.path_params)})


async def replace(request: Request) -> Response:
    return JSONResponse({"put": (await request.body()).decode()})


async def remove(request: Request) -> Response:
    return Response(status_code=204)


async def put_everything(request: Request) -> Response:
    return PlainTextResponse("replaced everything")


def things(prefix: str = "/things") -> list[BaseRoute]:
    """A collection and its items, a route for each method."""
    return [
        Route(prefix, listing, methods=["GET"]),
        Route(prefix, create, methods=["POST"]),
        Route(prefix + "/{thing_id}", read, methods=["GET"]),
        Route(prefix + "/{thing_id}", replace, methods=["PUT"]),
        Route(prefix + "/{thing_id}", remove, methods=["DELETE"]),
    ]


class Things(HTTPEndpoint):
    """The collection as a class: Starlette knows no methods for its route, the class does."""

    async def get(self, request: Request) -> Response:
        return await listing(request)

    async def post(self, request: Request) -> Response:
        return await create(request)


class Thing(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return await read(request)

    async def put(self, request: Request) -> Response:
        return await replace(request)

    def delete(self, request: Request) -> Response:
        return Response(status_code=204)


class Stamp:
    """Middleware of a single route or mount."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self.app = app
        self.name = name.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stamped(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-stamp", self.name)]}
            await send(message)

        await self.app(scope, receive, stamped)


def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """A WSGI program that answers every method on every path."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    told = {
        "method": environ["REQUEST_METHOD"],
        "script": environ["SCRIPT_NAME"],
        "path": environ["PATH_INFO"],
        "body": body.decode(),
    }
    content = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]


def classes() -> Starlette:
    return Starlette(routes=[Route("/things", Things), Route("/things/{thing_id}", Thing)])


def functions() -> Starlette:
    return Starlette(routes=things())


def mounted() -> Starlette:
    return Starlette(routes=[Mount("/deep", routes=[Mount("/er", routes=things())])])


def router_inside() -> Starlette:
    """A bare Router instead of a list of routes."""
    return Starlette(routes=[Mount("/in", app=Router(routes=things()))])


def app_inside() -> Starlette:
    """A Starlette app inside another: its own middleware and error handlers are between."""
    return Starlette(routes=[Mount("/in", app=Starlette(routes=things()))])


def by_host() -> Starlette:
    """Two sites in one program."""
    site = Router(routes=things())
    return Starlette(routes=[Host("shop.example", app=site), Mount("/else", routes=things())])


def with_route_middleware() -> Starlette:
    stamp = [Middleware(Stamp, name="route")]
    stamped = [Route(route.path, route.endpoint, methods=route.methods, middleware=stamp) for route in plain_routes()]
    return Starlette(routes=[*stamped, Mount("/m", routes=things(), middleware=[Middleware(Stamp, name="mount")])])


def plain_routes() -> list[Route]:
    return [route for route in things() if isinstance(route, Route)]


def with_legacy() -> Starlette:
    return Starlette(routes=[*things(), Mount("/legacy", app=WSGIMiddleware(legacy))])


def put_everywhere() -> Starlette:
    extra = [Route("/things", put_everything, methods=["PUT"])]
    return Starlette(routes=[*things(), *extra, Mount("/mounted", routes=[*things(), *extra])])


def typed() -> Starlette:
    """Converters, slashes in parameters, and one template before another."""
    return Starlette(
        routes=[
            Route("/numbers/{number:int}", replace, methods=["PUT"]),
            Route("/numbers", listing, methods=["GET"]),
            Route("/files/{path:path}", replace, methods=["PUT"]),
            Route("/files", listing, methods=["GET"]),
            Route("/files", replace, methods=["PUT"]),
            Route("/items/{name}", replace, methods=["PUT"]),
            Route("/items/search", listing, methods=["GET"]),
            Route("/any", read),
        ]
    )


def limited() -> Starlette:
    """Bodies over a bound are refused by the framework while they are read."""
    return Starlette(routes=things(), max_body_size=1000)


class Riddle(BaseRoute):
    """A route node of the program's own making, which says nothing about its paths."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL if scope["type"] == "http" and scope["path"].startswith("/riddle") else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("guess")(scope, receive, send)


def with_riddle() -> Starlette:
    return Starlette(routes=[*things(), Riddle()])
