"""The store of several processes on one machine: one file, nothing to install.

Every operation is a function of `transitions` inside a transaction. What a claim can be told without a change is read on the
caller's own thread; whatever changes something waits for the one writer of this process, who takes all that are waiting into
one transaction, so that many of them share the price of its end.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl, unquote
from weakref import ref

from verbguard.errors import ConfigError, StoreError, nearest
from verbguard.records import Busy, Claim, Done, Outcome, Record, Touch, Won
from verbguard.stores import transitions
from verbguard.stores.batches import Batches, NotBegun
from verbguard.stores.operations import Audit, Kept
from verbguard.stores.sealing import Sealer, digest_of
from verbguard.stores.sqlite_rows import LOOK, Rows, Seen
from verbguard.stores.sqlite_writing import DROP, UNASKED, Work, Writing
from verbguard.stores.transitions import Entry

__all__ = ["AsyncSqliteStore", "SqliteStore"]

Found = TypeVar("Found")
Heard = TypeVar("Heard")
Free = TypeVar("Free", sqlite3.Connection, sqlite3.Cursor)
Looking = TypeVar("Looking", bound=Rows)

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS verbguard_state (
    one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER, serial INTEGER, epoch INTEGER, quiet REAL, window REAL
);
INSERT OR IGNORE INTO verbguard_state VALUES (1, 1, 0, 0, 0.0, 30.0);
CREATE TABLE IF NOT EXISTS verbguard_entries (
    ident BLOB PRIMARY KEY, token INTEGER, fingerprint BLOB, until REAL, view TEXT, started REAL, dies REAL, place TEXT,
    principal BLOB, key BLOB, method TEXT, path TEXT, status INTEGER, size INTEGER, data BLOB
);
CREATE INDEX IF NOT EXISTS verbguard_entries_dies ON verbguard_entries (dies);
CREATE TABLE IF NOT EXISTS verbguard_generations (name TEXT PRIMARY KEY, event INTEGER, runs TEXT, until REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS verbguard_generations_until ON verbguard_generations (until);
CREATE TABLE IF NOT EXISTS verbguard_audit (number INTEGER PRIMARY KEY, at REAL, who TEXT, what TEXT, name BLOB);
"""

_COMMITTED = "SELECT token, fingerprint, expires, record FROM verbguard_answers WHERE ident = ?"
_KEPT = (
    "SELECT ident, token, until, dies, principal, key, method, path, status, size, data IS NULL FROM verbguard_entries"
    " WHERE dies > ?"
)

# Rows that one write deletes at most beside its own work: expiry is paid in small coins.
_EXPIRED = 200
_SWEEPS = tuple(
    f"DELETE FROM {table} WHERE {name} IN (SELECT {name} FROM {table} WHERE {end} <= ? LIMIT {_EXPIRED})"
    for table, name, end in (("verbguard_entries", "rowid", "dies"), ("verbguard_generations", "name", "until"))
)
# Pages of the write-ahead log, 16 MB, from which on they are taken over into the file. Each batch changes some sixty, often the
# same, and each taking over waits for the disk. One part of the log's index covers 4,062 pages: beyond it reads cost more.
_PAGES = 4_000
# Jobs of one batch from which on claims are not looked up one by one: nearly all are new, and each look has to read again
# the pages that the last batch has changed.
_CROWD = 8
# Seconds that a fork, or a close, waits for a transaction: far more than one takes, and not for ever in a signal's handler.
_PAUSE = 1.0
_ADVICE = "`verbguard store init sqlite:///{}` makes one"
_AUDITED = 10_000  # lines of the audit that are kept


