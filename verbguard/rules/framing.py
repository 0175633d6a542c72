"""Framing is part of semantics: what must not follow a status is read as the next answer on the connection.

The exchange drops the content itself; these rules say so and mend the fields.
"""

from __future__ import annotations

from verbguard.http import Request, header
from verbguard.policy import Action
from verbguard.rules import Answer, Finding, Target, When, rule

_LENGTHS = frozenset([b"content-length", b"transfer-encoding"])
_DESCRIBES = frozenset(
    [
        b"content-type",
        b"content-length",
        b"transfer-encoding",
        b"content-encoding",
        b"content-language",
        b"content-range",
    ]
)


def _present(response: Answer, names: frozenset[bytes]) -> bool:
    return any(name in names or name.lower() in names for name, _ in response.headers)


@rule(
    "no-length-1xx-204",
    "204 has no length",
    cites="RFC 9110 8.6, RFC 9112 6.1",
    when=When.FRAMING,
    statuses={204},
    default=Action.REPAIR,
)
def no_length_204(request: Request, response: Answer, target: Target) -> Finding | None:
    """ "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx or 204", 9110 8.6.

    Some servers then write the content as well, and the next answer on the connection starts in the middle of it.
    """
    if _present(response, _LENGTHS):
        return Finding("204 carries Content-Length or Transfer-Encoding.", drop=_LENGTHS)
    return None


@rule(
    "no-content-205",
    "205 has no content",
    cites="RFC 9110 15.3.6",
    when=When.FRAMING,
    statuses={205},
    default=Action.REPAIR,
    routine=True,
)
def no_content_205(request: Request, response: Answer, target: Target) -> Finding | None:
    """A server must not send content in a 205; a length of zero says that it did not."""
    if header(response.headers, b"content-length") == b"0":
        return None
    return Finding("205 is sent without content.", drop=_DESCRIBES, add=[(b"content-length", b"0")])


@rule(
    "status-304-lean",
    "304 describes no content",
    cites="RFC 9110 15.4.5, 8.6",
    when=When.FRAMING,
    statuses={304},
    default=Action.REPAIR,
    routine=True,
)
def lean_304(request: Request, response: Answer, target: Target) -> Finding | None:
    """A 304 carries what identifies the stored answer (ETag, Vary, ...) and nothing that describes content it has not."""
    if _present(response, _DESCRIBES):
        return Finding("304 is sent without fields that describe content.", drop=_DESCRIBES)
    return None


@rule(
    "no-content-1xx-204-304",
    "Content after a status that has none",
    cites="RFC 9110 6.4.1",
    when=When.REPLAY,
    default=Action.REPAIR,
)
def no_content(request: Request, response: Answer, target: Target) -> Finding | None:
    """1xx, 204, 205 and 304 end with their head. Content after it desynchronises the connection; it is dropped."""
    return None


@rule(
    "head-no-content",
    "HEAD has no content",
    cites="RFC 9110 9.3.2",
    when=When.REPLAY,
    default=Action.REPAIR,
    routine=True,
)
def head_no_content(request: Request, response: Answer, target: Target) -> Finding | None:
    """The answer to HEAD is the head that GET would get. Frameworks send the content all the same; it is dropped."""
    return None
