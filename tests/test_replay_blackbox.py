"""The replay checks a stranger would make: the forty on which every rival of the field fails somewhere.

They drive `verbguard.guard(app)` from outside only, around the same shop in FastAPI and in Flask, with the memory
store and its defaults. What each answer has to be is decided by the design: a claim before the app runs, at most one
run per key, honest answers where there is nothing to replay. Here are the requests that come twice, together or for
something else; `blackbox/test_*.py` has streams and sizes, keys and fields, PUT without a key, and what goes wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from blackbox.answers import Pending
from blackbox.replays import conflict, once_more
from blackbox.shops import FRAMEWORKS, Shop


@pytest.fixture(params=FRAMEWORKS)
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A guarded shop in FastAPI, then one in Flask."""
    with Shop(request.param) as opened:
        yield opened


# -- (a) the same request twice ---------------------------------------------------------------------------------------

TWICE = [  # name      method    target       body        status
    ("create", "POST", "/items", '{"name": "ink"}', 201),
    ("text", "POST", "/text", "anything", 201),
    ("empty", "POST", "/empty", "", 204),
    ("write", "PUT", "/items/1", "state", 201),
    ("amend", "PATCH", "/items/1", "more", 200),
    ("mirror", "POST", "/mirror", bytes(range(256)) * 3, 200),
]


@pytest.mark.parametrize(("name", "method", "target", "body", "status"), TWICE)
def test_the_same_request_twice_runs_once(shop: Shop, name: str, method: str, target: str, body: Any, status: int) -> None:
    """A retry gets the first answer, byte for byte and field for field, and the handler runs once."""
    first, second = (shop.send(method, target, key="k", body=body) for _ in range(2))
    assert first.status == status
    once_more(first, second)
    assert shop.runs == {name: 1}


def test_a_keyed_delete_is_replayed_not_repeated(shop: Shop) -> None:
    """A retried DELETE gets its 204 again instead of a 404 that would read like a failure."""
    shop.world.items["1"] = b"state"
    answers = [shop.send("DELETE", "/items/1", key="k") for _ in range(2)]
    assert [answer.status for answer in answers] == [204, 204]
    assert answers[1].replayed
    assert shop.runs == {"remove": 1}


# -- (b) many at once -------------------------------------------------------------------------------------------------


def test_fifty_at_once_run_once_and_the_others_hear_conflict(shop: Shop) -> None:
    """While the first runs, its twins are refused 409 with a Retry-After; afterwards they get its answer."""
    gate = shop.world.gate("slow")
    first = shop.start("POST", "/slow", key="k")
    gate.wait_outside()
    twins = [pending.answer() for pending in [shop.start("POST", "/slow", key="k") for _ in range(49)]]
    gate.open.set()
    assert first.answer().status == 201
    for twin in twins:
        conflict(twin, "idem-key-inflight-409")
        assert int(twin.value("retry-after") or 0) >= 1
    assert shop.send("POST", "/slow", key="k").replayed
    assert shop.runs == {"slow": 1}


