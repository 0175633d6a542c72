"""What several families ask of a message: media types, freshness."""

from __future__ import annotations

from verbguard.http import Headers, header
from verbguard.rules import Answer, Finding

__all__ = ["fresh", "is_json", "listed", "media_type"]


def media_type(value: bytes | None) -> str:
    """The media type that a Content-Type field names, in lower case and without parameters; empty where there is none."""
    if not value:
        return ""
    return value.partition(b";")[0].strip().lower().decode("latin-1")


def is_json(kind: str) -> bool:
    """Whether content of this media type is JSON (RFC 6839 section 3.1)."""
    return kind == "application/json" or kind.endswith("+json")


def listed(values: tuple[str, ...] | list[str]) -> bytes:
    """Media types as the value of Accept, Accept-Patch or Accept-Query."""
    return ", ".join(values).encode("latin-1", "replace")


def fresh(response: Answer, method: str) -> Finding | None:
    """The finding about an answer that says how long it is fresh, although no cache may keep it."""
    control = (header(response.headers, b"cache-control") or b"").lower()
    if b"no-store" in control or b"no-cache" in control:
        return None
    if not (b"max-age=" in control or b"s-maxage=" in control or header(response.headers, b"expires") is not None):
        return None
    add: Headers = [(b"cache-control", b"no-store")]
    return Finding(f"An answer to {method} cannot be kept by a cache.", drop=frozenset([b"cache-control", b"expires"]), add=add)
