"""A vector, put on: the reference application behind a door, a guard around it, and a client who follows the steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import verbguard
from vectors import behind, judge, servers
from vectors.conversation import PEN, Expect, Policies, Reply, Step, Vector
from vectors.drivers import AsgiClient, WsgiClient
from vectors.reference import Item, Reference
from vectors.sockets import FastSocketClient, SocketClient
from verbguard import Policy, Replay, asgi, wsgi
from verbguard.stores.memory import MemoryStore


class Clock:
    """Time for a store: it stands still until a conversation advances it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class ObservedStore(MemoryStore):
    """The memory store on a clock of ours, with renewals and ends of runs one can wait for."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.renewal: Future[None] = Future()
        self.end_of_a_run: Future[None] = Future()

    def next_renewal(self) -> Future[None]:
        self.renewal = Future()
        return self.renewal

    def next_end(self) -> Future[None]:
        self.end_of_a_run = Future()
        return self.end_of_a_run

    def save(self, claim: Any, token: int, record: Any) -> bool:
        kept = super().save(claim, token, record)
        if not self.end_of_a_run.done():
            self.end_of_a_run.set_result(None)
        return kept

    def renew(self, claim: Any, token: int) -> bool:
        kept = super().renew(claim, token)
        if not self.renewal.done():
            self.renewal.set_result(None)
        return kept


@dataclass(frozen=True, slots=True)
class Door:
    """How the reference is served and guarded: a framework's own door, or a bare callable wrapped."""

    client: type[AsgiClient] | type[WsgiClient] | type[SocketClient]
    build: Callable[[Reference], Any]
    compressed: Callable[[Any], Any]
    middleware: Callable[..., Any] = verbguard.guard


DOORS: Mapping[str, Door] = {
    "asgi": Door(AsgiClient, servers.asgi, servers.gzip_asgi, asgi.GuardMiddleware),
    "wsgi": Door(WsgiClient, servers.wsgi, servers.gzip_wsgi, wsgi.GuardMiddleware),
    "fastapi": Door(AsgiClient, servers.fastapi, servers.gzip_asgi),
    "starlette": Door(AsgiClient, servers.starlette, servers.gzip_asgi),
    "flask": Door(WsgiClient, servers.flask, servers.gzip_wsgi),
    "gateway-h11": Door(SocketClient, behind.gateway, servers.gzip_asgi),
    "gateway-httptools": Door(FastSocketClient, behind.gateway, servers.gzip_asgi),
}


def reference(vector: Vector) -> Reference:
    return Reference(
        scripts={name: list(answers) for name, answers in vector.scripts.items()},
        holds=vector.holds,
        cors=vector.cors,
        compress=vector.compress == "app",
        behind=vector.behind,
        hints=vector.hints,
        items={identity: Item(PEN, 1) for identity in vector.items},
    )


def policies(described: Policies, app: Reference) -> dict[str, Any]:
    built = {}
    for template, fields in described.items():
        fields = {name: frozenset(value) if isinstance(value, set) else value for name, value in fields.items()}
        if fields.get("validator") == "items":
            fields["validator"] = app.current
        if isinstance(replay := fields.get("replay"), Mapping):
            fields["replay"] = Replay(**replay)
        built[template] = Policy(**fields)
    return built


