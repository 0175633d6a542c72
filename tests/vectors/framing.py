"""Statuses that decide about content and fields: vectors 50 to 62."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from vectors.conversation import PEN, Policies, Vector, but, say
from vectors.reference import ECHO_METHODS

DIGEST = "sha-256=:I59Z7VXnN8dxR89VrQwbAwttfudIp0JpUvm4UtWpNeU=:"  # of "payload"
DIGESTED = "h=Content-Digest:" + quote(DIGEST) + "&h=Repr-Digest:" + quote(DIGEST)
SIGNED = "h=Signature:sig=:AAAA:&h=Signature-Input:" + quote('sig=("@status" "content-digest");created=1')
NOW, SOON = "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"

NO_CONTENT = {"body": b"", "content_length": None, "transfer_encoding": None}
BAD_304 = "status-304-needs-precondition|if-none-match-unsafe-412|put-status-set|status-method-table"

CHALLENGE = 'Bearer realm="shop"'


def echo(**promises: Any) -> Policies:
    """The reference policies, and these promises for what echoes."""
    return but("/echo/{code}", methods=set(ECHO_METHODS), **promises)


VECTORS = [
    Vector(
        50,
        "a 401 gets the challenge that it lacks, and keeps the one that it has",
        [
            say("GET", "/echo/401").gives(401, runs=1, body=b"payload", www_authenticate=CHALLENGE),
            say("POST", "/echo/401", PEN).gives(401, runs=2, www_authenticate=CHALLENGE),
            say("GET", "/echo/401?h=WWW-Authenticate:Basic").gives(401, runs=3, www_authenticate="Basic", finds=""),
            say("GET", "/echo/403").gives(403, runs=4, www_authenticate=None, finds=""),
        ],
        policies=echo(challenge=CHALLENGE),
    ),
    Vector(
        50,
        "without a challenge to give, a 401 without one is a finding",
        [
            say("GET", "/echo/401").gives(
                401, runs=1, body=b"payload", www_authenticate=None, finds="status-401-needs-www-authenticate"
            )
        ],
    ),
    *[
        Vector(
            51,
            f"204 to {method} has neither content nor a length",
            [
                say(method, "/echo/204").gives(204, runs=1, **NO_CONTENT),
                say(method, "/echo/200").gives(200, runs=2, body=b"payload"),
            ],
        )
        for method in ("GET", "POST", "DELETE")
    ],
    Vector(
        51,
        "204 has no transfer coding either",
        [say("GET", "/echo/204?h=Transfer-Encoding:chunked").gives(204, runs=1, **NO_CONTENT)],
    ),
    Vector(
        52,
        "205 has no content",
        [
            say("POST", "/echo/205", PEN).gives(204, 205, runs=1, body=b""),
            say("PATCH", "/echo/205", PEN).gives(204, runs=2, **NO_CONTENT),
        ],
    ),
    Vector(
        53,
        "304 to an unconditional GET is a finding, in strict a 500",
        [say("GET", "/echo/304").gives(304, runs=1, body=b"", content_length=None, finds=BAD_304).strictly(500, rule=BAD_304)],
    ),
    Vector(
        53,
        "304 to a conditional PUT is the 412 that was meant",
        [say("PUT", "/echo/304", PEN, if_match='"x"').gives(412, runs=1, finds=BAD_304)],
    ),
    Vector(
        53,
        "304 to an unconditional PUT is 204",
        [say("PUT", "/echo/304", PEN).gives(204, runs=1, finds=BAD_304, **NO_CONTENT)],
    ),
    Vector(
        54,
        "304 to a conditional GET is lean and keeps its validator",
        [
            say("GET", "/echo/304?h=ETag:%22x%22&h=Content-Encoding:gzip&h=Cache-Control:no-cache", if_none_match='"x"').gives(
                304,
                runs=1,
                body=b"",
                etag='"x"',
                cache_control="no-cache",
                content_type=None,
                content_encoding=None,
                content_length=None,
            )
        ],
    ),
    *[
        Vector(
            55,
            f"{status} is no status: {method} gets a 500",
            [say(method, f"/echo/{status}").gives(500, runs=1, rule=rule)],
        )
        for method, status, rule in (
            ("GET", 600, "status-100-599"),
            ("POST", 600, "status-100-599"),
            ("GET", 103, "status-final-not-1xx"),
            ("PUT", 103, "status-final-not-1xx"),
        )
    ],
    Vector(
        56,
        "206 to a GET without Range is a finding, in strict a 500",
        [
            say("GET", "/echo/206?h=Content-Range:bytes%200-6/20")
            .gives(206, runs=1, body=b"payload", finds="status-206-needs-range")
            .strictly(500, rule="status-206-needs-range")
        ],
    ),
    Vector(
        56,
        "206 to a GET with Range is left alone",
        [
            say("GET", "/echo/206?h=Content-Range:bytes%200-6/20", range="bytes=0-6").gives(
                206, runs=1, body=b"payload", content_range="bytes 0-6/20", finds=""
            )
        ],
        bare_too=True,
    ),
    Vector(
        56,
        "206 of everything to a GET without Range is 200",
        [
            say("GET", "/echo/206?h=Content-Range:bytes%200-6/7").gives(
                200, runs=1, body=b"payload", content_range=None, finds="status-206-needs-range"
            )
        ],
    ),
    Vector(
        56,
        "only GET has ranges: HEAD's handler does not see Range",
        [say("HEAD", "/echo/200", range="bytes=0-3").gives(200, runs=1, body=b"", unseen=("range",))],
    ),
    Vector(
        57,
        "a 426 says what to upgrade to",
        [
            say("GET", "/echo/426").gives(426, runs=1, body=b"payload", upgrade="HTTP/3.0", connection="upgrade"),
            say("POST", "/echo/426", PEN).gives(426, runs=2, upgrade="HTTP/3.0", connection="upgrade"),
            say("GET", "/echo/426?h=Upgrade:websocket").gives(426, runs=3, upgrade="websocket", connection=None, finds=""),
        ],
        policies=echo(upgrade="HTTP/3.0"),
        doors=("asgi", "fastapi", "starlette"),
    ),
    Vector(
        57,
        "WSGI forbids an application to say it, so that it is a finding",
        [
            say("GET", "/echo/426").gives(
                426, runs=1, body=b"payload", upgrade=None, connection=None, finds="status-426-needs-upgrade"
            ),
            say("PUT", "/echo/426", PEN).gives(426, runs=2, upgrade=None, connection=None, finds="status-426-needs-upgrade"),
        ],
        policies=echo(upgrade="HTTP/3.0"),
        doors=("wsgi", "flask"),
    ),
    *[
        Vector(
            58,
            f"{status} to {method} is stored by no cache",
            [
                say(method, f"/echo/{status}").gives(status, runs=1, cache_control="no-store"),
                say(method, f"/echo/{status}?h=Cache-Control:max-age%3D60").gives(status, runs=2, cache_control="no-store"),
                say(method, f"/echo/{status}?h=Cache-Control:private,%20no-store").gives(
                    status, runs=3, cache_control="private, no-store"
                ),
            ],
        )
        for status in (428, 429, 431)
        for method in ("GET", "PUT")
    ],
    *[
        Vector(
            59,
            f"{status} without Location is a finding, in strict a 500",
            [
                say(method, f"/echo/{status}")
                .gives(status, runs=1, finds="status-3xx-location")
                .strictly(500, rule="status-3xx-location|post-303-location"),
                say(method, f"/echo/{status}?h=Location:/items").gives(status, runs=2, location="/items"),
            ],
        )
        for method, status in (("GET", 301), ("POST", 303), ("PUT", 308))
    ],
    Vector(
        60,
        "416 to a POST is a finding, in strict a 500",
        [
            say("POST", "/echo/416", PEN)
            .gives(416, runs=1, body=b"payload", finds="status-416-needs-range status-method-table")
            .strictly(500, rule="status-416-needs-range|status-method-table")
        ],
    ),
    Vector(
        60,
        "416 to a GET without Range is a finding",
        [say("GET", "/echo/416").gives(416, runs=1, body=b"payload", finds="status-416-needs-range")],
    ),
    Vector(
        61,
        "an ETag is quoted",
        [
            say("GET", "/echo/200?h=ETag:abc").gives(200, runs=1, body=b"payload", etag='"abc"', finds="etag-grammar"),
            say("PUT", "/echo/200?h=ETag:W/abc", PEN).gives(200, runs=2, etag='W/"abc"', finds="etag-grammar"),
            say("GET", "/echo/200?h=ETag:%22abc%22").gives(200, runs=3, etag='"abc"', finds=""),
        ],
    ),
    Vector(
        61,
        "nothing was modified after its answer",
        [
            say("GET", f"/echo/200?h=Date:{quote(NOW)}&h=Last-Modified:{quote(SOON)}").gives(
                200, runs=1, last_modified=NOW, finds="last-modified-not-future"
            ),
            say("GET", f"/echo/200?h=Date:{quote(SOON)}&h=Last-Modified:{quote(NOW)}").gives(
                200, runs=2, last_modified=NOW, finds=""
            ),
        ],
    ),
    Vector(
        62,
        "no digest speaks of content that is not sent",
        [
            say("HEAD", f"/echo/200?{DIGESTED}").gives(200, runs=1, body=b"", content_digest=None, repr_digest=DIGEST),
            say("DELETE", f"/echo/204?{DIGESTED}").gives(204, runs=2, content_digest=None, **NO_CONTENT),
            say("GET", f"/echo/200?{DIGESTED}").gives(200, runs=3, body=b"payload", content_digest=DIGEST, finds=""),
        ],
    ),
    Vector(
        62,
        "no signature covers what was mended",
        [
            say("PUT", f"/echo/205?{DIGESTED}&{SIGNED}", PEN).gives(
                204, runs=1, content_digest=None, repr_digest=None, signature=None, signature_input=None, **NO_CONTENT
            ),
            say("GET", f"/echo/200?{SIGNED}").gives(200, runs=2, signature="sig=:AAAA:", finds=""),
        ],
    ),
]
