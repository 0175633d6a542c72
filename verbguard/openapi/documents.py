"""A document as values that know where they stand, so that an error names the place; `$ref` is followed within it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from verbguard.errors import ConfigError

__all__ = ["Node", "parsed"]

_REFERENCES = 50  # a chain of references that is longer leads in a circle


def parsed(text: str, name: str) -> Node:
    """The document in a text: JSON, or YAML where PyYAML is installed; `name` is how errors call it."""
    plain = text.removeprefix("\ufeff")
    try:
        value = json.loads(plain) if plain.lstrip()[:1] in ("{", "[") else _yaml(plain, name)
    except json.JSONDecodeError as error:
        try:
            value = _yaml(plain, name)  # YAML in its flow style begins like JSON
        except ConfigError:
            raise ConfigError(f"{name}: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ConfigError(f"{name}: it is nested too deeply to be read") from None
    except ValueError as error:  # a number with more digits than Python reads
        raise ConfigError(f"{name}: it cannot be read: {error}") from None
    return Node(value, "", name, value)


def _yaml(text: str, name: str) -> Any:
    try:
        yaml: Any = import_module("yaml")
    except ModuleNotFoundError:
        raise ConfigError(
            f"{name}: this is not JSON, and YAML needs PyYAML: pip install 'verbguard[openapi]', or give the document as JSON"
        ) from None
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "it is not YAML"
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise ConfigError(f"{name}: {place}{problem}") from None
    except (ValueError, RecursionError) as error:  # a date that is none, a document that is nested without end
        raise ConfigError(f"{name}: it cannot be read as YAML: {error}") from None


def _shown(value: Any) -> str:
    """The beginning of a value. YAML's aliases can make it endless, or larger than memory."""
    text, pieces = "", json.JSONEncoder(default=str, ensure_ascii=False).iterencode(value)
    try:
        while len(text) <= 60:
            text += next(pieces)
    except StopIteration:
        return text
    except (RecursionError, TypeError, ValueError):  # it is endless, or has names that JSON has not
        return text + "..."
    return text[:57] + "..."


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the document and where it stands. `here` is its place, for errors."""

    value: Any
    place: str
    name: str  # of the document
    root: Any = field(repr=False)

    @property
    def here(self) -> str:
        return f"{self.name}: {self.place}" if self.place else self.name

    def wrong(self, what: str) -> ConfigError:
        """The error that says what this should be."""
        return ConfigError(f"{self.here} = {_shown(self.value)}: {what}")

    def table(self) -> Node:
        """This, if it is an object with what a `$ref` leads to. Raises ConfigError."""
        node = self
        for _ in range(_REFERENCES):
            if not isinstance(node.value, dict):
                raise node.wrong("an object is wanted here")
            if "$ref" not in node.value:
                return node
            node = node._followed(node.value["$ref"])
        raise self.wrong("this $ref leads in a circle")

    def parts(self) -> list[Node]:
        """The object that a `$ref` leads to, and what stands beside the `$ref`, as it may in a path item."""
        found = [self.table()]
        own = {key: value for key, value in self.value.items() if key != "$ref"}
        if "$ref" in self.value and own:
            found.append(Node(own, self.place, self.name, self.root))
        return found

    def _followed(self, reference: Any) -> Node:
        if not isinstance(reference, str):
            raise self.wrong("$ref is a text such as '#/components/parameters/Key'")
        if not reference.startswith("#"):
            raise self.wrong("only references within the document are followed (#/...): bundle its files into one")
        if not reference.startswith("#/"):
            raise self.wrong("a reference within the document is a path such as '#/components/parameters/Key'")
        target = self.root
        for part in reference[2:].split("/"):
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and key in target:
                target = target[key]
            elif isinstance(target, list) and key.isdecimal() and int(key) < len(target):
                target = target[int(key)]
            else:
                raise self.wrong(f"the document has nothing at {key!r} of this $ref")
        return Node(target, reference, self.name, self.root)

    @property
    def is_foreign(self) -> bool:
        """Whether this is a `$ref` to another document."""
        reference = self.value.get("$ref") if isinstance(self.value, dict) else None
        return isinstance(reference, str) and not reference.startswith("#")

    def get(self, key: str) -> Node | None:
        """A member, None where it is missing."""
        return self._at(key) if key in self.value else None

    def members(self) -> Iterator[tuple[str, Node]]:
        """The members by their names; in YAML a status is a number. Extensions are left out."""
        for key in self.value:
            if not str(key).startswith("x-"):
                yield str(key), self._at(key)

    def entries(self) -> Iterator[Node]:
        """The entries, where this is a list. Raises ConfigError."""
        if not isinstance(self.value, list):
            raise self.wrong("a list is wanted here")
        for number, value in enumerate(self.value):
            yield Node(value, f"{self.place}[{number}]", self.name, self.root)

    def _at(self, key: Any) -> Node:
        plain = isinstance(key, str) and key.replace("-", "_").isidentifier()
        step = str(key) if plain else repr(str(key))
        return Node(self.value[key], f"{self.place}.{step}" if self.place else step, self.name, self.root)
