"""What a segment of a path is by its looks: a name that somebody chose for the API, or the id of one thing."""

from __future__ import annotations

import re

__all__ = ["RESERVED", "is_id", "split", "stem"]

_VERSION = re.compile(r"v\d+([._-]\w+)*|\d+\.\d+(\.\d+)*", re.IGNORECASE)
_IDS = [
    re.compile(pattern)
    for pattern in (
        r"-?\d+",  # integers
        r"\d{4}-\d{2}-\d{2}(T[\d:.]+(Z|[+-]\d{2}:?\d{2})?)?",  # dates, and moments
        r"\d{4}-\d{2}",  # months
        r"-?\d+\.\d+(,-?\d+\.\d+)*",  # places
        r"\{?[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\}?",  # UUIDs
        r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}",  # ULIDs
        r"[A-Za-z]{1,8}[-_]\d+",  # INV-0042
        r"[^@\s]+@[^@\s]+\.[^@\s]+",  # mail addresses
        r"\+?\d[\d-]{6,}",  # telephone numbers, ISBNs
        r"eyJ[\w-]+(\.[\w-]*)*",  # JSON Web Tokens
    )
]
_HEX = re.compile(r"[0-9a-fA-F]{8,}")
_PREFIXED = re.compile(r"[a-z]{2,8}_(?:(?:live|test)_)?([A-Za-z0-9]{8,})")
_TOKEN = re.compile(r"[A-Za-z0-9_+-]{10,}={0,2}")
_SIGNED = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")  # parts with dots between, one of them a long signature
_SIGNATURE = 20  # characters; what has fewer may be the hash in the name of a file
_WORDS = re.compile(r"[A-Za-z]+(?:[-_][A-Za-z]+)*")

# What stands beside members without being one, in many an API.
_BESIDE = """
    search find query filter count stats summary export import batch bulk new edit create me self current latest all default
    login logout status health metrics events feed archive recent popular suggest autocomplete validate preview schema
"""
RESERVED = frozenset(_BESIDE.split())

_SUFFIX = re.compile(r"(.+?)(:[A-Za-z][\w-]*|\.(?:json|xml|csv|pdf|html|txt|ics|yaml|zip|png|jpg|jpeg|svg))")


def is_id(segment: str, depth: int) -> bool:
    """Whether a segment is an id by its looks alone. `depth` counts from 0: a version stands near the beginning."""
    if depth <= 1 and _VERSION.fullmatch(segment):
        return False
    if any(pattern.fullmatch(segment) for pattern in _IDS):
        return True
    if _HEX.fullmatch(segment):
        return any(character.isdigit() for character in segment)
    prefixed = _PREFIXED.fullmatch(segment)
    if prefixed is not None:
        return _mixed(prefixed[1], 1)
    if _SIGNED.fullmatch(segment):
        return any(len(part) >= _SIGNATURE and _mixed(part, 3) for part in segment.split("."))
    return _TOKEN.fullmatch(segment) is not None and not _WORDS.fullmatch(segment) and _mixed(segment, 3)


def _mixed(text: str, digits: int) -> bool:
    """Letters and digits through one another, as no word has them: digits that are not all at the end, or many."""
    found = sum(character.isdigit() for character in text)
    body = text.rstrip("0123456789")
    return found >= digits and (any(character.isdigit() for character in body) or found >= 6)


def split(segment: str) -> tuple[str, str]:
    """An id and what stands after it in the same segment, a custom method or a format: `7:publish`, `7.json`."""
    found = _SUFFIX.fullmatch(segment)
    return (found[1], found[2]) if found is not None else (segment, "")


def stem(name: str) -> str:
    """One of what a plural names, as the beginning of a parameter's name."""
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()).strip("_")
    if plain.endswith("ies") and len(plain) > 4:
        plain = plain[:-3] + "y"
    elif plain.endswith(("sses", "xes", "ches", "shes")):
        plain = plain[:-2]
    elif plain.endswith("s") and not plain.endswith(("ss", "us", "is")):
        plain = plain[:-1]
    return plain if re.fullmatch(r"[a-z][a-z0-9_]*", plain) else "item"
