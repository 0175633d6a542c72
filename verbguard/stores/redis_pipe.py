"""How an event loop asks Redis: over one line for all its coroutines, or by the client where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from inspect import signature
from typing import Any
from weakref import WeakValueDictionary

from verbguard.errors import StoreError
from verbguard.stores.asked import Asked
from verbguard.stores.redis_commands import Call
from verbguard.stores.redis_line import CLOSED, Line, evalsha, failed, line_over

__all__ = ["Pipe", "pipe_over", "unheard"]

_CLIENTS = 32  # connections that are used at once, where each call needs one: a third of what redis-py's pools have for all


def unheard(reply: object) -> bool:
    """Whether the server does not know the script: it was restarted, or another has taken over."""
    return type(reply).__name__ == "NoScriptError"  # redis-py and valkey-py have one each


class Pipe:
    """Runs scripts over a client of one event loop.

    Each call gets its own answer or its own error; a caller that is cancelled takes nothing from the others. Nobody waits
    longer than `timeout` for a server that says nothing, and as long for a new connection where the server has closed one:
    what was on its way is sent once more, as a restart must harm nobody. Raises StoreError for whatever goes wrong.
    """

    def __init__(self, client: Any, timeout: float) -> None:
        self.client = client
        self.loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._line: Line | None = None
        self._opening: asyncio.Task[Line | None] | None = None
        self._mending: set[asyncio.Task[None]] = set()
        self._closed = False
        most = getattr(getattr(client, "connection_pool", None), "max_connections", None) or _CLIENTS
        self._clients = asyncio.Semaphore(min(most, _CLIENTS))
        self._single = hasattr(client, "get_primaries")  # a cluster's client sends to many nodes

    def ask(self, call: Call, read: Callable[[Any], Any]) -> Awaitable[Any]:
        """What `read` makes of the answer of a script; it is an Asked, and sent already, where there is a connection."""
        line = self._line
        if line is not None and line.stale():
            line.end(None)
            line = None
        return self._unconnected(call, read) if line is None else line.ask(call, read)

    async def _unconnected(self, call: Call, read: Callable[[Any], Any]) -> Any:
        try:
            async with asyncio.timeout(2 * self._timeout):
                line = None if self._single else await self._connected()
                return await (self._by_client(call, read) if line is None else line.ask(call, read))
        except StoreError:
            raise
        except Exception as error:
            raise failed(error) from error

    async def _by_client(self, call: Call, read: Callable[[Any], Any]) -> Any:
        """The same by the client: of whichever node of a cluster has the keys, or without a parser."""
        async with self._clients:
            try:
                return read(await self.client.execute_command(*evalsha(call)))
            except Exception as error:
                if not unheard(error):
                    raise
            return read(await self.client.execute_command(*evalsha(call, source=True)))

    async def _connected(self) -> Line | None:
        """The line; None where the client's connections have none. Those who come meanwhile wait for the same."""
        if self._line is not None:
            return self._line
        if self._opening is None or self._opening.done():  # an eager task may be over when it is made
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(_told)
        return await asyncio.shield(self._opening)

    async def _open(self) -> Line | None:
        pool = self.client.connection_pool
        kind: Any = type(pool)
        try:
            async with asyncio.timeout(self._timeout):
                connection = await pool.get_connection(*_purpose(kind))
            self._line = line_over(connection, self._timeout, self._ended)
            if self._line is None:
                self._single = True
                await pool.release(connection)
            return self._line
        finally:
            self._opening = None

    def close(self) -> None:
        """The client is about to be closed: nothing is sent again."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._line is not None:
            self._line.end(ConnectionError("the store was closed"))

    def _ended(self, line: Line, flight: list[Asked], error: BaseException | None) -> None:
        if self._line is line:
            self._line = None
        closed = ConnectionError(CLOSED)
        again: list[Asked] = []
        for asked in flight:
            if error is None and not asked.again:
                again.append(asked)
            else:
                asked.fail(failed(error or closed))
        if self._closed:
            return
        mending = asyncio.get_running_loop().create_task(self._mend(line, again, closed))
        self._mending.add(mending)
        mending.add_done_callback(self._mending.discard)

    async def _mend(self, line: Line, again: list[Asked], error: Exception) -> None:
        """Give a connection back, and send what was on its way over another."""
        try:
            with suppress(Exception):
                await line.connection.disconnect(nowait=True)
                await self.client.connection_pool.release(line.connection)
            if again:
                fresh = await self._connected()
                if fresh is None:
                    raise error
                for asked in again:
                    asked.again = True
                    fresh.send(asked)
        except BaseException as why:
            for asked in again:
                asked.fail(failed(why))
            if not isinstance(why, Exception):
                raise


def _told(opening: asyncio.Task[Line | None]) -> None:
    """Who waited for it may have gone before it failed: then it is nobody's failure."""
    if not opening.cancelled():
        opening.exception()


_PIPES: WeakValueDictionary[tuple[int, float], Pipe] = WeakValueDictionary()


def pipe_over(client: Any, timeout: float) -> Pipe:
    """The pipe of a client; stores that share a client, or its pool, share it."""
    key = id(client.connection_pool) if hasattr(client, "connection_pool") else id(client), timeout
    found = _PIPES.get(key)
    if found is None or found.loop is not asyncio.get_running_loop():
        found = _PIPES[key] = Pipe(client, timeout)
    return found


@cache
def _purpose(pool: Any) -> tuple[str, ...]:
    """valkey-py wants to hear what a connection is for, redis-py does not any more."""
    purpose = signature(pool.get_connection).parameters.get("command_name")
    return ("EVALSHA",) if purpose is not None and purpose.default is purpose.empty else ()
