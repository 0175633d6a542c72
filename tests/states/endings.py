"""What must hold when nothing more will happen."""

from __future__ import annotations

from collections.abc import Callable

from states import promises
from states.promises import Broken
from states.requests import LEASE, WINDOW, Ask
from states.scene import Scene
from states.world import World
from verbguard.records import Busy, Done, Outcome, Record, Won
from verbguard.stores import Store
from verbguard.stores.transitions import UNCLAIMED


def ending(scene: Scene, world: World) -> str:
    """The promise that turns out to be broken, or nothing."""
    try:
        if scene.turns:
            promises.in_turn(scene.asks, world, scene.turns)
        _unlocked(scene, world)
        _replays_at_once(scene, world)
        _replays_again(scene, world)
    except Broken as broken:
        return str(broken)
    return ""


def _unlocked(scene: Scene, world: World) -> None:
    """No key is locked for ever: a lease later it is not busy, and after its time it is new."""
    for ask in dict.fromkeys(ask for ask in scene.asks if ask.identity is not None):
        keep = scene.front.claim(ask).keep
        soon = scene.bench.ask(world.memory, ("soon", ask), _later(scene, ask, LEASE + 1.0))
        if type(soon) is Busy:
            raise Broken(f"the key of {ask} is still busy after a lease in which nobody ran")
        late = scene.bench.ask(world.memory, ("late", ask), _later(scene, ask, LEASE + keep + 1.0))
        if not isinstance(late, Won):
            raise Broken(f"the key of {ask} is still {type(late).__name__} after all its time")


def _later(scene: Scene, ask: Ask, seconds: float) -> Callable[[Store], Outcome]:
    def claim(store: Store) -> Outcome:
        scene.bench.now += seconds
        return store.claim(scene.front.claim(ask))

    return claim


def _replays_again(scene: Scene, world: World) -> None:
    """A guard that never replayed would break none of the other promises. Where nobody is left that may write, it does."""
    if not scene.shared and any(not process.harm.isdisjoint(("crashed", "unsaved")) for process in world.processes):
        return  # a run whose end was never heard of may go on for ever
    for ask in dict.fromkeys(ask for ask in scene.asks if ask.identity is not None and not ask.key):
        if not scene.bench.ask(
            world.memory, ("twice", ask), _twice(scene, ask, (UNCLAIMED if scene.shared else WINDOW + LEASE) + 1.0)
        ):
            raise Broken(f"all is quiet, and {ask} is not replayed")


def _replays_at_once(scene: Scene, world: World) -> None:
    """Where no fault struck, nobody is left that may write when all are done."""
    if world.faults < scene.faults:
        return
    for ask in dict.fromkeys(ask for ask in scene.asks if ask.identity is not None and not ask.key):
        if not scene.bench.ask(world.memory, ("at once", ask), _twice(scene, ask, 0.0)):
            raise Broken(f"all are done, and {ask} is not replayed")


def _twice(scene: Scene, ask: Ask, seconds: float) -> Callable[[Store], bool]:
    def twice(store: Store) -> bool:
        scene.bench.now += seconds
        first, second = scene.front.claim(ask), scene.front.claim(ask)
        outcome = store.claim(first)
        if type(outcome) is Done:
            return True
        assert isinstance(outcome, Won)
        store.save(first, outcome.token, Record(200, []))
        return type(store.claim(second)) is Done

    return twice
