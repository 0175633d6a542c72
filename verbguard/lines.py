"""Where in the text of a TOML file a key stands: tomllib tells values only, and an operator looks for a line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence

__all__ = ["line_of"]

# A header, or what stands before the first "=" that is in no quotes.
_HEADER = re.compile(r"\s*\[\[?(.+?)\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*((?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_.\-\s])+?)\s*=""")

Path = tuple[str, ...]


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The line, counted from one, of the key that `path` leads to; of the nearest table around it where that has no line of
    its own, as in an inline table; None where nothing of it is found.

    What only looks like a key (a line of a text over several lines, say) may be taken for one; the text is known to be TOML.
    """
    wanted, best, line = tuple(path), 0, None
    for number, (found, whole) in enumerate(_keys(text), 1):
        if found and wanted[: len(found)] == found and len(found) > best:
            best, line = len(found), number
        elif whole and found[: len(wanted)] == wanted and best < len(wanted):
            best, line = len(wanted), number  # [policies."/a".replay] stands for policies."/a" as well
    return line


def _keys(text: str) -> list[tuple[Path, bool]]:
    """For each line the path that it names, and whether it names anything."""
    table: Path = ()
    found = []
    for line in text.splitlines():
        if header := _HEADER.match(line):
            path = _path(header[1])
            table = path or table
            found.append((path, bool(path)))
        else:
            key = _KEY.match(line)
            path = _path(key[1]) if key else ()
            found.append(((*table, *path) if path else (), bool(path)))
    return found


def _path(key: str) -> Path:
    """A key as TOML spells it, dots and quotes and all, as its parts; nothing where it is none."""
    try:
        value = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    parts: list[str] = []
    while isinstance(value, dict):
        name, value = next(iter(value.items()))
        parts.append(name)
    return tuple(parts)
