"""What a team promises for one route, as frozen values that cannot be wrong and alive."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import FunctionType
from typing import Any, Literal, TypeVar, cast

from verbguard.errors import ConfigError, nearest
from verbguard.house import PresetWord, house_table
from verbguard.methods import EXTENSIONS, METHODS, ExtensionWord
from verbguard.routes import Kind

__all__ = ["Action", "Policy", "Profile", "Replay", "action", "collection", "guarded", "item", "policy_of", "singleton"]

KindWord = Literal["collection", "item", "singleton", "store", "action", "unknown"]
ActionWord = Literal["off", "observe", "repair", "reject", "replace"]

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Word = TypeVar("Word", bound=StrEnum)


class Action(StrEnum):
    """What is done when a rule speaks."""

    OFF = "off"
    OBSERVE = "observe"  # a finding, nothing changes
    REPAIR = "repair"  # the message is mended
    REJECT = "reject"  # the request is refused before the app runs
    REPLACE = "replace"  # the response is replaced


class Profile(StrEnum):
    """Which actions apply: look only; refuse and repair but never destroy a success; or fail loudly in tests."""

    OBSERVE = "observe"
    GUARD = "guard"
    STRICT = "strict"


def word(kind: type[Word], value: Any, name: str) -> Word:
    """The member of an enumeration that `value` spells, or a ConfigError that names the nearest one."""
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"{name} = {value!r}: {nearest(str(value), [member.value for member in kind])}") from None


def build(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """`kind(**values)`, with a ConfigError that names `where` and the nearest field for anything wrong."""
    known = [each.name for each in fields(kind)]
    for name in values:
        if name not in known:
            raise ConfigError(f"{where}: there is no field {name!r}: {nearest(name, known)}")
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """How repeated requests are answered. Times are seconds, sizes bytes.

    Raises ConfigError for a value that cannot work.
    """

    keyed: bool = True  # honour Idempotency-Key on POST, PATCH, PUT and DELETE
    keyless: bool | None = None  # PUT without a key; None: on for ITEM, SINGLETON and STORE, as their meaning is known
    required: bool = False  # refuse any write without a key (400): only where every client was told to send one
    window: float = 30.0  # how long a keyless answer is replayed: longer than quick retries, short for a state
    keep: float = 86_400.0  # how long a keyed answer is replayed: a day covers a client's retries overnight
    lease: float = 10.0  # how long a claim outlives its last renewal: a crashed process frees the key this soon
    wait: float | None = None  # how long a keyed twin waits for the running one; None: 409 at once, keyless: 5 s
    on_error: Literal["keep", "release"] | None = None  # fate of a 5xx; None: kept for POST and PATCH, released for others
    after_crash: Literal["unknown", "rerun"] = "unknown"  # POST and PATCH whose outcome nobody knows: 409, or run again
    on_unknown: Callable[[Any], Any] | None = None  # asked about such a run: None, "rerun", or (status, headers, body)
    max_request: int = 1 << 20  # request content above this goes to a file while it is fingerprinted
    max_response: int = 1 << 20  # answers above this are not kept, only that they happened
    authorize: Callable[[Any], Any] | None = None  # asked before each replay: a replay skips the handler's own checks
    fingerprint: Literal["bytes", "json"] = "bytes"  # json: members in another order are the same request
    verify: Literal["etag"] | None = None  # etag: a keyless answer is replayed only while the target's ETag is still the same
    release: Collection[int] = frozenset()  # further statuses after which the same key may run again

    def __post_init__(self) -> None:
        for name in ("keyed", "keyless", "required"):
            value = getattr(self, name)
            if not isinstance(value, bool) and not (value is None and name == "keyless"):
                raise ConfigError(f"replay.{name} = {value!r}: True or False")
        for name in ("window", "keep", "lease"):
            value = getattr(self, name)
            if not _seconds(value) or value == 0:
                raise ConfigError(f"replay.{name} = {value!r}: seconds, more than zero")
            object.__setattr__(self, name, float(value))
        if self.window > self.keep:
            raise ConfigError(f"replay.window ({self.window} s) is longer than replay.keep ({self.keep} s)")
        if self.wait is not None:
            if not _seconds(self.wait):
                raise ConfigError(f"replay.wait = {self.wait!r}: seconds, or None for the default")
            object.__setattr__(self, "wait", float(self.wait))
        for name in ("max_request", "max_response"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ConfigError(f"replay.{name} = {value!r}: a number of bytes")
        for name, words in (
            ("on_error", ("keep", "release", None)),
            ("after_crash", ("unknown", "rerun")),
            ("fingerprint", ("bytes", "json")),
            ("verify", ("etag", None)),
        ):
            if getattr(self, name) not in words:
                known = [each for each in words if each]
                raise ConfigError(f"replay.{name} = {getattr(self, name)!r}: {nearest(str(getattr(self, name)), known)}")
        for name in ("authorize", "on_unknown"):
            hook = getattr(self, name)
            if hook is not None and not callable(hook):
                raise ConfigError(f"replay.{name} = {hook!r}: a callable that takes the request")
        if self.required and not self.keyed:
            raise ConfigError("replay.required needs replay.keyed")
        if self.verify and self.keyless is False:
            raise ConfigError("replay.verify is about answers that are kept without a key: leave out keyless=False")
        object.__setattr__(self, "release", _statuses(self.release, "replay.release"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one route template promises. Every field left alone keeps what the guard infers."""

    kind: Kind | KindWord | None = None  # None: inferred from the route table
    put: Literal["refuse", "allow"] = "refuse"  # allow: PUT really replaces this whole collection
    methods: Collection[str] = frozenset()  # methods that this route takes although the router does not show them
    extension: ExtensionWord | None = None  # a kind of server whose methods all pass, such as "webdav"; None: the default's
    # the house table: a preset's name, or method -> its only 2xx and 3xx, and its only 4xx where it names one
    statuses: PresetWord | Mapping[str, Collection[int | str] | str] = field(default_factory=dict)
    replay: Replay | None = field(default_factory=Replay)  # None: the app handles Idempotency-Key itself
    location: str | None = None  # template of what POST creates, filled from the JSON answer
    accept_patch: Sequence[str] = ()  # media types of PATCH (RFC 5789 section 3.1), told in OPTIONS
    accepts: Mapping[str, Sequence[str]] = field(default_factory=dict)  # method -> media types of its content; others are 415
    codings: Sequence[str] | None = None  # content codings that requests may use; None: nothing is known
    identity: str | None = None  # member of a PUT's JSON that must be what the URL says, such as "id"
    require_precondition: bool = False  # refuse PUT, PATCH and DELETE without If-Match or the like (428)
    validator: Callable[[Any], Any] | None = None  # request -> the target's current ETag, a datetime, both, or None
    preconditions: Literal["derive"] | None = None  # derive: ETags and If-Match for an app that has none, by an internal GET
    challenge: str | None = None  # WWW-Authenticate of a 401 that has none
    upgrade: str | None = None  # Upgrade of a 426 that has none
    retry_after: int | None = None  # seconds: Retry-After of a 429 or 503 that has none
    rules: Mapping[str, Action | ActionWord] = field(default_factory=dict)  # rule id -> action, instead of the profile's

    def __post_init__(self) -> None:
        put = object.__setattr__
        if self.kind is not None:
            put(self, "kind", word(Kind, self.kind, "kind"))
        if self.put not in ("refuse", "allow"):
            raise ConfigError(f"put = {self.put!r}: {nearest(str(self.put), ['refuse', 'allow'])}")
        put(self, "methods", frozenset(_texts(self.methods, "methods")))
        put(self, "accept_patch", tuple(_texts(self.accept_patch, "accept_patch")))
        for field_name in ("rules", "accepts"):
            if not isinstance(getattr(self, field_name), Mapping):
                raise ConfigError(f"{field_name} = {getattr(self, field_name)!r}: a mapping")
        if self.extension is not None and self.extension not in list(EXTENSIONS):
            raise ConfigError(f"extension = {self.extension!r}: {nearest(str(self.extension), EXTENSIONS)}")
        put(self, "statuses", house_table(self.statuses, self.named))
        self._check_content()
        put(self, "rules", {rule: word(Action, value, f"rules.{rule}") for rule, value in self.rules.items()})
        if isinstance(self.replay, Mapping):
            put(self, "replay", build(Replay, self.replay, "replay"))
        elif self.replay is not None and not isinstance(self.replay, Replay):
            raise ConfigError(f"replay = {self.replay!r}: a Replay, or None where the app handles Idempotency-Key itself")
        if self.location is not None and not (isinstance(self.location, str) and self.location.startswith("/")):
            raise ConfigError(f"location = {self.location!r}: a path template such as '/customers/{{id}}'")

    @property
    def house(self) -> Mapping[str, frozenset[int]]:
        """`statuses` as it is kept: method -> the codes that its row names, with presets and wildcards filled in."""
        return cast("Mapping[str, frozenset[int]]", self.statuses)

    @property
    def named(self) -> frozenset[str]:
        """Every method that the policy speaks of, beside HTTP's own: none of them is refused."""
        methods = cast("frozenset[str]", self.methods)
        return methods if self.extension is None else methods | EXTENSIONS[self.extension].methods

    @property
    def shown(self) -> frozenset[str]:
        """What the policy adds to Allow: where `methods` names some of the extension's methods, those; else its usual ones."""
        methods = cast("frozenset[str]", self.methods)
        if self.extension is None or methods & EXTENSIONS[self.extension].methods:
            return methods
        return methods | EXTENSIONS[self.extension].usual

    def _check_content(self) -> None:
        put = object.__setattr__
        put(self, "accepts", {method: tuple(_texts(types, f"accepts.{method}")) for method, types in self.accepts.items()})
        for method in self.accepts:
            if method not in METHODS and method not in self.named:
                raise ConfigError(f"accepts.{method}: {nearest(method, METHODS)}")
        if self.codings is not None:
            put(self, "codings", tuple(_texts(self.codings, "codings")))
        for name in ("identity", "challenge", "upgrade"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value and value.isascii() and value.isprintable()):
                raise ConfigError(f"{name} = {value!r}: a text of printable ASCII")
        if not isinstance(self.require_precondition, bool):
            raise ConfigError(f"require_precondition = {self.require_precondition!r}: True or False")
        if self.validator is not None and not callable(self.validator):
            raise ConfigError(f"validator = {self.validator!r}: a callable that takes the request")
        if self.preconditions not in ("derive", None):
            raise ConfigError(f"preconditions = {self.preconditions!r}: {nearest(str(self.preconditions), ['derive'])}")
        if self.preconditions and self.validator is not None:
            raise ConfigError("validator and preconditions = 'derive' are two ways to know the state: use one")
        seconds = self.retry_after
        if seconds is not None and (not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0):
            raise ConfigError(f"retry_after = {seconds!r}: whole seconds")


