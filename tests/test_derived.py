"""Preconditions for services that know nothing of them, over real sockets: ETags are derived, and no update is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from servers.processes import Running, running
from servers.wire import Answer, Connection, request

from verbguard.config import loads

SERVERS = [
    ("uvicorn-h11", "fastapi_app"),
    ("uvicorn-httptools", "fastapi_app"),
    ("waitress", "flask_app"),
    ("uvicorn-httptools", "gateway_app"),
]
CLIENTS = 50


class Site:
    """Servers of one service, and its files, into which anybody can write."""

    def __init__(self, home: Path, servers: list[Running]) -> None:
        self.home, self.servers = home, servers

    def ask(self, method: str, target: str, content: bytes | None = None, at: int = 0, **fields: str) -> Answer:
        return self.servers[at].ask(request(method, target, content, **fields))

    def tag(self, target: str) -> str:
        tag = self.ask("GET", target).get("etag")
        assert tag is not None
        return tag

    def runs(self) -> int:
        return int(self.ask("GET", "/runs").content)


def serving(home: Path, name: str, app: str, stack: ExitStack, count: int = 1, store: str = "memory://") -> Site:
    environment = {"COUNTERS": str(home), "COUNTERS_STORE": store}
    if app == "gateway_app":
        service = stack.enter_context(running("servers.counters:bare_app", "waitress", environment=environment))
        environment["COUNTERS_UPSTREAM"] = f"http://127.0.0.1:{service.port}"
    return Site(
        home, [stack.enter_context(running(f"servers.counters:{app}", name, environment=environment)) for _ in range(count)]
    )


@pytest.fixture(scope="module", params=SERVERS, ids=["-".join(each) for each in SERVERS])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        yield serving(tmp_path_factory.mktemp("counters"), *request.param, stack)


def count_up(site: Site, at: int, target: str) -> int:
    """Read, add one, write under the condition that nobody else has; returns how often that took."""

    def ask(connection: Connection, method: str, content: bytes | None = None, **fields: str) -> Answer:
        return connection.send(request(method, target, content, **fields)).answer(method)

    with site.servers[at % len(site.servers)].connect() as connection:
        for attempt in range(1, 1_000):
            seen = ask(connection, "GET")
            tag = seen.get("etag")
            assert tag is not None
            answer = ask(connection, "PUT", b"%d" % (int(seen.content) + 1), if_match=tag)
            if answer.status == 204:
                return attempt
            assert (answer.status, answer.rule) == (412, "if-match-evaluated")
    raise AssertionError("no end")


def count_to(site: Site, clients: int, name: str = "n") -> int:
    """What many clients make of one counter; returns how often they were told to read again."""
    (site.home / name).write_text("0")
    with ThreadPoolExecutor(clients) as pool:
        attempts = list(pool.map(lambda at: count_up(site, at, f"/counters/{name}"), range(clients)))
    assert (site.home / name).read_text() == str(clients)
    return sum(attempts) - clients


def test_no_update_is_lost(site: Site) -> None:
    """Fifty clients add one each, to a service that writes whatever it is told: every one of them is there."""
    assert count_to(site, CLIENTS) > 0


@pytest.mark.parametrize(("name", "app"), SERVERS[1:])
def test_processes_that_share_a_store_take_turns(name: str, app: str, tmp_path: Path) -> None:
    """Two processes in front of one service: a write in the one waits for a write in the other."""
    with ExitStack() as stack:
        store = tmp_path / "store.db"
        home = tmp_path / "counters"
        home.mkdir()
        assert count_to(serving(home, name, app, stack, 2, f"sqlite:///{store}"), 20) > 0


def test_a_note_from_its_creation_to_its_end(site: Site) -> None:
    """428, 201, 412, 304, 204: a conversation with a service that knows none of them."""
    target = "/counters/life"
    assert site.ask("PUT", target, b"1").status == 428
    assert site.ask("PUT", target, b"1", if_match="*").status == 412
    assert site.ask("PUT", target, b"1", if_none_match="*").status == 201
    assert site.ask("PUT", target, b"2", if_none_match="*").status == 412
    first = site.tag(target)
    assert site.ask("GET", target, if_none_match=first).status == 304
    head = site.ask("HEAD", target)
    assert (head.status, head.get("etag"), head.get("content-length")) == (200, first, "1")
    assert site.ask("HEAD", target, if_none_match=first).status == 304
    assert site.ask("PUT", target, b"2", if_match=first).status == 204
    assert site.ask("PUT", target, b"3", if_match=first).status == 412
    assert site.ask("GET", target, if_none_match=first).content == b"2"
    assert site.ask("DELETE", target, if_match=first).status == 412
    assert site.ask("DELETE", target).status == 428
    assert site.ask("DELETE", target, if_match=site.tag(target)).status == 204
    assert site.ask("DELETE", target, if_match=first).status == 412
    assert site.ask("GET", target).status == 404


def test_a_writer_that_passes_no_guard_is_seen_by_conditions(site: Site) -> None:
    """The ETag is that of the state as it is, whoever made it."""
    (site.home / "other").write_text("1")
    tag = site.tag("/counters/other")
    (site.home / "other").write_text("theirs")
    assert site.ask("PUT", "/counters/other", b"mine", if_match=tag).status == 412
    assert (site.home / "other").read_text() == "theirs"


def test_a_writer_that_passes_no_guard_is_not_hidden_by_a_replay(site: Site) -> None:
    """A PUT is replayed while its target is as it left it; when somebody else was there it runs."""
    (site.home / "v").write_text("0")
    before = site.runs()

    def put() -> tuple[int, bool]:
        answer = site.ask("PUT", "/plain/v", b"mine")
        return answer.status, answer.replayed

    assert put() == (204, False)
    assert [put(), put()] == [(204, True), (204, True)]
    (site.home / "v").write_text("theirs")
    assert put() == (204, False)
    assert (site.home / "v").read_text() == "mine"
    assert put() == (204, True)
    (site.home / "v").unlink()
    assert put() == (204, False)
    assert (site.home / "v").read_text() == "mine"
    assert site.runs() - before == 3


def test_nobody_sees_how_it_is_verified(site: Site) -> None:
    """What a record remembers of the state leaves no trace in the answer that is repeated."""
    first, again = (site.ask("PUT", "/plain/w", b"mine") for _ in range(2))
    names: list[set[Any]] = [{name for name, _ in answer.headers} - {"date"} for answer in (first, again)]
    assert names[1] == names[0] | {"idempotent-replayed"}


@pytest.mark.parametrize(("name", "app"), SERVERS[1:])
def test_processes_that_share_a_store_verify_what_the_other_kept(name: str, app: str, tmp_path: Path) -> None:
    """What one process has kept is replayed by the other, and by neither once somebody else has written."""
    with ExitStack() as stack:
        home = tmp_path / "counters"
        home.mkdir()
        site = serving(home, name, app, stack, 2, f"sqlite:///{tmp_path / 'store.db'}")

        def put(at: int) -> tuple[int, bool]:
            answer = site.ask("PUT", "/plain/v", b"mine", at)
            return answer.status, answer.replayed

        assert [put(0), put(1), put(0)] == [(204, False), (204, True), (204, True)]
        (home / "v").write_text("theirs")
        assert [put(1), put(0), put(1)] == [(204, False), (204, True), (204, True)]
        assert (home / "v").read_text() == "mine"


PAGE = (Path(__file__).parents[1] / "docs" / "preconditions.md").read_text("utf-8")


@pytest.mark.parametrize("text", re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_the_page_shows_what_works(text: str) -> None:
    """Each file on the page is one that can be meant, and asks for what the page is about."""
    (policy,) = loads(text).policies.values()
    assert policy.preconditions == "derive" or (policy.replay is not None and policy.replay.verify == "etag")
