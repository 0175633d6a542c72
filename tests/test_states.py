"""Every reachable state of three requests that meet, with faults, through the real engine and the real store.

What is visited are states, not orders: two orders that lead to the same state are one. Each promise is checked whenever
something happens, and broken guards must be caught, or the checker would prove nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from states import requests as ask
from states.explorer import Found, explore
from states.requests import KEYLESS, Ask, Front
from states.scene import Scene

from verbguard.records import Claim, Outcome, Record, Touch, Won
from verbguard.stores.memory import _SHIFT, MemoryStore, _Running, _unpack

FRONT = Front()
COUNTED: dict[str, int] = {}

WITH_FAULTS = [
    (ask.A, ask.A, ask.A),
    (ask.A, ask.B, ask.A),
    (ask.A, ask.A_BY_BOB, ask.A),
    (ask.A, ask.A_IF_0, ask.A),
    (ask.A, ask.DELETE, ask.A),
    (ask.A, ask.PATCH, ask.A),
    (ask.A, ask.PUBLISH, ask.A),
    (ask.A, ask.NAME, ask.A),
    (ask.A, ask.CREATE, ask.A),
    (ask.NAME, ask.DELETE, ask.NAME),
    (ask.A_IF_0, ask.A_IF_0, ask.B),
    (ask.A_KEY, ask.A_KEY, ask.A_KEY),
    (ask.A_KEY, ask.A_KEY, ask.B_KEY),
    (ask.A_KEY_IF_0, ask.A_KEY_IF_0, ask.A_KEY_IF_0),
    (ask.DELETE_KEY, ask.DELETE_KEY, ask.DELETE_KEY),
    (ask.PATCH_KEY, ask.PATCH_KEY, ask.PATCH_KEY),
    (ask.CREATE_KEY, ask.CREATE_KEY, ask.CREATE_BY_BOB),
    (ask.RAISE_KEY, ask.RAISE_KEY, ask.RAISE_KEY),
]


def named(asks: tuple[Ask, ...]) -> str:
    return " | ".join(map(str, asks))


@pytest.mark.parametrize("asks", WITH_FAULTS, ids=named)
def test_every_state_with_two_faults(asks: tuple[Ask, ...]) -> None:
    """A crash, a lease that runs out, a cancellation, a store that fails: any two of them, anywhere, break no promise."""
    found = explore(Scene(asks, FRONT), faults=2)
    print(f"{found.states} states, {found.steps_taken} steps")
    assert not found.broken, f"\n{found}"
    assert found.states > 100


def test_every_state_without_faults() -> None:
    """Any three requests without a key, in turn or at once: nobody is told of a state that is gone."""
    states = 0
    for asks in itertools.combinations_with_replacement(KEYLESS, 3):
        for turns in (0,):
            found = explore(Scene(asks, FRONT, turns=turns), faults=0)
            assert not found.broken, f"{named(asks)}\n{found}"
            states += found.states
    print(f"{states} states")
    assert states > 10_000


class BumpsAtTheStartOnly(MemoryStore):
    """A write ages its target when it starts, and not when it ends."""

    def _end(self, touch: Touch) -> int:
        for path in touch.marks:
            self._touched[path] -= 1
        for path in touch.sweeps:
            self._swept[path] -= 1
        return self._touched[touch.target] >> _SHIFT


class SavesWithoutTheToken(MemoryStore):
    """Whoever comes last writes the record."""

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        held = self._records.get(claim.ident)
        if type(held) is bytes:
            token = _unpack(held)[1]
        elif isinstance(held, _Running):
            token = held.token
        return super().save(claim, token, record)


class ChecksBeforeItClaims(MemoryStore):
    """Looks whether there is a record, and takes the claim in a second step."""

    def claim(self, claim: Claim) -> Outcome:
        outcome = super().claim(claim)
        if isinstance(outcome, Won):
            self.release(claim, outcome.token)
        return outcome

    def take(self, claim: Claim) -> Outcome:
        self._records.pop(claim.ident, None)
        return super().claim(claim)


BROKEN: list[tuple[Callable[..., MemoryStore], tuple[Ask, ...], int]] = [
    (BumpsAtTheStartOnly, (ask.A, ask.B, ask.A), 0),
    (SavesWithoutTheToken, (ask.A_KEY, ask.A_KEY, ask.A_KEY), 1),
    (ChecksBeforeItClaims, (ask.PATCH_KEY, ask.PATCH_KEY, ask.PATCH_KEY), 0),
]


@pytest.mark.parametrize(("make", "asks", "faults"), BROKEN, ids=[row[0].__name__ for row in BROKEN])
def test_a_broken_store_is_caught(make: Any, asks: tuple[Ask, ...], faults: int) -> None:
    """The checker sees what it is there to see, and tells the steps that lead there."""
    found: Found = explore(Scene(asks, FRONT, make), faults)
    print(found)
    assert found.broken
    assert found.steps


def test_a_broken_principal_is_caught() -> None:
    """Where everybody is one principal, an answer reaches somebody else."""
    found = explore(Scene((ask.CREATE_KEY, ask.CREATE_BY_BOB, ask.CREATE_KEY), Front(lambda request: "all")), 0)
    print(found)
    assert found.broken
