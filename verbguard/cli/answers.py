"""An answer that an operator gives in place of a request that was cut off."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from verbguard.cli.target import Trouble
from verbguard.http import Headers, header
from verbguard.methods import BODILESS, may_answer
from verbguard.records import Record
from verbguard.replay.results import stored_headers

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110 5.6.2, in lower case


def answer_of(method: str, status: int, lines: Sequence[str], content: bytes) -> Record:
    """The record of such an answer. Raises Trouble for one that no server should give."""
    if method and not may_answer(method, status):
        raise Trouble(f"--status {status}: that is no answer to {method}; `verbguard rules --status {status}` says why.")
    if status in BODILESS and content:
        raise Trouble(f"--status {status}: such an answer has no content; leave --body out, or choose another status.")
    fields = [_field(line) for line in lines]
    _all_stored(fields)
    if content and header(fields, b"content-type") is None:
        fields.append((b"content-type", _kind(content)))
    if status not in BODILESS:
        fields.append((b"content-length", b"%d" % len(content)))
    return Record(status, fields, content)


def _field(line: str) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(":")
    try:
        pair = name.strip().lower().encode("ascii"), value.strip().encode("latin-1")
    except UnicodeEncodeError:
        raise Trouble(f"--header {line!r}: a name is ASCII, and a value Latin-1.") from None
    if not colon or not _TOKEN.fullmatch(pair[0]) or any(sign in pair[1] for sign in b"\r\n\0"):
        raise Trouble(f"--header {line!r}: it is spelled 'Location: /orders/7'.")
    if pair[0] == b"content-length":
        raise Trouble("--header Content-Length: it is counted; leave it out.")
    return pair


def _all_stored(fields: Headers) -> None:
    kept = stored_headers(fields)
    for name, _ in fields:
        if all(name != each for each, _ in kept):
            raise Trouble(f"--header {name.decode().title()}: that belongs to one message only, and no retry gets it.")


def _kind(content: bytes) -> bytes:
    """The media type of a content that came without one."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return b"application/octet-stream"
    try:
        json.loads(text)
    except ValueError:
        return b"text/plain; charset=utf-8"
    return b"application/json"
