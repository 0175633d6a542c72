"""The reference application of the conformance vectors: one table of handlers, no framework.

`servers.py` serves the table in five ways; whatever a vector says about the application is said here once.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

JSON = ("content-type", "application/json")
TEXT = ("content-type", "text/plain")


class Crash(RuntimeError):
    """What a handler raises when its script says `CRASH`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a handler sees of a request."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    params: Mapping[str, str]

    def header(self, name: str) -> str | None:
        return next((value for field_name, value in self.headers if field_name == name), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers; header names in lower case."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def with_header(self, name: str, value: str) -> Answer:
        return replace(self, headers=(*self.headers, (name, value)))


CRASH = Answer(-1)


def reply(status: int, body: bytes = b"", **headers: str) -> Answer:
    """A scripted answer; `content_type="text/plain"` spells a header, a list of cookies repeats one."""
    return Answer(status, body, tuple((name.replace("_", "-"), value) for name, value in headers.items()))


@dataclass(slots=True)
class Item:
    body: bytes
    version: int

    @property
    def etag(self) -> str:
        return f'"v{self.version}"'


@dataclass(slots=True)
class Reference:
    """The application's state, its handlers, and the levers a conversation pulls.

    `scripts` holds answers that are given once, in order, instead of running the handler of a row.
    `holds` names the rows whose handlers wait for `opened` before they have their effect.
    """

    scripts: dict[str, list[Answer]] = field(default_factory=dict)
    holds: frozenset[str] = frozenset({"POST /slow"})
    cors: bool = False
    compress: bool = False
    behind: Mapping[str, Any] = field(default_factory=dict)  # how it stands behind a gateway: see `behind.gateway`
    hints: bool = False
    items: dict[str, Item] = field(default_factory=dict)
    orders: int = 0
    count: int = 0
    runs: int = 0
    abandoned: int = 0
    closed: list[bool] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    entered: Future[None] = field(default_factory=Future)
    opened: Future[None] = field(default_factory=Future)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, row: Row, call: Call) -> int:
        """A handler starts: count it, and tell whoever waits for a held one."""
        with self.lock:
            self.runs += 1
            self.calls.append(call)
            run = self.runs
            entered = self.entered
        if row.name in self.holds and not entered.done():
            entered.set_result(None)
        return run

    def next_entry(self) -> Future[None]:
        """A future that the next held handler completes when it starts."""
        with self.lock:
            self.entered = Future()
            return self.entered

    def open(self) -> None:
        """Let every held handler go on, now and later."""
        if not self.opened.done():
            self.opened.set_result(None)

    def perform(self, row: Row, call: Call, run: int) -> Answer:
        """The handler's effect and its answer."""
        with self.lock:
            script = self.scripts.get(row.name)
            answer = script.pop(0) if script else row.handler(self, call)
        if answer is CRASH:
            raise Crash(f"{row.name} raised, as its script says")
        return answer.with_header("x-run", str(run))

    def current(self, request: Any) -> str | None:
        """A policy's `validator`: the ETag of the item that a request names, None when there is none."""
        item = self.items.get(request.path.rpartition("/")[2])
        return item.etag if item else None

    # -- handlers ------------------------------------------------------------------------------------------------

    def list_items(self, call: Call) -> Answer:
        return Answer(200, json.dumps(sorted(self.items)).encode(), (JSON,))

    def create_item(self, call: Call) -> Answer:
        identity = str(len(self.items) + 1)
        self.items[identity] = Item(call.body, 1)
        return Answer(201, json.dumps({"id": int(identity)}).encode(), (JSON,))

    def read_item(self, call: Call) -> Answer:
        item = self.items.get(call.params["id"])
        return Answer(200, item.body, (JSON, ("etag", item.etag))) if item else Answer(404)

    def put_item(self, call: Call) -> Answer:
        item = self.items.get(call.params["id"])
        if refused(call, item):
            return Answer(412)
        self.items[call.params["id"]] = Item(call.body, item.version + 1 if item else 1)
        return Answer(204 if item else 201)

    def patch_item(self, call: Call) -> Answer:
        item = self.items.get(call.params["id"])
        if item is None or refused(call, item):
            return Answer(404 if item is None else 412)
        merged = json.dumps(json.loads(item.body) | json.loads(call.body)).encode()
        self.items[call.params["id"]] = Item(merged, item.version + 1)
        return Answer(200, merged, (JSON,))

    def delete_item(self, call: Call) -> Answer:
        return Answer(204 if self.items.pop(call.params["id"], None) else 404)

    def create_order(self, call: Call) -> Answer:
        self.orders += 1
        return Answer(201, json.dumps({"id": self.orders}).encode(), (JSON,))

    def read_order(self, call: Call) -> Answer:
        known = call.params["id"].isdecimal() and 0 < int(call.params["id"]) <= self.orders
        return Answer(200, b"{}", (JSON,)) if known else Answer(404)

    def slow(self, call: Call) -> Answer:
        self.count += 1
        return Answer(200, b'{"done": true}', (JSON,))

    def read_count(self, call: Call) -> Answer:
        return Answer(200, str(self.count).encode(), (TEXT,))

    def put_count(self, call: Call) -> Answer:
        """The legacy handler: PUT must be idempotent and this one is not."""
        self.count += 1
        return Answer(200, str(self.count).encode(), (TEXT,))

    def search(self, call: Call) -> Answer:
        """QUERY: the answer repeats the question."""
        return Answer(200, json.dumps({"asked": json.loads(call.body)}).encode(), (JSON,))

    def echo(self, call: Call) -> Answer:
        """Any status with content, and the header lines the query asks for: `?h=ETag:"x"`."""
        asked = [value.partition(":") for name, value in parse_qsl(call.query) if name == "h"]
        return Answer(
            int(call.params["code"]),
            b"payload",
            (TEXT, ("content-length", "7"), *((name.lower(), value.strip()) for name, _, value in asked)),
        )


