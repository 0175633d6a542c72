"""The contract of verbguard.stores.Store, one test a promise, and what the memory store promises beside it."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from threading import Barrier, BrokenBarrierError
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from shared.driven import Driven
from shared.files import fresh_file
from shared.model import ModelStore
from shared.postgres_stores import driven_postgres, moved_postgres
from shared.redis_stores import driven_redis, moved_redis
from states.twin import Twin

from verbguard import ConfigError, collection, item
from verbguard.errors import StoreError
from verbguard.exchange import Exchange
from verbguard.http import Headers, Request
from verbguard.plans import Guard
from verbguard.records import (
    Busy,
    Claim,
    Clash,
    Done,
    Outcome,
    Record,
    State,
    Touch,
    Unknown,
    Won,
    whole,
)
from verbguard.stores import Store
from verbguard.stores import open as open_store
from verbguard.stores.memory import MemoryStore
from verbguard.stores.sqlite import SqliteStore
from verbguard.turns import lease_of

ITEM = "/items/1"
LEASE, KEEP, WINDOW = 10.0, 100.0, 30.0
ANSWER = Record(201, [(b"location", b"/items/1"), (b"x", b"1"), (b"x", b"2")], b"made")
UNFRAMEABLE = Record(200, [(b"x", b"1\n2")])


class Clock:
    """Time for a store: it passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


STORES: dict[str, Callable[[Clock], Store]] = {
    "memory": lambda clock: MemoryStore(clock=clock),
    "model": ModelStore,
    "redis": moved_redis,
    "redis, asyncio": driven_redis,
    "sqlite": lambda clock: SqliteStore(fresh_file(), clock=clock),
    "sqlite, asyncio": lambda clock: Driven(SqliteStore(fresh_file(), clock=clock).aio),
    "postgresql": moved_postgres,
    "postgresql, asyncio": driven_postgres,
}
FAR = [name for name in STORES if name.startswith(("redis", "postgresql"))]  # a step is a round trip: fewer examples
NEAR = [name for name in STORES if name not in FAR]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, clock: Clock) -> Store:
    """Every store there is."""
    return STORES[request.param](clock)


def digest(*words: str) -> bytes:
    return sha256("\n".join(words).encode()).digest()


def keyed(key: str = "k", content: str = "", *, path: str = "/other", rerun: bool = False, lease: float = LEASE) -> Claim:
    """The claim of a request with a key; on another target than that of `put`, unless it says so."""
    return Claim(b"alice" + key.encode(), digest(content), whole(path), False, rerun, lease, KEEP)


def put(content: str = "A", path: str = ITEM, touch: Touch | None = None) -> Claim:
    """The claim of a PUT without a key."""
    name = digest("alice", path, content)
    return Claim(name, name, touch or whole(path), True, True, LEASE, WINDOW)


def win(store: Store, claim: Claim) -> int:
    outcome = store.claim(claim)
    assert isinstance(outcome, Won), type(outcome)
    return outcome.token


def run(store: Store, claim: Claim, record: Record = ANSWER) -> int:
    """One request from its claim to its record."""
    token = win(store, claim)
    assert store.save(claim, token, record)
    return token


def told(outcome: Outcome) -> tuple[int, Headers, bytes, State]:
    assert isinstance(outcome, Done), type(outcome)
    record = outcome.record
    return record.status, record.headers, record.body, record.state


WHOLE = told(Done(ANSWER))


def replays(store: Store, claim: Claim) -> bool:
    """Whether the claim gets an answer; when it wins instead, it lets go again."""
    outcome = store.claim(claim)
    if isinstance(outcome, Won):
        store.release(claim, outcome.token)
    return type(outcome) is Done


def quiet(store: Store, path: str = ITEM) -> bool:
    """Whether the store believes that nobody else writes there: only then is a new PUT's answer kept."""
    probe = put("a probe", path)
    run(store, probe)
    return replays(store, probe)


# ---- claim


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(threads: int, job: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(job, range(threads)))


@pytest.mark.usefixtures("impatient")
def test_of_many_callers_at_once_exactly_one_wins(store: Store) -> None:
    """32 threads claim each of 40 keys at the same moment: one wins it, the others hear that it runs."""
    barrier = Barrier(32)

    def job(_: int) -> list[type[Outcome]]:
        outcomes = []
        with suppress(BrokenBarrierError):  # of the others: what broke it is told by the one that it happened to
            for number in range(40):
                barrier.wait()
                try:
                    outcomes.append(type(store.claim(keyed(f"k{number}"))))
                except BaseException:
                    barrier.abort()  # or the others would wait for ever
                    raise
        return outcomes

    for outcomes in zip(*together(32, job), strict=True):
        assert sum(issubclass(each, Won) for each in outcomes) == 1
        assert sum(each is Busy for each in outcomes) == 31


