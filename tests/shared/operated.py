"""The model of the shared stores, with what operators ask of one; the command line opens it by `model://NAME`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

from shared.model import ModelStore
from verbguard.errors import StoreError
from verbguard.records import Claim, Record
from verbguard.stores import transitions
from verbguard.stores.operations import Audit, Kept, key_digest
from verbguard.stores.sealing import Sealer, digest_of, status_of
from verbguard.stores.transitions import Entry

__all__ = ["OperatedModel", "World"]


class World:
    """What a server would hold: it outlives the stores that are opened on it."""

    known: dict[str, World] = {}

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.made = False  # as tables are
        self.down = False
        self.opened = self.closed = 0
        self.serials = count(1)
        self.entries: dict[bytes, Entry] = {}
        self.told: dict[bytes, Claim] = {}  # whose each entry is
        self.lines: list[Audit] = []


class _Rows(ModelStore):
    """A store on a world. Entries are named by the digest of their ident, as in the real ones."""

    def __init__(self, world: World, keys: Sequence[str]) -> None:
        super().__init__(world.clock)
        self.world = world
        self.sealer = Sealer(keys)

    def entry(self, ident: bytes) -> Entry | None:
        return self.world.entries.get(digest_of(ident))

    def put(self, claim: Claim, entry: Entry) -> None:
        name = digest_of(claim.ident)
        self.world.entries[name], self.world.told[name] = entry, claim

    def drop(self, ident: bytes) -> None:
        del self.world.entries[digest_of(ident)]

    def read(self, ident: bytes, data: bytes) -> Record:
        return self.sealer.open(data, digest_of(ident))

    def serial(self) -> int:
        return next(self.world.serials)

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        data = self.sealer.seal(record, digest_of(claim.ident))
        with self.lock:
            return transitions.save(self, claim, token, data, self.clock())


class OperatedModel:
    """`Operated` over dictionaries: the promises of operations.py in their shortest form."""

    shared = True

    def __init__(self, world: World, *, keys: Sequence[str] = (), create: bool = True, url: str = "") -> None:
        self.world, self.url = world, url
        world.opened += 1
        self.rows = _Rows(world, keys)
        self.create = create

    @classmethod
    def from_url(cls, url: str, *, keys: Sequence[str] = (), create: bool = True) -> OperatedModel:
        return cls(World.known[url.rpartition("/")[2].rpartition("@")[2]], keys=keys, create=create, url=url)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rows, name)  # claim, save and the others

    def close(self) -> None:
        self.world.closed += 1

    def initialise(self) -> None:
        self._reach(making=True)
        self.world.made = True

    def health(self) -> float:
        self._reach()
        return 0.0012

    def entries(self) -> Iterator[Kept]:
        self._reach()
        for name in list(self.world.entries):
            kept = self._kept(name)
            if kept is not None:
                yield kept

    def show(self, name: bytes) -> tuple[Kept, Record | None] | None:
        self._reach()
        kept = self._kept(name)
        if kept is None:
            return None
        data = self.world.entries[name].data
        return kept, None if data is None else self.rows.sealer.open(data, name)

    def evict(self, name: bytes, who: str) -> bool:
        self._reach()
        if self._kept(name) is None:
            return False
        del self.world.entries[name]
        self._note(who, "evict", name)
        return True

    def complete(self, name: bytes, record: Record, keep: float, who: str) -> bool:
        self._reach()
        kept = self._kept(name)
        if kept is None or kept.state == "done":
            return False
        entry = self.world.entries[name]
        token, until = self.rows.serial(), self.world.clock() + keep
        self.world.entries[name] = entry._replace(token=token, until=until, data=self.rows.sealer.seal(record, name))
        self._note(who, f"complete {record.status}", name)
        return True

    def audit(self) -> list[Audit]:
        self._reach()
        return self.world.lines[::-1]

    def stats(self) -> dict[str, int]:
        self._reach()
        held = list(self.entries())
        states = {state: sum(each.state == state for each in held) for state in ("running", "unknown", "done")}
        return {**states, "bytes": sum(each.size for each in held), "paths": len(self.rows.generations)}

    def vacuum(self) -> int:
        self._reach()
        gone = [name for name in self.world.entries if self._kept(name) is None]
        for name in gone:
            del self.world.entries[name]
        return len(gone)

    def _reach(self, making: bool = False) -> None:
        if self.world.down:
            raise StoreError(f"{self.url}: connection refused")
        if not (self.world.made or self.create or making):
            raise StoreError("there are no tables: `verbguard store init URL` makes them")
        self.world.made = True

    def _note(self, who: str, what: str, name: bytes) -> None:
        self.world.lines.append(Audit(when=self.world.clock(), who=who, what=what, name=name))

    def _kept(self, name: bytes) -> Kept | None:
        entry, now = self.world.entries.get(name), self.world.clock()
        if entry is None:
            return None
        claim, size, status = self.world.told[name], 0, 0
        left, state = entry.until - now, "running" if entry.data is None else "done"
        if entry.data is not None:
            size, status = len(entry.data), status_of(entry.data)
        elif left <= 0:
            left, state = left + claim.keep, "unknown"
        if left <= 0:
            return None
        return Kept(
            name=name,
            state=state,
            method=claim.method,
            path=claim.path,
            principal=claim.principal,
            key=key_digest(claim.key),
            token=entry.token,
            left=left,
            status=status,
            size=size,
        )
