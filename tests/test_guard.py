"""What is decided and said at start-up: refusals of existing handlers, principals, workers; and how policies become plans."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from blackbox.drivers import AsgiDriver, Client, WsgiDriver, run_lifespan
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Host, Route, Router

import verbguard
from verbguard import Action, Finding, Kind, Policy, Replay, action, collection, item, singleton
from verbguard.http import Request
from verbguard.plans import Guard
from verbguard.resources import Plan
from verbguard.routes import Route as Entry

# ---- an app with a PUT on its collection


def fastapi_app() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.get("/items")(lambda: [])
    app.post("/items")(lambda: {})
    app.put("/items")(lambda: {"replaced": True})
    app.get("/items/{id}")(lambda id: {})
    return app


def flask_app() -> Flask:
    app = Flask("shop")
    app.add_url_rule("/items", "items", lambda: {"replaced": True}, methods=["GET", "POST", "PUT"])
    app.add_url_rule("/items/<id>", "item", lambda id: {})
    return app


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "verbguard")
    return caplog


def warnings(log: pytest.LogCaptureFixture, *words: str) -> list[str]:
    """The warnings that have all of these words."""
    messages = [
        record.getMessage() for record in log.records if record.levelno >= logging.WARNING and record.name == "verbguard"
    ]
    return [message for message in messages if all(word in message for word in words)]


async def started(app: FastAPI, **arguments: Any) -> FastAPI:
    guarded = verbguard.guard(app, **arguments)
    assert await run_lifespan(guarded) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    return guarded


async def test_a_handler_that_is_refused_is_told_at_start_up(log: pytest.LogCaptureFixture) -> None:
    """One line, before any traffic, with the route and the one word that allows it."""
    await started(fastapi_app())
    assert len(warnings(log, "/items", 'put="allow"')) == 1


def test_a_flask_handler_that_is_refused_is_told(log: pytest.LogCaptureFixture) -> None:
    """Flask has no start-up; it is said once, however many requests there are."""
    app = verbguard.guard(flask_app())
    client = app.test_client()
    for _ in range(3):
        assert client.put("/items").status_code == 405
        assert client.get("/items").status_code == 200
    assert len(warnings(log, "/items", 'put="allow"')) == 1


async def test_without_a_handler_nothing_is_told(log: pytest.LogCaptureFixture) -> None:
    """An app that has no PUT there has nothing to hear."""
    app = FastAPI(openapi_url=None)
    app.get("/items")(lambda: [])
    app.get("/items/{id}")(lambda id: {})
    await started(app)
    assert not warnings(log)


@pytest.mark.parametrize(
    "arguments",
    [
        {"policies": {"/items": collection(put="allow")}},
        {"policies": {"/items": Policy(put="allow")}},
        {"policies": {"PUT /items": Policy(put="allow")}},
        {"policies": {"/items": collection(rules={"put-no-collection": "off"})}},
        {"policies": {"/items": singleton()}},
        {"default": Policy(put="allow")},
    ],
    ids=["collection", "policy", "method", "rule off", "another kind", "default"],
)
async def test_an_allowed_handler_runs(arguments: dict[str, Any], log: pytest.LogCaptureFixture) -> None:
    """With `put="allow"` PUT replaces the whole list, Allow says so, and start-up is silent."""
    app = await started(fastapi_app(), **arguments)
    with Client(AsgiDriver(app)) as client:
        assert client.send("PUT", "/items").json() == {"replaced": True}
        assert "PUT" in client.send("OPTIONS", "/items").allow
    assert not warnings(log, "/items")


async def test_in_observe_an_existing_handler_is_found_and_runs(log: pytest.LogCaptureFixture) -> None:
    """`observe` refuses nothing, and says what `guard` would refuse."""
    heard: list[Finding] = []
    app = await started(fastapi_app(), profile="observe", observers=[heard.append])
    with Client(AsgiDriver(app)) as client:
        assert client.send("PUT", "/items").json() == {"replaced": True}
    assert {finding.action for finding in heard} == {Action.OBSERVE}
    assert "put-no-collection" in {finding.rule for finding in heard}


# ---- two hosts, one path: a shop with members, and a page beside it that has none


def starlette_hosts() -> Starlette:
    def reply(request: Any) -> Response:
        return Response("done")

    shop = Router([Route("/items", reply, methods=["GET", "POST", "PUT"]), Route("/items/{id}", reply)])
    page = Router([Route("/items", reply, methods=["GET", "PUT"])])
    return Starlette(routes=[Host("shop.example.org", shop), Host("www.example.org", page)])


def flask_hosts() -> Flask:
    app = Flask("hosts", host_matching=True, static_host="static.example.org")
    _rules(app, "host", "shop.example.org", "www.example.org")
    return app


def flask_subdomains() -> Flask:
    app = Flask("subdomains", subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.org"
    _rules(app, "subdomain", "shop", "www")
    return app


def _rules(app: Flask, word: str, shop: str, page: str) -> None:
    app.add_url_rule("/items", "items", lambda: "done", methods=["GET", "POST", "PUT"], **{word: shop})
    app.add_url_rule("/items/<id>", "item", lambda id: "done", **{word: shop})
    app.add_url_rule("/items", "page", lambda: "done", methods=["GET", "PUT"], **{word: page})


HOSTS: list[Callable[[], Any]] = [starlette_hosts, flask_hosts, flask_subdomains]


@pytest.mark.parametrize("make", HOSTS)
def test_what_another_host_has_makes_no_collection(make: Callable[[], Any], log: pytest.LogCaptureFixture) -> None:
    """Members stand below the collection of their own host; the same path on another host is another resource."""
    app = verbguard.guard(make())
    with Client(WsgiDriver(app) if isinstance(app, Flask) else AsgiDriver(app)) as client:
        answers = {
            host: client.send("PUT", "/items", headers=[("Host", host)]) for host in ("shop.example.org", "www.example.org")
        }
    assert {host: answer.status for host, answer in answers.items()} == {"shop.example.org": 405, "www.example.org": 200}
    assert answers["www.example.org"].body == b"done"
    assert len(warnings(log, "/items", 'put="allow"')) == 1


# ---- whose the records are


async def test_which_principal_is_used_is_told(log: pytest.LogCaptureFixture) -> None:
    """Start-up says whom records belong to, quietly where nobody is forced to send keys."""
    await started(fastapi_app(), policies={"/items": collection(put="allow")})
    said = [record for record in log.records if "credentials" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.INFO]


def read_only() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.get("/items/{id}")(lambda id: {})
    return app


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (read_only, {}),
        (read_only, {"default": Policy(replay=Replay(required=True))}),
        (fastapi_app, {"default": Policy(replay=None)}),
        (fastapi_app, {"profile": "observe"}),
    ],
    ids=["nothing unsafe", "nothing that a key is required for", "no replay", "observe"],
)
async def test_where_nothing_is_recorded_no_principal_is_told(
    make: Callable[[], FastAPI], arguments: dict[str, Any], log: pytest.LogCaptureFixture
) -> None:
    """Start-up is silent about records that there cannot be, also at INFO: an app's own tests may count what is logged."""
    await started(make(), **arguments)
    assert "credentials" not in log.text


