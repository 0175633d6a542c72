"""PostgreSQL stores for tests: over one server, each as good as new, and with time that a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from itertools import count
from os import getpid

import psycopg

from shared.driven import Driven
from shared.postgres_server import any_postgres
from verbguard.stores.postgres import AsyncPostgresStore, PostgresStore

__all__ = ["driven_postgres", "emptied", "fresh_schema", "moved_postgres", "opened_for_asyncio", "opened_postgres"]

_numbers = count()
_TABLES = ("entries", "generations", "audit", "answers")


def fresh_schema(url: str | None = None) -> str:
    """The URL of a schema that nobody else uses, also on a server that several test processes share."""
    return f"{url or any_postgres()}?schema=test_{getpid()}_{next(_numbers)}&timeout=20"


@cache
def _pair(kind: str) -> PostgresStore:
    store = PostgresStore.from_url(fresh_schema())
    store.initialise()
    return store


def emptied(kind: str) -> PostgresStore:
    """The store of this kind, emptied: to make its tables anew takes a hundred times as long."""
    store = _pair(kind)
    prefix = store._commands.prefix
    with psycopg.connect(any_postgres(), autocommit=True) as connection:
        # rows that are deleted leave less work behind than tables that are truncated
        deleted = "; ".join(f"DELETE FROM {prefix}verbguard_{table}" for table in _TABLES)
        connection.execute(f"{deleted}; UPDATE {prefix}verbguard_epoch SET serial = 0, quiet = 0, span = 30")
    return store


def moved_postgres(clock: Callable[[], float]) -> PostgresStore:
    """A store whose time is the clock's. The one before it is not used any more."""
    store = emptied("sync")
    store._commands.clock = clock
    return store


def driven_postgres(clock: Callable[[], float]) -> Driven:
    """A store for asyncio whose time is the clock's."""
    aio = emptied("async").aio
    assert isinstance(aio, AsyncPostgresStore)
    aio._commands.clock = clock
    return Driven(aio)


def opened_postgres(clock: Callable[[], float]) -> PostgresStore:
    """A store as users open it, by its URL, whose time is the clock's. The one before it is not used any more."""
    store = emptied("opened")
    store._commands.clock = store.aio._commands.clock = clock  # type: ignore[union-attr]
    return store


@asynccontextmanager
async def opened_for_asyncio() -> AsyncIterator[AsyncPostgresStore]:
    """A store of one event loop, whose tables are there."""
    opened = PostgresStore.from_url(fresh_schema())
    opened.initialise()
    aio = opened.aio
    assert isinstance(aio, AsyncPostgresStore)
    try:
        yield aio
    finally:
        await aio.aclose()
        opened.close()