def _seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def _texts(values: Any, name: str) -> list[str]:
    if isinstance(values, str) or not isinstance(values, Iterable) or not all(isinstance(each, str) for each in values):
        raise ConfigError(f"{name} = {values!r}: a sequence of texts")
    return list(values)


def _statuses(codes: Any, name: str) -> frozenset[int]:
    try:
        found = frozenset(codes)
    except TypeError:
        raise ConfigError(f"{name} = {codes!r}: a set of status codes such as {{200, 204}}") from None
    for code in found:
        if not isinstance(code, int) or isinstance(code, bool) or not 200 <= code <= 599:
            raise ConfigError(f"{name}: {code!r} is not a final status code (200 to 599)")
    return found


def collection(**promises: Any) -> Policy:
    """A resource with members: POST creates one of them, PUT is refused."""
    return build(Policy, {"kind": Kind.COLLECTION, **promises}, "collection()")  # type: ignore[no-any-return]


def item(**promises: Any) -> Policy:
    """One member of a collection: PUT replaces it, and a repeated PUT is answered from the store."""
    return build(Policy, {"kind": Kind.ITEM, **promises}, "item()")  # type: ignore[no-any-return]


def singleton(**promises: Any) -> Policy:
    """A resource that is one of its kind, such as `/me`."""
    return build(Policy, {"kind": Kind.SINGLETON, **promises}, "singleton()")  # type: ignore[no-any-return]


