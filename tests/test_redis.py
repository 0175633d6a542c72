"""The Redis store against real servers: round trips, the model, restarts, outages, Sentinel and Cluster, and many at once."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from hypothesis import HealthCheck, given, settings
from shared.driven import Driven, on_the_loop
from shared.model import ModelStore
from shared.redis_server import RedisServer, any_redis, free_port, older_program, redis_server
from shared.redis_stores import driven_redis, moved_redis, prefix
from shared.sequences import SELDOM, SEQUENCES, Clock, Pair

from verbguard import ConfigError
from verbguard.errors import StoreError
from verbguard.records import Busy, Claim, Clash, Done, Outcome, Record, State, Unknown, Won, whole
from verbguard.stores import blocking, for_asyncio
from verbguard.stores import open as open_store
from verbguard.stores.redis import AsyncRedisStore, RedisStore
from verbguard.stores.sealing import digest_of, new_key
from verbguard.stores.threads import Threaded

ANSWER = Record(201, [(b"location", b"/items/1"), (b"link", b"</a>"), (b"link", b"</b>")], bytes(range(256)))


def keyed(name: str = "k", content: bytes = b"f", *, rerun: bool = False, lease: float = 10.0) -> Claim:
    return Claim(
        name.encode(), content, whole("/orders"), False, rerun, lease, 100.0, b"alice", name.encode(), "POST", "/orders"
    )


def put(path: str = "/items/1", content: bytes = b"A") -> Claim:
    return Claim(path.encode() + content, content, whole(path), True, True, 10.0, 30.0)


def told(outcome: Outcome) -> tuple[Any, ...]:
    assert isinstance(outcome, Done), type(outcome)
    return outcome.record.status, outcome.record.headers, outcome.record.body, outcome.record.state


WHOLE = told(Done(ANSWER))


def win(store: Any, claim: Claim) -> int:
    outcome = store.claim(claim)
    assert isinstance(outcome, Won), type(outcome)
    return outcome.token


def run(store: Any, claim: Claim, record: Record = ANSWER) -> None:
    assert store.save(claim, win(store, claim), record)


async def arun(store: Any, claim: Claim, record: Record = ANSWER) -> None:
    outcome = await store.claim(claim)
    assert isinstance(outcome, Won), type(outcome)
    assert await store.save(claim, outcome.token, record)


def own_url(url: str | None = None, **options: object) -> str:
    """The URL of a server, with a prefix that nobody else has."""
    return f"{url or any_redis()}?prefix={prefix()}" + "".join(f"&{name}={value}" for name, value in options.items())


@contextmanager
def opened(url: str, **options: Any) -> Iterator[Any]:
    store = open_store(url, **options)
    try:
        yield store
    finally:
        store.close()  # type: ignore[attr-defined]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own."""
    with redis_server() as found:
        yield found


@pytest.fixture
def store() -> Iterator[RedisStore]:
    """A store of the test's own on the server of all."""
    with opened(own_url()) as found:
        yield found


# ---- the model


@pytest.mark.parametrize("make", [moved_redis, driven_redis])
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(steps=SEQUENCES)
def test_the_server_does_what_the_model_does(make: Callable[[Clock], Any], steps: list[tuple[Any, ...]]) -> None:
    """Whatever is asked in whatever order, and whenever: the same answers, and the same to all later claims."""
    agrees(make, steps)


@pytest.mark.parametrize("make", [moved_redis, driven_redis])
@pytest.mark.parametrize("steps", SELDOM.values(), ids=SELDOM)
def test_the_server_does_what_the_model_seldom_does(make: Callable[[Clock], Any], steps: list[tuple[Any, ...]]) -> None:
    """The rare meetings, one by one."""
    agrees(make, steps)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(steps=SEQUENCES)
def test_the_oldest_server_does_what_the_model_does(oldest: RedisServer, steps: list[tuple[Any, ...]]) -> None:
    """Redis 6.2 speaks the same Lua."""

    def make(clock: Clock) -> RedisStore:
        store = RedisStore(client, prefix=prefix())
        store._commands.clock = clock
        return store

    with redis.Redis.from_url(oldest.url) as client:
        agrees(make, steps)


@pytest.fixture(scope="module")
def oldest() -> Iterator[RedisServer]:
    with redis_server(path=older_program()) as server:
        with redis.Redis.from_url(server.url) as client:
            assert str(client.info()["redis_version"]).startswith("6.2.")
        yield server


