"""Compares what clients were told with what the app did. Pure: a history and the effects in, a verdict out."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from soak.app import LEASE, SLOW
from soak.history import History, Told
from soak.ledger import Effect

__all__ = ["BROKEN_PROMISES", "Verdict", "judged"]

AFTER = 1.0  # seconds in which those who share a store find that it is there again

BROKEN_PROMISES = {
    "duplicates": "effects of one key that happened twice",
    "lost answers": "a client that asked again was told something else",
    "leaks": "answers that carry another principal's marker",
    "untrue states": "a PUT without a key was acknowledged, and the state is not what it wrote",
    "unmade": "a success was told, and no effect is in the ledger",
    "stuck": "clients that were never told anything final",
    "odd answers": "final answers that nobody would expect, and faults of the guard",
}


@dataclass(slots=True)
class Verdict:
    """The counts, and examples of what must not be."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return not any(self.counts[name] for name in BROKEN_PROMISES)

    def broken(self, name: str, example: object) -> None:
        self.counts[name] += 1
        if self.counts[name] <= 3:
            self.examples.append(f"{name}: {example}")


def judged(history: History, effects: Sequence[Effect], faults: int = 0) -> Verdict:
    """What was promised, and what came of it."""
    verdict = Verdict(Counter(history.counts))
    verdict.counts.update(effects=len(effects), kills=len(history.kills), restarts=len(history.outages))
    for number in range(faults):
        verdict.broken("odd answers", f"fault {number + 1} of the guard: see the servers' logs")
    for told in history.told:
        _look_at(told, verdict)
    _repeated(history, effects, verdict)
    _answers(history, effects, verdict)
    _states(history, effects, verdict)
    return verdict


def _look_at(told: Told, verdict: Verdict) -> None:
    """One answer by itself."""
    answer = told.answer
    if answer is None:
        verdict.broken("stuck", told.operation)
    elif answer.done:
        verdict.counts["lost leases"] += answer.lost
        if json.loads(answer.body)["for"] != told.operation.principal:
            verdict.broken("leaks", (told.operation, answer.body))
    elif told.rule == "idem-outcome-unknown":
        verdict.counts["unknown outcomes"] += told.first
    else:
        verdict.broken("odd answers", (told.operation, answer))


def _repeated(history: History, effects: Sequence[Effect], verdict: Verdict) -> None:
    """A key has one effect. PUT and DELETE run again when nobody knows what became of the first run, POST and PATCH never."""
    runs: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for effect in effects:
        if effect.key:
            runs[effect.principal, effect.key].append(effect)
    known = {
        (told.operation.principal, told.operation.key): told
        for told in reversed(history.told)  # so that the first one stays
        if told.operation.key and told.answer is not None and told.answer.done
    }
    for key, (first, *others) in runs.items():
        for other in others:
            told = known.get(key)
            leased = other.began - first.sent < LEASE  # the claim was won later than it was sent
            answered = told is not None and told.at < other.began and not _excused(history, told)
            if first.method not in ("PUT", "DELETE") or leased or answered:
                verdict.broken("duplicates", (first, other))
            else:
                verdict.counts["reruns"] += 1


def _answers(history: History, effects: Sequence[Effect], verdict: Verdict) -> None:
    """With a key, the first success is what everybody hears who asks again."""
    made = {effect.run for effect in effects}
    success: dict[tuple[str, str], Told] = {}
    for told in history.told:
        operation, answer = told.operation, told.answer
        if answer is None:
            continue
        if answer.done and json.loads(answer.body)["id"] not in made:
            verdict.broken("unmade", (operation, answer.body))
        if not operation.key:
            continue
        first = success.get((operation.principal, operation.key))
        if first is None:
            if answer.done:
                success[operation.principal, operation.key] = told
        elif not _same(first, told):
            if _excused(history, first):
                verdict.counts["unkept"] += 1
            else:
                verdict.broken("lost answers", (first, told))


def _excused(history: History, told: Told) -> bool:
    """Whether a success may be one that was not kept.

    "An answer whose store fails after the app has run reaches its client as the app made it; the key is `unknown` after its
    lease" (docs/stores.md); and a run that outlived its lease says so.
    """
    return away(history, told.since, told.at) or (told.answer is not None and told.answer.lost)


def _same(one: Told, other: Told) -> bool:
    a, b = one.answer, other.answer
    assert a is not None and b is not None
    return (a.status, a.body, a.headers.get("location")) == (b.status, b.body, b.headers.get("location"))


def _states(history: History, effects: Sequence[Effect], verdict: Verdict) -> None:
    """Where one client writes alone, the state after each acknowledgement is what it wrote."""
    written: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for position, effect in enumerate(effects):
        written[effect.path].append((effect.operation, position))
    lasts = {path: _lasts(rows) for path, rows in written.items()}
    for told in history.told:
        operation, answer = told.operation, told.answer
        if not operation.alone or answer is None or not answer.done:
            continue
        numbers, positions = lasts.get(operation.path, ([], []))
        index = bisect_right(numbers, operation.number)
        state = effects[positions[index - 1]] if index else None
        if state is not None and state.value == operation.value:
            verdict.counts["states"] += 1
        elif state is not None and away(history, state.sent, state.at + SLOW):
            # "Until that request comes, other processes may replay an answer that a write during the outage has made untrue"
            # (docs/architecture.md)
            verdict.counts["untold outages"] += 1
        else:
            verdict.broken("untrue states", (operation, answer.body, state))


def _lasts(rows: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """For each operation on a path, which effect was the last one of it and of those before it."""
    rows.sort()
    return [number for number, _ in rows], list(accumulate((position for _, position in rows), max))


def away(history: History, since: float, until: float) -> bool:
    """Whether what went on between these moments may have met a store that was away."""
    return any(begun <= until and since <= ended + AFTER for begun, ended in history.outages)
