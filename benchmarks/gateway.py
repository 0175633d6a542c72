"""How fast is the gateway beside the other Python proxies, how far from nginx, and what does it hold in memory?

Every contender is a process of its own with one worker, in front of the same service (nginx where it is installed, else
uvicorn). Each round runs wrk against all of them, one after the other; a result is the median of the ratios of the rounds.

    python benchmarks/gateway.py                      # about two minutes and a half; needs wrk
    python benchmarks/gateway.py --rounds 3 --seconds 1
    python benchmarks/gateway.py --gate               # exit status 1 when a goal is missed

How to read it:

    guarded gateway   verbguard.guard(Gateway(...)), as `verbguard serve --upstream` runs it, without its access log
    gateway           the same without a guard
    starlette         answers by itself: what the server costs without any proxy
    p99               milliseconds under which 99 of 100 requests are answered, with 16 connections, and with one
    grown             MiB that the process has grown over 100,000 requests, after the first 5,000
    peak              MiB by which one upload or download of 1 GiB raises the peak of the process
"""

from __future__ import annotations

import http.client
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from harness import Estimate, Goal, Progress, machine, parser, report_goals, table
from proxies import PIECE, missing, nginx, resident, served, wrk

GIB = 1 << 30
CONTENDERS = ("starlette", "guarded", "gateway", "asgi-proxy-lib", "recipe", "nginx")
RIVALS = ("asgi-proxy-lib", "recipe")
SHOWN = {"guarded": "guarded gateway", "recipe": "httpx recipe", "starlette": "starlette (no proxy)"}
REQUESTS = 100_000
MANY, FEW = 16, 1  # connections

WHY = {
    2: "A proxied request is two requests: beside the server's work, which is all that Starlette has here, aiohttp writes, "
    "reads and parses a second message, and a second process has its turn. With every connection busy p99 is throughput.",
}


def main() -> int:
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=7)
    asked.add_argument("--seconds", type=int, default=2, help="of each run of wrk (default: 2)")
    asked.add_argument("--skip-memory", action="store_true", help="only speed")
    options = asked.parse_args()
    progress = Progress()
    goals: list[Goal] = []
    print(machine(("verbguard", "aiohttp", "uvicorn", "uvloop", "httpx", "asgi-proxy-lib", "starlette")))
    with tempfile.TemporaryDirectory(prefix="verbguard-gateway-") as place, ExitStack() as running:
        folder = Path(place)
        names = [name for name in CONTENDERS if not missing(name)]
        for name in CONTENDERS:
            if name not in names:
                print(f"without {name}: {missing(name)}")
        fast = nginx(folder / "service") if not missing("nginx") else served("upstream", factory=False)
        service = f"http://127.0.0.1:{running.enter_context(fast)[1]}"
        processes = {}
        for name in names:
            app = {"asgi-proxy-lib": "asgi_proxy_lib"}.get(name, name)
            started = nginx(folder / "front", service) if name == "nginx" else served(app, service)
            processes[name] = running.enter_context(started)
        goals += speed(processes, options.rounds, options.seconds, progress)
        if not options.skip_memory:
            goals.append(flat(*processes["guarded"], progress))
    if not options.skip_memory:
        goals += large(progress)
    passed = report_goals(goals, "goal", WHY)
    return 0 if passed or not options.gate else 1


