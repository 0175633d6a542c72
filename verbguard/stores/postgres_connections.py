"""The connections that a store makes for itself: opened when they are needed, bounded, and none of a parent process.

A pool with threads of its own would not survive a fork, and one that waits longer after each failed attempt would not notice
soon that the server is back. An idle connection that the server has closed is noticed by its socket, without a round trip.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from threading import BoundedSemaphore
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary, ref

import psycopg

from verbguard.stores.postgres_groups import PATIENCE, Form, Together
from verbguard.stores.postgres_pipe import Asked, Line, Values, silent

__all__ = ["AsyncConnections", "Connections"]

_STUCK = 1_000  # statements that one counts for which waits for somebody: all that come behind it would wait too
_MARGIN = 0.5  # seconds that the server has, after its own timeout, to say that it was over


class _Bounded:
    """How long a connection waits for the server: one that hangs keeps no timeout of its own."""

    limit = 30.0

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """See psycopg. On either kind of connection, which consume the same generators."""
        return super().wait(_until(gen, monotonic() + self.limit, self.limit), *args, **kwargs)  # type: ignore[misc]


class _Connection(_Bounded, psycopg.Connection[Any]):
    pass


class _AsyncConnection(_Bounded, psycopg.AsyncConnection[Any]):
    pass


def _until(gen: Any, end: float, limit: float) -> Generator[Any, Any, Any]:
    """The generator, which is asked again each tenth of a second, up to its end."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and monotonic() > end:
                raise psycopg.OperationalError(f"timeout: the server has said nothing for {limit:g} s")
            wanted = gen.send(ready)
    except StopIteration as done:
        return done.value


_INHERITED: list[Any] = []  # connections of a parent: to forget them would close them, and they are still the parent's


