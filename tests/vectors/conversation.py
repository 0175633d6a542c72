"""A conformance vector as data: what is said to the guarded application, and what must be heard.

    Vector(69, "a keyed POST sent twice runs once", [
        say("POST", "/items", PEN, key='"abc"').gives(201, runs=1, location="/items/1"),
        say("POST", "/items", PEN, key='"abc"').replays(0, runs=1),
    ])

An expectation holds in both profiles; `.strictly(...)` says what the profile `strict` does instead.
Where one of several rule ids may speak, they are separated by `|`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote_to_bytes

from vectors.reference import Answer

GUARD, STRICT = "guard", "strict"
BARE = ("asgi", "wsgi")
ROUTED = ("fastapi", "starlette", "flask")
EVERYWHERE = (*BARE, *ROUTED)
PROBLEM = "application/problem+json"
FIELDS_OF_THE_MOMENT = {"date", "age", "set-cookie", "retry-after", "content-length", "idempotent-replayed"}
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}

PEN, CUP = b'{"name": "pen"}', b'{"name": "cup"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    target: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    version: str = "1.1"

    @property
    def path(self) -> str:
        """The decoded path, as a server gives it to either interface; Latin-1 for WSGI is the driver's affair."""
        return unquote_to_bytes(self.target.partition("?")[0]).decode()

    @property
    def declared(self) -> int:
        """The length that the client announces, where that is another than the content's."""
        return next((int(value) for name, value in self.headers if name == "content-length"), len(self.body))

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def __str__(self) -> str:
        return " ".join([self.method, self.target, *(f"[{name}: {value}]" for name, value in self.headers)])


@dataclass(slots=True)
class Reply:
    """What the client heard."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    touched: bool = False
    raised: BaseException | None = None

    def header(self, name: str) -> str | None:
        values = [value for field_name, value in self.headers if field_name.lower() == name]
        return ", ".join(values) if values else None

    @property
    def problem(self) -> dict[str, Any] | None:
        if (self.header("content-type") or "").partition(";")[0] != PROBLEM:
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def lasting(self) -> list[tuple[str, str]]:
        """The header pairs a replay must repeat."""
        pairs = ((name.lower(), value) for name, value in self.headers)
        return sorted(pair for pair in pairs if pair[0] not in FIELDS_OF_THE_MOMENT | HOP_BY_HOP)


@dataclass(frozen=True, slots=True)
class Listing:
    """A header that lists these members, and not those."""

    members: frozenset[str]
    without: frozenset[str] = frozenset()

    def __call__(self, value: str | None) -> bool:
        found = {member.strip() for member in (value or "").split(",")}
        return self.members <= found and not self.without & found


def lists(*members: str, without: str = "") -> Listing:
    return Listing(frozenset(members), frozenset(without.split()))


@dataclass(frozen=True, slots=True)
class OneOf:
    """A header with one of these values; None stands for its absence."""

    values: tuple[str | None, ...]

    def __call__(self, value: str | None) -> bool:
        return value in self.values


def one_of(*values: str | None) -> OneOf:
    return OneOf(values)


@dataclass(frozen=True, slots=True)
class Present:
    def __call__(self, value: str | None) -> bool:
        return value is not None


PRESENT = Present()
Header = str | None | Callable[[str | None], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What must be true of an answer, and of the application after it. None: not looked at, unless said otherwise."""

    statuses: tuple[int, ...] = ()
    runs: int | None = None  # handler executions since the conversation began
    body: bytes | None = None
    headers: Mapping[str, Header] = field(default_factory=dict)  # None here: the header is absent
    replayed: bool = False
    same_as: int | None = None  # the step whose answer this one repeats
    rule: str | None = None  # the rule that refused the request or replaced the answer
    finds: tuple[str, ...] | None = None  # rules that spoke; () means none did
    untouched: bool = False  # the request's content was never asked for
    own: bool = False  # status as the unguarded application gives
    unseen: tuple[str, ...] = ()  # request headers that the handler did not see
    seen_path: str | None = None  # the path the handler saw
    saw: tuple[tuple[str, str], ...] = ()  # request headers that the handler saw, each with its whole value
    identity: bytes | None = None  # the content, and no content coding
    mentions: bytes | None = None  # words in the content


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens. `kind`: say, start, hear, finish, leave, advance, renewed, listen."""

    kind: str
    request: Request | None = None
    name: str = ""
    amount: float = 0.0
    until: str = "running"
    expects: Mapping[str, Expect] = field(default_factory=dict)

    def gives(self, *statuses: int, finds: str | None = None, **said: Any) -> Step:
        expect = expectation(statuses, finds, said)
        return replace(self, expects={GUARD: expect, STRICT: expect})

    def replays(self, step: int, **said: Any) -> Step:
        return self.gives(same_as=step, replayed=True, **said)

    def strictly(self, *statuses: int, finds: str | None = None, **said: Any) -> Step:
        said.setdefault("runs", self.expects[GUARD].runs)
        return replace(self, expects={**self.expects, STRICT: expectation(statuses, finds, said)})

    def __str__(self) -> str:
        return f"{self.kind} {self.request or self.name or self.amount}"


def expectation(statuses: tuple[int, ...], finds: str | None, said: dict[str, Any]) -> Expect:
    """Keywords that are no field of `Expect` are headers."""
    own = {name: said.pop(name) for name in list(said) if name in Expect.__dataclass_fields__ and name != "headers"}
    headers = {name.replace("_", "-"): value for name, value in said.items()}
    return Expect(statuses=statuses, finds=None if finds is None else tuple(finds.split()), headers=headers, **own)


def request(
    method: str,
    target: str,
    body: bytes = b"",
    *,
    key: str | Sequence[str] = (),
    user: str = "",
    version: str = "1.1",
    **headers: str,
) -> Request:
    """A request; `key` is the value of Idempotency-Key as sent, or several values for several lines."""
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if body and "content_type" not in headers:
        pairs.append(("content-type", "application/json"))
    pairs += [("idempotency-key", value) for value in ([key] if isinstance(key, str) else key)]
    if user:
        pairs.append(("authorization", f"Bearer {user}"))
    return Request(method=method, target=target, body=body, headers=tuple(pairs), version=version)


def say(method: str, target: str, body: bytes = b"", **more: Any) -> Step:
    """Send a request and hear the answer."""
    return Step(kind="say", request=request(method, target, body, **more))


def start(name: str, method: str, target: str, body: bytes = b"", *, until: str = "running", **more: Any) -> Step:
    """Send a request; go on when its (held) handler runs, or, until="waiting", when its content has been read."""
    return Step(kind="start", name=name, until=until, request=request(method, target, body, **more))


def hear(name: str) -> Step:
    """Hear the answer to the request started under this name, while its handler is held."""
    return Step(kind="hear", name=name)


def listen() -> Step:
    """The service behind the gateway, which was down, comes up."""
    return Step(kind="listen")


def finish(name: str) -> Step:
    """Let the held handlers go on, and hear the answer to the request started under this name."""
    return Step(kind="finish", name=name)


def leave(name: str, *, send: str = "ignores") -> Step:
    """The client of a started request disconnects; from then on the server's `send` ignores or raises."""
    return Step(kind="leave", name=name, until=send)


