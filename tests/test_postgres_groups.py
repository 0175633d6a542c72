"""What is asked of PostgreSQL together: each hears what it would hear alone, and nobody waits for another's trouble."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from shared.postgres_server import any_postgres
from shared.postgres_stores import fresh_schema, opened_for_asyncio

from verbguard.errors import StoreError
from verbguard.records import Busy, Claim, Done, Record, Touch, Won, whole
from verbguard.stores.postgres import AsyncPostgresStore, PostgresStore
from verbguard.stores.postgres_groups import PATIENCE, Form, Together
from verbguard.stores.postgres_pipe import Asked, Line
from verbguard.stores.sealing import digest_of

ANSWER = Record(201, [(b"location", b"/items/1")], b"made")


def keyed(key: str = "k", *, path: str = "/items", rerun: bool = False, lease: float = 10.0) -> Claim:
    return Claim(b"alice" + key.encode(), b"print", whole(path), False, rerun, lease, 100.0, b"alice", b"k", "POST", path)


@pytest.fixture
async def store() -> AsyncIterator[AsyncPostgresStore]:
    async with opened_for_asyncio() as opened:
        await opened.health()
        yield opened


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operation of each statement that is sent."""
    found: list[str] = []
    send = Line.send

    def noting(self: Line, asked: Any) -> None:
        found.append(asked.statement.text.decode().partition("_v")[2].partition("(")[0].partition("_")[2])
        send(self, asked)

    monkeypatch.setattr(Line, "send", noting)
    return found


async def test_many_are_few_statements(store: AsyncPostgresStore, sent: list[str]) -> None:
    """Of 64 clients each is told its own answer; one by itself waits for nobody, and asks as before."""
    claims = [keyed(f"{number}") for number in range(64)]
    won = await asyncio.gather(*map(store.claim, claims))
    tokens = [each.token for each in won if isinstance(each, Won)]
    assert len(set(tokens)) == 64
    answers = [Record(200, [], b"%d" % number) for number in range(64)]
    assert all(await asyncio.gather(*map(store.save, claims, tokens, answers)))
    told = await asyncio.gather(*map(store.claim, claims))
    assert [each.record.body for each in told if isinstance(each, Done)] == [answer.body for answer in answers]
    assert len(sent) < 16 and {"claims", "saves"} <= set(sent)
    del sent[:]
    other = await store.claim(keyed("other"))
    assert isinstance(other, Won)
    await store.save(keyed("other"), other.token, ANSWER)
    assert sent == ["claim", "save"]


async def test_touches_start_and_end_together(store: AsyncPostgresStore, sent: list[str]) -> None:
    """A PUT that ran while they did is not kept, and the next one is."""
    touches = [whole("/items/1") for _ in range(30)]
    await asyncio.gather(*map(store.start, touches))
    assert "starts" in sent and len({touch.run for touch in touches}) == 30
    put = Claim(b"put", b"print", whole("/items/1"), True, True, 10.0, 30.0)
    first = await store.claim(put)
    assert isinstance(first, Won)
    del sent[:]
    await asyncio.gather(*map(store.end, touches[:-1]))
    assert "ends" in sent and len(sent) < 10
    await store.save(put, first.token, ANSWER)
    first = await store.claim(put)  # one of them is left, and nothing has happened since
    assert isinstance(first, Won)
    await store.save(put, first.token, ANSWER)
    first = await store.claim(put)
    assert isinstance(first, Won)
    await store.save(put, first.token, ANSWER)
    await store.end(touches[-1])
    second = await store.claim(put)
    assert isinstance(second, Won)
    await store.save(put, second.token, ANSWER)
    assert isinstance(await store.claim(put), Done)
    await asyncio.gather(*(store.bump(whole("/items/1")) for _ in range(30)))
    assert isinstance(await store.claim(put), Won)


