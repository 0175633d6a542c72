"""Which answers are an operation's result, and what of them a repetition says again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from verbguard.digests import SEALS, unsealed
from verbguard.http import HOP_BY_HOP, Headers, Response
from verbguard.records import Record

__all__ = ["STORED", "kept", "readable", "recorded", "stored_headers"]


# They prove that nothing was done, or ask for the same request again.
_NOT_DONE = frozenset([307, 308, 401, 404, 405, 407, 408, 409, 411, 412, 413, 415, 417, 421, 423, 425, 428, 429, 431, 503])


def kept(method: str, status: int, on_error: str | None, release: Collection[int]) -> bool:
    """Whether an answer is the operation's result: kept for replay, rather than released so that a retry runs."""
    if status in _NOT_DONE or status in release:
        return False
    if status < 500:
        return True
    if on_error is not None:
        return on_error == "keep"
    # "A client SHOULD NOT automatically retry a request with a non-idempotent method unless it has some means to know
    #  that the request semantics are actually idempotent", RFC 9110 9.2.2. Repeating is what PUT and DELETE promise.
    return method not in ("PUT", "DELETE")


# Made anew for each message, or of no use to a retry.
_NEVER_STORED = HOP_BY_HOP | {
    b"age",
    b"alt-svc",
    b"authentication-info",
    b"clear-site-data",
    b"date",
    b"ratelimit",
    b"ratelimit-policy",
    b"retry-after",
    b"server",
    b"server-timing",
    b"set-cookie",
    b"traceparent",
    b"tracestate",
    b"via",
    b"www-authenticate",
    b"x-correlation-id",
    b"x-ratelimit-limit",
    b"x-ratelimit-remaining",
    b"x-ratelimit-reset",
    b"x-request-id",
}


class _Stored(dict[bytes, bytes]):
    """Field name as an app spells it -> the name under which it is stored, empty for one that never is."""

    def __missing__(self, name: bytes) -> bytes:
        plain = name.lower()
        found = b"" if plain in _NEVER_STORED else plain
        if len(self) < 2_000:  # an app may make names up
            self[name] = found
        return found


STORED = _Stored()


def stored_headers(headers: Headers) -> Headers:
    """The field lines of an answer that a replay repeats: ordered pairs, names in lower case."""
    found: Headers = [(stored, value) for name, value in headers if (stored := STORED[name])]
    if len(found) != len(headers):
        connection = [value for name, value in headers if name.lower() == b"connection"]
        if connection:
            listed = {name.strip().lower() for name in b",".join(connection).split(b",")}
            found = [pair for pair in found if pair[0] not in listed]
        broken = unsealed(found, {name.lower() for name, _ in headers} - {name for name, _ in found})
        if broken:
            found = [pair for pair in found if pair[0] not in broken]
    return found


def recorded(status: Any, headers: Any, body: Any) -> Record:
    """The record of an answer that the application itself tells: fields as a mapping or as pairs, texts or bytes.

    Raises TypeError or ValueError for what is no final answer.
    """
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise ValueError(f"status = {status!r}: a final status code, 200 to 599")
    if not isinstance(body, (bytes, bytearray, memoryview, str)):
        raise TypeError(f"body = {type(body).__name__}: text or bytes; the JSON of a value is json.dumps(value)")
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    content = body.encode() if isinstance(body, str) else bytes(body)
    return Record(status, stored_headers([(_octets(name).lower(), _octets(value)) for name, value in pairs]), content)


def _octets(text: Any) -> bytes:
    if not isinstance(text, (str, bytes)):
        raise TypeError(f"a field's name and value are text or bytes, not {text!r}")
    return text if isinstance(text, bytes) else text.encode("latin-1")


def readable(response: Response, accept_encoding: bytes | None) -> Response:
    """A kept answer for a client that may accept other content codings than the first one did (RFC 9110 12.5.3)."""
    for name, value in response.headers:
        if name == b"content-encoding":
            coding = value.strip().lower()
            break
    else:
        return response
    if accept_encoding is None or coding not in (b"gzip", b"x-gzip", b"deflate") or not response.body:
        return response
    if _accepts(accept_encoding, coding):
        return response
    import zlib

    try:
        body = zlib.decompress(response.body, wbits=47)  # 32 + 15: the wrapper says whether it is gzip or zlib
    except zlib.error:
        return response
    headers = [pair for pair in response.headers if pair[0] not in _OF_THE_CODED]
    return Response(response.status, [*headers, (b"content-length", b"%d" % len(body))], body)


# What a coded content says of itself, and what no longer holds of it without its coding.
_OF_THE_CODED = SEALS | {b"content-encoding", b"content-length", b"etag", b"content-digest", b"repr-digest"}


def _accepts(accept_encoding: bytes, coding: bytes) -> bool:
    from werkzeug.datastructures import Accept
    from werkzeug.http import parse_accept_header

    accepted = parse_accept_header(accept_encoding.decode("latin-1"), Accept)
    return accepted.quality(coding.decode("latin-1").removeprefix("x-")) > 0
