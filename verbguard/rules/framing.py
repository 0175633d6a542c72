"""Framing is part of semantics: what must not follow a status is read as the next answer on the connection.

The exchange drops the content itself, where a rule is asked about a status that has none: of each such status one rule looks at
every answer. These rules say so and mend the fields.
"""

from __future__ import annotations

from verbguard.http import Request, header
from verbguard.policy import Action
from verbguard.rules import Answer, Finding, Target, When, rule

_LENGTH = frozenset([b"content-length"])
_CODING = frozenset([b"transfer-encoding"])
_NO_LENGTH = frozenset({*range(100, 200), 204})
_DESCRIBES = frozenset([b"content-type", b"transfer-encoding", b"content-encoding", b"content-language", b"content-range"])


@rule(
    "no-length-1xx-204",
    "204 has no length",
    cites="RFC 9110 8.6",
    when=When.FRAMING,
    statuses=_NO_LENGTH,
    default=Action.REPAIR,
    strength="MUST",
    risk="none",
)
def no_length_204(request: Request, response: Answer, target: Target) -> Finding | None:
    """204 (or 101) carries Content-Length.

    Why it matters: "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx or 204".
    Some servers then write the content as well, and the next answer on the connection starts in the middle of it: one client
    reads what another was told.
    What the guard does: `guard` and `strict` drop the field, and the content with it. `observe` only tells.
    How to fix it: return `Response(status_code=204)` in FastAPI, not `status_code=204` beside a returned value; `return "",
    204` in Flask. Look for middleware that sets the length on every answer.
    When to switch it off: `rules={"no-length-1xx-204": "off"}`, behind a server that is known to take the field away.
    """
    if header(response.headers, b"content-length") is None:
        return None
    return Finding(f"{response.status} carries Content-Length.", drop=_LENGTH)


@rule(
    "no-te-1xx-204",
    "204 has no transfer coding",
    cites="RFC 9112 6.1",
    when=When.FRAMING,
    statuses=_NO_LENGTH,
    has=_CODING,
    default=Action.REPAIR,
    strength="MUST",
    risk="none",
)
def no_coding_204(request: Request, response: Answer, target: Target) -> Finding | None:
    """204 (or 101) carries Transfer-Encoding.

    Why it matters: the client reads a head and is told that chunks follow. If they do, a client that knows 204 takes them for
    the next answer; if they do not, a client that does not waits for them.
    What the guard does: `guard` and `strict` drop the field, and the content with it. `observe` only tells.
    How to fix it: leave Transfer-Encoding to the server, always: it knows the protocol's version and the app does not. In
    FastAPI return `Response(status_code=204)` and no StreamingResponse, in Flask `return "", 204` and no generator.
    When to switch it off: `rules={"no-te-1xx-204": "off"}`; nothing is known that would need it.
    """
    return Finding(f"{response.status} carries Transfer-Encoding.", drop=_CODING)


@rule(
    "no-content-205",
    "205 has no content",
    cites="RFC 9110 15.3.6",
    when=When.FRAMING,
    statuses={205},
    default=Action.REPAIR,
    routine=True,
    strength="MUST",
    risk="none",
)
def no_content_205(request: Request, response: Answer, target: Target) -> Finding | None:
    """205 (Reset Content) does not say that its length is zero.

    Why it matters: a 205 has no content, and unlike 204 its end is not known from the status: without a length the client waits
    for the end of the connection, and content that follows is read as the next answer.
    What the guard does: `guard` and `strict` drop the content and what describes it, and add `Content-Length: 0`. `observe`
    only tells. On other methods than POST a 205 becomes 204, see `status-method-table`.
    How to fix it: `Response(status_code=205, headers={"Content-Length": "0"})` in FastAPI, `return "", 205` in Flask; or 204,
    unless a browser's form is to be emptied.
    When to switch it off: `rules={"no-content-205": "off"}`; nothing is known that would need it.
    """
    if header(response.headers, b"content-length") == b"0":
        return None
    return Finding("205 is sent without content.", drop=_DESCRIBES | _LENGTH, add=[(b"content-length", b"0")])


