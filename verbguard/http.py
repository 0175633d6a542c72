"""Requests, responses and problem documents as plain values: what the rules look at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from operator import itemgetter
from typing import Any
from urllib.parse import quote

from verbguard.methods import SAFE

__all__ = [
    "CONTENT_FIELDS",
    "HOP_BY_HOP",
    "NAME",
    "STREAMS",
    "Headers",
    "Request",
    "Response",
    "environ_name",
    "header",
    "joined",
    "problem",
    "quoted_path",
    "reason",
    "single",
    "without",
]

Headers = list[tuple[bytes, bytes]]

# Fields that concern one connection only (RFC 9110 section 7.6.1, with the ones that practice adds).
HOP_BY_HOP = frozenset(
    [
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ]
)
# Fields that describe content; they go when the content goes.
CONTENT_FIELDS = frozenset(
    [
        b"content-type",
        b"content-length",
        b"content-encoding",
        b"content-language",
        b"content-range",
        b"content-digest",
        b"repr-digest",
    ]
)

# Media types whose content comes for as long as there is something to tell: never held back, never kept.
STREAMS = (b"text/event-stream", b"multipart/x-mixed-replace", b"application/x-ndjson")

DOCUMENTATION = "https://verbguard.readthedocs.io/rules/"


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """One value a name: repeated field lines are joined as RFC 9110 section 5.2 says, Cookie as RFC 9113 8.2.3 does."""
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in fields:
            value = fields[name] + (b"; " if name == b"cookie" else b", ") + value
        fields[name] = value
    return fields


def single(headers: Headers) -> dict[bytes, bytes]:
    """`joined`, at the price of `dict` for the usual request that repeats no field."""
    fields = dict(headers)
    return fields if len(fields) == len(headers) else joined(headers)


def without(headers: Headers, names: frozenset[bytes] | set[bytes]) -> Headers:
    """The pairs whose name is not among `names` (lower case), in their order."""
    return [pair for pair in headers if pair[0] not in names and pair[0].lower() not in names]


def header(headers: Headers, name: bytes) -> bytes | None:
    """The value of the first field line called `name` (lower case), or None when there is none."""
    for found, value in headers:
        if found == name or found.lower() == name:
            return value
    return None


_REASONS = {status.value: status.phrase for status in HTTPStatus}


def reason(status: int) -> str:
    """The reason phrase of a status code, never empty: WSGI wants one."""
    return _REASONS.get(status, "Unknown")


_PLAIN = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/]*")  # what stands in a path as itself (RFC 3986 section 3.3)


def quoted_path(path: str) -> str:
    """A decoded path, percent-encoded again for a URI reference."""
    return path if _PLAIN.fullmatch(path) else quote(path, safe="/:@!$&'()*+,;=-._~")


def environ_name(name: bytes) -> str:
    """Where a WSGI environ has a field (PEP 3333)."""
    plain = name.decode("latin-1").upper().replace("-", "_")
    return plain if plain in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + plain


NAME = itemgetter(0)  # of a field, from its pair


class Request:
    """One request as the rules see it. The adapters subclass it to read the server's own structures lazily.

    `path` is decoded and stands below `prefix` (ASGI's root_path, WSGI's SCRIPTNAME); names in `headers` are lower case.
    """

    __slots__ = ("_fields", "_headers", "layout", "method", "path", "prefix", "query", "version")

    _fields: Mapping[bytes, bytes] | None
    layout: Any  # of the names, once `deciding` was asked; None again when fields are taken away

    def __init__(
        self,
        method: str,
        path: str,
        headers: Headers | None = None,
        query: bytes = b"",
        prefix: str = "",
        version: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.prefix = prefix
        self.query = query
        self.version = version  # of HTTP as the client speaks it; empty where the server does not say
        self._headers: Headers = [] if headers is None else headers
        self._fields = self.layout = None

    @property
    def headers(self) -> Headers:
        """All field lines in their order, names in lower case."""
        return self._headers

    def deciding(self, layouts: Mapping[tuple[bytes, ...], Any]) -> dict[bytes, bytes]:
        """The fields that decide something, with their values, by the layout of their names."""
        headers = self.headers
        layout = self.layout = layouts[tuple(map(NAME, headers))]
        if layout.repeats:
            fields = self.fields
            found = {name: fields[name] for name, _ in layout.deciding}
        else:
            found = dict(map(headers.__getitem__, layout.places))
        return found

    def meaning(self, layouts: Mapping[tuple[bytes, ...], Any]) -> list[bytes]:
        """The field lines that identify a PUT without a key, sorted."""
        headers = self.headers
        layout = self.layout or layouts[tuple(map(NAME, headers))]
        lines = [begins + headers[place][1] for begins, place in layout.meaning]
        if layout.repeats:
            lines.sort()
        return lines

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """name -> value, repeated lines joined."""
        if self._fields is None:
            self._fields = single(self.headers)
        return self._fields

    def get(self, name: bytes) -> bytes | None:
        """The field's value, or None when it is absent."""
        return self.fields.get(name)

    def drop(self, names: frozenset[bytes]) -> None:
        """Take fields away before the app sees them."""
        self._headers = without(self.headers, names)
        self._fields = self.layout = None

    def below(self, path: str) -> str:
        """A path of the whole server as it stands below `prefix`."""
        prefix = self.prefix
        return path[len(prefix) :] if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("/", "") else path

    def moved(self, path: str) -> None:
        """Let the app see a target that was a whole URL as the path in it."""
        self.path = self.below(path)

    @property
    def target(self) -> bytes:
        """The path-absolute target as the client wrote it, with the query."""
        path = quoted_path(self.prefix + self.path).encode("ascii")
        return path + b"?" + self.query if self.query else path

    @property
    def unsafe(self) -> bool:
        """Whether the method may change something (RFC 9110 section 9.2.1)."""
        return self.method not in SAFE

    @property
    def client_certificate(self) -> bytes | None:
        """The client's TLS certificate where the server shows it."""
        return None


class Response:
    """A status, field lines and the content, complete."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers | None = None, body: bytes = b"") -> None:
        self.status = status
        self.headers: Headers = [] if headers is None else headers
        self.body = body

    def __repr__(self) -> str:
        return f"Response({self.status}, {self.headers!r}, {self.body!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Response):
            return NotImplemented
        return (self.status, self.headers, self.body) == (other.status, other.headers, other.body)

    __hash__ = None  # type: ignore[assignment]


def problem(rule: str, title: str, status: int, detail: str, headers: Headers | None = None, **more: Any) -> Response:
    """An RFC 9457 problem document whose type ends in the rule's id."""
    document = {"type": DOCUMENTATION + rule, "title": title, "status": status, "detail": detail, "rule": rule, **more}
    body = json.dumps(document, separators=(",", ":")).encode("utf-8")
    fields: Headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    return Response(status, fields + (headers or []), body)
