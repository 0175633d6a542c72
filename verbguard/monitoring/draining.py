"""Whether the program is about to end, told to every process of it by a file."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Drain"]


class Drain:
    """Begun by whoever gets the signal, seen by all. Without a folder only this process can see it."""

    def __init__(self, folder: str | None = None) -> None:
        self._file = None if folder is None else Path(folder, "draining")
        self._begun = False

    def begin(self) -> None:
        """Nothing new is accepted from here on."""
        self._begun = True
        if self._file is not None:
            self._file.touch()

    @property
    def begun(self) -> bool:
        """Whether the program is about to end."""
        return self._begun or (self._file is not None and self._file.exists())
