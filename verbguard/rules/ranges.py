"""Ranges: asked for by GET and QUERY only."""

from __future__ import annotations

from verbguard.http import Request, header
from verbguard.policy import Action
from verbguard.rules import Answer, Finding, Target, When, rule

_RANGE_FIELDS = frozenset([b"range", b"if-range"])
_RANGE = frozenset([b"range"])
_IF_RANGE = frozenset([b"if-range"])
_CONTENT_RANGE = frozenset([b"content-range"])
_MULTIPART = b"multipart/byteranges"


def _unit(value: bytes, separator: bytes) -> bytes:
    """The range unit before the separator, in lower case: units are compared without regard to it (RFC 9110 14.1)."""
    name, found, _ = value.strip().partition(separator)
    return name.strip().lower() if found else b""


@rule(
    "range-get-only",
    "Range on a method that has none",
    cites="RFC 9110 14.2",
    when=When.REQUEST,
    methods={"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"},
    fields=_RANGE_FIELDS,
    default=Action.REPAIR,
    routine=True,
    strength="MUST",
)
def range_get_only(request: Request, target: Target) -> Finding | None:
    """Range or If-Range on a method other than GET and QUERY.

    Why it matters: a part of a resource can be read, not written. "A server MUST ignore a Range header field received with a
    request method that is unrecognized or for which range handling is not defined", RFC 9110 14.2. A handler that shares
    its code with GET would answer a POST or HEAD with 206, and a client takes the part for the whole.
    What the guard does: both fields are taken away before the app sees them; `observe` only tells.
    How to fix it: Starlette's FileResponse and Flask's `send_file` read Range by themselves: use them in handlers of GET only.
    When to switch it off: when clients really write parts by private agreement, `rules={"range-get-only": "off"}`.
    """
    return Finding("Range has no meaning here.", drop=_RANGE_FIELDS)


@rule(
    "range-unknown-unit",
    "Range in a unit that is not bytes",
    cites="RFC 9110 14.2",
    when=When.REQUEST,
    methods={"GET", "QUERY"},
    fields=_RANGE,
    opt=Action.REPAIR,
    map_needed=True,
    strength="MUST",
)
def range_unknown_unit(request: Request, target: Target) -> Finding | None:
    """A Range whose unit is not `bytes`, such as `items=0-24`.

    Why it matters: a server ignores units that it does not know. A handler that reads the numbers without the unit sends
    bytes to a client that asked for rows. Some APIs page with units of their own; then nothing is wrong.
    What the guard does: it tells. With `rules={"range-unknown-unit": "repair"}` the field is taken away before the app sees it.
    How to fix it: page with query parameters, `?offset=0&limit=25`, or a Link with `rel="next"`: FastAPI declares them as
    arguments, Flask has them in `request.args`.
    When to switch it off: where a unit of your own is meant, `rules={"range-unknown-unit": "off"}`.
    """
    unit = _unit(request.get(b"range") or b"", b"=")
    if unit in (b"", b"bytes"):
        return None
    return Finding(f"The range unit {unit[:40].decode('latin-1')!r} is not bytes.", drop=_RANGE_FIELDS)


@rule(
    "if-range-needs-range",
    "If-Range that cannot be true",
    cites="RFC 9110 13.1.5",
    when=When.REQUEST,
    methods={"GET", "QUERY"},
    fields=_IF_RANGE,
    default=Action.REPAIR,
    map_needed=True,
    routine=True,
    strength="MUST",
    risk="none",
)
def if_range_needs_range(request: Request, target: Target) -> Finding | None:
    """If-Range without Range, or with a weak entity-tag.

    Why it matters: If-Range says "the part, if nothing changed; else all of it". Without Range there is no part to speak of. A
    weak tag cannot promise that the bytes are the same: an application that compares too kindly sends a part of the new
    content, and the client glues it to the old.
    What the guard does: alone, If-Range is taken away; with a weak tag Range goes too, so that the client gets all of it.
    Without a route map, and in `observe`, it only tells.
    How to fix it: the client sends a strong ETag or a date, and always beside Range. Give files strong tags: Flask's
    `send_file` and Starlette's FileResponse do.
    When to switch it off: hardly ever; `rules={"if-range-needs-range": "off"}`.
    """
    value = (request.get(b"if-range") or b"").strip()
    if request.get(b"range") is None:
        return Finding("If-Range has no meaning without Range.", drop=_IF_RANGE)
    if value[:2] in (b"W/", b"w/"):
        return Finding("If-Range with a weak entity-tag is never true: all of the content is asked for.", drop=_RANGE_FIELDS)
    return None


