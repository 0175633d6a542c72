"""Leases are renewed while their handlers run: one daemon thread a process, parked while nothing runs long.

A thread rather than a timer of an event loop: a handler that blocks its loop must not lose its claim.
"""

from __future__ import annotations

import os
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING

from verbguard.records import Claim

if TYPE_CHECKING:
    from verbguard.stores import Store

__all__ = ["Renewer", "renewer"]


class Renewer:
    """Keeps the claims in `held` alive. Enter one with `hold`, take it out with `held.pop(claim, None)`."""

    def __init__(self) -> None:
        self.held: dict[Claim | None, tuple[Store, int]] = {}
        self._condition = Condition()
        self._parked = True
        self._shortest = 0.0  # the shortest lease that the thread's pause allows for
        self._thread: Thread | None = None
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A forked child has neither the thread nor the requests."""
        self.held = {}
        self._condition = Condition()
        self._parked = True
        self._thread = None

    def hold(self, store: Store, claim: Claim, token: int) -> None:
        """Renew this claim from now on."""
        self.held[claim] = (store, token)
        if self._parked or claim.lease < self._shortest:
            self._wake()

    def _wake(self) -> None:
        with self._condition:
            self._parked = False
            if self._thread is None:
                self._thread = Thread(target=self._run, name="verbguard-renewer", daemon=True)
                self._thread.start()
            else:
                self._condition.notify()

    def _run(self) -> None:
        due: dict[Claim | None, float] = {}
        while True:
            with self._condition:
                self._parked = not self.held
                # `hold` enters its claim first and looks at `_parked` then, so one of the two sees the other
                if self._parked and not self.held:
                    self._condition.wait()
                    continue
                self._parked = False
            pause = self._turn(due, monotonic())
            due = {claim: when for claim, when in due.items() if claim in self.held}
            with self._condition:
                self._condition.wait(pause)

    def _turn(self, due: dict[Claim | None, float], now: float) -> float:
        """Renew what is due; returns how long to rest."""
        shortest = 60.0
        for claim, (store, token) in list(self.held.items()):
            if claim is None:
                continue
            shortest = min(shortest, claim.lease)
            third = claim.lease / 3  # two renewals may be late before a lease is lost
            if now >= due.setdefault(claim, now + third):
                due[claim] = now + third
                self._renew(store, claim, token)
        self._shortest = shortest
        return max(shortest / 6, 0.01)

    def _renew(self, store: Store, claim: Claim, token: int) -> None:
        try:
            alive = store.renew(claim, token)
        except Exception:
            return  # the next turn tries again; what is lost shows when the answer is saved
        if not alive and self.held.pop(claim, None) is not None:
            claim.lost = True


renewer = Renewer()
