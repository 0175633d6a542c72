"""The door for FastAPI and Starlette apps."""

from __future__ import annotations

import logging
from typing import Any

from starlette.middleware import Middleware

from verbguard.asgi import GuardMiddleware
from verbguard.errors import ConfigError

__all__ = ["install"]

logger = logging.getLogger("verbguard")


def install(app: Any, settings: dict[str, Any]) -> Any:
    """Make the guard the innermost user middleware of a Starlette app: `add_middleware` puts all others outside of it.

    Raises ConfigError when the app has started. An app that has a guard keeps it: of two, one acts.
    """
    if app.middleware_stack is not None:
        raise ConfigError("guard(app): the app has started already; call guard() where the app is made")
    if any(getattr(each.cls, "__verbguard_layer__", False) for each in app.user_middleware):
        logger.warning("guard(app): the app has a guard already, and that one acts; give all policies to one call")
        return app
    GuardMiddleware(_nowhere, **settings)  # what does not need the routes is checked here, at the caller's line
    app.user_middleware.append(Middleware(GuardMiddleware, **settings))
    return app


async def _nowhere(scope: Any, receive: Any, send: Any) -> None:
    """An app that is never run."""
