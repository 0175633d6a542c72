"""A store that tells what it is asked: claims go into the request's account, failures are counted."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from verbguard.monitoring.accounts import current_account
from verbguard.records import Done, Won
from verbguard.stores import of

__all__ = ["observed"]

Failed = Callable[[str], Any]  # called with the operation that failed
_OPERATIONS = ("save", "release", "renew", "start", "end", "bump", "linger", "epoch", "settle")


def observed(store: Any, failed: Failed | None = None) -> Any:
    """The store that `store` means (see `stores.of`), with an eye on it. Everything else passes to the store itself."""
    found = of(store)
    return _Awaited(found, failed) if getattr(found, "asynchronous", False) else _Observed(found, failed)


class _Observed:
    def __init__(self, store: Any, failed: Failed | None) -> None:
        self.store = store
        if (aio := getattr(store, "aio", None)) is not None:
            self.aio = _Awaited(aio, failed)
        self._failed = failed
        if failed is not None:
            for name in _OPERATIONS:
                if (operation := getattr(store, name, None)) is not None:
                    setattr(self, name, self._counting(name, operation, failed))

    def __getattr__(self, name: str) -> Any:
        if name == "store":
            raise AttributeError(name)
        return getattr(self.store, name)

    def claim(self, claim: Any) -> Any:
        try:
            outcome = self.store.claim(claim)
        except Exception:
            self._count("claim")
            raise
        _enter(outcome)
        return outcome

    def _count(self, name: str) -> None:
        if self._failed is not None:
            self._failed(name)

    @staticmethod
    def _counting(name: str, operation: Callable[..., Any], failed: Failed) -> Callable[..., Any]:
        def counting(*arguments: Any) -> Any:
            try:
                return operation(*arguments)
            except Exception:
                failed(name)
                raise

        return counting


class _Awaited(_Observed):
    async def claim(self, claim: Any) -> Any:
        try:
            outcome = await self.store.claim(claim)
        except Exception:
            self._count("claim")
            raise
        _enter(outcome)
        return outcome

    @staticmethod
    def _counting(name: str, operation: Callable[..., Any], failed: Failed) -> Callable[..., Any]:
        async def counting(*arguments: Any) -> Any:
            try:
                found = operation(*arguments)
                return await found if inspect.isawaitable(found) else found
            except Exception:
                failed(name)
                raise

        return counting


def _enter(outcome: Any) -> None:
    account = current_account()
    if account is not None:
        if isinstance(outcome, Won):
            account.replay = "claimed"
        elif isinstance(outcome, Done):
            account.replay = "replayed"
