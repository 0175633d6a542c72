"""One connection of the SQLite store as `transitions` sees it: what is read, and what is written at a transaction's end.

Each statement lets go of the interpreter and has to wait for it again, which costs more than the statement where an event loop
runs beside the writer. So one statement reads what all jobs of a transaction ask for, and one writes what they leave.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from verbguard.records import Claim, Record
from verbguard.stores.operations import key_digest
from verbguard.stores.sealing import digest_of, status_of
from verbguard.stores.transitions import Entry, Epoch, Generation

if TYPE_CHECKING:
    from verbguard.stores.sqlite import SqliteStore

__all__ = ["DROP", "UNASKED", "Rows", "Work", "Writing"]

Found = TypeVar("Found")

_MOST = 64  # rows of one statement: SQLite before 3.32 takes no more than 999 values

_ENTRY = "SELECT token, fingerprint, until, view, started, data, place FROM verbguard_entries WHERE ident = ?"
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
DROP = "DELETE FROM verbguard_entries WHERE ident = ?"
_GENERATION = "SELECT event, runs, until FROM verbguard_generations WHERE name = ?"
_AGE = "INSERT OR REPLACE INTO verbguard_generations VALUES {}"
_STATE = "SELECT serial, epoch, quiet, window FROM verbguard_state"
_COUNT = "UPDATE verbguard_state SET serial = ?"
_BEGIN_EPOCH = "UPDATE verbguard_state SET epoch = ?, quiet = ?, window = ?"

UNASKED = Entry(0, b"", 0.0)  # that nobody has looked into the application's database

_Held = tuple[Entry | None, str | None]  # an entry, and the file in which an application may have committed its answer
_NOTHING: _Held = (None, None)


class Work(Generic[Found]):
    """A job about one entry, which is read together with those of the other jobs of its transaction."""

    __slots__ = ("ident", "job")

    def __init__(self, ident: bytes, job: Callable[[Writing, float], Found]) -> None:
        self.ident = ident
        self.job = job

    def __call__(self, rows: Writing, now: float) -> Found:
        return self.job(rows, now)


class Rows:
    """What one look reads. An entry is read once."""

    def __init__(self, connection: sqlite3.Connection, store: SqliteStore) -> None:
        self._connection = connection
        self._store = store
        self._held: dict[bytes, _Held] = {}
        self._epoch: Epoch | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """For a statement of one's own."""
        return self._connection

    def entry(self, ident: bytes) -> Entry | None:
        return self._entry(ident)[0]

    def _entry(self, ident: bytes) -> _Held:
        held = self._held.get(ident)
        if held is None:
            row = self._connection.execute(_ENTRY, (digest_of(ident),)).fetchone()
            held = self._held[ident] = _NOTHING if row is None else (Entry(*row[:6]), row[6])
        return held

    def read(self, ident: bytes, data: bytes) -> Record:
        return self._store.sealer.open(data, digest_of(ident))

    def committed(self, ident: bytes) -> Entry | None:
        return self.looked_up(ident)

    def looked_up(self, ident: bytes, timeout: float = 0.0) -> Entry | None:
        """See SqliteStore.committed."""
        place = self._entry(ident)[1]
        return None if place is None else self._store.committed(ident, place, timeout)

    def generation(self, name: str) -> Generation | None:
        found = self._connection.execute(_GENERATION, (_text(name),)).fetchone()
        if found is None:
            return None
        event, runs, until = found
        return Generation(event, {int(run): when for run, when in json.loads(runs).items()} if runs else {}, until)

    def era(self) -> Epoch:
        if self._epoch is None:
            self._epoch = Epoch(*self._connection.execute(_STATE).fetchone()[1:])
        return self._epoch


