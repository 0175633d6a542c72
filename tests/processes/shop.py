"""What the processes serve, the same in FastAPI and in Flask, so that either one's answer is the other's replay.

/orders             POST: 201 after a moment
/things/{name}      PUT replaces a state; POST, PATCH and DELETE touch it; GET shows it
/held/{name}        the effect at once, the answer when the gate `name` is open; a lease of half a second
/rerun/, /ignorant/, /willing/, /knowing/ {name}    the same with `after_crash` or an `on_unknown` each
/long/{name}        the same with the lease as it comes out of the box
/blocking/{name}    POST: stands still for three leases, and in FastAPI the event loop with it
/required/{name}    POST that needs a key
/pid                GET: which process this is
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from processes.ledger import Ledger
from verbguard import Policy, Replay, collection, item
from verbguard.rules import Finding
from verbguard.stores import open as open_store

__all__ = ["BLOCKED", "BUSY", "HELD", "LEASE", "Reply", "Shop"]

LEASE = 0.5  # seconds
BLOCKED = 3 * LEASE
BUSY = 0.2  # seconds that an order takes, so that twins meet it
KNOWN = (201, {"location": "/things/known"}, "as it was found")


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    content: dict[str, Any]


def _short(**options: Any) -> Policy:
    return Policy(replay=Replay(lease=LEASE, **options))


class Shop:
    """The part that knows no framework. Where it is and what it shares stands in the environment."""

    def __init__(self) -> None:
        self.ledger = Ledger(Path(os.environ["VERBGUARD_TEST_HOME"]))

    @property
    def options(self) -> dict[str, Any]:
        """What the guard is told."""
        return {
            "policies": {
                "/orders": collection(),
                "/things/{name}": item(replay=Replay(window=30.0)),
                "/held/{name}": _short(),
                "/blocking/{name}": _short(),
                "/rerun/{name}": _short(after_crash="rerun"),
                "/ignorant/{name}": _short(on_unknown=lambda request: None),
                "/willing/{name}": _short(on_unknown=lambda request: "rerun"),
                "/knowing/{name}": _short(on_unknown=lambda request: KNOWN),
                "/required/{name}": Policy(replay=Replay(required=True)),
            },
            "store": self.store(),
            "observers": [self.observe],
        }

    def store(self) -> Any:
        url = os.environ["VERBGUARD_TEST_STORE"]
        if not url.startswith("client+"):
            return open_store(url)
        import redis.asyncio

        from verbguard.stores.redis import AsyncRedisStore

        address, _, prefix = url.removeprefix("client+").partition("?prefix=")
        return AsyncRedisStore(redis.asyncio.Redis.from_url(address), prefix=prefix.partition("&")[0])

    def observe(self, finding: Finding) -> None:
        self.ledger.finding(f"{finding.rule} {finding.method} {finding.template} {finding.message}")

    def done(self, method: str, path: str, content: bytes) -> Reply:
        """The effect of a request, and what it is answered."""
        run = uuid.uuid4().hex
        self.ledger.effect(f"{method} {path} {content.decode()} {os.getpid()}")
        if path.startswith("/things/") and method in ("PUT", "DELETE"):
            self.ledger.keep(path.rpartition("/")[2], content.decode())
        if path == "/orders":
            return Reply(201, {"Location": f"/things/{run}", "X-Run": run}, {"run": run, "pid": os.getpid()})
        return Reply(200, {"X-Run": run}, {"run": run, "pid": os.getpid()})

    def shown(self, name: str) -> Reply:
        return Reply(200, {}, {"state": self.ledger.state(name)})


HELD = ("held", "rerun", "ignorant", "willing", "knowing", "long")
