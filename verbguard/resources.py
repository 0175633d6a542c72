"""What is decided beforehand about one resource: a plan for each method, made once and looked up by every request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from verbguard.http import Request, Response, environ_name, problem
from verbguard.layouts import AnswerLayout, Layout
from verbguard.methods import METHODS, NAMES_IN_CONTENT, REGISTERED, SAFE, may_answer
from verbguard.policy import Action, Policy, Profile, Replay
from verbguard.routes import Kind, Route, bare
from verbguard.rules import Finding, Rule, Target, When, catalogue
from verbguard.rules.methods import host_exactly_one
from verbguard.rules.status import house_table, meaningful, method_table, outside_house, status_100_599

if TYPE_CHECKING:
    from verbguard.plans import Guard

__all__ = ["Judged", "Plan", "Resource", "StatusChecks", "refusal"]

Judged = tuple[Rule, Action]

INFERRED_WINDOW = 5.0  # seconds: an inferred kind is a guess, and a short window makes a wrong guess harmless

_IMMEDIATE = (When.STATUS, When.CONTENT, When.FRAMING)


class StatusChecks(dict[int, tuple[Judged, ...]]):
    """status -> the rules that may have something to say of it, worked out when a status is first seen."""

    def __init__(self, rules: Sequence[Judged], method: str) -> None:
        super().__init__()
        self._rules = rules
        self._method = method
        self._looked: dict[tuple[int, AnswerLayout], tuple[Judged, ...]] = {}

    def of(self, status: int, layout: AnswerLayout) -> tuple[Judged, ...]:
        """Those that do have something to say where an answer has these fields."""
        key = status, layout
        found = self._looked.get(key)
        if found is None:
            found = tuple(judged for judged in self[status] if judged[0].looks(layout.names))
            if len(self._looked) >= 500:  # an app may make names up
                self._looked.clear()
            self._looked[key] = found
        return found

    def __missing__(self, status: int) -> tuple[Judged, ...]:
        if not 100 <= status <= 599:
            return tuple(judged for judged in self._rules if judged[0] is status_100_599)
        found = self[status] = tuple(
            judged for judged in self._rules if judged[0] is not status_100_599 and judged[0].concerns(self._method, status)
        )
        return found


class Awaited(dict[Any, bool]):
    """A field's name as an app spells it, in bytes or as text -> whether some rule waits for this field."""

    def __init__(self, names: frozenset[bytes]) -> None:
        super().__init__(dict.fromkeys(names, True))
        self._names = names

    def __missing__(self, name: Any) -> bool:
        plain = name if type(name) is bytes else str(name).encode("latin-1", "replace")
        found = plain.lower() in self._names
        if len(self) < 1_000:  # an app may make names up
            self[name] = found
        return found


class Heads(dict[Any, Awaited | tuple[()] | None]):
    """Which answers a rule may have something to say of, found without a look at all that they say.

    A status, or WSGI's line for it -> None: no answer; a table: those that have one of its fields; the empty tuple: any. With
    `acting`, a rule that would only tell of a missing field is passed over: ordinary answers would all have to be searched.
    """

    def __init__(self, checks: StatusChecks, *, acting: bool) -> None:
        super().__init__()
        self._checks = checks
        self._acting = acting

    def __missing__(self, status: int | str) -> Awaited | tuple[()] | None:
        found: Awaited | tuple[()] | None = None
        judged = self._checks[status if isinstance(status, int) else int(status[:3])]
        rules = [rule for rule, action in judged if not (self._acting and action is Action.OBSERVE and rule.only_misses)]
        if rules:
            names = [rule.has or rule.repeats for rule in rules]
            found = () if None in names else Awaited(frozenset().union(*(each for each in names if each is not None)))
        if len(self) < 1_000:  # an app cannot make the table grow without end
            self[status] = found
        return found


