"""A SQLite store whose file somebody else has locked."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from shared.files import fresh_file

from verbguard.errors import StoreError
from verbguard.stores.sqlite import SqliteStore

TIMEOUT = 0.2
MANY = 12


def _health(store: SqliteStore) -> str:
    try:
        store.health()
    except StoreError as error:
        return str(error)
    return ""


def test_those_who_wait_together_give_up_together() -> None:
    """Writers that meet a locked file wait for it once, not one after the other; when it is free again they write."""
    path = fresh_file()
    store = SqliteStore(path, timeout=TIMEOUT)
    with closing(store), ThreadPoolExecutor(MANY) as threads, closing(sqlite3.connect(path, isolation_level=None)) as other:
        store.health()
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        said = list(threads.map(_health, [store] * MANY))
        took = time.monotonic() - began
        other.execute("ROLLBACK")
        assert all("locked" in each for each in said)
        assert took < MANY * TIMEOUT / 2  # the one who was there first, then all the others
        assert set(threads.map(_health, [store] * MANY)) == {""}
