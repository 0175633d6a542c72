"""Opening a guarded shop: the app, its guard, a clock that stands still and a client, in one object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.files import fresh_file
from shared.postgres_stores import opened_postgres
from shared.redis_stores import opened_redis

import verbguard
from blackbox.drivers import AsgiDriver, Client, WsgiDriver
from blackbox.shop import World
from blackbox.shop_fastapi import fastapi_shop
from blackbox.shop_flask import flask_shop
from verbguard import Policy, Replay
from verbguard.stores import Store
from verbguard.stores.memory import MemoryStore
from verbguard.stores.sqlite import SqliteStore

FRAMEWORKS = ("fastapi", "flask")

# Where the answers are kept, by a clock that is moved by hand.
STORES: dict[str, Callable[[Callable[[], float]], Store]] = {
    "memory": lambda clock: MemoryStore(clock=clock),
    "sqlite": lambda clock: SqliteStore(fresh_file(), clock=clock),
    "redis": opened_redis,
    "postgresql": opened_postgres,
}

# What the checks set beside the defaults, a route each; everything else runs as it comes out of the box.
POLICIES = {
    "/payments": Policy(replay=Replay(required=True)),
    "/patient": Policy(replay=Replay(wait=30.0)),
    "/stumble": Policy(replay=Replay(wait=30.0)),
    "/releasing": Policy(replay=Replay(wait=30.0, on_error="release")),
    "/brief": Policy(replay=Replay(lease=0.2)),
    "/canonical": Policy(replay=Replay(fingerprint="json")),
}


class Clock:
    """Time for the store, moved by hand. It starts at a real date, since records carry one."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Shop(Client):
    def __init__(self, framework: str, kept_in: str = "memory", **options: Any) -> None:
        self.framework = framework
        self.world = World()
        self.clock = Clock()
        options = {"policies": POLICIES, "store": STORES[kept_in](self.clock)} | options
        if framework == "fastapi":
            self.app: Any = verbguard.guard(fastapi_shop(self.world), **options)
            super().__init__(AsgiDriver(self.app))
        else:
            self.app = verbguard.guard(flask_shop(self.world), **options)
            super().__init__(WsgiDriver(self.app.wsgi_app))

    @property
    def runs(self) -> dict[str, int]:
        return dict(self.world.runs)
