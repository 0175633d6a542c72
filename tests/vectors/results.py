"""What is a result, and how long it lasts: vectors 84 to 91, 93 to 97, 99 and 100."""

from __future__ import annotations

from typing import Any

from vectors.conversation import (
    CUP,
    PEN,
    Vector,
    advance,
    but,
    finish,
    leave,
    one_of,
    renewed,
    say,
    start,
)
from vectors.reference import CRASH, reply

KEY = '"abc"'
JSON = {"content_type": "application/json"}
TEXT = {"content_type": "text/plain"}
DAY = 86_400
POST_ITEMS = "POST /items"
POST_ORDERS = "POST /orders"
PUT_ITEM = "PUT /items/{id}"


def anybody(request: Any) -> str:
    return "anybody"


def released(number: int, title: str, first: dict[str, Any], **more: Any) -> Vector:
    """A first answer that is no result: the retry with the same key runs."""
    answer = reply(first.pop("status"), **first)
    return Vector(
        number,
        title,
        [
            say("POST", "/items", PEN, key=KEY).gives(answer.status, runs=1),
            say("POST", "/items", PEN, key=KEY).gives(201, runs=2),
            say("POST", "/items", PEN, key=KEY).replays(1, runs=2),
        ],
        scripts={POST_ITEMS: [answer]},
        **more,
    )


