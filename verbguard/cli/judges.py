"""The demo's judges: given what was seen of a server, what is wrong with it?

A judge sees only what a client could see, and how often the handler ran; it does not know which column it judges.
An empty text says that the promise was kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from verbguard.cli.client import Answer

CROWD = 20  # clients at once

Row = tuple[str, tuple[Answer, ...]]  # what was asked, and every answer to it


@dataclass(frozen=True, slots=True)
class Seen:
    """What one column showed in a scene."""

    rows: tuple[Row, ...]
    runs: int  # of the scene's handler

    def answers(self, row: int) -> tuple[Answer, ...]:
        return self.rows[row][1]

    def answer(self, row: int) -> Answer:
        return self.rows[row][1][0]


def allowed(answer: Answer) -> set[str]:
    return {method.strip() for method in (answer.field("allow") or "").split(",") if method.strip()}


def same(one: Answer, other: Answer) -> bool:
    return (one.status, one.content) == (other.status, other.content)


def put_collection(seen: Seen) -> str:
    answer = seen.answer(0)
    if seen.runs:
        return f"one name replaced the whole list: {seen.answer(1).members().get('customers')} of 3 left"
    if answer.status != 405 or not {"GET", "HEAD", "POST", "OPTIONS"} <= allowed(answer) or "PUT" in allowed(answer):
        return "not refused with 405 and the methods that are allowed"
    return "" if seen.answer(1).members().get("customers") == 3 else "the list changed"


def put_repeated(seen: Seen) -> str:
    first, again, after = (seen.answer(row) for row in range(3))
    if seen.runs != 1 or after.members().get("edits") != 1:
        return "the retry made a second edit"
    if not (first.status == 200 and same(first, again)):
        return "the retry got another answer"
    return "" if again.field("idempotent-replayed") == "true" else "the replay does not say that it is one"


def put_changed(seen: Seen) -> str:
    if seen.answer(3).members().get("name") != "Ann":
        return "the last PUT did not win: an old answer was replayed over a newer state"
    return "" if seen.runs == 3 else "three different states need three runs"


def post_twice(seen: Seen) -> str:
    first, again = seen.answer(0), seen.answer(1)
    if seen.runs != 1:
        return "the retry placed, and charged, a second order"
    return "" if first.status == 201 and same(first, again) else "the retry got another answer"


def post_crowd(seen: Seen) -> str:
    crowd, late = seen.answers(0), seen.answer(1)
    created = [answer for answer in crowd if answer.status == 201]
    waiting = [answer for answer in crowd if answer.status == 409 and answer.field("retry-after")]
    if seen.runs != 1:
        return f"one key, {seen.runs} orders"
    if not created or len(created) + len(waiting) != CROWD:
        return "an answer is neither the order nor a 409 that says when to come back"
    return "" if all(same(answer, late) for answer in created) else "the answers differ"


def post_location(seen: Seen) -> str:
    created = seen.answer(0)
    if not created.field("location"):
        return "the client must guess where its order is"
    found = [answer.members() for answer in seen.answers(1) if answer.status == 200]
    return "" if found == [created.members()] else "Location leads nowhere"


def head_like_get(seen: Seen) -> str:
    get, head = seen.answer(0), seen.answer(1)
    if head.status != get.status:
        return f"GET says {get.status}, HEAD says {head.status}"
    if head.content or head.field("content-type") != get.field("content-type"):
        return "HEAD is not GET's answer without the content"
    return "" if head.field("content-length") in (None, get.field("content-length")) else "HEAD states another length"


def options_complete(seen: Seen) -> str:
    answer = seen.answer(0)
    if answer.status not in (200, 204):
        listed = ", ".join(sorted(allowed(answer)))
        return f"refused, and Allow names only {listed}" if listed else "refused, without a list"
    missing = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} ^ allowed(answer)
    return f"Allow is wrong about {', '.join(sorted(missing))}" if missing else ""


def no_content(seen: Seen) -> str:
    deleted, after = seen.answer(0), seen.answer(1)
    if after.status != 200:
        return "content after a 204: the next answer on the connection cannot be read"
    return "Content-Length on a 204" if deleted.field("content-length") else ""


def reset_content(seen: Seen) -> str:
    if seen.answer(0).content:
        return "205 must have no content"
    return "" if seen.answer(1).status == 200 else "the next answer on the connection cannot be read"
