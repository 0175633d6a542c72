"""The file spelling and the doors: three spellings of one policy, and mistakes told when the app starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask
from flask.views import MethodView
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.responses import Response
from starlette.routing import Route

import verbguard
from verbguard import Action, ConfigError, Kind, Policy, Profile, Replay, action, collection, guarded, item, singleton
from verbguard.config import Config, StoreTable, load, loads
from verbguard.doors import guard as door
from verbguard.http import Request
from verbguard.stores import _SCHEMES, hidden
from verbguard.stores import open as open_store

FILE = """
profile = "strict"
store = "memory://"

[default]
replay = { keep = 3600 }

[policies."/customers"]
kind = "collection"
location = "/customers/{id}"
put = "allow"
accept_patch = ["application/merge-patch+json"]
methods = ["PURGE"]

[policies."PUT /customers/{id}"]
kind = "item"
statuses = { PUT = [200, 204], PATCH = [200] }
replay = { window = 30, release = [502], on_error = "keep", fingerprint = "json", required = true, wait = 2, verify = "etag" }

[policies."/me"]
kind = "singleton"
preconditions = "derive"

[policies."/customers/{id}:publish"]
kind = "action"
replay = false

[policies."/old"]
rules = { put-no-collection = "observe", status-method-table = "off" }
"""

POLICIES = {
    "/customers": collection(
        location="/customers/{id}", put="allow", accept_patch=["application/merge-patch+json"], methods={"PURGE"}
    ),
    "PUT /customers/{id}": item(
        statuses={"PUT": {200, 204}, "PATCH": {200}},
        replay=Replay(window=30, release={502}, on_error="keep", fingerprint="json", required=True, wait=2, verify="etag"),
    ),
    "/me": singleton(preconditions="derive"),
    "/customers/{id}:publish": action(replay=None),
    "/old": Policy(rules={"put-no-collection": Action.OBSERVE, "status-method-table": Action.OFF}),
}


def test_the_file_says_what_code_says() -> None:
    """TOML and Python are two spellings of equal policies."""
    config = loads(FILE)
    assert config.policies == POLICIES
    assert config == Config(
        policies=POLICIES, default=Policy(replay=Replay(keep=3600)), profile=Profile.STRICT, store="memory://"
    )


def test_an_empty_file_changes_nothing() -> None:
    """What a file does not say has the default of `guard`."""
    assert loads("") == Config(policies={}, default=None, profile=Profile.GUARD, store=None)


def test_a_file_is_the_arguments_of_guard() -> None:
    """`guard(app, **config.arguments())` is all that an operator's file needs."""
    arguments = loads(FILE).arguments()
    assert arguments.keys() == {"policies", "default", "profile", "store"}
    layer = verbguard.asgi.GuardMiddleware(nothing, **arguments)
    assert layer.guard.policies.keys() == POLICIES.keys()


async def nothing(scope: Any, receive: Any, send: Any) -> None: ...


def test_load_reads_a_file(tmp_path: Path) -> None:
    """A path gives what its text says."""
    path = tmp_path / "verbguard.toml"
    path.write_text(FILE, "utf-8")
    assert load(path) == load(str(path)) == loads(FILE)


def explained(make: Callable[[], Any], words: list[str]) -> None:
    """Making it raises ConfigError, and the message has all of these words."""
    with pytest.raises(ConfigError) as raised:
        make()
    message = str(raised.value)
    assert [word for word in words if word not in message] == [], message


