"""What the two Redis stores say to the server and how they read it: keys, arguments and answers of each script."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from verbguard.errors import ConfigError
from verbguard.records import Busy, Claim, Clash, Done, Outcome, Record, Touch, Unknown, Won
from verbguard.stores import redis_scripts as scripts
from verbguard.stores.freshness import Freshness
from verbguard.stores.operations import Audit, Kept, key_digest
from verbguard.stores.redis_scripts import Script
from verbguard.stores.sealing import Sealer, digest_of
from verbguard.stores.transitions import below, own

__all__ = ["Call", "Commands"]

Arguments = Sequence[bytes | str | int]
Call = tuple[Script, Arguments]  # a script, and what follows its digest in EVALSHA: how many keys, the keys, the arguments

_PREFIX = re.compile(r"[A-Za-z0-9_.:/-]+")  # no brace, which would end the hash tag; nothing that SCAN takes for a pattern
_NAME = 32  # bytes of a digest
_REMEMBERED = 1_024  # sets of paths whose keys are put together once


class Commands:
    """The scripts' arguments for one prefix. `seen` is the highest serial that the server has told; see redis_scripts."""

    def __init__(self, prefix: str, keys: Sequence[str]) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError(f"prefix = {prefix!r}: letters, digits and _ . : / -")
        tag = b"{%b}:" % prefix.encode()  # one slot of a cluster for all, as a claim decides over records and generations
        self.meta = tag + b"meta"
        self.entries = tag + b"e:"
        self.generations = tag + b"g:"
        self.audits = tag + b"audit"
        self.sealer = Sealer(keys)
        self.fresh = Freshness()
        self.seen = 0
        self._aged: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[bytes, ...]] = {}  # what paths touch, again and again
        self.clock: Callable[[], float] | None = None  # the server's; tests move their own

    def now(self) -> bytes:
        return b"" if self.clock is None else _ms(self.clock())

    # ---- claims

    def claim(self, claim: Claim) -> Call:
        """Ask for a claim. The call may be sent again: the server knows it by its nonce, and gives the same token."""
        touched, seen = self._touched(claim.touch), self._seen(claim)
        arguments = (
            os.urandom(8),
            claim.fingerprint,
            int(claim.keyless),
            int(claim.rerun),
            _life(claim.lease),
            _life(claim.keep),
            len(touched) if claim.touch is not None else -1,
            _about(claim),
            b"" if self.clock is not None or (latest := self.fresh.until()) is None else _ms(latest),
        )
        return self._call(scripts.CLAIM, [self._entry(claim), *touched, *seen], arguments)

    def outcome(self, claim: Claim, reply: Any) -> Outcome | None:
        """What the server says to a claim; None when it came too late to be of use to anybody but us: ask again."""
        code = self._known(reply)
        if code in (scripts.WON, scripts.LATE):
            self.fresh.told(reply[3] / 1000)
            return Won(reply[2]) if code == scripts.WON else None
        if code == scripts.DONE:
            return Done(self.sealer.open(reply[2], digest_of(claim.ident)))
        if code == scripts.BUSY:
            return Busy(reply[2] / 1000)
        return Clash() if code == scripts.CLASH else Unknown()

    def save(self, claim: Claim, token: int, record: Record) -> Call:
        # bound to the digest and not to the ident, which an operator who completes an entry does not know
        data = self.sealer.seal(record, digest_of(claim.ident))
        return self._over(scripts.SAVE, claim, token, _life(claim.keep), int(claim.keyless), data, record.status)

    def release(self, claim: Claim, token: int) -> Call:
        return self._over(scripts.RELEASE, claim, token)

    def renew(self, claim: Claim, token: int) -> Call:
        touched = self._touched(claim.touch)
        arguments = (token, len(touched), _life(claim.lease), _life(claim.keep))
        return self._call(scripts.RENEW, [self._entry(claim), *touched], arguments)

    def _over(self, script: Script, claim: Claim, token: int, *more: bytes | int) -> Call:
        """The end of a claim."""
        touch = claim.touch
        touched = self._touched(touch, named=True)
        count = -1 if touch is None else len(touched)
        return self._call(script, [self._entry(claim), *touched, *self._seen(claim)], (token, count, *more))

    # ---- generations

    def start(self, touch: Touch) -> Call:
        return self._call(scripts.START, self._touched(touch))

    def end(self, touch: Touch) -> Call:
        return self._call(scripts.END, self._touched(touch, named=True), (touch.run,))

    def bump(self, touch: Touch) -> Call:
        return self._call(scripts.BUMP, self._touched(touch, named=True))

    def linger(self, touch: Touch) -> Call:
        return self._call(scripts.LINGER, self._touched(touch))

    def epoch(self) -> Call:
        return self._call(scripts.EPOCH)

    # ---- what operators ask

    def evict(self, name: bytes, who: str) -> Call:
        return self._call(scripts.EVICT, [self.entries + name, self.audits], (_bytes(who), name))

    def complete(self, name: bytes, record: Record, keep: float, who: str) -> Call:
        arguments = (_bytes(who), name, _ms(keep), self.sealer.seal(record, name), record.status)
        return self._call(scripts.COMPLETE, [self.entries + name, self.audits], arguments)

    def read(self, names: Sequence[bytes], *, answers: bool = False) -> Call:
        keys = [self.entries + name for name in names]
        return scripts.LIST, (len(keys), *keys, self.now(), int(answers))

    def health(self) -> Call:
        """A question to the node that holds everything, which changes nothing."""
        return scripts.LIST, (1, self.meta, self.now(), 0)

    def kept(self, name: bytes, row: Sequence[Any], now: int) -> Kept | None:
        """One entry of what `read` is answered; None when it is gone."""
        token, until, keep, about, status, size = row[:6]
        if token is None or int(until) + (0 if status else int(keep)) <= now:
            return None
        running = status is None and int(until) > now
        unknown = status is None and not running
        left = int(until) - now + (int(keep) if unknown else 0)
        return Kept(
            name=name,
            state="running" if running else "unknown" if unknown else "done",
            **_told(about),
            token=int(token),
            left=left / 1000,
            status=int(status or 0),
            size=size,
        )

    def audit(self, line: bytes) -> Audit:
        when, what, rest = line.split(b"\n", 2)
        who = rest[_NAME:].decode("utf-8", "surrogatepass")
        return Audit(when=int(when) / 1000, who=who, what=what.decode(), name=rest[:_NAME])

    # ---- parts

    def answer(self, reply: Any) -> int:
        """The one number that most scripts answer."""
        return self._known(reply)

    def agrees(self, reply: Any) -> bool:
        """The answer of a script that says whether a claim was still held."""
        return self._known(reply) == 1

    def started(self, touch: Touch, reply: Any) -> None:
        """A run without a claim has begun, under the name that the server gave it."""
        touch.run = self._known(reply)

    def healthy(self, reply: Any) -> None:
        """Any answer will do."""

    def _known(self, reply: Any) -> int:
        last: int = reply[0]
        if last > self.seen:
            self.seen = last
        code: int = reply[1]
        return code

    def _call(self, script: Script, keys: Sequence[bytes] = (), arguments: Iterable[bytes | str | int] = ()) -> Call:
        return script, (1 + len(keys), self.meta, *keys, self.now(), self.seen, *arguments)

    def _entry(self, claim: Claim) -> bytes:
        return self.entries + digest_of(claim.ident)

    def _touched(self, touch: Touch | None, named: bool = False) -> Sequence[bytes]:
        """The generations that a touch ages, each once; those that its answer names come last."""
        if touch is None:
            return ()
        found = self._aged.get((touch.marks, touch.sweeps))
        if found is None:
            found = self._keys((*map(own, touch.marks), *map(below, touch.sweeps)))
            if len(self._aged) > _REMEMBERED:
                self._aged.clear()
            self._aged[touch.marks, touch.sweeps] = found
        if not named or touch.named is None:
            return found
        others = [name for chain in touch.named for name in (*map(own, chain), below(chain[-1]))]
        return tuple(dict.fromkeys((*found, *self._keys(others))))

    def _seen(self, claim: Claim) -> Sequence[bytes]:
        """The generations that tell whether the target is as it was, its own before all; nobody asks where there is a key."""
        touch = claim.touch
        return self._keys((own(touch.target), *map(below, touch.above))) if touch is not None and claim.keyless else ()

    def _keys(self, generations: Iterable[str]) -> tuple[bytes, ...]:
        return tuple(dict.fromkeys([self.generations + _bytes(name) for name in generations]))


_PARTS = Struct("<HHH")  # bytes of the method, the principal and the key's digest; they follow, and the path


def _about(claim: Claim) -> bytes:
    method, key = claim.method.encode(), key_digest(claim.key)
    lengths = _PARTS.pack(len(method), len(claim.principal), len(key))
    return b"".join((lengths, method, claim.principal, key, _bytes(claim.path)))


def _told(about: bytes) -> dict[str, Any]:
    start, parts = _PARTS.size, []
    for length in _PARTS.unpack_from(about):
        parts.append(about[start : start + length])
        start += length
    method, principal, key = parts
    path = about[start:].decode("utf-8", "surrogatepass")
    return {"method": method.decode(), "path": path, "principal": principal, "key": key}


def _ms(seconds: float) -> bytes:
    return b"%d" % round(seconds * 1000)


_life = lru_cache(64)(_ms)  # policies have few


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a path may hold what no text does
