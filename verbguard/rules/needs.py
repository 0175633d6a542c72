"""Status codes that need something: a field of the answer, or something that the request said.

Most of these rules are one check with other facts, so they are a table: `FACTS`. Whatever needs a look at a value is a function
below it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

from verbguard.http import Headers, Request, header
from verbguard.methods import METHODS
from verbguard.policy import Action, Policy
from verbguard.replay import PRECONDITIONS
from verbguard.rules import Answer, Finding, Risk, Strength, Target, When, rule

CONDITIONS = (*PRECONDITIONS, b"if-modified-since", b"if-range")
ACCEPTS = (b"accept", b"accept-charset", b"accept-encoding", b"accept-language")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What an answer with one of these statuses needs. The rule speaks where nothing of it is there."""

    id: str
    title: str
    cites: str
    statuses: frozenset[int]
    says: str
    page: str
    answer: bytes | None = None  # this field of the answer
    asked: tuple[bytes, ...] = ()  # or one of these fields of the request
    unasked: tuple[bytes, ...] = ()  # or a request that has none of these fields
    mend: Callable[[Policy], Headers] | None = None  # what a policy lets the guard add
    methods: frozenset[str] | None = None
    default: Action = Action.OBSERVE
    strict: Action | None = None
    opt: Action | None = None
    opted: Callable[[Policy], bool] | None = None
    routine: bool = False
    strength: Strength = "MUST"
    risk: Risk = "low"


def _challenge(policy: Policy) -> Headers:
    return [] if policy.challenge is None else [(b"www-authenticate", policy.challenge.encode("ascii"))]


def _upgrade(policy: Policy) -> Headers:
    # "A sender of Upgrade MUST also send an "Upgrade" connection option in the Connection header field", RFC 9110 7.8.
    return [] if policy.upgrade is None else [(b"upgrade", policy.upgrade.encode("ascii")), (b"connection", b"upgrade")]


def _retry_after(policy: Policy) -> Headers:
    return [] if policy.retry_after is None else [(b"retry-after", b"%d" % policy.retry_after)]


