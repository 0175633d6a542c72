"""QUERY: vectors 64 to 66."""

from __future__ import annotations

from vectors.conversation import PEN, Vector, lists, say
from vectors.reference import reply

SEARCH = "QUERY /search"
JSON = {"content_type": "application/json"}

VECTORS = [
    Vector(
        64,
        "a question that does not say what it is written in is 400",
        [
            say("QUERY", "/search").gives(400, rule="query-content-type", runs=0),
            say("QUERY", "/search", PEN, content_type="json").gives(400, rule="query-content-type", runs=0, untouched=True),
        ],
    ),
    Vector(
        64,
        "a question in another language is 415, and says which are taken",
        [
            say("QUERY", "/search", b"select 1", content_type="application/sql").gives(
                415, rule="query-media-accepted", runs=0, untouched=True, accept_query="application/json"
            )
        ],
    ),
    Vector(
        64,
        "OPTIONS says that questions are taken, and in what",
        [say("OPTIONS", "/search").gives(200, 204, runs=0, allow=lists("QUERY", "OPTIONS"), accept_query="application/json")],
        doors=("asgi", "wsgi", "fastapi", "starlette"),  # Flask answers OPTIONS itself, with what its routes show
    ),
    Vector(
        65,
        "a question is asked as often as it is asked, whatever key comes with it",
        [
            say("QUERY", "/search", PEN, key='"k"').gives(200, runs=1, body=b'{"asked": {"name": "pen"}}', finds=""),
            say("QUERY", "/search", PEN, key='"k"').gives(200, runs=2, body=b'{"asked": {"name": "pen"}}', finds=""),
            say("QUERY", "/search", PEN, key=["a", "b"]).gives(200, runs=3, finds=""),
        ],
        bare_too=True,
    ),
    Vector(
        66,
        "Location on the answer to a question is no creation",
        [
            say("QUERY", "/search", PEN).gives(
                200, runs=1, location="/searches/1", content_location="/results/1", finds="", body=b"{}"
            )
        ],
        scripts={SEARCH: [reply(200, b"{}", location="/searches/1", content_location="/results/1", **JSON)]},
        bare_too=True,
    ),
    Vector(
        66,
        "a question can be asked conditionally",
        [
            say("QUERY", "/search", PEN, if_none_match='"a"').gives(304, runs=1, etag='"a"', body=b"", finds=""),
            say("QUERY", "/search", PEN, if_match='"b"').gives(412, runs=2, finds=""),
        ],
        scripts={SEARCH: [reply(304, etag='"a"'), reply(412)]},
        bare_too=True,
    ),
    Vector(
        66,
        "304 to an unconditional question means nothing",
        [
            say("QUERY", "/search", PEN)
            .gives(304, runs=1, finds="status-304-needs-precondition")
            .strictly(500, rule="status-304-needs-precondition")
        ],
        scripts={SEARCH: [reply(304)]},
    ),
]