class SqliteStore:
    """Records in one SQLite file, for all processes of one machine.

    - `path`: the file; it is made, with its folder's permission, at the first use. Not on a network file system, whose locks
      SQLite cannot trust. An application that commits answers itself (`record_in`) has its data in another file.
    - `keys`: encrypt the answers, see `Sealer`. `create`: whether missing tables are made at the first use.
    - `synchronous`: "NORMAL" survives the death of any process; after a loss of power the last moments may be gone. "FULL"
      waits for the disk at each write.
    - `timeout`: seconds to wait for another process's write. 2: far more than a write takes.
    - `clock`: seconds since 1970, which all processes of a machine share.

    Raises StoreError when the file cannot be read, written or locked in time.
    """

    shared = True
    dialect = "sqlite"
    answers = "verbguard_answers"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keys: Sequence[str] = (),
        create: bool = True,
        synchronous: str = "NORMAL",
        timeout: float = 2.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if synchronous.upper() not in ("NORMAL", "FULL"):
            raise ConfigError(f"synchronous = {synchronous!r}: {nearest(synchronous, ['NORMAL', 'FULL'])}")
        self.path = Path(path).absolute()
        self.sealer = Sealer(keys)
        self._create = create
        self._synchronous = synchronous.upper()
        self._timeout = timeout
        self.clock = clock
        self._inherited: list[sqlite3.Connection] = []
        self._paused: list[Batches] = []
        self._open()
        this = ref(self)
        os.register_at_fork(
            before=lambda: _forking(this()),
            after_in_parent=lambda: _parted(this()),
            after_in_child=lambda: _forked(this()),
        )

    def _open(self) -> None:
        self._readers: list[sqlite3.Cursor] = []  # one that is used again costs a twentieth of a look less than a new one
        self._others: dict[str, list[sqlite3.Connection]] = {}
        self._writer: Writing | None = None
        self._swept = 0.0
        self._batches = Batches(self._transaction)

    @classmethod
    def from_url(cls, url: str, *, keys: Sequence[str] = (), create: bool = True) -> SqliteStore:
        """The store of `sqlite:///relative/path` or `sqlite:////absolute/path`, with `?synchronous=FULL` and `?timeout=5`."""
        rest = url.partition("://")[2]
        path, _, query = rest.partition("?")
        if not path.startswith("/") or path == "/":
            raise ConfigError(f"store = {url!r}: sqlite:///path for a relative path, sqlite:////path for an absolute one")
        options: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
        for name in options:
            if name not in ("synchronous", "timeout"):
                raise ConfigError(f"store = {url!r}: there is no option {name!r}: {nearest(name, ['synchronous', 'timeout'])}")
        try:
            options["timeout"] = float(options.get("timeout", 2.0))
        except ValueError:
            raise ConfigError(f"store = {url!r}: timeout is seconds, such as 2.0") from None
        return cls(unquote(path[1:]), keys=keys, create=create, **options)

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r})"

    @property
    def aio(self) -> AsyncSqliteStore:
        """The same store for asyncio."""
        return AsyncSqliteStore(self)

    # ---- promises

    def claim(self, claim: Claim) -> Outcome:
        """See Store.claim."""
        outcome = self.told(claim)
        return outcome if outcome is not None else self.write(claiming(claim))

    def told(self, claim: Claim) -> Outcome | None:
        """What a claim hears that changes nothing; None when it must be written."""
        try:
            cursor = _popped(self._readers) or self._connection().cursor()
            try:
                row = cursor.execute(LOOK, (digest_of(claim.ident),)).fetchone()
                if row is None:
                    return None
                return _whatever_is_open(transitions.look, Seen(cursor.connection, self, row), claim, self.clock())
            finally:
                self._readers.append(cursor)
        except sqlite3.Error as error:
            self._failed(error)

    def crowded(self) -> bool:
        """Whether claims are told by the transaction that would write them, which reads for many at once.

        Not where other processes write as well: there a claim that only is told something must not wait for their locks.
        """
        writer = self._writer  # once: a close may come between
        return self._batches.load >= _CROWD and writer is not None and writer.alone

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        """See Store.save."""
        return self.write(self.saving(claim, token, record))

    def saving(self, claim: Claim, token: int, record: Record) -> Work[bool]:
        """What `save` writes."""
        data = self.sealer.seal(record, digest_of(claim.ident))
        return Work(claim.ident, lambda rows, now: transitions.save(rows, claim, token, data, now), claim.touch)

    def release(self, claim: Claim, token: int) -> bool:
        """See Store.release."""
        return self.write(lambda rows, now: transitions.release(rows, claim, token, now))

    def renew(self, claim: Claim, token: int) -> bool:
        """See Store.renew."""
        return self.write(lambda rows, now: transitions.renew(rows, claim, token, now))

    def settle(self, claim: Claim, token: int) -> bool:
        """See Transactional.settle."""
        # The application's other transactions may keep this look waiting, and nobody else: it is not in the writer's.
        found = self.read(lambda rows, now: rows.looked_up(claim.ident, self._timeout))

        def settle(rows: Writing, now: float) -> bool:
            rows.known = found
            try:
                return transitions.settle(rows, claim, token, now)
            finally:
                rows.known = UNASKED

        return self.write(settle)

    def start(self, touch: Touch) -> None:
        """See Store.start."""
        touch.run = self.write(lambda rows, now: transitions.start(rows, touch, now))

    def end(self, touch: Touch) -> None:
        """See Store.end."""
        self.write(lambda rows, now: transitions.end(rows, touch, now))

    def bump(self, touch: Touch) -> None:
        """See Store.bump."""
        self.write(lambda rows, now: transitions.bump(rows, touch, now))

    def linger(self, touch: Touch) -> None:
        """See Store.linger."""
        self.write(lambda rows, now: transitions.linger(rows, touch, now))

    def epoch(self) -> None:
        """See Store.epoch."""
        self.write(lambda rows, now: transitions.begin_epoch(rows, now))

    # ---- connections

    def read(self, job: Callable[[Rows, float], Found]) -> Found:
        """Run a job that only reads, on this thread."""
        try:
            cursor = _popped(self._readers) or self._connection().cursor()
            try:
                return job(Rows(cursor.connection, self), self.clock())
            finally:
                self._readers.append(cursor)
        except sqlite3.Error as error:
            self._failed(error)

    def write(self, job: Callable[[Writing, float], Found]) -> Found:
        """Run a job in a transaction, together with whatever else is waiting."""
        found: Found = self._batches.call(job)
        return found

    def _transaction(self, jobs: Sequence[Callable[[Writing, float], Any]]) -> list[Any]:
        """Run jobs in one transaction. All or nothing; only one thread at a time is here."""
        try:
            try:
                rows = self._writer
                if rows is None:
                    rows = self._writer = Writing(self._connection(), self)
            except sqlite3.Error as error:
                self._failed(error, NotBegun)
            try:
                try:
                    rows.open()
                except sqlite3.Error as error:
                    self._failed(error, NotBegun)
                now = self.clock()
                rows.begun(jobs)
                found = [job(rows, now) for job in jobs]
                if now >= self._swept + 1.0:
                    self._swept = now
                    connection = rows.connection
                    for statement in _SWEEPS:
                        connection.execute(statement, (now,))
                rows.commit()
            except BaseException:
                rows.roll_back()
                raise
            return found
        except sqlite3.Error as error:
            self._failed(error)

    def _failed(self, error: sqlite3.Error, kind: type[StoreError] = StoreError) -> NoReturn:
        if not self._create and not self.path.exists():
            raise kind(f"there is no {self.path}: {_ADVICE.format(self.path)}") from error
        raise kind(f"the store in {self.path}: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        uri = f"{self.path.as_uri()}?mode={'rwc' if self._create else 'rw'}"
        connection = sqlite3.connect(
            uri, uri=True, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=128
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES}")
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        try:
            version = connection.execute("SELECT version FROM verbguard_state").fetchone()[0]
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            if not self._create:
                raise StoreError(f"{self.path} is no store yet: {_ADVICE.format(self.path)}") from error
            make_tables(connection)
            return
        if version != _VERSION:
            raise StoreError(f"{self.path} was made by another version of verbguard (layout {version}, here {_VERSION})")

    def committed(self, ident: bytes, place: str, timeout: float = 0.0) -> Entry | None:
        """The answer that an application committed in its own database, the file `place`.

        Raises Undecided where a transaction of the application keeps it shut for longer than `timeout` seconds.
        """
        if not os.path.exists(place):
            return None  # what was committed there is gone with its effect
        others = self._others.setdefault(place, [])
        try:
            connection = _popped(others) or _beside(place)
            try:
                connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1_000)}")
                found = connection.execute(_COMMITTED, (digest_of(ident),)).fetchone()
            finally:
                others.append(connection)
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None  # the transaction that made it was not committed
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Undecided(f"the application's database {place} is locked") from error
            raise
        return None if found is None else Entry(found[0], found[1], found[2], data=found[3])

    def place_answer(self, claim: Claim, token: int, place: str) -> bool:
        """Remember, before an application commits it, in which file the answer of this run would be; False where the claim is
        lost."""
        if os.path.exists(place) and os.path.samefile(place, self.path):
            raise ConfigError(
                f"record_in: the store's file {place} is the application's own database, and its transaction would keep every "
                "lease waiting; give the store a file of its own, such as sqlite:///replay.db"
            )

        def note(rows: Writing, now: float) -> bool:
            noted = rows.connection.execute(
                "UPDATE verbguard_entries SET place = ? WHERE ident = ? AND token = ? AND data IS NULL",
                (place, digest_of(claim.ident), token),
            )
            return bool(noted.rowcount)

        return self.write(note)

    def close(self) -> None:
        """Close the file. The store may be used again, and opens it then."""
        self._batches.close()
        # Others may be asking: what one of them uses is not closed under it, which would end the process.
        connections = []
        if self._batches.pause(self._timeout + _PAUSE):
            writer, self._writer = self._writer, None
            self._batches.resume()
            if writer is not None:
                connections.append(writer._connection)
        while (cursor := _popped(self._readers)) is not None:
            connections.append(cursor.connection)
        for others in list(self._others.values()):
            while (other := _popped(others)) is not None:
                connections.append(other)
        for connection in connections:
            connection.close()

    def _opened(self) -> list[sqlite3.Connection]:
        found = [cursor.connection for cursor in self._readers]
        found += [each for others in self._others.values() for each in others]
        return found if self._writer is None else [*found, self._writer._connection]

    # ---- for people

    def initialise(self) -> None:
        """See Operated.initialise."""
        before, self._create = self._create, True
        try:
            self.read(lambda rows, now: None)
        finally:
            self._create = before

    def health(self) -> float:
        """See Store.health: a write of nothing, which waits for whoever has the file locked."""
        before = time.perf_counter()
        self.write(lambda rows, now: None)
        return time.perf_counter() - before

    def entries(self) -> Iterator[Kept]:
        """See Operated.entries."""
        yield from self.read(lambda rows, now: [_kept(row, now) for row in rows.connection.execute(_KEPT, (now,))])

    def show(self, name: bytes) -> tuple[Kept, Record | None] | None:
        """See Operated.show."""

        def show(rows: Rows, now: float) -> tuple[Kept, Record | None] | None:
            row = rows.connection.execute(f"{_KEPT} AND ident = ?", (now, name)).fetchone()
            if row is None:
                return None
            data = rows.connection.execute("SELECT data FROM verbguard_entries WHERE ident = ?", (name,)).fetchone()[0]
            return _kept(row, now), None if data is None else self.sealer.open(data, name)

        return self.read(show)

    def evict(self, name: bytes, who: str) -> bool:
        """See Operated.evict."""

        def evict(rows: Writing, now: float) -> bool:
            if not rows.connection.execute(DROP, (name,)).rowcount:
                return False
            _audit(rows, now, who, "evict", name)
            return True

        return self.write(evict)

    def complete(self, name: bytes, record: Record, keep: float, who: str) -> bool:
        """See Operated.complete."""
        data = self.sealer.seal(record, name)

        def complete(rows: Writing, now: float) -> bool:
            done = rows.connection.execute(
                "UPDATE verbguard_entries SET token = ?, until = ?, dies = ?, status = ?, size = ?, data = ?"
                " WHERE ident = ? AND data IS NULL",
                (rows.serial(), now + keep, now + keep, record.status, len(data), data, name),
            )
            if done.rowcount:
                _audit(rows, now, who, f"complete {record.status}", name)
            return bool(done.rowcount)

        return self.write(complete)

    def audit(self) -> list[Audit]:
        """See Operated.audit."""
        found = self.read(
            lambda rows, now: rows.connection.execute(
                "SELECT at, who, what, name FROM verbguard_audit ORDER BY number DESC"
            ).fetchall()
        )
        return [Audit(when=at, who=who, what=what, name=name) for at, who, what, name in found]

    def stats(self) -> dict[str, int]:
        """See Operated.stats."""

        def count(rows: Rows, now: float) -> dict[str, int]:
            found = rows.connection.execute(
                "SELECT coalesce(sum(data IS NULL AND until > ?1), 0), coalesce(sum(data IS NULL AND until <= ?1), 0),"
                " coalesce(sum(data IS NOT NULL AND until > ?1), 0), coalesce(sum(size), 0) FROM verbguard_entries",
                (now,),
            ).fetchone()
            paths = rows.connection.execute("SELECT count(*) FROM verbguard_generations WHERE until > ?", (now,)).fetchone()
            return dict(zip(("running", "unknown", "done", "bytes", "paths"), (*found, *paths), strict=True))

        return self.read(count)

    def vacuum(self) -> int:
        """See Operated.vacuum."""
        total = 0
        while True:
            deleted = self.write(
                lambda rows, now: sum(rows.connection.execute(statement, (now,)).rowcount for statement in _SWEEPS)
            )
            total += deleted
            if not deleted:
                return total


