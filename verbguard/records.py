"""What a replay store is asked and what it says: claims, outcomes, and the record of an answer as bytes."""

from __future__ import annotations

import re
from decimal import Decimal
from enum import IntEnum
from struct import Struct

from verbguard.http import Headers, Response

__all__ = [
    "Busy",
    "Claim",
    "Clash",
    "Done",
    "Outcome",
    "Record",
    "State",
    "Touch",
    "Unknown",
    "Won",
    "canonical",
    "lineage",
    "whole",
]


class Touch:
    """Which states an unsafe request may change, as the paths that it names.

    Paths are canonical: two spellings of one resource must never get two generations, while two resources may share one
    at the price of a replay. `target` is the path of the request and `above` are its ancestors, the root (empty) first.
    `marks` are all paths whose own state ages, ancestors included; below each of `sweeps` everything ages too. `named` is
    what the answer says that it changed, known at the end only. `run` is for a store to note what it calls the request.
    """

    __slots__ = ("above", "marks", "named", "run", "sweeps", "target")

    def __init__(self, target: str, above: tuple[str, ...], marks: tuple[str, ...], sweeps: tuple[str, ...] = ()) -> None:
        self.target = target
        self.above = above
        self.marks = marks
        self.sweeps = sweeps
        self.named: list[tuple[str, ...]] | None = None
        self.run = 0

    def name(self, path: str, depth: int = 0) -> None:
        """The answer names another resource that this request changed; above `depth` segments nobody asks for a state."""
        here, above = lineage(path)
        chain = (*above[depth:], here)
        if self.named is None:
            self.named = [chain]
        else:
            self.named.append(chain)


# parent -> how a child's canonical path begins, and the child's ancestors
_LINEAGES: dict[str, tuple[str, tuple[str, ...]]] = {"": ("/", ("",))}


_LONGEST, _DEEPEST = 2_048, 32  # characters and segments of a path that are told apart; longer ones share a generation
_USUAL = 128  # characters of what is remembered


def lineage(path: str) -> tuple[str, tuple[str, ...]]:
    """(the canonical path, its ancestors from the root down): `/items/07` is `/items/7` below `("", "/items")`."""
    parent, _, last = path.rpartition("/")
    begins, above = _LINEAGES.get(parent) or _parent(parent)
    if last.isdecimal() and last[0] != "0" and len(last) < 100 and last.isascii():
        return begins + last, above
    if last in ("", ".", ".."):
        here, higher = _lineage_of(parent)
        return (higher[-1], higher[:-1]) if last == ".." and higher else (here, higher)
    return begins + (_SEGMENTS.get(last) or _segment(last)), above


def _parent(path: str) -> tuple[str, tuple[str, ...]]:
    here, above = _lineage_of(path)
    found = here + "/", (*above, here)
    if len(path) <= _USUAL:  # parents repeat; a stream of ever new or long ones must not fill memory
        if len(_LINEAGES) > 2_048:
            _LINEAGES.clear()
        _LINEAGES[path] = found
    return found


def _lineage_of(path: str) -> tuple[str, tuple[str, ...]]:
    here, above = "", ()  # type: tuple[str, tuple[str, ...]]
    for segment in path[:_LONGEST].split("/")[:_DEEPEST]:
        if segment == "..":
            here, above = (above[-1], above[:-1]) if above else (here, above)
        elif segment not in ("", "."):
            here, above = f"{here}/{_segment(segment)}", (*above, here)
    return here, above


_SEGMENTS: dict[str, str] = {}  # the literals of an app's templates come again and again


def _segment(segment: str) -> str:
    found = canonical(segment[:_LONGEST])
    if len(segment) <= _USUAL:
        if len(_SEGMENTS) > 2_048:
            _SEGMENTS.clear()
        _SEGMENTS[segment] = found
    return found


def whole(path: str) -> Touch:
    """The touch of a request of which nothing is known but its path: it ages its target, all above and all below."""
    here, above = lineage(path)
    return Touch(here, above, (*above, here), (here,))


_TRUTHS = dict.fromkeys(("true", "yes", "on", "t", "y"), "1") | dict.fromkeys(("false", "no", "off", "f", "n"), "0")
_UUID = re.compile(r"(?:urn:uuid:)?\{?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})\}?")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[t ].*)?")


def canonical(segment: str) -> str:
    """One spelling for the spellings that converters take for one value: `07`, `+7` and `7.0` are 7, a UUID has no dashes."""
    folded = segment.strip().casefold()
    if folded.isascii() and folded.isalpha():
        return _TRUTHS.get(folded, folded)
    if (uuid := _UUID.fullmatch(folded)) is not None:
        digits = "".join(uuid.groups())
        return (digits.lstrip("0") or "0") if digits.isdecimal() else digits  # it may be meant as a number just as well
    if (date := _DATE.fullmatch(folded)) is not None:
        return date[1].replace("-", "")
    try:
        number = Decimal(folded)
        if number.is_finite() and number == number.to_integral_value() and abs(number.adjusted()) < 100:
            return str(int(number))
        return str(number.normalize())
    except ArithmeticError:
        return "".join(filter(str.isalnum, folded)).lstrip("0") or folded


