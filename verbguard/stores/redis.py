"""Records in Redis or Valkey, for many machines: every operation is one script, run by the server at one moment of its clock.

One server, its replicas under a Sentinel, and a cluster are all the same to it: everything under a prefix lies in one slot.
What is written is as durable as the server makes it; where it comes back without what it had confirmed, the first process
that notices begins a new epoch (see redis_scripts). A server that runs full must refuse (`maxmemory-policy noeviction`) and
not throw out: a generation that is gone hides a write.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.retry import Retry

from verbguard.errors import ConfigError, StoreError
from verbguard.records import Claim, Outcome, Record, Touch, Won
from verbguard.stores import hidden
from verbguard.stores.freshness import heard
from verbguard.stores.redis_commands import Call, Commands
from verbguard.stores.redis_line import evalsha, failed
from verbguard.stores.redis_operations import RedisOperations
from verbguard.stores.redis_pipe import Pipe, pipe_over, unheard
from verbguard.stores.threads import Threaded

__all__ = ["AsyncRedisStore", "RedisStore"]

PREFIX = "verbguard"
TIMEOUT = 1.0  # seconds; a request waits for its claim, and a server in the same house answers in a thousandth of that


class RedisStore(RedisOperations):
    """See Store. `client` is of redis-py or valkey-py: of one server, a Sentinel's `master_for`, or of a cluster.

    Its timeouts and its pool are the user's: one without `socket_timeout` lets a hanging server hang the app. `prefix` begins
    every key; who uses the same one shares records. `keys` encrypt the answers (see Sealer). `timeout` bounds what the
    counterpart for asyncio waits for, when the store was made by its URL.
    """

    shared = True

    def __init__(self, client: Any, *, prefix: str = PREFIX, keys: Sequence[str] = (), timeout: float = TIMEOUT) -> None:
        _check(client, asynchronous=False)
        self.client = client
        self._commands = Commands(prefix, keys)
        self._timeout = timeout
        self._aio: AsyncRedisStore | Threaded | None = None

    @classmethod
    def from_url(cls, url: str, *, keys: Sequence[str] = (), create: bool = True) -> RedisStore:
        """The store that `redis://` or `rediss://` names. Ours in its query are `prefix` and `timeout`, the others are
        redis-py's. Redis needs nothing that had to be created."""
        address, prefix, timeout = _settings(url)
        limits: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        try:
            # one that waits for a free connection where all are taken, instead of refusing
            pool = redis.BlockingConnectionPool.from_url(address, **limits, retry=_once(Retry))
            pool.connection_class(**pool.connection_kwargs)  # is not connected yet, and knows every option
        except (ValueError, TypeError) as error:
            raise ConfigError(f"store = {hidden(url)!r}: {error}") from error

        def make() -> Any:
            return redis.asyncio.Redis.from_url(address, **limits, retry=_once(AsyncRetry))

        store = cls(redis.Redis.from_pool(pool), prefix=prefix, keys=keys, timeout=timeout)
        store._aio = AsyncRedisStore._made(make, prefix, keys, timeout, store)
        return store

    @property
    def aio(self) -> AsyncRedisStore | Threaded:
        """The same records for asyncio: over clients of its own, or over threads where the user made this one's."""
        if self._aio is None:
            self._aio = Threaded(self)
        return self._aio

    def claim(self, claim: Claim) -> Outcome:
        """See Store.claim."""
        return self._claimed(claim) or heard(self._claimed(claim))

    def _claimed(self, claim: Claim) -> Outcome | None:
        return self._commands.outcome(claim, self._run(self._commands.claim(claim)))

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        """See Store.save."""
        return self._tell(self._commands.save(claim, token, record)) == 1

    def release(self, claim: Claim, token: int) -> bool:
        """See Store.release."""
        return self._tell(self._commands.release(claim, token)) == 1

    def renew(self, claim: Claim, token: int) -> bool:
        """See Store.renew."""
        return self._tell(self._commands.renew(claim, token)) == 1

    def start(self, touch: Touch) -> None:
        """See Store.start."""
        touch.run = self._tell(self._commands.start(touch))

    def end(self, touch: Touch) -> None:
        """See Store.end."""
        self._tell(self._commands.end(touch))

    def bump(self, touch: Touch) -> None:
        """See Store.bump."""
        self._tell(self._commands.bump(touch))

    def linger(self, touch: Touch) -> None:
        """See Store.linger."""
        self._tell(self._commands.linger(touch))

    def epoch(self) -> None:
        """See Store.epoch."""
        self._tell(self._commands.epoch())

    def close(self) -> None:
        """Close the connections. The client's owner does that for one that was given."""
        self.client.close()

    def _tell(self, call: Call) -> int:
        return self._commands.answer(self._run(call))

    def _run(self, call: Call) -> Any:
        try:
            try:
                return self.client.execute_command(*evalsha(call))
            except Exception as error:
                if not unheard(error):
                    raise
            return self.client.execute_command(*evalsha(call, source=True))
        except Exception as error:
            raise failed(error) from error

    def _scan(self, begins: bytes) -> Iterator[bytes]:
        try:
            yield from self.client.scan_iter(match=begins + b"*", count=1_000)
        except Exception as error:
            raise failed(error) from error

    def _lines(self, key: bytes) -> Sequence[bytes]:
        try:
            found: Sequence[bytes] = self.client.lrange(key, 0, -1)
            return found
        except Exception as error:
            raise failed(error) from error


