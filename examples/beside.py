"""A service and the gateway in front of it, started and ended together: what the three examples of services share."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def ports(description: str) -> argparse.ArgumentParser:
    """The command line of an example."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=8080, help="where the gateway listens; 0 takes a free port")
    parser.add_argument("--upstream-port", type=int, default=9000, help="where the service listens; 0 takes a free port")
    return parser


def together(command: Callable[[int], list[str]], config: Path, options: argparse.Namespace) -> int:
    """Start the service that `command` names for a port, and the gateway; where one ends, or a signal comes, both do."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    upstream = options.upstream_port or _free()
    gateway = [sys.executable, "-m", "verbguard", "serve", "--upstream", f"http://127.0.0.1:{upstream}"]
    gateway += ["--config", str(config), "--port", str(options.port)]
    running: list[subprocess.Popen[bytes]] = []
    try:
        running.append(subprocess.Popen(command(upstream), stdin=subprocess.DEVNULL))
        _until_it_listens(running[0], upstream)
        running.append(subprocess.Popen(gateway, stdin=subprocess.DEVNULL))
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        return max(process.poll() or 0 for process in running)
    except KeyboardInterrupt:
        return 0
    finally:
        for process in reversed(running):  # the gateway first: it finishes what it has begun
            process.terminate()
            process.wait()


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _until_it_listens(service: subprocess.Popen[bytes], port: int) -> None:
    while service.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{service.args} ended before it listened on port {port}")
