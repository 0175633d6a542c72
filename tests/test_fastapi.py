"""A guarded FastAPI program answers as it did, wherever its routes are and whatever its handlers do.

Every case goes to a bare and to a guarded copy of one program. The answers are equal, except where HTTP asks for
another one: PUT on a collection, `Allow`, HEAD, OPTIONS and the `Location` of a 201.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blackbox import fastapi_apps as apps
from blackbox.answers import PATIENCE, ask
from blackbox.checks import Check, Pair, created_at, not_allowed, options, refused, same, status
from blackbox.drivers import AsgiDriver, Client, NotStarted, run_lifespan, run_websocket
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

import verbguard
from verbguard import Policy, Replay, collection, guarded, item
from verbguard.asgi import GuardMiddleware

INK = '{"name": "ink"}'

LAYOUTS = [  # program                where the things are    what a client writes before   root_path of the server
    ("plain", apps.plain, "", "", ""),
    ("nested includes", apps.nested, "/api/middle/leaf", "/api/middle/leaf", ""),
    ("included twice, first", apps.twice, "/v1", "/v1", ""),
    ("included twice, second", apps.twice, "/v2", "/v2", ""),
    ("app under a mount", apps.sub_app, "/sub", "/sub", ""),
    ("mount in an included router", apps.mount_in_router, "/outer/sub", "/outer/sub", ""),
    ("root_path, proxy strips it", apps.prefixed, "", "/pfx", ""),
    ("root_path, proxy leaves it", apps.prefixed, "/pfx", "/pfx", ""),
    ("server's root_path, in the path", apps.plain, "/pfx", "/pfx", "/pfx"),
    ("server's root_path, not in the path", apps.plain, "", "/pfx", "/pfx"),
    ("server's root_path over a mount", apps.sub_app, "/pfx/sub", "/pfx/sub", "/pfx"),
]


def requests(base: str) -> list[tuple[str, str, str, Check]]:
    collection_methods, item_methods = ("GET", "HEAD", "POST"), ("GET", "HEAD", "PUT", "DELETE")
    return [
        ("GET", "/things", "", status(200)),
        ("GET", "/things/1", "", status(200)),
        ("GET", "/things/one", "", status(422)),
        ("GET", "/things/1/more", "", status(404)),
        ("GET", "/nothing", "", status(404)),
        ("PUT", "/nothing", INK, status(404)),
        ("POST", "/things", INK, created_at(f"{base}/things/7")),
        ("POST", "/things", "{}", status(422)),
        ("POST", "/things", "{", status(422)),
        ("POST", "/things/", INK, same),
        ("PUT", "/things/1", INK, status(200)),
        ("PUT", "/things/1", "{}", status(422)),
        ("DELETE", "/things/1", "", status(204)),
        ("PUT", "/things", INK, refused(*collection_methods)),
        ("PATCH", "/things", INK, not_allowed(*collection_methods)),
        ("DELETE", "/things", "", not_allowed(*collection_methods)),
        ("POST", "/things/1", INK, not_allowed(*item_methods)),
        ("OPTIONS", "/things", "", options(*collection_methods)),
        ("OPTIONS", "/things/1", "", options(*item_methods)),
    ]


@pytest.mark.parametrize(("name", "factory", "where", "base", "root_path"), LAYOUTS, ids=[row[0] for row in LAYOUTS])
def test_things_wherever_they_are(name: str, factory: Callable[[], FastAPI], where: str, base: str, root_path: str) -> None:
    """Kind, Allow, Location and everything that is left alone do not depend on how a program is put together."""
    with Pair(factory) as pair:
        for method, target, body, check in requests(base):
            check(pair.send(method, where + target, body=body, root_path=root_path))
        for target in ("/things", "/things/1"):
            pair.head(where + target, root_path=root_path)


@pytest.mark.parametrize(("name", "factory", "where", "base", "root_path"), LAYOUTS, ids=[row[0] for row in LAYOUTS])
def test_things_are_replayed_wherever_they_are(
    name: str, factory: Callable[[], FastAPI], where: str, base: str, root_path: str
) -> None:
    """A keyed POST and a bare PUT are replayed, and the replay says the same Location."""
    with Pair(factory) as pair:
        for method, target, key in [("POST", "/things", "k"), ("PUT", "/things/1", None)]:
            first, second = (
                pair.guarded.send(method, where + target, key=key, body=INK, root_path=root_path) for _ in range(2)
            )
            assert (first.replayed, second.replayed) == (False, True)
            assert second.body == first.body
            assert second.values("location") == first.values("location") == ([f"{base}/things/7"] if key else [])


@pytest.mark.parametrize("target", ["/things", "/things/1", "/docs", "/openapi.json", "/redoc"])
def test_head_says_what_get_says(target: str) -> None:
    """HEAD is GET without content, also on the routes that FastAPI makes itself."""
    with Pair(apps.plain) as pair:
        pair.head(target)


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
def test_head_of_an_endless_stream_ends(spec_version: str) -> None:
    """GET is stopped after its head: HEAD answers although the content would never end, and the handler is left."""
    app = verbguard.guard(apps.behaviour())
    with Client(AsgiDriver(app, spec_version=spec_version)) as client:
        answer = client.send("HEAD", "/endless")
        assert (answer.status, answer.body, answer.error) == (200, b"", None)
        assert answer.value("content-type") == "text/event-stream; charset=utf-8"


# -- routes that come late --------------------------------------------------------------------------------------------


def late_on_app(app: FastAPI, router: APIRouter) -> str:
    apps.things(app, "/late")
    return "/late"


def late_on_included_router(app: FastAPI, router: APIRouter) -> str:
    apps.things(router, "/late")
    return "/included/late"


def late_include(app: FastAPI, router: APIRouter) -> str:
    more = APIRouter()
    apps.things(more, "/late")
    app.include_router(more, prefix="/more")
    return "/more/late"


def late_mount(app: FastAPI, router: APIRouter) -> str:
    inner = FastAPI()
    apps.things(inner, "/late")
    app.mount("/mounted", inner)
    return "/mounted/late"


@pytest.mark.parametrize("add", [late_on_app, late_on_included_router, late_include, late_mount])
def test_late_routes_are_guarded(add: Callable[[FastAPI, APIRouter], str]) -> None:
    """A route added after the first request is guarded like the others, and works like the others."""
    app, router = FastAPI(), APIRouter()
    apps.things(router, "/early")
    app.include_router(router, prefix="/included")
    with Client(AsgiDriver(verbguard.guard(app))) as client:
        assert client.send("GET", "/included/early").status == 200
        where = add(app, router)
        assert client.send("GET", where).status == 200
        answer = client.send("PUT", where, body=INK)
        assert (answer.status, answer.rule) == (405, "put-no-collection")
        assert answer.allow == {"GET", "HEAD", "POST", "OPTIONS"}
        assert client.send("POST", where, body=INK).value("location") == f"{where}/7"
        assert client.send("PUT", f"{where}/1", body=INK).status == 200
        assert client.send("PUT", f"{where}/1", body=INK).replayed


# -- spellings of a collection ----------------------------------------------------------------------------------------

SPELLINGS = [  # target                       the path a server makes of it, where that is not obvious
    ("/things", None),
    ("//things", None),
    ("/things/", None),
    ("/things//", None),
    ("/%74hings", None),
    ("/th%69ngs", None),
    ("/things?a=/things/1", None),
    ("/things%2F", None),
    ("/%2Fthings", None),
    ("/./things", None),
    ("/things/.", None),
    ("/things/%2e", None),
    ("/x/../things", None),
    ("/THINGS", None),
    ("/things;a=1", None),
    ("http://testserver/things", "/things"),
    ("http://testserver/things", "http://testserver/things"),
]


def put_everywhere() -> FastAPI:
    """Collections with a PUT handler, wherever a program can have them."""
    app, router, inner = FastAPI(), APIRouter(), FastAPI()
    for place in (app, router, inner):
        apps.things(place)
        apps.replace_all(place)
    app.include_router(router, prefix="/included")
    app.mount("/mounted", inner)
    app.state.inner = inner
    return app


PLACES = [("", ""), ("/included", ""), ("/mounted", ""), ("", "/pfx"), ("/pfx", "/pfx"), ("/pfx/mounted", "/pfx")]


@pytest.mark.parametrize(("target", "path"), SPELLINGS, ids=[" ".join(filter(None, row)) for row in SPELLINGS])
@pytest.mark.parametrize(("place", "root_path"), PLACES)
def test_the_router_decides_what_a_spelling_means(place: str, root_path: str, target: str, path: str | None) -> None:
    """Where the bare program would run the collection's PUT it is refused, and where a whole URL stands for its path;
    everywhere else its own verdict stands."""
    if target.startswith("http:"):
        target = target.replace("/things", f"{place}/things")
        path = path and path.replace("/things", f"{place}/things")
    else:
        target = place + target
    with Pair(put_everywhere) as pair:
        both = pair.send("PUT", target, body=INK, path=path, root_path=root_path)
        whole = path is not None and path.startswith("http:")
        (refused("GET", "HEAD", "POST") if both.bare.status == 200 or whole else same)(both)
        guarded = pair.apps[1]
        assert not hasattr(guarded.state, "replaced")
        assert not hasattr(guarded.state.inner.state, "replaced")


def test_put_on_a_collection_can_be_allowed_by_one_word() -> None:
    """`put="allow"` lets the program's own handler run, on the template that says so and nowhere else."""
    policies = {"/things": Policy(put="allow")}
    with Pair(put_everywhere, policies=policies) as pair:
        status(200)(pair.send("PUT", "/things", body=INK))
        refused("GET", "HEAD", "POST")(pair.send("PUT", "/included/things", body=INK))


