"""Servers that are killed, a store that restarts, clients that retry: no promise is broken; see benchmarks/soak.py."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from soak.app import LEASE
from soak.course import Course
from soak.history import History, Operation, Told
from soak.judge import AFTER, BROKEN_PROMISES, judged
from soak.ledger import Effect
from soak.places import PLACES
from soak.wire import Answer

SHORT = Course(seconds=6.0, clients=60, between_kills=1.5, outages=(0.35,), obeys=0.5, later=100)
STANDSTILL = 180.0  # seconds; a soak that ends by itself takes ten
CALM = Course(seconds=1.5, clients=40, servers=2, between_kills=60.0, outages=(), obeys=0.5, later=40)


@pytest.mark.parametrize("kind", PLACES)
async def test_a_short_soak(kind: str, tmp_path: Path) -> None:
    """Through kills of servers and a restart of the store: no effect twice, no answer lost, no leak, no state untrue."""
    with PLACES[kind](tmp_path) as place:
        async with asyncio.timeout(STANDSTILL):
            verdict = await SHORT.run(place, tmp_path)
    counts = verdict.counts
    assert verdict.kept, verdict.examples
    assert counts["kills"] >= 1 and counts["restarts"] == (place.restart is not None), counts
    assert counts["replays with a key"] > 20 and counts["replays without a key"] > 0, counts
    assert counts["effects"] > 100 and counts["states"] > 50, counts


@pytest.mark.parametrize(
    ("flaw", "promises"),
    [
        ("always-wins", ["duplicates"]),
        ("forgets", ["duplicates"]),
        ("garbles", ["lost answers", "unmade"]),
        ("ageless", ["untrue states"]),
        ("one-principal", ["leaks"]),
    ],
)
async def test_a_broken_store_is_seen(flaw: str, promises: list[str], tmp_path: Path) -> None:
    """A soak over a store that breaks a promise says which one, also when nothing else fails."""
    with PLACES["sqlite"](tmp_path) as place:
        async with asyncio.timeout(STANDSTILL):
            verdict = await replace(CALM, flaw=flaw).run(place, tmp_path)
    assert not verdict.kept
    assert all(verdict.counts[promise] for promise in promises), verdict.counts


# ---- the judge by itself

POST = Operation(1, "POST", "/orders", "Bearer one", "new", "key")
DELETE = Operation(1, "DELETE", "/documents/1", "Bearer one", "", "key")
WRITE = Operation(1, "PUT", "/items/1", "Bearer one", "A", alone=True)
NEXT = replace(WRITE, number=2, value="B")


def ran(operation: Operation, run: str = "r1", at: float = 10.0, principal: str = "") -> Effect:
    """An effect of this operation, of which the client sent the attempt a moment before."""
    names = {"method": operation.method, "path": operation.path, "key": operation.key, "value": operation.value}
    moments = {"sent": at - 0.2, "began": at - 0.1, "at": at}
    who = principal or operation.principal
    return Effect(run=run, process=1, operation=operation.number, principal=who, **names, **moments)  # type: ignore[arg-type]


def heard(operation: Operation, run: str = "r1", at: float = 10.1, marker: str = "", lost: bool = False) -> Told:
    """The app's success."""
    body = json.dumps({"id": run, "for": marker or operation.principal, "value": operation.value}).encode()
    return Told(operation, Answer(200, {"idempotency-status": "lease-lost"} if lost else {}, body), at, at - 0.3)


def refused(operation: Operation, status: int = 409, rule: str = "idem-outcome-unknown", at: float = 20.0) -> Told:
    return Told(operation, Answer(status, {}, json.dumps({"rule": rule}).encode()), at, at - 0.3)


AWAY = (9.0, 9.5)  # an outage of the store that what ended at 10.1 may have met

CASES = {
    "all is well": ([heard(POST), heard(POST, at=20.0)], [ran(POST)], (), ""),
    "a POST that ran twice": ([heard(POST)], [ran(POST), ran(POST, "r2", 50.0)], (), "duplicates"),
    "also during an outage": ([heard(POST)], [ran(POST), ran(POST, "r2", 50.0)], (AWAY,), "duplicates"),
    "a DELETE beside a living lease": ([], [ran(DELETE), ran(DELETE, "r2", 10.0 + LEASE / 2)], (), "duplicates"),
    "a DELETE that was answered": ([heard(DELETE)], [ran(DELETE), ran(DELETE, "r2", 50.0)], (), "duplicates"),
    "a DELETE that nobody was told of": ([heard(DELETE, "r2", 50.1)], [ran(DELETE), ran(DELETE, "r2", 50.0)], (), ""),
    "a DELETE that lost its lease": ([heard(DELETE, lost=True)], [ran(DELETE), ran(DELETE, "r2", 50.0)], (), ""),
    "another answer": (
        [heard(POST), heard(POST, "r2", 20.0)],
        [ran(POST), ran(replace(POST, key="k"), "r2")],
        (),
        "lost answers",
    ),
    "an answer that is gone": ([heard(POST), refused(POST)], [ran(POST)], (), "lost answers"),
    "gone with an outage": ([heard(POST), refused(POST)], [ran(POST)], (AWAY,), ""),
    "long after an outage": ([heard(POST), refused(POST)], [ran(POST)], ((8.0 - AFTER, 9.5 - AFTER),), "lost answers"),
    "an unknown outcome": ([refused(POST)], [ran(POST)], (), ""),
    "another one's answer": ([heard(POST, marker="Bearer two")], [ran(POST)], (), "leaks"),
    "nothing was done": ([heard(POST)], [], (), "unmade"),
    "nothing was said": ([Told(POST, None, 60.0, 60.0)], [ran(POST)], (), "stuck"),
    "an error": ([refused(POST, 500, "")], [ran(POST)], (), "odd answers"),
    "A, B": ([heard(WRITE), heard(NEXT, "r2")], [ran(WRITE), ran(NEXT, "r2")], (), ""),
    "A, B, A that ends at B": (
        [heard(WRITE), heard(NEXT, "r2", 11.1), heard(replace(WRITE, number=3), "r1", 12.0)],
        [ran(WRITE), ran(NEXT, "r2", 11.0)],
        (),
        "untrue states",
    ),
    "an old run that ends late": ([heard(NEXT, "r2")], [ran(NEXT, "r2"), ran(WRITE, "r1", 11.0)], (), "untrue states"),
    "a later one": ([heard(WRITE)], [ran(WRITE), ran(NEXT, "r2", 11.0)], (), ""),
    "a write during an outage": ([heard(NEXT)], [ran(WRITE)], (AWAY,), ""),
}


@pytest.mark.parametrize("case", CASES)
def test_the_judge(case: str) -> None:
    """What must not be is called by its name, and nothing else is."""
    told, effects, outages, expected = CASES[case]
    verdict = judged(History(told=told, outages=list(outages)), effects)
    assert [name for name in BROKEN_PROMISES if verdict.counts[name]] == ([expected] if expected else [])
    assert verdict.kept == (not expected)


def test_a_fault_of_the_guard_counts() -> None:
    """A guard that failed while it was soaked has not kept its promises."""
    assert judged(History(), [], faults=1).counts["odd answers"] == 1
