"""Serving by uvicorn: one process, or a parent that keeps several workers."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from time import time
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from verbguard.cli.heads import HEAD_SIZE, bounded
from verbguard.cli.interrupts import at_once
from verbguard.cli.listening import Listening
from verbguard.cli.logs import logging_for
from verbguard.cli.service import Service, application
from verbguard.monitoring.draining import Drain
from verbguard.monitoring.layer import Dated

NOT_STARTED = 3  # uvicorn's own status for an app that did not start


def serve(app: Any, asked: Listening, listener: socket.socket, drain: Drain) -> int:
    """Serve an app in this process until a signal; the exit status."""
    server = _Server(_settings(dated(app), asked), drain)
    server.run(sockets=[listener])
    return 0 if server.started else NOT_STARTED


def several(service: Service, asked: Listening, listener: socket.socket, admin: socket.socket | None, drain: Drain) -> int:
    """Serve by several processes until a signal; the exit status."""
    parent = _Parent(_settings(partial(worker, service, admin), asked, factory=True), [listener], drain)
    parent.run()
    return NOT_STARTED if any(each.exitcode == NOT_STARTED for each in parent.processes) else 0


def worker(service: Service, admin: socket.socket | None) -> Any:
    """The app of a worker, made in its process."""
    return dated(application(service, admin))


def dated(app: Any) -> Dated:
    """The app with a Date on each answer, which uvicorn would also add to those that have one."""
    return Dated(app, _Clock())


def _settings(app: Any, asked: Listening, factory: bool = False) -> uvicorn.Config:
    seconds: Any = asked.drain  # it waits for a part of a second as well, whatever its types say
    return uvicorn.Config(
        app,
        factory=factory,
        interface="asgi3",
        host=asked.host,
        port=asked.port,
        http=bounded(asked.http),
        h11_max_incomplete_event_size=2 * HEAD_SIZE,  # of the two bounds ours says what it is: 431
        root_path=asked.root_path,
        workers=asked.workers,
        log_config=logging_for("uvicorn"),
        access_log=False,
        server_header=False,  # an upstream has its own, and a guard is none
        date_header=False,
        proxy_headers=False,  # whom to trust is the gateway's to know
        timeout_graceful_shutdown=seconds,
        timeout_keep_alive=round(asked.keep_alive),
    )


class _Clock:
    """The present as Date has it, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = b""

    def __call__(self) -> bytes:
        second = int(time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True).encode("ascii")
        return self._text


class _Server(uvicorn.Server):
    """Ends in order at the first signal, at once at the second."""

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drain.begun:
            at_once(sig, self._drain)
        self._drain.begin()
        self.should_exit = True  # nothing is captured, so that nothing is raised again: an end in order has the status 0


class _Parent(Multiprocess):
    """Keeps the workers, tells them to end at the first signal, and ends them at the second."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], drain: Drain) -> None:
        super().__init__(config, sockets)
        self._drain = drain
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._stop)

    def _stop(self, sig: int, frame: FrameType | None) -> None:
        if self._drain.begun:
            for process in self.processes:
                with suppress(OSError, ValueError):
                    process.process.kill()
            at_once(sig, self._drain)
        self._drain.begin()
        self.signal_queue.append(sig)
