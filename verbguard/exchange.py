"""One request's life through its plan: values in, values out, no I/O and no clock.

An adapter calls the methods in the order of the moments: `open`, `inspect`, `claim`, `claimed`, `conditions`, then for the
app's answer `answered` and `content` for each piece, and `record` or `failed` at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from verbguard.answering import Answering
from verbguard.conditions import State as TargetState
from verbguard.conditions import state_of
from verbguard.derived import SEEN, Look, said_strong
from verbguard.http import Headers, Request, Response, header, problem, without
from verbguard.layouts import BY_NAMES, Layout
from verbguard.methods import BODILESS
from verbguard.plans import Guard
from verbguard.policy import Action
from verbguard.reach import touch_of
from verbguard.records import Busy, Claim, Clash, Done, Outcome, Record, State, Unknown, Won
from verbguard.replay import (
    IDEMPOTENCY_KEY,
    KeyProblem,
    fields_of,
    is_multipart,
    kept,
    keyed_head,
    keyless_head,
    parse_key,
    principal_of,
    readable,
    recorded,
    request_digest,
    stored_headers,
)
from verbguard.resources import Judged, Plan, refusal
from verbguard.rules import Rule, replaying
from verbguard.rules.methods import HOSTS

__all__ = ["PENDING", "Exchange", "refused"]

REPLAYED = (b"idempotent-replayed", b"true")

# A refusal that leaves more content than this unread closes an HTTP/1 connection: draining it would cost more than a new one.
PENDING = 64 << 10

_SMALL = 4096  # bytes of content that are sooner copied than hashed apart

KEYLESS_WAIT = 5.0  # seconds that a keyless PUT waits for its running twin before it runs itself

_M = (b"m", b"M")

# What is said of a first answer that cannot be repeated.
_REMAINS = {
    State.TOO_LARGE: "exceeded what is kept",
    State.BROKEN: "ended before it was complete",
    State.SEALED: "is kept in a form that cannot be read here",
}


class Exchange(Answering):
    """The life of one request through one plan.

    After `open`, `mode` says whether a claim is wanted; what follows the app's answer stands in `Answering`.
    """

    mode = ""  # "keyed", "keyless" or nothing: whether this request claims
    layout: Any = None  # of the request's fields, as they came
    principal = b""
    key = b""
    claimed_as: Claim | None = None
    token = 0
    refusal: Response | None = None  # what the adapter answers when the store was not asked
    inspections: tuple[Judged, ...] = ()  # what is to be asked of the request's content: see `inspect`
    conditional = False  # whether the request waits for its turn, or a condition of it for the target's state: see `conditions`
    unread = True  # whether the request's content is still with the server
    seen: tuple[str, ...] = ()  # the target's ETags after the run, where a replay must verify them
    begun = False  # something of the answer has left; set by the adapter

    # ---- the request

    def open(self) -> Response | None:
        """The answer that the head of the request alone decides, or None: then `mode` says whether to claim."""
        plan = self.plan
        if plan.confirms:
            plan = self.plan = self.guard.confirmed(self.request)
        if plan.refused is not None:
            return refused(self.guard, plan, self.request, self.may_close)
        for note in plan.notes:
            self.guard.repeat(note)
        marks = self.marks = self.request.deciding(BY_NAMES)
        self.layout = self.request.layout  # what a rule takes away from the request has decided all the same
        if marks.get(b"content-type") == b"":  # names nothing, as in WSGI, where an empty one is none
            self.layout = Layout((name, 0) for name in self.layout.names if name != b"content-type")
        asked = plan.asked(self.layout)
        if plan.host is not None and not HOSTS[marks.get(b"host")]:
            asked = (plan.host, *asked)
        if asked:
            answer = self._triggered(asked)
            if answer is not None:
                return answer
        if plan.inspections:
            self.inspections = plan.inspected(self.layout)
        if not plan.unsafe:
            return None
        if plan.states and (plan.serialises or self.layout.conditional):
            self.conditional = True
        guard = self.guard
        if guard.ages:
            self.touch = touch_of(self.request, plan, marks)
        if plan.keyed:
            if IDEMPOTENCY_KEY in marks:
                return self._keyed()
            if plan.replay.required:
                return self._refuse(
                    replaying.MISSING, 400, "Send an Idempotency-Key with a value that is new for each operation."
                )
        fresh = b"cache-control" in marks and b"no-cache" in marks[b"cache-control"].lower()  # the client asks for execution
        contends = self.layout.contends
        if plan.keyless and guard.keyless and not fresh and not contends and not _dotted(self.request.path):
            principal = self._principal()
            if principal is not None:
                self.principal = principal
                self.mode = "keyless"
        return None

    def inspect(self, content: bytes | Iterable[bytes]) -> Response | None:
        """The refusal that the request's content decides; nothing is claimed yet. Content in pieces is too large for memory;
        they can be gone through more than once. Content that the server does not hand over is no pieces.
        """
        self.unread = False
        for rule, action in self.inspections:
            finding = rule.check(self.request, self.plan.target, content)
            if finding is not None:
                self._tell(finding, rule, action)
                if action is Action.REJECT:
                    return finding.answer or refusal(finding, rule)
        return None

    def _triggered(self, asked: tuple[Judged, ...]) -> Response | None:
        for rule, action in asked:
            finding = rule.check(self.request, self.plan.target)
            if finding is None:
                continue
            self._tell(finding, rule, action)
            if action is Action.REJECT:
                return self._closing(finding.answer or refusal(finding, rule))
            if action is Action.REPAIR and finding.drop:
                self.request.drop(finding.drop)
        return None

    def _keyed(self) -> Response | None:
        try:
            self.key = parse_key(self.marks[IDEMPOTENCY_KEY], strict=self.plan.strict_keys)
        except KeyProblem as error:
            rule = next(each for each in (replaying.SYNTAX, replaying.SINGLE, replaying.FORMAT) if each.id == error.rule)
            return self._refuse(rule, 400, error.detail)
        principal = self._principal()
        if principal is None:
            return self._refuse(replaying.PRINCIPAL, 400, "An Idempotency-Key belongs to somebody; this request to nobody.")
        self.principal = principal
        self.mode = "keyed"
        return None

    def _principal(self) -> bytes | None:
        """Who asks, as a digest; None when the application's own callable does not know."""
        request, guard = self.request, self.guard
        if guard.principal is not None:
            who = guard.principal(request)
            return None if who is None or who == "" or who == b"" else sha256(fields_of(who)).digest()[:16]
        certificate, names, marks = request.client_certificate, self.layout.credentials, self.marks
        if certificate is None and len(names) == 1:
            credential = names[0], marks[names[0]]
            return guard.principals.get(credential) or guard.remember(credential, principal_of([credential]))
        return principal_of([(name, marks[name]) for name in names], certificate)

    def claim(self, content: Any) -> Claim:
        """The claim for this request; `content` is all of it as bytes, or an iterable of its pieces when it is large."""
        plan, request, replay = self.plan, self.request, self.plan.replay
        self.unread = False
        marks = self.marks
        kind = marks.get(b"content-type", b"")
        multipart = kind[:1] in _M and is_multipart(kind)
        keyed = self.mode == "keyed"
        if keyed:
            head = keyed_head(request, marks, b"multipart" if multipart else kind, self.layout.extras)
        else:
            head = self.principal + keyless_head(request.target, request.meaning(BY_NAMES), multipart)
            if plan.verifies:
                head += b"\0" + SEEN  # a process that does not verify must not find the record
        if multipart or type(content) is not bytes or len(content) > _SMALL or replay.fingerprint != "bytes":
            print_ = request_digest(head, content, kind, replay.fingerprint)
        else:
            print_ = sha256(head + b"\n" + content).digest()
        ident = self.guard.scope + (self.principal + self.key if keyed else print_)
        keep = replay.keep if keyed else plan.window
        claim = self.claimed_as = Claim(
            ident,
            print_,
            self.touch,
            not keyed,
            plan.reruns,
            replay.lease,
            keep,
            self.principal,
            self.key,
            request.method,
            request.path,
        )
        return claim

    @property
    def patience(self) -> float:
        """How many seconds to wait for a running twin."""
        wait = self.plan.replay.wait
        if wait is not None:
            return wait
        return KEYLESS_WAIT if self.mode == "keyless" else 0.0

    def claimed(self, outcome: Outcome) -> Response | None:
        """What the store's word means: the answer to send, or None to run the app."""
        if isinstance(outcome, Won):
            self.token = outcome.token
            self.capturing = True
            return None
        if type(outcome) is Done:
            return self._replay(outcome.record)
        if type(outcome) is Clash:
            return self._refuse(
                replaying.REUSE,
                422,
                "This Idempotency-Key was used for another request; a new operation needs a new key.",
            )
        if type(outcome) is Unknown:
            return self._refuse(
                replaying.UNKNOWN,
                409,
                "The first attempt was cut off and may have taken effect. Look before you send it again with a new key.",
            )
        assert type(outcome) is Busy
        if self.mode == "keyless":
            self.unprotected()
            return None
        return self._refuse(
            replaying.INFLIGHT,
            409,
            "The first request with this Idempotency-Key is still running.",
            [(b"retry-after", b"1")],  # seconds; most requests are over by then
        )

    def reconciled(self, verdict: Any) -> Record | None:
        """The answer that the application's `on_unknown` knows, or None: it knows nothing, or the request shall run again.

        Raises TypeError for what is neither.
        """
        if verdict is None or isinstance(verdict, bool) or verdict == "rerun":
            return None
        status, headers, body = verdict
        return recorded(status, headers, body)

    def unprotected(self) -> None:
        """Nothing is claimed for this request after all; it runs as if it had not asked."""
        self.mode = ""
        self.claimed_as = None

    def _replay(self, record: Record) -> Response:
        if record.state is State.WHOLE:
            rule, target, marks = replaying.REPLAYED, self.plan.target, self.marks
            if not self.guard.heard(rule.id, target.template, record.status):
                self.say(rule, "The stored answer was sent.", Action.REPAIR, record.status)
            response = readable(record.response(), marks.get(b"accept-encoding"))
            if self.plan.verifies:
                response.headers = without(response.headers, {SEEN})
            response.headers = [*response.headers, REPLAYED]
            if b"origin" in marks:
                response.headers = self._exposed(response.headers)
            if record.status in BODILESS:
                response.body = b""
            return response
        what = _REMAINS[record.state]
        location = header(record.headers, b"location")
        known: Headers = [] if location is None else [(b"location", location)]
        finding = self.say(replaying.NOT_RETAINED, f"The first answer {what}.", Action.REJECT, 409)
        return problem(
            replaying.NOT_RETAINED.id,
            replaying.NOT_RETAINED.title,
            409,
            f"The request has run and answered {record.status}. {finding.message} It is not run again.",
            known,
            original_status=record.status,
        )

    def conditions(self, current: Any) -> Response | None:
        """The refusal of a request with a false condition; `current` is what the policy's `validator` says of the target.

        Asked when nothing else refuses or answers the request: "A server MUST ignore all received preconditions if its response
        to the same request without those conditions [...] would have been a status code other than a 2xx (Successful) or 412
        (Precondition Failed)", RFC 9110 13.2.1. Raises ValueError or TypeError for a state that nobody can read.
        """
        return self.judged(state_of(current))

    def judged(self, state: TargetState) -> Response | None:
        """`conditions`, for a state that is known already, or of which is known that it is not."""
        for rule, action in self.plan.states:
            finding = rule.check(self.request, self.plan.target, state)
            if finding is None:
                continue
            self._tell(finding, rule, action)
            if action is Action.REJECT:
                return self._closing(finding.answer or refusal(finding, rule))
        return None

    def crowded(self, detail: str) -> Response:
        """The request's turn on its target has not come."""
        return self._refuse(replaying.BUSY, 503, detail, [(b"retry-after", b"1")])

    def still_so(self, record: Record, look: Look) -> bool:
        """Whether the target is as it was seen after the run that left this record."""
        seen = header(record.headers, SEEN)
        return seen is not None and not set(look.tags).isdisjoint(seen.decode("latin-1").split("\t"))

    @staticmethod
    def is_still(outdated: Done, again: Outcome | None) -> bool:
        """Whether the store still has the record that has proved untrue; a twin may have seen it as well, and run meanwhile."""
        return type(again) is Done and header(again.record.headers, SEEN) == header(outdated.record.headers, SEEN)

    def left(self, look: Look) -> tuple[str, ...]:
        """The ETags of the state that the run left, as a look after it shows them; none where the answer itself tells of
        another, as somebody else has written since."""
        told = said_strong(self.headers)
        return look.tags if told in (None, look.said) else ()

    def sighted(self, record: Record | None) -> Record | None:
        """The record with what was seen of the target after the run; None where nothing was, as it could never be verified."""
        if record is None or not self.seen:
            return None
        seen = "\t".join(self.seen).encode("latin-1")
        return Record(record.status, [*record.headers, (SEEN, seen)], record.body, record.state)

    def unvalidated(self) -> Response | None:
        """The policy's `validator` failed: called while its exception is handled. What it protects is not run unguarded."""
        protects = any(action is Action.REJECT for _, action in self.plan.states)
        return self.guard.fault(self.request.method if protects else "GET")

    def store_down(self) -> Response | None:
        """The store does not answer: a required key is refused, anything else runs unprotected."""
        if self.mode == "keyed" and self.plan.replay.required:
            return self._refuse(
                replaying.STORE_DOWN, 503, "The key cannot be honoured now. Try again later.", [(b"retry-after", b"5")]
            )
        self.unprotected()
        return None

    def unreadable(self) -> None:
        """The server does not let the content be read to its end, so nothing can be fingerprinted."""
        if self.mode:
            self.say(replaying.UNPROTECTED, "The server hands over a chunked request without its end.", Action.OBSERVE, 0)
            self.unprotected()

    def incomplete(self) -> Response:
        """The content ended before its declared length, so nothing may run (RFC 9112 section 8)."""
        return self._refuse(replaying.INCOMPLETE, 400, "The content is shorter than Content-Length says.")

    def forbidden(self) -> Response:
        """The application's `authorize` does not let this caller have the stored answer."""
        return self._refuse(replaying.FORBIDDEN, 403, "This answer was given to an earlier request and is not repeated.")

    def _refuse(self, rule: Rule, status: int, detail: str, headers: Headers | None = None) -> Response:
        self.say(rule, detail, Action.REJECT, status)
        return self._closing(problem(rule.id, rule.title, status, detail, headers))

    def _closing(self, answer: Response) -> Response:
        """With more than a little content unread, HTTP/1 must be told that the connection ends (RFC 9110 10.1.1)."""
        return closing(answer) if self.may_close and self.unread and pending(self.request) else answer

    # ---- the end

    @property
    def storable(self) -> bool:
        """Whether the answer may still become a record; then the app is shielded from a client that went away."""
        return self.token != 0 and not self.opaque and (self.capturing or not self.status)

    @property
    def unsure(self) -> bool:
        """Whether only the app's word says that the answer was complete: several pieces and no declared length."""
        return self._declared < 0 and self._chunks is not None

    def record(self) -> Record | None:
        """What to keep of the complete answer, or None to let the claim go."""
        status = self.status
        release = self.plan.replay.release
        if self.untouched and self.capturing and status < 300 and not release and self._declared in (-1, self._size):
            content = self._body if self._chunks is None else b"".join(self._chunks)
            return Record(status, self._layout.stored(self.headers), content)
        if self.mode == "keyless":
            if not 200 <= status <= 299 or not self.capturing or not self._complete():
                return None
            return Record(status, stored_headers(self.headers), self._kept_content())
        replay = self.plan.replay
        if not kept(self.request.method, status, replay.on_error, replay.release):
            return None
        if self.replaced is not None:
            return Record(status, stored_headers(self.replaced.headers), self.replaced.body)
        if not self._complete():
            return self._remains(State.BROKEN)
        if not self.capturing:
            return self._remains(State.TOO_LARGE)
        return Record(status, stored_headers(self.headers), self._kept_content())

    def _kept_content(self) -> bytes:
        if self.dropping:
            return b""
        return self._body if self._chunks is None else b"".join(self._chunks)

    def _complete(self) -> bool:
        return self._declared < 0 or self._declared == self._size or self.dropping or not self.capturing

    def _remains(self, state: State) -> Record | None:
        """All that is known of an answer that cannot be kept. Idempotent methods may run again after a broken one."""
        if state is State.BROKEN and self.request.method in ("PUT", "DELETE"):
            return None
        location = header(self.headers, b"location")
        return Record(self.status, [] if location is None else [(b"location", location)], b"", state)

    def demoted(self) -> Record | None:
        """What to keep after all of an answer that was kept whole, when the app then raised and it may have been cut."""
        return None if self.mode == "keyless" else self._remains(State.BROKEN)

    def failed(self, cancelled: bool = False) -> Record | None:
        """What to keep when the app raised before its answer was complete, or None to let the claim go.

        A raise is the app's 500. A cancelled run has no outcome: the claim is let go, unless its answer was on its way.
        """
        if self.mode == "keyless":
            return None
        if self.begun:
            return self._remains(State.BROKEN)
        replay = self.plan.replay
        if cancelled or not kept(self.request.method, 500, replay.on_error, replay.release):
            return None
        rule = replaying.FAILED
        answer = problem(
            rule.id, rule.title, 500, "The first attempt ended in an error of the application; it is not run again."
        )
        return Record(500, answer.headers, answer.body)


