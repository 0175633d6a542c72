"""Targets and request content: vectors 13, 14, 16 to 21 and 108."""

from __future__ import annotations

from vectors.conversation import BARE, CUP, MERGE_PATCH, PEN, ROUTED, Policies, Vector, but, say

ASGI = ("asgi", "fastapi", "starlette")
WSGI = ("wsgi", "flask")
KEY = '"early"'
WHOLE = "http://testserver"  # the authority that the driver's Host names
BOTH = {"transfer_encoding": "chunked"}  # beside the Content-Length that the driver adds

TYPED: Policies = {
    **but("/items/{id}", accepts={"PATCH": [MERGE_PATCH], "PUT": ["application/json"]}),
    "/items": {"kind": "collection", "methods": {"GET", "POST"}, "accepts": {"POST": ["application/json"]}},
}
CODED: Policies = {
    **but("/items", codings=["gzip"]),
    "/orders": {"kind": "collection", "methods": {"POST"}, "location": "/orders/{id}", "codings": []},
}
PATCHED = {"content_type": MERGE_PATCH}

VECTORS = [
    Vector(
        13,
        "two Host lines are 400, and so is what is no host",
        [
            say("PUT", "/items/1", CUP, host="testserver").gives(400, rule="host-exactly-one", runs=0, untouched=True),
            say("DELETE", "/items/1", host="other").gives(400, rule="host-exactly-one", runs=0),
            say("GET", "/items/1").gives(200, body=PEN, finds=""),
        ],
        items=("1",),
    ),
    Vector(
        14,
        "a whole URL stands for the path in it",
        [
            say("GET", f"{WHOLE}/items/1").gives(200, body=PEN, seen_path="/items/1", finds="target-absolute-form"),
            say("PUT", f"{WHOLE}/items/2?v=2", CUP).gives(201, location="/items/2?v=2"),
            say("PUT", "/items/2?v=2", CUP).gives(201, replayed=True, same_as=1),
            say("PUT", f"{WHOLE}/items", CUP).gives(405, rule="put-no-collection", untouched=True),
            say("GET", f"{WHOLE}:80/items/1").gives(200, body=PEN, seen_path="/items/1"),
        ],
        items=("1",),
    ),
    Vector(
        14,
        "a URL of another authority than Host's is 421",
        [
            say("GET", "http://elsewhere/items/1").gives(421, rule="target-absolute-form", runs=0),
            say("PUT", "https://testserver:80/items/1", CUP, key=KEY).gives(
                421, rule="target-absolute-form", runs=0, untouched=True
            ),
            say("PUT", "/items/1", CUP, key=KEY).gives(204, runs=1),
        ],
        items=("1",),
    ),
    Vector(
        14,
        "a host and a port are a target for CONNECT only",
        [say("PUT", "example.org:443", PEN).gives(400, rule="target-authority-connect-only", runs=0, untouched=True)],
    ),
    Vector(
        16,
        "content of GET is a finding",
        [say("GET", "/items/1", b"hello").gives(200, body=PEN, runs=1, finds="get-no-content")],
        items=("1",),
        doors=ROUTED,
    ),
    Vector(
        16,
        "where no routes are known a GET is not searched for content, unless the profile is strict",
        [
            say("GET", "/items/1", b"hello")
            .gives(200, body=PEN, runs=1, finds="")
            .strictly(200, body=PEN, runs=1, finds="get-no-content")
        ],
        items=("1",),
        doors=BARE,
        bare_too=True,
    ),
    Vector(
        16,
        "content of GET is refused where a policy says so",
        [
            say("GET", "/items/1", b"hello").gives(400, rule="get-no-content", runs=0, untouched=True),
            say("GET", "/items/1").gives(200, body=PEN, runs=1),
        ],
        policies=but("/items/{id}", rules={"get-no-content": "reject"}),
        items=("1",),
    ),
    Vector(
        17,
        "TRACE has no content",
        [
            say("TRACE", "/items/1", PEN).gives(400, rule="trace-no-content", runs=0, untouched=True),
            say("TRACE", "/items/1").gives(405, 501, rule="trace-off", runs=0),
        ],
        items=("1",),
    ),
    Vector(
        17,
        "CONNECT has no content",
        [say("CONNECT", "example.org:443", PEN).gives(400, rule="connect-no-content", runs=0, untouched=True)],
    ),
    *[
        Vector(
            18,
            "Content-Length beside Transfer-Encoding is 400" + (", and the end of the connection" if connection else ""),
            [
                say("POST", "/items", PEN, key=KEY, **BOTH).gives(
                    400, rule="framing-cl-te", runs=0, untouched=True, connection=connection
                ),
                say("POST", "/items", PEN, key=KEY).gives(201, runs=1),
            ],
            doors=doors,
        )
        for doors, connection in ((ASGI, "close"), (WSGI, None))
    ],
    Vector(
        19,
        "a patch format that is not declared is 415 with Accept-Patch",
        [
            say("PATCH", "/items/1", CUP, content_type="text/plain").gives(
                415,
                rule="content-type-accepted|patch-media-type",
                runs=0,
                untouched=True,
                accept_patch=MERGE_PATCH,
                accept=None,
                accept_encoding=None,
            ),
            say("PATCH", "/items/1", CUP, **PATCHED).gives(200, runs=1, body=CUP),
        ],
        policies=TYPED,
        items=("1",),
    ),
    Vector(
        19,
        "a media type that is not declared is 415 with Accept, and the key is free",
        [
            say("POST", "/items", PEN, key=KEY, content_type="text/plain").gives(
                415, rule="content-type-accepted", runs=0, untouched=True, accept="application/json", accept_encoding=None
            ),
            say("POST", "/items", PEN, key=KEY).gives(201, runs=1),
            say("PUT", "/items/7", PEN, content_type="").gives(
                415, rule="content-type-accepted", runs=1, accept="application/json"
            ),
            say("PUT", "/items/7", PEN, content_type="application/json; charset=utf-8").gives(201, runs=2),
        ],
        policies=TYPED,
    ),
    Vector(
        19,
        "a 415 about the media type names no codings",
        [
            say("POST", "/echo/415?h=Accept-Encoding:gzip&h=Accept:a/b", PEN).gives(
                415, runs=1, accept="a/b", accept_encoding=None, finds="status-415-accept-encoding-only-coding"
            )
        ],
    ),
    Vector(
        20,
        "a content coding that is not declared is 415 with Accept-Encoding",
        [
            say("POST", "/items", PEN, content_encoding="foo").gives(
                415, rule="content-coding-accepted", runs=0, untouched=True, accept_encoding="gzip", accept=None
            ),
            say("POST", "/orders", PEN, content_encoding="gzip").gives(
                415, rule="content-coding-accepted", runs=0, untouched=True, accept_encoding="identity"
            ),
            say("POST", "/items", PEN, content_encoding="gzip").gives(201, runs=1),
        ],
        policies=CODED,
    ),
    Vector(
        20,
        "without a declaration an unregistered coding is a finding",
        [say("POST", "/items", PEN, content_encoding="foo").gives(201, runs=1, finds="content-coding-accepted")],
    ),
    *[
        Vector(
            21,
            f"a PUT that ends early has no effect{', and its key is free' if key else ''}",
            [
                say("PUT", "/items/7", b"1234", key=key, content_length="10").gives(400, rule="content-complete", runs=0),
                say("GET", "/items/7").gives(404, runs=1),
                say("PUT", "/items/7", b'"90123456"', key=key).gives(201, runs=2),
            ],
        )
        for key in ((), KEY)
    ],
    Vector(
        108,
        "a PUT in early data is 425, and nothing is kept",
        [
            say("PUT", "/items/7", PEN, early_data="1").gives(425, rule="early-data-unsafe", runs=0, untouched=True),
            say("PUT", "/items/7", PEN).gives(201, runs=1),
            say("PUT", "/items/7", PEN, early_data="1").gives(425, rule="early-data-unsafe", runs=1, untouched=True),
            say("PUT", "/items/7", PEN).replays(1, runs=1),
        ],
    ),
    Vector(
        108,
        "a key that came in early data is free",
        [
            say("POST", "/items", PEN, key=KEY, early_data="1").gives(425, rule="early-data-unsafe", runs=0, untouched=True),
            say("POST", "/items", CUP, key=KEY).gives(201, runs=1),
            say("POST", "/items", CUP, key=KEY).replays(1, runs=1),
        ],
    ),
    Vector(
        108,
        "a GET in early data passes",
        [say("GET", "/items/1", early_data="1").gives(200, body=PEN, runs=1, finds="")],
        items=("1",),
        bare_too=True,
    ),
]
