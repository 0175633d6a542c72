"""PUT: vectors 22 to 37."""

from __future__ import annotations

from vectors.conversation import CUP, PEN, Vector, but, lists, say
from vectors.reference import reply

PUT_ITEM = "PUT /items/{id}"
ALLOWED = lists("GET", "HEAD", "POST", "OPTIONS", without="PUT")
SINCE = "Fri, 30 Jun 2023 23:59:59 GMT"
TRANSFORMED = reply(200, CUP, content_type="application/json", etag='"v2"', last_modified=SINCE)
NOT_IN_TABLE = "put-status-set|status-method-table"

VECTORS = [
    Vector(
        22,
        "a refusal does not wait for content that the client holds back",
        [
            say("PUT", "/items", PEN, expect="100-continue").gives(
                405, rule="put-no-collection", runs=0, untouched=True, allow=ALLOWED
            )
        ],
    ),
    Vector(
        22,
        "a refusal before much content says that it closes the connection",
        [
            say("PUT", "/items", content_length="10000000", expect="100-continue").gives(
                405, rule="put-no-collection", runs=0, untouched=True, connection="close"
            )
        ],
        doors=("asgi", "fastapi", "starlette"),
    ),
    Vector(
        22,
        "under WSGI the connection is the server's: PEP 3333 forbids an application to speak of it",
        [
            say("PUT", "/items", content_length="10000000", expect="100-continue").gives(
                405, rule="put-no-collection", runs=0, untouched=True, connection=None
            )
        ],
        doors=("wsgi", "flask"),
    ),
    Vector(
        23,
        "PUT on a collection is 405 with a complete Allow",
        [say("PUT", "/items", PEN).gives(405, rule="put-no-collection", runs=0, untouched=True, allow=ALLOWED)],
    ),
    Vector(
        23,
        "PUT on an inferred collection too",
        [say("PUT", "/items", PEN).gives(405, rule="put-no-collection", runs=0, untouched=True, allow=ALLOWED)],
        policies={},
        doors=("fastapi", "starlette", "flask"),
    ),
    Vector(
        23,
        "a refused PUT does not use its key up",
        [
            say("PUT", "/items", PEN, key='"k"').gives(405, rule="put-no-collection", runs=0, untouched=True),
            say("POST", "/items", CUP, key='"k"').gives(201, runs=1),
        ],
    ),
    Vector(
        24,
        "a PUT that creates says 201 and where",
        [
            say("PUT", "/items/7", PEN).gives(201, runs=1, location="/items/7"),
            say("GET", "/items/7").gives(200, body=PEN),
        ],
    ),
    Vector(
        25,
        "the injected Location keeps the query",
        [say("PUT", "/items/7?v=2", PEN).gives(201, runs=1, location="/items/7?v=2")],
    ),
    Vector(
        26,
        "a Location of the application's own is untouched",
        [say("PUT", "/items/7", PEN).gives(201, runs=1, location="/items/7/versions/1")],
        scripts={PUT_ITEM: [reply(201, location="/items/7/versions/1")]},
        bare_too=True,
    ),
    Vector(
        26,
        "a Location of the application's own is untouched, absolute or not",
        [say("PUT", "/items/7", PEN).gives(201, runs=1, location="http://testserver/items/7")],
        scripts={PUT_ITEM: [reply(201, location="http://testserver/items/7")]},
        bare_too=True,
    ),
    Vector(
        27,
        "what If-Match proved to exist was not created",
        [say("PUT", "/items/7", CUP, if_match='"v1"').gives(200, 204, runs=1, location=None)],
        items=("7",),
        scripts={PUT_ITEM: [reply(201)]},
    ),
    Vector(
        28,
        "what If-None-Match: * proved absent was created",
        [say("PUT", "/items/7", PEN, if_none_match="*").gives(201, runs=1, location="/items/7")],
        scripts={PUT_ITEM: [reply(200, PEN, content_type="application/json")]},
    ),
    Vector(
        29,
        "If-None-Match: * protects what exists",
        [
            say("PUT", "/items/7", CUP, if_none_match="*").gives(412, runs=1),
            say("GET", "/items/7").gives(200, body=PEN, etag='"v1"'),
        ],
        items=("7",),
        bare_too=True,
    ),
    Vector(
        29,
        "the guard protects what exists before the handler runs, where a policy tells the state",
        [
            say("PUT", "/items/7", CUP, if_none_match="*").gives(412, rule="if-none-match-star", runs=0),
            say("PUT", "/items/7", CUP, if_match='W/"v1"').gives(412, rule="if-match-evaluated", runs=0),
            say("GET", "/items/7").gives(200, runs=1, body=PEN, etag='"v1"'),
            say("PUT", "/items/8", CUP, if_none_match="*").gives(201, runs=2, location="/items/8"),
        ],
        items=("7",),
        policies=but("/items/{id}", validator="items"),
    ),
    Vector(
        30,
        "a partial PUT is 400 and changes nothing",
        [
            say("PUT", "/items/7", b"0123", content_range="bytes 0-3/10").gives(
                400, rule="put-content-range-400", runs=0, untouched=True
            ),
            say("GET", "/items/7").gives(200, body=PEN, etag='"v1"'),
        ],
        items=("7",),
    ),
    Vector(
        31,
        "a route that transforms what it stores has no validator for it",
        [
            say("PUT", "/items/7", PEN).gives(
                200, runs=1, body=CUP, etag=None, last_modified=None, finds="put-validator-only-verbatim"
            ),
            say("PUT", "/items/7", PEN).gives(200, runs=2, etag=None),  # the replay window is not asked for here
        ],
        scripts={PUT_ITEM: [TRANSFORMED, TRANSFORMED]},
        policies=but("/items/{id}", rules={"put-validator-only-verbatim": "repair"}, replay={"keyless": False}),
    ),
    Vector(
        31,
        "a repeated PUT is told what the first was told",
        [
            say("PUT", "/items/7", PEN, key='"k"').gives(200, runs=1, body=CUP, etag=None, last_modified=None),
            say("PUT", "/items/7", PEN, key='"k"').replays(0, runs=1, etag=None, last_modified=None),
        ],
        scripts={PUT_ITEM: [TRANSFORMED]},
        policies=but("/items/{id}", rules={"put-validator-only-verbatim": "repair"}),
    ),
    Vector(
        31,
        "a route that stores what it gets keeps its validators",
        [say("PUT", "/items/7", PEN).gives(200, runs=1, body=CUP, etag='"v2"', last_modified=SINCE, finds="")],
        scripts={PUT_ITEM: [TRANSFORMED]},
        policies=but("/items/{id}", rules={"put-validator-only-verbatim": "off"}),
        bare_too=True,
    ),
    Vector(
        32,
        "a PUT has no ranges: 206 without one is 200",
        [say("PUT", "/items/7", PEN).gives(200, runs=1, body=b"whole", finds=NOT_IN_TABLE + "|status-206-needs-range")],
        scripts={PUT_ITEM: [reply(206, b"whole", content_type="text/plain")]},
    ),
    Vector(
        32,
        "a 206 that does name a range is a finding, in strict a 500",
        [
            say("PUT", "/items/7", PEN)
            .gives(206, runs=1, body=b"part", finds=NOT_IN_TABLE + "|status-206-needs-range")
            .strictly(500, rule=NOT_IN_TABLE + "|status-206-needs-range")
        ],
        scripts={PUT_ITEM: [reply(206, b"part", content_type="text/plain", content_range="bytes 0-3/10")]},
    ),
    Vector(
        33,
        "a PUT resets no form: 205 with content is 204 with none",
        [
            say("PUT", "/items/7", PEN).gives(
                204, runs=1, body=b"", content_length=None, transfer_encoding=None, content_type=None
            )
        ],
        scripts={PUT_ITEM: [reply(205, b"payload", content_type="text/plain", content_length="7")]},
    ),
    *[
        Vector(
            34,
            f"{status} sends the client elsewhere, unchanged",
            [say("PUT", "/items/7", PEN).gives(status, runs=1, body=b"", location="/items/8", finds="")],
            scripts={PUT_ITEM: [reply(status, location="/items/8")]},
            bare_too=True,
        )
        for status in (303, 308)
    ],
    Vector(
        35,
        "202 claims nothing and passes unchanged",
        [
            say("PUT", "/items/7", PEN).gives(
                202, runs=1, body=b'{"job": 1}', content_location="/jobs/1", location=None, finds=""
            )
        ],
        scripts={PUT_ITEM: [reply(202, b'{"job": 1}', content_type="application/json", content_location="/jobs/1")]},
        bare_too=True,
    ),
    Vector(
        36,
        "a route that requires conditions says so",
        [
            say("PUT", "/items/7", CUP).gives(
                428, rule="put-conditional-required", runs=0, untouched=True, cache_control="no-store", mentions=b"If-Match"
            ),
            say("DELETE", "/items/7").gives(
                428, rule="lost-update-428", runs=0, cache_control="no-store", mentions=b"If-Match"
            ),
            say("PUT", "/items/7", CUP, key='"k"').gives(428, rule="put-conditional-required", runs=0, untouched=True),
            say("PUT", "/items/7", CUP, key='"k"', if_match='"v1"').gives(204, runs=1),
            say("PUT", "/items/8", PEN, if_none_match="*").gives(201, runs=2),
        ],
        items=("7",),
        policies=but("/items/{id}", require_precondition=True),
    ),
    Vector(
        37,
        "an answer to PUT has no lifetime, and no GET is answered with it",
        [
            say("PUT", "/items/7", CUP).gives(
                200, runs=1, body=b"saved", cache_control="max-age=60", finds="put-not-cacheable"
            ),
            say("GET", "/items/7").gives(200, runs=2, body=PEN),
        ],
        items=("7",),
        scripts={PUT_ITEM: [reply(200, b"saved", content_type="text/plain", cache_control="max-age=60")]},
    ),
]
