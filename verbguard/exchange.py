"""One request's life through its plan: values in, values out, no I/O and no clock.

An adapter calls the methods in the order of the moments: `open`, `claim`, `claimed`, then for the app's answer
`answered` and `content` for each piece, and `record` or `failed` at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from verbguard.http import Headers, Request, Response, header, problem
from verbguard.location import MAX_BYTES
from verbguard.methods import BODILESS
from verbguard.plans import Guard, Judged, Plan, refusal
from verbguard.policy import Action
from verbguard.records import Busy, Claim, Clash, Done, Outcome, Record, State, Touch, Unknown, Won, lineage
from verbguard.replay import (
    CREDENTIALS,
    IDEMPOTENCY_KEY,
    KEYED_EXTRAS,
    PRECONDITIONS,
    KeyProblem,
    fields_of,
    is_multipart,
    kept,
    keyed_head,
    keyless_head,
    parse_key,
    principal_of,
    readable,
    request_digest,
    stored_headers,
)
from verbguard.rules import CATALOGUE, Answer, Content, Finding, Rule, When, catalogue, replaying

__all__ = ["PENDING", "Exchange"]

REPLAYED = (b"idempotent-replayed", b"true")

# A refusal that leaves more content than this unread closes an HTTP/1 connection: draining it would cost more than a new one.
PENDING = 64 << 10

KEYLESS_WAIT = 5.0  # seconds that a keyless PUT waits for its running twin before it runs itself

_CONDITIONAL = frozenset(PRECONDITIONS)
_NAMING = frozenset([b"location", b"content-location"])  # the fields by which an answer says what else it changed
_STREAMS = (b"text/event-stream", b"multipart/x-mixed-replace", b"application/x-ndjson")


# How an app may spell the few fields that every answer is searched for.
_WATCHED = {
    spelling: name
    for name in (b"content-length", b"content-type", b"location", b"content-location")
    for spelling in (name, name.title())
}


def _deciding() -> frozenset[bytes]:
    """Every request field that decides something; the others need not be looked at."""
    names = {IDEMPOTENCY_KEY, b"host", b"content-type", b"cache-control", b"destination", *KEYED_EXTRAS, *CREDENTIALS}
    for rule in catalogue().values():
        names |= (rule.fields or frozenset()) | (rule.given or frozenset())
    return frozenset(names)


DECIDING = _deciding()


class Exchange:
    """The life of one request through one plan.

    After `open`, `mode` says whether a claim is wanted. After `answered`, `status` and `headers` are what to send;
    `untouched` says that nothing has to be done to the answer, `holding` that its head must wait for content, `replaced`
    is a whole answer to send instead, and `again` asks for the app to be run as GET. `finished` is true once the last
    piece of the answer is known.
    """

    # Defaults stand on the class: an exchange sets only what its request makes different.
    mode = ""  # "keyed", "keyless" or nothing: whether this request claims
    marks: Mapping[bytes, bytes] = MappingProxyType({})  # the fields of the request that decide something
    principal = b""
    key = b""
    claimed_as: Claim | None = None
    token = 0
    touch: Touch | None = None
    refusal: Response | None = None  # what the adapter answers when the store was not asked
    status = 0
    headers: Headers = []
    untouched = False
    replaced: Response | None = None
    again = False
    holding = Content.NONE
    held = b""
    dropping = False
    unread = True  # whether the request's content is still with the server
    may_close = False  # whether the interface lets an answer end its HTTP/1 connection
    begun = False  # something of the answer has left; set by the adapter
    capturing = False
    opaque = False
    finished = False
    _body = b""
    _chunks: list[bytes] | None = None
    _size = 0
    _declared = -1
    _judged: tuple[Judged, ...] = ()
    _spoken: set[str] | None = None

    def __init__(self, guard: Guard, plan: Plan, request: Request) -> None:
        self.guard = guard
        self.plan = plan
        self.request = request

    # ---- the request

    def open(self) -> Response | None:
        """The answer that the head of the request alone decides, or None: then `mode` says whether to claim."""
        plan = self.plan
        if plan.confirms:
            plan = self.plan = self.guard.confirmed(self.request)
        if plan.refused is not None:
            self.guard.tell(plan.refused[0])
            return self._closing(plan.refused[1])
        for note in plan.notes:
            self.guard.tell(note)
        marks = self.marks = self.request.deciding(DECIDING)
        if not plan.triggered.isdisjoint(marks):
            answer = self._triggered(marks)
            if answer is not None:
                return answer
        if not plan.unsafe:
            return None
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
        if plan.keyless and guard.keyless and _CONDITIONAL.isdisjoint(marks) and not self._fresh():
            principal = self._principal()
            if principal is not None:
                self.principal = principal
                self.mode = "keyless"
        return None

    def _triggered(self, marks: Mapping[bytes, bytes]) -> Response | None:
        spoken: set[str] = set()
        for name, (rule, action) in self.plan.triggers.items():
            if name not in marks or rule.id in spoken:
                continue
            spoken.add(rule.id)
            finding = rule.check(self.request, self.plan.target)
            if finding is None:
                continue
            self._tell(finding, rule, action)
            if action is Action.REJECT:
                return self._closing(finding.answer or refusal(finding, rule))
            if action is Action.REPAIR and finding.drop:
                self.request.drop(finding.drop)
        return None

    def _fresh(self) -> bool:
        """Whether the client asks for execution."""
        return b"no-cache" in self.marks.get(b"cache-control", b"").lower()

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
        certificate = request.client_certificate
        credentials = [field for field in self.marks.items() if field[0] in CREDENTIALS]
        if certificate is None and len(credentials) == 1:
            return guard.principals.get(credentials[0]) or guard.remember(credentials[0], principal_of(credentials))
        return principal_of(credentials, certificate)

    def claim(self, content: Any) -> Claim:
        """The claim for this request; `content` is all of it as bytes, or an iterable of its pieces when it is large."""
        plan, request, replay = self.plan, self.request, self.plan.replay
        self.unread = False
        marks = self.marks
        kind = marks.get(b"content-type", b"")
        multipart = kind[:1] in b"mM" and is_multipart(kind)
        keyed = self.mode == "keyed"
        if keyed:
            head = keyed_head(request, marks, b"multipart" if multipart else kind, not KEYED_EXTRAS.isdisjoint(marks))
        else:
            head = self.principal + keyless_head(request, multipart)
        if multipart or type(content) is not bytes or replay.fingerprint != "bytes":
            print_ = request_digest(head, content, kind, replay.fingerprint)
        else:
            digest = sha256(head + b"\n")
            digest.update(content)
            print_ = digest.digest()
        ident = self.principal + self.key if keyed else print_
        keep = replay.keep if keyed else plan.window
        claim = self.claimed_as = Claim(ident, print_, self.touch, not keyed, plan.reruns, replay.lease, keep)
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

    def unprotected(self) -> None:
        """Nothing is claimed for this request after all; it runs as if it had not asked."""
        self.mode = ""
        self.claimed_as = None

    def _replay(self, record: Record) -> Response:
        if record.state is State.WHOLE:
            self.say(replaying.REPLAYED, "The stored answer was sent.", Action.REPAIR, record.status)
            response = readable(record.response(), self.request.get(b"accept-encoding"))
            response.headers = self._exposed([*response.headers, REPLAYED])
            if self.request.method == "HEAD" or record.status in BODILESS:
                response.body = b""
            return response
        what = "exceeded what is kept" if record.state is State.TOO_LARGE else "ended before it was complete"
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

    def store_down(self, error: Exception) -> Response | None:
        """The store does not answer: a required key is refused, anything else runs unprotected, and both are said."""
        if self.mode == "keyed" and self.plan.replay.required:
            return self._refuse(
                replaying.STORE_DOWN, 503, "The key cannot be honoured now. Try again later.", [(b"retry-after", b"5")]
            )
        self.say(replaying.UNPROTECTED, f"The replay store failed: {error}", Action.OBSERVE, 0)
        self.unprotected()
        return None

    def unreadable(self) -> None:
        """The server does not let the content be read to its end, so nothing can be fingerprinted."""
        self.say(replaying.UNPROTECTED, "The server hands over a chunked request without its end.", Action.OBSERVE, 0)
        self.unprotected()

    def incomplete(self) -> Response:
        """The content ended before its declared length, so nothing may run (RFC 9112 section 8)."""
        return self._refuse(replaying.INCOMPLETE, 400, "The content is shorter than Content-Length says.")

    def forbidden(self) -> Response:
        """The application's `authorize` does not let this caller have the stored answer."""
        return self._refuse(replaying.FORBIDDEN, 403, "This answer was given to an earlier request and is not repeated.")

    # ---- refusals

    def _exposed(self, headers: Headers) -> Headers:
        """Let a cross-origin script read what the guard adds; CORS hides every field that is not named."""
        if self.request.get(b"origin") is None:
            return headers
        names = [name for name in (b"location", b"idempotent-replayed") if header(headers, name) is not None]
        given = header(headers, b"access-control-expose-headers")
        if given is None:
            return [*headers, (b"access-control-expose-headers", b", ".join(names))] if names else headers
        missing = [name for name in names if name not in given.lower() and given.strip() != b"*"]
        rest = [pair for pair in headers if pair[0].lower() != b"access-control-expose-headers"]
        return [*rest, (b"access-control-expose-headers", b", ".join([given, *missing]))]

    def _refuse(self, rule: Rule, status: int, detail: str, headers: Headers | None = None) -> Response:
        self.say(rule, detail, Action.REJECT, status)
        return self._closing(problem(rule.id, rule.title, status, detail, headers))

    def _closing(self, answer: Response) -> Response:
        """With more than a little content unread, HTTP/1 must be told that the connection ends (RFC 9110 10.1.1)."""
        if not self.may_close or not self.unread or not pending(self.request):
            return answer
        return Response(answer.status, [*answer.headers, (b"connection", b"close")], answer.body)

    def say(self, rule: Rule, message: str, action: Action = Action.OBSERVE, status: int = 0) -> Finding:
        """A finding that no rule's own function made."""
        self.guard.fill(finding := Finding(message, status=status), rule, action, self.plan.target, status)
        self.guard.tell(finding)
        return finding

    def _tell(self, finding: Finding, rule: Rule, action: Action) -> Finding:
        self.guard.fill(finding, rule, action, self.plan.target, self.status)
        self.guard.tell(finding)
        return finding

    # ---- the answer

    def answered(self, status: int, headers: Headers) -> None:
        """The app's status and fields; afterwards `status` and `headers` are what may be sent unless `holding`."""
        self.status = status
        # layers outside change the list that they are given; what is kept is what the app said
        self.headers = [*headers] if self.capturing else headers
        if self.touch is not None or self.capturing:
            self._search(status, headers)
        if status == 405 and self.guard.refresh():
            self.plan = self.guard.settle(self.request)
        plan = self.plan
        checks = plan.checks if plan.given.isdisjoint(self.marks) else plan.checks_given
        judged = checks[status]
        if judged:
            self._judge(judged)
        elif self.request.method == "HEAD":
            self._judge_content(None)
        else:
            self.untouched = True

    def given_up(self, status: int) -> None:
        """A rule failed: the answer passes as it is, and is not kept."""
        self.status = status
        self.holding = Content.NONE
        self.capturing = False
        self.untouched = True

    def _search(self, status: int, headers: Headers) -> None:
        """The fields of an answer that say what it changed, how long it is, and whether it can be kept."""
        for spelled, value in headers:
            name = _WATCHED.get(spelled) or _WATCHED.get(spelled.lower())
            if name is None:
                continue
            if name == b"content-length":
                if value.isdigit():
                    self._declared = int(value)
                    if self._declared > self.plan.replay.max_response:
                        self.capturing = False
            elif name == b"content-type":
                if value.startswith(_STREAMS):
                    self.opaque = True
                    self.capturing = False
            elif self.touch is not None and status < 400:
                path = path_named(value)
                if path is not None:
                    self.touch.name(path)

    def _judge(self, judged: tuple[Judged, ...]) -> None:
        """Ask the rules about the status; hold the head when one of them has to see content."""
        if judged[0][0].absent is not None:
            judged = tuple(each for each in judged if each[0].absent is None or header(self.headers, each[0].absent) is None)
            if not judged:
                self.untouched = True
                return
        while self._ask(judged, When.STATUS) and self.replaced is None:
            judged = self.plan.checks_given[self.status]
        if self.replaced is not None or self.again:
            return
        wants = max((rule.content.value for rule, _ in judged if rule.when is When.CONTENT), default=0)
        self._judged = judged
        if wants and self._must_wait(Content(wants)):
            self.holding = Content(wants)
            return
        known = b"" if header(self.headers, b"content-length") == b"0" else None
        self._judge_content(known if wants else None)

    def _must_wait(self, wants: Content) -> bool:
        if self.request.method == "HEAD":
            return False
        length = header(self.headers, b"content-length")
        if wants is Content.FIRST:
            return length is None
        kind = header(self.headers, b"content-type") or b""
        if b"json" not in kind or kind.startswith(_STREAMS) or header(self.headers, b"content-encoding") is not None:
            return False
        return length is None or length.isdigit() and 0 < int(length) <= MAX_BYTES

    def _judge_content(self, body: bytes | None) -> None:
        """The rules that see content, then those about framing; nothing is held any longer."""
        self.holding = Content.NONE
        before = self.status
        self._ask(self._judged, When.CONTENT, body)
        if self.status != before:
            self._ask(self.plan.checks_given[self.status], When.STATUS)
        if self.replaced is not None:
            return
        self._ask(self.plan.checks_given[self.status], When.FRAMING)
        if self.status in BODILESS or self.request.method == "HEAD":
            rule = CATALOGUE["head-no-content" if self.request.method == "HEAD" else "no-content-1xx-204-304"]
            self.dropping = rule.action(self.guard.profile, self.plan.target.policy) is Action.REPAIR

    def _ask(self, judged: tuple[Judged, ...], when: When, body: bytes | None = None) -> bool:
        """Whether the status changed. A rule speaks once an exchange."""
        before = self.status
        spoken = self._spoken
        if spoken is None:
            spoken = self._spoken = set()
        for rule, action in judged:
            if rule.when is not when or rule.id in spoken:
                continue
            if rule.given is not None and rule.given.isdisjoint(self.marks):
                continue
            if rule.absent is not None and header(self.headers, rule.absent) is not None:
                continue
            finding = rule.check(self.request, Answer(self.status, self.headers, body), self.plan.target)
            if finding is None:
                continue
            spoken.add(rule.id)
            self._act(finding, rule, action)
            if self.replaced is not None or self.status != before:
                break
        return self.status != before

    def _act(self, finding: Finding, rule: Rule, action: Action) -> None:
        mends = bool(finding.set_status or finding.drop or finding.add or finding.answer)
        if mends and action is Action.REPLACE:
            action = Action.REPAIR  # what can be mended is never destroyed
        elif not mends and action is Action.REPAIR:
            action = Action.OBSERVE
        self._tell(finding, rule, action)
        if action is Action.REPLACE:
            self.replaced = finding.answer or refusal(finding, rule)
            self.status = self.replaced.status
        elif action is Action.REPAIR:
            if rule.id == "method-get-head-supported":
                self.again = True
                return
            if finding.answer is not None:
                self.replaced = finding.answer
                return
            if finding.drop:
                self.headers = [pair for pair in self.headers if pair[0].lower() not in finding.drop]
            if finding.add:
                self.headers = self._exposed([*self.headers, *finding.add])
            if finding.set_status:
                self.status = finding.set_status

    def content(self, piece: bytes, more: bool) -> bytes:
        """One piece of the app's content; returns what of it may be sent now. Empty while the head is held."""
        if self.capturing:
            self._capture(piece, more)
        if not more:
            self.finished = True
        if self.holding is not Content.NONE:
            return self._held(piece, more)
        if self.dropping:
            if piece:
                self._dropped()
            return b""
        return piece

    def _held(self, piece: bytes, more: bool) -> bytes:
        held = self.held = self.held + piece if self.held else piece
        if self.holding is Content.FIRST:
            if not held and more:
                return b""
            self._judge_content(held)
        elif not more:
            self._judge_content(held)
        elif len(held) > MAX_BYTES:
            self._judge_content(None)
        else:
            return b""
        self.held = b""
        if self.dropping:
            if held:
                self._dropped()
            return b""
        return held

    def last(self, piece: bytes) -> bool:
        """Whether this piece brings the content to its declared length."""
        return 0 <= self._declared <= self._size + len(piece)

    def unseen(self) -> None:
        """The server sends the content itself: nothing of it can be kept."""
        self.opaque = True
        self.capturing = False
        self._chunks = None

    def unheld(self) -> None:
        """No content will come that the rules could wait for."""
        if self.holding is not Content.NONE:
            self._judge_content(self.held or None)

    def _dropped(self) -> None:
        name = "head-no-content" if self.request.method == "HEAD" else "no-content-1xx-204-304"
        spoken = self._spoken = self._spoken or set()
        if name not in spoken:
            spoken.add(name)
            self._tell(Finding("Content was dropped."), CATALOGUE[name], Action.REPAIR)

    def _capture(self, piece: bytes, more: bool) -> None:
        size = self._size = self._size + len(piece)
        if size > self.plan.replay.max_response:
            self.capturing = False
            self._chunks = None
        elif not more and self._chunks is None:
            self._body = piece
        elif piece:
            if self._chunks is None:
                self._chunks = []
            self._chunks.append(piece)

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
        if self.untouched and self.capturing and status < 300 and self._declared in (-1, self._size):
            content = self._body if self._chunks is None else b"".join(self._chunks)
            return Record(status, stored_headers(self.headers), content)
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


