"""Requests that HTTP has something against: the same verdict through ASGI and WSGI, before anything is read or claimed."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from verbguard import Policy, action, collection, item
from verbguard.asgi import GuardMiddleware as AsgiGuard
from verbguard.http import Headers
from verbguard.plans import Guard
from verbguard.rules import Finding
from verbguard.stores.memory import MemoryStore
from verbguard.wsgi import GuardMiddleware as WsgiGuard

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

ALL = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY", "TRACE"})
POLICIES = {
    "/items": collection(methods=ALL - {"PUT", "TRACE"}, codings=["gzip"], accepts={"POST": ["application/json"]}),
    "/items/{id}": item(methods=ALL, accepts={"PUT": ["a/b"]}, accept_patch=["a/b"]),
    "/do": action(
        methods=ALL, rules={"content-length-required": "reject", "content-typed": "reject", "expect-unknown": "reject"}
    ),
}
ANSWER = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
FAMILIES = ("methods", "content", "expect")
STARS = Policy(rules={"get-no-content": "reject"})
Verdict = tuple[int, str | None, bool, bool, list[str]]  # status, rule, ran, content touched, rules that spoke


class Watched(MemoryStore):
    """A store that counts what it is asked."""

    claims = marks = 0

    def claim(self, claim: Any) -> Any:
        self.claims += 1
        return super().claim(claim)

    def start(self, touch: Any) -> None:
        self.marks += 1
        super().start(touch)


class Scene:
    """One small application behind both adapters; what is found and whether it ran."""

    def __init__(self, profile: str, policies: dict[str, Policy] | None = None) -> None:
        self.found: list[Finding] = []
        self.ran = self.touched = False
        self.seen: Any = None
        self.asgi_store, self.wsgi_store = Watched(), Watched()
        options: dict[str, Any] = {"policies": policies or POLICIES, "profile": profile, "observers": [self.found.append]}
        self.asgi = AsgiGuard(self.run_asgi, store=self.asgi_store, **options)
        self.wsgi = WsgiGuard(self.run_wsgi, store=self.wsgi_store, **options)

    async def run_asgi(self, scope: Any, receive: Any, send: Any) -> None:
        self.ran, self.seen = True, scope
        await send({"type": "http.response.start", "status": 200, "headers": list(ANSWER)})
        await send({"type": "http.response.body", "body": b"ok"})

    def run_wsgi(self, environ: Any, start_response: Any) -> Any:
        self.ran, self.seen = True, environ
        start_response("200 OK", [(name.decode(), value.decode()) for name, value in ANSWER])
        return [b"ok"]

    def verdict(self, status: int, content: bytes) -> Verdict:
        rule = json.loads(content)["rule"] if content[:1] == b"{" else None
        said = sorted({finding.rule for finding in self.found})
        found = status, rule, self.ran, self.touched, said
        self.found.clear()
        self.ran = self.touched = False
        return found

    def over_asgi(self, method: str, path: str, headers: Headers, version: str = "1.1", **more: Any) -> Verdict:
        sent: list[Any] = []

        async def receive() -> Any:
            self.touched = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "http_version": version, "method": method, "path": path, "headers": headers, **more}
        asyncio.run(self.asgi(scope, receive, send))
        return self.verdict(sent[0]["status"], sent[1]["body"])

    def over_wsgi(self, method: str, path: str, headers: Headers, version: str = "1.1", **more: Any) -> Verdict:
        scene = self

        class Input(BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                scene.touched = True
                return b""

        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "SERVER_PROTOCOL": f"HTTP/{version}", **more}
        environ["wsgi.input"] = Input()
        environ["wsgi.input_terminated"] = True
        for name, value in headers:
            key = name.decode().upper().replace("-", "_")
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
        started: list[Any] = []
        content = b"".join(self.wsgi(environ, lambda *said: started.append(said)))
        return self.verdict(int(started[-1][0][:3]), content)


SCENES = {profile: Scene(profile) for profile in ("observe", "guard", "strict")}
HOST = (b"host", b"a")
LENGTH, CHUNKED, TYPED = (b"content-length", b"2"), (b"transfer-encoding", b"chunked"), (b"content-type", b"a/b")
EARLY, CODED = (b"early-data", b"1"), (b"content-encoding", b"foo")

TABLE: list[tuple[str, str, Headers, int, str | None]] = [
    # method    path        fields                        status in guard, rule
    ("PUT", "/items/1", [HOST, HOST], 400, "host-exactly-one"),
    ("DELETE", "/items/1", [], 200, None),
    ("POST", "/items", [(b"host", b"a b")], 400, "host-exactly-one"),
    ("OPTIONS", "/items", [(b"host", b"a,b")], 400, "host-exactly-one"),
    ("POST", "/do", [HOST, LENGTH, CHUNKED, TYPED], 400, "framing-cl-te"),
    ("POST", "/do", [HOST, CHUNKED, TYPED], 411, "content-length-required"),
    ("POST", "/do", [HOST, LENGTH], 415, "content-typed"),
    ("POST", "/do", [HOST, LENGTH, (b"content-type", b"")], 415, "content-typed"),
    ("POST", "/do", [HOST, (b"content-length", b"")], 200, None),
    ("POST", "/do", [HOST, (b"expect", b"x")], 417, "expect-unknown"),
    ("OPTIONS", "/items", [HOST, LENGTH], 400, "options-content-typed"),
    ("OPTIONS", "/items", [HOST, LENGTH, (b"content-type", b"")], 400, "options-content-typed"),
    ("OPTIONS", "/items", [HOST, (b"content-length", b"")], 200, None),
    ("TRACE", "/items", [HOST, LENGTH], 400, "trace-no-content"),
    ("TRACE", "/items", [HOST], 405, "trace-off"),
    ("TRACE", "/items/1", [HOST, CHUNKED], 400, "trace-no-content"),
    ("TRACE", "/items/1", [HOST, (b"content-length", b"")], 200, None),
    ("CONNECT", "a:443", [HOST, LENGTH], 400, "connect-no-content"),
    ("CONNECT", "a:443", [HOST], 501, "connect-off"),
    ("POST", "/items", [HOST, LENGTH, TYPED], 415, "content-type-accepted"),
    ("POST", "/items", [HOST, LENGTH, (b"content-type", b"")], 415, "content-type-accepted"),
    ("PUT", "/items/1", [HOST, LENGTH], 415, "content-type-accepted"),
    ("PATCH", "/items/1", [HOST, LENGTH, (b"content-type", b"x")], 415, "patch-media-type"),
    ("POST", "/items", [HOST, CODED], 415, "content-coding-accepted"),
    ("PUT", "/items/1", [HOST, EARLY], 425, "early-data-unsafe"),
    ("POST", "/items", [HOST, (b"early-data", b""), (b"idempotency-key", b"k")], 425, "early-data-unsafe"),
    ("GET", "/items", [HOST, EARLY], 200, None),
    ("GET", "/items", [HOST, LENGTH], 200, None),
    ("GET", "http://a/items", [HOST], 200, None),
    ("GET", "http://b/items", [HOST], 421, "target-absolute-form"),
    ("PUT", "http://a/items", [HOST], 405, "put-no-collection"),
    ("GET", "a:80", [HOST], 400, "target-authority-connect-only"),
    ("DELETE", "/items/1", [HOST, LENGTH], 200, None),
]


@pytest.mark.parametrize(("method", "path", "fields", "status", "rule"), TABLE)
def test_the_adapters_agree(method: str, path: str, fields: Headers, status: int, rule: str | None) -> None:
    """One request, one verdict; a refusal by its head reads no content and does not run the app."""
    for profile, scene in SCENES.items():
        asgi = scene.over_asgi(method, path, list(fields))
        assert asgi == scene.over_wsgi(method, path, list(fields)), profile
        if profile == "guard":
            assert asgi[:2] == (status, rule)
        if profile == "observe" and path != "/do":  # whose policy says what is done there, in every profile
            assert asgi[2]
            assert asgi[1] is None
        elif rule is not None and profile != "observe":
            assert not asgi[2]
            assert not asgi[3]


NAMES = ["host", "content-type", "content-length", "content-encoding", "content-range", "content-location"]
NAMES += ["transfer-encoding", "expect", "early-data", "x-http-method-override"]
VALUES = [
    "",
    "0",
    "2",
    "chunked",
    "a/b",
    "application/json",
    "gzip",
    "100-continue",
    "a",
    "a,a",
    "bytes 0-1/2",
    "\xff;\x7f",
    "1" * 8192,
]
PATHS = ["/items", "/items/1", "/do", "http://a/items/1", "HTTP://b:80/items", "a:80", "*", "/elsewhere", "a://b", "http://"]
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.text(st.characters(max_codepoint=255))))


@example("OPTIONS", "/items", [("content-type", ""), ("content-length", "2")], "1.1")
@given(
    st.sampled_from([*sorted(ALL), "OPTIONS", "CONNECT", "FOO"]),
    st.sampled_from(PATHS),
    FIELDS,
    st.sampled_from(["1.0", "1.1"]),
)
def test_no_garbage_parts_the_adapters(method: str, path: str, fields: list[tuple[str, str]], version: str) -> None:
    """Whatever the fields say, both adapters find the same, and neither fails."""
    lone = {"content-type", "content-length"}  # a server refuses two of these, or an environ has one of them
    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields if name not in lone]
    headers += [(name.encode(), value.encode("latin-1")) for name, value in dict(fields).items() if name in lone]
    for profile in ("observe", "strict"):
        scene = SCENES[profile]
        asgi = scene.over_asgi(method, path, list(headers), version)
        assert asgi == scene.over_wsgi(method, path, list(headers), version)
        assert "guard-fault" not in asgi[4]


def test_early_data_is_refused_before_a_claim() -> None:
    """Nothing is kept under the key of a request that came too early: no claim, and no mark on the target."""
    scene = Scene("guard")
    key = (b"idempotency-key", b"k")
    json_ = (b"content-type", b"application/json")
    for send, store in ((scene.over_asgi, scene.asgi_store), (scene.over_wsgi, scene.wsgi_store)):
        assert send("POST", "/items", [HOST, key, json_, EARLY])[0] == 425
        assert send("PUT", "/items/1", [HOST, EARLY])[0] == 425
        assert (store.claims, store.marks) == (0, 0)
        assert send("POST", "/items", [HOST, key, json_])[:3] == (200, None, True)
        assert store.claims == 1


# ---- a whole URL


def test_the_app_sees_the_path_of_a_whole_url() -> None:
    """Path, raw path and query are those of the URL, below the prefix that a server has."""
    scene = Scene("guard")
    raw = {"raw_path": b"http://a/items/%31", "query_string": b"x=1"}
    assert scene.over_asgi("GET", "http://a/items/1", [HOST], **raw)[0] == 200
    assert (scene.seen["path"], scene.seen["raw_path"], scene.seen["query_string"]) == ("/items/1", b"/items/%31", b"x=1")
    assert scene.over_asgi("PUT", "http://a/pfx/items", [HOST], root_path="/pfx")[1] == "put-no-collection"
    assert scene.over_asgi("GET", "http://a/pfx/items/1", [HOST], root_path="/pfx")[0] == 200
    assert (scene.seen["path"], scene.seen["root_path"]) == ("/pfx/items/1", "/pfx")
    assert scene.over_wsgi("GET", "http://a/pfx/items/\xc3\xa9", [HOST], SCRIPT_NAME="/pfx")[0] == 200
    assert (scene.seen["SCRIPT_NAME"], scene.seen["PATH_INFO"]) == ("/pfx", "/items/\xc3\xa9")
    assert scene.over_asgi("GET", "http://a", [HOST])[0] == 200
    assert scene.seen["path"] == "/"


def test_a_policy_leaves_a_whole_url_alone() -> None:
    """An application that is a proxy gets what the client sent."""
    scene = Scene("guard", {"/items": collection(rules={"target-absolute-form": "off"})})
    assert scene.over_asgi("GET", "http://b/items", [HOST])[:3] == (200, None, True)
    assert scene.seen["path"] == "http://b/items"
    assert scene.over_wsgi("GET", "http://b/items", [HOST])[:3] == (200, None, True)
    assert scene.seen["PATH_INFO"] == "http://b/items"


# ---- what an ordinary request does not pay for

ORDINARY = [HOST, (b"user-agent", b"x"), (b"accept", b"*/*"), (b"authorization", b"x")]
WRITTEN = [*ORDINARY, (b"content-type", b"application/json"), (b"content-length", b"0"), (b"idempotency-key", b"k")]


@pytest.mark.parametrize("profile", ["observe", "guard", "strict"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_no_rule_of_a_request_is_asked_of_an_ordinary_one(method: str, profile: str) -> None:
    """Without a declaration no function of these families runs for a request with the usual fields."""
    guard = Guard(profile=profile)
    guard.compile()
    plan = guard.unmapped.plan(method)
    fields = ORDINARY if method in ("GET", "DELETE") else WRITTEN
    asked = [rule for rule, _ in plan.triggers if rule.asks(frozenset(dict(fields)))]
    assert [rule.id for rule in asked if rule.check.__module__.rpartition(".")[2] in FAMILIES] == []


def test_a_get_without_a_map_is_not_searched() -> None:
    """On a bare app nothing is looked for in a GET, unless a policy asks for it."""
    guard = Guard({"/stars": STARS})
    guard.compile()
    assert guard.unmapped.plan("GET").watches == frozenset()
    assert b"content-length" in guard.settle(_get("/stars")).watches


def _get(path: str) -> Any:
    from verbguard.http import Request

    return Request("GET", path)


def test_an_environ_with_empty_content_fields_is_an_ordinary_one() -> None:
    """uWSGI and mod_wsgi always have CONTENT_TYPE and CONTENT_LENGTH; a GET of theirs takes the short way all the same."""
    scene = Scene("guard", {"/stars": STARS})
    empty = {"CONTENT_TYPE": "", "CONTENT_LENGTH": ""}
    assert scene.over_wsgi("GET", "/stars", [HOST], **empty) == (200, None, True, False, [])
    assert scene.over_wsgi("GET", "/stars", [HOST, LENGTH])[1] == "get-no-content"