@pytest.mark.usefixtures("impatient")
def test_every_operation_runs_once_however_many_ask_for_it(store: Store) -> None:
    """16 threads ask for 250 operations until each is done: every one has run once, and all got its answer."""
    runs: list[int] = []

    def job(first: int) -> None:
        for step in range(250):
            number = (first * 16 + step) % 250
            claim = keyed(f"k{number}")
            while type(outcome := store.claim(claim)) is not Done:
                if isinstance(outcome, Won):
                    runs.append(number)
                    assert store.save(claim, outcome.token, Record(200, [], b"%d" % number))
            assert told(outcome)[2] == b"%d" % number

    together(16, job)
    assert sorted(runs) == list(range(250))


@pytest.mark.usefixtures("impatient")
def test_threads_that_touch_one_target_leave_it_quiet(store: Store) -> None:
    """However starts, ends, claims and saves of 16 threads mix, none is lost: afterwards nobody is thought to write."""

    def job(number: int) -> None:
        for step in range(60):
            touch = whole(ITEM)
            store.start(touch)
            claim = put(f"{number}", touch=whole(ITEM))
            outcome = store.claim(claim)
            store.end(touch)
            assert isinstance(outcome, Won)
            (store.save(claim, outcome.token, ANSWER) if step % 2 else store.release(claim, outcome.token))

    together(16, job)
    assert quiet(store)


RESULTS = [Won, Busy, Clash, Unknown, Done]


def leading_to(store: Store, clock: Clock, result: type[Outcome], key: str = "k") -> Claim:
    """A claim on ITEM that will get this outcome."""
    if result is not Won:
        owner = keyed(key)
        token = win(store, owner)
        if result is Done:
            store.save(owner, token, ANSWER)
        if result is Unknown:
            clock.advance(LEASE)
    return keyed(key, "another" if result is Clash else "", path=ITEM)


@pytest.mark.parametrize("result", RESULTS)
def test_only_won_starts_the_touch(store: Store, clock: Clock, result: type[Outcome]) -> None:
    """A request that does not run changes nothing, so it ages no answer; one that runs does from its claim on."""
    asked = leading_to(store, clock, result)
    run(store, put())
    assert isinstance(store.claim(asked), result)
    assert replays(store, put()) == (result is not Won)


@pytest.mark.parametrize("result", [Busy, Unknown, Done])
def test_another_request_with_the_key_is_a_clash(store: Store, clock: Clock, result: type[Outcome]) -> None:
    """A Clash says the same of a key that runs, is done, or lost its outcome, and changes nothing."""
    asked = leading_to(store, clock, result)
    for _ in range(3):
        assert type(store.claim(keyed("k", "another"))) is Clash
        assert type(store.claim(keyed("k", "another", rerun=True))) is Clash
    assert type(store.claim(asked)) is result


def test_a_clash_harms_no_run(store: Store) -> None:
    """The run whose key was used for another request renews its lease and keeps its answer."""
    token = win(store, keyed())
    assert type(store.claim(keyed("k", "another"))) is Clash
    assert store.renew(keyed(), token)
    assert store.save(keyed(), token, ANSWER)
    assert told(store.claim(keyed())) == WHOLE


def test_busy_tells_how_long_the_lease_lives(store: Store, clock: Clock) -> None:
    """`left` is the rest of the running request's lease."""
    win(store, keyed())
    clock.advance(4.0)
    outcome = store.claim(keyed())
    assert isinstance(outcome, Busy)
    assert outcome.left == pytest.approx(6.0)


def test_a_lease_that_ran_out_is_won_again_where_repeating_is_harmless(store: Store, clock: Clock) -> None:
    """The next run gets a larger token, and again its own lease."""
    first = win(store, keyed(rerun=True))
    clock.advance(LEASE - 0.1)
    assert type(store.claim(keyed(rerun=True))) is Busy
    clock.advance(0.1)
    second = win(store, keyed(rerun=True))
    assert second > first
    assert type(store.claim(keyed(rerun=True))) is Busy


def test_a_lease_that_ran_out_is_unknown_elsewhere(store: Store, clock: Clock) -> None:
    """Nobody knows whether the request took effect; and that is said until the time of a result is over."""
    win(store, keyed())
    clock.advance(LEASE)
    for _ in range(9):
        assert type(store.claim(keyed())) is Unknown
        clock.advance(KEEP / 10)
    clock.advance(KEEP / 10)
    win(store, keyed())


@pytest.mark.parametrize("content", ["", "another"])
@pytest.mark.parametrize("result", [Unknown, Done])
def test_a_key_is_new_when_its_time_is_over(store: Store, clock: Clock, result: type[Outcome], content: str) -> None:
    """No key is locked for ever, whoever asks for it, and whatever became of its run."""
    leading_to(store, clock, result)
    clock.advance(KEEP)
    run(store, keyed("k", content))
    assert told(store.claim(keyed("k", content))) == WHOLE


