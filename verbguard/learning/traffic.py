"""Everything that was seen, added up by path: memory grows with the paths, not with the exchanges."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from verbguard.learning.exchanges import Exchanged, Seen, Witness
from verbguard.methods import SAFE, may_answer
from verbguard.replay import kept

__all__ = ["Creation", "Path", "Traffic"]

MOST = 50_000  # paths, keys and requests that are told apart, in some 200 MiB; a recording of more would be one of a scan

_OFTEN = 50  # requests with one key that are compared with each other


@dataclass(frozen=True, slots=True)
class Creation:
    """One POST 201: what it created, as far as its answer says."""

    created: str | None
    named: str
    members: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Path:
    """What was seen at one path."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    allow: set[str] = field(default_factory=set)
    creations: list[Creation] = field(default_factory=list)
    refusals: set[tuple[str, str]] = field(default_factory=set)  # (rule, method): requests that it would have refused
    repeated: int = 0  # writes that came again with the same content
    keyed: int = 0  # writes with an Idempotency-Key
    own_keys: bool = False  # the service takes keys in a way of its own, which the guard's would get in the way of
    released: set[int] = field(default_factory=set)  # statuses after which the same key succeeded


class Traffic:
    """Exchanges, added up."""

    def __init__(self) -> None:
        self.paths: dict[str, Path] = {}
        self.unspoken: dict[str, Path] = {}  # those that no template can spell: they make no resource, and must not be refused
        self.exchanges = 0
        self.left_out: Counter[str] = Counter()  # why -> how many
        self._witness = Witness()
        self._prints: set[bytes] = set()
        self._keys: dict[bytes, list[Seen]] = {}  # key -> the requests whose answers a guard would have kept

    def add(self, exchange: Exchanged | Seen) -> None:
        """Remember one exchange."""
        one = exchange if isinstance(exchange, Seen) else self._witness.seen(exchange)
        reason = _unusable(one)
        if reason is None and one.path not in self.paths and len(self.paths) >= MOST:
            reason = "too many paths"
        if reason is not None:
            self.left_out[reason] += 1
            if reason != _UNSPOKEN or len(self.unspoken) >= MOST:
                return
        else:
            self.exchanges += 1
        path = (self.paths if reason is None else self.unspoken).setdefault(one.path, Path())
        path.answers[one.method, one.status] += 1
        path.allow |= one.allow or set()
        if one.method == "POST" and one.status == 201 and len(path.creations) < MOST:
            path.creations.append(Creation(one.created, one.named, tuple(sorted(one.members.items()))))
        for rule in one.refusals:
            path.refusals.add((rule, one.method))
        if one.method not in SAFE:
            self._write(one, path)

    def _write(self, one: Seen, path: Path) -> None:
        if one.print:
            if one.print in self._prints:
                path.repeated += 1
            elif len(self._prints) < MOST:
                self._prints.add(one.print)
        path.keyed += one.keyed
        if one.bad_key and one.succeeded:
            path.own_keys = True
        if one.key:
            self._with_key(one, path)

    def _with_key(self, one: Seen, path: Path) -> None:
        """Where a guard would have answered a key's second request itself, although the service did what it asked."""
        before = self._keys.get(one.key)
        if before is None:
            if len(self._keys) >= MOST:
                return
            before = self._keys[one.key] = []
        for first in before if one.succeeded else ():
            there = self._at(first.path)
            if not first.succeeded and may_answer(first.method, first.status):
                there.released.add(first.status)
            elif not one.print or one.print != first.print:  # also after a status that a guard makes another of: 304 to POST
                there.own_keys = path.own_keys = True
        if kept(one.method, one.status, None, ()):
            if len(before) < _OFTEN:
                before.append(one)
            else:  # no client repeats itself that often: this is one key for everything
                path.own_keys = True

    def _at(self, path: str) -> Path:
        return self.paths.get(path) or self.unspoken[path]


_UNSPOKEN = "a path that no template can spell"

_ASIDE = re.compile(r";[^/=]+=")  # `/items;jsessionid=...`: a path for each session, and nobody's to read


def _unusable(one: Seen) -> str | None:
    if not one.path.startswith("/") or one.method == "CONNECT":
        return "no path"  # such as OPTIONS *
    if _ASIDE.search(one.path) or not one.path.isprintable() or any(mark in one.path for mark in " {}<>"):
        return _UNSPOKEN
    if not 100 <= one.status <= 599:
        return "no answer"
    return None
