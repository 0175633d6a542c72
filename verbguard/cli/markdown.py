"""docs/rules/: the pages of the rules as Markdown, one a family and an index, in the words that the terminal shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from verbguard.cli.pages import actions, because, facts, families, paragraphs, rules, subject, unseen
from verbguard.http import DOCUMENTATION
from verbguard.rules import Rule
from verbguard.rules.unseen import UNSEEN, WHY, Unseen

COMMAND = "python -m verbguard rules --markdown docs/rules"
NOTE = f"<!-- Written by `{COMMAND}`: change the code, not this page. -->"

_CODE = re.compile(r"(`[^`]*`)")


def pages() -> dict[str, str]:
    """All pages by their file names."""
    found = {"index.md": _text(_index())}
    for family in families():
        found[f"{family}.md"] = _text(_family(family))
    return found


def written_by_us(page: str) -> bool:
    return page.startswith(NOTE)


def _text(lines: Iterable[str]) -> str:
    return "\n".join([NOTE, "", *lines]).rstrip() + "\n"


def _index() -> Iterator[str]:
    known = rules()
    yield "# The rules"
    yield ""
    yield (
        f"{len(known)} rules look at the messages between a client and your application. Each has an id that stays, and stands "
        f"in findings, in policies, and in the `type` of refusals (`{DOCUMENTATION}<id>`). `verbguard rules` shows the same in "
        "a terminal."
    )
    yield ""
    yield 'Another action for a rule is a policy\'s word, on a route or everywhere: `rules={"put-no-collection": "observe"}`.'
    for family in families():
        own = [rule for rule in known if rule.family == family]
        if own:
            yield from ("", f"## [{family}]({family}.md)", "", _plain(subject(family)), "")
            yield from _overview(own, f"{family}.md")
    yield from ("", "## What is not looked for", "")
    yield f"{len(UNSEEN)} rules of HTTP's verbs have no function. Each is on the page of its family, with the reason:"
    yield ""
    for why, meaning in WHY.items():
        ids = [f"[{row.id}]({row.family}.md#{row.id})" for row in UNSEEN.values() if row.why == why]
        if ids:
            yield f"- **{why}**, {meaning}: {', '.join(ids)}"


def _family(family: str) -> Iterator[str]:
    own = [rule for rule in rules() if rule.family == family]
    yield f"# {family}"
    yield ""
    yield _plain(subject(family))
    if own:
        yield ""
        yield from _overview(own)
    for rule in own:
        yield from _page(rule)
    for row in unseen(family):
        yield from _other(row)


def _overview(own: Sequence[Rule], file: str = "") -> Iterator[str]:
    yield from ("| rule | what | `guard` | source |", "|---|---|---|---|")
    for rule in own:
        yield f"| [{rule.id}]({file}#{rule.id}) | {_cell(rule.title)} | {actions(rule)['guard']} | {_cell(rule.cites)} |"


def _page(rule: Rule) -> Iterator[str]:
    # An id is its own anchor: small letters, digits and hyphens are what every slug is made of.
    yield from ("", f"## {rule.id}", "", f"**{_plain(rule.title)}**", "")
    yield from _table(facts(rule))
    for paragraph in paragraphs(rule):
        lead = f"**{paragraph.lead}** " if paragraph.lead else ""
        yield from ("", lead + _plain(paragraph.text))


def _other(row: Unseen) -> Iterator[str]:
    yield from ("", f"## {row.id}", "")
    yield from _table([("source", row.cites), ("not here", because(row))])
    yield from ("", _plain(row.reason))


def _table(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield from ("| | |", "|---|---|")
    yield from (f"| {word} | {_cell(line)} |" for word, line in pairs)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """Text whose marks mean themselves; what stands between backticks is code already."""
    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<\[\]_])", r"\\\1", part) for part in parts)
