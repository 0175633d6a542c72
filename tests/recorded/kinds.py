"""Every kind of connection that `record_in` takes, as one open transaction each.

A kind is a context manager that takes a `Place` and gives an `Open`; those whose name begins with "async-" are of asyncio.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import aiosqlite
import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

INSERT = "INSERT INTO {table} (note) VALUES (:note) RETURNING id"


@dataclass(frozen=True)
class Place:
    """Where an application's effects are: a file or a server's URL, and the table."""

    where: str
    table: str = "effects"

    @property
    def insert(self) -> str:
        return INSERT.format(table=self.table)


@dataclass
class Open:
    """A transaction: `effect(note)` writes a row and returns its number."""

    connection: Any
    effect: Callable[[str], Any]
    commit: Callable[[], Any]
    rollback: Callable[[], Any]


# ---- sqlite3


def _of_sqlite(connection: sqlite3.Connection, place: Place) -> Open:
    def effect(note: str) -> Any:
        row = connection.execute(place.insert, {"note": note}).fetchone()
        return row["id"] if isinstance(row, dict) else row[0]

    return Open(connection, effect, connection.commit, connection.rollback)


@contextmanager
def sqlite_default(place: Place) -> Iterator[Open]:
    with closing(sqlite3.connect(place.where, timeout=20)) as connection:
        yield _of_sqlite(connection, place)


@contextmanager
def sqlite_explicit(place: Place) -> Iterator[Open]:
    with closing(sqlite3.connect(place.where, timeout=20, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield _of_sqlite(connection, place)


@contextmanager
def sqlite_dictionaries(place: Place) -> Iterator[Open]:
    """An application that has its own idea of a row and of a text."""
    with closing(sqlite3.connect(place.where, timeout=20)) as connection:
        connection.row_factory = lambda cursor, row: {
            column[0]: value for column, value in zip(cursor.description, row, strict=True)
        }
        connection.text_factory = bytes
        yield _of_sqlite(connection, place)


@contextmanager
def sqlite_autocommit_off(place: Place) -> Iterator[Open]:
    """The way of PEP 249, which Python has since 3.12."""
    with closing(sqlite3.connect(place.where, timeout=20, autocommit=False)) as connection:  # type: ignore[call-overload]
        yield _of_sqlite(connection, place)


# ---- psycopg


def _of_psycopg(connection: psycopg.Connection, place: Place) -> Open:
    def effect(note: str) -> Any:
        row = connection.execute(place.insert.replace(":note", "%(note)s"), {"note": note}).fetchone()
        assert row is not None
        return row[0]

    return Open(connection, effect, connection.commit, connection.rollback)


@contextmanager
def psycopg_default(place: Place) -> Iterator[Open]:
    with closing(psycopg.connect(place.where)) as connection:
        yield _of_psycopg(connection, place)


@contextmanager
def psycopg_transaction(place: Place) -> Iterator[Open]:
    """Autocommit, and a transaction that is begun where one is wanted."""
    with closing(psycopg.connect(place.where, autocommit=True)) as connection:
        transaction = connection.transaction()
        transaction.__enter__()
        opened = _of_psycopg(connection, place)
        over: list[bool] = []

        def end(*error: Any) -> None:
            over.append(True)
            transaction.__exit__(*(error or (None, None, None)))

        undo = psycopg.Rollback()
        yield Open(connection, opened.effect, end, lambda: end(psycopg.Rollback, undo, None))
        if not over:
            end(psycopg.Rollback, undo, None)


# ---- SQLAlchemy


def _engine(place: Place) -> Any:
    if place.where.startswith("postgresql"):
        return create_engine(place.where.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    return create_engine(f"sqlite:///{place.where}", poolclass=NullPool, connect_args={"timeout": 20})


def _of_alchemy(connection: Any, place: Place) -> Open:
    def effect(note: str) -> Any:
        return connection.execute(text(place.insert), {"note": note}).scalar_one()

    return Open(connection, effect, connection.commit, connection.rollback)


@contextmanager
def alchemy_session(place: Place) -> Iterator[Open]:
    with Session(_engine(place)) as session:
        yield _of_alchemy(session, place)


@contextmanager
def alchemy_connection(place: Place) -> Iterator[Open]:
    with _engine(place).connect() as connection:
        yield _of_alchemy(connection, place)


@contextmanager
def alchemy_scoped(place: Place) -> Iterator[Open]:
    """As Flask-SQLAlchemy has them: a registry of sessions of a class of its own."""

    class Own(Session):
        def get_bind(self, mapper: Any = None, clause: Any = None, bind: Any = None, **more: Any) -> Any:
            return super().get_bind(mapper=mapper, clause=clause, bind=bind, **more)

    session = scoped_session(sessionmaker(_engine(place), class_=Own))
    try:
        yield _of_alchemy(session, place)
    finally:
        session.remove()


# ---- asyncio


@asynccontextmanager
async def async_psycopg(place: Place) -> AsyncIterator[Open]:
    async with await psycopg.AsyncConnection.connect(place.where) as connection:

        async def effect(note: str) -> Any:
            done = await connection.execute(place.insert.replace(":note", "%(note)s"), {"note": note})
            row = await done.fetchone()
            assert row is not None
            return row[0]

        yield Open(connection, effect, connection.commit, connection.rollback)


@asynccontextmanager
async def async_aiosqlite(place: Place) -> AsyncIterator[Open]:
    async with aiosqlite.connect(place.where, timeout=20) as connection:

        async def effect(note: str) -> Any:
            async with connection.execute(place.insert, {"note": note}) as done:
                row = await done.fetchone()
                assert row is not None
                return row[0]

        yield Open(connection, effect, connection.commit, connection.rollback)


@asynccontextmanager
async def _async_engine(place: Place) -> AsyncIterator[Any]:
    if place.where.startswith("postgresql"):
        engine = create_async_engine(place.where.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    else:
        engine = create_async_engine(f"sqlite+aiosqlite:///{place.where}", poolclass=NullPool, connect_args={"timeout": 20})
    try:
        yield engine
    finally:
        await engine.dispose()


def _of_async_alchemy(connection: Any, place: Place) -> Open:
    async def effect(note: str) -> Any:
        return (await connection.execute(text(place.insert), {"note": note})).scalar_one()

    return Open(connection, effect, connection.commit, connection.rollback)


@asynccontextmanager
async def async_session(place: Place) -> AsyncIterator[Open]:
    async with _async_engine(place) as engine, AsyncSession(engine) as session:
        yield _of_async_alchemy(session, place)


@asynccontextmanager
async def async_connection(place: Place) -> AsyncIterator[Open]:
    async with _async_engine(place) as engine, engine.connect() as connection:
        yield _of_async_alchemy(connection, place)


@asynccontextmanager
async def async_scoped(place: Place) -> AsyncIterator[Open]:
    async with _async_engine(place) as engine:
        session = async_scoped_session(async_sessionmaker(engine), scopefunc=lambda: 1)
        try:
            yield _of_async_alchemy(session, place)
        finally:
            await session.remove()


BLOCKING: dict[str, tuple[str, Callable[[Place], Any]]] = {
    "sqlite3": ("sqlite", sqlite_default),
    "sqlite3-begin": ("sqlite", sqlite_explicit),
    "sqlite3-dictionaries": ("sqlite", sqlite_dictionaries),
    "session-sqlite": ("sqlite", alchemy_session),
    "connection-sqlite": ("sqlite", alchemy_connection),
    "scoped-sqlite": ("sqlite", alchemy_scoped),
    "psycopg": ("postgresql", psycopg_default),
    "psycopg-transaction": ("postgresql", psycopg_transaction),
    "session-postgresql": ("postgresql", alchemy_session),
    "connection-postgresql": ("postgresql", alchemy_connection),
    "scoped-postgresql": ("postgresql", alchemy_scoped),
}
if sys.version_info >= (3, 12):
    BLOCKING["sqlite3-autocommit-off"] = ("sqlite", sqlite_autocommit_off)
ASYNC: dict[str, tuple[str, Callable[[Place], Any]]] = {
    "async-aiosqlite": ("sqlite", async_aiosqlite),
    "async-session-sqlite": ("sqlite", async_session),
    "async-connection-sqlite": ("sqlite", async_connection),
    "async-scoped-sqlite": ("sqlite", async_scoped),
    "async-psycopg": ("postgresql", async_psycopg),
    "async-session-postgresql": ("postgresql", async_session),
    "async-connection-postgresql": ("postgresql", async_connection),
    "async-scoped-postgresql": ("postgresql", async_scoped),
}
KINDS = BLOCKING | ASYNC
