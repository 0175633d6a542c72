"""POST: it lets the resource process the content; when that creates something, 201 and Location say what."""

from __future__ import annotations

from verbguard.http import Request
from verbguard.location import derive
from verbguard.policy import Action
from verbguard.routes import Kind
from verbguard.rules import Answer, Content, Finding, Target, When, rule


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
    """Without Location a 201 claims that the target itself was created: the collection.

    Clients then do not know what to PUT, PATCH or DELETE. The guard derives Location from Content-Location, the policy's
    template, the one member template below this collection, or a self link, and checks it against the routes. On any
    doubt it sends none and says so: give the route `location="/items/{id}"`. In `strict` a 500 takes the answer's place.
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
    """For historical reasons clients may turn the POST into a GET on 301 and 302. 303 says GET, 307 and 308 say POST."""
    return Finding(f"{response.status} to POST leaves the next method open: say 303 for GET, 307 or 308 for POST.")