def agrees(make: Callable[[Clock], Any], steps: list[tuple[Any, ...]]) -> None:
    clock = Clock()
    pair = Pair(make(clock), ModelStore(clock), clock)
    for step in steps:
        pair.do(*step)
    pair.ask_all()


# ---- the server's own clock


def test_time_is_the_servers(store: RedisStore) -> None:
    """A lease runs out by the server's clock, after which a repetition runs or is told that nobody knows."""
    first = win(store, keyed("a", rerun=True, lease=0.05))
    win(store, keyed("b", lease=0.05))
    deadline = time.monotonic() + 5.0
    while isinstance(outcome := store.claim(keyed("a", rerun=True)), Busy):
        assert outcome.left <= 0.05 and time.monotonic() < deadline
    assert isinstance(outcome, Won) and outcome.token > first
    while isinstance(outcome := store.claim(keyed("b")), Busy):
        assert time.monotonic() < deadline
    assert isinstance(outcome, Unknown)


def test_everything_ends_by_itself(server: RedisServer) -> None:
    """Every key has an end of life, none before what it holds; but for the one that counts, and the audit."""
    with opened(server.url) as store:
        run(store, keyed())
        win(store, keyed("running"))
        run(store, put())
        store.start(whole("/a/b"))
        store.linger(whole("/c"))
        store.bump(whole("/d"))
        with redis.Redis.from_url(server.url) as client:
            lives = {key.removeprefix(b"{verbguard}:"): client.pttl(key) / 1000 for key in client.scan_iter()}
    assert lives.pop(b"meta") < 0
    assert lives.pop(b"e:" + digest_of(b"k")) == pytest.approx(101.0, abs=1.0)
    assert lives.pop(b"e:" + digest_of(b"running")) == pytest.approx(111.0, abs=1.0)
    assert lives.pop(b"e:" + digest_of(b"/items/1A")) == pytest.approx(31.0, abs=1.0)
    assert lives.pop(b"g:b/a/b") == pytest.approx(316.0, abs=1.0)
    assert min(lives.values()) >= 60.0


# ---- round trips


def counted(server: RedisServer, job: Callable[[], object]) -> dict[str, int]:
    """The commands that the server got while a job ran, without those that a script calls."""
    with (
        redis.Redis.from_url(server.url) as client,
        redis.Redis.from_url(server.url) as watching,
        watching.monitor() as monitor,
    ):
        client.echo("the beginning")  # connects it
        while monitor.next_command()["command"] != "ECHO the beginning":
            pass
        job()
        client.echo("the end")
        names: dict[str, int] = {}
        while (line := monitor.next_command())["command"] != "ECHO the end":
            if line["client_type"] != "lua":
                name = line["command"].split()[0].upper()
                names[name] = names.get(name, 0) + 1
        return names


@pytest.mark.parametrize("claim", [keyed, put])
@pytest.mark.parametrize("aio", [False, True], ids=["sync", "asyncio"])
def test_round_trips(server: RedisServer, claim: Callable[[], Claim], aio: bool) -> None:
    """The first run of a request is two commands, a replay is one."""
    with opened(server.url) as opened_store:
        store = Driven(opened_store.aio) if aio else opened_store
        run(store, put("/warm"))  # the server knows the scripts then
        assert counted(server, lambda: run(store, claim())) == {"EVALSHA": 2}
        assert counted(server, lambda: told(store.claim(claim()))) == {"EVALSHA": 1}
        if aio:
            closed(store)


def closed(store: Driven) -> None:
    on_the_loop(store.store.aclose())  # type: ignore[attr-defined]


# ---- restarts and outages


def test_a_restarted_server_learns_the_scripts_again(server: RedisServer) -> None:
    """Its cache is empty: the same call brings the source, whoever asks first, alone or in a batch."""
    with opened(server.url) as store:
        run(store, keyed())
        with redis.Redis.from_url(server.url) as client:
            client.script_flush()
        run(store, keyed("another"))

        async def many() -> None:
            await asyncio.gather(*(arun(store.aio, keyed(f"k{number}")) for number in range(20)))
            with redis.Redis.from_url(server.url) as client:
                client.script_flush()
            await asyncio.gather(*(arun(store.aio, keyed(f"l{number}")) for number in range(20)))
            server.restart()
            await asyncio.gather(*(arun(store.aio, keyed(f"k{number}")) for number in range(20)))

        asyncio.run(many())
        run(store, keyed("after"))


