"""A store of PUTs without keys that remembers every event for ever, beside a real one that must agree with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from verbguard.records import Busy, Claim, Done, Record, Touch, Won, whole
from verbguard.stores import Store


class Clock(Protocol):
    now: float


@dataclass(eq=False)
class Interval:
    """While somebody may write at `path`. Events are numbered; `until` is a time, for what is cut off."""

    path: str
    start: int
    end: int | None = None
    until: float | None = None

    def related(self, path: str) -> bool:
        """Whether writing here can change what is there: the same path, one above, one below."""
        mine, theirs = self.path + "/", path + "/"
        return mine.startswith(theirs) or theirs.startswith(mine)

    def overlaps_or_follows(self, run: Run) -> bool:
        """Whether it was not over when the run began."""
        if self.until is not None:
            return self.until > run.began
        return self.end is None or self.end > run.interval.start


@dataclass(eq=False)
class Run:
    """A claim that was won, and what came of it."""

    claim: Claim
    path: str
    token: int
    interval: Interval
    began: float
    expires: float
    saved: float | None = None
    over: bool = False


class Twin:
    """Takes the steps with the real store, and compares."""

    def __init__(self, store: Store, clock: Clock, put: Callable[..., Claim], window: float, *, forgets: bool = False) -> None:
        self.store = store
        self.forgets = forgets  # whether the store may lose any answer
        self.clock = clock
        self.put = put
        self.window = window
        self.events = 0
        self.intervals: list[Interval] = []
        self.holders: dict[bytes, Run] = {}
        self.runs: list[Run] = []
        self.touches: list[tuple[Touch, Interval]] = []

    def do(self, name: str, *arguments: object) -> None:
        """One step, unless nobody is there to take it."""
        self.events += 1
        getattr(self, f"_{name}")(*arguments)

    def _wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def _put(self, path: str, content: str) -> None:
        claim = self.put(content, path)
        outcome = self.store.claim(claim)
        holder = self.holders.get(claim.ident)
        now = self.clock.now
        if holder is not None and not holder.over and holder.expires > now:
            assert type(outcome) is Busy
            return
        if type(outcome) is Done:
            assert holder is not None
            assert self._true(holder), f"{path} {content} was replayed"
            assert outcome.record.body == b"%d" % holder.token
            return
        assert isinstance(outcome, Won)
        assert holder is None or not self._true(holder) or self._unsure(holder), f"{path} {content} was not replayed"
        interval = Interval(path, self.events)
        self.intervals.append(interval)
        run = Run(claim, path, outcome.token, interval, now, now + claim.lease)
        self.holders[claim.ident] = run
        self.runs.append(run)

    def _true(self, run: Run) -> bool:
        """Whether the answer of this run can be told: it is young, and nobody else wrote from its start until now."""
        if run.saved is None or run.saved + self.window <= self.clock.now:
            return False
        others = (each for each in self.intervals if each is not run.interval and each.related(run.path))
        return not any(each.overlaps_or_follows(run) for each in others)

    def _unsure(self, run: Run) -> bool:
        """Whether the store need not keep this answer: after a run as long as a window, or soon after something lingered."""
        long = run.saved is not None and run.saved - run.began >= self.window
        return (
            self.forgets or long or any(each.until is not None and 0 <= run.began - each.until < 2.0 for each in self.intervals)
        )

    def _save(self, number: int) -> None:
        self._over(number, save=True)

    def _release(self, number: int) -> None:
        self._over(number, save=False)

    def _over(self, number: int, *, save: bool) -> None:
        run = self._running(number)
        if run is None:
            return
        newest = self.holders.get(run.claim.ident) is run
        if save:
            kept = self.store.save(run.claim, run.token, Record(200, [], b"%d" % run.token))
            run.saved = self.clock.now if kept else None
        else:
            kept = self.store.release(run.claim, run.token)
        assert kept == newest or (self._forgotten(run) and not kept)
        run.over = True
        run.interval.end = self.events

    def _renew(self, number: int) -> None:
        run = self._running(number)
        if run is not None:
            newest = self.holders.get(run.claim.ident) is run
            renewed = self.store.renew(run.claim, run.token)
            assert renewed == newest or (self._forgotten(run) and not renewed)
            run.expires = self.clock.now + run.claim.lease if renewed else run.expires

    def _forgotten(self, run: Run) -> bool:
        """Whether nobody has renewed it for so long that a store need not know of it any more."""
        return run.expires + run.claim.keep <= self.clock.now

    def _running(self, number: int) -> Run | None:
        running = [run for run in self.runs if not run.over]
        return running[number % len(running)] if running else None

    def _start(self, path: str) -> None:
        touch, interval = whole(path), Interval(path, self.events)
        self.store.start(touch)
        self.intervals.append(interval)
        self.touches.append((touch, interval))

    def _end(self, number: int) -> None:
        if self.touches:
            touch, interval = self.touches.pop(number % len(self.touches))
            self.store.end(touch)
            interval.end = self.events

    def _linger(self, number: int) -> None:
        if self.touches:
            touch, interval = self.touches[number % len(self.touches)]
            self.store.linger(touch)
            self.intervals.append(Interval(interval.path, self.events, until=self.clock.now + self.window))
