"""Exactly once: a handler commits its answer in its own transaction, together with the effect.

    verbguard.current().record_in(connection, 201, {"location": "/orders/7"}, body)

After the commit both are there, before it neither, whatever happens to the process in between. The answer is a row in the
application's own database; the lease is elsewhere, so that renewing it never waits for the application's transaction.

- From then on the transaction decides, and not what the handler answers: committed, its answer is the result of the key, also
  when the handler raises afterwards; rolled back, the key is free, also when the handler answers 201.
- The row is the fence. Of two runs of one key, of which the first was thought dead, one commits; the other's transaction gets
  Superseded and is rolled back, and its client gets the committed answer.
- A run that was killed before its commit leaves no row, and a POST whose lease has ended is "outcome unknown" all the same
  (409): the guard cannot know whether the handler did something outside of its transaction before it died, nor whether it is
  dead. Where the transaction is all that a handler does, say `Replay(after_crash="rerun")`: then running it again is safe,
  since of all runs only one can commit.
- A handler that skips `record_in`, or commits its effect before it, is not protected; nor is a request without a key, or one
  that runs while the store does not answer (`Replay(required=True)` refuses both).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from verbguard.errors import ConfigError, Superseded
from verbguard.exchange import Exchange
from verbguard.http import Response
from verbguard.methods import BODILESS
from verbguard.policy import Action
from verbguard.records import Record
from verbguard.replay import recorded, stored_headers
from verbguard.rules import Finding, Rule
from verbguard.stores.sealing import digest_of
from verbguard.transactions import dialect_of, executing, executing_later, is_of_asyncio, sqlstate_of

if TYPE_CHECKING:
    from verbguard.serving import Serving

__all__ = ["Current", "current"]

_MADE = """
CREATE TABLE IF NOT EXISTS verbguard_answers (
    ident BLOB PRIMARY KEY, token INTEGER NOT NULL, fingerprint BLOB NOT NULL, expires REAL NOT NULL, record BLOB NOT NULL
)
"""
_EXPIRED = """
DELETE FROM verbguard_answers WHERE ident IN (SELECT ident FROM verbguard_answers WHERE expires <= :now LIMIT 20)
"""
_FILES = "SELECT file FROM pragma_database_list WHERE name = 'main'"
_ROWS = {
    "sqlite": "VALUES (:ident, :token, :fingerprint, :expires, :record)",
    # A run that has lost its claim finds its entry gone or another's, and writes nothing.
    "postgresql": (
        "SELECT CAST(:ident AS bytea), CAST(:token AS bigint), CAST(:fingerprint AS bytea), CAST(:expires AS float8),"
        " CAST(:record AS bytea) WHERE EXISTS (SELECT 1 FROM {entries} WHERE ident = :ident AND token = :token)"
    ),
}
# An answer that another run of the key has committed stays: then this run has lost its claim, and must not commit its effect.
# Only what this very run has written may be written again: tokens begin anew where a store's file is lost.
_WRITTEN = """
INSERT INTO {answers} (ident, token, fingerprint, expires, record) {row}
ON CONFLICT (ident) DO UPDATE SET
    token = excluded.token, fingerprint = excluded.fingerprint, expires = excluded.expires, record = excluded.record
