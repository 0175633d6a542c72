"""Files for stores that tests make as they go; all of them are gone when the tests are over."""

from __future__ import annotations

import atexit
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["fresh_file"]

_FOLDER = TemporaryDirectory(prefix="verbguard-tests-")
atexit.register(_FOLDER.cleanup)
_NUMBERS = count(1)


def fresh_file() -> Path:
    """A path in a folder of this process where nothing is yet."""
    return Path(_FOLDER.name) / f"store-{next(_NUMBERS)}.db"
