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
)
def needs_allow(request: Request, response: Answer, target: Target) -> Finding | None:
    """405 must carry Allow. Where the routes are known it is the union of all that match, plus HEAD for GET and OPTIONS.

    Starlette and FastAPI list the methods of the first route that matches only; clients then believe that a resource
    cannot be created or changed.
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
)
def options_allow(request: Request, response: Answer, target: Target) -> Finding | None:
    """A successful OPTIONS lists what the resource can be asked, and which media types PATCH takes (RFC 5789 3.1)."""
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
    """An app that says 405 to OPTIONS on a resource that it has is answered for; a CORS preflight is never touched."""
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
)
def head_from_get(request: Request, response: Answer, target: Target) -> Finding | None:
    """ "All general-purpose servers MUST support the methods GET and HEAD", RFC 9110 9.1.

    Where the app says 405 to HEAD and has GET, GET runs instead and the answer ends after its head.
    """
    if "GET" not in target.allow:
        return None
    return Finding("HEAD is answered from GET.", set_status=200)


def accept_patch(target: Target) -> list[tuple[bytes, bytes]]:
    """The Accept-Patch line of a route that says what PATCH takes (RFC 5789 section 3.1)."""
    if "PATCH" not in target.allow or not target.policy.accept_patch:
        return []
    return [(b"accept-patch", ", ".join(target.policy.accept_patch).encode("latin-1"))]


def preflight(request: Request) -> bool:
    """Whether this is a CORS preflight, which belongs to the CORS layer alone."""
    return request.get(b"origin") is not None and request.get(b"access-control-request-method") is not None
