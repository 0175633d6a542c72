"""Clients that retry as real ones do: with the same key, at another server, after a pause, until they know."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic, time

from soak.history import History, Operation, Told
from soak.wire import Answer, Broken, Line

__all__ = ["Client", "again"]

ARRIVING = 1.0  # seconds in which they come, as not all of them begin at once
THINKING = 1.0  # seconds at most between two operations
IMPATIENCE = 0.02  # seconds after which an impatient client hangs up, which is in the middle of most runs
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds before another attempt when no server says how long


class Client:
    """One client. Two with the same `pair` send the same keys with the same content, and are different principals."""

    def __init__(
        self, number: int, ports: Sequence[int], history: History, *, until: float, give_up: float, obeys: float
    ) -> None:
        self.number = number
        self.history = history
        self._pair = number // 2
        self._principal = f"Bearer client-{number}"
        self._lines = [Line(port) for port in ports]
        self._until, self._give_up, self._obeys = until, give_up, obeys
        self._chance = random.Random(number)
        self._sent = self._steps = 0
        self._favourite = number % len(ports)

    async def run(self) -> None:
        """Operation after operation, until the time is over."""
        plan = random.Random(f"pair {self._pair}")
        try:
            await asyncio.sleep(self._chance.uniform(0.0, ARRIVING))
            while monotonic() < self._until:
                await self._operations(plan.choice(("POST", "POST", "PATCH", "DELETE", "PUT", "A/B/A", "A/B/A")))
                await asyncio.sleep(self._chance.uniform(0.0, THINKING))
        finally:
            self.close()

    def close(self) -> None:
        for line in self._lines:
            line.close()

    async def _operations(self, kind: str) -> None:
        self._steps += 1
        if kind == "A/B/A":
            for value in "ABA":
                await self._write(self._operation("PUT", f"/items/{self.number}", value, alone=True))
                if self._chance.random() < 0.3:  # once more at once, as a user who clicks twice
                    await self._write(self._operation("PUT", f"/items/{self.number}", value, alone=True))
            return
        path = "/orders" if kind == "POST" else f"/documents/{self._pair}"
        key = f"{self._pair}-{self._steps}"  # the same as the other client's of the pair, which is another principal
        operation = self._operation(kind, path, f"{kind} {self._steps}", key=key)
        if self._chance.random() < 0.1:
            await self._hang_up(operation)
        await self._write(operation)
        if self._chance.random() < 0.3:  # it has forgotten that it was told
            await self.ask(operation, first=False)

    def _operation(self, method: str, path: str, value: str, *, key: str = "", alone: bool = False) -> Operation:
        self._sent += 1
        return Operation(self._sent, method, path, self._principal, value, key, alone)

    async def _write(self, operation: Operation) -> None:
        """Ask once, or twice at the same time; it is over when all that was sent is."""
        if self._chance.random() < 0.15:
            other = Client(self.number, [line.port for line in self._lines], self.history, **self._terms)
            try:
                await asyncio.gather(self.ask(operation), other.ask(operation, first=False))
            finally:
                other.close()
        else:
            await self.ask(operation)

    @property
    def _terms(self) -> dict[str, float]:
        return {"until": self._until, "give_up": self._give_up, "obeys": self._obeys}

    async def _hang_up(self, operation: Operation) -> None:
        """Send a request and go away before the answer."""
        line = Line(self._chance.choice(self._lines).port)
        with suppress(OSError):
            await line.send(operation.method, operation.path, operation.headers, operation.body)
            await asyncio.sleep(IMPATIENCE)
        line.close()
        self.history.counts["hung up"] += 1

    async def ask(self, operation: Operation, *, first: bool = True) -> None:
        """Ask until the answer is final, and note it."""
        answer, since = await self._final(operation)
        self.history.told.append(Told(operation, answer, time(), since, first))

    async def _final(self, operation: Operation) -> tuple[Answer | None, float]:
        pause, counts = FIRST_PAUSE, self.history.counts
        line = self._lines[self._favourite]
        while monotonic() < self._give_up:
            counts["requests"] += 1
            since = time()
            try:
                answer = await line.ask(operation.method, operation.path, operation.headers, operation.body)
            except Broken:
                counts["broken connections"] += 1
                wait = pause * self._chance.uniform(0.5, 1.5)
            else:
                if answer.headers.get("idempotent-replayed") == "true":
                    counts["replays with a key" if operation.key else "replays without a key"] += 1
                asked_to_wait = answer.status == 503 or (answer.status == 409 and "retry-after" in answer.headers)
                if not asked_to_wait:
                    return answer, since
                counts[str(answer.status)] += 1
                wait = min(float(answer.headers.get("retry-after", pause)), self._obeys)
            line = self._chance.choice(self._lines)
            await asyncio.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)
        return None, time()


async def again(history: History, ports: Sequence[int], most: int, *, give_up: float) -> None:
    """Ask once more for what clients have long been told, with the same keys, after all that has happened since."""
    known = [told.operation for told in history.told if told.operation.key and told.first and told.answer is not None]
    chosen = random.Random(0).sample(known, min(most, len(known)))
    clients = [Client(n, ports, history, until=0.0, give_up=give_up, obeys=1.0) for n in range(16)]

    async def some(client: Client, operations: Sequence[Operation]) -> None:
        for operation in operations:
            await client.ask(operation, first=False)
        client.close()

    await asyncio.gather(*(some(client, chosen[n :: len(clients)]) for n, client in enumerate(clients)))
