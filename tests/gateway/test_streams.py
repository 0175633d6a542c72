"""Streams in both directions, clients that leave, and connections that are used again."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic, sleep

import pytest
from servers.wire import Broken

from gateway import scripts
from gateway.client import HOST, ask, chunked, said
from gateway.stage import Gate, gateway, naming
from gateway.upstream import PATIENCE, Talk, Upstream, pours

ORDINARY = ask("GET /ordinary")
OPEN_END = said("200 OK", "Content-Type: text/plain", "Transfer-Encoding: chunked")
FINE = said("200 OK", content=b"fine")
CREATED = said("201 Created", "Location: /items/1", content=b"{}")


@pytest.mark.parametrize("fields", [(), ("Idempotency-Key: s1",)], ids=["", "keyed"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_is_streamed(gate: Gate, method: str, fields: tuple[str, ...]) -> None:
    """The first chunk reaches the client while the upstream has not said the second."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(OPEN_END, b"3\r\none\r\n")
        talk.pause()
        talk.send(b"3\r\ntwo\r\n0\r\n\r\n")

    part = gate.plays(script)
    content = b"{}" if method == "POST" else None
    fields = tuple(f"{field}-{part.name}" for field in fields)
    with gate.connect() as connection:
        connection.send(naming(ask(f"{method} /x", *fields, content=content), part))
        pieces = connection.pieces(connection.head())
        assert next(pieces) == b"one"
        part.opened.set()
        assert list(pieces) == [b"two"]
        assert connection.send(ORDINARY).answer().content == b"ordinary"


def test_an_upload_is_streamed(gate: Gate) -> None:
    """What the client has sent of its content reaches the upstream while the rest is still to come."""
    received = []

    def script(talk: Talk) -> None:
        received.append(talk.some())
        talk.pause()
        talk.close_after(FINE)

    part = gate.plays(script)
    with gate.connect() as connection:
        connection.send(naming(ask("POST /x", "Content-Length: 6", content=b"one"), part))
        part.wait(part.reached)
        assert received == [b"one"]
        connection.send(b"two")
        part.opened.set()
        assert connection.answer().content == b"fine"
    assert part.only.get("content-length") == "6"


def test_an_upload_in_chunks_is_streamed(gate: Gate) -> None:
    """The same where nobody knows how long the content is."""
    received = []

    def script(talk: Talk) -> None:
        received.append(talk.some())
        talk.pause()
        talk.close_after(FINE)

    part = gate.plays(script)
    with gate.connect() as connection:
        connection.send(naming(ask("POST /x", "Transfer-Encoding: chunked"), part) + b"3\r\none\r\n")
        part.wait(part.reached)
        assert b"one" in b"".join(received)
        connection.send(b"3\r\ntwo\r\n0\r\n\r\n")
        part.opened.set()
        assert connection.answer().content == b"fine"
    assert (part.only.all("content-length"), part.only.all("transfer-encoding")) == ([], ["chunked"])


def test_expect_is_answered_once(gate: Gate) -> None:
    """One 100 and no more, and the content in full; `Expect` is the upstream's business only if it answers it."""
    part = gate.plays(FINE)
    with gate.connect() as connection:
        connection.send(naming(ask("POST /x", "Expect: 100-continue", "Content-Length: 3"), part))
        assert connection.invited()
        connection.send(b"abc" + ORDINARY)
        answer = connection.answer()
        assert (answer.status, answer.content, answer.interim) == (200, b"fine", ())
        assert connection.answer().content == b"ordinary"
    assert part.only.content == b"abc"


@pytest.mark.parametrize("fields", [(), ('Idempotency-Key: "e"',)], ids=["", "keyed"])
def test_what_the_upstream_refuses_is_not_invited(gate: Gate, fields: tuple[str, ...]) -> None:
    """An upstream that refuses from the head is heard before anybody asks for the content, unless a key needs it."""
    refusal = said("401 Unauthorized", "WWW-Authenticate: Basic realm=x", "Connection: close", content=b"who?")
    part = gate.plays(scripts.early(refusal))
    fields = tuple(f'{field[:-1]}-{part.name}"' for field in fields)
    with gate.connect() as connection:
        connection.send(naming(ask("POST /x", *fields, "Expect: 100-continue", "Content-Length: 3"), part))
        if invited := connection.invited():
            connection.send(b"abc")
        answer = connection.answer()
    assert (answer.status, answer.content, answer.get("www-authenticate")) == (401, b"who?", "Basic realm=x")
    assert invited == (bool(fields) or gate.server == "hypercorn"), "hypercorn sends 100 before it asks the application"
    assert len(part.seen) == 1


