"""Who is measured beside verbguard: the bare application, the least a middleware can be, the floor, known others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

from floor import FloorASGI, FloorWSGI
from traffic import TEMPLATES, ASGIApp, Scope, WSGIApp

Wrap = Callable[[Any], Any]
logging.getLogger("verbguard").setLevel(logging.ERROR)  # a refusal is a row here, and no news


class NoOpASGI:
    """Hands everything on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class NoOpWSGI:
    """Hands everything on."""

    def __init__(self, app: WSGIApp) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self.app(environ, start_response)


def bare(app: Any) -> Any:
    return app


def policies(templates: Iterable[str] = TEMPLATES, **promises: Any) -> dict[str, Any]:
    """An item for each template that ends in a parameter, a collection for the others."""
    from verbguard import collection, item

    return {path: item(**promises) if path.endswith("}") else collection(**promises) for path in templates}


def guarded_asgi(app: ASGIApp) -> ASGIApp:
    from verbguard.asgi import GuardMiddleware

    return GuardMiddleware(app, policies=policies())


def guarded_wsgi(app: WSGIApp) -> WSGIApp:
    from verbguard.wsgi import GuardMiddleware

    return GuardMiddleware(app, policies=policies())


def cors(app: ASGIApp) -> ASGIApp:
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(app, allow_origins=["https://example.org"])


def closing(app: WSGIApp) -> WSGIApp:
    from werkzeug.wsgi import ClosingIterator

    def wrapped(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return ClosingIterator(app(environ, start_response), lambda: None)

    return wrapped


def _fastapi_idempotency_key(app: ASGIApp) -> ASGIApp:
    from fastapi_idempotency_key import IdempotencyMiddleware

    return IdempotencyMiddleware(app)


def _asgi_idempotency_header(app: ASGIApp) -> ASGIApp:
    from idempotency_header_middleware import IdempotencyHeaderMiddleware
    from idempotency_header_middleware.backends import MemoryBackend

    return IdempotencyHeaderMiddleware(app, backend=MemoryBackend(), applicable_methods=["POST", "PATCH", "PUT"])


def _idemkit(app: WSGIApp) -> Any:
    from idemkit import HttpConfig, InMemoryBackend, WSGIIdempotencyMiddleware

    logging.getLogger("idemkit").setLevel(logging.ERROR)
    config = HttpConfig(scope_mode="single_tenant", applicable_methods={"POST", "PUT", "PATCH"})
    return WSGIIdempotencyMiddleware(app, backend=InMemoryBackend(), config=config)


CONTENDERS: dict[str, dict[str, Wrap]] = {
    "ASGI": {"bare": bare, "no-op": NoOpASGI, "floor": FloorASGI, "verbguard": guarded_asgi},
    "WSGI": {"bare": bare, "no-op": NoOpWSGI, "floor": FloorWSGI, "verbguard": guarded_wsgi},
}
# Others that do a part of the work, by the packages that must be there; what is not installed is not measured.
RIVALS: dict[str, tuple[Wrap, tuple[str, ...]]] = {
    "fastapi-idempotency-key": (_fastapi_idempotency_key, ("fastapi_idempotency_key",)),
    "asgi-idempotency-header": (_asgi_idempotency_header, ("idempotency_header_middleware", "redis")),
    "idemkit": (_idemkit, ("idemkit",)),
}


def rival(name: str) -> Wrap | None:
    wrap, needs = RIVALS[name]
    return wrap if all(find_spec(package) for package in needs) else None


def untouched_asgi(app: ASGIApp) -> ASGIApp:
    """A guard that has nothing to do: no replay, and no rule that looks at an answer."""
    from verbguard import Action, Kind, Policy
    from verbguard.asgi import GuardMiddleware
    from verbguard.rules import CATALOGUE

    idle = Policy(
        kind=Kind.UNKNOWN, replay=None, rules={rule.id: Action.OFF for rule in CATALOGUE.values() if Action.OFF in rule.actions}
    )
    return GuardMiddleware(app, policies=dict.fromkeys(TEMPLATES, idle))


def guarded_by(count: int) -> Wrap:
    """A guard with so many templates, the routes of `traffic.py` among them."""
    more = (f"/v{number}/things{tail}" for number in range(2, count) for tail in ("", "/{id}"))
    chosen = ["/v1/items", "/v1/items/{id}", *more][:count]

    def wrap(app: ASGIApp) -> ASGIApp:
        from verbguard.asgi import GuardMiddleware

        return GuardMiddleware(app, policies=policies(chosen))

    return wrap
