"""The matrix: what every server must do with each conversation, unless `impossible` says why it cannot."""

from __future__ import annotations

from dataclasses import dataclass

from servers.conversations import (
    MUCH,
    TWINS,
    Play,
    at_once,
    counting,
    cut_off,
    disconnected,
    expecting,
    head_like_get,
    in_flight,
    lean_304,
    left_midway,
    once,
    pipelined,
    repeated,
    smuggled,
    spelled,
    streaming,
    to_http10,
    withheld,
)
from servers.wire import request


class Expected:
    """What happens under each profile."""

    __slots__ = ()
    guard: str
    strict: str | None

    def under(self, profile: str) -> str:
        return self.strict if profile == "strict" and self.strict else self.guard


@dataclass(frozen=True, slots=True)
class Case(Expected):
    name: str
    play: Play
    guard: str
    strict: str | None = None  # None: the same


PUT_REFUSED = "405 put-no-collection [GET HEAD OPTIONS POST]"
HOST = b"Host: api.example\r\n"
CREATED = "201 Location; next 200; ran 1"
POST = request("POST", "/items", b"{}")
UPLOAD = (b"a" * 1000, b"b" * 70_000, b"c")
WHOLE = b"".join(UPLOAD)
ITEM_ALLOW = "[DELETE GET HEAD OPTIONS PATCH PUT]"

