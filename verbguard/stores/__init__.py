"""Replay stores: what they promise, and how one is opened by its URL."""

from __future__ import annotations

from typing import Any, Protocol, cast

from verbguard.errors import ConfigError, nearest
from verbguard.records import Claim, Outcome, Record, Touch

__all__ = ["Store", "of", "open"]


class Store(Protocol):
    """Where answers are kept. Every operation is atomic and one round trip; times are the store's own clock."""

    shared: bool
    """Whether all processes that open it see the same records."""

    def claim(self, claim: Claim) -> Outcome:
        """Take the right to run a request, or say who has it.

        - Of many callers at once, exactly one gets Won.
        - Won marks the start of the claim's touch; no other outcome does.
        - The same ident with another fingerprint is a Clash, whatever the state, and changes nothing.
        - A lease that ran out is won again with a larger token if the claim may rerun, and is Unknown otherwise.
        - Done carries the record as it was saved, until its time is over; then the ident is new again.
        - A keyless claim gets Done only while nothing has touched its target since the record's own end, and no claim or
          touch of another request overlapped it.
        """

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        """Keep the answer of a won claim; False, and nothing changes, when the token is no longer the newest.

        - The first save or release of a claim ends its touch, also when it comes too late; after a False nothing more is
          said of that claim.
        - The owner may save again, to say less than before.
        """

    def release(self, claim: Claim, token: int) -> bool:
        """Let go of a won claim, so that the ident is new again; False when the token is no longer the newest.

        - Releasing a record that was saved by the same token removes it.
        """

    def renew(self, claim: Claim, token: int) -> bool:
        """Start the lease anew; False when the claim is lost."""

    def start(self, touch: Touch) -> None:
        """An unsafe request that claims nothing begins."""

    def end(self, touch: Touch) -> None:
        """A request whose touch was started by `start` is over."""

    def bump(self, touch: Touch) -> None:
        """A request has just changed something on what it touches: `start` and `end` at once."""

    def linger(self, touch: Touch) -> None:
        """A run was cut off, and something of it (a thread, say) may still write: for one window nothing keyless is replayed
        on what it touches."""


def of(store: Any) -> Store:
    """The store that an argument means: None is this process's memory, a text is a URL, an object must keep the promises.

    Raises ConfigError for anything else.
    """
    if store is None:
        return open()
    if isinstance(store, str):
        return open(store)
    missing = [name for name in _PROMISES if not hasattr(store, name)]
    if missing:
        raise ConfigError(f"store = {store!r}: a URL such as 'memory://', or a store; it has no {missing[0]}")
    return cast(Store, store)


_PROMISES = ("claim", "save", "release", "renew", "start", "end", "bump", "linger", "shared")


def open(url: str = "memory://") -> Store:
    """The store that a URL names. Raises ConfigError for a URL that no store answers to."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "memory" and not rest:
        from verbguard.stores.memory import MemoryStore

        return MemoryStore()
    if separator and scheme in ("sqlite", "redis", "rediss", "postgresql"):
        raise ConfigError(f"store = {url!r}: this version has only memory://")
    raise ConfigError(f"store = {url!r}: {nearest(scheme + '://', ['memory://'])}")
