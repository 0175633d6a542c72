"""What may strike a request, and what the passing of time does."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator
from typing import NoReturn, cast

from states.memory import Told
from states.moments import starts
from states.requests import LEASE, WINDOW
from states.scene import Scene, Step
from states.world import ADRIFT, CRASHED, DONE, KEPT, NEW, RAN, SENT, STARTED, WAITING, WON, Answer, Process, World
from verbguard.errors import StoreError
from verbguard.records import Record, Won
from verbguard.stores import Store
from verbguard.stores.memory import MemoryStore


def strikes(scene: Scene, world: World, index: int, process: Process) -> Iterator[Step]:
    """Every fault that may strike this request now."""
    world = world._replace(faults=world.faults - 1)
    step = process.step
    if step in (WON, STARTED, RAN, KEPT, SENT):
        yield _struck(scene, world, index, "its process crashes", process.hurt("crashed", step=CRASHED, token=0))
    if process.alive and process.leased:
        yield _passed(scene, world, f"FAULT: the lease of {index + 1} runs out", LEASE + 1.0, victim=index)
    if step in (WON, STARTED, RAN):
        yield _cancelled(scene, world, index, process, halfway=False)
    if step == RAN and process.token and not scene.asks[index].raises:
        yield _cancelled(scene, world, index, process, halfway=True)
        run = scene.answered(index, process)
        run.store = DOWN
        run.commit()
        assert not run.saved
        hurt = process.hurt("unsaved", step=KEPT, token=0, answer=Answer(process.status, index))
        yield _struck(scene, world, index, "the store fails when its answer is saved", hurt)
    if step == KEPT and process.token:
        yield _raised(scene, world, index, process)
    if step == NEW and scene.may_begin(world, index) or step == WAITING:
        run = scene.front.open(scene.asks[index])
        if run.mode:
            run.store = DOWN
            assert run.ask(run.body) is None and run.refusal is None and not run.mode
            said = "FAULT: the store fails when it is asked; the request starts all the same"
            yield starts(scene, world, index, process.hurt("unasked"), said)


class _Down:
    """A store that does not answer."""

    def _fails(self, *arguments: object) -> NoReturn:
        raise StoreError("the store is down")

    claim = save = release = _fails


DOWN = cast(Store, _Down())


def _struck(scene: Scene, world: World, index: int, said: str, hurt: Process, told: Told | None = None) -> Step:
    return Step(scene.says(index, f"FAULT: {said}"), world.at(index, hurt, told))


def _cancelled(scene: Scene, world: World, index: int, process: Process, *, halfway: bool) -> Step:
    """The task ends and lets go of what it holds. Before its effect, a thread may be left that still writes."""

    def let_go(store: MemoryStore) -> None:
        run = scene.answered(index, process, whole=False) if halfway else scene.led(index, process)
        run.store = store
        run.linger()
        run.abandon(CancelledError())
        if not process.token:
            run.end_touch()

    told = scene.tell(world, ("cancel", index, process.token, process.status if halfway else 0), let_go)
    hurt = process.hurt("cancelled", step=DONE if process.step == RAN else ADRIFT, token=0, leased=False)
    said = "it is cancelled in the middle of its answer" if halfway else "it is cancelled"
    return _struck(scene, world, index, said, hurt, told)


def _raised(scene: Scene, world: World, index: int, process: Process) -> Step:
    """The application raises after the last piece of its answer, so that nobody knows whether it was complete."""

    def less(store: MemoryStore) -> None:
        # The claim has been through a save, and a store may have noted on it that its touch is over.
        run = scene.answered(index, process)
        run.store, scratch = store, type(store)()
        assert run.claimed_as is not None
        won = scratch.claim(run.claimed_as)
        assert isinstance(won, Won)
        scratch.save(run.claimed_as, won.token, Record(200, []))
        run.settled_at, run.saved = 1.0, True
        run.abandon(RuntimeError())

    told = scene.tell(world, ("less", index, process.token, process.status), less)
    hurt = process.hurt("raised", step=DONE, token=0)
    return _struck(scene, world, index, "the application raises after its answer", hurt, told)


def time(scene: Scene, world: World) -> Iterator[Step]:
    """Time passes: the lease of a run that nobody renews any more; and, as a fault, a whole window."""
    if any(process.orphaned for process in world.processes):
        yield _passed(scene, world, "the lease of a run that is no more runs out", LEASE + 1.0)
    if world.faults and any(process.step not in (NEW, WAITING) for process in world.processes):
        after = _passed(scene, world._replace(faults=world.faults - 1), "FAULT: a whole window passes", WINDOW + 5.0)
        # what a cancelled run left behind has ended by then, as the guard supposes
        settled = [process._replace(step=DONE) if process.step == ADRIFT else process for process in after.world.processes]
        yield after._replace(world=after.world._replace(processes=tuple(settled)))


def _passed(scene: Scene, world: World, said: str, seconds: float, victim: int | None = None) -> Step:
    """Whoever lives renews its lease in time, the victim excepted."""
    bench, processes = scene.bench, list(world.processes)
    living = tuple((index, each.token) for index, each in enumerate(processes) if each.alive and index != victim)

    def wait(store: MemoryStore) -> set[int]:
        renewed, end = set(range(len(processes))), bench.now + seconds
        while bench.now < end:
            bench.now = min(end, bench.now + LEASE * 0.6)
            for index, token in living:
                if not store.renew(scene.front.claim(scene.asks[index]), token):
                    renewed.discard(index)
        return renewed

    told = scene.tell(world, ("wait", seconds, living), wait)
    broken = ""
    for index, _ in living:
        if processes[index].leased and index not in told.answer:
            broken = f"{index + 1} renewed its lease in time and lost it all the same"
        processes[index] = processes[index]._replace(leased=index in told.answer)
    for index, process in enumerate(processes):
        if index == victim:
            processes[index] = process.hurt("lapsed", leased=False)
        elif process.orphaned:
            processes[index] = process._replace(leased=False)
    return Step(said, world._replace(processes=tuple(processes)).after(told), broken)
