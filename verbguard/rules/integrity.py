"""Digests and signatures of content, and error bodies: what is said of a message must stay true of it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from verbguard.digests import ALGORITHMS, dictionary, differs
from verbguard.http import Request, header
from verbguard.methods import BODILESS
from verbguard.policy import Action
from verbguard.rules import Answer, Content, Finding, Target, When, rule

_CONTENT_DIGEST = frozenset([b"content-digest"])


def _mismatch(request: Request, name: bytes, content: bytes | Iterable[bytes]) -> Finding | None:
    value = request.get(name)
    if value is None or not differs(value, content):
        return None
    return Finding(f"{name.decode().title()} is not the digest of the content.", status=400)


@rule(
    "content-digest-verify",
    "The content is not what its digest says",
    cites="RFC 9530 2",
    when=When.BODY,
    methods={"POST", "PUT", "PATCH", "DELETE", "QUERY"},
    fields=_CONTENT_DIGEST,
    default=Action.OFF,
    opt=Action.REJECT,
    strength="MAY",
)
def content_digest_verify(request: Request, target: Target, content: bytes | Iterable[bytes]) -> Finding | None:
    """A request whose Content-Digest is not that of the content which arrived.

    Why it matters: content is damaged by proxies, disks and libraries without anybody noticing; a client that sends a digest
    wants it noticed before it is stored. Neither FastAPI nor Flask looks at the field.
    What the guard does: nothing by itself. With `rules={"content-digest-verify": "reject"}` the content is read before the
    handler runs and before a key is used up; where sha-256 or sha-512 differs, or nobody can read the field, it is 400. The
    right digest is never told. Other algorithms prove nothing and pass. Large content is hashed in pieces, from a file.
    How to fix it: the client hashes the bytes that it sends, after compression: `Content-Digest: sha-256=:<base64>:`. A layer
    in front that decompresses must take the field away.
    When to switch it off: leave it off where uploads must not be read before the handler does.
    """
    return _mismatch(request, b"content-digest", content)


@rule(
    "repr-digest-put",
    "The representation is not what its digest says",
    cites="RFC 9530 3",
    when=When.BODY,
    methods={"PUT"},
    fields={b"repr-digest"},
    default=Action.OFF,
    opt=Action.REJECT,
    strength="MAY",
)
def repr_digest_put(request: Request, target: Target, content: bytes | Iterable[bytes]) -> Finding | None:
    """A PUT whose Repr-Digest is not that of the representation in its content.

    Why it matters: Repr-Digest speaks of the whole representation, however it travels. A PUT carries one in full, so that the
    digest can be verified before it replaces the one that is there.
    What the guard does: nothing by itself. With `rules={"repr-digest-put": "reject"}` the content is read before the handler
    runs; where sha-256 or sha-512 differs, or nobody can read the field, it is 400. The right digest is never told.
    How to fix it: the client hashes the representation with its content coding, as it is sent:
    `Repr-Digest: sha-256=:<base64>:`. FastAPI and Flask handlers get the content unchanged.
    When to switch it off: leave it off where uploads must not be read before the handler does.
    """
    return _mismatch(request, b"repr-digest", content)


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
