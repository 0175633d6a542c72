"""Every effect of the app, in the order in which they happened: one line a run, written before the app answers."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Effect", "Ledger", "effects"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One run of a handler. Times are this machine's clock."""

    run: str
    process: int
    sent: float  # when the client sent this attempt, so that it was claimed later
    began: float
    at: float
    method: str
    path: str
    principal: str
    key: str
    operation: int  # the client's number of it, the same for all its attempts
    value: str


class Ledger:
    """Where one process writes. A line is one write to a file that is only appended to, so no kill can mix two of them."""

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, effect: Effect) -> None:
        # a line that a kill cut short must not swallow the next one
        os.write(self._file, b"\n" + json.dumps(asdict(effect)).encode() + b"\n")


def effects(path: Path) -> list[Effect]:
    """What was written, in its order."""
    if not path.exists():
        return []
    return [Effect(**json.loads(line)) for line in path.read_text("utf-8").splitlines() if line.endswith("}")]
