"""What `verbguard serve` serves: settings that every worker process can be sent, and the app that each makes of them."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verbguard.cli.bridge import THREADS, measured, over_asgi
from verbguard.cli.guarding import acting, keywords_of, layers
from verbguard.cli.target import Trouble, load

if TYPE_CHECKING:
    from verbguard.config import Config
    from verbguard.monitoring.draining import Drain

logger = logging.getLogger("verbguard")

STORE_FILE = "replays.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The settings. What the file says is sent with them, so that all workers mean the same, later ones too."""

    target: str | None = None  # MODULE:APP
    factory: bool = False
    app_dir: str = "."
    upstream: str | None = None  # the origin of a service, instead of an app
    config: str | None = None  # how errors call the file
    file: Config | None = None  # what it says
    profile: str | None = None
    interface: str = "auto"
    threads: int = THREADS
    workers: int = 1
    log_format: str | None = "text"  # of the access log; None: there is none
    folder: str | None = None  # what the processes of this run share

    def judged(self) -> Service:
        """The same settings, the upstream filled in from the file. Raises Trouble for what cannot be meant."""
        table = None if self.file is None else self.file.gateway
        if self.upstream is None and self.target is None and table is not None:
            if table.upstream is None:
                raise Trouble(f"{self.config}: gateway: upstream is missing: such as 'http://127.0.0.1:9000'.")
            return replace(self, upstream=table.upstream)
        if self.target is not None and table is not None:
            raise Trouble(f"{self.config} has a table [gateway], and {self.target} is an app: serve one of them.")
        return self

    @property
    def name(self) -> str:
        """What is guarded, in words for people."""
        return self.upstream or self.target or "nothing"

    @property
    def several(self) -> bool:
        """Whether more than one process serves."""
        return self.workers > 1


def application(service: Service, admin: socket.socket | None, drain: Drain | None = None, *, first: bool = False) -> Any:
    """The ASGI app of one process. `admin` listens for operators; `first`: nobody has told of its mistakes yet.

    Raises Trouble for what cannot be meant.
    """
    from verbguard.monitoring.draining import Drain
    from verbguard.monitoring.metrics import FOLDER

    drain = drain or Drain(service.folder)
    config = service.file
    keywords = keywords_of(config, service.profile)
    if service.several and service.folder is not None:
        if admin is not None:
            os.environ[FOLDER] = str(figures_of(service.folder))
        if (shared := _shared_store(service, keywords.get("store"))) is not None:
            keywords["store"] = shared
    watch = _Watch(service, admin is not None)
    if service.upstream:
        app = watch.timed(_gateway(service, config))
    else:
        app = load(service.target, factory=service.factory, app_dir=service.app_dir)
    found = acting(app, keywords, service.config, None if config is None else config.openapi, told=not first)
    if found.installed:
        store = watch.listen(app)
    else:
        keywords = watch.keywords(keywords)
        store = keywords["store"]
        app = guarded(app, keywords, service.interface)
    app = speaking_asgi(app, service.threads, service.several)
    if watch.reports:
        from verbguard.monitoring.layer import Monitored

        app = Monitored(app, watch.reports)
    if admin is not None:
        from verbguard.monitoring.admin import Administered, Health

        app = Administered(app, admin, Health(drain, store, service.upstream), watch.metrics)
    return app


def figures_of(folder: str) -> Path:
    """Where workers keep their figures: apart, since Prometheus' library reads each file there."""
    found = Path(folder, "figures")
    found.mkdir(exist_ok=True)
    return found


def _shared_store(service: Service, store: Any) -> str | None:
    """The store that several workers share where the file names none; one in memory would be several."""
    if store is None:
        return f"sqlite:///{service.folder}/{STORE_FILE}"
    if isinstance(store, str) and store == "memory://" or not getattr(store, "shared", True):
        raise Trouble(
            f"{service.config}: store: memory:// is one process's, and {service.workers} workers would each have their own. "
            "Name a store that they share, such as 'sqlite:////var/lib/verbguard/replays.db', or leave it out: then they "
            "share a file that ends with them."
        )
    return None


def _gateway(service: Service, config: Config | None) -> Any:
    from verbguard.errors import ConfigError
    from verbguard.gateway import Gateway

    arguments = {} if config is None or config.gateway is None else config.gateway.arguments()
    try:
        return Gateway(service.upstream or "", **arguments)
    except ConfigError as error:
        raise Trouble(f"--{error}" if str(error).startswith("upstream") else str(error)) from None