class AsyncSqliteStore:
    """The same file for asyncio: what changes something is written by a thread, what does not is read at once."""

    shared = True
    asynchronous = True

    dialect = "sqlite"
    answers = "verbguard_answers"

    def __init__(self, store: SqliteStore) -> None:
        self.sync = store
        self.clock = store.clock
        self.sealer = store.sealer
        self.place_answer = store.place_answer

    def __repr__(self) -> str:
        return f"{self.sync!r}.aio"

    async def _write(self, job: Callable[[Writing, float], Found]) -> Found:
        found: Found = await self.sync._batches.later(job)
        return found

    async def claim(self, claim: Claim) -> Outcome:
        """See Store.claim. When it is cancelled, what it wins all the same is let go."""
        crowded = self.sync.crowded()
        if not crowded and (outcome := self.sync.told(claim)) is not None:
            return outcome

        def undo(outcome: Outcome) -> Callable[[Writing, float], Any]:
            token = outcome.token if isinstance(outcome, Won) else 0
            return lambda rows, now: transitions.release(rows, claim, token, now) if token else None

        try:
            won: Outcome = await self.sync._batches.later(claiming(claim), undo)
        except NotBegun:
            if not crowded or (outcome := self.sync.told(claim)) is None:
                raise
            return outcome  # whoever has the file locked keeps nobody from reading
        return won

    async def save(self, claim: Claim, token: int, record: Record) -> bool:
        """See Store.save."""
        return await self._write(self.sync.saving(claim, token, record))

    async def release(self, claim: Claim, token: int) -> bool:
        """See Store.release."""
        return await self._write(lambda rows, now: transitions.release(rows, claim, token, now))

    async def renew(self, claim: Claim, token: int) -> bool:
        """See Store.renew."""
        return await self._write(lambda rows, now: transitions.renew(rows, claim, token, now))

    async def settle(self, claim: Claim, token: int) -> bool:
        """See Transactional.settle."""
        return await asyncio.to_thread(self.sync.settle, claim, token)

    async def start(self, touch: Touch) -> None:
        """See Store.start."""
        touch.run = await self._write(lambda rows, now: transitions.start(rows, touch, now))

    async def end(self, touch: Touch) -> None:
        """See Store.end."""
        await self._write(lambda rows, now: transitions.end(rows, touch, now))

    async def bump(self, touch: Touch) -> None:
        """See Store.bump."""
        await self._write(lambda rows, now: transitions.bump(rows, touch, now))

    async def linger(self, touch: Touch) -> None:
        """See Store.linger."""
        await self._write(lambda rows, now: transitions.linger(rows, touch, now))

    async def epoch(self) -> None:
        """See Store.epoch."""
        await self._write(lambda rows, now: transitions.begin_epoch(rows, now))

    async def health(self) -> float:
        """See Store.health."""
        before = time.perf_counter()
        await self._write(lambda rows, now: None)
        return time.perf_counter() - before