def action(**promises: Any) -> Policy:
    """Something to do rather than something to store: POST does it, and owes no Location."""
    return build(Policy, {"kind": Kind.ACTION, **promises}, "action()")  # type: ignore[no-any-return]


ATTRIBUTE = "__verbguard__"


def guarded(policy: Policy) -> Callable[[Endpoint], Endpoint]:
    """The decorator spelling of a policy. The endpoint is returned as it is, so the order of decorators does not matter."""
    if not isinstance(policy, Policy):
        raise ConfigError(f"guarded({policy!r}): a Policy, such as item() or action(replay=Replay(required=True))")

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, ATTRIBUTE, policy)
        return endpoint

    return mark


def policy_of(endpoint: Any, method: str = "") -> Policy | None:
    """The policy that `guarded` left on an endpoint, also below partials, wrappers, bound methods and class views.

    A class view may carry one policy as a whole and others on its methods; the method's own comes first.
    """
    for _ in range(32):  # no chain of wrappers is longer; a mock would go on for ever
        if endpoint is None or (type(endpoint) is FunctionType and not endpoint.__dict__):
            break  # a plain function is what most endpoints are, and start-up asks about each of their methods
        if isinstance(endpoint, type) and method and (own := policy_of(getattr(endpoint, method.lower(), None))):
            return own
        found = getattr(endpoint, "__dict__", {}).get(ATTRIBUTE)
        if isinstance(found, Policy):
            return found
        links = (getattr(endpoint, name, None) for name in ("view_class", "__wrapped__", "func", "__func__"))
        endpoint = next((inner for inner in links if inner is not None), None)
    return None
