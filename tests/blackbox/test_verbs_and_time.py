"""What is never replayed, what passes untouched, and when an answer is too old."""

from __future__ import annotations

import asyncio

import pytest

from blackbox.drivers import run_lifespan, run_websocket
from blackbox.replays import once_more
from blackbox.shops import Shop

DAY = 86_400.0


# -- verbs, other scopes, time ----------------------------------------------------------------------------------------


def test_post_without_a_key_always_runs(shop: Shop) -> None:
    """Nothing is guessed about POST: two equal ones are two orders."""
    answers = [shop.send("POST", "/items", body="{}") for _ in range(2)]
    assert [answer.json()["id"] for answer in answers] == [1, 2]


@pytest.mark.parametrize(("method", "name"), [("PATCH", "amend"), ("DELETE", "remove")])
def test_patch_and_delete_without_a_key_always_run(shop: Shop, method: str, name: str) -> None:
    """The same for the others that are not PUT."""
    for _ in range(2):
        assert not shop.send(method, "/items/1").replayed
    assert shop.runs[name] == 2


def test_websockets_pass(fastapi_shop: Shop) -> None:
    """A WebSocket is not HTTP's verb: it runs as if there were no guard, key or not."""
    said = asyncio.run(run_websocket(fastapi_shop.app, "/socket", "hello", headers=[("Idempotency-Key", "k")]))
    assert [message["type"] for message in said] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert said[1]["text"] == "echo hello"


def test_lifespan_passes(fastapi_shop: Shop) -> None:
    """Start-up and shutdown reach the app and are answered by it."""
    said = asyncio.run(run_lifespan(fastapi_shop.app))
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_key_runs_again_after_its_day(shop: Shop) -> None:
    """Retention counts from completion: a second before its end a replay, after it a new operation, unmarked."""
    first = shop.send("POST", "/items", key="k", body="{}")
    shop.clock.now += DAY - 1
    once_more(first, shop.send("POST", "/items", key="k", body="{}"))
    shop.clock.now += 2
    again = shop.send("POST", "/items", key="k", body="{}")
    assert (again.status, again.replayed, again.json()["id"]) == (201, False, 2)


def test_a_put_runs_again_after_its_window(shop: Shop) -> None:
    """Without a key, an answer is good for seconds: five where the kind was inferred."""
    shop.send("PUT", "/items/1", body="A")
    shop.clock.now += 4
    assert shop.send("PUT", "/items/1", body="A").replayed
    shop.clock.now += 2
    assert not shop.send("PUT", "/items/1", body="A").replayed
    assert shop.world.writes == ["A", "A"]