def refused(guard: Guard, plan: Plan, request: Request, may_close: bool = False) -> Response:
    """The refusal that was decided at start-up."""
    assert plan.refused is not None
    for rule, action in plan.before:
        first = rule.check(request, plan.target) if rule.asks(frozenset(request.fields)) else None
        if first is not None:
            guard.tell(guard.fill(first, rule, action, plan.target))
            if action is Action.REJECT:
                answer = refusal(first, rule)
                return closing(answer) if may_close and pending(request) else answer
    finding, answer = plan.refused
    guard.repeat(finding)
    return closing(answer) if may_close and pending(request) else answer


def closing(answer: Response) -> Response:
    """The answer, after which the connection ends."""
    return Response(answer.status, [*answer.headers, (b"connection", b"close")], answer.body)


def _dotted(path: str) -> bool:
    """Whether a path has dot segments: apps differ in which resource that is, so nothing is remembered of it."""
    return "/." in path and not {".", ".."}.isdisjoint(path.split("/"))


def pending(request: Request) -> bool:
    """Whether content is waiting that is not worth reading for nothing, or better not read."""
    fields = request.fields
    if b"transfer-encoding" in fields:
        return True
    length = fields.get(b"content-length")
    if length is None:
        return False
    much = not length.isdigit() or len(length) > 9 or int(length) > PENDING
    # Content of GET is refused for "its potential as a request smuggling attack" (RFC 9110 9.3.1): what follows is not trusted.
    return much or (length != b"0" and (b"expect" in fields or request.method in ("GET", "HEAD")))
