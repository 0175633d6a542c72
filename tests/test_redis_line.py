"""The connection that all coroutines of an event loop share: cut, silent and lying servers between a store and a real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import redis.asyncio
import uvloop
from shared.redis_server import any_redis
from shared.redis_stores import prefix

from verbguard.errors import StoreError
from verbguard.records import Busy, Claim, Done, Record, Won, whole
from verbguard.stores import open as open_store
from verbguard.stores import redis_line
from verbguard.stores.asked import Asked
from verbguard.stores.redis import AsyncRedisStore

ANSWER = Record(201, [(b"location", b"/orders/1")], b"placed")

Handler = Callable[[bytes], "bytes | None"]  # what becomes of a piece of the stream; None closes the connection


def keyed(name: str = "k") -> Claim:
    return Claim(name.encode(), b"f", whole("/orders"), lease=10.0, keep=100.0)


class Relay:
    """Between a client and the server. `to_server` and `to_client` may change what passes, or cut the connection."""

    def __init__(self) -> None:
        self.to_server: Handler = bytes
        self.to_client: Handler = bytes
        self.connections = self.port = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Relay]:
        serving: set[asyncio.Task[None]] = set()

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.add(asyncio.create_task(self._serve(reader, writer)))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        host, port = any_redis().removeprefix("redis://").partition("/")[0].split(":")
        there, answers = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(self._pass(reader, answers, "to_server"), self._pass(there, writer, "to_client"))
        finally:
            writer.close()
            answers.close()

    async def _pass(self, come: asyncio.StreamReader, go: asyncio.StreamWriter, way: str) -> None:
        while piece := await come.read(65_536):
            passed = getattr(self, way)(piece)
            if passed is None:
                break
            go.write(passed)
        go.close()


@asynccontextmanager
async def relayed(timeout: float = 5.0, **options: Any) -> AsyncIterator[tuple[AsyncRedisStore, Relay]]:
    """A store that has a connection already, through a relay."""
    async with Relay().open() as relay, redis.asyncio.Redis(port=relay.port, **options) as client:
        store = AsyncRedisStore(client, prefix=prefix(), timeout=timeout)
        await store.health()
        yield store, relay


def once(handler: Handler) -> Handler:
    """What is done with the first piece; the others pass."""
    left = [handler]
    return lambda piece: left.pop()(piece) if left else piece


def cut(piece: bytes) -> None:
    return None


def cut_scripts(piece: bytes) -> bytes | None:
    """The greetings of a new connection pass."""
    return None if b"EVAL" in piece else piece


async def win(store: AsyncRedisStore, claim: Claim) -> int:
    outcome = await store.claim(claim)
    assert isinstance(outcome, Won)
    return outcome.token


@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_what_was_on_its_way_is_sent_once_more(way: str) -> None:
    """Whether the server has heard it or not: it knows a claim that is asked again, and ends a run once."""
    async with relayed() as (store, relay):
        setattr(relay, way, once(cut))
        claims = [keyed(f"k{number}") for number in range(5)]
        tokens = await asyncio.gather(*(win(store, claim) for claim in claims))
        assert len(set(tokens)) == 5 and relay.connections == 2
        setattr(relay, way, once(cut))
        assert await store.save(claims[0], tokens[0], ANSWER) is True
        assert relay.connections == 3
        found = await store.claim(claims[0])
        assert isinstance(found, Done) and found.record.body == ANSWER.body


async def test_nothing_is_sent_a_third_time() -> None:
    async with relayed() as (store, relay):
        relay.to_server = cut_scripts
        with pytest.raises(StoreError, match="closed"):
            await store.claim(keyed())
        assert relay.connections == 2
        relay.to_server = bytes
        await win(store, keyed())


async def test_who_is_gone_before_it_is_sent_again_leaves_nothing() -> None:
    async with relayed() as (store, relay):
        relay.to_client = once(cut)
        asking = asyncio.create_task(store.claim(keyed()))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await win(store, keyed())


async def test_a_silent_server_is_given_up() -> None:
    """With all that was on its way; who comes later finds another connection."""
    async with relayed(0.2) as (store, relay):
        relay.to_client = lambda piece: b""
        calls = [store.claim(keyed(f"k{number}")) for number in range(3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [str(each) for each in outcomes] == ["Redis: the server has said nothing for 0.2 s"] * 3
        relay.to_client = bytes
        await win(store, keyed("other"))
        assert relay.connections == 2


class Slow(Relay):
    """Its answers take longer than anybody waits for one, and are never long in coming."""

    slow = False

    async def _pass(self, come: asyncio.StreamReader, go: asyncio.StreamWriter, way: str) -> None:
        while piece := await come.read(65_536 if way == "to_server" else 40):
            go.write(piece)
            if way == "to_client" and self.slow:
                await asyncio.sleep(0.05)
        go.close()


async def test_a_server_that_answers_is_not_silent() -> None:
    """However long the queue of those who asked."""
    relay = Slow()
    async with relay.open(), redis.asyncio.Redis(port=relay.port) as client:
        store = AsyncRedisStore(client, prefix=prefix(), timeout=0.2)
        await store.epoch()  # the server knows the script from now on
        relay.slow = True
        words = [store.epoch() for _ in range(60)]
        found = await asyncio.gather(*words, return_exceptions=True)
        # in the end they fail one by one, as nobody waits for ever, and the connection stays
        failed = [str(each) for each in found if isinstance(each, StoreError)]
        assert set(failed) == {"Redis: the server has not come to it for 0.6 s"} and len(failed) < 50
        assert not isinstance(found[5], StoreError) and relay.connections == 1


async def test_a_server_that_was_not_asked_yet_is_not_silent() -> None:
    """What waits for the end of a turn of the loop is not late because something else holds the loop."""

    async def hold() -> None:
        time.sleep(0.3)

    async with redis.asyncio.Redis.from_url(any_redis()) as client:
        store: Any = AsyncRedisStore(client, prefix=prefix(), timeout=0.2)
        await store.health()
        line = store._pipe._line
        holding = asyncio.create_task(hold())  # runs before what is asked now is sent
        await asyncio.gather(store.epoch(), store.epoch(), holding)
        assert store._pipe._line is line


@pytest.mark.parametrize("said", [b"!nonsense\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_what_is_no_answer_is_no_answer(said: bytes) -> None:
    async with relayed() as (store, relay):
        relay.to_client = once(lambda piece: said)
        with pytest.raises(StoreError):
            await store.claim(keyed())
        assert await store.claim(keyed("other"))
        assert relay.connections == 2


async def test_what_nobody_asked_for_ends_the_connection() -> None:
    """Or it would be taken for the answer to the next question."""
    async with relayed() as (store, relay):
        relay.to_client = once(lambda piece: piece + b"*2\r\n:1\r\n:1\r\n")
        claim = keyed()
        token = await win(store, claim)
        assert isinstance(await store.claim(keyed()), Busy)
        assert await store.release(claim, token) is True
        assert relay.connections == 2


async def test_an_answer_may_come_in_pieces() -> None:
    async with relayed() as (store, relay):
        claim = keyed()
        token = await win(store, claim)
        await store.save(claim, token, Record(200, [], b"x" * 300_000))
        found = await store.claim(claim)
        assert isinstance(found, Done) and found.record.body == b"x" * 300_000


async def test_news_of_the_server_is_no_answer() -> None:
    """RESP3 has messages that nobody has asked for."""
    async with relayed(protocol=3) as (store, relay):
        relay.to_client = once(lambda piece: b">2\r\n+invalidate\r\n*1\r\n+name\r\n" + piece)
        await win(store, keyed())
        assert relay.connections == 1


async def test_another_is_the_master_now() -> None:
    """As after a failover: the next connection asks who it is."""
    async with relayed() as (store, relay):
        relay.to_client = once(lambda piece: b"-READONLY You can't write against a read only replica.\r\n")
        await win(store, keyed())
        assert relay.connections == 2


async def test_a_word_is_heard_though_nobody_waits_for_it() -> None:
    """What is noted is done when the answer comes, whoever was cancelled meanwhile."""
    async with relayed() as (store, relay):
        claim = keyed()
        token = await win(store, claim)
        heard: list[tuple[Any, BaseException | None]] = []
        word: Any = store.save(claim, token, ANSWER)
        told = word.noted(lambda value, error: heard.append((value, error)))
        waiting = asyncio.ensure_future(asyncio.wait([told]))
        told.cancel()
        await waiting
        assert isinstance(await store.claim(claim), Done)
        assert heard == [(True, None)]


async def test_a_word_that_fails_is_noted_too() -> None:
    async with relayed() as (store, relay):
        claim = keyed()
        token = await win(store, claim)
        relay.to_server = cut_scripts
        heard: list[Any] = []
        word: Any = store.save(claim, token, ANSWER)
        await word.noted(lambda value, error: heard.append(error))
        assert [type(each) for each in heard] == [StoreError]


async def test_what_cannot_be_sent_is_noted_too() -> None:
    """The connection may break between two turns of the loop, before its user hears of it."""
    async with relayed() as (store, _):
        line: Any = store._pipe._line  # type: ignore[union-attr]
        line.end(None)
        word = line.ask(store._commands.health(), store._commands.healthy)
        heard: list[Any] = []
        await word.noted(lambda value, error: heard.append(error))
        assert [str(each) for each in heard] == ["Redis: the server closed the connection"]
        with pytest.raises(StoreError, match="closed"):
            await line.ask(store._commands.health(), store._commands.healthy)


@pytest.mark.parametrize("options", [{"health_check_interval": 0.05}, {"socket_timeout": 0.1}], ids=["checks", "times out"])
async def test_what_the_users_client_says_of_its_connections_counts(options: dict[str, float]) -> None:
    """A connection that a firewall has forgotten takes what is sent to it, and never answers."""
    async with relayed(30.0, retry=None, **options) as (store, relay):
        relay.to_server = lambda piece: b""
        if "socket_timeout" in options:
            with pytest.raises(StoreError, match="said nothing for 0.1 s"):
                await store.claim(keyed())
        else:
            while not store._pipe._line.stale():  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
        relay.to_server = bytes
        await win(store, keyed("other"))
        assert relay.connections == 2


async def test_what_is_noted_runs_where_it_was_noted() -> None:
    """And not in the context of whoever opened the connection: an observer may look there whose request it is."""
    whose: ContextVar[str] = ContextVar("whose", default="nobody's")
    async with relayed() as (store, _):

        async def ask(name: str) -> str:
            whose.set(name)
            word: Any = store.epoch()
            return str(await word.noted(lambda value, error: whose.get()))

        assert await asyncio.gather(*(asyncio.create_task(ask(name)) for name in ("a", "b"))) == ["a", "b"]


async def test_a_note_that_fails_when_nobody_waits_is_told_to_the_loop() -> None:
    """A fault of ours must not vanish because the client has."""
    loop = asyncio.get_running_loop()
    word = Asked(None, int, loop)
    told: list[Any] = []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    word.noted(lambda value, error: {}[value]).cancel()
    word.tell("7")
    assert [type(each) for each in told] == [KeyError]


async def test_a_store_that_is_closed_fails_what_is_on_its_way() -> None:
    async with Relay().open() as relay:
        store: Any = open_store(f"redis://127.0.0.1:{relay.port}/0?prefix={prefix()}").aio  # type: ignore[attr-defined]
        await store.health()
        relay.to_client = lambda piece: b""
        asking = asyncio.ensure_future(store.epoch())
        await asyncio.sleep(0)
        await store.aclose()
        with pytest.raises(StoreError, match="the store was closed"):
            await asking
        assert relay.connections == 1


async def test_stores_of_one_client_share_the_connection() -> None:
    async with relayed() as (store, relay):
        others = [AsyncRedisStore(store._pipe.client, prefix=prefix(), timeout=5.0) for _ in range(5)]  # type: ignore[union-attr]
        await asyncio.gather(*(win(each, keyed()) for each in others))
        assert relay.connections == 1


async def test_a_client_without_its_parser_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """hiredis comes with the extra; who installed redis-py alone has none."""
    monkeypatch.setattr(redis_line, "parser", None)
    async with relayed(max_connections=3) as (store, _):
        await asyncio.gather(*(win(store, keyed(f"many {number}")) for number in range(50)))
        claim = keyed()
        assert await store.save(claim, await win(store, claim), ANSWER) is True
        assert isinstance(await store.claim(claim), Done)


def test_uvloop() -> None:
    async def conversation() -> None:
        async with relayed() as (store, relay):
            relay.to_client = once(cut)
            claim = keyed()
            assert await store.save(claim, await win(store, claim), ANSWER) is True
            assert relay.connections == 2

    uvloop.run(conversation())
