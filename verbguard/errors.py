"""What can go wrong, by who can mend it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["ConfigError", "StoreError", "Superseded", "VerbguardError", "nearest"]


class VerbguardError(Exception):
    """The root of every error that verbguard raises."""


class ConfigError(VerbguardError, ValueError):
    """The developer can mend it: raised when the app starts, naming the route, the field and the nearest spelling."""


class StoreError(VerbguardError):
    """The operator can mend it: a replay store did not do its work. `__cause__` carries the original, if there is one."""


class Superseded(VerbguardError):
    """Another run of the same key has committed its answer, so that this one must not commit its effect: let it pass."""


_READABLE = 40  # names in an error message


def nearest(word: str, choices: Iterable[str]) -> str:
    """The end of an error message: the spelling that was probably meant, or all that there are, if a person can read them."""
    known = sorted(choices)
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return (
        f"there are: {', '.join(known) or 'none'}"
        if len(known) <= _READABLE
        else f"none of the {len(known)} is spelled like it"
    )
