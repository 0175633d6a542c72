"""What a document tells, as fields of policies: the templates, their methods, and where a POST's creation is.

Nothing here refuses what the service may take. A document is often incomplete, so that a method which it does not show still
reaches the service, and neither its media types nor its required parameters are enforced. Kinds are inferred from the
templates as they are from an application's routes (`routes.infer_kinds`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from verbguard.declarations import braces
from verbguard.errors import ConfigError, nearest
from verbguard.openapi.documents import Node, parsed
from verbguard.openapi.links import Operations, location
from verbguard.openapi.templates import prefixes, template
from verbguard.policy import Policy
from verbguard.routes import shape

__all__ = ["Fields", "Knowledge", "load", "loads"]

Fields = Mapping[str, Any]  # of a policy, as a table of verbguard.toml has them

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_LATER = {"query": "QUERY"}  # since OpenAPI 3.2
_OTHERS = ("summary", "description", "servers", "parameters", "$ref")

_VERSION = re.compile(r"3\.([012])(\.\d+)?(-.*)?")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_KEY = "idempotency-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What one document tells. `notes` is what a person should know of it, a line each."""

    name: str  # how errors and tables call the document
    templates: Mapping[str, Fields] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def policies(self, default: Policy | None = None) -> dict[str, Policy]:
        """template -> Policy, for `verbguard.guard` around something that shows no routes.

        A route that has a policy has no use for the default one, so that `default` is what these are made from.
        """
        base = default or Policy()
        return {path: replace(base, **_over(fields, {"methods": base.methods})) for path, fields in self.templates.items()}

    def joined(self, tables: Mapping[str, Any], default: Any = None) -> dict[str, Any]:
        """The tables of `[policies]` with what the document adds to them: what a table says wins, and methods are united.

        A table is found by the shape of its template, whatever its parameters are called. Where there is none, what the
        document tells is joined with the table of the default policy, as it would hold there without the document.
        """
        known = {shape(path): fields for path, fields in self.templates.items()}
        spoken = set()
        found = {}
        for key, table in tables.items():
            method, _, path = key.rpartition(" ")
            place = shape(braces(path))
            fields = known.get(place)
            if not method:
                spoken.add(place)
            found[key] = table if fields is None or not isinstance(table, dict) else _over(fields, table)
        usual = default if isinstance(default, dict) else {}
        return found | {path: _over(usual, fields) for path, fields in self.templates.items() if shape(path) not in spoken}


def _over(fields: Fields, table: Fields) -> dict[str, Any]:
    """What a table says over what is said besides, with the methods of both; what is no list is for `Policy` to judge."""
    both = {**fields, **table}
    known, own = fields.get("methods", []), both.get("methods", [])
    if isinstance(own, (list, frozenset)) and isinstance(known, (list, frozenset)) and (own or known):
        both["methods"] = [*own, *(method for method in known if method not in own)]
    return both


