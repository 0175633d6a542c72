"""How much does the guard cost a request?

Each row is one kind of request, answered by four contenders in one process: the bare application, a middleware that
does nothing, a guard written by hand for exactly these routes (floor.py), and verbguard with a policy for each of
twenty routes. No server and no socket is involved, and the memory store is used.

    python benchmarks/overhead.py                        # the whole table, about half a minute
    python benchmarks/overhead.py --only WSGI --rounds 10
    python benchmarks/overhead.py --gate                 # exit status 1 when a goal is missed

How to read it: the contenders take turns in short chunks, in an order shuffled for each round, and a ratio is the
median over the rounds of the ratio within one round. So `x floor 1.30` means "30 % dearer than the floor" even on a
machine that is busy with something else; microseconds are worth comparing only within one table. A replay and a
refusal are compared with the unguarded application that runs the same request, since that is what they save.

While it is measured, each answer is checked, and so is how often the application ran: a guard that does not guard
stops the benchmark instead of looking fast. The goals below the table are those of the project; goals about other
packages are measured where these are installed. Goals 10 and 11 are measured by memory.py. The second table is about
start-up: see startup.py.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import contenders
from harness import Chunk, Contender, Estimate, Goal, Progress, interleave, machine, parser, ratio, report_goals, table
from startup import ROUTES, startups
from traffic import ROWS, BareASGI, BareWSGI, Row, WrongAnswer, run_asgi, run_wsgi, serials

PACKAGES = ("verbguard", "starlette", "werkzeug", *contenders.RIVALS)
RENEWAL = 10_000  # requests, after which a contender starts with an empty store
MEGABYTE = b'{"name": "' + b"y" * 999_988 + b'"}'
Measured = dict[tuple[str, str], dict[str, Contender]]


# ---------------------------------------------------------------------------------------------------- chunks
def asgi_chunk(wrap: contenders.Wrap, row: Row) -> Chunk:
    """Requests of this row to a wrapped application, checked after the clock stopped."""
    inner, app, served = BareASGI(), None, 0

    async def chunk(count: int) -> int:
        nonlocal inner, app, served
        if app is None or served > RENEWAL:
            inner = BareASGI()
            app, served = wrap(inner), 0
            await run_asgi(app, ROWS[0], serials(1))  # what is done once, at the first request, is not the question
        served += count
        numbers = serials(count)
        if row.replay:
            await run_asgi(app, row.first(), numbers)
        before = inner.calls
        spent = await run_asgi(app, row, numbers)
        _check_runs(row, inner.calls - before, count)
        return spent

    return chunk


def wsgi_chunk(wrap: contenders.Wrap, row: Row) -> Chunk:
    """The same for WSGI; a coroutine function that never waits."""
    inner, app, served = BareWSGI(), None, 0

    async def chunk(count: int) -> int:
        nonlocal inner, app, served
        if app is None or served > RENEWAL:
            inner = BareWSGI()
            app, served = wrap(inner), 0
            run_wsgi(app, ROWS[0], serials(1))
        served += count
        numbers = serials(count)
        if row.replay:
            run_wsgi(app, row.first(), numbers)
        before = inner.calls
        spent = run_wsgi(app, row, numbers)
        _check_runs(row, inner.calls - before, count)
        return spent

    return chunk


def hash_chunk(data: bytes) -> Chunk:
    """Nothing but the digest of the content: the floor of any guard that compares contents."""

    async def chunk(count: int) -> int:
        start = time.perf_counter_ns()
        for _ in range(count):
            sha256(data).digest()
        return time.perf_counter_ns() - start

    return chunk


def _check_runs(row: Row, ran: int, count: int) -> None:
    if ran != (count if row.runs else 0):
        raise WrongAnswer(f"{row.name}: the application ran {ran} times for {count} requests")


FRAMEWORKS = {"ASGI": ("Starlette", "FastAPI"), "WSGI": ("Flask",)}
CHUNKS = {"ASGI": asgi_chunk, "WSGI": wsgi_chunk}
# What a well-known middleware of the frameworks costs on the same GET.
STOCK: dict[str, tuple[str, contenders.Wrap]] = {
    "ASGI": ("CORSMiddleware", contenders.cors),
    "WSGI": ("ClosingIterator", contenders.closing),
}


# --------------------------------------------------------------------------------------------------- measuring
def drive(interface: str, work: Coroutine[Any, Any, None]) -> None:
    """ASGI runs on an event loop; WSGI code must not find one, so its coroutine is stepped by hand."""
    if interface == "ASGI":
        asyncio.run(work)
        return
    try:
        work.send(None)
    except StopIteration:
        return
    raise RuntimeError("a WSGI contender waited for an event loop")


def field(interface: str, row: Row) -> dict[str, Contender]:
    """The contenders of one row."""
    chunk = CHUNKS[interface]
    entered: dict[str, tuple[contenders.Wrap, Row]] = {
        name: (wrap, row.unguarded() if name in ("bare", "no-op") else row)
        for name, wrap in contenders.CONTENDERS[interface].items()
    }
    if row.name == "idle GET":
        name, wrap = STOCK[interface]
        entered[name] = (wrap, row)
    if row.keyed:
        names = {"ASGI": ("fastapi-idempotency-key", "asgi-idempotency-header"), "WSGI": ("idemkit",)}[interface]
        wraps = {name: contenders.rival(name) for name in names}
        entered |= {name: (wrap, replace(row, marked=False)) for name, wrap in wraps.items() if wrap}
    return {name: Contender(name, chunk(wrap, asked)) for name, (wrap, asked) in entered.items()}


class Bench:
    """What was measured so far, and how."""

    def __init__(self, rounds: int, milliseconds: float) -> None:
        self.rounds, self.milliseconds = rounds, milliseconds
        self.progress = Progress()
        self.rows: Measured = {}
        self.extras: dict[str, dict[str, Contender]] = {}
        self.startups: dict[str, tuple[Estimate, Estimate, Estimate]] = {}

    def time(self, interface: str, title: str, entered: dict[str, Contender]) -> dict[str, Contender]:
        self.progress.start(f"{interface} {title}")
        chunks = interleave(list(entered.values()), rounds=self.rounds, milliseconds=self.milliseconds, progress=self.progress)
        drive(interface, chunks)
        self.progress.done()
        return entered

    def measure(self, interfaces: Sequence[str]) -> None:
        for interface in interfaces:
            for row in ROWS:
                self.rows[interface, row.name] = self.time(interface, row.name, field(interface, row))
        if "ASGI" in interfaces:
            self.extras = {name: self.time("ASGI", name, entered()) for name, entered in EXTRAS.items()}
        frameworks = [name for interface in interfaces for name in FRAMEWORKS[interface]]
        self.startups = startups(self.rounds, set(frameworks))


def untouched() -> dict[str, Contender]:
    """A GET of a route whose policy leaves nothing to do."""
    wraps = {"no-op": contenders.NoOpASGI, "verbguard": contenders.untouched_asgi}
    return {name: Contender(name, asgi_chunk(wrap, ROWS[0])) for name, wrap in wraps.items()}


def megabyte() -> dict[str, Contender]:
    """A PUT with a megabyte of content."""
    row = replace(ROWS[1], sent=MEGABYTE)
    verbguard = Contender("verbguard", asgi_chunk(contenders.guarded_asgi, row))
    return {"sha256": Contender("sha256", hash_chunk(MEGABYTE)), "verbguard": verbguard}


def templates() -> dict[str, Contender]:
    """A GET in a table of ten and in one of a thousand routes."""
    wraps = {"no-op": contenders.NoOpASGI, "10": contenders.guarded_by(10), "1000": contenders.guarded_by(1000)}
    return {name: Contender(name, asgi_chunk(wrap, ROWS[0])) for name, wrap in wraps.items()}


EXTRAS: dict[str, Callable[[], dict[str, Contender]]] = {
    "untouched GET": untouched,
    "PUT of 1 MB": megabyte,
    "10 and 1,000 templates": templates,
}


# --------------------------------------------------------------------------------------------------- reporting
def rows(measured: Measured) -> Iterable[tuple[str, ...]]:
    for (interface, name), entered in measured.items():
        guarded = entered["verbguard"]
        times = (f"{entered[other].microseconds:.2f}" for other in ("bare", "no-op", "floor", "verbguard"))
        ratios = (str(ratio(guarded, entered[other])) for other in ("bare", "no-op", "floor"))
        yield (f"{interface} {name}", *times, *ratios)


HEAD = ("request", "bare us", "no-op us", "floor us", "verbguard us", "x bare", "x no-op", "x floor")


def goals(bench: Bench) -> list[Goal]:
    """The goals of the project that this benchmark can judge."""
    found: list[Goal] = []

    def goal(number: int, interface: str, row: str, versus: str, limit: float, *, added: bool = False) -> None:
        entered = bench.rows.get((interface, row)) or bench.extras.get(row)
        if entered is None:
            return
        text = f"{interface} {row}, {'added cost ' if added else ''}x {versus}"
        if versus not in entered:
            found.append(Goal(number, text, None, limit, f"{versus} is not installed"))
            return
        over = entered["bare"] if added else None
        found.append(Goal(number, text, ratio(entered["verbguard"], entered[versus], over=over), limit))

    goal(1, "ASGI", "idle GET", "floor", 1.25)
    goal(1, "ASGI", "idle GET", "no-op", 2.2)
    goal(1, "ASGI", "idle GET", "CORSMiddleware", 1.0)  # the stretch goal
    goal(2, "ASGI", "untouched GET", "no-op", 1.35)
    for first in ("first keyless PUT", "first keyed POST"):
        goal(3, "ASGI", first, "floor", 1.4)
    goal(3, "ASGI", "first keyed POST", "fastapi-idempotency-key", 0.8, added=True)
    goal(3, "ASGI", "first keyed POST", "asgi-idempotency-header", 0.2, added=True)
    for again in ("keyless replay", "keyed replay"):
        goal(4, "ASGI", again, "floor", 1.4)
    goal(4, "ASGI", "keyed replay", "fastapi-idempotency-key", 0.4)
    goal(4, "ASGI", "keyed replay", "asgi-idempotency-header", 0.9)
    for interface in ("ASGI", "WSGI"):
        goal(5, interface, "refusal", "floor", 1.5)
    goal(6, "WSGI", "idle GET", "floor", 1.3)
    goal(6, "WSGI", "idle GET", "ClosingIterator", 1.0)
    for row in ("first keyless PUT", "keyless replay", "first keyed POST", "keyed replay"):
        goal(7, "WSGI", row, "floor", 1.6)
    goal(7, "WSGI", "keyed replay", "idemkit", 0.1)
    goal(8, "ASGI", "PUT of 1 MB", "sha256", 1.08)
    if tables := bench.extras.get("10 and 1,000 templates"):
        added: Estimate = ratio(tables["1000"], tables["10"], over=tables["no-op"])
        found.append(Goal(9, "ASGI GET with 1,000 templates, added cost x with 10", added, 1.15))
    for name, (_, _, both) in bench.startups.items():
        found.append(Goal(12, f"{name}, start-up with {ROUTES} routes, ms beyond the application's own", both, 100))
    return found


# What is known of the reasons where a goal is missed; told beside the figures.
WRITES = (
    "the floor compares a digest and bumps one generation. A write through the guard also weighs every field that may say who "
    "asks or change what is meant, counts who else runs on the target, above and below it, renews and fences its claim, ages "
    "what the answer names, and keeps the answer's head changeable until the rules have spoken: some fifty calls of Python."
)
WHY = {
    1: "the floor looks at the status alone; here the head of each answer is searched for the fields that a rule waits for.",
    2: "a path is looked up segment by segment before anybody knows that nothing is to be done.",
    3: WRITES,
    4: "the same question is asked as for a first write, and only the application is spared.",
    5: "the method table, the observers and the question whether the connection must end come before the refusal.",
    8: "the digest also covers the request's head, and the content is held for the application.",
    7: "as with ASGI (3 and 4); besides, an environ's fields are texts, and are encoded to be compared and kept.",
}


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--only", choices=("ASGI", "WSGI"), help="measure one interface")
    arguments.add_argument("--rounds", type=int, default=40, help="more rounds narrow the intervals (default: 40)")
    arguments.add_argument("--milliseconds", type=float, default=3.0, help="length of a contender's turn (default: 3)")
    options = arguments.parse_args()
    bench = Bench(options.rounds, options.milliseconds)
    try:
        bench.measure((options.only,) if options.only else ("ASGI", "WSGI"))
    except WrongAnswer as wrong:
        sys.exit(f"stopped, since what does not guard cannot be measured: {wrong}")
    print(machine(PACKAGES))
    print(f"{options.rounds} rounds of {options.milliseconds:g} ms; medians, in brackets the 95 % interval\n")
    print(table(HEAD, rows(bench.rows)))
    heads = (f"start-up, {ROUTES} routes", "loading ms", "routes ms", "both ms")
    print(f"\n{table(heads, ((name, *map(str, parts)) for name, parts in bench.startups.items()))}")
    return 0 if report_goals(goals(bench), "goal", WHY) or not options.gate else 1


if __name__ == "__main__":
    sys.exit(main())
