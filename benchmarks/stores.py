"""What does a shared store cost, beside the bare driver and beside others?

    python benchmarks/stores.py
    python benchmarks/stores.py --only redis --rounds 40

For Redis and PostgreSQL: a first POST with a key and its replay, one client at a time, in units of one bare call of the driver
(a Lua script that reads and writes one key; a SELECT of one row); then 64 clients at once. For SQLite: claims and saves of
64 clients, beside a thread that commits each statement by itself; and a replay beside a SELECT. The servers are private ones
on the loopback address; the other libraries are those that are installed (see rivals.py). Takes about two minutes.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import rivals
from harness import Chunk, Contender, Estimate, Goal, Progress, interleave, machine, parser, ratio, report_goals, table

CLIENTS = 64
BODY = b'{"text": "' + b"y" * 180 + b'"}'
PACKAGES = ["verbguard", "redis", "hiredis", "psycopg", "fastapi-idempotency-key", "idemgate", "idemkit", "idempotency-kit"]

_keys = count()
WHY = {
    16: "Two round trips are most of it, each with a process that is woken on either side; beside them are the guard's "
    "reading of the request and of its answer, and scripts that also keep the generations of what the request touches.",
    18: "A first request is two durable commits, which are two INSERTs by themselves; each of ours writes two tables, and "
    "the guard stands around them. A replay is one statement with two look-ups.",
    64: "Server and clients share two cores. With Redis it is Python that is full: the guard, what a script is told and what "
    "it answers; the best of the others, which keep no generations, take twice that. With PostgreSQL both are.",
    17: "One statement carries 64 claims or saves, and more than a third of the time is the log of the file: a new key "
    "changes a page of its own in the index of keys, which come in no order, while the baseline adds to the end of its. "
    "The rest is Python, in two threads.",
}


def key() -> bytes:
    """One that was never used."""
    return b"key-%d-%d" % (os.getpid(), next(_keys))


async def ask(app: Any, name: bytes, replayed: bool | None) -> None:
    """One POST with this key, whose answer must be the first or a replay."""
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(BODY)),
        (b"authorization", b"Bearer token"),
        (b"idempotency-key", name),
    ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/orders",
        "raw_path": b"/orders",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    messages = [{"type": "http.request", "body": BODY, "more_body": False}]
    said: list[Any] = []

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        said.append(message)

    await app(scope, receive, send)
    marked = any(field.lower() == b"idempotent-replayed" for field, _ in said[0]["headers"])
    if said[0]["status"] != 201 or (replayed is not None and marked != replayed):
        raise AssertionError(f"{said[0]}: not the answer that was to be measured")


def firsts(app: Any, *, clients: int = 1, mine: bool = False) -> Chunk:
    """Requests with new keys, by so many clients at once."""
    return _timed(lambda: ask(app, key(), False if mine else None), clients)


def replays(app: Any, *, mine: bool = False) -> Chunk:
    """The same request again and again."""
    name = key()

    async def chunk(size: int) -> int:
        await ask(app, name, None)
        return await _timed(lambda: ask(app, name, True if mine else None), 1)(size)

    return chunk


def _timed(job: Callable[[], Awaitable[Any]], clients: int) -> Chunk:
    async def chunk(size: int) -> int:
        turns = iter(range(size))

        async def client() -> None:
            for _ in turns:
                await job()

        before = time.perf_counter_ns()
        if clients == 1:
            await client()
        else:
            await asyncio.gather(*(client() for _ in range(clients)))
        return time.perf_counter_ns() - before

    return chunk


Rows = list[tuple[str, ...]]


async def compare(
    title: str,
    url: str,
    makers: Mapping[str, Callable[[str], rivals.Opened]],
    calls: Mapping[str, Chunk],
    rounds: int,
    progress: Progress,
) -> tuple[Rows, dict[str, Estimate]]:
    """First requests, replays and 64 clients at once of each library, in units of a bare call that writes, or reads."""
    opened: dict[str, rivals.Opened] = {}
    for name, make in makers.items():
        try:
            opened[name] = make(url)
            await ask(opened[name][0], key(), None)
        except ImportError:
            print(f"left out: {name} is not installed (see benchmarks/rivals.py)")
            opened.pop(name, None)
        except Exception as error:
            print(f"left out: {name}: {type(error).__name__}: {error}")
            opened.pop(name, None)
    bare = {name: Contender(name, call) for name, call in calls.items()}
    first = {name: Contender(name, firsts(app, mine=name == "verbguard")) for name, (app, _) in opened.items()}
    again = {name: Contender(name, replays(app, mine=name == "verbguard")) for name, (app, _) in opened.items()}
    many = {name: Contender(name, firsts(app, clients=CLIENTS)) for name, (app, _) in opened.items()}
    progress.start(f"{title}: one client at a time")
    usable = {name for name in opened if await _replays(again[name])}
    together = [*bare.values(), *first.values(), *(again[name] for name in usable)]
    await interleave(together, rounds=rounds, milliseconds=25, progress=progress)
    progress.start(f"{title}: {CLIENTS} clients at once")
    await interleave(list(many.values()), rounds=max(5, rounds // 2), milliseconds=150, progress=progress)
    rows: Rows = []
    for name in opened:
        replay = str(ratio(again[name], bare["read"])) if name in usable else "fails"
        rate = f"{1e9 / _median(many[name]):,.0f}"
        rows.append((name, str(ratio(first[name], bare["write"])), replay, rate))
    found = {"first": ratio(first["verbguard"], bare["write"]), "replay": ratio(again["verbguard"], bare["read"])}
    others = [name for name in many if name != "verbguard"]
    if others:
        best = min((many[name] for name in others), key=_median)
        found["clients"] = ratio(many["verbguard"], best)
        print(f"{title}: the best of the others with {CLIENTS} clients is {best.name}")
    for _, close in opened.values():
        await close()
    unit = f"one bare call: {bare['write'].microseconds:.0f} us to write, {bare['read'].microseconds:.0f} us to read"
    return [(unit, "1", "1", ""), *rows], found


def _median(contender: Contender) -> float:
    return contender.microseconds * 1e3


async def _replays(contender: Contender) -> bool:
    try:
        await contender.chunk(3)
    except AssertionError:
        return False  # every retry is refused, as measured in the survey
    return True


# ---- Redis

_SCRIPT = (
    "local held = redis.call('GET', KEYS[1]) if not held then redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) end return held"
)


async def redis_part(rounds: int, progress: Progress) -> list[Goal]:
    from redis.asyncio import Redis
    from shared.redis_server import redis_server

    with redis_server() as server:
        client = Redis.from_url(server.url)
        sha = await client.script_load(_SCRIPT)
        there = key()
        calls = {
            "write": _timed(lambda: client.evalsha(sha, 1, key(), rivals.ANSWER), 1),
            "read": _timed(lambda: client.evalsha(sha, 1, there, rivals.ANSWER), 1),
        }
        rows, found = await compare("Redis", server.url, rivals.REDIS, calls, rounds, progress)
        progress.done()
        print("\n" + table(("Redis, in bare Lua calls", "first POST", "replay", f"requests/s, {CLIENTS} clients"), rows))
        trips = await counted(client, server.url)
        await client.aclose()
    print(f"commands counted by the server: {trips[0]:g} for a first request, {trips[1]:g} for a replay")
    return [
        Goal(16, "Redis: commands of a first request", Estimate.of([trips[0]]), 2),
        Goal(16, "Redis: commands of a replay", Estimate.of([trips[1]]), 1),
        Goal(16, "Redis: first keyed POST / bare Lua call", found["first"], 2.2),
        Goal(16, "Redis: replay / bare Lua call", found["replay"], 1.3),
        Goal(64, f"Redis: time with {CLIENTS} clients / best other's", found.get("clients"), 1 / 3, "no other is installed"),
    ]


async def counted(client: Any, url: str) -> tuple[float, float]:
    """(commands of a first request, of a replay), as the server counts them."""
    app, close = rivals.verbguard(url)
    await ask(app, key(), False)

    async def commands() -> int:
        stats = await client.info("commandstats")
        return sum(each["calls"] for name, each in stats.items() if name.startswith("cmdstat_evalsha"))

    before, names = await commands(), [key() for _ in range(50)]
    for name in names:
        await ask(app, name, False)
    between = await commands()
    for name in names:
        await ask(app, name, True)
    after = await commands()
    await close()
    return (between - before) / 50, (after - between) / 50


# ---- PostgreSQL


async def postgres_part(rounds: int, progress: Progress) -> list[Goal]:
    import psycopg
    from shared.postgres_server import postgres_server

    with postgres_server() as server:
        connection = await psycopg.AsyncConnection.connect(server.url, autocommit=True)
        await connection.execute("CREATE TABLE bare (id bytea PRIMARY KEY, record bytea)")
        there = key()

        async def insert(name: bytes) -> None:
            await connection.execute("INSERT INTO bare VALUES (%s, %s) ON CONFLICT DO NOTHING", (name, rivals.ANSWER))

        async def select() -> None:
            await (await connection.execute("SELECT record FROM bare WHERE id = %s", (there,))).fetchone()

        await insert(there)
        calls = {"write": _timed(lambda: insert(key()), 1), "read": _timed(select, 1)}

        _idemkit_table(server.url)
        rows, found = await compare("PostgreSQL", server.url, rivals.POSTGRES, calls, rounds, progress)
        progress.done()
        print("\n" + table(("PostgreSQL, in bare statements", "first POST", "replay", f"requests/s, {CLIENTS} clients"), rows))
        written = await _written(connection, server.url)
        await connection.close()
    return [
        Goal(18, "PostgreSQL: bytes of WAL that a replay writes", Estimate.of([written]), 0),
        Goal(18, "PostgreSQL: first keyed POST / bare INSERT", found["first"], 2.2),
        Goal(18, "PostgreSQL: replay / bare SELECT", found["replay"], 1.3),
        Goal(
            64, f"PostgreSQL: time with {CLIENTS} clients / best other's", found.get("clients"), 1 / 3, "no other is installed"
        ),
    ]


def _idemkit_table(url: str) -> None:
    """Its table, which its own command line makes."""
    if find_spec("idemkit") is not None:
        command = [str(Path(sys.executable).parent / "idemkit"), "init-pg", url, "--table", "idemkit_records"]
        subprocess.run(command, check=False, capture_output=True)


async def _written(connection: Any, url: str) -> float:
    """Bytes of the write-ahead log for each of 200 replays; the least of several, since the server works for itself as well."""
    app, close = rivals.verbguard(url)
    name = key()
    await ask(app, name, False)
    least = float("inf")
    for _ in range(5):
        before = await _position(connection)
        for _ in range(200):
            await ask(app, name, True)
        least = min(least, (await _position(connection) - before) / 200)
    await close()
    return least


async def _position(connection: Any) -> float:
    row = await (await connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")).fetchone()
    return float(row[0])


# ---- SQLite


async def sqlite_part(rounds: int, progress: Progress) -> list[Goal]:
    goals: list[Goal] = []
    rows: Rows = []
    for level, limit in (("NORMAL", 1 / 3), ("FULL", 1 / 8)):
        with tempfile.TemporaryDirectory() as folder:
            progress.start(f"SQLite, {level}: {CLIENTS} clients at once")
            together, close_store = _grouped(Path(folder) / "ours.db", level)
            alone, close_bare = _autocommitted(Path(folder) / "bare.db", level)
            ours, bare = Contender("verbguard", together), Contender("autocommit", alone)
            await interleave([ours, bare], rounds=max(5, rounds // 2), milliseconds=150, progress=progress)
            close_store()
            close_bare()
        rows += [(f"{each.name}, {level}", f"{1e9 / _median(each):,.0f}") for each in (ours, bare)]
        goals.append(Goal(17, f"SQLite {level}: time with {CLIENTS} clients / autocommit's", ratio(ours, bare), limit))
    with tempfile.TemporaryDirectory() as folder:
        progress.start("SQLite: a replay")
        replay, select, close = _hits(Path(folder) / "hits.db")
        ours, bare = Contender("replay", replay), Contender("SELECT", select)
        await interleave([ours, bare], rounds=rounds, milliseconds=10, progress=progress)
        close()
    progress.done()
    print("\n" + table((f"SQLite, claims and saves of {CLIENTS} clients", "pairs/s"), rows))
    return [*goals, Goal(17, "SQLite: hit / bare SELECT", ratio(ours, bare), 2)]


def _claim(name: bytes) -> Any:
    from verbguard.records import Claim

    return Claim(name, b"f" * 32, None, False, False, principal=b"p" * 16, key=name, method="POST", path="/orders")


def _record() -> Any:
    from verbguard.records import Record

    return Record(201, [(b"content-type", b"application/json"), (b"location", b"/orders/7")], rivals.ANSWER)


def _grouped(path: Path, level: str) -> tuple[Chunk, Callable[[], None]]:
    from verbguard.stores.sqlite import SqliteStore

    store = SqliteStore(path, synchronous=level, timeout=30.0)
    aio, record = store.aio, _record()

    async def pair() -> None:
        claim = _claim(key())
        won: Any = await aio.claim(claim)
        await aio.save(claim, won.token, record)

    return _timed(pair, CLIENTS), store.close


def _autocommitted(path: Path, level: str) -> tuple[Chunk, Callable[[], None]]:
    """One thread, one connection, one commit a statement."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {level}")
    connection.execute("CREATE TABLE bare (ident BLOB PRIMARY KEY, record BLOB)")
    pool = ThreadPoolExecutor(1)
    record = _record().pack()

    async def pair() -> None:
        loop, name = asyncio.get_running_loop(), key()
        insert = "INSERT INTO bare VALUES (?, NULL) ON CONFLICT DO NOTHING"
        await loop.run_in_executor(pool, connection.execute, insert, (name,))
        await loop.run_in_executor(pool, connection.execute, "UPDATE bare SET record = ? WHERE ident = ?", (record, name))

    def close() -> None:
        pool.shutdown()
        connection.close()

    return _timed(pair, CLIENTS), close


