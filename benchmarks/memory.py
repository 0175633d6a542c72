"""What does a stored answer cost, does a full store make requests slower, and what do large requests and answers take?

Each line fills a store with answers of 1 kB, through the guard, in a process of its own; the floor is the hand-written
guard of floor.py, which keeps each answer as one bytes object. Then the same requests are timed again with few and with
many records stored, in one process and taking turns. Last, real servers get an upload of 64 MiB and give an answer of 10 MiB,
guarded and not: neither may be held in memory (see streaming.py).

    python benchmarks/memory.py                      # 1,000 and 100,000 records, about two minutes
    python benchmarks/memory.py --records 1000 20000
    python benchmarks/memory.py --streams            # only the large requests and answers, half a minute
    python benchmarks/memory.py --gate               # exit status 1 when a goal is missed

How to read it:

    bytes      growth of the process for each record (at 1,000 records the allocator's first blocks weigh in)
    tracked    objects for each record that the cyclic garbage collector has to visit; they make its pauses grow
    full       milliseconds of one full collection afterwards, and how many times that of a process with nothing stored
    pause      the longest collection that a request had to wait for while the store filled
    first      microseconds of a first request (claim, application, save) with so many records stored
    bare, guarded, added    MiB by which one large exchange raises the peak of a server's process, the median of three

After filling, the oldest and the newest request are repeated: a store that dropped them stops the benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contenders import policies
from floor import FloorASGI
from harness import Contender, Estimate, Goal, Progress, interleave, machine, parser, ratio, report_goals, table
from streaming import measure as measure_streams
from traffic import ROWS, ASGIApp, BareASGI, Row, WrongAnswer, run_asgi, serials

ANSWER = json.dumps({"id": 1, "name": "x" * 976}).encode().ljust(1_000)
BATCH = 1_000
PUT, POST = (next(row for row in ROWS if row.name == name) for name in ("first keyless PUT", "first keyed POST"))
REPEATED = {row.name: next(other for other in ROWS if other.replay and other.keyed == row.keyed) for row in (PUT, POST)}


def guarded(app: ASGIApp) -> ASGIApp:
    from verbguard import Replay
    from verbguard.asgi import GuardMiddleware
    from verbguard.stores.memory import MemoryStore

    # Room for a hundred thousand answers of 1 kB and more, which the default of 64 MiB has not, and time to fill it.
    store = MemoryStore(max_bytes=1 << 30)
    return GuardMiddleware(app, policies=policies(replay=Replay(window=3_600)), store=store)


LINES: dict[str, tuple[Callable[[ASGIApp], ASGIApp], Row]] = {
    "floor, keyed POST": (FloorASGI, POST),
    "verbguard, keyed POST": (guarded, POST),
    "floor, keyless PUT": (FloorASGI, PUT),
    "verbguard, keyless PUT": (guarded, PUT),
}


# ------------------------------------------------------------------------------- what a process of its own measures
class Pauses:
    """The longest collection so far, in nanoseconds."""

    def __init__(self) -> None:
        self.longest = self._started = 0
        gc.callbacks.append(self)

    def __call__(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._started = time.perf_counter_ns()
        else:
            self.longest = max(self.longest, time.perf_counter_ns() - self._started)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def full_collection() -> float:
    """Milliseconds, the best of three: what has nothing to do with the records must not count."""
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        gc.collect()
        spent.append((time.perf_counter() - start) * 1e3)
    return min(spent)


async def fill(app: ASGIApp, row: Row, count: int, title: str = "") -> list[int]:
    """Let so many first requests be answered; their serial numbers."""
    progress, numbers = Progress(), serials(count)
    progress.title = title
    for start in range(0, count, BATCH):
        await run_asgi(app, row, numbers[start : start + BATCH], ANSWER)
        progress.step(f"{start + BATCH:,} of {count:,} records")
    progress.done()
    return numbers


async def weigh(line: str, count: int) -> dict[str, float]:
    """Bytes, tracked objects and collections of `count` records."""
    wrap, row = LINES[line]
    inner = BareASGI(ANSWER)
    app = wrap(inner)
    await fill(app, row, BATCH // 10)  # what is made once, at the first requests, is not a record's
    empty = full_collection()
    objects, before = len(gc.get_objects()), resident()
    pauses = Pauses()
    numbers = await fill(app, row, count, line)
    ends = [numbers[0], numbers[-1]]
    del numbers
    gc.collect()
    grown, tracked = resident() - before, len(gc.get_objects()) - objects
    longest = pauses.longest
    full = full_collection()
    calls = inner.calls
    await run_asgi(app, REPEATED[row.name], ends, ANSWER)
    if inner.calls != calls:
        raise WrongAnswer(f"{line}: {count} records were stored, and a repeated request ran again")
    return {
        **{"bytes": grown / count, "tracked": tracked / count, "full": full, "empty": empty, "pause": longest / 1e6},
    }


async def claims(line: str, counts: list[int]) -> dict[int, list[float]]:
    """Nanoseconds of first requests with each number of records stored, taking turns."""
    wrap, row = LINES[line]
    entered = []
    for count in counts:
        app = wrap(BareASGI(ANSWER))
        await fill(app, row, count, f"{line}, first requests at {count:,} records")

        async def chunk(size: int, app: ASGIApp = app) -> int:
            return await run_asgi(app, row, serials(size), ANSWER)

        entered.append(Contender(str(count), chunk))
    await interleave(entered, rounds=40, milliseconds=2, progress=Progress())
    return {count: contender.times for count, contender in zip(counts, entered, strict=True)}


# ---------------------------------------------------------------------------------------------- the whole table
def child(task: str, *arguments: object) -> Any:
    """Run a task in a process of its own; its progress is shown, its result is JSON."""
    command = [sys.executable, __file__, "--child", task, *map(str, arguments)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(answer.stdout)


STREAMED = ("peak of a server process, MiB", "bare", "guarded", "added")
HEAD = ("answers of 1 kB", "records", "bytes", "tracked", "full ms", "x empty", "pause ms", "first us")


def measure(counts: list[int]) -> tuple[list[tuple[str, ...]], list[Goal]]:
    rows: list[tuple[str, ...]] = []
    goals: list[Goal] = []
    progress = Progress()
    weights: dict[tuple[str, int], dict[str, float]] = {}
    for line in LINES:
        progress.start(f"{line}: first requests")
        times = child("claims", line, *counts)
        timed = [Contender(str(count), None, times[str(count)]) for count in counts]  # type: ignore[arg-type]
        for count, contender in zip(counts, timed, strict=True):
            progress.start(f"{line}: {count:,} records")
            found = weights[line, count] = child("weigh", line, count)
            figures = (f"{found['bytes']:,.0f}", f"{found['tracked']:.2f}", f"{found['full']:.1f}")
            more = (f"{found['full'] / found['empty']:.2f}", f"{found['pause']:.1f}", f"{contender.microseconds:.2f}")
            rows.append((line, f"{count:,}", *figures, *more))
        if line.startswith("verbguard"):
            text = f"{line}: first request at {counts[-1]:,} records, x at {counts[0]:,}"
            goals.append(Goal(10, text, ratio(timed[-1], timed[0]), 1.15))
    for line in LINES:
        if not line.startswith("verbguard"):
            continue
        found, floor = weights[line, counts[-1]], weights[line.replace("verbguard", "floor"), counts[-1]]
        goals += [
            Goal(11, f"{line}: bytes a record, x floor", exact(found["bytes"] / floor["bytes"]), 1.15),
            Goal(11, f"{line}: bytes a record", exact(found["bytes"]), 1_500),
            Goal(11, f"{line}: tracked objects a record", exact(found["tracked"]), 0.005),  # none, and a table's few
            Goal(11, f"{line}: full collection, x with an empty store", exact(found["full"] / found["empty"]), 2),
        ]
    return rows, sorted(goals, key=lambda goal: goal.number)


def exact(value: float) -> Estimate:
    return Estimate(value, value, value)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--records", type=int, nargs="+", default=[1_000, 100_000], help="how many are stored (default: 1000 100000)"
    )
    arguments.add_argument("--streams", action="store_true", help="only the large requests and answers")
    arguments.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        task, line, *counts = options.child
        sizes = [int(count) for count in counts]
        try:
            print(json.dumps(asyncio.run(weigh(line, sizes[0]) if task == "weigh" else claims(line, sizes))))
        except WrongAnswer as wrong:
            sys.exit(f"stopped, since what does not guard cannot be measured: {wrong}")
        return 0
    try:
        rows, goals = ([], []) if options.streams else measure(sorted(options.records))
        streams, more = measure_streams(Progress())
    except subprocess.CalledProcessError as failed:
        return failed.returncode  # the child has said why
    except WrongAnswer as wrong:
        sys.exit(f"stopped, since what does not guard cannot be measured: {wrong}")
    print(machine(("verbguard", "starlette", "werkzeug", "uvicorn", "waitress")), end="\n\n")
    if rows:
        print(table(HEAD, rows), end="\n\n")
    print(table(STREAMED, streams))
    goals += more
    return 0 if report_goals(goals, "goal") or not options.gate else 1


if __name__ == "__main__":
    sys.exit(main())
