"""What the writer of a SQLite store remembers from one transaction to the next is as the file says, or forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from shared.files import fresh_file
from shared.sequences import Clock

from verbguard.errors import StoreError
from verbguard.records import Busy, Claim, Done, Outcome, Record, Touch, Won, whole
from verbguard.stores import sqlite_writing, transitions
from verbguard.stores.sealing import digest_of
from verbguard.stores.sqlite import SqliteStore
from verbguard.stores.sqlite_writing import Work, Writing

ANSWER = Record(201, [(b"location", b"/orders/1")], b"made")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Iterator[SqliteStore]:
    with closing(SqliteStore(fresh_file(), clock=clock)) as opened:
        opened.health()  # which sweeps, for a second, and so forgets
        yield opened


@pytest.fixture
def other(store: SqliteStore, clock: Clock) -> Iterator[SqliteStore]:
    """Another process, as far as the file is concerned."""
    with closing(SqliteStore(store.path, clock=clock)) as opened:
        yield opened


def asked(key: bytes = b"key") -> Claim:
    return Claim(key, b"print", key=key, principal=b"somebody", method="POST", path="/orders")


def put(path: str) -> Claim:
    return Claim(path.encode(), b"print", whole(path), True, True, 10.0, 30.0, b"", b"", "PUT", path)


def won(store: SqliteStore, claim: Claim) -> int:
    outcome = store.claim(claim)
    assert isinstance(outcome, Won)
    return outcome.token


def reads(store: SqliteStore) -> list[str]:
    """What the writer reads from now on."""
    assert store._writer is not None
    said: list[str] = []
    store._writer._connection.set_trace_callback(lambda text: said.append(text) if text.startswith("SELECT") else None)
    return said


def test_what_was_written_is_not_read_again(store: SqliteStore) -> None:
    """A run that this process began is saved, and its path aged, without a look at either."""
    claim = Claim(b"key", b"print", whole("/orders"))
    token = won(store, claim)
    said = reads(store)
    assert store.save(claim, token, ANSWER)
    assert said == []


def test_what_is_kept_says_who_asked(store: SqliteStore) -> None:
    """An answer is written into the row of its run, which goes on to say what it was for, and until when."""
    token = won(store, asked())
    (run,) = store.entries()
    assert store.save(asked(), token, ANSWER)
    (kept,) = store.entries()
    assert (kept.name, kept.method, kept.path, kept.principal, kept.key, kept.token) == (
        (run.name, "POST", "/orders", b"somebody", run.key, token)
    )
    assert (kept.state, kept.status, kept.left) == ("done", 201, asked().keep)
    assert kept.size == len(ANSWER.pack())


def test_a_run_that_another_process_ended(store: SqliteStore, other: SqliteStore) -> None:
    """An operator's word counts, and the run hears that its own comes too late."""
    token = won(store, asked())
    assert other.complete(digest_of(b"key"), ANSWER, 60.0, "olga")
    assert store.save(asked(), token, Record(500, [])) is False
    outcome = store.claim(asked())
    assert isinstance(outcome, Done) and outcome.record.status == 201


def test_a_path_that_another_process_changed(store: SqliteStore, other: SqliteStore) -> None:
    """What a PUT answered is not kept when somebody else wrote there meanwhile."""
    token = won(store, put("/items/1"))
    other.bump(whole("/items/1"))
    assert store.save(put("/items/1"), token, ANSWER)
    assert isinstance(store.claim(put("/items/1")), Won)


def test_an_answer_that_counts_no_more(store: SqliteStore, other: SqliteStore) -> None:
    """Its row is that of the next run, also where all of that happens in one transaction."""
    claim = put("/items/1")
    token = won(store, claim)

    def all_at_once(rows: Writing, now: float) -> Outcome:
        transitions.save(rows, claim, token, ANSWER.pack(), now)
        transitions.bump(rows, whole("/items/1"), now)
        return transitions.claim(rows, claim, now)

    assert isinstance(store.write(all_at_once), Won)
    assert isinstance(other.claim(put("/items/1")), Busy)


