"""Conditions of requests: what is read from the head, and what the target's state makes of it."""

from __future__ import annotations

from datetime import UTC, datetime

from rulecases import ITEM, Case, ask, at
from verbguard.conditions import ABSENT, State
from verbguard.http import Request, Response

SOME = State(True)  # it exists, and has no validators
V1, WEAK = State(True, "v1"), State(True, "v1", True)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
AT = State(True, modified=datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC))
LATER = State(True, modified=datetime(1994, 11, 6, 8, 49, 38, tzinfo=UTC))
BOTH = State(True, "v1", others=("d1",))
IMS = frozenset({b"if-modified-since"})
LOGIN = Response(401, [(b"www-authenticate", b"Basic")])
LARGE = State(True, unknown="It is large")  # it exists, and that is all
HIDDEN = State(False, unknown="A GET of it answers 302")
DOWN = State(False, unknown="A GET of it answers 500", later=True)
LOCKED = State(False, unknown="A GET of it answers 401", answer=LOGIN)
AGAIN = {"status": 503, "headers": [(b"retry-after", b"5")]}
WANTING = at(ITEM, preconditions="derive", require_precondition=True)
FIELDS = frozenset({b"if-match", b"if-none-match", b"if-unmodified-since", b"if-modified-since"})
NO_STORE = [(b"cache-control", b"no-store")]
WANTED = {"status": 428, "headers": NO_STORE}


def lines(method: str, *fields: tuple[bytes, bytes]) -> Request:
    return Request(method, "/items/7", list(fields))


def unreadable(value: bytes) -> Request:
    return lines("PUT", (b"if-match", value))


