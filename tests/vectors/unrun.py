"""The numbers of section 11 that no conversation with the reference application can hold, each with the reason."""

from __future__ import annotations

ALL = range(1, 113)

CACHE = "the guard keeps no cache; that a QUERY runs each time is vector 65"
GATEWAY = "it concerns a gateway between the guard and an application, and waits for it"
PROCESSES = "it needs a store that several processes share, or that outlives one"
SERVER = "interim answers are the server's to send: a guard inside it sees neither them nor what is left of them"

UNRUN = {
    63: SERVER,
    67: CACHE,
    83: PROCESSES,
    92: f"{PROCESSES}; tests/test_stores.py lets leases run out, tests/test_exchange.py says what is answered then",
    98: "no door has a store that fails; tests/test_faults.py runs both routes with one that does, by both interfaces",
    110: GATEWAY,
    111: f"{GATEWAY}; that no record has fields of a connection is in tests/test_replay.py",
    112: GATEWAY,
}
