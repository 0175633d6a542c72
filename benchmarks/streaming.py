"""How much memory does a large request or answer take in a real server, guarded and not?

Each figure is of a server process of its own: it answers one small request, its peak is set back, it gets one large
request, and the peak of its resident memory is read (from /proc, so Linux only). memory.py prints the table.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness import Estimate, Goal, Progress
from traffic import ASGIApp, Scope, WrongAnswer, WSGIApp

MIB = 1 << 20
PIECE = b"z" * (64 << 10)
ROUNDS = 3  # processes for each figure; they take turns, and the one in the middle counts
EXTRA = 8  # MiB that a guard may add
PATIENCE = 20.0  # seconds for a server to come up
SERVERS = {"uvicorn": "ASGI", "waitress": "WSGI"}


@dataclass(frozen=True, slots=True)
class Stream:
    """One large exchange: what is sent, what comes back, and what the same key gets afterwards."""

    name: str
    path: str
    sent: int
    received: int
    again: int


STREAMS = (
    Stream("64 MiB upload", "/uploads", 64 * MIB, 0, 201),
    Stream("10 MiB answer", "/reports", 1 << 10, 10 * MIB, 409),  # above what is kept: only that it happened
)
SMALL = Stream("small upload", "/uploads", 1 << 10, 0, 201)


# ------------------------------------------------------------------------------------------- in the server's process
def _told(received: int) -> bytes:
    return json.dumps({"received": received}).encode()


async def asgi(scope: Scope, receive: Any, send: Any) -> None:
    """Takes whatever is sent piece by piece, and answers with its length or with ten mebibytes."""
    received, more = 0, True
    while more:
        message = await receive()
        received += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send(
        {
            "type": "http.response.start",
            "status": 201,
            "headers": [(b"location", b"/uploads/1"), (b"content-type", b"text/plain")],
        }
    )
    if scope["path"] == "/reports":
        for _ in range(10 * MIB // len(PIECE)):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    else:
        await send({"type": "http.response.body", "body": _told(received)})


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The same for WSGI."""
    received = 0
    while piece := environ["wsgi.input"].read(len(PIECE)):
        received += len(piece)
    start_response("201 Created", [("Location", "/uploads/1"), ("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/reports":
        return (PIECE for _ in range(10 * MIB // len(PIECE)))
    return [_told(received)]


def guarded(app: Any, interface: str) -> Any:
    import verbguard.asgi
    import verbguard.wsgi

    middleware: Any = {"ASGI": verbguard.asgi.GuardMiddleware, "WSGI": verbguard.wsgi.GuardMiddleware}[interface]
    return middleware(app, policies={stream.path: verbguard.collection() for stream in STREAMS})


def serve(server: str, guard: bool, port: int) -> None:
    """Serve one of the applications until somebody ends this process."""
    for name in ("verbguard", "waitress"):
        logging.getLogger(name).setLevel(logging.ERROR)  # what was not kept is a row here, and no news
    plain: ASGIApp | WSGIApp = asgi if SERVERS[server] == "ASGI" else wsgi
    app: Any = guarded(plain, SERVERS[server]) if guard else plain
    if server == "uvicorn":
        import uvicorn

        uvicorn.run(app, port=port, lifespan="off", log_level="error")
    else:
        import waitress

        waitress.serve(app, host="127.0.0.1", port=port, threads=1)


# ------------------------------------------------------------------------------------------------ outside of it
def measure(progress: Progress) -> tuple[list[tuple[str, ...]], list[Goal]]:
    """The rows of the table, and what the guard adds to each."""
    rows: list[tuple[str, ...]] = []
    goals: list[Goal] = []
    for server, interface in SERVERS.items():
        for stream in STREAMS:
            name = f"{interface}, {server}: {stream.name}"
            if find_spec(server) is None or not Path("/proc/self/clear_refs").exists():
                missing = f"pip install {server}" if find_spec(server) is None else "needs Linux"
                goals.append(Goal(19, f"{name}, MiB added to the peak", None, EXTRA, missing))
                continue
            progress.start(name)
            grown: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(ROUNDS):
                for guard in grown:
                    grown[guard].append(peak(server, stream, guard))
            added = Estimate.of(more - less for less, more in zip(grown[False], grown[True], strict=True))
            bare, with_guard = (statistics.median(grown[guard]) for guard in (False, True))
            rows.append((name, f"{bare:.1f}", f"{with_guard:.1f}", f"{added.middle:.1f}"))
            goals.append(Goal(19, f"{name}, MiB added to the peak", added, EXTRA))
    return rows, goals


def peak(server: str, stream: Stream, guard: bool) -> float:
    """MiB by which one large exchange raises the peak of a server process."""
    with _server(server, guard) as (process, port):
        _exchange(port, SMALL, "first")
        before = _resident(process.pid, "VmRSS")
        Path(f"/proc/{process.pid}/clear_refs").write_text("5", "ascii")  # the peak is now what is resident
        _exchange(port, stream, "large")
        grown = _resident(process.pid, "VmHWM") - before
        if guard and (status := _exchange(port, stream, "large", again=True)) != stream.again:
            raise WrongAnswer(f"{stream.name}: the same key was answered with {status}, and not {stream.again}")
        return grown


@contextmanager
def _server(server: str, guard: bool) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
    process = subprocess.Popen([sys.executable, __file__, server, "guard" if guard else "bare", str(port)], env=os.environ)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield process, port
    finally:
        process.kill()
        process.wait()


def _exchange(port: int, stream: Stream, key: str, *, again: bool = False) -> int:
    """Send and receive piece by piece; the status."""
    pieces = (PIECE[: min(len(PIECE), stream.sent - start)] for start in range(0, stream.sent, len(PIECE)))
    headers = {"Content-Length": str(stream.sent), "Idempotency-Key": f'"{key}"', "Content-Type": "application/octet-stream"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", stream.path, body=pieces, headers=headers)
        answer = connection.getresponse()
        first = answer.read(len(PIECE))
        received = len(first)
        while piece := answer.read(len(PIECE)):
            received += len(piece)
        if again and answer.status == 201 and answer.headers["Idempotent-Replayed"] != "true":
            raise WrongAnswer(f"{stream.name}: the same key ran again")
        if not again and (answer.status != 201 or received != (stream.received or len(_told(stream.sent)))):
            raise WrongAnswer(f"{stream.name}: {answer.status}, {received} bytes, {first[:200]!r}")
        if not again and not stream.received and first != _told(stream.sent):
            raise WrongAnswer(f"{stream.name}: the application got {first!r}")
        return answer.status
    finally:
        connection.close()


def _resident(process: int, field: str) -> float:
    text = Path(f"/proc/{process}/status").read_text("ascii")
    found = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2] == "guard", int(sys.argv[3]))