def pending(request: Request) -> bool:
    """Whether more content is waiting than is worth reading for nothing."""
    if request.get(b"transfer-encoding") is not None:
        return True
    length = request.get(b"content-length")
    if length is None:
        return False
    return not length.isdigit() or int(length) > PENDING or (length != b"0" and request.get(b"expect") is not None)


def touch_of(request: Request, plan: Plan, marks: Mapping[bytes, bytes]) -> Touch:
    """Which states this request may change, beside those that its answer names."""
    path = request.prefix + request.path
    target, above = lineage(path)
    ages = (*above, target) if plan.climbs else (target,)
    sweeps: tuple[str, ...] = (target,) if plan.sweeps else ()
    if ":" in path or b"destination" in marks:
        for named in _also(path, marks.get(b"destination")):
            here, higher = lineage(named)
            ages = tuple(dict.fromkeys((*ages, *higher, here)))
            sweeps = tuple(dict.fromkeys((*sweeps, here)))
    return Touch(target, above, ages, sweeps)


def _also(path: str, destination: bytes | None) -> Iterator[str]:
    """The item whose custom method this is (/items/1:publish changes /items/1), and where COPY and MOVE write."""
    parent, _, last = path.rpartition("/")
    if ":" in last:
        yield parent + "/" + last.partition(":")[0]
    named = path_named(destination) if destination is not None else None
    if named is not None:
        yield named


_PLAIN_PATH = re.compile(rb"/(?!/)[A-Za-z0-9\-._~!$&'()*+,;=:@/]*")


def path_named(reference: bytes) -> str | None:
    """The decoded path that a URI reference names, or None."""
    if _PLAIN_PATH.fullmatch(reference):
        return reference.decode("ascii")
    try:
        path = unquote(urlsplit(reference.decode("latin-1")).path)
    except ValueError:
        return None
    return path if path.startswith("/") else None
