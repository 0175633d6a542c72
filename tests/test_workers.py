"""Looking for the server's configuration on the main thread's stack, while that thread works."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from verbguard.workers import several_workers


@pytest.mark.parametrize(("broken", "found"), [(3, False), (10**6, True)], ids=["for a moment", "always"])
def test_a_stack_that_changes_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch, broken: int, found: bool) -> None:
    """What is no frame any more is no error: the stack is looked at again, and if it is never told, safety comes first."""
    real = sys._current_frames

    def frames() -> Iterator[Any]:
        for _ in range(broken):
            yield dict.fromkeys(real(), object())
        while True:
            yield real()

    looks = frames()

    def look() -> dict[int, FrameType]:
        return next(looks)  # type: ignore[no-any-return]

    monkeypatch.setattr(sys, "_current_frames", look)
    assert several_workers() is found