def test_what_is_refused_is_not_invited(gate: Gate) -> None:
    """A PUT on a collection is refused from its head: where the server leaves it to the application, without a 100."""
    part = gate.plays(FINE)
    with gate.connect() as connection:
        connection.send(naming(ask("PUT /items", "Expect: 100-continue", "Content-Length: 3"), part))
        invited = connection.invited()
        answer = connection.answer("PUT")
    assert (answer.status, answer.rule) == (405, "put-no-collection")
    assert invited == (gate.server == "hypercorn"), "hypercorn sends 100 before it asks the application"
    assert part.seen == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_client_that_leaves_stops_the_upstream(gate: Gate, method: str) -> None:
    """Nobody waits for this answer any longer: the request to the upstream ends with its client's."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.until_left()

    part = gate.plays(script)
    with gate.connect() as connection:
        connection.send(naming(ask(f"{method} /x", content=b"{}" if method == "POST" else None), part))
        part.wait(part.reached)
    part.wait(part.left)


def test_a_client_that_leaves_midway_stops_the_upstream(gate: Gate) -> None:
    """The same when a part of the answer has been sent."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(OPEN_END, b"3\r\none\r\n")
        talk.until_left()

    part = gate.plays(script)
    with gate.connect() as connection:
        connection.send(naming(ask("GET /x"), part))
        assert next(connection.pieces(connection.head())) == b"one"
    part.wait(part.left)


def test_a_client_that_leaves_its_upload_is_no_request(gate: Gate) -> None:
    """Half of a content never reaches the upstream as a whole one."""
    ends = []

    def script(talk: Talk) -> None:
        talk.part.reached.set()
        try:
            talk.read()
        finally:
            ends.append(talk.seen.complete)
            talk.part.left.set()

    part = gate.plays(script)
    with gate.connect() as connection:
        connection.send(naming(ask("POST /x", "Transfer-Encoding: chunked"), part) + b"3\r\none\r\n")
        part.wait(part.reached)
    part.wait(part.left)
    assert ends == [False]


