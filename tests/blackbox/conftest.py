"""The shops of the black-box checks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blackbox.shops import FRAMEWORKS, Shop


@pytest.fixture(params=FRAMEWORKS)
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A guarded shop in FastAPI, then one in Flask."""
    with Shop(request.param) as opened:
        yield opened


@pytest.fixture
def fastapi_shop() -> Iterator[Shop]:
    """For what only ASGI has: tasks, WebSockets, a disconnect that the handler can hear of."""
    with Shop("fastapi") as opened:
        yield opened


@pytest.fixture
def flask_shop() -> Iterator[Shop]:
    """For what only WSGI has: an answer that is closed before it was read, a worker that is told to go."""
    with Shop("flask") as opened:
        yield opened
