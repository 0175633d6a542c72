"""What hostile or broken peers try, and what must become of it."""

from __future__ import annotations

import asyncio
from time import sleep

import pytest

from gateway.client import ask, chunked, said
from gateway.stage import SERVERS, Gate, gateway
from gateway.upstream import Hangup, Talk, Upstream
from verbguard.gateway.client import _Patience

CHUNKED = said("200 OK", "Transfer-Encoding: chunked")

# What is no chunk, from a service that keeps its connection open.
NO_CHUNKS = {
    "a size that is none": b"zz\r\nfine\r\n",
    "more than the size": b"4\r\nfineX\r\n",
    "line feeds alone": b"4\nfine\n0\n\n",
    "a line feed in an extension": b"4;\nx\r\nfine\r\n0\r\n\r\n",
    "a length among the trailers": b"4\r\nfine\r\n0\r\nContent-Length: 9\r\n\r\n",
}


@pytest.mark.parametrize("name", NO_CHUNKS)
def test_an_answer_whose_chunks_are_none_ends(gate: Gate, name: str) -> None:
    """The client is not kept waiting for the rest of an answer that nobody can read, and never takes it for all."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(CHUNKED)
        talk.pause()
        talk.send(NO_CHUNKS[name])
        talk.until_left()

    part = gate.plays(script)
    with gate.connect() as connection:
        connection.send(ask("GET /x", f"X-Case: {part.name}"))
        assert connection.head().status == 200
        part.opened.set()
        assert b"0\r\n\r\n" not in connection.rest()  # raises where the server stays silent
    part.wait(part.left)


CODINGS = {
    "gzip": [b"fine", "Transfer-Encoding: gzip"],
    "gzip, chunked": [chunked(b"fine"), "Transfer-Encoding: gzip, chunked"],
    "gzip, and chunked": [chunked(b"fine"), "Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
    "chunked, gzip": [chunked(b"fine"), "Transfer-Encoding: chunked, gzip"],
    "misspelt": [chunked(b"fine"), "Transfer-Encoding: xchunked"],
    "twice": [chunked(b"fine"), "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
}


@pytest.mark.parametrize("name", CODINGS)
def test_a_coding_that_nobody_asked_for_is_no_answer(gate: Gate, name: str) -> None:
    """Content that still has a coding must not be handed on as if it had none."""
    content, *fields = CODINGS[name]
    part = gate.plays(said("200 OK", "Connection: close", *fields, content=content))
    with gate.connect() as connection:
        answer = connection.send(ask("GET /x", f"X-Case: {part.name}")).answer()
    assert (answer.status, answer.rule) == (502, "gateway-502-504")


def test_content_after_a_304_is_no_answer_to_the_next_request(gate: Gate) -> None:
    """What an old service sends behind a 304 that announces it comes late, and nobody else may get it."""
    evil = said("200 OK", content=b"evil")

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(said("304 Not Modified", 'ETag: "a"', f"Content-Length: {len(evil)}"))
        talk.until_left()

    part, after = gate.plays(script), gate.plays(said("200 OK", content=b"fine"))
    with gate.connect() as connection:
        assert connection.send(ask("GET /x", f"X-Case: {part.name}", 'If-None-Match: "a"')).answer().status == 304
        assert connection.send(ask("GET /x", f"X-Case: {after.name}")).answer().content == b"fine"
    assert after.only.connection != part.only.connection, "the connection was used again"


# As a service with CGI or WSGI reads them, these are fields that the gateway judges, drops or writes itself.
DISGUISED = {
    "the length": "Content_Length: 30",
    "the coding": "Transfer_Encoding: chunked",
    "the key": "Idempotency_Key: 1",
    "the client's address": "X_Forwarded_For: 10.0.0.1",
    "half in disguise": "X-Forwarded_For: 10.0.0.1",
    "an address of another spelling": "X_Real_IP: 10.0.0.1",
    "another method": "X_HTTP_Method_Override: DELETE",
    "another target": "X-Original-URL: /admin",
    "another target of IIS": "X-Rewrite-URL: /admin",
    "the proxy of a CGI program": "Proxy: http://evil.example",
    "an address of its own": "True-Client-IP: 10.0.0.1",
}


@pytest.mark.parametrize("name", DISGUISED)
def test_a_field_in_disguise_ends_here(gate: Gate, name: str) -> None:
    """What would be believed under another spelling is dropped; an ordinary underscore is nobody's disguise."""
    part = gate.plays(said("200 OK", content=b"fine"))
    sent = ask("POST /x", f"X-Case: {part.name}", DISGUISED[name], "X_Own: 1", content=b"abc")
    with gate.connect() as connection:
        assert connection.send(sent).answer().status == 200
    assert part.only.all(DISGUISED[name].partition(":")[0].lower()) == []
    assert part.only.get("x_own") == "1"


