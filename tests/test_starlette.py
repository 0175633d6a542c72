"""A guarded Starlette program answers as it did, for every kind of route node, except where HTTP asks for more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware
from blackbox import starlette_apps as apps
from blackbox.answers import Pairs
from blackbox.checks import Check, Pair, created_at, not_allowed, options, refused, same, status, without_content
from blackbox.drivers import AsgiDriver, Client, NotStarted, run_lifespan
from blackbox.flask_apps import plain as flask_things
from starlette.applications import Starlette
from starlette.routing import Mount, Route

import verbguard
from verbguard import collection, item
from verbguard.asgi import GuardMiddleware

SHOP: Pairs = [("Host", "shop.example")]

LAYOUTS: list[tuple[Callable[[], Starlette], str, Pairs]] = [
    (apps.functions, "", []),
    (apps.classes, "", []),
    (apps.mounted, "/deep/er", []),
    (apps.router_inside, "/in", []),
    (apps.app_inside, "/in", []),
    (apps.by_host, "", SHOP),
    (apps.by_host, "/else", []),
    (apps.with_route_middleware, "", []),
    (apps.with_route_middleware, "/m", []),
    (apps.with_legacy, "", []),
]
IDS = [f"{factory.__name__} {base}" for factory, base, _ in LAYOUTS]

COLLECTION = ("GET", "HEAD", "POST")
ITEM = ("GET", "HEAD", "PUT", "DELETE")


def requests(base: str) -> list[tuple[str, str, Check]]:
    return [
        ("GET", "/things", status(200)),
        ("HEAD", "/things", without_content),
        ("GET", "/things/1", status(200)),
        ("GET", "/nothing", status(404)),
        ("PUT", "/nothing", status(404)),
        ("POST", "/things", created_at(f"{base}/things/7")),
        ("PUT", "/things/1", status(200)),
        ("DELETE", "/things/1", status(204)),
        ("PUT", "/things", refused(*COLLECTION)),
        ("DELETE", "/things", not_allowed(*COLLECTION)),
        ("POST", "/things/1", not_allowed(*ITEM)),
        ("OPTIONS", "/things", options(*COLLECTION)),
        ("OPTIONS", "/things/1", options(*ITEM)),
    ]


@pytest.mark.parametrize(("factory", "base", "headers"), LAYOUTS, ids=IDS)
def test_things_behind_every_kind_of_node(factory: Callable[[], Starlette], base: str, headers: Pairs) -> None:
    """Functions, classes, mounts, routers, hosts and routes with middleware: kind, Allow and Location are right."""
    with Pair(factory) as pair:
        for method, target, check in requests(base):
            check(pair.send(method, base + target, body=b"x" if method in {"PUT", "POST"} else b"", headers=headers))


@pytest.mark.parametrize(("factory", "base", "headers"), LAYOUTS, ids=IDS)
def test_replays_behind_every_kind_of_node(factory: Callable[[], Starlette], base: str, headers: Pairs) -> None:
    """A keyed POST and a bare PUT to an item are replayed behind each of them."""
    with Pair(factory) as pair:
        for method, target, key in [("POST", "/things", "k"), ("PUT", "/things/1", None)]:
            first, second = (pair.guarded.send(method, base + target, key=key, body=b"x", headers=headers) for _ in range(2))
            assert (first.replayed, second.replayed, second.body) == (False, True, first.body)


def test_another_host_is_another_program() -> None:
    """A route under `Host` is no route for the others: what the bare program does not know stays unknown."""
    with Pair(apps.by_host) as pair:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            status(404)(pair.send(method, "/things"))


def test_what_happens_under_an_opaque_mount_is_its_own_affair() -> None:
    """A WSGI program under a mount has no routes to read: it is UNKNOWN, every method passes, keys still protect."""
    with Pair(apps.with_legacy) as pair:
        for method in ("GET", "PUT", "POST", "PATCH", "DELETE"):
            status(200)(pair.send(method, "/legacy/things", body=b"x"))
        answers = [pair.guarded.send("PUT", "/legacy/things/1", body=b"x") for _ in range(2)]
        assert [answer.replayed for answer in answers] == [False, False]
        answers = [pair.guarded.send("POST", "/legacy/things", key="k", body=b"x") for _ in range(2)]
        assert [answer.replayed for answer in answers] == [False, True]
        assert answers[0].json() == {"method": "POST", "script": "/legacy", "path": "/things", "body": "x"}


def test_policies_reach_under_an_opaque_mount() -> None:
    """Who knows what is there can say so, and then it is guarded like the rest."""
    policies = {"/legacy/things": collection(methods=frozenset({"GET", "POST"})), "/legacy/things/{id}": item()}
    with Pair(apps.with_legacy, policies=policies) as pair:
        refused(*COLLECTION)(pair.send("PUT", "/legacy/things", body=b"x"))
        first, second = (pair.guarded.send("PUT", "/legacy/things/1", body=b"x") for _ in range(2))
        assert (first.replayed, second.replayed) == (False, True)


@pytest.mark.parametrize("shared", [True, False])
def test_a_guarded_wsgi_program_in_a_guarded_one_is_guarded_once(shared: bool) -> None:
    """Two guards on one request's way know each other, also across the bridge between the interfaces: one acts."""
    stores = [verbguard.stores.open("memory://")] * 2 if shared else [None, None]
    inner = verbguard.guard(flask_things(), store=stores[0])
    app = verbguard.guard(Starlette(routes=[Mount("/inner", app=WSGIMiddleware(inner))]), store=stores[1])
    with Client(AsgiDriver(app)) as client:
        first, second = (client.send("POST", "/inner/things", key="k", body=b"x") for _ in range(2))
        assert (first.status, first.replayed, first.values("location")) == (201, False, ["/inner/things/7"])
        assert (second.values("idempotent-replayed"), second.body) == (["true"], first.body)


