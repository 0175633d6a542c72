"""What is told of a rule, as plain values: the table, the page in the terminal and docs/rules/ are made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

from verbguard.methods import METHODS, SAFE
from verbguard.policy import Action, Policy, Profile
from verbguard.rules import FAMILIES, Content, Rule, When, catalogue
from verbguard.rules.unseen import FURTHER, UNSEEN, WHY, Unseen

WHEN = {
    When.REQUEST: "at the head of a request, before its content is read",
    When.BODY: "at a request with its content, before a key is claimed",
    When.STATE: "at the target's current validator, before the handler runs",
    When.STATUS: "at the status and fields of an answer",
    When.CONTENT: "at an answer, once its content is known as far as needed",
    When.FRAMING: "at the status and fields that are really sent",
    When.REPLAY: "while the guard works; no message is searched for it",
}
RISK = {
    "none": "none",
    "low": "few",
    "medium": "some: look at what it finds before it may act",
    "high": "many: use it where you know that it fits",
}

# How the names of fields are written that title case would spoil.
_SPELLED = {"etag": "ETag", "www-authenticate": "WWW-Authenticate", "a-im": "A-IM", "te": "TE", "im": "IM"}
_FEW = 3  # methods that only extensions know; more of them would hide the others
_LEAD = re.compile(r"((?:Why|What|How|When) [^.:`]{3,40}:) ")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A piece of a page, under a lead such as "Why it matters:", or under none."""

    lead: str
    text: str


def families() -> tuple[str, ...]:
    """All families, those without a module of rules at the end."""
    return *FAMILIES, *FURTHER


def subject(family: str) -> str:
    """What a family is about: the first line of its module."""
    if family in FURTHER:
        return FURTHER[family]
    from importlib import import_module

    text = import_module(f"verbguard.rules.{family}").__doc__ or ""  # -OO leaves none
    return text.strip().partition("\n\n")[0].replace("\n", " ")


def rules() -> list[Rule]:
    """The catalogue in the order of the families."""
    return sorted(catalogue().values(), key=lambda rule: FAMILIES.index(rule.family))


def unseen(family: str) -> list[Unseen]:
    return [row for row in UNSEEN.values() if row.family == family]


def actions(rule: Rule) -> dict[str, str]:
    """What is done in each profile where no policy says anything."""
    return {str(profile): str(rule.action(profile, Policy())) for profile in Profile}


def choices(rule: Rule) -> list[str]:
    """The actions that a policy may choose, the mildest first."""
    return [str(action) for action in Action if action in rule.actions]


def methods(rule: Rule) -> list[str]:
    """The methods that a rule may speak about."""
    known = [name for name in METHODS if concerns(rule, name)]
    return known + sorted((rule.methods or frozenset()) - METHODS.keys())


def concerns(rule: Rule, method: str) -> bool:
    """Whether a rule may speak about a method; the target's state is asked for before a write only."""
    if rule.when is When.STATE and (method in SAFE or method == "CONNECT"):
        return False
    return rule.concerns_method(method)


def paragraphs(rule: Rule) -> list[Paragraph]:
    """The rule's page: a paragraph begins with a lead, such as "How to fix it:", or after an empty line."""
    found: list[list[str]] = [[]]
    for line in cleandoc(rule.check.__doc__ or "").splitlines():
        if not line or _LEAD.match(line + " "):
            found.append([])
        found[-1].append(line.strip())
    return [_paragraph(" ".join(lines).strip()) for lines in found if any(lines)]


def _paragraph(text: str) -> Paragraph:
    lead = _LEAD.match(text)
    return Paragraph(lead[1], text[lead.end() :]) if lead else Paragraph("", text)


def facts(rule: Rule) -> list[tuple[str, str]]:
    """What a page says above its text, as pairs of a word and a line."""
    return [(word, line) for word, line in _facts(rule) if line]


def _facts(rule: Rule) -> Iterator[tuple[str, str]]:
    yield "source", f"{rule.cites} ({rule.strength})"
    yield "looks", WHEN[rule.when]
    yield "methods", _methods(methods(rule))
    if rule.when in (When.STATUS, When.CONTENT, When.FRAMING):
        yield "statuses", "any" if rule.statuses is None else spans(rule.statuses)
    yield (
        "request",
        _conditions(("has", rule.fields), ("has", rule.given), ("lacks", rule.lacks), several="one of", none="none of"),
    )
    lacking = None if rule.absent is None else {rule.absent}
    yield "answer", _conditions(("has", rule.has), ("lacks", lacking), several="one of", none="none of")
    if rule.content is Content.JSON or rule.kind is not None:
        yield "content", "JSON" if rule.kind is None else rule.kind.decode("latin-1")
    yield "profiles", ", ".join(f"{profile}: {action}" for profile, action in actions(rule).items())
    if rule.map_needed:
        yield "", "on an app whose routes are not known it only observes"
    if rule.opt is not None:
        yield "", f"{rule.opt}, where a policy asks for it"
    yield (
        "may be",
        f"{', '.join(choices(rule))}; a policy says which" if len(rule.actions) > 1 else f"nothing but {choices(rule)[0]}",
    )
    yield "false alarms", RISK[rule.risk]


def _methods(names: list[str]) -> str:
    if names == list(METHODS):
        return "all"
    further = [name for name in names if name not in METHODS]
    if len(further) <= _FEW:
        return ", ".join(names)
    return f"{', '.join(name for name in names if name in METHODS)}, and {len(further)} others of the registry"


def _conditions(*pairs: tuple[str, Iterable[bytes] | None], several: str, none: str) -> str:
    parts = []
    for verb, names in pairs:
        shown = [spelled(name) for name in sorted(names or ())]
        if shown:
            number = "" if len(shown) == 1 else f"{several if verb == 'has' else none} "
            parts.append(f"{'has' if verb == 'has' or number else 'lacks'} {number}{', '.join(shown)}")
    return "; ".join(parts)


def spelled(name: bytes) -> str:
    """A field's name as it is usually written."""
    text = name.decode("latin-1")
    return _SPELLED.get(text) or text.title()


def spans(statuses: Iterable[int]) -> str:
    """Status codes in few words: 100-199, 304."""
    found: list[list[int]] = []
    for status in sorted(statuses):
        if found and status == found[-1][-1] + 1:
            found[-1].append(status)
        else:
            found.append([status])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in found)


def described(rule: Rule) -> dict[str, Any]:
    """A rule as data."""
    return {
        "id": rule.id,
        "title": rule.title,
        "family": rule.family,
        "cites": rule.cites,
        "strength": rule.strength,
        "risk": rule.risk,
        "when": rule.when.value,
        "methods": methods(rule),
        "statuses": None if rule.statuses is None else sorted(rule.statuses),
        "request_has": _names(rule.fields, rule.given),
        "request_lacks": _names(rule.lacks),
        "answer_has": _names(rule.has),
        "answer_lacks": [] if rule.absent is None else [spelled(rule.absent)],
        "actions": actions(rule),
        "choices": choices(rule),
        "map_needed": rule.map_needed,
    }


def accounted(row: Unseen) -> dict[str, Any]:
    """A rule without a function, as data."""
    return {"id": row.id, "family": row.family, "cites": row.cites, "why": row.why, "reason": row.reason}


def _names(*groups: Iterable[bytes] | None) -> list[str]:
    return [spelled(name) for group in groups for name in sorted(group or ())]


def because(row: Unseen) -> str:
    """Why a rule has no function, in a line."""
    return f"{row.why}: {WHY[row.why]}"