def test_tokens_only_grow(store: Store, clock: Clock) -> None:
    """Whatever ends a run, the next one of the key has a larger token."""
    tokens = []
    for end in ("save", "release", "lapse", "save"):
        claim = keyed(rerun=True)
        tokens.append(win(store, claim))
        if end == "save":
            store.save(claim, tokens[-1], ANSWER)
            clock.advance(KEEP)
        elif end == "release":
            store.release(claim, tokens[-1])
        else:
            clock.advance(LEASE)
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("claim", [keyed, put])
def test_done_carries_the_record_as_it_was_saved(store: Store, claim: Callable[[], Claim], state: State) -> None:
    """Byte for byte, repeated fields in their order, also to a second reader."""
    record = Record(299, [(b"b", b"2"), (b"a", b""), (b"b", b"1")], bytes(range(256)), state)
    run(store, claim(), record)
    for _ in range(2):
        assert told(store.claim(claim())) == told(Done(record))


@pytest.mark.parametrize(("claim", "life"), [(keyed, KEEP), (put, WINDOW)])
def test_a_record_lives_from_its_completion(store: Store, clock: Clock, claim: Callable[[], Claim], life: float) -> None:
    """How long the run took and how often it was asked for does not count."""
    token = win(store, claim())
    for _ in range(3):
        clock.advance(LEASE * 0.9)
        assert store.renew(claim(), token)
    assert store.save(claim(), token, ANSWER)
    clock.advance(life - 0.1)
    assert told(store.claim(claim())) == WHOLE
    clock.advance(0.1)
    win(store, claim())


# ---- what ages the answer to a PUT without a key

GUARD = Guard({"/items": collection(), "/items/{id}": item(), "/items/{id}/parts/{part}": item()}, observers=[lambda _: None])
GUARD.compile()


def touch_of(method: str, path: str, **fields: str) -> Touch:
    """The touch of a real request."""
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    request = Request(method, path, headers)
    exchange = Exchange(GUARD, GUARD.settle(request), request)
    assert exchange.open() is None
    assert exchange.touch is not None
    return exchange.touch


def naming(path: str) -> Touch:
    """The touch of a request elsewhere, whose answer names this path."""
    touch = whole("/jobs")
    touch.name(path)
    return touch


TOUCHES: list[tuple[str, Callable[[], Touch], bool]] = [
    ("the target", lambda: whole("/items/1"), True),
    ("its parent and all below", lambda: whole("/items"), True),
    ("the root and all below", lambda: whole("/"), True),
    ("a child", lambda: whole("/items/1/parts"), True),
    ("a grandchild", lambda: whole("/items/1/parts/2"), True),
    ("a sibling", lambda: whole("/items/2"), False),
    ("a sibling whose name begins alike", lambda: whole("/items/12"), False),
    ("a child of a sibling", lambda: whole("/items/2/parts/1"), False),
    ("another collection", lambda: whole("/orders"), False),
    ("PUT", lambda: touch_of("PUT", ITEM), True),
    ("DELETE", lambda: touch_of("DELETE", ITEM), True),
    ("a method that nobody knows well", lambda: touch_of("MKCOL", ITEM), True),
    ("POST on the collection, which spares its members", lambda: touch_of("POST", "/items"), False),
    ("DELETE on the collection", lambda: touch_of("DELETE", "/items"), True),
    ("PATCH on the collection", lambda: touch_of("PATCH", "/items"), True),
    ("PUT on a part", lambda: touch_of("PUT", "/items/1/parts/1"), True),
    ("a custom method of it", lambda: touch_of("POST", "/items/1:publish"), True),
    ("an action below it", lambda: touch_of("POST", "/items/1/cancel"), True),
    ("a custom method of a sibling", lambda: touch_of("POST", "/items/2:publish"), False),
    ("COPY of a sibling to it", lambda: touch_of("COPY", "/items/2", destination="http://host/items/1"), True),
    ("MOVE of a sibling to its part", lambda: touch_of("MOVE", "/items/2", destination="/items/1/parts/9"), True),
    ("MOVE to where nobody can read it", lambda: touch_of("MOVE", "/orders/2", destination="../items/1"), True),
    ("MOVE to a fragment", lambda: touch_of("MOVE", "/orders/2", destination="/orders/#/../../items/1"), True),
    ("MOVE to two places", lambda: touch_of("MOVE", "/orders/2", destination="/orders/1, /items/1"), True),
    ("COPY of a sibling to its collection", lambda: touch_of("COPY", "/items/2", destination="http://host/items"), True),
    ("LOCK of its collection", lambda: touch_of("LOCK", "/items"), True),
    ("LOCK of another collection", lambda: touch_of("LOCK", "/orders"), False),
    ("REBIND elsewhere", lambda: touch_of("REBIND", "/orders"), True),
    ("BIND elsewhere", lambda: touch_of("BIND", "/orders"), False),
    (
        "a DELETE elsewhere whose If names it",
        lambda: touch_of("DELETE", "/orders/1", **{"if": "</items/1> (<urn:uuid:1>)"}),
        True,
    ),
    ("COPY of a sibling to a sibling", lambda: touch_of("COPY", "/items/2", destination="/items/3"), False),
    ("an answer that names it", lambda: naming("/items/1"), True),
    ("an answer that names a part of it", lambda: naming("/items/1/parts/1"), True),
    ("an answer that names its collection", lambda: naming("/items"), True),
    ("an answer that names a sibling", lambda: naming("/items/2"), False),
    ("a leading zero", lambda: touch_of("DELETE", "/items/01"), True),
    ("a plus", lambda: touch_of("DELETE", "/items/+1"), True),
    ("a decimal", lambda: touch_of("DELETE", "/items/1.0"), True),
    ("an empty segment", lambda: touch_of("DELETE", "/items//1"), True),
    ("a slash at the end", lambda: touch_of("DELETE", "/items/1/"), True),
    ("an answer that names it with a leading zero", lambda: naming("/items/01"), True),
]