def claiming(claim: Claim) -> Work[Outcome]:
    """What a claim writes that was not told anything yet."""
    return Work(claim.ident, lambda rows, now: _whatever_is_open(transitions.claim, rows, claim, now), claim.touch)


def _whatever_is_open(
    ask: Callable[[Looking, Claim, float], Heard], rows: Looking, claim: Claim, now: float
) -> Heard | Done | Busy:
    """What a claim hears, also where a transaction of the application keeps shut whether it has committed an answer."""
    try:
        return ask(rows, claim, now)
    except Undecided:  # nothing was written yet: the look at what was committed comes before
        entry = rows.entry(claim.ident)
        if entry is not None and entry.data is not None:
            return Done(rows.read(claim.ident, entry.data))
        return Busy(1.0 if entry is None else max(entry.until - now, 1.0))


class Undecided(StoreError):
    """Somebody has the application's database locked, and may be about to commit the answer that is asked for."""


def _audit(rows: Writing, now: float, who: str, what: str, name: bytes) -> None:
    """Leave a line that says what an operator did."""
    connection = rows.connection
    added = connection.execute("INSERT INTO verbguard_audit (at, who, what, name) VALUES (?, ?, ?, ?)", (now, who, what, name))
    connection.execute("DELETE FROM verbguard_audit WHERE number <= ?", ((added.lastrowid or 0) - _AUDITED,))


