"""What is said while a claim is judged. The exchange applies these; here is what they mean."""

from __future__ import annotations

from verbguard.policy import Action
from verbguard.rules import declare

_DRAFT = "draft-ietf-httpapi-idempotency-key-header-07"

MISSING = declare("idem-key-missing-400", "This route needs an Idempotency-Key", cites=f"{_DRAFT} 2.7", default=Action.REJECT)
SYNTAX = declare(
    "idem-key-syntax",
    "The Idempotency-Key is not a String",
    cites=f"{_DRAFT} 2.1, RFC 9651 3.3.3",
    default=Action.OFF,
    strict=Action.REJECT,
)
SINGLE = declare("idem-key-single", "One Idempotency-Key a request", cites=f"{_DRAFT} 2.1", default=Action.REJECT)
FORMAT = declare("idem-key-format", "The Idempotency-Key names nothing", cites=f"{_DRAFT} 5", default=Action.REJECT)
REUSE = declare("idem-key-reuse-422", "The key belongs to another request", cites=f"{_DRAFT} 2.7", default=Action.REJECT)
INFLIGHT = declare("idem-key-inflight-409", "The first request is still running", cites=f"{_DRAFT} 2.7", default=Action.REJECT)
UNKNOWN = declare("idem-outcome-unknown", "Nobody knows the outcome", cites="RFC 9110 9.2.2", default=Action.REJECT)
NOT_RETAINED = declare("idem-not-retained", "The answer was not kept", cites="RFC 9110 9.2.2", default=Action.REJECT)
FAILED = declare("idem-first-failed", "The first attempt failed", cites="RFC 9110 9.2.2", default=Action.REJECT)
REPLAYED = declare(
    "idem-replay-result", "The first answer was repeated", cites=f"{_DRAFT} 2.6", default=Action.REPAIR, routine=True
)
PRINCIPAL = declare("idem-scope-principal", "Nobody to give the key to", cites=f"{_DRAFT} 5", default=Action.REJECT)
FORBIDDEN = declare("idem-replay-forbidden", "The replay was not authorised", cites=f"{_DRAFT} 5", default=Action.REJECT)
INCOMPLETE = declare("content-complete", "The content is incomplete", cites="RFC 9112 8", default=Action.REJECT)
STORE_DOWN = declare("idem-store-down", "The replay store does not answer", cites="RFC 9110 15.6.4", default=Action.REJECT)
UNPROTECTED = declare("idem-unprotected", "Run without replay protection", cites="RFC 9110 9.2.2", default=Action.OBSERVE)
LEASE_LOST = declare("idem-lease-lost", "A run outlived its lease", cites="RFC 9110 9.2.2", default=Action.OBSERVE)
FAULT = declare("guard-fault", "The guard itself failed", cites="RFC 9110 15.6.4", default=Action.REJECT)
START_UP = declare("start-up", "Said once at start-up", cites="RFC 9110 9.3.4", default=Action.OBSERVE)
