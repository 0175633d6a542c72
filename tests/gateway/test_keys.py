"""What a key promises when the upstream is down, slow, or says half of something: nothing runs twice, nothing is made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gateway import scripts
from gateway.client import ask, said
from gateway.stage import SETUPS, Gate, gateway, naming
from gateway.upstream import Part, Talk, Upstream

CREATED = said("201 Created", "Location: /things/1", "X-Run: 1", content=b"{}")
DONE = said("200 OK", content=b"done")


def keyed(part: Part, method: str = "POST", target: str = "/things", key: str = "k") -> bytes:
    """The same request each time, under a key that no other test has."""
    return naming(ask(f"{method} {target}", f'Idempotency-Key: "{key}-{part.name}"', content=b"{}"), part)


def says(gate: Gate, request: bytes) -> tuple[int, bool, str | None]:
    with gate.connect() as connection:
        answer = connection.send(request).answer()
    return answer.status, answer.replayed, answer.rule


def test_a_repeated_post_reaches_the_upstream_once(gate: Gate) -> None:
    """The first answer again, whole, and no request."""
    part = gate.plays(CREATED)
    with gate.connect() as connection:
        first, again = (connection.send(keyed(part)).answer() for _ in range(2))
    assert (first.status, first.replayed, again.status, again.replayed) == (201, False, 201, True)
    assert (again.content, again.get("location"), again.get("x-run")) == (b"{}", "/things/1", "1")
    assert part.only.get("idempotency-key") == f'"k-{part.name}"'


# -- an upstream that is not there ---------------------------------------------------------------------------------------


@pytest.fixture(params=["uvicorn-httptools", "hypercorn"])
def lonely(request: pytest.FixtureRequest) -> Iterator[Gate]:
    """A gateway whose upstream has a port, and does not listen yet."""
    upstream = Upstream(listening=False)
    try:
        with gateway(upstream, request.param, "guard", SETUPS["plain"]) as gate:
            yield gate
    finally:
        upstream.stop()


def test_a_key_is_free_when_the_upstream_was_not_reached(lonely: Gate) -> None:
    """502 says that nothing ran; the same key runs once the upstream is up, and an ordinary request as well."""
    part = lonely.plays(lambda talk: (talk.read(), talk.send(CREATED if talk.seen.method == "POST" else DONE)))
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert says(lonely, keyed(part, method, f"/things/{method}", f"k-{method}")) == (502, False, "gateway-502-504")
    lonely.upstream.listen()
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert says(lonely, keyed(part, method, f"/things/{method}", f"k-{method}")) == (
            201 if method == "POST" else 200,
            False,
            None,
        )
        assert says(lonely, keyed(part, method, f"/things/{method}", f"k-{method}"))[1]
    with lonely.connect() as connection:
        assert connection.send(ask("GET /ordinary")).answer().content == b"ordinary"
    assert len(part.seen) == 4


# -- an upstream that got the request ------------------------------------------------------------------------------------

SILENCES: dict[str, Callable[[Talk], None]] = {
    "it closes": scripts.silent,
    "it resets": scripts.reset,
    "it says half of a head": scripts.then_close(b"HTTP/1.1 201 Created\r\nContent-Le"),
    "it says something else": scripts.then_close(b"220 mail.example ESMTP\r\n"),
    "it says 600": scripts.then_close(said("600 Unheard", content=b"{}")),
}


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("silence", SILENCES)
def test_what_became_of_a_post_is_not_known(gate: Gate, silence: str, method: str) -> None:
    """502 once; retries hear 409, and when the lease has ended that the outcome is unknown. It is never sent again."""
    part = gate.plays(SILENCES[silence])
    assert says(gate, keyed(part, method)) == (502, False, "gateway-502-504")
    answer = gate.once_settled(keyed(part, method))
    assert (answer.status, answer.rule) == (409, "idem-outcome-unknown")
    assert len(part.seen) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_may_be_repeated_is_run_again(gate: Gate, method: str) -> None:
    """A client that retries its PUT after a 502 is not kept from it."""

    def script(talk: Talk) -> None:
        talk.read()
        if not talk.part.opened.is_set():
            talk.close()
        talk.send(said("200 OK", content=b"done"))

    part = gate.plays(script)
    assert says(gate, keyed(part, method, "/things/1"))[0] == 502
    before = len(part.seen)
    assert before <= 2, "sent once, and once more at most"
    part.opened.set()
    with gate.connect() as connection:
        assert connection.send(keyed(part, method, "/things/1")).answer(method).content == b"done"
    assert len(part.seen) == before + 1


def test_a_late_answer_completes_the_record(hurried: Gate) -> None:
    """504 for the client, 409 for its first retry; when the upstream has answered after all, the retry gets that answer."""

    def script(talk: Talk) -> None:
        talk.read()
        talk.pause()
        talk.send(CREATED)

    part = hurried.plays(script)
    assert says(hurried, keyed(part)) == (504, False, "gateway-502-504")
    assert says(hurried, keyed(part))[:2] == (409, False)
    part.opened.set()
    answer = hurried.once_settled(keyed(part))
    assert (answer.status, answer.replayed, answer.content) == (201, True, b"{}")
    assert part.only.content == b"{}"


def test_a_post_without_a_key_is_not_sent_twice_either(hurried: Gate) -> None:
    """504, and the upstream is left alone: nobody wants its answer any longer."""
    part = hurried.plays(scripts.hang)
    with hurried.connect() as connection:
        answer = connection.send(naming(ask("POST /things", content=b"{}"), part)).answer()
    assert (answer.status, answer.rule) == (504, "gateway-502-504")
    part.wait(part.left)
    assert len(part.seen) == 1


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_hangs_is_sent_once_more_at_most(hurried: Gate, method: str) -> None:
    """Vector 110: a slow upstream is not asked again and again."""
    part = hurried.plays(scripts.hang)
    with hurried.connect() as connection:
        content = b"{}" if method == "PUT" else None
        assert connection.send(naming(ask(f"{method} /things/1", content=content), part)).answer(method).status == 504
    assert len(part.seen) <= 2


# -- answers that lie about their length ---------------------------------------------------------------------------------

BROKEN = {
    "a length": said("201 Created", "Content-Length: 10", content=b"1234"),
    "a chunk": said("201 Created", "Transfer-Encoding: chunked", content=b"9\r\n1234"),
    "chunks": said("201 Created", "Transfer-Encoding: chunked", content=b"4\r\n1234\r\n"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_half_an_answer_is_never_a_result(gate: Gate, broken: str) -> None:
    """The client sees that it broke off; a retry of the POST runs nothing, and gets nothing that looks whole."""
    part = gate.plays(scripts.then_close(BROKEN[broken]))
    assert gate.breaks_off(keyed(part))
    for _ in range(2):
        status, replayed, rule = says(gate, keyed(part))
        assert (status, replayed) == (409, False), rule
    assert len(part.seen) == 1


@pytest.mark.parametrize("broken", BROKEN)
def test_half_an_answer_to_put_is_forgotten(gate: Gate, broken: str) -> None:
    """PUT promises that it may be repeated: the retry runs, with a key and without."""

    def script(talk: Talk) -> None:
        talk.read()
        if talk.round % 2:
            talk.send(BROKEN[broken])
            talk.close()
        talk.send(said("200 OK", content=b"done"))

    part = gate.plays(script)
    for request in (keyed(part, "PUT", "/items/9"), naming(ask("PUT /items/8", content=b"{}"), part)):
        assert gate.breaks_off(request, "PUT")
        with gate.connect() as connection:
            assert connection.send(request).answer("PUT").content == b"done"
    assert len(part.seen) == 4


def test_silence_in_the_answer_is_never_a_result(hurried: Gate) -> None:
    """The same where the upstream stops in the middle without an end."""
    part = hurried.plays(scripts.then_hang(BROKEN["a length"]))
    assert hurried.breaks_off(keyed(part))
    assert says(hurried, keyed(part))[:2] == (409, False)
    assert len(part.seen) == 1
