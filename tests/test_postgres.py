"""What the PostgreSQL store promises beside the contract of tests/test_stores.py, against real servers."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import psycopg
import psycopg_pool
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared.model import ModelStore
from shared.postgres_server import PostgresServer, any_postgres, postgres_server
from shared.postgres_stores import fresh_schema, moved_postgres

from verbguard import ConfigError
from verbguard.errors import StoreError
from verbguard.records import Busy, Claim, Done, Outcome, Record, State, Unknown, Won, whole
from verbguard.stores import open as open_store
from verbguard.stores.postgres import AsyncPostgresStore, PostgresStore
from verbguard.stores.postgres_commands import Call
from verbguard.stores.postgres_groups import Form
from verbguard.stores.sealing import digest_of, new_key

ITEM = "/items/1"
ANSWER = Record(201, [(b"location", b"/items/1")], b"made")


def keyed(key: str = "k", *, path: str = ITEM, content: str = "", rerun: bool = False, lease: float = 10.0) -> Claim:
    print_ = sha256(content.encode()).digest()
    return Claim(b"alice" + key.encode(), print_, whole(path), False, rerun, lease, 100.0, b"alice", b"k", "POST", path)


def put(content: str = "A", path: str = ITEM) -> Claim:
    name = sha256(f"{path} {content}".encode()).digest()
    return Claim(name, name, whole(path), True, True, 10.0, 30.0, b"alice", b"", "PUT", path)


def win(store: Any, claim: Claim) -> int:
    outcome = store.claim(claim)
    assert isinstance(outcome, Won), type(outcome)
    return outcome.token


def opened(url: str | None = None, **options: Any) -> PostgresStore:
    return PostgresStore.from_url(url or fresh_schema(), **options)


@pytest.fixture
def store() -> Iterator[PostgresStore]:
    """A new store, its tables made, with time that passes."""
    found = opened()
    found.initialise()
    yield found
    found.close()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that a test may end."""
    with postgres_server() as found:
        yield found


# ---- statements


def counted(store: PostgresStore) -> list[str]:
    """The statements that it executes from now on."""
    asked: list[str] = []
    execute = store._execute
    store._execute = lambda call: (asked.append(call[0]), execute(call))[1]  # type: ignore[method-assign]
    return asked


def test_a_first_request_is_two_statements_and_a_replay_is_one(store: PostgresStore) -> None:
    """Also where the tables have just been made."""
    asked = counted(store)
    store.save(keyed(), win(store, keyed()), ANSWER)
    assert len(asked) == 2
    assert type(store.claim(keyed())) is Done
    assert len(asked) == 3


CLAIMED = {"done": keyed("done"), "busy": keyed("busy"), "clash": keyed("done", content="x"), "unknown": keyed("unknown")}


@pytest.mark.parametrize("told", [*CLAIMED, "put"])
def test_what_does_not_win_writes_nothing(store: PostgresStore, told: str) -> None:
    """A replay, and whatever else a claim is told, has no transaction id: the server has nothing to write for it."""
    store.save(keyed("done"), win(store, keyed("done")), ANSWER)
    win(store, keyed("busy"))
    win(store, keyed("unknown", lease=0.0))
    store.save(put(path="/x"), win(store, put(path="/x")), ANSWER)
    call = store._commands.claim(CLAIMED.get(told) or put(path="/x"))
    with psycopg.connect(any_postgres()) as connection:
        row = connection.execute(*call, binary=True).fetchone()
        kind = {"put": "done"}.get(told, told).capitalize()
        assert type(store._commands.outcome(keyed("done"), row)).__name__ == kind
        assert connection.execute("SELECT pg_current_xact_id_if_assigned()").fetchone() == (None,)
        connection.execute(*store._commands.claim(keyed("new")))
        assert connection.execute("SELECT pg_current_xact_id_if_assigned()").fetchone() != (None,)
        connection.rollback()


