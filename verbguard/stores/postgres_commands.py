"""What the PostgreSQL store asks: each operation as a statement with its values, and what its answer means."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

import psycopg
from psycopg import errors

from verbguard.errors import StoreError
from verbguard.records import Busy, Claim, Clash, Done, Outcome, Record, Touch, Unknown, Won
from verbguard.stores.freshness import Freshness
from verbguard.stores.operations import key_digest
from verbguard.stores.postgres_groups import Form
from verbguard.stores.postgres_schema import ANSWERS, VERSION, prefix, script
from verbguard.stores.sealing import Sealer, digest_of, status_of
from verbguard.stores.transitions import UNCLAIMED, below, own

__all__ = ["Call", "Commands", "again", "failed", "missing"]

Call = tuple[str, tuple[Any, ...]]

_MISSING = (errors.UndefinedFunction, errors.UndefinedTable, errors.InvalidSchemaName)
_AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)


class Commands:
    """The statements of one schema. `clock` is None, for the server's own time, but in tests."""

    def __init__(self, schema: str | None, keys: Sequence[str]) -> None:
        self.sealer = Sealer(keys)
        self.schema = schema
        self.prefix = prefix(schema)
        self.answers = f"{self.prefix}{ANSWERS}"
        self.script = script(schema)
        self.clock: Callable[[], float] | None = None
        self.fresh = Freshness()
        self._ahead = 0.0  # of this machine's clock is the server's
        functions = f"{self.prefix}verbguard_v{VERSION}_"
        self.now = f"{functions}now(%s)"
        self._claim = _CLAIM.replace("[p]", f"{self.prefix}verbguard_").replace("[v]", functions)
        self._save = (
            f"SELECT {functions}save(%b, %s::bigint, %s, %s::float8, %s::bytea[], %s::bytea[], %b, %s::integer, %s::float8)"
        )
        self.claims = Form(f"SELECT NULL::bytea, told FROM {functions}claims({_CLAIMS}) AS told", _claims)
        self.saves = Form(f"SELECT * FROM {functions}saves({_SAVES})", _saves, size=6)
        self.ends = Form(f"SELECT * FROM {functions}ends(%s::bytea[], %s::bigint[], %s::float8)", _ends)
        self._settle = f"SELECT {functions}settle(%b, %s::bigint, %s, %s::float8, %s::bytea[], %s::bytea[], %s::float8)"
        self._release = f"SELECT {functions}release(%b, %s::bigint, %s::bytea[], %s::float8)"
        self._renew = f"SELECT {functions}renew(%b, %s::bigint, %s::float8, %s::float8, %s::bytea[], %s::float8)"
        self._start = f"SELECT {functions}start(%s::bytea[], %s::float8, %s::float8)"
        self._end = f"SELECT {functions}end(%s::bytea[], %s::bigint, %s::float8)"
        self._epoch = f"SELECT {functions}epoch(%s::float8)"

    def at(self) -> float | None:
        """The moment of an operation: null lets the server say it."""
        return None if self.clock is None else self.clock()

    def wall(self) -> float:
        """The server's time as far as it is known here, for what is written in an application's transaction."""
        return time.time() + self._ahead if self.clock is None else self.clock()

    def claim(self, claim: Claim) -> Call:
        touch = claim.touch
        return self._claim, (
            digest_of(claim.ident),
            claim.fingerprint,
            claim.keyless,
            claim.rerun,
            claim.lease,
            claim.keep,
            claim.principal,
            key_digest(claim.key),
            claim.method.encode("utf-8", "surrogatepass"),
            claim.path.encode("utf-8", "surrogatepass"),
            None if touch is None else _names(touch),
            None if touch is None else _seen(touch),
            self.fresh.until() if self.clock is None else None,
            self.at(),
        )

    def outcome(self, claim: Claim, row: Any) -> Outcome | None:
        """What the row that answers a claim says; None when it came too late to be of use to anybody but us: ask again."""
        answer, told = row
        if answer is not None:
            return Done(self.sealer.open(answer, digest_of(claim.ident)))
        kind, token, left, data, moment = told
        if kind in (1, 6):
            self.fresh.told(moment)
            self._ahead = moment - time.time()
            return Won(token) if kind == 1 else None
        if kind == 2:
            return Done(self.sealer.open(data, digest_of(claim.ident)))
        return Busy(left) if kind == 3 else Clash() if kind == 4 else Unknown()

    def save(self, claim: Claim, token: int, record: Record) -> Call:
        name = digest_of(claim.ident)
        data = self.sealer.seal(record, name)
        return self._save, (name, token, *_about(claim), data, status_of(data), self.at())

    def settle(self, claim: Claim, token: int) -> Call:
        return self._settle, (digest_of(claim.ident), token, *_about(claim), self.at())

    def release(self, claim: Claim, token: int) -> Call:
        touched = None if claim.touch is None else _touched(claim.touch)
        return self._release, (digest_of(claim.ident), token, touched, self.at())

    def renew(self, claim: Claim, token: int) -> Call:
        names = None if claim.touch is None else _names(claim.touch)
        return self._renew, (digest_of(claim.ident), token, claim.lease, claim.keep, names, self.at())

    def start(self, touch: Touch) -> Call:
        return self._start, (_names(touch), UNCLAIMED, self.at())

    def linger(self, touch: Touch) -> Call:
        return self._start, (_names(touch), None, self.at())

    def end(self, touch: Touch) -> Call:
        return self._end, (_touched(touch), touch.run, self.at())

    def bump(self, touch: Touch) -> Call:
        return self._end, (_touched(touch), 0, self.at())

    def epoch(self) -> Call:
        return self._epoch, (self.at(),)

    def health(self) -> Call:
        return f"SELECT serial FROM {self.prefix}verbguard_epoch", ()


