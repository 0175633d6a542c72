"""Words to a store that must be awaited: sent at once and heard late, failing at once, and answers that cannot be kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio
from shared.asgi import ask
from shared.redis_server import any_redis
from shared.redis_stores import prefix

from verbguard import item
from verbguard.asgi import GuardMiddleware
from verbguard.awaiting import Awaiting
from verbguard.errors import StoreError
from verbguard.records import Claim, Won
from verbguard.stores.asked import Asked
from verbguard.stores.memory import MemoryStore
from verbguard.stores.redis import AsyncRedisStore
from verbguard.stores.threads import Threaded

PLAIN = [(b"content-type", b"text/plain")]


class Guarded:
    """An app behind its guard, which answers with these fields. `post` gives status, whether it is a replay, and content."""

    def __init__(self, store: Any, headers: list[tuple[bytes, bytes]] = PLAIN) -> None:
        self.runs = 0
        self.headers = headers
        self.guard = GuardMiddleware(self.run, policies={"/items/{id}": item()}, store=store)

    async def run(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.runs += 1
        await send({"type": "http.response.start", "status": 200, "headers": [*self.headers]})
        await send({"type": "http.response.body", "body": b"run %d" % self.runs})

    async def post(self, key: bytes = b"") -> tuple[int, bool, bytes]:
        found = await ask(self.guard, "POST", "/items/1", key)
        return found.status, found.replayed, found.content


class Slow:
    """A store for asyncio, whose words are sent at once and heard when it is let."""

    shared = asynchronous = bounded = True
    sync = None

    def __init__(self) -> None:
        self.words: list[Asked] = []

    async def claim(self, claim: Claim) -> Won:
        return Won(1)

    def save(self, *_: Any) -> Asked:
        self.words.append(Asked(None, bool, asyncio.get_running_loop()))
        return self.words[-1]

    release = renew = start = end = bump = linger = save


async def test_a_server_that_ends_waits_for_what_was_sent() -> None:
    """A process that ends takes what it has not yet sent again with it, when the connection breaks."""
    store = Slow()
    guarded = Guarded(store)
    run = asyncio.create_task(guarded.post(b"key"))
    while not store.words:
        await asyncio.sleep(0)
    while not run.done():
        run.cancel()
        await asyncio.sleep(0)
    quiet = asyncio.create_task(Awaiting.quiet(store))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not quiet.done()
    for word in store.words:
        word.tell(True)
    await quiet


class Broken(Slow):
    """One that fails before there is anything to wait for."""

    def save(self, *_: Any) -> Asked:
        raise StoreError("broken")

    release = renew = start = end = bump = linger = save


@pytest.mark.parametrize("key", [b"key", b""])
async def test_a_store_that_fails_at_once_harms_no_answer(key: bytes) -> None:
    guarded = Guarded(Broken())
    assert await guarded.post(key) == (200, False, b"run 1")
    assert guarded.guard.guard.trusted_from > 0


@pytest.mark.parametrize("kind", ["redis", "threads"])
async def test_an_answer_that_cannot_be_framed_is_not_repeated(kind: str) -> None:
    """A field name with a colon passes to the client, as the app made it; what is kept says only that there was an answer."""
    async with redis.asyncio.Redis.from_url(any_redis()) as client:
        store = AsyncRedisStore(client, prefix=prefix()) if kind == "redis" else Threaded(MemoryStore())
        guarded = Guarded(store, [*PLAIN, (b"x:y", b"z")])
        for _ in range(2):  # the first word over Redis is a task, as there is no connection yet
            assert await guarded.post(b"key") == (200, False, b"run 1")
            status, _, content = await guarded.post(b"key")
            assert status == 409 and b"idem-not-retained" in content
            guarded.runs, guarded.guard.guard.scope = 0, b"another"
