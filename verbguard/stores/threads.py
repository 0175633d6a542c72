"""Any blocking store for asyncio: each operation waits in a thread, so that the event loop does not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Literal, ParamSpec, TypeVar

from verbguard.errors import StoreError
from verbguard.records import Claim, Outcome, Record, Touch, Won
from verbguard.stores import Store, Transactional

__all__ = ["Threaded", "TransactionalThreaded"]

_Told = TypeVar("_Told")
_Asked = ParamSpec("_Asked")


class Threaded:
    """The operations of a blocking store as coroutines.

    It has threads of its own, `threads` at most: those of the event loop are the app's, and a store that hangs must not take
    them. A cancelled claim is let go when it turns out to have been won.
    """

    asynchronous: Literal[True] = True

    def __init__(self, store: Store, *, threads: int = 16) -> None:
        self.sync = store
        self.shared = store.shared
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._pid = 0

    async def claim(self, claim: Claim) -> Outcome:
        """See Store.claim."""
        job = asyncio.ensure_future(self._do(self.sync.claim, claim))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            job.add_done_callback(lambda done: self._let_go(claim, done))
            raise

    def _let_go(self, claim: Claim, done: asyncio.Future[Outcome]) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        outcome = done.result()
        if isinstance(outcome, Won):
            self._executor().submit(self._release_quietly, claim, outcome.token)

    def _release_quietly(self, claim: Claim, token: int) -> None:
        with suppress(StoreError):  # the lease ends by itself
            self.sync.release(claim, token)

    async def save(self, claim: Claim, token: int, record: Record) -> bool:
        """See Store.save."""
        return await self._do(self.sync.save, claim, token, record)

    async def release(self, claim: Claim, token: int) -> bool:
        """See Store.release."""
        return await self._do(self.sync.release, claim, token)

    async def renew(self, claim: Claim, token: int) -> bool:
        """See Store.renew."""
        return await self._do(self.sync.renew, claim, token)

    async def start(self, touch: Touch) -> None:
        """See Store.start."""
        await self._do(self.sync.start, touch)

    async def end(self, touch: Touch) -> None:
        """See Store.end."""
        await self._do(self.sync.end, touch)

    async def bump(self, touch: Touch) -> None:
        """See Store.bump."""
        await self._do(self.sync.bump, touch)

    async def linger(self, touch: Touch) -> None:
        """See Store.linger."""
        await self._do(self.sync.linger, touch)

    async def epoch(self) -> None:
        """See Store.epoch."""
        await self._do(self.sync.epoch)

    async def health(self) -> float:
        """See Store.health."""
        return await self._do(self.sync.health)

    async def _do(self, job: Callable[_Asked, _Told], *args: _Asked.args, **kwargs: _Asked.kwargs) -> _Told:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor(), lambda: job(*args, **kwargs))

    def _executor(self) -> ThreadPoolExecutor:
        pid = os.getpid()
        if self._pool is None or self._pid != pid:  # threads do not survive a fork
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="verbguard-store")
            self._pid = pid
        return self._pool

    def close(self) -> Any:
        """End the threads, when they have done what they are at."""
        if self._pool is not None and self._pid == os.getpid():
            self._pool.shutdown()
            self._pool = None


class TransactionalThreaded(Threaded):
    """The same for a store whose records applications can commit themselves."""

    def __init__(self, store: Transactional, *, threads: int = 16) -> None:
        super().__init__(store, threads=threads)
        self._store = store
        self.dialect = store.dialect
        self.answers = store.answers
        self.sealer = store.sealer
        self.clock = store.clock

    def __repr__(self) -> str:
        return f"{self._store!r}.aio"

    async def settle(self, claim: Claim, token: int) -> bool:
        """See Transactional.settle."""
        return await self._do(self._store.settle, claim, token)
