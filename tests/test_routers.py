"""The frameworks' routers decide: the guard lands where the real application does, and lists what that serves."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from flask import Blueprint, Flask
from flask.views import MethodView
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.responses import Response
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from werkzeug.test import EnvironBuilder, run_wsgi_app

from verbguard import ConfigError, Policy
from verbguard.http import Headers, Request
from verbguard.plans import Guard
from verbguard.resources import Plan
from verbguard.routers.starlette import StarletteRouter
from verbguard.routers.werkzeug import WerkzeugRouter
from verbguard.routes import Kind, shape

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
UNMAPPED = "(unmapped)"

Table = list[tuple[str, tuple[str, ...]]]  # template, methods; the order is that of declaration


def guarding(router: Any) -> Guard:
    """A guard that refuses no PUT, so that its Allow is what the application serves."""
    guard = Guard(default=Policy(put="allow"))
    guard.compile(router)
    return guard


def ran(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits for anything."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the application waited")


# ---- Starlette


def echo(template: str) -> Callable[..., Any]:
    async def endpoint(request: Any) -> Response:
        return Response(headers={"x-template": template})

    return endpoint


def starlette_app(table: Table, mounted: Table | None = None, at: int = 0) -> Starlette:
    """An app with these routes, and with others mounted on /m somewhere between them."""
    routes: list[BaseRoute] = [Route(template, echo(template), methods=list(methods)) for template, methods in table]
    if mounted is not None:
        inner = [Route(template, echo("/m" + template), methods=list(methods)) for template, methods in mounted]
        routes.insert(at, Mount("/m", routes=inner))
    return Starlette(routes=routes)


def asked(app: Any, method: str, path: str) -> tuple[int, str]:
    """(status, template of the endpoint that ran) of a real ASGI call."""
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "server": ("testserver", 80),
        "client": None,
    }
    ran(app(scope, receive, send))
    return said[0]["status"], dict(said[0]["headers"]).get(b"x-template", b"").decode()


def plan_of(guard: Guard, request: Request) -> Plan:
    """What the guard does with a request: where the path alone would refuse it, the router is asked first."""
    plan = guard.settle(request)
    return guard.confirmed(request) if plan.confirms else plan


def one_resource(template: str) -> str:
    """Names and types of parameters make no other resource, nor does a slash that a rule is not strict about."""
    return shape(template).rstrip("/")


def judge(router: Any, real: Callable[[str], tuple[int, str]], path: str, headers: Headers | None = None) -> None:
    """What the guard believes of a path is what the application does, method by method."""
    guard = guarding(router)
    answers = {method: real(method) for method in METHODS}
    served = {method for method, (_, template) in answers.items() if template}
    for method, (status, template) in answers.items():
        target = plan_of(guard, Request(method, path, headers)).target
        if template:
            assert one_resource(target.template) == one_resource(template), (method, path)
        if template or status == 405:
            assert target.allow - {"OPTIONS"} == served, (method, path)
    if not served:
        refusing = Guard()
        refusing.compile(router)
        assert plan_of(refusing, Request("PUT", path, headers)).refused is None, path


SEGMENTS = ["items", "me", "{a}", "{a:int}", "{a}:publish", "v{a}", "{a:path}", "{a:path}:x", "{a}.json"]


@st.composite
def starlette_templates(draw: st.DrawFn) -> str:
    """A template whose parameters all have names of their own."""
    parts = draw(st.lists(st.sampled_from(SEGMENTS), max_size=3))
    named = [part.replace("{a", "{" + "abc"[at]) for at, part in enumerate(parts)]
    return "/" + "/".join(named) + draw(st.sampled_from(["", "", "/"] if named else [""]))


def tables(
    templates: st.SearchStrategy[str], methods: tuple[str, ...] = ("GET", "POST", "PUT", "DELETE")
) -> st.SearchStrategy[Table]:
    """Route tables: several routes may share a template, and each takes some methods."""
    takes = st.sets(st.sampled_from(methods), min_size=1, max_size=2).map(lambda found: tuple(sorted(found)))
    return st.lists(st.tuples(templates, takes), max_size=6)


PIECES = ["items", "me", "1", "x", "", "v1", "1:publish", "x.json", "m", "é", "a b", "{a}", "..", "2:x", "a/b"]


@st.composite
def paths(draw: st.DrawFn, table: Table) -> str:
    """Any path, or one that some template of the table might match."""
    parts = draw(st.lists(st.sampled_from(PIECES), max_size=4))
    template = draw(st.sampled_from([template for template, _ in table] + ["/" + "/".join(parts)]))
    values = draw(st.lists(st.sampled_from(PIECES), min_size=3, max_size=3))
    path = re.sub(r"\{[^}]*\}|<[^>]*>", lambda _: values.pop() or "7", template)
    return draw(st.sampled_from([path, path, path + "/", "/" + path]))


@settings(max_examples=100)
@given(tables(starlette_templates()), st.data())
def test_starlette(table: Table, data: st.DataObject) -> None:
    """For any Starlette route table the guard lands on the route that runs, and Allow is every method that is served."""
    path = data.draw(paths(table))
    app = starlette_app(table)
    judge(StarletteRouter(app), lambda method: asked(app, method, path), path)


@pytest.mark.parametrize("behind", ["/{rest:path}", "/{a}/{b}", "/m/items", "/m/{a}"])
def test_what_a_mount_hides_is_not_allowed(behind: str) -> None:
    """A route behind a mount does not serve the mount's paths, whatever stands before it."""
    app = starlette_app([("/{a:path}", ("GET",)), (behind, ("POST",))], [("/", ("GET",))], 1)
    for path in ("/m/items", "/n/items"):
        judge(StarletteRouter(app), lambda method, path=path: asked(app, method, path), path)


