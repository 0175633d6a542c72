"""Many coroutines on few connections of PostgreSQL: each is told its own answer or its own error, and none is forgotten."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import psycopg_pool
import pytest
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from shared.postgres_server import any_postgres, postgres_server
from shared.postgres_stores import fresh_schema, opened_for_asyncio

from verbguard.errors import StoreError
from verbguard.records import Busy, Claim, Done, Record, Won, whole
from verbguard.stores.postgres import AsyncPostgresStore, PostgresStore
from verbguard.stores.postgres_connections import AsyncConnections

ANSWER = Record(201, [(b"location", b"/items/1")], b"made")
HEX = "array_to_string(ARRAY(SELECT encode(item, 'hex') FROM unnest(%s::bytea[]) AS item), ',', 'null')"
ASK = f"SELECT %b, %s::bigint, %s::integer, %s::float8, %s, cardinality(%s::bytea[]), {HEX}::bytea"


def keyed(key: str = "k") -> Claim:
    return Claim(
        b"alice" + key.encode(), b"print", whole("/items"), False, False, 10.0, 100.0, b"alice", b"k", "POST", "/items"
    )


@pytest.fixture
async def store() -> AsyncIterator[AsyncPostgresStore]:
    async with opened_for_asyncio() as opened:
        yield opened


@pytest.fixture
async def connections() -> AsyncIterator[AsyncConnections]:
    made = AsyncConnections(any_postgres(), {"autocommit": True}, most=2, wait=5.0)
    yield made
    await made.aclose()


def lines(connections: AsyncConnections) -> list[Any]:
    return connections._loops[asyncio.get_running_loop()].lines


@pytest.mark.parametrize(
    "values",
    [
        (b"", 0, 0, 0.0, False, []),
        (b"\x00\xff'", -(1 << 63), -(1 << 31), -0.1, True, [b""]),
        (b"%s $1", (1 << 63) - 1, (1 << 31) - 1, 1e300, True, [b"\x00" * 16, b"\\x", b"{}"]),
        (None, None, None, None, None, None),
    ],
    ids=["least", "negative", "most", "nothing"],
)
async def test_values_arrive_as_they_are(connections: AsyncConnections, values: tuple[Any, ...]) -> None:
    """Whatever a statement is given, the server hears what psycopg would have told it."""
    array = values[-1]
    hexadecimal = None if array is None else ",".join(item.hex() for item in array).encode()
    expected = (*values[:-1], None if array is None else len(array), b"" if array is None else hexadecimal)
    assert await connections.ask(ASK, (*values, array)).future == expected


async def test_who_fails_fails_alone(connections: AsyncConnections) -> None:
    """A statement that the server refuses takes nothing from those before and behind it, also where it is unknown to it."""
    divide, wrong = "SELECT 10 / %s::integer", "SELECT nobody(%s::integer)"
    await connections.ask(divide, (5,)).future
    texts = [(divide, 5), (divide, 0), (wrong, 1), (divide, 2), (wrong, 1), (divide, 0), (divide, 1)]
    asked = [connections.ask(text, (number,)) for text, number in texts]
    assert {id(line) for line in lines(connections) if line.flight} and len(lines(connections)) == 1
    found = await asyncio.gather(*(each.future for each in asked), return_exceptions=True)
    told = [each if isinstance(each, tuple) else type(each) for each in found]
    unknown, zero = errors.UndefinedFunction, errors.DivisionByZero
    assert told == [(2,), zero, unknown, (5,), unknown, zero, (10,)]
    assert await connections.ask(divide, (2,)).future == (5,)


async def test_a_statement_that_is_known_later(connections: AsyncConnections) -> None:
    """What could not be prepared is prepared again, when it can be."""
    name = f"later_{os.getpid()}"
    with pytest.raises(errors.UndefinedFunction):
        await connections.ask(f"SELECT {name}(%s::integer)", (1,)).future
    await connections.ask(f"CREATE FUNCTION {name}(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1 + 1'", ()).future
    assert await connections.ask(f"SELECT {name}(%s::integer)", (1,)).future == (2,)
    await connections.ask(f"DROP FUNCTION {name}(integer)", ()).future


async def test_no_more_connections_than_allowed(connections: AsyncConnections) -> None:
    """However many ask, and all of them get their answers."""
    pid = "SELECT pg_backend_pid() + 0 * %s::integer"
    for _ in range(5):
        found = await asyncio.gather(*(connections.ask(pid, (number,)).future for number in range(50)))
        await asyncio.gather(*connections._loops[asyncio.get_running_loop()].opening)
    assert len(set(found)) == 2


async def test_more_than_a_socket_takes(store: AsyncPostgresStore) -> None:
    """Answers of many megabytes on their way at once arrive whole, to the server and from it."""
    claims = [keyed(f"{number}") for number in range(24)]
    won = await asyncio.gather(*(store.claim(claim) for claim in claims))
    answers = [Record(200, [], os.urandom(1 << 20)) for _ in claims]
    saves = zip(claims, won, answers, strict=True)
    assert all(await asyncio.gather(*(store.save(claim, won.token, answer) for claim, won, answer in saves)))  # type: ignore[union-attr]
    told = await asyncio.gather(*(store.claim(claim) for claim in claims))
    assert [each.record.body for each in told] == [answer.body for answer in answers]  # type: ignore[union-attr]


async def test_many_who_find_no_tables() -> None:
    """They are made once, and not by each who misses them while the others wait for a connection."""
    opened = PostgresStore.from_url(fresh_schema())
    aio = opened.aio
    assert isinstance(aio, AsyncPostgresStore)
    make, made = aio._make, []
    aio._make = lambda: (made.append(1), make())[1]  # type: ignore[method-assign]
    won = await asyncio.gather(*(aio.claim(keyed(f"{number}")) for number in range(64)))
    assert [type(each) for each in won] == [Won] * 64
    assert len(made) < 4  # one who hears late that they were missing makes them again, which does nothing
    await aio.aclose()


async def test_a_connection_that_the_server_ends(store: AsyncPostgresStore) -> None:
    """What is on its way fails, what comes later goes over another; one that died while nobody looked is not used."""
    assert isinstance(store._pool, AsyncConnections)
    await store.health()
    for text in ("SELECT pg_terminate_backend(pg_backend_pid())", "SELECT pg_terminate_backend(%s::integer)"):
        (line,) = lines(store._pool)
        backend = line.connection.info.backend_pid
        with psycopg.connect(any_postgres(), autocommit=True) as other:
            if "%s" in text:
                other.execute(text, (backend,))
                while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (backend,)).fetchone():
                    pass  # and nothing is awaited, so that the event loop has not heard of it
            else:
                asked = [store._pool.ask(text, ()), store._pool.ask("SELECT 1", ())]
                found = await asyncio.gather(*(each.future for each in asked), return_exceptions=True)
                assert [isinstance(each, psycopg.OperationalError) for each in found] == [True, True]
        assert await store.health() > 0
        assert [line.connection.info.backend_pid for line in lines(store._pool)] != [backend]


async def test_what_the_server_says_when_it_ends_a_connection_is_enough() -> None:
    """Whoever waits is told at once, also where nobody hears that the socket is closed."""
    url = fresh_schema()
    port = int(conninfo_to_dict(any_postgres())["port"])  # type: ignore[arg-type]

    async def passed(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)

    served: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        source, sink = await asyncio.open_connection("127.0.0.1", port)
        answers = asyncio.ensure_future(passed(source, writer))
        await passed(reader, sink)  # that the server closes its side is not passed on
        sink.close()
        await answers
        writer.close()
        await asyncio.gather(sink.wait_closed(), writer.wait_closed())

    relay = await asyncio.start_server(serve, "127.0.0.1", 0)
    aio: Any = PostgresStore.from_url(url.replace(f":{port}/", f":{relay.sockets[0].getsockname()[1]}/")).aio
    await aio.health()
    async with asyncio.timeout(5.0):  # the store's own timeout is 20
        asked = aio._pool.ask("SELECT pg_terminate_backend(pg_backend_pid())", ())
        with pytest.raises(errors.AdminShutdown):
            await asked.future
        assert await aio.health() > 0
    await aio.aclose()
    relay.close()
    await asyncio.gather(*served)


async def test_a_server_that_hangs_is_given_up(store: AsyncPostgresStore) -> None:
    """In time, with all that was on its way; and when it goes on, so does the store."""
    with postgres_server() as server:
        hung = PostgresStore.from_url(server.url + "?timeout=1")
        aio = hung.aio
        assert isinstance(aio, AsyncPostgresStore)
        won = await aio.claim(keyed("before"))
        assert isinstance(won, Won) and isinstance(aio._pool, AsyncConnections)
        with psycopg.connect(server.url, autocommit=True) as other:
            backends = other.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'").fetchall()
            mine = [pid for (pid,) in backends if pid != other.info.backend_pid]
        for pid in mine:
            os.kill(pid, signal.SIGSTOP)
        found = await asyncio.gather(*(aio.claim(keyed(f"{number}")) for number in range(5)), return_exceptions=True)
        assert any(isinstance(each, StoreError) and "said nothing" in str(each) for each in found)
        for pid in mine:
            os.kill(pid, signal.SIGCONT)
        assert await aio.save(keyed("before"), won.token, ANSWER)
        assert isinstance(await aio.claim(keyed("before")), Done)
        await aio.aclose()


async def test_a_server_that_is_not_there_is_told_to_all(store: AsyncPostgresStore) -> None:
    """Everybody who waits for a connection hears that there will be none."""
    nowhere = PostgresStore.from_url("postgresql://nobody@127.0.0.1:1/none").aio
    found = await asyncio.gather(*(nowhere.claim(keyed(f"{number}")) for number in range(20)), return_exceptions=True)
    assert [type(each) for each in found] == [StoreError] * 20


@pytest.mark.parametrize("pool", ["ours", "the user's"])
@pytest.mark.parametrize("turns", range(6))
async def test_a_claim_that_is_cancelled_at_any_moment(store: AsyncPostgresStore, pool: str, turns: int) -> None:
    """Before it is sent, on its way, or when its answer is there: the key is free, and nobody else's claim is lost."""
    async with psycopg_pool.AsyncConnectionPool(any_postgres(), min_size=1, open=False) as theirs:
        if pool != "ours":
            store = AsyncPostgresStore(theirs, schema=store._commands.schema)
        for warm in (False, True):
            others = [asyncio.create_task(store.claim(keyed(f"{warm} {number}"))) for number in range(8)]
            job = asyncio.create_task(store.claim(keyed()))
            for _ in range(turns):
                await asyncio.sleep(0)
            job.cancel()
            (outcome,) = await asyncio.gather(job, return_exceptions=True)
            while store._leaving:
                await asyncio.gather(*store._leaving)
            if isinstance(outcome, Won):
                await store.release(keyed(), outcome.token)
            assert [type(each) for each in await asyncio.gather(*others)] == [Won] * 8
            mine = await store.claim(keyed())
            assert isinstance(mine, Won)
            assert isinstance(await store.claim(keyed()), Busy)
            await store.release(keyed(), mine.token)


async def test_a_claim_whose_answer_waits_to_be_heard(store: AsyncPostgresStore) -> None:
    """A claim that has been won, and is cancelled before its task can hear of it, is let go."""
    assert isinstance(store._pool, AsyncConnections)
    await store.health()
    job = asyncio.create_task(store.claim(keyed()))
    await asyncio.sleep(0)
    (line,) = lines(store._pool)
    with psycopg.connect(any_postgres(), autocommit=True) as other:
        count = f"SELECT count(*) FROM {store._commands.prefix}verbguard_entries"
        while other.execute(count).fetchone() != (1,):
            pass  # nothing is awaited
    while line.flight:
        line._read()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await asyncio.gather(*store._leaving)
    assert isinstance(await store.claim(keyed()), Won)
