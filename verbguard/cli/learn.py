"""`verbguard learn`: from recorded traffic to a proposed verbguard.toml, for a person to edit."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verbguard.cli.listening import Address, Listening, listen, shown
from verbguard.cli.opening import Failed
from verbguard.cli.target import Trouble
from verbguard.cli.terminal import counted, patience
from verbguard.errors import ConfigError, nearest

if TYPE_CHECKING:
    from verbguard.learning import Exchanged, Traffic
    from verbguard.rules import Finding

_DRAIN = 5.0  # seconds for requests that run when the recording ends; what takes longer is left out of it


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
@click.option("--listen", "address", type=Address(), help="Record what passes here on its way to --upstream.")
@click.option("--upstream", metavar="URL", help="The service that --listen forwards to.")
@click.option("--for", "seconds", type=click.FloatRange(0, min_open=True), help="End after so many seconds. Default: Ctrl-C.")
@click.option("--requests", type=click.IntRange(1), help="End after so many exchanges. Default: Ctrl-C.")
@click.option("--sure", default=0.8, show_default=True, type=click.FloatRange(0, 1), help="How sure a line must be.")
def learn(
    files: tuple[str, ...],
    origin: str | None,
    address: tuple[str, int] | None,
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
        source = "what passed on its way to the service"
    else:
        if upstream or seconds or requests:
            raise Trouble("--upstream, --for and --requests belong to --listen.")
        traffic, source = _read(files, origin), ", ".join(Path(file).name for file in files)
    if not traffic.exchanges:
        raise Failed("Nothing to learn from: no exchange with an answer was recorded.")
    with patience(f"looking at {len(traffic.paths):,} paths"):
        text = propose(traffic, sure).toml(source, upstream)
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


def _listened(address: tuple[str, int], upstream: str | None, seconds: float | None, requests: int | None) -> Traffic:
    from verbguard.learning import Traffic

    if upstream is None:
        raise Trouble("--listen forwards to a service: name it with --upstream http://127.0.0.1:9000")
    traffic, findings, end = Traffic(), Counter[str](), _End(seconds)

    def heard(exchange: Exchanged) -> None:
        traffic.add(exchange)
        if traffic.exchanges == requests:
            end()

    _record(_gateway(upstream, findings), heard, address, upstream, end)
    click.echo(f"Recorded: {traffic.exchanges} exchanges at {len(traffic.paths)} paths.", err=True)
    if findings:
        told = ", ".join(f"{rule} {count}" for rule, count in findings.most_common(8))
        click.echo(f"What the guard has to say of it: {told}. verbguard rules ID explains one.", err=True)
    return traffic


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


class _End:
    """Ends the recording as a signal does, once."""

    def __init__(self, seconds: float | None) -> None:
        self._called = threading.Lock()
        self._timed = seconds is not None
        self._clock = threading.Timer(seconds or 0, self)
        self._clock.daemon = True

    def begin(self) -> None:
        """The server has started, and listens to signals: now the time runs."""
        if self._timed:
            self._clock.start()

    def cancel(self) -> None:
        self._clock.cancel()

    def __call__(self) -> None:
        if self._called.acquire(blocking=False):  # a second signal would end the process on the spot
            os.kill(os.getpid(), signal.SIGTERM)


def _record(app: Any, heard: Callable[[Exchanged], None], address: tuple[str, int], upstream: str, end: _End) -> None:
    """Serve until it was enough, or somebody ends it."""
    try:
        from verbguard.cli import on_uvicorn
    except ModuleNotFoundError as missing:
        if missing.name != "uvicorn":
            raise
        raise Trouble("--listen needs uvicorn: pip install 'verbguard[gateway]'") from None
    from verbguard.learning.listening import Recorder
    from verbguard.monitoring.draining import Drain

    host = address[0]
    listener = listen(*address, "--listen")
    port = listener.getsockname()[1]
    click.echo(
        f"verbguard records what passes {shown(host, port)} on its way to {upstream} (Ctrl-C ends it and prints the proposal)",
        err=True,
    )
    recorder = Recorder(app, heard)

    async def begun(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            end.begin()
        await recorder(scope, receive, send)

    try:
        on_uvicorn.serve(begun, Listening(host=host, port=port, http="h11", drain=_DRAIN), listener, Drain())
    finally:
        end.cancel()
        listener.close()
