"""Many coroutines on one connection: what is asked while the server works goes to it together, in the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

from verbguard.errors import StoreError
from verbguard.stores.redis_commands import Call

pack_command: Callable[[tuple[Any, ...]], bytes] | None
try:
    from hiredis import pack_command
except ImportError:  # redis-py works without
    pack_command = None

__all__ = ["Pipe", "evalsha", "failed", "unheard"]

_BATCH = 64  # commands that are sent at once: more make nobody faster, and their answers wait for each other
_AT_ONCE = 2  # batches on their way: while the server works at one, the other is packed or read
_MANY = 16  # calls that are worth a second batch


def failed(error: Exception) -> StoreError:
    """What a client raised, as what a store raises."""
    return StoreError(f"Redis: {str(error) or type(error).__name__}")


def unheard(reply: object) -> bool:
    """Whether the server does not know the script: it was restarted, or another has taken over."""
    return type(reply).__name__ == "NoScriptError"  # redis-py and valkey-py have one each


def evalsha(call: Call, *, source: bool = False) -> tuple[Any, ...]:
    """The command that runs a script: by its digest, or by its source, after which the digest will do."""
    script, arguments = call
    return ("EVAL", script.source, *arguments) if source else ("EVALSHA", script.sha, *arguments)


# A pool's connections that its pipes keep for their next batch: taking one out and giving it back costs half a round trip.
_IDLE: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()


class Pipe:
    """Runs scripts over a client of one event loop.

    A call that finds nobody waiting is sent at once. Those that come meanwhile are sent as one batch when it has its
    answer. Each gets its own answer or its own error; a caller that is cancelled takes nothing from the others. Nobody waits
    for the server longer than `timeout`, and for the batch before as long. Raises StoreError for whatever the client raises.
    """

    def __init__(self, client: Any, timeout: float) -> None:
        self.client = client
        self._timeout = timeout
        self._single = hasattr(client, "get_primaries")  # a cluster's client sends to many nodes, each at its own pace
        self._sending = 0
        self._waiting: deque[tuple[Call, asyncio.Future[Any]]] = deque()
        self._senders: set[asyncio.Task[None]] = set()
        self._idle: list[Any] | None = None  # connections that are kept for the next batch

    async def run(self, call: Call) -> Any:
        """The answer of a script."""
        if self._single:
            return await self._alone(call)
        if self._sending:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._waiting.append((call, future))
            if self._sending < _AT_ONCE and len(self._waiting) >= _MANY:
                self._send_more()
            return await future
        self._sending += 1
        try:
            return await self._alone(call)
        finally:
            self._sending -= 1
            if self._waiting and not self._sending:
                self._send_more()

    def _send_more(self) -> None:
        self._sending += 1
        sender = asyncio.create_task(self._send_all())
        self._senders.add(sender)
        sender.add_done_callback(self._senders.discard)

    async def _alone(self, call: Call) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                if self._single:
                    return await self._anywhere(call)
                (reply,) = await self._together([call])
        except Exception as error:
            raise failed(error) from error
        if isinstance(reply, Exception):
            raise failed(reply) from reply
        return reply

    async def _anywhere(self, call: Call) -> Any:
        """The answer of whichever node of a cluster has the keys."""
        try:
            return await self.client.execute_command(*evalsha(call))
        except Exception as error:
            if not unheard(error):
                raise
        return await self.client.execute_command(*evalsha(call, source=True))

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), _BATCH)
                batch = [self._waiting.popleft() for _ in range(size)]
                await self._send([each for each in batch if not each[1].done()])
        finally:
            self._sending -= 1
            while self._waiting and not self._sending:  # the loop is being shut down
                self._waiting.popleft()[1].cancel()

    async def _send(self, batch: Sequence[tuple[Call, asyncio.Future[Any]]]) -> None:
        if not batch:
            return
        try:
            async with asyncio.timeout(self._timeout):
                replies = await self._together([call for call, _ in batch])
        except Exception as error:
            replies = [error] * len(batch)
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), reply in zip(batch, replies, strict=True):
            if future.done():
                continue
            if isinstance(reply, Exception):
                raised = failed(reply)
                raised.__cause__ = reply
                future.set_exception(raised)
            else:
                future.set_result(reply)

    async def _together(self, calls: Sequence[Call], *, source: bool = False) -> list[Any]:
        """The answers of a batch, in which an error is one too. A client's own pipeline does the same at twice the price: it
        packs what it sends in Python. A connection closes itself when its answers cannot be read to the end."""
        pool = self.client.connection_pool
        idle = self._idle
        if idle is None:
            idle = self._idle = _IDLE.setdefault(pool, [])
        kind: Any = type(pool)
        connection = idle.pop() if idle else await pool.get_connection(*_purpose(kind))
        try:
            replies = await _exchange(connection, [evalsha(call, source=source) for call in calls])
        except BaseException:
            await pool.release(connection)
            raise
        idle.append(connection)
        again = [place for place, reply in enumerate(replies) if unheard(reply)]
        if again and not source:
            fresh = await self._together([calls[place] for place in again], source=True)
            for place, reply in zip(again, fresh, strict=True):
                replies[place] = reply
        return replies


@cache
def _purpose(pool: Any) -> tuple[str, ...]:
    """valkey-py wants to hear what a connection is for, redis-py does not any more."""
    purpose = signature(pool.get_connection).parameters.get("command_name")
    return ("EVALSHA",) if purpose is not None and purpose.default is purpose.empty else ()


async def _exchange(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send commands and read their answers; once more where the server had closed the connection, as its restart does."""
    packed = _packed(connection, commands)
    try:
        await connection.send_packed_command(packed)
        return [await _reply(connection) for _ in commands]
    except Exception as error:
        if type(error).__name__ != "ConnectionError":
            raise
    await connection.send_packed_command(packed)
    return [await _reply(connection) for _ in commands]


def _packed(connection: Any, commands: Sequence[tuple[Any, ...]]) -> bytes | list[bytes]:
    if pack_command is None:
        packed: list[bytes] = connection.pack_commands(commands)
        return packed
    return b"".join([pack_command(command) for command in commands])


async def _reply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except Exception as error:
        if not connection.is_connected:
            raise
        return error