class Writing(Rows):
    """What one transaction reads and writes. Its rows are read and kept as they will be, and written at its end."""

    def __init__(self, connection: sqlite3.Connection, store: SqliteStore) -> None:
        super().__init__(connection, store)
        self.known: Entry | None = UNASKED  # what was found in the application's database already
        self._serial = self._counted = 0
        self._generations: dict[str, Generation | None] = {}
        self._put: dict[bytes, tuple[Any, ...]] = {}
        self._dropped: dict[bytes, None] = {}
        self._aged: dict[str, None] = {}

    def open(self) -> None:
        """Begin a transaction."""
        self._forget()
        self._connection.execute("BEGIN IMMEDIATE")

    def begun(self, jobs: Sequence[object]) -> None:
        """It has begun, and is for these jobs."""
        self._serial, *epoch = self._connection.execute(_STATE).fetchone()
        self._counted = self._serial
        self._epoch = Epoch(*epoch)
        self._fetch([job.ident for job in jobs if type(job) is Work])

    def commit(self) -> None:
        """Write what the jobs have left, and end the transaction."""
        self._flush()
        if self._serial != self._counted:
            self._connection.execute(_COUNT, (self._serial,))
        self._connection.execute("COMMIT")

    def roll_back(self) -> None:
        """Nothing of it has happened."""
        if self._connection.in_transaction:  # SQLite ends it itself where the disk is full
            self._connection.execute("ROLLBACK")

    @property
    def connection(self) -> sqlite3.Connection:
        """For a statement of one's own, which sees what was done before and may change anything."""
        self._flush()
        self._forget()
        return self._connection

    def _forget(self) -> None:
        for each in (self._held, self._generations, self._put, self._dropped, self._aged):
            each.clear()

    def _fetch(self, idents: Sequence[bytes]) -> None:
        if len(idents) < 2:
            return
        names = {digest_of(ident): ident for ident in idents}
        self._held.update(dict.fromkeys(idents, _NOTHING))
        for part, size in _parts(list(names)):
            text = _statement(_ENTRIES, "?", size)
            for name, *entry, place in self._connection.execute(text, part).fetchall():
                self._held[names[name]] = (Entry(*entry), place)

    def _flush(self) -> None:
        for ident in self._dropped:
            self._connection.execute(DROP, (digest_of(ident),))
        self._write(_PUT, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", list(self._put.values()))
        aged = (self._generation_row(name) for name in self._aged)
        self._write(_AGE, "(?, ?, ?, ?)", list(aged))
        for each in (self._dropped, self._put, self._aged):
            each.clear()

    def _write(self, text: str, row: str, rows: list[tuple[Any, ...]]) -> None:
        for part, size in _parts(rows):
            self._connection.execute(_statement(text, row, size), [value for each in part for value in each])

    def _generation_row(self, name: str) -> tuple[Any, ...]:
        generation = self._generations[name]
        assert generation is not None
        runs = json.dumps(generation.runs) if generation.runs else ""
        return _text(name), generation.event, runs, generation.until

    def put(self, claim: Claim, entry: Entry) -> None:
        dies = entry.until if entry.data is not None else entry.until + claim.keep
        status, size = (0, 0) if entry.data is None else (status_of(entry.data), len(entry.data))
        ident = claim.ident
        self._held[ident] = (entry, self._entry(ident)[1])
        self._put[ident] = (
            digest_of(ident),
            entry.token,
            entry.fingerprint,
            entry.until,
            entry.view,
            entry.started,
            dies,
            claim.principal,
            key_digest(claim.key),
            claim.method,
            _text(claim.path),
            status,
            size,
            entry.data,
        )

    def drop(self, ident: bytes) -> None:
        self._held[ident] = _NOTHING
        self._put.pop(ident, None)
        self._dropped[ident] = None

    def committed(self, ident: bytes) -> Entry | None:
        return self.looked_up(ident) if self.known is UNASKED else self.known

    def generation(self, name: str) -> Generation | None:
        if name not in self._generations:
            self._generations[name] = super().generation(name)
        return self._generations[name]

    def age(self, name: str, generation: Generation) -> None:
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
    """The rows in parts of few sizes, so that few statements are prepared."""
    start, left = 0, len(rows)
    while left:
        size = min(_MOST, 1 << left.bit_length() - 1)
        yield rows[start : start + size], size
        start, left = start + size, left - size


@cache
def _statement(text: str, row: str, size: int) -> str:
    return text.format(", ".join([row] * size))


def _text(path: str) -> str:
    """A path as SQLite takes it, also one that holds what no text does: a server may hand over the bytes of any client."""
    return path if path.isascii() else path.encode("utf-8", "backslashreplace").decode()
