"""A guarded Flask program answers as it did, however it is put together, except where HTTP asks for more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from blackbox import flask_apps as apps
from blackbox.answers import Pairs
from blackbox.checks import Both, Check, Pair, created_at, options, refused, same, status, without_content
from blackbox.drivers import Client, WsgiDriver
from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import EnvironBuilder
from werkzeug.wsgi import FileWrapper

import verbguard
from verbguard import Policy, Replay, collection, guarded, item
from verbguard.wsgi import GuardMiddleware

COLLECTION = ("GET", "HEAD", "POST")
ITEM = ("GET", "HEAD", "PUT", "DELETE")

LAYOUTS: list[tuple[Callable[[], Flask], str, str]] = [  # program, where the things are, SCRIPT_NAME
    (apps.plain, "", ""),
    (apps.plain, "", "/pfx"),
    (apps.blueprint_twice, "/v1", ""),
    (apps.blueprint_twice, "/v2", "/pfx"),
    (apps.nested_blueprints, "/outer/inner", ""),
    (apps.method_views, "", ""),
    (apps.create_app, "", ""),
    (apps.create_app, "", "/a/b"),
]
IDS = [" ".join(filter(None, [factory.__name__, where, script])) for factory, where, script in LAYOUTS]


def wsgi_pair(factory: Callable[[], Any], **guard: Any) -> Pair:
    return Pair(factory, WsgiDriver, **guard)


def requests(base: str) -> list[tuple[str, str, Check]]:
    return [
        ("GET", "/things", status(200)),
        ("HEAD", "/things", without_content),
        ("OPTIONS", "/things", status(200)),
        ("GET", "/things/1", status(200)),
        ("OPTIONS", "/things/1", status(200)),
        ("GET", "/things/one", status(404)),
        ("PUT", "/things/one", status(404)),
        ("GET", "/nothing", status(404)),
        ("PUT", "/nothing", status(404)),
        ("POST", "/things", created_at(f"{base}/things/7")),
        ("PUT", "/things/1", status(200)),
        ("DELETE", "/things/1", status(204)),
        ("PUT", "/things", refused(*COLLECTION)),
        ("DELETE", "/things", status(405)),
        ("POST", "/things/1", status(405)),
    ]


@pytest.mark.parametrize(("factory", "where", "script"), LAYOUTS, ids=IDS)
def test_things_wherever_they_are(factory: Callable[[], Flask], where: str, script: str) -> None:
    """Blueprints, classes, factories and SCRIPT_NAME: kind, Allow and Location are right, the rest is untouched."""
    with wsgi_pair(factory) as pair:
        for method, target, check in requests(script + where):
            body = b"x" if method in {"PUT", "POST"} else b""
            check(pair.send(method, where + target, body=body, root_path=script))


@pytest.mark.parametrize(("factory", "where", "script"), LAYOUTS, ids=IDS)
def test_things_are_replayed_wherever_they_are(factory: Callable[[], Flask], where: str, script: str) -> None:
    """A keyed POST and a bare PUT to an item are replayed, with the same Location."""
    with wsgi_pair(factory) as pair:
        for method, target, key in [("POST", "/things", "k"), ("PUT", "/things/1", None)]:
            first, second = (pair.guarded.send(method, where + target, key=key, body=b"x", root_path=script) for _ in range(2))
            assert (first.replayed, second.replayed, second.body) == (False, True, first.body)
            assert second.values("location") == first.values("location")


def test_two_mounts_of_one_program_are_two_programs() -> None:
    """The same path under two SCRIPT_NAMEs is two resources: neither answers for the other."""
    with wsgi_pair(apps.plain) as pair:
        pair.guarded.send("PUT", "/things/1", body=b"x", root_path="/a")
        assert not pair.guarded.send("PUT", "/things/1", body=b"x", root_path="/b").replayed
        assert pair.guarded.send("PUT", "/things/1", body=b"x", root_path="/a").replayed


# -- proxies ----------------------------------------------------------------------------------------------------------

FORWARDED: Pairs = [
    ("X-Forwarded-Prefix", "/pfx"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "shop.example"),
    ("X-Forwarded-For", "10.0.0.9"),
]


def test_proxy_fix_around_the_guard() -> None:
    """With the prefix put in place before the guard sees the request, Location carries it once."""
    app = verbguard.guard(apps.plain())
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)
    with Client(WsgiDriver(app)) as client:
        for _ in range(2):
            answer = client.send("POST", "/things", key="k", body=b"x", headers=FORWARDED)
            assert answer.values("location") == ["/pfx/things/7"]
        assert answer.replayed


def test_proxy_fix_inside_the_guard() -> None:
    """Where the prefix is put in place behind the guard, a Location without it would lie: with it, or none at all."""
    with wsgi_pair(apps.behind_proxy) as pair:
        both = pair.send("POST", "/things", body=b"x", headers=FORWARDED)
        assert both.guarded.status == 201
        assert both.guarded.values("location") in ([], ["/pfx/things/7"])
        refused(*COLLECTION)(pair.send("PUT", "/things", body=b"x", headers=FORWARDED))
        same(pair.send("GET", "/things", headers=FORWARDED))


# -- slashes and spellings --------------------------------------------------------------------------------------------

SPELLINGS = [
    ("/things", None),
    ("//things", None),
    ("///things", None),
    ("/things/", None),
    ("/%74hings", None),
    ("/th%69ngs", None),
    ("/things%2F", None),
    ("/%2Fthings", None),
    ("/things?x=/things/1", None),
    ("/./things", None),
    ("/x/../things", None),
    ("/THINGS", None),
    ("/things;a=1", None),
    ("http://testserver/things", "/things"),
    ("http://testserver/things", "http://testserver/things"),
]


def router_decides(both: Both) -> None:
    """Where the bare program would run the collection's PUT it is refused; everywhere else its own verdict stands."""
    assert both.guarded.body != b"replaced everything"
    (refused(*COLLECTION) if both.bare.body == b"replaced everything" else same)(both)


