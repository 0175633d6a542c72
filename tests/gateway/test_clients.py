"""Real clients get through a gateway, guarded or not, what they get without it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets
from servers.processes import running
from servers.wire import Connection

from gateway.client import ask, chunked

QUIET = ("--no-server-header", "--no-date-header")
WAYS = ("bare", "guarded")


@contextmanager
def ways(app: str, server: str, **environment: str) -> Iterator[dict[str, int]]:
    """The ports of a service: its own, and those of a gateway and of a guarded gateway before it."""
    with ExitStack() as stack:
        ports = {"direct": stack.enter_context(running(app, server, environment=environment)).port}
        for way in WAYS:
            told = {"UPSTREAM": f"http://127.0.0.1:{ports['direct']}", "GUARDED": "yes" if way == "guarded" else ""}
            ports[way] = stack.enter_context(
                running("gateway.services:app", "uvicorn-httptools", *QUIET, environment=told)
            ).port
        yield ports


# ---- git


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, int], Path]]:
    if shutil.which("git") is None:
        pytest.skip("git is not here")
    place = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
    if not Path(place, "git-http-backend").exists():
        pytest.skip("this git has no http-backend")
    root = tmp_path_factory.mktemp("repositories")
    with ways("gateway.services:repositories", "gunicorn", REPOSITORIES=str(root)) as ports:
        yield ports, root


class Git:
    """Git as a person uses it, in a home of its own."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url = home, url
        self.told: list[tuple[str, int]] = []
        date = "2026-01-01T00:00:00Z"
        person = {f"GIT_{who}_{what}": "a@b.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, **person,
        }  # fmt: skip

    def __call__(self, *words: str, place: str = "work") -> str:
        done = subprocess.run(["git", *words], cwd=self.home / place, env=self.environment, capture_output=True, text=True)
        self.told.append((" ".join(words).replace(self.url, "URL"), done.returncode))
        return done.stdout

    def commits(self, name: str, content: bytes) -> None:
        (self.home / "work" / name).write_bytes(content)
        self("add", ".")
        self("commit", "-q", "-m", name)


def noise(size: int) -> bytes:
    """Bytes that no compression makes less, the same each time."""
    return hashlib.shake_128(b"noise").digest(size)


def worked_with(home: Path, url: str) -> list[Any]:
    """A life with git: pushes small and large, in one piece and in chunks, asked for first and not; clones of each kind."""
    (home / "work").mkdir(parents=True)
    git = Git(home, url)
    git("init", "-q", "-b", "main")
    git("remote", "add", "origin", url)
    for number in range(5):
        git.commits(f"file{number}", b"%d" % number)
    git("push", "-q", "origin", "main")
    git.commits("large", noise(3_000_000))
    git("push", "-q", "origin", "main")
    git("config", "http.postBuffer", "65536")
    git("config", "http.expectContinue", "true")
    git.commits("larger", noise(4_000_000)[1:])
    git("push", "-q", "origin", "main", "main:side")
    git("push", "-q", "origin", ":side")
    git("reset", "-q", "--hard", "HEAD~1")
    git.commits("other", b"other")
    git("push", "-q", "origin", "main")
    git("push", "-q", "--force", "origin", "main")
    for version in "012":
        git("-c", f"protocol.version={version}", "clone", "-q", url, f"clone{version}", place=".")
    git("clone", "-q", "--depth", "2", url, "shallow", place=".")
    git("fetch", "-q", "--unshallow", place="shallow")
    git("ls-remote", url + "-none")
    heads = [git("rev-parse", "HEAD", place=place) for place in ("work", "clone0", "clone1", "clone2", "shallow")]
    return [git.told, len(set(heads)), git("fsck", "--full", place="clone2")]


@pytest.fixture(scope="module")
def git_alone(repositories: tuple[dict[str, int], Path], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return _git("direct", repositories, tmp_path_factory)


def _git(way: str, repositories: tuple[dict[str, int], Path], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    ports, root = repositories
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", root / way], check=True)
    subprocess.run(["git", "-C", root / way, "config", "http.receivepack", "true"], check=True)
    return worked_with(tmp_path_factory.mktemp(way), f"http://127.0.0.1:{ports[way]}/{way}")


@pytest.mark.parametrize("way", WAYS)
def test_git(
    way: str,
    git_alone: list[Any],
    repositories: tuple[dict[str, int], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    told, different, _ = git_alone
    assert [words for words, code in told if code] == ["push -q origin main", "ls-remote URL-none"]  # what shall fail
    assert different == 1
    through = _git(way, repositories, tmp_path_factory)
    assert [[(words.replace(way, "direct"), code) for words, code in through[0]], *through[1:]] == git_alone


# ---- clients of streams


@pytest.fixture(scope="module")
def streams() -> Iterator[dict[str, int]]:
    with ways("gateway.services:streams", "uvicorn-httptools") as ports:
        yield ports


async def uploads(port: int) -> Any:
    """Slow uploads that are answered at their beginning, by a client that reads when it has written."""

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10_000
            await asyncio.sleep(0.002)

    async with httpx2.AsyncClient(trust_env=False) as client:
        answers = [await client.post(f"http://127.0.0.1:{port}/refused", content=slowly()) for _ in range(5)]
    return [(answer.status_code, answer.text) for answer in answers]


async def events(port: int) -> Any:
    """An event stream, event by event."""
    async with httpx2.AsyncClient(trust_env=False) as client, client.stream("GET", f"http://127.0.0.1:{port}/events") as answer:
        return answer.headers["content-type"], [line async for line in answer.aiter_lines() if line]


async def messages(port: int) -> Any:
    """A WebSocket with messages of both kinds, empty, long and in fragments, compressed and not."""
    said: list[Any] = []
    for compression in ("deflate", None):
        url = f"ws://127.0.0.1:{port}/echo"
        async with websockets.connect(url, compression=compression, subprotocols=["a", "b"], proxy=None) as socket:  # type: ignore
            for message in ("a", "ä€😀", "", b"", b"\0\xff", "x" * 1_000_000, ["f", "", "ragment"]):
                await socket.send(message)
                said.append(await socket.recv())
            await (await socket.ping())
            await socket.send("leave")
            await socket.wait_closed()
            said += [socket.subprotocol, socket.close_code, socket.close_reason]
    return said


async def refused(port: int) -> Any:
    with pytest.raises(websockets.InvalidStatus) as error:
        await websockets.connect(f"ws://127.0.0.1:{port}/nothing", proxy=None)
    return error.value.response.status_code


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("client", "right"),
    [
        (uploads, [(413, "too much")] * 5),
        (events, ("text/event-stream", [f"id: {number}" for number in range(5)])),
        (messages, ["a", "ä€😀", "", b"", b"\0\xff", "x" * 1_000_000, "fragment", "b", 4001, "as you wish"] * 2),
        (refused, 403),
    ],
    ids=["uploads", "events", "messages", "refused"],
)
def test_streams(streams: dict[str, int], way: str, client: Callable[[int], Awaitable[Any]], right: Any) -> None:
    async def both() -> Any:
        return await client(streams["direct"]), await client(streams[way])

    assert asyncio.run(both()) == (right, right)


# ---- what one client sends, and no other


def test_options_as_subversion_sends_it(streams: dict[str, int]) -> None:
    """Content of no type: it is Subversion's first word, and what it means is between it and its server."""
    sent = ask("OPTIONS /refused", "Transfer-Encoding: chunked", content=chunked(b"<options/>"))
    for port in streams.values():
        with Connection(port) as connection:
            assert connection.send(sent).answer().content == b"too much"
