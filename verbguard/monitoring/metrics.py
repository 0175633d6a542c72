"""Metrics for Prometheus, by its own client library (`verbguard[prometheus]`).

Labels come from the configuration, never from a client: routes by their template, unknown methods as one. Where several
processes serve, each writes into files of one folder (the library's multiprocess mode), and any of them tells the sum.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verbguard.methods import METHODS
from verbguard.monitoring.accounts import Account
from verbguard.rules import Finding

__all__ = ["FOLDER", "Metrics", "is_installed"]

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the library reads it when it is loaded

# Seconds. A replay takes less than a millisecond, an upstream that nobody waits for longer than half a minute.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
OTHER = "(other)"
UNANSWERED = "none"  # the status class of a request that ended without an answer


def is_installed() -> bool:
    """Whether the library is there."""
    try:
        import prometheus_client  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


class Metrics:
    """The figures of one process. `held` tells how many claims are running."""

    def __init__(self, held: Callable[[], int] = lambda: 0) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._folder = os.environ.get(FOLDER)
        self._held = held
        self.registry = registry = CollectorRegistry()

        def counter(name: str, words: str, labels: tuple[str, ...] = ()) -> Any:
            return Counter(f"verbguard_{name}", words, labels, registry=registry)

        self._requests = counter(
            "requests", "Requests by method, class of status and the route's template.", ("method", "status", "template")
        )
        self._findings = counter("findings", "Rules that spoke, and what was done.", ("rule", "action"))
        self._replays = counter("replays", "Requests that were answered from the store.", ("template",))
        self._claims = counter(
            "claims", "Requests that won the right to run, for a key or as a PUT without one.", ("template",)
        )
        self._store_errors = counter("store_errors", "Operations of the replay store that failed.", ("operation",))
        self._upstream_errors = counter(
            "upstream_errors", "Answers that the upstream owes, by what was told instead.", ("status",)
        )
        self._seconds = Histogram(
            "verbguard_request_seconds",
            "From the head of a request to the last piece of its answer.",
            ("method",),
            buckets=BUCKETS,
            registry=registry,
        )
        self._upstream_seconds = Histogram(
            "verbguard_upstream_seconds", "Until the upstream begins to answer.", buckets=BUCKETS, registry=registry
        )
        self._in_flight = Gauge(
            "verbguard_claims_in_flight", "Claims that are running now.", registry=registry, multiprocess_mode="livesum"
        )
        self._children: dict[tuple[str, int, str], tuple[Any, Any]] = {}

    def __call__(self, account: Account) -> None:
        """The report of a request."""
        method = account.method if account.method in METHODS else OTHER
        template, status = account.template, account.status or (500 if account.stopped not in ("", "cancelled") else 0)
        known = self._children.get((method, status // 100, template))
        if known is None:
            family = f"{status // 100}xx" if status else UNANSWERED
            known = self._requests.labels(method, family, template), self._seconds.labels(method)
            self._children[method, status // 100, template] = known
        known[0].inc()
        known[1].observe(account.seconds)
        if account.replay:
            (self._replays if account.replay == "replayed" else self._claims).labels(template).inc()
        if account.unanswered:
            self._upstream_errors.labels(str(account.unanswered)).inc()
        elif account.upstream_seconds >= 0:
            self._upstream_seconds.observe(account.upstream_seconds)

    def found(self, finding: Finding) -> None:
        """The observer of findings."""
        self._findings.labels(finding.rule, str(finding.action)).inc()

    def store_failed(self, operation: str) -> None:
        """An operation of the store has raised."""
        self._store_errors.labels(operation).inc()

    def refresh(self) -> None:
        """Note how many claims are running here. Other processes see what was noted last."""
        self._in_flight.set(self._held())

    def text(self) -> tuple[bytes, str]:
        """All figures in Prometheus' text format, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

        if self._folder is None:
            return generate_latest(self.registry), CONTENT_TYPE_LATEST
        for file in Path(self._folder).glob("gauge_live*_*.db"):
            process = file.stem.rpartition("_")[2]
            if process.isdigit() and not _runs(int(process)):
                mark_process_dead(int(process), self._folder)  # type: ignore[no-untyped-call]
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together), CONTENT_TYPE_LATEST


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
