"""The program under test: one set of handlers, served by FastAPI and by Flask.

Handlers are written once, over plain values, so that a difference between two columns of a report is a difference of
the guard and not of the program. Everything a handler did is in the `World` it belongs to.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from blackbox.answers import PATIENCE, Pairs

OLD_DATE = "Tue, 01 Jan 2019 00:00:00 GMT"  # an app's own Date: a replay that still shows it was stored


@dataclass(slots=True)
class Call:
    """What a handler is told."""

    method: str
    body: bytes
    where: dict[str, str]  # path parameters
    parts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Reply:
    """What a handler answers."""

    status: int = 200
    body: bytes | Iterator[bytes] = b""
    headers: Pairs = field(default_factory=list)
    media: str = "application/json"
    after: Callable[[], None] | None = None  # work that goes on behind the answer


def reply(status: int, value: Any, **options: Any) -> Reply:
    return Reply(status, json.dumps(value).encode(), **options)


class Gate:
    """A door in a handler: a check learns that somebody stands before it, and opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def wait_inside(self) -> None:
        self.reached.set()
        assert self.open.wait(PATIENCE), "nobody opened the gate"

    def wait_outside(self) -> None:
        assert self.reached.wait(PATIENCE), "nobody came to the gate"


class World:
    """Handlers, and what they left behind."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: Counter[str] = Counter()
        self.items: dict[str, bytes] = {}
        self.writes: list[str] = []  # bodies of PUT in the order in which they took effect
        self.written = threading.Condition()
        self.gates: dict[str, Gate] = {}
        self.acknowledged = threading.Semaphore(0)

    def run(self, name: str) -> int:
        with self.lock:
            self.runs[name] += 1
            return self.runs[name]

    def gate(self, name: str) -> Gate:
        with self.lock:
            return self.gates.setdefault(name, Gate())

    def wait_for_writes(self, count: int) -> None:
        with self.written:
            assert self.written.wait_for(lambda: len(self.writes) >= count, PATIENCE), "the write never came"

    # -- answers of many kinds

    def create(self, call: Call) -> Reply:
        number = self.run("create")
        headers = [
            ("Location", f"/items/made-{number}"),
            ("ETag", f'"{number}"'),
            ("X-Custom", "kept"),
            ("X-Run", f"{number}"),
        ]
        return reply(201, {"id": number, "got": call.body.decode("latin-1")}, headers=headers)

    def order(self, call: Call) -> Reply:
        return reply(201, {"id": self.run("order")}, headers=[("Location", "/orders/1")])

    def text(self, call: Call) -> Reply:
        return Reply(201, f"created number {self.run('text')}".encode(), [("Location", "/text")], "text/plain")

    def empty(self, call: Call) -> Reply:
        self.run("empty")
        return Reply(204)

    def fields(self, call: Call) -> Reply:
        self.run("fields")
        cookies = [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/")]
        links = [("Link", "</items?page=2>; rel=next"), ("Link", "</items?page=9>; rel=last")]
        return reply(200, {}, headers=[*cookies, *links, ("Date", OLD_DATE), ("Retry-After", "7"), ("Age", "3")])

    def mirror(self, call: Call) -> Reply:
        self.run("mirror")
        return Reply(200, call.body, media="application/octet-stream")

    def large(self, call: Call) -> Reply:
        self.run("large")
        return Reply(201, b"x" * int(call.where["size"]), [("Location", "/large/1")], "application/octet-stream")

    def whoami(self, call: Call) -> Reply:
        return reply(200, {"number": self.run("whoami")})

    def form(self, call: Call) -> Reply:
        return reply(200, {"number": self.run("form"), "parts": call.parts})

    # -- answers that go wrong

    def flaky(self, call: Call) -> Reply:
        """The first run answers what the path says, later ones succeed."""
        number = self.run("flaky")
        return reply(int(call.where["code"]) if number == 1 else 200, {"number": number})

    def fall(self, call: Call) -> Reply:
        number = self.run("fall")
        if number == 1:
            raise RuntimeError("the handler fell")
        return reply(200, {"number": number})

    def stumble(self, call: Call) -> Reply:
        """The first run waits, then answers 500; later ones succeed."""
        number = self.run("stumble")
        if number == 1:
            self.gate("stumble").wait_inside()
        return reply(500 if number == 1 else 200, {"number": number})

    def abort(self, call: Call) -> Reply:
        """A worker that is told to go while it works, as gunicorn does at its timeout."""
        number = self.run("abort")
        if number == 1:
            raise SystemExit(1)
        return reply(200, {"number": number})

    # -- answers that take long

    def slow(self, call: Call) -> Reply:
        number = self.run("slow")
        self.gate("slow").wait_inside()
        return reply(201, {"number": number}, headers=[("Location", "/slow/1")])

    def task(self, call: Call) -> Reply:
        return reply(202, {"number": self.run("task")}, after=self.gate("task").wait_inside)

    def race(self, call: Call) -> Reply:
        return reply(201, {"number": self.run(call.where["name"])}, headers=[("Location", "/race/1")])

    def chunks(self, call: Call) -> Reply:
        self.run("chunks")
        return Reply(200, self.five_chunks(), media="text/plain")

    def five_chunks(self) -> Iterator[bytes]:
        """A chunk leaves when the client says that the one before it has arrived: held back, it never ends."""
        for number in range(5):
            yield b"chunk %d of 5\n" % number
            assert self.acknowledged.acquire(timeout=PATIENCE), "the chunk never reached the client"

    def broken(self, call: Call) -> Reply:
        self.run("broken")
        return Reply(200, self.half(), media="text/plain")

    def half(self) -> Iterator[bytes]:
        yield b"first half, "
        yield b"second quarter"
        raise RuntimeError("the stream broke")

    def half_declared(self, call: Call) -> Reply:
        """Fewer bytes than Content-Length promised, and no error to show for it."""
        self.run("short")
        return Reply(200, iter([b"only ", b"this"]), [("Content-Length", "1000")], "text/plain")

    # -- one resource with a state

    def read(self, call: Call) -> Reply:
        state = self.items.get(call.where["id"])
        return reply(404, {}) if state is None else Reply(200, state)

    def write(self, call: Call) -> Reply:
        self.run("write")
        name, body = call.where["id"], call.body.decode()
        if (gate := self.gates.get(body)) and not gate.open.is_set():
            gate.wait_inside()
        created = name not in self.items
        self.items[name] = call.body
        with self.written:
            self.writes.append(body)
            self.written.notify_all()
        return reply(201 if created else 200, {"state": body}, headers=[("Location", f"/items/{name}")] if created else [])

    def refuse(self, call: Call) -> Reply:
        self.run("refuse")
        return reply(500, {})

    def amend(self, call: Call) -> Reply:
        self.run("amend")
        self.items[call.where["id"]] = self.items.get(call.where["id"], b"") + b"+" + call.body
        return Reply(200, self.items[call.where["id"]])

    def remove(self, call: Call) -> Reply:
        self.run("remove")
        return Reply(204) if self.items.pop(call.where["id"], None) is not None else reply(404, {})

    def publish(self, call: Call) -> Reply:
        self.run("publish")
        self.items[call.where["id"]] = b"published"
        return Reply(204)


ROUTES: list[tuple[str, str, Callable[[World, Call], Reply]]] = [
    ("POST", "/items", World.create),
    ("GET", "/items", World.whoami),
    ("GET", "/items/{id}", World.read),
    ("PUT", "/items/{id}", World.write),
    ("PATCH", "/items/{id}", World.amend),
    ("DELETE", "/items/{id}", World.remove),
    ("POST", "/items/{id}/publish", World.publish),
    ("PUT", "/refusing/{id}", World.refuse),
    ("GET", "/refusing", World.whoami),
    ("POST", "/orders", World.order),
    ("PATCH", "/orders", World.order),
    ("POST", "/canonical", World.create),
    ("POST", "/payments", World.create),
    ("POST", "/text", World.text),
    ("POST", "/empty", World.empty),
    ("POST", "/fields", World.fields),
    ("POST", "/mirror", World.mirror),
    ("POST", "/large/{size}", World.large),
    ("POST", "/flaky/{code}", World.flaky),
    ("PUT", "/flaky/{code}", World.flaky),
    ("POST", "/fall", World.fall),
    ("PUT", "/fall", World.fall),
    ("POST", "/stumble", World.stumble),
    ("PUT", "/stumble", World.stumble),
    ("POST", "/releasing", World.stumble),
    ("POST", "/abort", World.abort),
    ("POST", "/slow", World.slow),
    ("POST", "/patient", World.slow),
    ("POST", "/brief", World.slow),
    ("POST", "/task", World.task),
    ("POST", "/race/{name}", World.race),
    ("GET", "/chunks", World.chunks),
    ("POST", "/chunks", World.chunks),
    ("PUT", "/chunks", World.chunks),
    ("POST", "/broken", World.broken),
    ("PUT", "/broken", World.broken),
    ("POST", "/short", World.half_declared),
]


def digest(pieces: Any) -> dict[str, Any]:
    """Length and hash of a body that is read as it comes, and never held."""
    total, length = hashlib.sha256(), 0
    for piece in pieces:
        total.update(piece)
        length += len(piece)
    return {"length": length, "sha256": total.hexdigest()}
