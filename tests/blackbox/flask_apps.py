"""Small Flask programs, one for each way of putting a program together."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    after_this_request,
    jsonify,
    redirect,
    request,
    send_file,
    session,
    stream_with_context,
)
from flask.views import MethodView
from werkzeug.middleware.proxy_fix import ProxyFix

Views = Flask | Blueprint


def things(views: Views, prefix: str = "/things") -> None:
    """A collection and its items; nobody says Location."""

    @views.get(prefix)
    def listing() -> Any:
        return jsonify(["ink", "pen"])

    @views.post(prefix)
    def create() -> Any:
        request.get_data()
        return {"id": 7}, 201

    @views.get(prefix + "/<int:thing_id>")
    def read(thing_id: int) -> Any:
        return {"id": thing_id}

    @views.put(prefix + "/<int:thing_id>")
    def replace(thing_id: int) -> Any:
        return {"put": request.get_data(as_text=True)}

    @views.delete(prefix + "/<int:thing_id>")
    def remove(thing_id: int) -> Any:
        return "", 204


def replace_all(views: Views, path: str = "/things") -> None:
    """A PUT handler on the collection itself, which no client may reach."""

    @views.put(path)
    def put_everything() -> Any:
        return "replaced everything"


def plain() -> Flask:
    app = Flask("plain")
    things(app)
    return app


def blueprint_twice() -> Flask:
    """One blueprint under two prefixes and two names: two endpoints over each function."""
    app, views = Flask("twice"), Blueprint("things", "things")
    things(views)
    app.register_blueprint(views, url_prefix="/v1")
    app.register_blueprint(views, url_prefix="/v2", name="second")
    return app


def nested_blueprints() -> Flask:
    app, outer, inner = Flask("nested"), Blueprint("outer", "outer"), Blueprint("inner", "inner")
    things(inner)
    outer.register_blueprint(inner, url_prefix="/inner")
    app.register_blueprint(outer, url_prefix="/outer")
    return app


class Collection(MethodView):
    """The collection as a class, one instance for all requests."""

    init_every_request = False

    def get(self) -> Any:
        return jsonify(["ink", "pen"])

    def post(self) -> Any:
        request.get_data()
        return {"id": 7}, 201


class Item(MethodView):
    def get(self, thing_id: int) -> Any:
        return {"id": thing_id}

    def put(self, thing_id: int) -> Any:
        return {"put": request.get_data(as_text=True)}

    def delete(self, thing_id: int) -> Any:
        return "", 204


def method_views() -> Flask:
    app = Flask("classes")
    app.add_url_rule("/things", view_func=Collection.as_view("collection"))
    app.add_url_rule("/things/<int:thing_id>", view_func=Item.as_view("item"))
    return app


def create_app(config: dict[str, Any] | None = None) -> Flask:
    """An app factory, with a root for everything it serves."""
    app = Flask("factory")
    app.config.update(config or {})
    things(app)

    @app.before_request
    def before() -> None:
        @after_this_request
        def stamp(response: Response) -> Response:
            response.headers["X-Stamp"] = "after"
            return response

    return app


def behind_proxy() -> Flask:
    """A proxy serves it under a prefix and says so in X-Forwarded-Prefix."""
    app = plain()
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    return app


def put_everywhere() -> Flask:
    app, views = Flask("everywhere"), Blueprint("views", "views")
    for place in (app, views):
        things(place)
        replace_all(place)
    app.register_blueprint(views, url_prefix="/blue")
    return app


def slashes() -> Flask:
    """Templates that end in a slash, with and without strictness about it."""
    app = Flask("slashes")
    for name, options in [("strict", {}), ("loose", {"strict_slashes": False})]:
        app.add_url_rule(f"/{name}/", f"{name} list", lambda: jsonify([]), methods=["GET"], **options)
        app.add_url_rule(f"/{name}/", f"{name} make", lambda: ({"id": 7}, 201), methods=["POST"], **options)
        app.add_url_rule(f"/{name}/", f"{name} all", lambda: "everything", methods=["PUT"], **options)
        app.add_url_rule(f"/{name}/<key>", f"{name} get", lambda key: key, methods=["GET"], **options)
        app.add_url_rule(f"/{name}/<key>", f"{name} put", lambda key: key, methods=["PUT"], **options)
    return app


def no_automatic_options() -> Flask:
    """Rules that leave OPTIONS to nobody."""
    app = Flask("no-options")
    quiet: dict[str, Any] = {"provide_automatic_options": False}
    app.add_url_rule("/things", "list", lambda: jsonify([]), methods=["GET"], **quiet)
    app.add_url_rule("/things", "make", lambda: ({"id": 7}, 201), methods=["POST"], **quiet)
    app.add_url_rule("/things/<key>", "get", lambda key: key, methods=["GET"], **quiet)
    app.add_url_rule("/own", "own", lambda: ("mine", 200, {"X-Own": "1"}), methods=["GET", "OPTIONS"], **quiet)
    return app


def overlapping() -> Flask:
    app = Flask("overlapping")
    app.add_url_rule("/items/<name>", "get", lambda name: name, methods=["GET"])
    app.add_url_rule("/items/<name>", "put", lambda name: name, methods=["PUT"])
    app.add_url_rule("/items/search", "search", lambda: "found", methods=["GET"])
    app.add_url_rule("/files/<path:name>", "file", lambda name: name, methods=["GET", "PUT"])
    app.add_url_rule("/files", "files", lambda: "files", methods=["GET", "PUT"])
    app.add_url_rule("/old", "old", lambda: "old", methods=["GET"], redirect_to="/items/search")
    return app


def behaviour(**config: Any) -> Callable[[], Flask]:
    """What handlers do: answer, raise, stream, send files, keep sessions."""

    def make() -> Flask:
        app = Flask("behaviour")
        app.secret_key = "secret"
        app.config.update(config)
        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]

        @app.route("/abort", methods=every)
        def aborts() -> Any:
            abort(409, "conflict")

        @app.route("/abort-response", methods=every)
        def aborts_with_response() -> Any:
            abort(Response("own", 422, {"X-Why": "own"}))

        @app.route("/unhandled", methods=every)
        def unhandled() -> Any:
            raise ZeroDivisionError("unhandled")

        @app.route("/handled", methods=every)
        def handled() -> Any:
            raise LookupError("handled")

        @app.errorhandler(LookupError)
        def lookup(error: LookupError) -> Any:
            return {"error": str(error)}, 422

        @app.route("/stream", methods=every)
        def stream() -> Any:
            def content() -> Iterator[str]:
                yield f"{request.method} "
                yield request.path
                if request.args.get("fail"):
                    raise ZeroDivisionError("in the stream")

            return Response(stream_with_context(content()), mimetype="text/plain")

        @app.route("/file", methods=every)
        def file() -> Any:
            content = io.BytesIO(b"0123456789" * 10)
            return send_file(content, "text/plain", download_name="a.txt", etag="abc", last_modified=1_600_000_000)

        @app.route("/session", methods=every)
        def remember() -> Any:
            session["count"] = session.get("count", 0) + 1
            return {"count": session["count"]}

        @app.route("/redirect", methods=every)
        def elsewhere() -> Any:
            return redirect("/file", 303)

        @app.route("/echo", methods=every)
        def echo() -> Any:
            return {"form": request.form, "args": request.args, "json": request.get_json(silent=True)}

        return app

    return make
