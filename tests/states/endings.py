"""What must hold when nothing more will happen."""

from __future__ import annotations

from states import promises
from states.promises import Broken
from states.requests import LEASE, WINDOW
from states.scene import Scene
from states.world import World
from verbguard.records import Busy, Done, Outcome, Record, Won
from verbguard.stores.memory import MemoryStore


def ending(scene: Scene, world: World) -> str:
    """The promise that turns out to be broken, or nothing."""
    try:
        if scene.turns:
            promises.in_turn(scene.asks, world, scene.turns)
        _unlocked(scene, world)
        _replays_again(scene, world)
    except Broken as broken:
        return str(broken)
    return ""


def _unlocked(scene: Scene, world: World) -> None:
    """No key is locked for ever: a lease later it is not busy, and after its time it is new."""
    for ask in dict.fromkeys(ask for ask in scene.asks if ask.identity is not None):
        claim = scene.front.claim(ask)

        def later(store: MemoryStore, seconds: float) -> Outcome:
            scene.bench.now += seconds
            return store.claim(claim)  # noqa: B023 - called at once

        soon = scene.bench.ask(world.memory, ("soon", ask), lambda store: later(store, LEASE + 1.0))  # noqa: B023
        if type(soon) is Busy:
            raise Broken(f"the key of {ask} is still busy after a lease in which nobody ran")
        late = scene.bench.ask(world.memory, ("late", ask), lambda store: later(store, LEASE + claim.keep + 1.0))  # noqa: B023
        if not isinstance(late, Won):
            raise Broken(f"the key of {ask} is still {type(late).__name__} after all its time")


def _replays_again(scene: Scene, world: World) -> None:
    """A guard that never replayed would break none of the other promises. Where nobody is left that may write, it does."""
    if any(not process.harm.isdisjoint(("crashed", "unsaved")) for process in world.processes):
        return  # a run whose end was never heard of may go on for ever
    for ask in dict.fromkeys(ask for ask in scene.asks if ask.identity is not None and not ask.key):
        claim = scene.front.claim(ask)

        def twice(store: MemoryStore) -> bool:
            scene.bench.now += WINDOW + LEASE + 1.0
            first = store.claim(claim)  # noqa: B023 - called at once
            return (
                isinstance(first, Won)
                and store.save(claim, first.token, Record(200, []))  # noqa: B023
                and type(store.claim(claim)) is Done  # noqa: B023
            )

        if not scene.bench.ask(world.memory, ("twice", ask), twice):
            raise Broken(f"all is quiet, and {ask} is not replayed")
