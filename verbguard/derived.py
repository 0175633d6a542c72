"""What an internal GET shows of a target, and the validator that follows from it: as values, whoever runs the GET."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from datetime import timedelta
from hashlib import sha256

from verbguard.conditions import ABSENT, IF_MODIFIED, State, date_of
from verbguard.http import HOP_BY_HOP, STREAMS, Headers, Response, header, without
from verbguard.replay import IDEMPOTENCY_KEY, PRECONDITIONS
from verbguard.rules.methods import OVERRIDE_FIELDS

__all__ = [
    "IDENTITY",
    "NOT_OF_A_READ",
    "REPRESENTATION",
    "SEEN",
    "TOLD",
    "Look",
    "asked_again",
    "dated_tag",
    "is_derived",
    "is_derived_in",
    "plainly_asked",
    "said_strong",
    "settled_tag",
    "strong_tag",
    "tag_of_content",
    "told",
    "translated",
]

# Where a record keeps the validator that was seen after its run. No application can send a field of that name.
SEEN = b"(validator)"

# A strong ETag promises the same bytes (RFC 9110 8.8.1), which a coding that is chosen anew for each client does not keep.
IDENTITY = (b"accept-encoding", b"identity")

_OURS = '"vg-'  # how a derived ETag begins

# One that stands for an ETag of the application holds it behind the digest, so that the application can be told.
_STANDING_IN = re.compile(r'"vg-[A-Za-z0-9_-]{24}-([^"]*)"')
TOLD = frozenset([b"if-match", b"if"])  # WebDAV's If has ETags too (RFC 4918 10.4)

# File servers make their ETags of a time in seconds and a length: a state of the current second may change and keep it (RFC
# 9110 8.8.1, 8.8.2.2), a file's time can be set back, and an answer to PUT may show one at once. So an ETag beside a
# Last-Modified says nothing alone where the content can be digested. Where it cannot, Last-Modified must be so much older than
# Date; the second one is for clocks that are read late.
_SETTLED = timedelta(seconds=2)

# What belongs to the request that wants to know the state, and not to a GET of it.
NOT_OF_A_READ = (
    HOP_BY_HOP
    | OVERRIDE_FIELDS
    | frozenset(PRECONDITIONS)
    | {
        *(IF_MODIFIED, b"if-range", b"range", IDEMPOTENCY_KEY),
        *(b"content-type", b"content-length", b"content-encoding", b"content-language", b"content-location"),
        *(b"content-range", b"content-disposition", b"content-digest", b"content-md5", b"repr-digest", b"digest"),
        *(b"accept-encoding", b"cache-control", b"pragma", b"expect", b"prefer", b"slug"),
        *(b"destination", b"overwrite", b"depth", b"timeout", b"if", b"lock-token"),
    }
)

# Answers that are about who asks, or about the service as it is now: as true of the write that was not run as of the GET.
_PASSED_ON = frozenset([401, 403, 407, 429, 502, 503, 504])
REPRESENTATION = frozenset([200, 203])  # the answers to a GET whose content is the target's


def asked_again(headers: Headers) -> Headers:
    """The fields of the internal GET: who asks and what they can read stays; a cache in between may not answer it."""
    kept = [pair for pair in headers if pair[0].lower() not in NOT_OF_A_READ]
    return [*kept, IDENTITY, (b"cache-control", b"no-cache")]


def plainly_asked(headers: Headers) -> Headers:
    """The fields of a client's own GET, so that it shows the bytes that the internal GET would.

    If-Range with a derived ETag would be one that the application has never heard of: the whole content is the right answer.
    """
    condition = header(headers, b"if-range")
    names = {b"accept-encoding"}
    if condition is not None and is_derived(condition.decode("latin-1")):
        names |= {b"if-range", b"range"}
    return [*without(headers, names), IDENTITY]


def translated(headers: Headers) -> Headers:
    """The fields of a write whose conditions were evaluated here, with the ETags that the application knows.

    If-Match with one that it has never heard of does not reach it: it may compare for itself.
    """
    found = [(name, told(value) if name.lower() in TOLD and is_derived_in(value) else value) for name, value in headers]
    return [pair for pair in found if pair[0].lower() != b"if-match" or not is_derived_in(pair[1])]


def told(value: bytes) -> bytes:
    """A condition with the application's own ETags in the place of those that stand in for them."""
    return _STANDING_IN.sub(r'"\1"', value.decode("latin-1")).encode("latin-1")


def is_derived_in(value: bytes) -> bool:
    """Whether a condition names a derived ETag."""
    return _OURS.encode() in value


def is_derived(tag: str) -> bool:
    """Whether a quoted entity-tag is one that was made here."""
    return tag.strip().startswith(_OURS)


