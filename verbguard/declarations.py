"""Policies as a mapping of templates: checked when they are given, and read as routes where an app shows none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from verbguard.errors import ConfigError, nearest
from verbguard.methods import METHODS, REGISTERED
from verbguard.policy import Policy
from verbguard.routes import Route, bare
from verbguard.rules import catalogue

__all__ = ["braces", "check_rules", "checked", "declared_routes"]


_PARAMETER = re.compile(r"\{[^{}]*\}")
_BRACE = re.compile(r"[{}]")


def declared_routes(policies: Mapping[str, Policy]) -> list[Route]:
    """The policies' own templates as routes, for an app that shows none: the one that says the most of a path comes first.

    Literals are preferred to parameters, a parameter to one that spans slashes, and of two such the longer text around it.
    """
    grouped: dict[str, set[str]] = {}
    for key, policy in policies.items():
        method, _, template = key.rpartition(" ")
        grouped.setdefault(template, set()).update(policy.methods, [method] if method and policy.methods else ())
    return [
        Route(template=template, methods=frozenset(methods) or None, declared=True)
        for template, methods in sorted(grouped.items(), key=lambda each: _precedence(each[0]))
    ]


def _precedence(template: str) -> tuple[int, int, int, str]:
    return template.count("{"), template.count(":path}"), -len(_PARAMETER.sub("", template)), template


def checked(policies: Any) -> dict[str, Policy]:
    """The mapping with its templates in one spelling. Raises ConfigError for a key or a value that cannot be meant."""
    if not isinstance(policies, Mapping):
        raise ConfigError(f"policies = {policies!r}: a mapping of templates to policies")
    found: dict[str, Policy] = {}
    for key, policy in policies.items():
        where = f"policies[{key!r}]"
        method, _, template = str(key).rpartition(" ")
        if not isinstance(key, str) or not template.startswith("/") or key == " " + template:
            raise ConfigError(f"{where}: a template starts with a slash, such as '/items/{{id}}' or 'PUT /items/{{id}}'")
        if not isinstance(policy, Policy):
            raise ConfigError(f"{where} = {policy!r}: a Policy, such as item() or collection()")
        if method and method not in REGISTERED and method not in policy.named:
            raise ConfigError(f"{where}: there is no method {method!r}: {nearest(method.upper(), METHODS)}")
        check_rules(where, policy)
        spelled = bare(braces(template))
        if (brace := _BRACE.search(_PARAMETER.sub("", spelled))) is not None:
            raise ConfigError(f"{where}: {brace[0]!r} stands alone: a parameter is written in two braces, '/items/{{id}}'")
        found[(method + " " if method else "") + spelled] = policy
    return found


def braces(template: str) -> str:
    """Flask's spelling of a template, `/items/<int:id>`, in braces."""
    return re.sub(
        r"<(?:(path)(?:\([^)]*\))?:|[^<>:]*:)?([^<>]+)>", lambda m: "{" + m[2] + (":path}" if m[1] else "}"), template
    )


def check_rules(where: str, policy: Policy) -> None:
    """Raises ConfigError for a rule that does not exist, or an action that it cannot take."""
    known = catalogue()
    for id, action in policy.rules.items():
        if id not in known:
            raise ConfigError(f"{where}: rules.{id}: there is no such rule: {nearest(id, known)}")
        if action not in known[id].actions:
            raise ConfigError(f"{where}: rules.{id} = {str(action)!r}: {nearest(str(action), map(str, known[id].actions))}")
