"""Request content: what it may be, how it is typed, coded and framed."""

from __future__ import annotations

from verbguard.http import Request
from verbguard.methods import REGISTERED, SAFE
from verbguard.policy import Action, Policy
from verbguard.rules import Answer, Finding, Target, When, rule
from verbguard.rules.facts import accepted, has_content, listed

_LENGTH, _CODED = b"content-length", b"transfer-encoding"
_TYPE, _CODING = b"content-type", b"content-encoding"
_CONTENT = frozenset([_LENGTH, _CODED])
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


def _unannounced(request: Request) -> bool:
    """Whether there may be content that no field announces: HTTP/2 needs none."""
    return request.get(_LENGTH) is None and request.version[:1] != "1"


# ---- methods whose content means nothing


@rule(
    "get-no-content",
    "GET with content",
    cites="RFC 9110 9.3.1",
    when=When.REQUEST,
    methods={"GET"},
    fields=_CONTENT,
    opt=Action.REJECT,
    gateway=Action.REJECT,
    strength="SHOULD",
    risk="medium",
)
def get_no_content(request: Request, target: Target) -> Finding | None:
    """GET with a Content-Length above zero, or with Transfer-Encoding.

    Why it matters: content of GET has no meaning. Caches answer without looking at it, proxies drop it or close the
    connection, and what is left of it on a connection has been read as the next request. Search APIs that want a query
    there work until something stands in between.
    What the guard does: it tells, in every profile, where the application's routes are known or the profile is not `guard`;
    the request runs. With `rules={"get-no-content": "reject"}`, and in a gateway, it is 400 before the content is read.
    How to fix it: QUERY or POST for a query that is too long for a URL: `@app.api_route("/search", methods=["QUERY"])` in
    FastAPI, `@app.route("/search", methods=["QUERY"])` in Flask.
    When to switch it off: on a search route with such clients, `rules={"get-no-content": "off"}`.
    """
    return Finding("Content of GET means nothing.", status=400) if has_content(request) else None


@rule(
    "head-no-request-content",
    "HEAD with content",
    cites="RFC 9110 9.3.2",
    when=When.REQUEST,
    methods={"HEAD"},
    fields=_CONTENT,
    opt=Action.REJECT,
    gateway=Action.REJECT,
    strength="SHOULD",
)
def head_no_request_content(request: Request, target: Target) -> Finding | None:
    """HEAD with a Content-Length above zero, or with Transfer-Encoding.

    Why it matters: HEAD asks what GET would say; its content has no meaning, and a server that does not read it finds it
    again as the next request on the connection.
    What the guard does: it tells, in every profile; the request runs. With `rules={"head-no-request-content": "reject"}` it is
    400 before the content is read.
    How to fix it: the client sends none. In FastAPI and Flask a handler of HEAD does not read the request's content.
    When to switch it off: when it is only noise in the log, `rules={"head-no-request-content": "off"}`.
    """
    return Finding("Content of HEAD means nothing.", status=400) if has_content(request) else None


@rule(
    "delete-no-content",
    "DELETE with content",
    cites="RFC 9110 9.3.5",
    when=When.REQUEST,
    methods={"DELETE"},
    fields=_CONTENT,
    opt=Action.REJECT,
    strength="SHOULD",
    risk="medium",
)
def delete_no_content(request: Request, target: Target) -> Finding | None:
    """DELETE with a Content-Length above zero, or with Transfer-Encoding.

    Why it matters: content of DELETE has no meaning. Some clients and proxies drop it; a handler that reads from it what to
    delete then deletes all, or fails for some callers only.
    What the guard does: it tells, in every profile; the request runs. With `rules={"delete-no-content": "reject"}` it is 400
    before the content is read.
    How to fix it: name what is deleted in the URL, or POST to a resource for the deletion of many: `@app.post(
    "/items/deletions")` in FastAPI and in Flask. A reason or a condition belongs into a field such as If-Match.
    When to switch it off: on a route with such clients, `rules={"delete-no-content": "off"}`.
    """
    return Finding("Content of DELETE means nothing.", status=400) if has_content(request) else None


