"""`serve(app_path, server)` for any test module: import it from here and name it as a fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from servers.processes import Running, running

Serve = Callable[[str, str], Running]


@pytest.fixture(scope="session")
def serve() -> Iterator[Serve]:
    """Serve an application by a real server; each pair is started once per session and stopped at its end."""
    started: dict[tuple[str, str], Running] = {}
    with ExitStack() as stack:

        def serve(app: str, server: str) -> Running:
            if (app, server) not in started:
                started[app, server] = stack.enter_context(running(app, server))
            return started[app, server]

        yield serve