FACTS = [
    Fact(
        id="status-300-location",
        title="300 without a preferred choice",
        cites="RFC 9110 15.4.1",
        statuses=frozenset({300}),
        answer=b"location",
        says="300 has no Location, so no client can follow it by itself.",
        default=Action.OFF,
        opt=Action.OBSERVE,
        strength="SHOULD",
        risk="medium",
        page="""300 (Multiple Choices) names no choice in Location.

        Why it matters: with a preferred choice in Location "the user agent MAY use the Location field value for automatic
        redirection"; without one, programs stop at the list, which is content that no standard describes.
        What the guard does: nothing by itself, since a server may have no preference. With
        `rules={"status-300-location": "observe"}` it tells.
        How to fix it: send the choice that you would make, `headers={"Location": "/report.pdf"}` in FastAPI's `Response` or
        `response.headers["Location"]` in Flask; or decide by Accept and answer 200.
        When to switch it off: it is off unless a policy turns it on.
        """,
    ),
    Fact(
        id="status-3xx-location",
        title="A redirect to nowhere",
        cites="RFC 9110 15.4.2, 15.4.3, 15.4.4, 15.4.8, 15.4.9",
        statuses=frozenset({301, 302, 303, 307, 308}),
        answer=b"location",
        asked=(b"content-range",),  # upload protocols of old answer 308 to a part: "resume incomplete"
        says="A redirect without Location leads nowhere.",
        strict=Action.REPLACE,
        strength="SHOULD",
        page="""301, 302, 303, 307 or 308 has no Location.

        Why it matters: the status says "look elsewhere" and Location says where. Clients fail with an error of their own, or
        show an empty page; a 303 without it is no answer at all.
        What the guard does: it tells in `guard`; `strict` puts a 500 in its place. `observe` only tells. It is quiet where the
        request has Content-Range, as upload protocols of old mean "go on" by 308.
        How to fix it: `RedirectResponse(url, status_code=303)` in FastAPI, `redirect(url, code=303)` in Flask.
        When to switch it off: for a client of your own that knows where to go, `rules={"status-3xx-location": "off"}`.
        """,
    ),
    Fact(
        id="status-401-needs-www-authenticate",
        title="401 says how to log in",
        cites="RFC 9110 15.5.2, 11.6.1",
        statuses=frozenset({401}),
        answer=b"www-authenticate",
        says="401 has no WWW-Authenticate.",
        mend=_challenge,
        default=Action.REPAIR,
        risk="medium",
        page="""401 has no WWW-Authenticate, which must say how the client can authenticate.

        Why it matters: libraries that hold credentials wait for the challenge to use them; without one they give up, and a
        person cannot tell an expired token from a missing one.
        What the guard does: where the policy has a `challenge`, such as `challenge='Bearer realm="shop"'`, `guard` and `strict`
        add it. Without one it tells, and the answer stays. A challenge of the app is never touched. `observe` only tells.
        How to fix it: `HTTPException(401, headers={"WWW-Authenticate": "Bearer"})` in FastAPI;
        `abort(401, www_authenticate=WWWAuthenticate("bearer"))` in Flask. Avoid `Basic` where browsers call with scripts: they
        open their own dialogue for it.
        When to switch it off: where 401 is for browsers with a login page only, `rules={"status-401-needs-www-authenticate":
        "off"}`; 403 or a redirect would be right there.
        """,
    ),
    Fact(
        id="status-407-needs-proxy-authenticate",
        title="407 says how to log in to the proxy",
        cites="RFC 9110 15.5.8, 11.7.1",
        statuses=frozenset({407}),
        answer=b"proxy-authenticate",
        says="407 has no Proxy-Authenticate.",
        page="""407 has no Proxy-Authenticate.

        Why it matters: 407 asks for the credentials of a proxy, and the field must say of which kind. Clients without it stop;
        clients that guess send their proxy's password to an application.
        What the guard does: it tells, in every profile; the answer stays as it is.
        How to fix it: an application has no use for 407. For its own login it is 401 with WWW-Authenticate:
        `HTTPException(401, headers={"WWW-Authenticate": "Bearer"})` in FastAPI, `abort(401, ...)` in Flask.
        When to switch it off: where the app is a proxy, `rules={"status-407-needs-proxy-authenticate": "off"}`.
        """,
    ),
    Fact(
        id="status-406-needs-negotiation",
        title="406 to a request that accepts all",
        cites="RFC 9110 15.5.7, 12.4.1",
        statuses=frozenset({406}),
        asked=ACCEPTS,
        says="406 answers a request that names nothing it would not accept.",
        page="""406 answers a request without any Accept field.

        Why it matters: a request that names no preference accepts everything, so the client cannot mend what it is told off
        for.
        What the guard does: it tells, in every profile; the answer stays as it is.
        How to fix it: treat a missing Accept as `*/*`: `request.headers.get("accept", "*/*")` in FastAPI,
        `request.accept_mimetypes.best_match(types, default=types[0])` in Flask. Even with a preference that you cannot meet,
        sending your usual format is allowed and mostly kinder. For content of the request that you do not read, it is 415.
        When to switch it off: where clients must name a version in Accept, `rules={"status-406-needs-negotiation": "off"}`.
        """,
    ),
    Fact(
        id="status-411-needs-missing-length",
        title="411 although there is a length",
        cites="RFC 9110 15.5.12",
        statuses=frozenset({411}),
        unasked=(b"content-length",),
        says="411 answers a request that has Content-Length.",
        risk="none",
        page="""411 (Length Required) answers a request that has Content-Length.

        Why it matters: the client is told to add what it sent; a library that does so sends the same request for ever.
        What the guard does: it tells, in every profile; the answer stays as it is.
        How to fix it: 400 for a length that is wrong, 413 for one that is too large: `raise HTTPException(413)` in FastAPI,
        `abort(413)` or `app.config["MAX_CONTENT_LENGTH"]` in Flask.
        When to switch it off: `rules={"status-411-needs-missing-length": "off"}`; no client is known that would need it.
        """,
    ),
    Fact(
        id="status-417-needs-expect",
        title="417 without an expectation",
        cites="RFC 9110 15.5.18, 10.1.1",
        statuses=frozenset({417}),
        asked=(b"expect",),
        says="417 answers a request without Expect.",
        risk="none",
        page="""417 (Expectation Failed) answers a request that has no Expect.

        Why it matters: 417 is about one field of the request. Clients drop `Expect: 100-continue` and send the content again at
        once, so a 417 for any other reason makes them repeat a request that fails.
        What the guard does: it tells, in every profile; the answer stays as it is.
        How to fix it: say what is wrong: 400, 409 or 422 with a problem document; `raise HTTPException(422, detail=...)` in
        FastAPI, `abort(422, description=...)` in Flask.
        When to switch it off: where a proxy takes Expect away, `rules={"status-417-needs-expect": "off"}`.
        """,
    ),
    Fact(
        id="status-425-needs-early-data",
        title="425 without early data",
        cites="RFC 8470 5.2",
        statuses=frozenset({425}),
        asked=(b"early-data",),
        says="425 answers a request that was not sent as early data.",
        strength="SHOULD",
        page="""425 (Too Early) answers a request without Early-Data.

        Why it matters: 425 makes a client wait for the end of the TLS handshake and send the same again. Without early data the
        handshake is over: it sends the same, and hears the same.
        What the guard does: it tells, in every profile; the answer stays as it is.
        How to fix it: 409 for a state that is not ready, 429 or 503 with Retry-After for "later":
        `HTTPException(503, headers={"Retry-After": "5"})` in FastAPI, `abort(make_response(body, 503, headers))` in Flask.
        When to switch it off: where the app ends TLS itself, `rules={"status-425-needs-early-data": "off"}`.
        """,
    ),
    Fact(
        id="status-426-needs-upgrade",
        title="426 says what to upgrade to",
        cites="RFC 9110 15.5.22, 7.8",
        statuses=frozenset({426}),
        answer=b"upgrade",
        says="426 has no Upgrade.",
        mend=_upgrade,
        default=Action.REPAIR,
        risk="none",
        page="""426 (Upgrade Required) has no Upgrade, which must say to which protocol.

        Why it matters: the client is told to change the protocol and not to which, so it can do nothing but fail.
        What the guard does: where the policy has an `upgrade`, such as `upgrade="HTTP/3.0"`, `guard` and `strict` add it
        together with `Connection: upgrade`, over HTTP/1 and ASGI. WSGI and HTTP/2 forbid both fields to an application:
        there, and without an `upgrade`, it tells. `observe` only tells.
        How to fix it: `Response(status_code=426, headers={"Upgrade": "websocket", "Connection": "upgrade"})` in FastAPI; a
        Flask app cannot send it, and says 400 with a problem document instead.
        When to switch it off: where the server in front adds the field, `rules={"status-426-needs-upgrade": "off"}`.
        """,
    ),
    Fact(
        id="status-428-had-no-precondition",
        title="428 although there was a condition",
        cites="RFC 6585 3",
        statuses=frozenset({428}),
        unasked=CONDITIONS[:3],
        says="428 answers a request that has a precondition.",
        strength="SHOULD",
        page="""428 (Precondition Required) answers a request that has If-Match, If-None-Match or If-Unmodified-Since.

        Why it matters: the client did what 428 asks for. It cannot know which condition would do, and its request is refused
        for ever.
        What the guard does: it tells, in every profile; the answer stays as it is. `require_precondition=True` in a policy does
        the whole of it, with an explanation.
        How to fix it: 412 for a condition that is false, 400 for one that cannot be read; where only If-Match will do, say so
        in the content: `raise HTTPException(428, detail="send If-Match")` in FastAPI, `abort(428, "send If-Match")` in Flask.
        When to switch it off: where the content does say so, `rules={"status-428-had-no-precondition": "off"}`.
        """,
    ),
    Fact(
        id="status-429-503-retry-after",
        title="429 and 503 say when to come back",
        cites="RFC 6585 4, RFC 9110 10.2.3, 15.6.4",
        statuses=frozenset({429, 503}),
        answer=b"retry-after",
        says="Retry-After was added.",
        mend=_retry_after,
        default=Action.OFF,
        opt=Action.REPAIR,
        opted=lambda policy: policy.retry_after is not None,
        routine=True,
        strength="MAY",
        page="""429 or 503 has no Retry-After.

        Why it matters: clients that do not know when to come back come back at once, all of them; a service that is down for a
        moment is kept down by its own clients.
        What the guard does: where the policy has a `retry_after`, such as `retry_after=5`, `guard` and `strict` add so many
        seconds. Without one it is off, as the field is no duty. A value of the app is never touched. `observe` only tells.
        How to fix it: `HTTPException(429, headers={"Retry-After": "5"})` in FastAPI; `abort(429, retry_after=5)` in Flask.
        When to switch it off: leave `retry_after` out, or `rules={"status-429-503-retry-after": "off"}` on a route.
        """,
    ),
    Fact(
        id="status-413-retry-after",
        title="413 that may be for a while",
        cites="RFC 9110 15.5.14",
        statuses=frozenset({413}),
        answer=b"retry-after",
        says="413 has no Retry-After; if the condition is temporary, it should have.",
        default=Action.OFF,
        opt=Action.OBSERVE,
        strength="SHOULD",
        risk="high",
        page="""413 (Content Too Large) has no Retry-After.

        Why it matters: where the content is too large only for now (a quota, a full disk), the field is what tells the client
        to try again instead of giving up.
        What the guard does: nothing by itself, since nearly every 413 is for good, and only the app knows. With
        `rules={"status-413-retry-after": "observe"}` it tells.
        How to fix it: `HTTPException(413, headers={"Retry-After": "3600"})` in FastAPI,
        `abort(413, response=make_response(body, 413, {"Retry-After": "3600"}))` in Flask; or 507 for a full disk.
        When to switch it off: it is off unless a policy turns it on.
        """,
    ),
    Fact(
        id="status-202-with-respond-async",
        title="202 that nobody asked for",
        cites="RFC 7240 4.1",
        statuses=frozenset({202}),
        asked=(b"prefer",),
        says="202 answers a request without Prefer: respond-async.",
        default=Action.OFF,
        opt=Action.OBSERVE,
        strength="MAY",
        page="""202 answers a request that did not prefer to be answered later.

        Why it matters: it is allowed. Some houses let clients choose by `Prefer: respond-async`, and take a 202 without it
        for a mistake: a client that does not know to poll believes that the work is done.
        What the guard does: nothing by itself. With `rules={"status-202-with-respond-async": "observe"}` it tells.
        How to fix it: look at `request.headers.get("prefer")` in FastAPI and Flask alike, and wait where it does not say
        `respond-async`; answer with `Preference-Applied: respond-async` where it does.
        When to switch it off: it is off unless a policy turns it on.
        """,
    ),
]


