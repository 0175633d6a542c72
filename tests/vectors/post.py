"""POST, PATCH and DELETE: vectors 19 and 38 to 47."""

from __future__ import annotations

from vectors.conversation import BARE, CUP, MERGE_PATCH, PEN, ROUTED, Vector, say
from vectors.reference import reply

JSON = {"content_type": "application/json"}
POST_ITEMS = "POST /items"
CREATED = reply(201, b'{"id": 9}', **JSON)
NOT_IN_TABLE = "post-no-206-304-416|status-method-table"
WITHOUT_TEMPLATE = {"/items": {"kind": "collection", "methods": {"GET", "POST"}}}

VECTORS = [
    Vector(
        38,
        "201 to a POST is given the Location its policy describes",
        [say("POST", "/items", PEN).gives(201, runs=1, location="/items/9", body=b'{"id": 9}')],
        scripts={POST_ITEMS: [CREATED]},
    ),
    Vector(
        38,
        "the one item route below an inferred collection is its template",
        [say("POST", "/items", PEN).gives(201, runs=1, location="/items/9", body=b'{"id": 9}')],
        scripts={POST_ITEMS: [CREATED]},
        policies={},
        doors=ROUTED,
    ),
    Vector(
        38,
        "a Content-Location of the answer comes before the template",
        [say("POST", "/items", PEN).gives(201, runs=1, location="/items/10")],
        scripts={POST_ITEMS: [reply(201, b'{"id": 9}', content_location="/items/10", **JSON)]},
    ),
    Vector(
        39,
        "where nothing says what was created, no Location is invented",
        [
            say("POST", "/items", PEN)
            .gives(201, runs=1, location=None, body=b'{"id": 9}', finds="post-201-location")
            .strictly(500, rule="post-201-location")
        ],
        scripts={POST_ITEMS: [CREATED]},
        policies=WITHOUT_TEMPLATE,
        doors=BARE,  # a router's item route would be the template
    ),
    Vector(
        39,
        "a body without the field its template needs gives no Location",
        [
            say("POST", "/items", PEN)
            .gives(201, runs=1, location=None, body=b'{"name": "pen"}', finds="post-201-location")
            .strictly(500, rule="post-201-location")
        ],
        scripts={POST_ITEMS: [reply(201, PEN, **JSON)]},
    ),
    Vector(
        40,
        "304 to a POST with If-None-Match is 412",
        [say("POST", "/echo/304", PEN, if_none_match='"x"').gives(412, runs=1)],
    ),
    Vector(
        40,
        "304 to a POST without a precondition is 204",
        [say("POST", "/echo/304", PEN).gives(204, runs=1, body=b"", content_length=None)],
    ),
    Vector(
        41,
        "POST has no ranges: 206 without one is 200",
        [say("POST", "/echo/206", PEN).gives(200, runs=1, body=b"payload", finds=NOT_IN_TABLE + "|status-206-needs-range")],
    ),
    Vector(
        41,
        "206 with a range to a POST is a finding, in strict a 500",
        [
            say("POST", "/echo/206?h=Content-Range:bytes%200-6/20", PEN)
            .gives(206, runs=1, body=b"payload", finds=NOT_IN_TABLE + "|status-206-needs-range")
            .strictly(500, rule=NOT_IN_TABLE + "|status-206-needs-range")
        ],
    ),
    Vector(
        41,
        "416 to a POST is a finding, in strict a 500",
        [
            say("POST", "/echo/416", PEN)
            .gives(416, runs=1, body=b"payload", finds=NOT_IN_TABLE + "|status-416-needs-range")
            .strictly(500, rule=NOT_IN_TABLE + "|status-416-needs-range")
        ],
    ),
    Vector(
        42,
        "302 to a POST passes, with the advice to use 303 or 307",
        [say("POST", "/echo/302?h=Location:/items", PEN).gives(302, runs=1, location="/items", finds="post-redirect-explicit")],
    ),
    Vector(
        44,
        "a DELETE that has nothing to say is 204",
        [say("DELETE", "/items/1").gives(204, runs=1, body=b"", content_length=None, transfer_encoding=None)],
        items=("1",),
        scripts={"DELETE /items/{id}": [reply(200, content_length="0")]},
    ),
    Vector(
        44,
        "a DELETE that has something to say keeps its 200",
        [say("DELETE", "/items/1").gives(200, runs=1, body=b"deleted", finds="")],
        items=("1",),
        scripts={"DELETE /items/{id}": [reply(200, b"deleted", content_type="text/plain", content_length="7")]},
        bare_too=True,
    ),
    Vector(
        45,
        "a second DELETE may be answered otherwise",
        [say("DELETE", "/items/1").gives(204, runs=1), say("DELETE", "/items/1").gives(404, runs=2)],
        items=("1",),
        bare_too=True,
    ),
    Vector(
        46,
        "a second DELETE with the key of the first is answered as the first",
        [
            say("DELETE", "/items/1", key='"k"').gives(204, runs=1),
            say("DELETE", "/items/1", key='"k"').replays(0, runs=1),
        ],
        items=("1",),
    ),
    Vector(
        47,
        "a DELETE creates nothing: 201 is 200, or 204 without content",
        [
            say("DELETE", "/items/1").gives(200, runs=1, body=b"deleted", finds="delete-status-set"),
            say("DELETE", "/items/1").gives(204, runs=2, body=b"", content_length=None, finds="delete-status-set"),
        ],
        items=("1",),
        scripts={"DELETE /items/{id}": [reply(201, b"deleted", content_type="text/plain"), reply(201)]},
    ),
    Vector(
        19,
        "a patch in another format is 415, and says which are taken",
        [
            say("PATCH", "/items/1", b"name=cup", content_type="text/plain").gives(
                415, rule="patch-media-type", runs=0, untouched=True, accept_patch=MERGE_PATCH, accept_encoding=None
            ),
            say("PATCH", "/items/1", b"name=cup", content_type="text/plain", key='"k"').gives(415, runs=0),
            say("PATCH", "/items/1", CUP, content_type=MERGE_PATCH, key='"k"').gives(200, runs=1),
            say("PATCH", "/items/1", PEN).gives(200, runs=2),
        ],
        items=("1",),
    ),
    Vector(
        19,
        "a 415 of the application's own says so too",
        [say("PATCH", "/items/1", CUP).gives(415, runs=1, accept_patch=MERGE_PATCH, accept_encoding=None)],
        items=("1",),
        scripts={"PATCH /items/{id}": [reply(415)]},
    ),
    Vector(
        43,
        "412 to a PATCH without a condition is a finding",
        [say("PATCH", "/items/1", CUP).gives(412, runs=1, finds="patch-412-had-precondition")],
        items=("1",),
        scripts={"PATCH /items/{id}": [reply(412)]},
    ),
    Vector(
        43,
        "412 to a PATCH with a condition is none",
        [say("PATCH", "/items/1", CUP, if_match='"v0"').gives(412, runs=1, finds="")],
        items=("1",),
        bare_too=True,
    ),
]
