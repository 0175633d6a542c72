"""What an operator can ask of a Redis store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import Any

from verbguard.records import Record
from verbguard.stores.operations import Audit, Kept
from verbguard.stores.redis_commands import Call, Commands

__all__ = ["RedisOperations"]

_PAGE = 200  # entries that are read at once


class RedisOperations:
    """See Operated. The store says how a script is run and a command is sent."""

    _commands: Commands

    def _run(self, call: Call) -> Any:
        raise NotImplementedError

    def _scan(self, begins: bytes) -> Iterator[bytes]:
        raise NotImplementedError

    def _lines(self, key: bytes) -> Sequence[bytes]:
        raise NotImplementedError

    def initialise(self) -> None:
        """Nothing need be there before; raises StoreError when the server does not answer."""
        self.health()

    def health(self) -> float:
        """See Store.health."""
        began = perf_counter()
        self._run(self._commands.health())
        return perf_counter() - began

    def entries(self) -> Iterator[Kept]:
        """See Operated.entries. An entry that comes or goes meanwhile may be told or not."""
        begins = self._commands.entries
        told: set[bytes] = set()
        names = (key[len(begins) :] for key in self._scan(begins))
        while page := list(islice(names, _PAGE)):
            fresh = [name for name in dict.fromkeys(page) if name not in told]  # SCAN may tell one twice
            told.update(fresh)
            now, *rows = self._run(self._commands.read(fresh)) if fresh else (0,)
            for name, row in zip(fresh, rows, strict=True):
                if (kept := self._commands.kept(name, row, int(now))) is not None:
                    yield kept

    def show(self, name: bytes) -> tuple[Kept, Record | None] | None:
        """See Operated.show."""
        now, row = self._run(self._commands.read([name], answers=True))
        kept = self._commands.kept(name, row, int(now))
        if kept is None:
            return None
        return kept, None if row[6] is None else self._commands.sealer.open(row[6], name)

    def evict(self, name: bytes, who: str) -> bool:
        """See Operated.evict."""
        return self._commands.answer(self._run(self._commands.evict(name, who))) == 1

    def complete(self, name: bytes, record: Record, keep: float, who: str) -> bool:
        """See Operated.complete."""
        return self._commands.answer(self._run(self._commands.complete(name, record, keep, who))) == 1

    def audit(self) -> list[Audit]:
        """See Operated.audit."""
        return [self._commands.audit(line) for line in self._lines(self._commands.audits)]

    def stats(self) -> dict[str, int]:
        """See Operated.stats. It reads every entry."""
        counts = {"running": 0, "unknown": 0, "done": 0, "bytes": 0, "paths": 0}
        for kept in self.entries():
            counts[kept.state] += 1
            counts["bytes"] += kept.size
        begins = self._commands.generations
        # a path has two: of its own state, and of everything below it
        counts["paths"] = len({key[len(begins) + 1 :] for key in self._scan(begins)})
        return counts

    def vacuum(self) -> int:
        """Nothing to delete: what Redis keeps ends by itself."""
        return 0
