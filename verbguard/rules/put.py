"""PUT: it replaces the state of the one resource that its URI names."""

from __future__ import annotations

from verbguard.http import Request
from verbguard.location import safe
from verbguard.methods import allow_value
from verbguard.policy import Action
from verbguard.routes import Kind
from verbguard.rules import Answer, Content, Finding, Target, When, rule


@rule(
    "put-no-collection",
    "PUT names a collection",
    cites="RFC 9110 9.3.4, RFC 4918 9.7.2",
    when=When.REQUEST,
    methods={"PUT"},
    default=Action.REJECT,
)
def put_no_collection(request: Request, target: Target) -> Finding | None:
    """PUT replaces the state of the one resource its URI names; on a collection that would be all of its members.

    Why it matters: clients that mean to create a member PUT to the collection, and a handler that appends makes every
    retry another member. What to do instead: PUT to a member's URI, or POST to the collection and let the server name it.
    When to allow it: where PUT really replaces the whole list, say `put="allow"`.
    """
    if target.kind is not Kind.COLLECTION or target.policy.put == "allow":
        return None
    member = f" PUT to a member, {target.child}, or POST here." if target.child else " POST here instead."
    return Finding(
        f"{target.template} is a collection.{member}",
        status=405,
        headers=[(b"allow", allow_value(target.allow))],
    )


@rule(
    "put-content-range-400",
    "PUT of a part",
    cites="RFC 9110 14.5",
    when=When.REQUEST,
    methods={"PUT"},
    fields={b"content-range"},
    default=Action.REJECT,
)
def put_content_range(request: Request, target: Target) -> Finding | None:
    """A server that takes a PUT with Content-Range for a complete one destroys the rest of the resource.

    "An origin server SHOULD respond with a 400 (Bad Request) status code if it receives Content-Range on a PUT for a
    target resource that does not support partial PUT requests", RFC 9110 14.5. Where an upload API has agreed on it, set
    `rules = {"put-content-range-400": "off"}`.
    """
    return Finding("PUT carries Content-Range: send the whole representation, or PATCH.", status=400)


@rule(
    "put-create-201",
    "A PUT that created answers 201",
    cites="RFC 9110 9.3.4",
    when=When.STATUS,
    methods={"PUT"},
    statuses={200, 204},
    given={b"if-none-match"},
    default=Action.REPAIR,
)
def put_create_201(request: Request, response: Answer, target: Target) -> Finding | None:
    """A PUT that succeeded with `If-None-Match: *` has created the resource, and 201 is what must say so."""
    own = target.policy.house.get("PUT")
    if (request.get(b"if-none-match") or b"").strip() == b"*" and (own is None or 201 in own):
        return Finding("A PUT with If-None-Match: * that succeeds has created; the answer is 201.", set_status=201)
    return None


@rule(
    "put-replace-200-204",
    "A PUT that replaced does not answer 201",
    cites="RFC 9110 9.3.4",
    when=When.CONTENT,
    content=Content.FIRST,
    methods={"PUT"},
    statuses={201},
    given={b"if-match"},
    default=Action.REPAIR,
)
def put_replace(request: Request, response: Answer, target: Target) -> Finding | None:
    """A PUT that succeeded with If-Match found a representation, so it replaced and did not create."""
    status = 204 if response.body == b"" else 200
    return Finding(f"A PUT with If-Match that succeeds has replaced; the answer is {status}.", set_status=status)


@rule(
    "put-201-location",
    "A PUT that created names its target",
    cites="RFC 9110 15.3.2, 10.2.2",
    when=When.FRAMING,
    methods={"PUT"},
    statuses={201},
    absent=b"location",
    default=Action.REPAIR,
    routine=True,
)
def put_201_location(request: Request, response: Answer, target: Target) -> Finding | None:
    """Without Location a 201 means the target; saying it helps generic clients. A Location of the app stays as it is."""
    if not safe(request.target.decode("latin-1")):
        return None
    return Finding("The created resource is the target.", add=[(b"location", request.target)])
