"""The key that an Idempotency-Key field carries."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["IDEMPOTENCY_KEY", "MAX_KEY", "KeyProblem", "parse_key"]

IDEMPOTENCY_KEY = b"idempotency-key"
MAX_KEY = 255  # bytes; what Stripe and most vendors take


class KeyProblem(Exception):
    """An Idempotency-Key that names nothing: the id of the rule, and what is wrong with it."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail


_BARE = re.compile(rb"[!#-+\--~](?:[ !#-+\--~]*[!#-+\--~])?")  # visible ASCII without quote and comma, inner spaces
_QUOTED = re.compile(rb'"([ !#-\[\]-~]*)"')  # an RFC 9651 String without escapes


def parse_key(value: bytes, *, strict: bool = False) -> bytes:
    """The key that an Idempotency-Key field carries; bare and quoted spellings are one key.

    Raises KeyProblem. With `strict`, a value that is not an RFC 9651 String is a problem too.
    """
    if not strict and value[:1] != b'"' and len(value) <= MAX_KEY and _BARE.fullmatch(value):
        return value
    value = value.strip(b" \t")
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        key = quoted[1]
    elif value[:1] == b'"':
        key = _structured(value)
    elif strict and value:
        raise KeyProblem("idem-key-syntax", "Idempotency-Key is a Structured Field String: put the key in double quotes.")
    elif not value or _BARE.fullmatch(value):
        key = value
    elif b"," in value:
        raise KeyProblem("idem-key-single", "A request carries one Idempotency-Key; a bare key has no comma.")
    else:
        raise KeyProblem("idem-key-format", "An Idempotency-Key is made of visible ASCII characters.")
    if not key.strip():
        raise KeyProblem("idem-key-format", "The Idempotency-Key is empty.")
    if len(key) > MAX_KEY:
        raise KeyProblem("idem-key-format", f"The Idempotency-Key has {len(key)} bytes; {MAX_KEY} are the most.")
    return key


def _structured(value: bytes) -> bytes:
    import http_sf

    try:
        item: Any = http_sf.parse(value, tltype="item")
    except (ValueError, http_sf.StructuredFieldError):
        items = value.count(b'"') > 2 and b"," in value
        raise KeyProblem(
            "idem-key-single" if items else "idem-key-format",
            "A request carries one Idempotency-Key." if items else "The Idempotency-Key is not a well-formed String.",
        ) from None
    return str(item[0]).encode("ascii")
