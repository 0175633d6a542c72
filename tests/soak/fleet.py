"""Server processes of the app, which are killed without warning and come back."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from servers.processes import ROOT, START, TESTS, free_port

__all__ = ["Fleet", "Server"]


class Server:
    """One process on a port that stays the same."""

    def __init__(self, folder: Path, number: int, settings: Mapping[str, str]) -> None:
        self.port = free_port()
        self.serves = False
        self.log = folder / f"server-{number}.log"
        self._settings = {**settings, "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}"}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "--factory", "soak.app:made", "--host=127.0.0.1", f"--port={self.port}"]
        options = ["--no-access-log", "--log-level=warning", "--timeout-keep-alive=60"]
        with self.log.open("ab") as log:
            environment = os.environ | self._settings
            self._process = subprocess.Popen([*command, *options], stdout=log, stderr=log, cwd=ROOT, env=environment)

    async def listens(self) -> None:
        """Wait until it does. Raises RuntimeError when it does not."""
        deadline = monotonic() + START
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                if self._process is None or self._process.poll() is not None or monotonic() > deadline:
                    raise RuntimeError(f"no server on port {self.port}:\n{self.said()[-3_000:]}") from None
                await asyncio.sleep(0.05)
            else:
                writer.close()
                self.serves = True
                return

    def kill(self) -> int:
        """kill -9; the process that is no more."""
        self.serves = False
        if self._process is None:
            return 0
        self._process.kill()
        self._process.wait()
        return self._process.pid

    async def start_again(self, pause: float) -> None:
        """Come back after a moment."""
        await asyncio.sleep(pause)
        self.start()
        await self.listens()

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""


class Fleet:
    """The servers of one soak."""

    def __init__(self, folder: Path, count: int, settings: Mapping[str, str]) -> None:
        self.servers = [Server(folder, number, settings) for number in range(count)]

    @property
    def ports(self) -> list[int]:
        return [server.port for server in self.servers]

    async def start(self) -> None:
        for server in self.servers:
            server.start()
        await asyncio.gather(*(server.listens() for server in self.servers))

    def one_that_serves(self, chance: random.Random) -> Server | None:
        """Any of them, but never the last one."""
        found = [server for server in self.servers if server.serves]
        return chance.choice(found) if len(found) > 1 else None

    def stop(self) -> None:
        for server in self.servers:
            server.kill()

    def faults(self) -> int:
        """How often a guard said that it failed itself."""
        return sum(server.said().count("guard-fault") for server in self.servers)