@dataclass
class Stage:
    vector: Vector
    door: Door
    profile: str | None  # None: nobody guards
    kept_in: Callable[[Clock], Any] = ObservedStore
    clock: Clock = field(default_factory=Clock)
    findings: list[Any] = field(default_factory=list)
    answers: dict[int, Reply] = field(default_factory=dict)
    exchanges: dict[str, tuple[Any, asyncio.Future[Reply]]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)  # exchanges whose client is away

    def __post_init__(self) -> None:
        self.app = reference(self.vector)
        self.store: Any = None
        self.client = self.door.client(self.guarded() if self.profile else self.unguarded(self.app))

    def unguarded(self, app: Reference) -> Any:
        served = self.door.build(app)
        return self.door.compressed(served) if self.vector.compress == "outside" else served

    def guarded(self) -> Any:
        self.store = self.kept_in(self.clock)
        options = {
            "policies": policies(self.vector.policies, self.app),
            "profile": self.profile,
            "store": self.store,
            "principal": self.vector.principal,
            "observers": (self.findings.append,),
        }
        served = self.door.build(self.app)
        served = self.door.middleware(served, **options)
        return self.door.compressed(served) if self.vector.compress == "outside" else served

    async def play(self) -> None:
        if isinstance(self.client, SocketClient):
            await self.client.open()
        try:
            for number, step in enumerate(self.vector.steps):
                await self.act(number, step)
            self.check_protocol()
        finally:
            self.app.open()
            await asyncio.gather(*(reply for _, reply in self.exchanges.values()), return_exceptions=True)
            if isinstance(self.client, SocketClient):
                await self.client.close()

    async def act(self, number: int, step: Step) -> None:
        self.findings.clear()
        if step.kind == "say":
            await self.say(number, step)
        elif step.kind == "start":
            await self.start(number, step)
        elif step.kind == "finish":
            ended = self.store.next_end() if isinstance(self.store, ObservedStore) else None
            self.app.open()
            await self.hear(number, step, self.exchanges[step.name][1])
            if ended is not None and step.name in self.left:
                await self.within(number, step, asyncio.wrap_future(ended))  # nobody else would hear that it is kept
        elif step.kind == "hear":
            await self.hear(number, step, self.exchanges[step.name][1])
        elif step.kind == "listen":
            self.client.listen()
        elif step.kind == "leave":
            self.exchanges[step.name][0].leave(step.until)
            self.left.add(step.name)
            await settle()
        elif step.kind == "advance":
            self.clock.now += step.amount
        elif self.store is not None:
            for _ in range(2):
                await self.within(number, step, asyncio.wrap_future(self.store.next_renewal()))

    async def say(self, number: int, step: Step) -> None:
        """Send and hear. Nobody would let a held handler go on, so its start is an answer already: the wrong one."""
        assert step.request is not None
        entry = asyncio.wrap_future(self.app.next_entry())
        exchange = self.exchanges[f"step {number}"] = self.client.start(step.request)
        await asyncio.wait({entry, exchange[1]}, timeout=servers.PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if entry.done() and not self.app.opened.done():
            self.fail(number, step, ["expected an answer, but the held handler was started once more"])
        await self.hear(number, step, exchange[1])

    async def start(self, number: int, step: Step) -> None:
        assert step.request is not None
        entry = self.app.next_entry()
        exchange, reply = self.exchanges[step.name] = self.client.start(step.request)
        event = asyncio.wrap_future(entry if step.until == "running" else exchange.read)
        await asyncio.wait({event, reply}, timeout=servers.PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not event.done():
            heard = judge.describe(reply.result()) if reply.done() else "nothing"
            self.fail(number, step, [f"expected the request to be {step.until}, heard {heard}"])
        if step.until == "waiting":
            await settle()

    async def hear(self, number: int, step: Step, reply: asyncio.Future[Reply]) -> None:
        answer = self.answers[number] = await self.within(number, step, reply)
        expect = step.expects.get(self.profile or "guard", Expect())
        said = self.mismatches(expect, answer) + await self.own_verdict(step, expect, answer)
        if step.expects and said:
            self.fail(number, step, [*said, f"heard {judge.describe(answer)}"])

    async def within(self, number: int, step: Step, event: asyncio.Future[Any]) -> Any:
        done, _ = await asyncio.wait({event}, timeout=servers.PATIENCE)
        if not done:
            self.fail(number, step, [f"nothing happened in {servers.PATIENCE} s"])
        return event.result()

    async def own_verdict(self, step: Step, expect: Expect, answer: Reply) -> list[str]:
        """Where the application's own verdict counts, an unguarded twin is asked for it."""
        if not expect.own or step.request is None:
            return []
        door = DOORS["asgi"] if issubclass(self.door.client, SocketClient) else self.door
        twin = await door.client(door.build(reference(self.vector))).start(step.request)[1]
        return [] if twin.status == answer.status else [f"expected the application's own verdict, {twin.status}"]

    def mismatches(self, expect: Expect, answer: Reply) -> list[str]:
        first = None if expect.same_as is None else self.answers[expect.same_as]
        return [
            *judge.answer(expect, answer, first),
            *judge.rules(expect, answer, {finding.rule for finding in self.findings}),
            *judge.application(expect, answer, self.app),
        ]

    def check_protocol(self) -> None:
        faults = list(self.client.faults)
        if not all(self.app.closed):
            faults.append("an iterable of the application was not closed")
        assert not faults, f"vector {self.vector}: {'; '.join(faults)}"

    def fail(self, number: int, step: Step, said: list[str]) -> None:
        raise AssertionError(f"vector {self.vector}\n  step {number}: {step}\n  " + "\n  ".join(said))


async def settle() -> None:
    """Give every task on the loop the turns it needs to come to rest; no clock is involved."""
    for _ in range(20):
        await asyncio.sleep(0)


async def converse(vector: Vector, door: str, profile: str | None, kept_in: Callable[[Clock], Any] = ObservedStore) -> None:
    """Run a vector through a door in a profile; None is the application with nobody guarding it."""
    await Stage(vector, DOORS[door], profile, kept_in).play()
