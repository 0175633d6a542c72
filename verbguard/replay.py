"""What replay decides, as pure functions: who asks, which request it is, which answers are results.

The rules stand in RFC 9110 section 9.2.2 and in draft-ietf-httpapi-idempotency-key-header-07, an expired draft that
practice follows; the decisions where it is silent are explained in docs/architecture.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from verbguard.http import HOP_BY_HOP, Headers, Request, Response, header, joined

__all__ = [
    "CREDENTIALS",
    "IDEMPOTENCY_KEY",
    "KeyProblem",
    "keyed_head",
    "keyless_head",
    "kept",
    "parse_key",
    "principal_of",
    "readable",
    "request_digest",
    "stored_headers",
]

IDEMPOTENCY_KEY = b"idempotency-key"
MAX_KEY = 255  # bytes; what Stripe and most vendors take

# ---- the key


class KeyProblem(Exception):
    """An Idempotency-Key that names nothing: the id of the rule, and what is wrong with it."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail


_BARE = re.compile(rb"[!#-+\--~](?:[ !#-+\--~]*[!#-+\--~])?")  # visible ASCII without quote and comma, inner spaces
_QUOTED = re.compile(rb'"([ !#-\[\]-~]*)"')  # an RFC 9651 String without escapes


def parse_key(value: bytes, *, strict: bool = False) -> bytes:
    """The key that an Idempotency-Key field carries; bare and quoted spellings are one key.

    Raises KeyProblem. With `strict`, a value that is not an RFC 9651 String is a problem too.
    """
    if not strict and len(value) <= MAX_KEY and _BARE.fullmatch(value):
        return value
    value = value.strip(b" \t")
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        key = quoted[1]
    elif value[:1] == b'"':
        key = _structured(value)
    elif strict and value:
        raise KeyProblem("idem-key-syntax", "Idempotency-Key is a Structured Field String: put the key in double quotes.")
    elif not value or _BARE.fullmatch(value):
        key = value
    elif b"," in value:
        raise KeyProblem("idem-key-single", "A request carries one Idempotency-Key; a bare key has no comma.")
    else:
        raise KeyProblem("idem-key-format", "An Idempotency-Key is made of visible ASCII characters.")
    if not key.strip():
        raise KeyProblem("idem-key-format", "The Idempotency-Key is empty.")
    if len(key) > MAX_KEY:
        raise KeyProblem("idem-key-format", f"The Idempotency-Key has {len(key)} bytes; {MAX_KEY} are the most.")
    return key


def _structured(value: bytes) -> bytes:
    import http_sf

    try:
        item: Any = http_sf.parse(value, tltype="item")
    except (ValueError, http_sf.StructuredFieldError):
        items = value.count(b'"') > 2 and b"," in value
        raise KeyProblem(
            "idem-key-single" if items else "idem-key-format",
            "A request carries one Idempotency-Key." if items else "The Idempotency-Key is not a well-formed String.",
        ) from None
    return str(item[0]).encode("ascii")


# ---- the principal

# Fields that prove who is asking.
_SECRETS = frozenset(
    [
        b"authorization",
        b"proxy-authorization",
        b"x-api-key",
        b"api-key",
        b"apikey",
        b"x-auth-token",
        b"x-access-token",
        b"x-session-token",
        b"x-csrf-session",
        b"private-token",
        b"x-client-cert",
        b"x-ssl-client-cert",
        b"x-forwarded-client-cert",
        b"client-cert",
        b"x-amzn-oidc-identity",
        b"x-goog-iap-jwt-assertion",
        b"cf-access-jwt-assertion",
    ]
)
# Fields that say who is asking, as a proxy in front has found out; cookies say more than that.
_IDENTITIES = frozenset(
    [
        b"cookie",
        b"remote-user",
        b"x-account-id",
        b"x-auth-request-email",
        b"x-auth-request-user",
        b"x-authenticated-userid",
        b"x-forwarded-email",
        b"x-forwarded-user",
        b"x-organization-id",
        b"x-remote-user",
        b"x-tenant-id",
        b"x-user",
        b"x-user-id",
    ]
)
# A request's principal is one digest of all of these that it carries together.
CREDENTIALS = _SECRETS | _IDENTITIES

SESSION_COOKIES = frozenset(
    [b"session", b"sessionid", b"session_id", b"sid", b"connect.sid", b"phpsessid", b"jsessionid", b"asp.net_sessionid"]
)


def principal_of(credentials: list[tuple[bytes, bytes]], certificate: bytes | None = None) -> bytes:
    """The digest of every credential that a request carries together, empty for a request without one.

    Of the cookies only those count that are known to name a session; when none is known, all do.
    """
    if not credentials and certificate is None:
        return b""
    digest = sha256()
    for name, value in sorted(credentials):
        if name == b"cookie":
            value = _session_of(value)
        digest.update(b"%s %d " % (name, len(value)) + value)
    if certificate is not None:
        digest.update(b"certificate " + certificate)
    return digest.digest()[:16]


