"""Visits every reachable state of a scene, those with the fewest faults first, and remembers how each was reached."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from states.application import FIRST, Item
from states.endings import ending
from states.faults import epoch, strikes, time
from states.moments import moments
from states.scene import Scene, Step
from states.world import CRASHED, DONE, World

Reached = dict[Hashable, tuple[Hashable, str, int]]  # state -> the one before, what happened, how many faults were left


@dataclass
class Found:
    """How much a scene held. `steps` is a way to a broken promise with the fewest faults, empty where all are kept."""

    states: int = 0
    steps_taken: int = 0
    replays: int = 0
    broken: str = ""
    steps: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{number:4}. {step}" for number, step in enumerate(self.steps, 1)]
        return "\n".join([*lines, f"      BROKEN: {self.broken}"])


def explore(scene: Scene, faults: int, item: Item = FIRST) -> Found:
    """Visit every state; stop at the first promise that is broken."""
    first = scene.beginning(item, faults)
    reached: Reached = {first.name: (None, "", faults)}
    # Whoever comes to a state with more faults left can do all that others can from there: those go first.
    queues: list[deque[World]] = [deque() for _ in range(faults + 1)]
    queues[faults].append(first)
    found = Found()
    while queue := next(filter(None, reversed(queues)), None):
        world = queue.popleft()
        name = world.name
        if reached[name][2] > world.faults:
            continue
        found.states += 1
        for said, after, broken in following(scene, world):
            found.steps_taken += 1
            found.replays += said.endswith("replayed")
            if broken:
                found.broken, found.steps = broken, [*_way(reached, name), said]
                return found
            after = scene.essence(after)
            next_name = after.name
            known = reached.get(next_name)
            if known is None or known[2] < after.faults:
                reached[next_name] = name, said, after.faults
                queues[after.faults].append(after)
        if all(process.step in (DONE, CRASHED) for process in world.processes):
            found.broken = ending(scene, world)
            if found.broken:
                found.steps = _way(reached, name)
                return found
    return found


def following(scene: Scene, world: World) -> Iterator[Step]:
    """Everything that may happen next."""
    for index, process in enumerate(world.processes):
        yield from moments(scene, world, index, process)
        if world.faults:
            yield from [step for step in strikes(scene, world, index, process) if scene.only in step.said]
    yield from epoch(scene, world)
    yield from [step for step in time(scene, world) if scene.only in step.said or step.world.faults == world.faults]


def _way(reached: Reached, name: Hashable) -> list[str]:
    steps: list[str] = []
    while name is not None:
        name, said, _ = reached[name]
        steps.append(said)
    return steps[-2::-1]
