"""From the command line's options to the guard that acts on an app."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verbguard.cli.target import Trouble
from verbguard.errors import ConfigError

if TYPE_CHECKING:
    from verbguard.config import Config
    from verbguard.openapi import Knowledge
    from verbguard.plans import Guard

PROFILES = ("observe", "guard", "strict")

_DEEP = 64  # layers of middleware; nobody has more, and a loop must end


@dataclass(frozen=True, slots=True)
class Acting:
    """The guard that decides for an app, and who wrote its policies."""

    guard: Guard
    source: str
    installed: bool  # by the app itself
    known: Knowledge | None = None  # what an OpenAPI document added to the policies


def keywords_of(found: Config | None, profile: str | None, *, opening: bool = True) -> dict[str, Any]:
    """The keywords for `verbguard.guard`, from what files say and the command line; the latter wins.

    The store is left out where it is not to be opened: what only looks at routes needs neither its driver nor its secrets.
    """
    try:
        keywords = {} if found is None else (found if opening else replace(found, store=None)).arguments()
    except ConfigError as error:
        raise Trouble(str(error)) from None
    return keywords | ({"profile": profile} if profile else {})


def read(path: str | None, openapi: str | None = None) -> Config | None:
    """What a verbguard.toml says, with what a document adds to it; None where neither is named."""
    from verbguard.config import loads

    if not path and not openapi:
        return None
    try:
        return loads(Path(path).read_text("utf-8") if path else "", path or "verbguard.toml", openapi=openapi)
    except FileNotFoundError:
        raise Trouble(f"There is no {path}. Leave --config out to run with what the app's routes show.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"{path} cannot be read: {error}.") from None
    except ConfigError as error:
        raise Trouble(str(error)) from None


def acting(
    app: Any, keywords: dict[str, Any], config: str | None, known: Knowledge | None = None, *, told: bool = False
) -> Acting:
    """The guard that would act on the app's requests, compiled; a wrong policy is found here, before any request.

    `told`: the caller knows already which options are not used.
    """
    from verbguard.plans import Guard

    source = config or "the command line"
    router = _router(app)
    if known is not None and router is not None:
        raise Trouble(f"{known.name}: a document is for what shows no routes of its own, and this app shows them.")
    installed = _installed(app)
    if installed is not None:
        if keywords and not told:
            click.echo("The app has a guard of its own, and that one acts: the options given here are not used.", err=True)
        keywords, source, config, known = installed, "the app's guard()", None, None
    try:
        chosen = {name: keywords[name] for name in ("policies", "default", "profile") if name in keywords}
        guard = Guard(**chosen)
        guard.compile(router)
    except ConfigError as error:
        raise Trouble(f"{source}: {error}" if config else str(error)) from None
    return Acting(guard, source, installed is not None, known)


def _router(app: Any) -> Any:
    """The app's own router, where it is one that can be read."""
    from verbguard.routers import starlette, werkzeug

    if starlette.has_routes(app):
        return starlette.StarletteRouter(app)
    for layer in layers(app):
        if (found := werkzeug.router_of(layer)) is not None:
            return found
    return None


def _installed(app: Any) -> dict[str, Any] | None:
    """What an app's own call of guard() said: that guard is the one that acts."""
    for each in getattr(app, "user_middleware", ()):
        if getattr(each.cls, "__verbguard_layer__", False):
            return dict(each.kwargs)
    for layer in layers(app) + layers(getattr(app, "__dict__", {}).get("wsgi_app")):
        if getattr(type(layer), "__verbguard_layer__", False):
            return {"policies": layer.guard.policies, "default": layer.guard.default, "profile": layer.guard.profile}
    return None


def layers(app: Any) -> list[Any]:
    """An app and what is wrapped in it, the outermost first."""
    found: list[Any] = []
    while app is not None and len(found) < _DEEP:
        found.append(app)
        app = getattr(app, "__dict__", {}).get("app")
    return found