def _session_of(cookies: bytes) -> bytes:
    pairs = sorted({pair.strip() for pair in cookies.split(b";")})
    sessions = [pair for pair in pairs if pair.partition(b"=")[0].strip().lower() in SESSION_COOKIES]
    return b"; ".join(sessions or pairs)


# ---- which request it is

PRECONDITIONS = (b"if-match", b"if-none-match", b"if-unmodified-since")

# A keyed request is what the client says it is; these fields, beside the target, only catch a key that is used twice.
KEYED_EXTRAS = frozenset([b"content-encoding", b"content-range", *PRECONDITIONS])
_EXTRAS = sorted(KEYED_EXTRAS)

# Fields that never change what a keyless PUT does: who sends it is the principal, the rest is delivery and tracing.
_MEANINGLESS = (
    _SECRETS
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
    if b"%" in target:
        target = _canonical(target)
    head = b"%b %b\n%b\n%b" % (request.method.encode("utf-8", "replace"), target, fields.get(b"host", b""), kind)
    if extras:
        head += b"\n" + b"\0".join([fields.get(name, b"") for name in _EXTRAS])
    return head


def keyless_head(request: Request, multipart: bool) -> bytes:
    """What identifies a keyless PUT beside its content and principal: the target and every field that can carry meaning."""
    lines = [
        b"%s:%s" % ((name, b"multipart") if multipart and name == b"content-type" else (name, value))
        for name, value in request.headers
        if name not in _MEANINGLESS
    ]
    lines.sort()
    return b"\0".join((_canonical(request.target), *lines))


_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _canonical(target: bytes) -> bytes:
    """RFC 3986 section 6.2.2: escapes in upper case, unreserved characters not escaped."""
    if b"%" not in target:
        return target

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
        digest.update(_parts_digest((content,) if isinstance(content, bytes) else content, kind))
    elif isinstance(content, bytes):
        digest.update(_canonical_json(content, kind) if form == "json" and kind is not None else content)
    else:
        for piece in content:
            digest.update(piece)
    return digest.digest()


def is_multipart(kind: bytes) -> bool:
    """Whether a Content-Type is one whose boundary each client makes up anew."""
    return kind[:10].lower() == b"multipart/"


def _canonical_json(content: bytes, kind: bytes) -> bytes:
    if b"json" not in kind:
        return content
    try:
        return json.dumps(json.loads(content), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return content


def _parts_digest(pieces: Iterable[bytes], kind: bytes) -> bytes:
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


# ---- which answers are results

# They prove that nothing was done, or ask for the same request again.
_NOT_DONE = frozenset([307, 308, 401, 404, 405, 407, 408, 409, 411, 412, 413, 415, 417, 421, 423, 425, 428, 429, 431, 503])


def kept(method: str, status: int, on_error: str | None, release: frozenset[int]) -> bool:
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


def stored_headers(headers: Headers) -> Headers:
    """The field lines of an answer that a replay repeats: ordered pairs, names in lower case."""
    found: Headers = [pair for pair in headers if pair[0] not in _NEVER_STORED]
    for name, _ in found:
        if not name.islower():
            found = [(raw.lower(), value) for raw, value in headers if raw.lower() not in _NEVER_STORED]
            break
    if len(found) != len(headers):
        named = joined((name.lower(), value) for name, value in headers).get(b"connection")
        if named:
            listed = {name.strip().lower() for name in named.split(b",")}
            found = [pair for pair in found if pair[0] not in listed]
    return found


def readable(response: Response, accept_encoding: bytes | None) -> Response:
    """A kept answer for a client that may accept other content codings than the first one did (RFC 9110 12.5.3)."""
    coding = (header(response.headers, b"content-encoding") or b"").strip().lower()
    if accept_encoding is None or coding not in (b"gzip", b"x-gzip", b"deflate") or not response.body:
        return response
    if _accepts(accept_encoding, coding):
        return response
    import zlib

    try:
        body = zlib.decompress(response.body, wbits=47)  # 32 + 15: the wrapper says whether it is gzip or zlib
    except zlib.error:
        return response
    headers = [pair for pair in response.headers if pair[0] not in (b"content-encoding", b"content-length", b"etag")]
    return Response(response.status, [*headers, (b"content-length", b"%d" % len(body))], body)


def _accepts(accept_encoding: bytes, coding: bytes) -> bool:
    from werkzeug.datastructures import Accept
    from werkzeug.http import parse_accept_header

    accepted = parse_accept_header(accept_encoding.decode("latin-1"), Accept)
    return accepted.quality(coding.decode("latin-1").removeprefix("x-")) > 0


def fields_of(value: Any) -> bytes:
    """What a principal callable may return, as the bytes that enter the digest."""
    if isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogatepass")
