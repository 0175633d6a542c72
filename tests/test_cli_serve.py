"""`verbguard serve`: real apps, guarded, over real sockets; and the bridge from ASGI to WSGI without a server."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import apps
from commands.running import ADDRESS, PATIENCE, ask, run, served, started

from verbguard.cli.bridge import Body, measured


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the apps in it."""
    folder = tmp_path_factory.mktemp("apps")
    apps.write(folder)
    return folder


def chunks(content: bytes) -> Iterator[bytes]:
    yield content[:2]
    yield content[2:]


def test_serve_guards_fastapi(folder: Path) -> None:
    """An unmodified FastAPI app is guarded: the PUT it really has on a collection is refused, Location is added."""
    with served("fast:app", cwd=folder) as connection:
        answer, content = ask(connection, "PUT", "/notes")
        assert (answer.status, json.loads(content)["rule"]) == (405, "put-no-collection")
        assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
        assert ask(connection, "POST", "/notes")[0].headers["Location"] == "/notes/7"


def test_serve_guards_flask(folder: Path) -> None:
    """An unmodified Flask app is guarded with its url_map, in what it is told is one process."""
    with served("flasky:app", cwd=folder) as connection:
        answer, content = ask(connection, "PUT", "/notes")
        assert (answer.status, json.loads(content)["rule"]) == (405, "put-no-collection")
        assert json.loads(ask(connection, "GET", "/notes")[1]) == {"length": 0, "many": False}


@pytest.mark.parametrize(
    ("target", "path", "expected"),
    [
        ("flasky:app", "/notes", b'{"length":7,"many":false}'),
        ("legacy:application", "/", b"POST 7"),
        ("fast:app", "/search", b'{"length":7}'),
    ],
)
@pytest.mark.parametrize("key", ["", '"a-key"'])
def test_serve_reads_chunked_bodies(folder: Path, target: str, path: str, expected: bytes, key: str) -> None:
    """A chunked body is read whole by apps that trust the stream and by apps that trust only CONTENT_LENGTH."""
    with served(target, cwd=folder) as connection:
        headers = {"Idempotency_Key": key} if key else {}
        answer, content = ask(connection, "POST", path, chunks(b"1234567"), **headers)
        assert (answer.status, content.strip()) == (200, expected)


def test_serve_sized_bodies(folder: Path) -> None:
    """A body with a length, larger than any buffer on the way, reaches a WSGI app whole."""
    with served("legacy:application", cwd=folder) as connection:
        assert ask(connection, "POST", "/", b"x" * 3_000_000)[1] == b"POST 3000000"
        assert ask(connection, "GET", "/")[1] == b"GET 0"


def test_serve_plain_asgi(folder: Path) -> None:
    """A bare ASGI callable gets the rules of RFC 9110: its 205 with content to a PUT becomes a 204 without."""
    with served("plain:app", cwd=folder) as connection:
        answer, content = ask(connection, "PUT", "/")
        assert (answer.status, content) == (204, b"")


def test_serve_observes(folder: Path) -> None:
    """In the observe profile nothing changes, and the log says what would."""
    with started("serve", "fast:app", "--profile", "observe", "--port", "0", cwd=folder, until=ADDRESS) as (
        process,
        address,
        output,
    ):
        connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=PATIENCE)
        assert ask(connection, "PUT", "/notes")[0].status == 200
        connection.close()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    assert "put-no-collection" in "".join(output)


@pytest.mark.parametrize("target", ["fast:app", "flasky:app"])
def test_serve_replays(folder: Path, target: str) -> None:
    """A PUT repeated without a key is replayed, also where a bridge stands between the server and the app."""
    with served(target, cwd=folder) as connection:
        answers = [ask(connection, "PUT", "/notes/1", b"{}")[0] for _ in range(2)]
        assert [answer.headers["Idempotent-Replayed"] for answer in answers] == [None, "true"]


@pytest.mark.parametrize("target", ["wrapped_flask:app", "guarded_flask:app", "guarded_fast:app"])
def test_serve_leaves_a_guarded_app_alone(folder: Path, target: str) -> None:
    """An app that has a guard of its own is served with that one, and the caller is told that options do nothing."""
    with started("serve", target, "--profile", "observe", "--port", "0", cwd=folder, until=ADDRESS) as (_, address, output):
        connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=PATIENCE)
        path = "/notes" if "wrapped" in target else "/me" if "fast" in target else "/you"
        assert ask(connection, "PUT", path)[0].status == 405
        assert ask(connection, "DELETE", path)[0].headers["Allow"].count("OPTIONS") == 1
        connection.close()
    assert "guard of its own" in "".join(output)


def test_serve_takes_a_config(folder: Path) -> None:
    """Policies of a TOML file guard a program that knows nothing of routes."""
    with served("legacy:application", "--config", "basket.toml", cwd=folder) as connection:
        assert ask(connection, "PUT", "/basket")[0].status == 405
        assert ask(connection, "PUT", "/other")[0].status == 200


def test_serve_takes_a_factory(folder: Path, tmp_path: Path) -> None:
    """--factory calls the name, and --app-dir finds the module from another folder."""
    with served("fast:create_app", "--factory", "--app-dir", str(folder), cwd=tmp_path) as connection:
        assert ask(connection, "PUT", "/notes")[0].status == 405


def test_serve_stops_on_interrupt(folder: Path) -> None:
    """Ctrl-C ends the server in order, with exit status 0."""
    with started("serve", "fast:app", "--port", "0", cwd=folder, until=re.compile("startup complete")) as (
        process,
        _,
        output,
    ):
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0, "".join(output)
    assert "Traceback" not in "".join(output)


def test_a_taken_port_is_one_line(folder: Path) -> None:
    """A port that another program has is one line, exit status 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "fast:app", "--port", str(taken.getsockname()[1]), cwd=folder)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "--port" in done.stderr


class Loop:
    """An event loop in a thread of its own, as a server's is for a WSGI app."""

    def __enter__(self) -> asyncio.AbstractEventLoop:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self.loop

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def body(loop: asyncio.AbstractEventLoop, *messages: dict[str, Any]) -> io.BufferedReader:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    return io.BufferedReader(Body(loop, receive))


def part(content: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


def test_body_is_a_file() -> None:
    """Lines and blocks are read across messages, and reading past the end waits for nothing."""
    with Loop() as loop:
        stream = body(loop, part(b"one\ntw"), part(b""), part(b"o\nthree", more=False))
        assert [stream.readline(), stream.readline(100), stream.read(2), stream.read()] == [
            b"one\n",
            b"two\n",
            b"th",
            b"ree",
        ]
        assert stream.read(1) == b""


def test_half_a_body_is_not_a_body() -> None:
    """A client that leaves in the middle is an error, never a shorter body."""
    with Loop() as loop:
        stream = body(loop, part(b"half"), {"type": "http.disconnect"})
        with pytest.raises(ConnectionResetError):
            stream.read()


def test_chunked_bodies_are_measured() -> None:
    """The app is given the length and the content of a chunked body, and no transfer coding that contradicts it."""
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ, content=environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        return []

    answer: Any = measured(app)({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b"x" * 200_000)}, None)
    answer.close()
    assert seen["wsgi.input"].closed
    assert (seen["CONTENT_LENGTH"], len(seen["content"])) == ("200000", 200_000)
    assert "HTTP_TRANSFER_ENCODING" not in seen
