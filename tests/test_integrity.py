"""What is said of a message stays true of it: digests and signatures, of requests and of answers, mended or repeated."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256, sha512
from io import BytesIO
from typing import Any

import pytest
from blackbox.drivers import AsgiDriver, Client, WsgiDriver
from hypothesis import given
from hypothesis import strategies as st

import verbguard
from verbguard import Action, Finding, Policy, Replay, item
from verbguard.digests import dictionary, differs, unsealed
from verbguard.exchange import Exchange
from verbguard.http import Headers, Request, Response
from verbguard.layouts import ANSWERS
from verbguard.plans import Guard
from verbguard.replay import readable, stored_headers
from verbguard.resources import Plan
from verbguard.routes import Route


def field(algorithm: str, digest: bytes) -> str:
    return f"{algorithm}=:{b64encode(digest).decode()}:"


def said(content: bytes) -> bytes:
    return f"{field('sha-256', sha256(content).digest())}, {field('sha-512', sha512(content).digest())}".encode()


# ---- the digest of content


@given(st.binary(max_size=200), st.lists(st.binary(max_size=50), max_size=5))
def test_the_content_in_one_piece_or_in_many_has_one_digest(content: bytes, pieces: list[bytes]) -> None:
    assert not differs(said(content), content)
    whole = b"".join(pieces)
    assert not differs(said(whole), iter(pieces))
    assert differs(said(content), iter(pieces)) == (content != whole)


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_no_field_raises_and_none_passes_because_it_cannot_be_read(value: bytes, content: bytes) -> None:
    """Only a dictionary without an algorithm that is verified here says nothing."""
    if not differs(value, content):
        members = dictionary(value)
        assert members is not None
        right = {"sha-256": sha256(content).digest(), "sha-512": sha512(content).digest()}
        assert all(members[name][0] == right[name] for name in right.keys() & members.keys())


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (said(b"x"), False),
        (field("sha-256", sha256(b"x").digest()).encode(), False),
        (field("sha-256", sha256(b"y").digest()).encode(), True),
        (said(b"x") + b", " + field("sha-512", sha512(b"y").digest()).encode(), True),  # the last one of a name counts
        (field("sha-256", sha256(b"x").digest()[:31]).encode(), True),
        (b"", False),
        (b"md5=:AAAA:", False),
        (b"SHA-256=:AAAA:", True),
        (b"sha-256=AAAA", True),
        (b'sha-256="AAAA"', True),
        (b"sha-256", True),
        (b"sha-256=:AA", True),
        (b"sha-256=(:AAAA:)", True),
        (b"\xff" * 8192, True),
    ],
)
def test_what_differs(value: bytes, wrong: bool) -> None:
    assert differs(value, b"x") is wrong


# ---- the content of requests


class Reader:
    """An app that answers with the content that it got, and counts how often it ran."""

    def __init__(self) -> None:
        self.runs = 0

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        self.runs += 1
        content, more = b"", True
        while more:
            message = await receive()
            content, more = content + message.get("body", b""), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": content})

    def wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        self.runs += 1
        content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("200 OK", [])
        return [content]


VERIFIED = {"content-digest-verify": "reject", "repr-digest-put": "reject"}
Opened = Callable[..., tuple[Reader, Client]]


@pytest.fixture(params=["asgi", "wsgi"])
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    clients: list[Client] = []

    def open(profile: str = "guard", **promises: Any) -> tuple[Reader, Client]:
        reader = Reader()
        policy = item(methods={"GET", "PUT", "POST"}, **{"rules": VERIFIED, **promises})
        guarded = verbguard.guard(getattr(reader, request.param), policies={"/items/{id}": policy}, profile=profile)
        clients.append(Client(AsgiDriver(guarded) if request.param == "asgi" else WsgiDriver(guarded)))
        return reader, clients[-1]

    yield open
    for client in clients:
        client.driver.close()


LARGE = b"0123456789" * 20_000  # several pieces of a file


@pytest.mark.parametrize("bound", [1 << 20, 10], ids=["in memory", "in a file"])
@pytest.mark.parametrize("key", [None, "k"], ids=["keyless", "keyed"])
@pytest.mark.parametrize("content", [b"x", LARGE], ids=["small", "large"])
def test_content_that_is_what_its_digests_say_arrives_whole(
    opened: Opened, content: bytes, key: str | None, bound: int
) -> None:
    """Both fields are verified over the same content, and the handler reads all of it from the beginning."""
    reader, client = opened(replay=Replay(max_request=bound))
    digests = [("Content-Digest", said(content).decode()), ("Repr-Digest", said(content).decode())]
    answer = client.send("PUT", "/items/7", body=content, headers=digests, **({"key": key} if key else {}))
    assert (answer.status, answer.body, reader.runs) == (200, content, 1)


@pytest.mark.parametrize("bound", [1 << 20, 10], ids=["in memory", "in a file"])
@pytest.mark.parametrize("name", ["Content-Digest", "Repr-Digest"])
@pytest.mark.parametrize("value", [said(b"other").decode(), "sha-256=unreadable", "sha-256=:"])
def test_content_that_is_something_else_is_refused(opened: Opened, value: str, name: str, bound: int) -> None:
    """400 before the handler, without a word about the right digest; the key is free for the content that was meant."""
    reader, client = opened(replay=Replay(max_request=bound))
    answer = client.send("PUT", "/items/7", body=LARGE, headers=[(name, value)], key="k")
    rule = "content-digest-verify" if name == "Content-Digest" else "repr-digest-put"
    assert (answer.status, answer.rule, reader.runs) == (400, rule, 0)
    assert b64encode(sha256(LARGE).digest()) not in answer.body
    again = client.send("PUT", "/items/7", body=LARGE, headers=[(name, said(LARGE).decode())], key="k")
    assert (again.status, again.replayed, again.body) == (200, False, LARGE)


def test_nothing_is_verified_unless_a_policy_asks_for_it(opened: Opened) -> None:
    """And `observe` as an action only tells."""
    wrong = [("Content-Digest", said(b"other").decode())]
    reader, client = opened(rules={})
    assert client.send("POST", "/items/7", body=b"x", headers=wrong).status == 200
    reader, client = opened(rules={"content-digest-verify": "observe"})
    assert client.send("POST", "/items/7", body=b"x", headers=wrong).body == b"x"
    assert reader.runs == 1


def test_content_that_a_server_does_not_hand_over_is_not_what_a_digest_says() -> None:
    """A chunked request without its end in the environ cannot be verified, and is not run as if it had been."""
    reader = Reader()
    guarded = verbguard.guard(reader.wsgi, policies={"/items/{id}": item(methods={"PUT"}, rules=VERIFIED)})
    environ = {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": "/items/7",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "HTTP_CONTENT_DIGEST": said(b"x").decode(),
        "wsgi.input": BytesIO(b"x"),
    }
    heads: list[str] = []
    list(guarded(environ, lambda status, headers, exc_info=None: heads.append(status)))
    assert (heads[0][:3], reader.runs) == ("400", 0)


# ---- signatures


@pytest.mark.parametrize(
    ("covers", "changed", "broken"),
    [
        (b'("@status" "date")', {b"@status"}, True),
        (b'("@status" "date");created=1', {b"date"}, True),
        (b'("content-digest";req)', {b"content-digest"}, True),
        (b'("@status" "date")', {b"location"}, False),
        (b"()", {b"@status"}, False),
        (b"1", {b"@status"}, False),
        (b"(", {b"@status"}, True),
        (b'("x"), b=("@status")', {b"@status"}, True),
    ],
)
def test_a_change_breaks_the_signatures_that_cover_it(covers: bytes, changed: set[bytes], broken: bool) -> None:
    headers: Headers = [(b"Signature-Input", b"a=" + covers), (b"Signature", b"a=:AAAA:")]
    assert bool(unsealed(headers, changed)) is broken


@given(st.binary(max_size=60))
def test_no_signature_raises(value: bytes) -> None:
    unsealed([(b"signature-input", value)], {b"@status"})


# ---- answers


class Table:
    """The router of an application with one item."""

    declared_order = True

    def routes(self) -> list[Route]:
        return [Route(template="/items/{id}", methods=frozenset({"GET", "PUT", "DELETE", "PATCH"}))]

    def version(self) -> object:
        return 1

    def matching(self, request: Request) -> list[Route]:
        return self.routes()

    def native_allow(self, routes: Any, method: str) -> str | None:
        return None


def answered(method: str, status: int, headers: Headers, profile: str = "guard", **promises: Any) -> tuple[Exchange, list[Any]]:
    heard: list[Finding] = []
    guard = Guard({"/items/{id}": Policy(**promises)}, profile=profile, observers=[heard.append])
    guard.compile(Table())
    request = Request(method, "/items/7", [(b"prefer", b"return=minimal")])
    exchange = Exchange(guard, guard.settle(request), request)
    assert exchange.open() is None
    exchange.answered(status, headers)
    exchange.content(b"payload", False)
    return exchange, [(finding.rule, finding.action) for finding in heard]


SIGNED: Headers = [(b"Signature-Input", b'a=("@status" "content-length")'), (b"Signature", b"a=:AAAA:")]
DIGESTS: Headers = [(b"Content-Digest", said(b"payload")), (b"Repr-Digest", said(b"payload"))]
NAMES = {b"Signature-Input", b"Signature", b"Content-Digest", b"Repr-Digest"}


@pytest.mark.parametrize(
    ("method", "status", "left"),
    [
        ("GET", 200, NAMES),
        ("PUT", 200, NAMES),
        ("PUT", 205, set()),  # becomes 204
        ("PUT", 203, NAMES - {b"Signature", b"Signature-Input"}),  # becomes 200
        ("HEAD", 200, NAMES - {b"Content-Digest"}),
        ("PUT", 204, {b"Repr-Digest", b"Signature", b"Signature-Input"}),
    ],
)
def test_what_is_left_after_a_repair(method: str, status: int, left: set[bytes]) -> None:
    """A digest goes with the content that it was made of, a signature with what it covers; the rest stays."""
    exchange, _ = answered(method, status, [*SIGNED, *DIGESTS])
    assert {name for name, _ in exchange.headers if name in NAMES} == left


def test_observe_touches_neither() -> None:
    exchange, heard = answered("HEAD", 200, [*SIGNED, *DIGESTS], "observe")
    assert {name for name, _ in exchange.headers} == NAMES
    assert ("digest-after-repair", Action.OBSERVE) in heard


def test_off_touches_neither() -> None:
    exchange, _ = answered("PUT", 203, [*SIGNED, *DIGESTS], rules={"digest-after-repair": "off"})
    assert {name for name, _ in exchange.headers} == NAMES


def test_a_client_that_prefers_no_content_gets_none() -> None:
    """`prefer-minimal` is a policy's choice; what was said of the content goes with it."""
    exchange, _ = answered("PUT", 200, [*SIGNED, *DIGESTS], rules={"prefer-minimal": "repair"})
    assert (exchange.status, exchange.headers) == (204, [(b"preference-applied", b"return=minimal")])
    assert exchange.dropping
    assert answered("PUT", 200, [])[0].status == 200