@settings(max_examples=100)
@given(tables(starlette_templates()), tables(starlette_templates()).filter(bool), st.integers(0, 6), st.data())
def test_starlette_with_a_mount(table: Table, mounted: Table, at: int, data: st.DataObject) -> None:
    """A mounted app hides what is declared behind it, on its own paths only."""
    app = starlette_app(table, mounted, at)
    path = data.draw(paths(table) | paths(mounted).map(lambda path: "/m" + path))
    judge(StarletteRouter(app), lambda method: asked(app, method, path), path)


STARLETTE: list[tuple[str, Table, str]] = [
    ("the first that matches", [("/items/{id}", ("GET",)), ("/items/me", ("PUT",))], "/items/me"),
    ("a literal first", [("/items/me", ("PUT",)), ("/items/{id}", ("GET",))], "/items/me"),
    ("typed beside untyped", [("/items/{id:int}", ("GET",)), ("/items/{name}", ("PUT",))], "/items/x"),
    ("typed beside untyped, both match", [("/items/{id:int}", ("GET",)), ("/items/{name}", ("PUT",))], "/items/7"),
    ("untyped beside typed", [("/items/{name}", ("PUT",)), ("/items/{id:int}", ("GET",))], "/items/x"),
    ("a typed route alone", [("/items/{id:int}", ("GET",))], "/items/x"),
    ("two typed routes", [("/items/{id:int}", ("GET",)), ("/items/{id:uuid}", ("PUT",))], "/items/7"),
    ("a path in the middle", [("/files/{p:path}/meta", ("PUT",)), ("/files/{p:path}", ("GET",))], "/files/a/b"),
    ("a path in the middle, met", [("/files/{p:path}/meta", ("PUT",)), ("/files/{p:path}", ("GET",))], "/files/a/meta"),
    ("a path with text behind it", [("/files/{p:path}:x", ("PUT",)), ("/files/{p:path}", ("GET",))], "/files/a/b"),
    ("a path that is empty", [("/files/{p:path}", ("PUT",)), ("/files/{a}", ("GET",))], "/files/"),
    ("a line feed at the end", [("/items", ("GET", "POST")), ("/items/{id}", ("PUT",))], "/items\n"),
    ("a line feed in a parameter", [("/items", ("GET",)), ("/items/{id}", ("PUT",))], "/items/a\nb"),
    ("a line feed in a path", [("/files/{p:path}", ("PUT",)), ("/{a}/{b}", ("DELETE",))], "/files/a\nb"),
    ("a slash too many", [("/items", ("GET", "POST")), ("/items/{id}", ("PUT",))], "//items"),
    ("a slash at the end", [("/items", ("GET", "POST")), ("/items/{id}", ("PUT",))], "/items/"),
]


