"""HTTP's methods and status codes: the facts, as tables to read from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["BODILESS", "EXTENSIONS", "METHODS", "REGISTERED", "SAFE", "ExtensionWord", "Method", "allow_value", "may_answer"]


@dataclass(frozen=True, slots=True)
class Method:
    """One method's promises (RFC 9110 section 9.2)."""

    safe: bool
    idempotent: bool
    keyed: bool  # whether an Idempotency-Key on it is honoured: it means nothing where repeating is harmless by definition
    citation: str


METHODS = {
    #                 safe   idempotent  keyed
    "GET": Method(True, True, False, "RFC 9110 9.3.1"),
    "HEAD": Method(True, True, False, "RFC 9110 9.3.2"),
    "POST": Method(False, False, True, "RFC 9110 9.3.3"),
    "PUT": Method(False, True, True, "RFC 9110 9.3.4"),
    "DELETE": Method(False, True, True, "RFC 9110 9.3.5"),
    "CONNECT": Method(False, False, False, "RFC 9110 9.3.6"),
    "OPTIONS": Method(True, True, False, "RFC 9110 9.3.7"),
    "TRACE": Method(True, True, False, "RFC 9110 9.3.8"),
    "PATCH": Method(False, False, True, "RFC 5789 2"),
    "QUERY": Method(True, True, False, "RFC 10008 2"),
}

# WebDAV's methods, by the RFC that defines them.
_WEBDAV = {
    "RFC 4918": "COPY LOCK MKCOL MOVE PROPFIND PROPPATCH UNLOCK",
    "RFC 3253": "BASELINE-CONTROL CHECKIN CHECKOUT LABEL MERGE MKACTIVITY MKWORKSPACE REPORT UNCHECKOUT UPDATE VERSION-CONTROL",
    "RFC 3648": "ORDERPATCH",
    "RFC 3744": "ACL",
    "RFC 4437": "MKREDIRECTREF UPDATEREDIRECTREF",
    "RFC 4791": "MKCALENDAR",
    "RFC 5323": "SEARCH",
    "RFC 5842": "BIND REBIND UNBIND",
}


@dataclass(frozen=True, slots=True)
class Extension:
    """Methods that a kind of server takes beyond HTTP's own."""

    methods: frozenset[str]  # all of them: never refused, whatever else is known of a resource
    usual: frozenset[str]  # those that nearly every such server takes on every resource, so that Allow may name them


ExtensionWord = Literal["webdav"]
EXTENSIONS = {"webdav": Extension(frozenset(" ".join(_WEBDAV.values()).split()), frozenset(_WEBDAV["RFC 4918"].split()))}

# The other tokens of the IANA HTTP Method Registry; they pass where a resource may know them.
EXTENSION = EXTENSIONS["webdav"].methods | {"LINK", "PRI", "UNLINK"}
REGISTERED = EXTENSION | METHODS.keys()
SAFE = frozenset(name for name, method in METHODS.items() if method.safe) | {"PRI", "PROPFIND", "REPORT", "SEARCH"}
# Their content names other resources that they change: REBIND takes the one in it away from where it was (RFC 5842 section 6).
NAMES_IN_CONTENT = frozenset({"REBIND"})

# A response with one of these has no content at all (RFC 9110 sections 15.2, 15.3.5, 15.3.6 and 15.4.5).
BODILESS = frozenset({*range(100, 200), 204, 205, 304})

_ORDER = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# Which status a method may answer with. Y ordinary, c conditional or unusual, N no meaning, i interim only.
_COLUMNS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY")
_TABLE = """
          GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT QUERY
100        i   i    i    i   i     i      i       N     N       i
101        i   i    i    i   i     i      i       i     N       i
102        i   i    i    i   i     i      i       N     N       i
103        i   i    i    i   i     i      i       N     N       i
104        N   N    i    i   i     N      N       N     N       N
200        Y   Y    Y    Y   Y     Y      Y       Y     Y       Y
201        N   N    Y    Y   c     N      N       N     N       N
202        c   c    Y    Y   Y     Y      N       N     N       c
203        N   N    N    N   N     N      N       N     N       N
204        c   c    Y    Y   Y     Y      Y       N     N       c
205        N   N    Y    N   N     N      N       N     N       N
206        c   N    N    N   N     N      N       N     N       c
207        N   N    c    N   c     c      N       N     N       N
208        N   N    N    N   N     N      N       N     N       N
226        N   N    N    N   N     N      N       N     N       N
300        Y   Y    c    c   c     c      c       N     c       c
301        Y   Y    c    c   c     c      c       c     c       c
302        Y   Y    c    c   c     c      c       c     c       c
303        Y   Y    Y    Y   Y     Y      c       c     c       Y
304        Y   Y    N    N   N     N      N       N     N       c
305        N   N    N    N   N     N      N       N     N       N
306        N   N    N    N   N     N      N       N     N       N
307        Y   Y    Y    Y   Y     Y      Y       c     c       Y
308        Y   Y    Y    Y   Y     Y      Y       c     c       Y
406        Y   Y    Y    Y   Y     Y      c       N     N       Y
409        c   c    Y    Y   Y     Y      c       N     N       c
411        c   c    Y    Y   Y     c      c       N     N       Y
412        Y   Y    Y    Y   Y     Y      N       N     N       Y
413        c   c    Y    Y   Y     c      c       c     N       Y
415        N   N    Y    Y   Y     c      c       N     N       Y
416        c   N    N    N   N     N      N       N     N       c
417        c   c    c    c   c     c      c       c     N       c
418        N   N    N    N   N     N      N       N     N       N
422        c   c    Y    Y   Y     c      c       N     N       Y
423        c   c    c    c   c     c      N       N     N       N
424        c   c    c    c   c     c      N       N     N       N
428        c   c    Y    Y   Y     Y      N       N     N       c
501        N   N    Y    Y   Y     Y      Y       Y     Y       Y
507        N   N    c    c   c     N      N       N     N       N
511        N   N    N    N   N     N      N       N     N       N
"""


def _read(table: str) -> dict[str, dict[int, str]]:
    rows = [line.split() for line in table.strip().splitlines()]
    assert tuple(rows[0]) == _COLUMNS
    return {method: {int(row[0]): row[1 + column] for row in rows[1:]} for column, method in enumerate(_COLUMNS)}


_MARKS = _read(_TABLE)


def may_answer(method: str, status: int) -> bool:
    """Whether `status` has a meaning as the final answer to `method` (RFC 9110 sections 9.3 and 15).

    Codes that the table does not list are judged by their class, as RFC 9110 section 15 asks: a 4xx or 5xx applies to any
    method, an unknown 2xx or 3xx is read as x00. A method that the table does not know may answer with anything final.
    """
    if not 200 <= status <= 599:
        return False
    marks = _MARKS.get(method)
    if marks is None:
        return True
    return marks.get(status, "Y") in "Yc"


def allow_value(methods: frozenset[str] | set[str]) -> bytes:
    """The value of an Allow field: the common methods in their usual order, the others by name, OPTIONS last."""
    common = [name for name in _ORDER if name in methods]
    others = sorted(methods.difference(_ORDER, ("OPTIONS",)))
    last = ["OPTIONS"] if "OPTIONS" in methods else []
    return ", ".join(common + others + last).encode("ascii", "replace")
