"""Until when a claim may be won. A server that stalls does later what it was sent before, also for callers that have given up:
a claim that nobody hears of would lock its key, and be an unknown outcome for as long as a known one is remembered."""

from __future__ import annotations

from time import monotonic

from verbguard.errors import StoreError
from verbguard.records import Outcome

__all__ = ["FRESH", "Freshness", "heard"]

FRESH = 0.5  # seconds; less than anybody waits for an answer, and some hundred times what a server takes


class Freshness:
    """What is known of a server's clock, from the answers that carry its time.

    One that was long on its way makes the server's clock look late, and the next claim come too late: that one's answer
    carries the time again.
    """

    def __init__(self) -> None:
        self._ahead: float | None = None  # of the clock of this process is the server's

    def told(self, moment: float) -> None:
        """It is this moment at the server."""
        self._ahead = moment - monotonic()

    def until(self) -> float | None:
        """The server's time until which a claim that is sent now may be won; None where its clock is not known yet."""
        return None if self._ahead is None else monotonic() + self._ahead + FRESH


def heard(outcome: Outcome | None) -> Outcome:
    """What a claim was told. Raises StoreError for one that came too late twice."""
    if outcome is None:
        raise StoreError(f"the server takes longer than {FRESH} s to begin with what it is sent")
    return outcome
