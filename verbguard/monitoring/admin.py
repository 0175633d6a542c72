"""The port on which an operator asks: health for a load balancer, metrics for Prometheus. Never the public one.

GET /-/verbguard/health     200 {"status": "ok", ...}, or 503 that says what is wrong
GET /-/verbguard/metrics    Prometheus' text format
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from verbguard.monitoring.draining import Drain
from verbguard.monitoring.metrics import Metrics

__all__ = ["HEALTH", "METRICS", "Administered", "Health"]

logger = logging.getLogger("verbguard")

HEALTH = "/-/verbguard/health"
METRICS = "/-/verbguard/metrics"

PATIENCE = 2.0  # seconds for the store or the upstream to show that it is there; load balancers wait for some
FRESH = 1.0  # seconds that a finding of health is told again: whoever asks often must not become a load
BEAT = 1.0  # seconds between what this process tells the others of its claims
MISSING = "Metrics need prometheus-client: pip install 'verbguard[prometheus]'\n"


class Health:
    """What a load balancer should know of this process: does the store answer, can the upstream be reached, does it end?"""

    def __init__(self, drain: Drain, store: Any = None, upstream: str | None = None) -> None:
        self._drain = drain
        self._store = getattr(store, "aio", None) or store
        self._upstream = upstream
        self._found: dict[str, Any] = {}
        self._until = 0.0

    async def found(self) -> tuple[int, dict[str, Any]]:
        """The status of the answer, and what it says."""
        if monotonic() >= self._until:
            checks = {"store": self._store_answers, "upstream": self._upstream_accepts}
            wanted = {"store": self._store is not None, "upstream": self._upstream is not None}
            names = [name for name, check in wanted.items() if check]
            self._found = dict(zip(names, await asyncio.gather(*(_checked(checks[name]) for name in names)), strict=True))
            self._until = monotonic() + FRESH
        failing = any(not each["ok"] for each in self._found.values())
        word = "draining" if self._drain.begun else "failing" if failing else "ok"
        return 200 if word == "ok" else 503, {"status": word, **self._found}

    async def _store_answers(self) -> None:
        health = getattr(self._store, "health", None)
        if health is None:
            return  # a store of one's own need not know
        if inspect.iscoroutinefunction(health):
            await health()
        else:
            await asyncio.to_thread(health)

    async def _upstream_accepts(self) -> None:
        assert self._upstream is not None
        parts = urlsplit(self._upstream)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        _, writer = await asyncio.open_connection(parts.hostname, port)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _checked(check: Callable[[], Awaitable[None]]) -> dict[str, Any]:
    began = monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            await check()
    except Exception as error:
        return {"ok": False, "error": f"no answer within {PATIENCE:g} s" if isinstance(error, TimeoutError) else str(error)}
    return {"ok": True, "ms": round((monotonic() - began) * 1000, 1)}


class Administered:
    """An ASGI app with an admin port beside it, from the end of its start-up to the end of its shutdown.

    `listener` is bound and listens; several processes may share it, then one of them answers.
    """

    def __init__(self, app: Any, listener: socket.socket, health: Health, metrics: Metrics | None) -> None:
        self.app = app
        self._listener = listener
        self._health = health
        self._metrics = metrics
        self._runner: Any = None
        self._beat: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self._lifespan if scope["type"] == "lifespan" else self.app)(scope, receive, send)

    async def _lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        said = set()

        async def around(message: Any) -> None:
            kind = message["type"]
            said.add(kind)
            if kind == "lifespan.startup.complete":
                await self._open()
            elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self._close()
            await send(message)

        try:
            await self.app(scope, receive, around)
        except Exception:
            if said:
                raise
            logger.info("the app has no lifespan")
        if not said:  # an app without a lifespan of its own leaves ours alone
            await around({"type": "lifespan.startup.complete"})
            while (await receive())["type"] != "lifespan.shutdown":
                pass
            await around({"type": "lifespan.shutdown.complete"})

    async def _open(self) -> None:
        from aiohttp import web

        app = web.Application()
        app.router.add_get(HEALTH, self._tell_health)
        app.router.add_get(METRICS, self._tell_metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()
        if self._metrics is not None:
            self._beat = asyncio.create_task(self._tell_claims())

    async def _close(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _tell_claims(self) -> None:
        assert self._metrics is not None
        while True:
            self._metrics.refresh()
            await asyncio.sleep(BEAT)

    async def _tell_health(self, request: Any) -> Any:
        from aiohttp import web

        status, words = await self._health.found()
        return web.json_response(words, status=status, headers={"Cache-Control": "no-store"})

    async def _tell_metrics(self, request: Any) -> Any:
        from aiohttp import web

        if self._metrics is None:
            return web.Response(text=MISSING, status=501)
        self._metrics.refresh()  # on this loop, whose claims it counts
        content, kind = await asyncio.to_thread(self._metrics.text)
        return web.Response(body=content, headers={"Content-Type": kind})
