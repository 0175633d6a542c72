"""Request content that is read before the app runs: in memory up to a bound, in an unnamed file above it."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO

__all__ = ["PIECE", "Spool"]

PIECE = 64 << 10  # bytes handled at once when content comes from a file


class Spool:
    """Pieces of content in their order. `content` is what a fingerprint reads, `file` what a WSGI app does."""

    __slots__ = ("_bound", "_file", "pieces", "size")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._file: IO[bytes] | None = None
        self.pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        """One more piece."""
        self.size += len(piece)
        if self._file is not None:
            self._file.write(piece)
            return
        self.pieces.append(piece)
        if self.size > self._bound:
            self._file = TemporaryFile()  # noqa: SIM115 - it lives as long as the request
            self._file.writelines(self.pieces)
            self.pieces = []

    @property
    def content(self) -> bytes | Spool:
        """All of it, or this itself, whose pieces can be gone through, when it is too large to be held at once."""
        if self._file is not None:
            return self
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self.stream()

    def stream(self) -> Iterator[bytes]:
        """The pieces from the beginning; never holds more than one of them where there is a file."""
        if self._file is None:
            yield from self.pieces
            return
        self._file.seek(0)
        while piece := self._file.read(PIECE):
            yield piece

    def file(self) -> IO[bytes]:
        """The content as a stream to read from its beginning."""
        if self._file is None:
            return BytesIO(b"".join(self.pieces))
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Give the file back; nothing is left behind on disk."""
        if self._file is not None:
            self._file.close()
            self._file = None
