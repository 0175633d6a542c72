"""PUT: it replaces the state of the one resource that its URI names."""

from __future__ import annotations

import json
from collections.abc import Iterable

from verbguard.http import Request, header
from verbguard.location import elsewhere, safe
from verbguard.methods import allow_value
from verbguard.policy import Action
from verbguard.routes import Kind
from verbguard.rules import Answer, Content, Finding, Target, When, rule
from verbguard.rules.facts import fresh, is_json, media_type


@rule(
    "put-no-collection",
    "PUT names a collection",
    cites="RFC 9110 9.3.4, RFC 4918 9.7.2",
    when=When.REQUEST,
    methods={"PUT"},
    default=Action.REJECT,
    risk="medium",
)
def put_no_collection(request: Request, target: Target) -> Finding | None:
    """A PUT whose URI names a collection, declared or seen in the routes.

    Why it matters: PUT replaces the state of the one resource its URI names; on a collection that would be all of its
    members. Clients that mean to create a member PUT there, and a handler that appends makes every retry another member.
    What the guard does: 405 in `guard` and `strict`, before the content is read, with an Allow that leaves PUT out.
    `observe` only tells. Start-up says which handlers of yours are never reached for it.
    How to fix it: create by POST to the collection, `@app.post("/items", status_code=201)` in FastAPI, `@app.post("/items")`
    in Flask, and replace by PUT to a member, `/items/{id}`.
    When to switch it off: where PUT really replaces the whole list, say `collection(put="allow")`; where the routes mislead,
    name the kind, as in `singleton()`.
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
    strength="SHOULD",
)
def put_content_range(request: Request, target: Target) -> Finding | None:
    """A PUT with Content-Range: a part, sent to be put in the place of the whole.

    Why it matters: a handler that does not know of parts stores the part as the resource, and the rest of it is gone. "An
    origin server SHOULD respond with a 400 (Bad Request) status code if it receives Content-Range on a PUT for a target
    resource that does not support partial PUT requests", RFC 9110 14.5.
    What the guard does: 400 in `guard` and `strict`, before the content is read. `observe` only tells.
    How to fix it: send the whole representation, or PATCH with a type that says what changes. A handler that takes parts
    needs to look at the field: `request.headers["content-range"]` in FastAPI and Flask.
    When to switch it off: where an upload API has agreed on it with its clients, `rules={"put-content-range-400": "off"}`.
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
    strength="MUST",
)
def put_create_201(request: Request, response: Answer, target: Target) -> Finding | None:
    """A PUT with `If-None-Match: *` succeeded, and the answer is 200 or 204.

    Why it matters: the condition asks for the request to fail where something exists. So it has created, and "the origin
    server MUST inform the user agent by sending a 201 (Created) response". A client that counts what it created counts
    wrongly.
    What the guard does: it sets 201 in `guard` and `strict`, and put-201-location adds where. `observe` only tells. It stays
    quiet where the policy's `statuses` leave 201 out.
    How to fix it: `response.status_code = 201` in FastAPI where nothing was there before; `return body, 201` in Flask.
    When to switch it off: where the handler does not look at If-None-Match, so that success says nothing:
    `rules={"put-create-201": "off"}`, or better, give the route a `validator`.
    """
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
    strength="MUST",
)
def put_replace(request: Request, response: Answer, target: Target) -> Finding | None:
    """A PUT with If-Match succeeded, and the answer is 201.

    Why it matters: If-Match is true only where a representation exists, so this PUT has replaced it. A 201 makes clients
    count and announce a resource that was there before.
    What the guard does: in `guard` and `strict` it sets 200, or 204 where there is no content. `observe` only tells.
    How to fix it: let the handler say 201 only where it inserted: `response.status_code = 201 if created else 200` in
    FastAPI, `return body, 201 if created else 200` in Flask.
    When to switch it off: where the handler does not look at If-Match and creates all the same,
    `rules={"put-replace-200-204": "off"}`, or better, give the route a `validator`.
    """
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
    strength="MAY",
)
def put_201_location(request: Request, response: Answer, target: Target) -> Finding | None:
    """A PUT is answered 201 without Location.

    Why it matters: without Location a 201 means the target itself. That is true of PUT, but generic clients that follow
    Location after every 201 find nothing to follow.
    What the guard does: it adds the target, with its query, in `guard` and `strict`; a Location of the application stays as
    it is, and a target with dot segments is not repeated. `observe` only tells. Observers hear of it, the log does not.
    How to fix it: there is nothing to fix. Who wants it in the code: `response.headers["Location"] = str(request.url.path)`
    in FastAPI, `response.location = request.path` in Flask.
    When to switch it off: where a client follows Location and should not, `rules={"put-201-location": "off"}`.
    """
    if not safe(request.target.decode("latin-1")):
        return None
    return Finding("The created resource is the target.", add=[(b"location", request.target)])