# -- policies find their routes ---------------------------------------------------------------------------------------


def test_one_router_twice_under_two_policies() -> None:
    """A policy belongs to the whole template, not to the function: /v1 and /v2 differ although they share it."""
    policies = {
        "/v1/things": Policy(replay=Replay(required=True)),
        "/v2/things": collection(location="/v2/things/{id}"),
    }
    with Pair(apps.twice, policies=policies) as pair:
        assert pair.guarded.send("POST", "/v1/things", body=INK).rule == "idem-key-missing-400"
        created_at("/v2/things/7")(pair.send("POST", "/v2/things", body=INK))


def test_a_decorated_endpoint_keeps_its_promise_under_every_prefix() -> None:
    """`@guarded` travels with the function, above or below the route decorator, and leaves its signature alone."""

    def make() -> FastAPI:
        app, router = FastAPI(), APIRouter()

        @router.post("/above")
        @guarded(Policy(replay=Replay(required=True)))
        async def above(thing: apps.Thing) -> str:
            return thing.name

        @guarded(Policy(replay=Replay(required=True)))
        @router.post("/below")
        def below(thing: apps.Thing) -> str:
            return thing.name

        app.include_router(router, prefix="/a")
        app.include_router(router, prefix="/b")
        return app

    with Pair(make) as pair:
        for where in ("/a/above", "/a/below", "/b/above", "/b/below"):
            assert pair.guarded.send("POST", where, body=INK).rule == "idem-key-missing-400"
            answers = [pair.guarded.send("POST", where, key="k" + where, body=INK) for _ in range(2)]
            assert [(answer.json(), answer.replayed) for answer in answers] == [("ink", False), ("ink", True)]


