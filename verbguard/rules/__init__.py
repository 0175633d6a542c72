"""Rules: one fact of HTTP each, as a small function with an id that stays.

A rule finds; it never raises and never does anything. What is done about a finding is its action: the profile's, unless
a policy names another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from typing import Literal

from verbguard.http import Headers, Response
from verbguard.policy import Action, Policy, Profile
from verbguard.routes import Kind

__all__ = ["CATALOGUE", "FAMILIES", "Answer", "Content", "Finding", "Rule", "Target", "When", "catalogue", "rule"]


class When(Enum):
    """The moment of an exchange at which a rule looks."""

    REQUEST = "request"  # the head of the request, before anything is read
    BODY = "body"  # the request with its content, before anything is claimed
    STATUS = "status"  # the status and fields of the answer
    CONTENT = "content"  # the answer with its content
    FRAMING = "framing"  # the status that is really sent
    STATE = "state"  # the target's current validator, once the request may run and before the app does
    REPLAY = "replay"  # while a claim is judged; the exchange itself speaks


class Content(Enum):
    """How much of an answer's content a rule has to see."""

    NONE = 0
    FIRST = 1  # whether there is any
    JSON = 2  # all of it, when it is JSON below a bound
    WHOLE = 3  # all of it, whatever it is, up to `max_response`


class Answer:
    """What a rule sees of the app's answer; `body` is None where the content is not known, or not yet."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes | None = None) -> None:
        self.status = status
        self.headers = headers
        self.body = body


@dataclass(slots=True)
class Finding:
    """A rule that spoke. Observers get it with `rule`, `action`, `method`, `template` and `status` filled in.

    `status` is what the client sees when the rule rejects or replaces, otherwise the status that was found. The other
    fields are the mend: `answer` a whole response, `set_status`, `drop` and `add` a repair of the message.
    """

    message: str
    rule: str = ""
    action: Action = Action.OBSERVE
    method: str = ""
    template: str = ""
    status: int = 0
    headers: Headers = field(default_factory=list, repr=False)
    answer: Response | None = field(default=None, repr=False)
    set_status: int = field(default=0, repr=False)
    drop: frozenset[bytes] = field(default=frozenset(), repr=False)
    add: Headers = field(default_factory=list, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is known of a resource when a request with one method reaches it."""

    method: str
    template: str
    kind: Kind
    policy: Policy
    allow: frozenset[str]  # every method that the resource takes; empty when nothing is known
    known: frozenset[str] = frozenset()  # every method that any route of the application takes
    mapped: bool = True  # whether the application's routes are known at all
    child: str | None = None  # the template of this collection's members
    resolves: Callable[[str], bool] = field(default=lambda path: False, repr=False)  # does GET find something there?


