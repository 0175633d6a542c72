"""Allow, HEAD and OPTIONS: what a resource can be asked, told completely."""

from __future__ import annotations

from verbguard.http import Request, Response, header
from verbguard.methods import allow_value
from verbguard.policy import Action
from verbguard.routes import Kind
from verbguard.rules import Answer, Finding, Target, When, rule
from verbguard.rules.facts import structured


def allowed(response: Answer) -> set[str] | None:
    """The methods in all Allow lines of an answer, None where it has none."""
    lines = [value.decode("latin-1") for name, value in response.headers if name.lower() == b"allow"]
    return {name.strip() for name in ",".join(lines).split(",") if name.strip()} if lines else None


def united(given: set[str] | None, target: Target) -> set[str]:
    """What the app lists and what is known besides, without the PUT that would be refused on this collection."""
    refused = (
        target.kind is Kind.COLLECTION
        and target.policy.put == "refuse"
        and target.policy.rules.get("put-no-collection", Action.REJECT) is Action.REJECT
    )
    own = (given or set()) - {"PUT"} if refused else given or set()
    return {*target.allow, *own}


@rule(
    "status-405-needs-allow",
    "405 says what is allowed",
    cites="RFC 9110 15.5.6",
    when=When.STATUS,
    statuses={405},
    default=Action.REPAIR,
    routine=True,
    strength="MUST",
)
def needs_allow(request: Request, response: Answer, target: Target) -> Finding | None:
    """405 has no Allow, or one that leaves out what the routes take.

    Why it matters: Allow is how a client learns what it may do instead. Starlette and FastAPI list the methods of the first
    route that matches only; clients then believe that a resource cannot be created or changed.
    What the guard does: where the routes are known, `guard` and `strict` send the union of all that match, with HEAD for GET
    and OPTIONS; the method that was refused is left out, or taken out of the app's own Allow. On a bare app without a policy
    it tells of a missing Allow. `observe` only tells.
    How to fix it: in FastAPI put the methods of one path into one `APIRouter.api_route(..., methods=[...])`, or leave it to the
    guard; Flask lists all of them. In a handler of your own, `HTTPException(405, headers={"Allow": "GET, POST"})` in FastAPI,
    `abort(405, valid_methods=["GET", "POST"])` in Flask.
    When to switch it off: where a method must stay unmentioned, `rules={"status-405-needs-allow": "off"}`.
    """
    given = allowed(response)
    if given is None and not target.allow:
        return Finding("405 without Allow, and the routes are not known.")
    wanted = united(given, target) - {target.method}
    if wanted == given:
        return None
    return Finding(
        "Allow was made to fit the routes and the refusal.", drop=frozenset([b"allow"]), add=[(b"allow", allow_value(wanted))]
    )


@rule(
    "options-allow",
    "OPTIONS says what is allowed",
    cites="RFC 9110 9.3.7",
    when=When.STATUS,
    methods={"OPTIONS"},
    statuses={200, 204},
    default=Action.REPAIR,
    routine=True,
)
def options_allow(request: Request, response: Answer, target: Target) -> Finding | None:
    """A successful OPTIONS does not list what the resource can be asked.

    Why it matters: that list is what OPTIONS is for. Gateways, API browsers and generic clients build on it.
    What the guard does: it adds Allow, or completes it, from the routes, and Accept-Patch and Accept-Query from the policy; a
    CORS preflight is never touched, and where the routes are not known it is silent. `observe` only tells.
    How to fix it: leave OPTIONS to the guard in FastAPI, which has none, and to Flask, which answers it; in a handler of your
    own `headers={"Allow": "GET, PUT, OPTIONS"}`.
    When to switch it off: `rules={"options-allow": "off"}`, where the methods are nobody's business.
    """
    if not target.allow or preflight(request):
        return None
    drop: set[bytes] = set()
    add = []
    given = allowed(response)
    wanted = united(given, target)
    if wanted != given:
        drop.add(b"allow")
        add.append((b"allow", allow_value(wanted)))
    if header(response.headers, b"accept-patch") is None:
        add += accept_patch(target)
    if header(response.headers, b"accept-query") is None:
        add += accept_query(target)
    if not add:
        return None
    return Finding("OPTIONS was completed from the routes.", drop=frozenset(drop), add=add)


