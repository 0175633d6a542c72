"""Method and target: vectors 1 to 12, 15, 48 and 49."""

from __future__ import annotations

from vectors.conversation import (
    BARE,
    MERGE_PATCH,
    PEN,
    ROUTED,
    Vector,
    but,
    lists,
    one_of,
    say,
)
from vectors.reference import ECHO_METHODS

ASGI_ROUTED = ("fastapi", "starlette")
EVERY_ITEM_METHOD = lists("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
PREFLIGHT = {"origin": "https://example.org", "access_control_request_method": "PUT"}
ALMOST_ITEMS = ("//items", "//items/", "/items/", "/items//")

VECTORS = [
    Vector(
        1,
        "an unknown method is 501 and runs nothing",
        [say("FOO", "/items/1").gives(501, rule="method-unknown-501", runs=0, untouched=True)],
        items=("1",),
        doors=ROUTED,
    ),
    Vector(
        1,
        "without a route map an unknown method is the application's affair, and a finding",
        [say("FOO", "/items/1").gives(own=True, finds="method-unknown-501", runs=0)],
        items=("1",),
        policies={},
        doors=BARE,
    ),
    Vector(
        2,
        "methods are case-sensitive: get is not GET",
        [say("get", "/items/1").gives(501, rule="method-case-sensitive|method-unknown-501", runs=0)],
        items=("1",),
        doors=ROUTED,
    ),
    Vector(
        2,
        "without a route map get is the application's affair, and a finding",
        [say("get", "/items/1").gives(own=True, finds="method-case-sensitive|method-unknown-501", runs=0)],
        items=("1",),
        policies={},
        doors=BARE,
    ),
    Vector(
        3,
        "DELETE on the collection is 405 with everything it does allow",
        [say("DELETE", "/items").gives(405, runs=0, allow=lists("GET", "HEAD", "POST", "OPTIONS", without="DELETE PUT PATCH"))],
    ),
    Vector(
        4,
        "HEAD is answered from GET",
        [
            say("GET", "/items/1").gives(200, body=PEN, content_type="application/json", etag='"v1"'),
            say("HEAD", "/items/1").gives(200, body=b"", content_type="application/json", etag='"v1"'),
        ],
        items=("1",),
    ),
    Vector(
        4,
        "HEAD of what is not there is 404 without content",
        [say("HEAD", "/items/1").gives(404, body=b"")],
    ),
    Vector(
        5,
        "HEAD says the length of the GET, or none",
        [say("HEAD", "/items/1").gives(200, body=b"", content_length=one_of(str(len(PEN)), None))],
        items=("1",),
    ),
    Vector(
        6,
        "OPTIONS lists every mapped method and the patch formats",
        [say("OPTIONS", "/items/1").gives(200, 204, runs=0, allow=EVERY_ITEM_METHOD, accept_patch=MERGE_PATCH, body=b"")],
        items=("1",),
    ),
    Vector(
        7,
        "OPTIONS * is a ping",
        [say("OPTIONS", "*").gives(200, 204, runs=0, accept_patch=None)],
    ),
    Vector(
        7,
        "no other method has *",
        [
            say("GET", "*").gives(400, runs=0, rule="target-asterisk-options-only"),
            say("PUT", "*", PEN).gives(400, runs=0, rule="target-asterisk-options-only", untouched=True),
        ],
    ),
    Vector(
        8,
        "a preflight is answered by the CORS layer alone",
        [
            say("OPTIONS", "/items/1", **PREFLIGHT).gives(
                200, runs=0, own=True, access_control_allow_origin="*", allow=None, accept_patch=None
            )
        ],
        cors=True,
        bare_too=True,
    ),
    Vector(
        8,
        "a preflight that no CORS layer answers is never made to look allowed",
        [
            say("OPTIONS", "/items/1", **PREFLIGHT).gives(
                405, runs=0, access_control_allow_origin=None, access_control_allow_methods=None
            )
        ],
        doors=(*BARE, *ASGI_ROUTED),
        bare_too=True,
    ),
    Vector(
        9,
        "TRACE is refused and echoes nothing",
        [
            say("TRACE", "/items/1", x_secret="s3cr3t").gives(
                405, 501, runs=0, rule="trace-off", x_secret=None, message_http=None
            )
        ],
        items=("1",),
    ),
    Vector(
        10,
        "CONNECT is for proxies",
        [
            say("CONNECT", "example.org:443").gives(405, 501, runs=0, rule="connect-off"),
            say("CONNECT", "example.org:").gives(400, runs=0, rule="connect-port"),
        ],
    ),
    Vector(
        11,
        "an override header does not turn POST into DELETE",
        [
            say("POST", "/items/1", x_http_method_override="DELETE").gives(405, runs=0),
            say("GET", "/items/1").gives(200, body=PEN),
        ],
        items=("1",),
        doors=ROUTED,
        bare_too=True,
    ),
    *[
        Vector(
            11,
            f"{header} never reaches a handler behind a route map",
            [
                say("POST", "/items", PEN, **{header.replace("-", "_"): "DELETE"}).gives(
                    201, runs=1, unseen=(header,), finds="method-no-override"
                )
            ],
            doors=ROUTED,
        )
        for header in ("x-http-method-override", "x-http-method", "x-method-override")
    ],
    Vector(
        11,
        "without a route map an override header is a finding",
        [
            say("POST", "/items/1", x_http_method_override="DELETE").gives(405, runs=0, finds="method-no-override"),
            say("GET", "/items/1").gives(200, body=PEN),
        ],
        items=("1",),
        policies={},
        doors=BARE,
    ),
    Vector(
        12,
        "a method in the query string means nothing",
        [
            say("GET", "/items/1?_method=DELETE").gives(200, body=PEN, runs=1),
            say("GET", "/items/1").gives(200, body=PEN, runs=2),
        ],
        items=("1",),
        bare_too=True,
    ),
    Vector(
        15,
        "another spelling of the collection that the router understands is the collection",
        [say("PUT", "/%69tems", PEN).gives(405, runs=0, rule="put-no-collection", untouched=True)],
    ),
    *[
        Vector(
            15,
            f"{target} is what the application's router says it is, and no PUT on the collection",
            [say("PUT", target, PEN).gives(own=True, runs=0)],
            doors=ROUTED,
            bare_too=True,
        )
        for target in ALMOST_ITEMS
    ],
    *[
        Vector(
            15,
            f"without a router to ask, {target} is the collection too",
            [say("PUT", target, PEN).gives(405, runs=0, rule="put-no-collection", untouched=True)],
            doors=BARE,
        )
        for target in ALMOST_ITEMS
    ],
    Vector(
        15,
        "an encoded dot segment reaches the application as it came",
        [say("PUT", "/items/%2e", PEN).gives(201, runs=1, seen_path="/items/.")],
        bare_too=True,
    ),
    *[
        Vector(
            48,
            f"a 405 to {method} gets the Allow it lacks, without {method}",
            [say(method, "/echo/405").gives(405, runs=1, allow=lists(*others, without=method))],
            policies=but("/echo/{code}", methods=set(ECHO_METHODS)),
        )
        for method, others in (
            ("GET", ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")),
            ("POST", ("GET", "PUT", "PATCH", "DELETE", "OPTIONS")),
            ("DELETE", ("GET", "POST", "PUT", "PATCH", "OPTIONS")),
        )
    ],
    Vector(
        49,
        "Allow is the union of the routes of a path",
        [
            say("DELETE", "/items").gives(405, runs=0, allow=lists("GET", "HEAD", "POST", "OPTIONS", without="DELETE")),
            say("PUT", "/items", PEN).gives(405, runs=0, allow=lists("GET", "HEAD", "POST", "OPTIONS", without="PUT")),
            say("POST", "/items/1").gives(405, runs=0, allow=EVERY_ITEM_METHOD),
        ],
        policies={},
        doors=ROUTED,
    ),
]