Check = Callable[..., Finding | None]
Strength = Literal["MUST", "SHOULD", "MAY", "practice"]
Risk = Literal["none", "low", "medium", "high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule's facts. `default` is its action in the `guard` profile, `strict` in `strict`; `observe` only finds."""

    id: str
    title: str
    cites: str
    when: When
    check: Check = field(repr=False)
    methods: frozenset[str] | None = None
    statuses: frozenset[int] | None = None
    fields: frozenset[bytes] | None = None  # a request rule speaks only when one of these fields is present
    lacks: frozenset[bytes] | None = None  # a request rule is silent when the request has one of these; empty: all are asked
    given: frozenset[bytes] | None = None  # an answer rule speaks only when the request carries one of these fields
    has: frozenset[bytes] | None = None  # an answer rule speaks only when the answer has one of these fields
    repeats: frozenset[bytes] | None = None  # an answer rule speaks only when the answer has one of these more than once
    absent: bytes | None = None  # an answer rule is silent when the answer has this field
    content: Content = Content.NONE
    kind: bytes | None = None  # a rule about content waits for content of this media type only
    default: Action = Action.OBSERVE
    strict: Action = Action.OBSERVE
    opt: Action | None = None  # a further action, that only a policy chooses
    gateway: Action | None = None  # its action where the app is a service behind a gateway; in `observe` only to be off
    opted: Callable[[Policy], bool] | None = None  # whether a policy chooses it by another of its fields
    before: bool = False  # a request rule that is asked also where the method as such is refused
    routine: bool = False  # the everyday work of the guard: observers hear of it, the log does not
    map_needed: bool = False  # without the application's routes it only observes
    strength: Strength = "practice"  # of the source
    risk: Risk = "low"  # that it speaks where nothing is wrong

    @property
    def family(self) -> str:
        """The module that the rule is in: its subject."""
        return self.check.__module__.rpartition(".")[2]

    @property
    def actions(self) -> frozenset[Action]:
        """The actions that this rule can take; a policy may choose among them."""
        own = {self.default, self.strict, *(each for each in (self.opt, self.gateway) if each is not None)}
        if self.when is When.REPLAY and Action.REPAIR not in own:
            return frozenset(own)  # they are the answers of replay itself: to be without them is to be without replay
        return frozenset({Action.OFF, Action.OBSERVE, *own})

    def action(self, profile: Profile, policy: Policy, mapped: bool = True, gateway: bool = False) -> Action:
        """What is done when this rule speaks under a profile and a policy; `gateway`: for a service behind one."""
        chosen = policy.rules.get(self.id)
        if chosen is not None:
            return Action(chosen)
        if gateway and self.gateway is not None and (profile is not Profile.OBSERVE or self.gateway is Action.OFF):
            return self.gateway
        guard, strict = self.default, self.strict
        if self.opt is not None and self.opted is not None and self.opted(policy):
            guard = strict = self.opt
        if profile is Profile.OBSERVE or (self.map_needed and not mapped):
            return Action.OBSERVE if guard is not Action.OFF or strict is not Action.OFF else Action.OFF
        return guard if profile is Profile.GUARD else strict

    def concerns(self, method: str, status: int) -> bool:
        """Whether an answer rule has anything to say of this method and status."""
        return self.concerns_method(method) and (self.statuses is None or status in self.statuses)

    @property
    def only_misses(self) -> bool:
        """Whether an answer rule is about a field that is not there, in ordinary answers too."""
        missing = self.absent is not None and self.has is None and self.repeats is None
        return missing and (self.statuses is None or 200 in self.statuses)

    def asks(self, names: frozenset[bytes]) -> bool:
        """Whether a request rule has anything to say of a request with these fields."""
        return (self.fields is None or not self.fields.isdisjoint(names)) and (
            self.lacks is None or self.lacks.isdisjoint(names)
        )

    def looks(self, names: Sequence[bytes]) -> bool:
        """Whether an answer rule has anything to say of an answer with these field lines."""
        if self.repeats is not None and all(names.count(name) < 2 for name in self.repeats):
            return False
        return (self.has is None or not self.has.isdisjoint(names)) and (self.absent is None or self.absent not in names)

    def concerns_method(self, method: str) -> bool:
        """Whether the rule has anything to say of this method."""
        return self.methods is None or method in self.methods


CATALOGUE: dict[str, Rule] = {}


def rule(
    id: str,
    title: str,
    *,
    cites: str,
    when: When,
    methods: Collection[str] | None = None,
    statuses: Collection[int] | None = None,
    fields: Collection[bytes] | None = None,
    lacks: bytes | Collection[bytes] | None = None,
    given: Collection[bytes] | None = None,
    has: Collection[bytes] | None = None,
    repeats: Collection[bytes] | None = None,
    absent: bytes | None = None,
    content: Content = Content.NONE,
    kind: bytes | None = None,
    default: Action = Action.OBSERVE,
    strict: Action | None = None,
    opt: Action | None = None,
    gateway: Action | None = None,
    opted: Callable[[Policy], bool] | None = None,
    before: bool = False,
    routine: bool = False,
    map_needed: bool = False,
    strength: Strength = "practice",
    risk: Risk = "low",
) -> Callable[[Check], Rule]:
    """Enter a function into the catalogue. The function's docstring is the rule's page."""

    def enter(check: Check) -> Rule:
        assert id not in CATALOGUE, f"{id} is taken"
        CATALOGUE[id] = found = Rule(
            id=id,
            title=title,
            cites=cites,
            when=when,
            check=check,
            methods=None if methods is None else frozenset(methods),
            statuses=None if statuses is None else frozenset(statuses),
            fields=None if fields is None else frozenset(fields),
            lacks=None if lacks is None else frozenset([lacks] if isinstance(lacks, bytes) else lacks),
            given=None if given is None else frozenset(given),
            has=None if has is None else frozenset(has),
            repeats=None if repeats is None else frozenset(repeats),
            absent=absent,
            content=content,
            kind=kind,
            default=default,
            strict=default if strict is None else strict,
            opt=opt,
            gateway=gateway,
            opted=opted,
            before=before,
            routine=routine,
            map_needed=map_needed,
            strength=strength,
            risk=risk,
        )
        return found

    return enter


FAMILIES: tuple[str, ...] = (
    *("methods", "content", "expect", "put", "post", "patch", "delete", "query", "allow"),
    *("status", "needs", "fields", "framing"),
    *("validators", "preconditions", "ranges", "negotiation", "integrity", "replaying"),
)


def catalogue() -> dict[str, Rule]:
    """Every rule by its id, in the order of the families."""
    if "start-up" not in CATALOGUE:
        for family in FAMILIES:
            import_module(f"verbguard.rules.{family}")
    return CATALOGUE
