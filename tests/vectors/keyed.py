"""Idempotency-Key, the key itself: vectors 68 to 82."""

from __future__ import annotations

from typing import Any

from vectors.conversation import CUP, EVERYWHERE, PEN, PRESENT, Vector, but, finish, say, start
from vectors.reference import reply

KEY = '"abc"'
SAYS_WHERE = {"POST /items": [reply(201, b'{"id": 1}', content_type="application/json", location="/items/1")]}
REUSED = "idem-key-reuse-422|idem-key-reuse-target"
MALFORMED = "idem-key-format|idem-key-syntax"


def form(boundary: str) -> bytes:
    """A multipart form of two parts."""
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\npen\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="pen.png"\r\n'
        f"Content-Type: image/png\r\n\r\nPNG\r\n--{boundary}--\r\n"
    ).encode()


def in_form(boundary: str) -> dict[str, str]:
    return {"content_type": f"multipart/form-data; boundary={boundary}"}


def user_of_token(request: Any) -> str | None:
    """A token is a user, a dot and a serial number that rotates."""
    tokens = [value.decode() for name, value in request.headers if name == b"authorization"]
    return tokens[0].removeprefix("Bearer ").partition(".")[0] if tokens else None


VECTORS = [
    Vector(
        68,
        "a route that requires a key refuses a request without one",
        [
            say("POST", "/items", PEN).gives(400, rule="idem-key-missing-400", runs=0, untouched=True),
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1),
        ],
        policies=but("/items", replay={"required": True}),
    ),
    Vector(
        69,
        "a keyed POST sent twice runs once",
        [
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1, location="/items/1"),
            say("POST", "/items", PEN, key=KEY).replays(0, runs=1, location="/items/1"),
            say("POST", "/items", PEN, key=KEY).replays(0, runs=1, location="/items/1"),
            say("GET", "/items").gives(200, body=b'["1"]'),
        ],
    ),
    Vector(
        69,
        "a keyed PATCH sent twice runs once",
        [
            say("PATCH", "/items/1", CUP, key=KEY).gives(200, runs=1, body=CUP),
            say("PATCH", "/items/1", CUP, key=KEY).replays(0, runs=1),
        ],
        items=("1",),
    ),
    Vector(
        70,
        "a bare key is a key, in strict a mistake",
        [
            say("POST", "/items", PEN, key="8e03978e-40d5-43e8-bc93-6894a57f9324")
            .gives(201, runs=1, location="/items/1")
            .strictly(400, rule="idem-key-syntax", runs=0),
            say("POST", "/items", PEN, key="8e03978e-40d5-43e8-bc93-6894a57f9324")
            .replays(0, runs=1)
            .strictly(400, rule="idem-key-syntax", runs=0),
        ],
    ),
    Vector(
        71,
        "a key is the same with and without its quotes",
        [
            say("POST", "/items", PEN, key='"abc"').gives(201, runs=1),
            say("POST", "/items", PEN, key="abc").replays(0, runs=1).strictly(400, rule="idem-key-syntax"),
        ],
    ),
    *[
        Vector(
            72,
            f"two keys are none: {' and '.join(keys)}",
            [say("POST", "/items", PEN, key=keys).gives(400, rule="idem-key-single", runs=0, untouched=True)],
        )
        for keys in (('"a"', '"b"'), ('"a", "b"',), ('"a"', '"a"'))
    ],
    *[
        Vector(
            73,
            f"a key must not be {what}",
            [say("POST", "/items", PEN, key=key).gives(400, rule=MALFORMED, runs=0, untouched=True)],
        )
        for what, key in (
            ("longer than 255 bytes", f'"{"k" * 256}"'),
            ("a bare word longer than 255 bytes", "k" * 256),
            ("with a control character", '"a\x07b"'),
            ("with a tabulator", '"a\tb"'),
            ("outside ASCII", '"caf\xe9"'),
            ("the empty string", '""'),
            ("empty", ""),
        )
    ],
    Vector(
        73,
        "a key may have 255 bytes",
        [
            say("POST", "/items", PEN, key=f'"{"k" * 255}"').gives(201, runs=1),
            say("POST", "/items", PEN, key=f'"{"k" * 255}"').replays(0, runs=1),
        ],
    ),
    Vector(
        74,
        "a key belongs to its content",
        [
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1),
            say("POST", "/items", CUP, key=KEY).gives(422, rule="idem-key-reuse-422", runs=1),
            say("POST", "/items", PEN, key=KEY).replays(0, runs=1),
        ],
    ),
    Vector(
        75,
        "a key belongs to its target",
        [
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1),
            say("POST", "/orders", PEN, key=KEY).gives(422, rule=REUSED, runs=1),
            say("POST", "/items?draft=1", PEN, key=KEY).gives(422, rule=REUSED, runs=1),
            say("POST", "/items", PEN, key=KEY).replays(0, runs=1),
        ],
    ),
    Vector(
        75,
        "a key belongs to its method",
        [
            say("PUT", "/items/7", PEN, key=KEY).gives(201, runs=1),
            say("PATCH", "/items/7", PEN, key=KEY).gives(422, rule=REUSED, runs=1),
            say("POST", "/items", PEN, key=KEY).gives(422, rule=REUSED, runs=1),
            say("PUT", "/items/7", PEN, key=KEY).replays(0, runs=1),
        ],
    ),
    Vector(
        76,
        "a form is its parts, whatever stands between them",
        [
            say("POST", "/orders", form("one"), key=KEY, **in_form("one")).gives(201, runs=1),
            say("POST", "/orders", form("two"), key=KEY, **in_form("two")).replays(0, runs=1),
            say("POST", "/orders", form("two").replace(b"PNG", b"GIF"), key=KEY, **in_form("two")).gives(
                422, rule="idem-key-reuse-422", runs=1
            ),
        ],
    ),
    Vector(
        77,
        "JSON is its bytes",
        [
            say("POST", "/items", b'{"a": 1, "b": 2}', key=KEY).gives(201, runs=1),
            say("POST", "/items", b'{"b": 2, "a": 1}', key=KEY).gives(422, rule="idem-key-reuse-422", runs=1),
        ],
    ),
    Vector(
        77,
        "JSON is its meaning where the policy says so",
        [
            say("POST", "/items", b'{"a": 1, "b": 2}', key=KEY).gives(201, runs=1),
            say("POST", "/items", b'{"b":2,"a":1}', key=KEY).replays(0, runs=1),
            say("POST", "/items", b'{"b": 2, "a": 2}', key=KEY).gives(422, rule="idem-key-reuse-422", runs=1),
        ],
        policies=but("/items", replay={"fingerprint": "json"}),
    ),
    Vector(
        78,
        "a key belongs to its user",
        [
            say("POST", "/items", PEN, key=KEY, user="alice").gives(201, runs=1, location="/items/1"),
            say("POST", "/items", PEN, key=KEY, user="bob").gives(201, runs=2, location="/items/2"),
            say("POST", "/items", CUP, key=KEY, user="carol").gives(201, runs=3, location="/items/3"),
            say("POST", "/items", PEN, key=KEY, user="alice").replays(0, runs=3),
            say("POST", "/items", PEN, key=KEY, user="bob").replays(1, runs=3),
            say("POST", "/items", PEN, key=KEY).gives(201, runs=4, location="/items/4"),
        ],
    ),
    Vector(
        79,
        "a user stays the same when the token rotates, where a principal is given",
        [
            say("POST", "/items", PEN, key=KEY, user="alice.1").gives(201, runs=1),
            say("POST", "/items", PEN, key=KEY, user="alice.2").replays(0, runs=1),
            say("POST", "/items", PEN, key=KEY, user="bob.1").gives(201, runs=2),
        ],
        principal=user_of_token,
    ),
    Vector(
        80,
        "another Accept gets the answer there is",
        [
            say("POST", "/items", PEN, key=KEY, accept="application/json").gives(201, runs=1),
            say("POST", "/items", PEN, key=KEY, accept="application/xml").replays(0, runs=1, content_type="application/json"),
        ],
    ),
    *[
        Vector(
            81,
            f"a client that cannot read gzip gets the answer uncoded ({who} compresses)",
            [
                say("POST", "/items", PEN, key=KEY, accept_encoding="gzip").gives(201, runs=1, content_encoding="gzip"),
                say("POST", "/items", PEN, key=KEY, accept_encoding="identity").gives(
                    201, runs=1, replayed=True, identity=b'{"id": 1}', location="/items/1"
                ),
            ],
            scripts=scripts,
            compress=where,
            doors=doors,
        )
        for who, where, doors, scripts in (
            ("a layer outside", "outside", EVERYWHERE, {}),
            ("a layer outside, and nothing is repaired,", "outside", EVERYWHERE, SAYS_WHERE),
            # Of content that the application compressed, nobody can derive a Location.
            ("the application", "app", ("asgi", "wsgi", "flask"), SAYS_WHERE),
        )
    ],
    Vector(
        82,
        "of twins at once one runs, and the other is told to come back",
        [
            start("first", "POST", "/slow", PEN, key=KEY),
            say("POST", "/slow", PEN, key=KEY).gives(409, rule="idem-key-inflight-409", runs=1, retry_after=PRESENT),
            finish("first").gives(200, runs=1, body=b'{"done": true}'),
            say("POST", "/slow", PEN, key=KEY).replays(2, runs=1),
            say("GET", "/count").gives(200, body=b"1"),
        ],
    ),
    Vector(
        82,
        "other content under a key in flight is 422, not 409",
        [
            start("first", "POST", "/slow", PEN, key=KEY),
            say("POST", "/slow", CUP, key=KEY).gives(422, rule="idem-key-reuse-422", runs=1),
            finish("first").gives(200, runs=1),
        ],
    ),
    Vector(
        82,
        "where the policy waits, twins get equal answers",
        [
            start("first", "POST", "/slow", PEN, key=KEY),
            start("second", "POST", "/slow", PEN, key=KEY, until="waiting"),
            finish("first").gives(200, runs=1, body=b'{"done": true}'),
            finish("second").replays(2, runs=1),
        ],
        policies=but("/slow", replay={"wait": 30.0}),
    ),
]