@rule(
    "trace-no-content",
    "TRACE with content",
    cites="RFC 9110 9.3.8",
    when=When.REQUEST,
    methods={"TRACE"},
    fields=_CONTENT,
    before=True,
    default=Action.REJECT,
    strength="MUST",
    risk="none",
)
def trace_no_content(request: Request, target: Target) -> Finding | None:
    """TRACE with a Content-Length above zero, or with Transfer-Encoding.

    Why it matters: "A client MUST NOT send content in a TRACE request", RFC 9110 9.3.8. An echo of it would show what a
    client sent to whoever made it send; unread, it is taken for the next request on the connection.
    What the guard does: 400 before the content is read, in `guard` and `strict`, also where TRACE as such is refused;
    `observe` only tells.
    How to fix it: the client sends none. FastAPI and Flask need no change.
    When to switch it off: there is hardly a reason; `rules={"trace-no-content": "off"}`.
    """
    return Finding("TRACE has no content.", status=400) if has_content(request) else None


@rule(
    "connect-no-content",
    "CONNECT with content",
    cites="RFC 9110 9.3.6",
    when=When.REQUEST,
    methods={"CONNECT"},
    fields=_CONTENT,
    before=True,
    default=Action.REJECT,
    risk="none",
)
def connect_no_content(request: Request, target: Target) -> Finding | None:
    """CONNECT with a Content-Length above zero, or with Transfer-Encoding.

    Why it matters: what follows CONNECT belongs to the tunnel. Whoever reads it as content and whoever does not disagree on
    where the tunnel begins.
    What the guard does: 400 in `guard` and `strict`, before `connect-off` says 501; `observe` only tells.
    How to fix it: the client sends none. Neither FastAPI nor Flask has routes for CONNECT.
    When to switch it off: in front of an application that is a proxy, `rules={"connect-no-content": "off"}`.
    """
    return Finding("CONNECT has no content.", status=400) if has_content(request) else None


# ---- how content is typed


@rule(
    "options-content-typed",
    "OPTIONS with content of no type",
    cites="RFC 9110 9.3.7",
    when=When.REQUEST,
    methods={"OPTIONS"},
    fields=_CONTENT,
    lacks=_TYPE,
    default=Action.REJECT,
    gateway=Action.OBSERVE,  # every command of Subversion begins with such a request
    strength="MUST",
    risk="none",
)
def options_content_typed(request: Request, target: Target) -> Finding | None:
    """OPTIONS with content and without Content-Type.

    Why it matters: OPTIONS may carry content, but only together with "a valid Content-Type header field describing the
    representation media type" (RFC 9110 9.3.7). Without it nobody knows what is asked.
    What the guard does: 400 before the content is read, in `guard` and `strict`; `observe` only tells, as does a gateway,
    whose clients are as they are: Subversion's says no type, and its server wants none.
    How to fix it: the client sends Content-Type, or no content. FastAPI and Flask need no change.
    When to switch it off: `rules={"options-content-typed": "off"}` while a client that sends such content is in use.
    """
    return Finding("Content of OPTIONS needs a Content-Type.", status=400) if has_content(request) else None


@rule(
    "content-typed",
    "Content of no type",
    cites="RFC 9110 8.3",
    when=When.REQUEST,
    methods={"POST", "PUT", "PATCH"},
    fields=_CONTENT,
    lacks=_TYPE,
    opt=Action.REJECT,
    strength="SHOULD",
    risk="medium",
)
def content_typed(request: Request, target: Target) -> Finding | None:
    """POST, PUT or PATCH with content and without Content-Type.

    Why it matters: the receiver guesses. One framework takes it for JSON, another sees an empty form, and a scanner in front
    looks for something else than the handler parses.
    What the guard does: it tells, in every profile; the request runs. With `rules={"content-typed": "reject"}` it is 415
    before the content is read. Where a policy's `accepts` names the media types of the method, `content-type-accepted` decides.
    How to fix it: the client sends Content-Type; with httpx and requests `json=` or `files=` does it, `data=b"..."` does not.
    In FastAPI leave `strict_content_type` on; in Flask use `request.get_json()`, which answers 415, without `force=True`.
    When to switch it off: on an upload route for any bytes, `rules={"content-typed": "off"}`.
    """
    if not has_content(request):
        return None
    return Finding("The content has no Content-Type.", status=415)


def _declares_types(policy: Policy) -> bool:
    return bool(policy.accepts)


