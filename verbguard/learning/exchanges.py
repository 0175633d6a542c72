"""One exchange, and what of it is worth remembering: no credentials, no query, no content, but where a creation is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from verbguard.exchange import Exchange
from verbguard.http import Headers, Request, header
from verbguard.layouts import BY_NAMES
from verbguard.location import MAX_BYTES
from verbguard.methods import SAFE
from verbguard.plans import Guard
from verbguard.policy import Action, Policy, Profile
from verbguard.replay import IDEMPOTENCY_KEY, KeyProblem, is_multipart, keyed_head, parse_key, principal_of, request_digest
from verbguard.rules import Finding, When, catalogue
from verbguard.rules.methods import host_exactly_one

__all__ = ["Exchanged", "Seen", "Witness"]

_LONGEST = 200  # characters of an identifier in an answer; what is longer names nothing in a path


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """A whole exchange, as a recording has it. Field names are in lower case; `content` is None where it was not kept."""

    method: str
    path: str  # decoded, as a guard sees it
    status: int
    query: bytes = b""
    headers: Headers = field(default_factory=list)
    content: bytes | None = b""
    answered: Headers = field(default_factory=list)
    body: bytes | None = None

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status <= 299

    def request(self) -> Request:
        return Request(self.method, self.path, list(self.headers), self.query)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is remembered of an exchange."""

    method: str
    path: str
    status: int
    created: str | None = None  # the path that a 201 names
    named: str = ""  # the field that named it
    members: Mapping[str, str] = field(default_factory=dict)  # of the answer: those that may be the creation's id
    allow: frozenset[str] | None = None
    refusals: frozenset[str] = frozenset()  # rules that would have refused the request, whatever its resource is
    keyed: bool = False
    bad_key: bool = False
    key: bytes = b""  # a digest of who sent which Idempotency-Key
    print: bytes = b""  # a digest of what was asked; empty where the content was not kept

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status <= 299


class Witness:
    """Reduces exchanges to what is remembered of them. It knows no resource: what a request would be refused for whatever its
    resource is, a guard tells that only looks on.

    The digests serve this process alone, and are part of no output.
    """

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._guard = Guard(profile=Profile.OBSERVE, observers=[self._findings.append])
        self._guard.gateway = True
        self._guard.compile()

    def seen(self, exchange: Exchanged) -> Seen:
        """What is remembered of an exchange."""
        request = exchange.request()
        created, named = _created(exchange)
        key, bad = _key(request)
        return Seen(
            method=exchange.method,
            path=exchange.path,
            status=exchange.status,
            created=created,
            named=named,
            members=_members(exchange, created),
            allow=_allow(exchange),
            refusals=self._refusals(exchange, request) if exchange.succeeded else frozenset(),
            keyed=request.get(IDEMPOTENCY_KEY) is not None,
            bad_key=bad,
            key=key,
            print=_print(exchange, request),
        )

    def _refusals(self, exchange: Exchanged, request: Request) -> frozenset[str]:
        """The rules that would have refused what succeeded, whatever the resource is: a proposal has to loosen them."""
        self._findings.clear()
        judged = Exchange(self._guard, self._guard.settle(request), request)
        judged.open()
        if exchange.content is not None and judged.inspections:
            judged.inspect(exchange.content)
        return frozenset(finding.rule for finding in self._findings if _refuses(finding.rule))


def _refuses(id: str) -> bool:
    """Whether a rule refuses for what the request carries; what it refuses for its method alone hangs on the policy."""
    rule = catalogue()[id]
    carried = rule.fields is not None or rule.lacks is not None or rule.when is When.BODY or rule is host_exactly_one
    return carried and rule.when is not When.REPLAY and rule.action(Profile.GUARD, Policy(), False, True) is Action.REJECT


def _allow(exchange: Exchanged) -> frozenset[str] | None:
    lines = [value.decode("latin-1") for name, value in exchange.answered if name.lower() == b"allow"]
    return frozenset(name.strip() for name in ",".join(lines).split(",") if name.strip()) if lines else None


# ---- where a creation is


def _created(exchange: Exchanged) -> tuple[str | None, str]:
    if exchange.status != 201:
        return None, ""
    for name in (b"location", b"content-location"):
        value = header(exchange.answered, name)
        path = None if value is None else _path(value.decode("latin-1"), exchange)
        if path is not None:
            return path, name.decode("ascii").title()
    return None, ""


def _path(reference: str, exchange: Exchanged) -> str | None:
    """The decoded path of a reference, None where it leads to another host."""
    host = (header(exchange.headers, b"host") or b"").decode("latin-1").lower()
    try:
        parts = urlsplit(urljoin("//" + host + exchange.path.replace("%", "%25"), reference.strip()))
    except ValueError:
        return None
    return unquote(parts.path) if parts.netloc.lower() == host else None


def _members(exchange: Exchanged, created: str | None) -> dict[str, str]:
    """The members of a creation's answer that are the end of its path, or may be: `id`, where nothing names the path."""
    body = exchange.body
    if exchange.method != "POST" or exchange.status != 201 or body is None or len(body) > MAX_BYTES:
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    scalars = {
        name: str(value)
        for name, value in document.items()
        if isinstance(value, (int, str)) and not isinstance(value, bool) and 0 < len(str(value)) <= _LONGEST
    }
    if created is None:
        return {name: value for name, value in scalars.items() if name.lower() in ("id", "_id", "uuid", "uid")}
    last = created.rstrip("/").rpartition("/")[2]
    return {name: value for name, value in scalars.items() if value == last}


# ---- retries


def _key(request: Request) -> tuple[bytes, bool]:
    """A digest of the principal and its key, and whether the field holds no key at all."""
    value = request.get(IDEMPOTENCY_KEY)
    if value is None:
        return b"", False
    try:
        key = parse_key(value)
    except KeyProblem:
        return b"", True
    marks = request.deciding(BY_NAMES)
    return principal_of([(name, marks[name]) for name in request.layout.credentials]) + key, False


def _print(exchange: Exchanged, request: Request) -> bytes:
    if exchange.method in SAFE or exchange.content is None:
        return b""
    marks: dict[bytes, Any] = request.deciding(BY_NAMES)
    kind = marks.get(b"content-type", b"")
    head = keyed_head(request, marks, b"multipart" if is_multipart(kind) else kind, request.layout.extras)
    return request_digest(head, exchange.content, kind)
