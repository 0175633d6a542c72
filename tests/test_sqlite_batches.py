"""Several operations in one transaction of the SQLite store: they read and write together what each alone would have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared.files import fresh_file
from shared.model import ModelStore
from shared.sequences import PATHS, SELDOM, SEQUENCES, Clock, Pair

from verbguard.errors import StoreError
from verbguard.records import Claim, Done, Outcome, Record, Touch, Won, whole
from verbguard.stores import transitions
from verbguard.stores.sealing import Sealer, digest_of
from verbguard.stores.sqlite import SqliteStore
from verbguard.stores.sqlite_writing import Work, Writing

_SEALER = Sealer()
IDENTS = [b"k", b"l", *(f"{path} {content}".encode() for path in PATHS for content in "AB")]


class Open:
    """The operations of a store inside a transaction that somebody else began."""

    shared = True

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.rows: Writing | None = None

    def claim(self, claim: Claim) -> Outcome:
        return transitions.claim(self.rows, claim, self.clock())

    def save(self, claim: Claim, token: int, record: Record) -> bool:
        data = _SEALER.seal(record, digest_of(claim.ident))
        return transitions.save(self.rows, claim, token, data, self.clock())

    def release(self, claim: Claim, token: int) -> bool:
        return transitions.release(self.rows, claim, token, self.clock())

    def renew(self, claim: Claim, token: int) -> bool:
        return transitions.renew(self.rows, claim, token, self.clock())

    def start(self, touch: Touch) -> None:
        touch.run = transitions.start(self.rows, touch, self.clock())

    def end(self, touch: Touch) -> None:
        transitions.end(self.rows, touch, self.clock())

    def bump(self, touch: Touch) -> None:
        transitions.bump(self.rows, touch, self.clock())

    def linger(self, touch: Touch) -> None:
        transitions.linger(self.rows, touch, self.clock())

    def epoch(self) -> None:
        transitions.begin_epoch(self.rows, self.clock())


def agrees(steps: list[tuple[Any, ...]], sizes: list[int], processes: int = 1) -> None:
    """Steps in transactions of such sizes: a negative one ends with a statement of its own in the middle.

    Of several processes each makes two transactions, and then the next one.
    """
    clock = Clock()
    inside = Open(clock)
    pair = Pair(inside, ModelStore(clock), clock)

    def step(what: tuple[Any, ...], alone: bool, rows: Writing, now: float) -> None:
        inside.rows = rows
        pair.do(*what)
        if alone:
            assert rows.connection.execute("SELECT count(*) FROM verbguard_entries").fetchone() == (
                len(pair.stores[1].entries),
            )

    def ask_all(rows: Writing, now: float) -> None:
        inside.rows = rows
        pair.ask_all()

    file = fresh_file()
    with ExitStack() as opened:
        stores = [opened.enter_context(closing(SqliteStore(file, clock=clock))) for _ in range(processes)]
        for store in stores:
            store._swept = inf  # the model never forgets
        left, turn = list(steps), 0
        while left:
            size = sizes[turn % len(sizes)]
            store = stores[turn // 2 % processes]
            turn += 1
            part, left = left[: abs(size)], left[abs(size) :]
            middle = len(part) // 2 if size < 0 else -1
            jobs = [
                Work(IDENTS[number % len(IDENTS)], partial(step, what, number == middle), whole(PATHS[number % len(PATHS)]))
                for number, what in enumerate(part)
            ]
            others = [Work(ident, lambda rows, now: None) for ident in IDENTS if turn % 2]
            store._transaction([*jobs, *others])
        for store in stores:
            store._transaction([ask_all])


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(steps=SEQUENCES, sizes=st.lists(st.sampled_from([1, 2, 3, 8, 40, -4, -9]), min_size=1, max_size=6))
def test_a_transaction_does_what_the_model_does(steps: list[tuple[Any, ...]], sizes: list[int]) -> None:
    """Whatever comes together, each step is told what it would be told alone."""
    agrees(steps, sizes)


@pytest.mark.parametrize("sizes", [[1], [40], [2, -3]], ids=str)
@pytest.mark.parametrize("steps", SELDOM.values(), ids=SELDOM)
def test_a_transaction_does_what_the_model_seldom_does(steps: list[tuple[Any, ...]], sizes: list[int]) -> None:
    """The rare meetings, one by one."""
    agrees(steps, sizes)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(steps=SEQUENCES, sizes=st.lists(st.sampled_from([1, 2, 3, 8, -4]), min_size=1, max_size=6))
def test_what_a_process_remembers_is_what_the_model_knows(steps: list[tuple[Any, ...]], sizes: list[int]) -> None:
    """What a process knows from its last transaction is forgotten when another has written."""
    agrees(steps, sizes, processes=2)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with closing(SqliteStore(fresh_file())) as opened:
        opened.health()
        yield opened


def asked(number: int) -> Claim:
    return Claim(b"key %d" % number, b"print", key=b"key %d" % number)


async def together(store: SqliteStore, *jobs: Any) -> list[Any]:
    """What comes of jobs that wait for one transaction."""
    await store.aio.health()  # the writer's thread is there
    with store._batches._lock:
        tasks = [asyncio.ensure_future(job) for job in jobs]
        await asyncio.sleep(0)
        assert len(store._batches._jobs) == len(jobs)
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("count", [2, 3, 63, 64, 65, 200])
async def test_many_are_written_and_read_together(store: SqliteStore, count: int) -> None:
    """However many come at once, each wins its own key and is told its own answer."""
    claims = [asked(number) for number in range(count)]
    won = await together(store, *(store.aio.claim(claim) for claim in claims))
    assert len({outcome.token for outcome in won}) == count
    answers = [Record(201, [], b"%d" % number) for number in range(count)]
    saves = zip(claims, won, answers, strict=True)
    assert await together(store, *(store.aio.save(claim, won.token, answer) for claim, won, answer in saves)) == [True] * count
    for claim, answer in zip(claims, answers, strict=True):
        outcome = store.claim(claim)
        assert isinstance(outcome, Done) and outcome.record.body == answer.body
    assert store.stats()["done"] == count


async def test_of_many_for_one_key_one_wins(store: SqliteStore) -> None:
    """Claims of one key that are tried together are told of each other."""
    outcomes = await together(store, *(store.aio.claim(asked(1)) for _ in range(20)))
    assert sum(isinstance(outcome, Won) for outcome in outcomes) == 1


async def test_a_job_that_fails_takes_nothing_with_it(store: SqliteStore) -> None:
    """What it had begun is not written, and what came with it is."""

    def fails(rows: Writing, now: float) -> None:
        transitions.claim(rows, asked(99), now)
        rows.age("b/", transitions.Generation(9, {}, now + 100))
        raise StoreError("this one")

    first, failed, last = await together(
        store, store.aio.claim(asked(1)), store._batches.later(fails), store.aio.claim(asked(2))
    )
    assert isinstance(first, Won) and isinstance(last, Won) and str(failed) == "this one"
    assert sorted(kept.token for kept in store.entries()) == [first.token, last.token]
    assert store.stats()["paths"] == 0


async def test_what_was_dropped_and_taken_again_is_new(store: SqliteStore) -> None:
    """A key that is let go and claimed in one transaction forgets where an application was about to commit its answer."""
    won = store.claim(asked(1))
    assert isinstance(won, Won)
    place = fresh_file()
    assert store.place_answer(asked(1), won.token, str(place))

    def again(rows: Writing, now: float) -> Outcome:
        return transitions.claim(rows, asked(1), now)

    released, outcome = await together(store, store.aio.release(asked(1), won.token), store._batches.later(again))
    assert released is True and isinstance(outcome, Won)
    assert store.read(lambda rows, now: rows._entry(asked(1).ident)[1]) is None


async def test_an_answer_keeps_its_place(store: SqliteStore) -> None:
    """What a run has said about its application's file is still known when its lease is renewed with others, and to them."""
    won = store.claim(asked(1))
    assert isinstance(won, Won)
    place = str(fresh_file())
    assert store.place_answer(asked(1), won.token, place)

    def known(rows: Writing, now: float) -> str | None:
        return rows._entry(asked(1).ident)[1]

    renewals = [store.aio.renew(asked(1), won.token) for _ in range(3)]
    assert await together(store, *renewals, store._batches.later(known)) == [True, True, True, place]
    assert store.read(lambda rows, now: rows._entry(asked(1).ident)[1]) == place  # and is written
