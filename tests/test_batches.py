"""When the thread that does what event loops send is woken, and that nothing sent is left undone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from verbguard.errors import StoreError
from verbguard.stores.batches import Batches, NotBegun

PATIENCE = 10.0  # seconds


class Seen:
    """Does jobs, and remembers how many came together."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.batches = Batches(self._run)

    def _run(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        self.sizes.append(len(calls))
        return [call() for call in calls]

    async def send(self, *calls: Callable[[], Any]) -> list[Any]:
        return await asyncio.gather(*(self.batches.later(call) for call in calls))

    async def crowd(self) -> None:
        """Two jobs are done together, as they are where many ask."""
        await self.send(int)
        while self.batches.load < 2:
            with self.batches._lock:
                tasks = [asyncio.ensure_future(self.batches.later(int)) for _ in range(2)]
                await asyncio.sleep(0)
            await asyncio.gather(*tasks)
        self.sizes.clear()


@pytest.fixture
def seen() -> Iterator[Seen]:
    found = Seen()
    with closing(found.batches):
        yield found


def busy() -> None:
    """What an application does in its turn: long enough for another thread to get hold of the interpreter."""
    threading.Event().wait(0.001)


async def asking(seen: Seen, number: int) -> int:
    busy()
    found: int = await seen.batches.later(lambda: number)
    return found


async def test_who_is_alone_is_heard_at_once(seen: Seen) -> None:
    """Also while its loop goes on to do something else."""
    await seen.send(int)
    await asyncio.sleep(0.05)  # the thread sleeps
    done = threading.Event()
    task = asyncio.ensure_future(seen.batches.later(done.set))
    await asyncio.sleep(0)
    assert done.wait(PATIENCE)  # nothing is awaited here
    await task


async def test_what_one_turn_sends_is_done_together(seen: Seen) -> None:
    """The thread is not woken by the first of many, which it would do alone."""
    await seen.crowd()
    assert await asyncio.gather(*(asking(seen, number) for number in range(20))) == list(range(20))
    assert seen.sizes == [20]


async def test_a_lone_job_is_no_end_of_the_crowd(seen: Seen) -> None:
    """What one says between the turns of many changes nothing; where only one is left it is soon heard at once."""
    await seen.crowd()
    await asyncio.gather(*(asking(seen, number) for number in range(20)))
    await asking(seen, 0)
    await asyncio.gather(*(asking(seen, number) for number in range(20)))
    assert seen.sizes == [20, 1, 20]
    for _ in range(5):
        await asking(seen, 0)
    assert seen.batches.load == 1


def test_a_loop_that_stops_leaves_nothing_behind(seen: Seen) -> None:
    """What was sent in the last turn of a loop, before which nobody was woken, is done when the store is closed."""
    done: list[int] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(seen.crowd())

    def last() -> None:
        waiting.append(loop.create_task(seen.batches.later(lambda: done.append(1))))
        loop.call_soon(loop.stop)

    waiting: list[asyncio.Task[Any]] = []
    loop.call_soon(last)
    loop.run_forever()
    assert done == [] and len(seen.batches._jobs) == 1
    seen.batches.close()
    assert done == [1]
    loop.run_until_complete(*waiting)
    loop.close()


def test_a_loop_that_hangs_holds_up_no_other(seen: Seen) -> None:
    """Who was about to wake the thread and does not is not waited for by those of another loop."""
    held, free = threading.Event(), threading.Event()

    async def hangs() -> None:
        await seen.crowd()
        task = asyncio.ensure_future(seen.batches.later(int))
        await asyncio.sleep(0)
        assert seen.batches._calling is asyncio.get_running_loop()
        held.set()
        free.wait(PATIENCE)  # a loop that somebody blocks
        await task

    thread = threading.Thread(target=lambda: asyncio.run(hangs()))
    thread.start()
    try:
        assert held.wait(PATIENCE)
        assert asyncio.run(asyncio.wait_for(seen.send(lambda: 7), PATIENCE)) == [7]
    finally:
        free.set()
        thread.join()


async def test_what_cannot_begin_is_not_tried_for_each() -> None:
    """Also where it turned out only when the jobs of a batch that failed were tried alone: each try waits for a lock."""
    tries: list[int] = []

    def run(calls: Sequence[Any]) -> list[Any]:
        tries.append(len(calls))
        if len(calls) > 1:
            raise StoreError("one of these")
        if len(tries) > 4:
            raise NotBegun("locked")
        return [calls[0]()]

    with closing(Batches(run)) as batches:
        await batches.later(int)  # the thread is there
        with batches._lock:
            tasks = [asyncio.ensure_future(batches.later(int)) for _ in range(20)]
            await asyncio.sleep(0)
        said = await asyncio.gather(*tasks, return_exceptions=True)
    assert tries == [1, 20, 1, 1, 1]
    assert said[:2] == [0, 0] and all(isinstance(each, NotBegun) for each in said[2:])
