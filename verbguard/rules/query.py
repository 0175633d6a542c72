"""QUERY: a safe question whose content says what is asked (RFC 10008)."""

from __future__ import annotations

from typing import Any

from verbguard.http import Headers, Request, header
from verbguard.policy import Action
from verbguard.rules import Answer, Finding, Target, When, rule
from verbguard.rules.facts import accepted, media_type, structured

_ASKED = b"access-control-request-method"


@rule(
    "query-content-type",
    "A QUERY that does not say what its content is",
    cites="RFC 10008 2",
    when=When.REQUEST,
    methods={"QUERY"},
    lacks=(),
    default=Action.REJECT,
    strength="MUST",
    risk="none",
)
def query_content_type(request: Request, target: Target) -> Finding | None:
    """QUERY without Content-Type, or with one that is no media type.

    Why it matters: the content is the question, and only its media type says in which language it is asked. A server that
    guesses answers another question than the one that was put.
    What the guard does: it refuses the request with 400 before the handler runs; `observe` only tells. Where the routes show
    that none takes QUERY, the application's own 405 comes first.
    How to fix it: `client.request("QUERY", url, json=...)` sets the field in most clients. FastAPI takes the method with
    `@app.api_route("/search", methods=["QUERY"])`, Flask with `@app.route("/search", methods=["QUERY"])`.
    When to switch it off: `{"query-content-type": "off"}` while old clients are being mended.
    """
    if media_type(request.get(b"content-type")) or (target.allow and "QUERY" not in target.allow):
        return None  # what a resource does not take is refused for that
    return Finding("A QUERY says with Content-Type in which format it asks.", status=400)


@rule(
    "query-media-accepted",
    "A QUERY in a format that is not taken",
    cites="RFC 10008 2.1, 3",
    when=When.REQUEST,
    methods={"QUERY"},
    fields={b"content-type"},
    default=Action.OFF,
    opt=Action.REJECT,
    opted=lambda policy: bool(policy.accepts.get("QUERY")),
    strength="SHOULD",
    risk="none",
)
def query_media_accepted(request: Request, target: Target) -> Finding | None:
    """QUERY with content of a media type that the route does not take.

    Why it matters: a question in another language is not understood, and a parser that tries anyway answers nonsense.
    What the guard does: nothing until the route says what it takes, `Policy(accepts={"QUERY": ["application/json"]})`. Then any
    other type is refused with 415 and Accept-Query before the handler runs.
    How to fix it: send one of the types that Accept-Query names.
    When to switch it off: leave QUERY out of `accepts`.
    """
    types = target.policy.accepts.get("QUERY", ())
    value = request.get(b"content-type")
    if not types or not value or accepted(value, types):
        return None
    return Finding(
        f"{value.decode('latin-1')[:80]} is no query format of this resource: {', '.join(types)}.",
        status=415,
        headers=[(b"accept-query", structured(types))],
    )


@rule(
    "query-redirect",
    "A redirect of QUERY that old clients misread",
    cites="RFC 10008 2.5",
    when=When.STATUS,
    methods={"QUERY"},
    statuses={301, 302},
)
def query_redirect(request: Request, response: Answer, target: Target) -> Finding | None:
    """301 or 302 to QUERY.

    Why it matters: both keep the method and the content, but clients that treat every method like POST turn it into a GET
    without content, and ask nothing.
    What the guard does: it tells, in every profile.
    How to fix it: 303 where a GET of another resource has the answer, 307 or 308 where the question shall be asked there:
    `RedirectResponse(url, 307)` in FastAPI, `redirect(url, 307)` in Flask.
    When to switch it off: `{"query-redirect": "off"}` where all clients are known.
    """
    return Finding(f"{response.status} to QUERY is misread by clients that follow POST's habits: say 303, 307 or 308.")


@rule(
    "accept-query-sf",
    "Accept-Query is a Structured Field",
    cites="RFC 10008 3, RFC 9651",
    when=When.FRAMING,
    has={b"accept-query"},
    opt=Action.REPAIR,
    strength="MUST",
)
def accept_query_sf(request: Request, response: Answer, target: Target) -> Finding | None:
    """An Accept-Query that is no Structured Field List of media types.

    Why it matters: a client that parses the field as it must finds no format at all, and gives up on QUERY.
    What the guard does: it tells. With `rules={"accept-query-sf": "repair"}` the field is written anew from `accepts`.
    How to fix it: `Accept-Query: application/json, "application/jsonpath"`: tokens or quoted strings with commas between.
    When to switch it off: `{"accept-query-sf": "off"}`.
    """
    import http_sf

    value = b", ".join(value for name, value in response.headers if name.lower() == b"accept-query")
    try:
        members: Any = http_sf.parse(value, tltype="list")
    except (ValueError, ArithmeticError, http_sf.StructuredFieldError):
        members = [None]
    if all(
        member and isinstance(member[0], (str, http_sf.Token)) and media_type(str(member[0]).encode()) for member in members
    ):
        return None
    types = target.policy.accepts.get("QUERY", ())
    add: Headers = [(b"accept-query", structured(types))] if types else []
    return Finding("Accept-Query is no list of media types.", drop=frozenset([b"accept-query"]), add=add)


@rule(
    "query-cors",
    "CORS that does not let QUERY through",
    cites="RFC 10008 4",
    when=When.STATUS,
    methods={"OPTIONS"},
    statuses={200, 204},
    given={_ASKED},
    has={b"access-control-allow-origin"},
)
def query_cors(request: Request, response: Answer, target: Target) -> Finding | None:
    """A preflight that asks for QUERY, on a resource that takes it, is let in without it.

    Why it matters: QUERY is never sent across origins without a preflight; scripts of other sites cannot ask at all, and the
    browser's message does not say why.
    What the guard does: it tells, and leaves what the CORS layer said, in every profile.
    How to fix it: `CORSMiddleware(allow_methods=["GET", "QUERY"])` in FastAPI, `CORS(app, methods=["GET", "QUERY"])` with
    flask-cors.
    When to switch it off: where QUERY is not meant for other sites, `{"query-cors": "off"}`.
    """
    if (request.get(_ASKED) or b"").strip() != b"QUERY" or "QUERY" not in target.allow:
        return None
    said = b",".join(value for name, value in response.headers if name.lower() == b"access-control-allow-methods")
    allowed = {name.strip() for name in said.split(b",")}
    secret = header(response.headers, b"access-control-allow-credentials") is not None  # then `*` is the name of a method
    if b"QUERY" in allowed or (b"*" in allowed and not secret):
        return None
    return Finding("The resource takes QUERY, and the preflight's answer does not allow it.")
