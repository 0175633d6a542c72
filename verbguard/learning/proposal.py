"""The proposal: tables for a verbguard.toml, tried against what was seen to succeed, and printed for a person to edit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from verbguard.http import Request
from verbguard.learning.lines import SURE, Line, left_to_the_service, lines, spelled
from verbguard.learning.resources import Resource, resources
from verbguard.learning.traffic import Path, Traffic
from verbguard.plans import Guard
from verbguard.policy import Policy

__all__ = ["Proposal", "propose"]


@dataclass(slots=True)
class Table:
    """One table of `[policies]`."""

    template: str
    lines: list[Line]
    paths: frozenset[str] = frozenset()
    exchanges: int = 0
    sure: float = SURE

    def policy(self) -> Policy | None:
        """The policy that its active lines spell; None where it has none."""
        fields = {line.name: line.value for line in self.active()}
        return Policy(**fields) if fields else None

    def active(self) -> list[Line]:
        return [line for line in self.lines if line.stands(self.sure)]

    def loosen(self, rule: str, example: str) -> bool:
        """Take a rule's refusal back; False where that was done already."""
        if rule == "put-no-collection":
            known = any(line.name == "put" for line in self.lines)
            if not known:
                self.lines.insert(1, Line("put", "allow", 1, 0, example, loosens=True))
            return not known
        found = next((line for line in self.lines if line.name == "rules"), None)
        if found is None:
            found = Line("rules", {}, 1, 0, example, loosens=True)
            self.lines.append(found)
        known = rule in found.value
        found.value[rule] = "observe"
        return not known

    def leave(self, left: Line) -> bool:
        """Leave keys to the service as a path does that lands here, too; False where that was done already."""
        known = next((line for line in self.lines if line.name == "replay" and line.loosens), None)
        if known is None:
            self.lines = [*(line for line in self.lines if line.name != "replay"), left]
            return True
        before = known.value
        if "keyed" in left.value or "keyed" in before:
            known.value = {"keyed": False}
        else:
            known.value = {"release": sorted({*before["release"], *left.value["release"]})}
        return bool(known.value != before)


@dataclass(slots=True)
class Proposal:
    """What `verbguard learn` proposes."""

    traffic: Traffic
    tables: list[Table]
    read_only: list[str] = field(default_factory=list)  # templates that were only read, and need no policy
    default: Table = field(default_factory=lambda: Table("", []))

    def policies(self) -> dict[str, Policy]:
        """The policies that the text spells."""
        spelled = {table.template: table.policy() for table in self.tables}
        return {template: policy for template, policy in spelled.items() if policy is not None}

    def toml(self, source: str = "recorded traffic", upstream: str | None = None) -> str:
        """The text of a verbguard.toml, to be read and edited; with the service in it, where that is known."""
        return "\n".join(_text(self, source, upstream)) + "\n"


def propose(traffic: Traffic, sure: float = SURE) -> Proposal:
    """The proposal for what was seen; `sure` is how sure a line must be to be more than a comment."""
    tables, read_only = [], []
    for resource in sorted(resources(traffic), key=lambda each: each.template):
        paths = frozenset(resource.paths)
        table = Table(resource.template, lines(resource), paths, sum(resource.answers.values()), sure)
        if _says_nothing(resource, table):
            read_only.append(resource.template)
        else:
            tables.append(table)
    found = Proposal(traffic, tables, read_only)
    left = left_to_the_service(traffic.unspoken.values())
    if left is not None:
        found.default.lines.append(left)
    _try(found, traffic)
    return found


def _says_nothing(resource: Resource, table: Table) -> bool:
    """Only read, of no kind, and nothing about it has to be loosened."""
    plain = all(line.name in ("methods", "statuses") for line in table.lines)
    methods: list[str] = next((line.value for line in table.lines if line.name == "methods"), [])
    loosened = any(path.refusals for path in resource.paths.values())
    return plain and set(methods) <= {"GET", "HEAD"} and not loosened


