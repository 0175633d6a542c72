"""The vectors that need a gateway between the guard and the application: 13, 14, 16 to 18, 21, 63 and 110 to 112.

Real sockets on both sides. Where uvicorn's parser answers before anybody is asked, the vector says which parser it is for.
"""

from __future__ import annotations

from vectors.conversation import CUP, PEN, PRESENT, Vector, finish, hear, listen, say, start
from vectors.reference import reply

H11, HTTPTOOLS = "gateway-h11", "gateway-httptools"
GATEWAY = (H11, HTTPTOOLS)
KEY, OTHER = '"8e03978e-40d5"', '"8e03978e-40d6"'
WHOLE = "http://testserver"
BOTH = {"transfer_encoding": "chunked"}
SOON = {"timeout": 2.0}  # seconds until a service that hangs is given up: enough for one that does not
RULE = "gateway-502-504"
VIA = ("via", "1.1 verbguard")

# Where a service behind a gateway is told otherwise than an application in its own process: (number, title) -> why.
OTHERWISE = {
    (2, "without a route map get is the application's affair, and a finding"): "aiohttp has no method in lower case: 501",
    (13, "two Host lines are 400, and so is what is no host"): "h11 refuses it before anybody is asked",
    (16, "where no routes are known a GET is not searched for content, unless the profile is strict"): "a gateway searches",
    (21, "a PUT that ends early has no effect"): "uvicorn has no answer for a client that has hung up",
    (21, "a PUT that ends early has no effect, and its key is free"): "uvicorn has no answer for a client that has hung up",
    (44, "a DELETE that has nothing to say is 204"): "clients of a service that nobody can change wait for its 200",
    (51, "204 has no transfer coding either"): "aiohttp takes an answer with two framing fields for malformed",
    (55, "600 is no status: GET gets a 500"): "the fault is the service's: 502",
    (55, "600 is no status: POST gets a 500"): "the fault is the service's: 502",
    (55, "103 is no status: GET gets a 500"): "what says 103 on a socket is an interim answer, and the final one is missing",
    (55, "103 is no status: PUT gets a 500"): "what says 103 on a socket is an interim answer, and the final one is missing",
    (57, "a 426 says what to upgrade to"): "a gateway writes Connection itself, also beside an Upgrade that was there",
}

