"""The real servers: what the guard promises holds in the bytes that leave them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.fixtures import Serve, serve
from servers.impossible import IMPOSSIBLE
from servers.matrix import CASES, Case
from servers.processes import ROOT, SERVERS, Running, running
from servers.wire import request

__all__ = ["serve"]  # pytest finds fixtures by the names of a module


@pytest.fixture(scope="session", params=SERVERS)
def started(request: pytest.FixtureRequest, serve: Serve) -> Running:
    server = SERVERS[request.param]
    return serve(f"servers.apps:{server.interface}", server.name)


@pytest.fixture
def server(started: Running) -> Iterator[Running]:
    """The server, its log shown when the test fails; an error in it fails the test."""
    start = started.log_size()
    yield started
    log = started.log(start)
    print(f"log of {started.name}:\n{log}")
    assert "Traceback" not in log


@pytest.mark.parametrize("profile", ["guard", "strict"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conversation(server: Running, case: Case, profile: str) -> None:
    """What a client sees is what the matrix says, on every server; where the server decides, what it decides."""
    expected = case.under(profile)
    if impossible := IMPOSSIBLE.get((server.name, case.name)):
        print(f"{server.name} cannot: {impossible.reason}")
        expected = impossible.under(profile)
    assert case.play(server, profile) == expected


# waitress has one process, whatever it is told.
@pytest.mark.parametrize("name", [name for name in SERVERS if name != "waitress"])
def test_several_workers(name: str) -> None:
    """With several workers and a store in memory no PUT is replayed without a key: another worker may have changed it."""
    put = request("PUT", "/items/shared", b"{}")
    with running(f"servers.apps:{SERVERS[name].interface}", name, "--workers=2") as server, server.connect() as worker:
        assert [worker.send(put).answer("PUT").replayed for _ in range(3)] == [False] * 3


def test_impossible_names_cases() -> None:
    """Every exception belongs to a server and a case that exist, and differs from what happens elsewhere."""
    expected = {case.name: case.guard for case in CASES}
    for (server, case), impossible in IMPOSSIBLE.items():
        assert server in SERVERS
        assert impossible.guard != expected[case]


def test_the_page_has_every_conversation() -> None:
    """docs/servers.md says that each of its lines is asserted; so each that is asserted has its line."""
    page = (ROOT / "docs" / "servers.md").read_text("utf-8")
    missing = [case.name for case in CASES if f"\n| {case.name} |" not in page]
    assert not missing, "cd tests && python -m servers.table"
