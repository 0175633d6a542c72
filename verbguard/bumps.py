"""Requests that end together tell an awaited store with one word that they may have changed something since their answers.

A store that is busy answers many at once, and each of them would otherwise ask it for one more round trip, or a commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from verbguard.records import Touch

__all__ = ["bump_together", "ending", "joined"]

Tell = Callable[[Touch], "asyncio.Future[Any]"]
_Ending = list[tuple[Touch, "asyncio.Future[None]"]]

# What the requests that end in one turn of an event loop have touched, by their guard and the store that is to hear of it
_ENDING: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[int, int], _Ending]] = WeakKeyDictionary()


def bump_together(guard: Any, store: Any, touch: Touch, tell: Tell) -> asyncio.Future[None]:
    """Bump `touch` in `store` when this turn of the loop is over, with what other requests of `guard` have bumped by then.

    `tell` of the first of them does it, and has the guard distrust a store that fails; its future is done without an error.
    """
    loop = asyncio.get_running_loop()
    stores = _ENDING.get(loop)
    if stores is None:
        stores = _ENDING[loop] = {}
    key = id(guard), id(store)
    ending = stores.get(key)
    if ending is None:
        ending = stores[key] = []
        loop.call_soon(_send, stores, key, tell)
    done: asyncio.Future[None] = loop.create_future()
    ending.append((touch, done))
    return done


def ending() -> bool:
    """Whether something waits for the end of this turn of the loop."""
    return bool(_ENDING.get(asyncio.get_running_loop()))


def _send(stores: dict[tuple[int, int], _Ending], key: tuple[int, int], tell: Tell) -> None:
    ending = stores.pop(key)

    def told(_: object) -> None:
        for _, done in ending:
            if not done.done():
                done.set_result(None)

    tell(joined(touch for touch, _ in ending)).add_done_callback(told)


def joined(touches: Iterable[Touch]) -> Touch:
    """One touch of all that these touch; it has no target."""
    marks: dict[str, None] = {}
    sweeps: dict[str, None] = {}
    named: dict[tuple[str, ...], None] = {}
    for touch in touches:
        marks.update(dict.fromkeys(touch.marks))
        sweeps.update(dict.fromkeys(touch.sweeps))
        named.update(dict.fromkeys(touch.named or ()))
    found = Touch("", (), tuple(marks), tuple(sweeps))
    found.named = list(named) or None
    return found