def test_a_policy_for_nothing_is_an_error_at_start_up() -> None:
    """A template that no route has is a mistake of the developer's, who hears of it before the first client does."""
    with pytest.raises(NotStarted, match=r"/thinks.*/things"):
        asyncio.run(run_lifespan(verbguard.guard(apps.plain(), policies={"/thinks": item()})))


# -- what handlers do -------------------------------------------------------------------------------------------------

BEHAVIOUR = [  # method  target             key    status of both
    ("GET", "/http-error", None, 409),
    ("POST", "/http-error", None, 409),
    ("PUT", "/http-error", None, 409),
    ("POST", "/http-error", "k", 409),
    ("GET", "/own-error", None, 422),
    ("POST", "/own-error", None, 422),
    ("POST", "/own-error", "k", 422),
    ("GET", "/unhandled", None, 500),
    ("POST", "/unhandled", None, 500),
    ("PUT", "/unhandled", None, 500),
    ("DELETE", "/unhandled", None, 500),
    ("POST", "/unhandled", "k", 500),
    ("PUT", "/unhandled", "k", 500),
    ("GET", "/session", None, 200),
    ("POST", "/session", None, 200),
    ("POST", "/session", "k", 200),
    ("PUT", "/session", None, 200),
    ("POST", "/session/broken", None, 500),
    ("POST", "/session/broken", "k", 500),
    ("GET", "/settings", None, 200),
    ("POST", "/background", None, 202),
    ("POST", "/background", "k", 202),
    ("POST", "/background?fail=1", None, 202),
    ("POST", "/background?fail=1", "k", 202),
    ("GET", "/stream", None, 200),
    ("POST", "/stream", None, 200),
    ("POST", "/stream", "k", 200),
    ("PUT", "/stream", None, 200),
    ("GET", "/stream?fail=1", None, 200),
    ("POST", "/stream?fail=1", None, 200),
    ("POST", "/stream?fail=1", "k", 200),
    ("PUT", "/stream?fail=1", None, 200),
    ("GET", "/sync-stream", None, 200),
    ("POST", "/sync-stream", "k", 200),
    ("GET", "/events", None, 200),
    ("POST", "/events", None, 200),
    ("POST", "/events", "k", 200),
    ("GET", "/text", None, 200),
    ("POST", "/text", "k", 200),
]


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("factory", [apps.behaviour, apps.behind_base_http_middleware])
@pytest.mark.parametrize(("method", "target", "key", "code"), BEHAVIOUR)
def test_the_first_answer_is_the_program_s_own(
    factory: Callable[[], FastAPI], method: str, target: str, key: str | None, code: int, spec_version: str
) -> None:
    """With a key or without, the first answer has the program's status, fields, content and errors, to the byte."""
    with Pair(factory) as pair:
        for client in (pair.bare, pair.guarded):
            client.driver.spec_version = spec_version  # type: ignore[attr-defined]
        status(code)(pair.send(method, target, key=key))
        bare, guarded_app = pair.apps
        assert guarded_app.state.events == bare.state.events


