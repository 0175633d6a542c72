"""Guards with one mistake each, of the kind that looks right in every test of one request at a time."""

from __future__ import annotations

from math import inf

from verbguard.records import Claim, Outcome, Record, Touch
from verbguard.stores.memory import _RUNNING, _SHIFT, _STORED, MemoryStore, _Running


class BumpAtStartOnly(MemoryStore):
    """A generation is raised when a request starts and not when it ends; who runs is counted."""

    def _end(self, touch: Touch) -> int:
        for generations, paths in ((self._touched, touch.marks), (self._swept, touch.sweeps)):
            for path in paths:
                generations[path] = generations.get(path, 1) - 1
        return self._touched[touch.target] >> _SHIFT


class NoCount(MemoryStore):
    """Generations are raised at both ends, but nobody knows whether a request still runs."""

    def _start(self, touch: Touch) -> int:
        serial = super()._start(touch)
        self._uncount(touch)
        return serial

    def _end(self, touch: Touch) -> int:
        self._serial = serial = self._serial + 1
        for generations, paths in ((self._touched, touch.marks), (self._swept, touch.sweeps)):
            generations.update(dict.fromkeys(paths, serial << _SHIFT))
        return serial

    def _uncount(self, touch: Touch) -> None:
        for generations, paths in ((self._touched, touch.marks), (self._swept, touch.sweeps)):
            for path in paths:
                generations[path] &= ~_RUNNING

    def _alone(self, touch: Touch, started: int) -> bool:
        return self._unchanged(touch, started)


class BumpAtStartOnlyAndNoCount(NoCount):
    """One generation, raised when a request starts: an answer is kept unless another request has started since."""

    def _end(self, touch: Touch) -> int:
        return self._touched[touch.target] >> _SHIFT


class SaveWithoutToken(MemoryStore):
    """Whoever comes to save is believed to hold the claim."""

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        held = self._records.get(claim.ident)
        if held is not None:
            token = held.token if isinstance(held, _Running) else _STORED.unpack_from(held)[1]
        return super().save(claim, token, record)


class CheckBeforeClaim(MemoryStore):
    """To look for a record and to enter a run are two steps; `take` is the second, which does not look again."""

    def take(self, claim: Claim) -> Outcome:
        self._records.pop(claim.ident, None)
        return self.claim(claim)


class KeepsWhatWasOverlapped(MemoryStore):
    """The answer to a PUT is kept although another request ran on its target at the same time."""

    def _alone(self, touch: Touch, started: int) -> bool:
        return True


class ForgetsWhoWasCutOff(MemoryStore):
    """A cancelled request is believed to be over."""

    def linger(self, touch: Touch) -> None:
        pass


class NeverEndsWhatIsLate(MemoryStore):
    """A run that lost its claim is counted for ever."""

    def _too_late(self, claim: Claim) -> bool:
        return False


class NoLease(MemoryStore):
    """A claim lives until its request ends."""

    def claim(self, claim: Claim) -> Outcome:
        outcome = super().claim(claim)
        if isinstance(outcome, _Running):
            outcome.expires = inf
        return outcome


def anybody(request: object) -> str:
    """Whoever sends a request, its records belong to the same one."""
    return "anybody"