@rule(
    "status-206-content-range",
    "206 that does not say which part it is",
    cites="RFC 9110 15.3.7.1, 15.3.7.2",
    when=When.STATUS,
    methods={"GET", "QUERY"},
    statuses={206},
    strict=Action.REPLACE,
    strength="MUST",
)
def content_range_206(request: Request, response: Answer, target: Target) -> Finding | None:
    """A 206 with one part and no Content-Range, or with several parts and one of its own.

    Why it matters: Content-Range tells a client where the part belongs. Without it a download is assembled wrongly or starts
    again. In `multipart/byteranges` each part has its own, and one for the whole contradicts them.
    What the guard does: it tells. In `strict` a 206 without Content-Range becomes a 500, so that a test fails, and the one
    beside several parts is taken away.
    How to fix it: let the framework do it: Starlette's FileResponse, Flask's `send_file(..., conditional=True)`. By hand:
    `Content-Range: bytes 0-499/1234`.
    When to switch it off: when a private client knows its parts without, `rules={"status-206-content-range": "off"}`.
    """
    several = (header(response.headers, b"content-type") or b"").lower().startswith(_MULTIPART)
    given = header(response.headers, b"content-range") is not None
    if several and given:
        return Finding("A 206 of several parts has one Content-Range.", drop=_CONTENT_RANGE)
    if not several and not given:
        return Finding("A 206 has no Content-Range.", status=500)
    return None


@rule(
    "status-206-no-multipart-for-one",
    "Several parts for one range",
    cites="RFC 9110 15.3.7.2",
    when=When.STATUS,
    methods={"GET", "QUERY"},
    statuses={206},
    has={b"content-type"},
    strength="MUST",
)
def multipart_for_one(request: Request, response: Answer, target: Target) -> Finding | None:
    """`multipart/byteranges` in answer to a request for one range.

    Why it matters: "A server MUST NOT generate a multipart response to a request for a single range", RFC 9110 15.3.7.2: a
    client that asked for one part does not look for boundaries, and stores them as content.
    What the guard does: it tells, in every profile.
    How to fix it: answer one range with the part itself and Content-Range. Starlette's FileResponse and Flask's `send_file`
    do; check what writes the parts in a handler of your own.
    When to switch it off: `rules={"status-206-no-multipart-for-one": "off"}`, when your clients expect the parts.
    """
    from werkzeug.http import parse_range_header

    if not (header(response.headers, b"content-type") or b"").lower().startswith(_MULTIPART):
        return None
    try:
        asked = parse_range_header((request.get(b"range") or b"").decode("latin-1"))
    except (ValueError, ArithmeticError):
        return None
    if asked is None or len(asked.ranges) != 1:
        return None
    return Finding("One range was asked for, and the answer is multipart/byteranges.")


@rule(
    "content-range-only-206-416",
    "Content-Range where there is no part",
    cites="RFC 9110 14.4",
    when=When.STATUS,
    statuses=frozenset(range(200, 600)) - {206, 416},
    has=_CONTENT_RANGE,
    default=Action.REPAIR,
)
def content_range_elsewhere(request: Request, response: Answer, target: Target) -> Finding | None:
    """Content-Range on an answer that is neither 206 nor 416.

    Why it matters: the field says which part of a whole this is, or of a whole that has no such part. With other codes it has
    no meaning; a client or cache that reads it all the same treats a complete answer as a part.
    What the guard does: a Content-Range in bytes is taken away. One in another unit (`items 0-24/319`, as some paging
    clients expect on a 200) only is a finding, and so is everything in `observe`.
    How to fix it: answer a Range with 206 (FileResponse, `send_file`). For paging tell the total in the content or in a field
    of your own, `X-Total-Count`.
    When to switch it off: when it is only noise in the log, `rules={"content-range-only-206-416": "off"}`.
    """
    value = header(response.headers, b"content-range") or b""
    unit = _unit(value, b" ")
    if unit in (b"", b"bytes"):
        return Finding(f"Content-Range has no meaning with {response.status}.", drop=_CONTENT_RANGE)
    return Finding(f"Content-Range has no meaning with {response.status}; in a unit of its own it is left alone.")
