"""Does anything happen twice, get lost, or become untrue while processes are killed?

Four server processes of one guarded FastAPI app share a store. Two hundred clients send POST, PATCH, PUT and DELETE with keys
and PUTs without (A, B, A on a resource of their own), and retry as real ones do: the same key at another server after a broken
connection, a pause, Retry-After; some hang up half-way, some send twice at once, some ask again later. Servers are killed
(kill -9) at random and come back; the server of the store is killed, too. The app writes each effect into a ledger before it
answers, and in the end what clients were told is compared with it.

    python benchmarks/soak.py                            # sqlite, redis and postgresql, 60 seconds each
    python benchmarks/soak.py redis --seconds 600
    python benchmarks/soak.py sqlite --seconds 5 --broken ageless    # what a broken promise looks like

The exit status is 1 when a promise is broken. How to read the table:

    effects              runs of the app's handlers
    duplicates           effects of one key that happened twice: POST and PATCH ever, PUT and DELETE with a live lease
    lost answers         a client that was told a success asked again, and was told something else
    leaks                answers that carry another principal's marker; two clients at a time use the same keys
    untrue states        a PUT without a key was acknowledged, and the state is not what it wrote
    unmade               a success whose effect is not in the ledger
    stuck                clients that were told nothing final, twenty seconds after the rest
    odd answers          anything else that is final, and faults of the guard
    unknown outcomes     POST and PATCH whose server was killed between effect and record: 409, for somebody to look
    reruns               PUT and DELETE in the same case
    lost leases          successes that say that their run outlived its lease, as happens on a machine that has too much to do
    unkept               successes whose record met the outage of the store: asked again they are unknown, or run again
    untold outages       a state that a write during the outage made untrue for a client, before its process told the others
    states               acknowledged PUTs without a key whose state was compared, and is true
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from harness import machine, table

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("tests", "")]

from soak.broken import FLAWS  # noqa: E402
from soak.course import Course  # noqa: E402
from soak.judge import BROKEN_PROMISES, Verdict  # noqa: E402
from soak.places import PLACES  # noqa: E402

BETWEEN_OUTAGES = 60.0  # seconds: for thirty after one nothing is replayed without a key
FACTS = (
    *("requests", "effects", "kills", "restarts", "broken connections", "hung up", "503", "409"),
    *("replays with a key", "replays without a key", "states"),
)
ALLOWED = ("unknown outcomes", "reruns", "lost leases", "unkept", "untold outages")


def soaked(kind: str, options: argparse.Namespace) -> Verdict:
    """One store's verdict."""

    def say(text: str) -> None:
        print(f"... {kind}: {text}", file=sys.stderr, flush=True)

    outages = max(1, round(options.seconds / BETWEEN_OUTAGES))
    course = Course(
        seconds=options.seconds,
        clients=options.clients,
        between_kills=options.between_kills,
        outages=[(number + 0.5) / outages for number in range(outages)],
        flaw=options.broken or "",
        say=say,
    )
    say(f"{options.clients} clients, {course.servers} servers, {options.seconds:.0f} s")
    with tempfile.TemporaryDirectory(prefix="verbguard-soak-") as folder, PLACES[kind](Path(folder)) as place:
        return asyncio.run(course.run(place, Path(folder)))


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("stores", nargs="*", metavar="STORE", help=f"of {', '.join(PLACES)}; all of them when none is named")
    asked.add_argument("--seconds", type=float, default=60.0, help="of each store (default: 60)")
    asked.add_argument("--clients", type=int, default=200, help="that ask at the same time (default: 200)")
    asked.add_argument("--between-kills", type=float, default=4.0, help="seconds, on average (default: 4)")
    asked.add_argument("--broken", choices=FLAWS, help="run over a store that breaks a promise, to see it found")
    options = asked.parse_args()
    if unknown := [kind for kind in options.stores if kind not in PLACES]:
        asked.error(f"there is no store {unknown[0]!r}: {', '.join(PLACES)}")
    kinds = options.stores or list(PLACES)
    print(machine(["verbguard", "fastapi", "uvicorn", "redis", "psycopg"]))
    verdicts = {kind: soaked(kind, options) for kind in kinds}

    def rows(names: tuple[str, ...]) -> list[tuple[str, ...]]:
        return [(name, *(f"{verdict.counts[name]:,}" for verdict in verdicts.values())) for name in names]

    print(f"\n{table(('what happened', *kinds), rows(FACTS))}")
    print(f"\n{table(('must be 0', *kinds), rows(tuple(BROKEN_PROMISES)))}")
    print(f"\n{table(('may be', *kinds), rows(ALLOWED))}")
    for kind, verdict in verdicts.items():
        for example in verdict.examples:
            print(f"\n{kind}: {example}")
    kept = all(verdict.kept for verdict in verdicts.values())
    print("\nevery promise was kept" if kept else "\nA PROMISE WAS BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