@rule(
    "options-auto",
    "OPTIONS is answered from the routes",
    cites="RFC 9110 9.3.7",
    when=When.STATUS,
    methods={"OPTIONS"},
    statuses={405},
    default=Action.REPAIR,
    routine=True,
)
def options_auto(request: Request, response: Answer, target: Target) -> Finding | None:
    """The app says 405 to OPTIONS on a resource that it has.

    Why it matters: OPTIONS is how a client asks what can be done without doing it. FastAPI and Starlette answer it 405, with
    the methods of one route only.
    What the guard does: it answers 204 with Allow, Accept-Patch and Accept-Query, as far as routes and policy tell; a CORS
    preflight is never touched, so that nothing is made to look allowed. `observe` only tells.
    How to fix it: nothing needs to be done; Flask answers OPTIONS itself. A handler of your own is `@app.options("/items")`
    in FastAPI.
    When to switch it off: where OPTIONS shall fail, `rules={"options-auto": "off"}`.
    """
    if not target.allow or preflight(request):
        return None
    # what is known of a service that shows no routes may be less than it says itself
    wanted = target.allow if target.mapped else united(allowed(response), target)
    headers = [(b"allow", allow_value(wanted)), *accept_patch(target), *accept_query(target)]
    return Finding("OPTIONS was answered from the routes.", status=204, answer=Response(204, headers))


@rule(
    "method-get-head-supported",
    "HEAD is answered from GET",
    cites="RFC 9110 9.1, 9.3.2",
    when=When.STATUS,
    methods={"HEAD"},
    statuses={405},
    default=Action.REPAIR,
    routine=True,
)
def head_from_get(request: Request, response: Answer, target: Target) -> Finding | None:
    """The app says 405 to HEAD on a resource that has GET.

    Why it matters: "All general-purpose servers MUST support the methods GET and HEAD". Link checkers, download tools and
    monitors ask by HEAD and report the resource as broken. FastAPI has no HEAD unless a route says so.
    What the guard does: it runs GET instead and ends the answer after its head; `observe` only tells.
    How to fix it: nothing needs to be done; `@app.api_route("/items", methods=["GET", "HEAD"])` in FastAPI does it without
    the guard, and Flask does so itself.
    When to switch it off: where GET costs too much to be run for its head, `rules={"method-get-head-supported": "off"}`.
    """
    if "GET" not in target.allow:
        return None
    return Finding("HEAD is answered from GET.", set_status=200)


@rule(
    "allow-consistent",
    "A success whose Allow leaves its method out",
    cites="RFC 9110 10.2.1",
    when=When.STATUS,
    statuses=range(200, 300),
    has={b"allow"},
)
def allow_consistent(request: Request, response: Answer, target: Target) -> Finding | None:
    """A 2xx answer with an Allow that does not list the method which just succeeded.

    Why it matters: a client that believes the field never tries again what works.
    What the guard does: it tells, in every profile. (A 405 whose Allow lists the refused method is mended by
    status-405-needs-allow, an OPTIONS answer by options-allow.)
    How to fix it: leave Allow to the router; a hand-written list in a FastAPI or Flask handler grows stale.
    When to switch it off: `{"allow-consistent": "off"}`.
    """
    method = target.method
    if method in ("OPTIONS", "HEAD") or method in (allowed(response) or ()):
        return None
    return Finding(f"{method} succeeded, and Allow does not list it.")


