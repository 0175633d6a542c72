"""Preconditions as values: what a request says must be true of its target, and whether it is (RFC 9110 section 13).

What the target's validator is now only the application knows: a policy's `validator` tells it, or an internal GET shows it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

from verbguard.http import Request, Response

__all__ = [
    "ABSENT",
    "IF_MATCH",
    "IF_MODIFIED",
    "IF_NONE_MATCH",
    "IF_UNMODIFIED",
    "State",
    "Tags",
    "date_of",
    "failed_precondition",
    "false_condition",
    "state_of",
    "tags_of",
]

IF_MATCH, IF_NONE_MATCH = b"if-match", b"if-none-match"
IF_UNMODIFIED, IF_MODIFIED = b"if-unmodified-since", b"if-modified-since"


def date_of(value: bytes | None) -> datetime | None:
    """The moment that a date field names, or None where nobody can read it."""
    from werkzeug.http import parse_date

    if value is None:
        return None
    try:
        return parse_date(value.decode("latin-1"))
    except (ArithmeticError, LookupError, ValueError):  # the standard library's parser raises on years that no date has
        return None


# ---- the target's state


class State(NamedTuple):
    """What is known of the target now."""

    exists: bool
    tag: str | None = None  # without quotes; None where the application has no entity-tags
    weak: bool = False
    modified: datetime | None = None
    others: tuple[str, ...] = ()  # further strong tags of the same state
    unknown: str | None = None  # why nobody here knows its validator, or whether it exists
    later: bool = False  # whether it may be known at another time
    answer: Response | None = None  # what was said instead


ABSENT = State(False)


def state_of(current: Any) -> State:
    """What a policy's `validator` says: an ETag as text, a datetime, a pair of both, or None for a target that does not exist.

    Raises ValueError or TypeError for anything else: a state that nobody can read must not let a request run.
    """
    if current is None:
        return ABSENT
    etag, modified = current if isinstance(current, (tuple, list)) else (current, None)
    if isinstance(etag, datetime) and modified is None:
        etag, modified = None, etag
    tag, weak = (None, False) if etag is None else _tag_of(etag)
    if modified is not None:
        if not isinstance(modified, datetime):
            raise TypeError(f"the validator gave {modified!r}: Last-Modified is a datetime")
        # HTTP's dates have no fractions of a second, so that what they name may be up to one second older
        modified = modified.replace(microsecond=0)
        modified = modified if modified.tzinfo is not None else modified.replace(tzinfo=UTC)
    return State(True, tag, weak, modified)


def _tag_of(etag: Any) -> tuple[str, bool]:
    from werkzeug.http import quote_etag, unquote_etag

    if not isinstance(etag, str):
        raise TypeError(f"the validator gave {etag!r}: an ETag is text, such as '\"v1\"'")
    tag, weak = unquote_etag(etag)
    if tag is None or quote_etag(tag, bool(weak)) != etag:
        raise ValueError(f"the validator gave {etag!r}: an ETag is quoted, such as '\"v1\"' or 'W/\"v1\"'")
    return tag, bool(weak)


# ---- the request's conditions


class Tags(NamedTuple):
    """A list of entity-tags as a client sent it."""

    star: bool
    mixed: bool  # `*` beside other elements
    strong: frozenset[str]
    any: frozenset[str]  # weak ones too

    @property
    def readable(self) -> bool:
        return self.star or bool(self.any)


_QUOTED = re.compile(r'"[^"]*"')


def tags_of(value: bytes) -> Tags:
    from werkzeug.http import parse_etags

    text = value.decode("latin-1")
    elements = [part.strip(" \t") for part in _QUOTED.sub('"', text).split(",")]
    bare = [part for part in elements if part]
    if bare == ["*"]:
        return Tags(True, False, frozenset(), frozenset())
    parsed = parse_etags(text)
    # werkzeug reads the empty tag, which is one, as None
    strong, both = (frozenset(tag or "" for tag in parsed.as_set(weak)) for weak in (False, True))
    return Tags(False, "*" in bare, strong, both)


def false_condition(request: Request, state: State) -> bytes | None:
    """The name of the first condition that is false, for a method that is not safe; None when the request may run.

    "When more than one conditional request header field is present in a request, the order in which the fields are evaluated
    becomes important", RFC 9110 section 13.2.2. What cannot be read never makes a condition true, except for a date, which
    "MUST" then be ignored (13.1.4).
    """
    match = request.get(IF_MATCH)
    if match is not None:
        if not _matches(tags_of(match), state):
            return IF_MATCH
    else:
        since = date_of(request.get(IF_UNMODIFIED))
        if since is not None and state.modified is not None and state.modified > since:
            return IF_UNMODIFIED
    none = request.get(IF_NONE_MATCH)
    if none is not None and not _differs(tags_of(none), state):
        return IF_NONE_MATCH
    return None


def _matches(tags: Tags, state: State) -> bool:
    """If-Match, by strong comparison: "An origin server MUST use the strong comparison function", RFC 9110 13.1.1."""
    if tags.star:
        return state.exists
    return not tags.strong.isdisjoint(state.others) or (state.tag is not None and not state.weak and state.tag in tags.strong)


def _differs(tags: Tags, state: State) -> bool:
    """If-None-Match, by weak comparison: "A recipient MUST use the weak comparison function", RFC 9110 13.1.2."""
    if tags.star or tags.mixed:
        return not state.exists
    return bool(tags.any) and state.tag not in tags.any and tags.any.isdisjoint(state.others)


def failed_precondition(request: Request, current: Any) -> bool:
    """Whether a condition of the request is false for a target whose `validator` says `current`."""
    return false_condition(request, state_of(current)) is not None
