"""What replay decides, as pure functions: the key, who asks, which request it is, which answers are results.

The rules stand in RFC 9110 section 9.2.2 and in draft-ietf-httpapi-idempotency-key-header-07, an expired draft that
practice follows; the decisions where it is silent are explained in docs/architecture.md.
"""

from __future__ import annotations

from verbguard.replay.fingerprints import (
    KEYED_EXTRAS,
    MEANINGLESS,
    PRECONDITIONS,
    contends,
    keyed_head,
    keyless_head,
    request_digest,
)
from verbguard.replay.keys import IDEMPOTENCY_KEY, MAX_KEY, KeyProblem, parse_key
from verbguard.replay.multipart import is_multipart
from verbguard.replay.principals import CREDENTIAL, CREDENTIALS, fields_of, principal_of
from verbguard.replay.results import STORED, kept, readable, recorded, stored_headers

__all__ = [
    "CREDENTIAL",
    "CREDENTIALS",
    "IDEMPOTENCY_KEY",
    "KEYED_EXTRAS",
    "MAX_KEY",
    "MEANINGLESS",
    "PRECONDITIONS",
    "STORED",
    "KeyProblem",
    "contends",
    "fields_of",
    "is_multipart",
    "keyed_head",
    "keyless_head",
    "kept",
    "parse_key",
    "principal_of",
    "readable",
    "recorded",
    "request_digest",
    "stored_headers",
]
