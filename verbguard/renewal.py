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

__all__ = ["Renewer"]

Held = tuple["Store", Claim, int]


class Renewer:
    """Keeps the claims alive that are handed to `hold`, until `drop`."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._condition = Condition()
        self._parked = True
        self._shortest = 0.0  # the shortest lease that the thread's pause allows for
        self._thread: Thread | None = None
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A forked child has neither the thread nor the requests."""
        self._held = {}
        self._condition = Condition()
        self._parked = True
        self._thread = None

    def hold(self, store: Store, claim: Claim, token: int) -> int:
        """Renew this claim from now on; returns the handle for `drop`."""
        handle = id(claim)
        self._held[handle] = (store, claim, token)
        if self._parked or claim.lease < self._shortest:
            self._wake()
        return handle

    def drop(self, handle: int) -> None:
        """The run is over."""
        self._held.pop(handle, None)

    def _wake(self) -> None:
        with self._condition:
            self._parked = False
            if self._thread is None:
                self._thread = Thread(target=self._run, name="verbguard-renewer", daemon=True)
                self._thread.start()
            else:
                self._condition.notify()

    def _run(self) -> None:
        due: dict[int, float] = {}
        while True:
            with self._condition:
                if not self._held:
                    self._parked = True
                    # `hold` enters its claim first and looks at `_parked` then, so one of the two sees the other
                    if not self._held:
                        due.clear()
                        self._condition.wait()
                        continue
                    self._parked = False
            now = monotonic()
            shortest = 20.0
            for handle, (store, claim, token) in list(self._held.items()):
                third = claim.lease / 3  # two renewals may be late before a lease is lost
                shortest = min(shortest, third)
                if now >= due.setdefault(handle, now + third):
                    due[handle] = now + third
                    self._renew(handle, store, claim, token)
            due = {handle: when for handle, when in due.items() if handle in self._held}
            self._shortest = shortest * 3
            with self._condition:
                self._condition.wait(max(shortest / 2, 0.01))

    def _renew(self, handle: int, store: Store, claim: Claim, token: int) -> None:
        try:
            alive = store.renew(claim, token)
        except Exception:
            return  # the next turn tries again; what is lost shows when the answer is saved
        if not alive:
            self.drop(handle)


renewer = Renewer()