class Claim:
    """The question put to a store before a request runs.

    `ident` names the record, `fingerprint` the request. `rerun` says whether a run whose outcome nobody knows may be
    repeated. Times are seconds; `keep` counts from completion. `ended` is for the store to note that the touch is over,
    `lost` for whoever hears that the lease is another's. Whose it is, `principal`, `key`, `method` and `path`, is told to
    people only.
    """

    __slots__ = (
        "ended",
        "fingerprint",
        "ident",
        "keep",
        "key",
        "keyless",
        "lease",
        "lost",
        "method",
        "path",
        "principal",
        "rerun",
        "touch",
    )

    def __init__(
        self,
        ident: bytes,
        fingerprint: bytes,
        touch: Touch | None = None,
        keyless: bool = False,
        rerun: bool = False,
        lease: float = 10.0,
        keep: float = 86_400.0,
        principal: bytes = b"",
        key: bytes = b"",
        method: str = "",
        path: str = "",
    ) -> None:
        self.ident = ident
        self.fingerprint = fingerprint
        self.touch = touch
        self.keyless = keyless
        self.rerun = rerun
        self.lease = lease
        self.keep = keep
        self.principal = principal
        self.key = key
        self.method = method
        self.path = path
        self.ended = False
        self.lost = False


class Won:
    """The claim is ours until the lease runs out. `token` fences: it only grows, and a store refuses an older one."""

    __slots__ = ("token",)

    def __init__(self, token: int) -> None:
        self.token = token


class Done:
    """The request has run; here is what is kept of its answer."""

    __slots__ = ("record",)

    def __init__(self, record: Record) -> None:
        self.record = record


class Busy:
    """The same request is running; its lease has `left` seconds."""

    __slots__ = ("left",)

    def __init__(self, left: float) -> None:
        self.left = left


class Clash:
    """The key belongs to another request."""

    __slots__ = ()


class Unknown:
    """The request ran, or part of it, and nobody knows with what outcome."""

    __slots__ = ()


Outcome = Won | Done | Busy | Clash | Unknown


class State(IntEnum):
    """How much of an answer is kept."""

    WHOLE = 1
    TOO_LARGE = 2  # only the status and Location: the content exceeded the bound or was a stream
    BROKEN = 3  # the answer ended before it was complete
    SEALED = 4  # nobody here has the key that opens it


_STATES = {state.value: state for state in State}

_HEAD = Struct("<BBHI")  # version, state, status, length of the field lines
_VERSION = 1


class _Labels(dict[bytes, bytes]):
    """Field name -> how its line begins."""

    def __missing__(self, name: bytes) -> bytes:
        if b":" in name or b"\n" in name:
            raise ValueError("the name of a field holds a colon or a line feed")
        label = name + b":"
        if len(self) < 2_000:  # an app may make names up
            self[name] = label
        return label


_LABELS = _Labels()


class Record:
    """A stored answer. Field lines are ordered pairs, repeated ones kept; the layout carries a version for rolling deploys."""

    __slots__ = ("_fields", "body", "state", "status")

    def __init__(self, status: int, headers: Headers | bytes, body: bytes = b"", state: State = State.WHOLE) -> None:
        """`headers` are pairs, or their lines as `pack` frames them."""
        self.status = status
        self._fields = headers
        self.body = body
        self.state = state

    @property
    def headers(self) -> Headers:
        """The field lines as pairs."""
        if type(self._fields) is bytes:
            lines = self._fields.split(b"\n") if self._fields else []
            self._fields = [(name, value) for name, _, value in [line.partition(b":") for line in lines]]
        return self._fields  # type: ignore[return-value]

    def pack(self, prefix: bytes = b"") -> bytes:
        """The record as bytes, behind a store's own prefix.

        Raises ValueError for field lines that cannot be framed; such an answer must not be stored.
        """
        fields = self._fields
        if isinstance(fields, bytes):
            lines = fields
        else:
            lines = b"\n".join([_LABELS[name] + value for name, value in fields])
            if lines.count(b"\n") >= (len(fields) or 1):
                raise ValueError("a field line holds a line feed")
        return b"".join((prefix, _HEAD.pack(_VERSION, self.state, self.status, len(lines)), lines, self.body))

    @classmethod
    def unpack(cls, data: bytes, start: int = 0) -> Record:
        """The record that `pack` made, read from `start`. Raises ValueError for anything else."""
        if len(data) < start + _HEAD.size:
            raise ValueError("a record is longer than this")
        version, state, status, length = _HEAD.unpack_from(data, start)
        body = start + _HEAD.size + length
        if version != _VERSION or len(data) < body or state not in _STATES:
            raise ValueError(f"not a record of version {_VERSION}")
        lines = data[start + _HEAD.size : body].split(b"\n") if length else []
        headers = [(name, value) for name, colon, value in [line.partition(b":") for line in lines] if colon]
        if len(headers) != len(lines):
            raise ValueError("a field line without a colon")
        return cls(status, headers, data[body:], _STATES[state])

    def response(self) -> Response:
        """The kept answer as a response."""
        return Response(self.status, self.headers, self.body)
