"""What the shared stores do with what they hold: each operation as a function from rows to rows, at one moment.

SQLite runs these functions inside a transaction; Redis and PostgreSQL have the same in Lua and SQL, and are tested against
them. How they see the world:

- A *generation* is one path's last event, a serial number, and the runs that may still write there, each with the moment
  until which this is believed. Every path has two: of its own state, and of everything below it. Whatever starts, ends or
  bumps gives the paths that it touches a new serial.
- What a run saw of its target is its *view*: the epoch, the target's own event, and the events below each of its ancestors. A
  PUT without a key is kept if nobody else ran when it started and its view was the same at its end; it is replayed while the
  view is still the one that it left.
- An *epoch* ends everything that was seen before it. It begins when a store may not have heard of a write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from verbguard.records import Busy, Claim, Clash, Done, Outcome, Record, Touch, Unknown, Won

__all__ = [
    "UNCLAIMED",
    "WINDOW",
    "Entry",
    "Epoch",
    "Generation",
    "Looks",
    "Rows",
    "begin_epoch",
    "bump",
    "below",
    "claim",
    "end",
    "end_run",
    "linger",
    "look",
    "own",
    "release",
    "renew",
    "save",
    "settle",
    "start",
]

WINDOW = 30.0  # seconds that a keyless record lives at most, until a claim asks for more

# Seconds that a run without a claim is believed to go on when nothing is heard of it: nobody renews it. Longer than servers let
# requests run; after a crash what it touched is not replayed for so long.
UNCLAIMED = 300.0


class Entry(NamedTuple):
    """What is held for an ident: a run while `data` is None, the packed record of its answer after it."""

    token: int
    fingerprint: bytes
    until: float  # when the lease ends, or the record
    view: str = ""  # what the run saw at its start, or left at its end; empty where it does not count
    started: float = 0.0
    data: bytes | None = None


class Generation(NamedTuple):
    """`event` is the serial of the last event; `runs` are the serials of those that may still write, and until when."""

    event: int
    runs: Mapping[int, float]
    until: float  # when nobody can ask for it any more


class Epoch(NamedTuple):
    """`serial` names it; before `quiet` nothing is kept without a key; `window` is the longest keyless life asked for."""

    serial: int = 0
    quiet: float = 0.0
    window: float = WINDOW


class Looks(Protocol):
    """What can be read of a store's rows. `own(path)` and `below(path)` are the names of a path's two generations."""

    def entry(self, ident: bytes) -> Entry | None: ...
    def read(self, ident: bytes, data: bytes) -> Record:
        """The record that was packed into `data`."""
        ...

    def committed(self, ident: bytes) -> Entry | None:
        """The answer that an application committed together with its effect (`record_in`)."""
        ...

    def generation(self, name: str) -> Generation | None: ...
    def era(self) -> Epoch: ...


class Rows(Looks, Protocol):
    """Where a store has its rows."""

    def put(self, claim: Claim, entry: Entry) -> None: ...
    def drop(self, ident: bytes) -> None: ...
    def age(self, name: str, generation: Generation) -> None: ...
    def serial(self) -> int:
        """One that is larger than all before."""
        ...

    def begin(self, epoch: Epoch) -> None: ...


def own(path: str) -> str:
    return "o" + path


def below(path: str) -> str:
    return "b" + path


# ---- claims


def claim(rows: Rows, claim: Claim, now: float) -> Outcome:
    """See Store.claim."""
    outcome = look(rows, claim, now)
    if outcome is not None:
        return outcome
    epoch = rows.era()
    if claim.keyless and claim.keep > epoch.window:
        # what was forgotten while the window was shorter must not be missed
        epoch = Epoch(rows.serial(), epoch.quiet, claim.keep)
        rows.begin(epoch)
    token = rows.serial()
    view = ""
    if claim.touch is not None:
        _age(rows, claim.touch, token, now, epoch, run=token, until=now + claim.lease + epoch.window)
        if claim.keyless and now >= epoch.quiet and not _crowded(rows, claim.touch, token, now):
            view = _view(rows, claim.touch, now, epoch)
    rows.put(claim, Entry(token, claim.fingerprint, now + claim.lease, view, now))
    return Won(token)


def look(rows: Looks, claim: Claim, now: float) -> Outcome | None:
    """What a claim hears that changes nothing; None when it wins, which must be written."""
    entry = rows.entry(claim.ident)
    outcome = None if entry is None else _held(rows, claim, entry, now)
    if not claim.keyless and type(outcome) is not Clash:
        # what was committed with its effect is the result, whatever a run that was thought dead has said
        outcome = _told(rows, claim, rows.committed(claim.ident), now) or outcome
    return outcome


def _held(rows: Looks, claim: Claim, entry: Entry, now: float) -> Outcome | None:
    """What an entry says to a claim; None when the ident is free again."""
    if entry.data is not None:
        if claim.keyless and (claim.touch is None or entry.view != _view(rows, claim.touch, now, rows.era())):
            return None
        return _told(rows, claim, entry, now)
    if entry.until + claim.keep <= now:
        return None  # nobody remembers an unknown outcome longer than a known one
    if entry.fingerprint != claim.fingerprint:
        return Clash()
    if entry.until > now:
        return Busy(entry.until - now)
    return None if claim.rerun else Unknown()


def _told(rows: Looks, claim: Claim, entry: Entry | None, now: float) -> Outcome | None:
    """What a record says to a claim; None when its time is over."""
    if entry is None or entry.data is None or entry.until <= now:
        return None
    return Done(rows.read(claim.ident, entry.data)) if entry.fingerprint == claim.fingerprint else Clash()


def save(rows: Rows, claim: Claim, token: int, data: bytes, now: float) -> bool:
    """See Store.save; `data` is the packed record."""
    entry = rows.entry(claim.ident)
    if entry is None or entry.token != token:
        end_run(rows, claim.touch, token, now)
        return False
    if entry.data is not None:
        rows.put(claim, entry._replace(until=now + claim.keep, data=data))
        return True
    epoch, view = rows.era(), ""
    if claim.keyless:
        unseen = now - entry.started >= epoch.window  # longer than generations are remembered for sure
        if claim.touch is None or not entry.view or unseen or entry.view != _view(rows, claim.touch, now, epoch):
            end_run(rows, claim.touch, token, now)
            rows.drop(claim.ident)
            return True
    end_run(rows, claim.touch, token, now)
    if claim.keyless and claim.touch is not None:
        view = _view(rows, claim.touch, now, epoch)
    rows.put(claim, Entry(token, claim.fingerprint, now + claim.keep, view, entry.started, data))
    return True


def release(rows: Rows, claim: Claim, token: int, now: float) -> bool:
    """See Store.release."""
    entry = rows.entry(claim.ident)
    mine = entry is not None and entry.token == token
    if not mine or (entry is not None and entry.data is None):
        end_run(rows, claim.touch, token, now)
    if mine:
        rows.drop(claim.ident)
    return mine


def settle(rows: Rows, claim: Claim, token: int, now: float) -> bool:
    """See Transactional.settle."""
    committed = rows.committed(claim.ident)
    theirs = committed is not None and committed.fingerprint != claim.fingerprint
    if committed is None or committed.data is None or theirs or committed.until <= now:
        release(rows, claim, token, now)
        return False
    return save(rows, claim, token, committed.data, now)


def renew(rows: Rows, claim: Claim, token: int, now: float) -> bool:
    """See Store.renew: the lease, and with it the belief that this run may still write."""
    entry = rows.entry(claim.ident)
    if entry is None or entry.token != token or entry.data is not None:
        return False
    rows.put(claim, entry._replace(until=now + claim.lease))
    if claim.touch is not None:
        until = now + claim.lease + rows.era().window
        event = 0
        for name in sorted(set(_names(claim.touch))):
            known = rows.generation(name)
            if known is not None and known.runs.get(token, 0.0) > now:
                rows.age(name, Generation(known.event, {**known.runs, token: until}, max(known.until, until)))
                continue
            # It was silent for so long that it was believed to be over, and it is not: what was seen meanwhile counts no more.
            event = event or rows.serial()
            runs = {} if known is None else known.runs
            over = max(now + 2 * rows.era().window, until, 0.0 if known is None else known.until)
            rows.age(name, Generation(event, {**runs, token: until}, over))
    return True


# ---- generations


def start(rows: Rows, touch: Touch, now: float) -> int:
    """See Store.start. Returns the serial of the run, which `end` wants to have."""
    run = rows.serial()
    _age(rows, touch, run, now, rows.era(), run=run, until=now + UNCLAIMED)
    return run


def end(rows: Rows, touch: Touch, now: float) -> None:
    """See Store.end."""
    end_run(rows, touch, touch.run, now)


def bump(rows: Rows, touch: Touch, now: float) -> None:
    """See Store.bump."""
    end_run(rows, touch, 0, now)


def linger(rows: Rows, touch: Touch, now: float) -> None:
    """See Store.linger."""
    run, epoch = rows.serial(), rows.era()
    _age(rows, touch, run, now, epoch, run=run, until=now + epoch.window)


def begin_epoch(rows: Rows, now: float) -> None:
    """See Store.epoch."""
    epoch = rows.era()
    rows.begin(Epoch(rows.serial(), now + epoch.window, epoch.window))


def end_run(rows: Rows, touch: Touch | None, run: int, now: float) -> None:
    """A run is over: what it touched and what its answer names has changed."""
    if touch is not None:
        _age(rows, touch, rows.serial(), now, rows.era(), over=run, named=touch.named or ())


def _age(
    rows: Rows,
    touch: Touch,
    event: int,
    now: float,
    epoch: Epoch,
    *,
    run: int = 0,
    until: float = 0.0,
    over: int = 0,
    named: Iterable[tuple[str, ...]] = (),
) -> None:
    """Give all that a touch names a new event; `run` may write there from now on, `over` no longer."""
    needed = max(now + 2 * epoch.window, until)  # a run that was seen to overlap may last a window, and its record another
    names = dict.fromkeys(_names(touch))
    others = dict.fromkeys(name for chain in named for name in (*map(own, chain), below(chain[-1])))
    for name in sorted({*names, *others}):
        known = rows.generation(name)
        runs = {} if known is None else {each: when for each, when in known.runs.items() if when > now and each != over}
        if run and name in names:
            runs[run] = until
        forgotten = 0.0 if known is None else known.until
        if forgotten < needed:
            forgotten = needed + epoch.window / 2  # the next ones need not move it
        rows.age(name, Generation(event, runs, forgotten))


def _names(touch: Touch) -> Iterator[str]:
    yield from map(own, touch.marks)
    yield from map(below, touch.sweeps)


def _seen(touch: Touch) -> Iterator[str]:
    """The generations that tell whether the target is as it was."""
    yield own(touch.target)
    yield from map(below, touch.above)


def _view(rows: Looks, touch: Touch, now: float, epoch: Epoch) -> str:
    events = [epoch.serial]
    for name in _seen(touch):
        known = rows.generation(name)
        events.append(0 if known is None or known.until <= now else known.event)
    return " ".join(map(str, events))


def _crowded(rows: Rows, touch: Touch, run: int, now: float) -> bool:
    """Whether another may write to the target; a run that may write all over what is above it is one too."""
    for name in _seen(touch):
        known = rows.generation(name)
        if known is None:
            continue
        mine = run if name == own(touch.target) else 0
        if any(until > now for each, until in known.runs.items() if each != mine):
            return True
    return False
