"""Streams are neither cut nor held back, and what broke is no answer."""

from __future__ import annotations

from typing import Any

import pytest

from blackbox.answers import ask
from blackbox.drivers import WsgiExchange
from blackbox.replays import conflict, once_more
from blackbox.servers import Line, talk, uvicorn_server, werkzeug_server
from blackbox.shops import Shop

# -- streams ----------------------------------------------------------------------------------------------------------

STREAMS = [("GET", None), ("POST", None), ("POST", "k"), ("PUT", "k")]
FIVE = b"".join(b"chunk %d of 5\n" % number for number in range(5))


@pytest.mark.parametrize(("method", "key"), STREAMS)
def test_streams_arrive_whole_and_chunk_by_chunk(shop: Shop, method: str, key: str | None) -> None:
    """A chunk reaches the client before the next one is made, with a key and without, and none is missing.

    The ASGI driver says spec_version 2.3, as uvicorn does: Starlette then listens for a disconnect while it streams.
    """
    pending = shop.start(method, "/chunks", key=key)
    for number in range(5):
        assert pending.chunk() == b"chunk %d of 5\n" % number
        shop.world.acknowledged.release()
    answer = pending.answer()
    assert (answer.status, answer.body, answer.error) == (200, FIVE, None)


def test_a_stream_that_ended_properly_is_replayed(shop: Shop) -> None:
    """A small stream is as storable as any other answer: the retry gets all of it and the handler does not run."""
    for _ in range(5):
        shop.world.acknowledged.release()
    first, second = (shop.send("POST", "/chunks", key="k") for _ in range(2))
    once_more(first, second)
    assert second.body == FIVE
    assert shop.runs == {"chunks": 1}


@pytest.mark.parametrize(("framework", "server"), [("fastapi", uvicorn_server), ("flask", werkzeug_server)])
@pytest.mark.parametrize(("method", "key"), STREAMS)
def test_streams_arrive_chunk_by_chunk_over_a_socket(framework: str, server: Any, method: str, key: str | None) -> None:
    """The same on a real server, and its retry replays the whole."""
    with Shop(framework) as shop, server(shop.app) as port:
        headers = [("Idempotency-Key", key)] if key else []
        with Line(port) as line:
            line.ask(method, "/chunks", headers)
            assert line.head().status == 200
            for number in range(5):
                assert line.chunk() == b"chunk %d of 5\n" % number
                shop.world.acknowledged.release()
            assert line.chunk() == b""
        if key:
            retry = talk(port, method, "/chunks", headers)
            assert (retry.body, retry.replayed, shop.runs) == (FIVE, True, {"chunks": 1})


@pytest.mark.parametrize("target", ["/broken", "/short"])
def test_a_broken_stream_is_never_replayed_as_complete(shop: Shop, target: str) -> None:
    """What broke half way is a tombstone: a retry hears so, and neither runs nor gets half an answer as a whole."""
    shop.send("POST", target, key="k")
    for _ in range(2):
        conflict(shop.send("POST", target, key="k"), "idem-not-retained")
    assert set(shop.runs.values()) == {1}


def test_a_broken_stream_of_a_put_is_never_replayed_as_complete(shop: Shop) -> None:
    """A PUT may run again after a broken answer, but what broke is no answer to its retry."""
    shop.send("PUT", "/broken", key="k")
    retry = shop.send("PUT", "/broken", key="k")
    assert not retry.replayed
    assert retry.rule == "idem-not-retained" or shop.runs == {"broken": 2}


def test_a_stream_that_lost_its_client_is_no_complete_answer(flask_shop: Shop) -> None:
    """Closed by the server after two chunks: the retry gets all five or an honest 409, and never a second run."""
    for _ in range(5):
        flask_shop.world.acknowledged.release()
    WsgiExchange(flask_shop.app.wsgi_app, ask("POST", "/chunks", key="k")).run(leave_after=2)
    retry = flask_shop.send("POST", "/chunks", key="k")
    assert retry.body == FIVE if retry.replayed else retry.rule == "idem-not-retained"
    assert flask_shop.runs == {"chunks": 1}
