"""The route table as the guard sees it, as plain values to print."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from verbguard.cli.guarding import Acting
from verbguard.http import Request
from verbguard.methods import allow_value
from verbguard.plans import Guard
from verbguard.policy import Policy, Replay, policy_of
from verbguard.routes import Route, shape

NOBODY = "TRACE"  # a method that no app offers, to ask what a refusal would list


@dataclass(frozen=True, slots=True)
class Promise:
    """One policy: for which method (all where it is empty), written where, saying what beyond the defaults."""

    method: str
    source: str
    says: dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One resource of an app."""

    template: str
    kind: str
    why: str
    methods: list[str]  # those that the app has routes for
    app_allow: list[str] | None  # what the app itself puts in Allow; None where nobody can tell
    guard_allow: list[str]
    policies: list[Promise]


def rows_of(acting: Acting) -> list[Row]:
    """One row a resource, in the order of the app's own table."""
    guard = acting.guard
    groups: dict[str, list[Route]] = {}
    for route in guard.map.routes if guard.map is not None else ():
        groups.setdefault(shape(route.template), []).append(route)
    return [_row(acting, group) for group in groups.values()]


def _row(acting: Acting, routes: Sequence[Route]) -> Row:
    guard = acting.guard
    assert guard.map is not None
    reached = _reached(guard, routes)
    resource = guard.map.junction(routes, reached)
    native = guard.router.native_allow(reached, NOBODY) if guard.router is not None else None
    return Row(
        template=resource.template,
        kind=str(resource.kind),
        why=resource.why,
        methods=_ordered({method for route in routes for method in route.takes or ()}),
        app_allow=None if native is None else _split(native),
        guard_allow=_ordered(resource.allow),
        policies=_promises(acting, routes, resource.template, resource.policies),
    )


def _reached(guard: Guard, routes: Sequence[Route]) -> Sequence[Route]:
    """All routes that the resource's path reaches; a template with parameters has no one path to ask about."""
    template = routes[0].template
    if guard.router is None or "{" in template:
        return routes
    return guard.router.matching(Request(NOBODY, template)) or routes


def _promises(acting: Acting, routes: Sequence[Route], template: str, policies: dict[str, Policy]) -> list[Promise]:
    found = []
    for method, policy in sorted(policies.items()):
        source = _source(acting, routes, template, method, policy)
        if source:
            found.append(Promise(method, source, _says(policy)))
    return found


def _source(acting: Acting, routes: Sequence[Route], template: str, method: str, policy: Policy) -> str:
    """Who wrote a policy; empty for the default that nobody wrote."""
    for key, written in acting.guard.policies.items():
        word, _, wanted = key.rpartition(" ")
        if written is policy and word == method and shape(wanted) == shape(template):
            return _written(acting, template, policy)
    for route in routes:
        if method and policy_of(route.endpoint, method) is policy:
            return f"decorator {_place(route.endpoint)}".rstrip()
    return f"default of {acting.source}" if policy != Policy() else ""


def _written(acting: Acting, template: str, policy: Policy) -> str:
    """The file that a policy is from, the document that it is from, or both."""
    known = acting.known
    fields = None if known is None else next((f for path, f in known.templates.items() if shape(path) == shape(template)), None)
    if known is None or fields is None:
        return acting.source
    return known.name if policy == Policy(**fields) else f"{acting.source}, {known.name}"


def _place(endpoint: Any) -> str:
    """File and line of a handler, where it is a function."""
    code = getattr(inspect.unwrap(endpoint), "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code is not None else ""


def _says(policy: Policy) -> dict[str, str]:
    """The fields that differ from a policy that says nothing."""
    says = _differing(policy, Policy())
    replay = says.pop("replay", None)
    if policy.replay is None:
        says["replay"] = "left to the app"
    elif replay is not None:
        says |= {f"replay.{name}": value for name, value in _differing(policy.replay, Replay()).items()}
    return says


def _differing(value: Any, plain: Any) -> dict[str, str]:
    pairs = ((each.name, getattr(value, each.name), getattr(plain, each.name)) for each in fields(value))
    return {name: _plain(found) for name, found, usual in pairs if found != usual}


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(each)}" for name, each in value.items())
    if isinstance(value, (frozenset, tuple)):
        return " ".join(map(str, sorted(value)))
    return getattr(value, "__name__", None) or str(value)


def _ordered(methods: Any) -> list[str]:
    return _split(allow_value(frozenset(methods)).decode("latin-1")) if methods else []


def _split(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]
