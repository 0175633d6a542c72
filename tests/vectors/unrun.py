"""The numbers of section 11 that no conversation with one reference application can hold, each with the reason or its place."""

from __future__ import annotations

ALL = range(1, 113)

CACHE = "the guard keeps no cache; that a QUERY runs each time is vector 65"
GATEWAY = "it concerns a gateway between the guard and an application, and waits for it"
PROCESSES = "it needs server processes that share a store: tests/test_processes.py has it on SQLite, Redis and PostgreSQL"
SERVER = "interim answers are the server's to send: a guard inside it sees neither them nor what is left of them"

UNRUN = {
    63: SERVER,
    67: CACHE,
    83: PROCESSES,
    92: f"{PROCESSES}, where one of them is killed",
    98: f"{PROCESSES}, where it fails, and where it hangs; tests/test_faults.py has both routes by both interfaces",
    110: GATEWAY,
    111: f"{GATEWAY}; that no record has fields of a connection is in tests/test_replay.py",
    112: GATEWAY,
}
