"""What a serving program logs: the server's own words and the guard's findings to stderr, requests to stdout."""

from __future__ import annotations

import logging
from typing import Any

from verbguard.cli.terminal import colourless


class Once(logging.Filter):
    """Without uvicorn's own line for each WebSocket: the access log has one, which hides what is secret in a query."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        return '"WebSocket %s"' not in str(record.msg)


def logging_for(server: str) -> dict[str, Any]:
    """A configuration of `logging`, for the server of that name."""
    formats: dict[str, Any] = {"plain": {"format": "%(levelname)s:     %(message)s"}, "bare": {"format": "%(message)s"}}
    if server == "uvicorn":
        formats["plain"] = {
            "()": "uvicorn.logging.DefaultFormatter",
            "fmt": "%(levelprefix)s %(message)s",
            "use_colors": False if colourless() else None,
        }
    handlers: dict[str, Any] = {
        "words": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr", "filters": ["once"]},
        "requests": {"class": "logging.StreamHandler", "formatter": "bare", "stream": "ext://sys.stdout"},
    }
    loggers = {
        "verbguard": {"handlers": ["words"], "level": "INFO", "propagate": False},
        "verbguard.access": {"handlers": ["requests"], "level": "INFO", "propagate": False},
    }
    own = {"uvicorn": ["uvicorn", "uvicorn.error"], "granian": ["_granian", "granian.access"]}[server]
    for name in own:
        loggers[name] = {"handlers": ["words"] if "." not in name else [], "level": "INFO", "propagate": "." in name}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"once": {"()": "verbguard.cli.logs.Once"}},
        "formatters": formats,
        "handlers": handlers,
        "loggers": loggers,
    }