RETRIES = [  # target              status  replayed  rule of a refusal
    ("/http-error", 409, False, None),
    ("/own-error", 422, True, None),
    ("/unhandled", 500, True, "idem-first-failed"),  # the program's own 500 is made outside: the guard says its own
    ("/session", 200, True, None),
    ("/session/broken", 500, True, "idem-first-failed"),
    ("/background", 202, True, None),
    ("/background?fail=1", 202, True, None),
    ("/stream", 200, True, None),
    ("/stream?fail=1", 409, False, "idem-not-retained"),
    ("/sync-stream", 200, True, None),
    ("/events", 409, False, "idem-not-retained"),
    ("/text", 200, True, None),
]


@pytest.mark.parametrize("factory", [apps.behaviour, apps.behind_base_http_middleware])
@pytest.mark.parametrize(("target", "code", "replayed", "rule"), RETRIES)
def test_a_retry_runs_nothing_twice(
    factory: Callable[[], FastAPI], target: str, code: int, replayed: bool, rule: str | None
) -> None:
    """A replay opens no session, starts no task and streams nothing; what cannot be replayed is refused."""
    app = verbguard.guard(factory())
    with Client(AsgiDriver(app)) as client:
        client.send("POST", target, key="k")
        happened = list(app.state.events)
        retry = client.send("POST", target, key="k")
        assert (retry.status, retry.replayed, retry.rule) == (code, replayed, rule)
        assert app.state.events == happened


def test_a_replay_passes_through_the_middleware_outside() -> None:
    """The guard is innermost: what the program's middleware adds is added to replays and refusals as well."""
    with Client(AsgiDriver(verbguard.guard(apps.behind_base_http_middleware()))) as client:
        for _ in range(2):
            answer = client.send("POST", "/text", key="k")
            assert answer.value("x-between") == "yes"
        assert answer.replayed


def test_dependency_overrides_still_work() -> None:
    """`guard` returns the same app: a test suite overrides dependencies on it as before."""
    app = apps.behaviour()
    assert verbguard.guard(app) is app
    app.dependency_overrides[apps.settings] = lambda: "test"
    with Client(AsgiDriver(app)) as client:
        assert client.send("GET", "/settings").json() == {"settings": "test"}
        assert client.send("PUT", "/settings").json() == {"settings": "test"}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_handler_without_a_claim_hears_the_hang_up(method: str) -> None:
    """Where nothing is stored there is nothing to finish for: `is_disconnected` works as before."""
    app = verbguard.guard(apps.behaviour())
    driver = AsgiDriver(app)
    with Client(driver):
        exchange = driver.exchange(ask(method, "/until-gone"))
        running = driver.submit(exchange.run)
        driver.loop.call_soon_threadsafe(exchange.gone.set)
        assert running.result(PATIENCE).json() == {"gone": True}
        assert app.state.events == ["waiting", "gone"]


