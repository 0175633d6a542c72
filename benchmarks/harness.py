"""Interleaved timing: every contender runs in each round, so what disturbs the machine disturbs all of them alike.

A result is the median, over the rounds, of the ratio to another contender in the same round. The interval beside it is
made of order statistics (95 %, no assumption about the distribution). Microseconds are context, never the result.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import platform
import random
import statistics
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

Chunk = Callable[[int], Awaitable[int]]  # runs n requests, returns the nanoseconds they took
LONGEST_CHUNK = 1_000  # requests: what is prepared for a chunk is held in memory
COLLECT_EVERY = 8  # rounds between full collections outside the clock


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's own text, line by line."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--gate", action="store_true", help="exit with status 1 when a goal is missed")
    return made


@dataclass(slots=True)
class Contender:
    """Something to time, and the nanoseconds a request that each round measured."""

    name: str
    chunk: Chunk
    times: list[float] = field(default_factory=list)

    @property
    def microseconds(self) -> float:
        return statistics.median(self.times) / 1e3


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with the interval it lies in."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Estimate:
        ordered = sorted(values)
        half = 0.98 * math.sqrt(len(ordered))  # 1.96 standard deviations of a binomial(n, 1/2)
        low = max(0, math.floor(len(ordered) / 2 - half))
        high = min(len(ordered), math.ceil(len(ordered) / 2 + half)) - 1
        return cls(statistics.median(ordered), ordered[low], ordered[high])

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.middle:.2f}" if self.middle < 100 else f"{self.middle:,.0f}"
        return f"{self.middle:.2f} ({self.low:.2f}-{self.high:.2f})"


def ratio(top: Contender, bottom: Contender, *, over: Contender | None = None) -> Estimate:
    """How many times `bottom` the `top` costs; with `over`, what each of them adds to that one."""
    base = over.times if over else [0.0] * len(top.times)
    rounds = zip(top.times, bottom.times, base, strict=True)
    return Estimate.of((t - o) / max(b - o, 1e-9) for t, b, o in rounds)


async def interleave(contenders: Sequence[Contender], *, rounds: int, milliseconds: float, progress: Progress) -> None:
    """Time all contenders, in an order that is shuffled anew for each round."""
    sizes = {contender.name: await _calibrated(contender, milliseconds) for contender in contenders}
    shuffled = random.Random(1)  # the same orders in every run
    order = list(contenders)
    gc.collect()
    gc.freeze()
    try:
        for turn in range(rounds):
            shuffled.shuffle(order)
            for contender in order:
                size = sizes[contender.name]
                contender.times.append(await contender.chunk(size) / size)
            if turn % COLLECT_EVERY == 0:
                gc.collect()
            progress.step(f"round {turn + 1} of {rounds}")
    finally:
        gc.unfreeze()


async def _calibrated(contender: Contender, milliseconds: float) -> int:
    """The number of requests that fills a chunk."""
    size = 4
    await contender.chunk(size)  # what happens once, an import say, must not decide how long the chunks are
    while (spent := await contender.chunk(size)) < milliseconds * 1e6 / 4 and size < LONGEST_CHUNK:
        size = min(LONGEST_CHUNK, size * 4)
    return max(1, min(LONGEST_CHUNK, int(size * milliseconds * 1e6 / max(spent, 1))))


class Progress:
    """Says on stderr what is going on, at most twice a second, so that nobody waits in the dark."""

    def __init__(self) -> None:
        self.title = ""
        self._live = sys.stderr.isatty()
        self._last = time.monotonic()

    def start(self, title: str) -> None:
        self.title = title
        if not self._live:
            print(f"... {title}", file=sys.stderr, flush=True)

    def step(self, text: str) -> None:
        now = time.monotonic()
        if self._live and now - self._last > 0.5:
            self._last = now
            print(f"\r\x1b[K... {self.title}: {text}", end="", file=sys.stderr, flush=True)

    def done(self) -> None:
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def machine(packages: Iterable[str]) -> str:
    """The machine and the versions, without which no number means anything."""
    versions = ", ".join(f"{name} {version}" for name in packages if (version := _version(name)))
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return (
        f"{platform.python_implementation()} {platform.python_version()} on {_processor()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release()}, load {load}\n{versions}"
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they need, the first one to the left and the numbers to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


@dataclass(frozen=True, slots=True)
class Goal:
    """One promise about cost: `measured` must not lie above `limit`; None means that it could not be measured."""

    number: int
    text: str
    measured: Estimate | None
    limit: float
    missing: str = ""

    @property
    def reached(self) -> bool | None:
        # Missed only when the whole interval lies above the limit: noise must not decide.
        return None if self.measured is None else self.measured.low <= self.limit

    def row(self) -> tuple[str, ...]:
        word = {True: "reached", False: "MISSED", None: f"not measured: {self.missing}"}[self.reached]
        if self.reached and self.measured and self.measured.middle > self.limit:
            word = "reached within noise"
        return (f"{self.number}. {self.text}", str(self.measured or "-"), f"{self.limit:g}", word)


def report_goals(goals: Sequence[Goal], title: str, why: Mapping[int, str] = MappingProxyType({})) -> bool:
    """Print the goals, and of those that were missed `why`, by their numbers; True when none was missed."""
    missed = [goal for goal in goals if goal.reached is False]
    print(f"\n{table((title, 'measured', 'at most', ''), (goal.row() for goal in goals))}")
    print(f"\n{len([goal for goal in goals if goal.reached])} reached, {len(missed)} missed")
    for number in sorted({goal.number for goal in missed} & why.keys()):
        print(textwrap.fill(f"{number}. {why[number]}", 120, subsequent_indent="   "))
    return not missed
