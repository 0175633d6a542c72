"""The servers of the matrix, and one process of theirs: started on a free loopback port, always stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from servers.wire import Answer, Connection

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
START = 30.0  # seconds a server may take to listen: several of them may be starting on a busy machine
STOP = 3.0  # seconds it may take to stop by itself before its process group is killed
THREADS = "32"  # of the threaded servers: more than any test keeps waiting at once


@dataclass(frozen=True, slots=True)
class Server:
    """How one server is started: with one process of the application unless options say otherwise."""

    name: str
    interface: str
    arguments: Sequence[str]
    reads_first: bool = False  # takes the whole request in before the application hears of it

    def command(self, app: str, port: int, options: Sequence[str] = ()) -> list[str]:
        module, *arguments = (part.format(app=app, port=port) for part in self.arguments)
        return [sys.executable, "-m", module, *options, *arguments]


def _uvicorn(parser: str) -> tuple[str, ...]:
    return ("uvicorn", "{app}", "--host=127.0.0.1", "--port={port}", f"--http={parser}", "--no-access-log")


def _granian(interface: str, *options: str) -> tuple[str, ...]:
    return ("granian", f"--interface={interface}", "--host=127.0.0.1", "--port={port}", *options, "{app}")


GTHREAD = ("gunicorn", "--worker-class=gthread", f"--threads={THREADS}", "--bind=127.0.0.1:{port}", "{app}")

WAITRESS = ("waitress", f"--threads={THREADS}", "--listen=127.0.0.1:{port}", "{app}")

SERVERS = {
    server.name: server
    for server in (
        Server("uvicorn-httptools", "asgi", _uvicorn("httptools")),
        Server("uvicorn-h11", "asgi", _uvicorn("h11")),
        Server("hypercorn", "asgi", ("hypercorn", "--bind=127.0.0.1:{port}", "{app}")),
        Server("granian", "asgi", _granian("asgi")),
        Server("gunicorn", "wsgi", GTHREAD),
        Server("waitress", "wsgi", WAITRESS, reads_first=True),
        Server("granian-wsgi", "wsgi", _granian("wsgi", f"--blocking-threads={THREADS}")),
    )
}


class Running:
    """A started server: its port, its log, and a way to speak to it."""

    def __init__(self, server: Server, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.server, self.port = server, port
        self._process, self._log = process, log

    @property
    def name(self) -> str:
        return self.server.name

    def log(self, start: int = 0) -> str:
        return self._log.read_bytes()[start:].decode(errors="replace")

    def log_size(self) -> int:
        return self._log.stat().st_size

    def connect(self) -> Connection:
        return Connection(self.port)

    def ask(self, data: bytes) -> Answer:
        """One request on a connection of its own, and its answer."""
        with self.connect() as connection:
            return connection.send(data).answer(data.split(b" ", 1)[0].decode("ascii"))

    def signal(self, number: int) -> None:
        """To the server and all of its workers: SIGKILL leaves nothing of it, SIGSTOP lets it stand still."""
        os.killpg(self._process.pid, number)

    def terminate(self) -> None:
        """Ask the server alone to end, as an operator does, and do not wait for it."""
        self._process.terminate()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False

    def wait_until_listening(self) -> None:
        pause = 0.05
        for _ in range(int(START / pause)):
            if self._listens():
                return
            with suppress(subprocess.TimeoutExpired):  # the pause between two tries ends early when the server dies
                self._process.wait(pause)
                break
        raise RuntimeError(f"{self.name} does not listen on port {self.port}:\n{self.log()}")

    def stop(self) -> None:
        """Ask the server, then kill what is left of its process group: workers outlive a killed master."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(app: str, name: str, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Serve `module:attribute`, found from the root of the repository or among the tests, by the named server."""
    with starting(app, name, *options, environment=environment) as server:
        server.wait_until_listening()
        yield server


@contextmanager
def starting(app: str, name: str, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """The same without waiting, so that several can start at once."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as home:
        log = Path(home, "log")
        # Servers write sockets and files into the home directory: into a home of their own.
        places = {
            "HOME": home,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}",
            "PYTHONUNBUFFERED": "1",
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                SERVERS[name].command(app, port, options),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=os.environ | places | dict(environment or {}),
                start_new_session=True,
            )
        server = Running(SERVERS[name], port, process, log)
        try:
            yield server
        finally:
            server.stop()