@pytest.mark.parametrize(("table", "path"), [row[1:] for row in STARLETTE], ids=[row[0] for row in STARLETTE])
def test_starlette_cases(table: Table, path: str) -> None:
    """Overlaps, converters and odd spellings, each with the real router beside it."""
    app = starlette_app(table)
    judge(StarletteRouter(app), lambda method: asked(app, method, path), path)


def test_a_class_endpoint_takes_every_method() -> None:
    """A class endpoint that stands first answers for its path alone, whatever is declared behind it."""

    class First(HTTPEndpoint):
        async def get(self, request: Any) -> Response:
            return Response(headers={"x-template": "/items/{id}"})

    app = Starlette(routes=[Route("/items/{id}", First), Route("/items/me", echo("/items/me"), methods=["PUT"])])
    assert asked(app, "PUT", "/items/me")[0] == 405
    target = guarding(StarletteRouter(app)).settle(Request("PUT", "/items/me")).target
    assert target.template == "/items/{id}"


def test_hosts_are_asked() -> None:
    """A host condition decides as it does in the application."""
    inner = Router([Route("/items", echo("/items"), methods=["PUT"])])
    app = Starlette(routes=[Host("shop.example", inner), Route("/items", echo("/items"), methods=["GET"])])
    for host in (b"shop.example", b"other.example"):

        def real(method: str, host: bytes = host) -> tuple[int, str]:
            return asked_at(app, method, host)

        judge(StarletteRouter(app), real, "/items", [(b"host", host)])


def asked_at(app: Any, method: str, host: bytes) -> tuple[int, str]:
    async def renamed(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "headers": [(b"host", host)]}, receive, send)

    return asked(renamed, method, "/items")


# ---- what a Starlette or FastAPI tree shows


async def opaque(scope: Any, receive: Any, send: Any) -> None: ...


def nested() -> FastAPI:
    """A FastAPI app with included routers, sub-apps and mounts."""
    app = FastAPI(openapi_url=None)
    inner, outer = APIRouter(prefix="/orders"), APIRouter(prefix="/v1", tags=["v1"])
    inner.get("")(echo("")), inner.post("")(echo("")), inner.get("/{id}")(echo("")), inner.put("/{id}")(echo(""))
    outer.include_router(inner)
    app.include_router(outer, prefix="/api")
    app.include_router(inner)
    sub = FastAPI(openapi_url=None)
    sub.get("/things")(echo("")), sub.get("/things/{id}")(echo(""))
    app.mount("/sub", sub)
    app.mount("/opaque", opaque)
    return app


SHOWN = {
    "/api/v1/orders": Kind.COLLECTION,
    "/api/v1/orders/{id}": Kind.ITEM,
    "/orders": Kind.COLLECTION,
    "/orders/{id}": Kind.ITEM,
    "/sub/things": Kind.COLLECTION,
    "/sub/things/{id}": Kind.ITEM,
    "/opaque/{path:path}": Kind.UNKNOWN,
}


def test_a_fastapi_tree_is_flattened() -> None:
    """Included routers, sub-apps and mounts show their routes with their whole templates; an opaque mount is UNKNOWN."""
    guard = guarding(StarletteRouter(nested()))
    assert guard.map is not None
    assert {route.template for route in guard.map.routes} == SHOWN.keys()
    for template, kind in SHOWN.items():
        path = template.replace("{id}", "7").replace("{path:path}", "a/b")
        target = guard.settle(Request("PUT", path)).target
        assert (target.template, target.kind) == (template, kind)


