"""The application's own database connections: which library they are of, and how a statement is executed on each.

No library is imported here: whoever has a connection has imported its own.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from verbguard.errors import ConfigError

__all__ = [
    "Execute",
    "ExecuteLater",
    "Ran",
    "dialect_of",
    "executing",
    "executing_later",
    "is_of_asyncio",
    "is_open",
    "sqlstate_of",
]

Values = Mapping[str, Any]

_IN_TRANSACTION = (1, 2, 3)  # psycopg's ACTIVE, INTRANS and INERROR


class Ran(NamedTuple):
    """What came of a statement: rows where it has some, and how many it wrote; negative where the driver does not know yet."""

    rows: Sequence[Any]
    written: int


Execute = Callable[[str, Values], Ran]
ExecuteLater = Callable[[str, Values], Awaitable[Ran]]


def library_of(connection: Any) -> str:
    """The library that a connection is of, also when the application has made a class of its own from it."""
    for kind in type(connection).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in ("sqlite3", "aiosqlite", "psycopg", "sqlalchemy"):
            return library
    raise ConfigError(
        f"record_in: {type(connection).__name__} is no connection of sqlite3, aiosqlite, psycopg 3 or SQLAlchemy 2"
    )


def is_of_asyncio(connection: Any) -> bool:
    """Whether what is done on this connection must be awaited."""
    return library_of(connection) == "aiosqlite" or any(
        kind.__name__.lower().startswith("async") for kind in type(connection).__mro__
    )


def dialect_of(connection: Any) -> str:
    """The database that a connection leads to, as SQLAlchemy names it."""
    library = library_of(connection)
    if library == "sqlalchemy":
        bound = connection.get_bind() if hasattr(connection, "get_bind") else connection
        return str(bound.dialect.name)
    return "postgresql" if library == "psycopg" else "sqlite"


def sqlstate_of(error: BaseException) -> str:
    """PostgreSQL's code for what went wrong, also through SQLAlchemy."""
    found = getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", None)
    return str(found or "")


def is_open(driver: Any) -> bool:
    """Whether a driver's connection may still be in its transaction. One that has gone back to its pool may be in another's."""
    try:
        if hasattr(driver, "in_transaction"):
            return bool(driver.in_transaction)
        if hasattr(driver, "info") and hasattr(driver.info, "transaction_status"):
            return not driver.closed and driver.info.transaction_status in _IN_TRANSACTION
    except Exception:  # what is closed says so in many ways
        return False
    return True


def executing(connection: Any) -> tuple[Execute, Any]:
    """How a statement with `:name` parameters is executed, and the driver's own connection.

    Raises ConfigError where a statement would be committed by itself.
    """
    library = library_of(connection)
    if library == "sqlalchemy":
        inner = connection.connection() if hasattr(connection, "get_bind") else connection
        driver = inner.connection.driver_connection
        _must_be_open(driver)
        return lambda statement, values: _of_alchemy(connection.execute(_text(statement), dict(values))), driver
    _must_be_open(connection)
    if library == "psycopg":
        return lambda statement, values: Ran((), connection.execute(_percent(statement), dict(values)).rowcount), connection

    def execute(statement: str, values: Values) -> Ran:
        cursor = connection.cursor()
        cursor.row_factory = None  # the application's may make anything of a row
        cursor.execute(statement, dict(values))
        return Ran(cursor.fetchall(), cursor.rowcount)

    return execute, connection


async def executing_later(connection: Any) -> tuple[ExecuteLater, Any]:
    """The same for a connection of asyncio's."""
    library = library_of(connection)
    if library == "sqlalchemy":
        inner = await connection.connection() if hasattr(connection, "get_bind") else connection
        driver = inner.sync_connection.connection.driver_connection
        _must_be_open(driver)

        async def of_alchemy(statement: str, values: Values) -> Ran:
            return _of_alchemy(await connection.execute(_text(statement), dict(values)))

        return of_alchemy, driver
    _must_be_open(connection)
    if library == "psycopg":

        async def of_psycopg(statement: str, values: Values) -> Ran:
            return Ran((), (await connection.execute(_percent(statement), dict(values))).rowcount)

        return of_psycopg, connection

    async def of_aiosqlite(statement: str, values: Values) -> Ran:
        async with connection.cursor() as cursor:
            cursor.row_factory = None
            await cursor.execute(statement, dict(values))
            return Ran(list(await cursor.fetchall()), cursor.rowcount)

    return of_aiosqlite, connection


def _of_alchemy(result: Any) -> Ran:
    return Ran(result.fetchall() if result.returns_rows else (), result.rowcount)


def _text(statement: str) -> Any:
    from sqlalchemy import text

    return text(statement)


def _percent(statement: str) -> str:
    """The parameters as psycopg spells them."""
    return re.sub(r":([a-z]+)", r"%(\1)s", statement.replace("%", "%%"))


def _must_be_open(connection: Any) -> None:
    """Raises ConfigError where this driver's connection commits each statement by itself."""
    if hasattr(connection, "isolation_level") and hasattr(connection, "in_transaction"):  # sqlite3 and aiosqlite
        # `autocommit` came with Python 3.12: True, False, or -1 for the older way, which `isolation_level` tells
        begins = connection.isolation_level is not None and getattr(connection, "autocommit", -1) is not True
        found = bool(connection.in_transaction) or begins
    elif hasattr(connection, "info") and hasattr(connection.info, "transaction_status"):  # psycopg
        found = not connection.autocommit or connection.info.transaction_status != 0
    else:
        found = not getattr(connection, "autocommit", False)
    if not found:
        raise ConfigError("record_in: the connection commits each statement by itself; begin a transaction first")