# ---- replays


def test_a_replay_that_is_decoded_loses_what_was_said_of_the_coded_content() -> None:
    """The first client took gzip, the second does not."""
    coded = gzip.compress(b"payload")
    headers = [(name.lower(), value) for name, value in [*SIGNED, *DIGESTS]]
    kept = Response(200, [(b"content-encoding", b"gzip"), (b"etag", b'"a"'), *headers], coded)
    again = readable(kept, b"identity")
    assert (again.body, again.headers) == (b"payload", [(b"content-length", b"7")])
    assert readable(kept, b"gzip") is kept


def test_a_replay_keeps_a_signature_that_holds() -> None:
    """Fields of the moment are not kept; a signature that covers one of them is not kept either."""
    date = (b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT")
    assert {name for name, _ in stored_headers([date, *SIGNED])} == {b"signature", b"signature-input"}
    covers = [(b"Signature-Input", b'a=("date")'), (b"Signature", b"a=:AAAA:")]
    assert stored_headers([date, *covers, (b"ETag", b'"a"')]) == [(b"etag", b'"a"')]


# ---- what costs nothing


def plan_of(method: str) -> Plan:
    guard = Guard(observers=[lambda finding: None])
    guard.compile(Table())
    return guard.settle(Request(method, "/items/7"))


PLANS = {method: plan_of(method) for method in ("GET", "DELETE", "QUERY", "FOO")}


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("PUT", 200), ("POST", 201), ("DELETE", 204), ("GET", 304)])
def test_an_ordinary_answer_asks_none_of_these_rules(method: str, status: int) -> None:
    """Answers without ETag, digests, ranges and preferences are not looked at for their sake."""
    plan = plan_of(method)
    names = (b"content-type", b"content-length", b"location")
    ours = {"validators", "preconditions", "ranges", "negotiation", "integrity"}
    asked = plan.checks_given.of(status, ANSWERS[names])
    assert not [rule.id for rule, _ in asked if rule.check.__module__.rpartition(".")[2] in ours]


