"""Tests that need a program of other people say so when it is not there, and fail where it should have been installed."""

from __future__ import annotations

import pytest
from programs import PROGRAMS, needs


def test_a_missing_program_is_a_skip_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the program and how it is installed."""
    monkeypatch.setitem(PROGRAMS, "absent", (lambda: False, "apt-get install absent"))
    monkeypatch.delenv("VERBGUARD_REQUIRE_PROGRAMS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="absent is not installed: apt-get install absent"):
        needs("absent")


def test_a_missing_program_is_a_failure_where_it_was_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.ci/run` sets VERBGUARD_REQUIRE_PROGRAMS when it has installed them."""
    monkeypatch.setitem(PROGRAMS, "absent", (lambda: False, "apt-get install absent"))
    monkeypatch.setitem(PROGRAMS, "present", (lambda: True, "apt-get install present"))
    monkeypatch.setenv("VERBGUARD_REQUIRE_PROGRAMS", "1")
    needs("present")
    with pytest.raises(pytest.fail.Exception, match="absent is not installed"):
        needs("absent")
