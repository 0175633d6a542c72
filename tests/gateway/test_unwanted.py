"""Content that its upstream did not want to the end: the answer reaches the client all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway import scripts
from gateway.client import ask, chunked, said
from gateway.stage import Gate, naming
from verbguard.gateway.upstream import Content

PIECE = b"x" * 60_000
TOO_MUCH = said("413 Content Too Large", content=b"too much")


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_client_may_finish_what_nobody_wants(gate: Gate, method: str) -> None:
    """Its connection ends with an end and not with a reset, which would take the answer from a client that is slow to read."""
    part = gate.plays(scripts.early(TOO_MUCH))
    with gate.connect() as connection:
        connection.send(naming(ask(f"{method} /x", "Transfer-Encoding: chunked", content=chunked(PIECE)[:-5]), part))
        assert connection.answer().content == b"too much"
        for _ in range(20):
            connection.socket.sendall(chunked(PIECE)[:-5])
        connection.socket.sendall(chunked())
        assert connection.socket.recv(1) == b""


@pytest.mark.parametrize("status", ["204 No Content", "401 Unauthorized"])
def test_whatever_the_answer_is(gate: Gate, status: str) -> None:
    part = gate.plays(scripts.early(said(status, content=b"" if status[0] == "4" else None)))
    with gate.connect() as connection:
        connection.send(naming(ask("PUT /x", "Content-Length: 600000", content=PIECE), part))
        assert connection.answer().status == int(status[:3])
        for _ in range(9):
            connection.socket.sendall(PIECE)
        assert connection.socket.recv(1) == b""


def test_a_client_that_waits_to_be_asked_is_not_asked(gate: Gate) -> None:
    """Nothing is coming from it, and nothing is waited for."""
    part = gate.plays(scripts.early(TOO_MUCH))
    with gate.connect() as connection:
        connection.send(naming(ask("POST /x", "Content-Length: 600000", "Expect: 100-continue"), part))
        assert connection.invited() == (gate.server == "hypercorn")  # it invites by itself, before the app is called
        assert connection.answer().content == b"too much"


def test_nobody_waits_for_ever() -> None:
    async def silent() -> Any:
        await asyncio.Event().wait()

    content = Content(None, b"first", whole=False, receive=silent)
    asyncio.run(asyncio.wait_for(content.spend(0.01), timeout=60))
    assert content.coming


def test_a_client_that_leaves_ends_it() -> None:
    async def leaving() -> Any:
        return {"type": "http.disconnect"}

    content = Content(None, b"first", whole=False, receive=leaving)
    asyncio.run(content.spend(60))
    assert content.gone and not content.coming
