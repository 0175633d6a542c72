"""Every framework's own failings, over real servers: what it answers alone, and what the guard makes of that."""

from __future__ import annotations

import pytest
from failings.cases import CASES, ELSEWHERE, FRAMEWORKS, SERVERS, Case
from failings.notes import heard
from servers.fixtures import Serve, serve
from servers.processes import Running

__all__ = ["serve"]

IDS = [f"{case.number}-{at}" for at, case in enumerate(CASES)]


def program(serve: Serve, framework: str, guarded: bool) -> Running:
    name = f"{framework}_guarded" if guarded else framework
    server = SERVERS[framework]
    # hypercorn looks a name up without asking the module for it
    return serve(f"failings.apps:{name}()" if server == "hypercorn" else f"failings.apps:app_{name}", server)


@pytest.mark.parametrize("guarded", [False, True], ids=["bare", "guarded"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_failings(serve: Serve, case: Case, framework: str, guarded: bool) -> None:
    """The bare column is what was measured at the current releases; the guarded one is what HTTP asks for."""
    server = program(serve, framework, guarded)
    assert heard(server, case.method, case.target, dict(case.fields)) == case.expected(framework, guarded), case.title


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_case_is_mended_or_says_why(case: Case) -> None:
    """Where the frameworks still differ behind the guard, or nothing changed, the table says why."""
    mended = case.bare != case.guarded and isinstance(case.guarded, str)
    assert mended or case.why or _only_more(case)


def _only_more(case: Case) -> bool:
    """The guarded answers are one answer, but for a success with or without a content or an Allow of its own."""
    words = {each.split(" ", 1)[0] for each in case.guarded} if not isinstance(case.guarded, str) else {case.guarded}
    return words <= {"200", "204"} or case.bare == case.guarded == "404"


def test_every_number_of_the_survey_is_here() -> None:
    """The survey has no 6, 13 and 41."""
    assert {case.number for case in CASES} | ELSEWHERE.keys() == set(range(1, 58)) - {6, 13, 41}
    assert not {case.number for case in CASES} & ELSEWHERE.keys()
    assert all(ELSEWHERE.values())