WHERE {answers}.expires <= :now{again}
"""
_AGAIN = " OR {answers}.token = excluded.token"

_NO_TABLE = "42P01"  # PostgreSQL: undefined_table

Headers = Mapping[str, str] | Sequence[tuple[str, str]]
Job = Callable[[], Any]
Steps = Generator[tuple[str, Mapping[str, Any]] | Job, Any, None]


class Current:
    """The request that a handler is serving, as far as replay goes.

    `key` is the client's Idempotency-Key, empty without one; `claimed` says whether an answer would be kept for it.
    """

    def __init__(self, serving: Serving | None) -> None:
        self._serving = serving
        self._reset: Token[Current] | None = None if serving is None else _CURRENT.set(self)

    @property
    def key(self) -> bytes:
        """The client's Idempotency-Key; empty where there is none."""
        return b"" if self._serving is None else self._serving.key

    @property
    def claimed(self) -> bool:
        """Whether this request has a key and the right to run for it."""
        return self._serving is not None and self._serving.token != 0 and self._serving.mode == "keyed"

    def record_in(self, connection: Any, status: int, headers: Headers | None = None, body: bytes | str = b"") -> Any:
        """Keep this answer in the transaction that `connection` is in: the retry gets it if, and only if, that is committed.

        - `connection`: of `sqlite3`, of psycopg 3, or a Session or Connection of SQLAlchemy 2; for one of asyncio's (psycopg's
          AsyncConnection, SQLAlchemy's AsyncSession or AsyncConnection, aiosqlite) the result must be awaited.
        - `status`, `headers`, `body`: what the handler is about to answer, Content-Type included; a body of JSON is its text.
          What the guard would repair in it (a Location that is missing, say) is repaired in what is kept, too.

        True when it was recorded; False, and nothing happens, where the request has no key. Call it before the commit, on the
        handler's own thread or task. Raises Superseded when this run has lost its claim, or another run of the key has
        committed its answer: let it pass, so that the transaction is rolled back; the client gets the committed answer. Raises
        ConfigError where the store cannot do this (`sqlite://` and `postgresql://` can) or the connection is in no transaction.
        """
        awaits = is_of_asyncio(connection)
        serving = self._serving
        if serving is None or not self.claimed:
            return _soon(False) if awaits else False
        steps = self._steps(connection, serving, status, headers, body)
        return _awaited(steps, connection, serving) if awaits else _done(steps, connection, serving)

    def _steps(self, connection: Any, serving: Serving, status: int, headers: Any, body: Any) -> Steps:
        """What to execute or to call, each of which is sent its result."""
        store, claim = serving.store, serving.claimed_as
        assert claim is not None
        dialect = dialect_of(connection)
        if dialect != getattr(store, "dialect", ""):
            raise ConfigError(_cannot(store, dialect))
        name = digest_of(claim.ident)
        now = store.clock()
        values = {
            "ident": name,
            "token": serving.token,
            "fingerprint": claim.fingerprint,
            "expires": now + claim.keep,
            "record": store.sealer.seal(repaired(serving, recorded(status, headers, body)), name),
            "now": now,
        }
        if dialect == "sqlite":
            files = yield _FILES, {}
            place = os.fsdecode(files.rows[0][0] or "")
            if not place:
                raise ConfigError("record_in: a database in memory is gone with its process; use a file")
            if not (yield lambda: store.place_answer(claim, serving.token, place)):
                serving.superseded = True
                raise Superseded("this run has lost its claim; its transaction must be rolled back")
            yield _MADE, {}
            yield _EXPIRED, {"now": now}
        statement = _WRITTEN.replace("{row}", _ROWS[dialect]).replace("{again}", _AGAIN if serving.in_transaction else "")
        names = {"answers": store.answers, "entries": store.answers.replace("verbguard_answers", "verbguard_entries")}
        serving.in_transaction = True
        try:
            came = yield statement.format(**names), values
        except Exception as error:
            if sqlstate_of(error) == _NO_TABLE:
                serving.in_transaction = False
                raise ConfigError(
                    f"record_in: the connection leads to another database than {store!r}: it has no {store.answers}"
                ) from error
            raise
        if came.written < 0:
            raise ConfigError("record_in: the connection cannot tell what was written; leave its pipeline first")
        if came.written == 0:
            serving.superseded = True
            raise Superseded(
                "this run has lost its claim, or another one of its key has committed its answer; this transaction must be"
                " rolled back (a connection to another database than the store's looks the same)"
            )

    def over(self) -> None:
        """The application has returned."""
        if self._reset is not None:
            with suppress(ValueError):  # a coroutine that is closed from elsewhere has no context to put back
                _CURRENT.reset(self._reset)


def _cannot(store: Any, dialect: str) -> str:
    can = getattr(store, "dialect", "")
    if not can:
        return (
            f"record_in: {store!r} cannot keep an answer in the application's transaction; give the guard a store of its"
            ' database\'s kind: store="sqlite:///replay.db" or store="postgresql://..."'
        )
    return f"record_in: {store!r} keeps answers in transactions of {can}, and this connection is of {dialect}"


_NOTHING = Current(None)
_CURRENT: ContextVar[Current] = ContextVar("verbguard_current", default=_NOTHING)


def current() -> Current:
    """The request that is being served; outside of one, and where nothing is claimed, one that records nothing."""
    return _CURRENT.get()


# ---- the answer as the client will see it


class _Unheard(Exchange):
    """What the guard makes of an answer, without a word to the observers: they hear of it when the handler sends it."""

    def _tell(self, finding: Finding, rule: Rule, action: Action) -> Finding:
        return finding


def repaired(serving: Serving, record: Record) -> Record:
    """The record as the client sees it, so that a replay says the same whether or not the process lived to send the answer."""
    try:
        rehearsed = _Unheard(serving.guard, serving.plan, serving.request)
        rehearsed.marks = serving.marks
        rehearsed.answered(record.status, record.headers)
        rehearsed.content(record.body, False)
    except Exception:
        return _measured(record)  # as with an answer that is sent: a rule that fails has nothing to say
    answer: Response | None = rehearsed.replaced
    if answer is not None:
        return _measured(Record(answer.status, stored_headers(answer.headers), answer.body))
    content = b"" if rehearsed.dropping else record.body
    return _measured(Record(rehearsed.status, stored_headers(rehearsed.headers), content))


def _measured(record: Record) -> Record:
    """The record with the length of its content, which no server would know to say."""
    headers = [pair for pair in record.headers if pair[0] != b"content-length"]
    if record.status not in BODILESS:
        headers.append((b"content-length", b"%d" % len(record.body)))
    return Record(record.status, headers, record.body)


# ---- the steps on either kind of connection


def _done(steps: Steps, connection: Any, serving: Serving) -> bool:
    """Do each step; what comes of it is sent back."""
    try:
        step = next(steps)
        execute, serving.driver = executing(connection)
        while True:
            try:
                came = step() if callable(step) else execute(*step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(came)
    except StopIteration:
        return True


async def _awaited(steps: Steps, connection: Any, serving: Serving) -> bool:
    """The same for a connection of asyncio's; what would wait for a file does so on another thread."""
    import asyncio  # whoever has such a connection has it already; a WSGI process may do without

    try:
        step = next(steps)
        execute, serving.driver = await executing_later(connection)
        while True:
            try:
                came = await asyncio.to_thread(step) if callable(step) else await execute(*step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(came)
    except StopIteration:
        return True


async def _soon(found: bool) -> bool:
    return found