TYPED = [b"content-type", b"Content-Type"]
SPELLINGS = st.sampled_from(
    [*TYPED, b"etag", b"ETag", b"ETAG", b"Content-Digest", b"vary", b"Content-Range", b"x", b"\xff", b"date"]
)


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
@given(st.sampled_from(["GET", "DELETE", "QUERY", "FOO"]), st.integers(0, 999), st.lists(SPELLINGS, max_size=4))
def test_no_answer_that_concerns_a_rule_is_let_go_by(interface: str, method: str, status: int, names: list[bytes]) -> None:
    """The quick look at the head of an answer passes over none of which a rule has something to say, in any spelling."""
    heads, checks = PLANS[method].heads, PLANS[method].checks_given
    awaited = heads[status] if interface == "asgi" else heads[f"{status:03} Reason"]
    spelled = names if interface == "asgi" else [name.decode("latin-1") for name in names]
    looks = [awaited[name] for name in spelled] if awaited else []
    quick = awaited is not None and (not awaited or any(looks))
    # in `guard` an ordinary answer is not searched for a field whose absence would only be told
    told = [
        rule
        for rule, action in checks.of(status, ANSWERS[tuple(names)])
        if action is not Action.OBSERVE or not rule.only_misses
    ]
    assert quick or not told
    assert awaited is None or bool(checks[status])