def whole_url(both: Both) -> None:
    """A server that hands on a whole URL as the path does not evade the refusal."""
    assert both.bare.status == 404
    refused(*COLLECTION)(both)


@pytest.mark.parametrize(("target", "path"), SPELLINGS, ids=[" ".join(filter(None, row)) for row in SPELLINGS])
@pytest.mark.parametrize(("where", "script"), [("", ""), ("/blue", ""), ("", "/pfx"), ("/blue", "/pfx")])
def test_the_router_decides_what_a_spelling_means(where: str, script: str, target: str, path: str | None) -> None:
    """`//things` or `%74hings` reach what the url_map says they reach, a whole URL its path, and no PUT of a collection."""
    if target.startswith("http:"):
        target = target.replace("/things", where + "/things")
        path = path and path.replace("/things", where + "/things")
    else:
        target = where + target
    with wsgi_pair(apps.put_everywhere) as pair:
        check = whole_url if path is not None and path.startswith("http:") else router_decides
        check(pair.send("PUT", target, body=b"x", path=path, root_path=script))


SLASHES = [  # method  target       check
    ("GET", "/strict", status(308)),
    ("POST", "/strict", status(308)),
    ("PUT", "/strict", status(308)),
    ("PUT", "/strict/", refused("GET", "HEAD", "POST")),
    ("POST", "/strict/", created_at("/strict/7")),
    ("PUT", "/strict/1", status(200)),
    ("PUT", "/strict/1/", status(404)),
    ("GET", "/loose", status(200)),
    ("PUT", "/loose", refused("GET", "HEAD", "POST")),
    ("PUT", "/loose/", refused("GET", "HEAD", "POST")),
    ("POST", "/loose", created_at("/loose/7")),
    ("PUT", "/loose/1", status(200)),
    ("PUT", "/loose/1/", status(200)),
]