# When the other request starts and ends: before the PUT, while it runs, after it.
PHASES = [(start, end) for start in range(3) for end in range(start, 3)]


@pytest.mark.parametrize(("start", "end"), PHASES)
@pytest.mark.parametrize(("touch", "ages"), [case[1:] for case in TOUCHES], ids=[case[0] for case in TOUCHES])
def test_what_ages_an_answer(store: Store, touch: Callable[[], Touch], ages: bool, start: int, end: int) -> None:
    """A PUT is replayed only while nothing has touched its target since its own end, and if nothing overlapped it."""
    other, claim = touch(), put()
    names, other.named = other.named, None  # what an answer names is known when there is one

    def meanwhile(phase: int) -> None:
        if phase == start:
            store.start(other)
        if phase == end:
            other.named = names
            store.end(other)

    meanwhile(0)
    token = win(store, claim)
    meanwhile(1)
    assert store.save(claim, token, ANSWER)
    meanwhile(2)
    overlaps_or_follows = end > 0
    assert replays(store, put()) == (not (ages and overlaps_or_follows))


@pytest.mark.parametrize(("touch", "ages"), [case[1:] for case in TOUCHES], ids=[case[0] for case in TOUCHES])
def test_a_bump_ages_what_is_kept(store: Store, touch: Callable[[], Touch], ages: bool) -> None:
    """It is a write that starts and ends at once: what it touches has changed, and nothing is thought to run."""
    run(store, put())
    store.bump(touch())
    assert replays(store, put()) == (not ages)
    assert quiet(store)


def test_a_bump_spoils_the_run_it_falls_into(store: Store) -> None:
    """A PUT that ran while something else changed its target is not kept."""
    token = win(store, put())
    store.bump(whole(ITEM))
    assert store.save(put(), token, ANSWER)
    assert not replays(store, put())


@pytest.mark.parametrize("finish", ["save", "release"])
@pytest.mark.parametrize("order", ["first", "last"])
def test_another_claim_that_overlaps_ages_an_answer(store: Store, finish: str, order: str) -> None:
    """Two PUTs of one target that overlap are both not kept, in whatever order they end: nobody knows which came last."""
    one, other = put("A"), put("B")
    tokens = {one: win(store, one), other: win(store, other)}
    if order == "last":
        assert store.save(one, tokens[one], ANSWER)
    if finish == "save":
        assert store.save(other, tokens[other], ANSWER)
    else:
        assert store.release(other, tokens[other])
    if order == "first":
        assert store.save(one, tokens[one], ANSWER)
    assert not replays(store, put("A"))


def test_a_b_a(store: Store) -> None:
    """PUT A, PUT B, PUT A: the last one runs, and is then the one that is replayed."""
    run(store, put("A"))
    run(store, put("B"))
    run(store, put("A"))
    assert replays(store, put("A"))
    assert not replays(store, put("B"))


def test_a_keyed_answer_does_not_age(store: Store) -> None:
    """A key names one operation: its answer stays whatever happened to the target."""
    run(store, keyed(path=ITEM))
    run(store, put())
    assert told(store.claim(keyed(path=ITEM))) == WHOLE


@pytest.mark.parametrize("seconds", [0.0, LEASE, WINDOW - 1.0])
def test_what_lingers_may_still_write(store: Store, clock: Clock, seconds: float) -> None:
    """After a run was cut off, nothing keyless is replayed on what it touches, for one window; after that it is again."""
    run(store, put())
    touch = whole(ITEM)
    store.start(touch)
    store.linger(touch)
    store.end(touch)
    clock.advance(seconds)
    assert not quiet(store)
    assert quiet(store, "/items/2")
    clock.advance(WINDOW - seconds + 2.0)
    assert quiet(store)


# ---- save, release, renew


def test_a_run_that_lost_its_claim_saves_and_releases_nothing(store: Store, clock: Clock) -> None:
    """The token fences: an older run changes neither the newer run nor its record."""
    claim = keyed(rerun=True)
    lost = [win(store, claim)]
    clock.advance(LEASE)
    lost.append(win(store, keyed(rerun=True)))
    clock.advance(LEASE)
    last = keyed(rerun=True)
    token = win(store, last)
    assert not store.save(claim, lost[0], UNLIKE)
    assert type(store.claim(keyed(rerun=True))) is Busy
    assert store.save(last, token, ANSWER)
    assert not store.release(keyed(rerun=True), lost[1])
    assert told(store.claim(keyed(rerun=True))) == WHOLE


UNLIKE = Record(500, [], b"another")