def load(path: str | Path) -> Knowledge:
    """Read a document. Raises ConfigError for one that cannot be read or meant, naming the place in it."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return loads(text, str(path))


def loads(text: str, name: str = "openapi.json") -> Knowledge:
    """Read the text of a document; `name` is how errors call it."""
    root = parsed(text, name)
    minor = _minor(root)
    paths = root.get("paths")
    reading = _Reading(root, minor)
    if paths is not None:
        for path, item in paths.table().members():
            reading.item(path, item)
    elif minor == 0 or not (root.get("components") or root.get("webhooks")):
        raise ConfigError(f"{name}: it has no paths, so that it tells nothing of a service")
    return reading.told(name)


def _minor(root: Node) -> int:
    """Which 3.x it is. Raises ConfigError for what is no OpenAPI 3."""
    if not isinstance(root.value, dict):
        raise root.wrong("an OpenAPI document is an object")
    version = root.get("openapi")
    if version is None:
        if "swagger" in root.value:
            raise ConfigError(f"{root.name}: swagger = {root.value['swagger']!r}: convert it to OpenAPI 3 first")
        raise ConfigError(f"{root.name}: there is no field 'openapi' with a version, such as \"3.1.0\"")
    found = _VERSION.fullmatch(str(version.value))  # without quotes it is a number in YAML
    if found is None:
        raise version.wrong("3.0, 3.1 and 3.2 can be read")
    return int(found[1])


class _Reading:
    """One pass over the paths."""

    def __init__(self, root: Node, minor: int) -> None:
        self._servers = root.get("servers")
        self._fields = dict.fromkeys(METHODS) | (_LATER if minor >= 2 else {})
        self._minor = minor
        self._methods: dict[str, list[str]] = {}  # template -> methods, in the document's order
        self._spelling: dict[str, str] = {}  # shape -> the template that was first
        self._creations: list[tuple[str, str, Node]] = []  # (template, prefix, POST)
        self._operations = Operations()
        self._notes: list[str] = []

    def item(self, path: str, item: Node) -> None:
        """One path of the document."""
        if not path.startswith("/"):
            raise ConfigError(f"{item.here}: a path starts with a slash")
        local = template(path)
        if local is None:
            self._notes.append(f"{item.here}: left out, as no path of a request can be told by this template")
            return
        for part in item.parts():
            self._part(path, local, part)

    def _part(self, path: str, local: str, item: Node) -> None:
        found = list(self._named(item))
        for method, operation in found:
            servers = operation.get("servers") or item.get("servers") or self._servers
            for prefix in prefixes(servers):
                self._add(prefix + local, method)
                self._operations.add(method, path, prefix + local, operation)
                if method == "POST":
                    self._creations.append((prefix + local, prefix, operation))
            self._key(method, path, item, operation)
        if not found:
            for prefix in prefixes(item.get("servers") or self._servers):
                self._spelled(prefix + local)

    def _named(self, item: Node) -> Iterator[tuple[str, Node]]:
        """The operations of a path by their methods."""
        for key, node in item.members():
            if key in self._fields:
                yield key.upper(), node.table()
            elif key == "additionalOperations" and self._minor >= 2:
                for method, operation in node.table().members():
                    if not _TOKEN.fullmatch(method):
                        raise ConfigError(f"{operation.here}: {method!r} is no method, which is a token (RFC 9110 9.1)")
                    yield method, operation.table()
            elif key not in _OTHERS:
                self._note(f"{node.here}: there is no such field; {nearest(key, [*self._fields, *_OTHERS])}")

    def _add(self, path: str, method: str) -> None:
        methods = self._methods[self._spelled(path)]
        if method not in methods:
            methods.append(method)

    def _spelled(self, path: str) -> str:
        """`/items/{id}` and `/items/{name}` are one resource, spelled as it came first."""
        found = self._spelling.setdefault(shape(path), path)
        self._methods.setdefault(found, [])
        return found

    def _key(self, method: str, path: str, item: Node, operation: Node) -> None:
        """A key that the document requires is told and not enforced, as the document may be wrong and the service knows."""
        for owner in (operation, item):
            parameters = owner.get("parameters")
            for parameter in parameters.entries() if parameters is not None else ():
                if parameter.is_foreign:
                    continue
                parameter = parameter.table()
                name, place, required = (parameter.value.get(each) for each in ("name", "in", "required"))
                if place == "header" and str(name).lower() == _KEY:
                    if required is True:
                        self._note(
                            f"{method} {path}: the document requires Idempotency-Key; replay = {{ required = true }} in the "
                            "policy refuses requests without one (400) before they reach the service"
                        )
                    return

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def told(self, name: str) -> Knowledge:
        found: dict[str, dict[str, Any]] = {
            path: {"methods": list(methods)} if methods else {} for path, methods in self._methods.items()
        }
        for fields in found.values():
            if "PUT" in fields.get("methods", ()):
                fields["put"] = "allow"  # whoever wrote the document says that PUT has a meaning here, on a collection too
        for path, prefix, operation in self._creations:
            created = location(operation, path, prefix, self._operations)
            if created is not None:
                found[self._spelled(path)]["location"] = created
        return Knowledge(name=name, templates=found, notes=tuple(self._notes))
