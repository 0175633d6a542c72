"""Requests whose task is cancelled, again and again as a cancel scope does, with a store that must be awaited."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any

import pytest
import redis.asyncio
from shared.asgi import ask
from shared.files import fresh_file
from shared.redis_server import any_redis
from shared.redis_stores import prefix

from verbguard import item
from verbguard.asgi import GuardMiddleware
from verbguard.awaiting import _UNHEARD
from verbguard.stores.redis import AsyncRedisStore
from verbguard.stores.sqlite import SqliteStore

PATH = "/items/1"


class App:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.runs = 0
        self.entered, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.runs += 1
        self.entered.set()
        await self.may_end.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"run %d" % self.runs})


class Guarded:
    """An app behind its guard. `ask` gives status, replayed or not, and content."""

    def __init__(self, store: Any) -> None:
        self.app = App()
        self.guard = GuardMiddleware(self.app, policies={"/items/{id}": item()}, store=store)

    async def ask(self, method: str, key: bytes = b"") -> tuple[int, bool, bytes]:
        found = await ask(self.guard, method, PATH, key)
        return found.status, found.replayed, found.content


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with closing(SqliteStore(fresh_file())) as opened:
        opened.health()
        yield opened


@pytest.fixture(params=["sqlite", "redis"])
async def any_store(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Words to SQLite are tasks; to Redis they are sent at once, and nobody need wait for them."""
    if request.param == "sqlite":
        with closing(SqliteStore(fresh_file())) as opened:
            opened.health()
            yield opened
        return
    async with redis.asyncio.Redis.from_url(any_redis()) as client:
        store = AsyncRedisStore(client, prefix=prefix())
        await store.health()
        yield store


async def cancelled(task: asyncio.Task[Any]) -> None:
    """As a cancel scope of anyio does it: each await is cancelled, until the task is over."""
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()
    while _UNHEARD:
        await asyncio.sleep(0.001)


async def test_a_run_that_is_cancelled_has_no_outcome(any_store: Any) -> None:
    """However often it is cancelled while it ends: its claim is let go, and no failure is kept as its answer."""
    guarded = Guarded(any_store)
    run = asyncio.create_task(guarded.ask("POST", b"key"))
    await guarded.app.entered.wait()
    await cancelled(run)
    guarded.app.may_end.set()
    assert await guarded.ask("POST", b"key") == (200, False, b"run 2")
    assert await guarded.ask("POST", b"key") == (200, True, b"run 2")


async def test_a_run_that_is_cancelled_lingers(any_store: Any) -> None:
    """However often it is cancelled: a thread of it may still write, so that nothing is replayed on its target for a window."""
    guarded = Guarded(any_store)
    run = asyncio.create_task(guarded.ask("POST", b"key"))
    await guarded.app.entered.wait()
    await cancelled(run)
    guarded.app.may_end.set()
    assert [await guarded.ask("PUT") for _ in range(2)] == [(200, False, b"run 2"), (200, False, b"run 3")]


async def test_what_is_cancelled_before_it_runs_is_over(store: SqliteStore) -> None:
    """A request without a claim that is cancelled while the store hears of it is not believed to run on."""
    guarded = Guarded(store)
    guarded.app.may_end.set()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        run = asyncio.create_task(guarded.ask("POST"))
        while not store._batches._lock.locked():
            await asyncio.sleep(0.001)
        run.cancel()
        await asyncio.sleep(0)
        other.execute("COMMIT")
    await cancelled(run)
    assert guarded.app.runs == 0
    assert [await guarded.ask("PUT") for _ in range(2)] == [(200, False, b"run 1"), (200, True, b"run 1")]
