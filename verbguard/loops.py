"""Leases in stores that only asyncio can ask: one task an event loop renews them, and ends when nothing is held."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from verbguard.records import Claim

if TYPE_CHECKING:
    from verbguard.stores import AsyncStore

__all__ = ["LoopRenewer", "in_loop"]


class LoopRenewer:
    """Keeps the claims in `held` alive. Enter one with `hold`, take it out with `held.pop(claim, None)`."""

    def __init__(self) -> None:
        self.held: dict[Claim | None, tuple[AsyncStore, int]] = {}
        self._task: asyncio.Task[None] | None = None
        self._sooner = asyncio.Event()
        self._pause = 0.0

    def hold(self, store: AsyncStore, claim: Claim, token: int) -> None:
        """Renew this claim from now on."""
        self.held[claim] = (store, token)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif claim.lease / 6 < self._pause:
            self._sooner.set()

    async def _run(self) -> None:
        due: dict[Claim | None, float] = {}
        while self.held:
            now = monotonic()
            for claim, (store, token) in list(self.held.items()):
                if claim is not None and now >= due.setdefault(claim, now + claim.lease / 3):
                    due[claim] = now + claim.lease / 3
                    await self._renew(store, claim, token)
            due = {claim: when for claim, when in due.items() if claim in self.held}
            self._pause = max(min([claim.lease for claim in due if claim is not None], default=6.0) / 6, 0.01)
            self._sooner.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._sooner.wait()

    async def _renew(self, store: AsyncStore, claim: Claim, token: int) -> None:
        try:
            async with asyncio.timeout(claim.lease / 3):
                alive = await store.renew(claim, token)
        except Exception:
            return  # the next turn tries again
        if not alive and self.held.pop(claim, None) is not None:
            claim.lost = True


_RENEWERS: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopRenewer] = WeakKeyDictionary()


def in_loop() -> LoopRenewer:
    """The renewer of the running loop."""
    loop = asyncio.get_running_loop()
    found = _RENEWERS.get(loop)
    if found is None:
        found = _RENEWERS[loop] = LoopRenewer()
    return found
