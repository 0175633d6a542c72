"""Jobs that are waiting are done together: whoever comes first does the work of all who came meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from verbguard.errors import StoreError

__all__ = ["Batches", "NotBegun"]

_MOST = 256  # jobs of one batch: a batch that never ends would keep its first job waiting
_NOT_YET = object()


class NotBegun(StoreError):
    """No job of a batch was tried, and none of them would fare better alone."""


class _Job:
    """One job and what came of it. With `future` somebody on an event loop waits for it, otherwise a thread."""

    __slots__ = ("call", "done", "error", "future", "result")

    def __init__(self, call: Any, future: asyncio.Future[Any] | None = None) -> None:
        self.call = call
        self.future = future
        self.done = False
        self.result: Any = _NOT_YET
        self.error: BaseException | None = None


class Batches:
    """Runs jobs through `run`, which takes several at once and either does all of them or raises and has done none.

    When it raises, each job is tried alone, so that a job fails only by its own fault; but not after NotBegun, or a file that
    is locked would be waited for once for each job.
    """

    def __init__(self, run: Callable[[Sequence[Any]], list[Any]]) -> None:
        self._run = run
        self._jobs: deque[_Job] = deque()
        self._lock = Lock()
        self._wake: SimpleQueue[bool] | None = None
        self._calling: asyncio.AbstractEventLoop | None = None  # the loop that will wake the thread when its turn is over
        self.load = 0  # jobs of the last batch, or of one before: half as many for each that came after
        self._thread: Thread | None = None

    def call(self, call: Any) -> Any:
        """Do one job, on this thread or on that of another caller who was there first."""
        job = _Job(call)
        self._jobs.append(job)
        while not job.done:
            with self._lock:
                if not job.done:
                    self._batch()
        if job.error is not None:
            raise job.error
        return job.result

    async def later(self, call: Any, undo: Callable[[Any], Any] | None = None) -> Any:
        """Do one job on another thread. `undo` makes a job of the result of one whose caller was cancelled."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        job = _Job(call, future)
        self._send(job, loop)
        try:
            return await future
        except asyncio.CancelledError:
            if undo is not None:
                self._withdraw(job, undo)
            raise

    def _send(self, job: _Job, loop: asyncio.AbstractEventLoop) -> None:
        self._jobs.append(job)
        if self._wake is None:
            self._start()
        if self.load > 1:
            # Others of this loop will follow at once, and a thread that is woken by the first would take that one alone. One
            # name says whose call is due: each loop writes its own only, so that a call that is due cannot be overlooked.
            if self._calling is not loop:
                self._calling = loop
                loop.call_soon(self._call)
        else:
            self._call()

    def _call(self) -> None:
        """Wake the thread, if there is anything to do."""
        self._calling = None
        wake = self._wake
        if wake is not None and self._jobs:
            wake.put(True)

    def _withdraw(self, job: _Job, undo: Callable[[Any], Any]) -> None:
        """Nobody waits for this job any more: it is not begun, or undone by one that comes after it."""
        job.call = _nothing

        def undone(*arguments: Any) -> None:
            # jobs are done in their order, so the result is there, if there is to be one
            if job.error is None and job.result is not _NOT_YET and job.result is not None:
                undo(job.result)(*arguments)

        self._send(_Job(undone), asyncio.get_running_loop())

    def pause(self, timeout: float) -> bool:
        """Begin no batch from now on. False where one goes on for longer than `timeout` seconds, and nothing is paused."""
        return self._lock.acquire(timeout=timeout)

    def resume(self) -> None:
        """After `pause`."""
        self._lock.release()

    def close(self) -> None:
        """End the thread, if there is one, when it has done what was sent to it."""
        wake, self._wake = self._wake, None
        if wake is not None and self._thread is not None:
            wake.put(True)
            wake.put(False)
            self._thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._wake is None:
                wake: SimpleQueue[bool] = SimpleQueue()
                self._thread = Thread(target=self._work, args=(wake,), name="verbguard-writer", daemon=True)
                self._thread.start()
                self._wake = wake

    def _work(self, wake: SimpleQueue[bool]) -> None:
        while wake.get():
            while self._jobs:
                with self._lock:
                    self._batch()

    def _batch(self) -> None:
        jobs: list[_Job] = []
        try:
            while self._jobs and len(jobs) < _MOST:
                jobs.append(self._jobs.popleft())
            self.load = max(len(jobs), self.load // 2)
            try:
                self._together(jobs)
            except Exception as error:
                if len(jobs) == 1 or isinstance(error, NotBegun):
                    for job in jobs:
                        job.error = error
                else:
                    self._one_by_one(jobs)
        except BaseException as error:
            for job in jobs:  # nobody may wait for a job that an interrupt of this thread has stopped
                if job.result is _NOT_YET and job.error is None:
                    job.error = StoreError("the writer was interrupted")
            if not isinstance(error, Exception):
                raise
        finally:
            self._tell(jobs)

    def _together(self, jobs: Sequence[_Job]) -> None:
        for job, result in zip(jobs, self._run([job.call for job in jobs]), strict=True):
            job.result = result

    def _one_by_one(self, jobs: Sequence[_Job]) -> None:
        fault: Exception | None = None
        for job in jobs:
            if fault is not None:
                job.error = fault
                continue
            try:
                self._together([job])
            except NotBegun as error:  # nor would the rest
                job.error = fault = error
            except Exception as error:
                job.error = error

    def _tell(self, jobs: Sequence[_Job]) -> None:
        """One call into each loop, whatever the number of its jobs."""
        waiting: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        for job in jobs:
            if job.future is not None:
                waiting.setdefault(job.future.get_loop(), []).append(job)
            job.done = True
        for loop, theirs in waiting.items():
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(_tell_all, theirs)


def _nothing(*_: Any) -> None:
    """What is left of a job that was withdrawn."""


def _tell_all(jobs: Sequence[_Job]) -> None:
    """On their loop: whoever waits gets the result, unless it has gone away."""
    for job in jobs:
        future = job.future
        if future is None or future.done():
            continue
        if job.error is None:
            future.set_result(job.result)
        else:
            future.set_exception(job.error)
