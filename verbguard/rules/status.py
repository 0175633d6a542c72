"""Status codes: what is one, what it may mean for a method, and what the team's own table makes of it."""

from __future__ import annotations

import json

from verbguard.house import admits
from verbguard.http import CONTENT_FIELDS, Request, header, problem, reason, without
from verbguard.methods import METHODS, SAFE, may_answer
from verbguard.policy import Action
from verbguard.replay import PRECONDITIONS
from verbguard.rules import Answer, Content, Finding, Target, When, rule

_INSTEAD = {203: 200, 205: 204, 206: 200, 226: 200}

# The IANA HTTP Status Code Registry; 306 and 418 are there as unused.
_REGISTERED = frozenset(
    [
        *range(100, 105),
        *range(200, 209),
        226,
        *range(300, 309),
        *range(400, 419),
        *range(421, 427),
        *(428, 429, 431, 451),
        *range(500, 509),
        *(510, 511),
    ]
)
_UNREGISTERED = frozenset(range(200, 600)) - _REGISTERED


def meaningful(target: Target, status: int) -> bool:
    """Whether the RFC layer lets this method answer so, or the route lists the code by itself."""
    row = target.policy.house.get(target.method)
    return may_answer(target.method, status) or (row is not None and 200 <= status < 400 and status in row)


def outside_house(target: Target, status: int) -> bool:
    """Whether a status means something to the method, and the house table does not have it."""
    return meaningful(target, status) and not admits(target.policy.house.get(target.method), status)


def admitted(target: Target, status: int) -> bool:
    """Whether both layers of the table let this method answer so."""
    return meaningful(target, status) and admits(target.policy.house.get(target.method), status)


@rule(
    "status-100-599",
    "A code that is none",
    cites="RFC 9110 15",
    when=When.STATUS,
    default=Action.REPLACE,
    strength="MUST",
    risk="none",
)
def status_100_599(request: Request, response: Answer, target: Target) -> Finding | None:
    """The app's status is no three-digit code from 100 to 599.

    Why it matters: servers drop the connection on some of these and pass others on; the client sees a cut answer, or a number
    that its library cannot handle, and cannot tell whether anything happened.
    What the guard does: in `guard` and `strict` a 500 takes its place, since no client could have read the answer. `observe`
    only tells.
    How to fix it: look for a status that is computed, such as `Response(status_code=result.code)` in FastAPI or
    `return body, result.code` in Flask, where `code` is another system's number.
    When to switch it off: behind a front end that translates private codes, `rules={"status-100-599": "observe"}`.
    """
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
    strength="MUST",
    risk="none",
)
def status_final(request: Request, response: Answer, target: Target) -> Finding | None:
    """The app's one answer has a 1xx status, after which a client goes on waiting.

    Why it matters: 1xx says "there is more to come". The next answer on the connection is then read as the end of this one,
    or the client waits until it gives up.
    What the guard does: in `guard` and `strict` a 500 takes its place; 101 is left alone where the client asked to upgrade.
    `observe` only tells.
    How to fix it: answer 200, or 202 where the work goes on. 100 is the server's to send; for 103 use the server's own means
    (ASGI's early hints extension) and answer as usual afterwards.
    When to switch it off: never for real clients; `rules={"status-final-not-1xx": "observe"}` while the app is mended.
    """
    if response.status == 101 and request.get(b"upgrade") is not None:
        return None
    return Finding(f"The app's final answer was {response.status}, an interim one.", status=500)


