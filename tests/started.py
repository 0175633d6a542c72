"""Examples and other programs in processes of their own, asked over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")  # every server used here prints it once it listens
GATEWAY = re.compile(r"verbguard guards http://127\.0\.0\.1:(?P<upstream>\d+) on http://127\.0\.0\.1:(\d+)")
PATIENCE = 60.0  # seconds: only a server that hangs needs them


@dataclass(slots=True)
class Answer:
    """What came back: status, headers by lower-case name (repeated ones joined), content."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.content)

    @property
    def allow(self) -> set[str]:
        return {method.strip() for method in self.headers.get("allow", "").split(",") if method.strip()}

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotent-replayed") == "true"


@dataclass(slots=True)
class Service:
    """One running example."""

    port: int
    output: list[str]
    upstream: int = 0  # the port of the service, where this is a gateway

    @property
    def bare(self) -> Service:
        """The service behind the gateway, asked directly."""
        return Service(self.upstream, self.output)

    def ask(self, method: str, path: str, data: object = None, **headers: str) -> Answer:
        """One request on a connection of its own. Header names are written with underscores; content but text becomes JSON."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None
        if isinstance(data, str):
            content = data.encode()
        elif data is not None:
            content = json.dumps(data).encode()
            fields.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, content, fields)
            response = connection.getresponse()
            pairs: dict[str, str] = {}
            for name, value in response.getheaders():
                pairs[name.lower()] = f"{pairs[name.lower()]}, {value}" if name.lower() in pairs else value
            return Answer(response.status, pairs, response.read())
        finally:
            connection.close()


@contextmanager
def serving(*command: str, until: re.Pattern[str] = ADDRESS, **environment: str) -> Iterator[Service]:
    """Run `python -m command...`, wait for the line with its address, and stop it in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output: list[str] = []
    ports: queue.Queue[tuple[int, int]] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            if found := until.search(line):
                ports.put((int(found[found.re.groups]), int(found.groupdict().get("upstream", 0))))
        ports.put((0, 0))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        port, upstream = ports.get(timeout=PATIENCE)
        assert port, f"{' '.join(command)} did not start:\n{''.join(output)}"
        yield Service(port, output, upstream)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            reader.join(PATIENCE)
            if process.stdout is not None:
                process.stdout.close()
