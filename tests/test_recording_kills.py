"""Exactly once, whatever is killed: servers as processes of their own, `kill -9` at every point and at any moment, processes
that are stopped until another has taken their place. In the end there is one effect for each key, and its answer."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import pytest
from blackbox.answers import Answer
from blackbox.servers import talk
from recorded.killed import LEASE, POINTS
from recorded.kinds import Place
from shared.files import fresh_file
from shared.postgres_server import any_postgres
from test_recording import counted, placed, store_url

TESTS = Path(__file__).parent
PATIENCE = 30.0
KILLS = 6
DOORS = ("fastapi", "flask")
DIALECTS = ("sqlite", "postgresql")
BEFORE = POINTS[: POINTS.index("committed")]


@dataclass
class Killable:
    """A server that starts again when it is killed."""

    folder: Path
    place: Place
    store: str
    port: int

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    def ask(self, key: str, target: str = "/effects") -> Answer | None:
        """One request; None where the server went away."""
        try:
            answer = talk(self.port, "POST", target, [("Idempotency-Key", key)], b"{}")
        except (OSError, IndexError, ValueError):
            return None
        return answer if answer.value("content-length") in (None, str(len(answer.body))) else None

    def until(self, key: str, wanted: int = 201) -> Answer:
        """Try again, as a client does, until that is the answer."""
        end, seen = time.monotonic() + PATIENCE, []
        while time.monotonic() < end:
            answer = self.ask(key)
            if answer is not None and answer.status == wanted:
                return answer
            seen.append(None if answer is None else answer.status)
            time.sleep(0.02)
        raise AssertionError(f"{wanted} did not come: {seen[-20:]}")

    def arm(self, point: str, how: str = "die") -> None:
        (self.folder / f"{how}-{point}").touch()

    def reaches(self, point: str) -> None:
        until(lambda: (self.folder / f"at-{point}").exists())

    def go_on(self, point: str) -> None:
        (self.folder / f"at-{point}").unlink()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


@contextmanager
def killable(door: str, place: Place, store: str, after_crash: str = "rerun") -> Iterator[Killable]:
    folder = fresh_file().with_suffix("")
    folder.mkdir()
    command = [sys.executable, "-m", "recorded.killed", door, store, place.where, place.table, str(folder), after_crash]
    path = os.pathsep.join((str(TESTS), str(TESTS.parent)))
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, start_new_session=True)
    try:
        until(lambda: (folder / "pid").exists())
        yield Killable(folder, place, store, int((folder / "port").read_text()))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def rows(place: Place) -> list[tuple[int, str]]:
    query = f"SELECT id, note FROM {place.table} ORDER BY id"
    if place.where.startswith("postgresql"):
        with psycopg.connect(place.where) as connection:
            return list(connection.execute(query))  # type: ignore[call-overload]
    import sqlite3

    with closing(sqlite3.connect(place.where, timeout=20)) as other:
        return list(other.execute(query))


def answers(place: Place, store: str) -> int:
    """How many records are committed in the application's database."""
    if not place.where.startswith("postgresql"):
        return sum(count for _, count in counts_of_answers(place))
    schema = store.partition("schema=")[2].partition("&")[0]
    with psycopg.connect(place.where) as connection:
        found = connection.execute("SELECT to_regclass(%s)", (f"{schema}.verbguard_answers",)).fetchone()
        return counted(Place(place.where, f"{schema}.verbguard_answers")) if found and found[0] else 0


def counts_of_answers(place: Place) -> list[tuple[str, int]]:
    import sqlite3

    with closing(sqlite3.connect(place.where, timeout=20)) as other:
        there = other.execute("SELECT name FROM sqlite_master WHERE name = 'verbguard_answers'").fetchall()
    return [(name, counted(Place(place.where, name))) for (name,) in there]