def test_an_unknown_run_may_still_end(store: Store, clock: Clock) -> None:
    """Where nobody won its claim again, a run whose lease ran out keeps its answer after all."""
    token = win(store, keyed())
    clock.advance(LEASE * 2)
    assert type(store.claim(keyed())) is Unknown
    assert store.save(keyed(), token, ANSWER)
    assert told(store.claim(keyed())) == WHOLE


def test_the_owner_may_save_again(store: Store) -> None:
    """To say less than before: the later record counts, for a key as without one."""
    less = Record(201, [], b"", State.BROKEN)
    for claim in (keyed(), put()):
        token = run(store, claim)
        assert store.save(claim, token, less)
        assert told(store.claim(claim)) == told(Done(less))
    assert not store.save(keyed(), 0, ANSWER)


@pytest.mark.parametrize("claim", [keyed, put])
@pytest.mark.parametrize("saved", [False, True])
def test_a_released_claim_is_new_again(store: Store, claim: Callable[[], Claim], saved: bool) -> None:
    """Also when its answer had been saved, and also for another request with the key."""
    token = run(store, claim()) if saved else win(store, claim())
    assert store.release(claim(), token)
    again = claim()
    again.fingerprint = digest("another")
    win(store, again)


def test_renewal_starts_the_lease_anew(store: Store, clock: Clock) -> None:
    """As often as it is renewed in time, and from the moment of the last renewal."""
    token = win(store, keyed(rerun=True))
    for _ in range(5):
        clock.advance(LEASE - 1.0)
        assert store.renew(keyed(rerun=True), token)
    clock.advance(LEASE - 1.0)
    assert type(store.claim(keyed(rerun=True))) is Busy
    clock.advance(1.0)
    win(store, keyed(rerun=True))


@pytest.mark.parametrize("path", [ITEM, ITEM.rpartition("/")[0]], ids=["on the target", "above it"])
def test_a_renewed_run_may_still_write(store: Store, clock: Clock, path: str) -> None:
    """However long nothing was heard of it, as after a pause of its machine: nothing is replayed that it may have changed."""
    token = win(store, keyed(path=path))
    clock.advance(LEASE + WINDOW + 1.0)
    run(store, put("B"))
    assert store.renew(keyed(path=path), token)
    assert not replays(store, put("B"))
    run(store, put("A"))
    assert not replays(store, put("A"))


def test_a_lost_claim_is_not_renewed(store: Store, clock: Clock) -> None:
    """Neither when another run has it, nor when its answer is saved, nor when it was released."""
    lost = win(store, keyed(rerun=True))
    clock.advance(LEASE)
    token = win(store, keyed(rerun=True))
    assert not store.renew(keyed(rerun=True), lost)
    assert store.renew(keyed(rerun=True), token)
    store.save(keyed(rerun=True), token, ANSWER)
    assert not store.renew(keyed(rerun=True), token)
    token = win(store, keyed("other"))
    store.release(keyed("other"), token)
    assert not store.renew(keyed("other"), token)


def test_turns_are_taken_one_after_the_other(store: Store, clock: Clock) -> None:
    """Processes take turns by a lease: one has it, it is renewed and given back, and who died with it blocks nobody."""

    def lease(path: str = ITEM) -> Claim:
        return lease_of(b"scope", path, LEASE)

    mine = lease()
    token = win(store, mine)
    assert type(store.claim(lease())) is Busy
    assert isinstance(store.claim(lease("/items/2")), Won)
    clock.advance(LEASE - 1)
    assert store.renew(mine, token)
    clock.advance(LEASE - 1)
    assert type(store.claim(lease())) is Busy
    assert store.release(mine, token)
    theirs = lease()
    later = win(store, theirs)
    assert later > token
    clock.advance(LEASE)
    assert win(store, mine) > later
    assert not store.renew(theirs, later)
    assert not store.release(theirs, later)
    assert quiet(store)


def test_an_answer_that_cannot_be_framed_is_not_kept(store: Store) -> None:
    """It is a ValueError, after which the run still has its claim, and may say less."""
    claim = keyed()
    token = win(store, claim)
    with pytest.raises(ValueError, match="line feed"):
        store.save(claim, token, UNFRAMEABLE)
    assert type(store.claim(keyed())) is Busy
    assert store.save(claim, token, Record(200, [], b"", State.BROKEN))
    assert told(store.claim(keyed())) == (200, [], b"", State.BROKEN)


Word = Callable[[Store, Claim, int], object]


def save(store: Store, claim: Claim, token: int) -> object:
    return store.save(claim, token, ANSWER)


def save_what_cannot_be_framed(store: Store, claim: Claim, token: int) -> object:
    with suppress(ValueError):  # a record that would not be kept anyway need not be framed
        store.save(claim, token, UNFRAMEABLE)
    return None


def release(store: Store, claim: Claim, token: int) -> object:
    return store.release(claim, token)


LAST_WORDS: list[tuple[Word, ...]] = [
    (save,),
    (release,),
    (save, save),
    (save, release),
    (save_what_cannot_be_framed, save),
    (save_what_cannot_be_framed, release),
]


