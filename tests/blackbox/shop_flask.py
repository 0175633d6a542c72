"""The shop, served by Flask."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, jsonify, request

from blackbox.shop import ROUTES, Call, Reply, World, digest


def flask_shop(world: World) -> Flask:
    app = Flask("shop")
    for number, (method, path, handler) in enumerate(ROUTES):
        rule = path.replace("{", "<").replace("}", ">")
        app.add_url_rule(rule, f"route{number}", _view(world, handler), methods=[method])

    @app.post("/form")
    def form() -> Response:
        files = {name: value.read().decode("latin-1") for name, value in request.files.items()}
        return _response(world.form(Call(request.method, b"", {}, dict(request.form) | files)))

    @app.post("/upload")
    @app.put("/upload/<name>")
    def upload(name: str = "") -> Response:
        number = world.run("upload")
        return jsonify({"number": number, **digest(iter(lambda: request.stream.read(65536), b""))})

    return app


def _view(world: World, handler: Callable[[World, Call], Reply]) -> Callable[..., Response]:
    def view(**where: str) -> Response:
        return _response(handler(world, Call(request.method, request.get_data(), where)))

    return view


def _response(reply: Reply) -> Response:
    response = Response(reply.body, reply.status, content_type=reply.media)
    for name, value in reply.headers:
        response.headers.add(name, value)
    if reply.after:
        response.call_on_close(reply.after)
    return response
