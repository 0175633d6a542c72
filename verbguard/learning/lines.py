"""What was seen at a resource, as lines of its policy: each with how sure it is, and an example."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from verbguard.http import quoted_path
from verbguard.learning.resources import Resource
from verbguard.learning.segments import is_id
from verbguard.learning.traffic import Path
from verbguard.methods import METHODS, SAFE, allow_value, may_answer
from verbguard.routes import Kind

__all__ = ["SURE", "Line", "left_to_the_service", "lines", "spelled"]

SURE = 0.8  # below this a line is a comment: three exchanges that agree are as sure

_STATUSES_SURE = 0.95  # of a status that was never seen nobody knows whether it is possible; eighteen answers are as sure

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Answers that a resource gives only to a method that it takes.
_TAKEN = frozenset([*range(200, 400), 409, 412, 415, 422, 423, 428])
_LONG = 12  # characters of an id in an example; the rest of a longer one is nobody's business


@dataclass(slots=True)
class Line:
    """One field of a policy: how many exchanges agree with it, and how many do not."""

    name: str
    value: Any
    agree: int
    against: int = 0
    example: str = ""
    least: float = 0.0  # how sure it must be, where that is more than is asked of all lines
    loosens: bool = False  # it takes a refusal back, and stands whatever was seen how often
    offered: bool = False  # it is a comment whatever was seen how often: it would refuse

    @property
    def confidence(self) -> float:
        """Laplace's rule of succession: (agreeing + 1) / (all + 2)."""
        return (self.agree + 1) / (self.agree + self.against + 2)

    def stands(self, sure: float) -> bool:
        """Whether it is a line, rather than a comment, where lines must be this sure."""
        return self.loosens or (not self.offered and self.confidence >= max(self.least, sure))


def lines(resource: Resource) -> list[Line]:
    """The lines for one resource, in the order in which a person reads them."""
    found = [_kind(resource), _put(resource), _methods(resource), _location(resource), *_statuses(resource), *_replay(resource)]
    return [line for line in found if line is not None]


# ---- kind


def _kind(resource: Resource) -> Line | None:
    if resource.ends_in_parameter:
        return _of_member(resource)
    if "}" in (last := resource.template.rpartition("/")[2]) and ":" in last.rpartition("}")[2]:  # a custom method
        return _action(resource)
    if resource.member is not None and resource.template.strip("/"):
        member = resource.member
        there = sum(1 for path in member.paths.values() if any(200 <= status < 300 for _, status in path.answers))
        made = sum(1 for path, each in resource.creations() if each.created and each.created.startswith(path.rstrip("/") + "/"))
        where: list[tuple[Resource, tuple[str, ...]]] = [(resource, ("POST",)), (member, ()), (resource, ())]
        return _line(Kind.COLLECTION, there + made, resource.count("PUT"), where)
    written, posted = resource.count("PUT", "PATCH"), resource.count("POST")
    if written and not posted and resource.template.strip("/"):
        return _line(Kind.SINGLETON, resource.count("GET", "PUT", "PATCH", "DELETE"), 0, [(resource, ("PUT", "PATCH"))])
    return _action(resource)


def _put(resource: Resource) -> Line | None:
    """A PUT that was seen to replace what looks like a collection is let through, whatever becomes of the other lines."""
    shown = resource.example("PUT")
    if resource.member is None or resource.ends_in_parameter or shown is None:
        return None
    return Line("put", "allow", resource.count("PUT"), 0, spelled(shown), loosens=True)


def _of_member(resource: Resource) -> Line | None:
    parent = resource.parent
    made = resource.count("PUT", statuses=[201])
    posted = 0 if parent is None else parent.count("POST", statuses=[201])
    if made and not posted:
        return _line(Kind.STORE, made, 0, [(resource, ("PUT",))])
    if parent is None or parent.ends_in_parameter or not parent.template.strip("/"):
        return None
    there = sum(1 for path in resource.paths.values() if any(200 <= status < 300 for _, status in path.answers))
    return _line(Kind.ITEM, there + posted, made, [(resource, ()), (parent, ("POST",))])


def _action(resource: Resource) -> Line | None:
    """POST does something here, and creates nothing."""
    done = resource.count("POST")
    others = resource.count("GET", "PUT", "PATCH", "DELETE")
    if not done or others or resource.count("POST", statuses=[201]):
        return None
    return _line(Kind.ACTION, done, 0, [(resource, ("POST",))])


def _line(kind: Kind, agree: int, against: int, where: list[tuple[Resource, tuple[str, ...]]]) -> Line | None:
    shown = next((example for at, methods in where if (example := at.example(*methods)) is not None), None)
    return Line("kind", str(kind), agree, against, spelled(shown)) if agree else None


# ---- methods, statuses


