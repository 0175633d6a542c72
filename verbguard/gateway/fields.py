"""The fields of a message on its way through a gateway: what stays with one connection, and what each side has to be told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from urllib.parse import urlsplit

from verbguard.http import HOP_BY_HOP, Headers, header
from verbguard.rules.methods import OVERRIDE_FIELDS

__all__ = ["Origin", "answered", "authority", "forwarded", "origin_of"]


def _underscored(names: Iterable[bytes]) -> frozenset[bytes]:
    """The other spellings that CGI and WSGI take for these names: in their environment `-` and `_` are one."""
    found = set()
    for name in names:
        first, *parts = name.split(b"-")
        for marks in product((b"-", b"_"), repeat=len(parts)):
            found.add(first + b"".join(mark + part for mark, part in zip(marks, parts, strict=True)))
    return frozenset(name for name in found if b"_" in name)


_FORWARDED = frozenset([b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"])
# Spellings of the same that some services believe: nobody writes them here, so a stranger's are dropped. Some name the client,
# and two the target: IIS and PHP's frameworks serve the path that they say instead of the one in the request line.
_CLAIMED = _FORWARDED | {
    *(b"x-real-ip", b"x-client-ip", b"true-client-ip", b"x-cluster-client-ip"),
    *(b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-scheme", b"x-forwarded-ssl", b"x-forwarded-server"),
    *(b"x-original-url", b"x-rewrite-url"),
}
# What a gateway writes itself, or answers for, beside the fields of the connection. `Proxy` is no field: CGI makes
# HTTP_PROXY of it, by which many libraries choose the proxy of their own requests (CVE-2016-5385).
_OWN_REQUEST = HOP_BY_HOP | {b"host", b"proxy-authorization", b"proxy"}
# Nobody spells these so who means no harm, and the service would read them as what was judged or dropped here.
_OWN_REQUEST |= _underscored(
    {*_OWN_REQUEST, *_CLAIMED, *OVERRIDE_FIELDS, b"content-length", b"content-type", b"idempotency-key"}
)
_OF_STRANGERS = _OWN_REQUEST | _CLAIMED  # all that is dropped where nobody in front is trusted
# A field of the message that a connection option must not take away.
_KEPT = frozenset([b"content-length", b"content-type", b"host", b"via", *_FORWARDED])

_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

PSEUDONYM = b"verbguard"  # in Via: a name instead of a host that nobody outside has to know (RFC 9110 7.6.3)

Origin = tuple[str, str, int]  # scheme, host and port, as RFC 6454 compares them

_PORTS = {"http": 80, "https": 443}


class _Lower(dict[bytes, bytes]):
    """A field's name as it came -> in lower case, as ASGI wants it."""

    def __missing__(self, name: bytes) -> bytes:
        found = name.lower()
        if len(self) < 2_000:  # a service may make names up
            self[name] = found
        return found


_LOWER = _Lower()


