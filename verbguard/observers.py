"""Who hears of findings when nobody else does: the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from verbguard.rules import Finding, catalogue

__all__ = ["LogObserver", "Observer", "logger"]

logger = logging.getLogger("verbguard")

Observer = Callable[[Finding], Any]


_MOST = 10_000  # lines; an app has fewer rules x routes x statuses, and a client must not fill memory or the log


class LogObserver:
    """Logs each rule once per route and status, on the logger `verbguard`."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str, int]] = set()

    def has_said(self, rule: str, template: str, status: int) -> bool:
        """Whether a finding of this rule, route and status would not be logged again."""
        return (rule, template, status) in self._said or len(self._said) >= _MOST

    def __call__(self, finding: Finding) -> None:
        if self.has_said(finding.rule, finding.template, finding.status):
            return
        self._said.add((finding.rule, finding.template, finding.status))
        known = catalogue().get(finding.rule)
        level = logging.DEBUG if known is not None and known.routine else logging.WARNING
        logger.log(level, "%s: %s %s: %s [%s]", finding.rule, finding.method, finding.template, finding.message, finding.action)
