"""Turns: one at a time, in the order in which they were asked for, for threads and event loops; nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from verbguard.turns import Turns

PATIENCE = 20.0


@pytest.fixture
def turns() -> Iterator[Turns]:
    found = Turns(100)
    yield found
    assert (len(found), found.waiting) == (0, 0)


async def waiting(turns: Turns, count: int) -> None:
    while turns.waiting < count:
        await asyncio.sleep(0)


async def test_they_come_in_their_order(turns: Turns) -> None:
    """Who asks first writes first; another target is free."""
    assert await turns.take("/a", PATIENCE)
    order: list[int] = []

    async def one(at: int) -> None:
        assert await turns.take("/a", PATIENCE)
        order.append(at)
        turns.release("/a")

    tasks = []
    for at in range(5):
        tasks.append(asyncio.create_task(one(at)))
        await waiting(turns, at + 1)
    assert await turns.take("/b", 0.0)
    turns.release("/b")
    turns.release("/a")
    await asyncio.gather(*tasks)
    assert order == list(range(5))


async def test_who_gives_up_is_not_waited_for(turns: Turns) -> None:
    """Cancelled or out of patience: the next one's turn comes all the same."""
    assert await turns.take("/a", PATIENCE)
    assert not await turns.take("/a", 0.0)
    first, second = (asyncio.create_task(turns.take("/a", PATIENCE)) for _ in range(2))
    await waiting(turns, 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    turns.release("/a")
    assert await second
    turns.release("/a")


async def test_a_turn_that_comes_with_the_cancellation_goes_on(turns: Turns) -> None:
    """Given to somebody who is cancelled before noticing: it is the next one's, and lost to nobody."""
    assert await turns.take("/a", PATIENCE)
    first, second = (asyncio.create_task(turns.take("/a", PATIENCE)) for _ in range(2))
    await waiting(turns, 2)
    turns.release("/a")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second
    turns.release("/a")


def test_too_many_do_not_wait() -> None:
    turns = Turns(0)
    assert turns.take_blocking("/a", PATIENCE)
    assert not turns.take_blocking("/a", PATIENCE)
    assert turns.take_blocking("/b", PATIENCE)
    turns.release("/a")
    turns.release("/b")
    assert len(turns) == 0


def test_a_loop_that_was_closed_holds_nobody_up(turns: Turns) -> None:
    """A waiter whose event loop is gone gets no turn; the thread behind it does."""
    assert turns.take_blocking("/a", PATIENCE)
    loop = asyncio.new_event_loop()
    task = loop.create_task(turns.take("/a", PATIENCE))
    loop.run_until_complete(waiting(turns, 1))
    loop.close()
    with ThreadPoolExecutor(1) as pool:
        behind = pool.submit(turns.take_blocking, "/a", PATIENCE)
        while turns.waiting < 2:
            threading.Event().wait(0.001)
        turns.release("/a")
        assert behind.result(PATIENCE)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task
    gc.collect()  # it ends now, and must not take its turn for its own
    assert len(turns) == 1
    turns.release("/a")


def test_threads_and_loops_share_them(turns: Turns) -> None:
    """Four threads and four loops with impatient and cancelled waiters: never two at once, and all of them come to an end."""
    inside: list[int] = []
    done: list[int] = []

    def alone(at: int) -> None:
        inside.append(at)
        assert inside == [at]
        inside.pop()
        done.append(at)

    def thread(at: int) -> None:
        chance = random.Random(at)
        for _ in range(200):
            if turns.take_blocking("/a", chance.choice([0.0, 0.0001, PATIENCE])):
                alone(at)
                turns.release("/a")

    async def write(at: int, patience: float) -> None:
        if await turns.take("/a", patience):
            alone(at)
            turns.release("/a")

    async def loop(at: int) -> None:
        chance = random.Random(at)
        for _ in range(50):
            tasks = [asyncio.create_task(write(at, chance.choice([0.0, 0.0001, PATIENCE]))) for _ in range(4)]
            await asyncio.sleep(0)
            chance.choice(tasks).cancel()
            for found in await asyncio.gather(*tasks, return_exceptions=True):
                assert found is None or isinstance(found, asyncio.CancelledError), found

    with ThreadPoolExecutor(8) as pool:
        threads = [pool.submit(thread, at) for at in range(4)]
        loops = [pool.submit(lambda at=at: asyncio.run(loop(at))) for at in range(4, 8)]
        for each in (*threads, *loops):
            each.result()
    assert set(done) == set(range(8))