# Targets that a service may read in another way than the guard: never a path that begins with a slash.
ODD_TARGETS = {
    "userinfo in front": "GET @evil.example/x",
    "a backslash in front": "GET \\\\evil.example/x",
    "no slash": "GET x",
    "another scheme": "GET ftp://api.example/x",
    "a fragment": "PUT /items#x",
    "a fragment in the query": "GET /x?y#z",
}


@pytest.mark.parametrize("name", ODD_TARGETS)
def test_a_target_that_is_no_path_is_not_passed_on(gate: Gate, name: str) -> None:
    part = gate.plays(said("200 OK", content=b"fine"))
    with gate.connect() as connection:
        answer = connection.send(ask(ODD_TARGETS[name], f"X-Case: {part.name}")).answer()
    seen = [each.target for each in part.seen]
    # httptools takes the path out of any URL before anybody sees it, which is one meaning for all
    cut = gate.server == "uvicorn-httptools" and ("fragment" in name or "scheme" in name)
    assert all(target.startswith("/") and "#" not in target for target in seen)
    assert cut or (answer.status == 400 and seen == [])


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/1.2", "HTTP/3.1"])
def test_a_version_that_is_not_spoken_here(gate: Gate, version: str) -> None:
    """It must not loosen what HTTP/1.1 demands."""
    part = gate.plays(said("200 OK", content=b"fine"))
    with gate.connect() as connection:
        answer = connection.send(ask("GET /x", f"X-Case: {part.name}", version=version)).answer()
    assert answer.status in (400, 505)
    assert part.seen == []


def test_http_1_0_has_no_codings(gate: Gate) -> None:
    """RFC 9112 6.1: the framing is faulty, and the connection ends."""
    part = gate.plays(said("200 OK", content=b"fine"))
    sent = ask("POST /x", f"X-Case: {part.name}", "Connection: keep-alive", "Transfer-Encoding: chunked", version="HTTP/1.0")
    with gate.connect() as connection:
        assert connection.send(sent + chunked(b"abc")).answer().status == 400
        connection.rest()
    assert part.seen == []


def test_a_loop_ends(gate: Gate) -> None:
    """A gateway whose service is itself would ask itself until nobody is served (RFC 9110 7.6)."""

    def script(talk: Talk) -> None:
        """What leads back: the same request comes to the gateway again, with what it has added."""
        talk.read()
        with gate.connect() as connection:
            again = b"\r\n".join([talk.seen.head.removesuffix(b"\r\n\r\n"), b"", b""])
            answer = connection.send(again).answer()
        talk.send(said(f"{answer.status} Handed On", content=answer.content))

    part = gate.plays(script)
    with gate.connect() as connection:
        answer = connection.send(ask("GET /x", f"X-Case: {part.name}")).answer()
    assert answer.status == 508
    assert len(part.seen) < 10