class Plan:
    """All that is decided beforehand about one method on one resource."""

    __slots__ = (
        "_asked",
        "_inspected",
        "before",
        "checks",
        "checks_given",
        "climbs",
        "confirms",
        "environ_watches",
        "given",
        "heads",
        "host",
        "idle",
        "inspections",
        "keyed",
        "keyless",
        "light",
        "looks",
        "notes",
        "passes",
        "refused",
        "refuses",
        "replay",
        "reruns",
        "roams",
        "scatters",
        "serialises",
        "states",
        "strict_keys",
        "sweeps",
        "tags",
        "target",
        "triggers",
        "unsafe",
        "verifies",
        "watches",
        "window",
    )

    def __init__(self, target: Target, guard: Guard, *, declared: bool, passes: bool, exact: bool) -> None:
        method, policy = target.method, target.policy
        self.target = target
        self.unsafe = method not in SAFE
        self.refused: tuple[Finding, Response] | None = None
        self.notes: list[Finding] = []
        self.triggers: list[Judged] = []
        self.host: Judged | None = None  # asked where a look at the value of Host shows that something is wrong with it
        self.inspections: list[Judged] = []  # what is asked of the request's content
        self._inspected: dict[Layout[Any], tuple[Judged, ...]] = {}
        self.states: list[Judged] = []  # what is asked of the target's current state, where somebody knows it
        # whether an internal GET tells the state; `observe` adds no requests to those that come
        derives = policy.preconditions == "derive" and guard.profile is not Profile.OBSERVE
        known = policy.validator is not None or derives
        self._asked: dict[Layout[Any], tuple[Judged, ...]] = {}
        checked: list[Judged] = []
        for rule in catalogue().values():
            action = rule.action(guard.profile, policy, target.mapped, guard.gateway)
            if action is Action.OFF:
                continue
            if rule is host_exactly_one:
                self.host = rule, action
            elif rule.when is When.REQUEST and (rule.methods is None or method in rule.methods):
                if rule.fields is not None or rule.lacks is not None:
                    self.triggers.append((rule, action))
                elif self.refused is None:
                    self._decide(rule, action, guard)
            elif rule.when is When.BODY and rule.concerns_method(method):
                self.inspections.append((rule, action))
            elif rule.when is When.STATE and known and self.unsafe and method != "CONNECT":
                # conditions of safe methods are the application's: they save content and protect nothing
                self.states.append((rule, action))
            elif rule.when in _IMMEDIATE and (method in METHODS or rule.when is When.FRAMING):
                checked.append((rule, action))
        relevant = _relevant(checked, target)
        self.checks = StatusChecks([judged for judged in relevant if judged[0].given is None], method)
        # the same for a request that carries a field which some of the rules wait for
        self.checks_given = StatusChecks(relevant, method)
        self.heads = Heads(self.checks_given, acting=guard.profile is Profile.GUARD)
        self.given = frozenset(name for rule, _ in relevant for name in rule.given or () if rule.concerns_method(method))
        replay = policy.replay if guard.profile is not Profile.OBSERVE else None
        self.replay: Replay = replay or Replay(keyed=False, keyless=False)
        self.keyed = replay is not None and replay.keyed and method in METHODS and METHODS[method].keyed
        self.keyless = method == "PUT" and replay is not None and _keyless(replay, target.kind)
        self.verifies = self.keyless and self.replay.verify is not None
        self.tags = derives and method in ("GET", "HEAD")  # whether answers get an ETag that is derived from them
        # one write after the other; a new member of a collection takes no state away from anybody
        self.serialises = derives and bool(self.states) and (method, target.kind) != ("POST", Kind.COLLECTION)
        # whether something is to be prepared before the app runs
        self.looks = self.verifies or self.tags or (derives and bool(self.states))
        self.window = self.replay.window if declared else min(self.replay.window, INFERRED_WINDOW)
        self.reruns = method in ("PUT", "DELETE") or self.replay.after_crash == "rerun"
        self.strict_keys = catalogue()["idem-key-syntax"].action(guard.profile, policy) is Action.REJECT
        self.scatters = self.unsafe and target.kind in (Kind.UNKNOWN, Kind.ACTION)
        self.roams = method in NAMES_IN_CONTENT  # nobody reads there what else it changes
        self.climbs, self.sweeps = guard.reach(target) if self.unsafe else (False, False)
        self.confirms = self.refused is not None and not exact  # only the app's router knows whether the path lands here
        self.passes = passes  # another guard acts there
        # what an otherwise ordinary request must be searched for; not for the sake of findings alone, unless they are all that
        # is wanted
        acts = guard.profile is not Profile.GUARD or any(
            action is not Action.OBSERVE and (target.mapped or _asked_for(rule, policy)) for rule, action in self.triggers
        )
        watching = [rule for rule, _ in self.triggers if acts or guard.gateway and rule.gateway is Action.REJECT]
        self.watches = frozenset(name for rule in watching for name in rule.fields or ())
        self.before = tuple(judged for judged in self.triggers if judged[0].before)
        self.environ_watches = frozenset(map(environ_name, self.watches))
        # nothing to do but to look at the status of the answer
        searched = any(rule.fields is None for rule, _ in self.triggers) or bool(self.inspections)
        self.light = not (self.unsafe or self.passes or self.refused or self.notes or searched or self.tags) and method not in (
            "HEAD",
            "OPTIONS",
            "TRACE",
        )
        if self.light:
            self.host = None  # whether a GET is refused must not hang on what else is looked for in it
        self.idle = self.light and not relevant  # not even that
        self.refuses = self.refused is not None and not self.confirms

    def asked(self, layout: Layout[Any]) -> tuple[Judged, ...]:
        """The rules that have something to say of a request with these fields."""
        found = self._asked.get(layout)
        return _asking(self.triggers, layout, self._asked) if found is None else found

    def inspected(self, layout: Layout[Any]) -> tuple[Judged, ...]:
        """The rules that want to see the content of a request with these fields."""
        found = self._inspected.get(layout)
        return _asking(self.inspections, layout, self._inspected) if found is None else found

    def _decide(self, rule: Rule, action: Action, guard: Guard) -> None:
        """A rule that looks only at the target speaks once, now."""
        finding: Finding | None = rule.check(Request(self.target.method, self.target.template), self.target)
        if finding is None:
            return
        guard.fill(finding, rule, action, self.target)
        if action is Action.REJECT:
            self.refused = finding, finding.answer or refusal(finding, rule)
        else:
            self.notes.append(finding)


