"""`verbguard.guard`: whatever kind of app it is, the right way in."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from verbguard.errors import ConfigError
from verbguard.policy import Policy, Profile
from verbguard.rules import Finding
from verbguard.stores import Store

__all__ = ["guard"]

App = TypeVar("App")


def guard(
    app: App,
    *,
    policies: Mapping[str, Policy] | None = None,
    default: Policy | None = None,
    profile: str | Profile = Profile.GUARD,
    store: Store | str | None = None,
    principal: Callable[[Any], Any] | None = None,
    observers: Iterable[Callable[[Finding], Any]] = (),
) -> App:
    """Put HTTP's verb semantics around an app and return it.

    A FastAPI or Starlette app gets the guard as its innermost user middleware: inside CORS, compression and
    authentication, outside the exception handlers, whatever the order of the calls. A Flask app gets it around its
    `wsgi_app`. Any other ASGI or WSGI callable is wrapped, and the wrapper is returned.

    - `policies`: template, or method and template (`"PUT /items/{id}"`), -> Policy. Without one, a route's kind is
      inferred from the route table, and a callable that shows no routes gets the rules of RFC 9110 only.
    - `default`: the Policy of every route that has none.
    - `profile`: "observe" only finds, "guard" refuses bad requests and repairs answers, "strict" also replaces answers
      that have no meaning, for tests.
    - `store`: where answers are kept; an object or a URL. Default: this process's memory.
    - `principal`: request -> who is asking, where credentials change between a request and its retry. Default: one digest
      of all credentials that the request carries.
    - `observers`: called with each Finding. Default: each is logged once on the logger `verbguard`.

    Raises ConfigError for what cannot be meant, naming the nearest spelling; what needs the routes is checked when the app
    starts.
    """
    settings: dict[str, Any] = {
        "policies": policies,
        "default": default,
        "profile": profile,
        "store": store,
        "principal": principal,
        "observers": observers,
    }
    if _is(app, "starlette.applications", "Starlette"):
        from verbguard.fastapi import install

        return cast(App, install(app, settings))
    if _is(app, "flask.app", "Flask"):
        from verbguard.flask import install as install_flask

        return cast(App, install_flask(app, settings))
    if _speaks_asgi(app):
        from verbguard.asgi import GuardMiddleware as AsgiGuard

        return cast(App, AsgiGuard(cast(Any, app), **settings))
    from verbguard.wsgi import GuardMiddleware as WsgiGuard

    return cast(App, WsgiGuard(cast(Any, app), **settings))


def _is(app: Any, module: str, name: str) -> bool:
    """Whether the app is an instance of a class that somebody has loaded; nothing is imported to find out."""
    found = sys.modules.get(module)
    return found is not None and isinstance(app, getattr(found, name))


def _speaks_asgi(app: Any) -> bool:
    """An ASGI app is called with scope, receive and send; a WSGI app with environ and start_response."""
    if not callable(app):
        raise ConfigError(f"guard({app!r}): an ASGI or WSGI app is callable")
    call = app if inspect.isroutine(app) or inspect.isclass(app) else type(app).__call__
    if inspect.iscoroutinefunction(inspect.unwrap(app)) or inspect.iscoroutinefunction(call):
        return True
    # the method itself, as an object that shows the attributes of what it wraps may look like a function
    asked = app.__call__ if inspect.isfunction(type(app).__call__) else app
    try:
        signature = inspect.signature(asked, follow_wrapped=False)
    except (TypeError, ValueError):
        return False  # servers ask ASGI apps for their signature too, so that what has none to show is a WSGI app
    for arguments, asgi in (((None, None), False), ((None, None, None), True)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return asgi
    raise ConfigError(
        f"guard({app!r}): neither (environ, start_response) nor (scope, receive, send) fits; wrap it yourself with "
        "verbguard.wsgi.GuardMiddleware or verbguard.asgi.GuardMiddleware"
    )