def speed(processes: dict[str, tuple[int, int]], rounds: int, seconds: int, progress: Progress) -> list[Goal]:
    """The table of rates and latencies, and the goals about them."""
    progress.start("wrk against all of them")
    rates: dict[str, list[float]] = {name: [] for name in processes}
    late: dict[tuple[str, int], list[float]] = {(name, many): [] for name in processes for many in (MANY, FEW)}
    for turn in range(rounds):
        for name, (_, port) in processes.items():
            progress.step(f"round {turn + 1} of {rounds}: {name}")
            rate, tail = wrk(port, seconds, MANY)
            rates[name].append(rate)
            late[name, MANY].append(tail)
            late[name, FEW].append(wrk(port, max(1, seconds // 2), FEW)[1])
    progress.done()
    rows = []
    for name in processes:
        middle = [statistics.median(values) for values in (rates[name], late[name, MANY], late[name, FEW])]
        share = Estimate.of(own / ours for own, ours in zip(rates[name], rates["guarded"], strict=True))
        rows.append((SHOWN.get(name, name), f"{middle[0]:,.0f}", str(share), f"{middle[1]:.2f}", f"{middle[2]:.2f}"))
    print("\n" + table(("", "requests a second", "x guarded", f"p99 at {MANY}", f"p99 at {FEW}"), rows))
    best = max((name for name in RIVALS if name in rates), key=lambda name: statistics.median(rates[name]), default=None)
    behind = None if best is None else Estimate.of(r / o for r, o in zip(rates[best], rates["guarded"], strict=True))
    tails = [
        Estimate.of(o / s for o, s in zip(late["guarded", many], late["starlette", many], strict=True)) for many in (MANY, FEW)
    ]
    return [
        Goal(1, "the best Python proxy's requests a second, for one of ours", behind, 0.5, "no rival is installed"),
        Goal(2, f"p99 with {MANY} connections, in those of Starlette alone", tails[0], 1.5),
        Goal(2, f"p99 with {FEW} connection, in those of Starlette alone", tails[1], 1.5),
    ]


def flat(process: int, port: int, progress: Progress) -> Goal:
    """Whether memory stays where it is."""
    progress.start(f"{REQUESTS:,} requests")
    rate = _send(port, 5_000, 0.0)
    before, sent = resident(process), 0.0
    while sent < REQUESTS:
        sent += _send(port, REQUESTS - sent, rate)
        progress.step(f"{sent:,.0f} requests")
    progress.done()
    grown = resident(process) - before
    print(f"\n{before:.1f} MiB resident after the first 5,000 requests, {grown:+.1f} MiB after {REQUESTS:,} more")
    return Goal(3, f"MiB grown over {REQUESTS:,} requests", Estimate.of([grown]), 1.0)


def _send(port: int, requests: float, rate: float) -> float:
    """Send about so many; how many were sent in fact, or a second where the rate is not known yet."""
    seconds = max(1, min(10, round(requests / rate))) if rate else 2
    done = wrk(port, seconds, MANY)[0]
    return done * seconds if rate else done


def large(progress: Progress) -> list[Goal]:
    """The memory that one very large message takes."""
    goals = []
    for what in ("upload", "download"):
        progress.start(f"{what} of 1 GiB")
        with (
            served("upstream", factory=False) as (_, service),
            served("guarded", f"http://127.0.0.1:{service}") as (process, port),
        ):
            wrk(port, 1, FEW)
            before = resident(process)
            Path(f"/proc/{process}/clear_refs").write_text("5", "ascii")  # the peak is now what is resident
            _exchange(port, what)
            peak = resident(process, "VmHWM") - before
        progress.done()
        goals.append(Goal(4, f"MiB of peak for one {what} of 1 GiB", Estimate.of([peak]), 64))
    return goals


def _exchange(port: int, what: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    if what == "upload":
        connection.request(
            "POST", "/large", _pieces(), {"Content-Length": str(GIB), "Content-Type": "application/octet-stream"}
        )
        answer = connection.getresponse()
        answer.read()
    else:
        connection.request("GET", f"/large?{GIB}")
        answer = connection.getresponse()
        received = 0
        while piece := answer.read(1 << 20):
            received += len(piece)
        if received != GIB:
            raise RuntimeError(f"{received} bytes came")
    if answer.status != 200:
        raise RuntimeError(f"{what}: {answer.status}")


def _pieces() -> Iterator[bytes]:
    for _ in range(GIB // len(PIECE)):
        yield PIECE


if __name__ == "__main__":
    sys.exit(main())
