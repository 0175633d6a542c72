"""What several families ask of a message: media types, freshness."""

from __future__ import annotations

from collections.abc import Sequence

from verbguard.http import Headers, Request, header
from verbguard.rules import Answer, Finding

__all__ = ["accepted", "fresh", "has_content", "is_json", "listed", "media_type"]


def has_content(request: Request) -> bool:
    """Whether content is announced. A length that nobody can read announces some; `0` announces none."""
    if request.get(b"transfer-encoding") is not None:
        return True
    length = request.get(b"content-length")
    return length is not None and length.strip(b" \t0") != b""


def media_type(value: bytes | None) -> str:
    """The media type that a Content-Type field names, in lower case and without parameters; empty where there is none."""
    if not value:
        return ""
    return value.partition(b";")[0].strip().lower().decode("latin-1")


def is_json(kind: str) -> bool:
    """Whether content of this media type is JSON (RFC 6839 section 3.1)."""
    return kind == "application/json" or kind.endswith("+json")


def accepted(value: bytes | None, types: Sequence[str]) -> bool:
    """Whether a Content-Type is one of those declared; each parameter that a declaration has must be there."""
    from werkzeug.http import parse_options_header

    # "If a Content-Type header field is not present, the recipient MAY [...] assume a media type of
    #  "application/octet-stream"", RFC 9110 8.3
    found, parameters = parse_options_header((value or b"application/octet-stream").decode("latin-1"))
    found = found.strip().lower()
    kind, slash, subtype = found.partition("/")
    if not (kind and slash and subtype) or any(mark in found for mark in " \t,"):
        return False
    for each in types:
        declared, wanted = parse_options_header(each)
        declared = declared.strip().lower()
        if declared in (found, f"{kind}/*", "*/*") and all(
            parameters.get(name, "").lower() == said.lower() for name, said in wanted.items()
        ):
            return True
    return False


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
