"""Which fields of a message matter, worked out once for each row of names: the same names come again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from verbguard.http import Headers
from verbguard.replay import (
    CREDENTIAL,
    CREDENTIALS,
    IDEMPOTENCY_KEY,
    KEYED_EXTRAS,
    MEANINGLESS,
    PRECONDITIONS,
    STORED,
    contends,
    stored_headers,
)
from verbguard.rules import catalogue

__all__ = ["ANSWERS", "BY_NAMES", "AnswerLayout", "Layout", "Layouts"]

Place = TypeVar("Place")
Key = TypeVar("Key", bound=tuple[Any, ...])


def _deciding() -> frozenset[bytes]:
    """Every request field that decides something; of the others only those count that say who is asking."""
    names = {IDEMPOTENCY_KEY, b"host", b"content-type", b"cache-control", b"accept-encoding", b"origin"}
    names |= {b"destination", b"if"}  # which name other resources
    for rule in catalogue().values():
        names |= rule.given or frozenset()
    return frozenset(names | KEYED_EXTRAS | CREDENTIALS)


_DECIDING = _deciding()


class Layout(Generic[Place]):
    """Where a request that carries certain fields has what matters. A place is an index, or the key of an environ."""

    __slots__ = ("conditional", "contends", "credentials", "deciding", "extras", "meaning", "names", "places", "repeats")

    def __init__(self, fields: Iterable[tuple[bytes, Place]]) -> None:
        named = list(fields)
        self.names = frozenset(dict(named))
        deciding = [(name, place) for name, place in named if name in _DECIDING or CREDENTIAL[name]]
        self.deciding = deciding
        self.conditional = not dict(deciding).keys().isdisjoint(PRECONDITIONS)
        self.contends = any(map(contends, self.names))
        self.extras = not dict(deciding).keys().isdisjoint(KEYED_EXTRAS)
        self.places = [place for _, place in deciding]
        self.credentials = [name for name in dict(named) if CREDENTIAL[name]]
        # what identifies a PUT without a key, beside its target: how each line begins, in their order, and what follows
        self.meaning = sorted(
            ((name + b":", place) for name, place in named if name not in MEANINGLESS), key=lambda line: line[0]
        )
        self.repeats = len(self.names) < len(named)


class Layouts(dict[Key, Layout[Place]], Generic[Key, Place]):
    """Names as an interface has them -> their layout; `fields` gives the names and places that a key stands for."""

    def __init__(self, fields: Callable[[Key], Iterable[tuple[bytes, Place]]]) -> None:
        super().__init__()
        self._fields = fields

    def __missing__(self, key: Key) -> Layout[Place]:
        found = Layout(self._fields(key))
        if len(key) <= 128 and sum(map(len, key)) <= 4_096:  # clients choose names; they must not fill memory
            if len(self) >= 1_000:
                self.clear()
            self[key] = found
        return found


def _indexes(names: tuple[bytes, ...]) -> Iterable[tuple[bytes, int]]:
    return ((name, index) for index, name in enumerate(names))


BY_NAMES: Layouts[tuple[bytes, ...], int] = Layouts(_indexes)


class AnswerLayout:
    """Where an answer with these fields, as its app spells them, has what is looked at; `-1` stands for nowhere."""

    __slots__ = ("_labels", "kind", "lengths", "named", "names")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        places = {name.lower(): place for place, name in enumerate(names)}
        self.names = tuple(name.lower() for name in names)
        self.lengths = [place for place, name in enumerate(names) if name.lower() == b"content-length"]
        self.kind = places.get(b"content-type", -1)
        self.named = [place for place, name in enumerate(names) if name.lower() in (b"location", b"content-location")]
        stored = [STORED[name] for name in names]
        plain = all(stored) and not any(b":" in name or b"\n" in name for name in stored)
        self._labels = [name + b":" for name in stored] if plain else None

    def stored(self, headers: Headers) -> Headers | bytes:
        """What a record keeps of the fields: their lines, framed at once where every one of them is kept."""
        if self._labels is not None:
            lines = b"\n".join([label + value for label, (_, value) in zip(self._labels, headers, strict=True)])
            if lines.count(b"\n") < len(headers):
                return lines
        return stored_headers(headers)


class Answers(dict[tuple[Any, ...], AnswerLayout]):
    """Names of an answer's fields, as an interface has them -> their layout."""

    def __missing__(self, names: tuple[Any, ...]) -> AnswerLayout:
        if len(self) >= 1_000:  # an app may make names up
            self.clear()
        found = self[names] = AnswerLayout(tuple(name if type(name) is bytes else name.encode("latin-1") for name in names))
        return found


ANSWERS = Answers()
