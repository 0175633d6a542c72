"""PUT without a key: vectors 101 to 107 and 109."""

from __future__ import annotations

from vectors.conversation import BARE, CUP, PEN, Vector, advance, but, finish, say, start
from vectors.reference import CRASH, reply

PUT_ITEM = "PUT /items/{id}"
TEXT = {"content_type": "text/plain"}

VECTORS = [
    Vector(
        101,
        "a repeated PUT has the effect and the answer of one",
        [
            say("PUT", "/count", b"1").gives(200, runs=1, body=b"1"),
            say("PUT", "/count", b"1").replays(0, runs=1),
            say("GET", "/count").gives(200, body=b"1"),
        ],
    ),
    Vector(
        101,
        "a repeated PUT that created is answered 201 again",
        [
            say("PUT", "/items/7", PEN).gives(201, runs=1, location="/items/7"),
            say("PUT", "/items/7", PEN).replays(0, runs=1),
        ],
    ),
    Vector(
        101,
        "after its window a PUT runs again",
        [
            say("PUT", "/items/7", PEN).gives(201, runs=1),
            advance(29),
            say("PUT", "/items/7", PEN).replays(0, runs=1),
            advance(2),
            say("PUT", "/items/7", PEN).gives(204, runs=2),
        ],
    ),
    Vector(
        101,
        "a client that asks for execution gets it",
        [
            say("PUT", "/count", b"1").gives(200, runs=1),
            say("PUT", "/count", b"1", cache_control="no-cache").gives(200, runs=2, body=b"2"),
        ],
        bare_too=True,
    ),
    Vector(
        101,
        "equal conditional PUTs are contenders, not repetitions",
        [
            say("PUT", "/items/7", PEN, if_none_match="*").gives(201, runs=1),
            say("PUT", "/items/7", PEN, if_none_match="*").gives(412, runs=2),
        ],
        bare_too=True,
    ),
    Vector(
        101,
        "a PUT with a key of its own is another operation",
        [
            say("PUT", "/count", b"1").gives(200, runs=1, body=b"1"),
            say("PUT", "/count", b"1", key='"k"').gives(200, runs=2, body=b"2"),
        ],
        bare_too=True,
    ),
    Vector(
        102,
        "A, B, A ends at A",
        [
            say("PUT", "/items/1", PEN).gives(201, runs=1),
            say("PUT", "/items/1", CUP).gives(204, runs=2),
            say("PUT", "/items/1", PEN).gives(204, runs=3),
            say("GET", "/items/1").gives(200, body=PEN),
        ],
        bare_too=True,
    ),
    Vector(
        102,
        "A, B with a key, A ends at A",
        [
            say("PUT", "/items/1", PEN).gives(201, runs=1),
            say("PUT", "/items/1", CUP, key='"k"').gives(204, runs=2),
            say("PUT", "/items/1", PEN).gives(204, runs=3),
            say("PUT", "/items/1", CUP, key='"k"').replays(1, runs=3),
            say("GET", "/items/1").gives(200, body=PEN),
        ],
    ),
    Vector(
        103,
        "A, DELETE, A creates again",
        [
            say("PUT", "/items/1", PEN).gives(201, runs=1),
            say("DELETE", "/items/1").gives(204, runs=2),
            say("PUT", "/items/1", PEN).gives(201, runs=3, location="/items/1"),
            say("GET", "/items/1").gives(200, body=PEN),
        ],
    ),
    Vector(
        104,
        "equal PUTs of two users are two",
        [
            say("PUT", "/count", b"1", user="alice").gives(200, runs=1, body=b"1"),
            say("PUT", "/count", b"1", user="bob").gives(200, runs=2, body=b"2"),
        ],
        bare_too=True,
    ),
    Vector(
        105,
        "A, PATCH, A runs again",
        [
            say("PUT", "/items/1", PEN).gives(201, runs=1),
            say("PATCH", "/items/1", CUP).gives(200, runs=2),
            say("PUT", "/items/1", PEN).gives(204, runs=3),
            say("GET", "/items/1").gives(200, body=PEN),
        ],
        bare_too=True,
    ),
    *[
        Vector(
            106,
            f"after {what} a PUT runs again",
            [
                say("PUT", "/items/1", PEN).gives(500, runs=1),
                say("PUT", "/items/1", PEN).gives(201, runs=2, location="/items/1"),
            ],
            scripts={PUT_ITEM: [answer]},
        )
        for what, answer in (("a 500", reply(500, b"broken", **TEXT)), ("a raise", CRASH))
    ],
    Vector(
        107,
        "equal PUTs at once share one execution and its answer",
        [
            start("first", "PUT", "/items/1", PEN),
            start("second", "PUT", "/items/1", PEN, until="waiting"),
            finish("first").gives(201, runs=1, location="/items/1"),
            finish("second").replays(2, runs=1),
            say("GET", "/items/1").gives(200, body=PEN),
        ],
        holds=frozenset({PUT_ITEM}),
    ),
    Vector(
        109,
        "where the policy switches it off, equal PUTs are two",
        [say("PUT", "/count", b"1").gives(200, runs=1), say("PUT", "/count", b"1").gives(200, runs=2, body=b"2")],
        policies=but("/count", replay={"keyless": False}),
        bare_too=True,
    ),
    Vector(
        109,
        "on a resource nobody described, equal PUTs are two",
        [say("PUT", "/count", b"1").gives(200, runs=1), say("PUT", "/count", b"1").gives(200, runs=2, body=b"2")],
        policies={},
        doors=BARE,
        bare_too=True,
    ),
]