@pytest.mark.parametrize(("method", "target", "check"), SLASHES, ids=[f"{m} {t}" for m, t, _ in SLASHES])
def test_slashes_mean_what_flask_says(method: str, target: str, check: Check) -> None:
    """A 308 to the other spelling stays the app's; where Flask takes both, the guard knows both."""
    with wsgi_pair(apps.slashes) as pair:
        check(pair.send(method, target, body=b"x" if method != "GET" else b""))


def test_a_redirect_to_the_right_slash_is_no_result() -> None:
    """A client that follows a 308 sends the same key again: it is not told that the key is used up."""
    with wsgi_pair(apps.slashes) as pair:
        for _ in range(2):
            answer = pair.guarded.send("POST", "/strict", key="k", body=b"x")
            assert (answer.status, answer.replayed) == (308, False)
        assert pair.guarded.send("POST", "/strict/", key="k", body=b"x").status == 201


OVERLAPPING = [
    ("GET", "/items/search", status(200)),
    ("PUT", "/items/search", status(200)),  # Werkzeug goes on to the rule that takes PUT: its verdict counts
    ("PUT", "/items/ink", status(200)),
    ("PUT", "/files", status(200)),  # <path:name> is no item, so /files is no collection
    ("PUT", "/files/a/b", status(200)),
    ("GET", "/old", status(308)),
]


@pytest.mark.parametrize(("method", "target", "check"), OVERLAPPING, ids=[f"{m} {t}" for m, t, _ in OVERLAPPING])
def test_overlapping_rules_go_where_the_router_says(method: str, target: str, check: Check) -> None:
    """The guard's idea of a path is Werkzeug's."""
    with wsgi_pair(apps.overlapping) as pair:
        check(pair.send(method, target))


# -- OPTIONS, HEAD, methods -------------------------------------------------------------------------------------------


def test_options_where_flask_was_told_not_to() -> None:
    """Flask answers 405 to OPTIONS there; the guard knows the list. A view's own answer gets the list it lacks."""
    with wsgi_pair(apps.no_automatic_options) as pair:
        options(*COLLECTION)(pair.send("OPTIONS", "/things"))
        options("GET", "HEAD")(pair.send("OPTIONS", "/things/1"))
        both = pair.send("OPTIONS", "/own")
        assert (both.guarded.status, both.guarded.body, both.guarded.value("x-own")) == (200, b"mine", "1")
        assert both.guarded.allow == {"GET", "HEAD", "OPTIONS"}
        both = pair.send("DELETE", "/things")
        assert (both.bare.status, both.guarded.status) == (405, 405)
        assert both.guarded.allow == {*COLLECTION, "OPTIONS"}


@pytest.mark.parametrize(
    ("method", "rule"),
    [("get", "method-case-sensitive"), ("Put", "method-case-sensitive"), ("FOO", "method-unknown-501")],
)
def test_methods_that_are_none(method: str, rule: str) -> None:
    """Werkzeug would take `get` for GET: methods are case-sensitive, and unregistered ones are 501."""
    with wsgi_pair(apps.plain) as pair:
        answer = pair.guarded.send(method, "/things/1")
        assert (answer.status, answer.rule) == (501, rule)


# -- what handlers do -------------------------------------------------------------------------------------------------