# ---- where the answer points

_NAMES = frozenset([b"location", b"content-location"])


@rule(
    "put-other-target-3xx",
    "A PUT that was applied elsewhere",
    cites="RFC 9110 9.3.4",
    when=When.STATUS,
    methods={"PUT"},
    statuses={200, 204},
    has=_NAMES,
    strict=Action.REPLACE,
    strength="MUST",
    risk="medium",
)
def put_other_target(request: Request, response: Answer, target: Target) -> Finding | None:
    """A successful PUT whose Location or Content-Location names another resource.

    Why it matters: PUT asks for the state of its own URI. A server that stores it elsewhere and says 200 leaves caches and
    clients with a belief about the wrong resource; RFC 9110 wants a redirect, so that the client decides.
    What the guard does: it tells; in `strict` a 500 takes the answer's place, so that a test fails.
    How to fix it: answer 301, 302, 307 or 308 with Location before anything is stored: `RedirectResponse(url, 308)` in
    FastAPI, `redirect(url, 308)` in Flask. If the field names a status report, answer 202.
    When to switch it off: where Content-Location names a version of the same resource, `{"put-other-target-3xx": "off"}`.
    """
    for name, value in response.headers:
        if name.lower() in _NAMES and elsewhere(value, request):
            return Finding(f"The PUT succeeded, and {name.decode('latin-1')} names another resource.", status=500)
    return None


@rule(
    "put-201-location-is-target",
    "A PUT that created something else",
    cites="RFC 9110 9.3.4, 15.3.2",
    when=When.STATUS,
    methods={"PUT"},
    statuses={201},
    has={b"location"},
    strength="SHOULD",
    risk="medium",
)
def put_location_is_target(request: Request, response: Answer, target: Target) -> Finding | None:
    """A 201 to PUT whose Location is not the URI that the client chose.

    Why it matters: with PUT the client names the resource. Where the server picks another name, a repeated PUT makes a second
    one, and the client reads back a URI that does not exist.
    What the guard does: it tells, and leaves the application's Location as it is, in every profile.
    How to fix it: take such requests as POST on the collection: `@app.post("/orders", status_code=201)` in FastAPI,
    `@app.post("/orders")` in Flask; keep PUT for names that the client may choose.
    When to switch it off: where Location only adds a version to the same resource, `{"put-201-location-is-target": "off"}`.
    """
    location = header(response.headers, b"location") or b""
    return Finding("A PUT created a resource that is not its target.") if elsewhere(location, request) else None


# ---- what the content is

_PATCHES = ("application/merge-patch+json", "application/json-patch+json", "application/json-patch")


@rule(
    "put-no-patch-media",
    "PUT with the media type of a patch",
    cites="RFC 9110 9.3.4, RFC 5789",
    when=When.REQUEST,
    methods={"PUT"},
    fields={b"content-type"},
    opt=Action.REJECT,
)
def put_no_patch_media(request: Request, target: Target) -> Finding | None:
    """A PUT whose content is a patch: merge-patch or json-patch.

    Why it matters: PUT replaces the whole state. A handler that takes the patch for the whole drops every member that the
    patch does not name; one that applies it makes a PUT that is not idempotent.
    What the guard does: it tells. With `rules={"put-no-patch-media": "reject"}` the request is refused with 415 and a hint.
    How to fix it: `@app.patch("/items/{id}")` in FastAPI and in Flask, and PUT for whole representations only.
    When to switch it off: where clients are known to send whole documents under that type, `{"put-no-patch-media": "off"}`.
    """
    kind = media_type(request.get(b"content-type"))
    if kind not in _PATCHES:
        return None
    return Finding(f"PUT carries {kind}, which describes a change: send it with PATCH.", status=415)