VECTORS = [
    *[
        Vector(
            84,
            f"a client that left finds its answer when it comes back (a late send {send})",
            [
                start("gone", "POST", "/slow", PEN, key=KEY),
                leave("gone", send=send),
                say("POST", "/slow", PEN, key=KEY).gives(409, rule="idem-key-inflight-409", runs=1),
                finish("gone"),
                say("POST", "/slow", PEN, key=KEY).gives(200, replayed=True, runs=1, body=b'{"done": true}'),
                say("GET", "/count").gives(200, body=b"1"),
            ],
            doors=doors,
        )
        for send, doors in (
            ("ignores", ("asgi", "fastapi", "starlette")),
            ("raises", ("asgi", "wsgi", "fastapi", "flask")),
        )
    ],
    Vector(
        85,
        "a 401 is no result: the client comes back with a token",
        [
            say("POST", "/items", PEN, key=KEY).gives(401, runs=1, www_authenticate="Bearer"),
            say("POST", "/items", PEN, key=KEY, user="alice").gives(201, runs=2),
        ],
        scripts={POST_ITEMS: [reply(401, www_authenticate="Bearer")]},
        bare_too=True,
    ),
    released(
        85,
        "a 401 releases the key of one and the same principal too",
        {"status": 401, "www_authenticate": "Bearer"},
        principal=anybody,
    ),
    released(86, "a 429 is no result", {"status": 429, "retry_after": "1"}),
    released(86, "a 503 is no result", {"status": 503, "retry_after": "1"}),
    *[
        Vector(
            87,
            f"{status} takes its key to the next URI",
            [
                say("POST", "/items", PEN, key=KEY).gives(status, runs=1, location="/orders"),
                say("POST", "/orders", PEN, key=KEY).gives(201, runs=2),
                say("POST", "/orders", PEN, key=KEY).replays(1, runs=2),
            ],
            scripts={POST_ITEMS: [reply(status, location="/orders")]},
        )
        for status in (307, 308)
    ],
    *[
        Vector(
            87,
            f"{status} after a POST is a result",
            [
                say("POST", "/items", PEN, key=KEY).gives(status, runs=1, location="/orders/1"),
                say("POST", "/items", PEN, key=KEY).replays(0, runs=1),
                say("POST", "/orders", PEN, key=KEY).gives(422, rule="idem-key-reuse-422|idem-key-reuse-target", runs=1),
            ],
            scripts={POST_ITEMS: [reply(status, location="/orders/1")]},
        )
        for status in (302, 303)
    ],
    Vector(
        88,
        "a 500 to a POST is a result: at most once",
        [
            say("POST", "/orders", PEN, key=KEY).gives(500, runs=1, body=b"broken"),
            say("POST", "/orders", PEN, key=KEY).replays(0, runs=1),
        ],
        scripts={POST_ORDERS: [reply(500, b"broken", **TEXT)]},
    ),
    Vector(
        88,
        "a POST that raised is not run again",
        [
            say("POST", "/orders", PEN, key=KEY).gives(500, runs=1),
            say("POST", "/orders", PEN, key=KEY).gives(500, replayed=True, runs=1),
        ],
        scripts={POST_ORDERS: [CRASH]},
    ),
    *[
        Vector(
            88,
            f"where the policy releases errors, a POST runs again after {what}",
            [
                say("POST", "/orders", PEN, key=KEY).gives(500, runs=1),
                say("POST", "/orders", PEN, key=KEY).gives(201, runs=2),
            ],
            scripts={POST_ORDERS: [answer]},
            policies=but("/orders", replay={"on_error": "release"}),
            bare_too=True,
        )
        for what, answer in (("a 500", reply(500, b"broken", **TEXT)), ("a raise", CRASH))
    ],
    *[
        Vector(
            89,
            f"a PUT runs again after {what}",
            [
                say("PUT", "/items/7", PEN, key=KEY).gives(500, runs=1),
                say("PUT", "/items/7", PEN, key=KEY).gives(201, runs=2),
                say("PUT", "/items/7", PEN, key=KEY).replays(1, runs=2),
            ],
            scripts={PUT_ITEM: [answer]},
        )
        for what, answer in (("a 500", reply(500, b"broken", **TEXT)), ("a raise", CRASH))
    ],
    released(90, "a conflict that the application told is not frozen", {"status": 409}),
    *[
        Vector(
            91,
            f"{status} from the application is a result, and the corrected request needs another key",
            [
                say("POST", "/items", PEN, key=KEY).gives(status, runs=1, body=b"no"),
                say("POST", "/items", PEN, key=KEY).replays(0, runs=1),
                say("POST", "/items", CUP, key=KEY).gives(422, rule="idem-key-reuse-422", runs=1),
                say("POST", "/items", CUP, key='"other"').gives(201, runs=2),
            ],
            scripts={POST_ITEMS: [reply(status, b"no", **TEXT)]},
        )
        for status in (400, 422)
    ],
    Vector(
        93,
        "a lease lasts as long as its handler",
        [
            start("first", "POST", "/slow", PEN, key=KEY),
            renewed(),
            advance(0.15),
            renewed(),
            advance(0.15),
            renewed(),
            say("POST", "/slow", PEN, key=KEY).gives(409, rule="idem-key-inflight-409", runs=1),
            finish("first").gives(200, runs=1),
            say("POST", "/slow", PEN, key=KEY).replays(7, runs=1),
        ],
        policies=but("/slow", replay={"lease": 0.2}),
    ),
    Vector(
        94,
        "a result lasts as long as the policy keeps it",
        [
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1, location="/items/1"),
            advance(DAY - 1),
            say("POST", "/items", PEN, key=KEY).replays(0, runs=1),
            advance(2),
            say("POST", "/items", PEN, key=KEY).gives(201, runs=2, location="/items/2"),
        ],
    ),
    Vector(
        94,
        "a result is kept from its completion on",
        [
            start("first", "POST", "/slow", PEN, key=KEY),
            advance(3000),
            finish("first").gives(200, runs=1),
            advance(3000),
            say("POST", "/slow", PEN, key=KEY).replays(2, runs=1),
        ],
        policies=but("/slow", replay={"keep": 3600.0, "lease": 10_000.0}),
    ),
    Vector(
        95,
        "a replay leaves out what belonged to the moment",
        [
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1, set_cookie="session=1", age="5", etag='"x"'),
            say("POST", "/items", PEN, key=KEY).gives(
                201,
                replayed=True,
                runs=1,
                body=b"made",
                location="/items/1",
                etag='"x"',
                link='</a>; rel="a", </b>; rel="b"',
                date=lambda value: value != "Thu, 01 Jan 2015 00:00:00 GMT",
                age=None,
                set_cookie=None,
                retry_after=None,
                connection=one_of(None, "keep-alive"),
                x_hop=None,
            ),
        ],
        scripts={
            POST_ITEMS: [
                reply(
                    201,
                    b"made",
                    location="/items/1",
                    etag='"x"',
                    date="Thu, 01 Jan 2015 00:00:00 GMT",
                    age="5",
                    set_cookie="session=1",
                    retry_after="3",
                    connection="x-hop",
                    x_hop="1",
                    **TEXT,
                )
                .with_header("link", '</a>; rel="a"')
                .with_header("link", '</b>; rel="b"')
            ]
        },
    ),
    Vector(
        96,
        "an answer too large to keep is whole for its client, and never made again",
        [
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1, body=b"x" * 1000, location="/items/1"),
            say("POST", "/items", PEN, key=KEY).gives(409, rule="idem-not-retained", runs=1),
            say("POST", "/items", CUP, key=KEY).gives(422, rule="idem-key-reuse-422", runs=1),
        ],
        scripts={POST_ITEMS: [reply(201, b"x" * 1000, location="/items/1", **TEXT)]},
        policies=but("/items", replay={"max_response": 100}),
    ),
    Vector(
        97,
        "a key on a GET means nothing",
        [
            say("GET", "/items", key=KEY).gives(200, runs=1, body=b"[]"),
            say("POST", "/items", PEN, key=KEY).gives(201, runs=2),
            say("GET", "/items", key=KEY).gives(200, runs=3, body=b'["1"]'),
            say("POST", "/items", PEN, key=KEY).replays(1, runs=3),
        ],
    ),
    Vector(
        99,
        "a retry is not judged by the preconditions it already met",
        [
            say("PUT", "/items/7", CUP, key=KEY, if_match='"v1"').gives(204, runs=1),
            say("PUT", "/items/7", CUP, key=KEY, if_match='"v1"').replays(0, runs=1),
            say("PUT", "/items/7", CUP, key='"other"', if_match='"v1"').gives(412, runs=2),
        ],
        items=("7",),
    ),
    Vector(
        99,
        "a retry is replayed before the guard looks at the state",
        [
            say("PUT", "/items/7", CUP, key=KEY, if_match='"v1"').gives(204, runs=1),
            say("PUT", "/items/7", CUP, key=KEY, if_match='"v1"').replays(0, runs=1),
            say("PUT", "/items/7", CUP, key='"other"', if_match='"v1"').gives(412, rule="if-match-evaluated", runs=1),
            say("PUT", "/items/7", CUP, key='"other"', if_match='"v2"').gives(204, runs=2),
        ],
        items=("7",),
        policies=but("/items/{id}", validator="items"),
    ),
    Vector(
        100,
        "a late retry does not bring back what was deleted since",
        [
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1, location="/items/1"),
            say("DELETE", "/items/1").gives(204, runs=2),
            say("POST", "/items", PEN, key=KEY).replays(0, runs=2),
            say("GET", "/items/1").gives(404, runs=3),
        ],
    ),
]