def _enter(fact: Fact) -> None:
    def check(request: Request, response: Answer, target: Target) -> Finding | None:
        if any(request.get(name) is not None for name in fact.asked):
            return None
        if fact.unasked and all(request.get(name) is None for name in fact.unasked):
            return None
        return Finding(fact.says, status=500, add=[] if fact.mend is None else fact.mend(target.policy))

    check.__name__ = check.__qualname__ = fact.id.replace("-", "_")
    check.__doc__ = fact.page
    rule(
        fact.id,
        fact.title,
        cites=fact.cites,
        when=When.STATUS,
        methods=fact.methods,
        statuses=fact.statuses,
        absent=fact.answer,
        default=fact.default,
        strict=fact.strict,
        opt=fact.opt,
        opted=fact.opted,
        routine=fact.routine,
        strength=fact.strength,
        risk=fact.risk,
    )(check)


for _fact in FACTS:
    _enter(_fact)


def _values(response: Answer, name: bytes) -> list[str]:
    """The values of all field lines with this name."""
    return [value.decode("latin-1") for found, value in response.headers if found.lower() == name]


def _has_content(request: Request) -> bool:
    return request.get(b"content-length") not in (None, b"0", b"") or request.get(b"transfer-encoding") is not None


@rule(
    "status-101-needs-upgrade",
    "101 without an upgrade",
    cites="RFC 9110 15.2.2, 7.8",
    when=When.STATUS,
    statuses={101},
    strength="MUST",
    risk="none",
)
def switching(request: Request, response: Answer, target: Target) -> Finding | None:
    """101 (Switching Protocols) has no Upgrade, or the request had none.

    Why it matters: after 101 both sides speak another protocol, which the field names. A side that does not know it reads
    noise, and a client that asked for nothing goes on in HTTP.
    What the guard does: it tells, in every profile; where the client did not ask, `status-final-not-1xx` replaces the answer.
    How to fix it: leave 101 to the server: WebSocket routes of FastAPI do, and for Flask an extension such as flask-sock. To
    ask for another protocol, answer 426 with Upgrade.
    When to switch it off: behind a server that adds the field itself, `rules={"status-101-needs-upgrade": "off"}`.
    """
    if header(response.headers, b"upgrade") is None:
        return Finding("101 has no Upgrade.")
    return Finding("101 answers a request without Upgrade.") if request.get(b"upgrade") is None else None


