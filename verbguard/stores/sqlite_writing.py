"""The writer's connection of the SQLite store as `transitions` sees it: what a transaction reads, and writes at its end.

Each statement, and each row that one returns, lets go of the interpreter and has to wait for it again, which costs more than
the statement where an event loop runs beside the writer. So one statement reads what all jobs of a transaction ask for, one
writes what they leave, and what this process has written itself is not read again while no other has written (`data_version`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from verbguard.records import Claim, Touch
from verbguard.stores.operations import key_digest
from verbguard.stores.sealing import digest_of, status_of
from verbguard.stores.sqlite_rows import NOTHING, STATE, Held, Rows, generation_of, held_of, text_of
from verbguard.stores.transitions import Entry, Epoch, Generation, below, own

if TYPE_CHECKING:
    from verbguard.stores.sqlite import SqliteStore

__all__ = ["DROP", "UNASKED", "Work", "Writing"]

Found = TypeVar("Found")

_MOST = 64  # rows of one statement: SQLite before 3.32 takes no more than 999 values
_REMEMBERED = 4_096  # runs, and generations, that are not read again: some megabytes

_ENTRIES = "SELECT ident, token, fingerprint, until, view, started, data, place FROM verbguard_entries WHERE ident IN ({})"
_PUT = """
INSERT INTO verbguard_entries
    (ident, token, fingerprint, until, view, started, dies, principal, key, method, path, status, size, data)
VALUES {}
ON CONFLICT (ident) DO UPDATE SET
    token = excluded.token, fingerprint = excluded.fingerprint, until = excluded.until, view = excluded.view,
    started = excluded.started, dies = excluded.dies, principal = excluded.principal, key = excluded.key,
    method = excluded.method, path = excluded.path, status = excluded.status, size = excluded.size, data = excluded.data
"""
# The row is there: this is an UPDATE of many rows, as SQLite before 3.33 can say it too.
_ANSWER = """
INSERT INTO verbguard_entries (ident, until, view, dies, status, size, data) VALUES {}
ON CONFLICT (ident) DO UPDATE SET
    until = excluded.until, view = excluded.view, dies = excluded.dies, status = excluded.status, size = excluded.size,
    data = excluded.data