def _methods(resource: Resource) -> Line | None:
    taken = {method for method, status in resource.answers if status in _TAKEN and _TOKEN.fullmatch(method)}
    allowed = {name for path in resource.paths.values() for name in path.allow if _TOKEN.fullmatch(name)}
    found = (taken | allowed) - {"OPTIONS", "CONNECT"}
    if "GET" in found:
        found.discard("HEAD")
    if not found:
        return None
    ordered = [name.strip() for name in allow_value(found).decode("ascii").split(",")]
    agree = resource.count(statuses=_TAKEN)
    said = " and Allow" if allowed else ""
    return Line("methods", ordered, agree, 0, spelled(resource.example(statuses=_TAKEN)) + said)


def _statuses(resource: Resource) -> Iterator[Line]:
    """The 2xx and 3xx of each method, in one line those that are sure and in another the rest."""
    rows: dict[str, list[int]] = {}
    counts: Counter[str] = Counter()
    for (method, status), count in sorted(resource.answers.items()):
        if method in METHODS.keys() - {"OPTIONS", "HEAD", "TRACE", "CONNECT"} and 200 <= status < 400:
            rows.setdefault(method, []).append(status)
            counts[method] += count
    sure = {method: row for method, row in rows.items() if (counts[method] + 1) / (counts[method] + 2) >= _STATUSES_SURE}
    for part in (sure, {method: row for method, row in rows.items() if method not in sure}):
        if part:
            odd = [f"{status} means nothing to {method}" for method, row in part.items() for status in row]
            odd = [text for text in odd if not may_answer(text.split()[-1], int(text.split()[0]))]
            least = min(part, key=lambda method: counts[method])
            shown = spelled(resource.example(least, statuses=part[least]))
            note = f"{shown}; {odd[0]}" if odd else shown
            yield Line("statuses", part, counts[least], 0, note, _STATUSES_SURE)


# ---- where a creation is


def _location(resource: Resource) -> Line | None:
    """The template of what POST creates, with its last parameter called as the member of the answer that holds it."""
    member = resource.member
    if member is None:
        return None
    names: Counter[str] = Counter()
    shown = ""
    telling = 0  # a creation without Location that nobody has looked at tells nothing
    for path, creation in resource.creations():
        below = path.rstrip("/") + "/"
        if creation.created is not None:
            told = dict(creation.members) if creation.created.startswith(below) else {}
            where = f"{creation.named}: {masked(creation.created)}"
        else:
            told = {name: value for name, value in creation.members if _succeeded(member, below + value)}
            where = "no Location"
        telling += bool(told) or creation.created is not None or not creation.members
        names.update(list(told))
        shown = shown or (told and f"POST {masked(path)} 201, {where}, {next(iter(told))} in its content") or ""
    if not names:
        return None
    # of several members that hold it, `id` and what ends like it first
    best = min(names, key=lambda name: (-names[name], name.lower() != "id", not name.lower().endswith("id"), name))
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", best) or "{" + best + "}" in resource.template:
        return None
    stem, _, tail = member.template.rpartition("{")
    slash = tail.partition("}")[2]
    return Line("location", stem + "{" + best + "}" + slash, names[best], telling - names[best], shown)


def _succeeded(member: Resource, path: str) -> bool:
    seen = member.paths.get(path) or member.paths.get(path + "/")
    return seen is not None and any(200 <= status < 300 for _, status in seen.answers)


# ---- replay


def left_to_the_service(paths: Collection[Path]) -> Line | None:
    """What a service does with keys that the guard's own replay would get in the way of."""
    keyed = sum(path.keyed for path in paths)
    released = sorted({status for path in paths for status in path.released})
    if any(path.own_keys for path in paths):
        example = "one Idempotency-Key served for different requests"
        return Line("replay", {"keyed": False}, keyed, 0, example, loosens=True)
    if released:
        example = "the same Idempotency-Key succeeded after it"
        return Line("replay", {"release": released}, keyed, 0, example, loosens=True)
    return None


def _replay(resource: Resource) -> Iterator[Line]:
    paths = resource.paths.values()
    writes = sum(count for (method, _), count in resource.answers.items() if method not in SAFE)
    keyed = sum(path.keyed for path in paths)
    again = sum(path.repeated for path in paths)
    left = left_to_the_service(paths)
    if left is not None:
        yield left
    elif keyed and keyed == writes:
        example = f"all {writes} writes had an Idempotency-Key; without one they would be 400"
        yield Line("replay", {"required": True}, keyed, 0, example, offered=True)
    if again:
        yield Line("", None, again, 0, f"{again} of {writes} writes came again with the same content", offered=True)


# ---- examples


def spelled(shown: tuple[str, str, int] | None) -> str:
    if shown is None:
        return ""
    method, path, status = shown
    return f"{method if _TOKEN.fullmatch(method) else '?'} {masked(path)} {status}"


def masked(path: str) -> str:
    """A path for a comment, percent-encoded; of a long id only its beginning, as it may be somebody's secret."""
    segments = [
        segment if len(segment) <= _LONG or not is_id(segment, 9) else segment[:4] + "..." for segment in path.split("/")
    ]
    return quoted_path("/".join(segments))
