"""`verbguard.current().record_in(...)`: an answer that is committed together with its effect is the result, whatever else
happens; one that is rolled back never was. Over real sockets, on every kind of connection, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from blackbox.answers import Answer
from blackbox.servers import talk, uvicorn_server, werkzeug_server
from psycopg_pool import ConnectionPool
from recorded.apps import DOORS, Script
from recorded.kinds import ASYNC, BLOCKING, KINDS, Place
from shared.files import fresh_file
from shared.postgres_server import any_postgres
from shared.postgres_stores import fresh_schema

import verbguard
from verbguard import ConfigError, Policy, Replay
from verbguard.stores import open as open_store
from verbguard.stores.postgres import PostgresStore
from verbguard.stores.sealing import new_key
from verbguard.stores.sqlite import SqliteStore

CASES = [
    (door, kind)
    for door in DOORS
    for kind in KINDS
    if kind in BLOCKING and door != "fastapi-async" or kind in ASYNC and door == "fastapi-async"
] + [("fastapi-async", "sqlite3"), ("fastapi-async", "psycopg")]


class Stage:
    """A guarded app behind a socket, its script and its effects."""

    def __init__(self, port: int, script: Script, store: Any) -> None:
        self.port = port
        self.script = script
        self.store = store

    def post(self, key: str | None = "one", target: str = "/effects", method: str = "POST") -> Answer:
        return talk(self.port, method, target, [("Idempotency-Key", key)] if key else [], b"{}")

    def effects(self) -> int:
        return counted(self.script.place)


def opened(dialect: str) -> Any:
    """A new store of this kind."""
    return open_store(store_url(dialect))


def counted(place: Place) -> int:
    query = f"SELECT count(*) FROM {place.table}"
    if place.where.startswith("postgresql"):
        with psycopg.connect(place.where) as connection:
            row = connection.execute(query).fetchone()  # type: ignore[arg-type]
            assert row is not None
            return int(row[0])
    with closing(sqlite3.connect(place.where, timeout=20)) as other:
        return int(other.execute(query).fetchone()[0])


def placed(dialect: str) -> Place:
    """A new table of effects."""
    if dialect == "sqlite":
        place = Place(str(fresh_file()))
        with closing(sqlite3.connect(place.where)) as connection:
            connection.execute(f"CREATE TABLE {place.table} (id INTEGER PRIMARY KEY, note TEXT)")
        return place
    table = "effects_" + fresh_schema().partition("schema=")[2].partition("&")[0]
    with psycopg.connect(any_postgres(), autocommit=True) as other:
        other.execute(f"CREATE TABLE {table} (id serial PRIMARY KEY, note text)")  # type: ignore[arg-type]
    return Place(any_postgres(), table)


def store_url(dialect: str) -> str:
    return f"sqlite:///{fresh_file()}" if dialect == "sqlite" else fresh_schema()


@contextmanager
def staged(door: str, kind: str, store: Any = None, **settings: Any) -> Iterator[Stage]:
    dialect = KINDS[kind][0]
    script = Script(placed(dialect), kind)
    kept = store if store is not None else opened(dialect)
    guarded = verbguard.guard(DOORS[door](script), store=kept, **settings)
    serve = uvicorn_server if door.startswith("fastapi") else werkzeug_server
    app = guarded.wsgi_app if door == "flask" else guarded
    with serve(app) as port:
        yield Stage(port, script, kept)
    if hasattr(kept, "close"):
        kept.close()


def same(first: Answer, second: Answer) -> None:
    """The retry has got exactly the first answer."""
    assert second.value("idempotent-replayed") == "true"
    assert (second.status, second.body) == (first.status, first.body)
    for name in ("location", "content-type", "x-number", "content-length"):
        assert first.value(name) in (second.value(name), None), name  # the length of a stream is known to its retry only


# ---- every kind of connection, in every kind of handler


@pytest.mark.parametrize(("door", "kind"), CASES)
def test_what_the_transaction_did_is_the_result(door: str, kind: str) -> None:
    """Rolled back, or raised before the commit: no effect, no record, and the retry runs, also where the handler claimed
    success. Committed: one effect, and every retry gets exactly that answer."""
    with staged(door, kind) as stage:
        stage.script.steps["one"] = ["rollback", "raise", "lie", "commit"]
        seen = [stage.post().status for _ in range(3)]
        assert seen == [409, 500, 201], seen
        assert stage.effects() == 0
        first = stage.post()
        assert (first.status, stage.effects(), len(stage.script.runs)) == (201, 1, 4)
        for _ in range(2):
            same(first, stage.post())
        assert (stage.effects(), len(stage.script.runs)) == (1, 4)
        assert set(stage.script.recorded) == {True}


# ---- what the handler says afterwards


EACH = [("fastapi-def", "sqlite3"), ("fastapi-async", "async-psycopg"), ("flask", "session-sqlite"), ("flask", "psycopg")]


@pytest.mark.parametrize(("door", "kind"), EACH)
@pytest.mark.parametrize("step", ["commit-raise", "commit-fail"])
def test_a_failure_after_the_commit_overwrites_nothing(door: str, kind: str, step: str) -> None:
    """A handler that raises or answers 500 though it has committed: the retry gets the committed answer, again and again."""
    with staged(door, kind) as stage:
        stage.script.steps["one"] = [step]
        assert stage.post().status == 500
        for _ in range(2):
            retry = stage.post()
            assert (retry.status, retry.body, retry.value("x-number")) == (201, b'{"effect": 1}', "1")
            assert retry.value("idempotent-replayed") == "true"
        assert (stage.effects(), len(stage.script.runs)) == (1, 1)


@pytest.mark.parametrize(("door", "kind"), EACH)
def test_without_a_key_nothing_is_recorded(door: str, kind: str) -> None:
    """`record_in` says False, and a second request is a second effect."""
    with staged(door, kind) as stage:
        assert [stage.post(None).status for _ in range(2)] == [201, 201]
        assert stage.script.recorded == [False, False]
        assert stage.effects() == 2


@pytest.mark.parametrize(("door", "kind"), [("fastapi-def", "sqlite3"), ("flask", "psycopg")])
def test_a_put_without_a_key_is_replayed_but_not_recorded(door: str, kind: str) -> None:
    """Its answer may become stale, and must not outlive its window in the application's database."""
    with staged(door, kind) as stage:
        answers = [stage.post(None, "/effects/7", "PUT") for _ in range(2)]
        assert [answer.value("idempotent-replayed") for answer in answers] == [None, "true"]
        assert stage.script.recorded == [False]