async def test_runs_that_began_together_may_write(store: AsyncPostgresStore, sent: list[str]) -> None:
    """Until each has ended, no PUT of the same target is kept; what was kept before is not replayed."""
    put = Claim(b"put", b"print", whole("/items/1"), True, True, 10.0, 30.0)

    async def kept() -> bool:
        won = await store.claim(put)
        assert isinstance(won, Won)
        await store.save(put, won.token, ANSWER)
        told = await store.claim(put)
        if isinstance(told, Won):
            await store.release(put, told.token)
        return isinstance(told, Done)

    assert await kept()
    claims = [keyed(f"{number}", path="/items/1") for number in range(20)]
    tokens = [each.token for each in await asyncio.gather(*map(store.claim, claims)) if isinstance(each, Won)]
    again = await store.claim(put)
    assert isinstance(again, Won)
    await store.release(put, again.token)
    for number in (1, 15):
        assert all([await store.save(*each, ANSWER) for each in zip(claims[:number], tokens[:number], strict=True)])
        assert not await kept()
        await store.bump(whole("/items/1"))
    assert all(await asyncio.gather(*(store.save(*each, ANSWER) for each in zip(claims, tokens, strict=True))))
    assert {"claims", "saves"} <= set(sent)
    assert await kept()


async def test_the_same_key_many_times(store: AsyncPostgresStore) -> None:
    """Of those that come together one wins, and the others hear that it runs."""
    told = await asyncio.gather(*(store.claim(keyed(f"{number % 4}")) for number in range(64)))
    assert sorted(type(each).__name__ for each in told) == ["Busy"] * 60 + ["Won"] * 4


def _held(store: AsyncPostgresStore, what: str, name: bytes) -> psycopg.Connection[Any]:
    """Another's transaction that holds an entry: one that is there, or one that may come to be."""
    connection = psycopg.connect(any_postgres())
    entries = f"{store._commands.prefix}verbguard_entries"
    if what == "there":
        connection.execute(f"SELECT FROM {entries} WHERE ident = %b FOR UPDATE", (name,))
    else:
        connection.execute(f"INSERT INTO {entries} VALUES (%b, 1, '', 0, NULL, 0, 0, '', '', '', '', 0, 0, NULL)", (name,))
    return connection


@pytest.mark.parametrize("what", ["there", "to be"])
async def test_a_row_that_another_holds_stops_nobody_else(store: AsyncPostgresStore, what: str) -> None:
    """Who wants it waits for it alone."""
    claim = keyed("held", rerun=True, lease=0.0)
    if what == "there":
        assert isinstance(await store.claim(claim), Won)
    await asyncio.gather(*(store.claim(keyed(f"warm {number}")) for number in range(8)))
    other = await asyncio.to_thread(_held, store, what, digest_of(claim.ident))
    with other:
        before = time.monotonic()
        others = [asyncio.ensure_future(store.claim(keyed(f"{number}"))) for number in range(20)]
        wants = asyncio.ensure_future(store.claim(claim))
        others += [asyncio.ensure_future(store.claim(keyed(f"more {number}"))) for number in range(20)]
        assert all(isinstance(each, Won) for each in await asyncio.gather(*others))
        assert time.monotonic() - before < 5.0  # the store's own timeout is 20
        for number in range(5):  # and while it waits
            assert isinstance(await store.claim(keyed(f"later {number}")), Won)
        assert not wants.done()
        other.rollback()
    assert isinstance(await wants, Won)


async def stuck(store: Any, number: int) -> None:
    """Until so many connections wait for a row, for longer than anybody is sent behind them."""
    lines = store._pool._loops[asyncio.get_running_loop()].lines
    async with asyncio.timeout(10.0):
        while sum(line.waits(PATIENCE) for line in lines) < number:
            await asyncio.sleep(0.001)