def tag_of_content(content: bytes, own: str | None = None) -> str:
    """The strong ETag of a representation, with its quotes: a digest of its bytes, and the ETag for which it stands in."""
    digest = urlsafe_b64encode(sha256(content).digest()[:18]).decode("ascii")
    return f'{_OURS}{digest}"' if own is None else f"{_OURS}{digest}-{own[1:]}"


def strong_tag(headers: Headers) -> str | None:
    """The ETag that the application gives by itself, with its quotes; None where it gives none, a weak one, or one that may be
    made of a date."""
    return None if header(headers, b"last-modified") is not None else said_strong(headers)


def dated_tag(headers: Headers) -> str | None:
    """The ETag that the application calls strong, and that may be made of the date which stands beside it."""
    return None if header(headers, b"last-modified") is None else said_strong(headers)


def settled_tag(headers: Headers) -> str | None:
    """The strong ETag of the application that is the best there is where the content cannot be digested; None so soon after a
    change that the next state may have the same."""
    return None if _is_fresh(headers) else said_strong(headers)


def _is_fresh(headers: Headers) -> bool:
    modified, date = date_of(header(headers, b"last-modified")), date_of(header(headers, b"date"))
    return modified is not None and date is not None and date - modified < _SETTLED


def said_strong(headers: Headers) -> str | None:
    """The ETag that the application calls strong, with its quotes; None where there is none, a weak one, or a broken one."""
    from werkzeug.http import quote_etag, unquote_etag

    value = header(headers, b"etag")
    tag, weak = (None, False) if value is None else unquote_etag(value.decode("latin-1").strip())
    if tag is None or weak:
        return None
    try:
        return quote_etag(tag)
    except ValueError:  # a quote in the middle
        return None


class Look:
    """What an internal GET shows: its status, its fields, and its content up to `bound` bytes. Without a head it has failed."""

    __slots__ = ("_length", "_pieces", "_size", "bound", "complete", "headers", "status", "whole")

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.status = 500
        self.headers: Headers = []
        self.whole = True  # whether all of the content has been seen so far
        self.complete = False  # whether this was its end; set by whoever runs the GET
        self._pieces: list[bytes] = []
        self._size = 0
        self._length = -1  # as the head declares it

    def begin(self, status: int, headers: Headers) -> bool:
        """The head of the answer; returns whether its content is wanted."""
        self.status = status
        self.headers = [(name.lower(), value) for name, value in headers]
        if (header(self.headers, b"content-type") or b"").startswith(STREAMS):
            self.whole = False
        length = header(self.headers, b"content-length")
        if length is not None and length.isdigit():
            self._length = int(length[:19])
            self.whole = self.whole and self._length <= self.bound
        return self.whole

    def add(self, piece: bytes) -> bool:
        """A piece of the content; returns whether more is wanted."""
        self._size += len(piece)
        if self._size > self.bound:
            self.whole = False
        else:
            self._pieces.append(bytes(piece))
        return self.whole

    def fail(self) -> None:
        """The application raised, or did not answer in time."""
        self.status, self.headers, self._pieces = 500, [], []

    @property
    def _known(self) -> bool:
        """Whether all of the content is here, and not cut off."""
        return self.whole and self.complete and self._length in (-1, self._size)

    @property
    def tags(self) -> tuple[str, ...]:
        """The target's strong ETags: the application's own, and those that its content gives. A client may have any."""
        if not 200 <= self.status <= 299:
            return ()
        known = self.status in REPRESENTATION and self._known
        own, said = strong_tag(self.headers) if known else settled_tag(self.headers), self.said
        found = [] if own is None else [own]
        if known:
            content = b"".join(self._pieces)
            found.append(tag_of_content(content))
            if said is not None:
                found.append(tag_of_content(content, said))
        return tuple(found)

    @property
    def said(self) -> str | None:
        """The ETag that the application calls strong, whatever it is made of."""
        return said_strong(self.headers)

    def state(self) -> State:
        """The target's state, with a word of what is not known of it."""
        if self.status in (404, 410):
            return ABSENT
        if not 200 <= self.status <= 299:
            why = f"A GET of it answers {self.status}"
            return State(False, unknown=why, later=self.status >= 500, answer=self._answer())
        modified = date_of(header(self.headers, b"last-modified"))
        if tags := [tag[1:-1] for tag in self.tags]:
            return State(True, tags[0], modified=modified, others=tuple(tags[1:]))
        if self.status not in REPRESENTATION:
            return State(True, modified=modified)
        why = "Its content was cut off" if self.whole else f"It is a stream, or has more than {self.bound} bytes"
        return State(True, modified=modified, unknown=why, later=self.whole)

    def _answer(self) -> Response | None:
        """What the client may be told in place of an answer to its write."""
        if self.status in _PASSED_ON and self._known:
            body = b"".join(self._pieces)
            fields = without(self.headers, HOP_BY_HOP | {b"content-length", b"etag", b"last-modified"})
            return Response(self.status, [*fields, (b"content-length", b"%d" % len(body))], body)
        return None