def test_what_is_written_through_survives() -> None:
    """With `appendfsync always` a killed server comes back with every answer, run and generation."""
    with redis_server(durable=True) as server, opened(server.url) as store:
        run(store, keyed("done"))
        run(store, put())
        token = win(store, keyed("running"))
        server.restart()
        assert told(store.claim(keyed("done"))) == WHOLE
        assert told(store.claim(put())) == WHOLE
        assert isinstance(store.claim(keyed("running")), Busy)
        assert store.save(keyed("running"), token, ANSWER)
        store.bump(whole("/items/1"))
        server.restart()
        assert told(store.claim(keyed("running"))) == WHOLE
        assert win(store, put()) > token


def test_a_server_that_forgot_begins_a_new_epoch(server: RedisServer) -> None:
    """It may have lost writes: the first that notices makes sure that for one window nothing keyless is kept."""
    with opened(server.url) as store:
        before = win(store, keyed())
        server.restart()
        assert win(store, keyed()) > before
        run(store, put())
        assert isinstance(store.claim(put()), Won)
    with opened(server.url) as fresh:  # a process that never saw the old one is bound all the same
        run(fresh, put("/items/2"))
        assert isinstance(fresh.claim(put("/items/2")), Won)


def test_a_server_that_lags_behind_begins_a_new_epoch(server: RedisServer) -> None:
    """A replica that took over without the latest writes: serials go on above all that were told, and an epoch begins."""
    with opened(server.url) as store, redis.Redis.from_url(server.url) as client:
        run(store, put())
        then = client.dump("{verbguard}:meta")
        run(store, put("/other"))
        latest = win(store, keyed())
        client.restore("{verbguard}:meta", 0, then, replace=True)
        assert isinstance(store.claim(put()), Won)
        assert win(store, keyed("next")) > latest


def test_a_server_that_is_down(server: RedisServer) -> None:
    """StoreError, with what happened as its cause; when it is back, so is the store."""
    with opened(server.url) as store:
        run(store, keyed())
        server.stop()
        for ask in (
            lambda: store.claim(keyed()),
            lambda: store.start(whole("/a")),
            store.health,
            lambda: list(store.entries()),
        ):
            with pytest.raises(StoreError, match="Redis") as raised:
                ask()
            assert isinstance(raised.value.__cause__, redis.ConnectionError)
        with pytest.raises(StoreError):
            asyncio.run(store.aio.claim(keyed()))
        server.start()
        run(store, keyed())
        asyncio.run(arun(store.aio, keyed("b")))


@contextmanager
def silence() -> Iterator[str]:
    """The URL of what takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as held:

        def accept() -> None:
            while True:
                try:
                    held.enter_context(listening.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_server_that_hangs() -> None:
    """Nobody waits longer than the timeout; who comes while another waits, twice as long at most."""
    with silence() as url, opened(url + "?timeout=0.2") as store:
        began = time.monotonic()
        with pytest.raises(StoreError):
            store.claim(keyed())
        assert time.monotonic() - began < 1.0

        async def many() -> list[Any]:
            calls = [store.aio.claim(keyed(f"k{number}")) for number in range(50)]
            return await asyncio.gather(*calls, return_exceptions=True)

        began = time.monotonic()
        assert {type(each) for each in asyncio.run(many())} == {StoreError}
        assert time.monotonic() - began < 2.0


def test_a_server_that_stalled_claims_nothing_for_who_has_gone(server: RedisServer) -> None:
    """What was sent to it meanwhile it does when it goes on: not the claims, whose callers have given up."""
    with opened(server.url) as store:
        win(store, keyed("before"))

        async def meanwhile() -> list[Any]:
            await store.aio.claim(keyed("before, too"))
            server.pause()
            try:
                calls = [store.aio.claim(keyed("a")), asyncio.to_thread(store.claim, keyed("b"))]
                return await asyncio.gather(*calls, return_exceptions=True)
            finally:
                server.resume()

        assert [type(each) for each in asyncio.run(meanwhile())] == [StoreError, StoreError]
        win(store, keyed("a"))
        win(store, keyed("b"))


def test_a_slow_answer_makes_no_later_claim_fail(store: RedisStore) -> None:
    """What is known of the server's clock may be wrong: who is refused for it knows better, and asks again."""
    win(store, keyed("a"))
    store._commands.fresh.told(store._commands.fresh.until() - 60.0)
    win(store, keyed("b"))
    assert isinstance(store.claim(keyed("a")), Busy)


