"""What must hold in every state and at every step, in the words of the specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from states.application import says
from states.requests import Ask
from states.world import CRASHED, DONE, RAN, SENT, WON, Answer, World

Asks = Sequence[Ask]

# After these faults a key's operation may take effect again although its method is not idempotent.
REPEATED = frozenset(["cancelled", "unasked"])
# After these an idempotent operation may run again.
RERUN = REPEATED | {"crashed", "lapsed", "raised", "unsaved"}

# They say that nothing was done, and are no results.
NOT_DONE = (404, 409, 412, 422)


class Broken(Exception):
    """A promise that does not hold."""


def won(asks: Asks, world: World, index: int) -> None:
    """At most one run for a key while a lease lives; tokens only grow."""
    identity = asks[index].identity
    for other, process in enumerate(world.processes):
        if other != index and asks[other].identity == identity and process.step in (WON, RAN):
            if process.leased:
                raise Broken(f"{index + 1} may run while the lease of {other + 1} for the same key lives")
            if process.token >= world.processes[index].token:
                raise Broken(f"{index + 1} won with a token that is not larger than that of {other + 1}")


def ran(asks: Asks, world: World, index: int) -> None:
    """A POST or PATCH takes effect once for a key, unless that run was cancelled or the store could not be asked.

    A PUT or DELETE may run again, and counts once; another request can take its key only after it was let go.
    """
    ask = asks[index]
    if not ask.key:
        return
    mine = [each for each in range(len(asks)) if asks[each].identity == ask.identity]
    let_go = any(not world.processes[each].harm.isdisjoint(REPEATED | {"raised"}) for each in mine)
    runs: dict[object, int] = {}
    for each in mine:
        process, repeatable = world.processes[each], asks[each].method in ("PUT", "DELETE")
        if process.effective and process.harm.isdisjoint(REPEATED) and not (repeatable and let_go):
            runs[asks[each] if repeatable else each] = each
    if len(runs) > 1:
        raise Broken(f"{' and '.join(str(each + 1) for each in runs.values())} took effect with one key")


def replayed(asks: Asks, world: World, index: int, winner: int) -> None:
    """A replay is the answer of the latest run of the same operation by the same principal, and true of the state."""
    ask, answer = asks[index], world.processes[index].answer
    assert answer is not None
    if ask.condition and not ask.key:
        raise Broken(f"{index + 1} is conditional, has no key, and got a replay")
    if answer.run is not None:
        source = asks[answer.run]
        if source.who != ask.who:
            raise Broken(f"{index + 1} by {ask.who} got the answer to {answer.run + 1} by {source.who}")
        if source != ask:
            raise Broken(f"{index + 1} got the answer to another request, {answer.run + 1}")
        if answer.run != winner:
            raise Broken(f"{index + 1} got the answer of {answer.run + 1}, whose claim went to {winner + 1}")
    if untold(asks, world, index) and not unknowing(world):
        raise Broken(f"{index + 1} is told that its PUT is in force, but the state is {world.item}")


def untold(asks: Asks, world: World, index: int) -> bool:
    """Whether this replay of a PUT without a key is not true of the state.

    Between a failure of a shared store and the epoch that the guard writes as soon as it reaches it again, no other process can
    know that the store has not heard of a write: until then, and only then, this may be. So it may between the write of a run
    that stalled for longer than a lease and a window, and its end.
    """
    return not asks[index].key and not says(asks[index], world.item)


def unknowing(world: World) -> bool:
    """Whether a write has been of which a shared store cannot know yet."""
    return world.owed or any("stalled" in each.harm and each.step in (RAN, CRASHED) for each in world.processes)


def refused(asks: Asks, world: World, index: int, rule: str) -> None:
    """A key is another's only when another used it; nobody hears "unknown" of PUT and DELETE, or while a lease lives."""
    ask = asks[index]
    others = [other for other in range(len(asks)) if other != index and asks[other].identity == ask.identity]
    if rule == "idem-key-reuse-422" and all(asks[other] == ask for other in others):
        raise Broken(f"{index + 1} is refused for another request's key, but nobody sent another request with it")
    if rule == "idem-outcome-unknown":
        if ask.method not in ("POST", "PATCH"):
            raise Broken(f"{index + 1} is idempotent and is not run again after a crash")
        if any(world.processes[other].leased for other in others):
            raise Broken(f"{index + 1} hears that nobody knows the outcome while a run has its lease")


def answered(asks: Asks, world: World, index: int) -> None:
    """Clients that send one key get one answer, unless a fault made the operation run again."""
    ask, mine = asks[index], world.processes[index].answer
    if not ask.key or not _is_result(mine):
        return
    twins = [process for process, theirs in zip(world.processes, asks, strict=True) if theirs == ask]
    excuses = REPEATED if ask.method in ("POST", "PATCH") else RERUN
    if any(not twin.harm.isdisjoint(excuses) for twin in twins):
        return
    for twin in twins:
        theirs = twin.answer if twin.step in (DONE, SENT) else None
        if _is_result(theirs) and not _equal(theirs, mine):
            raise Broken(f"one key gets two answers: {theirs}, and {mine}")


def _is_result(answer: Answer | None) -> TypeGuard[Answer]:
    """Whether this answer belongs to its key: not a refusal by the guard, not "nothing was done"."""
    return answer is not None and (answer.replayed or answer.run is not None) and answer.status not in NOT_DONE


def _equal(one: Answer, other: Answer) -> bool:
    """Of a run that raised, a replay tells only that it failed."""
    return one.status == other.status and (one.run == other.run or one.status == 500)


def in_turn(asks: Asks, world: World, turns: int) -> None:
    """The first `turns` requests came one after the other; the state is what the last of them said."""
    answer, harm = world.processes[turns - 1].answer, world.processes[turns - 1].harm
    if "untold" not in harm and answer is not None and answer.status < 300 and not says(asks[turns - 1], world.item):
        raise Broken(f"{turns} was the last to write, but the state is {world.item}")