class AsyncRedisStore:
    """See AsyncStore. `client` is of redis.asyncio, or of valkey.asyncio: of one server, a Sentinel's, or of a cluster.

    What many coroutines ask at once goes over one connection (see Pipe). A client belongs to the event loop that it was first
    used on; a store that was made by its URL has one for each. `sync` is the store for WSGI, where there is one.
    """

    shared = True
    asynchronous: Literal[True] = True

    def __init__(self, client: Any, *, prefix: str = PREFIX, keys: Sequence[str] = (), timeout: float = TIMEOUT) -> None:
        _check(client, asynchronous=True)
        self._prepare(lambda: client, prefix, keys, timeout)
        self._given = True

    @classmethod
    def _made(
        cls, make: Callable[[], Any], prefix: str, keys: Sequence[str], timeout: float, sync: RedisStore
    ) -> AsyncRedisStore:
        store = cls.__new__(cls)
        store._prepare(make, prefix, keys, timeout)
        store.sync = sync
        return store

    def _prepare(self, make: Callable[[], Any], prefix: str, keys: Sequence[str], timeout: float) -> None:
        self.sync: RedisStore | None = None
        self._leaving: set[asyncio.Task[None]] = set()  # claims that nobody waits for any more
        self._given = False
        self._make = make
        self._timeout = timeout
        self.bounded = timeout <= TIMEOUT  # three times that is what a guard waits for others
        self._commands = Commands(prefix, keys)
        self._loop: asyncio.AbstractEventLoop | None = None  # the one that asked last, and what it has
        self._pipe: Pipe | None = None
        self._pipes: WeakKeyDictionary[asyncio.AbstractEventLoop, Pipe] = WeakKeyDictionary()
        self._endings: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = WeakKeyDictionary()

    async def claim(self, claim: Claim) -> Outcome:
        """See Store.claim. When it is cancelled, what it won meanwhile is let go before it ends."""
        call, read = self._commands.claim(claim), partial(self._commands.outcome, claim)
        try:
            outcome: Outcome | None = await self._ask(call, read)
            if outcome is None:
                call = self._commands.claim(claim)
                outcome = await self._ask(call, read)
        except asyncio.CancelledError:
            # a task of its own: a cancel scope cancels each await anew
            leaving = asyncio.get_running_loop().create_task(self._withdraw(claim, call, read))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.shield(leaving)
            raise
        return outcome or heard(None)

    async def _withdraw(self, claim: Claim, call: Call, read: Callable[[Any], Any]) -> None:
        """Ask once more, which tells what the first time gave, and release it."""
        with suppress(StoreError):  # the lease ends by itself
            outcome = await self._ask(call, read)
            if isinstance(outcome, Won):
                await self.release(claim, outcome.token)

    def save(self, claim: Claim, token: int, record: Record) -> Awaitable[bool]:
        """See Store.save."""
        return self._ask(self._commands.save(claim, token, record), self._commands.agrees)

    def release(self, claim: Claim, token: int) -> Awaitable[bool]:
        """See Store.release."""
        return self._ask(self._commands.release(claim, token), self._commands.agrees)

    def renew(self, claim: Claim, token: int) -> Awaitable[bool]:
        """See Store.renew."""
        return self._ask(self._commands.renew(claim, token), self._commands.agrees)

    def start(self, touch: Touch) -> Awaitable[None]:
        """See Store.start."""
        return self._ask(self._commands.start(touch), partial(self._commands.started, touch))

    def end(self, touch: Touch) -> Awaitable[Any]:
        """See Store.end."""
        return self._ask(self._commands.end(touch), self._commands.answer)

    def bump(self, touch: Touch) -> Awaitable[Any]:
        """See Store.bump."""
        return self._ask(self._commands.bump(touch), self._commands.answer)

    def linger(self, touch: Touch) -> Awaitable[Any]:
        """See Store.linger."""
        return self._ask(self._commands.linger(touch), self._commands.answer)

    def epoch(self) -> Awaitable[Any]:
        """See Store.epoch."""
        return self._ask(self._commands.epoch(), self._commands.answer)

    async def health(self) -> float:
        """See Store.health."""
        began = perf_counter()
        await self._ask(self._commands.health(), self._commands.healthy)
        return perf_counter() - began

    async def aclose(self) -> None:
        """Close what this event loop has opened; its end does that too. The owner closes a client that was given."""
        ending = self._endings.pop(asyncio.get_running_loop(), None)
        if ending is not None:
            await ending.aclose()

    def _ask(self, call: Call, read: Callable[[Any], Any]) -> Awaitable[Any]:
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:  # what is returned is run by one later
            here = False
        if here and (pipe := self._pipe) is not None:
            return pipe.ask(call, read)
        return self._ask_here(call, read)

    async def _ask_here(self, call: Call, read: Callable[[Any], Any]) -> Any:
        """Ask on an event loop that has not asked before, or not last."""
        loop = asyncio.get_running_loop()
        pipe = self._pipes.get(loop) or await self._open(loop)
        self._loop, self._pipe = loop, pipe
        return await pipe.ask(call, read)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> Pipe:
        """The pipe of an event loop that has none. Nothing here gives way to another coroutine."""
        if self._given and self._loop is not None:
            raise StoreError("Redis: the client is another event loop's; make one for each, or open the store by its URL")
        pipe = self._pipes[loop] = pipe_over(self._make(), self._timeout)
        if not self._given:
            self._endings[loop] = ending = self._until_the_end(loop, pipe)
            await anext(ending)
        return pipe

    async def _until_the_end(self, loop: asyncio.AbstractEventLoop, pipe: Pipe) -> AsyncGenerator[None, None]:
        """An event loop that ends closes the generators that wait in it, and this one then the client."""
        try:
            yield
        finally:
            self._pipes.pop(loop, None)
            if self._loop is loop:
                self._loop = self._pipe = None
            pipe.close()
            await pipe.client.aclose()


