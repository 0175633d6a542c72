"""PUT without a key: replayed only where that cannot lie, so that A, B, A ends at A."""

from __future__ import annotations

from typing import Any

import pytest

from blackbox.shops import Shop

# -- (l) keyless PUT --------------------------------------------------------------------------------------------------

Step = tuple[str, str, dict[str, Any]]


def put(body: str | bytes, **options: Any) -> Step:
    return "PUT", "/items/1", {"body": body, "user": "ann", **options}


def other(method: str, target: str = "/items/1", **options: Any) -> Step:
    return method, target, {"user": "ann", **options}


SEQUENCES: list[tuple[str, list[Step], list[str]]] = [  # what happens, and which PUTs take effect
    ("twice", [put("A"), put("A")], ["A"]),
    ("thrice", [put("A"), put("A"), put("A")], ["A"]),
    ("A B A", [put("A"), put("B"), put("A")], ["A", "B", "A"]),
    ("A B B A", [put("A"), put("B"), put("B"), put("A")], ["A", "B", "A"]),
    ("another client between", [put("A"), put("B", user="bob"), put("A")], ["A", "B", "A"]),
    ("a keyed write between", [put("A"), put("B", key="k"), put("A")], ["A", "B", "A"]),
    ("a keyed write of another between", [put("A"), put("B", key="k", user="bob"), put("A")], ["A", "B", "A"]),
    ("DELETE between", [put("A"), other("DELETE"), put("A")], ["A", "A"]),
    ("keyed DELETE between", [put("A"), other("DELETE", key="k"), put("A")], ["A", "A"]),
    ("DELETE of another between", [put("A"), other("DELETE", user="bob"), put("A")], ["A", "A"]),
    ("PATCH between", [put("A"), other("PATCH", body="+"), put("A")], ["A", "A"]),
    ("an action between", [put("A"), other("POST", "/items/1/publish"), put("A")], ["A", "A"]),
    ("a failure between", [put("A"), put(b"\xff not text"), put("A")], ["A", "A"]),
    ("GET between", [put("A"), other("GET"), put("A")], ["A"]),
    ("a new sibling between", [put("A"), other("POST", "/items", body="{}"), put("A")], ["A"]),
    ("a write next door", [put("A"), other("PUT", "/items/2", body="B"), put("A")], ["A", "B"]),
    ("another client, same state", [put("A"), put("A", user="bob")], ["A", "A"]),
    ("another media type", [put("A"), put("A", headers=[("Content-Type", "text/plain")])], ["A", "A"]),
    ("another query", [put("A"), other("PUT", "/items/1?full=1", body="A")], ["A", "A"]),
    ("an unknown field", [put("A"), put("A", headers=[("X-Copy-Source", "/items/9")])], ["A", "A"]),
    (
        "a field that means nothing",
        [put("A"), put("A", headers=[("User-Agent", "retry/2"), ("Traceparent", "00-1")])],
        ["A"],
    ),
    ("asked to run", [put("A"), put("A", headers=[("Cache-Control", "no-cache")])], ["A", "A"]),
    ("conditional", [put("A", headers=[("If-Match", "*")]), put("A", headers=[("If-Match", "*")])], ["A", "A"]),
    (
        "two contenders",
        [put("A", headers=[("If-None-Match", "*")]), put("A", headers=[("If-None-Match", "*")])],
        ["A", "A"],
    ),
]


@pytest.mark.parametrize(("what", "steps", "writes"), SEQUENCES, ids=[row[0] for row in SEQUENCES])
def test_a_put_without_a_key(shop: Shop, what: str, steps: list[Step], writes: list[str]) -> None:
    """A repeated PUT is replayed only while nothing unsafe touched its target; the last client to write wins."""
    answers = [shop.send(method, target, **options) for method, target, options in steps]
    assert shop.world.writes == writes
    last = steps[-1][2]
    assert shop.send("GET", "/items/1", user=last["user"]).body.decode() == last["body"]
    assert not any(answer.status in {409, 422} for answer in answers)


def test_a_recreated_item_is_created(shop: Shop) -> None:
    """After a DELETE the same PUT answers 201 because it created, not because somebody remembered."""
    steps = [put("A"), other("DELETE"), put("A")]
    answers = [shop.send(method, target, **options) for method, target, options in steps]
    assert [(answer.status, answer.replayed) for answer in answers] == [(201, False), (204, False), (201, False)]