CASES: list[Case] = [
    # rule                 target    request                              state  finds
    ("state-unknown", at(ITEM), ask("PUT", if_match='"v0"'), LARGE, {"status": 412}),
    ("state-unknown", at(ITEM), ask("PUT", if_none_match='"v0"'), LARGE, {"status": 412}),
    ("state-unknown", at(ITEM), ask("PUT", if_match='"v0"', if_none_match="*"), LARGE, {"status": 412}),
    ("state-unknown", at(ITEM), ask("PUT", if_match="*"), LARGE, None),
    ("state-unknown", at(ITEM), ask("PUT", if_none_match="*"), LARGE, None),
    ("state-unknown", at(ITEM), ask("PUT", if_match="*"), HIDDEN, {"status": 412}),
    ("state-unknown", at(ITEM), ask("PUT", if_none_match="*"), HIDDEN, {"status": 412}),
    ("state-unknown", at(ITEM), ask("PUT", if_unmodified_since=DATE), HIDDEN, {"status": 412}),
    ("state-unknown", at(ITEM), ask("PUT", if_match="*"), DOWN, AGAIN),
    ("state-unknown", at(ITEM), ask("PUT", if_match="*"), LOCKED, {"status": 401, "answer": LOGIN}),
    ("state-unknown", at(ITEM), ask("PUT", if_match='"v0"'), V1, None),
    ("state-unknown", at(ITEM), ask("PUT", if_match='"v0"'), ABSENT, None),
    ("state-unknown", at(ITEM), ask("PUT", if_unmodified_since=DATE), V1, None),
    ("state-unknown", WANTING, ask("PUT", if_unmodified_since=DATE), V1, WANTED),
    ("state-unknown", WANTING, ask("PUT", if_unmodified_since=DATE), AT, None),
    ("state-unknown", WANTING, ask("PUT", if_unmodified_since=DATE), ABSENT, None),
    ("state-unknown", WANTING, ask("PUT", if_unmodified_since=DATE, if_match='"v1"'), V1, None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"v0"'), V1, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"v1"'), ABSENT, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match="*"), ABSENT, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='W/"v1"'), V1, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"v1"'), WEAK, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"v1"'), SOME, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match=""), V1, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match=", ,"), V1, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"V1"'), V1, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"v0", *'), V1, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"*"'), V1, {"status": 412}),
    ("if-match-evaluated", at(ITEM), lines("PUT", (b"if-match", b'"\xff"')), V1, {"status": 412}),
    ("if-match-evaluated", at(ITEM), lines("PUT", (b"if-match", b'"x' * 3000)), V1, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_unmodified_since=DATE), LATER, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("DELETE", if_match='"v0"', if_unmodified_since=DATE), AT, {"status": 412}),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"v1"'), V1, None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"v0" ,"v1"'), V1, None),
    ("if-match-evaluated", at(ITEM), lines("PUT", (b"if-match", b'"v0"'), (b"if-match", b'"v1"')), V1, None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match=" * "), SOME, None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"v1"'), BOTH, None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"d1"'), BOTH, None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='W/"d1"'), BOTH, {"status": 412}),
    ("if-none-match-star", at(ITEM), ask("PUT", if_none_match='W/"d1"'), BOTH, {"status": 412}),
    ("if-none-match-star", at(ITEM), ask("PUT", if_none_match='"d0"'), BOTH, None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='""'), State(True, ""), None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match='"a,b"'), State(True, "a,b"), None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_unmodified_since=DATE), AT, None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_unmodified_since=DATE), V1, None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_unmodified_since=DATE), ABSENT, None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_unmodified_since="yesterday"), LATER, None),
    ("if-match-evaluated", at(ITEM), ask("PUT", if_match="*", if_unmodified_since=DATE), LATER, None),
    ("if-match-evaluated", at(ITEM), ask("PUT"), V1, None),
    ("if-none-match-star", at(ITEM), ask("PUT", if_none_match="*"), V1, {"status": 412}),
    ("if-none-match-star", at(ITEM), ask("PUT", if_none_match="*"), SOME, {"status": 412}),
    ("if-none-match-star", at(ITEM), ask("PUT", if_none_match='"v1"'), V1, {"status": 412}),
    ("if-none-match-star", at(ITEM), ask("PUT", if_none_match='W/"v1"'), V1, {"status": 412}),
    ("if-none-match-star", at(ITEM), ask("PUT", if_none_match='"v1"'), WEAK, {"status": 412}),
    ("if-none-match-star", at(ITEM), ask("POST", if_none_match='"v0", *'), V1, {"status": 412}),
    ("if-none-match-star", at(ITEM), ask("PUT", if_none_match=""), V1, {"status": 412}),
    ("if-none-match-star", at(ITEM), ask("PUT", if_match='"v1"', if_none_match="*"), V1, {"status": 412}),
    ("if-none-match-star", at(ITEM), ask("PUT", if_none_match="*"), ABSENT, None),
    ("if-none-match-star", at(ITEM), ask("PUT", if_none_match='"v0"'), V1, None),
    ("if-none-match-star", at(ITEM), ask("PUT", if_none_match='"v0"'), ABSENT, None),
    ("if-none-match-star", at(ITEM), ask("PUT", if_match='"v0"', if_none_match="*"), V1, None),  # If-Match was false first
    ("if-none-match-star", at(ITEM), ask("PUT"), V1, None),
    ("put-conditional-required", at(), ask("PUT"), None, WANTED),
    ("put-conditional-required", at(), ask("PUT", if_match=""), None, WANTED),
    ("put-conditional-required", at(), ask("PUT", if_none_match=",,"), None, WANTED),
    ("put-conditional-required", at(), ask("PUT", if_unmodified_since="soon"), None, WANTED),
    ("put-conditional-required", at(), ask("PUT", if_modified_since=DATE), None, WANTED),
    ("put-conditional-required", at(), ask("PUT", **{"if": "(<urn:uuid:1>)"}), None, WANTED),
    ("put-conditional-required", at(extension="webdav"), ask("PUT"), None, WANTED),
    ("put-conditional-required", at(extension="webdav"), ask("PUT", **{"if": "(<urn:uuid:1>)"}), None, None),
    ("lost-update-428", at(extension="webdav"), ask("DELETE", **{"if": "(<urn:uuid:1>)"}), None, None),
    ("put-conditional-required", at(), ask("PUT", if_match='"v1"'), None, None),
    ("put-conditional-required", at(), ask("PUT", if_none_match="*"), None, None),
    ("put-conditional-required", at(), ask("PUT", if_unmodified_since=DATE), None, None),
    ("put-conditional-required", at(), ask("PATCH"), None, None),
    ("lost-update-428", at(), ask("PATCH"), None, WANTED),
    ("lost-update-428", at(), ask("DELETE"), None, WANTED),
    ("lost-update-428", at(), ask("DELETE", if_unmodified_since=""), None, WANTED),
    ("lost-update-428", at(), ask("DELETE", if_match="*"), None, None),
    ("lost-update-428", at(), ask("PATCH", if_unmodified_since=DATE), None, None),
    ("lost-update-428", at(), ask("PUT"), None, None),
    ("lost-update-428", at(), ask("POST"), None, None),
    ("precondition-grammar", at(), unreadable(b'"a", *'), None, {"status": 400}),
    ("precondition-grammar", at(), unreadable(b"*, *"), None, {"status": 400}),
    ("precondition-grammar", at(), lines("PUT", (b"if-match", b"*"), (b"if-match", b'"a"')), None, {"status": 400}),
    ("precondition-grammar", at(), ask("POST", if_none_match='*, "a"'), None, {"status": 400}),
    ("precondition-grammar", at(), unreadable(b'W/"a'), None, {"status": 400}),
    ("precondition-grammar", at(), unreadable(b"," * 8192), None, {"status": 400}),
    ("precondition-grammar", at(), unreadable(b"*"), None, None),
    ("precondition-grammar", at(), unreadable(b" * ,"), None, None),
    ("precondition-grammar", at(), unreadable(b'"*", "a"'), None, None),
    ("precondition-grammar", at(), unreadable(b'"a, *"'), None, None),
    ("precondition-grammar", at(), unreadable(b"abc"), None, None),
    ("precondition-grammar", at(), unreadable(b'"\xe9"'), None, None),
    ("precondition-grammar", at(), unreadable(b""), None, None),
    ("precondition-grammar", at(), ask("GET", if_none_match='*, "a"'), None, None),
    ("if-match-strong", at(), ask("PUT", if_match='W/"a"'), None, {"status": 0}),
    ("if-match-strong", at(), ask("PATCH", if_match='W/"a", w/"b"'), None, {"status": 0}),
    ("if-match-strong", at(), ask("PUT", if_match='W/"a", "b"'), None, None),
    ("if-match-strong", at(), ask("PUT", if_match="*"), None, None),
    ("if-match-strong", at(), ask("PUT", if_match=""), None, None),
    ("if-match-strong", at(), ask("PUT", if_none_match='W/"a"'), None, None),
    ("if-modified-since-get-only", at(), ask("PUT", if_modified_since=DATE), None, {"drop": IMS}),
    ("if-modified-since-get-only", at(), ask("POST", if_modified_since=""), None, {"drop": IMS}),
    ("if-modified-since-get-only", at(), ask("GET", if_modified_since=DATE), None, None),
    ("if-modified-since-get-only", at(), ask("PUT", if_unmodified_since=DATE), None, None),
    ("precondition-connect-options-trace", at(), ask("OPTIONS", if_match='"a"'), None, {"drop": FIELDS}),
    ("precondition-connect-options-trace", at(), ask("TRACE", if_modified_since=DATE), None, {"drop": FIELDS}),
    ("precondition-connect-options-trace", at(), ask("OPTIONS"), None, None),
    ("precondition-connect-options-trace", at(), ask("PUT", if_match='"a"'), None, None),
]
