"""Digest fields and signatures (RFC 9530, RFC 9421): whether what is said of a message is true, and what a change breaks."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256, sha512
from typing import Any

from verbguard.http import Headers

__all__ = ["ALGORITHMS", "SEALS", "dictionary", "differs", "unsealed"]

SEALS = frozenset([b"signature", b"signature-input"])

# The two algorithms that RFC 9530 section 5 recommends against attackers; the others prove nothing and are left alone.
ALGORITHMS = {"sha-256": sha256, "sha-512": sha512}


def dictionary(value: bytes) -> dict[str, Any] | None:
    """A structured Dictionary, None where nobody can read it."""
    from http_sf import parse

    try:
        found: Any = parse(value, tltype="dictionary")
    except Exception:  # a parser of untrusted text: whatever it raises, the text is not readable
        return None
    return {str(key): member for key, member in found.items()}


def differs(value: bytes, content: bytes | Iterable[bytes]) -> bool:
    """Whether a digest field says something else than the content, which may come in pieces; also when nobody can read it.

    Algorithms that are not verified here prove nothing either way.
    """
    members = dictionary(value)
    if members is None:
        return True
    said = {name: _bytes(member) for name, member in members.items() if name in ALGORITHMS}
    if None in said.values():
        return True
    running = {name: ALGORITHMS[name]() for name in said}
    for piece in (content,) if isinstance(content, bytes) else content:
        for digest in running.values():
            digest.update(piece)
    return any(digest.digest() != said[name] for name, digest in running.items())


def _bytes(member: Any) -> bytes | None:
    """The Byte Sequence of a member, which comes with its parameters."""
    value = member[0] if isinstance(member, tuple) else member
    return value if isinstance(value, bytes) else None


def unsealed(headers: Headers, changed: Iterable[bytes]) -> frozenset[bytes]:
    """The signature fields that no longer hold when these components of an answer change (RFC 9421 section 2)."""
    lines = [value for name, value in headers if name.lower() == b"signature-input"]
    if not lines:
        return frozenset()
    members = dictionary(b", ".join(lines))
    if members is None:
        return SEALS
    covered = {str(component[0]).encode("utf-8", "replace") for member in members.values() for component in _components(member)}
    return frozenset() if covered.isdisjoint(changed) else SEALS


def _components(member: Any) -> list[Any]:
    value = member[0] if isinstance(member, tuple) else member
    return [each for each in value if isinstance(each, tuple) and each] if isinstance(value, list) else []
