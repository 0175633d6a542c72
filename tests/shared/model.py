"""The shared stores' transitions on plain dictionaries: what SQLite, Redis and PostgreSQL must all do."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, cast

from verbguard.records import Claim, Outcome, Record, Touch
from verbguard.stores import transitions
from verbguard.stores.sealing import Sealer
from verbguard.stores.transitions import Entry, Epoch, Generation

__all__ = ["ModelStore"]

_SEALER = Sealer()


class ModelStore:
    """A shared store in one process: rows are dictionaries, and time is the clock's."""

    shared = True
    rules: Any = transitions  # or a module that has the same functions, some of them wrong

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.lock = Lock()
        self.entries: dict[bytes, Entry] = {}
        self.answers: dict[bytes, Entry] = {}  # committed by applications
        self.generations: dict[str, Generation] = {}
        self.number = 0
        self.latest = Epoch()

    # ---- rows

    def entry(self, ident: bytes) -> Entry | None:
        return self.entries.get(ident)

    def put(self, claim: Claim, entry: Entry) -> None:
        self.entries[claim.ident] = entry

    def drop(self, ident: bytes) -> None:
        del self.entries[ident]

    def read(self, ident: bytes, data: bytes) -> Record:
        return _SEALER.open(data, ident)

    def committed(self, ident: bytes) -> Entry | None:
        return self.answers.get(ident)

    def generation(self, name: str) -> Generation | None:
        return self.generations.get(name)

    def age(self, name: str, generation: Generation) -> None:
        self.generations[name] = generation

    def serial(self) -> int:
        self.number += 1
        return self.number

    def era(self) -> Epoch:
        return self.latest

    def begin(self, epoch: Epoch) -> None:
        self.latest = epoch

    # ---- the store

    def claim(self, claim: Claim) -> Outcome:
        with self.lock:
            return cast(Outcome, self.rules.claim(self, claim, self.clock()))

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        data = _SEALER.seal(record, claim.ident)
        with self.lock:
            return cast(bool, self.rules.save(self, claim, token, data, self.clock()))

    def release(self, claim: Claim, token: int) -> bool:
        with self.lock:
            return cast(bool, self.rules.release(self, claim, token, self.clock()))

    def renew(self, claim: Claim, token: int) -> bool:
        with self.lock:
            return cast(bool, self.rules.renew(self, claim, token, self.clock()))

    def start(self, touch: Touch) -> None:
        with self.lock:
            touch.run = self.rules.start(self, touch, self.clock())

    def end(self, touch: Touch) -> None:
        with self.lock:
            self.rules.end(self, touch, self.clock())

    def bump(self, touch: Touch) -> None:
        with self.lock:
            self.rules.bump(self, touch, self.clock())

    def linger(self, touch: Touch) -> None:
        with self.lock:
            self.rules.linger(self, touch, self.clock())

    def epoch(self) -> None:
        with self.lock:
            self.rules.begin_epoch(self, self.clock())

    def health(self) -> float:
        return 0.0
