"""Status codes stay inside their method's table."""

from __future__ import annotations

from verbguard.http import CONTENT_FIELDS, Request, header
from verbguard.methods import SAFE, may_answer
from verbguard.policy import Action
from verbguard.replay import PRECONDITIONS
from verbguard.rules import Answer, Content, Finding, Target, When, rule

_INSTEAD = {203: 200, 205: 204, 206: 200, 226: 200}


def admitted(target: Target, status: int) -> bool:
    """Whether the table, or the route's own, lets this method answer so."""
    own = target.policy.statuses.get(target.method)
    if own is not None and 200 <= status < 400:
        return status in own
    return may_answer(target.method, status)


@rule("status-100-599", "A code that is none", cites="RFC 9110 15", when=When.STATUS, default=Action.REPLACE)
def status_100_599(request: Request, response: Answer, target: Target) -> Finding | None:
    """Codes outside 100 to 599 are invalid; servers drop the connection on some and pass others on. It becomes a 500."""
    if 100 <= response.status <= 599:
        return None
    return Finding(f"The app answered {response.status}, which is not a status code.", status=500)


@rule(
    "status-final-not-1xx",
    "A final answer that is interim",
    cites="RFC 9110 15.2",
    when=When.STATUS,
    statuses=range(100, 200),
    default=Action.REPLACE,
)
def status_final(request: Request, response: Answer, target: Target) -> Finding | None:
    """A client that gets 1xx goes on waiting for the final answer. 101 is left alone where the client asked to upgrade."""
    if response.status == 101 and request.get(b"upgrade") is not None:
        return None
    return Finding(f"The app's final answer was {response.status}, an interim one.", status=500)


def _nothing_created(request: Request, response: Answer, target: Target) -> Finding | None:
    if admitted(target, 201):
        return None
    status = 204 if response.body == b"" and target.method != "HEAD" else 200
    return Finding(f"201 has no meaning for {target.method}; it becomes {status}.", set_status=status)


@rule(
    "safe-no-state-status",
    "201 to a safe method",
    cites="RFC 9110 9.2.1, 15.3.2",
    when=When.CONTENT,
    content=Content.FIRST,
    methods={"GET", "HEAD", "OPTIONS"},
    statuses={201},
    default=Action.REPAIR,
)
def safe_created(request: Request, response: Answer, target: Target) -> Finding | None:
    """A safe method creates nothing. The answer becomes 200, or 204 when it has no content."""
    return _nothing_created(request, response, target)


@rule(
    "delete-status-set",
    "201 to DELETE",
    cites="RFC 9110 9.3.5",
    when=When.CONTENT,
    content=Content.FIRST,
    methods={"DELETE"},
    statuses={201},
    default=Action.REPAIR,
)
def delete_created(request: Request, response: Answer, target: Target) -> Finding | None:
    """DELETE creates nothing. The answer becomes 200, or 204 when it has no content."""
    return _nothing_created(request, response, target)


@rule(
    "status-206-needs-range",
    "206 without Range",
    cites="RFC 9110 14.2, 15.3.7",
    when=When.STATUS,
    methods={"GET", "QUERY"},
    statuses={206},
    strict=Action.REPLACE,
)
def partial_unasked(request: Request, response: Answer, target: Target) -> Finding | None:
    """206 answers a request that carried Range; a client that asked for all takes the part for the whole."""
    if request.get(b"range") is not None:
        return None
    return Finding("206 answers a request without Range.", status=500)


@rule(
    "status-304-needs-precondition",
    "304 without a condition",
    cites="RFC 9110 15.4.5, 13.1.2",
    when=When.STATUS,
    methods={"GET", "HEAD", "QUERY"},
    statuses={304},
    strict=Action.REPLACE,
)
def not_modified(request: Request, response: Answer, target: Target) -> Finding | None:
    """304 answers a conditional GET or HEAD; a client without a stored answer has nothing that it could mean."""
    if request.get(b"if-none-match") is not None or request.get(b"if-modified-since") is not None:
        return None
    return Finding("304 answers an unconditional request.", status=500)


