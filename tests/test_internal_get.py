"""Derived preconditions at their edges: what the internal GET asks, what becomes of each of its answers, who waits for whom."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from blackbox.answers import Answer, Pending
from blackbox.drivers import AsgiDriver, Client, WsgiDriver

import verbguard
from verbguard import Action, ConfigError, Finding, Policy, Replay, collection, item
from verbguard.derived import tag_of_content
from verbguard.errors import StoreError
from verbguard.stores.memory import MemoryStore

Head = list[tuple[str, str]]
Shown = tuple[int, Head, list[bytes]]

TEXT: Head = [("content-type", "text/plain")]
BOUND = 64
PATIENCE = 20.0


class Service:
    """An app that knows nothing of conditions: what its GET shows is set from outside, and it remembers what it was asked."""

    def __init__(self) -> None:
        self.shown: Shown | Exception = (200, TEXT, [b"state"])
        self.after: Shown | None = None  # what GET shows once a write has run
        self.written: Head = []  # fields of the answer to a write
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.content: list[bytes] = []
        self.runs: list[str] = []
        self.entered: queue.Queue[str] = queue.Queue()
        self.gates: dict[str, threading.Event] = {}  # method -> what it waits for
        self.failing = False

    def answer(self, method: str, target: str, headers: dict[str, str], content: bytes) -> Shown:
        self.asked.append((method, target, headers))
        self.content.append(content)
        if method in ("GET", "HEAD"):
            if isinstance(self.shown, Exception):
                raise self.shown
            return self.shown
        self.runs.append(method)
        if self.failing:
            raise RuntimeError("the service fails")
        if self.after is not None:
            self.shown = self.after
        return 204, self.written, []

    def gate(self, method: str) -> threading.Event | None:
        self.entered.put(method)
        return self.gates.get(method)

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        content = (await receive())["body"]
        if gate := self.gate(scope["method"]):
            await asyncio.to_thread(gate.wait, PATIENCE)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        target = scope["path"] + ("?" if scope["query_string"] else "") + scope["query_string"].decode()
        status, fields, pieces = self.answer(scope["method"], target, headers, content)
        pairs = [(name.encode(), value.encode()) for name, value in fields]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def wsgi(self, environ: Any, start_response: Any) -> Any:
        content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if gate := self.gate(environ["REQUEST_METHOD"]):
            gate.wait(PATIENCE)
        headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
        headers |= {name: environ[key] for name, key in [("content-type", "CONTENT_TYPE")] if environ.get(key)}
        target = environ["PATH_INFO"] + ("?" if environ["QUERY_STRING"] else "") + environ["QUERY_STRING"]
        status, fields, pieces = self.answer(environ["REQUEST_METHOD"], target, headers, content)
        start_response(f"{status} Reason", fields)
        return iter(pieces)


class Stage:
    """The service behind a guard that derives."""

    def __init__(self, interface: str, **options: Any) -> None:
        self.service, self.heard = Service(), []
        self.heard: list[Finding] = []
        promises = {"preconditions": "derive", "replay": Replay(max_response=BOUND), **options.pop("promises", {})}
        policy = item(methods={"GET", "PUT", "PATCH", "DELETE", "POST"}, **promises)
        arguments = {"policies": {"/items/{id}": policy}, "observers": [self.heard.append], "store": MemoryStore(), **options}
        self.guarded = verbguard.guard(getattr(self.service, interface), **arguments)
        self.client = Client(AsgiDriver(self.guarded) if interface == "asgi" else WsgiDriver(self.guarded))

    def start(self, method: str = "PUT", target: str = "/items/7", body: bytes | None = None, **fields: str) -> Pending:
        headers = [(name.replace("_", "-"), value) for name, value in fields.items()]
        content = (b"new" if method not in ("GET", "HEAD") else b"") if body is None else body
        return self.client.start(method, target, body=content, headers=headers)

    def send(self, *arguments: Any, **options: Any) -> Answer:
        return self.start(*arguments, **options).answer()

    def said(self, rule: str) -> list[Action]:
        return [finding.action for finding in self.heard if finding.rule == rule]

    @property
    def quiet(self) -> bool:
        """Whether no turn is held and nobody waits for one."""
        return len(self.guarded.turns) == 0 and self.guarded.turns.waiting == 0


Open = Callable[..., Stage]


@pytest.fixture(params=["asgi", "wsgi"])
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    stages: list[Stage] = []

    def open(**options: Any) -> Stage:
        stages.append(Stage(request.param, **options))
        return stages[-1]

    yield open
    for stage in stages:
        for gate in stage.service.gates.values():
            gate.set()
        stage.client.driver.close()
        assert stage.quiet


STATE = tag_of_content(b"state")
LARGE = b"x" * (BOUND + 1)
MODIFIED = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")

# As a file server says it, of a file that has just been written and of one that was there before
FRESH: Head = [("etag", '"own"'), MODIFIED, ("date", "Sun, 06 Nov 1994 08:49:38 GMT")]
SETTLED: Head = [("etag", '"own"'), MODIFIED, ("date", "Sun, 06 Nov 1994 08:49:39 GMT")]

# ---- what a client's GET gets

READS: dict[str, tuple[Shown, str | None]] = {
    "one piece": ((200, TEXT, [b"state"]), STATE),
    "many pieces": ((200, TEXT, [b"s", b"", b"tat", b"e"]), STATE),
    "nothing in it": ((200, TEXT, []), tag_of_content(b"")),
    "at the bound": ((200, TEXT, [b"x" * BOUND]), tag_of_content(b"x" * BOUND)),
    "above the bound": ((200, TEXT, [LARGE]), None),
    "above the bound in pieces": ((200, TEXT, [b"x" * BOUND, b"x", b"y"]), None),
    "declared above the bound": ((200, [*TEXT, ("content-length", str(BOUND + 1))], [LARGE]), None),
    "its own": ((200, [*TEXT, ("etag", '"own"')], [b"state"]), '"own"'),
    "its own without quotes": ((200, [*TEXT, ("etag", "own")], [b"state"]), '"own"'),
    "its own, large": ((200, [*TEXT, ("etag", '"own"')], [LARGE]), '"own"'),
    "its own, fresh": ((200, [*TEXT, *FRESH], [b"state"]), tag_of_content(b"state", '"own"')),
    "its own, fresh and large": ((200, [*TEXT, *FRESH], [LARGE]), 'W/"own"'),
    "its own, settled": ((200, [*TEXT, *SETTLED], [b"state"]), tag_of_content(b"state", '"own"')),
    "its own, settled and large": ((200, [*TEXT, *SETTLED], [LARGE]), '"own"'),
    "its own, weak": ((200, [*TEXT, ("etag", 'W/"own"')], [b"state"]), STATE),
    "an event stream": ((200, [("content-type", "text/event-stream")], [b"data: 1\n\n"]), None),
    "without content": ((204, [("etag", '"own"')], []), '"own"'),
    "not found": ((404, TEXT, [b"no"]), None),
    "a part of it": ((206, [*TEXT, ("content-range", "bytes 0-1/5")], [b"st"]), None),
    "a failure": ((500, TEXT, [b"oh"]), None),
}


@pytest.mark.parametrize("name", READS)
def test_a_get_and_a_head_show_the_tag(opened: Open, name: str) -> None:
    """The content is the application's to the last byte; the ETag is its own strong one, or that of all of the content."""
    shown, tag = READS[name]
    stage = opened()
    stage.service.shown = shown
    extra: dict[str, str] = {"range": "bytes=0-1"} if shown[0] == 206 else {}
    answer = stage.send("GET", **extra)
    assert (answer.status, answer.body, answer.value("etag")) == (shown[0], b"".join(shown[2]), tag)
    head = stage.send("HEAD")
    assert (head.status, head.body, head.value("etag")) == (shown[0], b"", tag)
    if tag is not None and shown[0] != 204 and not tag.startswith("W/"):
        assert [stage.send(method, if_none_match=tag).status for method in ("GET", "HEAD")] == [304, 304]
        assert stage.send("GET", if_none_match='"another"').status == 200


