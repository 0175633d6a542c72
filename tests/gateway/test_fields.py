"""What a gateway leaves of a message's fields, what it adds, and how it names a resource to either side."""

from __future__ import annotations

import pytest

from verbguard.gateway.fields import answered, forwarded, origin_of
from verbguard.gateway.naming import Names
from verbguard.http import Headers

OURS = {b"via", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"}


def sent(headers: Headers, *, trusted: bool = False, client: str = "192.0.2.7", host: bytes | None = b"api.example") -> Headers:
    return forwarded(headers, version="1.1", host=host, client=client, scheme="http", trusted=trusted)


def left(headers: Headers) -> Headers:
    """What is passed on of these fields, without what the gateway adds."""
    return [pair for pair in sent(headers) if pair[0] not in OURS]


REQUESTS = [
    # promise                                    of                                                        is left
    ("order and repetition stay", [(b"x-a", b"1"), (b"cookie", b"a=1"), (b"x-a", b"2"), (b"cookie", b"b=2")], None),
    ("a value stays byte for byte", [(b"x-a", b'  \xc3\xa9 , "q"\t')], None),
    ("the key reaches the service", [(b"idempotency-key", b'"8e03978e"')], None),
    ("fields of the connection stay here", [(b"te", b"trailers"), (b"keep-alive", b"5"), (b"upgrade", b"h2c")], []),
    ("credentials for a proxy stay here", [(b"proxy-authorization", b"Basic eA=="), (b"proxy-connection", b"close")], []),
    (
        "what Connection names stays here",
        [(b"connection", b"close, X-Foo"), (b"x-foo", b"1"), (b"x-bar", b"2")],
        [(b"x-bar", b"2")],
    ),
    ("two lines of Connection", [(b"connection", b"x-a"), (b"connection", b"x-b"), (b"x-a", b"1"), (b"x-b", b"2")], []),
    (
        "Connection cannot take the length away",
        [(b"connection", b"content-length, content-type"), (b"content-length", b"3"), (b"content-type", b"text/plain")],
        [(b"content-length", b"3"), (b"content-type", b"text/plain")],
    ),
    ("one framing field", [(b"transfer-encoding", b"chunked"), (b"content-length", b"3")], []),
    ("Host is set by the gateway", [(b"host", b"api.example")], []),
]


@pytest.mark.parametrize(("headers", "expected"), [row[1:] for row in REQUESTS], ids=[row[0] for row in REQUESTS])
def test_what_is_left_of_a_request(headers: Headers, expected: Headers | None) -> None:
    assert left(headers) == (headers if expected is None else expected)


ADDED = [
    # promise                        trusted  before                                     field                 after
    ("Via says who passed it on", False, [], b"via", b"1.1 verbguard"),
    ("Via keeps the earlier hops", False, [(b"via", b"1.0 fred")], b"via", b"1.0 fred, 1.1 verbguard"),
    ("the last line of Via goes on", False, [(b"via", b"1.0 a"), (b"via", b"1.1 b")], b"via", b"1.0 a|1.1 b, 1.1 verbguard"),
    ("the client's address", False, [], b"x-forwarded-for", b"192.0.2.7"),
    ("what a client says of itself is dropped", False, [(b"x-forwarded-for", b"10.0.0.1")], b"x-forwarded-for", b"192.0.2.7"),
    ("a trusted hop is kept", True, [(b"x-forwarded-for", b"10.0.0.1")], b"x-forwarded-for", b"10.0.0.1, 192.0.2.7"),
    ("the host that was asked", False, [(b"x-forwarded-host", b"evil.example")], b"x-forwarded-host", b"api.example"),
    ("a trusted hop knows it better", True, [(b"x-forwarded-host", b"front.example")], b"x-forwarded-host", b"front.example"),
    ("a trusted hop knows TLS", True, [(b"x-forwarded-proto", b"https")], b"x-forwarded-proto", b"https"),
    ("and a stranger does not", False, [(b"x-forwarded-proto", b"https")], b"x-forwarded-proto", b"http"),
    ("Forwarded says all of it", False, [], b"forwarded", b'for=192.0.2.7;host="api.example";proto=http'),
    (
        "Connection cannot take the origin away",
        True,
        [(b"connection", b"x-forwarded-for"), (b"x-forwarded-for", b"10.0.0.1")],
        b"x-forwarded-for",
        b"10.0.0.1, 192.0.2.7",
    ),
]


@pytest.mark.parametrize(("trusted", "before", "field", "after"), [row[1:] for row in ADDED], ids=[row[0] for row in ADDED])
def test_what_is_added_to_a_request(trusted: bool, before: Headers, field: bytes, after: bytes) -> None:
    assert b"|".join(value for name, value in sent(before, trusted=trusted) if name == field) == after


@pytest.mark.parametrize(("version", "cookies"), [("1.1", [b"a=1", b"b=2"]), ("2", [b"a=1; b=2"])])
def test_the_crumbs_of_a_cookie_are_put_together(version: str, cookies: list[bytes]) -> None:
    """What HTTP/2 cuts is one line for HTTP/1.1 (RFC 9113 8.2.3); what came as two lines stays two."""
    headers = [(b"cookie", b"a=1"), (b"x-a", b"1"), (b"cookie", b"b=2")]
    found = forwarded(headers, version=version, host=b"a", client="", scheme="http", trusted=False)
    assert [value for name, value in found if name == b"cookie"] == cookies


def test_an_ipv6_address_is_quoted_in_forwarded_only() -> None:
    fields = dict(sent([], client="2001:db8::1"))
    assert fields[b"forwarded"].startswith(b'for="[2001:db8::1]";')
    assert fields[b"x-forwarded-for"] == b"2001:db8::1"


def test_a_host_that_would_end_its_quotes_is_not_told() -> None:
    fields = dict(sent([], host=b'a";for=evil'))
    assert fields[b"forwarded"] == b"for=192.0.2.7;proto=http"
    assert b"x-forwarded-host" not in fields


ANSWERS = [
    # promise                                status  of                                                    is left
    ("names in lower case, order, repetition", 200, [(b"Set-Cookie", b"a"), (b"X-A", b"1"), (b"Set-Cookie", b"b")], None),
    ("coded content keeps its fields", 200, [(b"content-encoding", b"gzip"), (b"content-length", b"20")], None),
    ("HEAD and GET keep the length", 200, [(b"content-length", b"20")], None),
    ("426 says to what", 426, [(b"upgrade", b"h2c")], [(b"upgrade", b"h2c"), (b"connection", b"upgrade")]),
    ("304 may tell the length", 304, [(b"content-length", b"20"), (b"etag", b'"a"')], None),
    ("204 has none", 204, [(b"content-length", b"7"), (b"etag", b'"a"')], [(b"etag", b'"a"')]),
    ("one framing field", 200, [(b"transfer-encoding", b"chunked"), (b"content-length", b"7")], []),
    ("fields of the connection", 200, [(b"keep-alive", b"5"), (b"proxy-authenticate", b"Basic"), (b"trailer", b"x")], []),
    ("what Connection names", 200, [(b"connection", b"X-Foo"), (b"x-foo", b"1"), (b"x-bar", b"2")], [(b"x-bar", b"2")]),
]


@pytest.mark.parametrize(("status", "headers", "expected"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_what_is_left_of_an_answer(status: int, headers: Headers, expected: Headers | None) -> None:
    same = [(name.lower(), value) for name, value in headers]
    assert answered(status, headers) == (same if expected is None else expected)


INSIDE = "http://10.0.0.5:9000"
LOCATIONS = [
    # promise                            public                   status  told by the service                 told to the client
    ("a path stays", None, 201, b"/orders/7", b"/orders/7"),
    ("the service's own name goes", None, 201, b"http://10.0.0.5:9000/orders/7?a=b#c", b"/orders/7?a=b#c"),
    ("in any case of letters", None, 302, b"HTTP://10.0.0.5:9000/a", b"/a"),
    ("no path is the root", None, 301, b"http://10.0.0.5:9000", b"/"),
    ("only a query", None, 301, b"http://10.0.0.5:9000?a", b"/?a"),
    ("a path like an authority", None, 302, b"http://10.0.0.5:9000//evil.example/", b"/.//evil.example/"),
    ("the public name comes", "https://api.example", 201, b"http://10.0.0.5:9000/a", b"https://api.example/a"),
    ("and takes a double slash as it is", "https://api.example", 303, b"http://10.0.0.5:9000//a", b"https://api.example//a"),
    ("another host stays", None, 302, b"http://login.example/", b"http://login.example/"),
    ("another port is another service", None, 302, b"http://10.0.0.5:9001/", b"http://10.0.0.5:9001/"),
    ("another scheme too", None, 302, b"https://10.0.0.5:9000/", b"https://10.0.0.5:9000/"),
    ("a user's name is not cut off", None, 302, b"http://u:p@10.0.0.5:9000/", b"http://u:p@10.0.0.5:9000/"),
    ("what is no URL stays", None, 302, b"http://[", b"http://["),
    ("200 points nowhere new", None, 200, b"http://10.0.0.5:9000/a", b"http://10.0.0.5:9000/a"),
    ("202 tells where to look", None, 202, b"http://10.0.0.5:9000/jobs/1", b"/jobs/1"),
    ("bytes outside ASCII stay bytes", None, 302, b"http://10.0.0.5:9000/\xe9", b"/\xe9"),
]


@pytest.mark.parametrize(
    ("public", "status", "told", "heard"), [row[1:] for row in LOCATIONS], ids=[row[0] for row in LOCATIONS]
)
@pytest.mark.parametrize("field", [b"location", b"content-location"])
def test_references_name_the_public_side(field: bytes, public: str | None, status: int, told: bytes, heard: bytes) -> None:
    names = Names(INSIDE, public, own=False)
    assert names.outward(status, [(b"x-a", told), (field, told)]) == [(b"x-a", told), (field, heard)]


def test_the_default_port_is_the_same_origin() -> None:
    assert origin_of("http://Shop.example") == origin_of("http://shop.example:80/") == ("http", "shop.example", 80)
    assert Names("http://shop.example", None, own=False).told(b"http://shop.example:80/a") == b"/a"


@pytest.mark.parametrize(
    ("own", "host", "expected"),
    [(False, b"api.example", b"api.example"), (True, b"api.example", b"10.0.0.5:9000"), (False, None, b"10.0.0.5:9000")],
    ids=["the client's", "the service's own", "none was sent"],
)
def test_the_host_that_the_service_gets(own: bool, host: bytes | None, expected: bytes) -> None:
    assert Names(INSIDE, None, own=own).host_for(host) == expected
