"""`verbguard serve`: a service over HTTP, or any ASGI or WSGI app, with the guard in front of it."""

from __future__ import annotations

import socket
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

import click

from verbguard.cli.bridge import THREADS
from verbguard.cli.guarding import PROFILES, read
from verbguard.cli.listening import Address, Listening, listen, shown
from verbguard.cli.service import Service, application
from verbguard.cli.target import Trouble, target_options
from verbguard.monitoring.draining import Drain


@click.command(
    short_help="Guard a service, or an ASGI or WSGI app, without touching it.",
    epilog="""
\b
In front of a service:
  verbguard serve --upstream http://127.0.0.1:9000
  verbguard serve --config verbguard.toml --workers 4 --admin 9090

\b
Around an app:
  verbguard serve shop:app                      FastAPI, Flask, any callable
  verbguard serve shop:app --profile observe    change nothing, only log
  verbguard serve old:application --config verbguard.toml --port 9000
  verbguard serve shop:create_app --factory --app-dir src

\b
A verbguard.toml:
  profile = "guard"
  [gateway]
  upstream = "http://127.0.0.1:9000"
  [policies."/customers"]
  kind = "collection"
  location = "/customers/{id}"

\b
Ctrl-C or SIGTERM ends it in order: what runs is finished and recorded.
A second signal ends it at once. docs/gateway.md has all of it.
""",
)
@target_options
@click.option("--upstream", metavar="URL", help="The service to stand in front of, instead of an app.")
@click.option("--config", metavar="verbguard.toml", help="Policies, profile, store and gateway. Default: what the routes show.")
@click.option("--openapi", metavar="FILE", help="An OpenAPI document of what shows no routes; the file's own words win.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--profile", type=click.Choice(PROFILES), help="Overrides the profile of the file.")
@click.option("--interface", type=click.Choice(["auto", "asgi", "wsgi"]), default="auto", show_default=True)
@click.option("--threads", default=THREADS, show_default=True, type=click.IntRange(1), help="For a WSGI app.")
@click.option("--root-path", default="", help="The prefix a proxy in front strips from the path.")
@click.option("--server", type=click.Choice(["uvicorn", "granian"]), default="uvicorn", show_default=True)
@click.option(
    "--http",
    type=click.Choice(["h11", "httptools"]),
    help="uvicorn's parser. Default: h11 for a service, as it knows every method; for an app the faster one.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that serve.")
@click.option("--admin", type=Address(), help="Port for /-/verbguard/health and /-/verbguard/metrics. Default: none.")
@click.option(
    "--drain", default=30.0, show_default=True, type=click.FloatRange(0), help="Seconds for running requests at the end."
)
@click.option(
    "--keep-alive",
    default=75.0,
    show_default=True,
    type=click.FloatRange(1),
    help="Seconds that an idle connection is kept; longer than a load balancer in front keeps it.",
)
@click.option("--access-log/--no-access-log", default=True, show_default=True, help="A line for each request, on stdout.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def serve(context: click.Context, /, **options: Any) -> None:
    """Serve a guarded service (--upstream URL) or app (MODULE:APP).

    MODULE:APP is spelled as for uvicorn. The app's own code stays as it is; a WSGI app is served through a2wsgi.
    What the guard finds goes to stderr, once for each rule and route; the access log has it for each request.
    """
    _only_for_uvicorn(context, options["server"])
    service = _service(options).judged()
    with ExitStack() as kept:
        context.exit(_run(service, options, kept))


def _only_for_uvicorn(context: click.Context, server: str) -> None:
    """An option that does nothing is a mistake of whoever relies on it."""
    for name in ("http", "root_path", "keep_alive"):
        if server != "uvicorn" and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise Trouble(f"--{name.replace('_', '-')} is uvicorn's; {server} does not know it: leave one of them out.")


def _service(options: dict[str, Any]) -> Service:
    """The settings that all workers get, as the caller wrote them."""
    if options["target"] and options["upstream"]:
        raise Trouble("An upstream and an app are two things to guard: leave one of them out.")
    return Service(
        target=options["target"],
        factory=options["factory"],
        app_dir=options["app_dir"],
        upstream=options["upstream"],
        config=options["config"],
        file=read(options["config"], options["openapi"]),
        profile=options["profile"],
        interface=options["interface"],
        threads=options["threads"],
        workers=options["workers"],
        log_format=options["log_format"] if options["access_log"] else None,
    )


def _run(service: Service, options: dict[str, Any], kept: ExitStack) -> int:
    """Judge everything, listen, and serve until a signal; the exit status."""
    server = _server(options["server"])
    children = service.several or options["server"] == "granian"
    if children:
        service = _with_folder(service, kept)
        _close(application(service, None, first=True))  # mistakes are told here, once
    if options["admin"] and find_spec("aiohttp") is None:
        raise Trouble("--admin needs aiohttp: pip install 'verbguard[gateway]'")
    drain = Drain(service.folder)
    admin = kept.enter_context(listen(options["admin"][0], options["admin"][1], "--admin")) if options["admin"] else None
    app = None if children else application(service, admin, drain, first=True)
    listener = kept.enter_context(listen(options["host"], options["port"]))
    asked = _asked(service, options, listener)
    _introduce(service, asked, admin)
    if options["server"] == "granian":
        listener.close()  # granian binds by itself
        return int(server.serve(service, asked, admin, drain))
    if children:
        return int(server.several(service, asked, listener, admin, drain))
    return int(server.serve(app, asked, listener, drain))


def _server(name: str) -> Any:
    """The module that runs the server of that name."""
    try:
        if name == "granian":
            from verbguard.cli import on_granian

            return on_granian
        from verbguard.cli import on_uvicorn

        return on_uvicorn
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != name:
            raise
        hint = "granian" if name == "granian" else "'verbguard[gateway]'"
        raise Trouble(f"Serving needs {name}: pip install {hint}") from None


def _with_folder(service: Service, kept: ExitStack) -> Service:
    """A folder for what the processes of this run share: their figures, the sign that they end, a store where none is named."""
    from dataclasses import replace

    folder = kept.enter_context(tempfile.TemporaryDirectory(prefix="verbguard-", ignore_cleanup_errors=True))
    return replace(service, folder=folder)


def _close(app: Any) -> None:
    """Give back what an app has opened that was only made to be judged."""
    from verbguard.cli.service import store_of

    close = getattr(store_of(app), "close", None)
    if close is not None:
        close()


def _asked(service: Service, options: dict[str, Any], listener: socket.socket) -> Listening:
    return Listening(
        host=options["host"],
        port=listener.getsockname()[1],
        http=options["http"] or ("h11" if service.upstream else "auto"),
        root_path=options["root_path"],
        workers=options["workers"],
        drain=options["drain"],
        keep_alive=options["keep_alive"],
    )


def _introduce(service: Service, asked: Listening, admin: socket.socket | None) -> None:
    """The first lines: what is guarded where, and where an operator may ask."""
    click.echo(f"verbguard guards {service.name} on {asked.origin} (Ctrl-C stops it)", err=True)
    if admin is None:
        click.echo("Health and metrics: nowhere; --admin 9090 serves them on a port of their own.", err=True)
    else:
        origin = shown(*admin.getsockname()[:2])
        click.echo(f"Health and metrics: {origin}/-/verbguard/health and {origin}/-/verbguard/metrics", err=True)