async def test_what_waits_for_a_row_makes_nobody_wait_who_comes_later(store: AsyncPostgresStore) -> None:
    """Not even when as many are on their way as may be."""
    held = [keyed(f"held {number}", rerun=True, lease=0.0) for number in range(4)]
    await asyncio.gather(*map(store.claim, held))
    others = [await asyncio.to_thread(_held, store, "there", digest_of(claim.ident)) for claim in held]
    wants = []
    for claim in held:
        wants.append(asyncio.ensure_future(store.claim(claim)))
        await stuck(store, len(wants))
    before = time.monotonic()
    told = await asyncio.gather(*(store.claim(keyed(f"{number}")) for number in range(20)))
    assert all(isinstance(each, Won) for each in told) and time.monotonic() - before < 3.0
    for other in others:
        other.rollback()
        other.close()
    assert all(isinstance(each, Won) for each in await asyncio.gather(*wants))


async def test_a_statement_that_waits_has_its_connection_to_itself() -> None:
    """Also when no more may be opened: what is asked goes over those that answer."""
    store = PostgresStore.from_url(f"{fresh_schema()}&connections=2")
    aio: Any = store.aio
    claim = keyed("held", rerun=True, lease=0.0)
    await asyncio.gather(aio.claim(claim), *(aio.health() for _ in range(9)))
    await asyncio.gather(*(aio.health() for _ in range(9)))
    with await asyncio.to_thread(_held, aio, "there", digest_of(claim.ident)) as other:
        wants = asyncio.ensure_future(aio.claim(claim))
        await stuck(aio, 1)
        before = time.monotonic()
        for _ in range(5):
            await asyncio.gather(*(aio.health() for _ in range(9)))
        assert time.monotonic() - before < 3.0 and not wants.done()
        other.rollback()
    assert isinstance(await wants, Won)
    await aio.aclose()


async def test_who_has_gone_is_not_asked_for() -> None:
    """A claim that nobody waits for, nor ever will, is not sent with the others."""
    sent: list[Asked] = []
    together = Together(Form("SELECT %s::bigint[]", lambda members: ([each for (each,) in members],)), sent.append)
    loop = asyncio.get_running_loop()
    asked = [Asked("SELECT %s::bigint", (number,), loop) for number in range(6)]
    for each in asked:
        together.ask(each)
    alone = len(sent)
    asked[-1].future.cancel()
    sent[0].tell()
    (group,) = sent[alone:]
    assert group.values == (list(range(alone, 5)),) and asked[-1].over


async def test_nobody_waits_long_to_be_sent() -> None:
    """However many ask a server that says nothing: the time that each is given begins when it is sent."""
    sent: list[Asked] = []
    together = Together(Form("SELECT %s::bigint[]", lambda members: ([each for (each,) in members],)), sent.append)
    loop = asyncio.get_running_loop()
    for number in range(1_000):
        together.ask(Asked("SELECT %s::bigint", (number,), loop))
    assert len(sent) < 10
    async with asyncio.timeout(10.0):
        while sum(len(getattr(each, "members", [each])) for each in sent) < 1_000:
            await asyncio.sleep(0.001)


async def test_who_fails_in_a_group_fails_alone(store: AsyncPostgresStore) -> None:
    """An entry that the server refuses takes nothing from the others."""
    with psycopg.connect(any_postgres(), autocommit=True) as other:
        other.execute(f"ALTER TABLE {store._commands.prefix}verbguard_entries ADD CHECK (path <> '/bad')")
    claims = [keyed(f"{number}", path="/bad" if number % 10 == 7 else "/items") for number in range(40)]
    told = await asyncio.gather(*map(store.claim, claims), return_exceptions=True)
    assert [isinstance(each, StoreError) for each in told] == [claim.path == "/bad" for claim in claims]
    assert sum(isinstance(each, Won) for each in told) == 36