async def test_required_keys_without_a_principal_callable_are_a_warning(log: pytest.LogCaptureFixture) -> None:
    """Where every client sends keys, a token that rotates between a request and its retry would run it twice."""
    required = {"/items": collection(put="allow", replay=Replay(required=True))}
    await started(fastapi_app(), policies=required)
    assert len(warnings(log, "principal")) == 1
    log.clear()
    await started(fastapi_app(), policies=required, principal=lambda request: "ada")
    assert not warnings(log)


# ---- several workers


@pytest.mark.parametrize("multiprocess", [True, False])
def test_several_workers_turn_keyless_replay_off(multiprocess: bool, log: pytest.LogCaptureFixture) -> None:
    """With the memory store under several processes a keyless PUT runs every time, and one warning says why."""
    runs = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        runs.append(environ["REQUEST_METHOD"])
        start_response("200 OK", [])
        return [b"x"]

    guarded = verbguard.guard(app, policies={"/items/{id}": item()})
    with Client(WsgiDriver(guarded)) as client:
        extra = {"extra": {"wsgi.multiprocess": multiprocess}}
        replayed = [client.send("PUT", "/items/1", body=b"A", **extra).replayed for _ in range(3)]
        keyed = [client.send("PUT", "/items/1", body=b"A", key="k", **extra).replayed for _ in range(2)]
    assert replayed == [False, not multiprocess, not multiprocess]
    assert keyed == [False, True]
    assert len(warnings(log, "workers")) == int(multiprocess)


