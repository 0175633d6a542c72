"""A SQLite file in trouble: another process keeps it locked, its disk is full, somebody has changed what is in it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from threading import Event, Timer
from time import monotonic, sleep

import pytest
from shared.files import fresh_file

from verbguard.errors import StoreError
from verbguard.records import Busy, Claim, Clash, Done, Record, State, Won, whole
from verbguard.stores.sqlite import SqliteStore
from verbguard.stores.sqlite_writing import Writing

WAIT = 0.3  # seconds that the store waits for a lock
_NUMBERS = count(1_000)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    opened = SqliteStore(fresh_file(), timeout=WAIT)
    opened.health()
    with closing(opened):
        yield opened


@pytest.fixture
def other(store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """Another process, as far as the file is concerned."""
    with closing(sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)) as opened:
        yield opened


def asked(number: int) -> Claim:
    return Claim(b"key %d" % number, b"print")


def test_callers_wait_together(store: SqliteStore, other: sqlite3.Connection) -> None:
    """However many wait for a locked file, each waits for one other batch and for its own, not for each of the others."""
    other.execute("BEGIN IMMEDIATE")

    def ask(number: int) -> float:
        before = monotonic()
        with pytest.raises(StoreError, match="locked"):
            store.claim(asked(number))
        return monotonic() - before

    with ThreadPoolExecutor(12) as threads:
        waited = max(threads.map(ask, range(12)))
    assert waited < 5 * WAIT  # one by one it is twelve times that


async def crowd(store: SqliteStore, meanwhile: Callable[[], object] = int) -> None:
    """Many ask at once, and something happens before they are heard."""
    await store.aio.health()  # the writer's thread is there
    with store._batches._lock:
        claims = [asyncio.ensure_future(store.aio.claim(asked(next(_NUMBERS)))) for number in range(20)]
        await asyncio.sleep(0)
        meanwhile()
    await asyncio.gather(*claims)


async def test_a_crowd_is_told_by_one_transaction(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks alone where many ask; each is told what it would be told otherwise."""
    kept, running, other = asked(1), asked(2), Claim(b"key 1", b"another print")
    won = store.claim(kept)
    assert isinstance(won, Won) and store.save(kept, won.token, Record(201, [], b"made"))
    assert isinstance(store.claim(running), Won)
    await crowd(store)
    assert store.crowded()
    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "told", lambda *_: pytest.fail("it looked"))
        outcomes = await asyncio.gather(*(store.aio.claim(claim) for claim in (kept, running, other, asked(3))))
    done, busy, clash, new = outcomes
    assert isinstance(done, Done) and done.record.body == b"made"
    assert isinstance(busy, Busy) and isinstance(clash, Clash) and isinstance(new, Won)


async def test_a_crowd_that_finds_the_file_locked(store: SqliteStore, other: sqlite3.Connection) -> None:
    """Who only has to be told something is told, and who would write hears that it cannot."""
    won = store.claim(asked(1))
    assert isinstance(won, Won) and store.save(asked(1), won.token, Record(201, [], b"made"))
    await crowd(store)
    other.execute("BEGIN IMMEDIATE")
    done, failed = await asyncio.gather(*(store.aio.claim(asked(number)) for number in (1, 2)), return_exceptions=True)
    assert isinstance(done, Done) and done.record.body == b"made"
    assert isinstance(failed, StoreError)


async def test_only_the_first_of_a_crowd_waits_for_a_lock(store: SqliteStore, other: sqlite3.Connection) -> None:
    """Once one has found the file locked, who only has to be told something looks for itself."""
    won = store.claim(asked(1))
    assert isinstance(won, Won) and store.save(asked(1), won.token, Record(201, [], b"made"))
    await crowd(store)
    other.execute("BEGIN IMMEDIATE")
    await store.aio.claim(asked(1))
    assert store._batches.load >= 8  # as far as that goes, it is still a crowd
    before = monotonic()
    assert isinstance(await store.aio.claim(asked(1)), Done)
    assert monotonic() - before < WAIT


async def test_where_others_write_a_claim_looks_first(store: SqliteStore, other: sqlite3.Connection) -> None:
    """What changes nothing waits for no lock of another process, however many ask."""
    await crowd(store, lambda: other.execute("UPDATE verbguard_state SET window = 31.0"))
    assert store._batches.load == 20 and not store.crowded()
    await crowd(store)
    assert store.crowded()


def test_who_is_interrupted_while_it_waits_holds_no_lock(store: SqliteStore, other: sqlite3.Connection) -> None:
    """A signal's handler may raise at the very moment when the file is locked at last."""

    class Late(Exception):
        pass

    def late(*_: object) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    other.execute("BEGIN IMMEDIATE")
    free = Timer(WAIT / 2, other.execute, ["ROLLBACK"])
    try:
        free.start()
        signal.setitimer(signal.ITIMER_REAL, WAIT / 6)  # SQLite goes on waiting, and Python hears of it afterwards
        with pytest.raises(Late):
            store.claim(asked(1))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        free.join()
    other.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    assert isinstance(store.claim(asked(1)), Won)