@rule(
    "status-redirect-loop",
    "A redirect to itself",
    cites="RFC 9110 15.4",
    when=When.STATUS,
    statuses={301, 302, 303, 307, 308},
    has={b"location"},
    absent=b"set-cookie",
    strength="SHOULD",
)
def redirect_loop(request: Request, response: Answer, target: Target) -> Finding | None:
    """Location is the request's own target, and the client would ask it with the same method again.

    Why it matters: the client repeats the request until it has counted enough: some twenty requests for nothing, and an error
    that names the redirect and not its cause.
    What the guard does: it tells, in every profile; the answer stays as it is. It is quiet about a POST that is sent on to a
    GET of the same page, and about an answer that sets a cookie, as that changes the next request.
    How to fix it: mostly a slash or a prefix: look at `redirect_slashes` and `root_path` in FastAPI, at `strict_slashes` and
    `SCRIPT_NAME` in Flask, and at what a proxy in front takes away.
    When to switch it off: where a field of the request other than its target decides, `rules={"status-redirect-loop": "off"}`.
    """
    kept = response.status in (307, 308) or request.method in ("GET", "HEAD")
    if not kept and (response.status == 303 or request.method == "POST"):
        return None
    if not _is_target(header(response.headers, b"location") or b"", request):
        return None
    return Finding(f"{response.status} sends the client to where it is.")


