"""The app's answer on its way out: what the rules make of its status, its fields and its content."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from verbguard.derived import strong_tag
from verbguard.digests import unsealed
from verbguard.http import CONTENT_FIELDS, HOP_BY_HOP, NAME, STREAMS, Headers, Request, Response, header
from verbguard.layouts import ANSWERS, AnswerLayout
from verbguard.location import MAX_BYTES
from verbguard.methods import BODILESS
from verbguard.plans import Guard
from verbguard.policy import Action
from verbguard.reach import path_named
from verbguard.records import Touch
from verbguard.resources import Judged, Plan, refusal
from verbguard.rules import CATALOGUE, Answer, Content, Finding, Rule, When

__all__ = ["Answering"]


class Answering:
    """The half of an exchange that follows the app's answer, and the findings of both halves.

    After `answered`, `status` and `headers` are what to send; `untouched` says that nothing has to be done to the answer,
    `holding` that its head must wait for content, `replaced` is a whole answer to send instead, and `again` asks for the
    app to be run as GET. `finished` is true once the last piece of the answer is known.
    """

    # Defaults stand on the class: an exchange sets only what its request makes different.
    marks: Mapping[bytes, bytes] = MappingProxyType({})  # the fields of the request that decide something
    touch: Touch | None = None
    may_close = False  # whether the interface lets an answer have fields of its HTTP/1 connection, such as Connection: close
    status = 0
    headers: Headers = []
    untouched = False
    replaced: Response | None = None
    again = False
    holding = Content.NONE
    held: bytes | bytearray = b""
    dropping = False
    capturing = False
    opaque = False
    finished = False
    _body = b""
    _chunks: list[bytes] | None = None
    _size = 0
    _declared = -1
    _layout: AnswerLayout
    _judged: tuple[Judged, ...] = ()
    _watching: tuple[Judged, ...] = ()
    _spoken: set[str] | None = None

    def __init__(self, guard: Guard, plan: Plan, request: Request) -> None:
        self.guard = guard
        self.plan = plan
        self.request = request

    def answered(self, status: int, headers: Headers) -> None:
        """The app's status and fields; afterwards `status` and `headers` are what may be sent unless `holding`."""
        self.status = status
        self.headers = headers
        self._layout = ANSWERS[tuple(map(NAME, headers))]
        if self.touch is not None or self.capturing:
            self._search(self._layout, status, headers)
        if status == 405 and self.guard.refresh():
            self.plan = self.guard.settle(self.request)
        plan = self.plan
        checks = plan.checks if plan.given.isdisjoint(self.marks) else plan.checks_given
        judged = checks[status] and checks.of(status, self._layout)
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

    def _search(self, layout: AnswerLayout, status: int, headers: Headers) -> None:
        """The fields of an answer that say what it changed, how long it is, and whether it can be kept."""
        for place in layout.lengths:
            value = headers[place][1]
            if value.isdigit():
                self._declared = int(value)
                if self._declared > self.plan.replay.max_response:
                    self.capturing = False
        if layout.kind >= 0 and headers[layout.kind][1].startswith(STREAMS):
            self.opaque = True
            self.capturing = False
        if layout.named and self.touch is not None and status < 400:
            for place in layout.named:
                path = path_named(headers[place][1], self.request)
                if path is not None:
                    self.touch.name(path, self.guard.shallowest)

    def _judge(self, judged: tuple[Judged, ...]) -> None:
        """Ask the rules about the status; hold the head when one of them has to see content."""
        while self._ask(judged, When.STATUS) and self.replaced is None:
            judged = self.plan.checks_given[self.status]
        if self.replaced is not None or self.again:
            return
        # what would only be told holds nothing back: it looks at the content as it passes
        self._watching = tuple([each for each in judged if each[0].when is When.CONTENT and each[1] is Action.OBSERVE])
        if self._watching:
            judged = tuple([each for each in judged if each not in self._watching])
        waiting = [rule for rule, _ in judged if rule.when is When.CONTENT]
        kind = header(self.headers, b"content-type") or b"" if waiting else b""
        wanting = [rule.content for rule in waiting if rule.kind is None or kind.startswith(rule.kind)]
        if Content.WHOLE in wanting and not self._readable():
            wanting.remove(Content.WHOLE)
        wants = max((content.value for content in wanting), default=0)
        self._judged = judged
        if wants and self._must_wait(Content(wants)):
            self.holding = Content(wants)
            return
        known = b"" if header(self.headers, b"content-length") == b"0" else None
        self._judge_content(known if wants else None)

    def _must_wait(self, wants: Content) -> bool:
        if wants is Content.WHOLE:
            return True
        if self.request.method == "HEAD":
            return False
        length = header(self.headers, b"content-length")
        if wants is Content.FIRST:
            return length is None
        kind = header(self.headers, b"content-type") or b""
        if b"json" not in kind or kind.startswith(STREAMS) or header(self.headers, b"content-encoding") is not None:
            return False
        return length is None or length.isdigit() and 0 < int(length) <= MAX_BYTES

    def _readable(self) -> bool:
        """Whether all of the content can be waited for, and has to be: a strong ETag of the application needs none of it."""
        if strong_tag(self.headers) is not None:
            return False
        kind, length = header(self.headers, b"content-type"), header(self.headers, b"content-length")
        if kind is not None and kind.startswith(STREAMS):
            return False
        return length is None or not length.isdigit() or int(length[:19]) <= self.plan.replay.max_response

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
        names = [name.lower() for name, _ in self.headers]
        for rule, action in judged:
            if rule.when is not when or rule.id in spoken or not rule.looks(names):
                continue
            if rule.given is not None and rule.given.isdisjoint(self.marks):
                continue
            try:
                finding = rule.check(self.request, Answer(self.status, self.headers, body), self.plan.target)
            except Exception:
                # the effect has happened: a rule that fails has nothing to say, and the client gets the app's answer
                self.guard.fault("GET")
                continue
            if finding is None:
                continue
            spoken.add(rule.id)
            self._act(finding, rule, action)
            names = [name.lower() for name, _ in self.headers]
            if self.replaced is not None or self.status != before:
                break
        return self.status != before

    def _act(self, finding: Finding, rule: Rule, action: Action) -> None:
        if not self.may_close and not HOP_BY_HOP.isdisjoint(name for name, _ in finding.add):
            finding.add = []  # PEP 3333 and HTTP/2 forbid fields of the connection
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
            drop = finding.drop | CONTENT_FIELDS if finding.set_status == 204 else finding.drop
            if b"signature-input" in self._layout.names:
                drop = drop | self._unsealed(finding, drop)
            if drop:
                self.headers = [pair for pair in self.headers if pair[0].lower() not in drop]
            if finding.add:
                self._changed(finding.add)
                self.headers = self._exposed([*self.headers, *finding.add], [name for name, _ in finding.add])
            if finding.set_status:
                self.status = finding.set_status

    def _unsealed(self, finding: Finding, drop: frozenset[bytes]) -> frozenset[bytes]:
        """The signature fields that a repair breaks."""
        rule = CATALOGUE["digest-after-repair"]
        if rule.action(self.guard.profile, self.plan.target.policy) is not Action.REPAIR:
            return frozenset()
        changed = {*drop, *(name for name, _ in finding.add), b"@status" if finding.set_status else b""}
        broken = unsealed(self.headers, changed)
        if broken:
            self._tell(Finding("A repair changes what the signature covers; the signature goes."), rule, Action.REPAIR)
        return broken

    def _changed(self, added: Headers) -> None:
        """A Location that the guard derived names a resource that this request made, or made anew."""
        value = header(added, b"location")
        path = path_named(value, self.request) if value is not None and self.touch is not None else None
        if path is not None and self.touch is not None and self.request.method != "PUT":
            self.touch.name(path, self.guard.shallowest)

    def content(self, piece: bytes, more: bool) -> bytes:
        """One piece of the app's content; returns what of it may be sent now. Empty while the head is held."""
        if self.capturing:
            size = self._size = self._size + len(piece)
            if not more and size == len(piece) and size <= self.plan.replay.max_response:
                self._body = piece  # the whole of it, as most apps send it
            else:
                self._capture(piece, more, size)
        if self._watching and (piece or not more):
            watching, self._watching = self._watching, ()
            self._ask(watching, When.CONTENT, piece)
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
        if not self.held:
            self.held = piece
        elif type(self.held) is bytearray:
            self.held += piece
        else:
            self.held = bytearray(self.held) + piece  # it may come in many small pieces
        held = self.held
        if self.holding is Content.WHOLE:
            if more and len(held) <= self.plan.replay.max_response:
                return b""
            held = bytes(held)
            self._judge_content(held if len(held) <= self.plan.replay.max_response else None)
        elif self.holding is Content.FIRST:
            if not held and more:
                return b""
            self._judge_content(bytes(held))
        elif not more:
            self._judge_content(bytes(held))
        elif len(held) > MAX_BYTES:
            self._judge_content(None)
        else:
            return b""
        self.held = b""
        if self.dropping:
            if held:
                self._dropped()
            return b""
        return bytes(held)

    def only_as_get(self) -> None:
        """What HEAD says of an ETag only the content of GET tells: the app runs as GET from the beginning."""
        self.again = True
        self._spoken = {"method-get-head-supported"}

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
            self._judge_content(bytes(self.held) or None)

    def _dropped(self) -> None:
        name = "head-no-content" if self.request.method == "HEAD" else "no-content-1xx-204-304"
        spoken = self._spoken = self._spoken or set()
        if name not in spoken:
            spoken.add(name)
            self._tell(Finding("Content was dropped."), CATALOGUE[name], Action.REPAIR)

    def _capture(self, piece: bytes, more: bool, size: int) -> None:
        if size > self.plan.replay.max_response:
            self.capturing = False
            self._chunks = None
        elif not more and self._chunks is None:
            self._body = piece
        elif piece:
            if self._chunks is None:
                self._chunks = []
            self._chunks.append(piece)

    # ---- findings

    def say(self, rule: Rule, message: str, action: Action = Action.OBSERVE, status: int = 0) -> Finding:
        """A finding that no rule's own function made."""
        self.guard.fill(finding := Finding(message, status=status), rule, action, self.plan.target, status)
        self.guard.tell(finding)
        return finding

    def _tell(self, finding: Finding, rule: Rule, action: Action) -> Finding:
        self.guard.fill(finding, rule, action, self.plan.target, self.status)
        self.guard.tell(finding)
        return finding

    def _exposed(self, headers: Headers, added: Collection[bytes] = ()) -> Headers:
        """Let a cross-origin script read what the guard adds; CORS hides every field that is not named."""
        if self.request.get(b"origin") is None:
            return headers
        names = [name for name in (b"location", b"idempotent-replayed") if header(headers, name) is not None]
        names += [b"etag"] if b"etag" in added else []
        given = header(headers, b"access-control-expose-headers")
        if given is None:
            return [*headers, (b"access-control-expose-headers", b", ".join(names))] if names else headers
        listed = {name.strip() for name in given.lower().split(b",")}
        missing = [name for name in names if name not in listed and b"*" not in listed]
        rest = [pair for pair in headers if pair[0].lower() != b"access-control-expose-headers"]
        return [*rest, (b"access-control-expose-headers", b", ".join([given, *missing]))]
