"""From paths to resources: which segments are ids, and what was seen at all paths of one template together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from verbguard.learning.segments import RESERVED, is_id, split, stem
from verbguard.learning.traffic import Creation, Path, Traffic

__all__ = ["Resource", "resources"]

SLUGS = 8  # names at one place, from which on they are members rather than resources that somebody named

# Answers that a path without a resource does not give. Whoever is not let in learns nothing of what is there.
_THERE = frozenset([*range(200, 400), 405, 406, 409, 410, 411, 412, 413, 415, 422, 423, 428])
_OF_A_MEMBER = frozenset(["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])


@dataclass(slots=True, eq=False)
class Resource:
    """The paths of one template, and what was seen there."""

    template: str
    paths: dict[str, Path]
    parent: Resource | None = None
    member: Resource | None = None  # what stands below it with one parameter more
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for path in self.paths.values():
            self.answers.update(path.answers)

    @property
    def ends_in_parameter(self) -> bool:
        return self.template.rstrip("/").rpartition("/")[2].startswith("{") and self.template.rstrip("/").endswith("}")

    def count(self, *methods: str, statuses: Iterable[int] = range(200, 300)) -> int:
        """How many answers to some methods (none: all) had one of the statuses."""
        wanted = frozenset(statuses)
        return sum(
            count for (method, status), count in self.answers.items() if status in wanted and (not methods or method in methods)
        )

    def example(self, *methods: str, statuses: Iterable[int] = range(200, 300)) -> tuple[str, str, int] | None:
        """(method, path, status) of an exchange that shows something."""
        wanted = frozenset(statuses)
        for path, seen in self.paths.items():
            for method, status in seen.answers:
                if status in wanted and (not methods or method in methods):
                    return method, path, status
        return None

    def creations(self) -> Iterator[tuple[str, Creation]]:
        """What POST created here, with the path that was asked."""
        for path, seen in self.paths.items():
            for creation in seen.creations:
                yield path, creation


@dataclass(slots=True, eq=False)
class _Node:
    """One place in the tree of paths, whether they end in a slash or not."""

    children: dict[str, _Node] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    creations: list[str] = field(default_factory=list)  # paths that an answer called a creation
    methods: set[str] = field(default_factory=set)

    @property
    def named(self) -> bool:
        return bool(self.creations)

    def take_in(self, other: _Node) -> None:
        """Make one place of two."""
        self.paths += other.paths
        self.creations += other.creations
        self.methods |= other.methods
        for segment, child in other.children.items():
            if segment in self.children:
                self.children[segment].take_in(child)
            else:
                self.children[segment] = child


def resources(traffic: Traffic) -> list[Resource]:
    """The resources of all paths that are there, collections before their members."""
    root = _Node()
    for path, seen in traffic.paths.items():
        if _is_there(seen):
            node = _at(root, path)
            node.paths.append(path)
            node.methods.update(method for method, status in seen.answers if status in _THERE)
            if seen.answers["PUT", 201]:
                node.creations.append(path)
        for creation in seen.creations:
            if creation.created is not None and _below(creation.created, path):
                _at(root, creation.created).creations.append(creation.created)
    return _Collecting(traffic).all(root)


def _is_there(path: Path) -> bool:
    said = path.own_keys or path.released or path.refusals
    return bool(said) or any(status in _THERE for _, status in path.answers)


def _below(created: str, path: str) -> bool:
    """Whether a path adds one segment to another, and a template can spell it."""
    parent, _, last = created.removesuffix("/").rpartition("/")
    printable = created.isprintable() and not any(mark in created for mark in " {}<>")
    return printable and parent == path.removesuffix("/") and bool(last)


def _at(root: _Node, path: str) -> _Node:
    node = root
    for segment in path.removesuffix("/").split("/")[1:]:
        node = node.children.setdefault(segment, _Node())
    return node


class _Collecting:
    """One walk through the tree."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._found: list[Resource] = []

    def all(self, root: _Node) -> list[Resource]:
        self._walk(root, "", [], "", None, 0)
        return self._found

    def _walk(
        self, node: _Node, prefix: str, names: list[str], literal: str, parent: Resource | None, depth: int
    ) -> Resource | None:
        """Add the resources at and below a place. Returns the one at it, if there is any."""
        spellings = self._here(node, prefix, parent)
        here = spellings[0] if spellings else None
        words, suffixed, ids = _told_apart(node, depth)
        for segment, child in words.items():
            self._walk(child, f"{prefix}/{segment}", names, segment or literal, here, depth + 1)
        name = _parameter(names, literal)
        if ids is not None:
            member = self._walk(ids, f"{prefix}/{{{name}}}", [*names, name], literal, here, depth + 1)
            for each in spellings:
                each.member = member
        for suffix, child in suffixed.items():
            self._walk(child, f"{prefix}/{{{name}}}{suffix}", [*names, name], literal, here, depth + 1)
        return here

    def _here(self, node: _Node, prefix: str, parent: Resource | None) -> list[Resource]:
        """The resource at a place, or two where paths with and without a slash at their end are there; the busier first."""
        spelled = node.paths or node.creations[:1]
        found = []
        for slash in ("", "/"):
            paths = [path for path in spelled if path.endswith("/") is bool(slash)]
            if paths:
                seen = {path: self._traffic.paths[path] for path in paths if path in node.paths}
                found.append(Resource(prefix + slash, seen, parent))
        found.sort(key=lambda each: -each.count())
        self._found += found
        return found


def _parameter(names: list[str], literal: str) -> str:
    """`id` for the first, so that it is called as most answers call it; then what it is the id of."""
    name = f"{stem(literal)}_id" if names else "id"
    while name in names:
        name += "_"
    return name


def _told_apart(node: _Node, depth: int) -> tuple[dict[str, _Node], dict[str, _Node], _Node | None]:
    """The children of a place: by name, by what stands after an id, and all ids as one.

    A name beside ids is one that somebody gave (`/items/search`); it is a member only if an answer said so.
    """
    ids: dict[str, _Node] = {}
    words: dict[str, _Node] = {}
    suffixed: dict[str, _Node] = {}
    for segment, child in node.children.items():
        base, suffix = split(segment)
        if segment and (child.named or is_id(segment, depth)):
            ids[segment] = child
        elif suffix and is_id(base, depth):
            suffixed.setdefault(suffix, _Node()).take_in(child)
        else:
            words[segment] = child
    if depth == 0 and len(ids) == 1 and _is_version(*next(iter(ids.items()))):
        words, ids = words | ids, {}
    if all(child.named for child in ids.values()):  # nothing by its looks alone
        slugs = {segment: child for segment, child in words.items() if _may_be_member(segment, child)}
        if depth and node.paths and len(slugs) + len(ids) >= SLUGS:
            ids |= slugs
            words = {segment: child for segment, child in words.items() if segment not in slugs}
    if not ids:
        return words, suffixed, None
    whole = _Node()
    for child in ids.values():
        whole.take_in(child)
    return words, suffixed, whole


def _is_version(segment: str, child: _Node) -> bool:
    """`/1/users`: the one small number near the beginning, with nothing at its own place."""
    return len(segment) == 1 and segment.isdigit() and not child.paths and not child.named


def _may_be_member(segment: str, child: _Node) -> bool:
    """Whether a name may be one member of many: it is used as members are, and has no members itself."""
    if not segment or segment.lower() in RESERVED or not child.methods <= _OF_A_MEMBER:
        return False
    return bool(child.paths) and not any(is_id(below, 9) for below in child.children)
