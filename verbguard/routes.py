"""Route templates, the kinds they show, and the map that finds them by path.

A template is written with braces, `/items/{id}`; `{path:path}` spans slashes. A route is one entry of an application's own
table. The map answers one question fast: which routes does this path reach, whatever the method?
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from verbguard.http import Request

__all__ = ["Kind", "Route", "RouteMap", "Router", "infer_kinds", "shape"]


class Kind(StrEnum):
    """What a resource is to HTTP's verbs."""

    COLLECTION = "collection"  # has members below it; POST creates one, PUT is refused
    ITEM = "item"  # one member; PUT replaces it
    SINGLETON = "singleton"  # one of its kind (`/me`); PUT replaces it, nothing is created below it
    STORE = "store"  # members whose ids the client chooses; PUT creates them
    ACTION = "action"  # something to do (`/items/{id}:publish`); POST does it, no Location is owed
    UNKNOWN = "unknown"  # only what RFC 9110 says of every resource


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """One entry of an application's route table.

    `methods` is None where the router takes the entry for every method (a class endpoint, an opaque mount); `answers` is then
    what the endpoint itself has, where that can be seen. `exact` is False where only the application's router knows which
    values of a parameter it takes (a typed converter, a host condition); `types` tells such entries apart. `host` is the
    host that the entry is for, as the framework spells it: entries for different hosts are no neighbours.
    """

    template: str
    methods: frozenset[str] | None = None
    answers: frozenset[str] | None = None
    types: str = ""
    host: str = ""
    endpoint: Any = None
    exact: bool = True
    opaque: bool = False  # a mounted application that shows no routes
    declared: bool = False  # a policy says that it is there, behind an opaque mount or in an app that shows no routes
    guarded: bool = False  # a mounted application that has a guard of its own
    redirects: bool = False  # the path without the slash at the end is redirected, whatever a later route would make of it
    native: str | None = None  # how the framework itself spells the template

    @property
    def takes(self) -> frozenset[str] | None:
        """The methods that the resource answers, as far as this entry shows."""
        return self.answers if self.methods is None else self.methods


class Router(Protocol):
    """An application's own router, asked for its verdict."""

    declared_order: bool
    """Whether the first route that matches wins, in the order of `routes`; otherwise only the router knows."""

    def routes(self) -> Sequence[Route]:
        """All routes, in the order in which the router prefers them."""

    def version(self) -> object:
        """Changes whenever `routes` might."""

    def matching(self, request: Request) -> list[Route]:
        """The routes that this path reaches, whatever the method; the preferred one first."""

    def native_allow(self, routes: Sequence[Route], method: str) -> str | None:
        """What the application itself would put in Allow when it refuses `method` there; None if it cannot be told."""


_PARAMETER = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")


def bare(template: str) -> str:
    """The template without converters: `/items/{id:int}` is `/items/{id}`."""
    return _PARAMETER.sub(lambda m: "{" + m[1] + (":path}" if m[2] == "path" else "}"), template)


def shape(template: str) -> str:
    """The template without the names of its parameters, so that `/items/{id}` and `/items/{item_id}` are one resource."""
    return _PARAMETER.sub(lambda m: "{:path}" if m[2] == "path" else "{}", template)


def parameters(template: str) -> list[str]:
    """The names of the template's parameters, in order."""
    return [match[1] for match in _PARAMETER.finditer(template)]


def expression(template: str) -> re.Pattern[str]:
    """The template as a regular expression: the slow twin of the map."""
    out, end = "", 0
    for match in _PARAMETER.finditer(template):
        out += re.escape(template[end : match.start()]) + ("(.*)" if match[2] == "path" else "([^/]+)")
        end = match.end()
    return re.compile(out + re.escape(template[end:]))


def infer_kinds(templates: Iterable[str]) -> dict[str, tuple[Kind, str]]:
    """template -> (kind, why), from the shape of the whole table.

    Corroboration is needed on both sides: a template that ends in a literal is a COLLECTION only if a sibling adds exactly
    one parameter segment to it, and that sibling is an ITEM only because of it. Everything else stays UNKNOWN.
    """
    by_shape = {_trimmed(shape(template)): template for template in templates}
    kinds: dict[str, tuple[Kind, str]] = {}
    for found, template in by_shape.items():
        parent, slash, last = found.rpartition("/")
        if slash and last == "{}" and parent in by_shape and parent and not parent.endswith("}"):
            kinds[found] = (Kind.ITEM, f"a member of {by_shape[parent]}")
            kinds[parent] = (Kind.COLLECTION, f"{template} adds one parameter to it")
    nothing = (Kind.UNKNOWN, "nothing in the route table says")
    return {template: kinds.get(_trimmed(shape(template)), nothing) for template in templates}


