"""What the demo asks: ten scenes, each with the requests it plays and the judge of their answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

from verbguard.cli import judges
from verbguard.cli.client import PATIENCE, Answer, Connection
from verbguard.cli.judges import CROWD, Row, Seen

Play = Callable[[int], list[Row]]  # given the port


@dataclass(frozen=True, slots=True)
class Scene:
    """One promise of HTTP, put to the test.

    `judge` returns what is wrong, or an empty text; `kept` says what it means that nothing is.
    """

    title: str
    handler: str
    play: Play
    judge: Callable[[Seen], str]
    kept: str
    fields: tuple[str, ...] = ()  # the headers worth showing

    def perform(self, port: int, runs: Callable[[str], int]) -> Seen:
        """Send the scene's requests to one server."""
        before = runs(self.handler)
        rows = tuple(self.play(port))
        return Seen(rows, runs(self.handler) - before)


def one_by_one(*requests: tuple[str, str, object], headers: tuple[tuple[str, str], ...] = ()) -> Play:
    """A play of single requests over one kept-alive connection; the headers go with those that change something."""

    def play(port: int) -> list[Row]:
        with Connection(port) as connection:
            return [
                (f"{method} {target}", (connection.ask(method, target, value, headers if method != "GET" else ()),))
                for method, target, value in requests
            ]

    return play


def crowd(port: int) -> list[Row]:
    start = Barrier(CROWD)
    key = (("idempotency-key", '"crowd"'),)

    def client(_: int) -> Answer:
        with Connection(port) as connection:
            start.wait(PATIENCE)
            return connection.ask("POST", "/orders", {"item": "cup"}, key)

    with ThreadPoolExecutor(CROWD) as pool:
        answers = tuple(pool.map(client, range(CROWD)))
    return [(f"POST /orders, {CROWD}x", answers), *one_by_one(("POST", "/orders", {"item": "cup"}), headers=key)(port)]


def follow(port: int) -> list[Row]:
    with Connection(port) as connection:
        created = connection.ask("POST", "/orders", {"item": "desk"})
        place = created.field("location")
        read = (connection.ask("GET", place),) if place else ()
    return [("POST /orders", (created,)), ("GET its Location", read)]


SCENES = (
    Scene(
        "PUT on a collection is refused",
        "replace_customers",
        one_by_one(("PUT", "/customers", [{"name": "Eve"}]), ("GET", "/customers", None)),
        judges.put_collection,
        "refused before the handler ran",
        ("allow",),
    ),
    Scene(
        "PUT can be repeated",
        "put_customer",
        one_by_one(
            ("PUT", "/customers/7", {"name": "Ann"}),
            ("PUT", "/customers/7", {"name": "Ann"}),
            ("GET", "/customers/7", None),
        ),
        judges.put_repeated,
        "once in effect, the same answer twice",
        ("idempotent-replayed",),
    ),
    Scene(
        "PUT A, B, A again: the last one wins",
        "put_customer",
        one_by_one(
            ("PUT", "/customers/8", {"name": "Ann"}),
            ("PUT", "/customers/8", {"name": "Bob"}),
            ("PUT", "/customers/8", {"name": "Ann"}),
            ("GET", "/customers/8", None),
        ),
        judges.put_changed,
        "every change ran, the last one stands",
        ("idempotent-replayed",),
    ),
    Scene(
        "POST with an Idempotency-Key, sent twice",
        "place_order",
        one_by_one(
            ("POST", "/orders", {"item": "chair"}),
            ("POST", "/orders", {"item": "chair"}),
            headers=(("idempotency-key", '"order-1"'),),
        ),
        judges.post_twice,
        "one order, one charge",
        ("idempotent-replayed",),
    ),
    Scene(
        f"The same POST from {CROWD} clients at once",
        "place_order",
        crowd,
        judges.post_crowd,
        "one order; who came too early is told when to ask",
        ("idempotent-replayed", "retry-after"),
    ),
    Scene(
        "POST 201 says where",
        "place_order",
        follow,
        judges.post_location,
        "Location, and it answers",
        ("location",),
    ),
    Scene(
        "HEAD is GET without the content",
        "show_customer",
        one_by_one(("GET", "/customers/8", None), ("HEAD", "/customers/8", None)),
        judges.head_like_get,
        "the same head, no content",
        ("content-length",),
    ),
    Scene(
        "OPTIONS lists what is allowed",
        "show_customer",
        one_by_one(("OPTIONS", "/customers/8", None)),
        judges.options_complete,
        "every method, none invented",
        ("allow",),
    ),
    Scene(
        "204 has no content",
        "delete_customer",
        one_by_one(("DELETE", "/customers/8", None), ("GET", "/customers", None)),
        judges.no_content,
        "the connection stays in step",
        ("content-length",),
    ),
    Scene(
        "205 has no content",
        "reset_basket",
        one_by_one(("POST", "/basket/reset", None), ("GET", "/customers", None)),
        judges.reset_content,
        "nothing is sent with it",
        ("content-length",),
    ),
)