@pytest.mark.parametrize("key", [None, "k"])
def test_an_endless_event_stream_ends_with_its_client(key: str | None) -> None:
    """An event stream cannot be stored, so its handler hears the hang-up although the request has a key."""
    app = verbguard.guard(apps.behaviour())
    driver = AsgiDriver(app)
    with Client(driver):
        request = ask("POST", "/endless", key=key)
        exchange = driver.exchange(request)
        running = driver.submit(exchange.run)
        assert request.chunks.get(timeout=PATIENCE) == b"data: tick\n\n"
        driver.loop.call_soon_threadsafe(exchange.gone.set)
        running.result(PATIENCE)


def test_websockets_are_untouched() -> None:
    """Messages, close code and fields are the program's own."""
    bare, guarded_app = apps.behaviour(), verbguard.guard(apps.behaviour())
    both = [asyncio.run(run_websocket(app, "/socket/ann", "hello")) for app in (bare, guarded_app)]
    assert both[0] == both[1]
    assert both[1][-1]["code"] == 4000
    both = [asyncio.run(run_websocket(app, "/nowhere", "hello")) for app in (bare, guarded_app)]
    assert both[0] == both[1]


def test_lifespan_state_reaches_the_handlers() -> None:
    """What the program makes at start-up is there for its requests; a server without lifespan changes nothing else."""
    app = verbguard.guard(apps.with_lifespan())
    state: dict[str, Any] = {}
    assert asyncio.run(run_lifespan(app, state)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with Client(AsgiDriver(app)) as client:
        assert client.send("GET", "/state", extra={"state": dict(state)}).json() == {"database": "open"}
        assert client.send("PUT", "/things", body=INK).status == 405


def test_a_frontend_behind_the_api(tmp_path: Path) -> None:
    """A catch-all for GET turns no refusal into a page and no page into a refusal."""
    with Pair(apps.with_frontend(tmp_path)) as pair:
        for method, target, body, check in requests(""):
            if target not in {"/nothing", "/things/1/more"}:
                check(pair.send(method, target, body=body))
        for target in ("/", "/app.js", "/nothing", "/things/1/more"):
            status(200)(pair.send("GET", target, headers=[("Accept", "text/html")]))
        for target in ("/", "/app.js"):
            pair.head(target)
        for method in ("PUT", "POST", "DELETE"):
            same(pair.send(method, "/nothing"))


OVERLAPPING = [  # method  target            check
    ("GET", "/items/search", status(200)),
    ("PUT", "/items/search", status(200)),  # FastAPI's router lands on /items/{name}: its verdict counts
    ("PUT", "/items/ink", status(200)),
    ("PUT", "/files", status(200)),  # {path:path} is no item, so /files is no collection
    ("GET", "/files/a/b", status(200)),
    ("PUT", "/numbers/7", status(200)),
    ("PUT", "/numbers/seven", status(404)),
    ("DELETE", "/items/search", not_allowed("GET", "HEAD", "PUT")),
    ("OPTIONS", "/numbers/7", options("GET", "HEAD", "PUT")),
]


@pytest.mark.parametrize(("method", "target", "check"), OVERLAPPING, ids=[f"{m} {t}" for m, t, _ in OVERLAPPING])
def test_overlapping_templates_go_where_the_router_says(method: str, target: str, check: Check) -> None:
    """The guard's idea of a path is the router's, first match first."""
    with Pair(apps.overlapping) as pair:
        check(pair.send(method, target))


@pytest.mark.parametrize(
    ("method", "rule"),
    [("get", "method-case-sensitive"), ("Put", "method-case-sensitive"), ("FOO", "method-unknown-501")],
)
def test_methods_that_are_none(method: str, rule: str) -> None:
    """Methods are case-sensitive and registered: anything else is 501, and no handler runs."""
    with Pair(apps.plain) as pair:
        answer = pair.guarded.send(method, "/things/1")
        assert (answer.status, answer.rule) == (501, rule)


# -- the order of middleware ------------------------------------------------------------------------------------------

ORIGIN = ("Origin", "https://shop.example")


def with_cors(app: FastAPI) -> None:
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])


