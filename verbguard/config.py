"""The file spelling of policies: `verbguard.toml`, for operators and for apps that nobody can change.

    profile = "guard"
    store = "memory://"
    openapi = "api.yaml"              # a document of the service, beside this file: what it tells is added to the policies

    [default]
    replay = { keep = 3600 }

    [policies."/customers"]
    kind = "collection"
    location = "/customers/{id}"

    [policies."PUT /customers/{id}"]
    kind = "item"
    replay = { window = 30 }

Each table has the fields of `verbguard.Policy`; `replay = false` leaves a route alone.

A store that several processes share may want more than its URL, and is a table then:

    [store]
    url = "postgresql://shop@db/shop"
    keys_env = "SHOP_STORE_KEYS"      # or keys = ["..."]: what encrypts the kept answers, the newest key first
    create = false                    # its tables are made by `verbguard store init URL`, not at first use

The variable that `keys_env` names holds keys with commas between them. It is read when the store is opened, so that a file
can be checked where its secrets are not.

`[gateway]` names the service that `verbguard serve` stands in front of: see `verbguard.gateway`.
"""

from __future__ import annotations

import os
import re
import tomllib
from ast import literal_eval
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verbguard import openapi as documents
from verbguard.declarations import check_rules, checked
from verbguard.errors import ConfigError, nearest
from verbguard.lines import line_of
from verbguard.policy import Policy, Profile, Replay, build, word
from verbguard.stores import Store
from verbguard.stores import open as open_store

if TYPE_CHECKING:
    from verbguard.gateway.table import GatewayTable

__all__ = ["Config", "StoreTable", "load", "loads"]

_FIELDS = ("profile", "store", "default", "policies", "gateway", "openapi")
_STORE_FIELDS = ("url", "keys", "keys_env", "create")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTable:
    """What the table of a store says. `where` is how errors call it."""

    url: str = field(repr=False)  # it may hold a password
    keys: Sequence[str] = field(default=(), repr=False)
    keys_env: str | None = None  # the environment variable that holds the keys
    create: bool = True
    where: str = field(default="store", compare=False)

    def open(self) -> Store:
        """The store. Raises ConfigError, naming the table, where it cannot be meant, or the variable is not set."""
        keys = self.keys if self.keys_env is None else self._from_environment(self.keys_env)
        try:
            return open_store(self.url, keys=keys, create=self.create)
        except ConfigError as error:
            raise ConfigError(f"{self.where}: {error}") from error

    def _from_environment(self, name: str) -> list[str]:
        keys = [key.strip() for key in os.environ.get(name, "").split(",") if key.strip()]
        if not keys:  # answers that should be encrypted are not kept in clear because a variable was forgotten
            raise ConfigError(f"{self.where}.keys_env = {name!r}: the environment has no keys under this name")
        return keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a file says, as the arguments of `verbguard.guard`."""

    policies: Mapping[str, Policy] = field(default_factory=dict)
    default: Policy | None = None
    profile: Profile = Profile.GUARD
    store: str | StoreTable | None = None
    gateway: GatewayTable | None = None
    openapi: documents.Knowledge | None = None  # what a document adds; `policies` has it already

    def arguments(self) -> dict[str, Any]:
        """For `guard(app, **config.arguments())`: a store that has a table is opened."""
        store = self.store.open() if isinstance(self.store, StoreTable) else self.store
        return {"policies": self.policies, "default": self.default, "profile": self.profile, "store": store}


def load(path: str | Path, *, openapi: str | Path | None = None) -> Config:
    """Read a file. `openapi` is a document in place of the one that the file names.

    Raises ConfigError for what cannot be read or meant, naming the file, the route and the field.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return loads(text, str(path), openapi=openapi)