@pytest.mark.filterwarnings("ignore:This process")  # it has threads, as a server has, and means to fork
def test_a_fork_takes_no_lock_with_it(store: SqliteStore) -> None:
    """A child that is forked while a transaction goes on may write, and so may its parent."""
    begun = Event()

    def long(rows: Writing, now: float) -> None:
        rows.connection.execute("UPDATE verbguard_state SET window = 31.0")
        begun.set()
        sleep(WAIT / 3)

    with ThreadPoolExecutor(1) as threads:
        written = threads.submit(store.write, long)
        assert begun.wait(10)
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if isinstance(store.claim(asked(1)), Won) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        written.result()
    assert isinstance(store.claim(asked(1)), Busy) and isinstance(store.claim(asked(2)), Won)


def test_a_close_waits_for_the_transaction(store: SqliteStore) -> None:
    """Who is writing when the store is closed has written, and who comes after opens it again."""
    begun = Event()

    def long(rows: Writing, now: float) -> bool:
        begun.set()
        sleep(WAIT / 3)
        return bool(rows.connection.execute("UPDATE verbguard_state SET window = 31.0").rowcount)

    with ThreadPoolExecutor(1) as threads:
        written = threads.submit(store.write, long)
        assert begun.wait(10)
        store.close()
        assert written.result() is True
    assert isinstance(store.claim(asked(1)), Won)


async def test_a_claim_that_was_not_begun_is_not_made(store: SqliteStore, other: sqlite3.Connection) -> None:
    """Who is cancelled while the file is locked has claimed nothing when it is free again."""
    other.execute("BEGIN IMMEDIATE")
    first = asyncio.create_task(store.aio.claim(asked(1)))
    while store._batches._jobs or not store._batches._lock.locked():
        await asyncio.sleep(0.001)  # the writer has taken this one
    second = asyncio.create_task(store.aio.claim(asked(2)))  # and this one waits
    await asyncio.sleep(0)
    for task in (first, second):
        task.cancel()
    assert all(isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(first, second, return_exceptions=True))
    other.execute("COMMIT")
    await store.aio.health()
    assert list(store.entries()) == []


async def test_a_claim_that_was_made_is_undone(store: SqliteStore) -> None:
    """Who is cancelled before it hears what it has won leaves the key free."""
    task = asyncio.create_task(store.aio.claim(asked(1)))
    await asyncio.sleep(0)
    deadline = monotonic() + 10
    while not list(store.entries()):  # nothing is awaited, so that the task cannot hear of it
        assert monotonic() < deadline
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.aio.health()
    assert isinstance(await store.aio.claim(asked(1)), Won)


def test_a_full_disk_is_told(store: SqliteStore) -> None:
    """SQLite ends a transaction itself that finds no room: what is raised is why, and the store goes on when there is room."""
    claim = asked(1)
    won = store.claim(claim)
    assert isinstance(won, Won)
    assert store._writer is not None
    connection = store._writer.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(StoreError, match="full"):
        store.save(claim, won.token, Record(200, [], bytes(1 << 20)))
    connection.execute("PRAGMA max_page_count = 1000000")
    assert store.save(claim, won.token, Record(200, [], b"small"))


def test_any_path(store: SqliteStore) -> None:
    """A path that holds what no text does is a path like another."""
    path = "/items/\udc80"
    claim = Claim(b"key", b"print", whole(path), True, True, 10.0, 30.0, b"", b"", "PUT", path)
    won = store.claim(claim)
    assert isinstance(won, Won)
    assert store.save(claim, won.token, Record(200, [], b""))
    assert isinstance(store.claim(claim), Done)
    store.bump(whole(path))
    assert isinstance(store.claim(claim), Won)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02", b"\x02" * 19, b"\xff" * 50], ids=repr)
def test_what_somebody_made_of_an_answer(store: SqliteStore, other: sqlite3.Connection, data: bytes) -> None:
    """An answer that cannot be read was given all the same: it is no failure of the store, after which the app would run."""
    won = store.claim(asked(1))
    assert isinstance(won, Won)
    store.save(asked(1), won.token, Record(200, [], b""))
    other.execute("UPDATE verbguard_entries SET data = ?", (data,))
    outcome = store.claim(asked(1))
    assert isinstance(outcome, Done)
    assert outcome.record.state is State.SEALED


def test_a_look_holds_nothing(store: SqliteStore, other: sqlite3.Connection) -> None:
    """What a claim was told by keeps the log of the file from being taken over no longer."""
    won = store.claim(asked(1))
    assert isinstance(won, Won)
    assert store.save(asked(1), won.token, Record(200, [], b""))
    assert store.told(asked(2)) is None and isinstance(store.claim(asked(1)), Done)
    assert len(store._readers) == 1
    other.execute("UPDATE verbguard_state SET window = 31.0")
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
