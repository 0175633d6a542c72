"""Replay: what is said while a claim is judged, and about the guard itself.

The exchange applies these rules; here is what they mean.
"""

from __future__ import annotations

from typing import Any

from verbguard.methods import METHODS
from verbguard.policy import Action
from verbguard.rules import Rule, When, rule

_DRAFT = "draft-ietf-httpapi-idempotency-key-header-07"


_KEYED = frozenset(name for name, method in METHODS.items() if method.keyed)
_ONCE = frozenset(["POST", "PATCH"])  # to run them again may do something else than to run them once


def declare(
    id: str,
    title: str,
    page: str,
    *,
    cites: str,
    default: Action,
    strict: Action | None = None,
    methods: frozenset[str] | None = _KEYED,
    routine: bool = False,
) -> Rule:
    """Enter a rule that the exchange itself applies."""

    def never(*_: Any) -> None:
        return None

    never.__doc__ = page
    enter = rule(id, title, cites=cites, when=When.REPLAY, methods=methods, default=default, strict=strict, routine=routine)
    return enter(never)


MISSING = declare(
    "idem-key-missing-400",
    "This route needs an Idempotency-Key",
    """A POST, PATCH, PUT or DELETE without Idempotency-Key, on a route whose policy says that one is required.

    Why it matters: without a key nobody can tell a second order from a retry of the first, so a client that got no answer
    has to choose between ordering twice and not at all.
    What the guard does: 400 before the handler runs, on routes with `replay=Replay(required=True)` and nowhere else.
    `observe` replays nothing and asks for no key.
    How to fix it: the client sends `Idempotency-Key: <a new UUID>` with each operation, and the same one with its retries.
    When to switch it off: as long as clients exist that send none, leave `required` out.
    """,
    cites=f"{_DRAFT} 2.7",
    default=Action.REJECT,
)
SYNTAX = declare(
    "idem-key-syntax",
    "The Idempotency-Key is not a String",
    """An Idempotency-Key that is not a string in double quotes, as the draft wants it.

    Why it matters: the field is a Structured Field. Most clients send a bare UUID all the same, and a guard that refused them
    would help nobody.
    What the guard does: nothing in `guard`: `"abc"` and `abc` are one key. `strict` answers 400, so that your own clients'
    tests show the quotes that are missing.
    How to fix it: send `Idempotency-Key: "8e03978e-40d5-43e8-bc93-6894a57f9324"`, quotes included.
    When to switch it off: for a test suite with clients that you cannot change, `rules={"idem-key-syntax": "off"}`.
    """,
    cites=f"{_DRAFT} 2.1, RFC 9651 3.3.3",
    default=Action.OFF,
    strict=Action.REJECT,
)
SINGLE = declare(
    "idem-key-single",
    "One Idempotency-Key a request",
    """Two Idempotency-Key fields in one request, or a list of keys in one.

    Why it matters: a claim has one name. A proxy that joins two fields makes a third key of them, and a guard that took the
    first would let the same operation run again under the second.
    What the guard does: 400 before the handler runs, wherever keys are honoured.
    How to fix it: look for a layer that adds a key to requests that have one: an HTTP client's retry plug-in, a gateway.
    When to switch it off: it cannot be switched off by itself; `replay=None` leaves the field to the application.
    """,
    cites=f"{_DRAFT} 2.1",
    default=Action.REJECT,
)
FORMAT = declare(
    "idem-key-format",
    "The Idempotency-Key names nothing",
    """An Idempotency-Key that is empty, longer than 255 characters, or holds control or non-ASCII characters.

    Why it matters: such a value is mostly a template that was never filled in, or a whole document; every client with the
    same mistake would share one key.
    What the guard does: 400 before the handler runs, wherever keys are honoured.
    How to fix it: a new UUID for each operation, `str(uuid.uuid4())`.
    When to switch it off: it cannot be switched off by itself; `replay=None` leaves the field to the application.
    """,
    cites=f"{_DRAFT} 5",
    default=Action.REJECT,
)
REUSE = declare(
    "idem-key-reuse-422",
    "The key belongs to another request",
    """The key was used before, by the same caller, for another method, target or content.

    Why it matters: the stored answer would be the answer to another question, and running the request would break what the
    key promised. Mostly a client makes one key a session instead of one an operation.
    What the guard does: 422; the first answer stays stored under the key, for its true retries. Boundaries of multipart
    content and, with `fingerprint="json"`, the order of members make no difference.
    How to fix it: the client makes a new key whenever it changes anything.
    When to switch it off: it cannot be switched off by itself; `replay=None` leaves the field to the application.
    """,
    cites=f"{_DRAFT} 2.7",
    default=Action.REJECT,
)
INFLIGHT = declare(
    "idem-key-inflight-409",
    "The first request is still running",
    """A request with a key whose first request has not been answered yet.

    Why it matters: a client that gave up waiting has not stopped the handler. Running its retry beside it is how one order
    becomes two.
    What the guard does: 409 with `Retry-After: 1`. With `replay=Replay(wait=5)` it waits so many seconds first, and answers
    as the first request was answered.
    How to fix it: the client waits and sends the same request again, with the same key.
    When to switch it off: it cannot be switched off by itself; `wait` makes it rare.
    """,
    cites=f"{_DRAFT} 2.7",
    default=Action.REJECT,
)
UNKNOWN = declare(
    "idem-outcome-unknown",
    "Nobody knows the outcome",
    """The first request with this key was cut off, by a crash or a lost lease, and may have taken effect.

    Why it matters: a POST or PATCH that is run again may do its work twice; one that is called failed may have succeeded.
    What the guard does: 409 to POST and PATCH, so that somebody looks. PUT and DELETE run again, which is what they promise.
    How to fix it: the client reads the state, then sends the operation with a new key if it is missing. Handlers that are
    safe to run twice say so: `replay=Replay(after_crash="rerun")`. A hook that can find out is `Replay(on_unknown=...)`; with
    `record_in` the answer is committed together with the effect, and is there after a crash. An operator says what came of
    one with `verbguard store complete`.
    When to switch it off: with `after_crash="rerun"`, on routes where a second run does no harm.
    """,
    cites="RFC 9110 9.2.2",
    methods=_ONCE,
    default=Action.REJECT,
)
NOT_RETAINED = declare(
    "idem-not-retained",
    "The answer was not kept",
    """A retry of a request that has run, and whose answer was too large to keep, was cut off, or is encrypted by another key.

    Why it matters: to run it again would do the work twice, and the answer that the client missed is gone.
    What the guard does: 409 whose `original_status` says how the first request was answered, with its Location if it had one.
    How to fix it: the client follows Location or reads the state. If such answers are usual on a route, answer 201 with
    Location and little content, or raise `Replay(max_response=...)`. Keep an old encryption key in the list until what it
    encrypted has expired.
    When to switch it off: it cannot be switched off by itself; `replay=None` leaves retries to the application.
    """,
    cites="RFC 9110 9.2.2",
    default=Action.REJECT,
)
FAILED = declare(
    "idem-first-failed",
    "The first attempt failed",
    """A retry of a POST or PATCH whose handler raised an exception.

    Why it matters: nobody knows how far the handler came before it raised. A retry that runs it again may do the first half
    twice.
    What the guard does: the failure is kept, and a retry with the same key is answered 500 without a run, for as long as keys
    are kept. PUT and DELETE run again.
    How to fix it: mend the handler, and let the client try with a new key. Where a failed handler leaves nothing behind,
    because it works in one transaction, say `replay=Replay(on_error="release")`.
    When to switch it off: with `on_error="release"`.
    """,
    cites="RFC 9110 9.2.2",
    methods=_ONCE,
    default=Action.REJECT,
)
REPLAYED = declare(
    "idem-replay-result",
    "The first answer was repeated",
    """A repeated request was answered from the store; the handler did not run.

    Why it matters: it is what the guard is for, and worth knowing when somebody looks for a request in the handler's log.
    What the guard does: it sends the first answer, with `Idempotent-Replayed: true` and without Set-Cookie, Age and what
    belonged to the first connection. Observers hear of it; the log does not.
    How to fix it: there is nothing to fix. Very many of them point to a client that does not wait for answers.
    When to switch it off: for a route that must run every time, `replay=None`; without a key, `Replay(keyless=False)`.
    """,
    cites=f"{_DRAFT} 2.6",
    default=Action.REPAIR,
    routine=True,
)
PRINCIPAL = declare(
    "idem-scope-principal",
    "Nobody to give the key to",
    """A request with a key, where the application's `principal` callable names nobody.

    Why it matters: a key belongs to its caller. Kept under no name, one caller's answer could be given to the next one who
    guesses or copies the key.
    What the guard does: 400 before the handler runs. Without a `principal` callable the caller is a digest of all
    credentials of the request, and this rule never speaks.
    How to fix it: return a name for everybody who may send keys, also for those who are not logged in if they may.
    When to switch it off: it cannot be switched off by itself; leave `principal` out.
    """,
    cites=f"{_DRAFT} 5",
    default=Action.REJECT,
)
FORBIDDEN = declare(
    "idem-replay-forbidden",
    "The replay was not authorised",
    """A retry of a caller to whom the application's `authorize` does not give the stored answer any more.

    Why it matters: a replay skips the handler, and the checks in it. Someone whose rights were taken away since could still
    read what the first answer said.
    What the guard does: 403, where the policy has `replay=Replay(authorize=callable)` and the callable says False.
    How to fix it: nothing, if the rights are gone. Otherwise look at what the callable asks.
    When to switch it off: leave `authorize` out where a first answer may be repeated to whoever got it.
    """,
    cites=f"{_DRAFT} 5",
    default=Action.REJECT,
)
INCOMPLETE = declare(
    "content-complete",
    "The content is incomplete",
    """The content of a request ended before the length that it announced.

    Why it matters: a cut-off upload that is taken for a whole one replaces good data by a part of it, and a key that was spent
    on it could never be used for the rest.
    What the guard does: 400, and the handler does not run; nothing is claimed, so the key can be used again. It looks where it
    reads the content itself: where a request is fingerprinted or verified.
    How to fix it: the client sends the request again. Many of them point to a timeout in front of the application.
    When to switch it off: it cannot be switched off by itself.
    """,
    cites="RFC 9112 8",
    methods=None,
    default=Action.REJECT,
)
STORE_DOWN = declare(
    "idem-store-down",
    "The replay store does not answer",
    """The store failed, on a route that requires a key.

    Why it matters: whoever requires keys has promised that nothing runs twice, and without the store nobody can keep that.
    What the guard does: 503 with `Retry-After: 5`. Routes that do not require a key run all the same: see idem-unprotected.
    How to fix it: mend the store. The finding before this one has its error.
    When to switch it off: where running unprotected is better than not running, leave `required` out.
    """,
    cites="RFC 9110 15.6.4",
    default=Action.REJECT,
)
UNPROTECTED = declare(
    "idem-unprotected",
    "Run without replay protection",
    """A request that would have been claimed ran without a claim, or its answer could not be kept.

    Why it matters: a retry of it may run a second time.
    What the guard does: it tells, and says why: the store failed, or the server hands over content whose end cannot be seen.
    After a failure nothing is replayed without a key for one window, as the store may not have heard of a write.
    How to fix it: mend the store; behind gunicorn or another WSGI server, let clients send Content-Length.
    When to switch it off: it never changes an answer; to hear nothing of it, let your observer pass over it.
    """,
    cites="RFC 9110 9.2.2",
    default=Action.OBSERVE,
)
LEASE_LOST = declare(
    "idem-lease-lost",
    "A run outlived its lease",
    """A handler ended after its claim had run out, so that its answer was not kept.

    Why it matters: claims are renewed while handlers run. One that is lost all the same means that the process stood still, or
    that the store was away; another request may have run in the meantime.
    What the guard does: it tells. The client gets the answer, with `Idempotency-Status: lease-lost` where the head has not left
    yet; a retry finds whatever the store knows.
    How to fix it: look for what stops the whole process for more than `lease` seconds: swapping, a debugger, a C extension
    that holds the interpreter lock. Or raise `Replay(lease=...)`.
    When to switch it off: it adds that field and changes nothing else.
    """,
    cites="RFC 9110 9.2.2",
    default=Action.OBSERVE,
)
UNVERIFIED = declare(
    "idem-unverified",
    "The target changed behind the guard's back",
    """A repeated PUT without a key ran again, with `Replay(verify="etag")`: its target is not as the first one left it.

    Why it matters: somebody writes to the service without passing the guard. The stored answer would say that the state of the
    PUT is there, and it is not.
    What the guard does: it asks for the target's ETag before it repeats an answer, the application's own or one that is derived
    from the content of a GET, and runs the request where it is another than after the first run.
    How to fix it: nothing, if others may write. If nobody should, look for who does.
    When to switch it off: leave `verify` out where every writer passes a guard that shares the store.
    """,
    cites="RFC 9110 9.2.2, 8.8.1",
    methods=frozenset(["PUT"]),
    default=Action.OBSERVE,
)
BUSY = declare(
    "target-busy",
    "Too many writes wait for this target",
    """A write on a route with `preconditions="derive"` whose turn did not come in time.

    Why it matters: between the look at a state and the write that replaces it nobody else may write, or the look was for
    nothing. So writes on one target wait for each other, and one that hangs keeps the others waiting.
    What the guard does: after 30 seconds, with too many waiting, or for a conditional write when the store that processes share
    does not answer, 503 with `Retry-After: 1`; nothing has run.
    How to fix it: look for the slow write on that target. Let the application do after its answer what takes long, in a queue
    of its own: in FastAPI a background task still belongs to the request.
    When to switch it off: it cannot be switched off by itself; a version in the database (`validator`) needs no turns.
    """,
    cites="RFC 9110 15.6.4, 13.2.1",
    methods=None,
    default=Action.REJECT,
)
FAULT = declare(
    "guard-fault",
    "The guard itself failed",
    """An exception in the guard, or in a callable that a policy gave it.

    Why it matters: a guard that fails in silence protects nothing; one that lets its failure through takes the application
    down with it.
    What the guard does: a safe request goes to the application unguarded; an unsafe one is answered 503 before the
    application runs. Both are logged with the traceback.
    How to fix it: read the traceback. A line of your own in it is a `principal`, `validator` or `authorize` that raises; if all
    of it is verbguard's, please report it.
    When to switch it off: it cannot be switched off.
    """,
    cites="RFC 9110 15.6.4",
    methods=None,
    default=Action.REJECT,
)
START_UP = declare(
    "start-up",
    "Said once at start-up",
    """What a developer should know about the application's routes before the first request.

    Why it matters: some things are decided when the routes are read, and would otherwise be noticed by a client.
    What the guard does: it tells once.
    How to fix it: the message says what to do.
    When to switch it off: it never changes an answer.
    """,
    cites="RFC 9110 9.3.4",
    methods=None,
    default=Action.OBSERVE,
)
