"""`verbguard routes MODULE:APP`: what the guard sees in an app, or knows of a service, and what it will do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from verbguard.cli.guarding import PROFILES, Acting, acting, keywords_of, read
from verbguard.cli.target import load, target_options
from verbguard.cli.terminal import Cell, Mark, Terminal, terminal

if TYPE_CHECKING:
    from verbguard.cli.table import Promise, Row


@click.command(
    short_help="Show what the guard sees in an app, and what it will do.",
    epilog="""
\b
Examples:
  verbguard routes shop:app
  verbguard routes shop:app --config verbguard.toml    with the policies of it
  verbguard routes shop:app --json | jq '.[].template'
  verbguard routes --openapi api.yaml       what a document tells of a service
  verbguard routes --config verbguard.toml  the same of a file, without an app

\b
Reading it:
  KIND    what the guard takes the resource for, and why; a policy's word wins
  ALLOW   what a 405 lists: by the app alone, and with the guard
  POLICY  what is promised beyond the defaults, and where that is written
""",
)
@target_options
@click.option("--config", metavar="verbguard.toml", help="Read policies from this file, as `serve` would.")
@click.option("--openapi", metavar="FILE", help="An OpenAPI document of a service that shows no routes, as for `serve`.")
@click.option("--profile", type=click.Choice(PROFILES), help="Overrides the profile of the file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def routes(
    target: str | None,
    factory: bool,
    app_dir: str,
    config: str | None,
    openapi: str | None,
    profile: str | None,
    as_json: bool,
) -> None:
    """List the routes of MODULE:APP: kind and why, methods, Allow without and with the guard, policies.

    Without an app, the table of what --config and --openapi tell of a service. Nothing is served and no handler runs; the
    app is only imported.
    """
    found = read(config, openapi)
    app = load(target, factory=factory, app_dir=app_dir) if target or found is None else None
    known = None if found is None else found.openapi
    rows = _rows(acting(app, keywords_of(found, profile, opening=False), config, known))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    out = terminal()
    if not rows and target is None:
        out.line(Mark(f"{openapi or config} names no route: the service gets the rules of RFC 9110 only."))
        return
    if not rows:
        out.line(Mark(f"{target} shows no routes: to the guard it is a bare callable, and gets the rules of RFC 9110 only."))
        out.line(Mark("A policy tells it more: see the verbguard.toml in `verbguard serve --help`."))
        return
    out.table(("template", "kind", "allow", "policy"), [_cells(row) for row in rows])
    _count(out, rows)
    for note in () if known is None else known.notes:
        out.line(Mark(f"Note: {note}", "dim"))


def _rows(found: Acting) -> list[Row]:
    from verbguard.cli.table import rows_of

    return rows_of(found)


def _cells(row: Row) -> list[Cell]:
    return [
        [Mark(row.template), Mark(" ".join(row.methods), "dim")],
        [Mark(row.kind, "dim" if row.kind == "unknown" else ""), Mark(row.why, "dim")],
        _allow(row),
        [mark for promise in row.policies for mark in _promise(promise)] or [Mark("inferred", "dim")],
    ]


def _allow(row: Row) -> Cell:
    guard = ", ".join(row.guard_allow) or "not known"
    refused = [method for method in row.methods if method not in row.guard_allow]
    told = [Mark(f"refused: {', '.join(refused)}", "bad")] if refused and row.guard_allow else []
    if not _corrected(row):
        return [Mark(guard if row.app_allow is None else f"both: {guard}", "dim"), *told]
    return [Mark(f"app: {', '.join(row.app_allow or ())}", "dim"), Mark(f"guard: {guard}", "good"), *told]


def _corrected(row: Row) -> bool:
    return row.app_allow is not None and set(row.guard_allow) != set(row.app_allow)


def _promise(promise: Promise) -> list[Mark]:
    who = f"{promise.method}: {promise.source}" if promise.method else promise.source
    return [Mark(who), *(Mark(f"{name} = {value}", "dim") for name, value in promise.says.items())]


def _count(out: Terminal, rows: Sequence[Row]) -> None:
    corrected = sum(map(_corrected, rows))
    unknown = sum(row.kind == "unknown" for row in rows)
    out.line()
    of_app = any(row.app_allow is not None for row in rows)
    out.line(Mark(f"Resources: {len(rows)}." + (f" Allow is corrected for {corrected} of them." if of_app else "")))
    if unknown:
        out.line(Mark(f"Of unknown kind: {unknown}. They get the rules of RFC 9110 only, until a policy says more.", "dim"))