@rule(
    "head-content-length-exact",
    "HEAD that says there is no content",
    cites="RFC 9110 8.6, 9.3.2",
    when=When.FRAMING,
    methods={"HEAD"},
    statuses={200},
    has={b"content-length"},
    default=Action.REPAIR,
    routine=True,
    strength="MUST",
)
def head_length(request: Request, response: Answer, target: Target) -> Finding | None:
    """HEAD answered with `Content-Length: 0` beside a Content-Type.

    Why it matters: the length is that of the content which GET would get. A handler for HEAD that returns nothing lets the
    framework write 0, and download managers believe that the file is empty.
    What the guard does: it takes the length away, in `guard` and `strict`; a missing length claims nothing.
    How to fix it: have no handler for HEAD: the guard answers it from GET. Flask derives it too.
    When to switch it off: where files of no bytes are common and their length matters, `{"head-content-length-exact": "off"}`.
    """
    if header(response.headers, b"content-length") != b"0" or header(response.headers, b"content-type") is None:
        return None
    return Finding("HEAD says that there is no content, and what it is.", drop=frozenset([b"content-length"]))


@rule(
    "get-validators",
    "A GET that cannot be asked for changes",
    cites="RFC 9110 8.8.2.1, 8.8.3.1, 15.3.1",
    when=When.STATUS,
    methods={"GET"},
    statuses={200},
    absent=b"etag",
    default=Action.OFF,
    opt=Action.OBSERVE,
    strength="SHOULD",
    risk="medium",
)
def get_validators(request: Request, response: Answer, target: Target) -> Finding | None:
    """A GET 200 with neither ETag nor Last-Modified.

    Why it matters: without a validator a client fetches everything again to see whether something changed, and cannot
    protect its next write with If-Match.
    What the guard does: nothing by itself. With `rules={"get-validators": "observe"}` it tells of such answers.
    How to fix it: `response.headers["ETag"] = '"v7"'` in FastAPI, `response.set_etag("v7")` or `add_etag()` in Flask.
    When to switch it off: it is off; answers that nobody asks for twice do not need one.
    """
    if header(response.headers, b"last-modified") is not None:
        return None
    return Finding("A GET answered without ETag and without Last-Modified.")


@rule(
    "get-202-409",
    "202 or 409 to GET",
    cites="RFC 9110 9.3.1, 15.3.3, 15.5.10",
    when=When.STATUS,
    methods={"GET"},
    statuses={202, 409},
    risk="medium",
)
def get_202_409(request: Request, response: Answer, target: Target) -> Finding | None:
    """A GET answered 202 or 409.

    Why it matters: GET only reads. 202 says that something was started, so a prefetch or a crawler starts it; 409 says that the
    request conflicts with a state that it does not change.
    What the guard does: it tells, in every profile.
    How to fix it: start work with POST and let GET show its state with 200; where a report is not ready, 503 with Retry-After
    or 200 with the progress. In FastAPI and Flask move the handler's start to `@app.post`.
    When to switch it off: where clients poll by this agreement, `{"get-202-409": "off"}`.
    """
    return Finding(f"GET answered {response.status}, which speaks of something that the request did.")


def accept_patch(target: Target) -> list[tuple[bytes, bytes]]:
    """The Accept-Patch line of a route that says what PATCH takes (RFC 5789 section 3.1)."""
    if "PATCH" not in target.allow or not target.policy.accept_patch:
        return []
    return [(b"accept-patch", ", ".join(target.policy.accept_patch).encode("latin-1"))]


def accept_query(target: Target) -> list[tuple[bytes, bytes]]:
    """The Accept-Query line of a route that says what QUERY takes (RFC 10008 section 3)."""
    types = target.policy.accepts.get("QUERY", ())
    return [(b"accept-query", structured(types))] if types and "QUERY" in target.allow else []


def preflight(request: Request) -> bool:
    """Whether this is a CORS preflight, which belongs to the CORS layer alone."""
    return request.get(b"origin") is not None and request.get(b"access-control-request-method") is not None