def test_an_unknown_route_node_is_an_error() -> None:
    """A node of a type that nobody here knows might hide routes, so the app does not start."""

    class Odd(BaseRoute):
        def matches(self, scope: Any) -> tuple[Match, Any]:
            return Match.FULL, {}

    with pytest.raises(ConfigError, match="Odd"):
        guarding(StarletteRouter(Starlette(routes=[Odd()])))
    with pytest.raises(ConfigError, match="Odd"):
        guarding(StarletteRouter(Starlette(routes=[Mount("/m", routes=[Odd()])])))


def test_a_subclass_of_a_known_node_is_known() -> None:
    """Frameworks on top of Starlette have route classes of their own."""

    class Special(Route): ...

    app = Starlette(routes=[Special("/items", echo("/items")), WebSocketRoute("/ws", opaque)])
    assert [route.template for route in StarletteRouter(app).routes()] == ["/items"]


def test_routes_added_late_are_found() -> None:
    """A route that is added while the app runs counts from then on."""
    app = starlette_app([("/items", ("GET",))])
    guard = guarding(StarletteRouter(app))
    assert guard.settle(Request("PUT", "/late")).target.template == UNMAPPED
    app.router.routes.append(Route("/late", echo("/late"), methods=["PUT"]))
    assert guard.settle(Request("PUT", "/late")).target.template == "/late"


def test_fastapi_routes_added_late_are_found() -> None:
    """Also on an included router, and on the app itself."""
    app, inner = FastAPI(openapi_url=None), APIRouter()
    inner.get("/items")(echo(""))
    app.include_router(inner)
    guard = guarding(StarletteRouter(app))
    assert guard.settle(Request("PUT", "/late")).target.template == UNMAPPED
    app.put("/late")(echo(""))
    assert guard.settle(Request("PUT", "/late")).target.template == "/late"


# ---- Flask


def view(template: str) -> Callable[..., Any]:
    def endpoint(**values: Any) -> Any:
        return "", 200, {"X-Template": template}

    return endpoint


def flask_app(table: Table, **options: Any) -> Flask:
    app = Flask("shop", static_folder=None)
    for number, (template, methods) in enumerate(table):
        app.add_url_rule(template, f"view{number}", view(template), methods=list(methods), **options)
    return app


def called(app: Flask, method: str, path: str) -> tuple[int, str]:
    """(status, template of the view that ran) of a real WSGI call."""
    environ = EnvironBuilder(method=method).get_environ()
    environ["PATH_INFO"] = path.encode().decode("latin-1")
    pieces, status, headers = run_wsgi_app(app, environ)
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
    return int(status[:3]), braces(headers.get("X-Template", ""))


def braces(template: str) -> str:
    """Flask's spelling, in braces: a path converter spans slashes, the others are parameters."""
    return re.sub(r"<(?:(?:(path)|\w+):)?(\w+)>", lambda m: "{" + m[2] + (":path}" if m[1] else "}"), template)


FLASK_SEGMENTS = ["items", "me", "<a>", "<int:a>", "<a>.json", "v<a>", "<path:a>"]


@st.composite
def flask_templates(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.sampled_from(FLASK_SEGMENTS), max_size=3))
    named = [part.replace("a>", "abc"[at] + ">") for at, part in enumerate(parts)]
    return "/" + "/".join(named) + draw(st.sampled_from(["", "", "/"] if named else [""]))


@settings(max_examples=100)
@given(tables(flask_templates()), st.booleans(), st.data())
def test_flask(table: Table, strict: bool, data: st.DataObject) -> None:
    """For any url_map the guard lands on the rule that runs, and Allow is every method that is served."""
    path = data.draw(paths(table))
    app = flask_app(table, strict_slashes=strict)
    judge(WerkzeugRouter(app), lambda method: called(app, method, path), path)