def matches(answer: Answer, place: Place) -> None:
    """There is one effect of this key, and the answer is about it."""
    told = json.loads(answer.body)
    assert [(number, key) for number, key in rows(place) if key == told["key"]] == [(told["id"], told["key"])]
    assert answer.value("location") == f"/effects/{told['id']}"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_a_kill_at_any_point_leaves_both_or_neither(door: str, dialect: str) -> None:
    """Killed before the transaction, between the effect and `record_in`, before the commit: neither. After the commit, before
    the answer leaves, after it: both. A retry at another process ends in one effect and its answer, every time."""
    place, store = placed(dialect), store_url(dialect)
    with killable(door, place, store) as server:
        for before, point in enumerate(POINTS):
            server.arm(point)
            first = server.ask(point)
            assert first is None or point == "left"
            until(lambda point=point: not (server.folder / f"die-{point}").exists())  # type: ignore[misc]
            both = before + (point not in BEFORE)
            assert (counted(place), answers(place, store)) == (both, both), point
            answer = server.until(point)
            matches(answer, place)
            assert (counted(place), answers(place, store)) == (before + 1, before + 1), point
            assert (answer.value("idempotent-replayed") == "true") == (point not in BEFORE), point


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_post_that_was_not_committed_stays_unknown_unless_the_route_says_otherwise(dialect: str) -> None:
    """The guard cannot know what else a handler has done: 409 after the lease. What was committed is known all the same."""
    place = placed(dialect)
    with killable("fastapi", place, store_url(dialect), "unknown") as server:
        server.arm("recorded")
        assert server.ask("lost") is None
        time.sleep(LEASE)  # what is waited for is the time itself
        unknown = server.until("lost", 409)
        until(lambda: json.loads((server.ask("lost") or unknown).body)["rule"] == "idem-outcome-unknown")
        assert counted(place) == 0
        server.arm("committed")
        assert server.ask("kept") is None
        matches(server.until("kept"), place)
        assert counted(place) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_kills_at_random_moments(door: str, dialect: str) -> None:
    """Forty keys or more, five clients that try again until they have an answer, a server that is killed six times: one effect
    for each key, and the answers are those of the rows."""
    place = placed(dialect)
    numbers, kills = count(), 0
    found: dict[str, Answer] = {}
    with killable(door, place, store_url(dialect)) as server:
        over = threading.Event()

        def strike() -> None:
            nonlocal kills
            dice, struck = random.Random(7), 0
            while kills < KILLS and not over.wait(dice.uniform(0.1, 0.6)):
                if server.pid != struck:
                    struck = server.pid
                    os.kill(struck, signal.SIGKILL)
                    kills += 1

        def send() -> None:
            while (number := next(numbers)) < 40 or kills < KILLS:
                found[f"key-{number}"] = server.until(f"key-{number}")

        killer = threading.Thread(target=strike)
        killer.start()
        try:
            with ThreadPoolExecutor(5) as clients:
                for client in [clients.submit(send) for _ in range(5)]:
                    client.result()
        finally:
            over.set()
            killer.join()
        assert counted(place) == len(found) >= 40
        for answer in found.values():
            matches(answer, place)
        for key, answer in list(found.items())[:40]:
            again = server.until(key)
            assert (again.body, again.value("idempotent-replayed")) == (answer.body, "true")
        assert counted(place) == len(found)


# ---- a process that was thought dead


