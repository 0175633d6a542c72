"""`verbguard demo`: one small API on two real servers, bare and guarded, asked the same questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from verbguard.cli.columns import Act, Result, conclude, introduce, show
from verbguard.cli.interrupts import STATUS, Interrupt
from verbguard.cli.stage import Served, running
from verbguard.cli.target import Trouble
from verbguard.cli.terminal import Terminal, patience, terminal

if TYPE_CHECKING:  # it needs h11, which comes with the extra
    from verbguard.cli.scenes import Scene


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
    with Interrupt() as interrupt:
        try:
            acts = performed(None if as_json else terminal(), interrupt)
        except KeyboardInterrupt:
            click.echo("\nStopped; both servers are down.", err=True)
            context.exit(STATUS)
        if as_json:
            click.echo(json.dumps([described(act) for act in acts], indent=2))
    context.exit(exit_status(acts))


def performed(out: Terminal | None, interrupt: Interrupt) -> list[Act]:
    """The whole play, from the servers' start to their end."""
    with ExitStack() as servers:
        with patience("starting two servers"):
            bare = servers.enter_context(running(guarded=False))
            interrupt.check()
            guarded = servers.enter_context(running(guarded=True))
        acts = play(bare, guarded, out, interrupt)
    interrupt.check()
    return acts


def exit_status(acts: Sequence[Act]) -> int:
    """0 only when there was something to judge and the guarded column kept all of it."""
    return 0 if acts and all(act.guarded.kept for act in acts) else 1


def play(bare: Served, guarded: Served, out: Terminal | None, interrupt: Interrupt) -> list[Act]:
    """Perform every scene on both servers, and show each as soon as it is over."""
    from verbguard.cli.scenes import SCENES

    if out:
        introduce(out, bare, guarded)
    acts = []
    for number, scene in enumerate(SCENES, 1):
        act = Act(scene, *(perform(scene, served, interrupt) for served in (bare, guarded)))
        acts.append(act)
        if out:
            show(out, number, act)
    if out:
        conclude(out, acts)
    return acts


def perform(scene: Scene, served: Served, interrupt: Interrupt) -> Result:
    interrupt.check()
    try:
        with patience(scene.title):
            seen = scene.perform(served.port, lambda handler: served.runs[handler])
    except OSError as error:
        raise Trouble(f"The demo cannot reach its own server on 127.0.0.1:{served.port}: {error}.") from None
    return Result(seen, scene.judge(seen))


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
