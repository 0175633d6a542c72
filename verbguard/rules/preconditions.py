"""Preconditions: what a request says must be true of its target, or nothing may happen.

`conditions.py` reads and compares; here is what is said about it, and what is refused.
"""

from __future__ import annotations

from verbguard.conditions import (
    IF_MATCH,
    IF_MODIFIED,
    IF_NONE_MATCH,
    IF_UNMODIFIED,
    State,
    date_of,
    false_condition,
    tags_of,
)
from verbguard.http import Headers, Request
from verbguard.policy import Action, Policy
from verbguard.rules import Finding, Target, When, rule

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_NO_STORE: Headers = [(b"cache-control", b"no-store")]

# ---- the target's state


def _validated(policy: Policy) -> bool:
    return policy.validator is not None or _derived(policy)


def _derived(policy: Policy) -> bool:
    return policy.preconditions == "derive"


def _needs_tag(request: Request) -> bool:
    """Whether a condition names a state, and not only whether there is one."""
    values = [value for name in (IF_MATCH, IF_NONE_MATCH) if (value := request.get(name)) is not None]
    return any(not (tags.star or tags.mixed) for tags in map(tags_of, values))


def _only_dated(request: Request) -> bool:
    return request.get(IF_MATCH) is None and request.get(IF_NONE_MATCH) is None


@rule(
    "state-unknown",
    "Nobody here knows the target's state",
    cites="RFC 9110 13.1.1, 13.1.4",
    when=When.STATE,
    default=Action.OFF,
    opt=Action.REJECT,
    opted=_derived,
    strength="MUST",
    risk="low",
)
def state_unknown(request: Request, target: Target, state: State) -> Finding | None:
    """A write with a condition, on a route with `preconditions="derive"`, where an internal GET does not show the state.

    Why it matters: a condition that nobody can evaluate protects nothing. A write that ran all the same would be the lost
    update which its client asked to be saved from.
    What the guard does: the write does not run. A GET that answers 401, 403, 407, 429, 502, 503 or 504 says what is true of the
    write as well, and its answer is passed on. Another 5xx is 503 with `Retry-After`. What will be the same next time is
    412: content above `max_response`, an event stream, a redirect, a route without GET. `If-Match: *` and `If-None-Match: *`
    only want to know whether something is there. Where the policy requires a condition and the only one is a date, 428 if
    the application sends no Last-Modified: without one "a recipient MUST ignore" the date.
    How to fix it: let GET of the same URL show the state that PUT replaces, in FastAPI and in Flask, and raise
    `Replay(max_response=...)` where it is large. An application that sends an ETag of its own needs no content to be read.
    When to switch it off: `rules={"state-unknown": "off"}` takes what is unknown for a state without an ETag.
    """
    if state.unknown is not None and (not state.exists or _needs_tag(request)):
        if state.answer is not None:
            return Finding(f"{state.unknown}, and so does the write.", status=state.answer.status, answer=state.answer)
        if state.later:
            return Finding(f"{state.unknown}; try again later.", status=503, headers=[(b"retry-after", b"5")])
        return Finding(f"{state.unknown}, so no condition on it can be true here.", status=412)
    if target.policy.require_precondition and state.exists and state.modified is None and _only_dated(request):
        detail = "The target has no Last-Modified, so a date protects nothing: send If-Match with the ETag of your last GET."
        return Finding(detail, status=428, headers=_NO_STORE)
    return None


@rule(
    "if-match-evaluated",
    "The state is no longer the one that was read",
    cites="RFC 9110 13.1.1, 13.1.4",
    when=When.STATE,
    default=Action.OFF,
    opt=Action.REJECT,
    opted=_validated,
    strength="MUST",
    risk="medium",
)
def if_match_evaluated(request: Request, target: Target, state: State) -> Finding | None:
    """A write whose If-Match or If-Unmodified-Since is false: the target changed since the client read it.

    Why it matters: two people open one record, both save, and the second overwrites what the first one wrote. If-Match asks
    the server to refuse that; an application that ignores the field answers 200 and the first change is lost.
    What the guard does: nothing until a policy has a `validator` or `preconditions="derive"`. Then a false condition is 412
    before the handler runs, in `guard` and `strict`; weak tags never match; a repeated request with an Idempotency-Key is
    answered from the store first. With a `validator` the comparison and the write are two steps: two requests at the same
    moment can both pass, and only the application can close that gap, with `UPDATE ... WHERE version = ?`. With "derive"
    one write after the other goes to a target.
    How to fix it: `item(validator=lambda request: '"v7"')`, a callable that gives the current ETag, a datetime, a pair of
    both, or None when there is nothing. In FastAPI it may be `async`; in Flask it is a plain function.
    When to switch it off: where the handler compares by itself, leave both out, or `{"if-match-evaluated": "off"}`.
    """
    name = false_condition(request, state)
    if name == IF_MATCH:
        return Finding("If-Match names none of the target's current state; read it again before you write.", status=412)
    if name == IF_UNMODIFIED:
        return Finding("The target was modified since that date; read it again before you write.", status=412)
    return None