@rule(
    "status-registered",
    "A code that nobody registered",
    cites="RFC 9205 4.6, RFC 9110 15",
    when=When.STATUS,
    statuses=_UNREGISTERED,
    strength="MUST",
)
def status_registered(request: Request, response: Answer, target: Target) -> Finding | None:
    """The app's status is not in IANA's registry.

    Why it matters: generic clients, caches and proxies read an unknown code as the first of its class: 299 as 200, 499 as 400.
    What the code was to say is lost on them, and a registration may give it another meaning one day.
    What the guard does: it tells, in every profile; the answer stays as it is.
    How to fix it: use the nearest registered code and say the rest in the content, best as `application/problem+json`
    (RFC 9457): `raise HTTPException(409, detail=...)` in FastAPI, `abort(409, description=...)` in Flask.
    When to switch it off: for a private API whose clients know the code, `rules={"status-registered": "off"}`.
    """
    return Finding(f"{response.status} is not registered; clients read it as {response.status // 100}00.", status=500)


@rule(
    "status-reserved",
    "A code that is deprecated or reserved",
    cites="RFC 9110 15.4.6, 15.4.7, 15.5.3, 15.5.19",
    when=When.STATUS,
    statuses={305, 306, 402, 418},
    strength="SHOULD",
)
def status_reserved(request: Request, response: Answer, target: Target) -> Finding | None:
    """The app answers 305, 306, 402 or 418.

    Why it matters: 305 is deprecated, as an answer that names a proxy could send clients anywhere; 306 and 418 are unused and
    kept for later; 402 is reserved, and every payment API means something else by it. Generic clients do nothing sensible.
    What the guard does: it tells, in every profile; the status table has its own say about 305, 306 and 418.
    How to fix it: 307 or 308 with Location instead of 305; 403 or 409 with a problem document instead of 402 and 418:
    `raise HTTPException(403, detail="the plan is used up")` in FastAPI, `abort(403, "the plan is used up")` in Flask.
    When to switch it off: where 402 is documented for your clients, `rules={"status-reserved": "off"}` on that route.
    """
    return Finding(f"{response.status} is deprecated or reserved.", status=500)


@rule(
    "status-501-not-get",
    "501 to GET or HEAD",
    cites="RFC 9110 9.1, 15.6.2",
    when=When.STATUS,
    methods={"GET", "HEAD"},
    statuses={501},
    strength="MUST",
)
def status_501(request: Request, response: Answer, target: Target) -> Finding | None:
    """The app says to GET or HEAD that the server does not implement the method.

    Why it matters: 501 is about the method for any resource of the server. "All general-purpose servers MUST support the
    methods GET and HEAD"; monitors and gateways that read a 501 may take the whole server out.
    What the guard does: it tells, in every profile; in `strict` the status table replaces the answer.
    How to fix it: 404 for what is not there (yet), 405 where the resource has no GET, 503 for what will come back:
    `raise HTTPException(404)` in FastAPI, `abort(404)` in Flask.
    When to switch it off: `rules={"status-501-not-get": "off"}`, on routes that are announced but not written.
    """
    return Finding("501 says that the server has no GET at all; 404, 405 or 503 speak of this resource.", status=500)


@rule(
    "status-gateway-only",
    "A code of gateways and proxies",
    cites="RFC 9110 15.5.8, 15.6.3, 15.6.5, RFC 6585 6",
    when=When.STATUS,
    statuses={407, 502, 504, 511},
    gateway=Action.OFF,
    strength="SHOULD",
    risk="medium",
)
def status_gateway(request: Request, response: Answer, target: Target) -> Finding | None:
    """The app answers 407, 502, 504 or 511, which speak for a proxy, a gateway or a captive network.

    Why it matters: 407 makes clients send the credentials of their proxy; 511 makes devices open a login page; 502 and 504 are
    what operators look for in the load balancer, and an app that makes them sends people looking in the wrong place.
    What the guard does: it tells, in every profile; the answer stays as it is. It cannot know whether the app stands in front
    of another service, where 502 and 504 are right.
    How to fix it: 401 for the app's own login, 503 with Retry-After for what is down for a while, 500 for a failure of its own:
    `raise HTTPException(503, headers={"Retry-After": "5"})` in FastAPI, `abort(503)` in Flask.
    When to switch it off: on routes that call another service for the client, `rules={"status-gateway-only": "off"}`.
    """
    return Finding(f"{response.status} speaks for a gateway, a proxy or a network, not for an app.", status=500)


