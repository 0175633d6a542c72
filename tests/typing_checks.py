"""The public names as a user's program uses them. A type checker reads this file; nothing ever runs it.

An expected error is marked `type: ignore[...]`; in strict mode the checker reports a mark that nothing needs any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, assert_type

import psycopg
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware

import verbguard
from verbguard import (
    Action,
    ConfigError,
    Finding,
    Kind,
    Policy,
    Profile,
    Replay,
    StoreError,
    Superseded,
    VerbguardError,
    action,
    collection,
    guard,
    guarded,
    item,
    singleton,
)
from verbguard.asgi import GuardMiddleware as AsgiGuard
from verbguard.config import Config, load, loads
from verbguard.recording import Current
from verbguard.records import Claim, Outcome, Record, Touch, Won
from verbguard.stores import Store
from verbguard.stores import open as open_store
from verbguard.stores.memory import MemoryStore
from verbguard.wsgi import GuardMiddleware as WsgiGuard

# ---- apps keep their types

assert_type(guard(FastAPI()), FastAPI)
assert_type(guard(Starlette()), Starlette)
assert_type(guard(Flask("shop")), Flask)


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b""]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None: ...


guarded_wsgi = guard(wsgi)
guarded_wsgi({}, print)
guarded_asgi = guard(asgi)

# ---- arguments


def observer(finding: Finding) -> None:
    assert_type(finding.rule, str)
    assert_type(finding.message, str)
    assert_type(finding.action, Action)
    assert_type(finding.method, str)
    assert_type(finding.template, str)
    assert_type(finding.status, int)


def principal(request: Any) -> str | None:
    name: str | None = request.headers[0]
    return name


policies: dict[str, Policy] = {
    "/customers": collection(location="/customers/{id}"),
    "/customers/{id}": item(replay=Replay(window=30)),
    "/me": singleton(),
    "PUT /things": Policy(put="allow", kind=Kind.COLLECTION, rules={"put-no-collection": Action.OBSERVE}),
    "POST /publish": action(replay=Replay(required=True, wait=2.5, on_error="release", after_crash="rerun")),
    "/house": Policy(statuses="zalando"),
    "/rows": Policy(statuses={"preset": "strict-rest", "PUT": ["2xx", 409, "404"]}),
    "/own": Policy(replay=None, statuses={"PUT": frozenset({200, 207})}, methods=frozenset({"PURGE"})),
    "/files/{path:path}": Policy(kind="store", extension="webdav"),
}
guard(
    FastAPI(),
    policies=policies,
    default=Policy(),
    profile="strict",
    store="memory://",
    principal=principal,
    observers=[observer, lambda finding: print(finding.rule)],
)
guard(Flask("shop"), profile=Profile.OBSERVE, store=MemoryStore(max_bytes=1 << 20), observers=(observer,))
guard(FastAPI(), policy=policies)  # type: ignore[call-arg]
guard(FastAPI(), policies={"/a": "item"})  # type: ignore[dict-item]
guard(FastAPI(), observers=observer)  # type: ignore[arg-type]
guard(FastAPI(), principal="x-user")  # type: ignore[arg-type]
guard(FastAPI(), policies)  # type: ignore[call-arg]
guard(FastAPI(), store=7)  # type: ignore[arg-type]

# ---- the frameworks' own idioms

app = FastAPI()
app.add_middleware(AsgiGuard, policies=policies, profile="guard")
Starlette(middleware=[Middleware(AsgiGuard, policies=policies)])
flask = Flask("shop")
flask.wsgi_app = WsgiGuard(flask.wsgi_app, policies=policies)  # type: ignore[method-assign]

# ---- decorators keep the endpoint's type


@guarded(item())
def endpoint(id: int) -> str:
    return str(id)


@guarded(action(replay=Replay(required=True)))
async def asynchronous(id: int) -> str:
    return str(id)


assert_type(endpoint(7), str)
endpoint("7")  # type: ignore[arg-type]
guarded(item)  # type: ignore[arg-type]


async def awaited() -> None:
    assert_type(await asynchronous(7), str)


# ---- values

assert_type(collection(), Policy)
assert_type(Replay().window, float)
assert_type(Replay().authorize, Callable[[Any], Any] | None)
assert_type(Policy().replay, Replay | None)
Replay(windw=3)  # type: ignore[call-arg]
Replay(on_error="retry")  # type: ignore[arg-type]
Replay(fingerprint="xml")  # type: ignore[arg-type]
Replay(True)  # type: ignore[call-arg]
Policy(put="yes")  # type: ignore[arg-type]
Policy().put = "allow"  # type: ignore[misc]
errors: tuple[type[VerbguardError], ...] = (ConfigError, StoreError)

# ---- files and stores

config = loads('profile = "strict"')
assert_type(config, Config)
assert_type(load(Path("verbguard.toml")), Config)
assert_type(config.policies, Mapping[str, Policy])
guard(FastAPI(), **config.arguments())
assert_type(open_store("memory://"), Store)
assert_type(open_store(), Store)
memory: Store = MemoryStore(clock=lambda: 0.0)


class Mine:
    """A store of the user's own keeps the promises by its shape."""

    shared = True

    def claim(self, claim: Claim) -> Outcome:
        return Won(1)

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        return True

    def release(self, claim: Claim, token: int) -> bool:
        return True

    def renew(self, claim: Claim, token: int) -> bool:
        return True

    def start(self, touch: Touch) -> None: ...

    def end(self, touch: Touch) -> None: ...

    def bump(self, touch: Touch) -> None: ...

    def linger(self, touch: Touch) -> None: ...

    def epoch(self) -> None: ...

    def health(self) -> float:
        return 0.0


guard(FastAPI(), store=Mine())
mine: Store = Mine()

# ---- names that are loaded late

verbguard.guard(FastAPI())
assert_type(verbguard.__version__, str)
verbguard.asgi.GuardMiddleware(app)
verbguard.wsgi.GuardMiddleware(wsgi)
verbguard.config.loads("")
verbguard.stores.open("memory://")

# ---- records in the application's transaction


def recording(connection: psycopg.Connection) -> None:
    now = verbguard.current()
    assert_type(now, Current)
    assert_type(now.key, bytes)
    assert_type(now.claimed, bool)
    now.record_in(connection, 201)
    now.record_in(connection, 201, {"location": "/a/1"}, "{}")
    now.record_in(connection, 201, [("location", "/a/1"), ("link", "</a>")], body=b"{}")
    now.record_in(connection, "201")  # type: ignore[arg-type]
    now.record_in(connection, 201, {"x-count": 1})  # type: ignore[dict-item]
    now.record_in(connection, 201, {}, {"id": 1})  # type: ignore[arg-type]
    now.record_in(connection)  # type: ignore[call-arg]


async def recording_later(connection: psycopg.AsyncConnection) -> None:
    await verbguard.current().record_in(connection, 201, None, b"")


superseded: type[VerbguardError] = Superseded
