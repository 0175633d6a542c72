"""The shared stores as an operator has them: a file, a Redis, a PostgreSQL, which can fail, hang and come back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from shared.postgres_server import PostgresServer, postgres_server
from shared.redis_server import RedisServer, redis_server

__all__ = ["PLACES", "TIMEOUT", "Place"]

TIMEOUT = 0.4  # seconds that each store is told to wait; what a request waits for is a few of them


class Place(Protocol):
    """One store."""

    url: str

    def fail(self) -> None:
        """It is gone, at whatever instant it is."""

    def recover(self) -> None: ...

    def hang(self) -> None:
        """It is there and says nothing."""

    def resume(self) -> None: ...


class File:
    """A file that fails and hangs in one way only: another has locked it."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}?timeout={TIMEOUT}"
        self._path = path
        self._other: sqlite3.Connection | None = None

    def fail(self) -> None:
        self._other = sqlite3.connect(self._path, isolation_level=None, timeout=10.0)
        self._other.execute("BEGIN EXCLUSIVE")

    def recover(self) -> None:
        assert self._other is not None
        self._other.execute("ROLLBACK")
        self._other.close()
        self._other = None

    hang, resume = fail, recover


class Redis:
    """A server that has on its disk what it has confirmed."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.url = f"{server.url}?prefix=shop&timeout={TIMEOUT}"

    def fail(self) -> None:
        self._server.kill()

    def recover(self) -> None:
        self._server.start()

    def hang(self) -> None:
        self._server.pause()

    def resume(self) -> None:
        self._server.resume()


class Postgres:
    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url = f"{server.url}?timeout={TIMEOUT}"

    def fail(self) -> None:
        self._server.stop(immediate=True)

    def recover(self) -> None:
        self._server.start()

    def hang(self) -> None:
        self._server.pause()

    def resume(self) -> None:
        self._server.resume()


@contextmanager
def _file() -> Iterator[Place]:
    with TemporaryDirectory(prefix="verbguard-shop-") as folder:
        yield File(Path(folder, "replay.db"))


@contextmanager
def _redis() -> Iterator[Place]:
    with redis_server(durable=True) as server:
        yield Redis(server)


@contextmanager
def _postgres() -> Iterator[Place]:
    with postgres_server() as server:
        yield Postgres(server)


PLACES: dict[str, Callable[[], AbstractContextManager[Place]]] = {"sqlite": _file, "redis": _redis, "postgresql": _postgres}