@contextmanager
def two(door: str, dialect: str) -> Iterator[tuple[Killable, Killable]]:
    place, store = placed(dialect), store_url(dialect)
    with killable(door, place, store) as one, killable(door, place, store) as other:
        yield one, other


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_a_process_that_wakes_up_too_late_commits_nothing(door: str, dialect: str) -> None:
    """Stopped for longer than its lease, while another process has run the request: its transaction is rolled back, and its
    client gets the answer that was committed."""
    with two(door, dialect) as (one, other), ThreadPoolExecutor(1) as client:
        point = "effect" if dialect == "postgresql" else "begun"  # an effect in SQLite locks the other process out
        one.arm(point, "wait")
        late = client.submit(one.ask, "key")
        one.reaches(point)
        stopped = one.pid
        os.kill(stopped, signal.SIGSTOP)
        try:
            answer = other.until("key")
            matches(answer, one.place)
            one.go_on(point)
        finally:
            os.kill(stopped, signal.SIGCONT)
        told = late.result()
        assert told is not None and (told.status, told.body) == (201, answer.body)
        assert told.value("idempotent-replayed") == "true"
        assert counted(one.place) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_a_process_that_wakes_up_before_its_successor_commits_is_the_first(door: str, dialect: str) -> None:
    """Stopped between `record_in` and its commit, and woken while another process runs the request: the first commit counts,
    the successor's effect is rolled back, and both clients get the one answer."""
    with two(door, dialect) as (one, other), ThreadPoolExecutor(2) as clients:
        one.arm("recorded", "wait")
        late = clients.submit(one.ask, "key")
        one.reaches("recorded")
        stopped = one.pid
        os.kill(stopped, signal.SIGSTOP)
        try:
            other.arm("begun", "wait")
            second = clients.submit(other.until, "key")
            other.reaches("begun")
            one.go_on("recorded")
            other.go_on("begun")
        finally:
            os.kill(stopped, signal.SIGCONT)
        first = late.result()
        assert first is not None and first.status == 201
        assert second.result().body == first.body
        matches(second.result(), one.place)
        assert counted(one.place) == 1


# ---- leases and open transactions


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_an_open_transaction_keeps_its_claim_and_nobody_else_waiting(door: str, dialect: str) -> None:
    """A handler that holds its transaction open for four leases keeps its claim: a retry hears that it is running, at once, and
    other requests are claimed at once. Then it commits."""
    place, store = placed(dialect), store_url(dialect)
    with killable(door, place, store, "unknown") as server, ThreadPoolExecutor(1) as client:
        server.arm("recorded", "wait")
        slow = client.submit(server.ask, "slow")
        server.reaches("recorded")
        end, number, longest = time.monotonic() + 4 * LEASE, 0, 0.0
        while (before := time.monotonic()) < end:
            number += 1
            retry, other = server.ask("slow"), server.ask(f"other-{number}", "/others")
            longest = max(longest, time.monotonic() - before)
            assert retry is not None and (retry.status, json.loads(retry.body)["rule"]) == (409, "idem-key-inflight-409")
            assert other is not None and other.status == 200
        server.go_on("recorded")
        answer = slow.result()
        assert answer is not None and answer.status == 201
        matches(answer, place)
        assert number > 10 and longest < LEASE, (number, longest)


def test_a_locked_database_of_the_application_is_no_reason_to_run_twice() -> None:
    """An EXCLUSIVE transaction of SQLite keeps even readers out. Whether a killed run has committed cannot be seen then: the
    retry hears 409 at once and does not run, and other keys are not delayed."""
    import sqlite3

    place = placed("sqlite")
    with killable("flask", place, store_url("sqlite")) as server:
        server.arm("committed")
        assert server.ask("key") is None
        with closing(sqlite3.connect(place.where, isolation_level=None, timeout=20)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            end = time.monotonic() + 2 * LEASE
            while (before := time.monotonic()) < end:
                retry, other = server.ask("key"), server.ask(f"other-{before}", "/others")
                assert retry is not None and (retry.status, json.loads(retry.body)["rule"]) == (409, "idem-key-inflight-409")
                assert other is not None and other.status == 200
                assert time.monotonic() - before < 1.5  # who waits for a locked file waits for 2 seconds
            holder.execute("ROLLBACK")
        matches(server.until("key"), place)
        assert counted(place) == 1


def test_the_server_of_these_tests_is_there() -> None:
    """Where no PostgreSQL can be had this says so, and nothing is skipped."""
    assert any_postgres().startswith("postgresql://")
