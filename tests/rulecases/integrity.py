"""Digests of content that is not sent, and problems that name another status."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256, sha512

from rulecases import Case, ask, at, says
from verbguard.rules import Answer

DIGEST = frozenset({b"content-digest"})


def digest(content: bytes) -> str:
    return f"sha-256=:{b64encode(sha256(content).digest()).decode()}:"


def both(content: bytes) -> str:
    return f"{digest(content)}, sha-512=:{b64encode(sha512(content).digest()).decode()}:"


PROBLEM = {"content_type": "application/problem+json; charset=utf-8"}

SENT = ask("PUT", content_digest=digest(b"x"))
CASES: list[Case] = [
    # rule                   target request   content  finds
    ("content-digest-verify", at(), SENT, b"y", {"status": 400}),
    ("content-digest-verify", at(), SENT, b"", {"status": 400}),
    ("content-digest-verify", at(), SENT, (), {"status": 400}),
    ("content-digest-verify", at(), ask("PUT", content_digest=both(b"xy")), [b"x", b"y"], None),
    ("content-digest-verify", at(), ask("POST", content_digest="sha-256=x"), b"x", {"status": 400}),
    ("content-digest-verify", at(), ask("POST", content_digest="\x00" * 8192), b"x", {"status": 400}),
    ("content-digest-verify", at(), SENT, b"x", None),
    ("content-digest-verify", at(), ask("QUERY", content_digest=both(b"x")), b"x", None),
    ("content-digest-verify", at(), ask("PUT", content_digest="md5=:AAAA:"), b"x", None),
    ("content-digest-verify", at(), ask("PUT", content_digest=""), b"x", None),
    ("content-digest-verify", at(), ask("PUT"), b"x", None),
    ("content-digest-verify", at(), ask("GET", content_digest=digest(b"x")), b"y", None),
    ("repr-digest-put", at(), ask("PUT", repr_digest=digest(b"x")), b"y", {"status": 400}),
    ("repr-digest-put", at(), ask("PUT", repr_digest="sha-512=:A:"), b"x", {"status": 400}),
    ("repr-digest-put", at(), ask("PUT", repr_digest=both(b"x")), b"x", None),
    ("repr-digest-put", at(), ask("POST", repr_digest=digest(b"x")), b"y", None),
    # rule                 target request      answer                                       finds
    ("digest-after-repair", at(), ask("HEAD"), says(200, content_digest=digest(b"x")), {"drop": DIGEST}),
    ("digest-after-repair", at(), ask("DELETE"), says(204, content_digest=digest(b"x")), {"drop": DIGEST}),
    ("digest-after-repair", at(), ask("POST"), says(205, content_digest=both(b"x")), {"drop": DIGEST}),
    ("digest-after-repair", at(), ask("GET"), says(304, content_digest=digest(b"x")), {"drop": DIGEST}),
    ("digest-after-repair", at(), ask("HEAD"), says(200, content_digest="sha-256=1"), {"drop": DIGEST}),
    ("digest-after-repair", at(), ask("HEAD"), says(200, content_digest="\x00" * 8192), {"drop": DIGEST}),
    ("digest-after-repair", at(), ask("HEAD"), says(200, content_digest="md5=:AAAA:"), {"drop": DIGEST}),
    ("digest-after-repair", at(), ask("HEAD"), says(200, content_digest=""), {"drop": DIGEST}),
    ("digest-after-repair", at(), ask("HEAD"), says(200, content_digest=f"md5=:AAAA:, {digest(b'')}"), {"drop": DIGEST}),
    ("digest-after-repair", at(), ask("HEAD"), says(200, content_digest=digest(b"")), None),
    ("digest-after-repair", at(), ask("DELETE"), says(204, content_digest=both(b"")), None),
    ("digest-after-repair", at(), ask("GET"), says(200, content_digest=digest(b"x")), None),
    ("digest-after-repair", at(), ask("HEAD"), says(200, repr_digest=digest(b"x")), None),
    ("problem-status-matches", at(), ask("PUT"), says(409, b'{"status": 400}', **PROBLEM), {"status": 0}),
    ("problem-status-matches", at(), ask("POST"), says(500, b'{"status": "500"}', **PROBLEM), {"status": 0}),
    ("problem-status-matches", at(), ask("PATCH"), says(500, b'{"status": true}', **PROBLEM), {"status": 0}),
    ("problem-status-matches", at(), ask("GET"), says(500, b'{"status": 400}', **PROBLEM), None),
    ("problem-status-matches", at(), ask("PUT"), says(409, b'{"status": 409}', **PROBLEM), None),
    ("problem-status-matches", at(), ask("PUT"), says(409, b'{"title": "x"}', **PROBLEM), None),
    ("problem-status-matches", at(), ask("PUT"), says(409, b"[1]", **PROBLEM), None),
    ("problem-status-matches", at(), ask("PUT"), says(409, b"[" * 100_000, **PROBLEM), None),
    ("problem-status-matches", at(), ask("PUT"), says(409, b"\xff", **PROBLEM), None),
    ("problem-status-matches", at(), ask("PUT"), Answer(409, [(b"content-type", b"application/problem+json")]), None),
    ("problem-status-matches", at(), ask("PUT"), says(409, b'{"status": 1}', content_type="application/json"), None),
    ("problem-status-matches", at(), ask("PUT"), says(200, b'{"status": 409}', **PROBLEM), None),
]
