"""A connection of the SQLite store as `transitions` sees it: what it can read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from verbguard.records import Record
from verbguard.stores.sealing import digest_of
from verbguard.stores.transitions import Entry, Epoch, Generation

if TYPE_CHECKING:
    from verbguard.stores.sqlite import SqliteStore

__all__ = ["LOOK", "NOTHING", "STATE", "Held", "Rows", "Seen", "generation_of", "held_of", "text_of"]

LOOK = "SELECT fingerprint, until, view, data, place FROM verbguard_entries WHERE ident = ?"
_ENTRY = "SELECT token, fingerprint, until, view, started, data, place FROM verbguard_entries WHERE ident = ?"
_GENERATION = "SELECT event, runs, until FROM verbguard_generations WHERE name = ?"
STATE = "SELECT serial, epoch, quiet, window FROM verbguard_state"

Held = tuple[Entry | None, str | None]  # an entry, and the file in which an application may have committed its answer
NOTHING: Held = (None, None)


def held_of(row: Sequence[Any]) -> Held:
    return Entry._make(row[:6]), row[6]


def generation_of(row: Sequence[Any]) -> Generation:
    event, runs, until = row
    return Generation(event, {int(run): when for run, when in json.loads(runs).items()} if runs else {}, until)


class Rows:
    """What one look reads. An entry is read once."""

    def __init__(self, connection: sqlite3.Connection, store: SqliteStore) -> None:
        self._connection = connection
        self._store = store
        self._held: dict[bytes, Held] = {}
        self._epoch: Epoch | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """For a statement of one's own."""
        return self._connection

    def entry(self, ident: bytes) -> Entry | None:
        return self._entry(ident)[0]

    def _entry(self, ident: bytes) -> Held:
        held = self._held.get(ident)
        if held is None:
            row = self._connection.execute(_ENTRY, (digest_of(ident),)).fetchone()
            held = self._held[ident] = NOTHING if row is None else held_of(row)
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
        found = self._connection.execute(_GENERATION, (text_of(name),)).fetchone()
        return None if found is None else generation_of(found)

    def era(self) -> Epoch:
        if self._epoch is None:
            self._epoch = Epoch(*self._connection.execute(STATE).fetchone()[1:])
        return self._epoch


class Seen(Rows):
    """What is read after `LOOK` has found an entry: as much of it as a look asks for."""

    def __init__(self, connection: sqlite3.Connection, store: SqliteStore, row: tuple[Any, ...]) -> None:
        self._connection = connection
        self._store = store
        fingerprint, until, view, data, self._place = row
        self._seen = Entry(0, fingerprint, until, view, 0.0, data)
        self._epoch = None

    def entry(self, ident: bytes) -> Entry | None:
        return self._seen

    def _entry(self, ident: bytes) -> Held:
        return self._seen, self._place

    def committed(self, ident: bytes) -> Entry | None:
        return None if self._place is None else self.looked_up(ident)


def text_of(path: str) -> str:
    """A path as SQLite takes it, also one that holds what no text does: a server may hand over the bytes of any client."""
    return path if path.isascii() else path.encode("utf-8", "backslashreplace").decode()