VECTORS = [
    Vector(
        13,
        "two Host lines are 400 in a gateway, to GET as well",
        [
            say("GET", "/items/1", host="testserver").gives(400, rule="host-exactly-one", runs=0, untouched=True),
            say("PUT", "/items/1", CUP, host="other").gives(400, rule="host-exactly-one", runs=0, untouched=True),
            say("GET", "/items/1").gives(200, body=PEN, runs=1),
        ],
        items=("1",),
        doors=(HTTPTOOLS,),
        bare_too=True,
    ),
    Vector(
        13,
        "two Host lines are 400, where the parser sees to it",
        [
            say("GET", "/items/1", host="testserver").gives(400, runs=0, untouched=True),
            say("GET", "/items/1").gives(200, body=PEN, runs=1),
        ],
        items=("1",),
        doors=(H11,),
        bare_too=True,
    ),
    Vector(
        14,
        "the service sees the path of a whole URL",
        [
            say("GET", f"{WHOLE}/items/1").gives(200, body=PEN, runs=1, seen_path="/items/1", saw=(("host", "testserver"),)),
            say("PUT", f"{WHOLE}/items", CUP).gives(405, rule="put-no-collection", runs=1),
        ],
        items=("1",),
        doors=GATEWAY,
    ),
    Vector(
        14,
        "a URL of another authority never reaches the service",
        [
            say("GET", "http://elsewhere/items/1").gives(421, rule="target-absolute-form", runs=0),
            say("PUT", "http://elsewhere/items/1", CUP, key=KEY).gives(
                421, rule="target-absolute-form", runs=0, untouched=True
            ),
            say("PUT", "/items/1", CUP, key=KEY).gives(204, runs=1),
        ],
        items=("1",),
        doors=(H11,),
    ),
    *[
        Vector(
            16,
            f"content of {method} is 400 in a gateway, and the end of the connection",
            [
                say(method, "/items/1", b"hello").gives(400, rule=rule, runs=0, untouched=True, connection="close")
                if method == "GET"
                else say(method, "/items/1", b"hello").gives(400, runs=0, untouched=True, connection="close"),
                say(method, "/items/1", b"hello", expect="100-continue").gives(400, runs=0, untouched=True, connection="close"),
                say("GET", "/items/1").gives(200, body=PEN, runs=1),
            ],
            items=("1",),
            doors=GATEWAY,
        )
        for method, rule in (("GET", "get-no-content"), ("HEAD", "head-no-request-content"))
    ],
    Vector(
        17,
        "TRACE has no content, and never reaches the service",
        [
            say("TRACE", "/items/1", PEN).gives(400, rule="trace-no-content", runs=0, untouched=True),
            say("TRACE", "/items/1").gives(405, 501, rule="trace-off", runs=0),
        ],
        items=("1",),
        doors=GATEWAY,
    ),
    Vector(
        17,
        "CONNECT has no content",
        [say("CONNECT", "example.org:443", PEN).gives(400, rule="connect-no-content", runs=0, untouched=True)],
        doors=(H11,),
    ),
    Vector(
        18,
        "Content-Length beside Transfer-Encoding is 400, the end of the connection, and no use of the key",
        [
            say("POST", "/items", PEN, key=KEY, **BOTH).gives(
                400, rule="framing-cl-te", runs=0, untouched=True, connection="close"
            ),
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1),
        ],
        doors=(H11,),
        bare_too=True,
    ),
    Vector(
        18,
        "Content-Length beside Transfer-Encoding is 400, where the parser sees to it",
        [
            say("POST", "/items", PEN, key=KEY, **BOTH).gives(400, runs=0, untouched=True, connection="close"),
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1),
        ],
        doors=(HTTPTOOLS,),
        bare_too=True,
    ),
    *[
        Vector(
            21,
            f"a PUT that ends early never reaches the service{', and its key is free' if key else ''}",
            [
                say("PUT", "/items/7", b"1234", key=key, content_length="10").gives(0, runs=0),
                say("GET", "/items/7").gives(404, runs=1),
                say("PUT", "/items/7", b'"90123456"', key=key).gives(201, runs=2),
            ],
            doors=GATEWAY,
            bare_too=True,
        )
        for key in ((), KEY)
    ],
    Vector(
        63,
        "a client of HTTP/1.0 hears the final answer only",
        [
            say("GET", "/items/1", version="1.0").gives(200, body=PEN, runs=1),
            say("POST", "/items", PEN, key=KEY).gives(201, runs=2),
            say("POST", "/items", PEN, key=KEY).replays(1, runs=2),
        ],
        items=("1",),
        hints=True,
        doors=GATEWAY,
    ),
    Vector(
        110,
        "a service that is not there is 502, and every key is free",
        [
            say("POST", "/items", PEN, key=KEY).gives(502, rule=RULE, runs=0),
            say("PUT", "/items/7", CUP, key=OTHER).gives(502, rule=RULE, runs=0),
            say("PUT", "/items/8", CUP).gives(502, rule=RULE, runs=0),
            listen(),
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1),
            say("PUT", "/items/7", CUP, key=OTHER).gives(201, runs=2),
            say("PUT", "/items/8", CUP).gives(201, runs=3),
            say("POST", "/items", PEN, key=KEY).replays(4, runs=3),
        ],
        behind={"listening": False},
        doors=GATEWAY,
    ),
    Vector(
        110,
        "a service that hangs is 504; its POST is not sent again, and a late answer is the answer",
        [
            start("slow", "POST", "/slow", PEN, key=KEY),
            hear("slow").gives(504, rule=RULE, runs=1),
            say("POST", "/slow", PEN, key=KEY).gives(409, runs=1),
            say("POST", "/slow", CUP, key=KEY).gives(422, runs=1),
            say("POST", "/items", CUP, key=OTHER).gives(201, runs=2),
        ],
        behind=SOON,
        doors=GATEWAY,
    ),
    *[
        Vector(
            110,
            f"{method} to a service that hangs is 504, and may be repeated by its client",
            [
                start("slow", method, "/items/1", PEN if method == "PUT" else b""),
                hear("slow").gives(504, rule=RULE, runs=1),
                finish("slow"),
                say(method, "/items/1", CUP if method == "PUT" else b"").gives(204 if method == "PUT" else 200, runs=2),
            ],
            items=("1",),
            holds=frozenset({f"{method} /items/{{id}}"}),
            behind=SOON,
            doors=GATEWAY,
            bare_too=True,
        )
        for method in ("GET", "PUT")
    ],
    Vector(
        111,
        "what Connection names is gone from the answer and from its replays, and Via is there",
        [
            say("POST", "/items", PEN, key=KEY, connection="X-Hop", x_hop="1", x_end="2").gives(
                201, runs=1, x_foo=None, x_bar="2", unseen=("x-hop", "connection"), saw=(VIA, ("x-end", "2"))
            ),
            say("POST", "/items", PEN, key=KEY).replays(0, runs=1, x_foo=None, x_bar="2"),
            say("GET", "/items/1").gives(200, runs=2, saw=(VIA,)),
        ],
        scripts={"POST /items": [reply(201, b'{"id": 1}', location="/items/1", connection="X-Foo", x_foo="1", x_bar="2")]},
        items=("1",),
        doors=GATEWAY,
    ),
    Vector(
        112,
        "the key reaches the service as it was sent",
        [
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1, saw=(("idempotency-key", KEY),)),
            say("PATCH", "/items/1", CUP, key=OTHER, content_type="application/merge-patch+json").gives(
                200, runs=2, saw=(("idempotency-key", OTHER),)
            ),
            say("POST", "/items", PEN, key=KEY).gives(201, runs=2, replayed=True, idempotent_replayed=PRESENT),
        ],
        doors=GATEWAY,
    ),
]
