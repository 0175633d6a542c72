"""Records in PostgreSQL, for many machines: every operation is one statement, at one moment of the server's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from verbguard.errors import ConfigError, StoreError
from verbguard.records import Claim, Outcome, Record, Touch, Won
from verbguard.stores import hidden
from verbguard.stores.freshness import heard
from verbguard.stores.postgres_commands import Call, Commands, again, failed, missing
from verbguard.stores.postgres_connections import AsyncConnections, Connections
from verbguard.stores.postgres_groups import Form
from verbguard.stores.postgres_operations import PostgresOperations
from verbguard.stores.postgres_pipe import Asked
from verbguard.stores.threads import Threaded, TransactionalThreaded

__all__ = ["AsyncPostgresStore", "PostgresStore"]

TIMEOUT = 2.0  # seconds; a request waits for its claim, and a statement takes some thousandths of that
PATIENCE = 3.0  # seconds for an answer, and for what must be had before: a connection, or the tables
MOST = 8  # connections of one process, or of one event loop: measured, more make 64 clients slower and not faster
_OWN = ("schema", "timeout", "connections", "synchronous_commit")


class PostgresStore(PostgresOperations):
    """See Store. `pool` is a `psycopg_pool.ConnectionPool`, or whatever gives connections of psycopg 3 by `connection()`.

    Its timeouts are the user's: without a `statement_timeout` a hanging server hangs the app. Nothing stays changed on its
    connections. `schema` is where the tables are, the connections' search path by default; `keys` encrypt the answers (see
    Sealer); `create`: whether what is missing is made at first use.
    """

    shared = True
    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, pool: Any, *, schema: str | None = None, keys: Sequence[str] = (), create: bool = True) -> None:
        self._pool = pool
        self._commands = Commands(schema, keys)
        self._create = create
        self._shown = "PostgreSQL"
        self._aio: AsyncPostgresStore | Threaded | None = None
        self.sealer = self._commands.sealer
        self.answers = self._commands.answers

    @classmethod
    def from_url(cls, url: str, *, keys: Sequence[str] = (), create: bool = True) -> PostgresStore:
        """The store that a `postgresql://` URL names.

        Ours in its query are `schema`, `timeout` (seconds, of each step), `connections` (at most) and `synchronous_commit`
        ("off" answers sooner, and a crash of the server may then lose the last moments); the others are libpq's.
        """
        address, schema, most, timeout, options = _settings(url)
        store = cls(Connections(address, options, most=most, wait=timeout), schema=schema, keys=keys, create=create)
        store._shown = hidden(url)
        aio = AsyncPostgresStore(
            AsyncConnections(address, options, most=most, wait=timeout), schema=schema, keys=keys, create=create
        )
        aio._shown, aio.sync, store._aio = store._shown, store, aio
        return store

    def __repr__(self) -> str:
        return f"PostgresStore({self._shown!r})"

    @property
    def aio(self) -> AsyncPostgresStore | Threaded:
        """The same records for asyncio: over connections of its own, or over threads where the user made this one's."""
        if self._aio is None:
            self._aio = TransactionalThreaded(self)
        return self._aio

    def clock(self) -> float:
        """The server's time, as far as it is known here."""
        return self._commands.wall()

    def claim(self, claim: Claim) -> Outcome:
        """See Store.claim."""
        return self._claimed(claim) or heard(self._claimed(claim))

    def _claimed(self, claim: Claim) -> Outcome | None:
        return self._commands.outcome(claim, self._row(self._commands.claim(claim)))

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        """See Store.save."""
        return bool(self._row(self._commands.save(claim, token, record))[0])

    def release(self, claim: Claim, token: int) -> bool:
        """See Store.release."""
        return bool(self._row(self._commands.release(claim, token))[0])

    def renew(self, claim: Claim, token: int) -> bool:
        """See Store.renew."""
        return bool(self._row(self._commands.renew(claim, token))[0])

    def settle(self, claim: Claim, token: int) -> bool:
        """See Transactional.settle."""
        return bool(self._row(self._commands.settle(claim, token))[0])

    def start(self, touch: Touch) -> None:
        """See Store.start."""
        touch.run = self._row(self._commands.start(touch))[0]

    def end(self, touch: Touch) -> None:
        """See Store.end."""
        self._row(self._commands.end(touch))

    def bump(self, touch: Touch) -> None:
        """See Store.bump."""
        self._row(self._commands.bump(touch))

    def linger(self, touch: Touch) -> None:
        """See Store.linger."""
        self._row(self._commands.linger(touch))

    def epoch(self) -> None:
        """See Store.epoch."""
        self._row(self._commands.epoch())

    def health(self) -> float:
        """See Store.health."""
        before = perf_counter()
        self._row(self._commands.health())
        return perf_counter() - before

    def initialise(self) -> None:
        """See Operated.initialise."""
        self._try(self._initialise)

    def close(self) -> None:
        """Close the connections. A pool's owner does that for one that was given."""
        if isinstance(self._pool, Connections):
            self._pool.close()

    def _initialise(self) -> None:
        with self._pool.connection() as connection, connection.transaction():
            connection.execute("SET LOCAL client_min_messages = warning")  # that something is there already is no news
            connection.execute(self._commands.script)

    def _row(self, call: Call) -> Any:
        return self._rows(call)[0]

    def _rows(self, call: Call) -> list[Any]:
        found: list[Any] = self._try(lambda: self._execute(call))
        return found

    def _try(self, job: Any) -> Any:
        """Do it; once more where that is of use. An operation that was done already does no harm when it is done again."""
        try:
            try:
                return job()
            except Exception as error:
                if self._create and missing(error):
                    self._initialise()
                elif not again(error):
                    raise
            return job()
        except Exception as error:
            raise failed(error, self._shown, creates=self._create) from error

    def _execute(self, call: Call) -> list[Any]:
        with self._pool.connection() as connection:
            before = connection.autocommit
            if not before:
                connection.autocommit = True  # a statement is a transaction; two more round trips would only say so
            try:
                return list(connection.execute(*call, binary=True).fetchall())
            finally:
                if not before and not connection.closed:
                    connection.autocommit = False


