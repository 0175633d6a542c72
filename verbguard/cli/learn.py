"""`verbguard learn`: from recorded traffic to a proposed verbguard.toml, for a person to edit."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verbguard.cli.listening import listen
from verbguard.cli.opening import Failed
from verbguard.cli.target import Trouble
from verbguard.cli.terminal import counted, patience
from verbguard.errors import ConfigError, nearest

if TYPE_CHECKING:
    from verbguard.learning import Exchanged, Traffic
    from verbguard.rules import Finding


@click.command(
    short_help="Propose a verbguard.toml from recorded traffic.",
    epilog="""
\b
Examples:
  verbguard learn --har shop.har > verbguard.toml
  verbguard learn --har a.har.gz --har b.har --origin https://api.example
  verbguard learn --listen 8001 --upstream http://127.0.0.1:9000 --for 600
  verbguard routes --config verbguard.toml     what a guard makes of it

\b
Where a HAR comes from:
  a browser    developer tools, network, "save all as HAR"
  mitmproxy    mitmdump -w flows; mitmdump -nr flows --set hardump=shop.har
  anything     --listen: send clients here, and this asks the service

\b
Reading the proposal:
  kind = "collection"  # 92%: e.g. POST /orders 201
  The number is (exchanges that agree + 1) / (all that tell of it + 2):
  one is 67 %, three are 80 %, eighteen are 95 %. A kind counts the members
  that were seen and those that were created; methods count the answers of
  the resource; a location the creations whose answer holds the id.
  A line below --sure is a comment, and so are statuses below 95 %.
  A line without a number loosens the guard: without it something that was
  seen to succeed would be refused.