@pytest.mark.parametrize("control", [b"\x01", b"\x0b", b"\x0c", b"\x1b", b"\x7f"])
def test_a_control_character_does_not_take_an_answer_away(gate: Gate, control: bytes) -> None:
    """It is a space from here on (RFC 9110 5.5); some servers end the connection instead of sending it."""
    part = gate.plays(said("201 Created", "X-A: a~b", "X-B: ~", content=b"fine").replace(b"~", control))
    with gate.connect() as connection:
        answer = connection.send(ask("POST /x", f"X-Case: {part.name}", content=b"abc")).answer()
    assert (answer.status, answer.get("x-a"), answer.get("x-b"), answer.content) == (201, "a b", "", b"fine")


REDIRECTIONS = {
    "a backslash": ("UPSTREAM/\\evil.example/x", "/./\\evil.example/x"),
    "two slashes": ("UPSTREAM//evil.example/x", "/.//evil.example/x"),
    "a tab between slashes": ("UPSTREAM/\t/evil.example/x", "UPSTREAM/\t/evil.example/x"),
    "no scheme": ("//UPHOST/x", "/x"),
    "no scheme, another host": ("//evil.example/x", "//evil.example/x"),
    "a user's name that looks like the service": ("http://UPHOST@evil.example/x", "http://UPHOST@evil.example/x"),
    "a backslash behind the host": ("UPSTREAM\\@evil.example/x", "UPSTREAM\\@evil.example/x"),
}


@pytest.mark.parametrize("name", REDIRECTIONS)
def test_a_redirection_does_not_become_another_host(gate: Gate, name: str) -> None:
    """What a browser would read as an authority is never what is left of a path (RFC 3986 4.2, WHATWG URL)."""
    url = gate.upstream.url
    there, here = (each.replace("UPSTREAM", url).replace("UPHOST", url.removeprefix("http://")) for each in REDIRECTIONS[name])
    part = gate.plays(said("302 Found", f"Location: {there}", content=b""))
    with gate.connect() as connection:
        answer = connection.send(ask("GET /x", f"X-Case: {part.name}")).answer()
    assert answer.get("location") == here


def test_an_answer_that_is_too_long_to_keep_is_not_shielded(gate: Gate) -> None:
    """A client with a key that leaves an endless answer does not hold a connection to the service; the retry runs nothing."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(CHUNKED)
        piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        try:
            talk.send(piece)
            talk.pause()
            while True:
                talk.send(piece)
                sleep(0.02)  # so that the client's end is noticed before the answer is too long
        except Hangup:
            talk.part.left.set()
            raise

    part = gate.plays(script)
    sent = ask("POST /x", f"X-Case: {part.name}", f'Idempotency-Key: "long-{part.name}"', content=b"{}")
    with gate.connect() as connection:
        assert connection.send(sent).head().status == 200
        part.wait(part.reached)
    part.opened.set()
    part.wait(part.left)
    answer = gate.once_settled(sent)
    assert (answer.status, len(part.seen)) == (409, 1), answer


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate", "negotiate"])
def test_a_connection_that_stands_for_a_person_is_nobody_elses(gate: Gate, scheme: str) -> None:
    """Some services take every later request on a connection for that of who has signed in on it."""
    part = gate.plays(said("200 OK", content=b"fine"))
    with gate.connect() as connection:
        signed = ask("GET /x", f"X-Case: {part.name}", f"Authorization: {scheme} TlRMTVNTUAAB")
        assert connection.send(signed).answer().status == 200
    with gate.connect() as connection:
        assert connection.send(ask("GET /x", f"X-Case: {part.name}")).answer().status == 200
    first, second = part.seen
    assert first.get("authorization") == f"{scheme} TlRMTVNTUAAB"
    assert first.connection != second.connection


def test_a_client_that_leaves_an_early_answer(gate: Gate) -> None:
    """Its upload has not ended, and the answer has no end: nothing of it goes on."""

    def script(talk: Talk) -> None:
        talk.send(CHUNKED)
        try:
            while True:
                talk.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                talk.part.reached.set()
        except Hangup:
            talk.part.left.set()
            raise

    part = gate.plays(script)
    with gate.connect() as connection:
        connection.send(ask("POST /x", f"X-Case: {part.name}", "Content-Length: 100000", content=b"abc"))
        assert connection.head().status == 200
        part.wait(part.reached)
    part.wait(part.left)


def test_a_client_that_stops_its_upload_holds_no_connection(hurried: Gate) -> None:
    """It is told so, and the service is rid of it: a hundred such clients would be all that it can serve."""

    def script(talk: Talk) -> None:
        try:
            talk.read()
        finally:
            talk.part.left.set()

    part = hurried.plays(script)
    with hurried.connect() as connection:
        answer = connection.send(ask("POST /x", f"X-Case: {part.name}", "Content-Length: 100", content=b"abc")).answer()
        assert (answer.status, answer.closes) == (408, True)
        part.wait(part.left)
    assert not part.only.complete


def test_a_client_that_takes_nothing_holds_no_connection(hurried: Gate) -> None:
    """Nor does one that does not read its answer."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.send(CHUNKED)
        try:
            while True:
                talk.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        except Hangup:
            talk.part.left.set()
            raise

    part = hurried.plays(script)
    with hurried.connect() as connection:
        connection.send(ask("GET /x", f"X-Case: {part.name}"))
        part.wait(part.left)


