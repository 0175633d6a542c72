"""What a client sends and what it sees."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

# A deadlock has to become a failure; no promise depends on how long anything takes.
PATIENCE = 20.0

Pairs = list[tuple[str, str]]


@dataclass(slots=True, kw_only=True)
class Ask:
    """One request, as its client spells it."""

    method: str
    target: str
    headers: Pairs = field(default_factory=list)
    body: bytes | Iterable[bytes] = b""
    cut: str = ""  # the client hangs up before the body is complete, and the server says so: "error" or "short" read
    root_path: str = ""  # ASGI root_path or WSGI SCRIPT_NAME
    path: str | None = None  # the decoded path, where a server hands over something else than the target's
    extra: dict[str, Any] = field(default_factory=dict)  # more for the scope or the environ
    chunks: queue.Queue[bytes] = field(default_factory=queue.Queue)  # the answer's content as it arrives
    reads: list[int] = field(default_factory=list)  # how often the body was asked for

    @property
    def parts(self) -> Iterator[bytes]:
        """The body as it leaves the client; one that is made while it is sent is never held whole."""
        return iter([self.body] if isinstance(self.body, bytes) else self.body)

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def raw_path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def path_bytes(self) -> bytes:
        return unquote_to_bytes(self.raw_path) if self.path is None else self.path.encode()


def ask(method: str, target: str, /, *, key: str | None = None, user: str | None = None, **options: Any) -> Ask:
    """A request with the two fields that nearly every check varies."""
    headers: Pairs = list(options.pop("headers", ()))
    body = options.get("body", b"")
    if key is not None:
        headers.append(("Idempotency-Key", key))
    if user is not None:
        headers.append(("Authorization", f"Bearer {user}"))
    if isinstance(body, str):
        options["body"] = body.encode()
    if body and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return Ask(method=method, target=target, headers=headers, **options)


@dataclass(slots=True)
class Answer:
    """One answer, with the pairs in the order in which they came and the names in lower case."""

    status: int
    headers: Pairs
    body: bytes
    error: BaseException | None = None  # what the app raised, beside or after its answer

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    def value(self, name: str) -> str | None:
        values = self.values(name)
        return values[0] if values else None

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def replayed(self) -> bool:
        return self.values("idempotent-replayed") == ["true"]

    @property
    def allow(self) -> set[str]:
        return {token.strip() for value in self.values("allow") for token in value.split(",") if token.strip()}

    @property
    def rule(self) -> str | None:
        """The rule that a problem names, or None where the answer is the app's own."""
        if self.value("content-type") != "application/problem+json":
            return None
        problem = self.json()
        assert problem["status"] == self.status, "a problem's status equals the status line"
        assert problem["type"].endswith(problem["rule"]), "a problem's type ends in its rule"
        assert problem["title"] and problem["detail"]
        return str(problem["rule"])

    def lasting(self) -> Pairs:
        """The fields that do not change from one answer to the next by themselves."""
        return [(name, value) for name, value in self.headers if name != "date"]


@dataclass(slots=True)
class Pending:
    """A request that is under way in another thread or task."""

    ask: Ask
    future: Future[Answer]

    def chunk(self) -> bytes:
        return self.ask.chunks.get(timeout=PATIENCE)

    def answer(self) -> Answer:
        return self.future.result(timeout=PATIENCE)
