"""A service behind a gateway: real HTTP on a real socket, in the hands of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE = 60.0  # seconds: only a test that hangs needs them


class Upstream(ThreadingHTTPServer):
    """Answers everything, and keeps what it saw. A request for `/held...` waits until `release` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str]] = []
        self.held = threading.Semaphore(0)  # one more for each request that waits
        self.release = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may go away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def parse_request(self) -> bool:
        """Any method is taken."""
        parsed = super().parse_request()
        if parsed:
            setattr(self, f"do_{self.command}", self._answer)
        return parsed

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path))
        if self.path.startswith("/held"):
            self.server.held.release()
            self.server.release.wait(PATIENCE)
        self.send_response(201 if self.command == "POST" else 200)
        if self.command == "POST":
            self.send_header("Location", f"{self.server.url}/made/{len(self.server.seen)}")
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        """Silence."""


@contextmanager
def upstream() -> Iterator[Upstream]:
    """A service for as long as the block lasts."""
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
