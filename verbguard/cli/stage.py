"""Where the demo plays: the shop on a real server, bare or guarded, for as long as a block lasts."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from verbguard.cli.target import Trouble


@dataclass(frozen=True, slots=True)
class Served:
    """A running shop."""

    port: int
    runs: Any  # Counter: handler name -> how often it ran


@contextmanager
def running(guarded: bool) -> Iterator[Served]:
    """Serve a fresh shop on a free loopback port, for as long as the block lasts."""
    try:
        import h11  # noqa: F401 - what the client speaks
        import uvicorn

        from verbguard.cli.shop import shop
    except ModuleNotFoundError as missing:
        raise Trouble(f"The demo needs {missing.name}: pip install 'verbguard[demo]'") from None
    app = shop()
    runs = app.state.runs
    if guarded:
        app = under_guard(app)
    # Listening before the server's thread starts: clients wait in the backlog, and nobody has to poll.
    listener = socket.create_server(("127.0.0.1", 0))
    settings = uvicorn.Config(
        app, log_config=None, log_level="critical", access_log=False, workers=1, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield Served(listener.getsockname()[1], runs)
    finally:
        server.should_exit = True
        thread.join(timeout=5)
        listener.close()


def under_guard(app: Any) -> Any:
    """The one line this is all about."""
    from verbguard import guard

    # What the guard would log here is what the columns show.
    logging.getLogger("verbguard").addHandler(logging.NullHandler())
    logging.getLogger("verbguard").propagate = False
    return guard(app)