@rule(
    "if-none-match-star",
    "What must not exist does",
    cites="RFC 9110 13.1.2",
    when=When.STATE,
    default=Action.OFF,
    opt=Action.REJECT,
    opted=_validated,
    strength="MUST",
    risk="medium",
)
def if_none_match_star(request: Request, target: Target, state: State) -> Finding | None:
    """A write whose If-None-Match is false, above all `PUT` with `If-None-Match: *` on something that exists.

    Why it matters: `If-None-Match: *` says "create it, and do nothing if somebody was faster". An application that ignores it
    replaces what the other one created, and both clients believe that theirs is there.
    What the guard does: nothing until a policy has a `validator` or `preconditions="derive"`. Then it is 412 before the handler
    runs, in `guard` and `strict`. A repeated request with an Idempotency-Key is answered from the store first, so a retry
    still hears its 201.
    How to fix it: `item(validator=current)`, where `current(request)` gives the target's ETag or None; or in the handler,
    `INSERT ... ON CONFLICT DO NOTHING` and `raise HTTPException(412)` in FastAPI, `abort(412)` in Flask.
    When to switch it off: where the handler decides by itself, `rules={"if-none-match-star": "off"}`.
    """
    if false_condition(request, state) != IF_NONE_MATCH:
        return None
    return Finding("If-None-Match is false: the target exists in a state that was to be excluded.", status=412)


# ---- the head of the request


def _unconditional(request: Request) -> bool:
    """Whether nothing in the request protects the state that is there."""
    for name in (IF_MATCH, IF_NONE_MATCH):
        value = request.get(name)
        if value is not None and tags_of(value).readable:
            return False
    return date_of(request.get(IF_UNMODIFIED)) is None


def _required(policy: Policy) -> bool:
    return policy.require_precondition


def _wanted(request: Request, target: Target) -> Finding | None:
    if not _unconditional(request) or (target.policy.extension == "webdav" and request.get(b"if") is not None):
        return None  # WebDAV's If is a condition as well: it names the lock that the client holds, or an entity tag
    detail = (
        f"This {target.method} must say which state it replaces: send If-Match with the ETag of your last GET"
        f"{', or If-None-Match: * to create' if target.method == 'PUT' else ''}."
    )
    return Finding(detail, status=428, headers=_NO_STORE)


@rule(
    "put-conditional-required",
    "A PUT that does not say which state it replaces",
    cites="RFC 6585 3",
    when=When.REQUEST,
    methods={"PUT"},
    lacks=(),
    default=Action.OFF,
    opt=Action.REJECT,
    opted=_required,
    strength="MAY",
    risk="high",
)
def put_conditional_required(request: Request, target: Target) -> Finding | None:
    """A PUT without If-Match, If-None-Match or If-Unmodified-Since, where the policy requires one.

    Why it matters: without a condition the last writer wins, and nobody hears that a change was lost. A server that knows
    this can insist: 428 tells the client to read first and to send back the ETag that it got.
    What the guard does: nothing by itself. With `require_precondition=True` on a route, such a PUT is 428 with
    `Cache-Control: no-store` before its content is read; a condition that nobody can read counts as none. With
    `extension="webdav"` the `If` of a client that holds a lock is one. `observe` only tells.
    How to fix it: the client sends `If-Match: "..."`, or `If-None-Match: *` to create. The answers to GET must carry an ETag:
    `response.headers["ETag"]` in FastAPI, `response.set_etag(...)` in Flask; and `validator` lets the guard compare.
    When to switch it off: leave `require_precondition` alone where clients cannot send conditions.
    """
    return _wanted(request, target)


@rule(
    "lost-update-428",
    "A change that does not say which state it changes",
    cites="RFC 6585 3",
    when=When.REQUEST,
    methods={"PATCH", "DELETE"},
    lacks=(),
    default=Action.OFF,
    opt=Action.REJECT,
    opted=_required,
    strength="MAY",
    risk="high",
)
def lost_update_428(request: Request, target: Target) -> Finding | None:
    """A PATCH or DELETE without If-Match or If-Unmodified-Since, where the policy requires one.

    Why it matters: a change that was computed from an old state is applied to a new one, and a DELETE takes away what the
    client has never seen. 428 tells the client to read first, and to send back the ETag that it got.
    What the guard does: nothing by itself. With `require_precondition=True` on a route, such a request is 428 with
    `Cache-Control: no-store` before its content is read; a condition that nobody can read counts as none. `observe` only tells.
    How to fix it: the client sends `If-Match: "..."`. The answers to GET must carry an ETag: `response.headers["ETag"]` in
    FastAPI, `response.set_etag(...)` in Flask; `validator` in the policy lets the guard compare.
    When to switch it off: leave `require_precondition` alone where clients cannot send conditions.
    """
    return _wanted(request, target)


