"""Werkzeug's route table, as Flask has it. Nothing here imports them: an app that uses them has done so already."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from verbguard.http import Request
from verbguard.routes import Route, RouteMap

__all__ = ["WerkzeugRouter", "closes_quietly", "router_of"]


_DEEP = 64  # layers of middleware; nobody has more, and a loop must end


def router_of(app: Any) -> WerkzeugRouter | None:
    """The router of a Flask app, given the app, its bound `wsgi_app`, or layers of middleware around it; else None."""
    flask = sys.modules.get("flask.app")
    for _ in range(_DEEP if flask is not None else 0):
        for candidate in (app, getattr(app, "__self__", None)):
            if isinstance(candidate, flask.Flask):  # type: ignore[union-attr]
                return WerkzeugRouter(candidate)
        app = getattr(app, "__dict__", {}).get("app")
    return None


def closes_quietly(result: Any) -> bool:
    """Whether nothing of the application's own runs when this answer is closed: a response made of a list, as Werkzeug iterates
    it, for whose end nothing waits (`Response.call_on_close`)."""
    callbacks = getattr(result, "_callbacks", None)
    if type(result).__module__ != "werkzeug.wsgi" or not isinstance(callbacks, list):
        return False
    return all(_is_quiet(getattr(callback, "__self__", None)) for callback in callbacks)


def _is_quiet(owner: Any) -> bool:
    code = getattr(owner, "gi_code", None)
    if code is not None:
        return bool(code.co_name == "_iter_encoded")
    own = not str(getattr(getattr(type(owner), "close", None), "__module__", "")).startswith("werkzeug.")
    return not own and getattr(owner, "_on_close", None) == [] and type(getattr(owner, "response", None)) in (list, tuple)


class WerkzeugRouter:
    """The url_map of a Flask app. See `verbguard.routes.Router`."""

    declared_order = False  # Werkzeug prefers the most specific rule

    def __init__(self, app: Any) -> None:
        self._app = app
        self._routes: dict[int, Route] = {}
        self._loose_routes: dict[int, Route | None] = {}
        self._methods: frozenset[str] = frozenset()
        self._redirecting = _slashless(())
        self._remnants: dict[tuple[Route, frozenset[str]], Route] = {}

    def routes(self) -> list[Route]:
        """A rule is one and the same Route whenever it is read: two threads may read the table at once."""
        rules = [rule for rule in self._app.url_map.iter_rules() if not rule.websocket and not rule.build_only]
        known = self._routes
        self._routes = {id(rule): known.get(id(rule)) or self._route(rule) for rule in rules}
        self._methods = frozenset(method for rule in rules for method in rule.methods or ())
        self._redirecting = _slashless(self._routes.values())
        for rule in rules:
            if id(rule) not in self._loose_routes:
                self._loose_routes[id(rule)] = self._loose(rule)
        loose = (self._loose_routes[id(rule)] for rule in rules)
        return [*self._routes.values(), *(route for route in loose if route is not None)]

    def _route(self, rule: Any) -> Route:
        return Route(
            template=_template(rule),
            methods=None if rule.methods is None else frozenset(rule.methods),
            endpoint=self._app.view_functions.get(rule.endpoint),
            types=f"{_host(rule)} " + " ".join(str(converter.regex) for converter in rule._converters.values()),
            host=_host(rule),
            exact=not rule._converters and rule.subdomain in (None, "") and not rule.host,
            redirects=bool(rule.strict_slashes) and rule.rule.endswith("/") and rule.rule != "/",
            native=rule.rule,
        )

    def _loose(self, rule: Any) -> Route | None:
        """A rule that is not strict about its slash takes the path with and without it; one that spans slashes gets none."""
        if rule.strict_slashes or rule.rule == "/":
            return None
        route = self._routes[id(rule)]
        slashed = route.template.endswith("/")
        if not slashed and ":path}" in route.template:
            return None
        return Route(
            template=route.template.rstrip("/") if slashed else route.template + "/",
            methods=route.methods,
            types=route.types,
            host=route.host,
            endpoint=route.endpoint,
            exact=False,
            native=rule.rule,
        )

    def version(self) -> object:
        return len(self._app.url_map._rules)

    def matching(self, request: Request) -> list[Route]:
        """Werkzeug tells one rule for one method, so it is asked for each method that the map has; the request's own first.

        A rule that is strict about its slash redirects only the methods that it takes, and may come before one that takes the
        path as it is: of that one the other methods are left.
        """
        from werkzeug.exceptions import HTTPException
        from werkzeug.routing import RequestRedirect

        adapter = self._adapter(request)
        found: dict[int, Route] = {}
        covered: set[str] = set()
        redirected: set[str] = set()
        doubtful = self._redirectable(request.path)
        for method in (request.method, *sorted(self._methods - {request.method})):
            if method in covered:
                continue
            try:
                rule, _ = adapter.match(method=method, return_rule=True)
            except RequestRedirect:  # the app's own verdict
                redirected.add(method)
                continue
            except HTTPException:  # no route, or another method's
                continue
            route = self._routes.get(id(rule))
            if route is not None:
                found[id(route)] = route
                covered |= (route.methods or frozenset()) - doubtful
        return [self._without(route, redirected) for route in found.values()]

    def _redirectable(self, path: str) -> frozenset[str]:
        """The methods that a rule may redirect from this path to the one with a slash."""
        rules = self._redirecting.settle("/" + path.lstrip("/"))  # as Werkzeug reads a path
        return frozenset(method for rule in rules for method in rule.methods or self._methods)

    def _without(self, route: Route, methods: set[str]) -> Route:
        """The route as it is where other rules redirect these methods; always the same one, as it is looked up by identity."""
        if route.methods is None or route.methods.isdisjoint(methods):
            return route
        left = route.methods - methods
        return self._remnants.setdefault((route, left), replace(route, methods=left))

    def _adapter(self, request: Request) -> Any:
        environ = getattr(request, "environ", None)
        if environ is not None:
            return self._app.create_url_adapter(self._app.request_class(environ))
        return self._app.url_map.bind("localhost", script_name=request.prefix or "/", path_info=request.path)

    def native_allow(self, routes: Sequence[Route], method: str) -> str | None:
        found: set[str] = set()
        for route in routes:
            found |= route.methods or frozenset()
        return ", ".join(sorted(found - {method}))


def _slashless(routes: Iterable[Route]) -> RouteMap:
    """The routes that redirect to their slash, by the paths from which they do."""
    found = [replace(route, template=route.template.removesuffix("/")) for route in routes if route.redirects]
    return RouteMap(found, lambda landing, reached: None)


def _host(rule: Any) -> str:
    """The host or the subdomain that a rule is for; a map has the one or the other."""
    return rule.host or rule.subdomain or ""


def _template(rule: Any) -> str:
    """The rule's path with braces. A converter that spans slashes takes the rest of the path."""
    out = ""
    for dynamic, data in rule._trace:
        if dynamic:
            converter = rule._converters.get(data)
            out += "{" + data + ("}" if converter is None or converter.part_isolating else ":path}")
        elif data == "|":
            out = ""  # what stands before it is the host
        else:
            out += data
    return out if out.startswith("/") else "/" + out
