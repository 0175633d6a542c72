"""One program in six frameworks: a collection, its items, and handlers that answer what they are told to."""

from __future__ import annotations

from typing import Any

import verbguard
from verbguard import Policy, collection, item
from verbguard.asgi import GuardMiddleware
from verbguard.wsgi import GuardMiddleware as WsgiGuard

PAYLOAD = b"payload"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# For the frameworks whose routes the guard cannot read.
POLICIES = {
    "/items": collection(methods={"GET", "POST"}, location="/items/{id}"),
    "/items/search": Policy(methods={"GET"}),
    "/items/{id}": item(methods={"GET", "PUT", "PATCH", "DELETE"}),
    "/only-post": Policy(methods={"POST"}),
    "/told/{status}": Policy(methods=METHODS, replay=None),
}
CREATED = {"id": 9}
SHOWN: list[dict[str, int]] = [{"id": 1}]


def fastapi() -> Any:
    from fastapi import FastAPI, Response

    app = FastAPI()

    @app.get("/items")
    async def index() -> Any:
        return SHOWN

    @app.post("/items", status_code=201)
    async def create() -> Any:
        return CREATED

    @app.get("/items/search")
    async def search() -> Any:
        return SHOWN

    @app.get("/items/{id}")
    async def show(id: int) -> Any:
        return {"id": id}

    @app.put("/items/{id}")
    async def replace(id: int) -> Any:
        return {"id": id}

    @app.patch("/items/{id}")
    async def change(id: int) -> Any:
        return {"id": id}

    @app.delete("/items/{id}", status_code=204)
    async def remove(id: int) -> None:
        return None

    @app.post("/only-post")
    async def act() -> Any:
        return {"done": True}

    @app.api_route("/told/{status}", methods=list(METHODS))
    async def told(status: int) -> Response:
        return Response(PAYLOAD, status)

    return app


def flask() -> Any:
    from flask import Flask, Response

    app = Flask("failings")

    @app.get("/items")
    def index() -> Any:
        return SHOWN

    @app.post("/items")
    def create() -> Any:
        return CREATED, 201

    @app.get("/items/search")
    def search() -> Any:
        return SHOWN

    @app.get("/items/<int:id>")
    def show(id: int) -> Any:
        return {"id": id}

    @app.put("/items/<int:id>")
    def replace(id: int) -> Any:
        return {"id": id}

    @app.patch("/items/<int:id>")
    def change(id: int) -> Any:
        return {"id": id}

    @app.delete("/items/<int:id>")
    def remove(id: int) -> Any:
        return "", 204

    @app.post("/only-post")
    def act() -> Any:
        return {"done": True}

    @app.route("/told/<int:status>", methods=METHODS)
    def told(status: int) -> Response:
        return Response(PAYLOAD, status)

    return app


def quart() -> Any:
    from quart import Quart, Response

    app = Quart("failings")

    @app.get("/items")
    async def index() -> Any:
        return SHOWN

    @app.post("/items")
    async def create() -> Any:
        return CREATED, 201

    @app.get("/items/search")
    async def search() -> Any:
        return SHOWN

    @app.get("/items/<int:id>")
    async def show(id: int) -> Any:
        return {"id": id}

    @app.put("/items/<int:id>")
    async def replace(id: int) -> Any:
        return {"id": id}

    @app.patch("/items/<int:id>")
    async def change(id: int) -> Any:
        return {"id": id}

    @app.delete("/items/<int:id>")
    async def remove(id: int) -> Any:
        return "", 204

    @app.post("/only-post")
    async def act() -> Any:
        return {"done": True}

    @app.route("/told/<int:status>", methods=list(METHODS))
    async def told(status: int) -> Response:
        return Response(PAYLOAD, status)

    return app


def litestar() -> Any:
    from litestar import Litestar, Response, delete, get, patch, post, put, route

    @get("/items", sync_to_thread=False)
    def index() -> list[dict[str, int]]:
        return SHOWN

    @post("/items", sync_to_thread=False)
    def create() -> dict[str, int]:
        return CREATED

    @get("/items/search", sync_to_thread=False)
    def search() -> list[dict[str, int]]:
        return SHOWN

    @get("/items/{id:int}", sync_to_thread=False)
    def show(id: int) -> dict[str, int]:
        return {"id": id}

    @put("/items/{id:int}", sync_to_thread=False)
    def replace(id: int) -> dict[str, int]:
        return {"id": id}

    @patch("/items/{id:int}", sync_to_thread=False)
    def change(id: int) -> dict[str, int]:
        return {"id": id}

    @delete("/items/{id:int}", sync_to_thread=False)
    def remove(id: int) -> None:
        return None

    @post("/only-post", sync_to_thread=False)
    def act() -> dict[str, bool]:
        return {"done": True}

    @route("/told/{status:int}", http_method=list(METHODS), sync_to_thread=False)  # type: ignore[arg-type]
    def told(status: int) -> Any:
        return Response(PAYLOAD, status_code=status, media_type="text/plain")

    return Litestar([index, create, search, show, replace, change, remove, act, told], openapi_config=None)


def falcon() -> Any:
    from falcon import App, Request, Response

    class Items:
        def on_get(self, request: Request, response: Response) -> None:
            response.media = SHOWN

        def on_post(self, request: Request, response: Response) -> None:
            response.status, response.media = 201, CREATED

    class Search:
        def on_get(self, request: Request, response: Response) -> None:
            response.media = SHOWN

    class Item:
        def on_get(self, request: Request, response: Response, id: int) -> None:
            response.media = {"id": id}

        on_put = on_patch = on_get

        def on_delete(self, request: Request, response: Response, id: int) -> None:
            response.status = 204

    class Act:
        def on_post(self, request: Request, response: Response) -> None:
            response.media = {"done": True}

    class Told:
        def on_get(self, request: Request, response: Response, status: int) -> None:
            response.status, response.data = status, PAYLOAD

        on_post = on_put = on_patch = on_delete = on_get

    app = App()
    app.add_route("/items", Items())
    app.add_route("/items/search", Search())
    app.add_route("/items/{id:int}", Item())
    app.add_route("/only-post", Act())
    app.add_route("/told/{status:int}", Told())
    return app


def django() -> Any:
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            ROOT_URLCONF="failings.django_urls",
            ALLOWED_HOSTS=["*"],
            SECRET_KEY="of no use",
            INSTALLED_APPS=["rest_framework"],
            REST_FRAMEWORK={
                "UNAUTHENTICATED_USER": None,
                "DEFAULT_AUTHENTICATION_CLASSES": [],
                "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            },
        )
        django.setup()
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def fastapi_guarded() -> Any:
    return verbguard.guard(fastapi())


def flask_guarded() -> Any:
    return verbguard.guard(flask())


def quart_guarded() -> Any:
    return GuardMiddleware(quart(), policies=POLICIES)


def litestar_guarded() -> Any:
    return GuardMiddleware(litestar(), policies=POLICIES)


def falcon_guarded() -> Any:
    return WsgiGuard(falcon(), policies=POLICIES)


def django_guarded() -> Any:
    return WsgiGuard(django(), policies=POLICIES)


def __getattr__(name: str) -> Any:
    """`failings.apps:app_flask_guarded`, for servers that want an attribute and not a factory."""
    if name.startswith("app_"):
        return globals()[name.removeprefix("app_")]()
    raise AttributeError(name)