# fmt: off
CASES = [
    # -- framing: the application declares seven bytes and sends them (vectors 51 to 55) --
    Case("204 with content", once("GET", "/echo/204"), "204; next 200"),
    Case("204 with content, to PUT", once("PUT", "/echo/204", b"{}"), "204; next 200"),
    Case("204 with content of undeclared length", once("GET", "/loose/204"), "204; next 200"),
    Case("205 with content", once("POST", "/echo/205", b"{}"), "205; next 200"),
    Case("205 with content, to PUT", once("PUT", "/echo/205", b"{}"), "204; next 200"),
    Case("304 with content, asked for", once("GET", "/echo/304", if_none_match='"v1"'), "304; next 200"),
    Case("304 with content of undeclared length", once("GET", "/loose/304", if_none_match='"v1"'), "304; next 200"),
    Case("304 with content, not asked for", once("GET", "/echo/304"),
         "304; next 200", strict="500 status-304-needs-precondition; next 200"),
    Case("304 to PUT", once("PUT", "/echo/304", b"{}"), "204; next 200"),
    Case("304 to PUT with If-Match", once("PUT", "/echo/304", b"{}", if_match='"v1"'),
         "412 of the app; next 200"),
    Case("304 fields", lean_304, "304 etag; next 200"),
    Case("content after HEAD", once("HEAD", "/echo/200"), "200; next 200"),
    Case("content of undeclared length after HEAD", once("HEAD", "/loose/200"), "200; next 200"),
    Case("final 103", once("GET", "/echo/103"), "500 status-final-not-1xx; next 200"),
    Case("final 101", once("GET", "/echo/101"), "500 status-final-not-1xx; next 200"),
    Case("status 600", once("GET", "/echo/600"), "500 status-100-599; next 200"),
    Case("status 999", once("GET", "/loose/999"), "500 status-100-599; next 200"),

    # -- statuses that are mended where the content is known: nothing of the head may be lost (vectors 38, 44, 47) --
    Case("201 to POST", once("POST", "/items", b"{}"), "201 Location; next 200"),
    Case("200 without content, to DELETE", once("DELETE", "/empty/200"), "204; next 200"),
    Case("201 without content, to GET", once("GET", "/empty/201"), "204; next 200"),
    Case("201 with content, to GET", once("GET", "/loose/201"), "200; next 200"),

    # -- content still to come: a refusal does not wait for it (vector 22) --
    Case("Expect, refused", counting("PUT", "/items", expecting("/items", b"x" * MUCH, refused=True)),
         f"{PUT_REFUSED} close; end; ran 0"),
    Case("Expect, accepted", expecting("/items/expected", b"new"), "100, 200; next 200"),
    Case("content announced, PUT refused", counting("PUT", "/items", withheld(chunked=False)),
         f"{PUT_REFUSED} close; end; ran 0"),
    Case("content chunked, PUT refused", counting("PUT", "/items", withheld(chunked=True)),
         f"{PUT_REFUSED} close; end; ran 0"),
    Case("content full of requests, PUT refused", counting("PUT", "/items", smuggled),
         f"{PUT_REFUSED}; closed; ran 0"),
    Case("small content, PUT refused", counting("PUT", "/items", once("PUT", "/items", b"{}")),
         f"{PUT_REFUSED}; next 200; ran 0"),
    Case("no content, PUT refused", once("PUT", "/items", b""), f"{PUT_REFUSED}; next 200"),
    Case("refusals, pipelined", pipelined,
         f"{PUT_REFUSED}, 400 idem-key-single, 400 put-content-range-400; next 200"),
    Case("keyed POST, cut off", cut_off("POST", key=True), "retry 201 Location; ran 1"),
    Case("keyless PUT, cut off", cut_off("PUT", key=False), "retry 200; ran 1"),

    # -- method tokens (vectors 1, 2, 9, 10) --
    Case("FOO", once("FOO", "/items/1"), "501 method-unknown-501; next 200"),
    Case("get", once("get", "/items/1"), "501 method-case-sensitive; next 200"),
    Case("TRACE", once("TRACE", "/items/1"), f"405 trace-off {ITEM_ALLOW}; next 200"),
    Case("CONNECT", once("CONNECT", "api.example:443"), "501 connect-off; next 200"),

    # -- spellings of one path (vectors 14, 15): an application that cannot be asked might understand any of them --
    Case("PUT /items?x=1", counting("PUT", "/items", once("PUT", "/items?x=1", b"{}")),
         f"{PUT_REFUSED}; next 200; ran 0"),
    Case("PUT /%69tems", counting("PUT", "/items", once("PUT", "/%69tems", b"{}")),
         f"{PUT_REFUSED}; next 200; ran 0"),
    Case("PUT http://api.example/items", counting("PUT", "/items", once("PUT", "http://api.example/items", b"{}")),
         f"{PUT_REFUSED}; next 200; ran 0"),
    Case("PUT //items", counting("PUT", "/items", once("PUT", "//items", b"{}")), f"{PUT_REFUSED}; next 200; ran 0"),
    Case("PUT /items/", counting("PUT", "/items", once("PUT", "/items/", b"{}")), f"{PUT_REFUSED}; next 200; ran 0"),

    # -- targets that are no path, and Host (vectors 13, 14) --
    Case("GET http://api.example/items/1", once("GET", "http://api.example/items/1"), "200; next 200"),
    Case("POST http://other/items", counting("POST", "/items", once("POST", "http://other/items", b"{}")),
         "421 target-absolute-form; next 200; ran 0"),
    Case("GET api.example:443", once("GET", "api.example:443"), "400 target-authority-connect-only; next 200"),
    Case("two Host lines", counting("POST", "/items", spelled(POST, HOST, HOST + b"Host: other\r\n")),
         "400 host-exactly-one; next 200; ran 0"),
    Case("no Host", counting("POST", "/items", spelled(POST, HOST, b"")), CREATED),
    Case("no host in Host", counting("POST", "/items", spelled(POST, HOST, b"Host: a/b\r\n")),
         "400 host-exactly-one; next 200; ran 0"),

    # -- content that means nothing, contradicts itself or came too early (vectors 16 to 18, 63, 108) --
    Case("GET with content", once("GET", "/items/1", b"{}"), "200; next 200"),
    Case("TRACE with content", once("TRACE", "/items/1", b"{}"), "400 trace-no-content; next 200"),
    Case("CONNECT with content", once("CONNECT", "api.example:443", b"{}"), "400 connect-no-content; next 200"),
    Case("Content-Length beside Transfer-Encoding",
         counting("POST", "/items", spelled(request("POST", "/items", chunks=[b"{}"], content_length="12"), b"", b"")),
         "400 framing-cl-te close; end; ran 0"),
    Case("Expect: foo", counting("POST", "/items", once("POST", "/items", b"{}", expect="foo")), CREATED),
    Case("Early-Data: 1", counting("POST", "/items", once("POST", "/items", b"{}", early_data="1")),
         "425 early-data-unsafe; next 200; ran 0"),
    Case("103 to HTTP/1.0", to_http10("/hints"), "200; end"),
    Case("103 to HTTP/1.1", once("GET", "/hints"), "200; next 200"),

    # -- HEAD and OPTIONS (vectors 4 to 7): the application says 405 --
    Case("HEAD", head_like_get, "200 as GET; next 200"),
    Case("OPTIONS", once("OPTIONS", "/items/1"), f"204 {ITEM_ALLOW}; next 200"),
    Case("OPTIONS *", once("OPTIONS", "*"), "204; next 200"),
    Case("GET *", once("GET", "*"), "400 target-asterisk-options-only; next 200"),

    # -- the same upload twice --
    Case("keyed POST, chunked", repeated(UPLOAD, UPLOAD, key=True), "201 Location, 201 Location replayed; ran 1; next 200"),
    Case("keyed POST, chunked otherwise", repeated(UPLOAD, (WHOLE,), WHOLE, key=True),
         "201 Location, 201 Location replayed, 201 Location replayed; ran 1; next 200"),
    Case("keyed POST, other content", repeated(UPLOAD, (WHOLE, b"!"), UPLOAD, key=True),
         "201 Location, 422 idem-key-reuse-422, 201 Location replayed; ran 1; next 200"),
    Case("keyless PUT, chunked", repeated(UPLOAD, UPLOAD, key=False), "200, 200 replayed; ran 1; next 200"),
    Case("keyless PUT, chunked otherwise", repeated(UPLOAD, (WHOLE,), WHOLE, key=False),
         "200, 200 replayed, 200 replayed; ran 1; next 200"),
    Case("keyless PUT, A-B-A", repeated((b"A",), (b"B",), (b"A",), key=False), "200, 200, 200; ran 3; next 200"),

    # -- handlers that take their time (vectors 82, 84, 107) --
    Case("streamed GET", streaming("GET"), "200 one | two; next 200"),
    Case("streamed POST with a key", streaming("POST", idempotency_key="{fresh_key}"), "200 one | two; next 200"),
    Case("disconnect and retry", disconnected, "retry 200 replayed; ran 1"),
    Case("disconnect in the answer and retry", left_midway, "retry 200 replayed onetwo; ran 1"),
    Case("retry in flight", in_flight, "200, 409 idem-key-inflight-409, 200 replayed; ran 1; next 200"),
    Case("keyed twins", at_once("POST", "slow", TWINS, key=True),
         f"1 answered, {TWINS - 1} spared; again 200 replayed; ran 1"),
    Case("keyed twins that wait", at_once("POST", "patient", TWINS, key=True),
         f"1 answered, {TWINS - 1} spared; again 200 replayed; ran 1"),
    Case("keyless twins", at_once("PUT", "drafts", 5, key=False),
         "1 answered, 4 spared; again 200 replayed; ran 1"),
]
# fmt: on