def refused(call: Call, item: Item | None) -> bool:
    """Do the request's preconditions fail? Enough of RFC 9110 13.2 for a reference: strong tags, no lists."""
    if (wanted := call.header("if-match")) is not None:
        return item is None or wanted not in ("*", item.etag)
    if (unwanted := call.header("if-none-match")) is not None:
        return item is not None and unwanted in ("*", item.etag)
    return False


@dataclass(frozen=True, slots=True)
class Row:
    method: str
    template: str
    handler: Callable[[Reference, Call], Answer]

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"

    def match(self, path: str) -> dict[str, str] | None:
        """The path's parameters: equal segments, and any one non-empty segment for a `{name}`."""
        pattern, segments = self.template.split("/"), path.split("/")
        if len(pattern) != len(segments):
            return None
        pairs = list(zip(pattern, segments, strict=True))
        if any(segment == "" if wanted.startswith("{") else segment != wanted for wanted, segment in pairs[1:]):
            return None
        return {wanted.strip("{}"): segment for wanted, segment in pairs if wanted.startswith("{")}


ECHO_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
TABLE = (
    Row("GET", "/items", Reference.list_items),
    Row("POST", "/items", Reference.create_item),
    Row("GET", "/items/{id}", Reference.read_item),
    Row("PUT", "/items/{id}", Reference.put_item),
    Row("PATCH", "/items/{id}", Reference.patch_item),
    Row("DELETE", "/items/{id}", Reference.delete_item),
    Row("POST", "/orders", Reference.create_order),
    Row("GET", "/orders/{id}", Reference.read_order),
    Row("POST", "/slow", Reference.slow),
    Row("GET", "/count", Reference.read_count),
    Row("PUT", "/count", Reference.put_count),
    Row("QUERY", "/search", Reference.search),
    *(Row(method, "/echo/{code}", Reference.echo) for method in ECHO_METHODS),
)


def find(method: str, path: str, table: Iterable[Row] = TABLE) -> tuple[Row, dict[str, str]] | Answer:
    """The row and parameters for a request, or the 404 or the (bare, so incomplete) 405 instead."""
    matches = [(row, params) for row in table if (params := row.match(path)) is not None]
    if not matches:
        return Answer(404)
    return next((match for match in matches if match[0].method == method), Answer(405))
