"""A store for asyncio behind the blocking promises, so that one contract fits both: it lives on a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from threading import Lock, Thread
from typing import Any, TypeVar

from verbguard.records import Claim, Outcome, Record, Touch
from verbguard.stores import AsyncStore

__all__ = ["Driven", "on_the_loop"]

Found = TypeVar("Found")

_LOOPS: list[asyncio.AbstractEventLoop] = []
_STARTING = Lock()


def on_the_loop(job: Coroutine[Any, Any, Found]) -> Found:
    """Run a coroutine on the loop that all driven stores share."""
    with _STARTING:
        if not _LOOPS:
            _start()
    return asyncio.run_coroutine_threadsafe(job, _LOOPS[0]).result(60)


def _start() -> None:
    _LOOPS.append(asyncio.new_event_loop())
    Thread(target=_LOOPS[0].run_forever, name="driven stores", daemon=True).start()


class Driven:
    """An AsyncStore as a Store."""

    shared = True

    def __init__(self, store: AsyncStore) -> None:
        self.store = store

    def claim(self, claim: Claim) -> Outcome:
        return on_the_loop(self.store.claim(claim))

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        return on_the_loop(self.store.save(claim, token, record))

    def release(self, claim: Claim, token: int) -> bool:
        return on_the_loop(self.store.release(claim, token))

    def renew(self, claim: Claim, token: int) -> bool:
        return on_the_loop(self.store.renew(claim, token))

    def start(self, touch: Touch) -> None:
        on_the_loop(self.store.start(touch))

    def end(self, touch: Touch) -> None:
        on_the_loop(self.store.end(touch))

    def bump(self, touch: Touch) -> None:
        on_the_loop(self.store.bump(touch))

    def linger(self, touch: Touch) -> None:
        on_the_loop(self.store.linger(touch))

    def epoch(self) -> None:
        on_the_loop(self.store.epoch())

    def health(self) -> float:
        return on_the_loop(self.store.health())
