"""Ranges that are asked for, and parts that are sent."""

from __future__ import annotations

from rulecases import Case, ask, at, says
from verbguard.http import Request

BOTH = frozenset({b"range", b"if-range"})
ALONE = frozenset({b"if-range"})
PART = frozenset({b"content-range"})
NOTHING = frozenset()
PARTS = {"content_type": "multipart/byteranges; boundary=x"}
GET = ask("GET", range="bytes=0-3")
UNREADABLE = Request("GET", "/items", [(b"range", b"\xff" * 8192)])

CASES: list[Case] = [
    # rule                target request                                          answer  finds
    ("range-unknown-unit", at(), ask("GET", range="items=0-24"), None, {"drop": BOTH}),
    ("range-unknown-unit", at(), ask("QUERY", range=" Items = 0-24"), None, {"drop": BOTH}),
    ("range-unknown-unit", at(), Request("GET", "/items", [(b"range", b"\xe9=" * 4096)]), None, {"drop": BOTH}),
    ("range-unknown-unit", at(), ask("GET", range="bytes=0-24"), None, None),
    ("range-unknown-unit", at(), ask("GET", range="BYTES=-5"), None, None),
    ("range-unknown-unit", at(), ask("GET", range=""), None, None),
    ("range-unknown-unit", at(), ask("GET", range="0-24"), None, None),
    ("range-unknown-unit", at(), UNREADABLE, None, None),
    ("range-unknown-unit", at(), ask("PUT", range="items=0-24"), None, None),
    ("if-range-needs-range", at(), ask("GET", if_range='"a"'), None, {"drop": ALONE}),
    ("if-range-needs-range", at(), ask("QUERY", if_range=""), None, {"drop": ALONE}),
    ("if-range-needs-range", at(), ask("GET", if_range='W/"a"'), None, {"drop": ALONE}),
    ("if-range-needs-range", at(), ask("GET", if_range=' W/"a"', range="bytes=0-3"), None, {"drop": BOTH}),
    ("if-range-needs-range", at(), ask("GET", if_range='"a"', range="bytes=0-3"), None, None),
    ("if-range-needs-range", at(), ask("GET", if_range="Wed, 06 Nov", range="bytes=0-3"), None, None),
    ("if-range-needs-range", at(), ask("GET", range="bytes=0-3"), None, None),
    ("if-range-needs-range", at(), ask("HEAD", if_range='"a"'), None, None),
    ("status-206-content-range", at(), GET, says(206), {"status": 500, "drop": NOTHING}),
    ("status-206-content-range", at(), GET, says(206, content_type="text/plain"), {"status": 500}),
    ("status-206-content-range", at(), GET, says(206, content_range="bytes 0-3/9", **PARTS), {"status": 0, "drop": PART}),
    ("status-206-content-range", at(), GET, says(206, content_range="bytes 0-3/9"), None),
    ("status-206-content-range", at(), GET, says(206, **PARTS), None),
    ("status-206-content-range", at(), GET, says(200), None),
    ("status-206-content-range", at(), ask("PUT"), says(206), None),
    ("status-206-no-multipart-for-one", at(), GET, says(206, **PARTS), {"status": 0}),
    ("status-206-no-multipart-for-one", at(), ask("GET", range="bytes=0-3,5-6"), says(206, **PARTS), None),
    ("status-206-no-multipart-for-one", at(), GET, says(206, content_type="text/plain"), None),
    ("status-206-no-multipart-for-one", at(), ask("GET"), says(206, **PARTS), None),
    ("status-206-no-multipart-for-one", at(), UNREADABLE, says(206, **PARTS), None),
    ("status-206-no-multipart-for-one", at(), ask("GET", range="bytes=0-" + "9" * 5000), says(206, **PARTS), None),
    ("status-206-no-multipart-for-one", at(), GET, says(206), None),
    ("content-range-only-206-416", at(), ask("GET"), says(200, content_range="bytes 0-3/9"), {"drop": PART}),
    ("content-range-only-206-416", at(), ask("PUT"), says(201, content_range=""), {"drop": PART}),
    ("content-range-only-206-416", at(), ask("PUT"), says(400, content_range="9"), {"drop": PART}),
    ("content-range-only-206-416", at(), ask("GET"), says(200, content_range="items 0-24/319"), {"drop": NOTHING}),
    ("content-range-only-206-416", at(), GET, says(206, content_range="bytes 0-3/9"), None),
    ("content-range-only-206-416", at(), GET, says(416, content_range="bytes */9"), None),
    ("content-range-only-206-416", at(), ask("GET"), says(200), None),
]
