"""Allow, HEAD and OPTIONS: what a resource can be asked, told completely."""

from __future__ import annotations

from verbguard.http import Request, Response, header
from verbguard.methods import allow_value
from verbguard.policy import Action
from verbguard.rules import Answer, Finding, Target, When, rule


def _listed(value: bytes) -> set[str]:
    return {name.strip() for name in value.decode("latin-1").split(",") if name.strip()}


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
    and OPTIONS, without the method that was refused. On a bare app without a policy it only tells. `observe` only tells.
    How to fix it: in FastAPI put the methods of one path into one `APIRouter.api_route(..., methods=[...])`, or leave it to the
    guard; Flask lists all of them. In a handler of your own, `HTTPException(405, headers={"Allow": "GET, POST"})` in FastAPI,
    `abort(405, valid_methods=["GET", "POST"])` in Flask.
    When to switch it off: where a method must stay unmentioned, `rules={"status-405-needs-allow": "off"}`.
    """
    given = header(response.headers, b"allow")
    if not target.allow:
        return None if given is not None else Finding("405 without Allow, and the routes are not known.")
    wanted = set(target.allow) - {target.method}
    if given is not None:
        wanted |= _listed(given) - {target.method}
        if wanted == _listed(given):
            return None
    return Finding("Allow was completed from the routes.", drop=frozenset([b"allow"]), add=[(b"allow", allow_value(wanted))])


@rule(
    "options-allow",
    "OPTIONS says what is allowed",
    cites="RFC 9110 9.3.7",
    when=When.STATUS,
    methods={"OPTIONS"},
    statuses={200, 204},
    default=Action.REPAIR,
    routine=True,
    strength="SHOULD",
)
def options_allow(request: Request, response: Answer, target: Target) -> Finding | None:
    """A successful answer to OPTIONS has no Allow, or one that leaves out what the routes take.

    Why it matters: OPTIONS is how a client asks what it may do, and Allow is the answer. Without Accept-Patch it cannot know
    in which format it may send a patch (RFC 5789 3.1).
    What the guard does: where the routes are known, `guard` and `strict` complete Allow and add Accept-Patch from the
    policy's `accept_patch`. A CORS preflight is never touched. `observe` only tells. Observers hear of it, the log does not.
    How to fix it: leave OPTIONS to the guard, or to Flask; in a handler of your own, `Response(status_code=204,
    headers={"Allow": "GET, HEAD, OPTIONS, POST"})` in FastAPI.
    When to switch it off: where a method must stay unmentioned, `rules={"options-allow": "off"}`.
    """
    if not target.allow or preflight(request):
        return None
    drop: set[bytes] = set()
    add = []
    given = header(response.headers, b"allow")
    wanted = set(target.allow) | (_listed(given) if given is not None else set())
    if given is None or wanted != _listed(given):
        drop.add(b"allow")
        add.append((b"allow", allow_value(wanted)))
    if header(response.headers, b"accept-patch") is None:
        add += accept_patch(target)
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
    """OPTIONS is answered 405, although the resource exists.

    Why it matters: Starlette and FastAPI have no OPTIONS unless a route names it. A client that asks what it may do hears
    that it may not ask.
    What the guard does: where the routes are known, `guard` and `strict` answer 204 with Allow, and Accept-Patch from the
    policy's `accept_patch`. A CORS preflight is never touched: it belongs to the CORS middleware. `observe` only tells.
    Observers hear of it, the log does not.
    How to fix it: there is nothing to fix in FastAPI, as no router of it answers OPTIONS; Flask does it by itself, unless
    `provide_automatic_options=False` is set.
    When to switch it off: where nobody may ask, `rules={"options-auto": "off"}`.
    """
    if not target.allow or preflight(request):
        return None
    headers = [(b"allow", allow_value(target.allow)), *accept_patch(target)]
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
    strength="MUST",
)
def head_from_get(request: Request, response: Answer, target: Target) -> Finding | None:
    """HEAD is answered 405, although the resource has GET.

    Why it matters: "All general-purpose servers MUST support the methods GET and HEAD", RFC 9110 9.1. Link checkers, caches
    and load balancers ask by HEAD, and take a 405 for a resource that is broken.
    What the guard does: in `guard` and `strict` GET runs in its place, and the answer ends after its head. `observe` only
    tells. Observers hear of it, the log does not.
    How to fix it: in FastAPI `@app.api_route("/items/{id}", methods=["GET", "HEAD"])`; Flask adds HEAD to every GET by
    itself.
    When to switch it off: where GET is so dear that nobody should cause it by HEAD, `rules={"method-get-head-supported":
    "off"}`.
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
    if method in ("OPTIONS", "HEAD") or method in _listed(header(response.headers, b"allow") or b""):
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


def preflight(request: Request) -> bool:
    """Whether this is a CORS preflight, which belongs to the CORS layer alone."""
    return request.get(b"origin") is not None and request.get(b"access-control-request-method") is not None