def test_a_shared_store_keeps_keyless_replay_on(log: pytest.LogCaptureFixture) -> None:
    """Where all workers see the same records nothing is turned off."""
    from verbguard.stores.memory import MemoryStore

    class Shared(MemoryStore):
        shared = True

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x"]

    guarded = verbguard.guard(app, policies={"/items/{id}": item()}, store=Shared())
    with Client(WsgiDriver(guarded)) as client:
        extra = {"extra": {"wsgi.multiprocess": True}}
        assert [client.send("PUT", "/items/1", **extra).replayed for _ in range(2)] == [False, True]
    assert not warnings(log)


# ---- two guards


def test_guarding_twice_is_told(log: pytest.LogCaptureFixture) -> None:
    """Of two guards on one app one acts, and the second call says so."""
    for make in (fastapi_app, flask_app):
        app = make()
        assert verbguard.guard(verbguard.guard(app)) is app
    assert len(warnings(log, "guard already")) == 2


# ---- kinds and plans


class Table:
    declared_order = True

    def __init__(self, *templates: str, methods: str = "GET POST PUT PATCH DELETE") -> None:
        self._routes = [Entry(template=template, methods=frozenset(methods.split())) for template in templates]

    def routes(self) -> list[Entry]:
        return self._routes

    def version(self) -> object:
        return len(self._routes)

    def matching(self, request: Request) -> list[Entry]:
        return []

    def native_allow(self, routes: Any, method: str) -> str | None:
        return None


TEMPLATES = ("/items", "/items/{id}:publish", "/items/{id}", "/me", "/files/{path:path}")  # the first that matches wins


def plan_of(path: str, policies: dict[str, Policy] | None = None, method: str = "PUT", **arguments: Any) -> Plan:
    guard = Guard(policies, **arguments)
    guard.compile(Table(*TEMPLATES))
    return guard.settle(Request(method, path))


KINDS: list[tuple[str, dict[str, Policy] | None, Kind]] = [
    ("/items", None, Kind.COLLECTION),
    ("/items/1", None, Kind.ITEM),
    ("/items/1:publish", None, Kind.UNKNOWN),
    ("/me", None, Kind.UNKNOWN),
    ("/files/a/b", None, Kind.UNKNOWN),
    ("/nowhere", None, Kind.UNKNOWN),
    ("/items", {"/items": singleton()}, Kind.SINGLETON),
    ("/items", {"/items": Policy(kind="unknown")}, Kind.UNKNOWN),
    ("/items/1", {"/items": singleton()}, Kind.ITEM),
    ("/items/1:publish", {"/items/{id}:publish": action()}, Kind.ACTION),
    ("/me", {"/me": singleton()}, Kind.SINGLETON),
    ("/files/a/b", {"/files/{path:path}": Policy(kind="store")}, Kind.STORE),
    ("/items", {"/items": Policy(replay=None)}, Kind.COLLECTION),
    ("/items", {"POST /items": collection()}, Kind.COLLECTION),
]


@pytest.mark.parametrize(("path", "policies", "kind"), KINDS, ids=[f"{row[0]}-{row[2]}-{at}" for at, row in enumerate(KINDS)])
def test_a_declared_kind_outranks_an_inferred_one(path: str, policies: dict[str, Policy] | None, kind: Kind) -> None:
    """What a person says counts; what nobody says is inferred or UNKNOWN."""
    assert plan_of(path, policies).target.kind is kind


REFUSED = [
    # policies                                                    refuses PUT /items
    (None, True),
    ({"/items": collection()}, True),
    ({"/items": collection(put="allow")}, False),
    ({"/items": Policy(kind="unknown")}, False),
    ({"/items": collection(rules={"put-no-collection": "observe"})}, False),
    ({"PUT /items": Policy(put="allow")}, False),
    ({"POST /items": collection(put="allow")}, True),
]


