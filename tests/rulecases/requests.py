"""Methods and targets, request content, Expect and early data."""

from __future__ import annotations

from typing import Any

from rulecases import COLLECTION, ITEM, Case, ask, at, says
from verbguard import Action
from verbguard.http import Headers, Request
from verbguard.rules import Answer

ALLOW = [(b"allow", b"GET, PUT, OPTIONS")]
ITEMS = {"GET", "PUT", "OPTIONS"}
LONG = "x" * 8192
JSON = "application/json"
BAD, FOUND = {"status": 400}, {"status": 0}
MERGE = "application/merge-patch+json"
TYPES = at(accepts={"POST": [JSON, "text/*"], "PUT": ["a/b; v=1"], "PATCH": [MERGE, "text/*"], "QUERY": ["a/*"], "DELETE": []})
CODINGS = at(codings=["gzip", "BR"])
EXPECT = frozenset({b"expect"})


def spoke(version: str, method: str = "POST", path: str = "/items", **fields: str) -> Request:
    """A request in a version of HTTP."""
    return Request(method, path, ask(method, path, **fields).headers, version=version)


def lines(*pairs: tuple[bytes, bytes], method: str = "POST", version: str = "1.1") -> Request:
    headers: Headers = list(pairs)
    return Request(method, "/items", headers, version=version)


def sent(method: str, length: str = "5", **fields: str) -> Request:
    """A request that announces content."""
    return spoke("1.1", method, content_length=length, **fields)


def says_415(hint: str, value: str) -> dict[str, Any]:
    return {"status": 415, "headers": [(hint.encode(), value.encode())]}


def nothing_for(rule: str, method: str) -> list[Case]:
    """Content that means nothing, and everything that is none."""
    return [
        (rule, at(), sent(method), None, BAD),
        (rule, at(), spoke("1.1", method, transfer_encoding="chunked"), None, BAD),
        (rule, at(), spoke("1.1", method, transfer_encoding=""), None, BAD),
        (rule, at(), sent(method, "x"), None, BAD),
        (rule, at(), sent(method, "5, 5"), None, BAD),
        (rule, at(), sent(method, "\u0665"), None, BAD),
        (rule, at(), sent(method, LONG), None, BAD),
        (rule, at(), sent(method, "0"), None, None),
        (rule, at(), sent(method, "000"), None, None),
        (rule, at(), sent(method, ""), None, None),
        (rule, at(), ask(method), None, None),
        (rule, at(), sent("POST"), None, None),
    ]