@rule(
    "precondition-grammar",
    "A condition that nobody can read",
    cites="RFC 9110 13.1.1, 13.1.2",
    when=When.REQUEST,
    methods=_WRITES,
    fields={IF_MATCH, IF_NONE_MATCH},
    default=Action.REJECT,
    strength="MUST",
    risk="none",
)
def precondition_grammar(request: Request, target: Target) -> Finding | None:
    """An If-Match or If-None-Match on a write that mixes `*` with entity-tags, or in which there is no tag at all.

    Why it matters: `*` means "any state" and a tag means "this one"; together they mean nothing, and a parser that skips what
    it does not understand runs the write without the protection that the client asked for.
    What the guard does: 400 before the content is read, in `guard` and `strict`; `observe` only tells. An empty field is left
    to the application, and reads of any kind pass.
    How to fix it: the client sends `*` alone, or quoted tags: `If-Match: "v1", "v2"`. Neither FastAPI nor Flask refuses it.
    When to switch it off: when old clients send such fields and the handler knows what they mean,
    `rules={"precondition-grammar": "off"}`.
    """
    for name in (IF_MATCH, IF_NONE_MATCH):
        value = request.get(name)
        if value is None or not value.strip():
            continue
        tags = tags_of(value)
        if tags.mixed:
            return Finding(f"{name.decode().title()} has `*` beside other elements; it stands alone.", status=400)
        if not tags.readable:
            return Finding(f"{name.decode().title()} has no entity-tag in it.", status=400)
    return None


@rule(
    "if-match-strong",
    "A weak tag in If-Match",
    cites="RFC 9110 13.1.1, 8.8.3.2",
    when=When.REQUEST,
    methods=_WRITES,
    fields={IF_MATCH},
    strength="MUST",
    risk="none",
)
def if_match_strong(request: Request, target: Target) -> Finding | None:
    """An If-Match that names only weak tags, so that it can never be true.

    Why it matters: a weak tag says that two states are good enough for each other, not that they are the same. If-Match is
    compared strongly, and `W/"v1"` never matches, not even itself: the client gets 412 for ever, or an application that
    compares too kindly overwrites a state which was not the one that was read.
    What the guard does: it tells, in every profile. Where a policy has a `validator`, such a condition is false: 412.
    How to fix it: send strong ETags for what is edited: `response.set_etag(tag)` without `weak=True` in Flask; in FastAPI
    quote without `W/`. A compressing proxy in front may weaken tags on their way out: let it not touch these answers.
    When to switch it off: `rules={"if-match-strong": "off"}` where the application compares weakly on purpose.
    """
    tags = tags_of(request.get(IF_MATCH) or b"")
    if not tags.any or tags.strong or tags.star or tags.mixed:
        return None
    return Finding("If-Match names weak entity-tags only; it can never be true.")


@rule(
    "if-modified-since-get-only",
    "If-Modified-Since on a write",
    cites="RFC 9110 13.1.3",
    when=When.REQUEST,
    methods=_WRITES,
    fields={IF_MODIFIED},
    opt=Action.REPAIR,
    strength="MUST",
)
def if_modified_since_get_only(request: Request, target: Target) -> Finding | None:
    """If-Modified-Since on a method that is neither GET nor HEAD.

    Why it matters: the field saves a transfer and protects nothing; on a write it is ignored. A client that sends it
    there usually meant If-Unmodified-Since, and believes to be protected. An application that evaluates it all the same
    answers 304 and has not done the work.
    What the guard does: it tells. With `rules={"if-modified-since-get-only": "repair"}` the field is taken away before the
    app sees it.
    How to fix it: the client sends If-Unmodified-Since, or better If-Match. In FastAPI and Flask, look at the field only in
    handlers of GET; Flask's `response.make_conditional(request)` is for those.
    When to switch it off: when it is only noise in the log, `rules={"if-modified-since-get-only": "off"}`.
    """
    return Finding("If-Modified-Since protects no write; If-Match or If-Unmodified-Since does.", drop=frozenset([IF_MODIFIED]))


_CONDITIONS = frozenset([IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED, IF_MODIFIED])


@rule(
    "precondition-connect-options-trace",
    "A condition on a method that has no state",
    cites="RFC 9110 13.2.1",
    when=When.REQUEST,
    methods={"OPTIONS", "TRACE", "CONNECT"},
    fields=_CONDITIONS,
    default=Action.REPAIR,
    routine=True,
    strength="MUST",
    risk="none",
)
def precondition_without_state(request: Request, target: Target) -> Finding | None:
    """If-Match, If-None-Match or a date condition on OPTIONS, TRACE or CONNECT.

    Why it matters: these methods neither read nor change a state, and conditions on them are ignored. A layer that
    evaluates them for every method would answer OPTIONS with 304 or 412, and a browser's preflight or a monitor fails.
    What the guard does: the fields are taken away before the app sees them; `observe` only tells.
    How to fix it: a client should not send them. In an application evaluate conditions in handlers of GET, HEAD and writes
    only: in FastAPI in a dependency of those routes rather than in a middleware, in Flask not in `before_request`.
    When to switch it off: there is hardly a reason; `rules={"precondition-connect-options-trace": "off"}`.
    """
    return Finding(f"{target.method} has no conditions.", drop=_CONDITIONS)
