"""Replay stores: what they promise, and how one is opened by its URL."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from importlib import import_module
from typing import Any, Literal, Protocol, cast

from verbguard.errors import ConfigError, nearest
from verbguard.records import Claim, Outcome, Record, Touch

__all__ = ["BOUND", "AsyncStore", "Store", "Transactional", "blocking", "for_asyncio", "hidden", "of", "open"]


BOUND = 1.0  # seconds of a timeout that keeps nobody waiting for more than three times as long, whatever happens


class Store(Protocol):
    """Where answers are kept. Every operation is atomic and one round trip; times are the store's own clock.

    A store whose operations wait for a disk or a network has a counterpart for asyncio in `aio`, an `AsyncStore`; without one
    its operations are called on the event loop, so they must not wait. Any operation may raise StoreError.
    """

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
        """Requests have just changed something on what this touches: `start` and `end` at once. The touch of several has no
        target."""

    def linger(self, touch: Touch) -> None:
        """A run was cut off, and something of it (a thread, say) may still write: for one window nothing keyless is replayed
        on what it touches."""

    def epoch(self) -> None:
        """The store may not have heard of some write: what is kept without a key is void, and for one window nothing is kept
        without one."""

    def health(self) -> float:
        """Seconds that the store takes to answer. Raises StoreError when it does not."""


class Transactional(Store, Protocol):
    """A store whose records applications can commit in their own transaction, together with the effect."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Whose transactions."""

    answers: str
    """The table in the application's database, as SQL spells it."""
    sealer: Any

    def clock(self) -> float:
        """The store's time, as far as it is known here."""
        ...

    def settle(self, claim: Claim, token: int) -> bool:
        """A run that recorded its answer in a transaction of the application is over: if that transaction was committed, or
        another run's of the same key, its answer is the result, otherwise the claim is let go. True when it was committed."""


class AsyncStore(Protocol):
    """The promises of `Store`, for asyncio: the same operations, to be awaited.

    A claim that is cancelled leaves nothing behind: what it won meanwhile is let go. A store may have `bounded = True` when
    none of its operations waits longer than a few seconds, whatever the server does; the guard looks at the clock for others.
    """

    shared: bool
    asynchronous: Literal[True]

    async def claim(self, claim: Claim) -> Outcome: ...
    def save(self, claim: Claim, token: int, record: Record) -> Awaitable[bool]: ...
    def release(self, claim: Claim, token: int) -> Awaitable[bool]: ...
    def renew(self, claim: Claim, token: int) -> Awaitable[bool]: ...
    def start(self, touch: Touch) -> Awaitable[Any]: ...
    def end(self, touch: Touch) -> Awaitable[Any]: ...
    def bump(self, touch: Touch) -> Awaitable[Any]: ...
    def linger(self, touch: Touch) -> Awaitable[Any]: ...
    def epoch(self) -> Awaitable[Any]: ...
    async def health(self) -> float: ...


def of(store: Any) -> Store | AsyncStore:
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


def blocking(store: Any) -> Store:
    """The store that a WSGI app can use. Raises ConfigError for one that only asyncio can."""
    found = of(store)
    if getattr(found, "asynchronous", False):
        raise ConfigError(f"store = {found!r}: its operations are coroutines; WSGI needs a blocking store")
    return cast(Store, found)


def for_asyncio(store: Any) -> Store | AsyncStore:
    """The store that an ASGI app can use: its counterpart for asyncio where it has one."""
    found = of(store)
    return cast("Store | AsyncStore", getattr(found, "aio", None) or found)


_PROMISES = ("claim", "save", "release", "renew", "start", "end", "bump", "linger", "shared")

_SCHEMES = {
    "sqlite": ("verbguard.stores.sqlite", "SqliteStore", ""),
    "redis": ("verbguard.stores.redis", "RedisStore", "redis"),
    "rediss": ("verbguard.stores.redis", "RedisStore", "redis"),
    "postgresql": ("verbguard.stores.postgres", "PostgresStore", "postgres"),
}


def open(url: str = "memory://", *, keys: Sequence[str] = (), create: bool = True) -> Store:
    """The store that a URL names.

    - `memory://`: this process's memory.
    - `sqlite:///path` (four slashes for an absolute one): a file, for several processes on one machine.
    - `redis://host:6379/0`, `rediss://`: Redis or Valkey; needs `verbguard[redis]`.
    - `postgresql://user@host/database`: needs `verbguard[postgres]`.

    `keys` encrypt the answers (see `Sealer`). `create`: whether tables that are missing are made at first use; otherwise
    `verbguard store init URL` makes them. Raises ConfigError for a URL that no store answers to, and when an extra is missing.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "memory" and not rest:
        from verbguard.stores.memory import MemoryStore

        if keys:
            raise ConfigError("encryption keys: memory:// keeps nothing at rest; leave them out")
        return MemoryStore()
    if separator and scheme in _SCHEMES:
        module, name, extra = _SCHEMES[scheme]
        try:
            kind = getattr(import_module(module), name)
        except ImportError as error:
            raise ConfigError(f"store = {hidden(url)!r}: {error}; pip install 'verbguard[{extra}]'") from error
        return cast(Store, kind.from_url(url, keys=keys, create=create))
    known = ["memory://", *(f"{each}://" for each in _SCHEMES)]
    raise ConfigError(f"store = {hidden(url)!r}: {nearest(scheme + '://', known)}")


def hidden(url: str) -> str:
    """A URL that can be shown: without its password, also where that is not encoded as it should be, or a parameter."""
    url = re.sub(r"(://[^/@:]*:).*@", r"\1***@", url)
    return re.sub(r"([?&][^=&]*pass[^=&]*=)[^&#]*", r"\1***", url)
