"""Shared stores with one mistake each: their transitions, of which one function is another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec, module_from_spec
from math import inf
from typing import Any

from shared.model import ModelStore

from verbguard.records import Claim, Outcome, Touch, Won
from verbguard.stores import transitions
from verbguard.stores.transitions import Epoch, Generation, Rows, own

Mistaken = Callable[[Any], Callable[..., Any]]


def store(mistake: Mistaken) -> type[ModelStore]:
    """A shared store whose transitions have the function that `mistake` makes, in place of the one of its name.

    It is called with a module of transitions, in which all others are right.
    """
    spec = find_spec(transitions.__name__)
    assert spec is not None and spec.loader is not None
    right, wrong = module_from_spec(spec), module_from_spec(spec)
    spec.loader.exec_module(right)
    spec.loader.exec_module(wrong)
    function = mistake(right)
    assert hasattr(wrong, function.__name__), function
    setattr(wrong, function.__name__, function)
    return type(mistake.__name__, (ModelStore,), {"rules": wrong})


def no_event_at_the_end(right: Any) -> Callable[..., Any]:
    """A run that is over is no longer counted, and that is all."""

    def end_run(rows: Rows, touch: Touch | None, run: int, now: float) -> None:
        for name in () if touch is None else right._names(touch):
            known = rows.generation(name)
            if known is not None:
                runs = {each: until for each, until in known.runs.items() if each != run}
                rows.age(name, Generation(known.event, runs, known.until))

    return end_run


def no_event_at_the_start(right: Any) -> Callable[..., Any]:
    """A run that begins is counted, and that is all."""

    def _age(rows: Rows, touch: Touch, event: int, now: float, epoch: Epoch, *, run: int = 0, **details: Any) -> None:
        before = {name: rows.generation(name) for name in right._names(touch)}
        right._age(rows, touch, event, now, epoch, run=run, **details)
        for name, known in before.items() if run else ():
            after = rows.generation(name)
            assert after is not None
            rows.age(name, Generation(known.event if known else 0, after.runs, after.until))

    return _age


def runs_are_not_remembered(right: Any) -> Callable[..., Any]:
    """Whoever starts believes that nobody else runs."""

    def _crowded(*arguments: Any) -> bool:
        return False

    return _crowded


def view_is_not_compared_at_save(right: Any) -> Callable[..., Any]:
    """What a run saw at its start is not looked at again."""

    def save(rows: Rows, claim: Claim, token: int, data: bytes, now: float) -> bool:
        entry = rows.entry(claim.ident)
        if entry is not None and entry.token == token and entry.data is None and entry.view:
            rows.put(claim, entry._replace(view=right._view(rows, claim.touch, now, rows.era())))
        return bool(right.save(rows, claim, token, data, now))

    return save


def save_without_looking_at_the_token(right: Any) -> Callable[..., Any]:
    """Whoever comes to save is believed to hold the claim."""

    def save(rows: Rows, claim: Claim, token: int, data: bytes, now: float) -> bool:
        entry = rows.entry(claim.ident)
        return bool(right.save(rows, claim, token if entry is None else entry.token, data, now))

    return save


def epoch_is_not_part_of_the_view(right: Any) -> Callable[..., Any]:
    """What was kept before an epoch goes on."""

    def _view(*arguments: Any) -> str:
        return str(right._view(*arguments)).partition(" ")[2]

    return _view


def quiet_is_ignored(right: Any) -> Callable[..., Any]:
    """Right after an epoch answers are kept again."""

    def begin_epoch(rows: Rows, now: float) -> None:
        right.begin_epoch(rows, now)
        rows.begin(rows.era()._replace(quiet=0.0))

    return begin_epoch


def a_late_end_is_ignored(right: Any) -> Callable[..., Any]:
    """A run that lost its claim has nothing to say."""

    def save(rows: Rows, claim: Claim, token: int, data: bytes, now: float) -> bool:
        entry = rows.entry(claim.ident)
        return entry is not None and entry.token == token and bool(right.save(rows, claim, token, data, now))

    return save


def a_lease_never_ends(right: Any) -> Callable[..., Any]:
    """A claim lives until its request ends."""

    def claim(rows: Rows, claim: Claim, now: float) -> Outcome:
        outcome: Outcome = right.claim(rows, claim, now)
        entry = rows.entry(claim.ident)
        if isinstance(outcome, Won) and entry is not None:
            rows.put(claim, entry._replace(until=inf))
        return outcome

    return claim


def a_released_claim_leaves_its_run(right: Any) -> Callable[..., Any]:
    """To release is to take the entry out."""

    def release(rows: Rows, claim: Claim, token: int, now: float) -> bool:
        entry = rows.entry(claim.ident)
        if entry is None or entry.token != token:
            return False
        rows.drop(claim.ident)
        return True

    return release


def sweeps_are_ignored(right: Any) -> Callable[..., Any]:
    """A view has only the target's own event, and not those below what is above it."""

    def _seen(touch: Touch) -> Iterator[str]:
        yield own(touch.target)

    return _seen


def told_although_a_newer_run_began(right: Any) -> Callable[..., Any]:
    """A new run does not take the place of the answer that was kept before."""

    def claim(rows: Rows, claim: Claim, now: float) -> Outcome:
        before = rows.entry(claim.ident)
        outcome: Outcome = right.claim(rows, claim, now)
        if isinstance(outcome, Won) and before is not None and before.data is not None and claim.touch is not None:
            rows.put(claim, before._replace(view=right._view(rows, claim.touch, now, rows.era())))
        return outcome

    return claim
