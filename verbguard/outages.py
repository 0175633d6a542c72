"""After an outage of a shared store: what it must still hear, as soon as it can be reached again.

What happened meanwhile the store has not heard of, and whoever was not there would replay over it: so a new epoch is begun,
also when no further request comes to this process. And a run has ended whose answer could not be saved: it is told again for a
while, so that a retry does not hear of an unknown outcome. One daemon thread a process, which ends when nothing is owed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verbguard.stores import Store

__all__ = ["Debts", "debts"]

FIRST, LONGEST = 0.05, 2.0  # seconds between two tries; each pause is half as long again as the last
INSISTING = 60.0  # seconds that the end of a run is told again: longer than clients retry at once
_MOST = 1_000  # ends that are kept so; more of them would make a long outage a memory problem


class Debts:
    """What stores have not heard: `owed` an epoch, `ends` of runs, each with the moment when it is given up."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """What a forked child's parent owes the parent tells."""
        self.owed: list[Store] = []
        self.ends: list[tuple[float, Callable[[], Any]]] = []
        self._condition = Condition()
        self._thread: Thread | None = None

    def owe(self, store: Store) -> None:
        """This store may not have heard of something. One of the application's own need not know epochs."""
        if not hasattr(store, "epoch"):
            return
        with self._condition:
            if not any(each is store for each in self.owed):
                self.owed.append(store)
            self._begin()

    def insist(self, end: Callable[[], Any]) -> None:
        """Tell a store the end of a run again, until it hears."""
        with self._condition:
            if len(self.ends) < _MOST:
                self.ends.append((monotonic() + INSISTING, end))
            self._begin()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, name="verbguard-outages", daemon=True)
            self._thread.start()

    def hurry(self) -> None:
        """A request has come: try at once."""
        with self._condition:
            self._condition.notify()

    def _run(self) -> None:
        pause = FIRST
        while True:
            with self._condition:
                if not self.owed and not self.ends:
                    self._thread = None
                    return
                # what fails while this is told is owed again
                stores, self.owed = self.owed, []
                ends, self.ends = self.ends, []
            failed = [store for store in stores if not _told(store.epoch)]
            unheard = self._unheard(ends)
            with self._condition:
                self.ends[:0] = unheard
            for store in failed:
                self.owe(store)
            if failed or unheard:
                with self._condition:
                    self._condition.wait(pause)
                pause = min(pause * 1.5, LONGEST)

    def _unheard(self, ends: list[tuple[float, Callable[[], Any]]]) -> list[tuple[float, Callable[[], Any]]]:
        """Those that the store did not hear now. After the first of them none is tried: each would wait as long. It is the last
        one of the next time, so that an end that can never be told holds up no other."""
        for place, (_, end) in enumerate(ends):
            if not _told(end):
                now = monotonic()
                return [each for each in (*ends[place + 1 :], ends[place]) if each[0] > now]
        return []


def _told(tell: Callable[[], Any]) -> bool:
    try:
        tell()
    except Exception:
        return False
    return True


debts = Debts()
