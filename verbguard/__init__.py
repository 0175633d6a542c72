"""HTTP's verbs keep their word: refuse PUT on collections, replay repeated requests, complete Allow and Location.

    import verbguard
    app = verbguard.guard(app)

The guide is the README; every rule's page is its function's docstring in `verbguard.rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verbguard.errors import ConfigError, StoreError, Superseded, VerbguardError
from verbguard.policy import Action, Policy, Profile, Replay, action, collection, guarded, item, singleton
from verbguard.routes import Kind

if TYPE_CHECKING:
    from verbguard.doors import guard as guard
    from verbguard.recording import current as current
    from verbguard.rules import Finding as Finding

__version__ = "0.1.0"

__all__ = [
    "Action",
    "ConfigError",
    "Finding",
    "Kind",
    "Policy",
    "Profile",
    "Replay",
    "StoreError",
    "Superseded",
    "VerbguardError",
    "action",
    "collection",
    "current",
    "guard",
    "guarded",
    "item",
    "singleton",
]

_LATER = {"guard": "doors", "Finding": "rules", "current": "recording"}
_MODULES = frozenset(["asgi", "config", "fastapi", "flask", "rules", "stores", "wsgi"])


def __getattr__(name: str) -> Any:
    """What is not needed to write a policy is loaded when it is first used."""
    from importlib import import_module

    if name in _LATER:
        found = getattr(import_module(f".{_LATER[name]}", __name__), name)
        globals()[name] = found
        return found
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
