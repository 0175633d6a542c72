"""Clients of HTTP/2, by hypercorn: what that version adds, and what must not reach an upstream of HTTP/1.1."""

from __future__ import annotations

import socket

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, InformationalResponseReceived, ResponseReceived, StreamEnded, StreamReset

from gateway import scripts
from gateway.client import said
from gateway.stage import Gate, Stage
from gateway.upstream import PATIENCE, Part

Fields = list[tuple[str, str]]


@pytest.fixture
def gate(stage: Stage) -> Gate:
    return stage.gate("hypercorn")


def asked(gate: Gate, part: Part, *fields: tuple[str, str], method: str = "GET", content: bytes = b"") -> list[Event]:
    """Everything that is said about one request, on a connection that begins with HTTP/2."""
    head = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "api.example"),
        (":path", "/x?y=%2F"),
        ("x-case", part.name),
    ]
    connection = H2Connection(H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    connection.send_headers(1, [*head, *fields], end_stream=not content)
    if content:
        connection.send_data(1, content, end_stream=True)
    heard: list[Event] = []
    with socket.create_connection(("127.0.0.1", gate.process.port), PATIENCE) as wire:
        while not any(isinstance(event, (StreamEnded, StreamReset)) for event in heard):
            wire.sendall(connection.data_to_send())
            if not (data := wire.recv(65536)):
                break
            heard += connection.receive_data(data)
    return heard


def content_of(heard: list[Event]) -> bytes:
    assert any(isinstance(event, StreamEnded) for event in heard), f"cut off after {heard}"
    return b"".join(event.data for event in heard if isinstance(event, DataReceived))


def test_a_request_reaches_the_upstream_as_one_of_http_1(gate: Gate) -> None:
    """The target is the same bytes, the authority is Host, and Via says by which version the request came."""
    part = gate.plays(said("200 OK", content=b"fine"))
    heard = asked(gate, part, ("x-a", "1"), ("x-a", "2"))
    assert content_of(heard) == b"fine"
    assert part.only.line == "GET /x?y=%2F HTTP/1.1"
    assert (part.only.all("host"), part.only.all("x-a")) == (["api.example"], ["1", "2"])
    assert part.only.all("via") == ["2 verbguard"]


def test_the_crumbs_of_a_cookie_are_put_together(gate: Gate) -> None:
    """HTTP/2 may cut Cookie into many lines; an upstream of HTTP/1.1 gets one (RFC 9113 8.2.3)."""
    part = gate.plays(said("200 OK", content=b"fine"))
    asked(gate, part, ("cookie", "a=1"), ("x-between", "0"), ("cookie", "b=2"), ("cookie", "c=3"))
    assert part.only.all("cookie") == ["a=1; b=2; c=3"]


def test_content_without_a_length_is_sent_in_chunks(gate: Gate) -> None:
    """HTTP/2 needs no field to say that there is content; HTTP/1.1 needs exactly one."""
    part = gate.plays(said("200 OK", content=b"fine"))
    assert content_of(asked(gate, part, method="POST", content=b"upload")) == b"fine"
    assert (part.only.content, part.only.all("content-length")) == (b"upload", [])
    assert part.only.all("transfer-encoding") == ["chunked"]


def test_content_of_a_get_is_refused(gate: Gate) -> None:
    """Content that no field announces is content all the same."""
    part = gate.plays(said("200 OK", content=b"fine"))
    heard = asked(gate, part, ("content-length", "6"), content=b"upload")
    assert [dict(event.headers)[":status"] for event in heard if isinstance(event, ResponseReceived)] == ["400"]
    assert part.seen == []


def test_early_hints_come_before_the_answer(gate: Gate) -> None:
    """103 and its links, then the answer."""
    hints = said("103 Early Hints", "Link: </a.css>; rel=preload", "X-A: 1") + said("103 Early Hints", "Link: </b.css>")
    part = gate.plays(hints + said("200 OK", content=b"fine"))
    heard = asked(gate, part)
    told = [event for event in heard if isinstance(event, (InformationalResponseReceived, ResponseReceived))]
    assert [dict(event.headers)[":status"] for event in told] == ["103", "103", "200"]
    assert [dict(event.headers).get("link") for event in told] == ["</a.css>; rel=preload", "</b.css>", None]
    assert content_of(heard) == b"fine"


@pytest.mark.parametrize("framing", ["Content-Length: 19", "Transfer-Encoding: chunked"])
def test_an_answer_that_breaks_off_has_no_end(gate: Gate, framing: str) -> None:
    """A stream that ends properly would say that this was all; hypercorn closes the connection instead."""
    part = gate.plays(scripts.then_close(said("200 OK", framing, content=b"4\r\n1234\r\n")))
    heard = asked(gate, part)
    assert any(isinstance(event, ResponseReceived) for event in heard)
    assert not any(isinstance(event, StreamEnded) for event in heard)


def test_an_error_comes_behind_the_hints(gate: Gate) -> None:
    """A service that says 103 and nothing else has given no answer."""
    part = gate.plays(scripts.then_close(said("103 Early Hints", "Link: </a.css>")))
    heard = asked(gate, part, method="POST", content=b"sent once")
    told = [event for event in heard if isinstance(event, (InformationalResponseReceived, ResponseReceived))]
    assert [dict(event.headers)[":status"] for event in told] == ["103", "502"]
