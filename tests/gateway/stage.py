"""An upstream, and the real servers with a guarded gateway in front of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any

from servers.processes import Running, running
from servers.wire import Answer, Broken, Connection

from gateway.upstream import PATIENCE, Part, Script, Upstream

# As `verbguard serve` starts them: what the upstream says of itself is passed on, and the server adds nothing of its own.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "uvicorn-httptools": ("--no-server-header", "--no-date-header", "--no-proxy-headers"),
    "uvicorn-h11": ("--no-server-header", "--no-date-header", "--no-proxy-headers"),
    "hypercorn": ("--config=python:gateway.hypercorn_settings",),
}
SERVERS = tuple(OPTIONS)

# How a gateway may be set up, by a word that a case can ask for.
SETUPS: Mapping[str, dict[str, Any]] = {
    "plain": {},
    "hurried": {"gateway": {"timeout": 1.0, "connect_timeout": 1.0}},
    "public": {"gateway": {"public": "https://api.example.com"}},
    "upstream host": {"gateway": {"host": "upstream"}},
    "trusting": {"gateway": {"trust_forwarded": True}},
}


class Stage:
    """The servers are started when they are first asked for, each once."""

    def __init__(self, stack: ExitStack) -> None:
        self.upstream = Upstream()
        stack.callback(self.upstream.stop)
        self._stack = stack
        self._started: dict[tuple[str, str, str], Gate] = {}

    def gate(self, server: str, profile: str = "guard", setup: str = "plain") -> Gate:
        wanted = (server, profile, setup)
        if wanted not in self._started:
            self._started[wanted] = self._stack.enter_context(gateway(self.upstream, server, profile, SETUPS[setup]))
        return self._started[wanted]


@contextmanager
def gateway(upstream: Upstream, server: str, profile: str, setup: Mapping[str, Any], url: str = "") -> Iterator[Gate]:
    """A guarded gateway in a process of its own, served by the named server."""
    wanted = {"upstream": url or upstream.url, "profile": profile, **setup}
    environment = {"GATEWAY": json.dumps(wanted)}
    with running("gateway.apps:app", server, *OPTIONS[server], environment=environment) as process:
        yield Gate(process, upstream)


class Gate:
    """One guarded gateway, and the upstream behind it."""

    def __init__(self, process: Running, upstream: Upstream) -> None:
        self.process, self.upstream = process, upstream

    @property
    def server(self) -> str:
        return self.process.name

    def connect(self) -> Connection:
        return self.process.connect()

    def breaks_off(self, request: bytes, method: str = "POST") -> bool:
        """Whether the answer ends before it is complete."""
        with self.connect() as connection:
            try:
                answer = connection.send(request).answer(method)
            except Broken:
                return True
        print(f"a whole answer: {answer}")
        return False

    def once_settled(self, request: bytes) -> Answer:
        """The answer to a request with a key when its first run is over: asked for until it is not in flight any longer."""
        end = monotonic() + PATIENCE
        while True:
            with self.connect() as connection:
                answer = connection.send(request).answer()
            if answer.rule != "idem-key-inflight-409" or monotonic() > end:
                return answer

    def plays(self, script: Script) -> Part:
        """The upstream will answer by this script; `UPSTREAM` in an answer in bytes is its own URL."""
        if isinstance(script, bytes):
            script = script.replace(b"UPSTREAM", self.upstream.url.encode())
        return self.upstream.plays(script)


def naming(sent: bytes, part: Part) -> bytes:
    """The request with the field that says which script is meant."""
    line, mark, rest = sent.partition(b"\r\n")
    return line + mark + f"X-Case: {part.name}\r\n".encode() + rest


@contextmanager
def staged() -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack)