def test_no_table_is_read_from_its_begin_to_its_end() -> None:
    """Not by plans either that were made while it was empty, and known to be: they serve when it is full."""
    store = opened()
    store.initialise()
    prefix = store._commands.prefix
    with psycopg.connect(any_postgres(), autocommit=True) as other:
        for table in ("entries", "generations", "answers"):
            other.execute(f"VACUUM ANALYZE {prefix}verbguard_{table}")
        for number in range(8):
            store.save(keyed(f"{number}"), win(store, keyed(f"{number}")), ANSWER)
            assert type(store.claim(keyed(f"{number}"))) is Done
            assert store.release(keyed("x"), win(store, keyed("x")))
        asyncio.run(_together(store.aio))
        store.close()
        read = "SELECT sum(seq_scan), sum(idx_scan) FROM pg_stat_user_tables WHERE schemaname = %s AND relname <> %s"
        before = time.monotonic()
        while (found := other.execute(read, (prefix[1:-2], "verbguard_epoch")).fetchone()) and found[1] < 64:
            assert time.monotonic() - before < 10.0  # what a connection has counted is told when it is closed
        assert found is not None and found[0] < 10  # to make them is to read them


async def _together(store: Any) -> None:
    claims = [keyed(f"together {number}") for number in range(32)]
    won = await asyncio.gather(*map(store.claim, claims))
    await asyncio.gather(*(store.save(claim, each.token, ANSWER) for claim, each in zip(claims, won, strict=True)))
    await asyncio.gather(*map(store.claim, claims))
    await store.aclose()


# ---- the same as the model


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


CLAIMS = [
    lambda: keyed("a"),
    lambda: keyed("a", content="another"),
    lambda: keyed("b", path="/items", rerun=True),
    put,
    lambda: put("B"),
    lambda: put("A", "/items"),
]
COMMANDS = st.one_of(
    st.tuples(st.just("claim"), st.sampled_from(range(len(CLAIMS)))),
    st.tuples(st.sampled_from(["save", "release", "renew"]), st.integers(0, 4)),
    st.tuples(st.sampled_from(["start", "bump", "linger"]), st.sampled_from(["/items", ITEM, "/items/1/parts"])),
    st.tuples(st.just("end"), st.integers(0, 3)),
    st.tuples(st.just("claims"), st.lists(st.integers(0, 2), min_size=1, max_size=4)),
    st.tuples(st.just("saves"), st.lists(st.integers(0, 4), min_size=1, max_size=4)),
    st.tuples(st.just("starts"), st.lists(st.sampled_from(["/items", ITEM, "/items/1/parts"]), min_size=1, max_size=3)),
    st.tuples(st.just("ends"), st.lists(st.integers(0, 3), min_size=1, max_size=3)),
    st.tuples(st.just("epoch"), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 5.0, 10.0, 29.0])),
)


def shown(outcome: Outcome) -> tuple[Any, ...]:
    if isinstance(outcome, Busy):
        return "Busy", round(outcome.left, 6)
    return type(outcome).__name__.strip("_"), outcome.record.pack() if isinstance(outcome, Done) else None


