"""Three requests overlap in every order, faults strike anywhere, and every promise of replay holds in every state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from states import broken
from states.catalogue import GROUPS
from states.explorer import Found, explore
from states.requests import (
    A_BY_BOB,
    A_KEY,
    B_KEY,
    CREATE,
    CREATE_BY_BOB,
    CREATE_KEY,
    NAME,
    PATCH,
    A,
    Ask,
    B,
    Front,
)
from states.scene import Scene

from verbguard.stores.memory import MemoryStore


def described(asks: tuple[Ask, ...]) -> str:
    return "\n".join(f"  {number}: {ask}" for number, ask in enumerate(asks, 1))


def test_every_reachable_state_keeps_every_promise() -> None:
    """Whatever overlaps, and wherever faults strike: no run too many, no answer that is another's or not true, no lock."""
    front, total, steps = Front(), 0, 0
    broken_promises = []
    print()
    for group, (scenes, faults, turns) in GROUPS.items():
        states = 0
        for asks in scenes:
            found = explore(Scene(asks, front, turns=turns), faults)
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
    make: Callable[..., MemoryStore] = MemoryStore
    principal: Callable[[Any], Any] | None = None
    faults: int = 0

    def explore(self) -> Found:
        return explore(Scene(self.asks, Front(self.principal), self.make), self.faults)


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
    assert explore(Scene(mistake.asks, Front()), mistake.faults).broken == ""


def test_replays_happen() -> None:
    """The promises are not kept by running everything: among twins without faults, some are answered from the store."""
    for asks in ((A, A), (A_KEY, A_KEY), (CREATE_KEY, CREATE_KEY), (A, CREATE, A)):
        found = explore(Scene(asks, Front()), 0)
        assert found.replays, described(asks)
