"""What an answer says about the state that it shows: ETag and Last-Modified."""

from __future__ import annotations

from rulecases import Case, ask, at, says
from verbguard.rules import Answer

TAG = frozenset({b"etag"})
MODIFIED = frozenset({b"last-modified"})
NOW, SOON = "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"


def tagged(value: bytes, *more: bytes) -> Answer:
    return Answer(200, [(b"ETag", each) for each in (value, *more)])


def becomes(value: bytes) -> dict[str, object]:
    return {"drop": TAG, "add": [(b"etag", value)]}


KEPT = {"drop": frozenset(), "add": []}

# sha256 of b"state", its first 18 bytes in base64url
THEN = "Sun, 06 Nov 1994 08:49:39 GMT"
STATE = b'"vg-S6aXNcpTdl7WpwnttWxuoja3"'
FOR_V1 = STATE[:-1] + b'-v1"'  # in its place, with the application's own behind it
NOT_AGAIN = {"status": 304}

CASES: list[Case] = [
    ("derived-etag", at(), ask("GET"), says(200, b"state"), becomes(STATE)),
    ("derived-etag", at(), ask("HEAD"), says(200, b"state"), becomes(STATE)),
    ("derived-etag", at(), ask("GET"), says(200, b"state", etag='W/"v1"'), becomes(STATE)),
    ("derived-etag", at(), ask("GET"), says(200, b"state", etag='"v1"'), None),
    ("derived-etag", at(), ask("GET"), says(200), None),
    ("derived-etag", at(), ask("GET"), says(200, b"state", etag='"v1"', last_modified=NOW, date=SOON), becomes(FOR_V1)),
    ("derived-etag", at(), ask("GET"), says(200, b"state", etag='"v1"', last_modified=SOON, date=NOW), becomes(FOR_V1)),
    ("derived-etag", at(), ask("GET"), says(200, b"state", etag='"v1"', last_modified=NOW, date=THEN), becomes(FOR_V1)),
    ("derived-etag", at(), ask("GET"), says(200, b"state", etag='"v1"', last_modified=NOW), becomes(FOR_V1)),
    ("derived-etag", at(), ask("GET"), says(200, etag='"v1"', last_modified=NOW, date=THEN), None),
    ("derived-etag", at(), ask("GET"), says(200, etag='"v1"', last_modified=NOW), None),
    ("derived-etag", at(), ask("GET"), says(200, etag='"v1"', last_modified=NOW, date=SOON), becomes(b'W/"v1"')),
    ("derived-etag", at(), ask("GET"), says(200, etag='W/"v1"', last_modified=NOW, date=SOON), None),
    ("derived-etag", at(), ask("GET"), says(404, b"state"), None),
    ("derived-etag", at(), ask("GET", if_none_match='"x"'), says(200, b"state"), becomes(STATE)),
    ("derived-etag", at(), ask("GET", if_none_match=f'"x", W/{STATE.decode()}'), says(200, b"state"), NOT_AGAIN),
    ("derived-etag", at(), ask("GET", if_none_match="*"), says(200, b"state"), NOT_AGAIN),
    ("derived-etag", at(), ask("GET", if_none_match='"v1"'), says(200, etag='"v1"'), NOT_AGAIN),
    ("derived-etag", at(), ask("GET", if_none_match='"v0"'), says(200, etag='"v1"'), None),
    ("derived-etag", at(), ask("POST"), says(200, b"state"), None),
    # rule          target request         answer                 finds
    ("etag-grammar", at(), ask("GET"), tagged(b"abc"), becomes(b'"abc"')),
    ("etag-grammar", at(), ask("PUT"), tagged(b"W/abc"), becomes(b'W/"abc"')),
    ("etag-grammar", at(), ask("GET"), tagged(b'w/"abc"'), becomes(b'W/"abc"')),
    ("etag-grammar", at(), ask("GET"), tagged(b"\xe9"), becomes(b'"\xe9"')),
    ("etag-grammar", at(), ask("GET"), tagged(b"x" * 8192), becomes(b'"' + b"x" * 8192 + b'"')),
    ("etag-grammar", at(), ask("GET"), tagged(b""), {"drop": TAG, "add": []}),
    ("etag-grammar", at(), ask("GET"), tagged(b'"abc'), KEPT),
    ("etag-grammar", at(), ask("GET"), tagged(b'"a"b"'), KEPT),
    ("etag-grammar", at(), ask("GET"), tagged(b'"a b"'), KEPT),
    ("etag-grammar", at(), ask("GET"), tagged(b'"a"', b'"b"'), KEPT),
    ("etag-grammar", at(), ask("GET"), tagged(b'"abc"'), None),
    ("etag-grammar", at(), ask("GET"), tagged(b' "abc" '), None),
    ("etag-grammar", at(), ask("GET"), tagged(b'W/"abc"'), None),
    ("etag-grammar", at(), ask("GET"), tagged(b'""'), None),
    ("etag-grammar", at(), ask("GET"), says(404, etag="abc"), None),
    ("etag-grammar", at(), ask("GET"), says(200), None),
    (
        "last-modified-not-future",
        at(),
        ask("GET"),
        says(200, last_modified=SOON, date=NOW),
        {"drop": MODIFIED, "add": [(b"last-modified", NOW.encode())]},
    ),
    ("last-modified-not-future", at(), ask("PUT"), says(204, last_modified=SOON, date=NOW), {"drop": MODIFIED}),
    ("last-modified-not-future", at(), ask("GET"), says(200, last_modified=NOW, date=NOW), None),
    ("last-modified-not-future", at(), ask("GET"), says(200, last_modified=NOW, date=SOON), None),
    ("last-modified-not-future", at(), ask("GET"), says(200, last_modified=SOON), None),
    ("last-modified-not-future", at(), ask("GET"), says(200, date=NOW), None),
    ("last-modified-not-future", at(), ask("GET"), says(200, last_modified="tomorrow", date=NOW), None),
    ("last-modified-not-future", at(), ask("GET"), says(200, last_modified=SOON, date=""), None),
    ("last-modified-not-future", at(), ask("GET"), says(200, last_modified="1 Jan " + "9" * 40 + " 00:00", date=NOW), None),
    ("last-modified-not-future", at(), ask("GET"), says(404, last_modified=SOON, date=NOW), None),
]
