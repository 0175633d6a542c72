"""Multipart content counts by its parts, since every attempt invents a boundary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

__all__ = ["is_multipart", "parts_digest"]


def is_multipart(kind: bytes) -> bool:
    """Whether a Content-Type is one whose boundary each client makes up anew."""
    return kind[:10].lower() == b"multipart/"


def parts_digest(pieces: Iterable[bytes], kind: bytes) -> bytes:
    """A digest of the parts of a multipart body, each with its fields; of the bytes when it is malformed."""
    from werkzeug.http import parse_options_header
    from werkzeug.sansio.multipart import MultipartDecoder

    raw, parts = sha256(), _Parts()
    boundary = parse_options_header(kind.decode("latin-1"))[1].get("boundary", "")
    decoder = MultipartDecoder(boundary.encode("latin-1")) if boundary.isascii() and boundary else None
    for piece in _between_lines(pieces, len(boundary) + 16):
        raw.update(piece or b"")
        if decoder is not None:
            try:
                decoder.receive_data(piece)
                parts.read(decoder, last=piece is None)
            except (ValueError, UnicodeError):
                decoder = None
    return raw.digest() if decoder is None or not parts.seen else parts.digest()


def _between_lines(pieces: Iterable[bytes], longest: int) -> Iterator[bytes | None]:
    """The pieces, none of which ends where a boundary line of `longest` bytes may have begun, and None at the end.

    The decoder takes half a boundary line for content when that is all it has seen of it.
    """
    held = b""
    for piece in pieces:
        held += piece
        end = len(held)
        for line_break in (held.rfind(b"\n"), held.rfind(b"\r")):
            if line_break >= len(held) - longest:
                end = min(end, line_break)
        if end > 0 and held[end - 1 : end] == b"\r":
            end -= 1
        if end:
            yield held[:end]
        held = held[end:]
    if held:
        yield held
    yield None


class _Parts:
    """Digests each part by its fields and content, however the decoder cuts them."""

    def __init__(self) -> None:
        self.seen = False
        self._whole, self._part = sha256(), sha256()

    def read(self, decoder: Any, *, last: bool) -> None:
        """What the decoder has found since it was given more."""
        from werkzeug.sansio.multipart import Data, Epilogue, Field, File, NeedData, State

        # with less than a line break in hand the decoder would take half of it for content
        while last or not (decoder.state is State.DATA_START and len(decoder.buffer) < 2):
            event = decoder.next_event()
            if isinstance(event, (NeedData, Epilogue)):
                return
            if isinstance(event, (Field, File)):
                self._whole.update(self._part.digest())
                lines = sorted(f"{name.lower()}: {value}" for name, value in event.headers)
                self._part = sha256("\n".join(lines).encode("utf-8", "surrogatepass") + b"\n\n")
                self.seen = True
            elif isinstance(event, Data):
                self._part.update(event.data)

    def digest(self) -> bytes:
        """The digest of all parts."""
        self._whole.update(self._part.digest())
        return self._whole.digest()