def _is_target(reference: bytes, request: Request) -> bool:
    """Whether a reference without an authority names the request's target; with one it may be another scheme or port."""
    try:
        parts = urlsplit(urljoin(request.target.decode("latin-1"), reference.decode("latin-1").strip()))
    except ValueError:
        return False
    if parts.scheme or parts.netloc:
        return False
    return unquote(parts.path) == request.prefix + request.path and parts.query.encode("latin-1", "replace") == request.query


@rule(
    "status-304-fields",
    "304 leaves out what a 200 would have",
    cites="RFC 9110 15.4.5",
    when=When.STATUS,
    methods={"GET", "HEAD", "QUERY"},
    statuses={304},
    given={b"if-none-match"},
    absent=b"etag",
    strength="MUST",
    risk="medium",
)
def fields_304(request: Request, response: Answer, target: Target) -> Finding | None:
    """304 to a request with an entity tag has no ETag.

    Why it matters: the client got its tag from a 200, so a 200 would have one now, and a 304 must repeat it: caches look by it
    which of their answers is meant, and keep asking for the rest. What else a 200 would have had (Vary, Cache-Control, Expires,
    Content-Location) cannot be seen from here.
    What the guard does: it tells, in every profile; the answer stays as it is.
    How to fix it: `Response(status_code=304, headers={"ETag": tag, "Vary": ..., "Cache-Control": ...})` in FastAPI; in Flask
    set them on the full answer and call `response.make_conditional(request)`.
    When to switch it off: where a layer outside adds the tag, `rules={"status-304-fields": "off"}`.
    """
    if (request.get(b"if-none-match") or b"*").strip() == b"*":
        return None
    return Finding("304 has no ETag, and the 200 that it stands for had one.")


