"""Cases of rules, a module a family: (rule, what is known of the target, request, answer, what the rule finds).

A request rule has no answer; a rule about content or about the target's state has these in its place. Of a finding only the
named fields are compared; None stands for silence. `tests/test_rules.py` collects the `CASES` of every module, and wants each
rule to speak and to stay quiet at least once.
"""

from __future__ import annotations

import re
from typing import Any

from verbguard import Kind, Policy
from verbguard.http import Headers, Request
from verbguard.rules import Answer, Finding, Rule, Target, When

Expected = dict[str, Any] | None
Case = tuple[str, Target, Request, Any, Expected]

COLLECTION, ITEM, ACTION, UNKNOWN = Kind.COLLECTION, Kind.ITEM, Kind.ACTION, Kind.UNKNOWN
FULL = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def at(kind: Kind = UNKNOWN, /, *, allow: Any = FULL, mapped: bool = True, child: str | None = None, **policy: Any) -> Target:
    """What is known of the target; the method is the request's."""
    return Target(
        method="",
        template="/items",
        kind=kind,
        policy=Policy(**policy),
        allow=frozenset(allow),
        mapped=mapped,
        child=child,
        resolves=lambda path: re.fullmatch(r"/items/[^/]+", path) is not None,
    )


def ask(method: str, path: str = "/items", **fields: str) -> Request:
    """A request; `if_match="x"` is the field If-Match."""
    return Request(method, path, [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()])


def says(status: int, body: bytes | None = None, /, **fields: str) -> Answer:
    """The application's answer; its fields are spelled as applications do."""
    headers: Headers = [(name.replace("_", "-").title().encode(), value.encode()) for name, value in fields.items()]
    return Answer(status, headers, body)


def spoken(rule: Rule, target: Target, request: Request, answer: Any) -> Finding | None:
    """What the rule finds; a plan does not ask it where its facts say that it is not concerned."""
    target = Target(**{name: getattr(target, name) for name in Target.__slots__} | {"method": request.method})
    if not rule.concerns_method(request.method):
        return None
    if rule.when in (When.REQUEST, When.BODY) and not rule.asks(frozenset(request.fields)):
        return None
    if rule.when in (When.STATE, When.BODY):
        return rule.check(request, target, answer)
    if not isinstance(answer, Answer):
        return rule.check(request, target)
    present = [name.lower() for name, _ in answer.headers]
    if rule.statuses is not None and answer.status not in rule.statuses:
        return None
    if (rule.given is not None and not rule.given & request.fields.keys()) or not rule.looks(present):
        return None
    return rule.check(request, answer, target)
