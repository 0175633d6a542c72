"""What may strike a request, and what the passing of time does."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn, cast

from states.memory import Told
from states.moments import starts
from states.requests import LEASE, WINDOW
from states.scene import Scene, Step
from states.world import ADRIFT, CRASHED, DONE, KEPT, NEW, RAN, SENT, STARTED, WAITING, WON, Answer, Process, World
from verbguard.errors import StoreError
from verbguard.records import Record, Won
from verbguard.stores import Store


def strikes(scene: Scene, world: World, index: int, process: Process) -> Iterator[Step]:
    """Every fault that may strike this request now."""
    world = world._replace(faults=world.faults - 1)
    step = process.step
    if step in (WON, STARTED, RAN, KEPT, SENT):
        yield _struck(scene, world, index, "its process crashes", process.hurt("crashed", step=CRASHED, token=0, run=0))
    if scene.shared:
        yield from outages(scene, world, index, process)
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
        failed = world._replace(owed=scene.shared)
        yield _struck(scene, failed, index, "the store fails when its answer is saved", hurt)
    if step == KEPT and process.token:
        yield _raised(scene, world, index, process)
    if step == NEW and scene.may_begin(world, index) or step == WAITING:
        run = scene.front.open(scene.asks[index])
        if run.mode:
            run.store = DOWN
            assert run.ask(run.body) is None and run.refusal is None and not run.mode
            said = "FAULT: the store fails when it is asked; the request starts all the same"
            yield starts(scene, world._replace(owed=scene.shared), index, process.hurt("unasked"), said)


class _Down:
    """A store that does not answer."""

    shared = False

    def _fails(self, *arguments: object) -> NoReturn:
        raise StoreError("the store is down")

    claim = save = release = start = end = linger = _fails


DOWN = cast(Store, _Down())


class _Mute:
    """A store that does what it is asked, and its answer is lost."""

    shared = False  # that it owes an epoch is a step of its own here, and nothing for the thread that pays such debts

    def __init__(self, store: Store) -> None:
        self._store = store
        self.answer: object = None

    def _lost(self, name: str, *arguments: object) -> NoReturn:
        self.answer = getattr(self._store, name)(*arguments)
        raise StoreError("the answer of the store is lost")

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        return partial(self._lost, name)


def _mute(store: Store) -> Store:
    return cast(Store, _Mute(store))


def _scratch(store: Store) -> Store:
    return type(store)(clock=lambda: 0.0)  # type: ignore[call-arg]


def outages(scene: Scene, world: World, index: int, process: Process) -> Iterator[Step]:
    """What a shared store does not hear, or hears when its answer is lost; the guard knows not which, and owes an epoch."""
    world, owed = world._replace(owed=True), world.owed
    step = process.step
    if step == NEW and scene.may_begin(world, index) or step == WAITING:
        yield from _unheard(scene, world, index, process)
    if step == RAN and process.token:
        yield from _unsaved(scene, world, index, process)
    if step == SENT and process.run:
        lost = process.hurt("unsaved", step=DONE, run=0)
        yield _struck(scene, world, index, "the store fails when it ends", lost)

        def end(store: Store) -> None:
            run = scene.answered(index, process)
            run.store = _mute(store)
            run.end_touch()

        told = scene.tell(world, ("end, lost", index, process.run, process.status), end)
        yield _struck(scene, world, index, "it ends, and the store's answer is lost", process._replace(step=DONE, run=0), told)
    if step == WON and process.leased:
        said = f"FAULT: {index + 1} stalls until nobody believes any more that it runs"
        stalled = _passed(scene, world._replace(owed=owed), said, LEASE + WINDOW + 1.0, victim=index)
        yield stalled._replace(world=stalled.world.at(index, stalled.world.processes[index].hurt("stalled")))
    if step in (WON, STARTED):
        hurt = process.hurt("cancelled", step=ADRIFT, token=0, run=0)._replace(harm=process.harm | {"cancelled", "unsaved"})
        yield _struck(scene, world, index, "it is cancelled, and the store fails", hurt)


def _unheard(scene: Scene, world: World, index: int, process: Process) -> Iterator[Step]:
    """The request begins all the same."""
    ask = scene.asks[index]
    run = scene.front.open(ask)
    began = process._replace(step=STARTED, harm=process.harm | ({"unheard", "unasked"} if run.mode else {"unheard"}))
    yield _struck(scene, world, index, "the store fails, and hears nothing of its start", began)

    def start(store: Store) -> None:
        begun = scene.front.led(ask, 0)
        begun.store = _mute(store)
        begun.begin_touch()
        assert begun.touch is None

    if not run.mode or process.step == WAITING:
        told = scene.tell(world, ("start, lost", ask), start)
        began = began._replace(harm=began.harm | {"unsaved"})
        yield _struck(scene, world, index, "it starts, and the store's answer is lost", began, told)
    if run.mode:

        def claim(store: Store) -> bool:
            mute = _Mute(store)
            run.store = cast(Store, mute)
            assert run.ask(run.body) is None
            return isinstance(mute.answer, Won)

        told = scene.tell(world, ("claim, lost", ask), claim)
        if told.answer:  # what else the store may have said comes to the same as if it had not been asked
            held = process.hurt("unasked", leased=True)
            said = "FAULT: it wins its claim, and the store's answer is lost; it starts all the same"
            yield starts(scene, world.at(index, held, told), index, held, said)


def _unsaved(scene: Scene, world: World, index: int, process: Process) -> Iterator[Step]:
    """The store is told how it ended."""
    raised = scene.asks[index].raises and process.status == 500
    answer = Answer(process.status, index)
    if raised:
        hurt = process.hurt("unsaved", step=KEPT, token=0, answer=answer)
        yield _struck(scene, world, index, "the application raises, and the store fails", hurt)

    def keep(store: Store) -> None:
        run = scene.led(index, process) if raised else scene.answered(index, process)
        run.store = _mute(store)
        if raised:
            run.abandon(RuntimeError())
        else:
            run.commit()
        assert not run.saved

    told = scene.tell(world, ("keep, lost", index, process.token, process.status), keep)
    done = process._replace(step=KEPT, token=0, leased=False, answer=answer)
    yield _struck(scene, world, index, "the store keeps its answer, and its own is lost", done, told)


def epoch(scene: Scene, world: World) -> Iterator[Step]:
    """A guard whose store failed writes a new epoch as soon as it reaches it: at its next request, whichever that is."""
    if world.owed:
        told = scene.tell(world, "epoch", lambda store: store.epoch())
        yield Step("the store is reached again, and a new epoch written", world.after(told)._replace(owed=False))


def _struck(scene: Scene, world: World, index: int, said: str, hurt: Process, told: Told | None = None) -> Step:
    return Step(scene.says(index, f"FAULT: {said}"), world.at(index, hurt, told))


def _cancelled(scene: Scene, world: World, index: int, process: Process, *, halfway: bool) -> Step:
    """The task ends and lets go of what it holds. Before its effect, a thread may be left that still writes."""

    def let_go(store: Store) -> None:
        run = scene.answered(index, process, whole=False) if halfway else scene.led(index, process)
        run.store = store
        run.linger()
        run.abandon(CancelledError())
        if not process.token:
            run.end_touch()

    told = scene.tell(world, ("cancel", index, process.token, process.run, process.status if halfway else 0), let_go)
    leased = process.leased and not process.token  # by a claim of which this request does not know
    hurt = process.hurt("cancelled", step=DONE if process.step == RAN else ADRIFT, token=0, run=0, leased=leased)
    said = "it is cancelled in the middle of its answer" if halfway else "it is cancelled"
    return _struck(scene, world, index, said, hurt, told)


def _raised(scene: Scene, world: World, index: int, process: Process) -> Step:
    """The application raises after the last piece of its answer, so that nobody knows whether it was complete."""

    def less(store: Store) -> None:
        # The claim has been through a save, and a store may have noted on it that its touch is over.
        run = scene.answered(index, process)
        run.store, scratch = store, _scratch(store)
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
        settled = [process._replace(step=DONE) if _supposed(world, process) else process for process in after.world.processes]
        yield after._replace(world=after.world._replace(processes=tuple(settled)))


def _supposed(world: World, process: Process) -> bool:
    """Whether a run is supposed to be over after a window: one that was cut off, and one of which a store did not hear, since
    its epoch.
    """
    unheard = "unheard" in process.harm and "unsaved" not in process.harm
    return process.step == ADRIFT or (process.step == STARTED and unheard and not world.owed)


def _passed(scene: Scene, world: World, said: str, seconds: float, victim: int | None = None) -> Step:
    """Whoever lives renews its lease in time, the victim excepted."""
    bench, processes = scene.bench, list(world.processes)
    living = tuple((index, each.token) for index, each in enumerate(processes) if each.alive and index != victim)

    def wait(store: Store) -> set[int]:
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
