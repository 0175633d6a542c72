"""Serving by granian: a parent and its workers."""

from __future__ import annotations

import multiprocessing
import socket
from contextlib import suppress
from functools import partial
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server import Server

from verbguard.cli.interrupts import at_once
from verbguard.cli.listening import Listening
from verbguard.cli.logs import logging_for
from verbguard.cli.service import Service, application
from verbguard.monitoring.draining import Drain


def serve(service: Service, asked: Listening, admin: socket.socket | None, drain: Drain) -> int:
    """Serve until a signal; the exit status."""
    multiprocessing.set_start_method("spawn", force=True)  # what this process has opened must not be forked
    server = _Granian(
        drain,
        "verbguard",
        address=asked.host,
        port=asked.port,
        interface=Interfaces.ASGI,
        workers=asked.workers,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(),
        log_dictconfig=logging_for("granian"),
        workers_kill_timeout=max(1, round(asked.drain)),
        respawn_failed_workers=True,
    )
    try:
        server.serve(target_loader=partial(application, service, admin), wrap_loader=False)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 1
    return 0


class _Granian(Server):  # type: ignore[misc,valid-type]
    """Ends in order at the first signal, at once at the second."""

    def __init__(self, drain: Drain, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._drain = drain

    def signal_handler_interrupt(self, *arguments: Any, **keywords: Any) -> None:
        if self._drain.begun:
            for worker in self.wrks:
                with suppress(OSError, ValueError):
                    worker.kill()
            at_once(arguments[0], self._drain)
        self._drain.begin()
        super().signal_handler_interrupt(*arguments, **keywords)
