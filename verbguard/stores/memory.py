"""The store of one process: nothing to install, nothing that outlives the process.

A kept answer is one bytes object, so that a hundred thousand of them cost the garbage collector nothing; expiry is a
queue per lifetime, so that a claim costs the same whatever is stored. One lock makes every operation atomic between
threads and event loops; nothing waits inside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from struct import Struct
from threading import Lock
from time import monotonic

from verbguard.errors import StoreError
from verbguard.records import Busy, Claim, Clash, Done, Outcome, Record, State, Touch, Unknown, Won

__all__ = ["MemoryStore"]

_STORED = Struct("<dqq")  # expiry, token, generation; the fingerprint and the record follow
_PRINT = 32
_RECORD = _STORED.size + _PRINT
_OVERHEAD = 120  # bytes that CPython spends on an entry beside its two values: table slot, queue slot, object headers

# A generation is a serial number above the count of requests that are running now.
_SHIFT = 20
_RUNNING = (1 << _SHIFT) - 1

_BATCH = 2_000  # records dropped by one sweep: a claim must not pay for a whole day's expiry


class _Running:
    """A claim that is being run, or that was when its lease ended."""

    __slots__ = ("expires", "fingerprint", "keyless", "started", "token")

    def __init__(self, token: int, expires: float, claim: Claim, started: int) -> None:
        self.token = token
        self.expires = expires
        self.fingerprint = claim.fingerprint
        self.keyless = claim.keyless
        self.started = started


class MemoryStore:
    """Records in this process's memory.

    `max_bytes` bounds what is kept, 64 MiB by default: room for some 50,000 answers of 1 kB. A full store first drops
    expired and keyless records; a running claim or an unexpired keyed record is never dropped. When that is not enough a
    new keyed claim raises StoreError. `clock` gives seconds that never go back.
    """

    shared = False

    def __init__(self, max_bytes: int = 64 << 20, clock: Callable[[], float] = monotonic) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self._clock = clock
        self._lock = Lock()
        self._records: dict[bytes, bytes | _Running] = {}
        self._queues: dict[float, deque[bytes]] = {}  # lifetime -> idents in the order of their expiry
        self._next_sweep = 0.0
        self._serial = 0
        self._touched: dict[str, int] = {}  # path -> generation of it and of everything below it
        self._swept: dict[str, int] = {}  # path -> generation that everything below it shares
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
            if self.size >= self.max_bytes and not self._make_room(now):
                raise StoreError(f"the memory store is full: {self.size} of {self.max_bytes} bytes are in use")
            if claim.keyless and claim.keep > self._window:
                self._window = claim.keep
            started = self._start(claim.touch) if claim.touch is not None else 0
            self._serial = token = self._serial + 1
            self._records[claim.ident] = _Running(token, now + claim.lease, claim, started)
            return Won(token)

    def _held(self, claim: Claim, held: bytes | _Running, now: float) -> Outcome | None:
        """What an existing entry says to a claim; None when the ident is free again."""
        if type(held) is bytes:
            expires, _, generation = _STORED.unpack_from(held)
            if expires <= now or (claim.keyless and not self._unchanged(claim.touch, generation)):
                self._drop(claim.ident, held)
                return None
            if held[_STORED.size : _RECORD] != claim.fingerprint:
                return Clash()
            return Done(Record.unpack(held, _RECORD))
        assert isinstance(held, _Running)
        if held.fingerprint != claim.fingerprint:
            return Clash()
        if held.expires > now:
            return Busy(held.expires - now)
        # Nobody remembers an unknown outcome longer than a known one.
        return None if claim.rerun or held.expires + claim.keep <= now else Unknown()

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        """See Store.save. A record that does not fit any more is kept without its content."""
        with self._lock:
            held = self._records.get(claim.ident)
            generation = 0
            if type(held) is bytes and _STORED.unpack_from(held)[1] == token:
                generation = _STORED.unpack_from(held)[2]
                self._drop(claim.ident, held)
            elif not isinstance(held, _Running) or held.token != token:
                return self._too_late(claim)
            elif claim.keyless and claim.touch is not None:
                alone = self._alone(claim.touch, held.started)
                generation = self._end(claim.touch)
                if not alone:
                    del self._records[claim.ident]
                    return True
            now = self._clock()
            self._records[claim.ident] = stored = self._fitting(claim, token, record, generation, now)
            self.size += len(stored) + len(claim.ident) + _OVERHEAD
            queue = self._queues.get(claim.keep)
            if queue is None:
                queue = self._queues[claim.keep] = deque()
            queue.append(claim.ident)
            return True

    def _fitting(self, claim: Claim, token: int, record: Record, generation: int, now: float) -> bytes:
        head = _STORED.pack(now + claim.keep, token, generation) + claim.fingerprint
        stored = b"".join((head, *record.parts()))
        if self.size + len(stored) > self.max_bytes:
            self._make_room(now, needed=len(stored))
            if self.size + len(stored) > self.max_bytes:
                less = Record(record.status, [pair for pair in record.headers if pair[0] == b"location"], b"", State.TOO_LARGE)
                stored = b"".join((head, *less.parts()))
        return stored

    def release(self, claim: Claim, token: int) -> bool:
        """See Store.release."""
        with self._lock:
            held = self._records.get(claim.ident)
            if type(held) is bytes and _STORED.unpack_from(held)[1] == token:
                self._drop(claim.ident, held)
                return True
            if not isinstance(held, _Running) or held.token != token:
                return self._too_late(claim)
            del self._records[claim.ident]
            if claim.keyless and claim.touch is not None:
                self._end(claim.touch)
            return True

    def _too_late(self, claim: Claim) -> bool:
        """A run that lost its claim is over all the same."""
        if claim.keyless and claim.touch is not None:
            self._end(claim.touch)
        return False

    def renew(self, claim: Claim, token: int) -> bool:
        """See Store.renew."""
        with self._lock:
            held = self._records.get(claim.ident)
            if not isinstance(held, _Running) or held.token != token:
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

    def _start(self, touch: Touch) -> int:
        self._serial = serial = self._serial + 1
        mark = (serial << _SHIFT) + 1
        touched = self._touched
        for chain in touch.chains:
            for path in chain:
                touched[path] = mark + (touched.get(path, 0) & _RUNNING)
            if not touch.spares:
                path = chain[-1]
                self._swept[path] = mark + (self._swept.get(path, 0) & _RUNNING)
        return serial

    def _end(self, touch: Touch) -> int:
        self._serial = serial = self._serial + 1
        mark = (serial << _SHIFT) - 1
        touched = self._touched
        for chain in touch.chains:
            for path in chain:
                touched[path] = mark + (touched.get(path, 1) & _RUNNING)
            if not touch.spares:
                path = chain[-1]
                self._swept[path] = mark + (self._swept.get(path, 1) & _RUNNING)
        for chain in touch.named:
            for path in chain:
                touched[path] = (serial << _SHIFT) + (touched.get(path, 0) & _RUNNING)
            self._swept[path] = (serial << _SHIFT) + (self._swept.get(path, 0) & _RUNNING)
        return serial

    def _alone(self, touch: Touch, started: int) -> bool:
        """Whether nothing else ran on the target, or above or below it, since `started`; called before the own end."""
        return self._last(touch, (started << _SHIFT) + 1) and started > self._forgotten

    def _unchanged(self, touch: Touch | None, generation: int) -> bool:
        """Whether the target is still as the record of this generation left it."""
        if touch is None:
            return False
        return self._last(touch, generation << _SHIFT) and generation > self._forgotten

    def _last(self, touch: Touch, mark: int) -> bool:
        chain = touch.target
        if self._touched.get(chain[-1], 0) != mark:
            return False
        swept = self._swept
        for path in chain[:-1]:
            over = swept.get(path)
            if over is not None and (over > mark or over & _RUNNING):
                return False
        return True

    # ---- housekeeping

    def _sweep(self, now: float) -> None:
        """Drop some of what has expired; forget generations that no live record can ask for."""
        self._next_sweep = now + 1.0
        for queue in self._queues.values():
            self._expire(queue, now)
        then, serial = self._horizon
        if now >= then + self._window:
            self._touched = {path: mark for path, mark in self._touched.items() if mark & _RUNNING or mark >> _SHIFT > serial}
            self._swept = {path: mark for path, mark in self._swept.items() if mark & _RUNNING or mark >> _SHIFT > serial}
            self._forgotten = serial
            self._horizon = (now, self._serial)

    def _expire(self, queue: deque[bytes], now: float) -> None:
        for _ in range(min(len(queue), _BATCH)):
            ident = queue[0]
            held = self._records.get(ident)
            if type(held) is bytes:
                if _STORED.unpack_from(held)[0] > now:
                    return
                self._drop(ident, held)
            queue.popleft()
        if queue:
            self._next_sweep = now

    def _make_room(self, now: float, *, needed: int = 0) -> bool:
        """Drop everything that has expired, then the oldest short-lived records; True when there is room again."""
        for keep in sorted(self._queues):
            queue = self._queues[keep]
            for _ in range(len(queue)):
                if self.size + needed < self.max_bytes:
                    return True
                ident = queue.popleft()
                held = self._records.get(ident)
                if type(held) is bytes:
                    if _STORED.unpack_from(held)[0] <= now or _STORED.unpack_from(held)[2]:
                        self._drop(ident, held)
                    else:
                        queue.append(ident)
        return self.size + needed < self.max_bytes

    def _drop(self, ident: bytes, held: bytes) -> None:
        del self._records[ident]
        self.size -= len(held) + len(ident) + _OVERHEAD
