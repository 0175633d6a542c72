"""A scene: the requests that meet, with the real guard and the real store that they meet in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from states import application
from states.application import FIRST, Item
from states.memory import Bench, Memory, Told
from states.promises import Broken
from states.requests import Ask, Front, Run
from states.rows import Rows
from states.world import ADRIFT, CRASHED, DONE, KEPT, LOOKED, NEW, RAN, SENT, STARTED, WAITING, WON, Process, World
from verbguard.stores import Store
from verbguard.stores.memory import MemoryStore

_SETTLING = (RAN, KEPT, SENT, ADRIFT, DONE, CRASHED)
_CLAIMING = (NEW, WAITING, LOOKED)
_BUSY = (NEW, WAITING, LOOKED, WON, STARTED, ADRIFT)
_ENDLESS = frozenset(["crashed", "unsaved"])
_TURNS = frozenset(["untold"])
_STALLED = frozenset(["stalled"])
_DEAF = frozenset(["unheard", "unsaved"])
_NOTHING: frozenset[str] = frozenset()


class Step(NamedTuple):
    """What happened, the state that it led to, and the promise that it broke, if any."""

    said: str
    world: World
    broken: str = ""


class Scene:
    """Requests that meet. The first `turns` of them come one after the other, the rest whenever they like.

    Of the faults, those strike whose description has the word `only`.
    """

    def __init__(
        self,
        asks: Sequence[Ask],
        front: Front,
        make: Callable[..., Store] = MemoryStore,
        turns: int = 0,
        only: str = "",
    ) -> None:
        self.asks = asks
        self.front = front
        self.shared = getattr(make, "shared", False)
        self.bench = Bench(make, Rows if self.shared else Memory)
        self.turns = turns
        self.only = only
        self.faults = 0
        self._essences: dict[Hashable, tuple[tuple[Process, ...], Item, tuple[int, ...], bool]] = {}
        self._lasting = [(_TURNS if index < turns else _NOTHING) if self.shared else _ENDLESS for index in range(len(asks))]
        self.looks_first = hasattr(make, "take")
        self.identities: list[tuple[str, ...] | None] = list(
            dict.fromkeys(ask.identity for ask in asks if ask.identity is not None)
        )

    def beginning(self, item: application.Item, faults: int) -> World:
        """The state before anything has happened."""
        self.faults = faults
        return World(self.bench.fresh, item, (Process(),) * len(self.asks), (-1,) * len(self.identities), faults)

    def tell(self, world: World, what: Hashable, how: Callable[[Any], Any]) -> Told:
        """Tell the store of this state something."""
        return self.bench.tell(world.memory, what, how)

    def may_begin(self, world: World, index: int) -> bool:
        """Those that take turns wait for theirs. Of equal requests the first comes first: the others are its mirror images."""
        if index and index < self.turns and world.processes[index - 1].step not in (DONE, CRASHED):
            return False
        ask = self.asks[index]
        return all(world.processes[other].step != NEW for other in range(index) if self.asks[other] == ask)

    def essence(self, world: World) -> World:
        """The state without what no longer matters.

        With a key it matters what a client heard, and why a twin may hear something else; to those that take turns it
        matters when a client has its answer. Otherwise nobody sees it arrive. Who won is asked by those that will claim yet.
        """
        told = world.processes, world.item, world.winners, world.owed, world.faults > 0
        known = self._essences.get(told)
        if known is None:
            known = self._essences[told] = self._essence(world)
        processes, item, winners, owed = known
        return World(world.memory, item, processes, winners, world.faults, owed)

    def _essence(self, world: World) -> tuple[tuple[Process, ...], Item, tuple[int, ...], bool]:
        processes = tuple([self._settled(world, index, process) for index, process in enumerate(world.processes)])
        claiming = {ask.identity: ask for ask, each in zip(self.asks, processes, strict=True) if each.step in _CLAIMING}
        winners = [who if identity in claiming else -1 for who, identity in zip(world.winners, self.identities, strict=True)]
        # an epoch that nobody can notice any more need not be written
        owed = world.owed and any(identity is not None and not ask.key for identity, ask in claiming.items())
        idle = not self.turns and all(each.step not in _BUSY for each in processes)
        return processes, FIRST if idle else world.item, tuple(winners), owed

    def _settled(self, world: World, index: int, process: Process) -> Process:
        step = process.step
        if self.asks[index].key or step == NEW:
            return process
        if step not in _SETTLING:
            harm = process.harm & (_DEAF if step == STARTED else _STALLED if step == WON else _NOTHING)
            return process if harm == process.harm else process._replace(harm=harm)
        answer = process.answer
        if index >= self.turns:
            answer = None
            if step == RAN and not process.token:
                step = SENT
            if self.shared and (step == CRASHED and "stalled" not in process.harm or step == SENT and not process.run):
                step = DONE  # nobody is there to tell the store
            if step == KEPT and not (process.token and world.faults):
                step = DONE
        lasting = self._lasting[index]
        if step in (RAN, CRASHED):
            lasting |= _STALLED
        token, run = (0, 0) if step in (DONE, CRASHED) else (process.token, process.run)
        status = process.status if step in (RAN, SENT) else 0
        return Process(step, token, run, status, False, process.leased, answer, process.harm & lasting)

    def says(self, index: int, said: str) -> str:
        """A line of a counterexample."""
        return f"{index + 1} {self.asks[index]}: {said}"

    def place(self, index: int) -> int:
        """Where this request's identity stands among `winners`."""
        return self.identities.index(self.asks[index].identity)

    def led(self, index: int, process: Process) -> Run:
        """The exchange of a request that runs, at the moment before its answer."""
        run = self.front.led(self.asks[index], process.token)
        if run.touch is not None and not process.token:
            run.touch.run = process.run
            if self.shared and not process.run:
                run.touch = None  # the store did not hear of its start
        return run

    def answered(self, index: int, process: Process, *, whole: bool = True) -> Run:
        """The same after the application's answer, or after a first piece of it."""
        run = self.led(index, process)
        run.answered(process.status, application.fields(self.asks[index], process.status, index))
        run.passed(b"o", True)
        if whole:
            run.passed(b"k", False)
        return run


def checked(said: str, world: World, promise: Callable[..., None], *arguments: object) -> Step:
    """The step, and whether it broke this promise."""
    try:
        promise(*arguments)
    except Broken as broken:
        return Step(said, world, str(broken))
    return Step(said, world)
