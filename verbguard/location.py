"""Where a created resource is: derived from what the answer says, or left out on any doubt.

A derived Location is a path-absolute reference. It never comes from the Host header, and nothing of an answer's content
can give it a scheme, an authority or another directory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from verbguard.http import Request, joined, quoted_path
from verbguard.routes import expression, parameters
from verbguard.rules import Answer, Target

__all__ = ["derive", "elsewhere", "safe"]

MAX_BYTES = 64 << 10  # JSON answers above this are not held back to look for an id; a created resource is rarely larger

_REFERENCE = re.compile(r"/(?!/)[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")
_PARAMETER = re.compile(r"\{([^{}:]+)(?::[^{}]*)?\}")


def safe(reference: str) -> bool:
    """Whether this is a path-absolute reference that no client can read as anything else (RFC 3986 section 4.2)."""
    if not _REFERENCE.fullmatch(reference):
        return False
    path = unquote(reference.partition("?")[0])
    if any(ord(character) < 0x20 or character in "\x7f\\" for character in path):
        return False
    return not any(segment in (".", "..") for segment in path.split("/"))


def elsewhere(reference: bytes, request: Request, below: bool = False) -> bool:
    """Whether a URI reference names another path than the request's own, nor, with `below`, one below it.

    False for a reference that nobody can read. Hosts are not compared, nor what stands before the path: behind a proxy an
    application does not know its own.
    """
    own = request.prefix + request.path
    try:
        named = unquote(urlsplit(urljoin(quoted_path(own), reference.decode("latin-1").strip())).path).rstrip("/")
    except ValueError:
        return False
    own = own.rstrip("/")
    same = named.endswith(own) if own else named == own
    return not same and not (below and named.startswith(own + "/"))


def derive(request: Request, response: Answer, target: Target) -> tuple[str | None, str]:
    """(the Location of what a POST created, or None; where it comes from, or why there is none).

    Content-Location first, then the policy's template, the one ITEM below this COLLECTION, and the self links of
    hypermedia. `response.body` is the content where it is JSON, else None.
    """
    doubts: list[str] = []
    for source, reference in _candidates(request, response, target):
        if reference is None:
            doubts.append(f"{source} does not fill it")
        elif not safe(reference):
            doubts.append(f"{source} is not a safe path")
        elif not _found(reference, request, target):
            doubts.append(f"{source} does not lead to a route with GET")
        else:
            return reference, source
    if any(name.lower() == b"content-encoding" for name, _ in response.headers):
        doubts.append("coded content is not read")
    return None, "; ".join(doubts) or "nothing in the answer says where it is"


def _candidates(request: Request, response: Answer, target: Target) -> Iterator[tuple[str, str | None]]:
    """(source, reference with the public prefix) in the order of trust."""
    fields = joined((name.lower(), value) for name, value in response.headers)
    named = fields.get(b"content-location")
    if named is not None:
        yield "Content-Location", _own(named.decode("latin-1"), request)
    document = _document(response.body)
    template = target.policy.location or target.child
    if template is not None:
        source = "the policy's template" if target.policy.location else f"the member template {template}"
        yield source, _filled(template, document, _asked(request, target), request.prefix)
    for source, link in _self_links(document, fields.get(b"link")):
        yield source, _own(link, request)


def _document(body: bytes | None) -> Any:
    if not body or len(body) > MAX_BYTES:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _asked(request: Request, target: Target) -> dict[str, str]:
    """The parameters of the request's own path: a new member belongs to the collection that was asked."""
    match = expression(target.template).fullmatch(request.path)
    return dict(zip(parameters(target.template), match.groups(), strict=True)) if match else {}


def _filled(template: str, document: Any, asked: Mapping[str, str], prefix: str) -> str | None:
    """The template with its parameters from the request's path and the document's members; the last may be called `id`."""
    if not isinstance(document, dict):
        return None
    values: dict[str, Any] = dict(asked)
    names = parameters(template)
    for name in names:
        if name not in asked:
            found = document.get(name)
            if found is None and name == names[-1]:
                found = document.get("id")
            values[name] = found
    segments = {name: _segment(values[name]) for name in names}
    if None in segments.values():
        return None
    return quoted_path(prefix) + _PARAMETER.sub(lambda match: segments[match[1]] or "", template)


def _segment(value: Any) -> str | None:
    """A member's value as one path segment, or None when it cannot be one."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    text = str(value)
    if not text or text in (".", "..") or any(ord(character) < 0x20 or character in "\x7f\\/" for character in text):
        return None
    try:
        return quote(text, safe="-._~!$&'()*+,;=:@")
    except UnicodeEncodeError:
        return None


def _own(reference: str, request: Request) -> str | None:
    """A reference of the application as a path-absolute one on this server, or None when it leads elsewhere."""
    try:
        parts = urlsplit(reference)
    except ValueError:
        return None
    if parts.scheme or parts.netloc:
        host = (request.get(b"host") or b"").decode("latin-1")
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower() or not host:
            return None
    if not parts.path.startswith("/") or any(ord(character) < 0x21 for character in reference):
        return None
    return parts.path + ("?" + parts.query if parts.query else "")


def _self_links(document: Any, link: bytes | None) -> Iterator[tuple[str, str]]:
    """The self links of HAL, of JSON:API and of the Link field (RFC 8288)."""
    if isinstance(document, dict):
        for source, path in (
            ("_links.self.href", ("_links", "self", "href")),
            ("data.links.self", ("data", "links", "self")),
            ("links.self", ("links", "self")),
        ):
            value: Any = document
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            if isinstance(value, dict):
                value = value.get("href")
            if isinstance(value, str):
                yield source, value
    if link is not None:
        for match in re.finditer(r"<([^>]*)>([^,<]*)", link.decode("latin-1")):
            if re.search(r';\s*rel="?(?:[^"]*\s)?self(?:\s[^"]*)?"?(?:;|$|\s)', match[2], re.IGNORECASE):
                yield "Link: rel=self", match[1]


def _found(reference: str, request: Request, target: Target) -> bool:
    """Whether the router finds a GET-able route there that is not the target itself."""
    path = unquote(reference.partition("?")[0])
    prefix = request.prefix.rstrip("/")
    if prefix:
        if not path.startswith(prefix + "/"):
            return False
        path = path[len(prefix) :]
    return path != request.path and (not target.mapped or target.resolves(path))