BEHAVIOUR = [  # method  target            key   headers
    ("GET", "/abort", None, []),
    ("POST", "/abort", "k", []),
    ("PUT", "/abort-response", None, []),
    ("POST", "/abort-response", "k", []),
    ("GET", "/unhandled", None, []),
    ("POST", "/unhandled", None, []),
    ("POST", "/unhandled", "k", []),
    ("PUT", "/unhandled", None, []),
    ("PUT", "/unhandled", "k", []),
    ("DELETE", "/unhandled", "k", []),
    ("POST", "/handled", "k", []),
    ("GET", "/stream", None, []),
    ("POST", "/stream", None, []),
    ("POST", "/stream", "k", []),
    ("PUT", "/stream", None, []),
    ("GET", "/stream?fail=1", None, []),
    ("POST", "/stream?fail=1", None, []),
    ("POST", "/stream?fail=1", "k", []),
    ("GET", "/file", None, []),
    ("HEAD", "/file", None, []),
    ("GET", "/file", None, [("Range", "bytes=2-5")]),
    ("GET", "/file", None, [("Range", "bytes=500-")]),
    ("GET", "/file", None, [("If-None-Match", '"abc"')]),
    ("GET", "/file", None, [("If-Modified-Since", "Sun, 13 Sep 2020 12:26:40 GMT")]),
    ("POST", "/file", None, []),
    ("POST", "/file", "k", []),
    ("POST", "/redirect", "k", []),
    ("GET", "/redirect", None, []),
    ("POST", "/echo?a=1&a=2", "k", [("Content-Type", "application/x-www-form-urlencoded")]),
    ("POST", "/echo", None, []),
    ("PUT", "/echo", None, []),
]


@pytest.mark.parametrize(
    "config", [{}, {"PROPAGATE_EXCEPTIONS": True}, {"TESTING": True}], ids=["plain", "propagate", "testing"]
)
@pytest.mark.parametrize("wrapper", [None, FileWrapper], ids=["no wrapper", "file_wrapper"])
@pytest.mark.parametrize(("method", "target", "key", "headers"), BEHAVIOUR)
def test_the_first_answer_is_the_program_s_own(
    config: dict[str, bool], wrapper: Any, method: str, target: str, key: str | None, headers: Pairs
) -> None:
    """With a key or without, the first answer has the program's status, fields, content and errors, to the byte."""
    extra = {"wsgi.file_wrapper": wrapper} if wrapper else {}
    with wsgi_pair(apps.behaviour(**config)) as pair:
        body = b'{"a": "b"}' if "echo" in target else b""
        same(pair.send(method, target, key=key, headers=headers, body=body, extra=extra))


@pytest.mark.parametrize("config", [{}, {"PROPAGATE_EXCEPTIONS": True}], ids=["plain", "propagate"])
def test_an_unhandled_error_of_a_post_is_kept(config: dict[str, bool]) -> None:
    """Whether Flask makes the 500 or lets the error out, the retry of a POST gets a 500 and no second run."""
    with wsgi_pair(apps.behaviour(**config)) as pair:
        pair.guarded.send("POST", "/unhandled", key="k")
        retry = pair.guarded.send("POST", "/unhandled", key="k")
        assert (retry.status, retry.replayed, retry.error) == (500, True, None)


def test_sessions_keep_counting() -> None:
    """A cookie reaches its client on the first answer and is not sent again by a replay."""
    with wsgi_pair(apps.behaviour()) as pair:
        first = pair.guarded.send("POST", "/session", key="k")
        assert first.json() == {"count": 1}
        assert first.value("set-cookie")
        retry = pair.guarded.send("POST", "/session", key="k")
        assert (retry.replayed, retry.json(), retry.values("set-cookie")) == (True, {"count": 1}, [])
        cookie = (first.value("set-cookie") or "").split(";")[0]
        assert pair.guarded.send("GET", "/session", headers=[("Cookie", cookie)]).json() == {"count": 2}


# -- ways in ----------------------------------------------------------------------------------------------------------


def test_guard_returns_the_app() -> None:
    """The test client, the command line and extensions keep working on the same object."""
    app = apps.create_app({"TESTING": True})
    assert verbguard.guard(app) is app
    client = app.test_client()
    assert client.put("/things", data=b"x").status_code == 405
    answer = client.post("/things", data=b"x", headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.headers["Location"], answer.headers["X-Stamp"]) == (201, "/things/7", "after")
    again = client.post("/things", data=b"x", headers={"Idempotency-Key": "k"})
    assert (again.headers["Idempotent-Replayed"], again.headers["Location"]) == ("true", "/things/7")


def test_routes_after_the_guard_are_guarded() -> None:
    """A factory may guard first and register later: Flask allows it until the first request."""
    app = verbguard.guard(Flask("late"))
    apps.things(app)
    with Client(WsgiDriver(app)) as client:
        assert client.send("PUT", "/things", body=b"x").rule == "put-no-collection"
        assert client.send("PUT", "/things/1", body=b"x").status == 200


