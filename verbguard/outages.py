"""After an outage of a shared store: the other processes must hear of it, as soon as the store can be reached again.

What happened meanwhile the store has not heard of, and whoever was not there would replay over it: so a new epoch is begun,
also when no further request comes to this process. One daemon thread a process, which ends when nothing is owed.
"""

from __future__ import annotations

import os
from threading import Condition, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verbguard.stores import Store

__all__ = ["Debts", "debts"]

FIRST, LONGEST = 0.05, 2.0  # seconds between two tries; each pause is half as long again as the last


class Debts:
    """The stores that are owed an epoch."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """What a forked child's parent owes the parent tells."""
        self.owed: list[Store] = []
        self._condition = Condition()
        self._thread: Thread | None = None

    def owe(self, store: Store) -> None:
        """This store may not have heard of something."""
        with self._condition:
            if not any(each is store for each in self.owed):
                self.owed.append(store)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="verbguard-epochs", daemon=True)
                self._thread.start()

    def hurry(self) -> None:
        """A request has come: try at once."""
        with self._condition:
            self._condition.notify()

    def _run(self) -> None:
        pause = FIRST
        while True:
            with self._condition:
                if not self.owed:
                    self._thread = None
                    return
                stores, self.owed = self.owed, []  # what fails while this is told is owed again
            failed = [store for store in stores if not _told(store)]
            for store in failed:
                self.owe(store)
            if failed:
                with self._condition:
                    self._condition.wait(pause)
                pause = min(pause * 1.5, LONGEST)


def _told(store: Store) -> bool:
    try:
        store.epoch()
    except Exception:
        return False
    return True


debts = Debts()