class Connections:
    """At most `most` connections for threads. `wait`: seconds that one is waited for."""

    def __init__(self, url: str, options: dict[str, Any], *, most: int, wait: float) -> None:
        self._url, self._options, self._most, self._wait = url, options, most, wait
        self._open()
        this = ref(self)
        os.register_at_fork(after_in_child=lambda: _forked(this()))
        atexit.register(lambda: _ended(this()))

    def _open(self) -> None:
        self._idle: list[psycopg.Connection[Any]] = []
        self._free = BoundedSemaphore(self._most)

    def forget(self) -> None:
        """In a child process: what is here belongs to the parent."""
        _INHERITED.append(self._idle)
        self._open()

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """One connection, for as long as the block lasts."""
        free = self._free
        if not free.acquire(timeout=self._wait):
            raise psycopg.OperationalError(f"no connection was free for {self._wait:g} s")
        try:
            found = self._living() or self._connect()
            try:
                yield found
            except BaseException:
                found.close()
                raise
            self._idle.append(found)
        finally:
            free.release()

    def _connect(self) -> psycopg.Connection[Any]:
        made = _Connection.connect(self._url, **self._options)
        made.limit = self._wait + _MARGIN
        return made

    def _living(self) -> psycopg.Connection[Any] | None:
        while self._idle:
            with suppress(IndexError):  # another thread took the last one
                found = self._idle.pop()
                if _lives(found):
                    return found
                found.close()
        return None

    def close(self) -> None:
        """Close those that are idle."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()


class AsyncConnections:
    """The same for asyncio. Each event loop has its own, which are closed when it ends."""

    def __init__(self, url: str, options: dict[str, Any], *, most: int, wait: float) -> None:
        self._url, self._options, self._most, self.wait = url, options, most, wait
        self._open()
        this = ref(self)
        os.register_at_fork(after_in_child=lambda: _forked(this()))

    def _open(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop] = WeakKeyDictionary()

    def forget(self) -> None:
        """In a child process: what is here belongs to the parent."""
        _INHERITED.append(list(self._loops.items()))
        self._open()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """One connection, for as long as the block lasts."""
        loop = asyncio.get_running_loop()
        mine = self._loops.get(loop)
        if mine is None:
            mine = self._loops[loop] = _OfLoop(self._most)
        await mine.begin()
        if mine.free.locked():
            try:
                await asyncio.wait_for(mine.free.acquire(), self.wait)
            except TimeoutError:
                raise psycopg.OperationalError(f"no connection was free for {self.wait:g} s") from None
        else:
            await mine.free.acquire()
        try:
            found = await mine.living() or await self._connect()
            try:
                yield found
            except BaseException:
                await found.close()
                raise
            mine.idle.append(found)
        finally:
            mine.free.release()

    def ask(self, text: str, values: Values, form: Form | None = None) -> Asked:
        """Send a statement over the connection that is the least busy; with others of its form, if it has one."""
        loop = asyncio.get_running_loop()
        mine = self._loops.get(loop)
        if mine is None:
            mine = self._loops[loop] = _OfLoop(self._most)
        asked = Asked(text, values, loop)
        if form is None:
            self._send(mine, asked)
        else:
            together = mine.together.get(form.text)
            if together is None:
                together = mine.together[form.text] = Together(form, partial(self._send, mine))
            together.ask(asked)
        return asked

    def _send(self, mine: _OfLoop, asked: Asked) -> None:
        line = mine.line()
        if (line is None or line.flight) and not mine.opening and len(mine.lines) < self._most:
            opening = asyncio.get_running_loop().create_task(self._open_line(mine))
            mine.opening.add(opening)
            opening.add_done_callback(mine.opening.discard)
        if line is None or (mine.opening and line.waits(PATIENCE)):
            mine.waiting.append(asked)
        else:
            line.send(asked)

    async def _open_line(self, mine: _OfLoop) -> None:
        try:
            await mine.begin()
            mine.add(Line(await mine.living() or await self._connect(), self.wait + _MARGIN, mine.ended))
        except BaseException as error:
            mine.failed(error)
            if not isinstance(error, Exception):
                raise

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        made = await _AsyncConnection.connect(self._url, **self._options)
        made.limit = self.wait + _MARGIN
        return made

    async def aclose(self) -> None:
        """Close what this event loop has opened; its end does that too."""
        mine = self._loops.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            await mine.ending.aclose()


class _OfLoop:
    """What one event loop has."""

    def __init__(self, most: int) -> None:
        self.idle: list[psycopg.AsyncConnection[Any]] = []
        self.free = asyncio.Semaphore(most)
        self.lines: list[Line] = []
        self.opening: set[asyncio.Task[None]] = set()
        self.waiting: deque[Asked] = deque()  # for a line that is being opened
        self.together: dict[str, Together] = {}
        self.ending = self._until_the_end()
        self._begun = self._over = False

    async def begin(self) -> None:
        """What an event loop that ends has to close."""
        if not self._begun:
            self._begun = True
            await anext(self.ending)

    def line(self) -> Line | None:
        """The connection that is the least busy."""
        best, least = None, 0
        for line in [*self.lines]:
            flight = line.flight
            if not flight and not line.silent():
                line.end()
                continue
            busy = len(flight) + (_STUCK if line.waits(PATIENCE) else 0)
            if best is None or busy < least:
                best, least = line, busy
                if not busy:
                    break
        return best

    def add(self, line: Line) -> None:
        """A connection is open."""
        self.lines.append(line)
        self._send_waiting(line)
        if self._over:
            line.end()  # it came too late to be closed with the others

    def _send_waiting(self, line: Line) -> None:
        while self.waiting:
            asked = self.waiting.popleft()
            if asked.future.cancelled():
                asked.fail(psycopg.OperationalError("nobody waits for it any more"))
            else:
                line.send(asked)

    def ended(self, line: Line) -> None:
        """A connection is closed."""
        if line in self.lines:
            self.lines.remove(line)

    def failed(self, error: BaseException) -> None:
        """A connection could not be opened."""
        if (line := self.line()) is not None:
            self._send_waiting(line)
        while self.waiting:
            self.waiting.popleft().fail(error)

    async def _until_the_end(self) -> AsyncGenerator[None, None]:
        """An event loop that ends closes the generators that wait in it, and this one then the connections."""
        try:
            yield
        finally:
            self._over = True
            self.ending = self._until_the_end()  # the one that was begun keeps its loop, and what is kept of a loop must not
            for line in [*self.lines]:
                line.end()
            while self.idle:
                await self.idle.pop().close()

    async def living(self) -> psycopg.AsyncConnection[Any] | None:
        while self.idle:
            found = self.idle.pop()
            if _lives(found):
                return found
            await found.close()
        return None


def _lives(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether nothing waits to be read: a server says something to an idle connection when it closes it."""
    if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        return False
    return silent(connection.fileno())()


def _forked(connections: Connections | AsyncConnections | None) -> None:
    if connections is not None:
        connections.forget()


def _ended(connections: Connections | None) -> None:
    if connections is not None:
        connections.close()
