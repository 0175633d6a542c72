"""WebDAV's `If`, which puts conditions on resources by their URIs (RFC 4918 section 10.4)."""

from __future__ import annotations

import re

__all__ = ["resource_tags"]

# A list of conditions: (Not <urn:uuid:...> ["a tag"]). Each alternative begins with another byte, so nothing is tried twice.
_LIST = re.compile(rb"""\((?:[^()<>\[\]"]|<[^<>]*>|\[[^\["\]]*"[^"]*"[ \t]*\])*\)""")
_TAG = re.compile(rb"<([^<>]*)>")
_BETWEEN = re.compile(rb"[ \t,]*")  # the comma stands where two field lines were joined


def resource_tags(value: bytes) -> list[tuple[int, int]] | None:
    """Where the URIs of the tagged resources stand in a value of `If`; None where it is none that the RFC knows.

    In `</a> (<urn:uuid:1>) <http://host/b> (["e"])` these are `/a` and `http://host/b`. State tokens are no resources.
    """
    found: list[tuple[int, int]] = []
    at = 0
    while (at := _BETWEEN.match(value, at).end()) < len(value):  # type: ignore[union-attr]  # it matches nothing, too
        if (tag := _TAG.match(value, at)) is not None:
            found.append(tag.span(1))
            at = tag.end()
        elif (conditions := _LIST.match(value, at)) is not None:
            at = conditions.end()
        else:
            return None
    return found
