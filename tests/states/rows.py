"""What a shared store remembers: the rows of its model, and what of them can still matter."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from states.memory import Remembered
from verbguard.stores.transitions import Entry, Epoch, Generation

_FAR = 150.0  # seconds; no scene lasts so long, so what ends later than this does not end in it

_GONE = -1  # an event that nothing has any more: a view that holds it will never be seen again


class Rows(Remembered):
    """Of a shared store. Rows are never changed but replaced, so that memories share what is the same in them."""

    __slots__ = ()

    @staticmethod
    def names(store: Any) -> list[str]:
        return ["entries", "generations", "number", "latest"]

    def copied(self) -> dict[str, Any]:
        return {name: value.copy() if type(value) is dict else value for name, value in self.fields.items()}

    def tokens(self) -> list[int]:
        return sorted(self._runs())

    def shape(self) -> Hashable:
        """See Remembered.shape.

        Runs are told apart, and of two the later one is known. Events are only compared, a view's with what is there now: new
        ones are larger than all before, so a view with one that has been replaced is as good as none. Of a time it matters how
        long it is until then, as far as a scene can last.
        """
        entries: dict[bytes, Entry] = self.fields["entries"]
        generations: dict[str, Generation] = self.fields["generations"]
        epoch: Epoch = self.fields["latest"]
        rank = {run: position for position, run in enumerate(self.tokens())}
        now = self.now
        views = {ident: _events(entry.view) for ident, entry in entries.items()}
        current = {epoch.serial, 0, *[each.event for each in generations.values()]}
        live = {ident: view for ident, view in views.items() if current.issuperset(view)}
        seen = {event: position for position, event in enumerate(dict.fromkeys(_each(live)))}
        return (
            tuple(
                [
                    (
                        ident,
                        rank[entry.token],
                        entry.fingerprint,
                        _left(entry.until, now),
                        tuple([seen[event] if event else _GONE for event in live[ident]]) if ident in live else _GONE,
                        min(now - entry.started, epoch.window) if entry.data is None else 0.0,
                        entry.data,
                    )
                    for ident, entry in sorted(entries.items())
                ]
            ),
            tuple(
                [
                    (
                        name,
                        seen.get(generation.event, _GONE),
                        tuple([(rank[run], _left(until, now)) for run, until in sorted(generation.runs.items())]),
                        _left(generation.until, now),
                    )
                    for name, generation in sorted(generations.items())
                ]
            ),
            (seen.get(epoch.serial, _GONE), _left(epoch.quiet, now), epoch.window),
        )

    def _runs(self) -> set[int]:
        runs = {entry.token for entry in self.fields["entries"].values()}
        for generation in self.fields["generations"].values():
            runs.update(generation.runs)
        return runs


def _left(until: float, now: float) -> float:
    return min(max(until - now, 0.0), _FAR)


def _events(view: str) -> tuple[int, ...]:
    return tuple(map(int, view.split()))


def _each(views: dict[bytes, tuple[int, ...]]) -> Iterator[int]:
    for _, view in sorted(views.items()):
        yield from view