class Both:
    """Commands go to the model and to the server; what they say must be the same."""

    def __init__(self) -> None:
        clock = Clock()
        self.clock = clock
        self.stores: list[Any] = [ModelStore(clock), moved_postgres(clock)]
        self.runs: list[list[tuple[Claim, int]]] = []
        self.touches: list[list[Any]] = []

    def do(self, name: str, about: Any) -> None:
        getattr(self, f"_{name}")(about)

    def _wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def _claim(self, which: int) -> None:
        claims = [CLAIMS[which]() for _ in self.stores]
        outcomes = [store.claim(claim) for store, claim in zip(self.stores, claims, strict=True)]
        assert shown(outcomes[0]) == shown(outcomes[1])
        tokens = [outcome.token for outcome in outcomes if isinstance(outcome, Won)]
        if tokens:
            self.runs.append(list(zip(claims, tokens, strict=True)))

    def _run(self, which: int, name: str, *more: Any) -> None:
        if which < len(self.runs):
            both = zip(self.stores, self.runs[which], strict=True)
            said = [getattr(store, name)(claim, token, *more) for store, (claim, token) in both]
            assert said[0] == said[1], name

    def _save(self, which: int) -> None:
        self._run(which, "save", ANSWER)

    def _release(self, which: int) -> None:
        self._run(which, "release")

    def _renew(self, which: int) -> None:
        self._run(which, "renew")

    def _start(self, path: str) -> None:
        self.touches.append([whole(path) for _ in self.stores])
        for store, touch in zip(self.stores, self.touches[-1], strict=True):
            store.start(touch)

    def _end(self, which: int) -> None:
        if which < len(self.touches):
            for store, touch in zip(self.stores, self.touches.pop(which), strict=True):
                store.end(touch)

    # ---- what comes together: for the model one after the other, in the order of its rows

    def _together(self, form: Form, calls: list[Call]) -> list[Any]:
        store = self.stores[1]
        return store._rows((form.text, form.gather([values for _, values in calls])))

    def _claims(self, which: list[int]) -> None:
        commands = self.stores[1]._commands
        both = [[CLAIMS[each]() for each in which] for _ in self.stores]
        for claims in both:
            claims.sort(key=lambda claim: digest_of(claim.ident))
        theirs = [self.stores[0].claim(claim) for claim in both[0]]
        rows = self._together(commands.claims, [commands.claim(claim) for claim in both[1]])
        ours = [commands.outcome(claim, row) for claim, row in zip(both[1], rows, strict=True)]
        assert list(map(shown, theirs)) == list(map(shown, ours))
        for *claims, their, our in zip(*both, theirs, ours, strict=True):
            if isinstance(their, Won):
                self.runs.append(list(zip(claims, (their.token, our.token), strict=True)))

    def _saves(self, which: list[int]) -> None:
        runs = [self.runs[each] for each in which if each < len(self.runs) and not self.runs[each][0][0].keyless]
        runs.sort(key=lambda run: digest_of(run[0][0].ident))
        commands = self.stores[1]._commands
        theirs = [self.stores[0].save(claim, token, ANSWER) for (claim, token), _ in runs]
        calls = [commands.save(claim, token, ANSWER) for _, (claim, token) in runs]
        assert theirs == ([kept for (kept,) in self._together(commands.saves, calls)] if calls else [])

    def _starts(self, paths: list[str]) -> None:
        commands = self.stores[1]._commands
        touches = [[whole(path) for _ in self.stores] for path in paths]
        for theirs, _ in touches:
            self.stores[0].start(theirs)
        rows = self._together(commands.starts, [commands.start(ours) for _, ours in touches])
        for (_, ours), (run,) in zip(touches, rows, strict=True):
            ours.run = run
        self.touches += touches

    def _ends(self, which: list[int]) -> None:
        commands = self.stores[1]._commands
        bumped = [[whole(ITEM) for _ in self.stores], *(self.touches[each] for each in which if each < len(self.touches))]
        self.touches = [touches for touches in self.touches if touches not in bumped]
        for theirs, _ in bumped:
            self.stores[0].end(theirs)
        assert len(self._together(commands.ends, [commands.end(ours) for _, ours in bumped])) == len(bumped)

    def _bump(self, path: str) -> None:
        for store in self.stores:
            store.bump(whole(path))

    def _linger(self, path: str) -> None:
        for store in self.stores:
            store.linger(whole(path))

    def _epoch(self, _: object) -> None:
        for store in self.stores:
            store.epoch()


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(COMMANDS, max_size=30))
def test_the_server_says_what_the_model_says(commands: list[tuple[str, Any]]) -> None:
    """Whatever is asked in whatever order, while time moves."""
    both = Both()
    for command in commands:
        both.do(*command)


