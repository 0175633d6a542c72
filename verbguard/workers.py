"""Whether this process is one of several workers: then a store in memory does not see what the others do."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["several_workers"]

_SERVERS = ("uvicorn", "gunicorn", "hypercorn", "granian")
_TRIES = 20  # a main thread that works is met once in some thousand looks
_NAMES = ("config", "cfg", "self", "worker")


def several_workers() -> bool:
    """Whether the server that runs this process was told to run more than one worker.

    Servers tell an ASGI app nothing about it, but their own configuration is on the main thread's stack.
    """
    main = threading.main_thread().ident
    for _ in range(_TRIES):
        frame = sys._current_frames().get(main) if main is not None else None
        try:
            return any(_count(value) > 1 for value in _configurations(frame))
        except AttributeError:  # the main thread went on while its stack was looked at: what is there is no frame any more
            continue
    return True  # nobody knows, and with several of them a store in memory would replay what another has changed


def _configurations(frame: FrameType | None) -> Iterator[Any]:
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in _SERVERS:
            for name in _NAMES:
                if name in frame.f_locals:
                    yield frame.f_locals[name]
        frame = frame.f_back


def _count(value: Any) -> int:
    for holder in (value, getattr(value, "cfg", None), getattr(value, "config", None)):
        workers = getattr(holder, "workers", None)
        if isinstance(workers, int) and not isinstance(workers, bool):
            return workers
    return 0