def test_a_key_shields_the_upstream(gate: Gate) -> None:
    """With a key the request goes on when its client has left, and the retry gets its answer."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.pause()
        talk.send(CREATED)

    part = gate.plays(script)
    request = naming(ask("POST /x", f'Idempotency-Key: "shield-{part.name}"', content=b"{}"), part)
    with gate.connect() as connection:
        connection.send(request)
        part.wait(part.reached)
    with gate.connect() as connection:
        assert connection.send(request).answer().status == 409
    part.opened.set()
    answer = gate.once_settled(request)
    assert (answer.status, answer.replayed, len(part.seen)) == (201, True, 1)


def test_five_requests_use_one_connection(gate: Gate) -> None:
    """Of one client or of five, one after the other."""
    part = gate.plays(FINE)
    for _ in range(2):
        with gate.connect() as connection:
            assert [connection.send(naming(ask("GET /x"), part)).answer().content for _ in range(3)] == [b"fine"] * 3
    assert len({seen.connection for seen in part.seen}) == 1


def test_requests_behind_each_other_are_answered_in_order(gate: Gate) -> None:
    """Pipelined: each gets its own answer, as if it had come alone."""
    parts = [gate.plays(said("200 OK", content=b"%d" % number)) for number in range(5)]
    with gate.connect() as connection:
        connection.send(b"".join(naming(ask("POST /x", content=b"{}"), part) for part in parts))
        assert [connection.answer().content for _ in parts] == [b"0", b"1", b"2", b"3", b"4"]
    assert [part.only.content for part in parts] == [b"{}"] * 5


def dies_when_reused(talk: Talk) -> None:
    """The first request is answered; the connection ends when another one comes on it."""
    if talk.round > 1 and talk.seen.connection == talk.part.seen[0].connection:
        talk.close()
    talk.read()
    talk.send(said("200 OK", content=b"%d" % talk.round))


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
def test_what_may_be_repeated_is_sent_once_more(gate: Gate, method: str) -> None:
    """A connection that dies when it is used again costs an idempotent request nothing."""
    part = gate.plays(dies_when_reused)
    gate.upstream.hang_up()
    with gate.connect() as connection:
        assert connection.send(naming(ask("GET /x"), part)).answer().content == b"1"
        assert connection.send(naming(ask(f"{method} /x"), part)).answer().content == b"3"
    assert [seen.method for seen in part.seen] == ["GET", method, method]


@pytest.mark.parametrize(
    "request_", [ask("PUT /x", content=b"whole"), ask("PUT /x", "Transfer-Encoding: chunked", content=chunked(b"wh", b"ole"))]
)
def test_content_is_sent_once_more_too(gate: Gate, request_: bytes) -> None:
    """A PUT whose content is at hand is repeated with all of it."""
    part = gate.plays(dies_when_reused)
    gate.upstream.hang_up()
    with gate.connect() as connection:
        assert connection.send(naming(ask("GET /x"), part)).answer().content == b"1"
        assert connection.send(naming(request_, part)).answer("PUT").content == b"3"
    assert [(seen.method, seen.content) for seen in part.seen][::2] == [("GET", b""), ("PUT", b"whole")]


def test_content_that_was_let_go_is_not_sent_again(gate: Gate) -> None:
    """A large upload is not kept for the case that its connection dies: the client hears of it."""

    def script(talk: Talk) -> None:
        if talk.round > 1:
            talk.read()
            talk.close()
        talk.read()
        talk.send(FINE)

    part = gate.plays(script)
    gate.upstream.hang_up()
    with gate.connect() as connection:
        assert connection.send(naming(ask("GET /x"), part)).answer().content == b"fine"
        assert connection.send(naming(ask("PUT /x", content=bytes(1_000_000)), part)).answer("PUT").status == 502
    assert len(part.seen) == 2


def test_a_post_is_never_sent_twice(gate: Gate) -> None:
    """It is told that nobody knows what became of it."""
    part = gate.plays(dies_when_reused)
    gate.upstream.hang_up()
    with gate.connect() as connection:
        assert connection.send(naming(ask("GET /x"), part)).answer().content == b"1"
        answer = connection.send(naming(ask("POST /x", content=b"{}"), part)).answer()
        assert (answer.status, answer.rule) == (502, "gateway-502-504")
    assert [seen.method for seen in part.seen] == ["GET", "POST"]


def test_nothing_is_sent_a_third_time(gate: Gate) -> None:
    """A repetition that fails too is told, not repeated."""

    def script(talk: Talk) -> None:
        if talk.round > 1:
            talk.close()
        talk.read()
        talk.send(FINE)

    part = gate.plays(script)
    gate.upstream.hang_up()
    with gate.connect() as connection:
        assert connection.send(naming(ask("GET /x"), part)).answer().content == b"fine"
        assert connection.send(naming(ask("PUT /x", content=b"{}"), part)).answer("PUT").status == 502
    assert 2 <= len(part.seen) <= 3


def test_a_connection_that_ended_while_it_rested_costs_nothing(gate: Gate) -> None:
    """A restarted upstream is no reason to refuse the next POST."""
    part = gate.plays(CREATED)
    with gate.connect() as connection:
        assert connection.send(naming(ask("POST /x", content=b"{}"), part)).answer().status == 201
        gate.upstream.hang_up()
        assert connection.send(ORDINARY).answer().content == b"ordinary"
        assert connection.send(naming(ask("POST /x", content=b"{}"), part)).answer().status == 201
    assert len(part.seen) == 2


def test_a_pool_that_is_full_sends_nothing() -> None:
    """Where every connection waits for an answer, the next request is told that it was not sent, and its key is free."""
    upstream = Upstream()
    held = upstream.plays(lambda talk: (talk.read(), talk.pause(), talk.send(FINE)))
    part = upstream.plays(CREATED)
    request = naming(ask("POST /x", 'Idempotency-Key: "full"', content=b"{}"), part)
    setup = {"gateway": {"connections": 1, "connect_timeout": 1.0}}
    with gateway(upstream, "uvicorn-httptools", "guard", setup) as gate, gate.connect() as first, gate.connect() as second:
        first.send(naming(ask("GET /x"), held))
        held.wait(held.reached)
        answer = second.send(request).answer()
        assert (answer.status, answer.rule, part.seen) == (504, "gateway-502-504", [])
        held.opened.set()
        assert first.answer().content == b"fine"
        answer = second.send(request).answer()
        assert (answer.status, answer.replayed, len(part.seen)) == (201, False, 1)
    upstream.stop()


def test_no_connection_is_left_behind() -> None:
    """After clients that left, answers that broke off and answers that are none, one connection is kept for what follows."""
    upstream = Upstream()
    bad = [scripts.then_close(said("200 OK", "Content-Length: 9", content=b"1234")), said("600 Unheard", content=b"x")]
    bad += [scripts.silent, scripts.then_close(b"220 mail\r\n"), scripts.then_close(said("200 OK", content=b"fine") + b"more")]
    with gateway(upstream, "uvicorn-httptools", "guard", {}) as gate:
        for script in bad * 5:
            with gate.connect() as connection, suppress(Broken):
                connection.send(naming(ask("GET /x"), upstream.plays(script))).answer()
        for _ in range(5):
            part = upstream.plays(lambda talk: (talk.read(), talk.until_left()))
            with gate.connect() as connection:
                connection.send(naming(ask("GET /x"), part))
                part.wait(part.reached)
            part.wait(part.left)
        with gate.connect() as connection:
            assert [connection.send(ORDINARY).answer().content for _ in range(3)] == [b"ordinary"] * 3
        assert len({seen.connection for seen in upstream.strays.seen}) == 1
        end = monotonic() + PATIENCE
        while upstream.open > 1 and monotonic() < end:
            sleep(0.05)  # the upstream's threads notice one after the other
        assert upstream.open <= 1
    upstream.stop()


MANY = 300 << 20  # bytes: more than all the buffers of sockets between two processes could take


def test_a_slow_reader_holds_the_upstream_back(gate: Gate) -> None:
    """The gateway does not take in what its client does not take out."""
    stalled = []

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(said("200 OK", f"Content-Length: {MANY}"))
        stalled.append(talk.pours(MANY))
        talk.part.reached.set()
        talk.close()

    part = gate.plays(script)
    with gate.connect() as connection:
        connection.send(naming(ask("GET /x"), part))
        assert connection.head().status == 200
        assert part.reached.wait(PATIENCE * 3)
        assert stalled == [True]


def test_a_slow_upstream_holds_the_client_back(gate: Gate) -> None:
    """Nor does it take in an upload that its upstream does not take out."""
    part = gate.plays(lambda talk: talk.until_left_unread())
    with gate.connect() as connection:
        connection.send(naming(ask("POST /x", f"Content-Length: {MANY}", content=b"first"), part))
        part.wait(part.reached)
        assert pours(connection.socket, MANY)


def test_host_of_every_request_on_a_connection(gate: Gate) -> None:
    """Connections are shared between clients; what is said on them is not."""
    part = gate.plays(FINE)
    with gate.connect() as connection:
        for host in ("a.example", "b.example:8080"):
            connection.send(naming(ask("GET /x", host=f"Host: {host}"), part)).answer()
    assert [seen.get("host") for seen in part.seen] == ["a.example", "b.example:8080"]
    assert HOST not in part.seen[0].head.decode()


def test_a_chunked_answer_may_be_cut_anywhere(gate: Gate) -> None:
    """However the upstream's bytes fall into packets, the content is the content."""
    whole = OPEN_END + chunked(b"first", b"second", b"third")

    def script(talk: Talk) -> None:
        talk.read()
        for place in range(len(whole)):
            talk.send(whole[place : place + 1])

    part = gate.plays(script)
    with gate.connect() as connection:
        assert connection.send(naming(ask("GET /x"), part)).answer().content == b"firstsecondthird"


def test_an_answer_that_nobody_asked_for_is_nobodys(gate: Gate) -> None:
    """What an upstream says while its connection rests is not the answer to the next request on it."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(FINE)
        talk.pause()
        talk.send(said("200 OK", content=b"not yours"))
        talk.part.left.set()

    part = gate.plays(script)
    with gate.connect() as connection:
        assert connection.send(naming(ask("GET /x"), part)).answer().content == b"fine"
        part.wait(part.reached)
        part.opened.set()
        part.wait(part.left)
        assert [connection.send(ORDINARY).answer().content for _ in range(3)] == [b"ordinary"] * 3


def test_an_answer_behind_an_answer_is_nobodys(gate: Gate) -> None:
    """Two answers to one request: the second is dropped, with its connection."""
    part = gate.plays(FINE + said("200 OK", content=b"not yours"))
    with gate.connect() as connection:
        assert connection.send(naming(ask("GET /x"), part)).answer().content == b"fine"
        assert [connection.send(ORDINARY).answer().content for _ in range(3)] == [b"ordinary"] * 3
    assert len(part.seen) == 1
