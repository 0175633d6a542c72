"""The conformance vectors, each in the profiles `guard` and `strict`, through ASGI and WSGI."""

from __future__ import annotations

import pytest
from blackbox.shops import STORES
from vectors import ELSEWHERE, OF_GATEWAYS, REQUIRED, VECTORS
from vectors.conversation import BARE, GUARD, STRICT, Vector
from vectors.gateway import GATEWAY, OTHERWISE
from vectors.stage import DOORS, converse
from vectors.unrun import ALL, UNRUN

SCENES = [
    pytest.param(vector, door, profile, id=f"{vector.number}-{door}-{profile}-{position}")
    for position, vector in enumerate(VECTORS)
    for door in vector.doors
    for profile in (GUARD, STRICT)
]


@pytest.mark.parametrize(("vector", "door", "profile"), SCENES)
async def test_a_guarded_application_keeps_the_vector(vector: Vector, door: str, profile: str) -> None:
    """Every step of the conversation is answered as the vector says."""
    await converse(vector, door, profile)


@pytest.mark.parametrize("profile", [GUARD, STRICT])
@pytest.mark.parametrize("vector", [vector for vector in VECTORS if "asgi" in vector.doors], ids=lambda vector: vector.number)
async def test_a_gateway_keeps_what_an_application_keeps(vector: Vector, profile: str) -> None:
    """A service behind a gateway, and the same application in its own process: a client hears the same, or it is said why."""
    if reason := OTHERWISE.get((vector.number, vector.title)):
        print(reason)
        with pytest.raises(AssertionError, match=f"vector {vector.number}: "):
            await converse(vector, "gateway-h11", profile)
    else:
        await converse(vector, "gateway-h11", profile)


@pytest.mark.parametrize("store", [name for name in STORES if name != "memory"])
@pytest.mark.parametrize("door", ["fastapi", "flask"])
@pytest.mark.parametrize("vector", [vector for vector in VECTORS if vector.number == 108], ids=lambda vector: vector.title)
async def test_early_data_is_kept_in_no_store(vector: Vector, door: str, store: str) -> None:
    """Vector 108 on the shared stores: what came in early data is refused, and leaves nothing that a later request meets."""
    await converse(vector, door, GUARD, STORES[store])


@pytest.mark.parametrize(
    ("vector", "door"),
    [
        pytest.param(vector, door, id=f"{vector.number}-{door}-{position}")
        for position, vector in enumerate(VECTORS)
        for door in vector.doors
        if door in (*BARE, "fastapi", *GATEWAY)
    ],
)
async def test_a_vector_notices_when_nobody_guards(vector: Vector, door: str) -> None:
    """A vector fails on the bare application, unless it says that the guard must leave the application alone."""
    if vector.bare_too:
        await converse(vector, door, None)
    else:
        with pytest.raises(AssertionError, match=f"vector {vector.number}: "):
            await converse(vector, door, None)


def test_every_required_number_is_run() -> None:
    """No number is lost: each is a vector, and what of it must be seen elsewhere is said."""
    run = {vector.number for vector in VECTORS}
    assert sorted(run) == REQUIRED
    assert set(ELSEWHERE) <= run
    for number, reason in ELSEWHERE.items():
        print(f"vector {number}, in part: {reason}")


def test_every_vector_meets_both_interfaces() -> None:
    """ASGI and WSGI both hear every vector's number that is no gateway's, and every door is one that exists."""
    for interface in (("asgi", "fastapi", "starlette"), ("wsgi", "flask")):
        assert {vector.number for vector in VECTORS if set(vector.doors) & set(interface)} == set(REQUIRED) - OF_GATEWAYS
    assert {door for vector in VECTORS for door in vector.doors} == set(DOORS)


def test_every_number_is_run_or_says_why_not() -> None:
    """All 112 numbers are accounted for: run, or in the list of those that cannot be, and never in both."""
    run = {vector.number for vector in VECTORS}
    assert run <= set(ALL)
    assert sorted(set(ALL) - run - UNRUN.keys()) == [], "write it, or a reason into tests/vectors/unrun.py"
    assert sorted(run & UNRUN.keys()) == [], "is run: take its reason out of tests/vectors/unrun.py"
    assert all(UNRUN.values())