def loads(text: str, name: str = "verbguard.toml", *, openapi: str | Path | None = None) -> Config:
    """Read the text of a file; `name` is how errors call it, and the document that it names is looked for beside it."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{name}: it is nested too deeply to be read") from None
    except ValueError as error:  # a number with more digits than Python reads
        raise ConfigError(f"{name}: it cannot be read: {error}") from None
    try:
        return _config(tables, name, openapi)
    except ConfigError as error:
        raise ConfigError(_with_its_line(str(error), text, name)) from error


def _config(tables: dict[str, Any], name: str, openapi: str | Path | None) -> Config:
    for key in tables:
        if key not in _FIELDS:
            raise ConfigError(f"{name}: there is no field {key!r}: {nearest(key, _FIELDS)}")
    policies = _table(tables.get("policies", {}), f"{name}: policies")
    known = documents.load(openapi) if openapi is not None else _document(tables.get("openapi"), name)
    if known is not None:
        policies = known.joined(policies, tables.get("default"))
    default = tables.get("default")
    return Config(
        policies={key: _policy_of(key, value, name) for key, value in policies.items()},
        default=None if default is None else _default(default, f"{name}: default"),
        profile=word(Profile, tables.get("profile", Profile.GUARD), f"{name}: profile"),
        store=_store(tables.get("store"), f"{name}: store"),
        gateway=_gateway(tables["gateway"], f"{name}: gateway") if "gateway" in tables else None,
        openapi=known,
    )


# How an error calls its place: a table, for a policy its key as Python writes it, and a field, wrong or not there.
_PLACE = re.compile(
    r"""(?P<table>\w*)(?:\.(?P<key>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))?(?P<inner>(?:\.\w+)*)(?P<rest>.*)""", re.DOTALL
)
_FIELD = re.compile(r"(?:[:\s]*there is no field '(?P<unknown>[^']*)'|: (?P<wrong>[\w.-]+))")


def _with_its_line(message: str, text: str, name: str) -> str:
    """The message of an error, with the line of what it is about where that is found."""
    about = message.removeprefix(f"{name}: ")
    line = line_of(text, _path_in(about))
    return message if line is None else f"{name}:{line}: {about}"


def _path_in(about: str) -> list[str]:
    """The keys that lead to what an error is about."""
    if unknown := re.match(r"there is no field '([^']*)'", about):
        return [unknown[1]]
    place = _PLACE.match(about)
    assert place is not None
    path = [place["table"], *([literal_eval(place["key"])] if place["key"] else []), *place["inner"].split(".")[1:]]
    field = _FIELD.match(place["rest"])
    if field is None:
        return path
    found = [field["unknown"]] if field["unknown"] is not None else field["wrong"].split(".")
    return path + (found[1:] if found[0] == path[-1] else found)  # `replay: replay.keep` says it twice


def _document(value: Any, name: str) -> documents.Knowledge | None:
    """The document that a file names, by a path from the file's own folder."""
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name}: openapi = {value!r}: the path of an OpenAPI document, such as 'api.yaml'")
    try:
        return documents.load(Path(name).parent / value)
    except ConfigError as error:
        raise ConfigError(f"{name}: openapi = {value!r}: {error}") from None


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} = {value!r}: a table")
    return value


def _gateway(value: Any, where: str) -> GatewayTable:
    from verbguard.gateway.table import gateway_table  # who guards an app loads no gateway

    return gateway_table(value, where)


def _store(value: Any, where: str) -> str | StoreTable | None:
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise ConfigError(f"{where} = {value!r}: a URL such as 'memory://', or a table with one")
    for key in value:
        if key not in _STORE_FIELDS:
            raise ConfigError(f"{where}: there is no field {key!r}: {nearest(key, _STORE_FIELDS)}")
    _judge(value, where)
    return StoreTable(**{**value, "keys": tuple(value.get("keys", ()))}, where=where)


def _judge(table: dict[str, Any], where: str) -> None:
    """Raise ConfigError for what the fields of a store cannot be; a key is a secret, and no message shows one."""
    if not isinstance(table.get("url"), str):
        raise ConfigError(f"{where}: url is missing: such as 'sqlite:////var/lib/shop/replays.db'")
    keys = table.get("keys", [])
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ConfigError(f"{where}.keys: a list of keys as text, the newest first")
    name = table.get("keys_env")
    if name is not None and (not isinstance(name, str) or not name):
        raise ConfigError(f"{where}.keys_env = {name!r}: the name of an environment variable")
    if name is not None and "keys" in table:
        raise ConfigError(f"{where}: keys and keys_env are two ways to give the keys: use one")
    if not isinstance(table.get("create", True), bool):
        raise ConfigError(f"{where}.create = {table['create']!r}: true or false")


def _policy_of(key: str, value: Any, name: str) -> Policy:
    """One policy of the file; what only the guard could refuse in it is refused here, where its line is known."""
    where = f"{name}: policies.{key!r}"
    found = _policy(value, where)
    try:
        checked({key: found})
    except ConfigError as error:
        raise ConfigError(where + str(error).removeprefix(f"policies[{key!r}]")) from None
    return found


def _default(value: Any, where: str) -> Policy:
    found = _policy(value, where)
    check_rules(where, found)
    return found


def _policy(value: Any, where: str) -> Policy:
    fields = dict(_table(value, where))
    replay = fields.get("replay")
    if replay is False:
        fields["replay"] = None
    elif replay is not None:
        fields["replay"] = build(Replay, _table(replay, f"{where}.replay"), f"{where}.replay")
    found: Policy = build(Policy, fields, where)
    return found
