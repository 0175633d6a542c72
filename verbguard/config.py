"""The file spelling of policies: `verbguard.toml`, for operators and for apps that nobody can change.

    profile = "guard"
    store = "memory://"

    [default]
    replay = { keep = 3600 }

    [policies."/customers"]
    kind = "collection"
    location = "/customers/{id}"

    [policies."PUT /customers/{id}"]
    kind = "item"
    replay = { window = 30 }

Each table has the fields of `verbguard.Policy`; `replay = false` leaves a route alone.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verbguard.errors import ConfigError, nearest
from verbguard.policy import Policy, Profile, Replay, build, word

__all__ = ["Config", "load", "loads"]

_FIELDS = ("profile", "store", "default", "policies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a file says, as the arguments of `verbguard.guard`."""

    policies: Mapping[str, Policy] = field(default_factory=dict)
    default: Policy | None = None
    profile: Profile = Profile.GUARD
    store: str | None = None

    def arguments(self) -> dict[str, Any]:
        """For `guard(app, **config.arguments())`."""
        return {"policies": self.policies, "default": self.default, "profile": self.profile, "store": self.store}


def load(path: str | Path) -> Config:
    """Read a file. Raises ConfigError for one that cannot be read or meant, naming the file, the route and the field."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return loads(text, str(path))


def loads(text: str, name: str = "verbguard.toml") -> Config:
    """Read the text of a file; `name` is how errors call it."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: {error}") from None
    for key in tables:
        if key not in _FIELDS:
            raise ConfigError(f"{name}: there is no field {key!r}: {nearest(key, _FIELDS)}")
    policies = _table(tables.get("policies", {}), f"{name}: policies")
    store = tables.get("store")
    if store is not None and not isinstance(store, str):
        raise ConfigError(f"{name}: store = {store!r}: a URL such as 'memory://'")
    default = tables.get("default")
    return Config(
        policies={key: _policy(value, f"{name}: policies.{key!r}") for key, value in policies.items()},
        default=None if default is None else _policy(default, f"{name}: default"),
        profile=word(Profile, tables.get("profile", Profile.GUARD), f"{name}: profile"),
        store=store,
    )


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} = {value!r}: a table")
    return value


def _policy(value: Any, where: str) -> Policy:
    fields = dict(_table(value, where))
    replay = fields.get("replay")
    if replay is False:
        fields["replay"] = None
    elif replay is not None:
        fields["replay"] = build(Replay, _table(replay, f"{where}.replay"), f"{where}.replay")
    found: Policy = build(Policy, fields, where)
    return found
