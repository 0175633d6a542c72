"""The shops of the black-box checks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blackbox.shops import FRAMEWORKS, STORES, Shop


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """Every store there is."""
    return str(request.param)


@pytest.fixture(params=FRAMEWORKS)
def shop(request: pytest.FixtureRequest, store: str) -> Iterator[Shop]:
    """A guarded shop in FastAPI, then one in Flask."""
    with Shop(request.param, store) as opened:
        yield opened


@pytest.fixture
def fastapi_shop(store: str) -> Iterator[Shop]:
    """For what only ASGI has: tasks, WebSockets, a disconnect that the handler can hear of."""
    with Shop("fastapi", store) as opened:
        yield opened


@pytest.fixture
def flask_shop(store: str) -> Iterator[Shop]:
    """For what only WSGI has: an answer that is closed before it was read, a worker that is told to go."""
    with Shop("flask", store) as opened:
        yield opened
