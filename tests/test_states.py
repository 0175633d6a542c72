"""Three requests overlap in every order, faults strike anywhere, and every promise of replay holds in every state."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from shared.model import ModelStore
from states import broken, broken_rows
from states.catalogue import GROUPS, faults_of
from states.explorer import Found, explore
from states.requests import (
    A_BY_BOB,
    A_KEY,
    B_KEY,
    CREATE,
    CREATE_BY_BOB,
    CREATE_KEY,
    DELETE,
    NAME,
    PATCH,
    A,
    Ask,
    B,
    Front,
)
from states.scene import Scene

from verbguard.stores import Store
from verbguard.stores.memory import MemoryStore


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """States are tuples, and all go with their scene; to look for some among so many takes a third of the time."""
    gc.disable()
    yield
    gc.enable()


def described(asks: tuple[Ask, ...]) -> str:
    return "\n".join(f"  {number}: {ask}" for number, ask in enumerate(asks, 1))


@pytest.mark.parametrize("make", [MemoryStore, ModelStore], ids=["memory", "shared"])
def test_every_reachable_state_keeps_every_promise(make: type[MemoryStore | ModelStore]) -> None:
    """Whatever overlaps, and wherever faults strike: no run too many, no answer that is another's or not true, no lock."""
    front, total, steps = Front(), 0, 0
    broken_promises = []
    print()
    for group, (scenes, faults, turns) in GROUPS.items():
        states = 0
        for asks in scenes:
            scene = Scene(asks, front, make, turns)
            found = explore(scene, faults_of(asks, faults, shared=make.shared))
            scene.bench.forget()
            states += found.states
            steps += found.steps_taken
            if found.broken:
                broken_promises.append(f"{described(asks)}\n{found}")
                break
        print(f"{states:9,} states, {len(scenes):3} scenes, up to {faults} faults: {group}")
        total += states
    print(f"{total:9,} states in all, and {steps:,} steps between them")
    assert not broken_promises, "\n" + "\n\n".join(broken_promises)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A guard with a mistake, and the requests that show it."""

    asks: tuple[Ask, ...]
    shows: str
    make: Callable[..., Store] = MemoryStore
    principal: Callable[[Any], Any] | None = None
    faults: int = 0
    right: Callable[..., Store] = MemoryStore
    only: str = ""

    def explore(self) -> Found:
        return explore(Scene(self.asks, Front(self.principal), self.make, only=self.only), self.faults)


def wrong(asks: tuple[Ask, ...], shows: str, mistake: broken_rows.Mistaken, faults: int = 0, only: str = "") -> Mistake:
    """The same for a shared store."""
    return Mistake(asks, shows, broken_rows.store(mistake), faults=faults, right=ModelStore, only=only)


NOT_TRUE = "is told that its PUT is in force, but the state is"
MISTAKES = {
    "bump at start only": Mistake((A, B, A), NOT_TRUE, broken.BumpAtStartOnly),
    "no count of running requests": Mistake((A, B, A), NOT_TRUE, broken.NoCount),
    "bump at start only, and no count": Mistake((A, B, A), NOT_TRUE, broken.BumpAtStartOnlyAndNoCount),
    "bump at start only, and a write without a claim": Mistake((A, PATCH, A), NOT_TRUE, broken.BumpAtStartOnly),
    "no count, and a write below": Mistake((A, NAME, A), NOT_TRUE, broken.NoCount),
    "save without looking at the token": Mistake((A_KEY,) * 3, "whose claim went to", broken.SaveWithoutToken, faults=1),
    "check before claim": Mistake((CREATE_KEY,) * 2, "while the lease of", broken.CheckBeforeClaim),
    "check before claim, without a key": Mistake((A,) * 2, "while the lease of", broken.CheckBeforeClaim),
    "keyless record kept although another request overlapped": Mistake((A, B, A), NOT_TRUE, broken.KeepsWhatWasOverlapped),
    "replay across principals": Mistake((CREATE_KEY, CREATE_BY_BOB), "by bob got the answer", principal=broken.anybody),
    "replay across principals, without a key": Mistake((A, A_BY_BOB), "got the answer", principal=broken.anybody),
    "a cancelled request is over": Mistake((A, B, A), NOT_TRUE, broken.ForgetsWhoWasCutOff, faults=1),
    "a late run is counted for ever": Mistake((A, A), "all is quiet", broken.NeverEndsWhatIsLate, faults=1),
    "no lease": Mistake((A_KEY, B_KEY), "still busy", broken.NoLease, faults=1),
    "shared: no event at the end": wrong((A, B, B), NOT_TRUE, broken_rows.no_event_at_the_end, 1),
    "shared: no event at the start": wrong((A, B, A), NOT_TRUE, broken_rows.no_event_at_the_start),
    "shared: runs are not remembered": wrong((A, B, A), NOT_TRUE, broken_rows.runs_are_not_remembered),
    "shared: a view is not compared at save": wrong((A, B, A), NOT_TRUE, broken_rows.view_is_not_compared_at_save),
    "shared: save without looking at the token": wrong(
        (A_KEY,) * 3, "whose claim went to", broken_rows.save_without_looking_at_the_token, 1
    ),
    "shared: the epoch is not part of the view": wrong((A, PATCH, A), NOT_TRUE, broken_rows.epoch_is_not_part_of_the_view, 1),
    "shared: no quiet after an epoch": wrong((A, PATCH, A), NOT_TRUE, broken_rows.quiet_is_ignored, 1),
    "shared: a late end is ignored": wrong((A, A, B, B), NOT_TRUE, broken_rows.a_late_end_is_ignored, 1, "stalls"),
    "shared: a lease never ends": wrong((A_KEY, B_KEY), "still busy", broken_rows.a_lease_never_ends, 1),
    "shared: a released claim leaves its run": wrong(
        (NAME, DELETE), "all are done", broken_rows.a_released_claim_leaves_its_run
    ),
    "shared: sweeps are ignored": wrong((NAME, A, NAME), NOT_TRUE, broken_rows.sweeps_are_ignored),
    "shared: told although a newer run of the key began": wrong(
        (A, B, A, A), "whose claim went to", broken_rows.told_although_a_newer_run_began
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_found(mistake: Mistake) -> None:
    """The checker sees what it is there for, and tells how it comes about."""
    found = mistake.explore()
    print(f"\n{described(mistake.asks)}\n{found}")
    assert mistake.shows in found.broken
    assert 2 <= len(found.steps) <= 15


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_the_mistake_is_what_is_found(mistake: Mistake) -> None:
    """Among the same requests, without the mistake, there is nothing to find."""
    assert explore(Scene(mistake.asks, Front(), mistake.right, only=mistake.only), mistake.faults).broken == ""


@pytest.mark.parametrize("make", [MemoryStore, ModelStore], ids=["memory", "shared"])
def test_replays_happen(make: type[MemoryStore | ModelStore]) -> None:
    """The promises are not kept by running everything: among twins without faults, some are answered from the store."""
    for asks in ((A, A), (A_KEY, A_KEY), (CREATE_KEY, CREATE_KEY), (A, CREATE, A)):
        found = explore(Scene(asks, Front(), make), 0)
        assert found.replays, described(asks)
