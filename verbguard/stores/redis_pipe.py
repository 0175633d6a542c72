"""Many coroutines on one connection: what is asked while the server works goes to it together, in the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from verbguard.errors import StoreError
from verbguard.stores.redis_commands import Call

__all__ = ["Pipe", "evalsha", "failed", "unheard"]

_BATCH = 32  # commands that are sent at once: more make nobody faster, and their answers wait for each other
_AT_ONCE = 2  # batches on their way: while the server works at one, the other is packed or read
_MANY = 8  # calls that are worth a second batch


def failed(error: Exception) -> StoreError:
    """What a client raised, as what a store raises."""
    return StoreError(f"Redis: {error or type(error).__name__}")


def unheard(reply: object) -> bool:
    """Whether the server does not know the script: it was restarted, or another has taken over."""
    return type(reply).__name__ == "NoScriptError"  # redis-py and valkey-py have one each


def evalsha(call: Call, *, source: bool = False) -> tuple[Any, ...]:
    """The command that runs a script: by its digest, or by its source, after which the digest will do."""
    script, arguments = call
    return ("EVAL", script.source, *arguments) if source else ("EVALSHA", script.sha, *arguments)


class Pipe:
    """Runs scripts over a client of one event loop.

    A call that finds nobody waiting is one plain command. Those that come meanwhile are sent as one batch when it has its
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
                try:
                    return await self.client.execute_command(*evalsha(call))
                except Exception as error:
                    if not unheard(error):
                        raise
                return await self.client.execute_command(*evalsha(call, source=True))
        except Exception as error:
            raise failed(error) from error

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
        pipeline = self.client.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*evalsha(call, source=source))
        replies = list(await pipeline.execute(raise_on_error=False))
        again = [place for place, reply in enumerate(replies) if unheard(reply)]
        if again and not source:
            fresh = await self._together([calls[place] for place in again], source=True)
            for place, reply in zip(again, fresh, strict=True):
                replies[place] = reply
        return replies
