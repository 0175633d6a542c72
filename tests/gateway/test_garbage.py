"""Garbage on the client's socket: a clear refusal or the end, nothing of it upstream, and the next client is served."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers.wire import Answer, Broken, Ended

from gateway.client import HOST, ask, chunked
from gateway.stage import SERVERS, Gate, Stage
from gateway.upstream import Seen

ORDINARY = ask("GET /ordinary")

# What no server may take for a request (RFC 9112 3 and 5, RFC 9110 5.5): refused, or the end of the connection.
NONSENSE = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client that speaks TLS\r\n\r\n",
    "NULs": bytes(64) + b"\r\n\r\n",
    "a request line without a version": b"GET /x\r\n" + HOST.encode() + b"\r\n\r\n",
    "a version that is none": b"GET /x HTTP/9.x\r\n" + HOST.encode() + b"\r\n\r\n",
    "a space in the target": b"POST /x y HTTP/1.1\r\n" + HOST.encode() + b"\r\nContent-Length: 0\r\n\r\n",
    "NUL in the target": b"POST /x\0y HTTP/1.1\r\n" + HOST.encode() + b"\r\nContent-Length: 0\r\n\r\n",
    "NUL in a name": ask("POST /x", "X-A\0b: 1", content=b""),
    "NUL in a value": ask("POST /x", "X-A: 1\0b", content=b""),
    "CR in a value": ask("POST /x", "X-A: 1\rX-B: 2", content=b""),
    "a space before the colon": ask("POST /x", "X-A : 1", content=b""),
    "a field without a colon": ask("POST /x", "X-A", content=b""),
    "a field without a name": ask("POST /x", ": 1", content=b""),
    "a length below zero": ask("POST /x", "Content-Length: -1"),
    "a length with a sign": ask("POST /x", "Content-Length: +3", content=b"abc"),
    "a length that is a list": ask("POST /x", "Content-Length: 3, 4", content=b"abcd"),
    "a length beyond all numbers": ask("POST /x", "Content-Length: " + "9" * 40, content=b"abc"),
    "a length in hexadecimal": ask("POST /x", "Content-Length: 0x3", content=b"abc"),
    "a coding that is misspelt": ask("POST /x", "Transfer-Encoding: xchunked", content=chunked(b"abc")),
    "chunked, and again": ask("POST /x", "Transfer-Encoding: chunked, chunked", content=chunked(b"abc")),
    "two lines of codings": ask(
        "POST /x", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", content=chunked(b"abc")
    ),
    "a coding behind a tab": ask("POST /x", "Content-Length: 4", "Transfer-Encoding:\tchunked", content=chunked(b"abc")),
    "a chunk size that is none": ask("POST /x", "Transfer-Encoding: chunked", content=b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk size below zero": ask("POST /x", "Transfer-Encoding: chunked", content=b"-3\r\nabc\r\n0\r\n\r\n"),
    "a chunk that is longer than it says": ask("POST /x", "Transfer-Encoding: chunked", content=b"1\r\nabc\r\n0\r\n\r\n"),
    "a head beyond all bounds": ask("POST /x", "X-A: " + "y" * 1_000_000, content=b""),
    "fields beyond all bounds": ask("POST /x", *[f"X-{number}: y" for number in range(60_000)], content=b""),
}


def heard(gate: Gate, data: bytes) -> tuple[list[Answer], str]:
    """Every answer to these bytes from a client that then says nothing more, and how it ended."""
    answers: list[Answer] = []
    with gate.connect() as connection:
        connection.send(data).give_up()
        try:
            while True:
                answers.append(connection.answer())
        except Ended:
            return answers, "ended"
        except Broken as broken:
            return answers, str(broken)


def next_client(gate: Gate) -> bytes:
    with gate.connect() as connection:
        return connection.send(ORDINARY).answer().content


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused(gate: Gate, name: str) -> None:
    """A refusal or the end, and no success; what is behind it on the connection is not run; the next client is served."""
    before = len(gate.upstream.strays.seen)
    answers, end = heard(gate, NONSENSE[name] + ask("POST /behind", content=b"x"))
    assert all(400 <= answer.status < 500 or answer.status in (501, 505) for answer in answers), answers
    assert end == "ended"
    came = gate.upstream.strays.seen[before:]
    assert [seen.line for seen in came if seen.complete] == [], "a request was made of it"
    assert next_client(gate) == b"ordinary"


# What ends in the middle: no answer is owed, and nothing runs.
HALVES = {
    "nothing at all": b"",
    "half a line": b"POST /x HT",
    "half a head": b"POST /x HTTP/1.1\r\nHost: api.exa",
    "a head without its end": ask("POST /x", content=b"")[:-2],
    "no content": ask("POST /x", "Content-Length: 5"),
    "half a content": ask("POST /x", "Content-Length: 5", content=b"ab"),
    "half a chunk": ask("POST /x", "Transfer-Encoding: chunked", content=b"5\r\nab"),
    "no last chunk": ask("POST /x", "Transfer-Encoding: chunked", content=b"2\r\nab\r\n"),
    "half a content, with a key": ask("POST /x", 'Idempotency-Key: "half-a"', "Content-Length: 5", content=b"ab"),
}


@pytest.mark.parametrize("name", HALVES)
def test_half_a_request_is_none(gate: Gate, name: str) -> None:
    """No success is answered, and the upstream gets no whole request."""
    before = len(gate.upstream.strays.seen)
    answers, _ = heard(gate, HALVES[name])
    assert all(400 <= answer.status < 500 for answer in answers), answers
    assert not any(seen.complete for seen in gate.upstream.strays.seen[before:])
    assert next_client(gate) == b"ordinary"


def test_a_key_that_came_with_half_a_request_is_free(gate: Gate) -> None:
    """Vector 21, where the upload reaches the gateway only in part."""
    part = gate.plays(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    fields = (f"X-Case: {part.name}", f'Idempotency-Key: "half-{part.name}"', "Content-Length: 5")
    heard(gate, ask("POST /x", *fields, content=b"ab"))
    with gate.connect() as connection:
        answer = connection.send(ask("POST /x", *fields, content=b"abcde")).answer()
    assert (answer.status, answer.replayed) == (201, False)
    assert part.only.content == b"abcde"


def test_a_head_that_comes_byte_by_byte_is_a_head(gate: Gate) -> None:
    """Slowness is no fault; other clients are served meanwhile."""
    part = gate.plays(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
    sent = ask("POST /x", f"X-Case: {part.name}", "Transfer-Encoding: chunked", content=chunked(b"a", b"bc"))
    with gate.connect() as connection:
        for place, byte in enumerate(sent):
            connection.send(bytes([byte]))
            if place == len(sent) // 2:
                assert next_client(gate) == b"ordinary"
        assert connection.answer().content == b"slow"
    assert part.only.content == b"abc"


# uvicorn closes when garbage follows a request that is still running, and uvloop raises when that request's answer comes.
CLOSED_BY_UVICORN = "the handler is closed"

LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.1")
FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[\x09\x20-\x7e\x80-\xff]*")


def is_sound(seen: Seen) -> bool:
    """Whether what reached the upstream is one request, and nobody can read another one out of it."""
    line, *lines = seen.head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    framing = [name for name, _ in seen.fields if name in ("content-length", "transfer-encoding")]
    coded = seen.all("transfer-encoding")
    return bool(
        LINE.fullmatch(line)
        and all(FIELD.fullmatch(each) for each in lines)
        and len(seen.all("host")) == 1
        and len(framing) <= 1
        and coded in ([], ["chunked"])
        and all(length.isdigit() for length in seen.all("content-length"))
    )


HEADS = [
    ask("POST /x?a=b", "X-A: 1", "Cookie: a=b", content=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
    ask(
        "POST /x",
        "Transfer-Encoding: chunked",
        "Connection: x-b",
        "X-B: 2",
        content=chunked(b"abc", b"def", trailers="X-T: 1\r\n"),
    ),
    ask("GET /x", "Accept: */*", 'If-None-Match: "a"') + ask("PUT /y", "Expect: 100-continue", content=b"{}"),
    ask("OPTIONS *", "Max-Forwards: 1") + ask("GET http://api.example/x"),
]
SCRAPS = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b",",
    b"\x80",
    b"\xff",
    b"chunked",
    b"identity",
    b"0",
    b"-1",
]
SCRAPS += [
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b" HTTP/1.1",
    b"\x0b",
    b"\x0c",
    b"x" * 9000,
]
edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 6), st.one_of(st.sampled_from(SCRAPS), st.binary(max_size=3))),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """Some bytes taken away, and others put in their places."""
    for where, taken, put in changes:
        place = int(where * len(data))
        data = data[:place] + put + data[place + taken :]
    return data


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(head=st.sampled_from(HEADS), changes=edits)
def test_what_reaches_the_upstream_is_always_sound(stage: Stage, head: bytes, changes: list[tuple[float, int, bytes]]) -> None:
    """However a request is damaged: well-formed answers or the end for the client, well-formed requests for the upstream."""
    for server in SERVERS:
        gate = stage.gate(server)
        before, start = len(gate.upstream.strays.seen), gate.process.log_size()
        answers, end = heard(gate, edited(head, changes))
        unsound = [seen.head for seen in gate.upstream.strays.seen[before:] if not is_sound(seen)]
        assert unsound == [], server
        assert end == "ended", f"{server}: {answers} {end}"
        assert all(answer.faults == () and answer.status != 500 for answer in answers), server
        log = gate.process.log(start)
        assert "Traceback" not in log or CLOSED_BY_UVICORN in log, log
        assert next_client(gate) == b"ordinary"
