"""What the demo prints: one scene after the other, the bare and the guarded answers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verbguard.cli.stage import Served
from verbguard.cli.terminal import Cell, Mark, Terminal, symbols

if TYPE_CHECKING:  # these need h11, which comes with the extra
    from verbguard.cli.client import Answer
    from verbguard.cli.judges import Seen
    from verbguard.cli.scenes import Scene

LABEL = 20  # columns for what was asked; the two answers share the rest
TIMES = {0: "never", 1: "once", 2: "twice"}


@dataclass(frozen=True, slots=True)
class Result:
    """One scene, seen in one column and judged."""

    seen: Seen
    complaint: str

    @property
    def kept(self) -> bool:
        return not self.complaint


@dataclass(frozen=True, slots=True)
class Act:
    """One scene in both columns."""

    scene: Scene
    bare: Result
    guarded: Result


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


def answered(answers: Sequence[Answer], fields: Sequence[str]) -> Cell:
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


def headline(answer: Answer) -> str:
    if not answer.status:
        first = answer.content.decode("latin-1").partition("\r\n")[0]
        return f"unreadable: {first}" if first else "no answer"
    text = answer.members().get("rule") or answer.content.decode("utf-8", "replace")
    return f"{answer.status} {text}".strip()


def shown(answer: Answer, fields: Sequence[str]) -> list[Mark]:
    values = [(name, answer.field(name)) for name in fields]
    return [Mark(f"{name.title()}: {value}", "dim") for name, value in values if value is not None]


def times(runs: int) -> str:
    return TIMES.get(runs, f"{runs} times")


def verdict(scene: Scene, side: Result) -> Cell:
    good, bad = symbols()
    if side.kept:
        return [Mark(f"{good} kept: {scene.kept}", "good")]
    return [Mark(f"{bad} broken: {side.complaint}", "bad")]
