"""An asyncio store as a blocking one: its operations run on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from threading import Thread
from typing import Any, TypeVar

from verbguard.records import Claim, Outcome, Record, Touch
from verbguard.stores import AsyncStore

__all__ = ["Driven"]

_Told = TypeVar("_Told")


class _Background:
    """One event loop for all, in a thread that ends with the process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, job: Coroutine[Any, Any, _Told]) -> _Told:
        """What a coroutine returns."""
        return asyncio.run_coroutine_threadsafe(job, self.loop).result(30.0)


_background: _Background | None = None


def background() -> _Background:
    global _background
    if _background is None:
        _background = _Background()
    return _background


class Driven:
    """The operations of `store`, each waited for."""

    def __init__(self, store: AsyncStore) -> None:
        self.store = store
        self.shared = store.shared
        self._do = background().run

    def claim(self, claim: Claim) -> Outcome:
        return self._do(self.store.claim(claim))

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        return self._do(self.store.save(claim, token, record))

    def release(self, claim: Claim, token: int) -> bool:
        return self._do(self.store.release(claim, token))

    def renew(self, claim: Claim, token: int) -> bool:
        return self._do(self.store.renew(claim, token))

    def start(self, touch: Touch) -> None:
        self._do(self.store.start(touch))

    def end(self, touch: Touch) -> None:
        self._do(self.store.end(touch))

    def bump(self, touch: Touch) -> None:
        self._do(self.store.bump(touch))

    def linger(self, touch: Touch) -> None:
        self._do(self.store.linger(touch))

    def epoch(self) -> None:
        self._do(self.store.epoch())

    def health(self) -> float:
        return self._do(self.store.health())
