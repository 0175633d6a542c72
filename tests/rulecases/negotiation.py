"""What clients prefer, and what answers say about it."""

from __future__ import annotations

from rulecases import Case, ask, at, says
from verbguard.http import Request
from verbguard.rules import Answer

PREFER = frozenset({b"prefer"})
VARY = frozenset({b"vary"})
NOTHING = frozenset()
MINIMAL = {"preference_applied": "return=minimal"}
BOTH = "return=minimal, return=representation"
TAKES = at(accepts={"POST": ["application/json", "text/csv"], "PUT": ["a/b"]})
GARBAGE = Request("PUT", "/items", [(b"prefer", b'\xff"' * 4096)])
SHORT = ask("PUT", prefer="return=minimal")


def vary(value: bytes) -> dict[str, object]:
    return {"drop": VARY, "add": [(b"vary", value)]}


CASES: list[Case] = [
    # rule                  target request                                    answer  finds
    ("prefer-contradiction", at(), ask("PUT", prefer=BOTH), None, {"drop": PREFER}),
    ("prefer-contradiction", at(), ask("POST", prefer='Return = "minimal"; x=1,RETURN=representation'), None, {"drop": PREFER}),
    ("prefer-contradiction", at(), ask("PUT", prefer="handling=strict, handling=lenient"), None, {"drop": PREFER}),
    ("prefer-contradiction", at(), ask("PUT", prefer=BOTH + ", wait=10"), None, {"drop": NOTHING}),
    (
        "prefer-contradiction",
        at(),
        Request("PATCH", "/items", [(b"prefer", b"return=minimal"), (b"prefer", b"return=representation")]),
        None,
        {"drop": PREFER},
    ),
    ("prefer-contradiction", at(), SHORT, None, None),
    ("prefer-contradiction", at(), ask("PUT", prefer="return=minimal, return=minimal"), None, None),
    ("prefer-contradiction", at(), ask("PUT", prefer='x="return=minimal, return=representation"'), None, None),
    ("prefer-contradiction", at(), ask("PUT", prefer=""), None, None),
    ("prefer-contradiction", at(), GARBAGE, None, None),
    ("prefer-contradiction", at(), ask("GET", prefer=BOTH), None, None),
    ("preference-applied-asked", at(), ask("PUT"), says(200, **MINIMAL), {"status": 0}),
    ("preference-applied-asked", at(), ask("GET", prefer="wait=10"), says(200, **MINIMAL), {"status": 0}),
    ("preference-applied-asked", at(), SHORT, says(200, **MINIMAL), None),
    ("preference-applied-asked", at(), ask("PUT", prefer="Return=minimal"), says(200, preference_applied="return"), None),
    ("preference-applied-asked", at(), SHORT, says(200, preference_applied=""), None),
    ("preference-applied-asked", at(), SHORT, says(200), None),
    (
        "prefer-minimal",
        at(),
        SHORT,
        says(200, b"x"),
        {"set_status": 204, "add": [(b"preference-applied", b"return=minimal")]},
    ),
    ("prefer-minimal", at(), ask("PATCH", prefer="wait=1, return=minimal"), says(200), {"set_status": 204}),
    ("prefer-minimal", at(), ask("PUT", prefer=BOTH), says(200), None),
    ("prefer-minimal", at(), ask("PUT", prefer="return=representation"), says(200), None),
    ("prefer-minimal", at(), ask("PUT", prefer=""), says(200), None),
    ("prefer-minimal", at(), GARBAGE, says(200), None),
    ("prefer-minimal", at(), SHORT, says(201), None),
    ("prefer-minimal", at(), ask("POST", prefer="return=minimal"), says(200), None),
    ("vary-prefer", at(), ask("GET"), says(200, **MINIMAL), vary(b"Prefer")),
    ("vary-prefer", at(), ask("GET"), says(200, vary="Accept", **MINIMAL), vary(b"Accept, Prefer")),
    ("vary-prefer", at(), ask("GET"), says(200, vary="", **MINIMAL), vary(b"Prefer")),
    (
        "vary-prefer",
        at(),
        ask("GET"),
        Answer(200, [(b"Vary", b"a"), (b"Preference-Applied", b"x"), (b"vary", b"b")]),
        vary(b"a, b, Prefer"),
    ),
    ("vary-prefer", at(), ask("HEAD"), says(200, vary="accept, PREFER", **MINIMAL), None),
    ("vary-prefer", at(), ask("GET"), says(200, vary="*", **MINIMAL), None),
    ("vary-prefer", at(), ask("GET"), says(200), None),
    ("vary-prefer", at(), ask("PUT"), says(200, **MINIMAL), None),
    ("accept-post-put-hint", TAKES, ask("POST"), says(415), {"add": [(b"accept", b"application/json, text/csv")]}),
    ("accept-post-put-hint", TAKES, ask("PUT"), says(415), {"add": [(b"accept", b"a/b")]}),
    ("accept-post-put-hint", TAKES, ask("PUT"), says(415, accept="c/d"), None),
    ("accept-post-put-hint", TAKES, ask("PUT"), says(415, accept_encoding="gzip"), None),
    ("accept-post-put-hint", TAKES, ask("PATCH"), says(415), None),
    ("accept-post-put-hint", at(), ask("POST"), says(415), None),
    ("accept-post-put-hint", TAKES, ask("POST"), says(400), None),
]