TYPED = [
    ("PUT", "/numbers/7", status(200)),
    ("PUT", "/numbers/seven", status(404)),
    ("PUT", "/numbers", refused("GET", "HEAD")),
    ("PUT", "/files/a/b", status(200)),
    ("PUT", "/files/a%2Fb", status(200)),
    ("PUT", "/files", status(200)),  # {path:path} is no item, so /files is no collection
    ("PUT", "/items/a%2Fb", status(404)),  # a decoded slash is a slash for the router
    ("PUT", "/items/%7Ename", status(200)),
    ("PUT", "/items/caf%C3%A9", status(200)),
    ("PUT", "/items/search", status(200)),  # first match: /items/{name} was declared before
    ("GET", "/any", status(200)),
    ("POST", "/any", not_allowed("GET", "HEAD")),
    ("OPTIONS", "/numbers/7", options("PUT")),
]


@pytest.mark.parametrize(("method", "target", "check"), TYPED, ids=[f"{m} {t}" for m, t, _ in TYPED])
def test_the_router_s_idea_of_a_path(method: str, target: str, check: Check) -> None:
    """Converters, encoded slashes and the order of declaration mean to the guard what they mean to the router."""
    with Pair(apps.typed) as pair:
        check(pair.send(method, target, body=b"x" if method == "PUT" else b""))


SPELLINGS = ["/things", "//things", "/things/", "/%74hings", "/things%2F", "/./things", "/x/../things"]


@pytest.mark.parametrize("base", ["", "/mounted"])
@pytest.mark.parametrize("target", ["/things", "//things", "/things/", "/%74hings", "/things%2F", "/./things", "/x/../things"])
@pytest.mark.parametrize("root_path", ["", "/pfx"])
def test_the_router_decides_what_a_spelling_means(base: str, target: str, root_path: str) -> None:
    """Where the bare program would run the collection's PUT it is refused; everywhere else its own verdict stands."""
    for prefix in {"", root_path}:
        with Pair(apps.put_everywhere) as pair:
            both = pair.send("PUT", prefix + base + target, body=b"x", root_path=root_path)
            (refused(*COLLECTION) if both.bare.status == 200 else same)(both)


