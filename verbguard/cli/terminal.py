"""What is printed: lines and tables, by rich where it is installed and in plain text where it is not."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import click

Look = Literal["", "head", "dim", "good", "bad"]
Item = TypeVar("Item")

WIDEST = 100  # columns: lines longer than this are hard to follow, however wide the window
SILENCE = 2.0  # seconds: people start to wonder after about that long without a sign of life
GAP = "  "  # between the columns of a plain table


@dataclass(frozen=True, slots=True)
class Mark:
    """A piece of text and how it looks where there is colour; without colour the text alone must say it."""

    text: str
    look: Look = ""


Cell = Sequence[Mark]  # one mark, one line of the cell


class Terminal(Protocol):
    """The two things a command prints."""

    width: int

    def line(self, *marks: Mark) -> None:
        """Print the marks after one another on one line."""

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[Cell]], widths: Sequence[int] | None = None) -> None:
        """Print rows under headings (none: no heading line), in the given widths or in those the text asks for."""


def terminal() -> Terminal:
    """The best terminal this installation can give."""
    try:
        return RichTerminal()
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "rich":
            raise
        return PlainTerminal()


class RichTerminal:
    """Colours and rules by rich, which also knows NO_COLOR, pipes and old consoles."""

    STYLES: dict[Look, str] = {"": "", "head": "bold cyan", "dim": "dim", "good": "green", "bad": "red"}

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, emoji=False, markup=False)
        self.width = min(self._console.width, WIDEST)

    def line(self, *marks: Mark) -> None:
        self._console.print(self._text(marks, ""), width=self.width)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[Cell]], widths: Sequence[int] | None = None) -> None:
        from rich import box
        from rich.table import Table

        grid = Table(
            box=box.SIMPLE_HEAD if headings else None,
            show_header=bool(headings),
            show_edge=False,
            padding=(0, len(GAP) - bool(headings), 0, 0),  # a box of spaces stands between the columns, too
            pad_edge=False,
            header_style=self.STYLES["head"],
        )
        for number in range(len(rows[0])):
            width = widths[number] if widths else None
            grid.add_column(headings[number] if headings else "", overflow="fold", width=width)
        for row in rows:
            grid.add_row(*(self._text(cell, "\n") for cell in row))
        self._console.print(grid, width=self.width)

    def _text(self, marks: Cell, between: str) -> Any:
        from rich.text import Text

        return Text(between).join(Text(mark.text, self.STYLES[mark.look]) for mark in marks)


class PlainTerminal:
    """The same words in the same columns, with nothing but spaces."""

    def __init__(self) -> None:
        self.width = min(shutil.get_terminal_size().columns, WIDEST)

    def line(self, *marks: Mark) -> None:
        text = "".join(mark.text for mark in marks)
        indent = " " * (len(text) - len(text.lstrip()))
        click.echo(
            textwrap.fill(text.strip(), self.width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        )

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[Cell]], widths: Sequence[int] | None = None) -> None:
        lines = [[[mark.text for mark in cell] for cell in row] for row in rows]
        if headings:
            lines.insert(0, [[heading.upper()] for heading in headings])
        columns = widths or fitting(lines, self.width)
        for row in lines:
            wrapped = [wrap(cell, width) for cell, width in zip(row, columns, strict=True)]
            for number in range(max(map(len, wrapped))):
                parts = [
                    (cell[number] if number < len(cell) else "").ljust(width)
                    for cell, width in zip(wrapped, columns, strict=True)
                ]
                click.echo(GAP.join(parts).rstrip())


def fitting(rows: Sequence[Sequence[Sequence[str]]], width: int) -> list[int]:
    """Give every column what its longest line asks for, then take from the widest until the row fits."""
    columns = [max(len(line) for cell in column for line in cell or [""]) for column in zip(*rows, strict=True)]
    while sum(columns) + len(GAP) * (len(columns) - 1) > width and max(columns) > 8:
        columns[columns.index(max(columns))] -= 1
    return columns


def wrap(cell: Sequence[str], width: int) -> list[str]:
    """The lines of a cell, none wider than its column; a field's name stays whole, as with rich."""
    return [part for line in cell for part in textwrap.wrap(line, width, break_on_hyphens=False) or [""]]


def symbols() -> tuple[str, str]:
    """The marks for good and bad, in letters where the output's encoding has no others."""
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "ok:", "NO:"
    return "✓", "✗"


def colourless() -> bool:
    """NO_COLOR, as no-color.org asks: any value but the empty one."""
    return bool(os.environ.get("NO_COLOR"))


@contextmanager
def patience(doing: str) -> Iterator[None]:
    """Say what is being waited for, once it has taken long enough to wonder."""
    sign = threading.Timer(SILENCE, lambda: click.echo(f"... {doing}", err=True))
    sign.daemon = True
    sign.start()
    try:
        yield
    finally:
        sign.cancel()


def counted(items: Iterable[Item], doing: str) -> Iterator[Item]:
    """The items; once they have taken long enough to wonder, their number so far is said, less and less often."""
    count, over = 0, threading.Event()

    def tell() -> None:
        pause = SILENCE
        while not over.wait(pause):
            click.echo(f"... {doing}: {count:,}", err=True)
            pause *= 2

    sign = threading.Thread(target=tell, daemon=True)
    sign.start()
    try:
        for item in items:
            count += 1
            yield item
    finally:
        over.set()
        sign.join()
