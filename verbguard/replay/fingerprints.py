"""Which request it is: a repeated one must be the same one, not only carry the same key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256

from verbguard.http import HOP_BY_HOP, Request
from verbguard.replay.multipart import is_multipart, parts_digest
from verbguard.replay.principals import SECRETS

__all__ = ["KEYED_EXTRAS", "MEANINGLESS", "PRECONDITIONS", "contends", "keyed_head", "keyless_head", "request_digest"]


PRECONDITIONS = (b"if-match", b"if-none-match", b"if-unmodified-since")

_READING = (b"if-modified-since", b"if-range")  # conditions that only a GET has


def contends(name: bytes) -> bool:
    """Whether a field is a condition, HTTP's or an extension's (WebDAV's If with its locks, CalDAV's If-Schedule-Tag-Match).

    Two equal requests with one are two contenders, of which the second may have to fail.
    """
    return name == b"if" or (name.startswith(b"if-") and name not in _READING)


# A keyed request is what the client says it is; these fields, beside the target, only catch a key that is used twice.
KEYED_EXTRAS = frozenset([b"content-encoding", b"content-range", *PRECONDITIONS])
_EXTRAS = sorted(KEYED_EXTRAS)

# Fields that never change what a keyless PUT does: who sends it is the principal, the rest is delivery and tracing.
MEANINGLESS = (
    SECRETS
    | HOP_BY_HOP
    | {
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"content-length",
        b"date",
        b"dnt",
        b"expect",
        b"forwarded",
        b"from",
        b"origin",
        b"pragma",
        b"priority",
        b"referer",
        b"save-data",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"sec-gpc",
        b"user-agent",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
        # tracing and attempt numbers differ between a request and its retry by design
        b"amz-sdk-invocation-id",
        b"amz-sdk-request",
        b"b3",
        b"baggage",
        b"correlation-id",
        b"request-id",
        b"sentry-trace",
        b"traceparent",
        b"tracestate",
        b"x-amzn-trace-id",
        b"x-b3-flags",
        b"x-b3-parentspanid",
        b"x-b3-sampled",
        b"x-b3-spanid",
        b"x-b3-traceid",
        b"x-cloud-trace-context",
        b"x-correlation-id",
        b"x-request-id",
        b"x-retry-attempt",
        b"x-trace-id",
    }
)


def keyed_head(request: Request, fields: Mapping[bytes, bytes], kind: bytes, extras: bool) -> bytes:
    """What identifies a keyed request beside its content; `extras` says whether it carries any of KEYED_EXTRAS."""
    target = request.target
    if target.find(b"%") >= 0:  # `in` asks first whether the other is a number, which costs more than all the rest
        target = _canonical(target)
    head = b"%b %b\n%b\n%b" % (request.method.encode("utf-8", "replace"), target, fields.get(b"host", b""), kind)
    if extras:
        head += b"\n" + b"\0".join([fields.get(name, b"") for name in _EXTRAS])
    return head


def keyless_head(target: bytes, lines: list[bytes], multipart: bool) -> bytes:
    """What identifies a keyless PUT beside its content and principal: the target and every field that can carry meaning."""
    if multipart:
        lines = [b"content-type:multipart" if line.startswith(b"content-type:") else line for line in lines]
        lines.sort()
    return b"\0".join((_canonical(target) if target.find(b"%") >= 0 else target, *lines))


_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _canonical(target: bytes) -> bytes:
    """RFC 3986 section 6.2.2: escapes in upper case, unreserved characters not escaped."""

    def plain(match: re.Match[bytes]) -> bytes:
        code = int(match[1], 16)
        return bytes([code]) if code in _UNRESERVED else match[0].upper()

    return _ESCAPE.sub(plain, target)


def request_digest(head: bytes, content: bytes | Iterable[bytes], kind: bytes | None, form: str = "bytes") -> bytes:
    """The fingerprint of `head` and the content, which may come in pieces.

    Multipart counts by its parts, since every attempt invents a boundary; with `form` json, members of JSON in memory may
    come in another order.
    """
    digest = sha256(head + b"\n")
    if kind is not None and is_multipart(kind):
        digest.update(parts_digest((content,) if isinstance(content, bytes) else content, kind))
    elif isinstance(content, bytes):
        digest.update(_canonical_json(content, kind) if form == "json" and kind is not None else content)
    else:
        for piece in content:
            digest.update(piece)
    return digest.digest()


def _canonical_json(content: bytes, kind: bytes) -> bytes:
    if b"json" not in kind:
        return content
    try:
        return json.dumps(json.loads(content), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return content
