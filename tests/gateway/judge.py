"""What the upstream saw and what the client got, held against what was expected; complaints are sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from servers.wire import Answer, Broken, Connection

from gateway.upstream import Fields, Part, Seen

Lines = list[str]
Wanted = str | Sequence[str] | None | Callable[[Lines], bool]  # one line, these lines in order, none, or a judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Sees:
    """What must have reached the upstream. `framing`: the one field that frames the content, or none."""

    line: str | None = None
    content: bytes = b""
    framing: str | None = None  # "length", "chunked", "none"; None: not looked at
    fields: Mapping[str, Wanted] = field(default_factory=dict)
    trailers: Fields = field(default_factory=list)
    spelled: str = ""  # what stands in the head as it is
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gets:
    """What the client must get. `then`: what becomes of the request behind it.

    next    it is answered on the same connection, in step
    close   the answer says that it closes, and it does
    either  one of the two: the server may choose
    end     the server closes without having said so
    cut     the answer breaks off, so that nobody can take it for whole
    """

    status: int | tuple[int, ...]
    content: bytes | None = None
    fields: Mapping[str, Wanted] = field(default_factory=dict)
    interim: tuple[int, ...] = ()
    trailers: Fields = field(default_factory=list)
    rule: str | None = None
    phrase: str | None = None
    then: str = "next"


@dataclass(frozen=True, slots=True)
class Members:
    """A list field, over however many lines, whose members match these patterns in order."""

    patterns: tuple[str, ...]

    def __call__(self, lines: Lines) -> bool:
        found = [member.strip() for line in lines for member in line.split(",")]
        pairs = zip(self.patterns, found, strict=False)
        return len(found) == len(self.patterns) and all(re.fullmatch(pattern, member) for pattern, member in pairs)

    def __str__(self) -> str:
        return ", ".join(
            re.sub(r"\\S\.\*|\.\*|\\b", "…", pattern).replace("\\", "").replace("……", "…") for pattern in self.patterns
        )


def members(*patterns: str) -> Members:
    return Members(patterns)


@dataclass(frozen=True, slots=True)
class Set:
    """A list field with these members in any order, and no other."""

    names: frozenset[str]

    def __call__(self, lines: Lines) -> bool:
        return {member.strip() for line in lines for member in line.split(",")} == self.names

    def __str__(self) -> str:
        return ", ".join(sorted(self.names))


def exactly(*names: str) -> Set:
    return Set(frozenset(names))


@dataclass(frozen=True, slots=True)
class Without:
    """No line says this."""

    text: str

    def __call__(self, lines: Lines) -> bool:
        return not any(self.text in line.lower() for line in lines)

    def __str__(self) -> str:
        return f"nothing of {self.text}"


def without(text: str) -> Without:
    return Without(text)


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these: a single line, or None for none."""

    values: tuple[str | None, ...]

    def __call__(self, lines: Lines) -> bool:
        return not lines and None in self.values or len(lines) == 1 and lines[0] in self.values

    def __str__(self) -> str:
        return " or ".join("nothing" if value is None else value for value in self.values)


def one_of(*values: str | None) -> OneOf:
    return OneOf(values)


def fields(wanted: Mapping[str, Wanted], found: Iterable[tuple[str, str]], where: str) -> list[str]:
    pairs = list(found)
    complaints = []
    for name, value in wanted.items():
        lines = [line for field_name, line in pairs if field_name == name]
        if not (value(lines) if callable(value) else lines == as_lines(value)):
            complaints.append(f"{where}: expected {name} {value}, got {lines}")
    return complaints


def as_lines(value: str | Sequence[str] | None) -> Lines:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def upstream(wanted: Sees | None, part: Part) -> list[str]:
    """Complaints about what reached the upstream."""
    times = wanted.times if wanted else 0
    if len(part.seen) != times:
        return [f"upstream: expected {times} requests, got {[seen.line for seen in part.seen]}"]
    return [complaint for seen in part.seen for complaint in request(wanted, seen)] if wanted else []


def request(wanted: Sees, seen: Seen) -> list[str]:
    complaints = fields(wanted.fields, seen.fields, "upstream")
    if wanted.line is not None and seen.line != wanted.line:
        complaints.append(f"upstream: expected {wanted.line!r}, got {seen.line!r}")
    if seen.content != wanted.content:
        complaints.append(f"upstream: expected the content {wanted.content[:80]!r}, got {seen.content[:80]!r}")
    if wanted.spelled.encode("latin-1") not in seen.head:
        complaints.append(f"upstream: expected {wanted.spelled!r} in {seen.head!r}")
    if seen.trailers != wanted.trailers:
        complaints.append(f"upstream: expected the trailers {wanted.trailers}, got {seen.trailers}")
    if wanted.framing is not None and (found := framing(seen)) != wanted.framing:
        complaints.append(f"upstream: expected content framed by {wanted.framing}, got {found}")
    return complaints


def framing(seen: Seen) -> str:
    """`length`, `chunked` or `none`; more than one field that frames, or another coding, is told as it is."""
    lines = [(name, value) for name, value in seen.fields if name in ("content-length", "transfer-encoding")]
    if not lines:
        return "none"
    if len(lines) == 1 and lines[0][0] == "content-length":
        return "length"
    return "chunked" if lines == [("transfer-encoding", "chunked")] else str(lines)


def client(wanted: Gets, connection: Connection, method: str) -> list[str]:
    """Complaints about the next answer, and about what follows it; `ordinary` was asked for behind it."""
    try:
        answer = connection.answer(method)
    except Broken as broken:
        return [] if wanted.then == "cut" else [f"client: expected an answer, got {type(broken).__name__}: {broken}"]
    if wanted.then == "cut":
        return [f"client: expected an answer that breaks off, got {answer}"]
    return [*whole(wanted, answer), *follows(wanted.then, answer, connection)]


def whole(wanted: Gets, answer: Answer) -> list[str]:
    complaints = fields(wanted.fields, answer.headers, "client")
    statuses = wanted.status if isinstance(wanted.status, tuple) else (wanted.status,)
    for name, expected, found in (
        ("the status", True, answer.status in statuses or answer.status),
        ("interim answers", wanted.interim, answer.interim),
        ("faults of framing", (), answer.faults),
        ("trailers", wanted.trailers, list(answer.trailers)),
        ("the content", wanted.content if wanted.content is not None else answer.content, answer.content),
    ):
        if expected != found:
            complaints.append(f"client: expected {name} {statuses if name == 'the status' else expected}, got {found}")
    if wanted.phrase is not None and answer.phrase != wanted.phrase:
        complaints.append(f"client: expected the phrase {wanted.phrase!r}, got {answer.phrase!r}")
    if wanted.rule is not None and answer.rule != wanted.rule:
        complaints.append(f"client: expected the rule {wanted.rule}, got {answer.rule}")
    if complaints and answer.rule:
        complaints.append(f"client: the problem says {answer.json().get('detail')!r}")
    return complaints


def follows(then: str, answer: Answer, connection: Connection) -> list[str]:
    if then == "either":
        then = "close" if answer.closes else "next"
    if answer.closes != (then == "close"):
        return [f"client: expected {then} after the answer, its Connection is {answer.all('connection')}"]
    if then in ("close", "end"):
        rest = connection.rest()
        return [f"client: expected the end, got {rest[:80]!r}"] if rest else []
    try:
        behind = connection.answer()
    except Broken as broken:
        return [f"client: expected the next answer in step, got {broken}"]
    return [] if behind.content == b"ordinary" else [f"client: expected the ordinary answer next, got {behind}"]
