"""POST: it lets the resource process the content; when that creates something, 201 and Location say what."""

from __future__ import annotations

import re

from verbguard.http import Request, header
from verbguard.location import derive, elsewhere
from verbguard.policy import Action
from verbguard.routes import Kind
from verbguard.rules import Answer, Content, Finding, Target, When, rule
from verbguard.rules.facts import fresh

# What begins another reference: a comma alone may stand in a URI.
_LIST = re.compile(rb",\s*(?:/|[a-z][a-z0-9+.\-]*:)|,\s", re.IGNORECASE)


@rule(
    "post-201-location",
    "POST 201 says where",
    cites="RFC 9110 9.3.3, 15.3.2",
    when=When.CONTENT,
    content=Content.JSON,
    methods={"POST"},
    statuses={201},
    absent=b"location",
    default=Action.REPAIR,
    strict=Action.REPLACE,
)
def post_201_location(request: Request, response: Answer, target: Target) -> Finding | None:
    """A POST is answered 201 without Location.

    Why it matters: without the field a 201 claims that the target itself was created: the collection. Clients then do not
    know what to GET, PUT, PATCH or DELETE, and build URLs from ids by rules of their own.
    What the guard does: it derives Location from Content-Location, the policy's template, the one member template below this
    collection, or a self link, and checks it against the routes. On any doubt it sends none and says so; in `strict` a 500
    then takes the answer's place. `observe` only tells.
    How to fix it: give the route `location="/items/{id}"`; or set it: `response.headers["Location"] = f"/items/{item.id}"` in
    FastAPI, `return body, 201, {"Location": url_for("item", id=item.id)}` in Flask.
    When to switch it off: where POST does something and creates nothing to look at, say `kind="action"`, or answer 200.
    """
    if target.kind is Kind.ACTION:
        return None
    reference, source = derive(request, response, target)
    if reference is None:
        message = f"A POST answered 201 without Location, and none can be derived: {source}."
        return Finding(message, status=500)
    return Finding(f"Location was derived from {source}.", add=[(b"location", reference.encode("ascii"))])


@rule(
    "post-redirect-explicit",
    "A redirect of POST that may change the method",
    cites="RFC 9110 15.4.2, 15.4.3",
    when=When.STATUS,
    methods={"POST"},
    statuses={301, 302},
)
def post_redirect(request: Request, response: Answer, target: Target) -> Finding | None:
    """A POST is answered 301 or 302.

    Why it matters: for historical reasons clients may turn the POST into a GET on these two. Browsers and most libraries do,
    some do not, and then the content is posted a second time, to another place.
    What the guard does: it tells, in every profile; the redirect passes.
    How to fix it: 303 says GET, 307 and 308 say POST: `RedirectResponse(url, status_code=303)` in FastAPI, whose default is
    307; `redirect(url, code=303)` in Flask, whose default is 302.
    When to switch it off: for HTML forms, where 302 has always meant 303, `rules={"post-redirect-explicit": "off"}`.
    """
    return Finding(f"{response.status} to POST leaves the next method open: say 303 for GET, 307 or 308 for POST.")


@rule(
    "post-created-as-200",
    "A POST that created says 200",
    cites="RFC 9110 9.3.3, 15.3.2",
    when=When.STATUS,
    methods={"POST"},
    statuses={200},
    has={b"location"},
    strength="SHOULD",
    risk="medium",
)
def post_created_as_200(request: Request, response: Answer, target: Target) -> Finding | None:
    """A POST answered 200 with Location: mostly something was created, and 201 would say so.

    Why it matters: generic clients look for a new resource on 201 only; on 200 they read the content as the result of an
    action and never follow Location.
    What the guard does: it tells, in every profile; whether something was created only the application knows. On a route
    whose `kind` is "action" it is silent.
    How to fix it: `@app.post("/orders", status_code=201)` in FastAPI, `return body, 201, {"Location": url}` in Flask.
    When to switch it off: where Location points to the result of an action, `{"post-created-as-200": "off"}`.
    """
    if target.kind is Kind.ACTION:
        return None
    return Finding("A POST answered 200 with Location; if something was created, the answer is 201.")