# ---- several processes


def _race(url: str, gate: Any, told: Any) -> None:
    store = PostgresStore.from_url(url)
    gate.wait()
    told.put([type(store.claim(keyed(f"k{number}"))).__name__ for number in range(50)])
    store.close()


def test_processes_that_race_for_a_key_and_for_the_tables() -> None:
    """Four processes find no tables, make them, and claim 50 keys at once: each key is won once."""
    context = multiprocessing.get_context("spawn")
    gate, told = context.Barrier(4), context.Queue()
    url = fresh_schema()
    processes = [context.Process(target=_race, args=(url, gate, told)) for _ in range(4)]
    for process in processes:
        process.start()
    outcomes = [told.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    for each in zip(*outcomes, strict=True):
        assert sorted(each) == ["Busy", "Busy", "Busy", "Won"]


def test_a_forked_child_leaves_its_parents_connections_alone(store: PostgresStore) -> None:
    """It makes its own, and when it ends the parent's still serve."""
    token = win(store, keyed())
    with store._pool.connection() as connection:
        backend = connection.info.backend_pid
    child = os.fork()
    if child == 0:
        try:
            told = type(store.claim(keyed()))
            with store._pool.connection() as connection:
                mine = connection.info.backend_pid
            store.close()
            os._exit(0 if told is Busy and mine != backend else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.save(keyed(), token, ANSWER)
    with store._pool.connection() as connection:
        assert connection.info.backend_pid == backend


def test_overlapping_puts_on_a_busy_collection(store: PostgresStore) -> None:
    """16 threads write below one collection: nothing is lost or locked up, and afterwards an answer is replayed."""

    def job(number: int) -> None:
        for _ in range(10):
            claim = put(f"{number}", f"/items/{number % 4}")
            outcome = store.claim(claim)
            if isinstance(outcome, Won):
                assert store.save(claim, outcome.token, ANSWER)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(job, range(16)))
    store.save(put("last"), win(store, put("last")), ANSWER)
    assert type(store.claim(put("last"))) is Done


# ---- servers that fail


def test_a_crash_loses_nothing(server: PostgresServer) -> None:
    """What was told before the server crashed is true after it is back, and the store goes on with new connections."""
    store = opened(server.url)
    store.save(keyed("done"), win(store, keyed("done")), ANSWER)
    token = win(store, keyed("running"))
    server.restart(immediate=True)
    assert type(store.claim(keyed("done"))) is Done
    assert type(store.claim(keyed("running"))) is Busy
    assert store.save(keyed("running"), token, ANSWER)
    assert win(store, keyed("new")) > token
    store.close()


def test_a_server_that_is_down_or_hangs_is_an_error_in_time(server: PostgresServer) -> None:
    """Within the timeout, and when it is back all is well at once."""
    store = opened(server.url + "?timeout=1")
    win(store, keyed())
    server.stop()
    before = time.monotonic()
    with pytest.raises(StoreError, match="refused"):
        store.claim(keyed())
    assert time.monotonic() - before < 3.0
    server.start()
    assert type(store.claim(keyed())) is Busy
    server.pause()
    try:
        before = time.monotonic()
        with pytest.raises(StoreError, match="said nothing"):
            store.claim(keyed())
        with pytest.raises(StoreError):
            asyncio.run(store.aio.health())  # type: ignore[arg-type]
        assert time.monotonic() - before < 6.0
    finally:
        server.resume()
    assert type(store.claim(keyed())) is Busy
    store.close()


def test_a_server_that_stalled_claims_nothing_for_who_has_gone(server: PostgresServer) -> None:
    """What was sent to it meanwhile it does when it goes on: not the claims, whose callers have given up."""
    store = opened(server.url + "?timeout=1")
    win(store, keyed("before"))

    async def meanwhile() -> list[Any]:
        aio = store.aio
        await aio.claim(keyed("before, too"))
        server.pause()
        try:
            calls = [aio.claim(keyed("a")), asyncio.to_thread(store.claim, keyed("b"))]
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            server.resume()

    assert [type(each) for each in asyncio.run(meanwhile())] == [StoreError, StoreError]
    win(store, keyed("a"))
    win(store, keyed("b"))
    store.close()


def test_a_slow_answer_makes_no_later_claim_fail(store: PostgresStore) -> None:
    """What is known of the server's clock may be wrong: who is refused for it knows better, and asks again."""
    win(store, keyed("a"))
    store._commands.fresh.told(time.time() - 60.0)
    win(store, keyed("b"))
    assert isinstance(store.claim(keyed("a")), Busy)


def test_a_lock_of_another_session_is_not_waited_for_long() -> None:
    """A session that holds the row of a claim makes it an error after the timeout, and no hanging request."""
    url = fresh_schema().replace("timeout=20", "timeout=0.5")
    store = opened(url)
    token = win(store, keyed())
    with psycopg.connect(any_postgres()) as other:
        other.execute(f"SELECT FROM {store._commands.prefix}verbguard_entries FOR UPDATE")
        before = time.monotonic()
        with pytest.raises(StoreError, match="timeout"):
            store.save(keyed(), token, ANSWER)
        assert time.monotonic() - before < 3.0
        assert type(store.claim(keyed())) is Busy  # a plain read waits for nobody
    assert store.save(keyed(), token, ANSWER)
    store.close()


def test_missing_tables_are_told(server: PostgresServer) -> None:
    """Where they may not be made, the operator hears what makes them; `initialise` may be called twice."""
    store = opened(server.url, create=False)
    with pytest.raises(StoreError, match="verbguard store init URL"):
        store.claim(keyed())
    store.initialise()
    store.initialise()
    win(store, keyed())
    store.close()


# ---- applications' own transactions


ANSWERED = "INSERT INTO {} VALUES (%b, %s, %b, %s, %b)"


def test_an_open_transaction_of_the_application_keeps_no_lease_waiting(store: PostgresStore) -> None:
    """While an application has written its answer and not committed it, the lease is renewed; what it commits is the answer."""
    claim = keyed(lease=0.2)
    token = win(store, claim)
    name = digest_of(claim.ident)
    values = (name, token, claim.fingerprint, store.clock() + 100.0, store.sealer.seal(ANSWER, name))
    with psycopg.connect(any_postgres()) as application:
        application.execute(ANSWERED.format(store.answers), values)
        assert store.renew(claim, token)
        assert type(store.claim(keyed(lease=0.2))) is Busy
        application.commit()
    assert type(store.claim(keyed())) is Done
    assert store.settle(claim, token)
    assert type(store.claim(keyed())) is Done
    assert store.evict(name, "an operator")
    win(store, keyed())


@pytest.mark.parametrize("entry", ["saved", "gone", "running"])
def test_what_an_application_has_committed_is_the_answer(store: PostgresStore, entry: str) -> None:
    """Whatever another run has said meanwhile; for a claim by itself, and for those that come together."""
    claims = [keyed(f"{number}") for number in range(16)]
    with psycopg.connect(any_postgres()) as application:
        for claim in claims:
            token, name = win(store, claim), digest_of(claim.ident)
            values = (name, token, claim.fingerprint, store.clock() + 100.0, store.sealer.seal(ANSWER, name))
            application.execute(ANSWERED.format(store.answers), values)
            if entry == "saved":
                assert store.save(claim, token, Record(200, [], b"another's"))
            elif entry == "gone":
                with psycopg.connect(any_postgres()) as other:
                    other.execute(f"DELETE FROM {store._commands.prefix}verbguard_entries WHERE ident = %b", (name,))
    assert [_body(store.claim(claim)) for claim in claims] == [b"made"] * 16

    async def together() -> list[Any]:
        aio: Any = store.aio
        told = await asyncio.gather(*map(aio.claim, claims))
        await aio.aclose()
        return told

    assert [_body(each) for each in asyncio.run(together())] == [b"made"] * 16


def _body(outcome: Outcome) -> bytes:
    assert isinstance(outcome, Done), type(outcome)
    return outcome.record.body


def test_nothing_that_was_rolled_back_is_settled(store: PostgresStore) -> None:
    """Then the claim is let go."""
    token = win(store, keyed())
    assert not store.settle(keyed(), token)
    win(store, keyed())


# ---- for people


def test_what_an_operator_sees_and_does(store: PostgresStore) -> None:
    """Entries with their states, one answer, an eviction and a completion that leave a line each."""
    store.save(keyed("done"), win(store, keyed("done")), ANSWER)
    lost = win(store, keyed("running"))
    win(store, keyed("unknown", lease=0.0))
    found = {kept.state: kept for kept in store.entries()}
    assert sorted(found) == ["done", "running", "unknown"]
    assert (found["done"].method, found["done"].path, found["done"].status) == ("POST", ITEM, 201)
    assert store.stats()["running"] == 1
    assert store.stats()["bytes"] == found["done"].size
    one = store.show(found["done"].name)
    assert one is not None and one[1] is not None and one[1].body == b"made"
    assert store.show(b"nothing") is None
    assert store.complete(found["running"].name, Record(200, [], b"by hand"), 100.0, "ann")
    assert not store.complete(found["running"].name, ANSWER, 100.0, "ann")
    assert not store.save(keyed("running"), lost, ANSWER)
    assert type(store.claim(keyed("running"))) is Done
    assert store.evict(found["unknown"].name, "bob")
    assert not store.evict(found["unknown"].name, "bob")
    assert [(line.who, line.what) for line in store.audit()] == [("bob", "evict"), ("ann", "complete 200")]
    assert 0.0 < store.health() < 5.0


def test_runs_that_go_on_do_not_crowd_in_one_row(store: PostgresStore) -> None:
    """Of one connection too: each that begins or ends writes the whole row anew."""
    rows = f"SELECT count(*) FROM {store._commands.prefix}verbguard_generations WHERE runs <> '{{}}' GROUP BY name"
    begun, end = 0, time.monotonic() + 20
    with psycopg.connect(any_postgres(), autocommit=True) as other:
        while time.monotonic() < end:
            win(store, keyed(f"k{begun}"))
            begun += 1
            if all(count > 3 for (count,) in other.execute(rows).fetchall()):
                return
    raise AssertionError(f"{begun} runs of one connection go on in a few rows")


def test_vacuum_deletes_what_has_expired() -> None:
    """And nothing else."""
    clock = Clock()
    store = moved_postgres(clock)
    store.save(keyed("old"), win(store, keyed("old")), ANSWER)
    clock.now += 99.0
    store.save(keyed("new", path="/new"), win(store, keyed("new", path="/new")), ANSWER)
    clock.now += 2.0
    assert store.vacuum() > 1
    assert [kept.path for kept in store.entries()] == ["/new"]
    clock.now += 1_000.0
    store.vacuum()
    assert store.stats() == {"running": 0, "unknown": 0, "done": 0, "bytes": 0, "paths": 0}
    assert store.vacuum() == 0


def test_answers_are_encrypted() -> None:
    """The server has none in clear, and no key of a client; who has no key hears that there was an answer."""
    url, key = fresh_schema(), new_key()
    store, other = opened(url, keys=[key]), opened(url)
    secret = Record(200, [], b"a secret of alice")
    store.save(keyed(), win(store, keyed()), secret)
    with psycopg.connect(any_postgres()) as connection:
        rows = connection.execute(f"SELECT e::text FROM {store._commands.prefix}verbguard_entries e").fetchall()
    assert b"a secret".hex() not in str(rows)
    outcomes = [each.claim(keyed()) for each in (store, other)]
    assert [each.record.state for each in outcomes if isinstance(each, Done)] == [State.WHOLE, State.SEALED]
    store.close()
    other.close()


@pytest.mark.parametrize("path", ["/" + "x" * 3_000, "/a\0b", "/\udcff", "/größe"])
def test_any_path(store: PostgresStore, path: str) -> None:
    """Long ones, and those that no text of the server can hold."""
    store.save(keyed(path=path), win(store, keyed(path=path)), ANSWER)
    assert [kept.path for kept in store.entries()] == [path]


# ---- clients of the user


def test_a_pool_of_the_user_is_as_it_was() -> None:
    """Its connections stay in transactions of the user's, and keep their settings."""
    with psycopg_pool.ConnectionPool(any_postgres(), min_size=1, max_size=4, open=True) as pool:
        schema = dict(part.split("=") for part in fresh_schema().partition("?")[2].split("&"))["schema"]
        store = PostgresStore(pool, schema=schema)
        store.save(keyed(), win(store, keyed()), ANSWER)
        assert type(store.claim(keyed())) is Done
        with pool.connection() as connection:
            assert not connection.autocommit
            assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


async def test_the_asyncio_store() -> None:
    """64 tasks claim 16 keys over one store: each is won once; its connections end with the loop."""
    store = opened()
    aio = store.aio
    assert isinstance(aio, AsyncPostgresStore) and aio.sync is store
    await aio.health()  # makes the tables
    outcomes = await asyncio.gather(*(aio.claim(keyed(f"{number % 16}")) for number in range(64)))
    assert sum(isinstance(each, Won) for each in outcomes) == 16
    store.close()


def test_an_event_loop_that_has_ended_is_forgotten() -> None:
    """A process may have one for each of its requests."""
    store = opened()
    store.initialise()
    aio: Any = store.aio
    for _ in range(3):
        asyncio.run(aio.health())
    gc.collect()
    assert not list(aio._pool._loops)
    store.close()


async def test_a_cancelled_claim_locks_no_key() -> None:
    """Whatever it had won is let go."""
    aio = opened().aio
    assert isinstance(aio, AsyncPostgresStore)
    await aio.health()
    for _ in range(10):
        job = asyncio.create_task(aio.claim(keyed()))
        await asyncio.sleep(0)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        await asyncio.gather(*aio._leaving)
        outcome = await aio.claim(keyed())
        assert isinstance(outcome, Won)
        await aio.release(keyed(), outcome.token)


async def test_an_asyncio_pool_of_the_user() -> None:
    """It serves as well, in whatever state its connections are."""
    schema = dict(part.split("=") for part in fresh_schema().partition("?")[2].split("&"))["schema"]
    async with psycopg_pool.AsyncConnectionPool(any_postgres(), min_size=1, open=False) as pool:
        store = AsyncPostgresStore(pool, schema=schema)
        outcome = await store.claim(keyed())
        assert isinstance(outcome, Won)
        assert await store.save(keyed(), outcome.token, ANSWER)
        assert type(await store.claim(keyed())) is Done


def test_a_url_opens_it_without_a_word_to_the_server() -> None:
    """Constructing does no I/O; what is wrong with the URL is told at once, without its password."""
    store: Any = open_store("postgresql://nobody:secret@127.0.0.1:1/none?schema=a&synchronous_commit=off")
    assert isinstance(store, PostgresStore)
    assert "secret" not in repr(store)
    with pytest.raises(StoreError) as caught:
        store.claim(keyed())
    assert "secret" not in str(caught.value)
    for wrong in ("timeout=0", "timeout=x", "synchronous_commit=maybe", "nonsense=1"):
        with pytest.raises(ConfigError):
            open_store(f"postgresql://host/database?{wrong}")


def test_an_unknown_outcome_is_told(store: PostgresStore) -> None:
    """By the server's own clock."""
    win(store, keyed(lease=0.0))
    assert type(store.claim(keyed())) is Unknown
