"""Programs of frameworks whose routers the guard does not read: left alone without policies, kept to them with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from blackbox import other_apps as apps
from blackbox.checks import Both, Pair, Serve, created_at, refused, same
from blackbox.drivers import AsgiDriver, Client, WsgiDriver

import verbguard
from verbguard import Replay, collection, item
from verbguard.asgi import GuardMiddleware
from verbguard.wsgi import GuardMiddleware as WsgiGuard

PROGRAMS: list[tuple[Callable[[], Any], Serve]] = [
    (apps.quart_app, AsgiDriver),
    (apps.litestar_app, AsgiDriver),
    (apps.falcon_wsgi_app, WsgiDriver),
    (apps.falcon_asgi_app, AsgiDriver),
    (apps.django_wsgi_app, WsgiDriver),
    (apps.django_asgi_app, AsgiDriver),
]
IDS = [factory.__name__ for factory, _ in PROGRAMS]
POLICIES = {
    "/things": collection(methods=frozenset({"GET", "POST"}), location="/things/{id}"),
    "/things/{id}": item(methods=frozenset({"GET", "PUT", "DELETE"}), replay=Replay(window=30)),
}

REQUESTS = [
    ("GET", "/things"),
    ("POST", "/things"),
    ("PUT", "/things"),
    ("DELETE", "/things"),
    ("PATCH", "/things/1"),
    ("GET", "/things/1"),
    ("GET", "/things/one"),
    ("PUT", "/things/1"),
    ("PUT", "/things/1/"),
    ("PUT", "//things"),
    ("PUT", "/things%2F"),
    ("DELETE", "/things/1"),
    ("OPTIONS", "/nothing"),
    ("GET", "/nothing"),
    ("PUT", "/nothing"),
    ("POST", "/fall"),
    ("PUT", "/fall"),
    ("GET", "/stream"),
    ("POST", "/stream"),
    ("POST", "/later"),
    ("POST", "/form"),
    ("POST", "/slash"),
    ("PUT", "/slash/"),
    ("SEARCH", "/things"),
]


def like_bare(both: Both) -> None:
    """Equal, but for a 201 without Location, which stays one, and for what the framework itself makes up anew."""
    same(both)


@pytest.mark.parametrize(("factory", "serve"), PROGRAMS, ids=IDS)
@pytest.mark.parametrize("key", [None, "k"])
def test_without_policies_a_program_answers_as_it_did(factory: Callable[[], Any], serve: Serve, key: str | None) -> None:
    """A callable without a route map keeps every answer that HTTP has no quarrel with, key or not."""
    with Pair(factory, serve) as pair:
        for number, (method, target) in enumerate(REQUESTS):
            body = b"a=b" if method in {"POST", "PUT", "PATCH"} else b""
            headers = [("Content-Type", "application/x-www-form-urlencoded")] if body else []
            both = pair.send(method, target, key=key and f"{key}{number}", body=body, headers=headers)
            like_bare(both)


@pytest.mark.parametrize(("factory", "serve"), PROGRAMS, ids=IDS)
def test_with_policies_it_keeps_them(factory: Callable[[], Any], serve: Serve) -> None:
    """PUT on the collection is refused before the body, a 201 gets its Location, items still work."""
    with Pair(factory, serve, policies=POLICIES) as pair:
        refused("GET", "HEAD", "POST")(pair.send("PUT", "/things", body=b"x"))
        created_at("/things/7")(pair.send("POST", "/things", body=b"x"))
        for method, target in [("GET", "/things"), ("GET", "/things/1"), ("PUT", "/things/1"), ("DELETE", "/things/1")]:
            same(pair.send(method, target, body=b"x" if method == "PUT" else b""))


@pytest.mark.parametrize(("factory", "serve"), PROGRAMS, ids=IDS)
def test_retries_are_replayed(factory: Callable[[], Any], serve: Serve) -> None:
    """A keyed POST without any policy, and a bare PUT of a declared item."""
    with Pair(factory, serve, policies=POLICIES) as pair:
        for method, target, key in [("POST", "/things", "k"), ("PUT", "/things/1", None)]:
            first, second = (pair.guarded.send(method, target, key=key, body=b"x") for _ in range(2))
            assert (first.replayed, second.replayed) == (False, True)
            assert (second.status, second.body, second.values("location")) == (
                first.status,
                first.body,
                first.values("location"),
            )


@pytest.mark.parametrize(("factory", "serve"), PROGRAMS, ids=IDS)
def test_spellings_of_a_declared_collection(factory: Callable[[], Any], serve: Serve) -> None:
    """Whatever a router makes of them, no spelling of a declared collection runs as a PUT with success."""
    spellings = ["/things", "//things", "/things/", "/%74hings", "/things%2F", "/./things", "/things?x=1"]
    with Pair(factory, serve, policies=POLICIES) as pair:
        for target in spellings:
            assert pair.guarded.send("PUT", target, body=b"x").status >= 300


# -- the framework's own idiom ----------------------------------------------------------------------------------------


def quart_idiom() -> Any:
    app = apps.quart_app()
    app.asgi_app = GuardMiddleware(app.asgi_app, policies=POLICIES)
    return app


def litestar_idiom() -> Any:
    return GuardMiddleware(apps.litestar_app(), policies=POLICIES)


def falcon_idiom() -> Any:
    return WsgiGuard(apps.falcon_wsgi_app(), policies=POLICIES)


IDIOMS: list[tuple[Callable[[], Any], Serve]] = [
    (quart_idiom, AsgiDriver),
    (litestar_idiom, AsgiDriver),
    (falcon_idiom, WsgiDriver),
]


@pytest.mark.parametrize(("make", "serve"), IDIOMS, ids=[make.__name__ for make, _ in IDIOMS])
def test_the_framework_s_own_idiom(make: Callable[[], Any], serve: Serve) -> None:
    """Wrapped by hand, where the framework's users put middleware, the guard does the same."""
    with Client(serve(make())) as client:
        assert client.send("PUT", "/things", body=b"x").rule == "put-no-collection"
        assert client.send("POST", "/things", body=b"x").value("location") == "/things/7"
        assert [client.send("PUT", "/things/1", body=b"x").replayed for _ in range(2)] == [False, True]


def test_attributes_of_a_wrapped_app_are_still_there() -> None:
    """Test clients and command lines look for the framework's attributes on what `guard` returns."""
    assert verbguard.guard(apps.litestar_app()).routes  # type: ignore[attr-defined]
    assert verbguard.guard(apps.falcon_wsgi_app()).add_route  # type: ignore[attr-defined]


def test_the_guard_s_own_names_hide_none_of_the_app_s() -> None:
    """Bottle's `app.router` is one that a program may use."""

    class Routed:
        router = "mine"

        def __call__(self, environ: Any, start_response: Any) -> Any:
            raise AssertionError

    assert verbguard.guard(Routed()).router == "mine"  # type: ignore[attr-defined]