def advance(seconds: float) -> Step:
    """Time passes on the store's clock."""
    return Step(kind="advance", amount=seconds)


def renewed() -> Step:
    """Wait for leases to be renewed, twice, so that one renewal surely began after this step did."""
    return Step(kind="renewed")


# -- policies as data --------------------------------------------------------------------------------------------

Policies = Mapping[str, Mapping[str, Any]]
MERGE_PATCH = "application/merge-patch+json"
POLICIES: Policies = {
    "/items": {"kind": "collection", "methods": {"GET", "POST"}, "location": "/items/{id}"},
    "/items/{id}": {"kind": "item", "methods": {"GET", "PUT", "PATCH", "DELETE"}, "accept_patch": (MERGE_PATCH,)},
    "/orders": {"kind": "collection", "methods": {"POST"}, "location": "/orders/{id}"},
    "/orders/{id}": {"kind": "item", "methods": {"GET"}},
    "/slow": {"kind": "action", "methods": {"POST"}},
    "/count": {"kind": "singleton", "methods": {"GET", "PUT"}},
    "/search": {"methods": {"QUERY"}, "accepts": {"QUERY": ("application/json",)}},
}


def but(template: str, **changes: Any) -> Policies:
    """The reference policies with one of them changed."""
    return {**POLICIES, template: {**POLICIES.get(template, {}), **changes}}


@dataclass(frozen=True, slots=True)
class Vector:
    number: int
    title: str
    steps: Sequence[Step]
    policies: Policies = field(default_factory=lambda: POLICIES, kw_only=True)
    scripts: Mapping[str, Sequence[Answer]] = field(default_factory=dict, kw_only=True)
    holds: frozenset[str] = field(default=frozenset({"POST /slow"}), kw_only=True)
    items: tuple[str, ...] = field(default=(), kw_only=True)  # ids that exist from the start, each holding PEN
    doors: tuple[str, ...] = field(default=EVERYWHERE, kw_only=True)
    principal: Callable[[Any], str | None] | None = field(default=None, kw_only=True)
    behind: Mapping[str, Any] = field(default_factory=dict, kw_only=True)  # options of the gateway, and `listening`
    hints: bool = field(default=False, kw_only=True)  # the service sends a 103 before each answer
    cors: bool = field(default=False, kw_only=True)
    compress: str = field(default="", kw_only=True)  # "outside" the guard, or "app"
    bare_too: bool = field(default=False, kw_only=True)  # true without a guard as well: the guard must leave it alone

    def __str__(self) -> str:
        return f"{self.number}: {self.title}"
