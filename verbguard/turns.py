"""One write after the other on a target: turns, for threads and event loops alike.

No lock of the standard library serves both, and none comes by name and goes when nobody wants it any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from threading import Event, Lock
from typing import TYPE_CHECKING

from verbguard.records import Claim

if TYPE_CHECKING:
    import asyncio

__all__ = ["TURN", "Turns", "lease_of"]

TURN = 30.0  # seconds that a write waits for its turn: longer than most clients wait for an answer


class _Waiter:
    """Somebody who is `queued`; `given` says that the turn is theirs, whether they have noticed or not."""

    __slots__ = ("given", "queued", "wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self.queued = True
        self.given = False


class Turns:
    """Who may write to a target now, by the target's name. At most `most` wait at once: a storm must not fill memory."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.waiting = 0
        self._mutex = Lock()
        self._queues: dict[str, deque[_Waiter]] = {}  # of whoever holds a turn: those who wait for it

    def __len__(self) -> int:
        """How many turns are held."""
        return len(self._queues)

    async def take(self, name: str, patience: float) -> bool:
        """Wait for the turn on a target; False when it did not come within `patience` seconds, or too many wait."""
        import asyncio  # here, as programs that speak WSGI never load it

        loop = asyncio.get_running_loop()
        told = loop.create_future()
        waiter = _Waiter(lambda: loop.call_soon_threadsafe(_tell, told))
        taken = self._enter(name, waiter)
        if taken is not None:
            return taken
        try:
            async with asyncio.timeout(patience):
                await told
        except TimeoutError:
            return self._leave(name, waiter)
        except BaseException:
            if self._leave(name, waiter):
                self.release(name)
            raise
        return True

    def take_blocking(self, name: str, patience: float) -> bool:
        """`take`, for a thread."""
        event = Event()
        waiter = _Waiter(event.set)
        taken = self._enter(name, waiter)
        if taken is not None:
            return taken
        try:
            came = event.wait(patience)
        except BaseException:
            if self._leave(name, waiter):
                self.release(name)
            raise
        return came or self._leave(name, waiter)

    def release(self, name: str) -> None:
        """The turn is over; the next one's begins."""
        while (waiter := self._next(name)) is not None:
            try:
                waiter.wake()
                return
            except RuntimeError:  # an event loop that is closed: nobody waits there any more, and the turn is the next one's
                waiter.given = False

    def _enter(self, name: str, waiter: _Waiter) -> bool | None:
        """True for a turn at once, False when it is too crowded, None for one that must be waited for."""
        with self._mutex:
            queue = self._queues.get(name)
            if queue is None:
                self._queues[name] = deque()
                return True
            if self.waiting >= self.most:
                return False
            queue.append(waiter)
            self.waiting += 1
            return None

    def _leave(self, name: str, waiter: _Waiter) -> bool:
        """Stop waiting; True when the turn has come after all."""
        with self._mutex:
            if waiter.queued:
                self._queues[name].remove(waiter)
                self.waiting -= 1
                waiter.queued = False
            return waiter.given

    def _next(self, name: str) -> _Waiter | None:
        with self._mutex:
            queue = self._queues[name]
            if not queue:
                del self._queues[name]
                return None
            waiter = queue.popleft()
            waiter.queued, waiter.given = False, True
            self.waiting -= 1
            return waiter


def _tell(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)


def lease_of(scope: bytes, name: str, lease: float) -> Claim:
    """The claim by which processes that share a store take turns on a target. No client can name it: a key is visible ASCII.

    A process that dies gives its turn away when the lease ends.
    """
    digest = sha256(name.encode("utf-8", "surrogatepass")).digest()
    return Claim(scope + b"\0turn\0" + digest, digest, rerun=True, lease=lease, keep=lease, method="(turn)", path=name)