def test_a_keyed_retry_that_comes_late_changes_nothing(shop: Shop) -> None:
    """A(k1) B(k2) A(k1): the client says that the third is the first, so B stays; under a new key it would run."""
    for body, key in [("A", "k1"), ("B", "k2"), ("A", "k1")]:
        answer = shop.send("PUT", "/items/1", body=body, key=key)
    assert (answer.replayed, answer.status) == (True, 201)
    assert shop.world.writes == ["A", "B"]
    shop.send("PUT", "/items/1", body="A", key="k3")
    assert shop.world.writes == ["A", "B", "A"]


def test_a_failed_put_is_not_an_answer_to_the_next(shop: Shop) -> None:
    """Only a 2xx can be replayed without a key."""
    answers = [shop.send("PUT", "/refusing/1", body="A") for _ in range(2)]
    assert [answer.replayed for answer in answers] == [False, False]
    assert shop.runs == {"refuse": 2}


def test_overlapping_puts_are_never_replayed(shop: Shop) -> None:
    """A starts, B starts and ends, A ends: nobody knows whose state is left, so both run again when repeated."""
    gate = shop.world.gate("A")
    slow = shop.start("PUT", "/items/1", body="A")
    gate.wait_outside()
    assert shop.send("PUT", "/items/1", body="B").status == 201
    gate.open.set()
    assert slow.answer().status == 200
    for body in "BAB":
        assert not shop.send("PUT", "/items/1", body=body).replayed
    assert shop.world.writes == ["B", "A", "B", "A", "B"]


def test_crossing_puts_are_never_replayed(shop: Shop) -> None:
    """A starts, B starts, A ends, B ends: each had the other between its own two ends."""
    first, second = shop.world.gate("A"), shop.world.gate("B")
    one = shop.start("PUT", "/items/1", body="A")
    first.wait_outside()
    two = shop.start("PUT", "/items/1", body="B")
    second.wait_outside()
    first.open.set()
    assert one.answer().status == 201
    second.open.set()
    assert two.answer().status == 200
    assert not shop.send("PUT", "/items/1", body="B").replayed
    assert not shop.send("PUT", "/items/1", body="A").replayed
    assert shop.world.writes == ["A", "B", "B", "A"]


def test_a_delete_that_overlaps_is_seen(shop: Shop) -> None:
    """DELETE in the middle of a PUT: the PUT's answer is not what a repetition would find."""
    gate = shop.world.gate("A")
    slow = shop.start("PUT", "/items/1", body="A")
    gate.wait_outside()
    shop.send("DELETE", "/items/1")
    gate.open.set()
    assert slow.answer().status == 201
    assert not shop.send("PUT", "/items/1", body="A").replayed


def test_a_cancelled_put_may_still_write(fastapi_shop: Shop) -> None:
    """A handler in a thread outlives its cancelled request and writes when it likes: nothing is replayed around it."""
    shop, gate = fastapi_shop, fastapi_shop.world.gate("A")
    abandoned = shop.start("PUT", "/items/1", body="A")
    gate.wait_outside()
    abandoned.future.cancel()
    assert shop.send("PUT", "/items/1", body="B").status == 201
    gate.open.set()
    shop.world.wait_for_writes(2)
    assert shop.world.writes == ["B", "A"]
    assert not shop.send("PUT", "/items/1", body="B").replayed
    assert shop.world.items["1"] == b"B"


def test_equal_puts_at_once_share_one_run(shop: Shop) -> None:
    """Two equal PUTs are legal HTTP: the second waits for the first and never hears a conflict."""
    gate = shop.world.gate("A")
    first = shop.start("PUT", "/items/1", body="A")
    gate.wait_outside()
    twins = [shop.start("PUT", "/items/1", body="A") for _ in range(3)]
    gate.open.set()
    assert {pending.answer().status for pending in [first, *twins]} == {201}
    assert shop.world.writes == ["A"]


def test_a_put_that_raises_is_no_answer_to_the_next(shop: Shop) -> None:
    """A raise counts as the 500 that it becomes: the equal PUT behind it runs."""
    answers = [shop.send("PUT", "/items/1", body=b"\xff not text") for _ in range(2)]
    assert [(answer.status, answer.replayed) for answer in answers] == [(500, False)] * 2
    assert shop.runs == {"write": 2}
