"""One resource, two names: what clients call it, and what the service behind the gateway does."""

from __future__ import annotations

from urllib.parse import urlsplit

from verbguard.gateway.fields import authority, origin_of
from verbguard.http import Headers

__all__ = ["Names"]

_REFERENCES = frozenset([b"location", b"content-location"])
_SAYING = frozenset([201, 202, 300, 301, 302, 303, 307, 308])


class Names:
    """The origins of both sides. `own` says that the service gets its own Host rather than the client's."""

    def __init__(self, upstream: str, public: str | None, own: bool) -> None:
        self.upstream = origin_of(upstream)
        self.public = "" if public is None else public.rstrip("/")
        self.authority = authority(upstream)
        self.own = own

    def host_for(self, host: bytes | None) -> bytes:
        """The Host that the service gets."""
        return self.authority if self.own or host is None else host

    def inward(self, headers: Headers, host: bytes | None) -> Headers:
        """The fields of a request as the service understands them."""
        return headers

    def outward(self, status: int, headers: Headers) -> Headers:
        """The fields of an answer as clients understand them (RFC 9110 10.2.2, 8.7)."""
        if status not in _SAYING:
            return headers
        return [(name, self.told(value)) if name in _REFERENCES else (name, value) for name, value in headers]

    def told(self, value: bytes) -> bytes:
        """A reference that may name the service, as clients can follow it; any other as it is."""
        url = value.decode("latin-1")
        if origin_of(url) != self.upstream:
            return value
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            return value
        rest = url[len(parts.scheme) + 3 + len(parts.netloc) :]
        if not rest.startswith("/"):
            rest = "/" + rest
        if not self.public and rest.startswith("//"):
            rest = "/." + rest  # a path that begins like an authority would name another host (RFC 3986 4.2)
        return (self.public + rest).encode("latin-1")