def test_what_becomes_a_200_has_a_tag(opened: Open) -> None:
    """A 203 is mended to 200 (it was no proxy that answered), and its content is the target's all the same."""
    stage = opened()
    stage.service.shown = (203, TEXT, [b"state"])
    answer = stage.send("GET")
    assert (answer.status, answer.value("etag")) == (200, STATE)


def test_a_304_has_what_belongs_to_it(opened: Open) -> None:
    """Cache-Control, Vary and the ETag, which it "MUST generate"; no content, and nothing about it."""
    stage = opened()
    stage.service.shown = (200, [*TEXT, ("cache-control", "private"), ("vary", "accept"), ("content-length", "5")], [b"state"])
    answer = stage.send("GET", if_none_match=f'"x", W/{STATE}')
    assert (answer.status, answer.body) == (304, b"")
    assert dict(answer.headers) == {"cache-control": "private", "vary": "accept", "etag": STATE}


def test_a_script_of_another_origin_can_read_the_tag(opened: Open) -> None:
    """CORS hides each field that is not named."""
    assert opened().send("GET", origin="https://a.example").value("access-control-expose-headers") == "etag"


def test_a_stream_is_not_held_back() -> None:
    """The first event is there while the second is not."""
    stage, second = Stage("asgi"), threading.Event()

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await asyncio.to_thread(second.wait, PATIENCE)
        await send({"type": "http.response.body", "body": b"2"})

    stage.guarded.app = streaming
    try:
        pending = stage.start("GET")
        assert pending.chunk() == b"1"
        second.set()
        assert pending.answer().body == b"12"
    finally:
        second.set()
        stage.client.driver.close()