@pytest.mark.parametrize(("policies", "refused"), REFUSED)
def test_whether_put_is_refused_and_allow_agree(policies: dict[str, Policy] | None, refused: bool) -> None:
    """Allow lists PUT exactly where PUT is not refused, for every method's answer."""
    assert (plan_of("/items", policies).refused is not None) is refused
    for method in ("GET", "PUT", "OPTIONS", "DELETE"):
        assert ("PUT" not in plan_of("/items", policies, method).target.allow) is refused


def test_refusals_hold_in_every_profile_that_refuses() -> None:
    """`observe` finds, `guard` and `strict` refuse."""
    assert plan_of("/items", profile="observe").refused is None
    assert plan_of("/items", profile="guard").refused is not None
    assert plan_of("/items", profile="strict").refused is not None


def test_a_policy_s_methods_are_known() -> None:
    """`methods` names what the router does not show: it is in Allow, and a private token is no 501 there."""
    policies = {"/items/{id}": item(methods={"PURGE", "LOCK"})}
    assert plan_of("/items/1", policies, "PURGE").refused is None
    assert plan_of("/items/1", policies, "PUT").target.allow >= {"PURGE", "LOCK"}
    assert plan_of("/items", policies, "PURGE").refused is not None


@pytest.mark.parametrize("token", ["PROPFIND", "MKCOL", "REPORT", "LOCK", "QUERY"])
def test_registered_methods_pass(token: str) -> None:
    """What the registry knows is left to the app."""
    for path in ("/items", "/items/1", "/nowhere"):
        assert plan_of(path, method=token).refused is None


def test_a_method_s_policy_is_its_own() -> None:
    """Each method of a template has the policy that names it, else the template's, else the default."""
    put, template, default = item(replay=Replay(window=1)), item(replay=Replay(window=2)), Policy(replay=None)
    policies = {"PUT /items/{id}": put, "/items/{id}": template}
    assert plan_of("/items/1", policies, "PUT", default=default).target.policy == put
    assert plan_of("/items/1", policies, "DELETE", default=default).target.policy == template
    assert plan_of("/items", policies, "POST", default=default).target.policy == default
    assert plan_of("/nowhere", policies, "POST", default=default).target.policy == default


def test_a_default_kind_is_for_routes_without_a_policy() -> None:
    """A default that declares a kind declares it for every route that has no policy of its own."""
    default = Policy(kind="singleton")
    assert plan_of("/me", {"/items": collection()}, default=default).target.kind is Kind.SINGLETON
    assert plan_of("/items", {"/items": collection()}, default=default).target.kind is Kind.COLLECTION


def test_tokens_cannot_fill_memory() -> None:
    """A client that makes up methods leaves nothing behind."""
    guard = Guard(observers=[lambda finding: None])
    guard.compile(Table(*TEMPLATES))
    for number in range(1_000):
        guard.settle(Request(f"FOO{number}", "/items"))
        guard.settle(Request(f"FOO{number}", f"/nowhere/{number}"))
        guard.settle(Request("CONNECT", f"host{number}:443"))
    assert guard.map is not None
    resource = guard.map.find("/items")
    assert resource is not None
    assert len(resource.plans) < 20
    assert len(guard.unmapped.plans) < 20


def test_credentials_cannot_fill_memory() -> None:
    """Digests are remembered for the clients that come again, up to a bound."""
    guard = Guard(observers=[lambda finding: None])
    for number in range(10_000):
        guard.remember((b"authorization", b"%d" % number), b"digest")
    assert len(guard.principals) <= 5_000


MAKERS: list[Callable[[], Any]] = [fastapi_app, flask_app]


@pytest.mark.parametrize("make", MAKERS, ids=["fastapi", "flask"])
def test_guard_returns_the_same_app(make: Callable[[], Any]) -> None:
    """A framework's app is still the app that its tests, servers and extensions know."""
    app = make()
    assert verbguard.guard(app) is app


async def test_a_started_app_is_too_late() -> None:
    """Middleware cannot be added to an app that runs; the error says where the call belongs."""
    app = fastapi_app()
    await run_lifespan(app)
    with pytest.raises(verbguard.ConfigError, match="started already"):
        verbguard.guard(app)
