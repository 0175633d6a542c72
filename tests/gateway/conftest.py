"""The stage of the gateway's tests: one upstream a session, and servers that are started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.stage import SERVERS, Gate, Stage, staged


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with staged() as stage:
        yield stage


@pytest.fixture(params=SERVERS)
def gate(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Gate]:
    """A gateway on each server; an error in its log fails the test."""
    yield from watched(stage.gate(request.param))


@pytest.fixture(params=SERVERS)
def hurried(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Gate]:
    """A gateway that waits a second for its upstream, and no longer."""
    yield from watched(stage.gate(request.param, setup="hurried"))


def watched(gate: Gate) -> Iterator[Gate]:
    start = gate.process.log_size()
    yield gate
    log = gate.process.log(start)
    assert "Traceback" not in log, log