def _options(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """The fields that Connection names: they concern one connection only (RFC 9110 7.6.1)."""
    lines = [value for name, value in headers if name == b"connection"]
    if not lines:
        return frozenset()
    return frozenset(option.strip().lower() for option in b",".join(lines).split(b",")) - _KEPT


def forwarded(headers: Headers, *, version: str, host: bytes | None, client: str, scheme: str, trusted: bool) -> Headers:
    """The fields of a request as the upstream gets them, without Host.

    `version`, `host`, `client` and `scheme` are the message's as it came; what an earlier hop said of them is kept where it is
    `trusted`, and replaced otherwise: anybody can write it.
    """
    dropped = _OWN_REQUEST if trusted else _OF_STRANGERS
    if options := _options(headers):
        dropped = dropped | options
    chunked = any(name == b"transfer-encoding" for name, _ in headers)
    if chunked:
        dropped = dropped | {b"content-length"}  # one framing field; the other is the client's mistake
    found = [pair for pair in headers if pair[0] not in dropped]
    if version[:1] != "1":
        found = _whole_cookie(found)
    via = b"%b %b" % (version.encode("ascii", "replace"), PSEUDONYM)
    _append(found, b"via", via)
    name = _node(client)
    if name:
        _append(found, b"x-forwarded-for", client.encode("latin-1", "replace"))
    told = [b"for=" + (name or b"unknown")]
    if host and _quotable(host):
        told.append(b'host="%b"' % host)
        if header(found, b"x-forwarded-host") is None:
            found.append((b"x-forwarded-host", host))
    proto = scheme.encode("ascii", "replace")
    told.append(b"proto=" + proto)
    if header(found, b"x-forwarded-proto") is None:
        found.append((b"x-forwarded-proto", proto))
    _append(found, b"forwarded", b";".join(told))
    return found


def _whole_cookie(headers: Headers) -> Headers:
    """HTTP/2 may cut Cookie into crumbs, which HTTP/1.1 must not see (RFC 9113 8.2.3)."""
    crumbs = [value for name, value in headers if name == b"cookie"]
    if len(crumbs) < 2:
        return headers
    first = next(place for place, pair in enumerate(headers) if pair[0] == b"cookie")
    whole = [pair for pair in headers if pair[0] != b"cookie"]
    whole.insert(first, (b"cookie", b"; ".join(crumbs)))
    return whole


def _quotable(value: bytes) -> bool:
    return not any(char in value for char in b'"\\,; \t')


def _node(client: str) -> bytes:
    """How Forwarded spells an address (RFC 7239 section 6); empty where there is none."""
    if not client or not _quotable(client.encode("latin-1", "replace")):
        return b""
    plain = client.encode("latin-1", "replace")
    return b'"[%b]"' % plain if b":" in plain else plain


def _append(headers: Headers, name: bytes, value: bytes) -> None:
    """Add a member to a list field: in its last line, so that the order stays what it was."""
    for place in range(len(headers) - 1, -1, -1):
        if headers[place][0] == name:
            headers[place] = name, headers[place][1] + b", " + value
            return
    headers.append((name, value))


def answered(status: int, headers: Iterable[tuple[bytes, bytes]], method: str = "GET", http1: bool = True) -> Headers:
    """The fields of an answer as the client's connection may have them: names in lower case, in their order."""
    plain = [(_LOWER[name], value) for name, value in headers]
    if _CONTROLS.search(b"".join([value for _, value in plain])):
        # "replace each of those characters with SP", RFC 9110 5.5; servers fail on some of them, and the answer would be lost
        plain = [(name, _CONTROLS.sub(b" ", value).strip(b" \t")) for name, value in plain]
    dropped = HOP_BY_HOP
    if options := _options(plain):
        dropped = dropped | options
    if status == 426 and http1 and any(name == b"upgrade" for name, _ in plain):
        # "A server that sends a 426 MUST send an Upgrade header field", and with it its connection option (RFC 9110 7.8)
        plain = [pair for pair in plain if pair[0] != b"connection"] + [(b"connection", b"upgrade")]
        dropped = dropped - {b"upgrade", b"connection"}
    if status < 200 or status == 204 or any(name == b"transfer-encoding" for name, _ in plain):
        dropped = dropped | {b"content-length"}  # RFC 9110 8.6, RFC 9112 6.3
    elif status == 304 and method not in ("GET", "HEAD"):
        dropped = dropped | {b"content-length"}  # it tells the length of a 200 to GET, and this is none
    return [pair for pair in plain if pair[0] not in dropped]


def origin_of(url: str) -> Origin | None:
    """The origin of an absolute http or https URL; None for anything else."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        return None
    if scheme not in _PORTS or not host:
        return None
    return scheme, host.lower(), port or _PORTS[scheme]


def authority(url: str) -> bytes:
    """What stands between the slashes and the path of a URL, without user information."""
    return urlsplit(url).netloc.rpartition("@")[2].encode("ascii")
