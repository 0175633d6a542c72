"""Serving by uvicorn: one process, or a parent that keeps several workers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from time import time
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from verbguard.cli.listening import Listening
from verbguard.cli.logs import logging_for
from verbguard.cli.service import Service, application
from verbguard.monitoring.draining import Drain
from verbguard.monitoring.layer import Dated

NOT_STARTED = 3  # uvicorn's own status for an app that did not start

# Seconds in which the head of a request must come: longer than any client needs, and a connection that never says what it
# wants would be held for ever.
HEAD = 30.0


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
        http=_patient(asked.http),
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


def _patient(http: str) -> type[asyncio.Protocol]:
    """The protocol, with a bound on the time for the head of a request."""
    kind: Any = H11Protocol
    if http != "h11":
        try:
            from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as kind  # noqa: N813
        except ModuleNotFoundError:
            if http == "httptools":
                raise
    return {True: _PatientH11}.get(kind is H11Protocol) or type("PatientHttpTools", (_Patient, kind), {})


class _Patient:
    """Closes a connection whose next request does not show all of its head in time."""

    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        self._begin()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[attr-defined]
            self._end()  # a head is here, and its request is running
        elif self._clock is None:
            self._begin()

    def connection_lost(self, error: Exception | None) -> None:
        self._end()
        super().connection_lost(error)  # type: ignore[misc]

    def _begin(self) -> None:
        self._clock = self.loop.call_later(HEAD, self._late)  # type: ignore[attr-defined]

    def _end(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _late(self) -> None:
        transport = self.transport  # type: ignore[attr-defined]
        if not transport.is_closing():
            transport.close()


class _PatientH11(_Patient, H11Protocol):
    pass


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
            at_once(sig)
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
            at_once(sig)
        self._drain.begin()
        self.signal_queue.append(sig)


def at_once(sig: int) -> None:
    """End on the spot: what runs is cut off as by a crash, and the store is made for those."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + sig)