def ends_when_reused(talk: Talk) -> None:
    """The first request is answered; the second is read, as it may have run, and the connection ends."""
    talk.read()
    if talk.round == 2:
        talk.close()
    talk.send(said("200 OK", content=b"%d" % talk.round))


@pytest.mark.parametrize("server", SERVERS)
def test_what_was_sent_and_cannot_be_sent_again_is_not_called_unsent(server: str) -> None:
    """The service goes away with the second request in its hands: nobody knows what it did with it."""
    upstream = Upstream()

    def script(talk: Talk) -> None:
        talk.read()
        if talk.round > 1:
            upstream.stop()
            talk.close()
        talk.send(said("200 OK", content=b"1"))

    part = upstream.plays(script)
    with gateway(upstream, server, "guard", {}) as gate, gate.connect() as connection:
        assert connection.send(ask("GET /x", f"X-Case: {part.name}")).answer().content == b"1"
        answer = connection.send(ask("PUT /x", f"X-Case: {part.name}", content=b"{}")).answer()
    assert len(part.seen) == 2
    assert (answer.status, answer.json()["detail"]) == (502, "What became of the request is not known.")


@pytest.mark.parametrize(
    "condition", ['If-Match: "a"', "If-None-Match: *", "If-Unmodified-Since: Sun, 29 Nov 2026 00:00:00 GMT"]
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_write_with_a_condition_is_sent_once(gate: Gate, method: str, condition: str) -> None:
    """The second time its own first effect would make it a 412, and the client would take it for somebody else's."""
    part = gate.plays(ends_when_reused)
    gate.upstream.hang_up()
    content = b"{}" if method == "PUT" else None
    with gate.connect() as connection:
        assert connection.send(ask("GET /x", f"X-Case: {part.name}")).answer().content == b"1"
        answer = connection.send(ask(f"{method} /x", f"X-Case: {part.name}", condition, content=content)).answer()
    assert [seen.method for seen in part.seen] == ["GET", method]
    assert (answer.status, answer.rule) == (502, "gateway-502-504")


@pytest.mark.parametrize("moments", ["begin begin end", "begin end begin", "begin end"])
async def test_the_wait_for_an_answer_ends_with_it(moments: str) -> None:
    """Content that is sent twice, or still goes out when the answer is here, leaves no clock that calls it late."""
    calls: list[str] = []

    def overdue() -> float:
        calls.append("late")
        return 0.0

    patience = _Patience(0.0, overdue)
    async with asyncio.timeout(None) as patience.limit:
        for moment in moments.split():
            getattr(patience, moment)()
        await asyncio.sleep(0.01)  # a clock of no time at all has rung by then
    assert calls == []
