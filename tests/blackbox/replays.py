"""What a check of a replay says again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

from blackbox.answers import PATIENCE, Answer


def conflict(answer: Answer, rule: str, status: int = 409) -> None:
    """A refusal of the guard's own, under the rule that says why."""
    assert (answer.status, answer.rule, answer.replayed) == (status, rule, False)


def once_more(first: Answer, second: Answer) -> None:
    """The second answer is the first, and says that it is a replay."""
    assert not first.replayed
    assert second.replayed
    assert (second.status, second.body) == (first.status, first.body)
    # A stream's replay may say its length: by then it is known.
    added = {"idempotent-replayed"} | ({"content-length"} if first.value("content-length") is None else set())
    assert [(name, value) for name, value in second.lasting() if name not in added] == first.lasting()


def until_not_in_flight(send: Callable[[], Answer]) -> Answer:
    """What a client does that hears 409 with Retry-After; the claim it waits for is about to end."""
    deadline = time.monotonic() + PATIENCE
    while (answer := send()).rule == "idem-key-inflight-409":
        assert time.monotonic() < deadline, "the key is locked"
        time.sleep(0.01)
    return answer
