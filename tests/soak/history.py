"""What clients asked, and what they were told."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from time import time

from soak.wire import Answer

__all__ = ["History", "Operation", "Told"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a client wants, in however many attempts. `number` grows over all of a client's operations."""

    number: int
    method: str
    path: str
    principal: str
    value: str
    key: str = ""
    alone: bool = False  # whether nobody else writes there

    @property
    def headers(self) -> dict[str, str]:
        # verbguard gives no meaning to the last two: here they are the operation's number and the attempt's time
        found = {"Authorization": self.principal, "X-Request-Id": str(self.number), "X-Retry-Attempt": f"{time():.6f}"}
        return {**found, "Idempotency-Key": f'"{self.key}"'} if self.key else found

    @property
    def body(self) -> bytes:
        return b"" if self.method == "DELETE" else json.dumps({"value": self.value}).encode()


@dataclass(slots=True)
class Told:
    """A final answer, or None for a client that was still asking when the soak was over."""

    operation: Operation
    answer: Answer | None
    at: float
    since: float  # when the attempt was sent that it answers
    first: bool = True  # whether nobody was told anything of this operation before

    @property
    def rule(self) -> str:
        """The rule that a refusal names."""
        if self.answer is None or self.answer.done:
            return ""
        try:
            return str(json.loads(self.answer.body).get("rule", ""))
        except ValueError:
            return ""


@dataclass(slots=True)
class History:
    """Everything, in the order in which it was told."""

    told: list[Told] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    kills: list[tuple[int, float]] = field(default_factory=list)  # (process, when)
    outages: list[tuple[float, float]] = field(default_factory=list)  # (from, until) of the store