@rule(
    "status-error-in-200",
    "An error under 200",
    cites="RFC 9205 4.6",
    when=When.CONTENT,
    content=Content.JSON,
    statuses={200},
    default=Action.OFF,
    opt=Action.OBSERVE,
    risk="high",
)
def error_in_200(request: Request, response: Answer, target: Target) -> Finding | None:
    """The content of a 200 looks like an error: JSON with a telling `error`, `errors` or `success: false` at its top.

    Why it matters: caches keep the answer, clients' libraries return it as a result, retries stop, monitors stay green; and a
    keyed request keeps it as its outcome.
    What the guard does: nothing by itself, as many sound answers have such members. With
    `rules={"status-error-in-200": "observe"}` it tells; the head of a JSON answer then waits for its content.
    How to fix it: give the error its status: `raise HTTPException(422, detail=...)` in FastAPI, `abort(422)` or
    `return jsonify(error=...), 422` in Flask. GraphQL and batches, whose content is about many things, are right as they are.
    When to switch it off: it is off unless a policy turns it on.
    """
    if not response.body:
        return None
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or "data" in document:
        return None
    if document.get("error") or document.get("errors") or document.get("success") is False:
        return Finding("The content speaks of an error, and the status of a success.")
    return None


@rule(
    "status-4xx-5xx-explained",
    "An error without a word",
    cites="RFC 9110 15.5, 15.6, RFC 9457",
    when=When.CONTENT,
    content=Content.FIRST,
    methods=METHODS.keys() - {"HEAD", "CONNECT"},
    statuses=range(400, 600),
    default=Action.OFF,
    opt=Action.REPAIR,
    strength="SHOULD",
)
def error_explained(request: Request, response: Answer, target: Target) -> Finding | None:
    """A 4xx or 5xx has no content.

    Why it matters: whoever reads the log of a client sees a number; "the server SHOULD send a representation containing an
    explanation of the error situation, and whether it is a temporary or permanent condition".
    What the guard does: nothing by itself. With `rules={"status-4xx-5xx-explained": "repair"}` such an answer gets an
    `application/problem+json` with the status and its name; fields of the app stay. `"observe"` only tells.
    How to fix it: say what was wrong: `raise HTTPException(409, detail="the order is paid")` in FastAPI,
    `abort(409, description="the order is paid")` in Flask; better still, one handler for all that makes problem documents.
    When to switch it off: it is off unless a policy turns it on.
    """
    if response.body != b"":
        return None
    status = response.status
    name = reason(status)
    known = without(response.headers, CONTENT_FIELDS | {b"transfer-encoding"})
    explained = problem("status-4xx-5xx-explained", name, status, f"The application says no more than {status} {name}.", known)
    return Finding(f"{status} without content explains nothing.", answer=explained)


def _nothing_created(request: Request, response: Answer, target: Target) -> Finding | None:
    if meaningful(target, 201):
        return None
    empty = response.body == b"" and target.method != "HEAD"
    status = 204 if empty and (admitted(target, 204) or not admitted(target, 200)) else 200
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
    """GET, HEAD or OPTIONS is answered 201.

    Why it matters: a safe method creates nothing that its client asked for. Crawlers, prefetching browsers and retrying
    proxies send it at will, and a handler that creates on it creates each time.
    What the guard does: the answer becomes 200, or 204 where it has no content, in `guard` and `strict`. `observe` only
    tells.
    How to fix it: create by POST. Mostly it is a `status_code=201` that was copied with the decorator, in FastAPI
    `@app.get(..., status_code=201)`, or a `return body, 201` in Flask.
    When to switch it off: for a client that waits for the 201, list it, `statuses={"GET": {200, 201}}`.
    """
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
    """A DELETE is answered 201.

    Why it matters: DELETE creates nothing. A client that acts on the code looks for what was made, and a sync tool adds what it
    has just removed.
    What the guard does: the answer becomes 200, or 204 when it has no content; `observe` only tells. Other codes that mean
    nothing to DELETE are found by `status-method-table`.
    How to fix it: 204 when it is done, 200 with content about it, 202 when it goes on: `status_code=204` in FastAPI's
    decorator, `return "", 204` in Flask.
    When to switch it off: a route that means the code lists it, `statuses={"DELETE": {200, 201, 204}}`; else
    `rules={"delete-status-set": "off"}`.
    """
    return _nothing_created(request, response, target)


