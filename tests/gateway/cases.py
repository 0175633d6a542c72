"""The cases in which gateways differ: what the client sends, what the upstream must have seen, what the client must get.

The expectations are the RFCs' and the issue's. What the survey of eight proxies found in each case is in
docs/gateway-cases.md.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass

from gateway import scripts
from gateway.client import ask, chunked, said
from gateway.judge import Gets, Sees, exactly, members, one_of, without
from gateway.upstream import Script

FINE = said("200 OK", "Content-Type: text/plain", content=b"fine")
GOT = Gets(status=200, content=b"fine")
BAD_GATEWAY = Gets(status=502, rule="gateway-502-504")
BROKEN_OFF = Gets(status=200, then="cut")
NOTHING: Sees | None = None
ZIPPED = gzip.compress(b"fine" * 100, mtime=0)
FORM = b"a=1&b=2"
MUCH = bytes(range(256)) * 1000


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    sends: bytes
    sees: Sees | None
    gets: Gets
    answers: Script = FINE
    setup: str = "plain"
    strict: Gets | None = None  # None: the same

    @property
    def method(self) -> str:
        return self.sends.split(b" ", 1)[0].decode()

    def under(self, profile: str) -> tuple[Sees | None, Gets]:
        """What the profile `strict` says otherwise is a refusal: the upstream sees nothing."""
        return (None, self.strict) if profile == "strict" and self.strict else (self.sees, self.gets)


def sees(line: str | None = None, content: bytes = b"", framing: str | None = None, times: int = 1, **said: object) -> Sees:
    named = {name.replace("_", "-"): value for name, value in said.items()}
    return Sees(line=line, content=content, framing=framing, times=times, fields=named)  # type: ignore[arg-type]


def gets(
    status: int | tuple[int, ...] = 200,
    content: bytes | None = None,
    rule: str | None = None,
    then: str = "next",
    **said: object,
) -> Gets:
    named = {name.replace("_", "-"): value for name, value in said.items()}
    return Gets(status=status, content=content, rule=rule, then=then, fields=named)  # type: ignore[arg-type]


# fmt: off
REQUEST_FIELDS = [
    Case("a field that Connection lists", ask("GET /x", "Connection: X-Hop, keep-alive", "X-Hop: 1", "X-End: 2"),
         sees("GET /x HTTP/1.1", x_hop=None, x_end="2", connection=without("hop")), GOT),
    Case("two Connection lines", ask("GET /x", "Connection: X-Hop", "Connection: keep-alive, x-hip", "X-Hop: 1", "X-Hip: 1"),
         sees(x_hop=None, x_hip=None), GOT),
    Case("Keep-Alive", ask("GET /x", "Connection: Keep-Alive", "Keep-Alive: timeout=5"), sees(keep_alive=None), GOT),
    Case("TE", ask("GET /x", "Connection: TE", "TE: trailers, gzip"), sees(te=one_of(None, "trailers")), GOT),
    Case("Proxy-Authorization", ask("GET /x", "Proxy-Authorization: Basic eDp5"), sees(proxy_authorization=None), GOT),
    Case("Proxy-Connection", ask("GET /x", "Proxy-Connection: keep-alive"), sees(proxy_connection=None), GOT),
    Case("Upgrade to what nobody speaks", ask("GET /x", "Connection: Upgrade", "Upgrade: made-up/1"),
         sees("GET /x HTTP/1.1", upgrade=None, connection=without("upgrade")), GOT),
    Case("Connection cannot take Host away", ask("GET /x", "Connection: Host"), sees(host=lambda lines: len(lines) == 1),
         GOT),
    Case("two Cookie lines", ask("GET /x", "Cookie: a=1", "X-Between: 0", "Cookie: b=2; c=3"),
         sees(cookie=["a=1", "b=2; c=3"]), GOT),
    Case("two X-A lines", ask("GET /x", "X-A: 1", "X-B: 0", "x-a: 2, 3"), sees(x_a=["1", "2, 3"], x_b="0"), GOT),
    Case("bytes beyond ASCII", ask("GET /x", "X-Name: caf\u00c3\u00a9 \u00e9"), sees(x_name="caf\u00c3\u00a9 \u00e9"), GOT),
    Case("the spelling of a name", ask("GET /x", "X-CamelCase: 1"), Sees(spelled="\r\nX-CamelCase: 1\r\n"), GOT),
    Case("a field without a value", ask("GET /x", "X-Empty:"), sees(x_empty=""), GOT),
    Case("nothing is made up", ask("POST /x", content=FORM),
         sees(content=FORM, framing="length", accept=None, accept_encoding=None, user_agent=None, content_type=None,
              cookie=None, expect=None), GOT),
    Case("Host", ask("GET /x"), sees(host="api.example"), GOT),
    Case("Host of the upstream", ask("GET /x"), sees(host=lambda lines: lines[0].startswith("127.0.0.1:"),
                                                      x_forwarded_host="api.example"), GOT, setup="upstream host"),
    Case("Via", ask("GET /x"), sees(via=members(r"1\.1 \S.*")), GOT),
    Case("Via goes on", ask("GET /x", "Via: 1.0 fred", "Via: 1.1 p.example (it)"),
         sees(via=members(r"1\.0 fred", r"1\.1 p\.example \(it\)", r"1\.1 \S.*")), GOT),
    Case("Forwarded", ask("GET /x"),
         sees(forwarded=members(r"for=127\.0\.0\.1;.*"), x_forwarded_for="127.0.0.1", x_forwarded_proto="http",
              x_forwarded_host="api.example"), GOT),
    Case("who is forwarded for is not the client's to say",
         ask("GET /x", "Forwarded: for=6.6.6.6", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https",
             "X-Forwarded-Host: evil.example", "X-Real-IP: 6.6.6.6", "X-Forwarded-Prefix: /evil"),
         sees(x_real_ip=None, x_forwarded_prefix=None, forwarded=without("6.6.6.6"), x_forwarded_for="127.0.0.1",
         x_forwarded_proto="http",
              x_forwarded_host="api.example"), GOT),
    Case("who is forwarded for, from a proxy that is trusted",
         ask("GET /x", "Forwarded: for=192.0.2.7;proto=https", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https"),
         sees(forwarded=members(r"for=192\.0\.2\.7;proto=https", r"for=127\.0\.0\.1\b.*"),
              x_forwarded_for=members(r"192\.0\.2\.7", r"127\.0\.0\.1"), x_forwarded_proto="https"), GOT, setup="trusting"),
    Case("Idempotency-Key", ask("POST /x", 'Idempotency-Key: "a b-1"', content=FORM),
         sees(idempotency_key='"a b-1"', content=FORM), GOT),
    Case("Idempotency-Key without quotes", ask("POST /x", "Idempotency-Key: bare-2", content=FORM),
         sees(idempotency_key="bare-2", content=FORM), GOT, strict=gets(400, rule="idem-key-syntax")),
]

TARGETS = [
    Case("an encoded slash", ask("GET /a%2Fb"), sees("GET /a%2Fb HTTP/1.1"), GOT),
    Case("two slashes", ask("GET //x"), sees("GET //x HTTP/1.1"), GOT),
    Case("dot segments", ask("GET /a/../x/./y"), sees("GET /a/../x/./y HTTP/1.1"), GOT),
    Case("encoded dots, and letters that need no encoding", ask("GET /%2e%2E/%41%7e"),
         sees("GET /%2e%2E/%41%7e HTTP/1.1"), GOT),
    Case("a query that looks like another", ask("GET /x?a=?b&c=%20+/%2F&&=;"),
         sees("GET /x?a=?b&c=%20+/%2F&&=; HTTP/1.1"), GOT),
    Case("a percent sign that encodes nothing", ask("GET /%zz?%"), sees("GET /%zz?% HTTP/1.1"), GOT),
    Case("no query", ask("GET /x"), sees("GET /x HTTP/1.1"), GOT),
    Case("an empty query", ask("GET /x?"), sees("GET /x? HTTP/1.1"), GOT),
    Case("a very long target", ask("GET /" + "x" * 7000), sees(f"GET /{'x' * 7000} HTTP/1.1"), GOT),
    Case("a whole URL", ask("GET http://api.example/x?y"), sees("GET /x?y HTTP/1.1", host="api.example"), GOT),
    Case("a whole URL of an evil host", ask("GET http://evil.example/x"), NOTHING,
         gets(421, rule="target-absolute-form", then="either")),
    Case("a whole URL of an evil host, to write", ask("PUT http://evil.example/items/1", content=FORM), NOTHING,
         gets(421, rule="target-absolute-form", then="either")),
    Case("OPTIONS *", ask("OPTIONS *"), NOTHING, gets((200, 204), accept_patch=None)),
]

METHODS = [
    Case("FOO on what nobody knows", ask("FOO /x"), sees("FOO /x HTTP/1.1"), GOT),
    Case("FOO on what a policy knows", ask("FOO /known"), NOTHING, gets((501, 405))),
    Case("QUERY", ask("QUERY /x", "Content-Type: text/plain", content=FORM),
         sees("QUERY /x HTTP/1.1", FORM, "length", content_type="text/plain"), GOT),
    Case("PATCH without content", ask("PATCH /x", "Content-Length: 0"), sees("PATCH /x HTTP/1.1", framing="length"), GOT),
    Case("DELETE without content", ask("DELETE /x"), sees("DELETE /x HTTP/1.1", framing="none"), GOT),
    Case("DELETE with content", ask("DELETE /x", content=FORM), sees("DELETE /x HTTP/1.1", FORM, "length"), GOT),
    Case("TRACE", ask("TRACE /x", "X-Secret: s3cret"), NOTHING, gets((405, 501), rule="trace-off")),
    Case("CONNECT", ask("CONNECT api.example:443", host="Host: api.example:443"), NOTHING,
         gets((501, 405), rule="connect-off", then="either")),
    Case("GET with content", ask("GET /x", content=b"hello"), NOTHING, gets(400, rule="get-no-content", then="close")),
    Case("GET with a Content-Length of nothing", ask("GET /x", "Content-Length: 0"), sees("GET /x HTTP/1.1"), GOT),
    Case("HEAD", ask("HEAD /x"), sees("HEAD /x HTTP/1.1", framing="none"), gets(200, b"", content_length="1234", x_a="1"),
         said("200 OK", "Content-Length: 1234", "X-A: 1")),
    Case("PUT on a collection", ask("PUT /items", content=FORM), NOTHING,
         gets(405, rule="put-no-collection", then="either", allow=exactly("GET", "HEAD", "POST", "OPTIONS"))),
    Case("a method that the policy does not have", ask("DELETE /known"), NOTHING,
         gets(405, allow=exactly("GET", "HEAD", "POST", "OPTIONS"))),
    Case("405 without Allow", ask("GET /known"), sees("GET /known HTTP/1.1"),
         gets(405, b"no", allow=exactly("HEAD", "POST", "OPTIONS")), said("405 Method Not Allowed", content=b"no")),
    Case("Max-Forwards that has run out", ask("OPTIONS /x", "Max-Forwards: 0"), NOTHING, gets((200, 204))),
    Case("Max-Forwards counts down", ask("OPTIONS /x", "Max-Forwards: 7"), sees("OPTIONS /x HTTP/1.1", max_forwards="6"),
         GOT),
]

FRAMING = [
    Case("an upload with a length", ask("POST /x", content=MUCH), sees(content=MUCH, framing="length",
                                                                     content_length=str(len(MUCH))), GOT),
    Case("a chunked upload", ask("POST /x", "Transfer-Encoding: chunked", content=chunked(b"ab", MUCH, b"c")),
         sees(content=b"ab" + MUCH + b"c", framing="chunked"), GOT),
    Case("a chunked upload with trailers",
         ask("POST /x", "Transfer-Encoding: chunked", "Trailer: X-Sum", content=chunked(b"abc", trailers="X-Sum: 9\r\n")),
         Sees(content=b"abc", framing="chunked", trailers=[("x-sum", "9")]), GOT),
    Case("a chunked upload with a key",
         ask("POST /x", 'Idempotency-Key: "chunks"', "Transfer-Encoding: chunked", content=chunked(b"ab", b"c")),
         sees(content=b"abc", framing=None, content_length=one_of(None, "3")), GOT),
    Case("Content-Length and Transfer-Encoding",
         ask("POST /x", "Content-Length: 3", "Transfer-Encoding: chunked", content=chunked(b"abc")), NOTHING,
         gets(400, then="close")),
    Case("two lengths", ask("POST /x", "Content-Length: 3", "Content-Length: 4", content=b"abcd"), NOTHING, gets(400,
         then="close")),
    Case("a coding that is not chunked", ask("POST /x", "Transfer-Encoding: gzip, chunked", content=chunked(b"abc")), NOTHING,
         gets((400, 501), then="close")),
    Case("no Host", ask("GET /x", host=None), NOTHING, gets(400, then="either")),
    Case("two Host lines", ask("GET /x", "Host: evil.example"), NOTHING, gets(400, then="either")),
    Case("two Host lines, to write", ask("PUT /items/1", "Host: evil.example", content=FORM), NOTHING, gets(400,
         then="either")),
    Case("a Host that is none", ask("GET /x", host="Host: a b"), NOTHING, gets(400, then="either")),
    Case("HTTP/1.0", ask("GET /x", version="HTTP/1.0"), sees("GET /x HTTP/1.1", via=members(r"1\.0 \S.*")), gets(200,
         b"fine", then="close")),
    Case("HTTP/1.0 without Host", ask("GET /x", version="HTTP/1.0", host=None),
         sees("GET /x HTTP/1.1", host=lambda lines: len(lines) == 1), gets(200, b"fine", then="close")),
]

ANSWERS = [
    Case("a field that the answer's Connection lists", ask("GET /x"), sees(),
         gets(200, b"fine", x_foo=None, x_bar="2"), said("200 OK", "Connection: X-Foo", "X-Foo: 1", "X-Bar: 2",
         content=b"fine")),
    Case("Keep-Alive and Proxy-Connection of the answer", ask("GET /x"), sees(),
         gets(200, b"fine", keep_alive=None, proxy_connection=None),
         said("200 OK", "Connection: keep-alive", "Keep-Alive: timeout=9", "Proxy-Connection: keep-alive", content=b"fine")),
    Case("Proxy-Authenticate", ask("GET /x"), sees(), gets(200, b"fine", proxy_authenticate=None),
         said("200 OK", "Proxy-Authenticate: Basic realm=x", content=b"fine")),
    Case("Upgrade in an answer", ask("GET /x"), sees(), gets(200, b"fine", upgrade=None),
         said("200 OK", "Connection: Upgrade", "Upgrade: h2c", content=b"fine")),
    Case("two Set-Cookie lines", ask("GET /x"), sees(),
         gets(200, b"fine", set_cookie=["a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT", "b=2; Path=/"]),
         said("200 OK", "Set-Cookie: a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT", "X-B: 1", "Set-Cookie: b=2; Path=/",
              content=b"fine")),
    Case("bytes beyond ASCII in an answer", ask("GET /x"), sees(), gets(200, b"fine", x_name="caf\u00c3\u00a9 \u00e9"),
         said("200 OK", "X-Name: caf\u00c3\u00a9 \u00e9", content=b"fine")),
    Case("Date and Server are the upstream's", ask("GET /x"), sees(),
         gets(200, b"fine", date="Tue, 15 Nov 1994 08:12:31 GMT", server="legacy/1"),
         said("200 OK", "Date: Tue, 15 Nov 1994 08:12:31 GMT", "Server: legacy/1", content=b"fine")),
    Case("204 with a length", ask("GET /x"), sees(), gets(204, b"", content_length=None),
         said("204 No Content", "Content-Length: 0")),
    Case("204 with content", ask("GET /x"), sees(), gets(204, b"", content_length=None),
         scripts.content_after("204 No Content")),
    Case("content after HEAD", ask("HEAD /x"), sees(), gets(200, b"", content_length="5"),
         scripts.then_close(said("200 OK", content=b"hello"))),
    Case("an answer that ends its connection", ask("GET /x"), sees(), GOT,
         said("200 OK", "Connection: close", content=b"fine")),
    Case("304 with a length", ask("GET /x", 'If-None-Match: "a"'), sees(if_none_match='"a"'), gets(304, b"", etag='"a"'),
         said("304 Not Modified", 'ETag: "a"', "Content-Length: 4")),
    Case("304 to a PUT", ask("PUT /x", 'If-Match: "a"', content=FORM), sees(content=FORM), gets(412, b"", etag='"a"'),
         said("304 Not Modified", 'ETag: "a"', "Content-Length: 4")),
    Case("426 says to what", ask("GET /x"), sees(), gets(426, b"no", upgrade="websocket", connection="upgrade"),
         said("426 Upgrade Required", "Upgrade: websocket", "Connection: Upgrade", content=b"no")),
    Case("205 with content", ask("POST /x", content=FORM), sees(content=FORM), gets((204, 205), b""),
         said("205 Reset Content", content=b"seven!!")),
    Case("gzip", ask("GET /x", "Accept-Encoding: gzip"), sees(accept_encoding="gzip"),
         gets(200, ZIPPED, content_encoding="gzip", content_length=str(len(ZIPPED)), etag='"z"'),
         said("200 OK", "Content-Encoding: gzip", 'ETag: "z"', content=ZIPPED)),
    Case("gzip, chunked", ask("GET /x", "Accept-Encoding: gzip"), sees(accept_encoding="gzip"),
         gets(200, ZIPPED, content_encoding="gzip"),
         said("200 OK", "Content-Encoding: gzip", "Transfer-Encoding: chunked", content=chunked(ZIPPED[:9], ZIPPED[9:]))),
    Case("a content that only says that it is gzip", ask("GET /x"), sees(), gets(200, b"plain", content_encoding="gzip"),
         said("200 OK", "Content-Encoding: gzip", content=b"plain")),
    Case("a large answer", ask("GET /x"), sees(), gets(200, MUCH, content_length=str(len(MUCH))), said("200 OK",
         content=MUCH)),
    Case("an answer of HTTP/1.0, to its end", ask("GET /x"), sees(), gets(200, MUCH), scripts.until_end(MUCH)),
    Case("an answer with a very long field", ask("GET /x"), sees(), gets(200, b"fine", x_long="y" * 7000),
         said("200 OK", "X-Long: " + "y" * 7000, content=b"fine")),
    Case("an answer with many fields", ask("GET /x"), sees(), gets(200, b"fine",
         x_many=[str(number) for number in range(90)]),
         said("200 OK", *[f"X-Many: {number}" for number in range(90)], content=b"fine")),
    Case("421 is the upstream's word", ask("GET /x"), sees(times=1), gets(421, b"not me"),
         said("421 Misdirected Request", content=b"not me")),
    Case("401 with its challenge", ask("GET /x", "Authorization: Basic eDp5"), sees(authorization="Basic eDp5"),
         gets(401, b"", www_authenticate=["Basic realm=x", "Bearer"]),
         said("401 Unauthorized", "WWW-Authenticate: Basic realm=x", "WWW-Authenticate: Bearer", content=b"")),
    Case("a phrase of its own", ask("GET /x"), sees(), Gets(status=200, content=b"fine", phrase="Quite Well"),
         said("200 Quite Well", content=b"fine")),
    Case("an own status", ask("GET /x"), sees(), gets(299, b"fine"), said("299 Nearly", content=b"fine")),
    Case("no reason phrase", ask("GET /x"), sees(), GOT, said("200 ", content=b"fine")),
    Case("a chunk extension", ask("GET /x"), sees(), GOT,
         said("200 OK", "Transfer-Encoding: chunked", content=b"2;a=b\r\nfi\r\n2\r\nne\r\n0\r\n\r\n")),
    Case("103 before the answer", ask("GET /x"), sees(), Gets(status=200, content=b"fine", interim=(103,)),
         said("103 Early Hints", "Link: </s.css>; rel=preload") + FINE),
    Case("103 before the answer, to HTTP/1.0", ask("GET /x", version="HTTP/1.0"), sees(), gets(200, b"fine", then="close"),
         said("103 Early Hints", "Link: </s.css>; rel=preload") + FINE),
    Case("100 that nobody asked for", ask("POST /x", content=FORM), sees(content=FORM), GOT, said("100 Continue") + FINE),
    Case("trailers", ask("GET /x", "TE: trailers", "Connection: TE"), sees(),
         Gets(status=200, content=b"fine", trailers=[("x-sum", "9")]),
         said("200 OK", "Trailer: X-Sum", "Transfer-Encoding: chunked", content=chunked(b"fi", b"ne",
         trailers="X-Sum: 9\r\n"))),
    Case("an answer before the upload was read", ask("POST /x", content=MUCH * 8), sees(content=b"", framing="length"),
         gets(413, b"too much", then="either"), scripts.early(said("413 Content Too Large", "Connection: close",
         content=b"too much"))),
]

INSIDE = "UPSTREAM/items/5?a=b"
OUTSIDE = "/items/5?a=b"  # a client resolves it against the origin that it asked


def located(status: str) -> bytes:
    return said(status, f"Location: {INSIDE}", f"Content-Location: {INSIDE}", content=b"")


LOCATIONS = [
    Case("Location of what was created", ask("POST /x", content=FORM), sees(content=FORM),
         gets(201, location=OUTSIDE, content_location=OUTSIDE), located("201 Created")),
    Case("Location of what was accepted", ask("POST /x", content=FORM), sees(content=FORM),
         gets(202, location=OUTSIDE, content_location=OUTSIDE), located("202 Accepted")),
    Case("Location of a redirection", ask("GET /x"), sees(times=1), gets(302, location=OUTSIDE), located("302 Found")),
    Case("Location of a permanent redirection, to write", ask("PUT /x", content=FORM), sees(content=FORM, times=1),
         gets(308, location=OUTSIDE), located("308 Permanent Redirect")),
    Case("Location under a public name", ask("POST /x", content=FORM), sees(content=FORM),
         gets(201, location="https://api.example.com/items/5?a=b", content_location="https://api.example.com/items/5?a=b"),
         located("201 Created"), setup="public"),
    Case("Location elsewhere", ask("GET /x"), sees(), gets(302, location="http://other.example/items/5"),
         said("302 Found", "Location: http://other.example/items/5", content=b"")),
    Case("Location at another port of the upstream's host", ask("GET /x"), sees(), gets(302, location="http://127.0.0.1:1/y"),
         said("302 Found", "Location: http://127.0.0.1:1/y", content=b"")),
    Case("Location as a path", ask("POST /x", content=FORM), sees(content=FORM), gets(201, location="/items/5"),
         said("201 Created", "Location: /items/5", content=b"")),
]

BAD_UPSTREAMS = [
    Case("closed without a word", ask("POST /x", content=FORM), sees(content=FORM), BAD_GATEWAY, scripts.silent),
    Case("closed in the middle of the head", ask("POST /x", content=FORM), sees(content=FORM), BAD_GATEWAY,
         scripts.then_close(b"HTTP/1.1 200 OK\r\nContent-Le")),
    Case("reset", ask("POST /x", content=FORM), sees(content=FORM), BAD_GATEWAY, scripts.reset),
    Case("truncated, with a length", ask("GET /x"), sees(), BROKEN_OFF, scripts.then_close(said("200 OK",
         "Content-Length: 10", content=b"1234"))),
    Case("truncated, in chunks", ask("GET /x"), sees(), BROKEN_OFF,
         scripts.then_close(said("200 OK", "Transfer-Encoding: chunked", content=b"4\r\n1234\r\n"))),
    Case("truncated, in a chunk", ask("GET /x"), sees(), BROKEN_OFF,
         scripts.then_close(said("200 OK", "Transfer-Encoding: chunked", content=b"9\r\n1234"))),
    Case("truncated, to a POST", ask("POST /x", content=FORM), sees(content=FORM), BROKEN_OFF,
         scripts.then_close(said("200 OK", "Content-Length: 10", content=b"1234"))),
    Case("reset in the content", ask("GET /x"), sees(), BROKEN_OFF, scripts.then_reset(said("200 OK",
         "Content-Length: 10", content=b"1234"))),
    Case("a chunk size that is none", ask("GET /x"), sees(), BROKEN_OFF,
         scripts.two_steps(said("200 OK", "Transfer-Encoding: chunked", content=b"4\r\n1234\r\n"),
         b"zz\r\n1234\r\n0\r\n\r\n")),
    Case("more than the length", ask("GET /x"), sees(), gets(200, b"1234"),
         scripts.then_close(said("200 OK", "Content-Length: 4", content=b"1234567890"))),
    Case("status 999", ask("GET /x"), sees(), BAD_GATEWAY, said("999 Unheard", content=b"fine")),
    Case("status 600", ask("GET /x"), sees(), BAD_GATEWAY, said("600 Unheard", content=b"fine")),
    Case("status 099", ask("GET /x"), sees(), BAD_GATEWAY, said("099 Unheard", content=b"fine")),
    Case("status 600 to a POST", ask("POST /x", content=FORM), sees(content=FORM), BAD_GATEWAY, said("600 Unheard",
         content=b"fine")),
    Case("101 that nobody asked for", ask("GET /x"), sees(), BAD_GATEWAY,
         said("101 Switching Protocols", "Connection: Upgrade", "Upgrade: made-up/1")),
    Case("no HTTP at all", ask("POST /x", content=FORM), sees(content=FORM), BAD_GATEWAY,
         scripts.then_close(b"220 mail.example ESMTP\r\n")),
    Case("NUL in a field", ask("GET /x"), sees(), BAD_GATEWAY, said("200 OK", "X-A: a\0b", content=b"fine")),
    Case("CR in a field", ask("GET /x"), sees(), BAD_GATEWAY, said("200 OK", "X-A: a\rSet-Cookie: evil=1", content=b"fine")),
    Case("a space in a name", ask("GET /x"), sees(), BAD_GATEWAY, said("200 OK", "X A: 1", content=b"fine")),
    Case("a folded field", ask("GET /x"), sees(), gets((200, 502), x_a=one_of(None, "a b")),
         said("200 OK", "X-A: a\r\n b", content=b"fine")),
    Case("lines that end in LF", ask("GET /x"), sees(), gets((200, 502)),
         scripts.then_close(b"HTTP/1.1 200 OK\nContent-Length: 4\n\nfine")),
    Case("a length that is none", ask("POST /x", content=FORM), sees(content=FORM), BAD_GATEWAY,
         said("200 OK", "Content-Length: -4", content=b"fine")),
    Case("two lengths in the answer", ask("POST /x", content=FORM), sees(content=FORM), BAD_GATEWAY,
         said("200 OK", "Content-Length: 4", "Content-Length: 5", content=b"fine!")),
    Case("Content-Length and Transfer-Encoding in the answer", ask("GET /x"), sees(), gets((200, 502),
         content_length=lambda lines: lines != ["9"]),
         said("200 OK", "Content-Length: 9", "Transfer-Encoding: chunked", "Connection: close", content=chunked(b"fine"))),
    Case("a head beyond all bounds", ask("GET /x"), sees(), BAD_GATEWAY, said("200 OK", "X-Long: " + "y" * 3_000_000,
         content=b"fine")),
    Case("interim answers without an end", ask("POST /x", content=FORM), sees(content=FORM), gets((502, 504)),
         scripts.endless_interim),
    Case("silence", ask("POST /x", content=FORM), sees(content=FORM), gets(504, rule="gateway-502-504"), scripts.hang,
         setup="hurried"),
    Case("silence in the head", ask("POST /x", content=FORM), sees(content=FORM), gets(504, rule="gateway-502-504"),
         scripts.then_hang(b"HTTP/1.1 200 OK\r\nConte"), setup="hurried"),
    Case("silence in the content", ask("GET /x"), sees(), BROKEN_OFF,
         scripts.then_hang(said("200 OK", "Content-Length: 10", content=b"1234")), setup="hurried"),
]

CASES = [*REQUEST_FIELDS, *TARGETS, *METHODS, *FRAMING, *ANSWERS, *LOCATIONS, *BAD_UPSTREAMS]
