"""Exactly once: a handler commits its answer in its own transaction, together with the effect.

    verbguard.current().record_in(connection, 201, {"location": "/orders/7"}, body)

After the commit both are there, before it neither, whatever happens to the process in between. The answer is a row in the
application's own database; the lease is elsewhere, so that renewing it never waits for the application's transaction.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Generator, Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from verbguard.errors import ConfigError, Superseded
from verbguard.replay import recorded
from verbguard.stores.sealing import digest_of

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
# An answer that another run of the key has committed stays: then this run has lost its claim, and must not commit its effect.
_WRITTEN = """
INSERT INTO {table} (ident, token, fingerprint, expires, record) VALUES (:ident, :token, :fingerprint, :expires, :record)
ON CONFLICT (ident) DO UPDATE SET
    token = excluded.token, fingerprint = excluded.fingerprint, expires = excluded.expires, record = excluded.record
WHERE {table}.expires <= :now OR {table}.token = excluded.token
"""

Execute = Callable[[str, Mapping[str, Any]], Any]
Steps = Generator[tuple[str, Mapping[str, Any]], Any, None]


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

    def record_in(
        self,
        connection: Any,
        status: int,
        headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
        body: bytes | str = b"",
    ) -> Any:
        """Keep this answer in the transaction that `connection` is in: the retry gets it if, and only if, that is committed.

        - `connection`: of `sqlite3`, of psycopg 3, or a Session or Connection of SQLAlchemy 2; for one of asyncio's (psycopg's
          AsyncConnection, SQLAlchemy's AsyncSession or AsyncConnection, aiosqlite) the result must be awaited.
        - `status`, `headers`, `body`: what the handler is about to answer; a body of JSON is its text.

        True when it was recorded; False, and nothing happens, where the request has no key. Call it before the commit. Raises
        Superseded when another run of the key has committed its answer: let it pass, so that the transaction is rolled back.
        Raises ConfigError where the store cannot do this (`sqlite://` and `postgresql://` can) or the connection is in no
        transaction.
        """
        awaits = _is_of_asyncio(connection)
        serving = self._serving
        if serving is None or not self.claimed:
            return _soon(False) if awaits else False
        steps = self._steps(connection, serving, status, headers, body)
        execute = _execute(connection)
        return _awaited(steps, execute) if awaits else _done(steps, execute)

    def _steps(self, connection: Any, serving: Serving, status: int, headers: Any, body: Any) -> Steps:
        """The statements to execute, each of which is sent its result."""
        store, claim = serving.store, serving.claimed_as
        assert claim is not None
        dialect = _dialect(connection)
        if dialect != getattr(store, "dialect", ""):
            raise ConfigError(f"record_in: {store!r} cannot record in a transaction of {dialect or type(connection).__name__}")
        name = digest_of(claim.ident)
        now = store.clock()
        values = {
            "ident": name,
            "token": serving.token,
            "fingerprint": claim.fingerprint,
            "expires": now + claim.keep,
            "record": store.sealer.seal(recorded(status, headers, body), name),
            "now": now,
        }
        if dialect == "sqlite":
            files = yield "PRAGMA database_list", {}
            place = next((row[2] for row in files.fetchall() if row[1] == "main"), "")
            if not place:
                raise ConfigError("record_in: a database in memory is gone with its process; use a file")
            store.place_answer(claim, serving.token, place)
            yield _MADE, {}
            yield _EXPIRED, {"now": now}
        written = yield _WRITTEN.format(table=store.answers), values
        if not written.rowcount:
            raise Superseded("another run of this key has committed its answer; this transaction must be rolled back")
        serving.in_transaction = True

    def over(self) -> None:
        """The application has returned."""
        if self._reset is not None:
            _CURRENT.reset(self._reset)


_NOTHING = Current(None)
_CURRENT: ContextVar[Current] = ContextVar("verbguard_current", default=_NOTHING)


def current() -> Current:
    """The request that is being served; outside of one, and where nothing is claimed, one that records nothing."""
    return _CURRENT.get()


# ---- connections


def _done(steps: Steps, execute: Execute) -> bool:
    """Execute each statement; what comes of it is sent back."""
    try:
        statement, values = next(steps)
        while True:
            statement, values = steps.send(execute(statement, values))
    except StopIteration:
        return True


async def _awaited(steps: Steps, execute: Execute) -> bool:
    """The same for a connection of asyncio's."""
    try:
        statement, values = next(steps)
        while True:
            statement, values = steps.send(await execute(statement, values))
    except StopIteration:
        return True


async def _soon(found: bool) -> bool:
    return found


def _library(connection: Any) -> str:
    """The library that a connection is of, also when the application has made a class of its own from it."""
    for kind in type(connection).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in ("sqlite3", "aiosqlite", "psycopg", "sqlalchemy"):
            return library
    raise ConfigError(
        f"record_in: {type(connection).__name__} is no connection of sqlite3, aiosqlite, psycopg 3 or SQLAlchemy 2"
    )


def _is_of_asyncio(connection: Any) -> bool:
    return any(kind.__name__.lower().startswith("async") for kind in type(connection).__mro__) or (
        _library(connection) == "aiosqlite"
    )


def _dialect(connection: Any) -> str:
    library = _library(connection)
    if library == "sqlalchemy":
        bound = connection.get_bind() if hasattr(connection, "get_bind") else connection
        return str(bound.dialect.name)
    return "postgresql" if library == "psycopg" else "sqlite"


def _execute(connection: Any) -> Execute:
    """How a statement with `:name` parameters is executed on this connection."""
    library = _library(connection)
    if library == "sqlalchemy":
        from sqlalchemy import text

        return lambda statement, values: connection.execute(text(statement), dict(values))
    if library == "psycopg":
        _in_transaction(not connection.autocommit or connection.info.transaction_status != 0)
        return lambda statement, values: connection.execute(_percent(statement), dict(values))
    if isinstance(connection, sqlite3.Connection) or hasattr(connection, "in_transaction"):
        _in_transaction(connection.in_transaction or connection.isolation_level is not None)
    return lambda statement, values: connection.execute(statement, dict(values))


def _percent(statement: str) -> str:
    """The parameters as psycopg spells them."""
    return re.sub(r":([a-z]+)", r"%(\1)s", statement)


def _in_transaction(found: bool) -> None:
    if not found:
        raise ConfigError("record_in: the connection commits each statement by itself; begin a transaction first")