def _try(proposal: Proposal, traffic: Traffic) -> None:
    """Whatever was seen to succeed must not be refused: the rules that would refuse it are loosened where it lands.

    A table that gets its first line stands in the way of others, so that all is tried again until nothing changes.
    """
    trial = _Trial(proposal)
    changed = True
    while changed:
        changed = False
        for path, seen in (*traffic.paths.items(), *traffic.unspoken.items()):
            for method, status in seen.answers:
                if 200 <= status <= 299:
                    changed = trial.loosened(method, path, status, seen) or changed


class _Trial:
    """The proposal as a guard, asked about each request that succeeded."""

    def __init__(self, proposal: Proposal) -> None:
        self._proposal = proposal
        self._tables = {table.template: table for table in proposal.tables}
        self._own = {path: table for table in proposal.tables for path in table.paths}
        self._guard = _guard(proposal)

    def loosened(self, method: str, path: str, status: int, seen: Path) -> bool:
        """Whether something had to be loosened for this request."""
        plan = self._guard.settle(Request(method, path))
        rules = [rule for rule, by in sorted(seen.refusals) if by == method]
        if plan.refused is not None:
            rules.append(plan.refused[0].rule)
        table = self._tables.get(plan.target.template) or self._own.get(path) or self._proposal.default
        changed = [table.loosen(rule, spelled((method, path, status))) for rule in rules]
        if (left := left_to_the_service([seen])) is not None:  # the path may be none of those that the table was made from
            changed.append(table.leave(left))
        if any(changed):
            self._guard = _guard(self._proposal)
        return any(changed)


def _guard(proposal: Proposal) -> Guard:
    guard = Guard(proposal.policies(), proposal.default.policy(), observers=[lambda finding: None])
    guard.gateway = True
    guard.compile()
    return guard


# ---- as text


def _text(proposal: Proposal, source: str, upstream: str | None) -> Iterator[str]:
    traffic = proposal.traffic
    seen = f"{traffic.exchanges} exchanges at {len(traffic.paths)} paths"
    yield f"# Proposed by `verbguard learn` from {seen} ({_plain(source)})."
    yield "# A service may do more than was seen: read each line, and change what you know better."
    yield "# The number is how sure a line is: (exchanges that agree + 1) / (all that tell of it + 2)."
    yield "# What is less sure is a comment; what only loosens the guard, so that nothing seen to succeed is refused, is not."
    for reason, count in sorted(traffic.left_out.items()):
        yield f"# Left out, {_plain(reason)}: {count} exchanges."
    if upstream is not None:
        yield ""
        yield "[gateway]"
        yield f"upstream = {_value(upstream)}"
    if proposal.default.lines:
        yield ""
        yield "[default]"
        yield from map(_line_text(proposal.default), proposal.default.lines)
    for table in proposal.tables:
        yield ""
        mark = "" if table.active() else "# "
        yield f"{mark}[policies.{_value(table.template)}]  # {table.exchanges} exchanges"
        yield from map(_line_text(table), table.lines)
    if proposal.read_only:
        yield ""
        yield "# Only read, so that no policy is needed:"
        for template in proposal.read_only:
            yield f"#   {_plain(template)}"


def _line_text(table: Table) -> Any:
    def text(line: Line) -> str:
        if not line.name:
            return f"# {_plain(line.example)}"
        mark = "" if line.stands(table.sure) else "# "
        why = "" if line.loosens or line.offered else f"{line.confidence:.0%}: "
        seen = f"seen: {line.example}" if line.loosens or line.offered else f"e.g. {line.example}"
        return f"{mark}{line.name} = {_value(line.value)}  # {why}{_plain(seen)}"

    return text


def _value(value: Any) -> str:
    """A value as TOML spells it, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # a string of printable characters is the same in TOML


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _value(name)


def _plain(text: str) -> str:
    """A text that a comment can hold."""
    return "".join(character if character.isprintable() else "?" for character in text)
