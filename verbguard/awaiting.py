"""An ASGI request whose store must be awaited: what `asgi.py` does, with every word to the store a task of its own.

A task, since a request may be cancelled at any moment, and what the store has begun to hear must be heard to its end: a claim
that was won for a request that is no more is given back, an answer is saved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import Any

from verbguard.asgi import Message, Send, _Serving
from verbguard.loops import in_loop
from verbguard.outages import debts
from verbguard.records import Claim, Outcome, Record, State, Won
from verbguard.renewal import renewer
from verbguard.serving import LOST, Later

__all__ = ["PATIENCE", "Awaiting"]

PATIENCE = (
    3.0  # seconds for one word to the store, longer than the stores' own bounds: a store that hangs must not hang the app
)

_TASKS: set[asyncio.Task[Any]] = set()  # the loop itself does not hold them


def heard(job: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task that goes on whatever becomes of the request."""
    task = asyncio.get_running_loop().create_task(job)
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)
    return task


class Awaiting(_Serving):
    """One request on its way through ASGI, with a store for asyncio."""

    distant = True
    _start: Message | None = None  # the head, until it is known whether the answer could be kept

    @staticmethod
    async def quiet(store: Any) -> None:
        stores = (store, getattr(store, "sync", None))
        end = monotonic() + PATIENCE
        while monotonic() < end and (
            _TASKS or any(each in stores for each, _ in (*renewer.held.values(), *in_loop().held.values()))
        ):
            await asyncio.sleep(0.01)

    # ---- claims

    def ask_again(self, claim: Claim) -> Any:
        return self._claimed(claim)

    def ask(self, content: Any) -> Any:
        found = super().ask(content)
        return _nothing() if found is None else found

    async def _claimed(self, claim: Claim) -> Outcome | None:
        asked = heard(self._asked(claim))
        try:
            outcome: Outcome = await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(lambda task: self._give_back(claim, task))
            raise
        except Exception as error:
            self.unasked(error)
            return None
        if isinstance(outcome, Won):
            self.send_inner = self._sends_late(self.send_inner)
        return outcome

    async def _asked(self, claim: Claim) -> Outcome:
        async with asyncio.timeout(PATIENCE):
            outcome: Outcome = await self.store.claim(claim)
            return outcome

    def _give_back(self, claim: Claim, task: asyncio.Task[Outcome]) -> None:
        """The request was cancelled while it waited for its claim, so the app has not run."""
        if not task.cancelled() and task.exception() is None and isinstance(won := task.result(), Won):
            heard(self._tried(self.store.release(claim, won.token)))

    def hold(self) -> None:
        if self.token and self.claimed_as is not None:
            blocking = getattr(self.store, "sync", None)
            if blocking is not None:
                renewer.hold(blocking, self.claimed_as, self.token)
            else:
                in_loop().hold(self.store, self.claimed_as, self.token)

    def let_go(self) -> None:
        super().let_go()
        if getattr(self.store, "sync", None) is None:
            in_loop().held.pop(self.claimed_as, None)

    # ---- words that need no answer

    def renew_epoch(self) -> Later:
        epoch = getattr(self.store, "epoch", None)
        return self._say_to_store(epoch()) if epoch is not None else None

    def owe_epoch(self) -> None:
        blocking = getattr(self.store, "sync", None)
        if blocking is None:
            self.guard.owes_epoch = True  # the next request tells it: a thread cannot ask this store
        else:
            debts.owe(blocking)

    def begin_touch(self) -> Later:
        if self.away:
            self.touch = None
        return self._began() if self.touch is not None and not self.token else None

    async def _began(self) -> None:
        if not await asyncio.shield(heard(self._tried(self.store.start(self.touch)))):
            self.touch = None

    def end_touch(self) -> Later:
        return self._say_to_store(self.store.end(self.touch)) if self.touch is not None else None

    def touch_again(self) -> Later:
        return self._say_to_store(self.store.bump(self.touch)) if self.touch is not None and not self.ended_at_once else None

    def linger(self) -> Later:
        return self._say_to_store(self.store.linger(self.touch)) if self.touch is not None else None

    def _say_to_store(self, word: Coroutine[Any, Any, Any]) -> Later:
        return asyncio.shield(heard(self._tried(word)))

    async def _tried(self, word: Coroutine[Any, Any, Any]) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                await word
        except Exception as error:
            self.distrust(error)
            return False
        return True

    # ---- the end

    def keep(self, record: Record | None) -> Later:
        self.settled_at = monotonic()
        return asyncio.shield(heard(self._kept(record)))

    async def _kept(self, record: Record | None) -> None:
        store, claim, token = self.store, self.claimed_as, self.token
        assert claim is not None
        try:
            async with asyncio.timeout(PATIENCE):
                if self.settles(record):
                    kept = await store.settle(claim, token) or True
                elif record is None:
                    kept = await store.release(claim, token)
                else:
                    try:
                        kept = await store.save(claim, token, record)
                    except ValueError:
                        kept = await store.save(claim, token, Record(record.status, [], b"", State.BROKEN))
                    self.saved = kept
            self.told(kept)
        except Exception as error:
            self.distrust(error)

    def _end(self) -> Later:
        return self._ended()

    async def _ended(self) -> None:
        later: Later = None
        if self.token:
            self.let_go()
            if not self.settled_at and (later := self.abandon(None)) is not None:
                await later
            later = self.touch_again() if self.mode == "keyed" else None
        else:
            later = self.end_touch()
        self._release_shield()
        self.close_spool()
        if later is not None:
            await later

    def _sends_late(self, send: Send) -> Send:
        """Holds the head back until the first piece of content, so that it can say whether the answer was kept.

        An answer that will not be kept is not held back: it may be a stream whose first piece is an hour away.
        """

        async def late(message: Message) -> None:
            if message["type"] == "http.response.start" and self.storable:
                self._start = message
                return
            if (start := self._start) is not None:
                self._start = None
                if self.lost and LOST not in start["headers"]:
                    start = {**start, "headers": [*start["headers"], LOST]}
                await send(start)
            await send(message)

        return late


async def _nothing() -> None:
    """What a store says that was not asked."""