# ---- what the application is asked

FIELDS = {
    "authorization": "Bearer a",
    "cookie": "session=1",
    "accept": "application/json",
    "accept_language": "de",
    "x_tenant": "t",
}
OTHERS = {
    "if_match": STATE,
    "range": "bytes=0-1",
    "if_range": '"a"',
    "idempotency_key": "k",
    "content_type": "text/plain",
    "content_language": "de",
    "accept_encoding": "gzip",
    "expect": "",
    "x_http_method_override": "DELETE",
    "destination": "/items/8",
    "prefer": "return=minimal",
}


def test_the_internal_get_is_the_clients_own(opened: Open) -> None:
    """The same target, credentials and preferences; nothing that belongs to the write, and never a coded or cached answer."""
    stage = opened(promises={"rules": {"range-get-only": "off", "method-no-override": "off"}})
    assert stage.send("PATCH", "/items/7?a=1&b=%20", **FIELDS, **OTHERS).status == 204
    (method, target, headers), (second, *_) = stage.service.asked
    assert (method, target.partition("?")[2], second, stage.service.content[0]) == ("GET", "a=1&b=%20", "PATCH", b"")
    expected = {name.replace("_", "-"): value for name, value in FIELDS.items()}
    assert headers == {**expected, "accept-encoding": "identity", "cache-control": "no-cache", "host": "testserver"}


def test_a_session_is_not_the_internal_gets_to_change() -> None:
    """A layer outside of the guard saves it with the answer to the write: a message that is shown once would be lost."""
    service = Service()
    session = {"messages": ["hello"], "views": 1}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["views"] += 1
        scope["session"]["messages"].clear()
        await service.asgi(scope, receive, send)

    policies = {"/items/{id}": item(preconditions="derive", methods={"GET", "PUT"})}
    guarded = verbguard.guard(app, policies=policies, store=MemoryStore(), observers=[lambda _: None])

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["session"] = session
        await guarded(scope, receive, send)

    client = Client(AsgiDriver(outside))
    try:
        assert client.start("PUT", "/items/7", body=b"new", headers=[("if-match", '"another"')]).answer().status == 412
        assert session == {"messages": ["hello"], "views": 1}
        assert client.start("PUT", "/items/7", body=b"new", headers=[("if-match", STATE)]).answer().status == 204
        assert session == {"messages": [], "views": 2}
    finally:
        client.driver.close()


def test_a_clients_get_shows_the_same_bytes(opened: Open) -> None:
    """It is asked for without a coding; If-Range with a derived ETag, which the application does not know, gets everything."""
    stage = opened()
    assert stage.send("GET", accept_encoding="gzip, br", range="bytes=0-1", if_range='"own"').status == 200
    assert stage.send("HEAD", accept_encoding="gzip").status == 200
    assert stage.send("GET", accept_encoding="gzip", range="bytes=0-1", if_range=STATE).status == 200
    (_, _, first), (method, _, second), (_, _, third) = stage.service.asked
    assert method == "GET"
    assert {first["accept-encoding"], second["accept-encoding"], third["accept-encoding"]} == {"identity"}
    assert (first.get("range"), third.get("range"), third.get("if-range")) == ("bytes=0-1", None, None)


@pytest.mark.parametrize(
    ("said", "heard"),
    [(STATE, None), (tag_of_content(b"state", '"own"'), '"own"'), ('"own"', '"own"'), (f'"own", {STATE}', None), ("*", "*")],
)
def test_the_app_hears_of_states_that_it_knows(opened: Open, said: str, heard: str | None) -> None:
    """It may compare for itself: with an ETag that was made here every condition would be false."""
    stage = opened()
    stage.service.shown = (200, [*TEXT, ("etag", '"own"')], [b"state"])
    lock = 'Not <urn:x> ["vg-' + "x" * 24 + '-theirs"] [W/"w"]'
    assert stage.send(if_match=said, **{"if": lock}).status == 204
    headers = stage.service.asked[-1][2]
    assert (headers.get("if-match"), headers["if"]) == (heard, 'Not <urn:x> ["theirs"] [W/"w"]')


def test_a_write_without_a_condition_asks_for_nothing(opened: Open) -> None:
    stage = opened()
    assert stage.send().status == 204
    assert [method for method, *_ in stage.service.asked] == ["PUT"]


# ---- what the write gets

KNOWN = {"if_match": STATE}
STANDING_IN = {"if_match": tag_of_content(b"state", '"own"')}
ANY, NONE = {"if_match": "*"}, {"if_none_match": "*"}
DATED = {"if_unmodified_since": MODIFIED[1]}

