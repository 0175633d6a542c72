"""A gateway below a path of another application: what the service says of its own paths is still true for clients."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import verbguard
from gateway.client import said
from gateway.upstream import Upstream
from verbguard.gateway import Gateway


@pytest.fixture
def upstream():
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    gateway = Gateway(upstream.url)
    app = Starlette(routes=[Mount("/the api", verbguard.guard(gateway))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example") as client:
        yield client
    await gateway.close()


@pytest.mark.parametrize(
    ("said_there", "heard_here"),
    [
        ("UPSTREAM/items/5?a=b", "/the%20api/items/5?a=b"),
        ("/items/5", "/the%20api/items/5"),
        ("http://api.example/items/5", "http://api.example/the%20api/items/5"),
        ("http://other.example/items/5", "http://other.example/items/5"),
        ("//other.example/items/5", "//other.example/items/5"),
        ("UPSTREAM//other.example/5", "/the%20api//other.example/5"),
        ("5", "5"),
    ],
)
async def test_a_location(client: httpx.AsyncClient, upstream: Upstream, said_there: str, heard_here: str) -> None:
    """It leads to where the client finds the resource: below the mount (RFC 9110 10.2.2)."""
    part = upstream.plays(said("201 Created", "Location: " + said_there.replace("UPSTREAM", upstream.url), content=b""))
    answer = await client.post("/the%20api/items%2Fx?q=1", headers={"X-Case": part.name}, content=b"{}")
    assert part.only.target == "/items%2Fx?q=1"
    assert answer.headers["location"] == heard_here


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("http://api.example/the%20api/b", "http://api.example/b"),
        ("http://api.example/the%20apiary/b", "http://api.example/the%20apiary/b"),
        ("http://api.example/b", "http://api.example/b"),
    ],
)
async def test_a_destination(client: httpx.AsyncClient, upstream: Upstream, asked: str, seen: str) -> None:
    """The service knows nothing of the mount (RFC 4918 10.3)."""
    part = upstream.plays(said("201 Created", content=b""))
    headers = {"X-Case": part.name, "Destination": asked}
    assert (await client.request("MOVE", "/the%20api/a", headers=headers)).status_code == 201
    assert (part.only.target, part.only.get("destination")) == ("/a", seen)
