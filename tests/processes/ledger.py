"""What really happened: files that outlive every process, written before anybody is answered."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["PATIENCE", "Ledger", "until"]

PATIENCE = 10.0  # seconds until something that must happen is called missing


def until(what: str, holds: Callable[[], object]) -> None:
    """Wait for a condition; its absence is a failure, not a hang."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited {PATIENCE:g} s for {what}"
        time.sleep(0.01)


class Ledger:
    """Effects and findings, a line each, and the gates at which handlers wait."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def effect(self, line: str) -> None:
        """The handler has done something."""
        self._append("effects", line)

    def finding(self, line: str) -> None:
        """The guard has said something."""
        self._append("findings", line)

    def _append(self, name: str, line: str) -> None:
        # one write to a file that is only appended to is one line, whoever else writes, and no death takes it back
        file = os.open(self.home / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode() + b"\n")
        finally:
            os.close(file)

    def _lines(self, name: str) -> list[str]:
        file = self.home / name
        return file.read_text("utf-8").splitlines() if file.exists() else []

    def effects(self, begins: str) -> int:
        """How often something of this beginning was done; it ends where a word ends."""
        return sum(f"{line} ".startswith(f"{begins} ") for line in self._lines("effects"))

    def findings(self, begins: str) -> int:
        return sum(f"{line} ".startswith(f"{begins} ") for line in self._lines("findings"))

    def wait_for(self, begins: str, times: int = 1) -> None:
        """Wait until something was done so often."""
        until(f"{times} x {begins}", lambda: self.effects(begins) >= times)

    def open_gate(self, name: str) -> None:
        """Let the handlers go on that wait at this gate."""
        (self.home / f"gate-{name}").touch()

    def is_open(self, name: str) -> bool:
        return (self.home / f"gate-{name}").exists()

    def keep(self, name: str, state: str) -> None:
        """Replace the state of a thing, as a whole."""
        fresh = self.home / f"fresh-{name}-{os.getpid()}-{time.monotonic_ns()}"
        fresh.write_text(state, "utf-8")
        fresh.replace(self.home / f"state-{name}")

    def state(self, name: str) -> str:
        file = self.home / f"state-{name}"
        return file.read_text("utf-8") if file.exists() else ""