@pytest.mark.parametrize(("door", "kind"), EACH)
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_a_location_that_the_guard_adds_is_in_the_record_too(door: str, kind: str, pairs: bool, fails: bool) -> None:
    """Whether or not the process lived to send its answer, the client reads where the new resource is. Fields may be pairs."""
    with staged(door, kind) as stage:
        fields: Any = {"Content-Type": "application/json"}
        told = list(fields.items()) if pairs else fields
        stage.script.answer = lambda number: (201, told, json.dumps({"id": number}).encode())
        stage.script.steps["one"] = ["commit-raise" if fails else "commit"]
        first, retry = stage.post(), stage.post()
        assert fails or first.value("location") == "/effects/1"
        assert (retry.status, retry.value("location"), retry.body) == (201, "/effects/1", b'{"id": 1}')
        assert stage.effects() == 1


def test_the_guard_tells_of_its_repair_once() -> None:
    """What it does to the record is not another finding."""
    heard: list[verbguard.Finding] = []
    with staged("flask", "sqlite3", observers=[heard.append]) as stage:
        stage.script.answer = lambda number: (201, {"Content-Type": "application/json"}, json.dumps({"id": number}).encode())
        stage.post()
    assert [finding.rule for finding in heard if "location" in finding.rule] == ["post-201-location"]


# ---- commits that come late


