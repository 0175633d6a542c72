"""The numbers of section 11 that no conversation with one reference application can hold, each with the reason or its place."""

from __future__ import annotations

ALL = range(1, 113)

CACHE = "the guard keeps no cache; that a QUERY runs each time is vector 65"
PROCESSES = "it needs server processes that share a store: tests/test_processes.py has it on SQLite, Redis and PostgreSQL"

UNRUN = {
    67: CACHE,
    83: PROCESSES,
    92: f"{PROCESSES}, where one of them is killed",
    98: f"{PROCESSES}, where it fails, and where it hangs; tests/test_faults.py has both routes by both interfaces",
}