@rule(
    "status-412-needs-precondition",
    "412 to a request without a condition",
    cites="RFC 9110 15.5.13",
    when=When.STATUS,
    methods=METHODS.keys() - {"PATCH"},
    statuses={412},
    strength="MUST",
    risk="medium",
)
def needs_condition(request: Request, response: Answer, target: Target) -> Finding | None:
    """412 (Precondition Failed) answers a request that has no condition; of PATCH, `patch-412-had-precondition` speaks.

    Why it matters: a client that gets 412 fetches the current state and sends its condition anew. Without a condition there is
    nothing to send anew, so it gives up, or loops.
    What the guard does: it tells, in every profile; the answer stays as it is. Conditions of extensions (`If` of WebDAV, other
    fields that begin with `If-`, `Repeatability-First-Sent`) count.
    How to fix it: 409 for a conflict with the state, 428 where a condition is missing: `raise HTTPException(409, detail=...)`
    in FastAPI, `abort(409, description=...)` in Flask.
    When to switch it off: where a query parameter is the condition, `rules={"status-412-needs-precondition": "off"}`.
    """
    if any(name == b"if" or name.startswith((b"if-", b"repeatability-")) for name in request.fields):
        return None
    return Finding("412 answers a request without a precondition; a conflict with the state is 409.")


@rule(
    "status-415-needs-content",
    "415 to a request without content",
    cites="RFC 9110 15.5.16",
    when=When.STATUS,
    statuses={415},
    strength="MUST",
)
def needs_media(request: Request, response: Answer, target: Target) -> Finding | None:
    """415 (Unsupported Media Type) answers a request that has no content, and names no type or coding of any.

    Why it matters: 415 is about the format of the request's content. A client without content looks for a fault where none is.
    What the guard does: it tells, in every profile; the answer stays as it is.
    How to fix it: 406 where the answer cannot be what Accept asks for, 400 or 422 where content is missing:
    `raise HTTPException(400, detail="content is missing")` in FastAPI, `abort(400)` in Flask; Flask's own
    `request.get_json()` answers 415 to a request without content, and `get_json(silent=True)` does not.
    When to switch it off: where that is how the framework says "content is missing", `rules={"status-415-needs-content":
    "off"}`.
    """
    named = request.get(b"content-type") is not None or request.get(b"content-encoding") is not None
    return None if named or _has_content(request) else Finding("415 answers a request without content.")


@rule(
    "status-422-needs-content",
    "422 to a request without content",
    cites="RFC 9110 15.5.21",
    when=When.STATUS,
    statuses={422},
    default=Action.OFF,
    opt=Action.OBSERVE,
    strength="MUST",
    risk="medium",
)
def needs_content(request: Request, response: Answer, target: Target) -> Finding | None:
    """422 (Unprocessable Content) answers a request that has no content.

    Why it matters: 422 says that the content was understood and is wrong. Of a path or a query, 400 or 404 says it better.
    What the guard does: nothing by itself, as FastAPI answers 422 for every parameter that it cannot read. With
    `rules={"status-422-needs-content": "observe"}` it tells.
    How to fix it: in FastAPI an exception handler for `RequestValidationError` that answers 400 where the errors are of the
    path or the query; in Flask `abort(400)`.
    When to switch it off: it is off unless a policy turns it on.
    """
    return None if _has_content(request) else Finding("422 answers a request without content.")


@rule(
    "status-416-needs-range",
    "416 to a request without Range",
    cites="RFC 9110 15.5.17, 14.4",
    when=When.STATUS,
    statuses={416},
    strength="MUST",
)
def needs_range(request: Request, response: Answer, target: Target) -> Finding | None:
    """416 (Range Not Satisfiable) answers a request without Range, or does not say how long the representation is.

    Why it matters: only a range can be out of range; clients drop Range and send the same again. With `Content-Range: bytes
    */47022` a client that resumes a download learns that it has all of it.
    What the guard does: it tells, in every profile; on methods that have no ranges the status table has its say too. It does
    not know the length, so it cannot add the field.
    How to fix it: `Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})` in FastAPI (Starlette's
    FileResponse does it), `abort(416, length=size)` in Flask. For a page number that is too high, 404 or an empty page.
    When to switch it off: `rules={"status-416-needs-range": "off"}`, where a layer outside takes Range away.
    """
    if request.get(b"range") is None:
        return Finding("416 answers a request without Range.")
    known = header(response.headers, b"content-range")
    if known is None or not re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ \*/[0-9]+", known.strip()):
        return Finding("416 does not say how long the representation is: Content-Range: bytes */length.")
    return None