@rule(
    "put-identity",
    "The content names another resource",
    cites="RFC 9110 9.3.4",
    when=When.BODY,
    methods={"PUT", "PATCH"},
    fields={b"content-type"},
    default=Action.OFF,
    opt=Action.REJECT,
    opted=lambda policy: policy.identity is not None,
)
def put_identity(request: Request, target: Target, content: bytes | Iterable[bytes]) -> Finding | None:
    """JSON that says it is another resource than the one its URL names.

    Why it matters: `PUT /customers/7` with `{"id": 8}` is a mistake of the client, mostly a form that kept an old id. A
    handler that trusts the content overwrites customer 8, one that trusts the URL gives customer 7 another's data.
    What the guard does: nothing until a policy names the member, `item(identity="id")`. Then a request whose member differs
    from the last parameter of the URL is refused with 400 before the handler runs and before a key is used. Content that is
    no JSON object, has no such member, or is too large to be held in memory is not judged.
    How to fix it: leave the id out of the content. In FastAPI a model without `id`, in Flask a schema without it.
    When to switch it off: leave `identity` out of the policy, or `{"put-identity": "off"}` on the route.
    """
    member = target.policy.identity
    if member is None or not isinstance(content, bytes) or not is_json(media_type(request.get(b"content-type"))):
        return None
    named = request.path.rstrip("/").rpartition("/")[2]
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    value = document.get(member) if isinstance(document, dict) else None
    if not isinstance(value, (str, int)) or isinstance(value, bool) or str(value) == named:
        return None
    return Finding(f"The content's {member!r} is not the resource that the URL names.", status=400)


# ---- what the answer says of the state

_VALIDATORS = frozenset([b"etag", b"last-modified"])


@rule(
    "put-validator-only-verbatim",
    "A validator of a state that was not sent",
    cites="RFC 9110 9.3.4",
    when=When.STATUS,
    methods={"PUT"},
    statuses={200, 201, 204},
    has=_VALIDATORS,
    default=Action.OFF,
    opt=Action.REPAIR,
    strength="MUST",
    risk="high",
)
def put_validator(request: Request, response: Answer, target: Target) -> Finding | None:
    """ETag or Last-Modified on the answer to a PUT, although the application does not store what it was sent byte for byte.

    Why it matters: a validator on such an answer tells the client that its own copy is the new state. If the server normalised
    the content, the client edits a document that nobody has, and its next If-Match destroys the difference.
    What the guard does: nothing by itself, since many APIs mean the ETag of the stored state and their clients know it. With
    `rules={"put-validator-only-verbatim": "repair"}` on a route that transforms, both fields are taken from the answer.
    How to fix it: send no ETag with the answer to PUT, and let the client GET; or store exactly what came. In FastAPI do not
    set `response.headers["ETag"]`, in Flask do not call `response.set_etag` there.
    When to switch it off: it is off; where content is stored verbatim, it should stay so.
    """
    return Finding("The validator belongs to a state that the client has not seen.", drop=_VALIDATORS)


_FRESHNESS = frozenset([b"cache-control", b"expires"])


@rule(
    "put-not-cacheable",
    "Freshness on the answer to a PUT",
    cites="RFC 9110 9.3.4",
    when=When.STATUS,
    methods={"PUT"},
    has=_FRESHNESS,
    opt=Action.REPAIR,
    strength="MUST",
)
def put_not_cacheable(request: Request, response: Answer, target: Target) -> Finding | None:
    """max-age, s-maxage or Expires on the answer to a PUT.

    Why it matters: no cache may store it, so the lifetime says nothing; some home-made caches believe it and answer the next
    GET with what a PUT was told.
    What the guard does: it tells. With `rules={"put-not-cacheable": "repair"}` the answer says `no-store`.
    How to fix it: set Cache-Control on the answers to GET only; a middleware that sets it everywhere should look at the method.
    When to switch it off: `{"put-not-cacheable": "off"}` where another layer sets it and cannot be changed.
    """
    return fresh(response, "PUT")
