"""Redis stores for tests: over one server, each with a prefix of its own, and with time that a test moves."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from functools import cache
from itertools import count
from os import getpid
from typing import Any

import redis
import redis.asyncio

from shared.driven import Driven, on_the_loop
from shared.redis_server import any_redis
from verbguard.stores.redis import AsyncRedisStore, RedisStore

__all__ = ["driven_redis", "moved_redis", "opened_redis", "prefix"]

_numbers = count()


def prefix() -> str:
    """One that nobody else uses, also on a server that several test processes share."""
    return f"test-{getpid()}-{next(_numbers)}"


@cache
def _client() -> Any:
    return redis.Redis.from_url(any_redis(), socket_timeout=20.0)


@cache
def _async_client() -> Any:
    client = redis.asyncio.Redis.from_url(any_redis(), socket_timeout=20.0)
    atexit.register(lambda: on_the_loop(client.aclose()))
    return client


def moved_redis(clock: Callable[[], float]) -> RedisStore:
    """A new store whose time is the clock's."""
    store = RedisStore(_client(), prefix=prefix())
    store._commands.clock = clock
    return store


def driven_redis(clock: Callable[[], float]) -> Driven:
    """A new store for asyncio whose time is the clock's."""
    store = AsyncRedisStore(_async_client(), prefix=prefix(), timeout=20.0)
    store._commands.clock = clock
    return Driven(store)


def opened_redis(clock: Callable[[], float]) -> RedisStore:
    """A new store as users open it, by its URL, with its own connections for threads and for each event loop."""
    url = any_redis()
    store = RedisStore.from_url(f"{url}{'&' if '?' in url else '?'}prefix={prefix()}&timeout=20")
    store._commands.clock = store.aio._commands.clock = clock  # type: ignore[union-attr]
    weakref.finalize(store, store.client.close)
    return store
