"""Ranges: asked for by GET and QUERY only."""

from __future__ import annotations

from verbguard.http import Request
from verbguard.policy import Action
from verbguard.rules import Finding, Target, When, rule

_RANGE_FIELDS = frozenset([b"range", b"if-range"])


@rule(
    "range-get-only",
    "Range on a method that has none",
    cites="RFC 9110 14.2",
    when=When.REQUEST,
    methods={"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"},
    fields=_RANGE_FIELDS,
    default=Action.REPAIR,
    routine=True,
)
def range_get_only(request: Request, target: Target) -> Finding | None:
    """ "A server MUST ignore a Range header field received with a request method that is unrecognized or for which range
    handling is not defined", RFC 9110 14.2. The field is taken away before the app sees it.
    """
    return Finding("Range has no meaning here.", drop=_RANGE_FIELDS)