async def test_all_hear_of_a_connection_that_is_lost(store: AsyncPostgresStore) -> None:
    """At once, also those that had not been sent; what comes later is done."""
    with psycopg.connect(any_postgres(), autocommit=True) as other:
        name = f"{store._commands.prefix}verbguard_entries"
        other.execute(f"BEGIN; LOCK TABLE {name}")
        asked = [asyncio.ensure_future(store.claim(keyed(f"{number}"))) for number in range(100)]
        query = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = %s::regclass AND NOT granted"
        async with asyncio.timeout(10.0):
            while not other.execute(query, (name,)).fetchall():
                await asyncio.sleep(0.001)
        other.execute("ROLLBACK")
    told = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10.0)
    assert any(isinstance(each, StoreError) for each in told)
    assert all(isinstance(each, (StoreError, Won)) for each in told)
    assert all(isinstance(each, Won) for each in await asyncio.gather(*(store.claim(keyed(f"n{n}")) for n in range(30))))


async def test_who_is_cancelled_holds_no_key(store: AsyncPostgresStore) -> None:
    """Whether it waits, is on its way with others, or has been told."""
    for turn in range(8):
        claims = [keyed(f"{turn} {number}") for number in range(48)]
        jobs = [asyncio.ensure_future(store.claim(claim)) for claim in claims]
        await asyncio.sleep(turn / 2_000)
        for job in jobs[::2]:
            job.cancel()
        told = await asyncio.gather(*jobs, return_exceptions=True)
        while store._leaving:
            await asyncio.gather(*store._leaving)  # type: ignore[arg-type]
        assert all(isinstance(each, Won) for each in told[1::2])
        for claim, first in zip(claims, told, strict=True):
            assert isinstance(await store.claim(claim), Busy if isinstance(first, Won) else Won)


async def test_groups_of_two_processes_do_not_lock_each_other_out() -> None:
    """They want the same keys and write to the same paths, in whatever order: each key is won once, nobody is turned away."""
    url = fresh_schema()
    stores = [PostgresStore.from_url(url) for _ in range(3)]
    stores[0].initialise()

    async def job(store: PostgresStore, turn: int) -> list[str]:
        aio: Any = store.aio
        keys = range(40) if turn % 2 else reversed(range(40))
        claims = [keyed(f"{number}", path=f"/items/{number % 7}") for number in keys]
        told = await asyncio.gather(*map(aio.claim, claims))
        won = [(claim, each.token) for claim, each in zip(claims, told, strict=True) if isinstance(each, Won)]
        assert all(await asyncio.gather(*(aio.save(claim, token, ANSWER) for claim, token in won)))
        await asyncio.gather(*(aio.bump(claim.touch) for claim in claims))
        await aio.aclose()
        return [claim.ident.decode() for claim, _ in won]

    jobs = (
        asyncio.to_thread(lambda store=store, turn=turn: asyncio.run(job(store, turn))) for turn, store in enumerate(stores)
    )
    won = await asyncio.gather(*jobs)
    assert sorted(name for each in won for name in each) == sorted(f"alice{number}" for number in range(40))
    for store in stores:
        store.close()


async def test_a_database_of_an_older_version() -> None:
    """Its serials go on, a stripe's width apart, and what was made of them before is smaller."""
    url = fresh_schema()
    store = PostgresStore.from_url(url)
    prefix = store._commands.prefix
    with psycopg.connect(any_postgres(), autocommit=True) as other:
        other.execute(f"CREATE SCHEMA {prefix[:-1]}; CREATE SEQUENCE {prefix}verbguard_serial CACHE 1")
        last = 0
        for _ in range(1_003):
            last = other.execute(f"SELECT nextval('{prefix}verbguard_serial')").fetchone()[0]  # type: ignore[index]
    aio: Any = store.aio
    told = await asyncio.gather(*(aio.claim(keyed(f"{number}")) for number in range(40)))
    tokens = [each.token for each in told]
    assert len(set(tokens)) == 40 and min(tokens) > last
    touch = Touch("/items/1", ("", "/items"), ("", "/items", "/items/1"))
    await aio.start(touch)
    assert touch.run > max(tokens)
    assert len({token % 16 for token in tokens}) <= 8  # one for each connection
    await aio.aclose()
    store.close()