@pytest.mark.parametrize("lost", [False, True], ids=["own", "lost"])
@pytest.mark.parametrize("claim", [lambda: keyed(path=ITEM, rerun=True), put], ids=["keyed", "keyless"])
@pytest.mark.parametrize("words", LAST_WORDS, ids=lambda words: "-".join(word.__name__ for word in words))
def test_a_touch_ends_once(store: Store, clock: Clock, words: tuple[Word, ...], claim: Callable[[], Claim], lost: bool) -> None:
    """Whatever is said of a run at its end, and if another runs as long: one touch fewer, not two.

    A touch that ended twice would hide that the other still runs, so that the answer to a PUT that it overlapped is kept.
    """
    other, mine = whole(ITEM), claim()
    store.start(other)
    token = win(store, mine)
    if lost:
        clock.advance(LEASE)
        again = claim()
        assert store.release(again, win(store, again))
        words = words[:1] if words[0] is not save_what_cannot_be_framed else (save,)
    for word in words:
        word(store, mine, token)
    assert not quiet(store)
    store.end(other)
    assert quiet(store)


# ---- against a naive twin

PUT_A = ("put", ITEM, "A")
PATHS = ["/items", "/items/1", "/items/1/parts", "/items/2"]
STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(PATHS), st.sampled_from("AB")),
    st.tuples(st.sampled_from(["save", "release", "renew"]), st.integers(0, 5)),
    st.tuples(st.just("start"), st.sampled_from(PATHS)),
    st.tuples(st.sampled_from(["end", "linger"]), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.5, LEASE, WINDOW / 2, WINDOW - 1.0, WINDOW, 2 * WINDOW + 1.0])),
)


SEQUENCES = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(SEQUENCES, max_examples=300)
@given(st.lists(STEPS, max_size=40))
@example([("put", ITEM, "A"), ("save", 0), ("wait", WINDOW - 1.0), ("put", ITEM, "A")])
@example([("put", ITEM, "A"), ("start", ITEM), ("wait", 61.0), ("put", "/items/2", "A"), ("save", 0), ("put", ITEM, "A")])
@example([("put", "/x", "A"), ("wait", 15.0), PUT_A, ("save", 1), ("wait", 16.0), PUT_A, ("wait", 1.5), PUT_A])
def test_no_replay_that_a_naive_store_would_not_give(steps: list[tuple[Any, ...]]) -> None:
    """A store that remembers every event for ever agrees on each claim, however generations are forgotten in between."""
    for name in NEAR:
        agrees(name, steps)


@pytest.mark.parametrize("name", FAR)
@settings(SEQUENCES, max_examples=40)
@given(steps=st.lists(STEPS, max_size=40))
@example(steps=[("put", "/x", "A"), ("wait", 15.0), PUT_A, ("save", 1), ("wait", 16.0), PUT_A, ("wait", 1.5), PUT_A])
def test_no_replay_that_a_naive_store_would_not_give_at_a_server(name: str, steps: list[tuple[Any, ...]]) -> None:
    """The same of the stores on a network."""
    agrees(name, steps)


def agrees(name: str, steps: list[tuple[Any, ...]]) -> None:
    clock = Clock()
    twin = Twin(STORES[name](clock), clock, put, WINDOW)
    for step in steps:
        twin.do(*step)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=40))
def test_no_replay_that_a_flood_makes_wrong(steps: list[tuple[Any, ...]]) -> None:
    """Where generations must be forgotten early, because there are too many, answers are lost and never wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("verbguard.stores.memory._LINGERING", 1)
        clock = Clock()
        store = memory(clock)
        store._most_paths = store._share = 1
        twin = Twin(store, clock, put, WINDOW, forgets=True)
        for step in steps:
            twin.do(*step)


# ---- the memory store


def memory(clock: Clock, max_bytes: int = 64 << 20) -> MemoryStore:
    return MemoryStore(max_bytes, clock)


def large(size: int = 1_000) -> Record:
    return Record(200, [], b"x" * size)


def filled(store: MemoryStore, claim: Callable[[str], Claim], size: int = 1_000) -> list[Claim]:
    """Records until no more are taken, or twice as many as there is room for."""
    claims = []
    for number in range(2 * store.max_bytes // size):
        claims.append(claim(f"{number}"))
        try:
            run(store, claims[-1], large(size))
        except StoreError:
            return claims[:-1]
    return claims


def new_put(name: str) -> Claim:
    return put(name, f"/items/{name}")


def grown(job: Callable[[], object]) -> int:
    """By how many bytes this makes the process larger."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = job()
        grown = tracemalloc.get_traced_memory()[0] - before
        del kept
        return grown
    finally:
        tracemalloc.stop()


TABLES = 1.1  # CPython's tables grow in steps, so that some of their room is empty


