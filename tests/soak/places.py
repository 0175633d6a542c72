"""The stores that processes can share, each on a server of its own that can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from shared.postgres_server import postgres_server
from shared.redis_server import redis_server

__all__ = ["PLACES", "Place"]

AWAY = 0.7  # seconds that a store is away: many requests meet it, and no client loses its patience


@dataclass(frozen=True, slots=True)
class Place:
    """A store's URL, and how its server is killed and started again; None where there is no server."""

    url: str
    restart: Callable[[], None] | None = None


@contextmanager
def _sqlite(folder: Path) -> Iterator[Place]:
    yield Place(f"sqlite:///{folder / 'store.db'}")


@contextmanager
def _redis(folder: Path) -> Iterator[Place]:
    with redis_server(durable=True) as server:

        def restart() -> None:
            server.kill()
            sleep(AWAY)
            server.start()

        yield Place(server.url, restart)


@contextmanager
def _postgresql(folder: Path) -> Iterator[Place]:
    with postgres_server() as server:

        def restart() -> None:
            server.stop(immediate=True)
            sleep(AWAY)
            server.start()

        yield Place(server.url, restart)


PLACES = {"sqlite": _sqlite, "redis": _redis, "postgresql": _postgresql}
