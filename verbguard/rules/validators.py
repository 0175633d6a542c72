"""Validators: what an answer says about the state that it shows."""

from __future__ import annotations

from verbguard.conditions import IF_NONE_MATCH, date_of, tags_of
from verbguard.derived import REPRESENTATION, dated_tag, settled_tag, strong_tag, tag_of_content
from verbguard.http import CONTENT_FIELDS, Request, Response, without
from verbguard.policy import Action, Policy
from verbguard.rules import Answer, Content, Finding, Target, When, rule

_ETAG = frozenset([b"etag"])
_MODIFIED = frozenset([b"last-modified"])

# The answers in which a validator is one of the target's, for the client to keep (RFC 9110 section 8.8).
_SELECTED = frozenset([200, 201, 203, 204, 206, 304])


def _values(response: Answer, name: bytes) -> list[bytes]:
    return [value for found, value in response.headers if found == name or found.lower() == name]


@rule(
    "etag-grammar",
    "An ETag that is not quoted",
    cites="RFC 9110 8.8.3",
    when=When.STATUS,
    statuses=_SELECTED,
    has=_ETAG,
    default=Action.REPAIR,
    strength="MUST",
)
def etag_grammar(request: Request, response: Answer, target: Target) -> Finding | None:
    """An ETag without its quotes, with a small `w/`, or twice in one answer.

    Why it matters: an entity-tag is a quoted string, `"v1"` or `W/"v1"`. Caches and clients compare what they can parse;
    `ETag: v1` is dropped by some and kept by others, so that the If-Match which should protect an update never matches.
    What the guard does: it sets the quotes and the capital W, where that gives a tag. In `observe`, and where nothing can
    be mended (a quote inside, two ETags), it only tells.
    How to fix it: in Flask `response.set_etag("v1")` quotes; in FastAPI write the quotes yourself,
    `response.headers["ETag"] = f'"{version}"'`.
    When to switch it off: when clients that you cannot change compare the bare text, `rules={"etag-grammar": "off"}`.
    """
    from werkzeug.http import quote_etag, unquote_etag

    values = _values(response, b"etag")
    if len(values) > 1:
        return Finding("The answer has two ETag fields; a state has one.")
    value = values[0].decode("latin-1").strip() if values else ""
    tag, weak = unquote_etag(value)
    if tag is None:
        return Finding("The ETag is empty.", drop=_ETAG) if values else None
    try:
        mended = quote_etag(tag, weak)
    except ValueError:
        return Finding("The ETag has a quote in the middle; nobody can compare it.")
    if any(character <= " " or character == "\x7f" for character in tag):
        return Finding("The ETag has a space or a control character; not every client can compare it.")
    if mended == value:
        return None
    return Finding(f"The ETag becomes {mended[:80]}.", drop=_ETAG, add=[(b"etag", mended.encode("latin-1"))])


@rule(
    "last-modified-not-future",
    "Last-Modified is later than Date",
    cites="RFC 9110 8.8.2.1",
    when=When.STATUS,
    statuses=_SELECTED,
    has=_MODIFIED,
    default=Action.REPAIR,
    strength="MUST",
    risk="none",
)
def last_modified_not_future(request: Request, response: Answer, target: Target) -> Finding | None:
    """A Last-Modified that lies after the answer's own Date.

    Why it matters: a client that keeps such a date sends it back, and every change until then looks like none: it gets 304
    for content that is new, and its If-Unmodified-Since protects nothing.
    What the guard does: it sets Last-Modified to the Date of the answer. It has no clock of its own, so it judges only where
    the application sends a Date; most servers add theirs later. In `observe` it only tells.
    How to fix it: use the time at which the state was written, by the clock of the machine that answers. In Flask
    `response.last_modified = row.updated_at`; in FastAPI `format_datetime(row.updated_at, usegmt=True)` from `email.utils`
    with an aware datetime; a naive local time is the usual cause.
    When to switch it off: hardly ever; `rules={"last-modified-not-future": "off"}`.
    """
    modified, date = _values(response, b"last-modified"), _values(response, b"date")
    if not modified or not date:
        return None
    said, now = date_of(modified[0]), date_of(date[0])
    if said is None or now is None or said <= now:
        return None
    return Finding("Last-Modified lies in the future; it becomes Date.", drop=_MODIFIED, add=[(b"last-modified", date[0])])


def _derives(policy: Policy) -> bool:
    return policy.preconditions == "derive"


def _weak(tag: str) -> bytes:
    return b"W/" + tag.encode("latin-1")


# "The server generating a 304 response MUST generate any of the following header fields that would have been sent in a 200
# (OK)", RFC 9110 15.4.5; those stay away that describe a content which is not sent.
_OF_THE_CONTENT = CONTENT_FIELDS | {b"transfer-encoding", b"last-modified", b"etag"}


@rule(
    "derived-etag",
    "A state gets the ETag that it has none of",
    cites="RFC 9110 8.8.3, 13.1.2",
    when=When.CONTENT,
    methods={"GET", "HEAD"},
    statuses=REPRESENTATION,
    content=Content.WHOLE,
    default=Action.OFF,
    opt=Action.REPAIR,
    opted=_derives,
    routine=True,
    strength="SHOULD",
    risk="none",
)
def derived_etag(request: Request, response: Answer, target: Target) -> Finding | None:
    """A 200 or 203 to GET or HEAD without a strong ETag, on a route with `preconditions="derive"`.

    Why it matters: without an ETag a client can neither say which state it wants to replace nor ask whether there is another.
    What the guard does: it adds a strong ETag, a digest of the content, and takes a weak one away, which If-Match could never
    match. If-None-Match that names it gets 304. For this the content is held until it is complete, up to `max_response`;
    what is larger, and event streams, pass as they come and without one. A strong ETag of the application stays, unless
    there is a Last-Modified beside it: file servers make theirs of a second and a length, and another state may have the same.
    Where there is no digest to put in its place, it becomes weak while Last-Modified is less than two seconds before Date.
    How to fix it: a version column is cheaper: `response.headers["ETag"]` in FastAPI, `response.set_etag(...)` in Flask.
    When to switch it off: leave `preconditions` out where content differs each time it is read.
    """
    own = settled_tag(response.headers) if response.body is None else strong_tag(response.headers)
    if own is None and response.body is None:
        fresh = dated_tag(response.headers)
        if fresh is None:
            return None
        return Finding("The next state may have this ETag too; it becomes weak.", drop=_ETAG, add=[(b"etag", _weak(fresh))])
    tag = (own or tag_of_content(response.body or b"", dated_tag(response.headers))).encode("latin-1")
    asked = request.get(IF_NONE_MATCH)
    if asked is not None:
        tags = tags_of(asked)
        if tags.star or tag[1:-1].decode("latin-1") in tags.any:
            headers = [*without(response.headers, _OF_THE_CONTENT), (b"etag", tag)]
            return Finding("The client has this state already.", status=304, answer=Response(304, headers))
    if own is not None:
        return None
    return Finding("The answer gets the ETag of its content.", drop=_ETAG, add=[(b"etag", tag)])