@rule(
    "status-206-needs-range",
    "206 without Range",
    cites="RFC 9110 14.2, 15.3.7",
    when=When.STATUS,
    methods={"GET", "QUERY"},
    statuses={206},
    default=Action.REPAIR,
    strict=Action.REPLACE,
    strength="MUST",
)
def partial_unasked(request: Request, response: Answer, target: Target) -> Finding | None:
    """206 answers a GET or QUERY that did not ask for a range.

    Why it matters: a client that asked for all takes the part for the whole; many libraries never look at Content-Range.
    What the guard does: where Content-Range says that the part is the whole, `bytes 0-6/7`, the answer becomes 200 without that
    field. Otherwise it tells in `guard`, and `strict` puts a 500 in its place. `observe` only tells.
    How to fix it: answer 206 only to requests that have `Range`. `FileResponse` in Starlette and FastAPI and `send_file` with
    `conditional=True` in Flask do; in a handler of your own look at `request.headers.get("range")` first.
    When to switch it off: for a client that always wants parts, such as a pager of old,
    `rules={"status-206-needs-range": "off"}`; a media type of its own with 200 would serve it as well.
    """
    if request.get(b"range") is not None:
        return None
    given = header(response.headers, b"content-range")
    if given is not None and _whole(given):
        drop = frozenset([b"content-range"])
        return Finding("206 of everything, to a request without Range, is 200.", set_status=200, drop=drop)
    return Finding("206 answers a request without Range.", status=500)


def _whole(content_range: bytes) -> bool:
    """Whether a Content-Range covers all of its representation."""
    from werkzeug.http import parse_content_range_header

    found = parse_content_range_header(content_range.decode("latin-1"))
    return found is not None and found.units == "bytes" and found.start == 0 and found.stop == found.length is not None


@rule(
    "status-304-needs-precondition",
    "304 without a condition",
    cites="RFC 9110 15.4.5, 13.1.2",
    when=When.STATUS,
    methods={"GET", "HEAD", "QUERY"},
    statuses={304},
    strict=Action.REPLACE,
    strength="MUST",
)
def not_modified(request: Request, response: Answer, target: Target) -> Finding | None:
    """304 answers a GET, HEAD or QUERY that has no condition.

    Why it matters: 304 says "use the copy you have". A client that asked without a validator has none in mind, shows an empty
    page, or fails.
    What the guard does: it tells in `guard`, as there is no content that it could send instead; `strict` puts a 500 in its
    place. On methods that write, `if-none-match-unsafe-412` decides. `observe` only tells.
    How to fix it: compare with `request.headers.get("if-none-match")` before you answer 304; in Flask
    `response.make_conditional(request)` does it, in FastAPI `StaticFiles` and `FileResponse` do.
    When to switch it off: where a layer outside adds the condition, `rules={"status-304-needs-precondition": "off"}`.
    """
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
    if target.method in SAFE or meaningful(target, 304):
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
    gateway=Action.OBSERVE,
)
def delete_200(request: Request, response: Answer, target: Target) -> Finding | None:
    """A DELETE is answered 200 and has no content.

    Why it matters: 200 promises content about what was done. Clients that believe it parse nothing as JSON and report a
    failure of a DELETE that worked.
    What the guard does: the answer becomes 204, without a length; `observe` only tells. Where the route's own table has no
    204, it stays. A gateway only tells: the clients of a service that nobody can change may wait for its 200.
    How to fix it: `@app.delete("/items/{id}", status_code=204)` in FastAPI, `return "", 204` in Flask.
    When to switch it off: where clients insist on 200, `rules={"delete-200-has-content": "off"}`.
    """
    if response.body != b"" or not admitted(target, 204):
        return None
    return Finding("DELETE 200 without content is 204.", set_status=204)