def test_wsgi_app_by_hand_is_a_bare_callable_with_policies() -> None:
    """`app.wsgi_app = GuardMiddleware(app.wsgi_app, ...)` is the idiom of the framework."""
    app = apps.plain()
    policies = {"/things": collection(location="/things/{id}"), "/things/{id}": item()}
    app.wsgi_app = GuardMiddleware(app.wsgi_app, policies=policies)  # type: ignore[method-assign]
    with Client(WsgiDriver(app)) as client:
        assert client.send("PUT", "/things", body=b"x").status == 405
        assert client.send("POST", "/things", body=b"x").value("location") == "/things/7"
        assert [client.send("PUT", "/things/1", body=b"x").replayed for _ in range(2)] == [False, True]


@pytest.mark.parametrize("template", ["/things/<int:thing_id>", "/things/{thing_id}", "/things/{id}"])
def test_policies_by_either_spelling_of_a_template(template: str) -> None:
    """A Flask user writes Flask's template or the neutral one; the parameter's name is not what it is about."""
    policies = {template: Policy(replay=Replay(required=True))}
    with wsgi_pair(apps.plain, policies=policies) as pair:
        assert pair.guarded.send("PUT", "/things/1", body=b"x").rule == "idem-key-missing-400"


def test_one_blueprint_twice_under_two_policies() -> None:
    """A policy belongs to the whole template: /v1 and /v2 differ although they share their functions."""
    policies = {"/v1/things": Policy(replay=Replay(required=True))}
    with wsgi_pair(apps.blueprint_twice, policies=policies) as pair:
        assert pair.guarded.send("POST", "/v1/things", body=b"x").rule == "idem-key-missing-400"
        assert pair.guarded.send("POST", "/v2/things", body=b"x").status == 201


def test_a_decorated_view_keeps_its_promise_everywhere() -> None:
    """`@guarded` on a view function, on a MethodView's method and on a view of a blueprint that is there twice."""

    required = Policy(replay=Replay(required=True))

    class Payments(apps.Collection):
        @guarded(required)
        def post(self) -> Any:
            return {"id": 1}, 201

    def make() -> Flask:
        app, views = Flask("decorated"), apps.Blueprint("views", "views")

        @views.post("/orders")
        @guarded(required)
        def order() -> Any:
            return {"id": 1}, 201

        app.register_blueprint(views, url_prefix="/a")
        app.register_blueprint(views, url_prefix="/b", name="b")
        app.add_url_rule("/payments", view_func=Payments.as_view("payments"))
        return app

    with wsgi_pair(make) as pair:
        for where in ("/a/orders", "/b/orders", "/payments"):
            assert pair.guarded.send("POST", where).rule == "idem-key-missing-400", where
            answers = [pair.guarded.send("POST", where, key="k" + where) for _ in range(2)]
            assert [(answer.status, answer.replayed) for answer in answers] == [(201, False), (201, True)]
        assert pair.guarded.send("GET", "/payments").status == 200


def test_put_on_a_collection_can_be_allowed_by_one_word() -> None:
    """`put="allow"` lets the program's own handler run, on the template that says so and nowhere else."""
    with wsgi_pair(apps.put_everywhere, policies={"/things": Policy(put="allow")}) as pair:
        status(200)(pair.send("PUT", "/things", body=b"x"))
        refused(*COLLECTION)(pair.send("PUT", "/blue/things", body=b"x"))


def test_a_policy_for_nothing_is_an_error_before_the_first_answer() -> None:
    """WSGI has no start-up: the error comes when the app is guarded or with the first request, and names both."""
    with pytest.raises(verbguard.ConfigError, match=r"/thinks"):
        app = verbguard.guard(apps.plain(), policies={"/thinks": item()})
        with Client(WsgiDriver(app)) as client:
            answer = client.start("GET", "/things").answer()
            assert answer.error is not None
            raise answer.error