TEXTS: list[tuple[str, str, list[str]]] = [
    # mistake                   text                                                         what the message names
    ("not TOML", "profile = = 1", ["shop.toml", "line 1"]),
    ("an unknown field", "profil = 'guard'", ["shop.toml", "profil", "profile"]),
    ("an unknown table", "[policy]", ["shop.toml", "policy", "policies"]),
    ("an unknown profile", "profile = 'gard'", ["shop.toml", "profile", "gard", "guard"]),
    ("a profile that is no text", "profile = 7", ["shop.toml", "profile", "7"]),
    ("a store that is no text", "store = 7", ["shop.toml", "store", "7", "memory://"]),
    ("a misspelled field of the store", "[store]\nulr = 'a'", ["shop.toml", "store", "'ulr'", "did you mean 'url'?"]),
    ("a store without a URL", "[store]\ncreate = false", ["shop.toml", "store", "url", "sqlite:///"]),
    ("a URL that is no text", "[store]\nurl = 7", ["shop.toml", "store", "url"]),
    ("a misspelled option", "[store]\nurl = 'a'\ncrate = true", ["shop.toml", "store", "'crate'", "'create'"]),
    ("one key, no list", "[store]\nurl = 'a'\nkeys = '00'", ["shop.toml", "store.keys", "list"]),
    ("a key as a number", "[store]\nurl = 'a'\nkeys = [7]", ["shop.toml", "store.keys", "list"]),
    ("keys in two ways", "[store]\nurl = 'a'\nkeys = []\nkeys_env = 'K'", ["shop.toml", "store", "keys_env", "one"]),
    ("a variable's name as a list", "[store]\nurl = 'a'\nkeys_env = ['K']", ["shop.toml", "store.keys_env", "['K']"]),
    ("a switch of the store as text", "[store]\nurl = 'a'\ncreate = 'no'", ["shop.toml", "store.create", "'no'"]),
    ("policies that are no table", "policies = 1", ["shop.toml", "policies", "1"]),
    ("a policy that is no table", "[policies]\n'/a' = 'item'", ["shop.toml", "/a", "item"]),
    ("a default that is no table", "default = 1", ["shop.toml", "default", "1"]),
    ("an unknown field of a policy", "[policies.'/a']\nknd = 'item'", ["shop.toml", "/a", "knd", "kind"]),
    ("an unknown field of the default", "[default]\nlocaton = '/a'", ["shop.toml", "default", "location"]),
    ("an unknown kind", "[policies.'/a']\nkind = 'itm'", ["shop.toml", "/a", "kind", "itm", "item"]),
    ("an unknown field of replay", "[policies.'/a']\nreplay = {windw = 1}", ["shop.toml", "/a", "replay", "windw", "window"]),
    ("a wrong window", "[policies.'/a']\nreplay = {window = 9, keep = 1}", ["shop.toml", "/a", "window", "9", "keep"]),
    ("a window as text", "[policies.'/a']\nreplay = {window = '9'}", ["shop.toml", "/a", "window", "'9'"]),
    ("replay = true", "[policies.'/a']\nreplay = true", ["shop.toml", "/a", "replay", "True"]),
    ("replay as a number", "[policies.'/a']\nreplay = 30", ["shop.toml", "/a", "replay", "30"]),
    ("a switch as text", "[policies.'/a']\nreplay = {keyed = 'no'}", ["shop.toml", "/a", "keyed", "no"]),
    ("a wrong status", "[policies.'/a']\nstatuses = {PUT = [20]}", ["shop.toml", "/a", "statuses.PUT", "20"]),
    ("one status, no list", "[policies.'/a']\nstatuses = {PUT = 200}", ["shop.toml", "/a", "statuses.PUT", "200"]),
    ("statuses as a list", "[policies.'/a']\nstatuses = [200]", ["shop.toml", "/a", "statuses"]),
    ("an unknown method", "[policies.'/a']\nstatuses = {PTU = [200]}", ["shop.toml", "/a", "PTU", "PUT"]),
    ("methods as one text", "[policies.'/a']\nmethods = 'PURGE'", ["shop.toml", "/a", "methods", "PURGE"]),
    ("methods as a number", "[policies.'/a']\nmethods = 1", ["shop.toml", "/a", "methods", "1"]),
    ("media types as one text", "[policies.'/a']\naccept_patch = 'a/b'", ["shop.toml", "/a", "accept_patch", "a/b"]),
    (
        "an action misspelled",
        "[policies.'/a']\nrules = {put-no-collection = 'of'}",
        ["shop.toml", "/a", "put-no-collection", "off"],
    ),
    ("rules as a list", "[policies.'/a']\nrules = ['put-no-collection']", ["shop.toml", "/a", "rules"]),
    ("a location as a number", "[policies.'/a']\nlocation = 1", ["shop.toml", "/a", "location", "1"]),
]


