"""The store of one process: nothing to install, nothing that outlives the process.

A kept answer is one bytes object, so that a hundred thousand of them cost the garbage collector nothing; expiry is a
queue per lifetime, so that a claim costs the same whatever is stored. One lock makes every operation atomic between
threads and event loops; nothing waits inside it. Answers have three quarters of the room and generations the rest, so
that neither can push the other out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from struct import Struct
from threading import Lock
from time import monotonic

from verbguard.errors import StoreError
from verbguard.records import Busy, Claim, Clash, Done, Outcome, Record, State, Touch, Unknown, Won, whole

__all__ = ["MemoryStore"]

_STORED = Struct("<dqq32s")  # expiry, token, generation, fingerprint; the record follows
_unpack = _STORED.unpack_from

# Bytes that CPython spends beside the values themselves: table slots and the headers of objects.
_RECORD = 80
_PLACE = 42
_GENERATION = 80

# A generation is a serial number above the count of requests that are running now.
_SHIFT = 20
_RUNNING = (1 << _SHIFT) - 1

_BATCH = 1_000  # records dropped by one sweep: a claim must not pay for a whole day's expiry
_LINGERING = 1_000  # abandoned runs that are remembered one by one; more of them are told as one that may write anywhere


class _Running(Won):
    """A claim that is being run, or that was when its lease ended."""

    __slots__ = ("expires", "fingerprint", "started")

    def __init__(self, token: int, expires: float, fingerprint: bytes, started: int) -> None:
        self.token = token
        self.expires = expires
        self.fingerprint = fingerprint
        self.started = started


class _Queue:
    """Idents in the order of their expiry. Times are kept for those of one second together, which costs a record nothing.

    A record that was dropped or stored anew leaves its old place, which goes when its own time comes.
    """

    __slots__ = ("_since", "counts", "dues", "idents")

    def __init__(self) -> None:
        self.idents: deque[bytes] = deque()
        self.dues: deque[float] = deque()  # when the last of the same second expires
        self.counts: deque[int] = deque()  # how many there are of it
        self._since = 0.0

    def append(self, ident: bytes, expires: float) -> None:
        self.idents.append(ident)
        if self.dues and expires < self._since + 1.0:
            self.dues[-1] = expires
            self.counts[-1] += 1
        else:
            self._since = expires
            self.dues.append(expires)
            self.counts.append(1)

    def pop(self) -> bytes:
        """The next one."""
        self.counts[0] -= 1
        if not self.counts[0]:
            self.counts.popleft()
            self.dues.popleft()
        return self.idents.popleft()

    def put_back(self, idents: Iterable[bytes], due: float) -> None:
        """Idents, the next one first, that were taken out and are due by then at the latest."""
        found = list(idents)
        self.idents.extendleft(reversed(found))
        self.dues.appendleft(due)
        self.counts.appendleft(len(found))

    def __copy__(self) -> _Queue:
        copied = _Queue()
        copied.idents, copied.dues, copied.counts = self.idents.copy(), self.dues.copy(), self.counts.copy()
        copied._since = self._since
        return copied


class MemoryStore:
    """Records in this process's memory.

    `max_bytes` bounds what is kept, 64 MiB by default: room for some 35,000 answers of 1 kB and for the generations of
    some 60,000 targets. A full store first drops what has expired, then keyless records; a running claim or an unexpired
    keyed record is never dropped. When that is not enough, a new claim raises StoreError. Generations that find no room
    are forgotten, and the keyless records that need them are not replayed. `clock` gives seconds that never go back.
    """

    shared = False

    def __init__(self, max_bytes: int = 64 << 20, clock: Callable[[], float] = monotonic) -> None:
        self.max_bytes = max_bytes
        self.size = 0  # of the records
        self._room = max_bytes - max_bytes // 4  # for records
        self._clock = clock
        self._lock = Lock()
        self._records: dict[bytes, bytes | _Running] = {}
        self._queues: dict[float, _Queue] = {}  # lifetime -> what lives so long
        self._next_sweep = 0.0
        self._full_until = 0.0
        self._serial = 0
        self._touched: dict[str, int] = {}  # path -> generation of it and of everything below it
        self._swept: dict[str, int] = {}  # path -> generation that everything below it shares
        self._paths = 0  # bytes that generations take
        self._most_paths = self._share = max_bytes // 4  # bytes at which they are forgotten
        self._lingering: deque[tuple[float, Touch]] = deque()  # when to believe that an abandoned run is over
        self._forgotten = 0  # generations up to this one may be gone
        self._horizon = (0.0, 0)  # when the last sweep of generations was, and the serial then
        self._window = 30.0  # the longest that a keyless record was asked to live: generations are of use that long

    # ---- claims

    def claim(self, claim: Claim) -> Outcome:
        """See Store.claim. Raises StoreError when the store is full of what may not be dropped."""
        with self._lock:
            now = self._clock()
            if now >= self._next_sweep:
                self._sweep(now)
            held = self._records.get(claim.ident)
            if held is not None:
                outcome = self._held(claim, held, now)
                if outcome is not None:
                    return outcome
            if self.size >= self._room and not self._make_room(now):
                raise StoreError(f"the memory store is full: its records take {self.size} of {self._room} bytes")
            touch = claim.touch
            claim.ended = False
            started = self._start(touch) if touch is not None else self._serial
            if claim.keyless and claim.keep > self._window:
                self._window = claim.keep
            self._serial = token = self._serial + 1
            running = self._records[claim.ident] = _Running(token, now + claim.lease, claim.fingerprint, started)
            return running

    def _held(self, claim: Claim, held: bytes | _Running, now: float) -> Outcome | None:
        """What an existing entry says to a claim; None when the ident is free again."""
        if type(held) is bytes:
            expires, _, generation, fingerprint = _unpack(held)
            if expires <= now or (claim.keyless and not self._unchanged(claim.touch, generation)):
                self._drop(claim.ident, held)
                return None
            if fingerprint != claim.fingerprint:
                return Clash()
            return Done(Record.unpack(held, _STORED.size))
        assert isinstance(held, _Running)
        if held.expires + claim.keep <= now:
            return None  # nobody remembers an unknown outcome longer than a known one
        if held.fingerprint != claim.fingerprint:
            return Clash()
        if held.expires > now:
            return Busy(held.expires - now)
        return None if claim.rerun else Unknown()

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        """See Store.save. A keyed record that does not fit any more is kept without its content, a keyless one not at all."""
        packed = record.pack()  # before anything changes: what cannot be framed must leave the claim as it was
        with self._lock:
            ident = claim.ident
            held = self._records.get(ident)
            generation = 0
            if type(held) is _Running and held.token == token:
                touch = claim.touch
                if touch is not None:
                    alone = not claim.keyless or self._alone(touch, held.started)
                    claim.ended = True
                    generation = self._end(touch)
                    if not alone:
                        del self._records[ident]
                        return True
            elif type(held) is bytes and _unpack(held)[1] == token:
                generation = _unpack(held)[2]
                self._drop(ident, held)
            else:
                return self._too_late(claim)
            now = self._clock()
            expires = now + claim.keep
            prefix = _STORED.pack(expires, token, generation if claim.keyless else 0, claim.fingerprint)
            stored = prefix + packed
            if self.size + len(stored) > self._room:
                stored = self._fitting(record, prefix, stored, now)
                if claim.keyless and stored[_STORED.size :] != packed:
                    self._records.pop(ident, None)  # nobody asked for a promise: a repetition runs
                    return True
            self._records[ident] = stored
            self.size += len(stored) + _RECORD + len(ident) + _PLACE
            queue = self._queues.get(claim.keep)
            if queue is None:
                queue = self._queues[claim.keep] = _Queue()
            queue.append(ident, expires)
            return True

    def _fitting(self, record: Record, prefix: bytes, stored: bytes, now: float) -> bytes:
        self._make_room(now, needed=len(stored))
        if self.size + len(stored) <= self._room:
            return stored
        location = [pair for pair in record.headers if pair[0] == b"location"]
        return Record(record.status, location, b"", State.TOO_LARGE).pack(prefix)

    def release(self, claim: Claim, token: int) -> bool:
        """See Store.release."""
        with self._lock:
            held = self._records.get(claim.ident)
            if type(held) is _Running and held.token == token:
                del self._records[claim.ident]
                if claim.touch is not None:
                    claim.ended = True
                    self._end(claim.touch)
                return True
            if type(held) is bytes and _unpack(held)[1] == token:
                self._drop(claim.ident, held)
                return True
            return self._too_late(claim)

    def _too_late(self, claim: Claim) -> bool:
        """A run that lost its claim is over all the same; once."""
        if claim.touch is not None and not claim.ended:
            claim.ended = True
            self._end(claim.touch)
        return False

    def renew(self, claim: Claim, token: int) -> bool:
        """See Store.renew."""
        with self._lock:
            held = self._records.get(claim.ident)
            if type(held) is not _Running or held.token != token:
                return False
            held.expires = self._clock() + claim.lease
            return True

    # ---- generations

    def start(self, touch: Touch) -> None:
        """See Store.start."""
        with self._lock:
            now = self._clock()
            if now >= self._next_sweep:
                self._sweep(now)
            self._start(touch)

    def end(self, touch: Touch) -> None:
        """See Store.end."""
        with self._lock:
            self._end(touch)

    def bump(self, touch: Touch) -> None:
        """See Store.bump."""
        with self._lock:
            self._serial = serial = self._serial + 1
            mark = serial << _SHIFT
            self._age(self._touched, touch.marks, mark)
            self._age(self._swept, touch.sweeps, mark)
            self._age_named(touch.named or (), mark)

    def linger(self, touch: Touch) -> None:
        """See Store.linger."""
        with self._lock:
            if len(self._lingering) >= _LINGERING:
                while self._lingering:
                    self._end(self._lingering.popleft()[1])
                touch = whole("")
            self._start(touch)
            self._lingering.append((self._clock() + self._window, touch))

    def epoch(self) -> None:
        """See Store.epoch."""
        with self._lock:
            self._forget(self._serial)
        self.linger(whole(""))

    def health(self) -> float:
        """See Store.health."""
        return 0.0

    def _start(self, touch: Touch) -> int:
        if self._paths > self._most_paths:
            self._forget(self._serial)
        self._serial = serial = self._serial + 1
        mark = (serial << _SHIFT) + 1
        self._age(self._touched, touch.marks, mark)
        if touch.sweeps:
            self._age(self._swept, touch.sweeps, mark)
        return serial

    def _end(self, touch: Touch) -> int:
        self._serial = serial = self._serial + 1
        mark = (serial << _SHIFT) - 1
        touched = self._touched
        for path in touch.marks:
            touched[path] = mark + (touched.get(path, 1) & _RUNNING)
        for path in touch.sweeps:
            self._swept[path] = mark + (self._swept.get(path, 1) & _RUNNING)
        if touch.named is not None:
            self._age_named(touch.named, mark + 1)
        return serial

    def _age(self, generations: dict[str, int], paths: Iterable[str], mark: int) -> None:
        for path in paths:
            before = generations.get(path)
            if before is None:
                before = 0
                self._paths += path.__sizeof__() + _GENERATION
            generations[path] = mark + (before & _RUNNING)

    def _age_named(self, named: Iterable[tuple[str, ...]], mark: int) -> None:
        for chain in named:
            self._age(self._touched, chain, mark)
            self._age(self._swept, chain[-1:], mark)

    def _alone(self, touch: Touch, started: int) -> bool:
        """Whether nothing else ran on the target, or above or below it, since `started`; called before the own end."""
        return started > self._forgotten and self._is_last(touch, (started << _SHIFT) + 1)

    def _unchanged(self, touch: Touch | None, generation: int) -> bool:
        """Whether the target is still as the record of this generation left it."""
        return touch is not None and generation > self._forgotten and self._is_last(touch, generation << _SHIFT)

    def _is_last(self, touch: Touch, mark: int) -> bool:
        if self._touched.get(touch.target, 0) != mark:
            return False
        swept = self._swept
        if swept.keys().isdisjoint(touch.above):
            return True
        for path in touch.above:
            over = swept.get(path)
            if over is not None and (over > mark or over & _RUNNING):
                return False
        return True

    # ---- housekeeping

    def _sweep(self, now: float) -> None:
        """Drop some of what has expired; forget generations that no live record can ask for."""
        self._next_sweep = now + 1.0
        while self._lingering and self._lingering[0][0] <= now:
            self._end(self._lingering.popleft()[1])
        for queue in self._queues.values():
            self._expire(queue, now)
        then, serial = self._horizon
        if now >= then + self._window:
            self._forget(serial)
            self._horizon = (now, self._serial)

    def _expire(self, queue: _Queue, now: float) -> None:
        for _ in range(min(len(queue.idents), _BATCH)):
            if queue.dues[0] > now:
                return
            ident = queue.pop()
            self.size -= len(ident) + _PLACE
            held = self._records.get(ident)
            if type(held) is bytes and _unpack(held)[0] <= now:
                self._drop(ident, held)
        if queue.idents:
            self._next_sweep = now

    def _make_room(self, now: float, *, needed: int = 0) -> bool:
        """Drop what has expired and the oldest keyless records; True when there is room again.

        A store that is full of what must stay is searched once a second, not at every claim.
        """
        if now < self._full_until:
            return False
        for keep in sorted(self._queues):
            queue = self._queues[keep]
            stays: list[bytes] = []
            due = 0.0
            while queue.idents and self.size + needed >= self._room:
                due = queue.dues[0]
                ident = queue.pop()
                held = self._records.get(ident)
                if type(held) is bytes and not _droppable(held, now):
                    stays.append(ident)
                    continue
                self.size -= len(ident) + _PLACE
                if type(held) is bytes:
                    self._drop(ident, held)
            if stays:
                queue.put_back(stays, due)
        if self.size + needed < self._room:
            return True
        self._full_until = now + 1.0
        return False

    def _drop(self, ident: bytes, held: bytes) -> None:
        del self._records[ident]
        self.size -= len(held) + _RECORD

    def _forget(self, serial: int) -> None:
        """Forget generations up to a serial, save where a request runs; what needs them is not replayed."""
        self._touched = _recent(self._touched, serial)
        self._swept = _recent(self._swept, serial)
        self._forgotten = serial
        paths = [
            (path.__sizeof__() + _GENERATION, mark) for table in (self._touched, self._swept) for path, mark in table.items()
        ]
        self._paths = sum([size for size, _ in paths])
        # where so many of them run, do not look again at each start
        self._most_paths = max(self._share, 2 * sum([size for size, mark in paths if mark & _RUNNING]))


def _droppable(held: bytes, now: float) -> bool:
    """Whether a record has expired or has no key."""
    expires, _, generation, _ = _unpack(held)
    return bool(expires <= now or generation)


def _recent(generations: dict[str, int], serial: int) -> dict[str, int]:
    """The generations that are newer than a serial, or running."""
    return {path: mark for path, mark in generations.items() if mark & _RUNNING or mark >> _SHIFT > serial}
