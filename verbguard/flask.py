"""The door for Flask apps."""

from __future__ import annotations

import logging
from typing import Any

from verbguard.routers.werkzeug import WerkzeugRouter
from verbguard.wsgi import GuardMiddleware

__all__ = ["install"]

logger = logging.getLogger("verbguard")


def install(app: Any, settings: dict[str, Any]) -> Any:
    """Wrap `app.wsgi_app`, so that the app's test client goes through the guard as servers do.

    Raises ConfigError for policies whose routes the app does not have, once it has any. An app that has a guard keeps it: of
    two, one acts.
    """
    if isinstance(app.wsgi_app, GuardMiddleware):
        logger.warning("guard(app): the app has a guard already, and that one acts; give all policies to one call")
        return app
    # other middleware may stand between the app and us already, and it shows no routes
    app.wsgi_app = GuardMiddleware(app.wsgi_app, router=WerkzeugRouter(app), **settings)
    return app
