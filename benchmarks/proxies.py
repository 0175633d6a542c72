"""What stands between wrk and a service in gateway.py: ours, the other Python proxies, and nginx as the far mark.

Each app is served by uvicorn in a process of its own and forwards to the origin in the environment variable UPSTREAM. To
measure beside the rivals: pip install httpx && pip install --no-deps asgi-proxy-lib
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE = 20.0  # seconds for a server to come up
PIECE = b"z" * (64 << 10)
ANSWER = b'{"id": 7, "text": "' + b"x" * 80 + b'"}'


async def upstream(scope: Any, receive: Any, send: Any) -> None:
    """A service: small answers, /large?BYTES in pieces, and any content taken in and forgotten."""
    if scope["type"] != "http":
        return
    size = int(scope["query_string"] or 0) if scope["path"] == "/large" else len(ANSWER)
    if scope["method"] != "GET":
        while (await receive()).get("more_body", False):
            pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while size > len(PIECE):
        size -= len(PIECE)
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": ANSWER if scope["path"] != "/large" else PIECE[:size]})


def starlette() -> Any:
    """No proxy at all: Starlette answers itself, which no proxy on the same server can beat."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    async def answer(request: Any) -> Response:
        return Response(ANSWER, media_type="application/json")

    return Starlette(routes=[Route("/{path:path}", answer)])


def gateway() -> Any:
    from verbguard.gateway import Gateway

    return Gateway(os.environ["UPSTREAM"])


def guarded() -> Any:
    import verbguard

    return verbguard.guard(gateway())


def asgi_proxy_lib() -> Any:
    from asgi_proxy import asgi_proxy

    return asgi_proxy(os.environ["UPSTREAM"])


def recipe() -> Any:
    """What is commonly pasted into FastAPI apps: one httpx client, the request built anew, the answer streamed."""
    import httpx
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    client = httpx.AsyncClient(base_url=os.environ["UPSTREAM"])

    async def forward(request: Request) -> StreamingResponse:
        url = httpx.URL(path=request.url.path, query=request.url.query.encode())
        asked = client.build_request(request.method, url, headers=request.headers.raw, content=request.stream())
        answer = await client.send(asked, stream=True)
        return StreamingResponse(
            answer.aiter_raw(), answer.status_code, dict(answer.headers), background=BackgroundTask(answer.aclose)
        )

    return Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])])


# ------------------------------------------------------------------------------------------------------------ processes
@contextmanager
def served(name: str, upstream: str = "", *, factory: bool = True) -> Iterator[tuple[int, int]]:
    """(process id, port) of one of these apps under uvicorn."""
    port = _free()
    folder = Path(__file__).parent
    paths = os.pathsep.join([str(folder.parent), str(folder), os.environ.get("PYTHONPATH", "")])
    options = ["--host=127.0.0.1", f"--port={port}", "--no-access-log", "--log-level=warning"]
    command = [sys.executable, "-m", "uvicorn", f"proxies:{name}", *options, *(["--factory"] if factory else [])]
    with _running(command, port, {**os.environ, "UPSTREAM": upstream, "PYTHONPATH": paths}) as process:
        yield process, port


@contextmanager
def nginx(folder: Path, upstream: str = "") -> Iterator[tuple[int, int]]:
    """nginx with one worker: in front of `upstream`, or answering itself."""
    port = _free()
    folder.mkdir()
    inside = "proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection '';" if upstream else ""
    answer = f"default_type application/json; return 200 '{ANSWER.decode()}';"
    places = "\n".join(f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    pool = f"upstream service {{ server {upstream.removeprefix('http://')}; keepalive 64; }}" if upstream else ""
    (folder / "nginx.conf").write_text(
        f"""
        worker_processes 1; daemon off; pid {folder}/pid; error_log stderr crit;
        events {{ worker_connections 1024; }}
        http {{ access_log off; keepalive_requests 1000000; {places} {pool}
            server {{ listen 127.0.0.1:{port}; location / {{ {inside or answer} }} }} }}
        """,
        "utf-8",
    )
    with _running([_nginx() or "nginx", "-p", str(folder), "-c", f"{folder}/nginx.conf"], port, os.environ) as process:
        yield process, port


def _nginx() -> str | None:
    return shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


def missing(name: str) -> str:
    """What has to be installed for a contender; empty where it is there."""
    needed = {
        "asgi-proxy-lib": ("asgi_proxy", "pip install --no-deps asgi-proxy-lib"),
        "recipe": ("httpx", "pip install httpx"),
    }
    if name == "nginx":
        return "" if _nginx() else "nginx"
    if name in needed:
        from importlib.util import find_spec

        module, how = needed[name]
        return "" if find_spec(module) else how
    return ""


@contextmanager
def _running(command: Sequence[str], port: int, environment: Any) -> Iterator[int]:
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        _listening(port, process)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listening(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen")


def _free() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


# --------------------------------------------------------------------------------------------------------------- loads
def wrk(port: int, seconds: int, connections: int) -> tuple[float, float]:
    """(requests a second, milliseconds of the 99th percentile) of GET, as wrk measures them."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}/orders/7"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if re.search(r"Non-2xx|Socket errors", said):
        raise RuntimeError(f"not every request was answered:\n{said}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", said).groups()  # type: ignore[union-attr]
    return rate, float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def resident(process: int, field: str = "VmRSS") -> float:
    """MiB of a process's memory, from /proc: VmRSS now, VmHWM at its peak."""
    lines = Path(f"/proc/{process}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