def _trimmed(template: str) -> str:
    return template.rstrip("/")


# Keys of a node that no path segment can be: segments are strings.
_ANY = None  # the node below a whole-segment parameter
_HERE = 1  # the resource, where no other template can match the same path
_REST = 2  # templates with a parameter that spans slashes: expressions of the whole path, with their routes
_PATTERNS = 3  # segments that mix text and parameters: text -> (expression, node)
_GROUP = 4  # the routes that end here


class RouteMap:
    """Templates compiled into a tree of path segments.

    `find` walks it without looking back and is right wherever one template alone can match; elsewhere it finds nothing,
    and `settle` looks everywhere.
    """

    def __init__(self, routes: Sequence[Route], resource: Callable[[tuple[Route, ...], tuple[Route, ...]], Any]) -> None:
        self.routes = tuple(routes)
        self._resource = resource
        self._junctions: dict[tuple[tuple[Route, ...], tuple[Route, ...]], Any] = {}
        self._root: dict[Any, Any] = {}
        self._rank = {id(route): rank for rank, route in enumerate(self.routes)}
        grouped: dict[str, list[Route]] = {}
        for route in self.routes:
            grouped.setdefault(shape(route.template), []).append(route)
        for template, group in grouped.items():
            self._add(template, tuple(group))
        self._close(self._root, forked=False)
        self.find = _finder(self._root)

    def _add(self, template: str, group: tuple[Route, ...]) -> None:
        node = self._root
        for segment in template.split("/")[1:]:
            if ":path}" in segment:
                node.setdefault(_REST, []).append((expression(template), group))
                return
            if segment == "{}":
                node = node.setdefault(_ANY, {})
            elif "{" in segment:
                patterns = node.setdefault(_PATTERNS, {})
                node = patterns.setdefault(segment, (expression(segment), {}))[1]
            else:
                node = node.setdefault(segment, {})
        node[_GROUP] = (*node.get(_GROUP, ()), *group)

    def _close(self, node: dict[Any, Any], *, forked: bool) -> None:
        """Put a resource where `find` may trust it: only where no fork on the way could have led elsewhere."""
        # a redirect of another type may come first, and take some of the methods; one of the same type comes last
        slashed = [route for route in node.get("", {}).get(_GROUP, ()) if route.redirects]
        if _GROUP in node and not forked and len({route.types for route in (*node[_GROUP], *slashed)}) == 1:
            node[_HERE] = self.junction(node[_GROUP], node[_GROUP])
        elsewhere = forked or _REST in node or _PATTERNS in node
        for key, child in list(node.items()):
            if isinstance(key, str):
                self._close(child, forked=elsewhere or _ANY in node)
            elif key is _ANY:
                self._close(child, forked=elsewhere)

    def junction(self, landing: Sequence[Route], reached: Sequence[Route]) -> Any:
        """The one resource for a request that lands on some of the routes that its path reaches."""
        key = tuple(landing), tuple(reached)
        found = self._junctions.get(key)
        if found is None:
            found = self._junctions[key] = self._resource(*key)
        return found

    def settle(self, path: str) -> list[Route]:
        """Every route whose template matches the path, in the order of the table."""
        found = [route for group in _walk(self._root, path.split("/")[1:], 0) for route in group]
        return sorted(found, key=lambda route: self._rank[id(route)])


def _walk(node: dict[Any, Any], segments: list[str], at: int) -> Iterator[tuple[Route, ...]]:
    if at == len(segments):
        if _GROUP in node:
            yield node[_GROUP]
        return
    for whole, group in node.get(_REST, ()):
        if whole.fullmatch("/" + "/".join(segments)):
            yield group
    segment = segments[at]
    child = node.get(segment)
    if child is not None:
        yield from _walk(child, segments, at + 1)
    child = node.get(_ANY)
    if child is not None and segment:
        yield from _walk(child, segments, at + 1)
    for pattern, below in node.get(_PATTERNS, {}).values():
        if pattern.fullmatch(segment):
            yield from _walk(below, segments, at + 1)


def _finder(root: dict[Any, Any]) -> Callable[[str], Any]:
    def find(path: str) -> Any:
        """The resource at this path, or None: then only `settle` or the application's router can tell."""
        node = root
        for segment in path.split("/")[1:]:
            below = node.get(segment)
            if below is None:
                if not segment or segment[-1] == "\n":
                    return None
                below = node.get(None)
                if below is None:
                    return None
            node = below
        return node.get(1)

    return find
