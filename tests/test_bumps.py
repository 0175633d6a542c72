"""Requests that end together, whose apps went on after their answers: one word to the store for all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio
from shared.asgi import ask
from shared.redis_server import any_redis
from shared.redis_stores import prefix

from verbguard import collection, item
from verbguard.asgi import GuardMiddleware
from verbguard.bumps import bump_together, joined
from verbguard.errors import StoreError
from verbguard.records import Touch, whole
from verbguard.stores.memory import MemoryStore
from verbguard.stores.redis import AsyncRedisStore
from verbguard.stores.threads import Threaded

LATER = 0.02  # seconds that the app goes on for after its answer


async def orders(scope: Any, receive: Any, send: Any) -> None:
    """Says that the order was placed, and goes on for a while."""
    await receive()
    await send({"type": "http.response.start", "status": 201, "headers": [(b"location", b"/orders/7")]})
    await send({"type": "http.response.body", "body": b"placed"})
    await asyncio.sleep(LATER)


async def place(app: Any, key: str) -> None:
    assert (await ask(app, "POST", "/orders", b'"%b"' % key.encode())).status == 201


def guarded(store: Any) -> GuardMiddleware:
    return GuardMiddleware(orders, store=store, policies={"/orders": collection(), "/orders/{id}": item()})


async def test_many_that_end_together_are_one_round_trip() -> None:
    async with redis.asyncio.Redis.from_url(any_redis()) as client:
        app = guarded(AsyncRedisStore(client, prefix=prefix()))
        await place(app, "warm")

        async def commands() -> int:
            stats = await client.info("commandstats")
            return int(stats["cmdstat_evalsha"]["calls"])

        before = await commands()
        await asyncio.gather(*(place(app, f"k{number}") for number in range(30)))
        # a claim and a save for each; their ends come in a few turns of the loop
        assert 61 <= await commands() - before <= 75


class Counting(Threaded):
    """A store in memory, for asyncio, that counts its bumps, and fails them while it is told to."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.shared = True
        self.bumps: list[Touch] = []
        self.fails = False

    async def bump(self, touch: Touch) -> None:
        self.bumps.append(touch)
        if self.fails:
            raise StoreError("the store is down")
        await super().bump(touch)


async def test_a_word_for_all_that_fails_is_distrusted_once() -> None:
    store = Counting()
    app = guarded(store)
    store.fails = True
    await asyncio.gather(*(place(app, f"k{number}") for number in range(10)))
    assert 1 <= len(store.bumps) < 10
    assert app.guard.trusted_from > 0


async def test_each_guard_distrusts_a_store_that_failed_it() -> None:
    """Two guards over one store, whose requests end in the same turn."""
    store = Counting()
    apps = [guarded(store), guarded(store)]
    store.fails = True
    await asyncio.gather(*(place(app, f"k{number}") for number, app in enumerate(apps * 5)))
    assert all(app.guard.trusted_from > 0 for app in apps)


async def test_who_is_cancelled_takes_nothing_from_the_others() -> None:
    store = Counting()
    loop = asyncio.get_running_loop()

    def tell(touch: Touch) -> asyncio.Future[Any]:
        return loop.create_task(store.bump(touch))

    waiting = [bump_together(store, store, whole(f"/a/{number}"), tell) for number in range(3)]
    waiting[0].cancel()
    await asyncio.gather(*waiting[1:])
    assert [each.marks for each in store.bumps] == [("", "/a", "/a/0", "/a/1", "/a/2")]
    await bump_together(store, store, whole("/b"), tell)
    assert len(store.bumps) == 2


def touch(marks: str, sweeps: str = "", named: list[tuple[str, ...]] | None = None) -> Touch:
    found = Touch("/t", ("",), tuple(marks.split()), tuple(sweeps.split()))
    found.named = named
    return found


@pytest.mark.parametrize(
    ("touches", "expected"),
    [
        ([touch("/a /b")], (("/a", "/b"), (), None)),
        ([touch("/a"), touch("/a /b")], (("/a", "/b"), (), None)),
        ([touch("/a", "/a"), touch("/b", "/a /c")], (("/a", "/b"), ("/a", "/c"), None)),
        (
            [touch("/a", named=[("/x",)]), touch("/b"), touch("/c", named=[("/x",), ("/y",)])],
            (("/a", "/b", "/c"), (), [("/x",), ("/y",)]),
        ),
    ],
)
def test_one_touch_of_several(touches: list[Touch], expected: tuple[Any, ...]) -> None:
    found = joined(touches)
    assert (found.marks, found.sweeps, found.named) == expected