@rule(
    "if-none-match-unsafe-412",
    "304 to an unsafe method",
    cites="RFC 9110 13.1.2",
    when=When.STATUS,
    statuses={304},
    default=Action.REPAIR,
    strength="MUST",
    risk="none",
)
def unsafe_not_modified(request: Request, response: Answer, target: Target) -> Finding | None:
    """304 in answer to a method that changes something.

    Why it matters: 304 says "use the copy you have". A client that wrote has none in mind: HTTP libraries hand out an
    old answer of a GET, or fail. It happens where conditions are evaluated for all methods alike.
    What the guard does: with a condition in the request the answer becomes 412, which was meant; without one there can only
    have been nothing to do, and it becomes 204. `observe` only tells.
    How to fix it: answer 412 in handlers that write: `raise HTTPException(412)` in FastAPI, `abort(412)` in Flask, and call
    Flask's `response.make_conditional(request)` for GET only.
    When to switch it off: where a private client wants the 304, `rules={"if-none-match-unsafe-412": "off"}`, or list it:
    `statuses={"PUT": {200, 304}}`.
    """
    if target.method in SAFE or admitted(target, 304):
        return None
    status = 412 if any(request.get(name) is not None for name in PRECONDITIONS) else 204
    return Finding(f"304 has no meaning for {target.method}; it becomes {status}.", set_status=status)


@rule(
    "delete-200-has-content",
    "DELETE 200 without content",
    cites="RFC 9110 9.3.5",
    when=When.CONTENT,
    content=Content.FIRST,
    methods={"DELETE"},
    statuses={200},
    default=Action.REPAIR,
)
def delete_200(request: Request, response: Answer, target: Target) -> Finding | None:
    """A DELETE that is done and has nothing to say answers 204; 200 promises content about what was done."""
    if response.body != b"" or not admitted(target, 204):
        return None
    return Finding("DELETE 200 without content is 204.", set_status=204)


@rule(
    "patch-412-had-precondition",
    "412 without a precondition",
    cites="RFC 9110 15.5.13, RFC 5789 2.2",
    when=When.STATUS,
    statuses={412},
)
def had_precondition(request: Request, response: Answer, target: Target) -> Finding | None:
    """412 says that a condition of the request was false; a conflict with the resource's state is 409."""
    names = (*PRECONDITIONS, b"if-modified-since", b"if-range")
    if any(request.get(name) is not None for name in names):
        return None
    return Finding("412 answers a request without a precondition; a conflict with the state is 409.")


@rule(
    "status-method-table",
    "A code without meaning for the method",
    cites="RFC 9110 9.3, 15",
    when=When.STATUS,
    default=Action.REPAIR,
    strict=Action.REPLACE,
)
def method_table(request: Request, response: Answer, target: Target) -> Finding | None:
    """The answer's code has no meaning for this method; a generic client will do the wrong thing with it.

    Where another code of the same class says what was meant, it is set: 205 asks to reset a form, which only POST has, so it
    becomes 204; 203 is what a transforming proxy makes of 200, and 226 answers A-IM, so they become 200; 206 without
    Content-Range, to a method that has no ranges, is a complete answer and becomes 200. Anything else passes with a
    finding; in `strict` a 500 takes its place, so that a test fails. A route that means it lists it:
    `statuses={"PUT": {200, 204, 207}}`.
    """
    status = response.status
    if admitted(target, status) or (status == 226 and request.get(b"a-im") is not None):
        return None
    if status == 201 and target.method in ("GET", "HEAD", "OPTIONS", "DELETE"):
        return None  # whether it becomes 200 or 204 shows with the content: safe-no-state-status, delete-status-set
    instead = _INSTEAD.get(status, 0)
    if status == 206 and (target.method in ("GET", "QUERY") or header(response.headers, b"content-range") is not None):
        instead = 0
    if instead == 204:
        return Finding(f"{status} has no meaning for {target.method}; it becomes 204.", set_status=204, drop=CONTENT_FIELDS)
    if instead:
        return Finding(f"{status} has no meaning for {target.method}; it becomes {instead}.", set_status=instead)
    return Finding(f"{status} has no meaning for {target.method} here.", status=500)