def test_two_guards_act_once() -> None:
    """Guarding twice is guarding once."""
    app = verbguard.guard(verbguard.guard(apps.plain()))
    with Client(WsgiDriver(app)) as client:
        first, second = (client.send("POST", "/things", key="k", body=b"x") for _ in range(2))
        assert first.values("location") == ["/things/7"]
        assert (second.values("idempotent-replayed"), second.body) == (["true"], first.body)


@pytest.mark.parametrize("late", [False, True], ids=["nothing waits", "something waits"])
@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}], ids=["no key", "key"])
def test_what_runs_when_an_answer_is_closed(late: bool, key: dict[str, str]) -> None:
    """What waits for the end of an answer may write after it, and ages what is kept; where nothing waits, nothing ages."""
    app = Flask("shop")
    state = {"1": "new"}

    @app.post("/things")
    def create() -> Response:
        answer = Response("made", 201, {"Location": "/things/1"})
        if late:
            answer.call_on_close(lambda: state.update({"1": "late"}))
        return answer

    @app.put("/things/<name>")
    def replace(name: str) -> str:
        state[name] = request.get_data(as_text=True)
        return "replaced"

    guarded_app = verbguard.guard(app)
    replayed: list[bool] = []

    def started(_: str, headers: list[tuple[str, str]], __: Any = None) -> Any:
        replayed.append(("Idempotent-Replayed", "true") in headers)

    def call(method: str, path: str, **options: Any) -> Any:
        answer = guarded_app(EnvironBuilder(path, method=method, **options).get_environ(), started)
        assert b"".join(answer)
        return getattr(answer, "close", lambda: None)

    close = call("POST", "/things", headers=key)
    call("PUT", "/things/1", data="mine")()
    close()
    call("PUT", "/things/1", data="mine")()
    assert replayed == [False, False, not late]
    assert state == {"1": "mine"}


def test_what_a_class_of_answers_does_when_it_is_closed() -> None:
    """An app may write in `close` of its own Response class: that ages what is kept as well."""
    app = Flask("shop")
    state = {"1": "new"}

    class Committing(Response):
        def close(self) -> None:
            super().close()
            if self.status_code == 202:
                state["1"] = "late"

    app.response_class = Committing

    @app.patch("/things/<name>")
    def change(name: str) -> tuple[str, int]:
        return "taken", 202

    @app.put("/things/<name>")
    def replace(name: str) -> str:
        state[name] = request.get_data(as_text=True)
        return "replaced"

    @app.get("/things")
    def index() -> str:
        return "all"

    guarded_app = verbguard.guard(app)

    def call(method: str, **options: Any) -> Any:
        answer = guarded_app(EnvironBuilder("/things/1", method=method, **options).get_environ(), lambda *_: None)
        assert b"".join(answer)
        return getattr(answer, "close", lambda: None)

    close = call("PATCH", data="x")
    call("PUT", data="mine")()
    close()
    call("PUT", data="mine")()
    assert state == {"1": "mine"}


def test_a_state_that_only_a_decorator_tells() -> None:
    """Keyless replay of a collection that a decorator allows: what is made below it, or named as it, ages its answer."""
    app = Flask("shop")
    state: list[str] = []

    @app.put("/items")
    @guarded(Policy(put="allow", replay=Replay(keyless=True)))
    def replace() -> str:
        state[:] = [request.get_data(as_text=True)]
        return "replaced"

    @app.put("/items/<name>")
    def item_(name: str) -> str:
        state.append(name)
        return "added"

    @app.post("/orders")
    def order() -> tuple[str, int, dict[str, str]]:
        state.append("order")
        return "made", 201, {"Location": "/items/5"}

    client = verbguard.guard(app).test_client()
    for method, path in (("PUT", "/items/3"), ("POST", "/orders")):
        client.put("/items", data="A")
        client.open(path, method=method, data="x")
        client.put("/items", data="A")
        assert state == ["A"], path
