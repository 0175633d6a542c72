"""Real servers on free loopback ports, and a client that is nothing but a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from werkzeug.serving import WSGIRequestHandler, make_server

from blackbox.answers import PATIENCE, Answer, Pairs


@contextmanager
def uvicorn_server(app: Any, **options: Any) -> Iterator[int]:
    """uvicorn in a thread; the port answers as soon as it is known, since the socket listens before the server runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    usual = {"log_config": None, "access_log": False, "ws": "none", "lifespan": "off", "timeout_keep_alive": 1}
    config = uvicorn.Config(app, **{**usual, **options})
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="uvicorn")
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Quiet(WSGIRequestHandler):
    def log(self, kind: str, message: str, *args: Any) -> None:
        """A line per request would bury what a failing test has to say."""


@contextmanager
def werkzeug_server(app: Any) -> Iterator[int]:
    """Werkzeug's threaded server: the only common one that lets a WSGI answer out chunk by chunk without buffering."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, name="werkzeug")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Line:
    """One connection to a server, spoken by hand so that nothing between the check and the wire is kind to it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        self.file.close()
        self.socket.close()

    def ask(self, method: str, target: str, headers: Pairs, body: bytes = b"", *, length: int | None = None) -> None:
        fields = [("Host", "loopback"), ("Connection", "close"), *headers]
        fields.append(("Content-Length", str(len(body) if length is None else length)))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.socket.sendall(head.encode("latin-1") + b"\r\n" + body)

    def head(self) -> Answer:
        status = int(self.file.readline().split()[1])
        headers: Pairs = []
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.strip().lower(), value.strip()))
        return Answer(status, headers, b"")

    def chunk(self) -> bytes:
        """The next chunk of a chunked answer; empty at its proper end."""
        size = int(self.file.readline().strip() or b"0", 16)
        data = self.file.read(size)
        self.file.readline()
        return data

    def answer(self) -> Answer:
        answer = self.head()
        if answer.value("transfer-encoding") == "chunked":
            answer.body = b"".join(iter(self.chunk, b""))
        else:
            answer.body = self.file.read(int(answer.value("content-length") or 0))
        return answer


def talk(port: int, method: str, target: str, headers: Pairs, body: bytes = b"") -> Answer:
    """One request, one answer, one connection."""
    with Line(port) as line:
        line.ask(method, target, headers, body)
        return line.answer()