FLASK: list[tuple[str, Table, str]] = [
    ("a literal is preferred", [("/items/<a>", ("GET",)), ("/items/me", ("PUT",))], "/items/me"),
    ("and falls through to a sibling", [("/items/<a>", ("GET", "DELETE")), ("/items/me", ("PUT",))], "/items/me"),
    ("typed beside untyped", [("/items/<int:a>", ("GET",)), ("/items/<b>", ("PUT",))], "/items/x"),
    ("typed beside untyped, both match", [("/items/<int:a>", ("GET",)), ("/items/<b>", ("PUT",))], "/items/7"),
    ("a typed rule alone", [("/items/<int:a>", ("GET",))], "/items/x"),
    ("two slashes", [("/items", ("GET", "POST")), ("/items/<a>", ("PUT",))], "//items"),
    ("a slash at the end", [("/items", ("GET", "POST")), ("/items/<a>", ("PUT",))], "/items/"),
    ("a slash that is missing", [("/items/", ("GET", "POST")), ("/items/<a>", ("PUT",))], "/items"),
    ("a path", [("/files/<path:a>", ("PUT",)), ("/files", ("GET",))], "/files/a/b"),
    ("a path in the middle", [("/files/<path:a>/meta", ("PUT",)), ("/files/<path:b>", ("GET",))], "/files/a/b"),
    ("a line feed at the end", [("/items", ("GET", "POST")), ("/items/<a>", ("PUT",))], "/items\n"),
    ("two slashes beside a path", [("/", ("POST",)), ("/<path:a>", ("GET",))], "//"),
    # a method that Werkzeug redirects to a slash is not served without it, though another rule would take it
    ("a redirect before one of two rules", [("/i/<a>", ("GET",)), ("/i/<b>", ("PUT",)), ("/i/me/", ("PUT",))], "/i/me"),
    ("a redirect of a safe method", [("/i/<a>", ("GET",)), ("/i/<b>", ("PUT",)), ("/i/me/", ("GET",))], "/i/me"),
    ("a redirect before one rule", [("/i/<a>", ("GET", "PUT")), ("/i/me/", ("PUT",))], "/i/me"),
    ("a redirect before all of a rule", [("/i/<a>", ("PUT",)), ("/i/me/", ("PUT",))], "/i/me"),
    ("a redirect by type", [("/i/<a>", ("GET", "PUT")), ("/i/<int:b>/", ("PUT",))], "/i/7"),
    ("a redirect by another type", [("/i/<a>", ("GET", "PUT")), ("/i/<int:b>/", ("PUT",))], "/i/x"),
    ("a redirect by text", [("/i/<a>", ("GET", "PUT")), ("/i/<b>.json/", ("PUT",))], "/i/7.json"),
    ("a redirect of what a path takes", [("/<path:a>", ("GET", "PUT")), ("/i/<b>/", ("PUT",))], "/i/7"),
    ("a redirect within a path", [("/<path:a>", ("GET", "PUT")), ("/i/<path:b>/", ("PUT",))], "/i/7/8"),
    ("a redirect that comes too late", [("/i/me", ("GET", "PUT")), ("/i/<a>/", ("PUT",))], "/i/me"),
    ("a redirect of two slashes", [("/<path:a>", ("GET", "PUT")), ("/i/<b>/", ("PUT",))], "//i/7"),
    ("a redirect beside the same", [("/i/<a>", ("GET", "PUT")), ("/i/<b>/", ("PUT", "DELETE"))], "/i/me"),
]


@pytest.mark.parametrize(("table", "path"), [row[1:] for row in FLASK], ids=[row[0] for row in FLASK])
def test_flask_cases(table: Table, path: str) -> None:
    """Overlaps, converters and slashes, each with the real url_map beside it."""
    app = flask_app(table)
    judge(WerkzeugRouter(app), lambda method: called(app, method, path), path)


