"""One soak: servers, clients, faults, and the verdict."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any

import verbguard
from soak.clients import Client, again
from soak.fleet import Fleet
from soak.history import History
from soak.judge import Verdict, judged
from soak.ledger import effects
from soak.places import Place

__all__ = ["Course"]

GRACE = 20.0  # seconds that clients may still ask when the time is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What happens. `obeys` is how many seconds of a Retry-After clients wait at most."""

    seconds: float = 60.0
    clients: int = 200
    servers: int = 4
    between_kills: float = 4.0
    outages: Sequence[float] = (0.5,)  # when the store's server is killed, as parts of the whole time
    obeys: float = 5.0
    later: int = 500  # operations that are asked about once more at the very end
    flaw: str = ""  # of `broken.FLAWS`
    say: Callable[[str], None] = lambda text: None

    async def run(self, place: Place, folder: Path) -> Verdict:
        """Let it happen, and judge it."""
        ledger, history = folder / "ledger", History()
        settings = {"SOAK_STORE": place.url, "SOAK_LEDGER": str(ledger), "SOAK_BROKEN": self.flaw}
        fleet = Fleet(folder, self.servers, settings)
        try:
            await asyncio.to_thread(_prepared, place.url)
            await fleet.start()
            await self._happen(fleet, place, history)
            await again(history, fleet.ports, self.later, give_up=monotonic() + GRACE)
            return judged(history, effects(ledger), fleet.faults())
        finally:
            fleet.stop()

    async def _happen(self, fleet: Fleet, place: Place, history: History) -> None:
        begun = monotonic()
        terms = {"until": begun + self.seconds, "give_up": begun + self.seconds + GRACE, "obeys": self.obeys}
        clients = [Client(number, fleet.ports, history, **terms) for number in range(self.clients)]
        faults = [
            asyncio.create_task(self._kills(fleet, history, begun)),
            asyncio.create_task(self._outages(place, history, begun)),
        ]
        telling = asyncio.create_task(self._tell(history, begun))
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run())
        await asyncio.gather(*faults)
        telling.cancel()

    async def _kills(self, fleet: Fleet, history: History, begun: float) -> None:
        chance = random.Random()
        async with asyncio.TaskGroup() as starting:
            while True:
                pause = self.between_kills * chance.uniform(0.5, 1.5)
                if monotonic() + pause > begun + self.seconds:
                    return
                await asyncio.sleep(pause)
                if server := fleet.one_that_serves(chance):
                    history.kills.append((server.kill(), time()))
                    starting.create_task(server.start_again(chance.uniform(0.0, 0.5)))

    async def _outages(self, place: Place, history: History, begun: float) -> None:
        if place.restart is None:
            return
        for part in self.outages:
            await asyncio.sleep(max(0.0, begun + self.seconds * part - monotonic()))
            away = time()
            await asyncio.to_thread(place.restart)
            history.outages.append((away, time()))

    async def _tell(self, history: History, begun: float) -> None:
        while True:
            await asyncio.sleep(5.0)
            done, counts = len(history.told), history.counts
            self.say(
                f"{monotonic() - begun:3.0f} s: {counts['requests']:,} requests, {done:,} operations, "
                f"{len(history.kills)} kills, {len(history.outages)} restarts of the store"
            )


def _prepared(url: str) -> None:
    """Make what the store needs, as `verbguard store init` does: two hundred clients at once would wait for it too long."""
    store: Any = verbguard.stores.open(url)
    store.initialise()
    store.close()
