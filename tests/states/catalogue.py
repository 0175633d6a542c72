"""Which requests meet: with two faults where the promises meet each other, without a fault in every mix."""

from __future__ import annotations

import os
from itertools import combinations_with_replacement

from states.requests import (
    A_BY_BOB,
    A_IF_0,
    A_KEY,
    A_KEY_IF_0,
    B_KEY,
    CREATE,
    CREATE_BY_BOB,
    CREATE_KEY,
    DELETE,
    DELETE_KEY,
    KEYED,
    KEYLESS,
    NAME,
    PATCH_KEY,
    PUBLISH,
    RAISE_KEY,
    A,
    Ask,
    B,
)

Asks = tuple[Ask, ...]

# group -> what meets in it, the faults that may strike, and how many of the requests come one after the other
GROUPS: dict[str, tuple[list[Asks], int, int]] = {
    "a PUT twice, and any other request on its target": ([(A, A, other) for other in KEYLESS], 2, 0),
    "a PUT below the item twice, and a write to the item": ([(NAME, NAME, other) for other in (A, DELETE, PUBLISH)], 2, 0),
    "one key three times": (
        [(ask,) * 3 for ask in (A_KEY, A_KEY_IF_0, DELETE_KEY, PATCH_KEY, CREATE_KEY, RAISE_KEY)],
        2,
        0,
    ),
    "one key for two requests": (
        [(A_KEY, A_KEY, B_KEY), (CREATE_KEY, CREATE_KEY, PATCH_KEY), (PATCH_KEY, PATCH_KEY, DELETE_KEY)],
        2,
        0,
    ),
    "one key of two principals": (
        [(CREATE_KEY, CREATE_KEY, CREATE_BY_BOB), (CREATE_KEY, CREATE_BY_BOB, CREATE_BY_BOB)],
        2,
        0,
    ),
    "requests with a key and without one": (
        [(A, A, A_KEY), (A, A, PATCH_KEY), (A, A, CREATE_KEY), (A_KEY, A_KEY, A), (A_KEY, A_KEY, B), (A_KEY, A_KEY, DELETE)],
        2,
        0,
    ),
    "A, B, A one after the other, and one that overlaps them": (
        [(A, B, A, other) for other in (A, A_BY_BOB, A_IF_0, CREATE)],
        1,
        3,
    ),
}


def _meet(asks: Asks) -> bool:
    """Whether two of them have one key, or are one PUT, whoever sends them; others have no answer to confuse."""
    names = [ask.key or (ask.path, ask.body) for ask in asks if ask.key or ask.method == "PUT"]
    return len(set(names)) < len(names)


# With two faults they have eleven million states and take ten minutes: for whoever changes how claims or generations work.
FAULTS = int(os.environ.get("VERBGUARD_STATES_FAULTS", "0"))

GROUPS["every mix of three in which two may be mistaken for each other"] = (
    [asks for asks in combinations_with_replacement(KEYLESS + KEYED, 3) if _meet(asks)],
    FAULTS,
    0,
)

# A shared store may fail in more ways, so that its scenes have four times the states: by default these with two faults, the
# rest of their groups with one. All of them, without the mix, take a minute and a half.
_DEEP = {
    (A, A, B),
    (NAME, NAME, DELETE),
    *[(ask,) * 3 for ask in (A_KEY, PATCH_KEY, RAISE_KEY)],
    (CREATE_KEY, CREATE_KEY, PATCH_KEY),
    (CREATE_KEY, CREATE_KEY, CREATE_BY_BOB),
    (A_KEY, A_KEY, B),
}


def faults_of(asks: Asks, faults: int, *, shared: bool) -> int:
    """How many faults may strike in a scene whose group has so many."""
    return min(faults, 1) if shared and not FAULTS and asks not in _DEEP else faults
