"""The entries of a store for people: found by name or by what they are about, told in words or as data.

Paths, methods and answers were written by clients and apps: nothing of them reaches a terminal unescaped.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from verbguard.records import Record, State
from verbguard.stores.operations import Audit, Kept

SHORT = 12  # hexadecimal digits that name an entry in a table; 48 bits, so that two are hardly ever alike
FEWEST = 4  # digits of a name that are worth a search
WHOSE = 8  # digits of a principal: enough to see which entries are one client's, and to ask for them

_NEAR = 3  # suggestions to a mistyped name

_URGENT = {"unknown": 0, "running": 1, "done": 2}  # what an operator is wanted for comes first

_SHOWN, _LINES = 1_000, 30  # characters and lines of an answer: enough to recognise it


# ---- which


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the entries have in common that an operator asks for; None asks for nothing."""

    principal: str | None = None  # digits of the digest, or the name that the application's callable returned
    key: bytes | None = None  # the digest
    target: re.Pattern[str] | None = None
    state: str | None = None

    @property
    def everything(self) -> bool:
        return (self.principal, self.key, self.target, self.state) == (None, None, None, None)

    def chosen(self, entries: Iterable[Kept]) -> Iterator[Kept]:
        """The entries that are like this."""
        whose = None if self.principal is None else _Whose(self.principal)
        for entry in entries:
            if (
                (self.state is None or entry.state == self.state)
                and (self.key is None or entry.key == self.key)
                and (whose is None or whose.has(entry.principal))
                and (self.target is None or self.target.fullmatch(entry.path))
            ):
                yield entry


class _Whose:
    """A principal as an operator spells it: digits of the digest, the application's own name for it, or empty for nobody."""

    def __init__(self, spelled: str) -> None:
        from verbguard.replay.principals import fields_of

        self.named = sha256(fields_of(spelled)).digest()[:16] if spelled else b""
        self.digits = spelled.lower() if re.fullmatch(rf"[0-9a-fA-F]{{{WHOSE},32}}", spelled) else None

    def has(self, principal: bytes) -> bool:
        return principal == self.named or (self.digits is not None and principal.hex().startswith(self.digits))


def at_or_below(target: str) -> re.Pattern[str]:
    """A path or the beginning of a template, as a pattern of the paths that are it or below it."""
    parts = re.split(r"(\{[^{}]*\})", target.rstrip("/"))
    return re.compile("".join(map(_part, parts)) + "(?:/.*)?", re.DOTALL)


def _part(part: str) -> str:
    if part[:1] != "{" or part[-1:] != "}":
        return re.escape(part)
    return ".+" if part.endswith(":path}") else "[^/]+"


def with_names(entries: Iterable[Kept], names: Iterable[str]) -> tuple[dict[str, list[Kept]], list[Kept]]:
    """For each name, which is the beginning of an entry's, the entries that it may mean; and a few spelled nearly so."""
    found: dict[str, list[Kept]] = {name: [] for name in names}
    near: list[Kept] = []
    for entry in entries:
        full = entry.name.hex()
        hits = [name for name in found if full.startswith(name)]
        for name in hits:
            found[name].append(entry)
        if not hits and len(near) < _NEAR and any(full[:FEWEST] == name[:FEWEST] for name in found):
            near.append(entry)
    return found, near


def by_urgency(entry: Kept) -> tuple[int, float, bytes]:
    """To sort by: what waits for an operator first, then what will be there the longest."""
    return _URGENT.get(entry.state, 0), -entry.left, entry.name


# ---- in words


def short(digest: bytes, digits: int = SHORT) -> str:
    return digest.hex()[:digits]


def inert(text: str) -> str:
    """Text that a terminal shows and does not obey."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def request_of(entry: Kept) -> str:
    """What was asked. An entry of an older version does not say it."""
    return inert(f"{entry.method} {entry.path}".strip()) or "not told"


def span(seconds: float) -> str:
    """A time in one or two words, rounded down: nobody is promised more than there is."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length):,} {unit}"
    return f"{int(seconds)} s" if seconds >= 1 else "< 1 s"


def size(count: int) -> str:
    for unit, length in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if count >= length:
            return f"{count / length:.{1 if count < 100 * length else 0}f} {unit}"
    return f"{count} B"


def number(count: int, one: str, many: str = "") -> str:
    """A count with its noun: 1 entry, 2 entries."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def answer_of(entry: Kept) -> str:
    return f"{entry.status}, {size(entry.size)}" if entry.state == "done" else ""


def standing(entry: Kept) -> str:
    """An entry's state, in a sentence."""
    if entry.state == "running":
        return f"running; its lease has {span(entry.left)} left, and is renewed while its process lives"
    if entry.state == "unknown":
        return f"unknown: its process was lost, and nobody can tell how far it came; remembered for {span(entry.left)}"
    return f"done; kept for {span(entry.left)}"


def withheld(entry: Kept, record: Record | None) -> str:
    """Why there is no content to show; empty where there is."""
    if record is None:
        return "there is none yet" if entry.state == "running" else "nobody knows it"
    return {
        State.WHOLE: "",
        State.TOO_LARGE: "not kept: it was larger than the bound, or a stream",
        State.BROKEN: "not kept: it ended before it was complete",
        State.SEALED: "encrypted, and no key given here opens it: --key-file FILE, or VERBGUARD_STORE_KEYS",
    }[record.state]


def beginning(record: Record) -> list[str]:
    """The first lines of a kept answer's content, escaped; what is no text is told by its size."""
    if not record.body:
        return ["no content"]
    text = _text(record)
    if text is None:
        return [f"{size(len(record.body))} that are no text"]
    lines = [inert(line) for line in text[:_SHOWN].split("\n")]
    shown = lines[:_LINES]
    if len(text) > _SHOWN or len(lines) > _LINES:
        shown.append(f"... {size(len(record.body))} in all; --json has everything")
    return shown


def _text(record: Record) -> str | None:
    """The content as text, if it is some; a content coding hides what it is."""
    if any(name == b"content-encoding" for name, _ in record.headers):
        return None
    try:
        text = record.body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


# ---- as data


def described(entry: Kept) -> dict[str, Any]:
    """An entry, as data."""
    return {
        "name": entry.name.hex(),
        "state": entry.state,
        "method": entry.method,
        "path": entry.path,
        "principal": entry.principal.hex(),
        "key": entry.key.hex() or None,
        "token": entry.token,
        "left": round(entry.left, 3),
        "status": entry.status or None,
        "size": entry.size,
    }


def answered(record: Record | None) -> dict[str, Any] | None:
    """A kept answer, as data: content that is no text in base64."""
    if record is None:
        return None
    text = _text(record)
    return {
        "kept": record.state.name.lower().replace("_", " "),
        "status": record.status,
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in record.headers],
        "content": text,
        "content_base64": b64encode(record.body).decode("ascii") if text is None else None,
    }


def audited(line: Audit) -> dict[str, Any]:
    return {"when": line.when, "who": line.who, "what": line.what, "name": line.name.hex()}