@pytest.mark.parametrize(("text", "words"), [row[1:] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_mistakes_in_a_file(text: str, words: list[str]) -> None:
    """An operator's mistake names the file, the route, the field and the nearest spelling."""
    explained(lambda: loads(text, "shop.toml"), words)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing or unreadable file is a ConfigError with its name."""
    explained(lambda: load(tmp_path / "nowhere.toml"), ["nowhere.toml"])
    (tmp_path / "latin.toml").write_bytes(b"profile = '\xff'")
    explained(lambda: load(tmp_path / "latin.toml"), ["latin.toml"])
    explained(lambda: load(tmp_path), [tmp_path.name])


# ---- the store's table


def test_a_store_s_table_is_its_url_and_more() -> None:
    """A table says what a URL says, and how the store is to be opened; what it does not say has the default of `open`."""
    assert loads("[store]\nurl = 'redis://h'").store == StoreTable(url="redis://h")
    text = "[store]\nurl = 'redis://h'\nkeys = ['aa', 'bb']\ncreate = false"
    assert loads(text).store == StoreTable(url="redis://h", keys=("aa", "bb"), create=False)
    assert loads("[store]\nurl = 'redis://h'\nkeys_env = 'K'").store == StoreTable(url="redis://h", keys_env="K")


@pytest.fixture
def opened_with(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the door to the stores was given; it opens the memory of this process whatever the URL is."""
    seen: list[dict[str, Any]] = []

    class Kind:
        @staticmethod
        def from_url(url: str, **given: Any) -> Any:
            seen.append({"url": url, **given})
            return open_store()

    monkeypatch.setattr("verbguard.stores.memory.Kind", Kind, raising=False)
    monkeypatch.setitem(_SCHEMES, "kind", ("verbguard.stores.memory", "Kind", ""))
    return seen


def test_the_guard_gets_an_open_store(opened_with: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches `guard` is a store, opened once, with the keys of the table or of the environment."""
    config = loads("[store]\nurl = 'kind://h'\nkeys = ['aa']\ncreate = false")
    assert opened_with == []
    store = config.arguments()["store"]
    assert opened_with == [{"url": "kind://h", "keys": ("aa",), "create": False}]
    assert verbguard.asgi.GuardMiddleware(nothing, store=store).store is store
    monkeypatch.setenv("SHOP_KEYS", " bb, aa,")
    loads("[store]\nurl = 'kind://h'\nkeys_env = 'SHOP_KEYS'").arguments()
    assert opened_with[1:] == [{"url": "kind://h", "keys": ["bb", "aa"], "create": True}]


@pytest.mark.parametrize("value", [None, "", " , "])
def test_a_forgotten_variable_is_told(
    opened_with: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Answers that should be encrypted are never kept in clear because the environment lacks the keys."""
    monkeypatch.delenv("SHOP_KEYS", raising=False)
    if value is not None:
        monkeypatch.setenv("SHOP_KEYS", value)
    config = loads("[store]\nurl = 'kind://h'\nkeys_env = 'SHOP_KEYS'", "shop.toml")
    explained(config.arguments, ["shop.toml", "store.keys_env", "SHOP_KEYS"])
    assert opened_with == []


OPENINGS = [
    ("[store]\nurl = 'memry://'", ["shop.toml: store", "memry", "memory://"]),
    ("[store]\nurl = 'memory://'\nkeys = ['aa']", ["shop.toml: store", "keys", "memory://"]),
    ("[store]\nurl = 'redis://u:secret@h'\nkeys = ['c0ffee']", ["shop.toml: store"]),
]


@pytest.mark.parametrize(("text", "words"), OPENINGS)
def test_mistakes_that_opening_finds(text: str, words: list[str]) -> None:
    """What only the store can judge names the file and the table as well; no message shows a key or a password."""
    config = loads(text, "shop.toml")
    explained(config.arguments, words)
    with pytest.raises(ConfigError) as raised:
        config.arguments()
    assert not any(secret in f"{raised.value} {config!r}" for secret in ("secret", "c0ffee"))


SHOWN = [
    ("redis://h:6379/0", "redis://h:6379/0"),
    ("redis://:pw@h:6379/0", "redis://:***@h:6379/0"),
    ("rediss://u:p/w@x@h/0", "rediss://u:***@h/0"),  # not encoded as it should be
    ("postgresql://u@h,i/d?sslmode=require", "postgresql://u@h,i/d?sslmode=require"),
    ("postgresql://u@h/d?password=pw&sslpassword=pw&x=1", "postgresql://u@h/d?password=***&sslpassword=***&x=1"),
    ("sqlite:////var/a@b:c.db", "sqlite:////var/a@b:c.db"),
]


@pytest.mark.parametrize(("url", "shown"), SHOWN)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    """Wherever a URL keeps a password, it is not in what can be shown; the rest stays as it is."""
    assert hidden(url) == shown


STORES = [
    ("memry://", ["memry", "memory://"]),
    ("memory", ["memory", "memory://"]),
    ("memory://host", ["memory://host", "memory://"]),
    ("", ["store", "memory://"]),
    ("mongodb://host", ["mongodb://host", "memory://"]),
    ("sqlite://replays.db", ["sqlite://replays.db", "sqlite:///path"]),
]


@pytest.mark.parametrize(("url", "words"), STORES)
def test_mistakes_in_a_store_s_url(url: str, words: list[str]) -> None:
    """A store that does not exist names the ones that do."""
    explained(lambda: open_store(url), words)


def test_mistakes_in_the_store_argument() -> None:
    """A store is an object that keeps the promises, or a URL; anything else fails where the guard is made."""
    explained(lambda: verbguard.guard(nothing, store="memry://"), ["store", "memry", "memory://"])
    explained(lambda: verbguard.guard(nothing, store=7), ["store", "7"])  # type: ignore[arg-type]
    explained(lambda: verbguard.guard(nothing, store={}), ["store"])  # type: ignore[arg-type]


# ---- what guard() takes


class Callable3:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Callable2:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


APPS = [(nothing, "asgi"), (Callable3(), "asgi"), (Callable3().__call__, "asgi"), (wsgi, "wsgi"), (Callable2(), "wsgi")]


@pytest.mark.parametrize(("app", "module"), APPS, ids=["function", "object", "method", "WSGI function", "WSGI object"])
def test_a_callable_is_wrapped_by_its_interface(app: Any, module: str) -> None:
    """ASGI is called with three arguments, WSGI with two; nothing is imported or called to find out."""
    assert type(door(app)).__module__ == f"verbguard.{module}"


@pytest.mark.parametrize("app", [None, 7, "shop:app", lambda: None, lambda a: None, lambda a, b, c, d: None, object()])
def test_neither_asgi_nor_wsgi(app: Any) -> None:
    """What is no app is a ConfigError that says what one is."""
    explained(lambda: door(app), ["guard(", "ASGI"] if not callable(app) else ["guard(", "environ", "scope"])


# ---- unknown templates


def plan_of(guard: Any, path: str, method: str = "PUT") -> Any:
    """What the guard has decided about a method on a path."""
    return guard.settle(Request(method, path))


WRONG = {"/custmers": collection()}
NEAREST = ["/custmers", "did you mean '/customers'"]
SPECIAL = item(replay=Replay(window=9))


def fastapi_app() -> FastAPI:
    app = FastAPI()
    app.get("/customers")(lambda: [])
    app.get("/customers/{id}")(lambda id: {})
    return app


def flask_app() -> Flask:
    app = Flask("shop")
    app.get("/customers")(lambda: [])
    app.get("/customers/<int:id>", endpoint="customer")(lambda id: {})
    return app


async def startup(app: Any) -> list[dict[str, Any]]:
    """What an app says to lifespan start-up."""
    said: list[dict[str, Any]] = []
    told = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return told.pop(0)

    async def send(message: Any) -> None:
        said.append(message)

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    return said


@pytest.mark.parametrize("profile", ["observe", "guard", "strict"])
async def test_an_unknown_template_stops_a_fastapi_app(profile: str) -> None:
    """Routes are complete when start-up is over; a policy for none of them fails it, and the server prints why."""
    said = await startup(verbguard.guard(fastapi_app(), policies=WRONG, profile=profile))
    assert said[0]["type"] == "lifespan.startup.failed"
    assert all(word in said[0]["message"] for word in NEAREST), said[0]["message"]


async def test_an_unknown_template_of_a_starlette_middleware() -> None:
    """The framework's own idiom is checked at the same moment."""
    app = Starlette(routes=[Route("/customers", lambda request: Response())])
    app.add_middleware(verbguard.asgi.GuardMiddleware, policies=WRONG)
    said = await startup(app)
    assert said[0]["type"] == "lifespan.startup.failed"
    assert all(word in said[0]["message"] for word in NEAREST)


async def test_known_templates_start() -> None:
    """A policy may name a parameter as it likes, with a converter or without."""
    for template in ("/customers/{id}", "/customers/{customer_id}", "/customers/{id:int}", "PUT /customers/{id}"):
        said = await startup(verbguard.guard(fastapi_app(), policies={template: item()}))
        assert said[0]["type"] == "lifespan.startup.complete", said


def test_an_unknown_template_stops_a_flask_app() -> None:
    """A Flask app has its routes when `guard(app)` is called, so the call itself raises."""
    explained(lambda: verbguard.guard(flask_app(), policies=WRONG), NEAREST)


def test_an_unknown_template_of_a_flask_middleware() -> None:
    """`app.wsgi_app = GuardMiddleware(app.wsgi_app, ...)` raises as `guard(app)` does."""
    app = flask_app()
    explained(lambda: verbguard.wsgi.GuardMiddleware(app.wsgi_app, policies=WRONG), NEAREST)


def test_flask_templates_in_both_spellings() -> None:
    """A Flask developer may write the template as Flask does."""
    for template in ("/customers/<int:id>", "/customers/<id>", "/customers/{id}", "PUT /customers/<int:id>"):
        app = verbguard.guard(flask_app(), policies={template: SPECIAL})
        assert plan_of(app.wsgi_app.guard, "/customers/1").target.policy == SPECIAL, template  # type: ignore[attr-defined]


# ---- mistakes in what a decorator says


MISSPELLED = item(rules={"put-no-colection": "off"})


def test_an_unknown_rule_in_a_decorator_of_flask() -> None:
    """A decorated policy is checked like one of the mapping, and the message names its route."""
    app = flask_app()
    app.put("/me", endpoint="me")(guarded(MISSPELLED)(lambda: {}))
    explained(lambda: verbguard.guard(app), ["/me", "put-no-colection", "put-no-collection"])


async def test_an_unknown_rule_in_a_decorator_of_fastapi() -> None:
    """And so it is in FastAPI, at start-up."""
    app = fastapi_app()
    app.put("/me")(guarded(MISSPELLED)(lambda: {}))
    said = await startup(verbguard.guard(app))
    assert said[0]["type"] == "lifespan.startup.failed"
    assert "/me" in said[0]["message"]


async def test_contradicting_kinds_of_decorators() -> None:
    """Two endpoints on one route that declare two kinds stop the app with the route's name."""
    app = FastAPI()
    app.put("/things/{id}")(guarded(item())(lambda id: {}))
    app.post("/things/{id}")(guarded(action())(lambda id: {}))
    said = await startup(verbguard.guard(app))
    assert said[0]["type"] == "lifespan.startup.failed"
    assert all(word in said[0]["message"] for word in ("/things/{id}", "item", "action"))


# ---- three spellings of one thing

ORDER = item(replay=Replay(window=7, required=True), statuses={"PUT": {200}})
TOML = """
[policies."/orders/{id}"]
kind = "item"
replay = { window = 7, required = true }
statuses = { PUT = [200] }
"""


class OrderEndpoint(HTTPEndpoint):
    @guarded(ORDER)
    async def put(self, request: Any) -> Response:
        return Response()


class OrderView(MethodView):
    @guarded(ORDER)
    def put(self, id: str) -> Any:
        return {}


def by_mapping(app: Any) -> Any:
    return verbguard.guard(app, policies={"/orders/{id}": ORDER})


def by_toml(app: Any) -> Any:
    return verbguard.guard(app, **loads(TOML).arguments())


def marked() -> Callable[..., Any]:
    """A fresh endpoint each time, so that no mark outlives its test."""

    def endpoint(id: str) -> Any:
        return {"id": id}

    return guarded(ORDER)(endpoint)


def fastapi_with(endpoint: Callable[..., Any]) -> FastAPI:
    app = FastAPI()
    app.put("/orders/{id}")(endpoint)
    return app


def flask_with(endpoint: Callable[..., Any]) -> Flask:
    app = Flask("shop")
    app.put("/orders/<id>")(endpoint)
    return app


def flask_with_view(view: type[MethodView]) -> Flask:
    app = Flask("shop")
    app.add_url_rule("/orders/<id>", view_func=view.as_view("order"))
    return app


ASGI_SPELLINGS = {
    "mapping": lambda: by_mapping(fastapi_with(lambda id: {})),
    "TOML": lambda: by_toml(fastapi_with(lambda id: {})),
    "decorator": lambda: verbguard.guard(fastapi_with(marked())),
    "decorator on a method": lambda: verbguard.guard(Starlette(routes=[Route("/orders/{id}", OrderEndpoint)])),
}
WSGI_SPELLINGS = {
    "mapping": lambda: by_mapping(flask_with(lambda id: {})),
    "TOML": lambda: by_toml(flask_with(lambda id: {})),
    "decorator": lambda: verbguard.guard(flask_with(marked())),
    "decorator on a method": lambda: verbguard.guard(flask_with_view(OrderView)),
}


@pytest.mark.parametrize("make", ASGI_SPELLINGS.values(), ids=list(ASGI_SPELLINGS))
async def test_three_spellings_in_asgi(make: Callable[[], Any]) -> None:
    """Mapping, TOML and decorator leave the same policy on the route, declared by a person."""
    app = make()
    assert (await startup(app))[0]["type"] == "lifespan.startup.complete"
    layer = app.middleware_stack
    while not isinstance(layer, verbguard.asgi.GuardMiddleware):
        layer = layer.app
    judge(layer.guard)


@pytest.mark.parametrize("make", WSGI_SPELLINGS.values(), ids=list(WSGI_SPELLINGS))
def test_three_spellings_in_wsgi(make: Callable[[], Any]) -> None:
    """And so they do in Flask."""
    judge(make().wsgi_app.guard)


def judge(guard: Any) -> None:
    plan = plan_of(guard, "/orders/1")
    assert plan.target.policy == ORDER
    assert (plan.target.kind, plan.window) == (Kind.ITEM, 7.0)  # an inferred kind would have a shorter window


def test_the_mapping_outranks_the_decorator() -> None:
    """What the operator writes counts before what the endpoint says, so that a file can change a program."""
    app = verbguard.guard(flask_with(marked()), policies={"/orders/{id}": item()})
    assert plan_of(app.wsgi_app.guard, "/orders/1").target.policy == item()  # type: ignore[attr-defined]


def test_a_method_s_policy_counts_before_the_template_s() -> None:
    """`"PUT /orders/{id}"` is for PUT, `"/orders/{id}"` for the rest."""
    put_only, rest = item(replay=Replay(window=3)), item(replay=None)
    app = verbguard.guard(flask_with(lambda id: {}), policies={"/orders/{id}": rest, "PUT /orders/{id}": put_only})
    guard = app.wsgi_app.guard  # type: ignore[attr-defined]
    assert plan_of(guard, "/orders/1").target.policy == put_only
    assert plan_of(guard, "/orders/1", "DELETE").target.policy == rest


def test_the_default_is_for_routes_without_a_policy() -> None:
    """`default` stands in where nobody wrote a policy, and nowhere else."""
    default = Policy(replay=None)
    app = verbguard.guard(flask_with(marked()), default=default)
    guard = app.wsgi_app.guard  # type: ignore[attr-defined]
    assert plan_of(guard, "/orders/1").target.policy == ORDER
    assert plan_of(guard, "/orders/1", "DELETE").target.policy == default