def test_fifty_at_once_that_may_wait_share_one_answer(shop: Shop) -> None:
    """Where the policy says wait, all fifty get the one 201."""
    gate = shop.world.gate("slow")
    first = shop.start("POST", "/patient", key="k")
    gate.wait_outside()
    twins = [shop.start("POST", "/patient", key="k") for _ in range(49)]
    gate.open.set()
    answers = [pending.answer() for pending in [first, *twins]]
    assert [answer.status for answer in answers] == [201] * 50
    assert len({answer.body for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    assert shop.runs == {"slow": 1}


FIRST_FAILS = [  # target      method  runs  what the nineteen get   why
    ("/stumble", "POST", 1, {500}),  # a POST's 500 is its result: at most once
    ("/stumble", "PUT", 2, {200}),  # repeating is what PUT promises: one waiter takes over, eighteen share its answer
    ("/releasing", "POST", 2, {200}),  # the route said that an error is not a result
]


@pytest.mark.parametrize(("target", "method", "runs", "others"), FIRST_FAILS)
def test_when_the_first_of_twenty_fails(shop: Shop, target: str, method: str, runs: int, others: set[int]) -> None:
    """A failed first run is either everybody's answer or nobody's: then exactly one waiter takes over."""
    gate = shop.world.gate("stumble")
    first = shop.start(method, target, key="k")
    gate.wait_outside()
    twins = [shop.start(method, target, key="k") for _ in range(19)]
    gate.open.set()
    assert first.answer().status == 500
    answers = [pending.answer() for pending in twins]
    assert {answer.status for answer in answers} == others
    assert [answer.replayed for answer in answers].count(False) == runs - 1
    assert shop.runs == {"stumble": runs}


def test_when_the_first_fails_and_nobody_may_wait(shop: Shop) -> None:
    """Twins of a run that will fail are refused while it runs, like any other twin."""
    with Shop(shop.framework, policies=None) as plain:
        gate = plain.world.gate("stumble")
        first = plain.start("POST", "/stumble", key="k")
        gate.wait_outside()
        for pending in [plain.start("POST", "/stumble", key="k") for _ in range(19)]:
            conflict(pending.answer(), "idem-key-inflight-409")
        gate.open.set()
        assert first.answer().status == 500
        assert plain.runs == {"stumble": 1}


def test_a_late_duplicate_never_runs_again(shop: Shop) -> None:
    """Between "in flight" and "done" there is no gap for a duplicate to slip through: 40 keys, 12 senders each."""

    def insist(name: str) -> Iterator[Pending]:
        for _ in range(12):
            yield shop.start("POST", f"/race/{name}", key=name)

    names = [f"key{number}" for number in range(40)]
    open_requests = [(name, pending) for name in names for pending in insist(name)]
    while open_requests:
        answered = [(name, pending.answer()) for name, pending in open_requests]
        assert {answer.status for _, answer in answered} <= {201, 409}
        open_requests = [(name, shop.start("POST", f"/race/{name}", key=name)) for name, a in answered if a.status == 409]
    assert shop.runs == dict.fromkeys(names, 1)


# -- (c) (d) (e) the same key for something else ----------------------------------------------------------------------

OTHER_REQUESTS = [  # what differs      method   target          body
    ("body", "POST", "/items", '{"name": "pen"}'),
    ("no body", "POST", "/items", ""),
    ("path", "POST", "/orders", '{"name": "ink"}'),
    ("method", "PATCH", "/orders", '{"name": "ink"}'),
    ("query", "POST", "/items?dry=1", '{"name": "ink"}'),
    ("members in another order", "POST", "/items", '{ "name":"ink"}'),
]


@pytest.mark.parametrize(("what", "method", "target", "body"), OTHER_REQUESTS, ids=[row[0] for row in OTHER_REQUESTS])
def test_one_key_for_two_requests_is_refused(shop: Shop, what: str, method: str, target: str, body: str) -> None:
    """A key that comes back with another request is 422, never the first answer and never a run; the record stays."""
    first = shop.send("POST", "/items", key="k", body='{"name": "ink"}')
    conflict(shop.send(method, target, key="k", body=body), "idem-key-reuse-422", 422)
    once_more(first, shop.send("POST", "/items", key="k", body='{"name": "ink"}'))
    assert shop.runs == {"create": 1}


def test_reordered_json_is_the_same_where_the_policy_reads_json(shop: Shop) -> None:
    """`fingerprint="json"` compares values: a client that writes its members in another order is no stranger."""
    first = shop.send("POST", "/canonical", key="k", body='{"name": "ink", "size": [1, 2]}')
    once_more(first, shop.send("POST", "/canonical", key="k", body='{"size":[1,2],"name":"ink"}'))
    conflict(shop.send("POST", "/canonical", key="k", body='{"size": [2, 1], "name": "ink"}'), "idem-key-reuse-422", 422)
    assert shop.runs == {"create": 1}


def test_another_body_while_the_first_runs_is_reuse_not_a_twin(shop: Shop) -> None:
    """Retrying such a request can never help, so it is 422 at once rather than a 409 that asks to try again."""
    gate = shop.world.gate("slow")
    first = shop.start("POST", "/slow", key="k", body="one")
    gate.wait_outside()
    conflict(shop.send("POST", "/slow", key="k", body="two"), "idem-key-reuse-422", 422)
    gate.open.set()
    assert first.answer().status == 201
    assert shop.runs == {"slow": 1}


CREDENTIALS = [  # field             ann                    bob
    ("Authorization", "Bearer ann", "Bearer bob"),
    ("Authorization", "Bearer ann", None),
    ("X-API-Key", "ann", "bob"),
    ("Cookie", "session=ann", "session=bob"),
]


@pytest.mark.parametrize(("field", "ann", "bob"), CREDENTIALS)
def test_nobody_gets_another_ones_answer(shop: Shop, field: str, ann: str, bob: str | None) -> None:
    """The same key from somebody else is another operation: it runs, and no byte of the first answer leaks."""
    mine = [(field, ann)]
    theirs = [(field, bob)] if bob else []
    first = shop.send("POST", "/items", key="k", body="{}", headers=mine)
    other = shop.send("POST", "/items", key="k", body="{}", headers=theirs)
    assert (other.status, other.replayed, other.json()["id"]) == (201, False, 2)
    once_more(first, shop.send("POST", "/items", key="k", body="{}", headers=mine))
    assert shop.runs == {"create": 2}


# -- (f) (g) outcomes that are results, and outcomes that are not ----------------------------------------------------

OUTCOMES = [  # method   first  kept?
    ("POST", 500, True),  # a second run could double the effect
    ("POST", 502, True),
    ("POST", 400, True),  # same input, same refusal
    ("POST", 403, True),
    ("POST", 422, True),
    ("POST", 409, False),  # a frozen 409 would keep a client waiting for ever
    ("POST", 401, False),
    ("POST", 404, False),
    ("POST", 429, False),
    ("POST", 503, False),
    ("PUT", 500, False),  # repeating is what the verb promises
    ("PUT", 400, True),
    ("PUT", 409, False),
]


@pytest.mark.parametrize(("method", "status", "kept"), OUTCOMES)
def test_which_failures_are_results(shop: Shop, method: str, status: int, kept: bool) -> None:
    """A retry after a failure gets the failure again where it is a result, and a fresh run where it proves nothing."""
    first, second = (shop.send(method, f"/flaky/{status}", key="k") for _ in range(2))
    assert first.status == status
    if kept:
        once_more(first, second)
    else:
        assert (second.status, second.replayed) == (200, False)
    assert shop.runs == {"flaky": 1 if kept else 2}


def test_a_post_that_raised_is_a_kept_500(shop: Shop) -> None:
    """A raise is the app's 500, in FastAPI as in Flask: a POST does not run again."""
    first, second = (shop.send("POST", "/fall", key="k") for _ in range(2))
    assert (first.status, second.status, second.replayed) == (500, 500, True)
    assert shop.runs == {"fall": 1}


def test_a_put_that_raised_runs_again(shop: Shop) -> None:
    """A raise on PUT lets the retry run: it may be repeated."""
    first, second = (shop.send("PUT", "/fall", key="k") for _ in range(2))
    assert (first.status, second.status, second.replayed) == (500, 200, False)
    assert shop.runs == {"fall": 2}
