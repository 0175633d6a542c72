"""An application with one item, whose representation includes a label of its own address: what each request does to it."""

from __future__ import annotations

from typing import NamedTuple

from states.requests import ITEM, LABEL, Ask
from verbguard.http import Headers


class Item(NamedTuple):
    """The state at ITEM, None while there is none, and at LABEL below it."""

    value: str | None
    label: str | None = None

    def __str__(self) -> str:
        return f"{self.value}{'' if self.label is None else f' labelled {self.label}'}"


FIRST = Item("0")


def run(ask: Ask, item: Item) -> tuple[Item, int]:
    """(the state afterwards, the status of the answer)."""
    if ask.path == "/items":
        return item, 201
    if ask.condition and ask.condition != item.value:
        return item, 412
    if item.value is None and (ask.method != "PUT" or ask.path == LABEL):
        return item, 404
    if ask.method == "DELETE":
        return Item(None), 204
    if ask.path == LABEL:
        return Item(item.value, ask.body), 200
    if ask.method == "PUT":
        return Item(ask.body), 201 if item.value is None else 200
    return Item(ask.body, item.label), 500 if ask.raises else 200


def fields(ask: Ask, status: int, run_number: int) -> Headers:
    """The field lines of the answer: which run gave it, and what a POST created."""
    found = [(b"x-run", b"%d" % run_number)]
    if status == 201 and ask.method == "POST":
        found.append((b"location", b"/items/%d" % (20 + run_number)))
    return found


def says(ask: Ask, item: Item) -> bool:
    """Whether the state is the one that a successful PUT claims to have made."""
    return item.label == ask.body if ask.path == LABEL else item == Item(ask.body)


__all__ = ["FIRST", "ITEM", "Item", "fields", "run", "says"]