def test_a_commit_after_the_answer_is_waited_for() -> None:
    """A dependency that commits when the answer has left: until then nothing is kept, so that a failure there frees the key."""
    from fastapi import Depends, FastAPI
    from fastapi.responses import Response

    place = placed("sqlite")
    fails = [True, False]

    def session() -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(place.where, timeout=20, check_same_thread=False)
        try:
            yield connection
            if fails.pop(0):
                connection.rollback()
            else:
                connection.commit()
        finally:
            connection.close()

    app = FastAPI()

    runs = []

    @app.post("/effects")
    def effects(connection: sqlite3.Connection = Depends(session)) -> Response:  # noqa: B008
        runs.append(1)
        connection.execute(place.insert, {"note": "late"}).fetchone()
        verbguard.current().record_in(connection, 201, {}, b"made")
        return Response(b"made", 201)

    store = open_store(store_url("sqlite"))
    policies = {"POST /effects": Policy(replay=Replay(wait=10.0))}
    with uvicorn_server(verbguard.guard(app, store=store, policies=policies)) as port:
        seen = []
        for expected in (0, 1, 1):
            answer = talk(port, "POST", "/effects", [("Idempotency-Key", "one")], b"{}")
            seen.append((answer.status, answer.value("idempotent-replayed")))
            if expected:
                until(lambda: counted(place) == 1)
        assert seen == [(201, None), (201, None), (201, "true")]
        assert (counted(place), len(runs)) == (1, 2)


def until(true: Any) -> None:
    """Wait for something that is about to happen."""
    end = time.monotonic() + 20.0
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


# ---- mistakes that are told


def refused(door: str, kind: str, store: Any, place: Place | None = None) -> str:
    """What the ConfigError of `record_in` says; nothing was kept by it."""
    with staged(door, kind, store) as stage:
        if place is not None:
            stage.script.place = place
        assert stage.post().status == 500
        (message,) = stage.script.errors
        return message


@pytest.mark.parametrize("door", ["fastapi-def", "flask"])
def test_a_store_that_cannot_says_which_can(door: str) -> None:
    """memory:// with a key: an error that names the stores to take."""
    assert "sqlite:///" in refused(door, "sqlite3", open_store())


def test_another_database_system_is_told() -> None:
    """A connection of PostgreSQL with a store of SQLite, and the other way round."""
    assert "sqlite" in refused("flask", "psycopg", open_store(store_url("sqlite")))
    assert "postgresql" in refused("flask", "sqlite3", open_store(store_url("postgresql")))