def test_what_an_operator_does_here_is_known(store: SqliteStore) -> None:
    """Also by the same connection, past what is remembered."""
    token = won(store, asked())
    assert store.evict(digest_of(b"key"), "olga")
    assert store.save(asked(), token, ANSWER) is False
    assert list(store.entries()) == []


def test_what_was_rolled_back_is_forgotten(store: SqliteStore) -> None:
    """A transaction that failed has begun no run, and changed no path."""
    view = won(store, put("/items/1"))
    claim = asked()

    def fails(rows: Writing, now: float) -> None:
        transitions.claim(rows, claim, now)
        transitions.bump(rows, whole("/items/1"), now)
        raise StoreError("this one")

    with pytest.raises(StoreError, match="this one"):
        store.write(fails)
    assert store.write(lambda rows, now: rows.entry(claim.ident)) is None
    assert store.save(put("/items/1"), view, ANSWER)
    assert isinstance(store.claim(put("/items/1")), Done)


def test_what_was_swept_away_is_forgotten(store: SqliteStore, clock: Clock) -> None:
    """A run whose time was over so long ago that its row is deleted is not there for its own process either."""
    token = won(store, asked())
    clock.now += asked().keep + asked().lease + 2.0
    store.health()  # which sweeps
    assert store.stats()["unknown"] == 0
    assert store.save(asked(), token, ANSWER) is False
    assert list(store.entries()) == []


def test_what_is_touched_is_read_together(store: SqliteStore, other: SqliteStore) -> None:
    """Of the paths that the runs of one transaction touch: each knows what another process has done there."""
    paths = [f"/items/{number}" for number in range(70)]
    claims = [put(path) for path in paths]
    runs = {number: won(other, Claim(b"run %d" % number, b"print", claims[number].touch)) for number in (3, 65)}

    def saved(number: int) -> Callable[[Writing, float], None]:
        def save(rows: Writing, now: float) -> None:
            outcome = transitions.claim(rows, claims[number], now)
            assert isinstance(outcome, Won)
            transitions.save(rows, claims[number], outcome.token, ANSWER.pack(), now)

        return save

    store.health()  # which reads the state anew
    said = reads(store)
    store._transaction([Work(claim.ident, saved(number), claim.touch) for number, claim in enumerate(claims)])
    assert len(said) < 20  # of some 140 generations
    kept = [number for number, path in enumerate(paths) if isinstance(other.claim(put(path)), Done)]
    assert kept == [number for number in range(70) if number not in runs]


def test_only_so_much_is_remembered(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that nobody ends, and paths that nobody asks for again, do not fill memory; the file knows them."""
    monkeypatch.setattr(sqlite_writing, "_REMEMBERED", 8)
    tokens = {number: won(store, Claim(b"%d" % number, b"print", whole(f"/{number}"))) for number in range(30)}
    assert store._writer is not None
    assert len(store._writer._running) <= 9 and len(store._writer._generations) <= 9 + 4
    for number, token in tokens.items():
        assert isinstance(store.claim(Claim(b"%d" % number, b"print")), Busy)
        assert store.save(Claim(b"%d" % number, b"print", whole(f"/{number}")), token, ANSWER)


def test_two_names_of_one_row(store: SqliteStore) -> None:
    """A path that is no text shares its row with the one that spells it: who runs there is known in both."""
    odd, spelled = (Touch(path, ("",), (path,)) for path in ("/\udc80", "/\\udc80"))
    store.bump(odd)
    claim = Claim(b"put", b"print", spelled, True, True, 10.0, 30.0)
    won(store, Claim(b"key", b"print", odd))
    token = won(store, claim)
    assert store.save(claim, token, ANSWER)
    assert isinstance(store.claim(claim), Won)  # it was not kept, since somebody ran there