def _hits(path: Path) -> tuple[Chunk, Chunk, Callable[[], None]]:
    from verbguard.stores.sqlite import SqliteStore

    store = SqliteStore(path)
    claim, statement = _claim(key()), "SELECT token, fingerprint, until, view, started, data FROM verbguard_entries LIMIT 1"
    won: Any = store.claim(claim)
    store.save(claim, won.token, _record())
    connection = sqlite3.connect(path, isolation_level=None)

    async def replay() -> None:
        store.claim(claim)

    async def select() -> None:
        connection.execute(statement).fetchone()

    def close() -> None:
        connection.close()
        store.close()

    return _timed(replay, 1), _timed(select, 1), close


PARTS: dict[str, Callable[[int, Progress], Awaitable[list[Goal]]]] = {
    "redis": redis_part,
    "postgresql": postgres_part,
    "sqlite": sqlite_part,
}


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--only", choices=PARTS, action="append", help="measure this store only; may be given again")
    made.add_argument("--rounds", type=int, default=24, help="rounds of each comparison (default: 24)")
    arguments = made.parse_args()
    print(machine(PACKAGES))
    progress, goals = Progress(), []
    for name in arguments.only or PARTS:
        goals += asyncio.run(PARTS[name](arguments.rounds, progress))
    good = report_goals(goals, "goal", WHY)
    return 0 if good or not arguments.gate else 1


if __name__ == "__main__":
    sys.exit(main())
