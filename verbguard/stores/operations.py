"""What an operator asks of a shared store: which entries it holds, and to end one by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from verbguard.records import Record

__all__ = ["Kept", "Operated", "Audit", "key_digest"]


def key_digest(key: bytes) -> bytes:
    """What a shared store keeps of a client's key, so that it can be found again and not be read."""
    return sha256(b"key " + key).digest()[:16] if key else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One entry of a store. `left` is seconds: of the lease of a running entry, of the life of any other."""

    name: bytes  # what `evict` and `complete` want: the digest of the ident
    state: str  # "running", "unknown" after a lease that ran out, or "done"
    method: str
    path: str
    principal: bytes
    key: bytes  # the digest of the key; empty for a PUT without one
    token: int
    left: float
    status: int = 0  # of the answer
    size: int = 0  # bytes of the kept answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One thing that an operator did: when, in seconds since 1970, who, what, and to which entry.

    What is `evict`, or `complete 201` with the status of the answer.
    """

    when: float
    who: str
    what: str
    name: bytes


class Operated(Protocol):
    """What the shared stores offer to the command line, in their blocking form."""

    def initialise(self) -> None:
        """Create what the store needs at its server or in its file; harmless where it is there already."""

    def health(self) -> float:
        """Seconds that the store takes to answer. Raises StoreError when it does not."""

    def entries(self) -> Iterator[Kept]:
        """Everything that is held, in no order, without the answers themselves."""

    def show(self, name: bytes) -> tuple[Kept, Record | None] | None:
        """One entry, and its answer when there is one."""

    def evict(self, name: bytes, who: str) -> bool:
        """Take an entry out, so that its key is new; leaves an audit line. False when there is none."""

    def complete(self, name: bytes, record: Record, keep: float, who: str) -> bool:
        """Say what the answer of a running or unknown entry is, in place of its run, whose own word then comes too late."""

    def audit(self) -> list[Audit]:
        """The latest things that operators did, the newest first; at least a thousand are kept."""

    def stats(self) -> dict[str, int]:
        """How many entries are running, unknown and done, how many bytes their answers have, how many paths are watched."""

    def vacuum(self) -> int:
        """Delete what has expired; how many rows. Redis and SQLite do that by themselves."""