# ---- many at once


async def test_a_command_that_fails_fails_its_own_caller(server: RedisServer) -> None:
    """The others of its batch get their answers."""
    with redis.Redis.from_url(server.url) as client:
        client.set(b"{verbguard}:e:" + digest_of(b"bad"), "not a hash")
    async with redis.asyncio.Redis.from_url(server.url) as client:
        store = AsyncRedisStore(client)
        names = [f"k{number}" for number in range(10)] + ["bad"] + [f"l{number}" for number in range(10)]
        outcomes = await asyncio.gather(*(store.claim(keyed(name)) for name in names), return_exceptions=True)
        failed = dict(zip(names, outcomes, strict=True)).pop("bad")
        assert isinstance(failed, StoreError) and isinstance(failed.__cause__, redis.ResponseError)
        assert sum(isinstance(each, Won) for each in outcomes) == 20


async def test_many_calls_are_few_round_trips(server: RedisServer) -> None:
    """What is asked while the server works goes together."""
    async with redis.asyncio.Redis.from_url(server.url) as client:
        store = AsyncRedisStore(client)
        await asyncio.gather(*(arun(store, keyed(f"warm {number}")) for number in range(64)))
        before = (await client.info("stats"))["total_reads_processed"]
        await asyncio.gather(*(arun(store, keyed(f"k{number}")) for number in range(64)))
        assert (await client.info("stats"))["total_reads_processed"] - before < 30
        assert len(await client.client_list()) <= 4