def test_a_store_is_opened_by_its_url() -> None:
    """memory:// is the store of this process; each opening is a store of its own."""
    assert isinstance(open_store("memory://"), MemoryStore)
    assert not open_store().shared
    run(open_store(), keyed())
    win(open_store(), keyed())


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("memory:/", "memory://"),
        ("memroy://", "memory://"),
        ("", "memory://, postgresql://"),
        ("memory://x", "memory://"),
        ("mysql://host", "sqlite://"),
        ("sqlite", "sqlite://"),
        ("postgres://host", "postgresql://"),
    ],
)
def test_a_url_that_names_no_store(url: str, known: str) -> None:
    """The developer is told at start-up, with the spelling that would do."""
    with pytest.raises(ConfigError, match=known):
        open_store(url)


@pytest.mark.parametrize("claim", [keyed, put], ids=["keyed", "keyless"])
@pytest.mark.parametrize("size", [0, 100, 5_000])
def test_what_is_kept_is_bounded_in_bytes(clock: Clock, claim: Callable[[str], Claim], size: int) -> None:
    """Whatever the size of the answers, the process grows no further than `max_bytes`."""
    store = memory(clock, 1 << 20)

    def fill() -> None:
        for number in range(4 * store.max_bytes // (size + 200)):
            asked = claim(f"{number}")
            with suppress(StoreError):
                run(store, asked, Record(200, [], bytes(size)))

    assert grown(fill) <= store.max_bytes * TABLES


@pytest.mark.parametrize("pause", [0.0, 1 / 5_000])
@pytest.mark.parametrize("length", [10, 1_000])
@pytest.mark.parametrize("touching", [whole, naming], ids=["targets", "named by answers"])
def test_targets_are_bounded_in_bytes(clock: Clock, touching: Callable[[str], Touch], length: int, pause: float) -> None:
    """Nor can requests without a claim, each on a target of its own, fill the process, be they ever so many at once."""
    store = memory(clock, 4 << 20)

    def flood() -> None:
        for number in range(20_000):
            clock.advance(pause)
            touch = touching(f"/items/{'x' * length}{number}/part")
            store.start(touch)
            store.end(touch)

    assert grown(flood) <= store.max_bytes * TABLES


def test_a_full_store_says_so(clock: Clock) -> None:
    """No unexpired keyed answer is dropped for a new one: the new claim is refused, and the old ones are still there."""
    store = memory(clock, 100_000)
    claims = filled(store, keyed)
    assert 50 < len(claims) < 100
    with pytest.raises(StoreError, match="full"):
        store.claim(keyed("one more"))
    kept = [told(store.claim(claim)) for claim in claims]
    whole = [answer for answer in kept if answer == told(Done(large()))]
    assert kept[: len(whole)] == whole
    # the last ones, for which less than a whole answer's room was left, say at least that they have run
    rest = [answer[3] for answer in kept[len(whole) :]]
    assert len(rest) * 200 < 1_300
    assert set(rest) <= {State.TOO_LARGE}


def test_a_full_store_keeps_its_running_claims(clock: Clock) -> None:
    """They stay busy, can be renewed, and what is saved of them says at least that they have run."""
    store = memory(clock, 100_000)
    running = {name: win(store, keyed(name)) for name in ("one", "two", "three")}
    filled(store, keyed)
    for name, token in running.items():
        assert type(store.claim(keyed(name))) is Busy
        assert store.renew(keyed(name), token)
        assert store.save(keyed(name), token, Record(201, [(b"location", b"/x"), (b"x", b"1")], b"x" * 5_000))
        assert told(store.claim(keyed(name))) == (201, [(b"location", b"/x")], b"", State.TOO_LARGE)


def test_answers_without_a_key_make_room(clock: Clock) -> None:
    """They are only a convenience: every claim with a key still finds room, and those answers go, the oldest first."""
    store = memory(clock, 100_000)
    oldest = new_put("oldest")
    run(store, oldest, large())
    claims = filled(store, new_put)
    for number in range(60):
        run(store, keyed(f"k{number}"), large())
    assert all(type(store.claim(keyed(f"k{number}"))) is Done for number in range(60))
    assert not replays(store, oldest)
    assert replays(store, claims[-1])


def test_a_put_without_a_key_is_never_half_kept(clock: Clock) -> None:
    """Where its answer finds no room nothing is kept of it: nobody asked for a promise, and a repetition runs."""
    store = memory(clock, 20_000)
    for number in range(12):
        run(store, keyed(f"{number}"), large())
    for number in range(5):
        claim = new_put(f"{number}")
        with suppress(StoreError):
            run(store, claim, large(4_000))
            outcome = store.claim(new_put(f"{number}"))
            assert not isinstance(outcome, Done) or outcome.record.state is State.WHOLE


def test_answers_without_a_key_make_room_wherever_they_stand(clock: Clock) -> None:
    """Also behind answers with a key that live as long."""
    store = memory(clock, 100_000)

    def short(name: str) -> Claim:
        return Claim(digest("short", name), digest(name), whole("/other"), False, False, LEASE, WINDOW)

    for number in range(30):
        run(store, short(f"{number}"), large())
    filled(store, new_put)
    for number in range(30, 55):
        run(store, short(f"{number}"), large())
    assert [told(store.claim(short(f"{number}"))) for number in range(55)] == [told(Done(large()))] * 55
    clock.advance(WINDOW)
    filled(store, new_put)
    assert not any(held for ident, held in store._records.items() if ident == short("3").ident)


def test_expired_answers_make_room(clock: Clock) -> None:
    """A store that was full takes claims again when the time of its records is over."""
    store = memory(clock, 100_000)
    filled(store, keyed)
    clock.advance(KEEP)
    fresh = filled(store, lambda name: keyed("new" + name))
    assert [told(store.claim(claim)) for claim in fresh[:50]] == [told(Done(large()))] * 50


def test_what_is_gone_takes_no_room(clock: Clock) -> None:
    """Records that expired, were released, or aged leave nothing behind, without being asked for again."""
    store = memory(clock)
    for number in range(500):
        run(store, keyed(f"{number}"))
        run(store, new_put(f"{number}"))
        token = run(store, keyed("released"))
        store.release(keyed("released"), token)
    for _ in range(10):
        clock.advance(KEEP)
        win(store, keyed("a claim that comes by"))
        store.release(keyed("a claim that comes by"), store._serial)
    assert store.size == 0
    assert len(store._records) == 0
    assert sum(len(queue.idents) for queue in store._queues.values()) == 0


def test_an_answer_that_is_always_new_hides_no_expired_ones(clock: Clock) -> None:
    """Two clients who overwrite each other all day keep neither expired answers nor old places in a queue alive."""
    store = memory(clock)
    run(store, put("A"))
    for number in range(100):
        run(store, new_put(f"{number}"))
    for _ in range(50):
        clock.advance(WINDOW / 3)
        run(store, put("B"))
        run(store, put("A"))
    assert len(store._records) <= 2
    assert sum(len(queue.idents) for queue in store._queues.values()) <= 20


def test_generations_are_forgotten(clock: Clock) -> None:
    """After two windows nothing is left of a target that nobody writes to, save where a request still runs."""
    store = memory(clock)
    running = whole("/running")
    store.start(running)
    for number in range(500):
        run(store, new_put(f"{number}"))
    for _ in range(5):
        clock.advance(WINDOW)
        quiet(store)
    assert len(store._touched) <= 6
    assert len(store._swept) <= 6
    assert not quiet(store, "/running/below")
    store.end(running)
    assert quiet(store, "/running/below")


def test_a_flood_of_targets_hides_no_overlap(clock: Clock) -> None:
    """A PUT that ran while its collection was replaced is not kept, though that is forgotten when it ends."""
    store = memory(clock, 100_000)
    token = win(store, put())
    replacing = whole("/items")
    store.start(replacing)
    store.end(replacing)
    for number in range(1_000):
        other = whole(f"/others/{number}")
        store.start(other)
        store.end(other)
    assert "/items" not in store._swept
    store.save(put(), token, ANSWER)
    assert not replays(store, put())


def test_runs_that_were_cut_off_are_bounded(clock: Clock) -> None:
    """However many linger, few are remembered; until a window is over nothing they may write to is replayed."""
    store = memory(clock)
    for number in range(3_000):
        store.linger(whole(f"/items/{number}"))
    assert len(store._lingering) <= 1_000
    for number in (0, 1_500, 2_999):
        assert not quiet(store, f"/items/{number}")
    clock.advance(WINDOW)
    for number in (0, 1_500, 2_999):
        assert quiet(store, f"/items/{number}")


class Lines:
    """How many lines of Python run: what a claim costs, whatever the machine."""

    def __init__(self) -> None:
        self.count = 0

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        self.count += event == "line"
        return self._trace

    def of(self, job: Callable[[], object]) -> int:
        before, self.count = sys.gettrace(), 0
        sys.settrace(self._trace)
        try:
            job()
        finally:
            sys.settrace(before)
        return self.count


def test_a_claim_costs_the_same_whatever_is_stored(clock: Clock) -> None:
    """A claim that wins, a replay, a Busy and a save run exactly as many lines at 20,000 records as at 20."""

    def costs(records: int) -> list[int]:
        store = memory(clock)
        for number in range(records):
            run(store, keyed(f"{number}") if number % 2 else new_put(f"{number}"))
        new = new_put("new")
        jobs: list[Callable[[], object]] = [
            lambda: win(store, keyed("new")),
            lambda: store.claim(keyed("new")),
            lambda: store.claim(keyed("1")),
            lambda: store.claim(new_put("0")),
            lambda: store.save(keyed("new"), store._serial, ANSWER),
            lambda: run(store, new),
        ]
        return [Lines().of(job) for job in jobs]

    assert costs(20) == costs(20_000)


def test_no_claim_pays_for_a_whole_day(clock: Clock) -> None:
    """When 20,000 records expire at once, many claims share the work."""
    store = memory(clock)
    for number in range(20_000):
        run(store, keyed(f"{number}"))
    clock.advance(KEEP)
    assert Lines().of(lambda: win(store, keyed("new"))) < 20_000
    for number in range(20):
        win(store, keyed(f"new {number}"))
    assert store.size == 0
