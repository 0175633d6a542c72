"""One request as an operator hears of it. Whatever runs for the request finds its account by a context variable."""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter
from typing import Any

from verbguard.rules import Finding

__all__ = ["Account", "current_account", "note"]

_MOST = 16  # findings of one request that are kept; an answer breaks fewer rules, and memory must end


class Account:
    """What is known of a request. `status` is zero until there is one, `seconds` run until the last piece of the answer."""

    __slots__ = (
        "client",
        "complete",
        "findings",
        "kind",
        "method",
        "query",
        "replay",
        "scope",
        "seconds",
        "size",
        "started",
        "status",
        "stopped",
        "target",
        "unanswered",
        "upstream_seconds",
        "version",
    )

    def __init__(self, scope: Any) -> None:
        self.scope = scope
        self.kind: str = scope["type"]
        self.client = scope.get("client")
        self.method: str = scope.get("method", "GET")  # a WebSocket begins with one
        self.target: bytes | None = scope.get("raw_path")  # before anybody moves it
        self.query: bytes = scope.get("query_string", b"")
        self.version: str = scope.get("http_version", "")
        self.findings: list[tuple[str, str]] = []  # (rule, action)
        self.replay = ""  # "claimed", "replayed", or nothing
        self.status = 0
        self.size = 0  # bytes of content that the server was given
        self.complete = False
        self.stopped = ""  # "cancelled", or the name of what was raised
        self.upstream_seconds = -1.0  # until what is guarded began to answer; negative where it was not asked
        self.unanswered = 0  # what a gateway told in place of the upstream
        self.seconds = 0.0
        self.started = perf_counter()

    @property
    def template(self) -> str:
        """The route's template, never a path: what comes from clients must not make a label."""
        plan = self.scope.get("verbguard")
        template: str = getattr(getattr(plan, "target", None), "template", "(unmapped)")
        return template if template[:1] in "/(*" and self.method != "CONNECT" else "(target)"


_CURRENT: ContextVar[Account | None] = ContextVar("verbguard.account", default=None)
current_account = _CURRENT.get
open_account = _CURRENT.set


def note(finding: Finding) -> None:
    """The observer that keeps findings with their request."""
    account = _CURRENT.get()
    if account is not None and len(account.findings) < _MOST:
        account.findings.append((finding.rule, str(finding.action)))