WRITES: list[tuple[Shown | Exception, dict[str, str], int, str | None]] = [
    # what GET shows                                    the condition   the answer
    ((200, TEXT, [b"state"]), KNOWN, 204, None),
    ((200, TEXT, [b"other"]), KNOWN, 412, "if-match-evaluated"),
    ((200, TEXT, [b"state"]), {"if_none_match": STATE}, 412, "if-none-match-star"),
    ((200, TEXT, [b"state"]), ANY, 204, None),
    ((200, TEXT, [b"state"]), NONE, 412, "if-none-match-star"),
    ((200, [*TEXT, ("etag", '"own"')], [LARGE]), {"if_match": '"own"'}, 204, None),
    ((200, [*TEXT, ("etag", '"own"')], [b"state"]), KNOWN, 204, None),
    ((200, [*TEXT, ("etag", '"own"')], [b"state"]), {"if_match": '"other"'}, 412, "if-match-evaluated"),
    ((200, [*TEXT, *FRESH], [b"state"]), {"if_match": '"own"'}, 412, "if-match-evaluated"),
    ((200, [*TEXT, *FRESH], [b"state"]), KNOWN, 204, None),
    ((200, [*TEXT, *FRESH], [b"state"]), STANDING_IN, 204, None),
    ((200, [*TEXT, *SETTLED], [b"state"]), STANDING_IN, 204, None),
    # a client has it from the answer to its PUT; another state of the same second and length has it too
    ((200, [*TEXT, *SETTLED], [b"ten"]), {"if_match": '"own"'}, 412, "if-match-evaluated"),
    ((200, [*TEXT, *FRESH], [b"ten"]), STANDING_IN, 412, "if-match-evaluated"),
    ((200, [*TEXT, *FRESH], [LARGE]), {"if_match": '"own"'}, 412, "state-unknown"),
    ((200, [*TEXT, *SETTLED], [LARGE]), {"if_match": '"own"'}, 204, None),
    ((200, [*TEXT, ("etag", 'W/"own"')], [b"state"]), KNOWN, 204, None),
    ((200, [*TEXT, MODIFIED], [b"state"]), DATED, 204, None),
    ((200, [*TEXT, ("last-modified", "Mon, 07 Nov 1994 08:49:37 GMT")], [b"state"]), DATED, 412, "if-match-evaluated"),
    ((404, TEXT, []), NONE, 201, None),
    ((410, TEXT, []), NONE, 201, None),
    ((404, TEXT, []), KNOWN, 412, "if-match-evaluated"),
    ((204, [], []), ANY, 204, None),
    ((204, [], []), KNOWN, 412, "if-match-evaluated"),
    ((204, [("etag", '"own"')], []), {"if_match": '"own"'}, 204, None),
    ((203, TEXT, [b"state"]), KNOWN, 204, None),
    ((200, TEXT, [LARGE]), KNOWN, 412, "state-unknown"),
    ((200, TEXT, [b"x" * BOUND, b"y", b"z"]), {"if_none_match": STATE}, 412, "state-unknown"),
    ((200, TEXT, [LARGE]), ANY, 204, None),
    ((200, TEXT, [LARGE]), NONE, 412, "if-none-match-star"),
    ((200, [("content-type", "text/event-stream")], [b"data: 1\n\n"]), KNOWN, 412, "state-unknown"),
    ((200, [*TEXT, ("content-length", "9")], [b"state"]), KNOWN, 503, "state-unknown"),
    ((302, [("location", "/login")], []), KNOWN, 412, "state-unknown"),
    ((302, [("location", "/login")], []), NONE, 412, "state-unknown"),
    ((405, TEXT, []), NONE, 412, "state-unknown"),
    ((406, TEXT, []), ANY, 412, "state-unknown"),
    ((500, TEXT, [b"oh"]), KNOWN, 503, "state-unknown"),
    ((500, TEXT, [b"oh"]), NONE, 503, "state-unknown"),
    (RuntimeError("a bug in GET"), NONE, 503, "state-unknown"),
    ((401, [*TEXT, ("www-authenticate", "Basic")], [b"who?"]), KNOWN, 401, None),
    ((403, TEXT, [b"not you"]), NONE, 403, None),
    ((429, [*TEXT, ("retry-after", "7")], [b"slowly"]), ANY, 429, None),
    ((503, [*TEXT, ("retry-after", "7")], [b"soon"]), KNOWN, 503, None),
]


@pytest.mark.parametrize("key", [None, "k"], ids=["keyless", "keyed"])
@pytest.mark.parametrize(("shown", "condition", "status", "rule"), WRITES, ids=range(len(WRITES)))
def test_no_write_runs_unchecked(
    opened: Open, shown: Any, condition: dict[str, str], status: int, rule: str | None, key: str | None
) -> None:
    """A condition that is false, or that nobody can evaluate, stops the write; and nothing stays locked behind it."""
    stage = opened()
    stage.service.shown = shown
    keyed = {} if key is None else {"idempotency_key": key}
    answer = stage.send(**condition, **keyed)
    assert (answer.status, answer.rule) == (status, rule)
    assert stage.service.runs == (["PUT"] if status < 300 else [])
    if status >= 400 and rule is None:  # the service's own words
        fields, pieces = shown[1:]
        assert answer.body == b"".join(pieces)
        assert {name: answer.value(name) for name, _ in fields} == dict(fields)
    if status >= 400:
        stage.service.shown = (200, TEXT, [b"state"])
        assert stage.send(**KNOWN).status == 204
    assert stage.quiet