@rule(
    "patch-412-had-precondition",
    "412 without a precondition",
    cites="RFC 9110 15.5.13, RFC 5789 2.2",
    when=When.STATUS,
    methods={"PATCH"},
    statuses={412},
)
def had_precondition(request: Request, response: Answer, target: Target) -> Finding | None:
    """A PATCH without any condition is answered 412.

    Why it matters: 412 says that a condition of the request was false. A client that sent none reads the state again, sends
    the same patch, and hears the same.
    What the guard does: it tells, in every profile; the answer stays as it is.
    How to fix it: a patch that does not fit the resource's state is 409, one that cannot be applied at all 422: `raise
    HTTPException(409)` in FastAPI, `abort(409)` in Flask.
    When to switch it off: where a field of your own is the condition, `rules={"patch-412-had-precondition": "off"}`.
    """
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
    strength="MUST",
)
def method_table(request: Request, response: Answer, target: Target) -> Finding | None:
    """The answer's code has no meaning for this method; a generic client will do the wrong thing with it.

    Why it matters: clients, caches and proxies act on the pair of method and status. They take a 206 for a part, go to a 304's
    stored copy, reset a form on 205, and read the 207 of a PUT as a success that it may not be.
    What the guard does: where another code of the class says what was meant, it is set: 205 asks to reset a form, which only
    POST has, so it becomes 204; 203 is what a transforming proxy makes of 200, and 226 answers A-IM, so they become 200; 206
    without Content-Range, to a method that has no ranges, is complete and becomes 200. Anything else passes with a finding; in
    `strict` a 500 takes its place, so that a test fails. `observe` only tells.
    How to fix it: `status_code=` in FastAPI's decorators and the second value that a Flask view returns.
    When to switch it off: a route that means a 2xx or 3xx lists it: `statuses={"PUT": {200, 204, 207}}`; for others,
    `rules={"status-method-table": "off"}`.
    """
    status = response.status
    if meaningful(target, status) or (status == 226 and request.get(b"a-im") is not None):
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


@rule(
    "status-house-table",
    "A code that the house table does not have",
    cites="RFC 9110 15, house table",
    when=When.FRAMING,
    strict=Action.REPLACE,
)
def house_table(request: Request, response: Answer, target: Target) -> Finding | None:
    """The answer's code means something to HTTP, and the team's own table does not have it for this method.

    Why it matters: a table of codes is a promise to clients: they handle what is in it. What one handler answers beside it is
    what nobody's client was written for.
    What the guard does: it tells in `guard`, and `strict` puts a 500 in its place, so that a test fails. Repairs come first: a
    DELETE 200 without content is judged as the 204 that it becomes. Codes of the infrastructure (401, 403, 404, 405, 406, 408,
    413, 415, 429 and 5xx) always pass. `observe` only tells.
    How to fix it: answer what the table has, `status_code=` in FastAPI's decorators or the second value that a Flask view
    returns; or let the table have the code: `statuses={"preset": "zalando", "PUT": ["2xx"]}` in the policy of the route or in
    the `default` of `guard()`. Presets are `rfc` (no house table), `zalando` and `strict-rest`.
    When to switch it off: on a route that answers to nobody's table, `statuses="rfc"` or `rules={"status-house-table": "off"}`.
    """
    if not outside_house(target, response.status):
        return None
    row = target.policy.house[target.method]
    first = response.status // 100
    same = ", ".join(str(code) for code in sorted(row) if code // 100 == first) or "none"
    return Finding(f"{response.status} is not in the house table for {target.method}; its {first}xx: {same}.", status=500)
