"""The cases of `cases.py` through real servers: what the upstream sees and what the client gets."""

from __future__ import annotations

import pytest
from servers.processes import ROOT

from gateway import judge
from gateway.cases import CASES, Case
from gateway.client import ask
from gateway.impossible import IMPOSSIBLE, impossible
from gateway.stage import SERVERS, Gate, Stage, naming

ORDINARY = ask("GET /ordinary")


def play(gate: Gate, case: Case, profile: str) -> list[str]:
    """The case, an ordinary request behind it on its connection, and another one on a new connection."""
    part = gate.plays(case.answers)
    sees, gets = case.under(profile)
    if exception := impossible(gate.server, case):
        print(f"{gate.server} cannot: {exception.reason}")
        gets = exception.gets or gets
        sees = None if exception.unseen else exception.sees or sees
    with gate.connect() as connection:
        # clients of HTTP/1.0 know of no second request on a connection
        connection.send(naming(case.sends, part) + (b"" if b" HTTP/1.0\r\n" in case.sends else ORDINARY))
        connection.begun()
        part.opened.set()
        complaints = judge.client(gets, connection, case.method)
    with gate.connect() as connection:
        after = connection.send(ORDINARY).answer()
    if after.content != b"ordinary":
        complaints.append(f"the next client: expected the ordinary answer, got {after}")
    return [*complaints, *judge.upstream(sees, part)]


@pytest.mark.parametrize("profile", ["guard", "strict"])
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(stage: Stage, case: Case, server: str, profile: str) -> None:
    """Upstream and client are told what the RFCs say; where the server decides, what it decides."""
    gate = stage.gate(server, profile, case.setup)
    start = gate.process.log_size()
    assert play(gate, case, profile) == []
    log = gate.process.log(start)
    assert "Traceback" not in log, log


def test_cases_have_names_of_their_own() -> None:
    """A name is said once, so that no exception hides two cases."""
    names = [case.name for case in CASES]
    assert sorted(set(names)) == sorted(names)
    assert len(names) >= 50
    assert {name for _, name in IMPOSSIBLE} <= set(names)
    assert {server for server, _ in IMPOSSIBLE} <= {*SERVERS, "asgi"}


def test_the_page_tells_of_every_case() -> None:
    """docs/gateway-cases.md is what the table prints."""
    page = (ROOT / "docs" / "gateway-cases.md").read_text("utf-8")
    missing = [case.name for case in CASES if f"\n| {case.name} | " not in page]
    assert not missing, "cd tests && python -m gateway.table > ../docs/gateway-cases.md"