def test_a_date_that_protects_nothing_is_not_enough(opened: Open) -> None:
    """Where a condition is required and the application has no dates, If-Unmodified-Since would be ignored: 428."""
    stage = opened(promises={"require_precondition": True})
    answer = stage.send(**DATED)
    assert (answer.status, answer.rule, stage.service.runs) == (428, "state-unknown", [])
    stage.service.shown = (200, [*TEXT, MODIFIED], [b"state"])
    assert stage.send(**DATED).status == 204


def test_a_retry_with_a_key_is_answered_before_anything_is_asked(opened: Open) -> None:
    """The first attempt made its own condition false; its retry hears the first answer."""
    stage = opened()
    stage.service.after = (200, TEXT, [b"new"])
    first, again = (stage.send(**KNOWN, idempotency_key="k") for _ in range(2))
    assert (first.status, again.status, again.value("idempotent-replayed")) == (204, 204, "true")
    assert [method for method, *_ in stage.service.asked] == ["GET", "PUT"]


def test_a_state_is_the_resources(opened: Open) -> None:
    """A policy for one method that derives counts for all of the route, or no GET would show the ETag that a PUT names."""
    policies = {"PUT /items/{id}": item(preconditions="derive"), "/items/{id}": Policy(methods={"GET", "PUT", "DELETE"})}
    stage = opened(policies=policies)
    tag = stage.send("GET").value("etag")
    assert tag == STATE
    assert stage.send("DELETE", if_match='"another"').status == 412
    assert stage.send("DELETE", if_match=tag).status == 204


def test_observe_only_looks(opened: Open) -> None:
    """In `observe` nothing is added, asked or stopped."""
    stage = opened(profile="observe")
    assert stage.send("GET").value("etag") is None
    assert stage.send(if_match='"another"').status == 204
    assert [method for method, *_ in stage.service.asked] == ["GET", "PUT"]


@pytest.mark.parametrize(
    "options", [{"preconditions": "derived"}, {"preconditions": "derive", "validator": lambda request: None}]
)
def test_a_policy_that_cannot_be_meant(options: dict[str, Any]) -> None:
    """The nearest spelling; and a state is told in one way."""
    with pytest.raises(ConfigError, match="derive"):
        item(**options)


def test_verify_is_about_keyless_answers() -> None:
    with pytest.raises(ConfigError, match="etag"):
        Replay(verify="etags")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="keyless"):
        Replay(verify="etag", keyless=False)


# ---- one after the other


@pytest.mark.parametrize("second", [{}, KNOWN], ids=["without a condition", "with the same one"])
def test_a_write_waits_for_the_one_before(opened: Open, second: dict[str, str]) -> None:
    """Also a write without a condition: it would slip between the other's look and its effect."""
    stage = opened()
    service, gate = stage.service, threading.Event()
    service.gates["PUT"] = gate
    service.after = (200, TEXT, [b"new"])
    first = stage.start(**KNOWN)
    assert [service.entered.get(timeout=PATIENCE) for _ in range(2)] == ["GET", "PUT"]
    other = stage.start("DELETE", "/items/07", **second)
    while stage.guarded.turns.waiting == 0:
        threading.Event().wait(0.001)
    assert service.entered.empty()
    gate.set()
    assert first.answer().status == 204
    assert other.answer().status == (412 if second else 204)


