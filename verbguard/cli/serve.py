"""`verbguard serve MODULE:APP`: any ASGI or WSGI app under uvicorn, with the guard around it."""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable
from typing import Any

import click

from verbguard.cli.bridge import THREADS, measured, over_asgi
from verbguard.cli.guarding import PROFILES, acting, layers, options
from verbguard.cli.target import Trouble, load, target_options
from verbguard.cli.terminal import colourless


@click.command(
    short_help="Run any ASGI or WSGI app guarded, without touching it.",
    epilog="""
\b
Examples:
  verbguard serve shop:app                      FastAPI, Flask, any callable
  verbguard serve shop:app --profile observe    change nothing, only log
  verbguard serve old:application --config verbguard.toml --port 9000
  verbguard serve shop:create_app --factory --app-dir src

\b
A verbguard.toml:
  profile = "guard"
  [policies."/customers"]
  kind = "collection"
  location = "/customers/{id}"
""",
)
@target_options
@click.option("--config", metavar="verbguard.toml", help="Policies, profile and store. Default: what the routes show.")
@click.option("--openapi", metavar="FILE", help="An OpenAPI document of what shows no routes; the file's own words win.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--profile", type=click.Choice(PROFILES), help="Overrides the profile of the file.")
@click.option("--interface", type=click.Choice(["auto", "asgi", "wsgi"]), default="auto", show_default=True)
@click.option("--threads", default=THREADS, show_default=True, type=click.IntRange(1), help="For a WSGI app.")
@click.option("--root-path", default="", help="The prefix a proxy in front strips from the path.")
@click.option("--upstream", metavar="URL", help="Guard a service over HTTP: comes with the gateway, not in this version.")
@click.pass_context
def serve(
    context: click.Context,
    target: str | None,
    factory: bool,
    app_dir: str,
    config: str | None,
    openapi: str | None,
    host: str,
    port: int,
    profile: str | None,
    interface: str,
    threads: int,
    root_path: str,
    upstream: str | None,
) -> None:
    """Serve MODULE:APP with the guard around it, by uvicorn, in one process.

    MODULE:APP is spelled as for uvicorn. The app's own code stays as it is; a WSGI app is served through a2wsgi.
    What the guard finds goes to the log.
    """
    if upstream:
        raise Trouble("--upstream comes with the gateway, in a later version. Until then: verbguard serve MODULE:APP")
    keywords = options(config, profile, openapi)
    app = load(target, factory=factory, app_dir=app_dir)
    # A wrong policy is told now, in one line, rather than by the first request.
    if not acting(app, keywords, config).installed:
        app = guarded(app, keywords, interface)
    context.exit(run(speaking_asgi(app, threads), target or "", host, port, root_path))


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


def speaking_asgi(app: Any, threads: int) -> Any:
    """A guarded app as the server wants it: one with a WSGI guard inside is bridged."""
    from verbguard.asgi import GuardMiddleware as AsgiGuard
    from verbguard.wsgi import GuardMiddleware as WsgiGuard

    if isinstance(app, AsgiGuard):
        return app
    for layer in layers(app) + layers(getattr(app, "__dict__", {}).get("wsgi_app")):  # Flask carries its guard inside
        if isinstance(layer, WsgiGuard):
            layer.app = measured(layer.app)
            return over_asgi(app, threads)
    return app


def run(app: Any, target: str, host: str, port: int, root_path: str) -> int:
    """Serve until a signal; the exit status."""
    try:
        import uvicorn
    except ModuleNotFoundError:
        raise Trouble("Serving needs uvicorn: pip install 'verbguard[demo]'") from None
    listener = listen(host, port)
    settings = uvicorn.Config(
        app, host=host, port=listener.getsockname()[1], root_path=root_path, workers=1, log_config=logging_for(uvicorn)
    )
    server = uvicorn.Server(settings)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"verbguard guards {target} on http://{shown}:{listener.getsockname()[1]} (Ctrl-C stops it)", err=True)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # uvicorn has shut down by now and raises the signal it caught again
    finally:
        listener.close()
    return 0 if server.started else 3  # 3 is uvicorn's own status for an app that did not start


def listen(host: str, port: int) -> socket.socket:
    """Bind first, so that a taken port is one line instead of a server's log."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # from here on clients are kept waiting rather than refused
    except OSError as error:
        listener.close()
        raise Trouble(f"Cannot listen on {host} port {port}: {error.strerror}. Choose another with --port.") from None
    return listener


def logging_for(uvicorn: Any) -> dict[str, Any]:
    """uvicorn's logging, with the guard's findings among it."""
    settings: dict[str, Any] = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    settings["loggers"]["verbguard"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    if colourless():
        for formatter in settings["formatters"].values():
            formatter["use_colors"] = False
    return settings