def _asking(rules: Sequence[Judged], layout: Layout[Any], known: dict[Layout[Any], tuple[Judged, ...]]) -> tuple[Judged, ...]:
    if len(known) >= 500:  # clients choose names
        known.clear()
    found = known[layout] = tuple(judged for judged in rules if judged[0].asks(layout.names))
    return found


def _relevant(rules: Iterable[Judged], target: Target) -> list[Judged]:
    """The rules about answers in the order in which they are asked; a status table is asked only where it says no."""
    found = []
    for judged in sorted(rules, key=lambda each: _IMMEDIATE.index(each[0].when)):
        rule = judged[0]
        if rule is method_table:
            outside = _meaningless(target.method)
            if target.method in target.policy.house:
                outside = frozenset(status for status in outside if not meaningful(target, status))
            judged = replace(rule, statuses=outside), judged[1]
        elif rule is house_table:
            if target.method not in target.policy.house:
                continue
            outside = frozenset(status for status in range(200, 500) if outside_house(target, status))
            judged = replace(rule, statuses=outside), judged[1]
        found.append(judged)
    return found


@cache
def _meaningless(method: str) -> frozenset[int]:
    """The final statuses that mean nothing to one of HTTP's own methods; only for these is the status table asked."""
    return frozenset(status for status in range(200, 600) if not may_answer(method, status))


def _asked_for(rule: Rule, policy: Policy) -> bool:
    """Whether a policy chooses what this rule does; on a bare app an ordinary safe request is searched for nothing else."""
    return rule.id in policy.rules or (rule.opted is not None and rule.opted(policy))


def _keyless(replay: Replay, kind: Kind) -> bool:
    """Keyless replay stays off where nothing says what the resource is."""
    if kind is Kind.UNKNOWN or kind is Kind.COLLECTION:
        return bool(replay.keyless) and kind is Kind.COLLECTION
    return replay.keyless is not False and (kind is not Kind.ACTION or bool(replay.keyless))


def refusal(finding: Finding, rule: Rule) -> Response:
    """The problem document that a rejecting or replacing rule sends."""
    return problem(rule.id, rule.title, finding.status, finding.message, finding.headers)


