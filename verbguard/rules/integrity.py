"""Digests and signatures of content, and error bodies: what is said of a message must stay true of it."""

from __future__ import annotations

import json

from verbguard.digests import ALGORITHMS, dictionary, differs
from verbguard.http import Request, header
from verbguard.methods import BODILESS
from verbguard.policy import Action
from verbguard.rules import Answer, Content, Finding, Target, When, rule

_CONTENT_DIGEST = frozenset([b"content-digest"])


@rule(
    "digest-after-repair",
    "A digest of content that is not sent",
    cites="RFC 9530 2, RFC 9421 1.1",
    when=When.FRAMING,
    has=_CONTENT_DIGEST,
    default=Action.REPAIR,
    strength="MUST",
    risk="none",
)
def digest_after_repair(request: Request, response: Answer, target: Target) -> Finding | None:
    """Content-Digest on an answer whose content is dropped: to HEAD, and with 204, 205 and 304.

    Why it matters: Content-Digest is computed over the bytes that are sent. A client that verifies it over nothing finds a
    mismatch and throws a good answer away. The same is true of a signature over fields or a status that were mended.
    What the guard does: Content-Digest is taken away where no content follows, unless it is the digest of no content. With a
    repair that changes what Signature-Input covers, the signature goes too. Repr-Digest stays on HEAD: it speaks of what GET
    would send. `observe` changes nothing, and only tells.
    How to fix it: compute the digest where the content is final: in FastAPI and Flask in the outermost middleware, and not
    for HEAD and 204.
    When to switch it off: when a layer outside the guard computes digests and signatures anew, `rules={"digest-after-repair":
    "off"}`.
    """
    if response.status not in BODILESS and request.method != "HEAD":
        return None
    value = b", ".join(value for name, value in response.headers if name.lower() == b"content-digest")
    members = dictionary(value)
    if members and members.keys() <= ALGORITHMS.keys() and not differs(value, b""):
        return None
    return Finding("Content-Digest speaks of content that is not sent.", drop=_CONTENT_DIGEST)


@rule(
    "problem-status-matches",
    "A problem that names another status",
    cites="RFC 9457 3.1.2",
    when=When.CONTENT,
    content=Content.JSON,
    kind=b"application/problem+json",
    methods={"POST", "PUT", "PATCH", "DELETE"},
    statuses=range(400, 600),
    has={b"content-type"},
    strength="MUST",
    risk="none",
)
def problem_status(request: Request, response: Answer, target: Target) -> Finding | None:
    """A problem document in answer to a write, whose `status` member is not the status of the answer.

    Why it matters: some clients read the member, some the status line; they then disagree on whether a request may be sent
    again. It happens where a handler raises one error and a layer around it answers with another.
    What the guard does: it tells, in every profile, and never touches what the application explains. Its own problems agree.
    How to fix it: build the document where the status is set: in FastAPI an exception handler with
    `JSONResponse({"status": error.status_code, ...}, error.status_code, media_type="application/problem+json")`, in Flask
    `@app.errorhandler(HTTPException)` with `error.code`.
    When to switch it off: when it is only noise in the log, `rules={"problem-status-matches": "off"}`.
    """
    if response.body is None or not (header(response.headers, b"content-type") or b"").startswith(b"application/problem+json"):
        return None
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    said = document.get("status") if isinstance(document, dict) else None
    if said is None or (said == response.status and not isinstance(said, bool)):
        return None
    return Finding(f"The problem says status {str(said)[:20]}, the answer {response.status}.")