@rule(
    "status-451-blocked-by",
    "451 does not say who blocks",
    cites="RFC 7725 3, 4",
    when=When.STATUS,
    statuses={451},
    strength="SHOULD",
)
def blocked_by(request: Request, response: Answer, target: Target) -> Finding | None:
    """451 (Unavailable For Legal Reasons) has no Link with `rel="blocked-by"`.

    Why it matters: the link names who implements the block, which is not always who ordered it. People and the programs that
    count blocks cannot tell one from the other without it.
    What the guard does: it tells, in every profile; the answer stays as it is.
    How to fix it: `Response(status_code=451, headers={"Link": '<https://example.org>; rel="blocked-by"'})` in FastAPI,
    `response.headers["Link"]` in Flask; and explain the legal demand in the content.
    When to switch it off: where the law forbids to say it, `rules={"status-451-blocked-by": "off"}`.
    """
    links = ", ".join(_values(response, b"link"))
    if re.search(r';\s*rel\s*=\s*(?:"(?:[^"]*\s)?blocked-by(?:\s[^"]*)?"|blocked-by\s*(?:[;,]|$))', links, re.IGNORECASE):
        return None
    return Finding("451 has no Link with rel=blocked-by.")


@rule(
    "status-428-429-431-511-no-store",
    "An error that no cache may keep",
    cites="RFC 6585 3, 4, 5, 6",
    when=When.STATUS,
    statuses={428, 429, 431, 511},
    default=Action.REPAIR,
    routine=True,
    strength="MUST",
    risk="none",
)
def no_store(request: Request, response: Answer, target: Target) -> Finding | None:
    """428, 429, 431 or 511 does not forbid caches to store it.

    Why it matters: these answers are about one client at one moment, and "MUST NOT be stored by a cache". A cache that does not
    know the rule, or an app that sends `max-age` on everything, shows one client's limit to the next.
    What the guard does: `guard` and `strict` put `Cache-Control: no-store` in the place of what the app says. `observe` only
    tells.
    How to fix it: `HTTPException(429, headers={"Cache-Control": "no-store"})` in FastAPI; in Flask an error handler that sets
    `response.headers["Cache-Control"] = "no-store"`. Look for middleware that sets the field on every answer.
    When to switch it off: `rules={"status-428-429-431-511-no-store": "off"}`; nothing is known that would need it.
    """
    from werkzeug.http import parse_list_header

    said = [each.strip().lower() for value in _values(response, b"cache-control") for each in parse_list_header(value)]
    if "no-store" in said:
        return None
    name = b"cache-control"
    return Finding(f"{response.status} must not be stored.", drop=frozenset([name]), add=[(name, b"no-store")])


@rule(
    "retry-after-grammar",
    "Retry-After that nobody can read",
    cites="RFC 9110 10.2.3",
    when=When.STATUS,
    statuses={202, *range(300, 600)},
    has={b"retry-after"},
    default=Action.REPAIR,
    strength="MUST",
    risk="none",
)
def retry_after_grammar(request: Request, response: Answer, target: Target) -> Finding | None:
    """Retry-After is neither whole seconds nor a date.

    Why it matters: clients ignore what they cannot read, or worse, read `0.5` as 0 and `1m` as 1, and come back at once; some
    libraries raise.
    What the guard does: `guard` and `strict` drop the field, as clients then wait by their own rules. `observe` only tells.
    How to fix it: whole seconds, `headers={"Retry-After": "60"}` in FastAPI's `HTTPException`; in Flask
    `response.retry_after = 60`, which also takes a datetime and writes it well. One line only.
    When to switch it off: for a client of your own with a format of its own, `rules={"retry-after-grammar": "off"}`.
    """
    values = _values(response, b"retry-after")
    if len(values) == 1 and _readable(values[0].strip()):
        return None
    name = b"retry-after"
    return Finding("Retry-After is neither whole seconds nor a date.", drop=frozenset([name]))


def _readable(value: str) -> bool:
    from werkzeug.http import parse_date

    if value.isascii() and value.isdecimal():
        return True
    return value.endswith("GMT") and parse_date(value) is not None
