"""Starlette's and FastAPI's route trees. Nothing here imports them: an app that uses them has done so already."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from verbguard.errors import ConfigError
from verbguard.http import Request
from verbguard.routes import Route, bare

__all__ = ["StarletteRouter", "has_routes", "router_of"]

_DEEP = 64  # layers of middleware or mounts; nobody has more, and a loop must end


def _loaded(module: str, name: str) -> Any:
    found = sys.modules.get(module)
    return getattr(found, name, None) if found is not None else None


def router_of(app: Any) -> Any:
    """The Starlette or FastAPI application or router inside layers of middleware, or None."""
    for _ in range(_DEEP):
        kinds = tuple(
            kind
            for kind in (
                _loaded("starlette.applications", "Starlette"),
                _loaded("starlette.routing", "Router"),
            )
            if kind is not None
        )
        if kinds and isinstance(app, kinds):
            return app
        if app is None or type(app).__module__.startswith("unittest.mock"):
            return None
        app = getattr(app, "__dict__", {}).get("app")
    return None


def has_routes(app: Any) -> bool:
    """Whether this app's route table can be read."""
    return router_of(app) is not None


def is_guarded(app: Any) -> bool:
    """Whether a mounted application has a guard of its own, as a layer or as installed middleware."""
    for _ in range(_DEEP):
        if getattr(type(app), "__verbguard_layer__", False):
            return True
        layers = getattr(app, "user_middleware", ())
        if any(getattr(getattr(each, "cls", None), "__verbguard_layer__", False) for each in layers):
            return True
        inner = getattr(app, "__dict__", {})
        app = inner.get("app") or inner.get("wsgi_app")
        if app is None:
            break
    return False


class _Node:
    """One node of the tree: a route, or a mount or host with what is below it."""

    __slots__ = ("below", "native", "route")

    def __init__(self, native: Any, route: Route | None, below: list[_Node] | None = None) -> None:
        self.native = native
        self.route = route
        self.below = below


class StarletteRouter:
    """The route table of a Starlette or FastAPI app. See `verbguard.routes.Router`."""

    declared_order = True

    def __init__(self, app: Any) -> None:
        self._app = router_of(app)
        self._tree: list[_Node] = []

    def routes(self) -> list[Route]:
        """Raises ConfigError for a node of a type that nobody here knows: it might hide routes."""
        self._tree = list(_nodes(self._app.routes, "", exact=True, depth=0))
        return list(_routes(self._tree))

    def version(self) -> object:
        return _version(self._app, 0)

    def matching(self, request: Request) -> list[Route]:
        scope = getattr(request, "scope", None) or {
            "type": "http",
            "method": request.method,
            "path": request.prefix + request.path,
            "root_path": request.prefix,
            "headers": request.headers,
        }
        return list(_matching(self._tree, dict(scope)))

    def native_allow(self, routes: Sequence[Route], method: str) -> str | None:
        first = routes[0]
        return None if first.takes is None else ", ".join(sorted(first.takes))


def _nodes(natives: Sequence[Any], prefix: str, *, exact: bool, depth: int, within: str = "") -> Iterator[_Node]:
    """The nodes of one level; `within` names the mounts and hosts around it."""
    mounts: list[str] = []
    for native in _flattened(natives):
        for node in _node(native, prefix, exact=exact, depth=depth, within=within):
            if node.route is None or node.route.opaque:
                mounts.append(prefix + getattr(node.native, "path", ""))
            elif any(_covers(mount, node.route.template) for mount in mounts):
                # a mount that stands first takes some of its paths
                node.route = replace(node.route, exact=False, types=f"{node.route.types} behind a mount")
            yield node


def _covers(mount: str, template: str) -> bool:
    """Whether a path could be below the mount and match the template too."""
    above, segments = mount.split("/"), template.split("/")
    for theirs, mine in zip(above, segments, strict=False):
        if ":path}" in theirs + mine:
            return True
        if theirs != mine and "{" not in theirs + mine:
            return False
    return len(segments) >= len(above)


def _flattened(natives: Sequence[Any]) -> Iterator[Any]:
    """FastAPI keeps included routers as nodes without a path; its own walker yields what they contribute."""
    walk = _loaded("fastapi.routing", "iter_route_contexts")
    return iter(natives) if walk is None else walk(natives)