CASES: list[Case] = [
    # rule                         target                    request                              answer   finds
    ("method-registered-only", at(methods={"FOO"}), ask("FOO"), None, FOUND),
    ("method-registered-only", at(allow={"FOO"}), ask("FOO"), None, FOUND),
    ("method-registered-only", at(methods={"get"}), ask("get"), None, FOUND),
    ("method-registered-only", at(), ask("FOO"), None, None),
    ("method-registered-only", at(), ask("PROPFIND"), None, None),
    ("method-registered-only", at(), ask("QUERY"), None, None),
    ("method-registered-only", at(methods={"F O"}), ask("F O"), None, None),
    ("method-not-allowed-405", at(allow=ITEMS), ask("DELETE"), None, {"status": 405, "headers": ALLOW}),
    ("method-not-allowed-405", at(allow=ITEMS), ask("PROPFIND"), None, {"status": 405, "headers": ALLOW}),
    ("method-not-allowed-405", at(ITEM, allow={"POST", "OPTIONS"}), ask("PUT"), None, {"status": 405}),
    ("method-not-allowed-405", at(allow={"POST", "OPTIONS"}), ask("HEAD"), None, {"status": 405}),
    ("method-not-allowed-405", at(allow=ITEMS), ask("PUT"), None, None),
    ("method-not-allowed-405", at(allow=ITEMS, methods={"DELETE"}), ask("DELETE"), None, None),
    ("method-not-allowed-405", at(COLLECTION, allow={"POST"}), ask("PUT"), None, None),
    ("method-not-allowed-405", at(allow=()), ask("DELETE"), None, None),
    ("method-not-allowed-405", at(allow=ITEMS), ask("FOO"), None, None),
    ("method-not-allowed-405", at(allow=ITEMS), ask("TRACE"), None, None),
    (
        "method-not-allowed-405",
        at(allow=ITEMS, rules={"method-no-override": Action.OFF}),
        ask("POST", x_http_method_override="PUT"),
        None,
        None,
    ),
    ("target-authority-connect-only", at(), ask("GET", "example.org:443"), None, BAD),
    ("target-authority-connect-only", at(), ask("PUT", "[::1]:80"), None, BAD),
    ("target-authority-connect-only", at(), ask("CONNECT", "example.org:443"), None, None),
    ("target-authority-connect-only", at(), ask("GET", "/example.org:443"), None, None),
    ("target-authority-connect-only", at(), ask("GET", "example.org:"), None, None),
    ("target-authority-connect-only", at(), ask("GET", "http://example.org:443"), None, None),
    ("target-authority-connect-only", at(), ask("GET", "*"), None, None),
    ("target-authority-connect-only", at(), ask("GET", ""), None, None),
    ("target-absolute-form", at(), ask("GET", "http://a/items/1"), None, {"status": 0, "answer": None}),
    ("target-absolute-form", at(), ask("GET", "HTTPS://A:443", host="a"), None, {"status": 0, "answer": None}),
    ("target-absolute-form", at(), ask("GET", "http://a/x://y", host="A:80"), None, {"status": 0, "answer": None}),
    ("target-absolute-form", at(), ask("GET", "http://u:p@a/", host="a"), None, {"status": 0, "answer": None}),
    ("target-absolute-form", at(), ask("GET", "http://a/items/1", host="b"), None, {"status": 421}),
    ("target-absolute-form", at(), ask("PUT", "http://a/items/1", host="a:8000"), None, {"status": 421}),
    ("target-absolute-form", at(), ask("PUT", "https://a/items/1", host="a:80"), None, {"status": 421}),
    ("target-absolute-form", at(), ask("GET", "http://a/", host=""), None, {"status": 421}),
    ("target-absolute-form", at(), Request("GET", "http://a/", [(b"host", b"a"), (b"host", b"a")]), None, {"status": 421}),
    ("target-absolute-form", at(), ask("GET", "http://a/", host="\xff" * 4096), None, {"status": 421}),
    ("target-absolute-form", at(), ask("GET", "/http://a/", host="b"), None, None),
    ("target-absolute-form", at(), ask("GET", "ftp://a/", host="b"), None, None),
    ("target-absolute-form", at(), ask("GET", "http:/a", host="b"), None, None),
    ("host-exactly-one", at(), lines(), None, None),
    ("host-exactly-one", at(), lines((b"host", b"a"), (b"host", b"b")), None, BAD),
    ("host-exactly-one", at(), lines((b"host", b"a"), (b"host", b"a")), None, BAD),
    ("host-exactly-one", at(), lines((b"host", b"a,a")), None, BAD),
    ("host-exactly-one", at(), lines((b"host", b"a/b")), None, BAD),
    ("host-exactly-one", at(), lines((b"host", b"u@a")), None, BAD),
    ("host-exactly-one", at(), lines((b"host", b"a:b")), None, BAD),
    ("host-exactly-one", at(), lines((b"host", b"[::1")), None, BAD),
    ("host-exactly-one", at(), lines((b"host", b"\xff" * 4096)), None, BAD),
    ("host-exactly-one", at(), lines((b"host", b"a"), (b"host", b"b"), version="1.0"), None, BAD),
    ("host-exactly-one", at(), lines((b"host", b"example.org:8000")), None, None),
    ("host-exactly-one", at(), lines((b"host", b"[::1]:80")), None, None),
    ("host-exactly-one", at(), lines((b"host", b" a_b.c~ ")), None, None),
    ("host-exactly-one", at(), lines((b"host", b"")), None, None),
    ("host-exactly-one", at(), lines(version="1.0"), None, None),
    ("host-exactly-one", at(), lines(version="2"), None, None),
    ("host-exactly-one", at(), ask("POST"), None, None),
    *nothing_for("get-no-content", "GET"),
    *nothing_for("head-no-request-content", "HEAD"),
    *nothing_for("delete-no-content", "DELETE"),
    *nothing_for("trace-no-content", "TRACE"),
    *nothing_for("connect-no-content", "CONNECT"),
    *nothing_for("options-content-typed", "OPTIONS"),
    ("options-content-typed", at(), sent("OPTIONS", content_type=JSON), None, None),
    ("content-typed", at(), sent("POST"), None, {"status": 415}),
    ("content-typed", at(), spoke("1.1", "PUT", transfer_encoding="chunked"), None, {"status": 415}),
    ("content-typed", at(), sent("PATCH", "x"), None, {"status": 415}),
    ("content-typed", at(), sent("POST", "0"), None, None),
    ("content-typed", at(), ask("POST"), None, None),
    ("content-typed", at(), sent("POST", content_type=JSON), None, None),
    ("content-typed", at(), sent("DELETE"), None, None),
    ("content-type-accepted", TYPES, sent("POST", content_type="a/b"), None, says_415("accept", f"{JSON}, text/*")),
    ("content-type-accepted", TYPES, sent("POST"), None, says_415("accept", f"{JSON}, text/*")),
    ("content-type-accepted", TYPES, sent("POST", content_type=""), None, {"status": 415}),
    ("content-type-accepted", TYPES, sent("POST", content_type=f"{JSON}, a/b"), None, {"status": 415}),
    ("content-type-accepted", TYPES, sent("POST", content_type="text/plain, a/b"), None, {"status": 415}),
    ("content-type-accepted", TYPES, sent("POST", content_type="text"), None, {"status": 415}),
    ("content-type-accepted", TYPES, sent("POST", content_type="text/"), None, {"status": 415}),
    ("content-type-accepted", TYPES, sent("POST", content_type=LONG), None, {"status": 415}),
    ("content-type-accepted", TYPES, sent("POST", content_type='\xff;\x00="'), None, {"status": 415}),
    ("content-type-accepted", TYPES, spoke("2", content_type="a/b"), None, {"status": 415}),
    ("content-type-accepted", TYPES, sent("PUT", content_type="a/b"), None, says_415("accept", "a/b; v=1")),
    ("content-type-accepted", TYPES, sent("PUT", content_type="a/b; v=2"), None, {"status": 415}),
    ("patch-media-type", TYPES, sent("PATCH", content_type="a/b"), None, says_415("accept-patch", f"{MERGE}, text/*")),
    ("patch-media-type", TYPES, sent("PATCH", content_type="\xff,a/b"), None, {"status": 415}),
    ("patch-media-type", TYPES, sent("PATCH", content_type=MERGE + ", a/b"), None, {"status": 415}),
    ("patch-media-type", at(accept_patch=["text/*; v=1"]), sent("PATCH", content_type="Text/X;V=1"), None, None),
    ("patch-media-type", at(accept_patch=["text/*; v=1"]), sent("PATCH", content_type="text/x"), None, {"status": 415}),
    ("query-media-accepted", TYPES, sent("QUERY", content_type="x"), None, says_415("accept-query", "a/*")),
    ("query-media-accepted", TYPES, sent("QUERY", content_type="A/b;c"), None, None),
    ("content-type-accepted", TYPES, sent("PATCH", content_type="a/b"), None, None),
    ("content-type-accepted", TYPES, sent("DELETE", content_type="a/b"), None, {"status": 415}),
    ("content-type-accepted", TYPES, sent("POST", content_type="Application/JSON; charset=utf-8"), None, None),
    ("content-type-accepted", TYPES, sent("POST", content_type="text/csv"), None, None),
    ("content-type-accepted", TYPES, sent("PUT", content_type='A/B;V="1";x=y'), None, None),
    ("content-type-accepted", TYPES, sent("QUERY"), None, None),
    ("content-type-accepted", TYPES, sent("POST", "0", content_type="a/b"), None, None),
    ("content-type-accepted", TYPES, spoke("1.1", content_type="a/b"), None, None),
    ("content-type-accepted", TYPES, spoke("2"), None, None),
    ("content-type-accepted", TYPES, sent("GET", content_type="a/b"), None, None),
    ("content-type-accepted", at(), sent("POST", content_type="a/b"), None, None),
    ("content-coding-accepted", CODINGS, ask("POST", content_encoding="foo"), None, says_415("accept-encoding", "gzip, BR")),
    ("content-coding-accepted", CODINGS, ask("PUT", content_encoding="gzip, deflate"), None, {"status": 415}),
    ("content-coding-accepted", CODINGS, ask("PUT", content_encoding="\xff" * 4096), None, {"status": 415}),
    (
        "content-coding-accepted",
        CODINGS,
        lines((b"content-encoding", b"gzip"), (b"content-encoding", b"zstd")),
        None,
        {"status": 415},
    ),
    (
        "content-coding-accepted",
        at(codings=[]),
        ask("POST", content_encoding="gzip"),
        None,
        says_415("accept-encoding", "identity"),
    ),
    ("content-coding-accepted", at(), ask("POST", content_encoding="foo"), None, {"status": 415, "headers": []}),
    ("content-coding-accepted", CODINGS, ask("POST", content_encoding="GZIP, br"), None, None),
    ("content-coding-accepted", CODINGS, ask("POST", content_encoding="identity"), None, None),
    ("content-coding-accepted", CODINGS, ask("POST", content_encoding=""), None, None),
    ("content-coding-accepted", CODINGS, ask("POST", content_encoding=",gzip,"), None, None),
    ("content-coding-accepted", CODINGS, ask("POST"), None, None),
    ("content-coding-accepted", at(), ask("POST", content_encoding="x-gzip"), None, None),
    (
        "status-415-accept-encoding-only-coding",
        at(),
        ask("POST", content_type="a/b"),
        says(415, accept_encoding="gzip"),
        {"drop": frozenset({b"accept-encoding"})},
    ),
    (
        "status-415-accept-encoding-only-coding",
        at(),
        ask("POST", content_encoding=", identity"),
        Answer(415, [(b"accept-encoding", b""), (b"Accept-Encoding", b"\xff")]),
        {"drop": frozenset({b"accept-encoding"})},
    ),
    (
        "status-415-accept-encoding-only-coding",
        at(),
        ask("POST", content_encoding="foo"),
        says(415, accept_encoding="gzip"),
        None,
    ),
    ("status-415-accept-encoding-only-coding", at(), ask("POST"), says(415, accept="a/b"), None),
    ("status-415-accept-encoding-only-coding", at(), ask("POST"), says(200, accept_encoding="gzip"), None),
    ("framing-cl-te", at(), sent("POST", transfer_encoding="chunked"), None, BAD),
    ("framing-cl-te", at(), sent("GET", "0", transfer_encoding="chunked"), None, BAD),
    ("framing-cl-te", at(), sent("PUT", "x", transfer_encoding="\xff" * 4096), None, BAD),
    ("framing-cl-te", at(), spoke("1.1", transfer_encoding="chunked"), None, None),
    ("framing-cl-te", at(), sent("POST"), None, None),
    ("framing-cl-te", at(), sent("POST", "", transfer_encoding="chunked"), None, None),
    ("content-length-required", at(), spoke("1.1", transfer_encoding="chunked"), None, {"status": 411}),
    ("content-length-required", at(), sent("POST", transfer_encoding="chunked"), None, None),
    ("content-length-required", at(), ask("POST"), None, None),
    ("content-location-request-inert", at(), ask("PUT", content_location="/a"), None, FOUND),
    ("content-location-request-inert", at(), ask("POST", content_location=""), None, FOUND),
    ("content-location-request-inert", at(), ask("PUT"), None, None),
    ("content-location-request-inert", at(), ask("GET", content_location="/a"), None, None),
    *[
        (
            "content-range-request-ignored",
            at(),
            ask(method, content_range=value),
            None,
            {"drop": frozenset({b"content-range"})},
        )
        for method in ("POST", "PATCH", "DELETE")
        for value in ("bytes 0-3/10", "", LONG)
    ],
    ("content-range-request-ignored", at(), ask("PUT", content_range="bytes 0-3/10"), None, None),
    ("content-range-request-ignored", at(), ask("POST"), None, None),
    ("expect-unknown", at(), ask("PUT", expect="foo"), None, {"status": 417}),
    ("expect-unknown", at(), ask("PUT", expect="100-continue, foo"), None, {"status": 417}),
    ("expect-unknown", at(), ask("PUT", expect="\xff" * 4096), None, {"status": 417}),
    ("expect-unknown", at(), ask("PUT", expect="100-Continue"), None, None),
    ("expect-unknown", at(), ask("PUT", expect=" , 100-continue"), None, None),
    ("expect-unknown", at(), ask("PUT", expect=""), None, None),
    ("expect-unknown", at(), ask("PUT"), None, None),
    ("expect-without-content", at(), ask("GET", expect="100-continue"), None, {"drop": EXPECT}),
    ("expect-without-content", at(), sent("PUT", "0", expect="100-Continue"), None, {"drop": EXPECT}),
    ("expect-without-content", at(), sent("PUT", expect="100-continue"), None, None),
    ("expect-without-content", at(), ask("PUT", expect="foo"), None, None),
    ("expect-http10", at(), spoke("1.0", "PUT", expect="100-Continue"), None, {"drop": EXPECT}),
    ("expect-http10", at(), spoke("1", "PUT", expect="100-continue"), None, {"drop": EXPECT}),
    ("expect-http10", at(), spoke("1.1", "PUT", expect="100-continue"), None, None),
    ("expect-http10", at(), spoke("1.0", "PUT", expect=LONG), None, None),
    ("expect-http10", at(), spoke("1.0", "PUT"), None, None),
    ("early-data-unsafe", at(), ask("PUT", early_data="1"), None, {"status": 425}),
    ("early-data-unsafe", at(), ask("FOO", early_data="1"), None, {"status": 425}),
    ("early-data-unsafe", at(), ask("POST", early_data="0"), None, {"status": 425}),
    ("early-data-unsafe", at(), ask("POST", early_data=""), None, {"status": 425}),
    ("early-data-unsafe", at(), lines((b"early-data", b"1"), (b"early-data", b"\xff")), None, {"status": 425}),
    ("early-data-unsafe", at(), ask("GET", early_data="1"), None, None),
    ("early-data-unsafe", at(), ask("QUERY", early_data="1"), None, None),
    ("early-data-unsafe", at(), ask("PUT"), None, None),
]