def test_a_database_without_the_table_is_told() -> None:
    """A connection to another database than the store's."""
    with psycopg.connect(any_postgres(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS elsewhere")
        connection.execute("CREATE DATABASE elsewhere")
    url = any_postgres().rpartition("/")[0] + "/elsewhere"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE effects (id serial PRIMARY KEY, note text)")
    assert "another database" in refused("flask", "psycopg", open_store(fresh_schema()), Place(url))
    assert "another database" in refused("flask", "session-postgresql", open_store(fresh_schema()), Place(url))


def test_the_stores_own_file_is_told(tmp_path: Path) -> None:
    """An application's transaction in the store's file would keep every lease waiting, also under another name of the file."""
    place = placed("sqlite")
    other = tmp_path / "another-name.db"
    other.symlink_to(place.where)
    assert "file of its own" in refused("flask", "sqlite3", SqliteStore(other), place)


class Holding:
    """A WSGI app that calls `record_in` with what a test gives it."""

    def __init__(self, make: Any) -> None:
        self.make = make
        self.errors: list[BaseException] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with closing(self.make()) as connection:
            try:
                verbguard.current().record_in(connection, 201)
            except Exception as error:
                self.errors.append(error)
        start_response("201 Created", [("Content-Length", "0")])
        return [b""]


def held(make: Any, dialect: str) -> BaseException:
    app = Holding(make)
    with closing(opened(dialect)) as store, werkzeug_server(verbguard.guard(app, store=store)) as port:
        talk(port, "POST", "/effects", [("Idempotency-Key", "one")], b"{}")
    (error,) = app.errors
    return error


class Stranger:
    """Something that can be closed, and no more."""

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("make", "dialect", "says"),
    [
        (lambda: sqlite3.connect(":memory:"), "sqlite", "in memory"),
        (lambda: sqlite3.connect(fresh_file(), isolation_level=None), "sqlite", "begin a transaction"),
        (lambda: psycopg.connect(any_postgres(), autocommit=True), "postgresql", "begin a transaction"),
        (Stranger, "sqlite", "no connection of"),
    ],
)
def test_connections_that_cannot_are_told(make: Any, dialect: str, says: str) -> None:
    """A database in memory, a connection that commits by itself, an object that is no connection."""
    error = held(make, dialect)
    assert isinstance(error, ConfigError) and says in str(error), error


def test_an_alchemy_connection_that_commits_by_itself_is_told() -> None:
    """AUTOCOMMIT of SQLAlchemy's, for both databases."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    for dialect, url in (
        ("sqlite", f"sqlite:///{fresh_file()}"),
        ("postgresql", any_postgres().replace("postgresql:", "postgresql+psycopg:")),
    ):
        engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        error = held(engine.connect, dialect)
        assert isinstance(error, ConfigError) and "begin a transaction" in str(error), error


def test_a_pipeline_cannot_tell_and_says_so() -> None:
    """In psycopg's pipeline nobody knows yet whether the answer was written, and an effect must not be committed without it."""

    class Piped:
        def __init__(self) -> None:
            self.connection = psycopg.connect(any_postgres())
            self.pipeline = self.connection.pipeline()
            self.pipeline.__enter__()

        def close(self) -> None:
            self.pipeline.__exit__(None, None, None)
            self.connection.close()

    class App(Holding):
        def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
            with closing(Piped()) as piped:
                try:
                    verbguard.current().record_in(piped.connection, 201)
                except Exception as error:
                    self.errors.append(error)
            start_response("201 Created", [("Content-Length", "0")])
            return [b""]

    app = App(None)
    with closing(opened("postgresql")) as store, werkzeug_server(verbguard.guard(app, store=store)) as port:
        talk(port, "POST", "/effects", [("Idempotency-Key", "one")], b"{}")
    assert [type(error) for error in app.errors] == [ConfigError]


# ---- stores in other shapes


@pytest.mark.parametrize(("door", "kind"), EACH)
def test_answers_are_sealed_and_keys_rotate(door: str, kind: str) -> None:
    """What stands in the application's database cannot be read there; a store with a newer key in front opens it."""
    old, new = new_key(), new_key()
    url = store_url(KINDS[kind][0])
    secret = b'{"card": "4111"}'
    with staged(door, kind, open_store(url, keys=[old])) as stage:
        stage.script.answer = lambda number: (201, {"Content-Type": "application/json"}, secret)
        stage.script.steps["one"] = ["commit-raise"]
        assert stage.post().status == 500
        place = stage.script.place
        kept = answers_in(place, stage.store)
        assert len(kept) == 1 and secret not in kept[0]
    for keys, status in (([new, old], 201), ([new], 409)):
        store = open_store(url, keys=keys)
        script = Script(place, kind)
        guarded = verbguard.guard(DOORS[door](script), store=store)
        serve = uvicorn_server if door.startswith("fastapi") else werkzeug_server
        with closing(store), serve(guarded.wsgi_app if door == "flask" else guarded) as port:  # type: ignore[type-var]
            retry = Stage(port, script, store).post()
        assert retry.status == status, retry
        assert (retry.body == secret) == (status == 201)
        assert counted(place) == 1


def answers_in(place: Place, store: Any) -> list[bytes]:
    query = f"SELECT record FROM {store.answers}"
    if place.where.startswith("postgresql"):
        with psycopg.connect(place.where) as connection:
            return [row[0] for row in connection.execute(query)]
    with closing(sqlite3.connect(place.where)) as other:
        return [row[0] for row in other.execute(query)]


def test_a_pool_of_the_users_own_serves_asyncio_too() -> None:
    """`PostgresStore(pool)` under FastAPI, over threads."""
    schema = fresh_schema().partition("schema=")[2].partition("&")[0]
    with ConnectionPool(any_postgres(), min_size=1, max_size=4, open=True) as pool:
        store = PostgresStore(pool, schema=schema)
        with staged("fastapi-async", "async-psycopg", store) as stage:
            stage.script.steps["one"] = ["rollback", "commit-raise"]
            assert [stage.post().status for _ in range(3)] == [409, 500, 201]
            assert stage.effects() == 1


# ---- second runs of a key


@pytest.mark.parametrize(("door", "kind"), [*EACH, ("wsgi-generator", "sqlite3")])
def test_a_second_run_gets_the_first_ones_answer(door: str, kind: str) -> None:
    """A run whose key another one has committed already (its claim was evicted, or its store's file lost): its own effect is
    rolled back, and its client gets the committed answer."""
    with staged(door, kind) as stage:
        stage.script.steps["one"] = ["commit"]
        first = stage.post()
        forget(stage)
        second = stage.post()
        assert (first.status, second.status, second.body, stage.effects()) == (201, 201, first.body, 1)
        assert len(stage.script.runs) == 2
        same(first, stage.post())
        assert len(stage.script.runs) == 2


def forget(stage: Stage) -> None:
    """The store loses its entries, and counts its tokens from the beginning."""
    if isinstance(stage.store, SqliteStore):
        with closing(sqlite3.connect(stage.store.path, isolation_level=None)) as connection:
            connection.execute("DELETE FROM verbguard_entries")
            connection.execute("UPDATE verbguard_state SET serial = 0")
        return
    prefix = stage.store._commands.prefix
    with psycopg.connect(any_postgres(), autocommit=True) as other:
        other.execute(f"ALTER SEQUENCE {prefix}verbguard_serial RESTART")
        other.execute(f"DELETE FROM {prefix}verbguard_entries")
        # a claim would find the answer itself; hide it until the second run has begun
        other.execute(
            f"CREATE OR REPLACE FUNCTION {prefix}hidden() RETURNS trigger LANGUAGE plpgsql AS $$"
            f" BEGIN UPDATE {prefix}verbguard_answers SET expires = expires + 1e9; RETURN NEW; END $$;"
            f" UPDATE {prefix}verbguard_answers SET expires = expires - 1e9;"
            f" CREATE TRIGGER hidden AFTER INSERT ON {prefix}verbguard_entries FOR EACH ROW EXECUTE FUNCTION {prefix}hidden()"
        )


def test_record_in_may_be_called_again_by_the_same_run() -> None:
    """A handler that tries its transaction again, or thinks better of its answer before it commits: the last word counts."""
    place = placed("sqlite")

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with closing(sqlite3.connect(place.where)) as connection:
            current = verbguard.current()
            for attempt in (b"first", b"second"):
                connection.execute(place.insert, {"note": "x"}).fetchone()
                current.record_in(connection, 201, {}, attempt)
                connection.rollback()
            connection.execute(place.insert, {"note": "x"}).fetchone()
            current.record_in(connection, 201, {}, b"third")
            current.record_in(connection, 202, {}, b"last")
            connection.commit()
        start_response("202 Accepted", [("Content-Length", "4")])
        return [b"last"]

    with closing(opened("sqlite")) as store, werkzeug_server(verbguard.guard(app, store=store)) as port:
        answers = [talk(port, "POST", "/effects", [("Idempotency-Key", "one")], b"{}") for _ in range(2)]
    assert [(answer.status, answer.body) for answer in answers] == [(202, b"last")] * 2
    assert counted(place) == 1


def test_outside_of_a_request_nothing_is_recorded() -> None:
    """A script that shares code with a handler."""
    with closing(sqlite3.connect(":memory:")) as connection:
        assert verbguard.current().record_in(connection, 201) is False
    assert (verbguard.current().key, verbguard.current().claimed) == (b"", False)


def test_every_way_of_sqlite3_is_tested() -> None:
    """The third one exists since Python 3.12."""
    assert ("sqlite3-autocommit-off" in BLOCKING) == (sys.version_info >= (3, 12))
