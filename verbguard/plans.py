"""Policies x rules x an application's routes, compiled once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from hashlib import sha256
from inspect import iscoroutinefunction
from typing import Any

from verbguard.declarations import check_rules, checked, declared_routes
from verbguard.errors import ConfigError, nearest
from verbguard.http import Request, Response, problem
from verbguard.methods import SAFE
from verbguard.observers import LogObserver, Observer, logger
from verbguard.policy import Action, Policy, Profile, policy_of, word
from verbguard.resources import Plan, Resource
from verbguard.routes import Kind, Route, RouteMap, Router, bare, infer_kinds, shape
from verbguard.rules import Finding, Rule, Target, catalogue
from verbguard.rules.methods import absolute_form, origin_form
from verbguard.rules.replaying import FAULT

__all__ = ["Guard"]

Place = tuple[str, str]  # a host, mostly empty, and a template

_LONGEST = 40  # characters of a client's method that are worth telling


class Guard:
    """A team's policies and the rules, ready to be asked about an application's routes.

    Raises ConfigError for policies that cannot be meant.
    """

    def __init__(
        self,
        policies: Mapping[str, Policy] | None = None,
        default: Policy | None = None,
        profile: str | Profile = Profile.GUARD,
        principal: Callable[[Any], Any] | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        self.profile = word(Profile, profile, "profile")
        self.policies = checked({} if policies is None else policies)
        self._by_template: dict[str, list[tuple[str, Policy]]] = {}
        for key, policy in self.policies.items():
            self._by_template.setdefault(shape(key.rpartition(" ")[2]), []).append((key, policy))
        if default is not None and not isinstance(default, Policy):
            raise ConfigError(f"default = {default!r}: a Policy")
        self.default = default or Policy()
        if principal is not None and not callable(principal):
            raise ConfigError(f"principal = {principal!r}: a callable that takes the request")
        if principal is not None and iscoroutinefunction(principal):
            raise ConfigError(f"principal = {principal!r}: a plain function; who asks is told by the request itself")
        self.principal = principal
        if not isinstance(observers, Iterable):
            raise ConfigError(f"observers = {observers!r}: a sequence of callables")
        self.observers: tuple[Observer, ...] = tuple(observers) or (LogObserver(),)
        self._only_log = self.observers[0] if len(self.observers) == 1 and type(self.observers[0]) is LogObserver else None
        for observer in self.observers:
            if not callable(observer):
                raise ConfigError(f"observers: {observer!r} is not a callable that takes a finding")
        check_rules("default", self.default)
        self.scope = b""
        self.shares = False  # whether other processes use the same store
        self.gateway = False  # whether the app is a service behind a gateway
        self.known: frozenset[str] = frozenset()
        self.trusted_from = 0.0  # until this moment of the adapters' clock nothing keyless is replayed
        self.owes_epoch = False  # the others who share the store do not know yet that it failed
        replays = [policy.replay for policy in (*self.policies.values(), self.default) if policy.replay is not None]
        self.longest_window = max([30.0, *(replay.window for replay in replays)])
        self.keyless = True  # off where other writers may not share the store
        self.ages = False  # whether anything here needs to know that a state has changed
        self.principals: dict[tuple[bytes, bytes], bytes] = {}
        self._kinds: dict[Place, tuple[Kind, str]] = {}
        self._children: dict[Place, str] = {}
        self._stateful: list[list[str] | None] = []  # the templates whose state a keyless answer may tell
        self.shallowest = 0  # segments of the shortest path whose state a keyless answer may tell
        self.map: RouteMap | None = None
        self.router: Router | None = None
        self._version: object = None
        self._started = False  # until then nothing is found, so that the first request starts the guard
        self.unmapped = Resource(self, (), (), "(unmapped)")
        self.find: Callable[[str], Any] = _nowhere

    # ---- start-up

    def compile(self, router: Router | None = None) -> None:
        """Read the routes and check the policies against them. Raises ConfigError."""
        self.router = router
        if router is not None:
            self._version = router.version()
        routes = list(router.routes()) if router is not None else declared_routes(self.policies)
        if router is not None:
            routes = self._below_mounts(routes) + routes
        templates = [bare(route.template) for route in routes if not route.opaque]
        if router is not None:
            self._check_templates(templates)
        self._kinds = _inferred(routes)
        self._declare(routes)
        self._children = _children(self._kinds)
        # Guards of one app share records where they share a store in memory; those of two apps never do. What processes share
        # is told apart by its prefix, schema or file: a deployment that adds a route must not forget every key.
        apart = sha256("\n".join(sorted(templates)).encode("utf-8", "surrogatepass")).digest()[:8]
        self.scope = b"" if self.shares else apart
        self.ages = self.profile is not Profile.OBSERVE and any(kind is not Kind.UNKNOWN for kind, _ in self._kinds.values())
        self._stateful = self._with_state(routes)
        self.shallowest = min([0 if segments is None else len(segments) for segments in self._stateful], default=0)
        self.known = frozenset().union(*(route.takes or () for route in routes))
        self.unmapped = Resource(self, (), (), "(unmapped)")
        self.map = RouteMap(routes, lambda landing, reached: Resource(self, landing, reached))
        if self._started:
            self.find = self._finder()
        for group in _by_shape(routes):  # what contradicts itself shows now, not at the first request
            self.map.junction(group, group)

    def start(self, shared: bool) -> None:
        """Say once what a developer should know. `shared`: whether all writers of this app use the same store."""
        self._started = True
        self.keyless = shared and self.profile is not Profile.OBSERVE
        if not shared and self.ages:
            logger.warning(
                "replay of PUT without a key is off: several workers run, and a store in memory does not see what the "
                "others do; give guard() a store that they share"
            )
        if self.map is None:
            return
        if not shared and self.profile is not Profile.OBSERVE and self.derives:
            logger.warning(
                "preconditions = 'derive': several workers run, and with a store in memory writes take turns only within each; "
                "give guard() a store that they share"
            )
        self.find = self._finder()
        resources = [self.map.junction(group, group) for group in _by_shape(self.map.routes)]
        for resource in resources:
            self._tell_refused(resource)
        if self.principal is None and self.profile is not Profile.OBSERVE:
            self._tell_principal(resources if self.map.routes or self.router is not None else [self.unmapped])

    @property
    def derives(self) -> bool:
        """Whether any resource's state is known by an internal GET."""
        assert self.map is not None
        resources = [self.map.junction(group, group) for group in _by_shape(self.map.routes)]
        return any(resource.derives for resource in (*resources, self.unmapped))

    def _tell_principal(self, resources: Sequence[Resource]) -> None:
        """Whose the records are, where there can be any."""
        replays = [replay for resource in resources for replay in resource.replays()]
        if not replays:
            return
        required = any(replay.required for replay in replays)
        logger.log(
            logging.WARNING if required else logging.INFO,
            "replay records belong to the digest of a request's credentials (Authorization, API keys, session cookies)%s",
            "; where tokens rotate between a request and its retry, give guard() a principal callable" if required else "",
        )

    def _tell_refused(self, resource: Resource) -> None:
        if resource.kind is not Kind.COLLECTION or "PUT" not in resource.methods or "PUT" in resource.allow:
            return
        finding = Finding(
            f'the app has a PUT here, and it is refused because this is a collection ({resource.why}); put="allow" allows it'
        )
        rule = catalogue()["put-no-collection"]
        self.tell(self.fill(finding, rule, Action.REJECT, resource.plan("PUT").target))

    def _finder(self) -> Callable[[str], Any]:
        """How a path is looked up. Without a single route everything but the asterisk is one unknown resource."""
        assert self.map is not None
        if self.map.routes or self.router is not None:
            return self.map.find
        unmapped = self.unmapped
        return lambda path: unmapped if path[:1] == "/" else None

    def refresh(self) -> bool:
        """Read the routes again if the application has changed them; True when it has."""
        if self.router is None or self.router.version() == self._version:
            return False
        self.compile(self.router)
        return True

    def settle(self, request: Request) -> Plan:
        """The plan for a request whose path the map alone does not decide: the application's router does."""
        path, method = request.path, request.method
        if path == "*" or method == "CONNECT":
            return Resource(self, (), (), path or "(no path)").plan(method)
        if path and path[0] != "/":
            plan = self._elsewhere(request)
            if plan is not None:
                return plan
            path = request.path
        found = self.map.find(path) if self.map is not None else None
        if found is None and self.map is not None:
            routes = self._reached(request)
            if routes:
                landing = _landing(routes, method) if self.router is not None else _nearest(routes)
                found = self.map.junction(landing, routes)
        return (found or self.unmapped).plan(method)

    def _elsewhere(self, request: Request) -> Plan | None:
        """The plan for a target that is no path; None where nothing is to be done about it."""
        path = request.path
        inside = origin_form(path)
        if inside is None:
            plan = Resource(self, (), (), path).plan(request.method)
            return plan if plan.refuses else None
        within = Request(request.method, request.below(inside), request.headers, request.query, request.prefix)
        target = self.settle(within).target
        action = absolute_form.action(self.profile, target.policy)
        finding = None if action is Action.OFF else absolute_form.check(request, target)
        if finding is None:
            return None
        self.tell(self.fill(finding, absolute_form, action, target))
        if action is not Action.REPAIR:
            return None
        if finding.answer is None:
            request.moved(inside)
            return self.settle(request)
        plan = Resource(self, (), (), "(target)").plan(request.method)
        plan.refused = finding, finding.answer
        plan.refuses, plan.light = True, False
        return plan

    def confirmed(self, request: Request) -> Plan:
        """The plan where the app's router lands, asked because the path alone would have refused the request."""
        assert self.map is not None
        assert self.router is not None
        routes = self.router.matching(request)
        if not routes:
            return self.unmapped.plan(request.method)
        plan: Plan = self.map.junction(_landing(routes, request.method), routes).plan(request.method)
        return plan

    def _reached(self, request: Request) -> list[Route]:
        """All routes that the path reaches, the preferred one first."""
        assert self.map is not None
        routes = self.map.settle(request.path)
        if not routes and self.refresh():
            routes = self.map.settle(request.path)
        behind = [route for route in routes if route.declared]
        if behind and self.router is not None:
            return behind  # a policy knows more than the mount
        if self.router is None:
            return routes or self.map.settle(_plain(request.path))
        certain = bool(routes) and all(route.exact for route in routes)
        if "\n" in request.path:
            return self.router.matching(request)  # routers differ in what they make of a line feed at the end
        if certain and self.router.declared_order:
            return routes
        alone = len({(shape(route.template), route.types) for route in routes}) == 1
        if alone and not request.unsafe and "//" not in request.path and not self._redirects(request.path):
            return routes
        return self.router.matching(request)

    def _redirects(self, path: str) -> bool:
        """Whether some route may redirect this path to the one with a slash, for its own methods."""
        assert self.map is not None
        return any(route.redirects for route in self.map.settle(path + "/"))

    def _declare(self, routes: Sequence[Route]) -> None:
        """A declared kind counts for its neighbours too: an ITEM that a policy names has a parent."""
        for group in _by_shape(routes):
            template = bare(group[0].template)
            kind = self._declared_kind(group, template)
            if kind is not None:
                self._kinds[group[0].host, template] = (kind, "declared")

    def _with_state(self, routes: Sequence[Route]) -> list[list[str] | None]:
        """Whatever says it: an inferred kind, a policy by its template, or one on the endpoint."""
        decorated = {bare(group[0].template): self.policies_of(group, bare(group[0].template)) for group in _by_shape(routes)}
        found: list[list[str] | None] = []
        for (_, template), (kind, _) in self._kinds.items():
            policies = [policy for _, policy in self._named(template)] + [self.default]
            policies += decorated.get(template, {}).values()
            asked = any(policy.replay is not None and policy.replay.keyless for policy in policies)
            if asked or kind in (Kind.ITEM, Kind.SINGLETON, Kind.STORE):
                found.append(_segments(template))
        return found

    def _below_mounts(self, routes: Sequence[Route]) -> list[Route]:
        """Policies may say what is behind a mount that shows no routes."""
        known = {shape(route.template) for route in routes}
        prefixes = [route.template.removesuffix("{path:path}") for route in routes if route.opaque]
        return [
            route
            for route in declared_routes(self.policies)
            if shape(route.template) not in known and any(route.template.startswith(prefix) for prefix in prefixes)
        ]

    def _check_templates(self, templates: Sequence[str]) -> None:
        known = {shape(template) for template in templates}
        for key in self.policies:
            template = key.rpartition(" ")[2]
            if shape(template) not in known:
                raise ConfigError(f"policies[{key!r}]: the app has no such route: {nearest(template, templates)}")

    # ---- what a resource asks

    def policies_of(self, routes: Sequence[Route], template: str) -> dict[str, Policy]:
        """method -> policy, and under the empty name the one for methods that nobody wrote a policy for."""
        by_shape = {(" " in key and key.partition(" ")[0]) or "": policy for key, policy in self._named(template)}
        found: dict[str, Policy] = {}
        for route in routes:
            for method in route.takes or ():
                decorated = policy_of(route.endpoint, method)
                if decorated is not None:
                    check_rules(f"{method} {template}", decorated)
                    found.setdefault(method, decorated)
        general = by_shape.pop("", None)
        if general is not None:
            found = {}
        found.update(by_shape)
        found[""] = general or (self.default if routes else self.default)
        return found

    def _named(self, template: str) -> list[tuple[str, Policy]]:
        return self._by_template.get(shape(template), [])

    def _declared_kind(self, routes: Sequence[Route], template: str) -> Kind | None:
        policies = [*self.policies_of(routes, template).values(), *(policy for _, policy in self._named(template))]
        kinds = {Kind(policy.kind) for policy in policies if policy.kind is not None}
        if len(kinds) > 1:
            words = " and ".join(sorted(kinds))
            raise ConfigError(f"{template}: its policies declare it {words}; a resource has one kind")
        return next(iter(kinds), None)

    def kind_of(self, routes: Sequence[Route], template: str, policies: Mapping[str, Policy]) -> tuple[Kind, str, bool]:
        """(kind, why, whether a person said so)."""
        kind = self._declared_kind(routes, template)
        if kind is not None:
            return kind, "declared", True
        if not routes:
            return Kind.UNKNOWN, "not in the route table", False
        if routes[0].opaque:
            return Kind.UNKNOWN, "an opaque mount", False
        kind, why = self._kinds.get((routes[0].host, template), (Kind.UNKNOWN, "nothing in the route table says"))
        return kind, why, False

    def child_of(self, host: str, template: str) -> str | None:
        """The one member template below a collection."""
        return self._children.get((host, template.rstrip("/")))

    def reach(self, target: Target) -> tuple[bool, bool]:
        """Whether a request may change states above its target, and below it, that a keyless answer could tell.

        A POST on a COLLECTION makes a new member and leaves the existing ones as they are. What the routes do not show
        may do anything.
        """
        creates = target.method == "POST" and target.kind is Kind.COLLECTION
        mine = _segments(target.template)
        above = below = False
        for theirs in self._stateful:
            if mine is None or theirs is None:
                return True, not creates
            shared = min(len(mine), len(theirs))
            if all(one == other or "{" in one or "{" in other for one, other in zip(mine[:shared], theirs, strict=False)):
                above = above or len(theirs) < len(mine)
                below = below or len(theirs) > len(mine)
        return above, below and not creates

    def remember(self, credential: tuple[bytes, bytes], principal: bytes) -> bytes:
        """Keep the digest of a credential that will come again; a full memory is emptied, so that it stays one."""
        if len(credential[1]) > 1_024:
            return principal
        if len(self.principals) >= 4096:
            self.principals.clear()
        self.principals[credential] = principal
        return principal

    def refuses_put(self, policy: Policy) -> bool:
        """Whether PUT on a collection is refused under this policy."""
        rule = catalogue()["put-no-collection"]
        return rule.action(self.profile, policy) is Action.REJECT

    # ---- findings

    def listen(self, *observers: Observer) -> None:
        """Let further observers hear of findings, beside those that the guard was made with."""
        self.observers = (*self.observers, *observers)
        self._only_log = None

    def fault(self, method: str) -> Response | None:
        """Called while an exception of the guard's own is handled: the refusal of an unsafe request; a safe one runs."""
        logger.exception("verbguard failed; please report this")
        refused = method not in SAFE
        action = Action.REJECT if refused else Action.OBSERVE
        self.tell(Finding("The guard itself failed.", FAULT.id, action, method, "(unknown)", 503 if refused else 0))
        if not refused:
            return None
        detail = "The request was not run, because its safety could not be judged. Try again later."
        return problem(FAULT.id, FAULT.title, 503, detail, [(b"retry-after", b"5")])

    def fill(self, finding: Finding, rule: Rule, action: Action, target: Target, status: int = 0) -> Finding:
        """Give a finding its context: which rule, on which route, what was done."""
        finding.rule = rule.id
        finding.action = action
        finding.method = target.method[:_LONGEST] if target.method.isprintable() else "(no token)"
        finding.template = target.template if target.template[:1] in "/(*" else "(target)"
        if action in (Action.REJECT, Action.REPLACE):
            finding.status = finding.status or status
        else:
            finding.status = finding.set_status or (finding.answer.status if finding.answer is not None else status)
        return finding

    def heard(self, rule: str, template: str, status: int) -> bool:
        """Whether nobody is left who would do anything about such a finding."""
        return self._only_log is not None and self._only_log.has_said(rule, template, status)

    def repeat(self, finding: Finding) -> None:
        """Hand on a finding that was made at start-up; the application's observers may do with theirs what they like."""
        if self._only_log is None:
            self.tell(copy(finding))
        elif not self._only_log.has_said(finding.rule, finding.template, finding.status):
            self.tell(finding)

    def tell(self, finding: Finding) -> None:
        """Hand a finding to the observers; one that fails is logged and harms nobody."""
        for observer in self.observers:
            try:
                observer(finding)
            except Exception:
                logger.exception("an observer of verbguard failed on %s", finding)


