"""The layer inside of the guard: how long the service takes until it begins to answer."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from verbguard.monitoring.accounts import current_account

__all__ = ["Timed"]


class Timed:
    """An ASGI app, timed for the account of each request. What else the app has is still found on it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __getattr__(self, name: str) -> Any:
        if name == "app":
            raise AttributeError(name)
        return getattr(self.app, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        account = current_account()
        if scope["type"] != "http" or account is None:
            await self.app(scope, receive, send)
            return
        began = perf_counter()

        def timed(message: Any) -> Any:
            if message["type"] == "http.response.start":
                account.upstream_seconds = perf_counter() - began
            return send(message)

        try:
            await self.app(scope, receive, timed)
        finally:
            account.unanswered = scope.get("verbguard.unanswered", 0)