@pytest.mark.parametrize("method", ["get", "put", "FOO", "BREW"])
def test_methods_that_are_none(method: str) -> None:
    """A lower-case method is not the upper-case one, and an unregistered one is nobody's: 501, no handler."""
    with Pair(apps.functions) as pair:
        assert pair.guarded.send(method, "/things/1").status == 501


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_trace_and_connect_are_refused(method: str) -> None:
    """Neither reflects a request nor opens a tunnel."""
    with Pair(apps.functions) as pair:
        assert pair.guarded.send(method, "/things/1").status in {405, 501}


def test_override_fields_are_inert() -> None:
    """POST with an override field is POST: here that is not allowed, and nothing is deleted."""
    with Pair(apps.functions) as pair:
        for field in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
            not_allowed(*ITEM)(pair.send("POST", "/things/1", headers=[(field, "DELETE")]))


@pytest.mark.parametrize(("method", "target", "success"), [("POST", "/things", 201), ("PUT", "/things/1", 200)])
@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("body", [b"x" * 2000, [b"x" * 800] * 3], ids=["sized", "chunked"])
def test_the_framework_s_own_body_bound(method: str, target: str, success: int, key: str | None, body: Any) -> None:
    """A body over `max_body_size` is the framework's 413, with a key and without, and the key is still good."""
    with Pair(apps.limited) as pair:
        status(413)(pair.send(method, target, key=key, body=body))
        answer = pair.guarded.send(method, target, key=key, body=b"x")
        assert (answer.status, answer.replayed) == (success, False)


def test_a_node_that_nobody_knows_stops_the_start_up() -> None:
    """A guard that cannot read a route must not let it through unseen: the program does not start, and hears why."""
    with pytest.raises(NotStarted, match="Riddle"):
        asyncio.run(run_lifespan(verbguard.guard(apps.with_riddle())))


def test_a_node_that_nobody_knows_serves_nothing_without_start_up() -> None:
    """Where no server says lifespan, the first request says the same."""
    with pytest.raises(verbguard.ConfigError, match="Riddle"):
        app = verbguard.guard(apps.with_riddle())
        with Client(AsgiDriver(app)) as client:
            answer = client.send("PUT", "/riddle")
            assert answer.status in {500, 503}
            assert answer.error is not None
            raise answer.error


@pytest.mark.parametrize("when", ["before", "after"])
def test_add_middleware_is_the_same_guard(when: str) -> None:
    """`app.add_middleware(GuardMiddleware)` reads the routes as `guard` does, those that come later included."""
    app = Starlette(routes=apps.things() if when == "before" else [])
    app.add_middleware(GuardMiddleware, policies=None)
    if when == "after":
        app.routes.extend(apps.things())
    with Client(AsgiDriver(app)) as client:
        answer = client.send("PUT", "/things", body=b"x")
        assert (answer.status, answer.rule, answer.allow) == (405, "put-no-collection", {*COLLECTION, "OPTIONS"})
        assert client.send("POST", "/things", body=b"x").value("location") == "/things/7"


def test_late_routes_and_mounts_are_guarded() -> None:
    """`app.routes` may grow while the program runs."""
    app = verbguard.guard(Starlette(routes=apps.things("/early")))
    with Client(AsgiDriver(app)) as client:
        assert client.send("GET", "/early").status == 200
        app.routes.append(Mount("/late", routes=apps.things()))
        app.routes.append(Route("/late", apps.listing, methods=["GET"]))
        assert client.send("PUT", "/late/things", body=b"x").rule == "put-no-collection"
        assert client.send("PUT", "/late/things/1", body=b"x").status == 200


def test_wrapping_the_whole_app_from_outside() -> None:
    """`GuardMiddleware(app)` around everything sees the final 500 and still finds the routes."""

    async def fall(request: Any) -> Any:
        raise ZeroDivisionError

    app = Starlette(routes=[*apps.things(), Route("/fall", fall, methods=["POST"])])
    with Client(AsgiDriver(GuardMiddleware(app))) as client:
        assert client.send("PUT", "/things", body=b"x").rule == "put-no-collection"
        first, second = (client.send("POST", "/fall", key="k") for _ in range(2))
        assert (first.status, second.status, second.replayed, second.body) == (500, 500, True, first.body)