@rule(
    "post-location-specific",
    "A Location that names no one resource",
    cites="RFC 9110 10.2.2",
    when=When.STATUS,
    methods={"POST"},
    statuses={201},
    has={b"location"},
    default=Action.OFF,
    strict=Action.OBSERVE,
)
def post_location_specific(request: Request, response: Answer, target: Target) -> Finding | None:
    """The Location of a 201 has a fragment, is a list, or is the collection itself.

    Why it matters: the client will PUT, PATCH or DELETE what Location names. A fragment is cut off before the request, a list
    is read as one odd URI, and the collection's own URI sends the next DELETE to all members.
    What the guard does: it tells in `observe` and `strict`, and leaves the field as it is. In `guard` it is off: each POST that
    creates would pay for it.
    How to fix it: `request.url_for("read_order", id=order.id)` in FastAPI, `url_for("read_order", id=order.id)` in Flask.
    When to switch it off: `{"post-location-specific": "off"}` where a client is known to want the fragment.
    """
    value = header(response.headers, b"location") or b""
    if b"#" in value or _LIST.search(value):
        return Finding("Location names a part or a list, not one new resource.")
    return None if elsewhere(value, request) else Finding("Location names the target itself, which was not created.")


@rule(
    "post-303-location",
    "303 to POST without Location",
    cites="RFC 9110 15.4.4",
    when=When.STATUS,
    methods={"POST"},
    statuses={303},
    absent=b"location",
    strict=Action.REPLACE,
)
def post_303_location(request: Request, response: Answer, target: Target) -> Finding | None:
    """A 303 to POST that does not say where to look.

    Why it matters: 303 means "see another resource"; without Location a browser shows an empty page and a client raises.
    What the guard does: it tells; in `strict` a 500 takes the answer's place, so that a test fails.
    How to fix it: `RedirectResponse("/orders/7", status_code=303)` in FastAPI, `redirect(url, 303)` in Flask.
    When to switch it off: `{"post-303-location": "off"}`, should a client of yours know where to go.
    """
    return Finding("A POST answered 303 without Location.", status=500)


@rule(
    "post-cacheable-complete",
    "Freshness on the answer to a POST",
    cites="RFC 9110 9.3.3, RFC 9111 3",
    when=When.STATUS,
    methods={"POST"},
    statuses={200, 201},
    has={b"cache-control", b"expires"},
    opt=Action.REPAIR,
    strength="MUST",
)
def post_cacheable(request: Request, response: Answer, target: Target) -> Finding | None:
    """max-age or Expires on the answer to a POST whose Content-Location is not the target.

    Why it matters: such an answer may be kept only for GET of the URI that Content-Location names. Without that field the
    lifetime says nothing, and a home-made cache may give it to the wrong request.
    What the guard does: it tells. With `rules={"post-cacheable-complete": "repair"}` the answer says `no-store`.
    How to fix it: set Cache-Control on answers to GET only, or send `Content-Location` with the URI of what is shown.
    When to switch it off: `{"post-cacheable-complete": "off"}` where another layer sets the field and cannot be changed.
    """
    named = header(response.headers, b"content-location")
    return None if named is not None and not elsewhere(named, request) else fresh(response, "POST")


@rule(
    "post-202-status",
    "202 that says nothing of the progress",
    cites="RFC 9110 15.3.3",
    when=When.CONTENT,
    content=Content.FIRST,
    methods={"POST"},
    statuses={202},
    absent=b"location",
    strength="SHOULD",
)
def post_202_status(request: Request, response: Answer, target: Target) -> Finding | None:
    """A 202 with neither content nor Location nor Link.

    Why it matters: 202 says that the work is not done. A client that is told nothing else cannot find out when it is, and
    sends the request again.
    What the guard does: it tells, in every profile.
    How to fix it: answer with a body that shows the state of the job, or `Location: /jobs/7`; in FastAPI
    `JSONResponse({"job": 7}, 202, {"Location": "/jobs/7"})`, in Flask `return {"job": 7}, 202, {"Location": "/jobs/7"}`.
    When to switch it off: where nobody has to know, `{"post-202-status": "off"}`.
    """
    if response.body != b"" or header(response.headers, b"link") is not None:
        return None
    return Finding("202 without content, Location or Link: the client cannot follow the work.")