def _check(client: Any, *, asynchronous: bool) -> None:
    """Raises ConfigError for a client that is of the other kind, or that makes texts of answers."""
    if inspect.iscoroutinefunction(getattr(client, "execute_command", None)) is not asynchronous:
        wanted, other = ("redis.asyncio", "RedisStore") if asynchronous else ("redis", "AsyncRedisStore")
        raise ConfigError(f"client = {client!r}: this store takes one of {wanted}; the other kind is {other}'s")
    if client.get_encoder().decode_responses:
        raise ConfigError("decode_responses=True: answers are bytes; give the store a client of its own without it")


def _settings(url: str) -> tuple[str, str, float]:
    """(the URL as redis-py wants it, the prefix, the timeout)."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    own = {name: value for name, value in query if name in ("prefix", "timeout")}
    try:
        timeout = float(own.get("timeout", TIMEOUT))
    except ValueError:
        timeout = 0.0
    if not 0 < timeout < 3_600:
        raise ConfigError(f"store = {hidden(url)!r}: timeout = {own['timeout']!r}: seconds, more than 0")
    rest = urlencode([(name, value) for name, value in query if name not in own])
    return urlunsplit(parts._replace(query=rest)), own.get("prefix", PREFIX), timeout


def _once(kind: Any) -> Any:
    """Where the server has closed a connection, as its restart does, one more try finds out whether it is there again."""
    return kind(NoBackoff(), 1, supported_errors=(Disconnected,))