\b
What is kept: paths, methods, statuses, Allow, and where creations are.
No credentials, no query, no content; of a long id only the beginning.
""",
)
@click.option("--har", "files", multiple=True, metavar="FILE", help="A HAR file, also gzipped; - is the input. Repeatable.")
@click.option(
    "--origin", metavar="URL", help="Which service of the files, as scheme://host. Default: the one with most entries."
)
@click.option("--listen", "address", metavar="[HOST:]PORT", help="Record what passes here on its way to --upstream.")
@click.option("--upstream", metavar="URL", help="The service that --listen forwards to.")
@click.option("--for", "seconds", type=click.FloatRange(0, min_open=True), help="End after so many seconds. Default: Ctrl-C.")
@click.option("--requests", type=click.IntRange(1), help="End after so many exchanges. Default: Ctrl-C.")
@click.option("--sure", default=0.8, show_default=True, type=click.FloatRange(0, 1), help="How sure a line must be.")
def learn(
    files: tuple[str, ...],
    origin: str | None,
    address: str | None,
    upstream: str | None,
    seconds: float | None,
    requests: int | None,
    sure: float,
) -> None:
    """Propose a verbguard.toml for a service from what passed: templates, kinds, methods, statuses, where creations are.

    It is printed as TOML, each line with how sure it is and an example, for a person to edit. Nothing that was seen to
    succeed is refused by it.
    """
    from verbguard.learning import propose

    if bool(files) == bool(address):
        raise Trouble("Name what to learn from: --har FILE, or --listen PORT with --upstream URL.")
    if address:
        traffic = _listened(address, upstream, seconds, requests)
        source = f"recorded before {upstream}"
    else:
        if upstream or seconds or requests:
            raise Trouble("--upstream, --for and --requests belong to --listen.")
        traffic, source = _read(files, origin), ", ".join(Path(file).name for file in files)
    if not traffic.exchanges:
        raise Failed("Nothing to learn from: no exchange with an answer was recorded.")
    with patience(f"looking at {len(traffic.paths):,} paths"):
        text = propose(traffic, sure).toml(source)
    click.echo(text, nl=False)


# ---- from files


def _read(files: tuple[str, ...], origin: str | None) -> Traffic:
    from verbguard.learning import Traffic
    from verbguard.learning.har import entries, exchanges, origins

    traffic = Traffic()
    try:
        found = []
        for file in files:
            with patience(f"reading {file}"):
                found.append((file, entries(_bytes(file), file)))
        counts: Counter[str] = Counter()
        for file, listed in found:
            counts += origins(listed, file)
        chosen = _chosen(counts, origin)
        for file, listed in found:
            for exchange in counted(exchanges(listed, file, chosen), "exchanges"):
                traffic.add(exchange)
    except ConfigError as error:
        raise Trouble(str(error)) from None
    return traffic


def _bytes(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Trouble(f"{file} cannot be read: {error.strerror}.") from None


def _chosen(counts: Counter[str], origin: str | None) -> str | None:
    """The service to learn about: the one that was named, or the one with most entries, which is said."""
    if origin is not None:
        wanted = origin.rstrip("/").lower()
        if wanted not in counts:
            raise Trouble(f"--origin {origin}: no entry is of it; {nearest(wanted, counts)}")
        return wanted
    if len(counts) > 1:
        (first, most), *others = counts.most_common()
        click.echo(
            f"Taken: {first} ({most} entries). Others are left out: "
            + ", ".join(f"{name} ({count})" for name, count in others[:8])
            + (", ..." if len(others) > 8 else "")
            + ". --origin chooses.",
            err=True,
        )
        return first
    return None


# ---- from a gateway of its own


def _listened(address: str, upstream: str | None, seconds: float | None, requests: int | None) -> Traffic:
    from verbguard.learning import Traffic

    if upstream is None:
        raise Trouble("--listen forwards to a service: name it with --upstream http://127.0.0.1:9000")
    host, port = _address(address)
    traffic, findings = Traffic(), Counter[str]()
    _record(_gateway(upstream, findings), traffic, host, port, upstream, seconds, requests)
    click.echo(f"Recorded: {traffic.exchanges} exchanges at {len(traffic.paths)} paths.", err=True)
    if findings:
        told = ", ".join(f"{rule} {count}" for rule, count in findings.most_common(8))
        click.echo(f"What the guard has to say of it: {told}. verbguard rules ID explains one.", err=True)
    return traffic


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise Trouble(f"--listen {text}: a port, or host:port, such as 8001 or 0.0.0.0:8001")
    return host.strip("[]") or "127.0.0.1", int(port)


def _gateway(upstream: str, findings: Counter[str]) -> Any:
    """The service, with a guard that changes nothing in front of it."""
    from verbguard.doors import guard
    from verbguard.gateway import Gateway

    def heard(finding: Finding) -> None:
        findings[finding.rule] += 1

    try:
        return guard(Gateway(upstream), profile="observe", observers=[heard])
    except ConfigError as error:
        raise Trouble(str(error)) from None


def _record(
    app: Any, traffic: Traffic, host: str, port: int, upstream: str, seconds: float | None, requests: int | None
) -> None:
    """Serve until it was enough, or somebody ends it."""
    try:
        import uvicorn
    except ModuleNotFoundError:
        raise Trouble("--listen needs uvicorn: pip install 'verbguard[gateway]'") from None
    from verbguard.learning.listening import Recorder

    def heard(exchange: Exchanged) -> None:
        traffic.add(exchange)
        if requests is not None and traffic.exchanges >= requests:
            server.should_exit = True

    listener = listen(host, port)
    settings = uvicorn.Config(
        Recorder(app, heard),
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(settings)
    shown = f"[{host}]" if ":" in host else host
    click.echo(
        f"verbguard records what passes http://{shown}:{listener.getsockname()[1]} on its way to {upstream} "
        "(Ctrl-C ends it and prints the proposal)",
        err=True,
    )
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn catches it, ends, and raises it again: the proposal comes first
    clock = threading.Timer(seconds or 0, lambda: setattr(server, "should_exit", True))
    clock.daemon = True
    if seconds is not None:
        clock.start()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # uvicorn has shut down by now and raises the signal it caught again
    finally:
        clock.cancel()
        listener.close()