@rule(
    "content-type-accepted",
    "A media type that is not declared",
    cites="RFC 9110 15.5.16, 12.5.1",
    when=When.REQUEST,
    methods=REGISTERED - SAFE - {"PATCH"},
    fields={_TYPE, *_CONTENT},
    default=Action.OFF,
    opt=Action.REJECT,
    opted=_declares_types,
)
def content_type_accepted(request: Request, target: Target) -> Finding | None:
    """Content of a media type that the policy's `accepts` does not name for the method.

    Why it matters: what a handler was not written for is parsed all the same, or ends in a 500 or a 422 that speaks of the
    wrong thing. A form sent across sites needs no preflight, and an API that reads it as JSON can be written to by any page.
    What the guard does: nothing until a policy says `accepts={"POST": ["application/json"]}`. Then other types are 415 before
    the content is read, in `guard` and `strict`, with what would do in Accept. `text/*` and `*/*` are understood, parameters
    count where the declaration has them, content of no type is `application/octet-stream`. PATCH and QUERY have rules of
    their own, `patch-media-type` and `query-media-accepted`.
    How to fix it: the client sends a type that is named; or name it. In FastAPI the body model reads JSON only, in Flask
    `request.get_json()` does.
    When to switch it off: leave the method out of `accepts`, or `rules={"content-type-accepted": "off"}`.
    """
    types = target.policy.accepts.get(target.method)
    value = request.get(_TYPE)
    if types is None or not (has_content(request) or (value is not None and _unannounced(request))) or accepted(value, types):
        return None
    said = "Content of no type" if value is None else repr(value.decode("latin-1")[:60])
    return Finding(f"{said} is not accepted by {target.method} here.", status=415, headers=[(b"accept", listed(types))])


# ---- how content is coded

# The IANA HTTP Content Coding Registry
_REGISTERED = frozenset(
    ["aes128gcm", "br", "compress", "dcb", "dcz", "deflate", "exi", "gzip", "identity", "pack200-gzip"]
    + ["x-compress", "x-gzip", "zstd"]
)


def _declares_codings(policy: Policy) -> bool:
    return policy.codings is not None


@rule(
    "content-coding-accepted",
    "A content coding that nobody knows",
    cites="RFC 9110 15.5.16, 12.5.3, 8.4",
    when=When.REQUEST,
    fields={_CODING},
    opt=Action.REJECT,
    opted=_declares_codings,
)
def content_coding_accepted(request: Request, target: Target) -> Finding | None:
    """Content-Encoding with a coding outside the policy's `codings`; without them, with one that is not registered.

    Why it matters: an application that does not look at the field stores compressed bytes as if they were the document, and
    gives them back without the field. Few frameworks decode requests: neither FastAPI nor Flask does.
    What the guard does: it tells. Where a policy has `codings`, such as `codings=["gzip"]`, or `codings=[]` for none, others
    are 415 with Accept-Encoding before the content is read, in `guard` and `strict`.
    How to fix it: the client sends the content as it is. To take compressed content, decode it in a middleware: an ASGI
    middleware that wraps `receive` in FastAPI, one around `wsgi.input` in Flask, with a bound on what comes out.
    When to switch it off: `rules={"content-coding-accepted": "off"}` for codings of your own.
    """
    known = target.policy.codings
    said = [name.strip().lower() for name in (request.get(_CODING) or b"").decode("latin-1").split(",")]
    allowed = _REGISTERED if known is None else {"identity", *(name.lower() for name in known)}
    strange = [name for name in said if name and name not in allowed]
    if not strange:
        return None
    headers = [] if known is None else [(b"accept-encoding", ", ".join(known or ["identity"]).encode("latin-1", "replace"))]
    return Finding(f"The content coding {strange[0][:40]!r} is not accepted here.", status=415, headers=headers)


@rule(
    "status-415-accept-encoding-only-coding",
    "Accept-Encoding where the media type was wrong",
    cites="RFC 9110 12.5.3, 15.5.16",
    when=When.STATUS,
    statuses={415},
    has={b"accept-encoding"},
    default=Action.REPAIR,
    strength="MUST",
)
def accept_encoding_only_coding(request: Request, response: Answer, target: Target) -> Finding | None:
    """A 415 with Accept-Encoding in answer to content that was not coded.

    Why it matters: Accept-Encoding in a 415 tells the client that its coding was the reason. A client that sent none looks
    for the mistake in the wrong place, or sends the same content again without the compression that it never had.
    What the guard does: the field is taken away, in `guard` and `strict`; `observe` only tells. Where the request has a
    Content-Encoding the answer stays as it is.
    How to fix it: set the field only where the coding is the reason: `HTTPException(415, headers={"Accept-Encoding":
    "gzip"})` in FastAPI, `response.headers` beside `abort(415)` in Flask.
    When to switch it off: `rules={"status-415-accept-encoding-only-coding": "off"}`.
    """
    codings = {name.strip().lower() for name in (request.get(_CODING) or b"").split(b",")}
    if codings - {b"", b"identity"}:
        return None
    return Finding("415 names content codings, and the content had none.", drop=frozenset([b"accept-encoding"]))


