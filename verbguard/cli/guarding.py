"""From the command line's options to a guarded app."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any, Literal

from verbguard.cli.target import Trouble

PROFILES = ("observe", "guard", "strict")

Interface = Literal["asgi", "wsgi"]


def options(config: str | None, profile: str | None) -> dict[str, Any]:
    """The keywords for `verbguard.guard`, from verbguard.toml and the command line; the latter wins."""
    from verbguard.errors import ConfigError

    keywords: dict[str, Any] = {}
    if config:
        try:
            keywords = _read(config)
        except ConfigError as error:
            raise Trouble(f"{config}: {error}") from None
    if profile:
        keywords["profile"] = profile
    return keywords


def _read(path: str) -> dict[str, Any]:
    from verbguard import config

    try:
        text = Path(path).read_text("utf-8")
    except FileNotFoundError:
        raise Trouble(f"There is no {path}. Leave --config out to run with what the app's routes show.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"{path} cannot be read: {error}.") from None
    read = config.loads(text)
    return {name: getattr(read, name) for name in ("policies", "profile", "store", "default")}


def interface_of(app: Any) -> Interface:
    """Whether the callable speaks ASGI or WSGI."""
    flask = sys.modules.get("flask")
    if flask and isinstance(app, flask.Flask):
        return "wsgi"
    call = app if inspect.isroutine(app) else getattr(app, "__call__", app)  # noqa: B004 - the method itself is wanted
    if inspect.iscoroutinefunction(call):
        return "asgi"
    try:
        inspect.signature(app).bind("scope", "receive", "send")
    except TypeError:
        return "wsgi"
    return "asgi"
