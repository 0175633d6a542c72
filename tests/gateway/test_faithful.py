"""Whatever is legal passes as it is: random messages, byte for byte, in both directions."""

from __future__ import annotations

import string
from dataclasses import dataclass

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.client import chunked
from gateway.stage import SERVERS, Gate, Stage, naming
from gateway.upstream import Talk

TOKEN = "!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters
ADDED = {"via", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}
FRAMING = {"content-length", "transfer-encoding", "connection"}

Lines = list[tuple[str, str]]

names = st.one_of(
    st.text(TOKEN, min_size=1, max_size=12).map(lambda name: f"x-{name}"),
    st.sampled_from(["Cookie", "Accept", "User-Agent", "Accept-Language", "Referer", "X-A", "x-a", "X-Empty"]),
)
# obs-text and all, without control characters and without what is stripped at the ends (RFC 9110 5.5)
texts = st.text([chr(code) for code in (9, *range(0x20, 0x7F), *range(0x80, 0x100))], max_size=20)
values = texts.map(lambda text: text.strip(" \t"))
fields = st.lists(st.tuples(names, values), max_size=12)

PIECES = ["a", "B", "7", "/", "//", "..", ".", "%2F", "%2f", "%2e", "%zz", "%", "~", "!", "$&'()*", "+", ",", ";=", ":", "@"]
PIECES += ["%00", "%0A", "%C3%A9", "%E9", "%3F", "%23", "-_"]
paths = st.lists(st.sampled_from(PIECES), max_size=10).map(lambda pieces: "/" + "".join(pieces))
queries = st.lists(st.sampled_from([*PIECES, "?", "a=?b", "&&", "/"]), min_size=1, max_size=8).map(
    lambda pieces: "?" + "".join(pieces)
)
targets = st.builds(str.__add__, paths, st.one_of(st.just(""), queries))
contents = st.one_of(st.binary(max_size=40), st.binary(min_size=1, max_size=5).map(lambda piece: piece * 20_000))


@dataclass(frozen=True)
class Message:
    """Fields and content, and how the content is framed: by a length, or in chunks of some size."""

    fields: Lines
    content: bytes
    chunk: int  # 0: by a length

    def bytes(self, first: str) -> bytes:
        pieces = (
            [self.content[place : place + self.chunk] for place in range(0, len(self.content), self.chunk)]
            if self.chunk
            else []
        )
        framing = "Transfer-Encoding: chunked" if self.chunk else f"Content-Length: {len(self.content)}"
        lines = [first, *(f"{name}: {value}" for name, value in self.fields), framing, "", ""]
        return "\r\n".join(lines).encode("latin-1") + (chunked(*pieces) if self.chunk else self.content)


messages = st.builds(Message, fields, contents, st.sampled_from([0, 0, 7, 30_000]))
methods = st.sampled_from(["POST", "PUT", "PATCH", "DELETE", "MKCOL", "PROPFIND"])
often = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def lowered(lines: Lines) -> Lines:
    return [(name.lower(), value) for name, value in lines]


def gates(stage: Stage) -> list[Gate]:
    return [stage.gate(server) for server in SERVERS]


@often
@given(method=methods, target=targets, message=messages)
@example(method="POST", target="//x", message=Message([("X-A", "\xe9"), ("x-a", "\xc3\xa9")], b"", 0))
@example(
    method="PUT", target="/a%2Fb/../%zz?a=?b", message=Message([("Cookie", "a=1"), ("X-", ""), ("Cookie", "b=2")], b"\x00", 7)
)
def test_a_request_arrives_as_it_was_sent(stage: Stage, method: str, target: str, message: Message) -> None:
    """The method, the target, the fields in their order and the content; the gateway only adds what it must."""
    for gate in gates(stage):
        part = gate.plays(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        sent = naming(message.bytes(f"{method} {target} HTTP/1.1\r\nHost: api.example"), part)
        with gate.connect() as connection:
            answer = connection.send(sent).answer(method)
        assert (answer.status, answer.content) == (200, b"ok"), f"{gate.server}: {answer}"
        seen = part.only
        assert seen.line == f"{method} {target} HTTP/1.1"
        kept = [(name, value) for name, value in seen.fields if name not in ADDED | FRAMING | {"host", "x-case"}]
        assert kept == lowered(message.fields), gate.server
        assert seen.content == message.content
        assert {name for name, _ in seen.fields if name in FRAMING} <= {"content-length", "transfer-encoding"}


@often
@given(target=targets, asked=fields)
def test_a_get_arrives_as_it_was_sent(stage: Stage, target: str, asked: Lines) -> None:
    """The same without content, where nothing frames any."""
    for gate in gates(stage):
        part = gate.plays(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        lines = [f"GET {target} HTTP/1.1", "Host: api.example", *(f"{name}: {value}" for name, value in asked), "", ""]
        with gate.connect() as connection:
            answer = connection.send(naming("\r\n".join(lines).encode("latin-1"), part)).answer()
        assert (answer.status, answer.content) == (200, b"ok"), f"{gate.server}: {answer}"
        assert part.only.line == f"GET {target} HTTP/1.1"
        kept = [(name, value) for name, value in part.only.fields if name not in ADDED | {"host", "x-case"}]
        assert kept == lowered(asked), gate.server


said_names = st.one_of(names, st.sampled_from(["Set-Cookie", "Server", "X-Powered-By", "Cache-Control", "Vary"]))
answers = st.builds(Message, st.lists(st.tuples(said_names, values), max_size=12), contents, st.sampled_from([0, 0, 7, 30_000]))


@often
@given(
    status=st.sampled_from([200, 299, 404, 410, 418, 500, 599]), message=answers, cuts=st.lists(st.integers(1, 200), max_size=4)
)
@example(status=200, message=Message([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-A", "\xe9")], b"x", 7), cuts=[1, 2])
def test_an_answer_arrives_as_it_was_said(stage: Stage, status: int, message: Message, cuts: list[int]) -> None:
    """The status, the fields in their order and the content, however the bytes fall into packets."""
    whole = message.bytes(f"HTTP/1.1 {status} Something")

    def script(talk: Talk) -> None:
        talk.read()
        left = whole
        for size in cuts:
            talk.send(left[:size])
            left = left[size:]
        talk.send(left)

    for gate in gates(stage):
        part = gate.plays(script)
        with gate.connect() as connection:
            answer = connection.send(naming(b"GET /x HTTP/1.1\r\nHost: api.example\r\n\r\n", part)).answer()
        assert (answer.status, answer.content) == (status, message.content), gate.server
        assert [pair for pair in answer.headers if pair[0] not in FRAMING] == lowered(message.fields), gate.server
