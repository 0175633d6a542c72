"""Stores that break a promise, one each: a soak that does not see it would see nothing."""

from __future__ import annotations

from itertools import count
from typing import Any

from verbguard.records import Claim, Done, Outcome, Record, Won
from verbguard.stores import AsyncStore, Store, for_asyncio

__all__ = ["FLAWS", "broken"]


class _Broken:
    """A store for asyncio that does what another one does."""

    asynchronous = True
    shared = True

    def __init__(self, store: AsyncStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class AlwaysWins(_Broken):
    """Whoever asks may run."""

    _tokens = count(1)

    async def claim(self, claim: Claim) -> Outcome:
        return Won(next(self._tokens))


class Forgets(_Broken):
    """Says that an answer was kept, and has let the claim go."""

    async def save(self, claim: Claim, token: int, record: Record) -> bool:
        return await self._store.release(claim, token)


class Garbles(_Broken):
    """Replays another answer than was saved."""

    async def claim(self, claim: Claim) -> Outcome:
        outcome = await self._store.claim(claim)
        if isinstance(outcome, Done):
            record = outcome.record
            begun, mark, run = record.body.partition(b'{"id":"')
            return Done(Record(record.status, record.headers, begun + mark + b"x" + run[1:], record.state))
        return outcome


class Ageless(_Broken):
    """Replays answers without a key whatever was written since."""

    async def claim(self, claim: Claim) -> Outcome:
        claim.keyless = False
        return await self._store.claim(claim)


FLAWS: dict[str, Any] = {
    "always-wins": AlwaysWins,
    "forgets": Forgets,
    "garbles": Garbles,
    "ageless": Ageless,
    "one-principal": _Broken,  # the flaw is in the app's own `principal`
}


def broken(flaw: str, store: Store) -> Any:
    """This store with that flaw."""
    return FLAWS[flaw](for_asyncio(store))