"""
DROP = "DELETE FROM verbguard_entries WHERE ident = ?"
_DROP = "DELETE FROM verbguard_entries WHERE ident IN ({})"
_GENERATIONS = "SELECT name, event, runs, until FROM verbguard_generations WHERE name IN ({})"
_AGE = "INSERT OR REPLACE INTO verbguard_generations VALUES {}"
_VERSION = "PRAGMA data_version"
_COUNT = "UPDATE verbguard_state SET serial = ?"
_BEGIN_EPOCH = "UPDATE verbguard_state SET epoch = ?, quiet = ?, window = ?"

UNASKED = Entry(0, b"", 0.0)  # that nobody has looked into the application's database


class Work(Generic[Found]):
    """A job about one entry and what it touches, which are read together with those of the other jobs of its transaction."""

    __slots__ = ("ident", "job", "touch")

    def __init__(self, ident: bytes, job: Callable[[Writing, float], Found], touch: Touch | None = None) -> None:
        self.ident = ident
        self.job = job
        self.touch = touch

    def __call__(self, rows: Writing, now: float) -> Found:
        return self.job(rows, now)


class Writing(Rows):
    """What one transaction reads and writes. Its rows are read and kept as they will be, and written at its end.

    What it knows then of runs and generations the next one knows as well, unless another connection wrote meanwhile.
    """

    def __init__(self, connection: sqlite3.Connection, store: SqliteStore) -> None:
        super().__init__(connection, store)
        self.known: Entry | None = UNASKED  # what was found in the application's database already
        self._version: int | None = None  # of the file, when what is remembered was true
        self.alone = False  # whether nobody else wrote between the last transaction and the one before
        self._serial = self._counted = 0
        self._running: dict[bytes, Held] = {}
        self._generations: dict[str, Generation | None] = {}
        self._put: dict[bytes, tuple[Any, ...]] = {}
        self._answered: dict[bytes, tuple[Any, ...]] = {}
        self._dropped: dict[bytes, tuple[Any, ...]] = {}
        self._aged: dict[str, None] = {}

    def open(self) -> None:
        """Begin a transaction."""
        self._connection.execute("BEGIN IMMEDIATE")

    def begun(self, jobs: Sequence[object]) -> None:
        """It has begun, and is for these jobs."""
        version = self._connection.execute(_VERSION).fetchone()[0]
        self.alone = version == self._version
        if not self.alone:
            self._forget()
            self._serial, *epoch = self._connection.execute(STATE).fetchone()
            self._counted = self._serial
            self._epoch = Epoch(*epoch)
            self._version = version
        elif len(self._running) > _REMEMBERED or len(self._generations) > _REMEMBERED:
            self._forget()
        works = [job for job in jobs if type(job) is Work]
        if len(works) > 1:
            self._fetch([work.ident for work in works if work.ident not in self._running])
            self._fetch_generations([work.touch for work in works if work.touch is not None])

    def commit(self) -> None:
        """Write what the jobs have left, and end the transaction."""
        self._flush()
        if self._serial != self._counted:
            self._connection.execute(_COUNT, (self._serial,))
        self._connection.execute("COMMIT")
        self._counted = self._serial
        self._held.clear()

    def roll_back(self) -> None:
        """Nothing of it has happened, or it could not begin, since somebody else is about to write."""
        self._forget()
        self._version, self.alone = None, False
        for each in (self._put, self._answered, self._dropped, self._aged):
            each.clear()
        if self._connection.in_transaction:  # it has not begun, or SQLite has ended it itself, as where the disk is full
            self._connection.execute("ROLLBACK")

    @property
    def connection(self) -> sqlite3.Connection:
        """For a statement of one's own, which sees what was done before and may change anything."""
        self._flush()
        self._forget()
        return self._connection

    def _forget(self) -> None:
        for each in (self._held, self._running, self._generations):
            each.clear()

    def _entry(self, ident: bytes) -> Held:
        return self._held.get(ident) or self._running.get(ident) or super()._entry(ident)

    def _fetch(self, idents: Sequence[bytes]) -> None:
        names = {digest_of(ident): ident for ident in idents}
        self._held.update(dict.fromkeys(idents, NOTHING))
        for part, size in _parts(list(names)):
            text = _statement(_ENTRIES, "?", size)
            for name, *row in self._connection.execute(text, part).fetchall():
                self._held[names[name]] = held_of(row)

    def _fetch_generations(self, touches: Sequence[Touch]) -> None:
        known = self._generations
        names: dict[str, None] = {}
        for touch in touches:
            if own(touch.target) not in known:  # what is above it mostly is
                names |= dict.fromkeys(name for name in map(text_of, _asked(touch)) if name not in known)
        known |= names
        for part, size in _parts(list(names)):
            text = _statement(_GENERATIONS, "?", size)
            for name, *row in self._connection.execute(text, part).fetchall():
                known[name] = generation_of(row)

    def _flush(self) -> None:
        self._write(_DROP, "?", self._dropped)
        self._write(_PUT, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._put)
        self._write(_ANSWER, "(?, ?, ?, ?, ?, ?, ?)", self._answered)
        self._write(_AGE, "(?, ?, ?, ?)", {name: self._generation_row(name) for name in self._aged})
        self._aged.clear()

    def _write(self, text: str, row: str, rows: dict[Any, tuple[Any, ...]]) -> None:
        if rows:
            for part, size in _parts(list(rows.values())):
                self._connection.execute(_statement(text, row, size), tuple(chain.from_iterable(part)))
            rows.clear()

    def _generation_row(self, name: str) -> tuple[Any, ...]:
        generation = self._generations[name]
        assert generation is not None
        runs = json.dumps(generation.runs) if generation.runs else ""
        return name, generation.event, runs, generation.until

    def put(self, claim: Claim, entry: Entry) -> None:
        ident, data = claim.ident, entry.data
        held = entry, self._entry(ident)[1]
        if data is not None:  # there is a row: an answer is put where its run is
            self._running.pop(ident, None)
            self._held[ident] = held  # for this transaction: answers may be large
            until = entry.until
            self._answered[ident] = (digest_of(ident), until, entry.view, until, status_of(data), len(data), data)
            return
        self._running[ident] = held
        self._held.pop(ident, None)
        self._answered.pop(ident, None)
        self._put[ident] = (
            digest_of(ident),
            entry.token,
            entry.fingerprint,
            entry.until,
            entry.view,
            entry.started,
            entry.until + claim.keep,
            claim.principal,
            key_digest(claim.key),
            claim.method,
            text_of(claim.path),
            0,
            0,
            None,
        )

    def drop(self, ident: bytes) -> None:
        self._held[ident] = NOTHING
        for each in (self._running, self._put, self._answered):
            each.pop(ident, None)
        self._dropped[ident] = (digest_of(ident),)

    def committed(self, ident: bytes) -> Entry | None:
        return self.looked_up(ident) if self.known is UNASKED else self.known

    def generation(self, name: str) -> Generation | None:
        if name not in self._generations:
            name = text_of(name)  # two names that are one row are one here
            if name not in self._generations:
                self._generations[name] = super().generation(name)
        return self._generations[name]

    def age(self, name: str, generation: Generation) -> None:
        if name not in self._generations:
            name = text_of(name)
        self._generations[name] = generation
        self._aged[name] = None

    def serial(self) -> int:
        self._serial += 1
        return self._serial

    def begin(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._connection.execute(_BEGIN_EPOCH, epoch)


Row = TypeVar("Row")


def _parts(rows: list[Row]) -> Iterator[tuple[list[Row], int]]:
    """The rows in few parts of few sizes, so that few statements are prepared: of a size only the first three bits are free."""
    start, left = 0, len(rows)
    while left:
        low = max(left.bit_length() - 3, 0)
        size = min(_MOST, left >> low << low)
        yield rows[start : start + size], size
        start, left = start + size, left - size


@cache
def _statement(text: str, row: str, size: int) -> str:
    return text.format(", ".join([row] * size))


def _asked(touch: Touch) -> Iterator[str]:
    """The generations that are asked for at the start or the end of a run."""
    yield own(touch.target)
    yield from map(own, touch.marks)
    yield from map(below, (*touch.above, *touch.sweeps))
