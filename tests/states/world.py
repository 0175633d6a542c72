"""One state of the world: what the store holds, what the application holds, and how far each request has come."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from states.application import Item
from states.memory import Remembered, Told

# How far a request has come.
NEW = "new"
WAITING = "waiting"  # for its running twin
LOOKED = "looked"  # a broken guard has looked for a record and found none
WON = "won"  # holds a claim, has not run
STARTED = "started"  # runs without a claim, has not run yet
RAN = "ran"  # the effect is there, the answer is not
KEPT = "kept"  # the store was told, the client was not
SENT = "sent"  # the client has its answer, the store was not told that an unclaimed run is over
ADRIFT = "adrift"  # cancelled, but a thread of it may still write
DONE = "done"
CRASHED = "crashed"


class Answer(NamedTuple):
    """What a client got: which run made it, None for the guard's own word."""

    status: int
    run: int | None = None
    replayed: bool = False

    def __str__(self) -> str:
        run = "" if self.run is None else f" of run {self.run + 1}"
        return f"{self.status}{run}{', replayed' if self.replayed else ''}"


class Process(NamedTuple):
    """One request. `leased`: whether its claim is alive, for somebody who watches the clock and not the store."""

    step: str = NEW
    token: int = 0
    run: int = 0  # what the store calls a run that has no claim, where it has a name for it
    status: int = 0  # of its run
    effective: bool = False  # its run has changed something
    leased: bool = False
    answer: Answer | None = None
    harm: frozenset[str] = frozenset()  # the faults that struck it

    @property
    def alive(self) -> bool:
        """Whether its process renews its claim."""
        return self.token != 0 and self.step in (WON, RAN)

    @property
    def orphaned(self) -> bool:
        """Nobody renews its claim any more, and its lease still lives."""
        return self.leased and not self.alive

    def hurt(self, fault: str, **changes: Any) -> Process:
        """The same after a fault."""
        return self._replace(harm=self.harm | {fault}, **changes)


class World(NamedTuple):
    """A state. `winners` are the latest to win each identity; `faults` is how many more may strike.

    `owed`: a guard has seen a shared store fail, and has not written the new epoch yet.
    """

    memory: Remembered
    item: Item
    processes: tuple[Process, ...]
    winners: tuple[int, ...]
    faults: int
    owed: bool = False

    def at(self, index: int, process: Process, told: Told | None = None, item: Item | None = None) -> World:
        """This state with one process changed, and perhaps the store and the application."""
        processes = (*self.processes[:index], process, *self.processes[index + 1 :])
        world = World(self.memory, self.item if item is None else item, processes, self.winners, self.faults, self.owed)
        return world if told is None else world.after(told)

    def after(self, told: Told) -> World:
        """This state after the store was told something."""
        tokens = told.tokens
        processes = [
            process._replace(token=_kept(tokens, process.token), run=_kept(tokens, process.run))
            if process.token or process.run
            else process
            for process in self.processes
        ]
        return World(told.memory, self.item, tuple(processes), self.winners, self.faults, self.owed)

    @property
    def name(self) -> Hashable:
        """What tells this state apart for all that can still happen, however many faults are left."""
        return (id(self.memory), self.item, self.processes, self.winners, self.owed)


def _kept(tokens: dict[int, int], token: int) -> int:
    return tokens.get(token, LOST) if token else 0


LOST = -1  # the token of a run whose entry is gone: the store will never know it again