class AsyncPostgresStore:
    """See AsyncStore. `pool` is a `psycopg_pool.AsyncConnectionPool`, opened by its owner. `sync` is the store for WSGI."""

    shared = True
    asynchronous: Literal[True] = True
    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, pool: Any, *, schema: str | None = None, keys: Sequence[str] = (), create: bool = True) -> None:
        self.sync: PostgresStore | None = None
        self._leaving: set[asyncio.Future[None] | None] = set()  # claims that nobody waits for any more
        self._pool = pool
        self._making: asyncio.Future[None] | None = None
        self._asks = pool if isinstance(pool, AsyncConnections) else _Pooled(pool)
        self.bounded = isinstance(pool, AsyncConnections) and pool.wait <= TIMEOUT
        self._commands = Commands(schema, keys)
        self._create = create
        self._shown = "PostgreSQL"
        self.sealer = self._commands.sealer
        self.answers = self._commands.answers

    def __repr__(self) -> str:
        return f"AsyncPostgresStore({self._shown!r})"

    def clock(self) -> float:
        """The server's time, as far as it is known here."""
        return self._commands.wall()

    async def claim(self, claim: Claim) -> Outcome:
        """See Store.claim. When it is cancelled, what it wins all the same is let go."""

        def left(asked: Asked) -> None:
            self._leaving.add(asyncio.ensure_future(self._let_go(claim, asked)))

        commands, form = self._commands, None if claim.keyless else self._commands.claims
        outcome = commands.outcome(claim, await self._row(commands.claim(claim), left, form))
        return outcome or heard(commands.outcome(claim, await self._row(commands.claim(claim), left, form)))

    async def _let_go(self, claim: Claim, asked: Asked) -> None:
        try:
            with suppress(StoreError, psycopg.Error):  # then the lease ends by itself
                outcome = self._commands.outcome(claim, await asked.again())
                if isinstance(outcome, Won):
                    await self.release(claim, outcome.token)
        finally:
            self._leaving.discard(asyncio.current_task())

    async def save(self, claim: Claim, token: int, record: Record) -> bool:
        """See Store.save."""
        form = None if claim.keyless else self._commands.saves
        return bool((await self._row(self._commands.save(claim, token, record), form=form))[0])

    async def release(self, claim: Claim, token: int) -> bool:
        """See Store.release."""
        return bool((await self._row(self._commands.release(claim, token)))[0])

    async def renew(self, claim: Claim, token: int) -> bool:
        """See Store.renew."""
        return bool((await self._row(self._commands.renew(claim, token)))[0])

    async def settle(self, claim: Claim, token: int) -> bool:
        """See Transactional.settle."""
        return bool((await self._row(self._commands.settle(claim, token)))[0])

    async def start(self, touch: Touch) -> None:
        """See Store.start."""
        touch.run = (await self._row(self._commands.start(touch), form=self._commands.starts))[0]

    async def end(self, touch: Touch) -> None:
        """See Store.end."""
        await self._row(self._commands.end(touch), form=self._commands.ends)

    async def bump(self, touch: Touch) -> None:
        """See Store.bump."""
        await self._row(self._commands.bump(touch), form=self._commands.ends)

    async def linger(self, touch: Touch) -> None:
        """See Store.linger."""
        await self._row(self._commands.linger(touch))

    async def epoch(self) -> None:
        """See Store.epoch."""
        await self._row(self._commands.epoch())

    async def health(self) -> float:
        """See Store.health."""
        before = perf_counter()
        await self._row(self._commands.health())
        return perf_counter() - before

    async def aclose(self) -> None:
        """Close what this event loop has opened. A pool's owner does that for one that was given."""
        if isinstance(self._pool, AsyncConnections):
            await self._pool.aclose()

    async def _initialise(self) -> None:
        """Make what is missing, once for all who have missed it at the same time."""
        making = self._making
        if making is None or making.done() or making.get_loop() is not asyncio.get_running_loop():
            making = self._making = asyncio.ensure_future(self._make())
            making.add_done_callback(lambda done: done.cancelled() or done.exception())  # those who wait may be gone
        await asyncio.shield(making)

    async def _make(self) -> None:
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute("SET LOCAL client_min_messages = warning")
            await connection.execute(self._commands.script)

    async def _row(self, call: Call, left: Callable[[Asked], None] | None = None, form: Form | None = None) -> Any:
        """The row of an answer. `left` hears of a statement that is on its way when whoever waits for it is cancelled."""
        second = False
        while True:
            asked = self._asks.ask(*call, form)
            try:
                if asked.began and not second:
                    return await _heard(asked, left)
                async with asyncio.timeout(PATIENCE):  # a connection's limit begins when something is sent over it
                    return await _heard(asked, left)
            except Exception as error:
                if second or not await self._mended(error):
                    raise failed(error, self._shown, creates=self._create) from error
            second = True

    async def _mended(self, error: Exception) -> bool:
        """Whether what failed may be asked again."""
        if self._create and missing(error):
            try:
                await self._initialise()
            except Exception as why:
                raise failed(why, self._shown, creates=True) from why
            return True
        return again(error)


