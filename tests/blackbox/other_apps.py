"""The same small program in frameworks whose routers verbguard does not read."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.asgi
from litestar import Litestar, delete, get, post, put
from litestar import Request as LitestarRequest
from litestar.params import FromPath
from quart import Quart
from quart import request as quart_request


def quart_app() -> Any:
    app = Quart("things")

    @app.get("/things")
    async def listing() -> Any:
        return ["ink", "pen"]

    @app.post("/things")
    async def create() -> Any:
        return {"id": 7, "got": (await quart_request.get_data()).decode()}, 201

    @app.get("/things/<int:thing_id>")
    async def read(thing_id: int) -> Any:
        return {"id": thing_id}

    @app.put("/things/<int:thing_id>")
    async def replace(thing_id: int) -> Any:
        return {"put": (await quart_request.get_data()).decode()}

    @app.delete("/things/<int:thing_id>")
    async def remove(thing_id: int) -> Any:
        return "", 204

    @app.route("/fall", methods=["GET", "POST", "PUT"])
    async def fall() -> Any:
        raise ZeroDivisionError("unhandled")

    @app.route("/stream", methods=["GET", "POST"])
    async def stream() -> Any:
        async def content() -> Any:
            yield b"one "
            yield b"two"

        return content(), {"Content-Type": "text/plain"}

    return app


@get("/things")
async def listing() -> list[str]:
    return ["ink", "pen"]


@post("/things")
async def create(request: LitestarRequest[Any, Any, Any]) -> dict[str, Any]:
    return {"id": 7, "got": (await request.body()).decode()}


@get("/things/{thing_id:int}")
async def read(thing_id: FromPath[int]) -> dict[str, int]:
    return {"id": thing_id}


@put("/things/{thing_id:int}")
async def replace(thing_id: FromPath[int], request: LitestarRequest[Any, Any, Any]) -> dict[str, str]:
    return {"put": (await request.body()).decode()}


@delete("/things/{thing_id:int}")
async def remove(thing_id: FromPath[int]) -> None:
    return None


@post("/fall")
async def fall() -> None:
    raise ZeroDivisionError("unhandled")


def litestar_app() -> Any:
    return Litestar([listing, create, read, replace, remove, fall], openapi_config=None)


class Things:
    def on_get(self, request: Any, response: Any) -> None:
        response.media = ["ink", "pen"]

    def on_post(self, request: Any, response: Any) -> None:
        response.status = falcon.HTTP_201
        response.media = {"id": 7, "got": request.bounded_stream.read().decode()}


class Thing:
    def on_get(self, request: Any, response: Any, thing_id: int) -> None:
        response.media = {"id": thing_id}

    def on_put(self, request: Any, response: Any, thing_id: int) -> None:
        response.media = {"put": request.bounded_stream.read().decode()}

    def on_delete(self, request: Any, response: Any, thing_id: int) -> None:
        response.status = falcon.HTTP_204


class AsyncThings:
    async def on_get(self, request: Any, response: Any) -> None:
        response.media = ["ink", "pen"]

    async def on_post(self, request: Any, response: Any) -> None:
        response.status = falcon.HTTP_201
        response.media = {"id": 7, "got": (await request.stream.read()).decode()}


class AsyncThing:
    async def on_get(self, request: Any, response: Any, thing_id: int) -> None:
        response.media = {"id": thing_id}

    async def on_put(self, request: Any, response: Any, thing_id: int) -> None:
        response.media = {"put": (await request.stream.read()).decode()}

    async def on_delete(self, request: Any, response: Any, thing_id: int) -> None:
        response.status = falcon.HTTP_204


def falcon_wsgi_app() -> Any:
    app = falcon.App()
    app.add_route("/things", Things())
    app.add_route("/things/{thing_id:int}", Thing())
    return app


def falcon_asgi_app() -> Any:
    app = falcon.asgi.App()
    app.add_route("/things", AsyncThings())
    app.add_route("/things/{thing_id:int}", AsyncThing())
    return app


def django_wsgi_app() -> Any:
    from django.core.handlers.wsgi import WSGIHandler

    import blackbox.django_project  # noqa: F401  (configures Django, once)

    return WSGIHandler()


def django_asgi_app() -> Any:
    from django.core.handlers.asgi import ASGIHandler

    import blackbox.django_project  # noqa: F401  (configures Django, once)

    return ASGIHandler()
