"""Whether the program is about to end, told to every process of it by a file."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["Drain"]


class Drain:
    """Begun by whoever gets the signal, seen by all. Without a folder only this process can see it."""

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._file = None if folder is None else Path(folder, "draining")
        self._begun = False

    def begin(self) -> None:
        """Nothing new is accepted from here on."""
        self._begun = True
        if self._file is not None:
            self._file.touch()

    def forget(self) -> None:
        """Remove what the processes of this run shared, when nobody will be left to do it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def begun(self) -> bool:
        """Whether the program is about to end."""
        return self._begun or (self._file is not None and self._file.exists())