def _node(native: Any, prefix: str, *, exact: bool, depth: int, within: str) -> Iterator[_Node]:
    from starlette.routing import Host, Mount, WebSocketRoute
    from starlette.routing import Route as StarletteRoute

    original = getattr(native, "original_route", native)
    effective = getattr(native, "_effective_route", native)
    if isinstance(original, WebSocketRoute):
        return
    if isinstance(original, Mount):
        yield _mount(effective, prefix, exact=exact, depth=depth, within=within)
    elif isinstance(original, Host):
        inside = f"{within}{effective.host} "
        below = list(_nodes(_inner_routes(effective.app), prefix, exact=False, depth=depth + 1, within=inside))
        _put_on(effective.host, below)
        yield _Node(effective, None, below) if below else _Node(effective, _opaque(prefix, effective.app, exact=False))
    elif isinstance(original, StarletteRoute):
        template = prefix + native.path
        methods = getattr(native, "methods", None)
        yield _Node(
            native,
            Route(
                template=_plain(template),
                methods=None if methods is None else frozenset(methods),
                answers=_class_methods(native.endpoint) if methods is None else None,
                types=within + " ".join(_CONVERTER.findall(template)),
                endpoint=native.endpoint,
                exact=exact and not _typed(template),
                native=template,
            ),
        )
    elif not _is_frontend(original):
        raise ConfigError(
            f"a route of the type {type(original).__module__}.{type(original).__qualname__} is not known, so its paths "
            "could not be guarded: mount what it serves as an app of its own"
        )


def _put_on(host: str, nodes: Sequence[_Node]) -> None:
    """Write the name of a host on the routes that are for it."""
    for node in nodes:
        if node.route is not None:
            node.route = replace(node.route, host=f"{host} {node.route.host}")
        _put_on(host, node.below or ())


def _mount(native: Any, prefix: str, *, exact: bool, depth: int, within: str) -> _Node:
    path = prefix + native.path
    routes = _inner_routes(native.app)
    if depth < _DEEP and routes and not is_guarded(native.app):
        inside = f"{within}{path} "
        return _Node(native, None, list(_nodes(routes, path, exact=False, depth=depth + 1, within=inside)))
    return _Node(native, _opaque(path, native.app, exact=exact and not _typed(path)))


def _opaque(path: str, app: Any, *, exact: bool) -> Route:
    return Route(
        template=_plain(path) + "/{path:path}",
        endpoint=app,
        exact=exact,
        opaque=True,
        guarded=is_guarded(app),
        native=path,
    )


def _inner_routes(app: Any) -> Sequence[Any]:
    inner = router_of(app)
    return inner.routes if inner is not None else ()


def _class_methods(endpoint: Any) -> frozenset[str] | None:
    """The methods of a class endpoint: Starlette asks the class itself."""
    names = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    found = frozenset(name for name in names if getattr(endpoint, name.lower(), None) is not None)
    return (found | {"HEAD"} if "GET" in found else found) or None


_CONVERTER = re.compile(r"\{[^{}:]+:([^{}]+)\}")


def _typed(template: str) -> bool:
    """Whether a converter decides which values match."""
    return any(name not in ("str", "path") for name in _CONVERTER.findall(template))


def _plain(template: str) -> str:
    return bare(template)


def _is_frontend(route: Any) -> bool:
    """FastAPI's frontend routes take what nothing else takes, for GET and HEAD only; they are not in the table."""
    kinds = tuple(
        kind for name in ("_FrontendRouteGroup", "_FrontendRoute") if (kind := _loaded("fastapi.routing", name)) is not None
    )
    return bool(kinds) and isinstance(route, kinds)


def _routes(tree: Sequence[_Node]) -> Iterator[Route]:
    for node in tree:
        if node.route is not None:
            yield node.route
        else:
            yield from _routes(node.below or ())


def _matching(tree: Sequence[_Node], scope: dict[str, Any]) -> Iterator[Route]:
    """The routes that Starlette's own objects say match; a mount that matches hides what is declared behind it."""
    from starlette.routing import Match

    for node in tree:
        inner = {**scope, "fastapi": {}}
        match, child = node.native.matches(inner)
        if match is Match.NONE:
            continue
        if node.route is not None:
            yield node.route
            if node.route.opaque:
                return
        else:
            yield from _matching(node.below or (), {**scope, **child})
            return


def _version(app: Any, depth: int) -> tuple[Any, ...]:
    """Changes when a route is added anywhere that can be seen."""
    routes = getattr(app, "routes", None) or ()
    own = getattr(getattr(app, "router", app), "_get_routes_version", None)
    parts: list[Any] = [len(routes), own() if own is not None else None]
    if depth < _DEEP:
        for route in routes:
            inner = getattr(route, "app", None)
            if inner is not None and getattr(route, "endpoint", None) is None:
                below = router_of(inner)
                if below is not None:
                    parts.append(_version(below, depth + 1))
    return tuple(parts)
