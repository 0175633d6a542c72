"""PUT: it replaces the state of the one resource that its URI names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from verbguard.http import Request, header
from verbguard.location import elsewhere, safe
from verbguard.methods import allow_value
from verbguard.policy import Action, Replay
from verbguard.routes import Kind, expression
from verbguard.rules import Answer, Content, Finding, Target, When, rule
from verbguard.rules.facts import fresh, is_json, media_type


@rule(
    "put-no-collection",
    "PUT names a collection",
    cites="RFC 9110 9.3.4, RFC 4918 9.7.2",
    when=When.REQUEST,
    methods={"PUT"},
    default=Action.REJECT,
)
def put_no_collection(request: Request, target: Target) -> Finding | None:
    """PUT on a collection, although it replaces the state of the one resource that its URI names.

    Why it matters: on a collection that state would be all of the members. Clients that mean to create one PUT to the
    collection all the same, and a handler that appends makes every retry another member.
    What the guard does: 405 with a complete Allow before the content is read, in `guard` and `strict`; `observe` only tells.
    What is a collection it knows from `kind="collection"`, or from the routes: one of them adds one parameter to this path.
    How to fix it: route PUT to the member, `@app.put("/items/{id}")` in FastAPI, `@app.put("/items/<id>")` in Flask, or POST
    to the collection and let the server name the member.
    When to switch it off: where PUT really replaces the whole list, say `put="allow"`; where this is no collection at all,
    name what it is, `kind="singleton"`.
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
    """PUT with Content-Range: a part of the representation, sent as if it were all of it.

    Why it matters: a server that takes the part for the whole destroys the rest of the resource. "An origin server SHOULD
    respond with a 400 (Bad Request) status code if it receives Content-Range on a PUT for a target resource that does not
    support partial PUT requests". Neither FastAPI nor Flask looks at the field.
    What the guard does: 400 before the content is read, in `guard` and `strict`; `observe` only tells.
    How to fix it: the client sends the whole representation, or PATCH with a media type that says what changes; a route for
    it is `@app.patch("/files/{id}")` in FastAPI, `@app.patch("/files/<id>")` in Flask.
    When to switch it off: where an upload API has agreed on it, `rules={"put-content-range-400": "off"}` on that route.
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
    """A PUT with `If-None-Match: *` succeeded, so it created the resource, and its answer is not 201.

    Why it matters: 201 is how a client learns that it was first. A client that asked for "create, or fail" and reads 200 must
    believe that it overwrote somebody's work.
    What the guard does: the answer becomes 201, and `put-201-location` names the target; `observe` only tells. Without the
    condition nobody outside the application knows whether something was there, and the rule is silent.
    How to fix it: in FastAPI set `response.status_code = 201` on an injected `Response` when the row is new; in Flask `return
    body, 201`.
    When to switch it off: where clients cannot read a 201, `rules={"put-create-201": "off"}`, or leave 201 out of the route's
    `statuses={"PUT": {...}}`.
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
)
def put_replace(request: Request, response: Answer, target: Target) -> Finding | None:
    """A PUT with If-Match succeeded, so it replaced what was there, and its answer is 201.

    Why it matters: 201 says that the resource is new. Clients add it to their lists a second time, and a sync tool takes the
    object that it updated for one that it lost.
    What the guard does: the answer becomes 200, or 204 when it has no content; `observe` only tells. Without If-Match nobody
    outside the application knows what was there, and the rule is silent.
    How to fix it: answer 201 only when a row was inserted: in FastAPI `status_code=200` in the decorator and
    `response.status_code = 201` where it is new, in Flask the second value of `return body, 200`.
    When to switch it off: where clients insist on 201, `rules={"put-replace-200-204": "off"}`.
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
)
def put_201_location(request: Request, response: Answer, target: Target) -> Finding | None:
    """A PUT is answered 201 without Location.

    Why it matters: without the field the 201 means the target, and that is right. Generic clients, SDKs and test tools look
    for Location after every 201 all the same, and fail where it is missing.
    What the guard does: it adds the target as the client wrote it, with the query, as a path without scheme and host. A
    Location of the application stays as it is; a target with dot segments gets none. `observe` only tells.
    How to fix it: `response.headers["Location"] = request.url.path` in FastAPI, `request.path` in Flask.
    When to switch it off: where clients follow a Location that they need not, `rules={"put-201-location": "off"}`.
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
    What the guard does: it tells; in `strict` a 500 takes the answer's place, so that a test fails. What is below the target,
    such as `/items/7/versions/3`, is fine; hosts are not compared.
    How to fix it: answer 301, 302, 307 or 308 with Location before anything is stored: `RedirectResponse(url, 308)` in
    FastAPI, `redirect(url, 308)` in Flask. If the field names a status report, answer 202.
    When to switch it off: where Content-Location names the same resource elsewhere, `{"put-other-target-3xx": "off"}`.
    """
    for name, value in response.headers:
        if name.lower() in _NAMES and elsewhere(value, request, below=True):
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
    return Finding("A PUT created a resource that is not its target.") if elsewhere(location, request, below=True) else None


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
    default=Action.OFF,
    strict=Action.OBSERVE,
)
def put_no_patch_media(request: Request, target: Target) -> Finding | None:
    """A PUT whose content is a patch: merge-patch or json-patch.

    Why it matters: PUT replaces the whole state. A handler that takes the patch for the whole drops every member that the
    patch does not name; one that applies it makes a PUT that is not idempotent.
    What the guard does: it tells in `observe` and `strict`. In `guard` it is off, since each PUT would pay for it; with
    `rules={"put-no-patch-media": "reject"}` the request is refused with 415 and a hint.
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
    default=Action.OFF,
    opt=Action.REJECT,
    opted=lambda policy: policy.identity is not None,
)
def put_identity(request: Request, target: Target, content: bytes | Iterable[bytes]) -> Finding | None:
    """JSON that says it is another resource than the one its URL names.

    Why it matters: `PUT /customers/7` with `{"id": 8}` is a mistake of the client, mostly a form that kept an old id. A
    handler that trusts the content overwrites customer 8, one that trusts the URL gives customer 7 another's data.
    What the guard does: nothing until a policy names the member, `item(identity="id")`. Then a request whose member differs,
    as text, from the last parameter of the URL is refused with 400 before the handler runs and before a key is used.
    Content that is no JSON object, has another type, is coded, or is larger than `replay.max_request` is not judged; a
    member that is missing, or null in a PUT, claims nothing. The guard reads the content before the app does.
    How to fix it: leave the id out of the content. In FastAPI a model without `id`, in Flask a schema without it.
    When to switch it off: leave `identity` out of the policy, or `{"put-identity": "off"}` on the route.
    """
    member, bound = target.policy.identity, (target.policy.replay or Replay()).max_request
    if member is None or not isinstance(content, bytes) or len(content) > bound:
        return None
    said = _said_of(member, content, request)
    named = _last_parameter(target.template, request.path) if said else None
    if named is None or all(value == named for value in said):
        return None
    return Finding(f"The content's {member!r} is not the resource that the URL names.", status=400)


def _said_of(member: str, content: bytes, request: Request) -> list[Any]:
    """All that a JSON object says of one member, numbers as they are written: parsers differ in which of two they keep."""
    kind = request.get(b"content-type")
    if (kind and not is_json(media_type(kind))) or (request.get(b"content-encoding") or b"identity").lower() != b"identity":
        return []
    try:
        document = json.loads(content, object_pairs_hook=tuple, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return []
    if not isinstance(document, tuple):  # objects are tuples of pairs here, arrays are lists
        return []
    unknown = request.method == "PUT"  # clients send null for what they do not know; in a merge patch null takes away
    return [value for name, value in document if name == member and not (value is None and unknown)]


def _last_parameter(template: str, path: str) -> str | None:
    """What the path has in the place of the template's last parameter, also with slashes that applications fold."""
    match = expression(template).fullmatch(path)
    if match is None:
        match = expression(template.rstrip("/")).fullmatch(re.sub("/+", "/", path).rstrip("/"))
    values = match.groups() if match else ()
    return values[-1] if values else None


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
    statuses=range(200, 300),
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