async def test_a_cancelled_caller_harms_nobody(server: RedisServer) -> None:
    """Whether it was alone or in a batch: the others are answered, and what it won is let go before it ends."""
    async with redis.asyncio.Redis.from_url(server.url) as client:
        store = AsyncRedisStore(client)
        await arun(store, keyed("warm"))
        for turns in range(12):
            tasks = [asyncio.create_task(store.claim(keyed(f"{turns} {number}"))) for number in range(20)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            for number, outcome in enumerate(outcomes):
                again = await store.claim(keyed(f"{turns} {number}"))
                if isinstance(outcome, asyncio.CancelledError):
                    assert isinstance(again, Won)
                else:
                    assert isinstance(outcome, Won) and isinstance(again, Busy)


async def test_a_cancelled_claim_locks_no_key(store: RedisStore) -> None:
    """However often it is cancelled, and wherever it is: a cancel scope cancels each await anew."""
    await store.aio.health()
    others = asyncio.all_tasks()
    for steps in range(12):
        asked = asyncio.create_task(store.aio.claim(keyed(f"k{steps}")))
        for _ in range(steps):
            await asyncio.sleep(0)
        while not asked.done():
            asked.cancel()
            await asyncio.sleep(0)
        while leaving := asyncio.all_tasks() - others:
            await asyncio.wait(leaving)
        if asked.cancelled():
            assert isinstance(await store.aio.claim(keyed(f"k{steps}")), Won)


async def test_a_claim_that_is_asked_again_is_the_same(store: RedisStore) -> None:
    """A client that lost the answer repeats the command: it gets its token, and no other caller does."""
    call = store._commands.claim(keyed())
    first, second = (store._commands.outcome(keyed(), store._run(call)) for _ in range(2))
    assert isinstance(first, Won) and isinstance(second, Won) and first.token == second.token
    assert isinstance(store.claim(keyed()), Busy)


def test_each_event_loop_has_a_client(store: RedisStore) -> None:
    """A store that was made by its URL works on one loop after the other, and on two at once; their ends close the clients."""
    aio = for_asyncio(store)
    assert isinstance(aio, AsyncRedisStore) and aio.sync is store and aio is store.aio
    for number in range(3):
        asyncio.run(arun(aio, keyed(f"{number}")))
    barrier, failures = threading.Barrier(3), []

    async def job(name: str) -> None:
        for number in range(30):
            barrier.wait(10.0)
            await arun(aio, keyed(f"{name} {number}"))

    def loop(name: str) -> None:
        try:
            asyncio.run(job(name))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=loop, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(aio._pipes) == 0


def test_a_client_that_was_given_belongs_to_its_loop() -> None:
    """On another one the store says so, instead of waiting for an answer that never comes."""

    async def use() -> None:
        await arun(store, keyed())

    async def other() -> None:
        with pytest.raises(StoreError, match="another event loop"):
            await store.claim(keyed())

    async def close() -> None:
        await client.aclose()

    client = redis.asyncio.Redis.from_url(any_redis())
    store = AsyncRedisStore(client, prefix=prefix())
    with asyncio.Runner() as runner:
        runner.run(use())
        thread = threading.Thread(target=lambda: asyncio.run(other()))
        thread.start()
        thread.join()
        runner.run(close())


def test_a_blocking_client_serves_asyncio_in_threads() -> None:
    """Where the user made the client, its counterpart waits in threads; a cancelled claim is let go."""
    with redis.Redis.from_url(any_redis()) as client:
        store = RedisStore(client, prefix=prefix())
        aio = for_asyncio(store)
        assert isinstance(aio, Threaded) and aio.sync is store

        async def use() -> None:
            await asyncio.gather(*(arun(aio, keyed(f"{number}")) for number in range(40)))
            assert await aio.health() > 0
            task = asyncio.create_task(aio.claim(keyed("cancelled")))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            deadline = time.monotonic() + 5.0
            while not isinstance(await aio.claim(keyed("cancelled")), Won):
                assert time.monotonic() < deadline

        asyncio.run(use())
        aio.close()


def test_a_fork_shares_no_connection(store: RedisStore) -> None:
    """Parent and child work at the same time, each on connections of its own, and neither gets the other's answers."""
    run(store, keyed("before"))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        status = b"failed"
        try:
            for number in range(200):
                run(store, keyed(f"child {number}"), Record(200, [], b"%d" % number))
                assert told(store.claim(keyed(f"child {number}")))[2] == b"%d" % number
            asyncio.run(arun(store.aio, keyed("child on a loop")))
            status = b"done"
        finally:
            os.write(writing, status)
            os._exit(0)
    os.close(writing)
    for number in range(200):
        run(store, keyed(f"parent {number}"), Record(200, [], b"-%d" % number))
        assert told(store.claim(keyed(f"parent {number}")))[2] == b"-%d" % number
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"done"
    os.waitpid(child, 0)
    assert told(store.claim(keyed("child 199")))[2] == b"199"


# ---- answers


@pytest.mark.parametrize("keys", [(), (new_key(),)], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    "record",
    [
        ANSWER,
        Record(200, [], bytes(range(256)) * 4_096),
        Record(204, [], b""),
        Record(200, [(b"x", b"")], b"\r\n$-1\r\n:1\r\n", State.TOO_LARGE),
    ],
    ids=["all bytes", "1 MiB", "empty", "looks like the protocol"],
)
def test_answers_come_back_as_they_were(record: Record, keys: tuple[str, ...]) -> None:
    """Byte for byte, repeated fields in their order; sync and asyncio read each other's."""
    with opened(own_url(timeout=20), keys=keys) as store:
        run(store, keyed("sync"), record)
        asyncio.run(arun(store.aio, keyed("asyncio"), record))
        assert told(store.claim(keyed("asyncio"))) == told(Done(record))
        assert told(asyncio.run(store.aio.claim(keyed("sync")))) == told(Done(record))


def test_encrypted_answers_and_keys_cannot_be_read(server: RedisServer) -> None:
    """Neither the client's key nor a word of the answer is in the server's memory; another key opens nothing."""
    one, other = new_key(), new_key()
    with opened(server.url, keys=(one,)) as store:
        run(store, keyed("the client's key"), Record(200, [(b"x", b"a secret field")], b"a secret body"))
        with redis.Redis.from_url(server.url) as client:
            for key in client.scan_iter("*:e:*"):
                held = key + b"".join(client.hgetall(key).values())
                assert b"secret" not in held and b"the client's" not in held
    with opened(server.url, keys=(other,)) as store:
        assert told(store.claim(keyed("the client's key"))) == (200, [], b"", State.SEALED)
    with opened(server.url, keys=(other, one)) as store:
        assert told(store.claim(keyed("the client's key")))[2] == b"a secret body"


# ---- clients and URLs


MISTAKES = [
    ("redis://localhost:port", "store"),
    ("redis://localhost?timeout=soon", "timeout"),
    ("redis://localhost?timeout=-1", "timeout"),
    ("redis://localhost?prefix={a}", "prefix"),
    ("redis://localhost?decode_responses=True", "decode_responses"),
    ("redis://localhost?socket_timeout=soon", "store"),
    ("redis://localhost?no_such_option=1", "store"),
]


@pytest.mark.parametrize(("url", "word"), MISTAKES)
def test_a_url_that_cannot_be_meant(url: str, word: str) -> None:
    """The developer is told at start-up."""
    with pytest.raises(ConfigError, match=word):
        open_store(url)


def test_what_a_url_says() -> None:
    """Ours is taken out, redis-py's is left in; a password is never shown."""
    with opened("redis://u:word@localhost:1/3?prefix=shop&timeout=2.5&client_name=x&socket_connect_timeout=0.5") as store:
        settings = store.client.connection_pool.connection_kwargs
        assert (settings["db"], settings["client_name"], settings["socket_timeout"]) == (3, "x", 2.5)
        assert settings["socket_connect_timeout"] == 0.5
        assert store._commands.meta == b"{shop}:meta"
    with opened("rediss://localhost:1") as store:
        assert store.client.connection_pool.connection_class is redis.SSLConnection
        assert store._commands.meta == b"{verbguard}:meta"


def test_the_wrong_client_is_refused() -> None:
    """One for asyncio, one that blocks, and one that would make texts of answers."""
    with pytest.raises(ConfigError, match="AsyncRedisStore"):
        RedisStore(redis.asyncio.Redis())
    with pytest.raises(ConfigError, match="RedisStore"):
        AsyncRedisStore(redis.Redis())
    with pytest.raises(ConfigError, match="decode_responses"):
        RedisStore(redis.Redis(decode_responses=True))
    with pytest.raises(ConfigError, match="coroutines"):
        blocking(AsyncRedisStore(redis.asyncio.Redis()))


@contextmanager
def under_a_sentinel() -> Iterator[tuple[str, int]]:
    """(address, port) of a Sentinel that watches a server called `main`."""
    with redis_server() as server, ExitStack() as stack:
        sentinel = stack.enter_context(redis_server(sentinel_of=server))
        yield "127.0.0.1", sentinel.port


def test_sentinel() -> None:
    """A client that asks a Sentinel where the server is, sync and asyncio."""
    with under_a_sentinel() as address:
        sentinel = redis.sentinel.Sentinel([address])
        store = RedisStore(sentinel.master_for("main"), prefix=prefix())
        run(store, keyed())
        assert told(store.claim(keyed())) == WHOLE
        assert len(list(store.entries())) == 1

        async def use() -> None:
            asked = redis.asyncio.sentinel.Sentinel([address])
            client = asked.master_for("main")
            aio = AsyncRedisStore(client, prefix=prefix())
            await asyncio.gather(*(arun(aio, keyed(f"{number}")) for number in range(40)))
            await client.aclose()
            for each in asked.sentinels:
                await each.aclose()

        asyncio.run(use())
        store.close()
        for each in sentinel.sentinels:
            each.close()


@contextmanager
def a_cluster() -> Iterator[RedisServer]:
    """One of three nodes."""
    with ExitStack() as stack:
        ports = [free_port() for _ in range(3)]  # on which the nodes talk to each other
        modes = [["--cluster-enabled", "yes", "--cluster-port", str(port)] for port in ports]
        nodes = [stack.enter_context(redis_server(arguments=mode)) for mode in modes]
        clients = [stack.enter_context(redis.Redis(host="127.0.0.1", port=node.port)) for node in nodes]
        for number, client in enumerate(clients):
            first, past = (16_384 * each // 3 for each in (number, number + 1))
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, past - 1)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node, port in zip(nodes, ports, strict=True):
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", node.port, port)
        deadline = time.monotonic() + 30.0
        while not all(_complete(client.execute_command("CLUSTER INFO")) for client in clients):
            assert time.monotonic() < deadline, "the cluster does not come up"
            time.sleep(0.05)
        yield nodes[0]


def _complete(info: dict[str, str]) -> bool:
    return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3"


def test_cluster() -> None:
    """Three real nodes: every prefix has its node, and all operations work wherever it is."""
    with a_cluster() as node:
        client = redis.RedisCluster(host="127.0.0.1", port=node.port)
        for number in range(6):
            store = RedisStore(client, prefix=f"p{number}")
            run(store, keyed())
            run(store, put())
            assert told(store.claim(put())) == WHOLE
            store.bump(whole("/items/1"))
            assert isinstance(store.claim(put()), Won)
            assert {kept.state for kept in store.entries()} == {"done", "running"}
            assert store.evict(digest_of(b"k"), "me") and len(store.audit()) == 1
            assert store.health() > 0

        async def use() -> None:
            async with redis.asyncio.RedisCluster(host="127.0.0.1", port=node.port) as client:
                for number in range(6):
                    aio = AsyncRedisStore(client, prefix=f"q{number}")
                    await asyncio.gather(*(arun(aio, keyed(f"{number}")) for number in range(20)))
                    assert told(await aio.claim(keyed("3"))) == WHOLE

        asyncio.run(use())
        client.close()


# ---- what operators ask


def test_entries(store: RedisStore) -> None:
    """Everything that is held, with whose it is; the client's key is not told."""
    run(store, keyed("done"))
    win(store, keyed("running"))
    win(store, keyed("lost", lease=0.001))
    run(store, put())
    deadline = time.monotonic() + 5.0
    while not isinstance(store.claim(keyed("lost")), Unknown):
        assert time.monotonic() < deadline
    found = {kept.name: kept for kept in store.entries()}
    states = {name: found[digest_of(name)].state for name in (b"done", b"running", b"lost", b"/items/1A")}
    assert states == {b"done": "done", b"running": "running", b"lost": "unknown", b"/items/1A": "done"}
    kept = found[digest_of(b"done")]
    assert (kept.method, kept.path, kept.principal, kept.status) == ("POST", "/orders", b"alice", 201)
    assert kept.size > 256 and b"done" not in kept.key and len(kept.key) == 16 and found[digest_of(b"/items/1A")].key == b""
    assert 99.0 < kept.left <= 100.0 and 9.0 < found[digest_of(b"running")].left <= 10.0
    assert 99.0 < found[digest_of(b"lost")].left <= 100.0
    stats = store.stats()
    assert (stats["running"], stats["unknown"], stats["done"]) == (1, 1, 2)
    assert stats["bytes"] == 2 * kept.size and stats["paths"] == 4
    assert store.vacuum() == 0
    store.initialise()


def test_many_entries(store: RedisStore) -> None:
    """More than a page of them are each told once."""

    async def fill() -> None:
        await asyncio.gather(*(arun(store.aio, keyed(f"{number}")) for number in range(900)))

    asyncio.run(fill())
    names = [kept.name for kept in store.entries()]
    assert len(names) == len(set(names)) == 900


def test_show_evict_complete(store: RedisStore) -> None:
    """An operator reads an answer, makes a key new, or says what became of a run; each leaves a line."""
    run(store, keyed("done"))
    done, running = digest_of(b"done"), digest_of(b"running")
    shown = store.show(done)
    assert shown is not None and shown[1] is not None and told(Done(shown[1])) == WHOLE
    assert not store.complete(done, Record(200, []), 50.0, "ann")
    assert store.evict(done, "ann\nlee")
    assert not store.evict(done, "ann")
    assert store.show(done) is None
    token = win(store, keyed("done"))
    assert token

    token = win(store, keyed("running"))
    shown = store.show(running)
    assert shown is not None and shown[0].state == "running" and shown[1] is None
    assert store.complete(running, Record(202, [(b"x", b"1")], b"by hand"), 50.0, "ben")
    assert told(store.claim(keyed("running"))) == (202, [(b"x", b"1")], b"by hand", State.WHOLE)
    assert not store.save(keyed("running"), token, ANSWER)
    assert not store.renew(keyed("running"), token)
    assert told(store.claim(keyed("running")))[2] == b"by hand"
    assert type(store.claim(keyed("running", b"another"))) is Clash
    assert not store.complete(digest_of(b"none"), ANSWER, 50.0, "ben")

    lines = store.audit()
    assert [(line.what, line.who, line.name) for line in lines] == [
        ("complete 202", "ben", running),
        ("evict", "ann\nlee", done),
    ]
    assert all(abs(line.when - time.time()) < 60.0 for line in lines)


def test_the_audit_is_bounded(store: RedisStore) -> None:
    """At least a thousand lines are kept, and not for ever all."""
    store.client.lpush(store._commands.audits, *[b"1\nevict\n" + bytes(32) + b"who"] * 5_000)
    run(store, keyed())
    assert store.evict(digest_of(b"k"), "ann")
    lines = store.audit()
    assert 1_000 <= len(lines) <= 2_000 and lines[0].who == "ann"
