"""Who else replays answers from Redis and PostgreSQL, each around the same small app, as its own documents say.

They are no dependency of verbguard. To measure beside them, in an environment of its own:

    pip install fastapi-idempotency-key 'idemkit[redis,postgres]' 'idempotency-kit[redis]' && pip install --no-deps idemgate
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from traffic import ASGIApp, Scope

Opened = tuple[Any, Callable[[], Awaitable[None]]]  # an app, and how its connections are closed
ANSWER = b'{"id": 7, "text": "' + b"x" * 160 + b'"}'


async def orders(scope: Scope, receive: Any, send: Any) -> None:
    """Reads the order and says that it was placed."""
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", b"application/json"), (b"location", b"/orders/7"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER, "more_body": False})


def verbguard(url: str) -> Opened:
    from verbguard import collection, item, stores
    from verbguard.asgi import GuardMiddleware

    store: Any = stores.open(url)
    app = GuardMiddleware(orders, store=store, policies={"/orders": collection(), "/orders/{id}": item()})

    async def close() -> None:
        if hasattr(store, "close"):
            store.close()

    return app, close


def fastapi_idempotency_key(url: str) -> Opened:
    from fastapi_idempotency_key import IdempotencyMiddleware, RedisBackend
    from redis.asyncio import Redis

    client = Redis.from_url(url)
    return IdempotencyMiddleware(orders, backend=RedisBackend(client)), client.aclose


def idemkit(url: str) -> Opened:
    import idemkit as kit

    logging.getLogger("idemkit").setLevel(logging.ERROR)
    kind = kit.backends.RedisBackend if url.startswith("redis") else kit.PostgresBackend
    backend = kind.from_url(url)
    config = kit.HttpConfig(scope_mode="single_tenant", applicable_methods={"POST", "PUT", "PATCH"})
    return kit.IdempotencyMiddleware(orders, backend=backend, config=config), backend.aclose


def idempotency_kit(url: str) -> Opened:
    """It has no middleware: the least that turns a request into a call of its coordinator, and the result into an answer."""
    from idempotency_kit.core.adapters.basic import JsonResultAdapter
    from idempotency_kit.core.services.aio.coordinator import AsyncIdempotencyCoordinator
    from idempotency_kit.core.services.domain import IdempotencyDomainService
    from idempotency_kit.infra.storage.redis.aio.repository import RedisAsyncIdempotencyRepository
    from redis.asyncio import Redis

    client = Redis.from_url(url)
    coordinator = AsyncIdempotencyCoordinator(RedisAsyncIdempotencyRepository(client), IdempotencyDomainService())
    adapter = JsonResultAdapter()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        key = dict(scope["headers"])[b"idempotency-key"].decode()

        async def run() -> dict[str, Any]:
            said: dict[str, Any] = {}

            async def heard(message: Any) -> None:
                if message["type"] == "http.response.start":
                    said["status"] = message["status"]
                    said["headers"] = [[name.decode(), value.decode()] for name, value in message["headers"]]
                else:
                    said["body"] = message["body"].decode()

            await orders(scope, receive, heard)
            return said

        said = await coordinator.coordinate("orders", key, None, adapter, run)
        headers = [(name.encode(), value.encode()) for name, value in said["headers"]]
        await send({"type": "http.response.start", "status": said["status"], "headers": headers})
        await send({"type": "http.response.body", "body": said["body"].encode(), "more_body": False})

    return app, client.aclose


def idemgate(url: str) -> Opened:
    """It lives in FastAPI's routes, so its numbers have FastAPI in them."""
    from fastapi import FastAPI
    from idemgate import IdempotencyRoute, idempotent
    from idemgate.redis_store import RedisAcquirer
    from redis.asyncio import Redis

    client = Redis.from_url(url, decode_responses=False)
    app = FastAPI()
    app.router.route_class = IdempotencyRoute
    app.state.idempotency_store = RedisAcquirer(client)

    async def place(order: dict[str, str]) -> dict[str, Any]:
        return {"id": 7, "text": order["text"]}

    app.post("/orders", status_code=201)(idempotent(ttl=3600)(place))
    return app, client.aclose


REDIS: dict[str, Callable[[str], Opened]] = {
    "verbguard": verbguard,
    "fastapi-idempotency-key": fastapi_idempotency_key,
    "idemgate (in FastAPI)": idemgate,
    "idemkit": idemkit,
    "idempotency-kit": idempotency_kit,
}
POSTGRES: dict[str, Callable[[str], Opened]] = {"verbguard": verbguard, "idemkit": idemkit}

__all__ = ["ANSWER", "POSTGRES", "REDIS", "ASGIApp", "Opened", "orders"]
