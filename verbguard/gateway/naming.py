"""One resource, two names: what clients call it, and what the service behind the gateway does."""

from __future__ import annotations

import re
from collections.abc import Container
from urllib.parse import urlsplit

from verbguard.gateway.fields import Origin, authority, origin_of
from verbguard.http import Headers
from verbguard.webdav import resource_tags

__all__ = ["Names"]

_REFERENCES = frozenset([b"location", b"content-location"])
_DAV = frozenset([b"destination", b"if"])
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_SAYING = frozenset([201, 202, 300, 301, 302, 303, 307, 308])


class Names:
    """The origins of both sides. `own` says that the service gets its own Host rather than the client's."""

    def __init__(self, upstream: str, public: str | None, own: bool) -> None:
        self.upstream = origin_of(upstream)
        self.public = "" if public is None else public.rstrip("/")
        self.authority = authority(upstream)
        self.scheme = upstream.partition("://")[0].lower().encode()
        self.own = own

    def host_for(self, host: bytes | None) -> bytes:
        """The Host that the service gets."""
        return self.authority if self.own or host is None else host

    def inward(self, headers: Headers, host: bytes | None, prefix: str = "") -> Headers:
        """The fields of a request as the service understands them. `prefix` is the path below which clients find it.

        A DAV server refuses a Destination on another server (RFC 4918 9.8.4), and compares it with the Host that it gets. What
        names somebody else, or cannot be read, stays as it is: the service answers it.
        """
        if _DAV.isdisjoint(name for name, _ in headers):
            return headers
        seen = self.scheme + b"://" + self.host_for(host)
        here = self._here(host)
        return [(name, _inward(name, value, here, seen, prefix)) for name, value in headers]

    def _here(self, host: bytes | None) -> Container[Origin | None]:
        """What clients call this gateway; where TLS ends before it, they write https of what it sees as http."""
        named = self.public.partition("://")[2], (host or b"").decode("latin-1")
        return {origin_of(f"{scheme}://{name}") for name in named if name for scheme in ("http", "https")} - {None}

    def outward(self, status: int, headers: Headers, host: bytes | None = None, prefix: str = "") -> Headers:
        """The fields of an answer as clients understand them (RFC 9110 10.2.2, 8.7)."""
        if status not in _SAYING:
            return headers
        found = [(name, self.told(value, prefix)) if name in _REFERENCES else (name, value) for name, value in headers]
        if not prefix:
            return found
        return [
            (name, self._mounted(value, host, prefix) if name in _REFERENCES and value == before else value)
            for (name, value), (_, before) in zip(found, headers, strict=True)
        ]

    def _mounted(self, value: bytes, host: bytes | None, prefix: str) -> bytes:
        """A path, or a URL by the client's own Host, of a service that does not know that clients find it below a prefix."""
        if value.startswith(b"/") and not value.startswith((b"//", b"/\\")):
            return prefix.encode("ascii") + value
        rest = _below(value, self._here(host))
        return value if rest is None else value[: len(value) - len(rest)] + (prefix + rest).encode("latin-1")

    def told(self, value: bytes, prefix: str = "") -> bytes:
        """A reference that may name the service, as clients can follow it; any other as it is."""
        whole = self.scheme + b":" + value if value.startswith(b"//") else value
        rest = _below(whole, {self.upstream})
        if rest is None:
            return value
        if not rest.startswith("/"):
            rest = "/" + rest
        rest = prefix + rest
        if not self.public and rest.startswith(("//", "/\\")):
            # A path that begins like an authority would name another host (RFC 3986 4.2); for browsers `\` is a slash.
            rest = "/." + rest
        return (self.public + rest).encode("latin-1")


def _below(value: bytes, origins: Container[Origin | None]) -> str | None:
    """What follows the origin of a URL that has one of these; None for any other reference."""
    url = value.decode("latin-1")
    if _BLANK.search(url):
        return None  # browsers leave some of these out and read another URL
    if origin_of(url) not in origins:
        return None
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        return None
    return url[len(parts.scheme) + 3 + len(parts.netloc) :]


def _inward(name: bytes, value: bytes, here: Container[Origin | None], seen: bytes, prefix: str) -> bytes:
    """The value of Destination, or of If with its tagged resources, by the service's name."""
    if name == b"destination":
        rest = _below(value, here)
        if rest is None or (prefix and rest != prefix and not rest.startswith(prefix + "/")):
            return value  # beside the prefix it is another service's
        return seen + rest.removeprefix(prefix).encode("latin-1")
    if name == b"if":
        for start, end in reversed(resource_tags(value) or ()):
            value = value[:start] + _inward(b"destination", value[start:end], here, seen, prefix) + value[end:]
    return value
