"""How far a write reaches: the states that a request may change, and those that its answer names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urljoin, urlsplit

from verbguard.http import Request
from verbguard.records import Touch, lineage
from verbguard.resources import Plan
from verbguard.webdav import resource_tags

__all__ = ["path_named", "touch_of"]


def touch_of(request: Request, plan: Plan, marks: Mapping[bytes, bytes]) -> Touch:
    """Which states this request may change, beside those that its answer names."""
    path = request.prefix + request.path
    target, above = lineage(path)
    ages = (*above, target) if plan.climbs else (target,)
    sweeps: tuple[str, ...] = (target,) if plan.sweeps else ()
    if plan.scatters and len(above) > 1:
        sweeps += (above[-1],)  # what an unknown route below a collection does, it may do to the members
    if plan.roams:
        sweeps += _EVERYWHERE
    if ":" in path or b"destination" in marks or b"if" in marks:
        for named in _also(path, marks):
            here, higher = lineage(named)
            ages = tuple(dict.fromkeys((*ages, *higher, here)))
            sweeps = tuple(dict.fromkeys((*sweeps, here)))
    return Touch(target, above, ages, sweeps)


_EVERYWHERE = ("",)  # below the root


def _also(path: str, marks: Mapping[bytes, bytes]) -> Iterator[str]:
    """Whose custom method this is (/items/1:publish changes /items/1), where COPY and MOVE write, and what `If` names."""
    parent, _, last = path.rpartition("/")
    if ":" in last:
        yield parent + "/" + last.partition(":")[0]
    destination = marks.get(b"destination")
    if destination is not None:  # two of them, or one that servers read in their own way, may be anywhere
        odd = b" " in destination or b"#" in destination
        yield (not odd and path_named(destination)) or "/"
    conditions = marks.get(b"if", b"")
    for start, end in resource_tags(conditions) or ():
        yield path_named(conditions[start:end]) or "/"


_PLAIN_PATH = re.compile(rb"/(?!/)[A-Za-z0-9\-._~!$&'()*+,;=:@/]*")


def path_named(reference: bytes, request: Request | None = None) -> str | None:
    """The decoded path that a URI reference names, or None; a relative one needs the request."""
    if _PLAIN_PATH.fullmatch(reference):
        return reference.decode("ascii")
    try:
        text = _text(reference)
        path = unquote(urlsplit(urljoin(request.prefix + request.path, text) if request is not None else text).path)
    except ValueError:
        return None
    return path if path.startswith("/") else None


def _text(reference: bytes) -> str:
    """Some clients send a name in UTF-8 as it is, without escapes."""
    try:
        return reference.decode("utf-8")
    except UnicodeDecodeError:
        return reference.decode("latin-1")
