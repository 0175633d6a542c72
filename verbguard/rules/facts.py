"""What several families ask of a message: media types, freshness."""

from __future__ import annotations

import re
from collections.abc import Sequence

from verbguard.conditions import date_of
from verbguard.http import Headers, Request, header
from verbguard.rules import Answer, Finding

__all__ = ["accepted", "fresh", "has_content", "is_json", "listed", "media_type", "structured"]

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_MEDIA_TYPE = re.compile(f"{_TOKEN}/{_TOKEN}")
_SF_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")


def has_content(request: Request) -> bool:
    """Whether content is announced. A length that nobody can read announces some; `0` announces none."""
    if request.get(b"transfer-encoding") is not None:
        return True
    length = request.get(b"content-length")
    return length is not None and length.strip(b" \t0") != b""


def media_type(value: bytes | None) -> str:
    """The media type that a Content-Type field names, in lower case and without parameters; empty where nobody can read it."""
    kind = (value or b"").partition(b";")[0].strip(b" \t").lower().decode("latin-1")
    return kind if _MEDIA_TYPE.fullmatch(kind) else ""


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


def listed(types: Sequence[str]) -> bytes:
    """Media types as the value of Accept or Accept-Patch."""
    return ", ".join(types).encode("latin-1", "replace")


def structured(types: Sequence[str]) -> bytes:
    """Media types as the value of Accept-Query, a list of structured fields (RFC 10008 section 3)."""
    from werkzeug.http import parse_options_header

    members = []
    for each in types:
        kind, parameters = parse_options_header(each)
        member = kind if _SF_TOKEN.fullmatch(kind) else _quoted(kind)
        members.append(member + "".join(f";{name.lower()}={_quoted(said)}" for name, said in parameters.items()))
    return ", ".join(members).encode("ascii", "replace")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def fresh(response: Answer, method: str) -> Finding | None:
    """The finding about an answer that says how long it is fresh, although no cache may keep it.

    A lifetime of nothing is none; an Expires without a Date beside it may lie in the past, and says nothing certain.
    """
    from werkzeug.http import parse_dict_header

    said = b", ".join(value for name, value in response.headers if name.lower() == b"cache-control")
    directives = parse_dict_header(said.decode("latin-1").lower())
    if "no-store" in directives or "no-cache" in directives:
        return None
    ages = [directives[name] for name in ("s-maxage", "max-age") if name in directives]
    if ages:
        lives = any(age is not None and age.isdecimal() and age.strip("0") != "" for age in ages)
    else:
        expires, date = (date_of(header(response.headers, name)) for name in (b"expires", b"date"))
        lives = expires is not None and date is not None and expires > date
    if not lives:
        return None
    add: Headers = [(b"cache-control", b"no-store")]
    return Finding(f"An answer to {method} cannot be kept by a cache.", drop=frozenset([b"cache-control", b"expires"]), add=add)
