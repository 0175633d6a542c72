"""How far a write reaches: the states that a request may change, and those that its answer names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urljoin, urlsplit

from verbguard.http import Request
from verbguard.records import Touch, lineage
from verbguard.resources import Plan

__all__ = ["path_named", "touch_of"]


def touch_of(request: Request, plan: Plan, marks: Mapping[bytes, bytes]) -> Touch:
    """Which states this request may change, beside those that its answer names."""
    path = request.prefix + request.path
    target, above = lineage(path)
    ages = (*above, target) if plan.climbs else (target,)
    sweeps: tuple[str, ...] = (target,) if plan.sweeps else ()
    if plan.scatters and len(above) > 1:
        sweeps += (above[-1],)  # what an unknown route below a collection does, it may do to the members
    if ":" in path or b"destination" in marks:
        for named in _also(path, marks.get(b"destination")):
            here, higher = lineage(named)
            ages = tuple(dict.fromkeys((*ages, *higher, here)))
            sweeps = tuple(dict.fromkeys((*sweeps, here)))
    return Touch(target, above, ages, sweeps)


def _also(path: str, destination: bytes | None) -> Iterator[str]:
    """The item whose custom method this is (/items/1:publish changes /items/1), and where COPY and MOVE write."""
    parent, _, last = path.rpartition("/")
    if ":" in last:
        yield parent + "/" + last.partition(":")[0]
    named = path_named(destination) if destination is not None else None
    if named is not None:
        yield named


_PLAIN_PATH = re.compile(rb"/(?!/)[A-Za-z0-9\-._~!$&'()*+,;=:@/]*")


def path_named(reference: bytes, request: Request | None = None) -> str | None:
    """The decoded path that a URI reference names, or None; a relative one needs the request."""
    if _PLAIN_PATH.fullmatch(reference):
        return reference.decode("ascii")
    try:
        text = reference.decode("latin-1")
        path = unquote(urlsplit(urljoin(request.prefix + request.path, text) if request is not None else text).path)
    except ValueError:
        return None
    return path if path.startswith("/") else None