@pytest.mark.parametrize("path", ["/7/x/", "/7/x"])
def test_a_flask_rule_that_spans_slashes_takes_none_at_its_end(path: str) -> None:
    """Also where it is not strict about its slash: Werkzeug adds none behind a path."""
    app = flask_app([("/<path:a>/x/", ("GET",)), ("/<path:a>/x", ("POST",))], strict_slashes=False)
    judge(WerkzeugRouter(app), lambda method: called(app, method, path), path)


def test_what_a_redirect_leaves_of_a_flask_rule_is_one_resource() -> None:
    """However often such a path is asked for, its plans are made once."""
    app = flask_app([("/i/<a>", ("GET", "PUT")), ("/i/<int:b>/", ("PUT",))])
    guard = guarding(WerkzeugRouter(app))
    assert guard.settle(Request("GET", "/i/7")) is guard.settle(Request("GET", "/i/8"))


def test_flask_shows_its_routes() -> None:
    """Blueprints and class views are read, converters become plain parameters, static files are a path."""
    app = Flask("shop")
    blueprint = Blueprint("orders", "shop", url_prefix="/orders")
    blueprint.get("/<uuid:id>")(view(""))
    blueprint.post("")(lambda: "")

    class Things(MethodView):
        def get(self, id: int) -> str:
            return ""

        def put(self, id: int) -> str:
            return ""

    app.register_blueprint(blueprint)
    app.add_url_rule("/things/<int(min=1):id>", view_func=Things.as_view("things"))
    routes = {route.template: set(route.methods or ()) for route in WerkzeugRouter(app).routes()}
    assert routes == {
        "/static/{filename:path}": {"GET", "HEAD", "OPTIONS"},
        "/orders/{id}": {"GET", "HEAD", "OPTIONS"},
        "/orders": {"POST", "OPTIONS"},
        "/things/{id}": {"GET", "HEAD", "PUT", "OPTIONS"},
    }


def test_flask_routes_added_late_are_found() -> None:
    """A rule that is added before the first request counts."""
    app = flask_app([("/items", ("GET",))])
    guard = guarding(WerkzeugRouter(app))
    app.add_url_rule("/late", "late", view("/late"), methods=["PUT"])
    assert guard.settle(Request("PUT", "/late")).target.template == "/late"


# ---- what the application itself would list

NATIVE = [("/items", ("GET",)), ("/items", ("POST",)), ("/items/{id}", ("GET", "PUT"))]


def test_native_allow_is_what_the_framework_says() -> None:
    """`verbguard routes` prints what the app itself would put in Allow, so that the difference shows."""
    app = starlette_app(NATIVE)
    router = StarletteRouter(app)
    routes = [route for route in router.routes() if route.template == "/items"]
    assert listed(router.native_allow(routes, "DELETE")) == listed(native_allow(app, "DELETE", "/items"))
    flask = flask_app([("/items", ("GET",)), ("/items", ("POST",)), ("/items/<id>", ("GET", "PUT"))])
    found = WerkzeugRouter(flask)
    routes = [route for route in found.routes() if route.template == "/items"]
    real = flask.test_client().delete("/items").headers["Allow"]
    assert listed(found.native_allow(routes, "DELETE")) == listed(real)


def listed(allow: str | None) -> list[str]:
    """The methods of an Allow value; frameworks keep them in sets, so their order means nothing."""
    return sorted((allow or "").split(", "))


def native_allow(app: Any, method: str, path: str) -> str:
    """The Allow of a real 405."""
    listed: list[str] = []

    async def spy(scope: Any, receive: Any, send: Any) -> None:
        async def said(message: Any) -> None:
            if message["type"] == "http.response.start":
                listed.append(dict(message["headers"])[b"allow"].decode())
            await send(message)

        await app(scope, receive, said)

    assert asked(spy, method, path)[0] == 405
    return listed[0]
