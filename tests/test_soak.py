"""Servers that are killed, a store that restarts, clients that retry: no promise is broken; see benchmarks/soak.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak.broken import FLAWS
from soak.course import Course
from soak.places import PLACES

SHORT = Course(seconds=6.0, clients=60, between_kills=1.5, outages=(0.35,), obeys=0.5)
CALM = {"seconds": 2.0, "clients": 40, "between_kills": 60.0, "outages": (), "obeys": 0.5}


@pytest.mark.parametrize("kind", PLACES)
async def test_a_short_soak(kind: str, tmp_path: Path) -> None:
    """Through kills of servers and a restart of the store: no effect twice, no answer lost, no leak, no state untrue."""
    with PLACES[kind](tmp_path) as place:
        verdict = await SHORT.run(place, tmp_path)
    counts = verdict.counts
    assert verdict.kept, verdict.examples
    assert counts["kills"] >= 2 and counts["restarts"] == (place.restart is not None), counts
    assert counts["replays with a key"] > 20 and counts["replays without a key"] > 5, counts
    assert counts["effects"] > 100 and counts["states"] > 50, counts


@pytest.mark.parametrize(
    ("flaw", "promise"),
    [
        ("always-wins", "duplicates"),
        ("forgets", "duplicates"),
        ("garbles", "lost answers"),
        ("garbles", "unmade"),
        ("ageless", "untrue states"),
        ("one-principal", "leaks"),
    ],
)
async def test_a_broken_store_is_seen(flaw: str, promise: str, tmp_path: Path) -> None:
    """A soak over a store that breaks a promise says which one, also when nothing else fails."""
    with PLACES["sqlite"](tmp_path) as place:
        verdict = await Course(flaw=flaw, **CALM).run(place, tmp_path)  # type: ignore[arg-type]
    assert not verdict.kept
    assert verdict.counts[promise] > 0, verdict.counts
    assert flaw in FLAWS
