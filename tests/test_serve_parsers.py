"""What each server of `verbguard serve` lets through to a service, as docs/gateway.md has it: raw bytes to real processes."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from commands.running import PATIENCE
from commands.upstreams import Upstream, upstream
from test_serve_gateway import Running, gateway

PAGE = Path(__file__).parents[1] / "docs" / "gateway.md"
SERVERS = {"h11": ("--http", "h11"), "httptools": ("--http", "httptools"), "granian": ("--server", "granian")}

HOST = b"Host: h\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

# what a client sends; then for each server the status and, where it was asked, the target that the service saw
CASES = [
    ("`FOO /`", b"FOO / HTTP/1.1\r\n" + HOST, "200 `/`", "400", "200 `/`"),
    ("`PROPFIND /`", b"PROPFIND / HTTP/1.1\r\n" + HOST, "200 `/`", "200 `/`", "200 `/`"),
    ("`VERSION-CONTROL /`", b"VERSION-CONTROL / HTTP/1.1\r\n" + HOST, "200 `/`", "400", "200 `/`"),
    ("`get /`", b"get / HTTP/1.1\r\n" + HOST, "501", "400", "501"),
    ("`OPTIONS *`", b"OPTIONS * HTTP/1.1\r\n" + HOST, "204", "204", "204"),
    ("`CONNECT h:443`", b"CONNECT h:443 HTTP/1.1\r\n" + HOST, "501", "400", "501"),
    ("`GET http://h/x`", b"GET http://h/x HTTP/1.1\r\n" + HOST, "200 `/x`", "200 `/x`", "200 `/x`"),
    ("`GET http://other/x`, Host: h", b"GET http://other/x HTTP/1.1\r\n" + HOST, "421", "200 `/x`", "200 `/x`"),
    ("no Host", b"GET / HTTP/1.1\r\n", "400", "400", "200 `/`"),
    ("two Host lines", b"GET / HTTP/1.1\r\n" + HOST + HOST, "400", "400", "400"),
    ("Content-Length and chunked", b"POST / HTTP/1.1\r\nContent-Length: 3\r\n" + HOST + CHUNKED, "400", "400", "201 `/`"),
    ("two lengths", b"POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 3\r\n" + HOST, "400", "400", "400"),
    ("a space before the colon", b"GET / HTTP/1.1\r\nX-A : b\r\n" + HOST, "400", "400", "400"),
    ("a line that is folded", b"GET / HTTP/1.1\r\nX-A: b\r\n c\r\n" + HOST, "200 `/`", "400", "400"),
    ("NUL in a field", b"GET / HTTP/1.1\r\nX-A: b\0c\r\n" + HOST, "400", "400", "400"),
    ("`GET /a/../b//c%2Fd?x=?y`", b"GET /a/../b//c%2Fd?x=?y HTTP/1.1\r\n" + HOST, *["200 `/a/../b//c%2Fd?x=?y`"] * 3),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Running, Upstream]]]:
    """A gateway on each server, with a service of its own."""
    with ExitStack() as kept:
        found = {}
        for name, arguments in SERVERS.items():
            service = kept.enter_context(upstream())
            folder = tmp_path_factory.mktemp(name)
            found[name] = kept.enter_context(gateway(folder, *arguments, "--upstream", service.url)), service
        yield found


def told(port: int, head: bytes) -> str:
    """The status of the answer to these bytes."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(head + b"Connection: close\r\n\r\n" + (b"0\r\n\r\n" if CHUNKED in head else b""))
        found = b""
        while b"\r\n" not in found:
            piece = client.recv(1 << 16)
            assert piece, found
            found += piece
    return found.split(b" ")[1].decode()


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case[0] for case in CASES])
@pytest.mark.parametrize("server", SERVERS)
def test_what_reaches_the_service(running: dict[str, tuple[Running, Upstream]], server: str, number: int) -> None:
    """The row of the table: what the client is told, and what the service saw."""
    gate, service = running[server]
    _, head, *expected = CASES[number]
    before = len(service.seen)
    status = told(gate.port, head)
    seen = [f"`{target}`" for _, target in service.seen[before:]]
    assert " ".join([status, *seen]) == expected[list(SERVERS).index(server)]


def test_the_page_has_the_table() -> None:
    """Readers choose a server by what is tested here."""
    rows = [f"| {name} | {' | '.join(expected)} |" for name, _, *expected in CASES]
    table = re.search(
        r"\| what a client sends \| h11 \| httptools \| granian \|\n\|---\|---\|---\|---\|\n((?:\|.*\n)+)", PAGE.read_text()
    )
    assert table is not None
    assert table[1].splitlines() == rows
