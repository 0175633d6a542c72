"""The account: every rule that was collected is a function of the catalogue, or says why it is none."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
from collected import IDS, SECTIONS

from verbguard.cli import pages
from verbguard.rules import FAMILIES, Rule, catalogue
from verbguard.rules.unseen import FURTHER, UNSEEN, WHY, Unseen, Why

RULES = catalogue()
QUESTIONS = ["Why it matters:", "What the guard does:", "How to fix it:", "When to switch it off:"]


def test_every_id_is_accounted_for() -> None:
    """Each id is a rule, or in the table of those that are not looked for, and never in both or in neither."""
    assert sorted(IDS - RULES.keys() - UNSEEN.keys()) == [], "write a function, or a row in verbguard/rules/unseen.py"
    assert sorted(RULES.keys() & UNSEEN.keys()) == [], "has a function: take its row out of verbguard/rules/unseen.py"
    assert sorted(UNSEEN.keys() - IDS) == [], "was never collected"


def test_no_id_was_lost_when_they_were_written_down() -> None:
    """The collection has 222 rules, each in one section."""
    listed = Counter(id for ids in SECTIONS.values() for id in ids.split())
    assert set(listed.values()) == {1}
    assert len(IDS) == 222


@pytest.mark.parametrize("row", UNSEEN.values(), ids=list(UNSEEN))
def test_a_reason_is_one_short_sentence(row: Unseen) -> None:
    """A row says in a word and in a sentence why there is no function, names its source, and stands on a page that exists."""
    assert UNSEEN[row.id] is row
    assert row.why in WHY
    assert row.family in (*FAMILIES, *FURTHER)
    assert row.cites.startswith(("RFC ", "draft-"))
    assert row.reason[0].isupper() or row.reason.split()[0] in RULES
    assert row.reason.endswith(".")
    assert len(row.reason) <= 130


@pytest.mark.parametrize("row", [row for row in UNSEEN.values() if row.why == "other"], ids=lambda row: row.id)
def test_the_other_rule_exists(row: Unseen) -> None:
    """Where another rule finds it, the reason names that rule."""
    assert set(row.reason.replace(",", " ").rstrip(".").split()) & RULES.keys()


def test_every_word_is_explained_and_used() -> None:
    """The words for why are those of the type, and none is idle."""
    assert set(WHY) == set(get_args(Why)) == {row.why for row in UNSEEN.values()}


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_rule_has_a_family_and_a_page(rule: Rule) -> None:
    """A rule is in a module that the catalogue knows, and its page says what it finds and answers the four questions."""
    assert rule.family in FAMILIES
    first, *rest = pages.paragraphs(rule)
    assert (first.lead, first.text[-1]) == ("", ".")
    assert [paragraph.lead for paragraph in rest] == QUESTIONS
    assert all(paragraph.text for paragraph in rest)
