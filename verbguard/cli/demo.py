"""`verbguard demo`: one small API on two real servers, bare and guarded, asked the same questions."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import click

from verbguard.cli.target import Trouble
from verbguard.cli.terminal import Cell, Mark, Terminal, patience, symbols, terminal

LABEL = 20  # columns for what was asked; the two answers share the rest
TIMES = {0: "never", 1: "once", 2: "twice"}


@dataclass(frozen=True, slots=True)
class Result:
    """One scene, seen in one column and judged."""

    seen: Any  # scenes.Seen; its module needs h11, which comes with the extra
    complaint: str

    @property
    def kept(self) -> bool:
        return not self.complaint


@dataclass(frozen=True, slots=True)
class Act:
    """One scene in both columns."""

    scene: Any  # scenes.Scene
    bare: Result
    guarded: Result


@click.command(
    short_help="See the difference on a real server, in seconds.",
    epilog="""
\b
Examples:
  verbguard demo                 both columns, scene by scene
  verbguard demo --json          the same as data
  NO_COLOR=1 verbguard demo      without colour
""",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the tables.")
@click.pass_context
def demo(context: click.Context, as_json: bool) -> None:
    """Start a small FastAPI app twice, once bare and once guarded, and send both the same requests.

    Both run under uvicorn on free ports of this machine. Each scene shows the two answers side by side and how
    often the handler ran. The exit status is 0 only when the guarded app keeps every promise.
    """
    out = None if as_json else terminal()
    try:
        with ExitStack() as servers:
            with patience("starting two servers"):
                bare, guarded = (servers.enter_context(running(guarded)) for guarded in (False, True))
            acts = play(bare, guarded, out)
    except KeyboardInterrupt:
        click.echo("\nStopped; both servers are down.", err=True)
        context.exit(130)
    if as_json:
        click.echo(json.dumps([described(act) for act in acts], indent=2))
    context.exit(exit_status(acts))


def exit_status(acts: Sequence[Act]) -> int:
    """0 only when there was something to judge and the guarded column kept all of it."""
    return 0 if acts and all(act.guarded.kept for act in acts) else 1


@dataclass(frozen=True, slots=True)
class Served:
    """A running shop."""

    port: int
    runs: Any  # Counter: handler name -> how often it ran


@contextmanager
def running(guarded: bool) -> Iterator[Served]:
    """Serve a fresh shop on a free loopback port, for as long as the block lasts."""
    try:
        import h11  # noqa: F401 - what the client speaks
        import uvicorn

        from verbguard.cli.shop import shop
    except ModuleNotFoundError as missing:
        raise Trouble(f"The demo needs {missing.name}: pip install 'verbguard[demo]'") from None
    app = shop()
    runs = app.state.runs
    if guarded:
        app = under_guard(app)
    # Listening before the server's thread starts: clients wait in the backlog, and nobody has to poll.
    listener = socket.create_server(("127.0.0.1", 0))
    settings = uvicorn.Config(
        app, log_config=None, log_level="critical", access_log=False, workers=1, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield Served(listener.getsockname()[1], runs)
    finally:
        server.should_exit = True
        thread.join(timeout=5)
        listener.close()


def under_guard(app: Any) -> Any:
    """The one line this is all about."""
    from verbguard import guard

    # What the guard would log here is what the columns show.
    logging.getLogger("verbguard").addHandler(logging.NullHandler())
    logging.getLogger("verbguard").propagate = False
    return guard(app)


def play(bare: Served, guarded: Served, out: Terminal | None) -> list[Act]:
    """Perform every scene on both servers, and show each as soon as it is over."""
    from verbguard.cli.scenes import SCENES

    if out:
        introduce(out, bare, guarded)
    acts = []
    for number, scene in enumerate(SCENES, 1):
        act = Act(scene, *(perform(scene, served) for served in (bare, guarded)))
        acts.append(act)
        if out:
            show(out, number, act)
    if out:
        conclude(out, acts)
    return acts


def perform(scene: Any, served: Served) -> Result:
    try:
        with patience(scene.title):
            seen = scene.perform(served.port, lambda handler: served.runs[handler])
    except OSError as error:
        raise Trouble(f"The demo cannot reach its own server on 127.0.0.1:{served.port}: {error}.") from None
    return Result(seen, scene.judge(seen))


def introduce(out: Terminal, bare: Served, guarded: Served) -> None:
    out.line(Mark("verbguard demo", "head"), Mark(": one small FastAPI app served twice, the same requests to both"))
    out.line()
    columns: list[Cell] = [[]]
    for name, code, served in (("BARE", "shop()", bare), ("GUARDED", "verbguard.guard(shop())", guarded)):
        columns.append([Mark(name, "head"), Mark(code), Mark(f"http://127.0.0.1:{served.port}", "dim")])
    out.table([], [columns], widths(out))


def show(out: Terminal, number: int, act: Act) -> None:
    out.line()
    out.line(Mark(f"{number:2}  {act.scene.title}", "head"))
    rows: list[list[Cell]] = []
    for (asked, one), (_, other) in zip(act.bare.seen.rows, act.guarded.seen.rows, strict=True):
        rows.append([[Mark(asked)], answered(one, act.scene.fields), answered(other, act.scene.fields)])
    rows.append([[Mark("handler ran", "dim")], *([Mark(times(side.seen.runs), "dim")] for side in (act.bare, act.guarded))])
    rows.append([[], *(verdict(act.scene, side) for side in (act.bare, act.guarded))])
    out.table([], rows, widths(out))


def conclude(out: Terminal, acts: Sequence[Act]) -> None:
    out.line()
    for name, kept in (
        ("bare", sum(act.bare.kept for act in acts)),
        ("guarded", sum(act.guarded.kept for act in acts)),
    ):
        whole = kept == len(acts)
        out.line(Mark(f"{name:8}"), Mark(f"keeps {kept} of {len(acts)} promises", "good" if whole else "bad"))
    out.line()
    out.line(Mark("Your own app: "), Mark("verbguard routes MODULE:APP", "head"), Mark(" shows what the guard would do,"))
    out.line(Mark("              "), Mark("verbguard serve MODULE:APP", "head"), Mark(" runs it guarded."))


def widths(out: Terminal) -> list[int]:
    side = (out.width - LABEL - 4) // 2
    return [LABEL, side, side]


def answered(answers: Sequence[Any], fields: Sequence[str]) -> Cell:
    """The answers to one question, one line each; equal ones are counted."""
    if not answers:
        return [Mark("nothing to ask for", "dim")]
    if len(answers) == 1:
        return [Mark(headline(answers[0])), *shown(answers[0], fields)]
    marks: list[Mark] = []
    for status in sorted({answer.status for answer in answers}):
        alike = [answer for answer in answers if answer.status == status]
        different = len({answer.content for answer in alike})
        text = f"{status}, {different} different answers" if different > 1 else headline(alike[0])
        marks += [Mark(f"{len(alike)}x {text}"), *shown(alike[-1], fields)]
    return marks


def headline(answer: Any) -> str:
    if not answer.status:
        first = answer.content.decode("latin-1").partition("\r\n")[0]
        return f"unreadable: {first}" if first else "no answer"
    text = answer.members().get("rule") or answer.content.decode()
    return f"{answer.status} {text}".strip()


def shown(answer: Any, fields: Sequence[str]) -> list[Mark]:
    values = [(name, answer.field(name)) for name in fields]
    return [Mark(f"{name.title()}: {value}", "dim") for name, value in values if value is not None]


def times(runs: int) -> str:
    return TIMES.get(runs, f"{runs} times")


def verdict(scene: Any, side: Result) -> Cell:
    good, bad = symbols()
    if side.kept:
        return [Mark(f"{good} kept: {scene.kept}", "good")]
    return [Mark(f"{bad} broken: {side.complaint}", "bad")]


def described(act: Act) -> dict[str, Any]:
    """One scene as data."""
    sides = {"bare": act.bare, "guarded": act.guarded}
    return {"promise": act.scene.title} | {name: column(side) for name, side in sides.items()}


def column(side: Result) -> dict[str, Any]:
    rows = [
        {
            "asked": asked,
            "answers": [
                {"status": answer.status, "headers": list(answer.headers), "content": answer.content.decode("latin-1")}
                for answer in answers
            ],
        }
        for asked, answers in side.seen.rows
    ]
    return {"kept": side.kept, "complaint": side.complaint, "handler_ran": side.seen.runs, "exchanges": rows}
