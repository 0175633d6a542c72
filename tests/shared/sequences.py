"""Random sequences of commands to two shared stores at once: a real one, and the model that says what it must do."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from verbguard.records import Busy, Claim, Done, Outcome, Record, Touch, Won, whole
from verbguard.stores import Store

__all__ = ["SELDOM", "SEQUENCES", "Clock", "Pair"]

LEASE, KEEP, WINDOW = 8.0, 64.0, 30.0  # with fractions that are exact, so that milliseconds and floats agree
PATHS = ["/items/1", "/items", "/items/1/parts", "/items/2"]
_paths = st.sampled_from(PATHS[:1] * 3 + PATHS)  # one more than the others, so that steps meet
_number = st.integers(-4, 2)  # the latest ones before all

SEQUENCES = st.lists(
    st.one_of(
        st.tuples(st.just("run"), _paths, st.sampled_from("AB")),
        st.tuples(st.just("put"), _paths, st.sampled_from("AB"), st.sampled_from([WINDOW, 48.0])),
        st.tuples(st.just("key"), st.sampled_from("kl"), st.sampled_from("AB"), st.booleans(), st.none() | _paths),
        st.tuples(st.just("save"), _number, st.none() | _paths),
        st.tuples(st.sampled_from(["release", "renew", "end", "linger"]), _number),
        st.tuples(st.sampled_from(["start", "bump"]), _paths),
        st.tuples(st.just("epoch")),
        st.tuples(
            st.just("wait"), st.sampled_from([0.5, LEASE - 0.5, LEASE, 24.0, WINDOW - 0.5, WINDOW, WINDOW + LEASE, KEEP, 300.0])
        ),
    ),
    min_size=12,  # Hypothesis makes short lists where it may, in which steps do not meet
    max_size=40,
)

_ITEM, _PART, _OTHER = "/items/1", "/items/1/parts", "/items/2"

# What random sequences seldom meet.
SELDOM: dict[str, list[tuple[Any, ...]]] = {
    "a longer life is asked for": [("run", _ITEM, "A"), ("put", _OTHER, "A", 48.0), ("put", _ITEM, "A", WINDOW)],
    "a run as long as the window": [
        ("put", _ITEM, "A", WINDOW),
        ("wait", WINDOW),
        ("save", 0, None),
        ("put", _ITEM, "A", WINDOW),
    ],
    "a released answer ends nothing": [
        ("run", _PART, "A"),
        ("run", _ITEM, "A"),
        ("release", 0),
        ("put", _ITEM, "A", WINDOW),
    ],
    "a renewed run may write longer": [
        ("put", _ITEM, "A", WINDOW),
        ("wait", LEASE - 0.5),
        ("renew", 0),
        ("wait", WINDOW + LEASE - 1.0),
        ("run", _ITEM, "B"),
    ],
    "a run that was silent for long runs on": [
        ("key", "k", "A", False, _ITEM),
        ("wait", WINDOW + LEASE),
        ("wait", 0.5),
        ("bump", _ITEM),
        ("run", _ITEM, "B"),
        ("renew", 0),
        ("put", _ITEM, "B", WINDOW),
        ("run", _ITEM, "A"),
        ("run", _ITEM, "A"),
    ],
    "a run above that was silent for long runs on": [
        ("key", "k", "A", False, "/items"),
        ("wait", WINDOW + LEASE),
        ("wait", 0.5),
        ("run", _ITEM, "B"),
        ("renew", 0),
        ("put", _ITEM, "B", WINDOW),
    ],
    "a run that nobody ended is believed no more": [
        ("start", _ITEM),
        ("wait", 299.5),
        ("run", _ITEM, "A"),
        ("wait", 0.5),
        ("run", _ITEM, "A"),
    ],
}


class Clock:
    """Time that passes when a sequence says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Pair:
    """Takes each step with both stores, and compares what they say."""

    def __init__(self, real: Store, model: Store, clock: Clock) -> None:
        self.stores = (real, model)
        self.clock = clock
        self.claims: list[tuple[tuple[Claim, Claim], tuple[int, int]]] = []  # one of each store
        self.touches: list[tuple[Touch, Touch]] = []

    def do(self, name: str, *arguments: Any) -> None:
        """One step, unless nobody is there to take it."""
        getattr(self, f"_{name}")(*arguments)

    def _both(self, name: str, each: tuple[Any, Any], *arguments: Any) -> None:
        real, model = (getattr(store, name)(mine, *arguments) for store, mine in zip(self.stores, each, strict=True))
        assert real == model, f"{name}: {real}, and the model says {model}"

    def _put(self, path: str, content: str, keep: float) -> None:
        ident = f"{path} {content}".encode()
        self._claim(lambda: Claim(ident, ident, whole(path), True, True, LEASE, keep))

    def _put_in_window(self, path: str, content: str) -> None:
        self._put(path, content, WINDOW)

    def _run(self, path: str, content: str) -> None:
        """A PUT from its claim to its record, and its repetition."""
        before = len(self.claims)
        self._put(path, content, WINDOW)
        if len(self.claims) > before:
            self._over("save", before, Record(200, [], b"%d" % before))
            self._put(path, content, WINDOW)

    def _key(self, key: str, content: str, rerun: bool, path: str | None) -> None:
        def make() -> Claim:
            touch = None if path is None else whole(path)
            return Claim(key.encode(), content.encode(), touch, False, rerun, LEASE, KEEP)

        self._claim(make)

    def _claim(self, make: Any) -> None:
        claims = (make(), make())
        real, model = (store.claim(claim) for store, claim in zip(self.stores, claims, strict=True))
        assert _said(real) == _said(model)
        if isinstance(real, Won) and isinstance(model, Won):
            self.claims.append((claims, (real.token, model.token)))

    def _save(self, number: int, named: str | None) -> None:
        self._over("save", number, Record(200, [], b"%d" % number), named=named)

    def _release(self, number: int) -> None:
        self._over("release", number)

    def _renew(self, number: int) -> None:
        self._over("renew", number)

    def _over(self, name: str, number: int, *more: Any, named: str | None = None) -> None:
        if not self.claims:
            return
        claims, tokens = self.claims[number % len(self.claims)]
        if named is not None:
            for claim in claims:
                if claim.touch is not None:
                    claim.touch.name(named)
        real, model = (
            getattr(store, name)(claim, token, *more) for store, claim, token in zip(self.stores, claims, tokens, strict=True)
        )
        assert real == model, f"{name}: {real}, and the model says {model}"

    def _start(self, path: str) -> None:
        touches = (whole(path), whole(path))
        self._both("start", touches)
        self.touches.append(touches)

    def _end(self, number: int) -> None:
        if self.touches:
            self._both("end", self.touches[number % len(self.touches)])

    def _linger(self, number: int) -> None:
        if self.touches:
            self._both("linger", self.touches[number % len(self.touches)])

    def _bump(self, path: str) -> None:
        self._both("bump", (whole(path), whole(path)))

    def _epoch(self) -> None:
        for store in self.stores:
            store.epoch()

    def _wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def ask_all(self) -> None:
        """What later claims are told, of everything there is."""
        for ask in (self._put_in_window, self._run):
            for path in PATHS:
                for content in "AB":
                    ask(path, content)
        for key in "kl":
            for content in "AB":
                self._key(key, content, False, None)


def _said(outcome: Outcome) -> tuple[Any, ...]:
    if isinstance(outcome, Done):
        return Done, outcome.record.status, outcome.record.body
    if isinstance(outcome, Busy):
        return Busy, outcome.left
    return (Won,) if isinstance(outcome, Won) else (type(outcome),)
