"""The requests that meet, and how each goes through the real Exchange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from verbguard import Action, Finding, action, collection, item, singleton
from verbguard.http import Request
from verbguard.plans import Guard
from verbguard.records import Claim, Won
from verbguard.resources import Plan
from verbguard.rules import Rule
from verbguard.serving import Serving

ITEM = "/items/1"
LABEL = "/items/1/label"
WINDOW = 30.0  # seconds, the default of a declared item
LEASE = 10.0

POLICIES = {
    "/items": collection(),
    "/items/{id}": item(),
    "/items/{id}/label": singleton(),
    "/items/{id}:publish": action(),
}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `condition` is an If-Match; `raises` says that the application fails after its effect."""

    method: str
    path: str
    body: str = ""
    key: str = ""
    who: str = "alice"
    condition: str = ""
    raises: bool = False

    @property
    def identity(self) -> tuple[str, ...] | None:
        """What makes two requests one operation, in the checker's own words; None for a request that is always new."""
        if self.key:
            return (self.who, self.key)
        if self.method == "PUT" and not self.condition:
            return (self.who, self.path, self.body)
        return None

    def __str__(self) -> str:
        words = [self.method, self.path, self.body]
        words += [f"key={self.key}"] if self.key else []
        words += [f"if-match={self.condition}"] if self.condition else []
        words += [f"by {self.who}"] if self.who != "alice" else []
        words += ["(raises)"] if self.raises else []
        return " ".join(filter(None, words))

    def request(self) -> Request:
        headers = [(b"authorization", self.who.encode()), (b"content-type", b"text/plain")]
        if self.key:
            headers.append((b"idempotency-key", self.key.encode()))
        if self.condition:
            headers.append((b"if-match", self.condition.encode()))
        return Request(self.method, self.path, headers)


A = Ask("PUT", ITEM, "A")
B = Ask("PUT", ITEM, "B")
A_BY_BOB = Ask("PUT", ITEM, "A", who="bob")
A_IF_0 = Ask("PUT", ITEM, "A", condition="0")
DELETE = Ask("DELETE", ITEM)
PATCH = Ask("PATCH", ITEM, "patched")
PUBLISH = Ask("POST", ITEM + ":publish", "published")
NAME = Ask("PUT", LABEL, "name")
CREATE = Ask("POST", "/items", "new")

A_KEY = Ask("PUT", ITEM, "A", key="k")
B_KEY = Ask("PUT", ITEM, "B", key="k")
A_KEY_IF_0 = Ask("PUT", ITEM, "A", key="k", condition="0")
DELETE_KEY = Ask("DELETE", ITEM, key="k")
PATCH_KEY = Ask("PATCH", ITEM, "patched", key="k")
CREATE_KEY = Ask("POST", "/items", "new", key="k")
CREATE_BY_BOB = Ask("POST", "/items", "new", key="k", who="bob")
RAISE_KEY = Ask("POST", ITEM + ":publish", "published", key="k", raises=True)

KEYLESS = (A, B, A_BY_BOB, A_IF_0, DELETE, PATCH, PUBLISH, NAME, CREATE)
KEYED = (A_KEY, B_KEY, A_KEY_IF_0, DELETE_KEY, PATCH_KEY, CREATE_KEY, CREATE_BY_BOB, RAISE_KEY)


class Run(Serving):
    """A request on its way through the guard, as far as the adapters go without messages."""

    def __init__(self, guard: Guard, plan: Plan, request: Request, content: bytes) -> None:
        super().__init__(guard, plan, request)
        self.body = content
        self.said: set[str] = set()

    def say(self, rule: Rule, message: str, action: Action = Action.OBSERVE, status: int = 0) -> Finding:
        self.said.add(rule.id)
        return super().say(rule, message, action, status)


class Front:
    """A guard for these routes, and the exchanges that it opens."""

    def __init__(self, principal: Callable[[Any], Any] | None = None) -> None:
        self.guard = Guard(POLICIES, principal=principal, observers=[lambda finding: None])
        self.guard.compile()
        self.guard.start(True)
        self._plans: dict[tuple[str, str], Plan] = {}

    def open(self, ask: Ask) -> Run:
        """The exchange after its first moment."""
        request = ask.request()
        run = Run(self.guard, self._plan(request), request, ask.body.encode())
        refused = run.open()
        assert refused is None, f"{ask} is refused with {refused}"
        return run

    def _plan(self, request: Request) -> Plan:
        where = request.method, request.path
        if where not in self._plans:
            self._plans[where] = self.guard.settle(request)
        return self._plans[where]

    def led(self, ask: Ask, token: int) -> Run:
        """The exchange of a request that runs, led anew to the moment before its answer: it is pure."""
        run = self.open(ask)
        if token:
            run.claim(run.body)
            run.claimed(Won(token))
        else:
            run.unprotected()
        return run

    def claim(self, ask: Ask) -> Claim:
        """The claim of such a request that has just come."""
        run = self.open(ask)
        return run.claim(run.body)
