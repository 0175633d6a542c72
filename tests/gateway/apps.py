"""A guarded gateway, as its environment says: what the servers of the tests serve.

GATEWAY     JSON: {"upstream": url, "gateway": {options of Gateway}, "profile": "guard"}
"""

from __future__ import annotations

import json
import os

import verbguard
from verbguard import Policy, Replay, collection, item
from verbguard.gateway import Gateway

WANTED = json.loads(os.environ["GATEWAY"])

POLICIES = {
    "/items": collection(location="/items/{id}", methods=frozenset({"GET", "POST"})),
    "/items/{id}": item(methods=frozenset({"GET", "PUT", "PATCH", "DELETE"})),
    "/things": Policy(replay=Replay(lease=1.0)),  # seconds until the outcome of a run that was cut off is called unknown
    "/known": Policy(
        methods=frozenset({"GET", "POST"}), rules={"method-not-allowed-405": "reject", "method-unknown-501": "reject"}
    ),
}

app = verbguard.guard(
    Gateway(WANTED["upstream"], **WANTED.get("gateway", {})),
    policies=POLICIES,
    profile=WANTED.get("profile", "guard"),
)
