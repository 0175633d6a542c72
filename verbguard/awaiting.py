"""An ASGI request whose store must be awaited: what `asgi.py` does, with each word to the store on its own way.

A request may be cancelled at any moment, and what the store has begun to hear must be heard to its end. A word that is sent
already (see Asked) needs nobody for that; any other is a task of its own. Only a claim is neither: when it is cancelled, the
store itself lets go of what it won (see AsyncStore).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

from verbguard.asgi import Message, Send, _Serving
from verbguard.bumps import bump_together, ending
from verbguard.loops import in_loop
from verbguard.outages import FIRST, INSISTING, LONGEST, debts
from verbguard.records import Claim, Outcome, Record, Won
from verbguard.renewal import renewer
from verbguard.serving import LOST, Later, unframed
from verbguard.stores.asked import Asked

__all__ = ["PATIENCE", "Awaiting"]

# Seconds for one word to the store, longer than the stores' own bounds: one that hangs must not hang the app.
PATIENCE = 3.0

_UNHEARD: set[asyncio.Task[Any] | Asked] = set()  # what is on its way; a loop itself does not hold its tasks


def noted(word: Asked, note: Callable[[Any, BaseException | None], Any]) -> asyncio.Future[Any]:
    """`Asked.noted`, for which `Awaiting.quiet` waits."""

    def told(value: Any, error: BaseException | None) -> Any:
        _UNHEARD.discard(word)
        return note(value, error)

    _UNHEARD.add(word)
    return word.noted(told)


def heard(job: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
    """What becomes of a job that goes on whoever waits for it: the future may be cancelled, the job is not.

    `asyncio.shield` does the same with two more turns of the loop.
    """
    loop = asyncio.get_running_loop()
    told = loop.create_future()
    task = loop.create_task(_telling(job, told))
    _UNHEARD.add(task)
    task.add_done_callback(_UNHEARD.discard)
    return told


async def _telling(job: Coroutine[Any, Any, Any], told: asyncio.Future[Any]) -> None:
    try:
        found = await job
    except asyncio.CancelledError:
        told.cancel()
        raise
    except BaseException as error:
        if told.done():
            raise
        told.set_exception(error)  # whoever waits must not wait for ever
        return
    if not told.done():
        told.set_result(found)


class Awaiting(_Serving):
    """One request on its way through ASGI, with a store for asyncio."""

    distant = True
    _start: Message | None = None  # the head, until it is known whether the answer could be kept
    _before: Awaitable[Any] | None = None  # what the store must hear before the end of a run that was cut off

    @staticmethod
    async def quiet(store: Any) -> None:
        loop, stores = asyncio.get_running_loop(), (store, getattr(store, "sync", None))
        end = monotonic() + PATIENCE
        while monotonic() < end and (
            any(each.get_loop() is loop for each in _UNHEARD)
            or ending()
            or any(each in stores for each, _ in (*renewer.held.values(), *in_loop().held.values()))
        ):
            await asyncio.sleep(0.01)

    # ---- claims

    def ask_again(self, claim: Claim) -> Any:
        return self._claimed(claim)

    def ask(self, content: Any) -> Any:
        found = super().ask(content)
        return _nothing() if found is None else found

    async def _claimed(self, claim: Claim) -> Outcome | None:
        try:
            if getattr(self.store, "bounded", False):
                outcome: Outcome = await self.store.claim(claim)
            else:
                async with asyncio.timeout(PATIENCE):
                    outcome = await self.store.claim(claim)
        except Exception as error:
            self.unasked(error)
            return None
        if isinstance(outcome, Won):
            self.send_inner = self._sends_late(self.send_inner)
        return outcome

    def hold(self) -> None:
        if self.token and self.claimed_as is not None:
            self.keep_alive(self.claimed_as, self.token)

    def let_go(self) -> None:
        self.forget(self.claimed_as)

    def keep_alive(self, claim: Claim, token: int) -> None:
        blocking = getattr(self.store, "sync", None)
        if blocking is not None:
            renewer.hold(blocking, claim, token)
        else:
            in_loop().hold(self.store, claim, token)

    def forget(self, claim: Claim | None) -> None:
        super().forget(claim)
        if getattr(self.store, "sync", None) is None:
            in_loop().held.pop(claim, None)

    # ---- turns

    def ask_for_turn(self) -> Any:
        return self._turn_asked()

    async def _turn_asked(self) -> Outcome | None:
        assert self.lease is not None
        try:
            async with asyncio.timeout(PATIENCE):
                outcome: Outcome = await self.store.claim(self.lease)
        except Exception as error:
            self.distrust(error)
            return None
        return outcome

    def end_lease(self) -> None:
        token, self.lease_token = self.lease_token, 0
        self._say_to_store(self.store.release, self.lease, token)

    def outdated(self) -> Later:
        return self._say_to_store(self.store.bump, self.touch) if self.touch is not None else None

    # ---- words that need no answer

    def renew_epoch(self) -> Later:
        epoch = getattr(self.store, "epoch", None)
        return self._say_to_store(epoch) if epoch is not None else None

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
        starting = self._say_to_store(self.store.start, self.touch)
        try:
            if not await asyncio.shield(starting):
                self.touch = None
        except asyncio.CancelledError:
            self._before = starting  # nobody would end it, and it would be believed in for minutes
            self.end_touch()
            raise

    def end_touch(self) -> Later:
        if self.touch is None:
            return None
        if self._before is None:
            return self._say_to_store(self.store.end, self.touch)
        return self._say_to_store(self._touch_ended, self._before)

    async def _touch_ended(self, before: Awaitable[Any]) -> None:
        await before
        await self.store.end(self.touch)

    def touch_again(self) -> Later:
        if self.touch is None or self.ended_at_once:
            return None
        return bump_together(self.guard, self.store, self.touch, partial(self._say_to_store, self.store.bump))

    def linger(self) -> Later:
        return self._say_to_store(self.store.linger, self.touch) if self.touch is not None else None

    def _say_to_store(self, tell: Callable[..., Awaitable[Any]], *arguments: Any) -> asyncio.Future[Any]:
        """Whether the store has heard it."""
        try:
            word = tell(*arguments)
        except Exception as error:
            word = _failed(error)
        return noted(word, self._noted) if isinstance(word, Asked) else heard(self._tried(word))

    def _noted(self, _: object, error: BaseException | None) -> bool:
        if error is not None:
            self.distrust(error)
        return error is None

    async def _tried(self, word: Awaitable[Any]) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                await word
        except Exception as error:
            self.distrust(error)
            return False
        return True

    # ---- the end

    def stopped(self, error: BaseException) -> Later:
        # Nothing is awaited between the two: a cancel scope cancels each await anew, and what is not on its way by then
        # is never said. The claim ends behind what lingers, or between them the target would look quiet.
        if not isinstance(error, Exception):
            self.cut_off()
            self._before = self.linger()
        later = self.abandon(error)
        return later if later is not None or self._before is None else asyncio.shield(self._before)

    def keep(self, record: Record | None) -> Later:
        self.settled_at = monotonic()
        if self._before is not None:
            return heard(self._kept_behind(self._before, record))
        word = self._ending(record)
        if isinstance(word, Asked):
            return noted(word, partial(self._concluded, record))
        return heard(self._kept(word, record))

    async def _kept_behind(self, before: Awaitable[Any], record: Record | None) -> None:
        await before
        await self._kept(self._ending(record), record)

    async def _kept(self, word: Awaitable[bool], record: Record | None) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                try:
                    kept = await word
                except ValueError:
                    assert record is not None
                    kept = await self._ending(unframed(record))
        except Exception as error:
            self._concluded(record, False, error)
        else:
            self._concluded(record, kept, None)

    def _concluded(self, record: Record | None, kept: bool, error: BaseException | None) -> None:
        """The store has heard of the end of this run, or has not."""
        if error is None:
            if record is not None and not self.in_transaction:
                self.saved = kept
            self.told(kept or self.in_transaction)  # what was rolled back was not lost
            return
        self.distrust(error)
        blocking = getattr(self.store, "sync", None)
        if blocking is not None:
            debts.insist(lambda: self.end_in(blocking, record))
        else:
            heard(self._insisted(record))

    def _ending(self, record: Record | None) -> Awaitable[bool]:
        """`end_in`, for a store that must be awaited."""
        store, claim, token = self.store, self.claimed_as, self.token
        assert claim is not None
        try:
            if self.in_transaction:
                word: Awaitable[bool] = store.settle(claim, token)
            elif record is None:
                word = store.release(claim, token)
            else:
                word = store.save(claim, token, record)
        except Exception as error:
            return _failed(error)
        return word

    async def _insisted(self, record: Record | None) -> None:
        """Tell the store again until it hears."""
        pause, end = FIRST, monotonic() + INSISTING
        while monotonic() < end:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST)
            with suppress(Exception):
                async with asyncio.timeout(PATIENCE):
                    await self._ending(record)
                return

    def _end(self) -> Later:
        later: Later = None
        if self.token:
            self.let_go()
            if not self.settled_at:
                later = self.abandon(None)
            elif self.mode == "keyed":
                later = self.touch_again()
        else:
            later = self.end_touch()
        if self.turn:
            self.end_turn()
        self._release_shield()
        self.close_spool()
        return later

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


async def _failed(error: Exception) -> Any:
    """What a store says that failed before it was asked."""
    raise error


async def _nothing() -> None:
    """What a store says that was not asked."""