async def test_a_turn_lasts_until_the_app_has_returned() -> None:
    """FastAPI ends a dependency, and with it a transaction, when the answer is already with the client."""
    state, ended, entered = [b"old"], asyncio.Event(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        entered.append(scope["method"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": state[0]})
        if scope["method"] == "PUT":
            await ended.wait()
            state[0] = b"new"

    policy = item(preconditions="derive", methods={"GET", "PUT"})
    guarded = verbguard.guard(app, policies={"/items/{id}": policy}, store=MemoryStore())
    old = {"if_match": tag_of_content(b"old")}
    first = asyncio.create_task(asked(guarded, **old))
    await until(lambda: entered == ["GET", "PUT"])
    second = asyncio.create_task(asked(guarded, **old))
    await until(lambda: guarded.turns.waiting == 1)
    ended.set()
    assert [await first, await second] == [200, 412]
    assert entered == ["GET", "PUT", "GET"]


def test_targets_do_not_wait_for_each_other(opened: Open) -> None:
    """A slow write keeps nobody waiting who writes to something else."""
    stage = opened()
    gate = stage.service.gates["PUT"] = threading.Event()
    slow = stage.start()
    assert stage.service.entered.get(timeout=PATIENCE) == "PUT"
    assert stage.send("DELETE", "/items/8").status == 204
    gate.set()
    assert slow.answer().status == 204


def test_a_failing_write_gives_its_turn_away(opened: Open) -> None:
    stage = opened()
    stage.service.failing = True
    assert stage.send(**KNOWN).status == 500
    stage.service.failing = False
    assert stage.send(**KNOWN).status == 204


def test_too_many_that_wait_are_told(opened: Open) -> None:
    """503 with Retry-After, and nothing has run; its key can be used again."""
    stage = opened()
    stage.guarded.turns.most = 0
    gate = stage.service.gates["PUT"] = threading.Event()
    slow = stage.start()
    assert stage.service.entered.get(timeout=PATIENCE) == "PUT"
    answer = stage.send("DELETE", idempotency_key="k")
    assert (answer.status, answer.rule, answer.value("retry-after")) == (503, "target-busy", "1")
    gate.set()
    assert slow.answer().status == 204
    assert stage.send("DELETE", idempotency_key="k").status == 204


class Gone(MemoryStore):
    """A store that other processes share, and that does not answer."""

    shared = True

    def claim(self, claim: Any) -> Any:
        raise StoreError("gone")


def test_a_store_that_is_away_lets_no_condition_pass(opened: Open) -> None:
    """Another process may write at any moment; a write without a condition runs, as without a store."""
    stage = opened(store=Gone())
    answer = stage.send(**KNOWN)
    assert (answer.status, answer.rule, stage.service.runs) == (503, "target-busy", [])
    assert stage.send().status == 204


class Elsewhere(MemoryStore):
    """A store in which another process has the turn on every target."""

    shared = True

    def claim(self, claim: Any) -> Any:
        from verbguard.records import Busy

        return Busy(1.0) if claim.method == "(turn)" else super().claim(claim)


def test_a_turn_of_another_process_is_waited_for(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a bounded time; then 503."""
    for module in ("verbguard.asgi", "verbguard.wsgi"):
        monkeypatch.setattr(f"{module}.TURN", 0.05)
    stage = opened(store=Elsewhere())
    assert stage.send().rule == "target-busy"
    assert stage.service.runs == []


# ---- verified replay


def verifying(opened: Open, **promises: Any) -> Stage:
    return opened(promises={"preconditions": None, "replay": Replay(verify="etag", max_response=BOUND), **promises})


def test_each_replay_looks_first(opened: Open) -> None:
    """One GET after the run and one for each replay."""
    stage = verifying(opened)
    assert [stage.send().value("idempotent-replayed") for _ in range(3)] == [None, "true", "true"]
    assert [method for method, *_ in stage.service.asked] == ["PUT", "GET", "GET", "GET"]


def test_an_answer_that_tells_its_etag_shows_who_came_before_the_look(opened: Open) -> None:
    """After a PUT it is that of the new state (RFC 9110 9.3.4), as it was before anybody else could change it."""
    stage = verifying(opened)
    stage.service.written = [("etag", '"v2"')]
    stage.service.after = (200, [*TEXT, ("etag", '"v2"')], [b"new"])
    assert [stage.send().value("idempotent-replayed") for _ in range(2)] == [None, "true"]
    assert [method for method, *_ in stage.service.asked] == ["PUT", "GET", "GET"]
    stage.service.after = (200, [*TEXT, ("etag", '"v3"')], [b"theirs"])
    assert [stage.send(body=b"newer").value("idempotent-replayed") for _ in range(2)] == [None, None]


def test_an_etag_of_a_second_and_a_length_hides_nobody(opened: Open) -> None:
    """wsgidav tells it in the answer to PUT, without a date: another writer of the same second leaves the same one."""
    stage = verifying(opened)
    stage.service.written = [("etag", '"own"')]
    stage.service.after = (200, [*TEXT, *FRESH], [b"new"])
    assert not stage.send().replayed
    stage.service.shown = (200, [*TEXT, *SETTLED], [b"new"])
    assert stage.send().replayed
    stage.service.shown = (200, [*TEXT, *SETTLED], [b"ten"])
    assert not stage.send().replayed
    assert stage.said("idem-unverified") == [Action.OBSERVE]


def test_a_state_that_settles_is_still_the_same(opened: Open) -> None:
    """What was seen by its content is known by it when the service's own ETag counts again, and the other way round."""
    stage = verifying(opened)
    for shown in (FRESH, SETTLED, FRESH):
        stage.service.shown = (200, [*TEXT, *shown], [b"new"])
        stage.send()
    assert stage.service.runs == ["PUT"]
    stage.service.shown = (200, [*TEXT, *FRESH], [b"ten"])
    assert not stage.send().replayed


@pytest.mark.parametrize("shown", [(404, TEXT, []), (500, TEXT, []), (200, TEXT, [LARGE]), RuntimeError("a bug in GET")])
def test_what_cannot_be_seen_is_not_replayed(opened: Open, shown: Any) -> None:
    """Whether nobody knows the state after the run, or before the replay."""
    stage = verifying(opened)
    stage.service.shown = shown
    assert [stage.send().value("idempotent-replayed") for _ in range(2)] == [None, None]
    stage.service.shown = (200, TEXT, [b"state"])
    assert [stage.send().value("idempotent-replayed") for _ in range(2)] == [None, "true"]
    stage.service.shown = shown
    assert stage.send().value("idempotent-replayed") is None
    assert stage.said("guard-fault") == []


def test_twins_share_one_answer_that_is_verified(opened: Open) -> None:
    """A twin that comes while the first one runs waits for it, and hears its answer."""
    stage = verifying(opened)
    gate = stage.service.gates["PUT"] = threading.Event()
    first = stage.start()
    assert stage.service.entered.get(timeout=PATIENCE) == "PUT"
    second = stage.start()
    while stage.guarded.waiting == 0:
        threading.Event().wait(0.001)
    gate.set()
    assert [each.answer().replayed for each in (first, second)] == [False, True]
    assert stage.service.runs == ["PUT"]


def test_of_twins_that_see_a_change_one_runs() -> None:
    """Three of them look at once and find another state: one runs, and the others hear its answer."""
    stage = Stage("asgi", promises={"preconditions": None, "replay": Replay(verify="etag", max_response=BOUND)})
    try:
        assert not stage.send().replayed
        stage.service.shown = (200, TEXT, [b"theirs"])
        stage.service.after = (200, TEXT, [b"new"])
        while not stage.service.entered.empty():
            stage.service.entered.get()
        gate = stage.service.gates["GET"] = threading.Event()
        twins = [stage.start() for _ in range(3)]
        assert [stage.service.entered.get(timeout=PATIENCE) for _ in twins] == ["GET"] * 3
        gate.set()
        assert sorted(each.answer().replayed for each in twins) == [False, True, True]
        assert stage.service.runs == ["PUT", "PUT"]
    finally:
        stage.client.driver.close()


def test_routes_that_do_not_ask_pay_nothing() -> None:
    """What is not derived is decided at start-up: no rule, no turn, no look, and a GET is an ordinary one."""
    from verbguard.plans import Guard

    guard = Guard(
        {
            "/items/{id}": item(methods={"GET", "PUT"}),
            "/d": collection(preconditions="derive"),
            "/d/{id}": item(preconditions="derive", methods={"GET", "PUT"}),
        }
    )
    guard.compile()
    guard.start(True)
    get, put = (guard.find("/items/7").plan(method) for method in ("GET", "PUT"))
    assert (get.light, get.tags, put.serialises, put.verifies, put.states) == (True, False, False, False, [])
    get, put, post = (guard.find("/d/7").plan(method) for method in ("GET", "PUT", "POST"))
    assert (get.light, get.tags, put.serialises, post.serialises) == (False, True, True, True)
    post, patch = (guard.find("/d").plan(method) for method in ("POST", "PATCH"))
    assert (post.serialises, bool(post.states), patch.serialises) == (False, True, True)


def test_several_workers_without_a_shared_store_are_warned(caplog: pytest.LogCaptureFixture) -> None:
    from verbguard.plans import Guard

    for policies, words in (({"/d": item(preconditions="derive")}, ["preconditions = 'derive'"]), ({"/d": item()}, [])):
        guard = Guard(policies)
        guard.compile()
        caplog.clear()
        guard.start(False)
        told = [record.message for record in caplog.records if "preconditions" in record.message]
        assert [word for word in words if any(word in each for each in told)] == words
        assert bool(told) == bool(words)


# ---- cut off


class Slow:
    """A store for asyncio in which one word waits until a test says so; the others go to a store in memory."""

    asynchronous = True
    shared = False

    def __init__(self, word: str) -> None:
        self.memory, self.word, self.waits = MemoryStore(), word, True

    def __getattr__(self, name: str) -> Any:
        if name in ("aio", "sync"):
            raise AttributeError(name)

        async def tell(*arguments: Any) -> Any:
            if name == self.word and self.waits:
                await asyncio.Event().wait()
            return getattr(self.memory, name)(*arguments)

        return tell


class Hanging:
    """An app in which one method waits for ever, or for as long as `waits` is true."""

    def __init__(self, method: str) -> None:
        self.method, self.waits = method, True
        self.entered: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.entered.append(scope["method"])
        if scope["method"] == self.method and self.waits:
            await asyncio.Event().wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"state"})


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0)


async def asked(guarded: Any, method: str = "PUT", **fields: str) -> int:
    """The status of one request, sent without a server."""
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    scope = {"type": "http", "method": method, "path": "/items/7", "query_string": b"", "headers": headers}
    told: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        told.append(message.get("status", 0))

    await guarded(scope, receive, send)
    return told[0]


@pytest.mark.parametrize("key", [{}, {"idempotency_key": "k"}], ids=["keyless", "keyed"])
@pytest.mark.parametrize("moment", ["the look", "the write", "the wait", "the start of a touch"])
async def test_a_request_that_is_cut_off_leaves_nothing_locked(moment: str, key: dict[str, str]) -> None:
    """Wherever a server cancels it, the next request has its turn, and its key is free."""
    app = Hanging("GET" if moment == "the look" else "PUT")
    store: Any = Slow("start") if moment == "the start of a touch" else MemoryStore()
    policy = item(preconditions="derive", methods={"GET", "PUT", "DELETE"}, replay=Replay(keyless=False))
    guarded = verbguard.guard(app, policies={"/items/{id}": policy}, store=store)
    if moment == "the start of a touch":
        app.waits, key = False, {}  # a request with a key has none
    task = asyncio.create_task(asked(guarded, **KNOWN, **key))
    if moment == "the start of a touch":
        await until(lambda: len(guarded.turns) == 1 and len(app.entered) == 1)
        for _ in range(10):
            await asyncio.sleep(0)
    else:
        await until(lambda: app.method in app.entered)
    tasks = [task]
    if moment == "the wait":
        tasks.append(asyncio.create_task(asked(guarded, **KNOWN, **({"idempotency_key": "other"} if key else {}))))
        await until(lambda: guarded.turns.waiting == 1)
        tasks.reverse()
    for each in tasks:
        each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await each
    assert (len(guarded.turns), guarded.turns.waiting) == (0, 0)
    app.waits = False
    if isinstance(store, Slow):
        store.waits = False
    assert await asked(guarded, **KNOWN, **key) == 200


# ---- servers that send files themselves, and what frameworks leave behind


def test_a_file_is_read_here(opened: Open) -> None:
    """A server that sends a file itself would show no bytes to digest, so the app is not told that it can."""
    files: list[bool] = []
    stage = opened()

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        files.append("http.response.pathsend" in scope.get("extensions", {}))
        await stage.service.asgi(scope, receive, send)

    def wsgi(environ: Any, start_response: Any) -> Any:
        files.append("wsgi.file_wrapper" in environ)
        return stage.service.wsgi(environ, start_response)

    interface = "asgi" if isinstance(stage.client.driver, AsgiDriver) else "wsgi"
    stage.guarded.app = asgi if interface == "asgi" else wsgi
    extra = {"extensions": {"http.response.pathsend": {}}} if interface == "asgi" else {"wsgi.file_wrapper": list}

    def send(method: str, **fields: str) -> Answer:
        headers = [(name.replace("_", "-"), value) for name, value in fields.items()]
        return stage.client.send(method, "/items/7", headers=headers, extra=extra)

    assert send("GET").value("etag") == STATE
    assert send("HEAD").value("etag") == STATE
    assert send("DELETE", if_match=STATE).status == 204
    assert files == [False, False, False, True]


def test_a_head_of_what_has_no_get(opened: Open) -> None:
    """405 is passed on, once."""
    stage = opened()
    stage.service.shown = (405, [*TEXT, ("allow", "PUT")], [b"no"])
    head = stage.send("HEAD")
    assert (head.status, head.body, [method for method, *_ in stage.service.asked]) == (405, b"", ["GET"])


def mounted() -> Any:
    """A service below a mount, which leaves its marks in the scope, and in the request's state."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Mount, Route

    async def read(request: Request) -> Response:
        request.state.reads = getattr(request.state, "reads", 0) + 1
        return PlainTextResponse(f"{request.path_params['id']} {request.state.reads}")

    async def write(request: Request) -> Response:
        return PlainTextResponse(str(getattr(request.state, "reads", 0)))

    routes = [Route("/items/{id}", read, methods=["GET"]), Route("/items/{id}", write, methods=["PUT"])]
    return Starlette(routes=[Mount("/api", routes=routes)])


def test_what_a_router_leaves_in_the_scope_is_not_asked_again() -> None:
    """A mount moves root_path: the look after the run starts from the scope before it, and leaves no state behind."""
    policy = item(replay=Replay(verify="etag"), preconditions="derive")
    guarded = verbguard.guard(mounted(), policies={"/api/items/{id}": policy}, store=MemoryStore())
    with Client(AsgiDriver(guarded)) as client:
        answers = [client.send("PUT", "/api/items/7", body=b"x", extra={"state": {"from": "lifespan"}}) for _ in range(3)]
        assert [(each.status, each.body, each.replayed) for each in answers] == [
            (200, b"0", False),
            (200, b"0", True),
            (200, b"0", True),
        ]
        tag = client.send("GET", "/api/items/7").value("etag")
        assert tag == tag_of_content(b"7 1")
        answer = client.send("PUT", "/api/items/7", body=b"x", headers=[("if-match", tag)], extra={"state": {}})
        assert (answer.status, answer.body) == (200, b"0")
