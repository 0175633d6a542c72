"""`verbguard rules`: the catalogue as a table, and `verbguard rules ID`: the page of one rule."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from verbguard.cli.guarding import PROFILES
from verbguard.cli.target import Trouble
from verbguard.cli.terminal import GAP, Cell, Look, Mark, Terminal, terminal
from verbguard.errors import nearest

if TYPE_CHECKING:  # the catalogue is loaded when it is wanted, so that other commands start without it
    from verbguard.rules import Rule
    from verbguard.rules.unseen import Unseen

_LOOKS: dict[str, Look] = {"reject": "bad", "replace": "bad", "repair": "good", "off": "dim"}
_SHORTEST = 12  # columns: below that a text is a column of single words


@click.command(
    short_help="Show the rules: what each finds, why, and what is done.",
    epilog="""
\b
Examples:
  verbguard rules                          all of them, and what `guard` does
  verbguard rules put-no-collection        the page of one
  verbguard rules --method PUT --strength must
  verbguard rules --status 304 --profile strict
  verbguard rules --all --family preconditions
  verbguard rules --json | jq -r '.[] | [.id, .actions.guard] | @tsv'

\b
Another action for a rule, on a route or everywhere, is a policy's word:
  rules = { put-no-collection = "observe" }
""",
)
@click.argument("id", metavar="[ID]", required=False)
@click.option("--method", metavar="PUT", help="Only rules that concern this method.")
@click.option("--status", metavar="304", type=click.IntRange(100, 599), help="Only rules about answers with this status.")
@click.option("--family", metavar="put", help="Only the rules of one subject.")
@click.option(
    "--strength",
    type=click.Choice(["MUST", "SHOULD", "MAY", "practice"], case_sensitive=False),
    help="Only rules whose source speaks so.",
)
@click.option("--profile", type=click.Choice(PROFILES), default="guard", show_default=True, help="Whose actions are shown.")
@click.option("--all", "everything", is_flag=True, help="Also what is not looked for, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")
@click.option("--markdown", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path), hidden=True)
def rules(
    id: str | None,
    method: str | None,
    status: int | None,
    family: str | None,
    strength: str | None,
    profile: str,
    everything: bool,
    as_json: bool,
    markdown: Path | None,
) -> None:
    """List the rules in the order of their subjects, or show the page of the rule ID.

    Nothing is loaded but the rules themselves; `verbguard routes MODULE:APP` shows what becomes of an app.
    """
    if markdown is not None:
        _write(markdown)
    elif id is not None:
        if any((method, status, family, strength, everything)):
            raise Trouble("An ID names one rule; --method, --status, --family, --strength and --all choose among all of them.")
        _page(id, as_json)
    else:
        found = _chosen(method, status, family, strength)
        # What is not looked for has no methods, statuses or strength to be chosen by.
        _list(found, _others(family) if everything and not (method or status or strength) else [], profile, as_json)


# ---- which


def _chosen(method: str | None, status: int | None, family: str | None, strength: str | None) -> list[Rule]:
    from verbguard.cli import pages
    from verbguard.methods import REGISTERED
    from verbguard.rules import When

    found = pages.rules()
    if family is not None:
        if family not in pages.families():
            raise Trouble(f"There is no family {family!r}: {nearest(family, pages.families())}")
        found = [rule for rule in found if rule.family == family]
    if method is not None:
        if method.upper() not in REGISTERED:
            raise Trouble(f"There is no method {method!r}: {nearest(method.upper(), REGISTERED)}")
        found = [rule for rule in found if pages.concerns(rule, method.upper())]
    if status is not None:
        answers = (When.STATUS, When.CONTENT, When.FRAMING)
        found = [rule for rule in found if rule.when in answers and (rule.statuses is None or status in rule.statuses)]
    if strength is not None:
        found = [rule for rule in found if rule.strength.lower() == strength.lower()]
    return found


def _others(family: str | None) -> list[Unseen]:
    from verbguard.rules.unseen import UNSEEN

    return [row for row in UNSEEN.values() if family in (None, row.family)]


# ---- the table


def _list(found: Sequence[Rule], others: Sequence[Unseen], profile: str, as_json: bool) -> None:
    from verbguard.cli import pages

    if as_json:
        click.echo(json.dumps([*map(pages.described, found), *map(pages.accounted, others)], indent=2))
        return
    out = terminal()
    if not found and not others:
        out.line(Mark("No rule is like that. `verbguard rules` lists all of them."))
        return
    rows = {rule.id: _row(rule, profile) for rule in found} | {row.id: _other(row) for row in others}
    of = {rule.id: rule.family for rule in found} | {row.id: row.family for row in others}
    widths = _widths(out, rows.values())
    for family in pages.families():
        ids = [id for id in rows if of[id] == family]
        if ids:
            out.table((family, "what", profile), [rows[id] for id in ids], widths)
            out.line()
    _count(out, found, others, profile)


def _row(rule: Rule, profile: str) -> list[Cell]:
    from verbguard.cli import pages

    action = pages.actions(rule)[profile]
    return [[Mark(rule.id)], [Mark(rule.title), Mark(rule.cites, "dim")], [Mark(action, _LOOKS.get(action, ""))]]


def _other(row: Unseen) -> list[Cell]:
    return [[Mark(row.id, "dim")], [Mark(row.reason), Mark(row.cites, "dim")], [Mark(f"({row.why})", "dim")]]


def _widths(out: Terminal, rows: Iterable[Sequence[Cell]]) -> list[int]:
    """One set of widths for all families: the ids and actions as wide as they are, the rest for what is said of them."""
    ids, _, last = (max(len(mark.text) for cell in column for mark in cell) for column in zip(*rows, strict=True))
    last = max(last, len("observe"))
    room = out.width - last - 2 * len(GAP)
    what = max(room - max(ids, _SHORTEST), room * 2 // 5, _SHORTEST)
    return [max(room - what, _SHORTEST), what, last]


def _count(out: Terminal, found: Sequence[Rule], others: Sequence[Unseen], profile: str) -> None:
    from verbguard.cli import pages

    done = Counter(pages.actions(rule)[profile] for rule in found)
    told = ", ".join(f"{count} {action}" for action, count in done.most_common())
    if found:
        out.line(Mark(f"Rules: {len(found)}. In the profile {profile}: {told}."))
    if others:
        out.line(Mark(f"Not looked for: {len(others)}, each with the reason."))
    out.line(Mark("verbguard rules ID", "head"), Mark(" shows the page of one of them."))


# ---- the page


def _page(id: str, as_json: bool) -> None:
    from verbguard.cli import pages
    from verbguard.rules import catalogue
    from verbguard.rules.unseen import UNSEEN

    rule, row = catalogue().get(id), UNSEEN.get(id)
    if rule is None and row is None:
        raise Trouble(f"There is no rule {id!r}: {_near(id, [*catalogue(), *UNSEEN])}")
    if as_json:
        told = pages.described(rule) | {"page": _text(rule)} if rule is not None else pages.accounted(row) if row else {}
        click.echo(json.dumps(told, indent=2))
        return
    out = terminal()
    out.line(Mark(id, "head"))
    if rule is not None:
        _show(out, rule)
    elif row is not None:
        out.line()
        _facts(out, [("source", row.cites), ("not here", pages.because(row))])
        out.line()
        out.line(Mark(row.reason))


def _near(id: str, known: Iterable[str]) -> str:
    """The nearest id; there are too many to list them all."""
    hint = nearest(id, known)
    return hint if hint.startswith("did you mean") else "`verbguard rules` lists all of them"


def _show(out: Terminal, rule: Rule) -> None:
    from verbguard.cli import pages

    out.line(Mark(rule.title))
    out.line()
    _facts(out, pages.facts(rule))
    for paragraph in pages.paragraphs(rule):
        out.line()
        lead = [Mark(f"{paragraph.lead} ", "head")] if paragraph.lead else []
        out.line(*lead, Mark(paragraph.text))


def _facts(out: Terminal, pairs: Sequence[tuple[str, str]]) -> None:
    first = max(len(word) for word, _ in pairs)
    rows = [[[Mark(word, "dim")], [Mark(line)]] for word, line in pairs]
    out.table([], rows, [first, out.width - first - len(GAP)])


def _text(rule: Rule) -> str:
    from verbguard.cli import pages

    return "\n\n".join(f"{each.lead} {each.text}".strip() for each in pages.paragraphs(rule))


# ---- docs/rules/


def _write(folder: Path) -> None:
    from verbguard.cli.markdown import pages, written_by_us

    folder.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for old in folder.glob("*.md"):
        if old.name not in wanted and written_by_us(old.read_text("utf-8")):
            old.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, "utf-8")
    click.echo(f"{len(wanted)} pages in {folder}")
