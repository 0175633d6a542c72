"""DELETE: it removes the association between the target and its functionality."""

from __future__ import annotations

from verbguard.http import Request, header
from verbguard.location import elsewhere
from verbguard.methods import allow_value
from verbguard.policy import Action
from verbguard.routes import Kind
from verbguard.rules import Answer, Finding, Target, When, rule
from verbguard.rules.facts import fresh


@rule(
    "delete-always-204",
    "DELETE of what is not there",
    cites="RFC 9110 9.3.5, 9.2.2",
    when=When.STATUS,
    methods={"DELETE"},
    statuses={404},
    default=Action.OFF,
    opt=Action.REPAIR,
    risk="high",
)
def delete_always_204(request: Request, response: Answer, target: Target) -> Finding | None:
    """A DELETE answered 404: what should go is gone, or was never there.

    Why it matters: a client that repeats a DELETE whose answer was lost gets 404 and reports a failure. Vendors differ: some
    say 204 to every DELETE, others keep 404, which tells of typing errors and of what the caller may not see.
    What the guard does: nothing by itself. With `rules={"delete-always-204": "repair"}` the 404 becomes 204, but for a
    path that no route takes.
    How to fix it: decide it in the handler: `HTTPException(404)` or `Response(status_code=204)` in FastAPI, `abort(404)` or
    `return "", 204` in Flask. A DELETE with an Idempotency-Key is answered as the first one was, without this.
    When to switch it off: it is off.
    """
    if target.mapped and "DELETE" not in target.allow:
        return None
    return Finding("What was to be deleted is not there.", set_status=204)


@rule(
    "delete-collection-guard",
    "DELETE names a collection",
    cites="RFC 9110 9.3.5, RFC 4918 9.6.1",
    when=When.REQUEST,
    methods={"DELETE"},
    opt=Action.REJECT,
    risk="medium",
)
def delete_collection(request: Request, target: Target) -> Finding | None:
    """DELETE on the URI of a collection, where the policy says that it is one.

    Why it matters: a client that loses the id of a member (`/orders/` + "") deletes all of them.
    What the guard does: it tells. With `rules={"delete-collection-guard": "reject"}` such a request is 405 before the handler
    runs. Kinds that were only inferred are left alone, and routes that require a precondition are safe enough.
    How to fix it: remove the route, or ask for a condition on it: `collection(require_precondition=True)`; in FastAPI and Flask
    delete members by their own URIs.
    When to switch it off: where emptying the collection is meant, `{"delete-collection-guard": "off"}`.
    """
    if target.policy.kind is not Kind.COLLECTION or target.policy.require_precondition:
        return None
    if target.allow and "DELETE" not in target.allow:
        return None
    allow = allow_value(target.allow - {"DELETE"})
    return Finding(
        f"{target.template} is a collection; DELETE would remove all of it.", status=405, headers=[(b"allow", allow)]
    )


@rule(
    "delete-content-location",
    "The answer claims to be what was deleted",
    cites="RFC 9110 8.7",
    when=When.STATUS,
    methods={"DELETE"},
    statuses={200},
    has={b"content-location"},
    opt=Action.REPAIR,
)
def delete_content_location(request: Request, response: Answer, target: Target) -> Finding | None:
    """DELETE 200 whose Content-Location is the target: its content would be a representation of what is gone.

    Why it matters: a cache may take the content for the state of the target and show it after the DELETE.
    What the guard does: it tells. With `rules={"delete-content-location": "repair"}` the field is taken away.
    How to fix it: leave the field out of the answer to DELETE, in FastAPI and in Flask.
    When to switch it off: `{"delete-content-location": "off"}`.
    """
    if elsewhere(header(response.headers, b"content-location") or b"", request):
        return None
    return Finding("Content-Location names the deleted target.", drop=frozenset([b"content-location"]))


@rule(
    "delete-not-cacheable",
    "Freshness on the answer to a DELETE",
    cites="RFC 9110 9.3.5",
    when=When.STATUS,
    methods={"DELETE"},
    statuses=range(200, 300),
    has={b"cache-control", b"expires"},
    opt=Action.REPAIR,
    strength="MUST",
)
def delete_not_cacheable(request: Request, response: Answer, target: Target) -> Finding | None:
    """max-age, s-maxage or Expires on the answer to a DELETE.

    Why it matters: no cache may keep it; one that does shows what was deleted, or the news of its end, to a later GET.
    What the guard does: it tells. With `rules={"delete-not-cacheable": "repair"}` the answer says `no-store`.
    How to fix it: set Cache-Control on answers to GET only.
    When to switch it off: `{"delete-not-cacheable": "off"}` where another layer sets it and cannot be changed.
    """
    return fresh(response, "DELETE")
