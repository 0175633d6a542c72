"""The outermost layer: it keeps an account of each request and hands it to the reports when the request is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from verbguard.monitoring.accounts import Account, open_account

__all__ = ["Dated", "Monitored"]

logger = logging.getLogger("verbguard")

Report = Callable[[Account], Any]


class Monitored:
    """An ASGI app whose requests are reported."""

    def __init__(self, app: Any, reports: Sequence[Report]) -> None:
        self.app = app
        self.reports = tuple(reports)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        account = Account(scope)
        open_account(account)

        async def told(message: Any) -> None:
            kind = message["type"]
            if kind == "http.response.body":
                account.size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    account.complete = True
                    account.seconds = perf_counter() - account.started
            elif kind in _ENDS:
                _ended(account, message)
            await send(message)

        try:
            await self.app(scope, receive, told)
        except asyncio.CancelledError:
            account.stopped = "cancelled"
            raise
        except BaseException as error:
            account.stopped = type(error).__name__
            raise
        finally:
            self._report(account)

    def _report(self, account: Account) -> None:
        if not account.complete:
            account.seconds = perf_counter() - account.started
        for report in self.reports:
            try:
                report(account)
            except Exception:  # a full disk behind the log harms no answer
                logger.exception("a request could not be reported")


# Messages that tell what became of the request, beside its content.
_ENDS = frozenset(
    ["http.response.start", "websocket.accept", "websocket.close", "websocket.http.response.start"]
    + ["http.response.pathsend", "http.response.zerocopysend"]
)


def _ended(account: Account, message: Any) -> None:
    kind = message["type"]
    if kind in ("http.response.start", "websocket.http.response.start"):
        account.status = message["status"]
    elif kind == "websocket.accept":
        account.status = 101
    elif kind == "websocket.close":
        account.status = account.status or 403  # what a server answers to a handshake that is closed before it was accepted
    else:
        account.size, account.complete = -1, True  # the server reads the content itself
        account.seconds = perf_counter() - account.started


class Dated:
    """An ASGI app whose answers have a Date: the one that they bring, else one from `now`.

    A server that adds its own adds a second one to what an upstream has dated. "A recipient with a clock that receives a
    response message without a Date header field MUST record the time it was received and append a corresponding Date header
    field to the message's header section if it is cached or forwarded downstream" (RFC 9110 6.6.1).
    """

    def __init__(self, app: Any, now: Callable[[], bytes]) -> None:
        self.app = app
        self.now = now

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        def dated(message: Any) -> Any:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                if not any(name == b"date" or name.lower() == b"date" for name, _ in headers):
                    message = {**message, "headers": [*headers, (b"date", self.now())]}
            return send(message)

        await self.app(scope, receive, dated)