async def _heard(asked: Asked, left: Callable[[Asked], None] | None) -> Any:
    try:
        return await asked.future
    except asyncio.CancelledError:
        if left is not None:
            left(asked)
        raise


class _Pooled:
    """Statements over the connections of the user's pool, one at a time on each."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, text: str, values: tuple[Any, ...], form: Form | None = None) -> Asked:
        asked = Asked(text, values, asyncio.get_running_loop())
        task = asyncio.ensure_future(self._run(asked, text))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return asked

    async def _run(self, asked: Asked, text: str) -> None:
        try:
            asked.row = await self._execute(text, asked.values)
        except Exception as error:
            asked.fail(error)
        except asyncio.CancelledError:
            asked.future.cancel()
            raise
        else:
            asked.tell()

    async def _execute(self, text: str, values: tuple[Any, ...]) -> Any:
        async with self._pool.connection() as connection:
            before = connection.autocommit
            if not before:
                await connection.set_autocommit(True)
            try:
                return await (await connection.execute(text, values, binary=True)).fetchone()
            finally:
                if not before and not connection.closed:
                    await connection.set_autocommit(False)


def _settings(url: str) -> tuple[str, str | None, int, float, dict[str, Any]]:
    """(the URL as libpq wants it, the schema, how many connections, the timeout, what a connection is made with)."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    own = {name: value for name, value in query if name in _OWN}
    rest = [(name, value) for name, value in query if name not in _OWN]
    timeout = _number(url, own, "timeout", TIMEOUT)
    most = int(_number(url, own, "connections", MOST))
    address = urlunsplit(parts._replace(query=urlencode(rest)))
    if not parts.netloc:  # the parts of a URL without a host are put together without their slashes
        address = address.replace("postgresql:", "postgresql://", 1) if "://" not in address else address
    try:
        asked = conninfo_to_dict(address)
    except psycopg.Error as error:
        raise ConfigError(f"store = {hidden(url)!r}: {error}") from error
    milliseconds = int(timeout * 1_000)
    settings = f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
    # plans are made once, maybe while a table is empty, and serve when it is full
    settings += " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off"
    if "synchronous_commit" in own:
        if own["synchronous_commit"] not in ("on", "off", "local", "remote_write", "remote_apply"):
            raise ConfigError(f"store = {hidden(url)!r}: synchronous_commit is on, off, local, remote_write or remote_apply")
        settings += f" -c synchronous_commit={own['synchronous_commit']}"
    options: dict[str, Any] = {"autocommit": True, "options": f"{settings} {asked.get('options', '')}".strip()}
    options |= {"connect_timeout": asked.get("connect_timeout") or max(2, round(timeout))}  # libpq's least is 2
    options |= {"tcp_user_timeout": asked.get("tcp_user_timeout") or milliseconds}
    return address, own.get("schema"), most, timeout, options


def _number(url: str, own: dict[str, str], name: str, default: float) -> float:
    try:
        found = float(own.get(name, default))
    except ValueError:
        found = 0.0
    if not 0 < found < 3_600:
        raise ConfigError(f"store = {hidden(url)!r}: {name} = {own[name]!r}: a number above 0")
    return found