class _Watch:
    """What is to be told of requests, and by whom; nothing where nobody asks."""

    def __init__(self, service: Service, metered: bool) -> None:
        from verbguard.monitoring.accesslog import AccessLog
        from verbguard.monitoring.metrics import Metrics, is_installed

        self.reports: list[Callable[..., Any]] = []
        self.metrics = Metrics(claims_held) if metered and is_installed() else None
        if self.metrics is not None:
            self.reports.append(self.metrics)
        if service.log_format is not None:
            self.reports.append(AccessLog(service.log_format))

    def keywords(self, keywords: dict[str, Any]) -> dict[str, Any]:
        """The arguments of `guard`: the store, opened, and where requests are reported an eye on it and an ear at the guard."""
        from verbguard.errors import ConfigError
        from verbguard.observers import LogObserver
        from verbguard.stores import of

        try:
            store = of(keywords.get("store"))
        except ConfigError as error:
            raise Trouble(str(error)) from None
        if not self.reports:
            return {**keywords, "store": store}
        return {**keywords, "store": self._eyed(store), "observers": (LogObserver(), *self._ears())}

    def listen(self, app: Any) -> Any:
        """Hear a guard that the app has installed by itself. Returns its store, where that can be told."""
        from verbguard.observers import LogObserver

        if (layer := _layer(app)) is not None:
            if self.reports:
                layer.guard.listen(*self._ears())
                layer.store = self._eyed(layer.store)
            return layer.store
        for each in getattr(app, "user_middleware", ()):
            if getattr(each.cls, "__verbguard_layer__", False):
                own = each.kwargs.get("observers") or (LogObserver(),)
                each.kwargs.update(self.keywords(each.kwargs), observers=(*own, *self._ears()))
                return each.kwargs["store"]
        return None

    def _eyed(self, store: Any) -> Any:
        from verbguard.monitoring.stores import observed

        return observed(store, self.metrics.store_failed if self.metrics else None)

    def _ears(self) -> tuple[Callable[..., Any], ...]:
        from verbguard.monitoring.accounts import note

        if not self.reports:
            return ()
        return (note,) if self.metrics is None else (note, self.metrics.found)

    def timed(self, app: Any) -> Any:
        """The gateway, timed where requests are reported."""
        from verbguard.monitoring.services import Timed

        return Timed(app) if self.reports else app


def claims_held() -> int:
    """How many claims this process holds."""
    from verbguard.loops import in_loop
    from verbguard.renewal import renewer

    held = len(renewer.held)
    with suppress(RuntimeError):  # asked by a thread without a loop
        held += len(in_loop().held)
    return held


def guarded(app: Any, keywords: dict[str, Any], interface: str) -> Any:
    """The app with the guard around it."""
    from verbguard.asgi import GuardMiddleware as AsgiGuard
    from verbguard.doors import guard
    from verbguard.errors import ConfigError
    from verbguard.wsgi import GuardMiddleware as WsgiGuard

    ways: dict[str, Callable[..., Any]] = {"auto": guard, "asgi": AsgiGuard, "wsgi": WsgiGuard}
    try:
        return ways[interface](app, **keywords)
    except ConfigError as error:
        raise Trouble(str(error)) from None


def speaking_asgi(app: Any, threads: int, several: bool = False) -> Any:
    """A guarded app as the server wants it: one with a WSGI guard inside is bridged."""
    from verbguard.asgi import GuardMiddleware as AsgiGuard
    from verbguard.wsgi import GuardMiddleware as WsgiGuard

    if isinstance(app, AsgiGuard):
        return app
    for layer in _wrapped(app):
        if isinstance(layer, WsgiGuard):
            layer.app = measured(layer.app)
            return over_asgi(app, threads, several)
    return app


def store_of(app: Any) -> Any:
    """The store of an app that `application` has made, where its layer has one."""
    return getattr(_layer(app), "store", None)


def _wrapped(app: Any) -> list[Any]:
    return layers(app) + layers(getattr(app, "__dict__", {}).get("wsgi_app"))  # Flask carries its guard inside


def _layer(app: Any) -> Any:
    """The guard's own layer, where it stands already."""
    return next((layer for layer in _wrapped(app) if getattr(type(layer), "__verbguard_layer__", False)), None)
