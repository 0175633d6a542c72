"""Running the command, in a process of its own, in a plain 80-column terminal."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")
SERVED = re.compile(r" on http://127\.0\.0\.1:(\d+)")  # an upstream that is named before it is another address
PATIENCE = 60.0  # seconds: only a command that hangs needs them
COMMAND = (sys.executable, "-m", "verbguard")
COLOUR = "\x1b["


def without(module: str) -> tuple[str, ...]:
    """The command in an installation that lacks a module."""
    text = f"import sys; sys.modules[{module!r}] = None; from verbguard.__main__ import main; main()"
    return sys.executable, "-c", text


def environment(**extra: str) -> dict[str, str]:
    """The surroundings of a command: this checkout, a plain 80-column terminal, warnings as errors."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM")}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
        "TERM": "xterm-256color",
        "PYTHONWARNINGS": "error",
        **extra,
    }


def run(*arguments: str, cwd: Path, command: Sequence[str] = COMMAND, **extra: str) -> subprocess.CompletedProcess[str]:
    """One whole run of the command."""
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=environment(**extra), capture_output=True, text=True, timeout=PATIENCE
    )


@contextmanager
def started(
    *arguments: str, cwd: Path, until: re.Pattern[str]
) -> Iterator[tuple[subprocess.Popen[str], re.Match[str], list[str]]]:
    """A running command, once its output matches; stopped at the end whatever happens."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A test run in the background hands down an ignored Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    alarm = threading.Timer(PATIENCE, process.kill)
    alarm.start()
    assert process.stdout is not None
    output: list[str] = []
    reader = threading.Thread(target=output.extend, args=(process.stdout,))
    try:
        for line in process.stdout:
            output.append(line)
            if found := until.search(line):
                break
        else:
            pytest.fail(f"the command ended first:\n{''.join(output)}")
        reader.start()  # an unread pipe would fill and stop the command
        yield process, found, output
    finally:
        process.terminate()
        process.wait()
        alarm.cancel()
        if reader.ident:
            reader.join()
        process.stdout.close()


@contextmanager
def served(*arguments: str, cwd: Path) -> Iterator[http.client.HTTPConnection]:
    """`verbguard serve` on a free port, and a connection to it."""
    with started("serve", *arguments, "--port", "0", cwd=cwd, until=SERVED) as (_, address, _):
        connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=PATIENCE)
        try:
            yield connection
        finally:
            connection.close()


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, content: Any = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request(method, path, content, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer, answer.read()