def guard_first(app: FastAPI) -> None:
    verbguard.guard(app)
    with_cors(app)


def guard_last(app: FastAPI) -> None:
    with_cors(app)
    verbguard.guard(app)


def middleware_inside(app: FastAPI) -> None:
    app.add_middleware(GuardMiddleware)
    with_cors(app)


@pytest.mark.parametrize("arrange", [guard_first, guard_last, middleware_inside])
def test_refusals_and_replays_carry_cors_fields(arrange: Callable[[FastAPI], None]) -> None:
    """The guard acts inside CORS whatever the order of the calls, so a browser can read what it says."""
    app = apps.plain()
    arrange(app)
    with Client(AsgiDriver(app)) as client:
        assert client.send("PUT", "/things", headers=[ORIGIN]).value("access-control-allow-origin") == "*"
        for _ in range(2):
            answer = client.send("POST", "/things", key="k", body=INK, headers=[ORIGIN])
            assert answer.values("access-control-allow-origin") == ["*"]
        assert answer.replayed
        preflight = client.send("OPTIONS", "/things", headers=[ORIGIN, ("Access-Control-Request-Method", "PUT")])
        assert (preflight.status, preflight.value("access-control-allow-origin")) == (200, "*")


def test_a_preflight_without_cors_middleware_is_the_program_s() -> None:
    """OPTIONS that asks for permission is never answered by the guard."""
    with Pair(apps.plain) as pair:
        headers = [ORIGIN, ("Access-Control-Request-Method", "PUT")]
        both = pair.send("OPTIONS", "/things", headers=headers)
        assert both.guarded.status == both.bare.status == 405
        assert both.guarded.value("access-control-allow-methods") is None


@pytest.mark.parametrize("guard_outside", [False, True])
def test_compressed_answers_stay_readable(guard_outside: bool) -> None:
    """With compression outside, a retry without it gets plain bytes; with the guard outside, the coding is said."""

    app = FastAPI()

    @app.post("/long")
    async def long(request: Request) -> str:
        return "ink " * 1000

    if guard_outside:
        app.add_middleware(GZipMiddleware)
        app.add_middleware(GuardMiddleware)
    else:
        app.add_middleware(GZipMiddleware)
        verbguard.guard(app)
    with Client(AsgiDriver(app)) as client:
        first = client.send("POST", "/long", key="k", headers=[("Accept-Encoding", "gzip")])
        assert first.value("content-encoding") == "gzip"
        retry = client.send("POST", "/long", key="k", headers=[("Accept-Encoding", "identity")])
        assert retry.replayed
        if retry.value("content-encoding") is None:
            assert retry.json() == "ink " * 1000
        else:
            assert guard_outside
            assert retry.body == first.body


def test_authentication_outside_is_asked_before_every_replay() -> None:
    """A caller whose rights are gone gets no stored answer: the guard sits inside the program's authentication."""
    app = apps.plain()
    revoked: set[str] = set()

    @app.middleware("http")
    async def authenticate(request: Request, call_next: Any) -> Any:
        if request.headers.get("authorization") in revoked:
            return PlainTextResponse("revoked", 401)
        return await call_next(request)

    verbguard.guard(app)
    with Client(AsgiDriver(app)) as client:
        assert client.send("POST", "/things", key="k", user="ann", body=INK).status == 201
        assert client.send("POST", "/things", key="k", user="ann", body=INK).replayed
        revoked.add("Bearer ann")
        answer = client.send("POST", "/things", key="k", user="ann", body=INK)
        assert (answer.status, answer.body, answer.replayed) == (401, b"revoked", False)


def test_two_guards_act_once() -> None:
    """Guarding twice, or an app inside a guarded app, is one guard: nothing is refused, stored or repaired twice."""
    app, inner = FastAPI(), verbguard.guard(apps.plain())
    app.mount("/inner", inner)
    verbguard.guard(verbguard.guard(app))
    with Client(AsgiDriver(app)) as client:
        first, second = (client.send("POST", "/inner/things", key="k", body=INK) for _ in range(2))
        assert (first.status, first.values("location")) == (201, ["/inner/things/7"])
        assert (second.values("idempotent-replayed"), second.body) == (["true"], first.body)
        assert client.send("PUT", "/inner/things", body=INK).values("allow") != []