def _kept(row: tuple[Any, ...], now: float) -> Kept:
    ident, token, until, dies, principal, key, method, path, status, size, runs = row
    state = "done" if not runs else "running" if until > now else "unknown"
    return Kept(
        name=ident,
        state=state,
        method=method,
        path=path,
        principal=principal,
        key=key,
        token=token,
        left=(dies if state == "unknown" else until) - now,
        status=status,
        size=size,
    )


def make_tables(connection: sqlite3.Connection) -> None:
    """Create what is missing; several processes may do so at once."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _beside(place: str) -> sqlite3.Connection:
    """A connection to an application's database. It only reads, but may write: what a process that was killed has left half
    done must be rolled back before anything can be read."""
    mode = "rw" if os.access(place, os.W_OK) else "ro"
    uri = f"{Path(place).as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=0.0, isolation_level=None, check_same_thread=False)


def _popped(free: list[Free]) -> Free | None:
    try:
        return free.pop()
    except IndexError:  # also where another thread was quicker
        return None


def _forking(store: SqliteStore | None) -> None:
    """Between two transactions: the locks of one that is going on would be held in the child for ever."""
    if store is not None and store._batches.pause(_PAUSE):
        store._paused.append(store._batches)


def _parted(store: SqliteStore | None) -> None:
    if store is not None and store._paused:
        store._paused.pop().resume()


def _forked(store: SqliteStore | None) -> None:
    """A child must not use its parent's connections; they stay open, since closing them would drop the parent's locks."""
    if store is not None:
        store._inherited += store._opened()
        store._paused.clear()
        store._open()
