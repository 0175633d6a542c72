"""What a store remembers: read out of the real one, put back into it, and recognised when it comes again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from copy import copy
from typing import Any, NamedTuple

from states.requests import WINDOW
from verbguard.stores import Store
from verbguard.stores.memory import _RUNNING, _SHIFT, _STORED, _Running


class Told(NamedTuple):
    """What became of a store that was told something: its answer, its memory, and the tokens there of those before."""

    answer: Any
    memory: Remembered
    tokens: dict[int, int]


class Remembered:
    """The fields of a store at one moment. Nobody changes them: a store works on copies."""

    __slots__ = ("fields", "known", "now")

    def __init__(self, fields: dict[str, Any], now: float) -> None:
        self.fields = fields
        self.now = now
        self.known: dict[Hashable, Told] = {}

    @staticmethod
    def names(store: Any) -> list[str]:
        """The fields of a store that change."""
        raise NotImplementedError

    def copied(self) -> dict[str, Any]:
        """The fields, for a store to change."""
        raise NotImplementedError

    def tokens(self) -> list[int]:
        """The numbers by which it knows runs, in an order that memories of one shape share."""
        raise NotImplementedError

    def shape(self) -> Hashable:
        """What tells this memory apart from others for all that can still happen."""
        raise NotImplementedError


class Memory(Remembered):
    """Of the store of one process."""

    __slots__ = ()

    @staticmethod
    def names(store: Any) -> list[str]:
        return [name for name, value in vars(store).items() if type(value) in _VARIABLE]

    def copied(self) -> dict[str, Any]:
        return {name: _copied(value) for name, value in self.fields.items()}

    def tokens(self) -> list[int]:
        """The tokens of its entries, in the order of their names."""
        entries = sorted(self.fields["_records"].items())
        return [_STORED.unpack_from(held)[1] if type(held) is bytes else held.token for _, held in entries]

    def shape(self) -> Hashable:
        """What tells this memory apart from others for all that can still happen.

        Serial numbers are only compared, so their ranks say all; of tokens even whose they are. Of a time only its end
        matters: the faults that are left move the clock too little to end one record and not another that lives as long.
        """
        fields, now = self.fields, self.now
        records: list[tuple[Any, ...]] = []
        for ident, held in sorted(fields["_records"].items()):
            if type(held) is bytes:
                expires, _, serial, fingerprint = _STORED.unpack_from(held)
                records.append((ident, expires > now, serial, fingerprint, held[_STORED.size :]))
            else:
                records.append((ident, held.expires > now, held.started, held.fingerprint, None))
        marks = [
            (path, mark >> _SHIFT, mark & _RUNNING)
            for name in ("_touched", "_swept")
            for path, mark in sorted(fields[name].items())
        ]
        then, horizon = fields["_horizon"]
        forgotten = fields["_forgotten"]
        serials = {horizon, forgotten, *[each[2] for each in records], *[each[1] for each in marks]}
        rank = {serial: position for position, serial in enumerate(sorted(serials))}
        return (
            tuple([(ident, live, rank[serial], *rest) for ident, live, serial, *rest in records]),
            tuple([(path, rank[serial], running) for path, serial, running in marks]),
            rank[horizon],
            rank[forgotten],
            now - then >= WINDOW,
            fields["_next_sweep"] > now,
            tuple([(expires > now, touch.marks, touch.sweeps) for expires, touch in fields["_lingering"]]),
        )


class Bench:
    """One real store that is put into any memory, told something, and read out again. Nothing is told it twice."""

    def __init__(self, make: Callable[..., Store], kind: type[Remembered] = Memory) -> None:
        self.now = 1_000.0
        self.store = make(clock=lambda: self.now)
        self._kind = kind
        self._names = kind.names(self.store)
        self._memories: dict[Hashable, Remembered] = {}
        self.fresh = self._read()
        self._memories[self.fresh.shape()] = self.fresh

    def forget(self) -> None:
        """Memories know what comes after them, and so hold each other; let all of them go."""
        for memory in self._memories.values():
            memory.known.clear()
        self._memories.clear()
        del self.store, self.fresh

    def tell(self, memory: Remembered, what: Hashable, how: Callable[[Any], Any]) -> Told:
        """`how` tells a store that remembers this; `what` says in a value what that is."""
        told = memory.known.get(what)
        if told is None:
            answer = how(self._put(memory))
            after = self._read()
            same = self._memories.setdefault(after.shape(), after)
            told = memory.known[what] = Told(answer, same, dict(zip(after.tokens(), same.tokens(), strict=True)))
        return told

    def ask(self, memory: Remembered, what: Hashable, how: Callable[[Any], Any]) -> Any:
        """What a store that remembers this would answer. Nothing comes of it, so time may pass as far as it likes."""
        if what not in memory.known:
            memory.known[what] = Told(how(self._put(memory)), memory, {})
        return memory.known[what].answer

    def _read(self) -> Remembered:
        fields = vars(self.store)
        return self._kind({name: fields[name] for name in self._names}, self.now)

    def _put(self, memory: Remembered) -> Store:
        self.now = memory.now
        vars(self.store).update(memory.copied())
        return self.store


_VARIABLE = (int, float, tuple, dict, deque)
_PLAIN = (bytes, int, float, str, tuple)


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {key: each if type(each) in _PLAIN else _copied(each) for key, each in value.items()}
    if kind is _Running:  # a renewal changes it
        return _Running(value.token, value.expires, value.fingerprint, value.started)
    return copy(value)


__all__ = ["Bench", "Memory", "Remembered", "Told"]