def _by_shape(routes: Sequence[Route]) -> list[list[Route]]:
    groups: dict[Place, list[Route]] = {}
    for route in routes:
        groups.setdefault((route.host, shape(route.template)), []).append(route)
    return list(groups.values())


def _inferred(routes: Sequence[Route]) -> dict[Place, tuple[Kind, str]]:
    """The kinds that the table shows, for each host by itself: what another host has is no sibling."""
    hosts: dict[str, dict[str, None]] = {}
    for route in routes:
        if not route.opaque:
            hosts.setdefault(route.host, {})[bare(route.template)] = None
    return {(host, template): kind for host, found in hosts.items() for template, kind in infer_kinds(found).items()}


def _plain(path: str) -> str:
    """A path as an app may understand it whose router cannot be asked: no authority, no empty or dot segments.

    A refusal that another spelling of the path could evade would be none.
    """
    scheme, separator, rest = path.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        path = "/" + rest.partition("/")[2]
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept)


def _segments(template: str) -> list[str] | None:
    """The segments of a template, or None for one that spans slashes or is none at all."""
    if not template.startswith("/") or ":path}" in template:
        return None
    return [segment for segment in template.split("/") if segment]


def _nowhere(path: str) -> Any:
    return None


def _landing(routes: Sequence[Route], method: str) -> list[Route]:
    """The routes of the template that a router picks for the method: the first that takes it, else the first of all."""
    first = next((route for route in routes if route.methods is None or method in route.methods), routes[0])
    return [route for route in routes if shape(route.template) == shape(first.template)]


def _nearest(routes: Sequence[Route]) -> list[Route]:
    """The routes of the template that says the most of a path, whatever the method: policies describe resources."""
    return [route for route in routes if shape(route.template) == shape(routes[0].template)]


def _children(kinds: Mapping[Place, tuple[Kind, str]]) -> dict[Place, str]:
    """collection -> its member template, where there is exactly one; a slash at its end makes no other."""
    found: dict[Place, dict[str, str]] = {}
    for (host, template), (kind, _) in kinds.items():
        parent, _, last = template.rstrip("/").rpartition("/")
        if kind in (Kind.ITEM, Kind.STORE) and last.startswith("{") and last.endswith("}"):
            found.setdefault((host, parent), {}).setdefault(template.rstrip("/"), template)
    return {parent: next(iter(members.values())) for parent, members in found.items() if len(members) == 1}