# ---- how content is framed


@rule(
    "framing-cl-te",
    "Two answers to where the content ends",
    cites="RFC 9112 6.1, 6.3",
    when=When.REQUEST,
    fields={_CODED},
    default=Action.REJECT,
    strength="MAY",
)
def framing_cl_te(request: Request, target: Target) -> Finding | None:
    """A request with both Content-Length and Transfer-Encoding.

    Why it matters: whoever goes by the one and whoever goes by the other disagree on where the content ends; the rest is
    read as the next request. That is request smuggling: what an attacker hides there runs as somebody else's request.
    What the guard does: 400 and the end of the connection, before the content is read, in `guard` and `strict`; `observe` only
    tells. h11 and hypercorn let it through; httptools and gunicorn refuse it, and waitress hides it. A plain GET on an
    application whose routes are not known is not searched for it.
    How to fix it: the client sends one of them; a proxy that adds the other needs an update. FastAPI and Flask never see the
    difference.
    When to switch it off: behind a server that decodes the content and leaves the field, `rules={"framing-cl-te": "off"}`.
    """
    if request.get(_CODED) is None or not request.get(_LENGTH):
        return None
    return Finding("Content-Length and Transfer-Encoding contradict each other.", status=400)


@rule(
    "content-length-required",
    "Content of unknown length",
    cites="RFC 9112 6.3, RFC 9110 15.5.12",
    when=When.REQUEST,
    fields={_CODED},
    default=Action.OFF,
    opt=Action.REJECT,
    strength="MAY",
    risk="high",
)
def content_length_required(request: Request, target: Target) -> Finding | None:
    """Content in chunks, whose length nobody knows before its end.

    Why it matters: a server may insist on a length, to refuse what is too large before it has come, or because what is behind
    it cannot read chunks: several WSGI servers hand them on without an end. Clients that stream have good reasons, though.
    What the guard does: nothing by itself. With `rules={"content-length-required": "reject"}` it is 411 before the content is
    read.
    How to fix it: the client sends the content as one piece: in httpx and requests bytes or a file instead of a generator.
    FastAPI reads both; Flask under gunicorn does, under servers without `wsgi.input_terminated` it sees nothing.
    When to switch it off: leave it off wherever uploads are streamed.
    """
    return None if request.get(_LENGTH) else Finding("Send the content with a Content-Length.", status=411)


# ---- what describes content and decides nothing


@rule(
    "content-location-request-inert",
    "Content-Location in a request",
    cites="RFC 9110 8.7",
    when=When.REQUEST,
    methods=_WRITES,
    fields={b"content-location"},
    strength="MUST",
)
def content_location_inert(request: Request, target: Target) -> Finding | None:
    """A write with Content-Location.

    Why it matters: the field says where the client got its representation from, and must not change what the request means.
    An application that stores to the place named there writes somewhere else than every layer in front believes.
    What the guard does: it tells, in every profile, and leaves the field.
    How to fix it: write to the URL of the request. In FastAPI and Flask use the path's parameters, never
    `request.headers["content-location"]`.
    When to switch it off: when clients send it as a note, `rules={"content-location-request-inert": "off"}`.
    """
    return Finding("Content-Location does not say where a request writes to; its target does.")


@rule(
    "content-range-request-ignored",
    "A partial write where there is none",
    cites="RFC 9110 14.4",
    when=When.REQUEST,
    methods={"POST", "PATCH", "DELETE"},
    fields={b"content-range"},
    default=Action.REPAIR,
    strength="MUST",
)
def content_range_ignored(request: Request, target: Target) -> Finding | None:
    """POST, PATCH or DELETE with Content-Range, which has no meaning for them.

    Why it matters: "A server MUST ignore a Content-Range header field received in a request with a method for which
    Content-Range support is not defined", RFC 9110 14.4. A handler that honours it by private agreement takes parts for
    wholes wherever a layer on the way has dropped it.
    What the guard does: the field is taken away before the app sees it, in `guard` and `strict`; `observe` only tells. On PUT
    it is 400 (`put-content-range-400`).
    How to fix it: PATCH with a media type that says where the part goes, or an upload protocol with its own fields, such as
    tus (`Upload-Offset`). In FastAPI and Flask do not read `content-range` of a request.
    When to switch it off: on a route for chunked uploads that counts on the field, as jQuery File Upload's do:
    `rules={"content-range-request-ignored": "off"}`.
    """
    return Finding(f"Content-Range means nothing in {target.method}.", drop=frozenset([b"content-range"]))