class Resource:
    """The routes that one path reaches, as HTTP sees them: one resource with one set of methods.

    `routes` share the template that the request lands on; `reached` are all that its path matches, for Allow.
    """

    __slots__ = (
        "_guard",
        "allow",
        "declared",
        "derives",
        "exact",
        "kind",
        "methods",
        "passes",
        "plans",
        "policies",
        "routes",
        "template",
        "why",
    )

    def __init__(self, guard: Guard, routes: tuple[Route, ...], reached: tuple[Route, ...], template: str = "") -> None:
        self._guard = guard
        self.routes = routes
        self.template = template or bare(routes[0].template)
        self.policies = guard.policies_of(routes, self.template)
        # a state that is derived for one method is the state of the resource, or no GET would show the ETag that a PUT names
        self.derives = any(policy.preconditions == "derive" for policy in self.policies.values())
        self.kind, self.why, self.declared = guard.kind_of(routes, self.template, self.policies)
        self.methods = _methods(reached, self._shown())
        self.passes = bool(routes) and routes[0].guarded
        self.exact = all(route.exact for route in routes)
        self.allow = self._allow()
        self.plans: dict[str, Plan] = {}

    def _allow(self) -> frozenset[str]:
        allowed = set(self.methods)
        if not allowed and self.kind is Kind.COLLECTION and self.declared:
            # what the word means, where no route says more; POST has no meaning on a DAV collection (RFC 4918 9.5)
            dav = any(self._inherited(policy).extension == "webdav" for policy in self.policies.values())
            allowed = {"GET", "DELETE"}.union(*self._shown()) if dav else {"GET", "POST"}
        if not allowed:
            return frozenset()
        allowed.add("OPTIONS")
        allowed -= {"TRACE", "CONNECT"} - {name for policy in self.policies.values() for name in policy.methods}
        if "GET" in allowed:
            allowed.add("HEAD")
        put = self.policies.get("PUT", self.policies[""])
        if self.kind is Kind.COLLECTION and put.put == "refuse" and self._guard.refuses_put(put):
            allowed.discard("PUT")
        return frozenset(allowed)

    def plan(self, method: str) -> Plan:
        """The plan for a method; kept where the method is one that can be asked for, so that tokens cannot fill memory."""
        plan = self.plans.get(method)
        if plan is None:
            plan = Plan(self._target(method), self._guard, declared=self.declared, passes=self.passes, exact=self.exact)
            if method in REGISTERED or method in self.methods:
                self.plans[method] = plan
        return plan

    def _target(self, method: str) -> Target:
        host = self.routes[0].host if self.routes else ""
        child = self._guard.child_of(host, self.template) if self.kind is Kind.COLLECTION else None
        return Target(
            method=method,
            template=self.template,
            kind=self.kind,
            policy=self._policy(method),
            allow=self.allow,
            known=self._guard.known,
            mapped=self._guard.router is not None,
            child=child,
            resolves=self._resolves,
        )

    def _policy(self, method: str) -> Policy:
        policy = self.policies.get(method, self.policies[""])
        if self.derives and policy.validator is None:
            policy = replace(policy, preconditions="derive")
        return self._inherited(policy)

    def _inherited(self, policy: Policy) -> Policy:
        """What is promised for a method. The project's house table and extension hold wherever a route does not say another."""
        default = self._guard.default
        if policy.extension is None and default.extension is not None:
            policy = replace(policy, extension=default.extension)
        if not default.house or default.house.keys() <= policy.house.keys():
            return policy
        return replace(policy, statuses={**default.house, **policy.house})

    def _shown(self) -> list[frozenset[str]]:
        """What policies add to Allow. What the default says of a kind of server is not said of an application's own routes."""
        if self._guard.router is None:
            return [self._inherited(policy).shown for policy in self.policies.values()]
        default = self._guard.default
        return [policy.methods if policy is default else policy.shown for policy in self.policies.values()]  # type: ignore[misc]

    def replays(self) -> list[Replay]:
        """The replay policy of every method here that honours a key; where the routes do not show the methods, of all."""
        methods = [name for name in self.methods or METHODS if name in METHODS and METHODS[name].keyed]
        policies = [self.policies.get(name, self.policies[""]) for name in methods]
        return [policy.replay for policy in policies if policy.replay is not None]

    def _resolves(self, path: str) -> bool:
        """Whether GET finds a resource at this path."""
        map = self._guard.map
        return map is not None and any(route.takes is None or "GET" in route.takes for route in map.settle(path))


def _methods(routes: Sequence[Route], shown: Iterable[frozenset[str]]) -> frozenset[str]:
    """The union of what the routes and policies show; empty when one of the routes does not say."""
    if not routes or any(route.takes is None for route in routes):
        return frozenset()
    found: set[str] = set()
    for route in routes:
        found |= route.takes or frozenset()
    return frozenset(found.union(*shown))
