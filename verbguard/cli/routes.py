"""`verbguard routes MODULE:APP`: what the guard sees in an app, and what it will do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from verbguard.cli.guarding import PROFILES, options
from verbguard.cli.target import load, target_options
from verbguard.cli.terminal import Cell, Mark, Terminal, terminal


@dataclass(frozen=True, slots=True)
class Row:
    """One resource of the app."""

    template: str
    kind: str
    why: str
    methods: list[str]  # those the app has handlers for
    app_allow: list[str] | None  # what the app itself says in a 405; None where nobody can tell
    guard_allow: list[str]
    policy: dict[str, str]  # what the policy says beyond the defaults
    source: str  # who says it


@click.command(
    short_help="Show what the guard sees in an app, and what it will do.",
    epilog="""
\b
Examples:
  verbguard routes shop:app
  verbguard routes shop:app --config verbguard.toml      with the policies of a file
  verbguard routes shop:app --json | jq '.[] | select(.kind == "unknown") | .template'
\b
Reading it:
  KIND    what the guard takes the resource for, and why; a policy's kind wins
  ALLOW   what a 405 lists: by the app alone, and with the guard
  POLICY  where the promises come from: the route table, a decorator, a mapping, a file
""",
)
@target_options
@click.option("--config", metavar="verbguard.toml", help="Read policies from this file, as `serve` would.")
@click.option("--profile", type=click.Choice(PROFILES), help="Overrides the profile of the file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def routes(target: str | None, factory: bool, app_dir: str, config: str | None, profile: str | None, as_json: bool) -> None:
    """List the routes of MODULE:APP: kind and why, methods, Allow without and with the guard, policies.

    Nothing is served and no handler runs; the app is only imported.
    """
    keywords = options(config, profile)
    app = load(target, factory=factory, app_dir=app_dir)
    rows = _table(app, keywords, config)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    out = terminal()
    if not rows:
        out.line(Mark(f"{target} shows no routes: to the guard it is a bare callable, and only the rules of RFC 9110 run."))
        out.line(Mark("Policies in a verbguard.toml tell it more: verbguard routes --help"))
        return
    out.table(("template", "kind", "Allow", "policy"), [_cells(row) for row in rows])
    _count(out, rows)


def _table(app: Any, keywords: dict[str, Any], config: str | None) -> list[Row]:
    raise NotImplementedError


def _cells(row: Row) -> list[Cell]:
    added = set(row.guard_allow) - set(row.app_allow or ())
    return [
        [Mark(row.template), Mark(" ".join(row.methods), "dim")],
        [Mark(row.kind, "" if row.kind != "unknown" else "dim"), Mark(row.why, "dim")],
        [
            Mark(f"app   {', '.join(row.app_allow) if row.app_allow else '-'}", "dim"),
            Mark(f"guard {', '.join(row.guard_allow)}", "good" if added else ""),
        ],
        [Mark(row.source), *(Mark(f"{name} = {value}") for name, value in row.policy.items())],
    ]


def _count(out: Terminal, rows: Sequence[Row]) -> None:
    more = sum(set(row.guard_allow) != set(row.app_allow or ()) for row in rows)
    unknown = sum(row.kind == "unknown" for row in rows)
    out.line()
    out.line(Mark(f"{len(rows)} resources; the guard corrects the Allow of {more}."))
    if unknown:
        out.line(Mark(f"{unknown} of unknown kind get the rules of RFC 9110 only: name the kind in a policy to get more."))