# (an answer that is there, what else there is to say): a replay is free of the function.
_CLAIM = """SELECT data, CASE WHEN data IS NULL THEN [v]claim(
    ident, fingerprint, keyless, rerun, lease, keep, principal, key, method, path, names, seen, by, at, new
) END FROM (
    SELECT asked.*, held.ident IS NULL AND told.ident IS NULL AS new, CASE
        WHEN held.fingerprint = asked.fingerprint AND held.until > [v]now(at) AND NOT keyless AND told.ident IS NULL THEN data
    END AS data
    FROM (
        SELECT %b, %b, %s, %s, %s::float8, %s::float8, %b, %b, %b, %b, %s::bytea[], %s::bytea[], %s::float8, %s::float8
    ) AS asked (ident, fingerprint, keyless, rerun, lease, keep, principal, key, method, path, names, seen, by, at)
    LEFT JOIN [p]entries AS held ON held.ident = asked.ident
    LEFT JOIN [p]answers AS told ON told.ident = asked.ident AND NOT keyless
    OFFSET 0
) AS looked"""

_CLAIMS = (
    "%s::bytea[], %s::bytea[], %s::boolean[], %s::float8[], %s::float8[], %s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[],"
    " %s::bytea[], %s::float8[], %s::float8"
)
_SAVES = "%s::bytea[], %s::bigint[], %s::float8[], %s::bytea[], %s::bytea[], %s::integer[], %s::float8"
_NEVER = float("inf")


def _claims(members: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The values of claims with keys that are asked together."""
    columns = [list(column) for column in zip(*members, strict=True)]
    idents, prints, _, reruns, leases, keeps, principals, keys, methods, paths, names, _, bys, moments = columns
    together = [b"".join(each or ()) for each in names]
    untils = [_NEVER if each is None else each for each in bys]
    return idents, prints, reruns, leases, keeps, principals, keys, methods, paths, together, untils, moments[0]


def _saves(members: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The values of answers with keys that are kept together."""
    idents, tokens, _, keeps, names, _, datas, statuses, moments = [list(column) for column in zip(*members, strict=True)]
    return idents, tokens, keeps, [b"".join(each or ()) for each in names], datas, statuses, moments[0]


def _ends(members: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The values of touches that end together."""
    return [b"".join(names) for names, _, _ in members], [run for _, run, _ in members], members[0][2]


def _about(claim: Claim) -> tuple[Any, ...]:
    touch = claim.touch
    return (
        claim.keyless,
        claim.keep,
        None if touch is None else _touched(touch),
        None if touch is None else _seen(touch),
    )


@lru_cache(2_048)
def _name(generation: str) -> bytes:
    return sha256(generation.encode("utf-8", "surrogatepass")).digest()[:16]


def _sorted(names: Iterable[str]) -> list[bytes]:
    """In the one order in which rows are locked."""
    return sorted({_name(name) for name in names})


def _names(touch: Touch) -> list[bytes]:
    return _sorted((*map(own, touch.marks), *map(below, touch.sweeps)))


def _touched(touch: Touch) -> list[bytes]:
    """The names of a touch, and of what the answer names."""
    if touch.named is None:
        return _names(touch)
    others = (name for chain in touch.named for name in (*map(own, chain), below(chain[-1])))
    return _sorted((*map(own, touch.marks), *map(below, touch.sweeps), *others))


def _seen(touch: Touch) -> list[bytes]:
    """The names that tell whether the target is as it was; its own comes first."""
    return [_name(own(touch.target)), *(_name(below(path)) for path in touch.above)]


def missing(error: BaseException) -> bool:
    """Whether the database has no tables or functions of ours."""
    return isinstance(error, _MISSING)


def again(error: BaseException) -> bool:
    """Whether the server asks for another try."""
    return isinstance(error, _AGAIN)


def failed(error: BaseException, shown: str, *, creates: bool) -> StoreError:
    """What is raised to the caller for an error of the driver."""
    if missing(error) and not creates:
        return StoreError(f"{shown}: the database has no tables of verbguard: `verbguard store init URL` makes them")
    said = str(error).strip() or type(error).__name__
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        said = f"{said} ({error.sqlstate})"
    return StoreError(f"{shown}: {said}")
