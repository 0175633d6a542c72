"""The house layer of the status table: what a team lets its methods answer, inside of what HTTP lets them.

The RFC layer is `methods.may_answer`, and nobody changes it. A house table is a row of codes for each method that it speaks
of; three stand here to start from: `rfc`, `zalando` and `strict-rest`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from verbguard.errors import ConfigError, nearest
from verbguard.methods import METHODS, may_answer

__all__ = ["INFRASTRUCTURE", "PRESETS", "PresetWord", "admits", "house_table"]

PresetWord = Literal["rfc", "zalando", "strict-rest"]

# What servers, proxies, authentication and frameworks answer before any handler runs: no house can promise to be without.
INFRASTRUCTURE = frozenset({401, 403, 404, 405, 406, 408, 413, 415, 429, *range(500, 600)})

_ALL = "GET HEAD POST PUT PATCH DELETE"
_WRITES = "POST PUT PATCH DELETE"

# RESTful API guidelines of Zalando, rule 150: the codes that an API should confine itself to, and their methods. A code that
# the guidelines leave out is not admitted. Where their editions differ, or the code is the server's affair more than the
# API's, it is admitted here: a doubt is no finding.
_ZALANDO = [
    # codes                                methods                reason
    ("200", _ALL, "the standard success"),
    ("201", "POST PUT", "an entity was created; PATCH changes what is there"),
    ("202", _WRITES, "accepted, and done later; nothing is put off by reading"),
    ("204", _WRITES, "done, without content; a read has some. POST: editions differ"),
    ("207", "POST DELETE", "the outcomes of a batch"),
    ("206 416", "GET HEAD", "ranges: not spoken of"),
    ("301 307 308", _ALL, "the resource is elsewhere; 307 and 308, which keep the method: editions differ"),
    ("303", _WRITES, "the answer is elsewhere, to be read with GET"),
    ("304", "GET HEAD", "a conditional read found nothing new"),
    ("400", _ALL, "also for content that breaks a rule of the business: 422 is not used"),
    ("409", _WRITES, "a conflict with the state or with another writer"),
    ("410", _ALL, "was there, and is gone on purpose"),
    ("412", "PUT PATCH DELETE", "optimistic locking"),
    ("423", "PUT PATCH DELETE", "pessimistic locking"),
    ("428", _ALL, "a condition is required, against lost updates"),
    ("411 414 417 421 425 426 431 451", _ALL, "the request's form or its way here: not spoken of"),
]

_REQUEST = "400 410 411 412 414 417 421 422 425 426 428 431 451"  # wrong about the request itself, whatever its method

# A textbook's table: each method answers what its definition says, and nothing that needs a footnote.
_STRICT_REST = [
    # codes                                         methods         reason
    ("200 206 301 302 303 304 307 308 416", "GET", "the representation, a part of it, where it is, or that it is unchanged"),
    ("200 301 302 303 304 307 308", "HEAD", "as GET, without content; ranges are not for HEAD"),
    ("200 201 202 204 303 307 308 409", "POST", "done, created, accepted, or see there; a plain 302 leaves the method open"),
    ("200 201 204 307 308 409", "PUT", "replaced or created, now: a PUT that is only accepted has replaced nothing"),
    ("200 202 204 303 307 308 409", "PATCH", "changed; what PATCH would create, PUT creates"),
    ("200 202 204 307 308 409", "DELETE", "done or accepted; nothing is created by deleting"),
    ("200 204", "OPTIONS", "what can be asked here"),
    ("200 303 304 307 308 409", "QUERY", "the result, or where it is"),
    (_REQUEST, f"{_ALL} OPTIONS QUERY", "the request is at fault"),
]


def admits(row: frozenset[int] | None, status: int) -> bool:
    """Whether a row lets a status pass: it names all of its 2xx and 3xx, and all of its 4xx if it names one at all."""
    if row is None or status in row or status in INFRASTRUCTURE or not 200 <= status <= 499:
        return True
    return status >= 400 and row.isdisjoint(range(400, 500))


def house_table(table: Any, methods: Collection[str]) -> dict[str, frozenset[int]]:
    """method -> the codes of its row, from a preset's name or a mapping. Raises ConfigError.

    A mapping may start from a preset: `{"preset": "zalando", "PUT": ["2xx"]}`. Of each class that its row names, the row's
    codes stand in place of the preset's. `methods` are those that the policy adds to HTTP's own.
    """
    if isinstance(table, str):
        return dict(_preset(table, "statuses"))
    if not isinstance(table, Mapping):
        raise ConfigError(f"statuses = {table!r}: a mapping of methods to codes, or one of {', '.join(PRESETS)}")
    found = dict(_preset(table["preset"], "statuses.preset")) if "preset" in table else {}
    for method, codes in table.items():
        if method == "preset":
            continue
        if method not in METHODS and method not in methods:
            raise ConfigError(f"statuses.{method}: {nearest(str(method), [*METHODS, *methods, 'preset'])}")
        row = _row(method, codes)
        classes = {code // 100 for code in row}
        found[method] = row | {code for code in found.get(method, ()) if code // 100 not in classes}
    return found


def _preset(name: Any, where: str) -> Mapping[str, frozenset[int]]:
    if not isinstance(name, str) or name not in PRESETS:
        raise ConfigError(f"{where} = {name!r}: {nearest(str(name), PRESETS)}")
    return PRESETS[name]


def _row(method: str, codes: Any) -> frozenset[int]:
    where = f"statuses.{method}"
    try:
        named = () if isinstance(codes, (str, bytes)) else tuple(codes)
    except TypeError:
        named = ()
    if not named and not (isinstance(codes, Collection) and len(codes) == 0):
        raise ConfigError(f"{where} = {codes!r}: a set of status codes such as {{200, 204}} or {{'2xx', 404}}")
    return frozenset(code for each in named for code in _codes(method, each, where))


def _codes(method: str, named: Any, where: str) -> Collection[int]:
    """The codes that an entry of a row stands for; a wildcard stands for those that mean something to the method."""
    if isinstance(named, str):
        if named.lower() in _CLASSES:
            first = 100 * int(named[0])
            return [code for code in range(first, first + 100) if may_answer(method, code)]
        if not (named.isascii() and named.isdecimal()):
            meant = "" if named.lower().endswith("xx") else named.lower()  # no class is near to another
            raise ConfigError(f"{where}: {named!r} is no status: {nearest(meant, _CLASSES)}")
    elif not isinstance(named, int) or isinstance(named, bool):
        raise ConfigError(f"{where}: {named!r} is not a final status code (200 to 599), nor one of {', '.join(_CLASSES)}")
    code = int(named) if len(str(named)) == 3 else 0
    if not 200 <= code <= 599:
        raise ConfigError(f"{where}: {named!r} is not a final status code (200 to 599), nor one of {', '.join(_CLASSES)}")
    return [code]


_CLASSES = ("2xx", "3xx", "4xx", "5xx")


def _read(rows: list[tuple[str, str, str]]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for codes, methods, _ in rows:
        for method in methods.split():
            found.setdefault(method, set()).update(code for code in map(int, codes.split()) if may_answer(method, code))
    return {method: frozenset(codes) for method, codes in found.items()}


# `rfc` names all that HTTP admits: on a route it is the way out of the project's own table.
PRESETS: Mapping[str, Mapping[str, frozenset[int]]] = {
    "rfc": {method: frozenset(code for code in range(200, 600) if may_answer(method, code)) for method in METHODS},
    "zalando": _read(_ZALANDO),
    "strict-rest": _read(_STRICT_REST),
}