@rule(
    "length-304-exact",
    "304 with a length that is nobody's",
    cites="RFC 9110 8.6",
    when=When.FRAMING,
    statuses={304},
    has=_LENGTH,
    default=Action.REPAIR,
    routine=True,
    strength="MUST",
    risk="none",
)
def length_304(request: Request, response: Answer, target: Target) -> Finding | None:
    """304 carries Content-Length, and nothing shows that it is the length of the 200 that it stands for.

    Why it matters: the field "MUST NOT" be there unless it is exactly that number. Frameworks set 0, the length of what they
    send; caches that believe it replace a good answer by an empty one, and some servers wait for the content.
    What the guard does: `guard` and `strict` drop the field, since it may always be left out. `observe` only tells.
    How to fix it: `Response(status_code=304, headers={"ETag": tag})` in FastAPI has none; in Flask call
    `response.make_conditional(request)` on the full answer, which leaves it out.
    When to switch it off: where the length is right and wanted, `rules={"length-304-exact": "off"}`.
    """
    return Finding("304 is sent without Content-Length.", drop=_LENGTH)


@rule(
    "status-304-lean",
    "304 describes no content",
    cites="RFC 9110 15.4.5",
    when=When.FRAMING,
    statuses={304},
    default=Action.REPAIR,
    routine=True,
    strength="SHOULD",
)
def lean_304(request: Request, response: Answer, target: Target) -> Finding | None:
    """304 describes content: Content-Type, Content-Encoding, Content-Language, Content-Range or a transfer coding.

    Why it matters: a cache updates its stored answer with the fields of the 304. The `text/plain` or `gzip` of an error handler
    or of a middleware then describes content that it did not come with, and the page breaks until the cache forgets it.
    What the guard does: `guard` and `strict` drop these fields and keep what identifies the answer (ETag, Vary, Cache-Control,
    Expires, Date, Content-Location). `observe` only tells.
    How to fix it: `Response(status_code=304, headers={"ETag": tag})` in FastAPI, not JSONResponse;
    `response.make_conditional(request)` in Flask; compress outside of what makes the 304.
    When to switch it off: where a cache is told a better type on purpose, `rules={"status-304-lean": "off"}`.
    """
    if any(name.lower() in _DESCRIBES for name, _ in response.headers):
        return Finding("304 is sent without fields that describe content.", drop=_DESCRIBES)
    return None


@rule(
    "no-content-1xx-204-304",
    "Content after a status that has none",
    cites="RFC 9110 6.4.1, 15.3.5, 15.3.6, 15.4.5",
    when=When.REPLAY,
    default=Action.REPAIR,
    strength="MUST",
    risk="none",
)
def no_content(request: Request, response: Answer, target: Target) -> Finding | None:
    """The app sends content after a 1xx, 204, 205 or 304, which end with their head.

    Why it matters: the client has read the whole answer when it has read the head. What follows on the connection is read as
    the next answer, which may be another client's behind a proxy. Several servers pass it on.
    What the guard does: `guard` and `strict` drop the content, and framing rules mend the fields. `observe` leaves it.
    How to fix it: `Response(status_code=204)` in FastAPI, with a handler that returns nothing else; `return "", 204` in
    Flask. To tell something, answer 200.
    When to switch it off: `rules={"no-content-1xx-204-304": "off"}`, behind a server that is known to drop it.
    """
    return None


@rule(
    "head-no-content",
    "HEAD has no content",
    cites="RFC 9110 9.3.2",
    when=When.REPLAY,
    default=Action.REPAIR,
    routine=True,
)
def head_no_content(request: Request, response: Answer, target: Target) -> Finding | None:
    """The app sends content in answer to HEAD, whose answer is the head that GET would get.

    Why it matters: a client stops reading after the head; what follows on the connection is read as the next answer. Most
    servers drop it, and frameworks rely on that.
    What the guard does: `guard` and `strict` drop the content and keep the fields. `observe` leaves it.
    How to fix it: there is nothing to do: one handler for GET and HEAD may return content in FastAPI
    (`api_route(..., methods=["GET", "HEAD"])`) as in Flask, which makes HEAD of GET by itself.
    When to switch it off: behind a server that is known to drop it, `rules={"head-no-content": "off"}`.
    """
    return None
