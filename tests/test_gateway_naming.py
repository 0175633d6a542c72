"""What a DAV client calls the gateway is called the service when it gets there: Destination, and the resources in If."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verbguard.gateway.naming import Names

HOST, SEEN = b"dav.example.com", b"http://10.0.0.7:9000"
OWN = Names("http://10.0.0.7:9000", None, own=True)  # the service gets a Host of its own
PUBLIC = Names("http://10.0.0.7:9000", "https://dav.example.com", own=True)

DESTINATIONS: list[tuple[bytes, bytes]] = [
    (b"https://dav.example.com/a/b", b"http://10.0.0.7:9000/a/b"),
    (b"http://dav.example.com/a/b", b"http://10.0.0.7:9000/a/b"),  # with or without TLS in front
    (b"https://dav.example.com:443/a", b"http://10.0.0.7:9000/a"),
    (b"https://dav.example.com:/a", b"http://10.0.0.7:9000/a"),
    (b"HTTPS://DAV.Example.COM/A", b"http://10.0.0.7:9000/A"),
    (b"https://dav.example.com", b"http://10.0.0.7:9000"),
    (b"https://dav.example.com/a%20b?x=1#y", b"http://10.0.0.7:9000/a%20b?x=1#y"),
    (b"https://dav.example.com//a/../b", b"http://10.0.0.7:9000//a/../b"),
    (b"https://dav.example.com/caf\xc3\xa9", b"http://10.0.0.7:9000/caf\xc3\xa9"),
    # another server, or nobody's
    (b"https://dav.example.com:8443/a", b"https://dav.example.com:8443/a"),
    (b"https://dav.example.com.evil.test/a", b"https://dav.example.com.evil.test/a"),
    (b"https://evil.test/https://dav.example.com/a", b"https://evil.test/https://dav.example.com/a"),
    (b"https://dav.example.com@evil.test/a", b"https://dav.example.com@evil.test/a"),
    (b"https://me@dav.example.com/a", b"https://me@dav.example.com/a"),
    (b"ftp://dav.example.com/a", b"ftp://dav.example.com/a"),
    (b"/a/b", b"/a/b"),
    (b"../b", b"../b"),
    (b"https://[dav/b", b"https://[dav/b"),
    (b"", b""),
]


@pytest.mark.parametrize("names", [OWN, PUBLIC], ids=["by Host", "by configuration"])
@pytest.mark.parametrize(("reference", "expected"), DESTINATIONS)
def test_a_destination(reference: bytes, expected: bytes, names: Names) -> None:
    """Only the public origin is replaced, in whatever spelling; the rest stays byte for byte."""
    assert names.inward([(b"destination", reference)], HOST) == [(b"destination", expected)]


def test_what_the_service_is_called() -> None:
    """It compares a Destination with the Host that it gets, so that is what it is called; the scheme is its own."""
    fields = [(b"destination", b"https://dav.example.com/a")]
    assert Names("http://10.0.0.7:9000", None, own=False).inward(fields, HOST) == [
        (b"destination", b"http://dav.example.com/a")
    ]
    assert Names("https://10.0.0.7", None, own=True).inward(fields, HOST) == [(b"destination", b"https://10.0.0.7/a")]
    assert OWN.inward(fields, None) == fields  # HTTP/1.0 may leave Host out: then nobody knows who is meant
    assert PUBLIC.inward(fields, None) == PUBLIC.inward(fields, b"10.0.0.1") == [(b"destination", SEEN + b"/a")]
    inside = [(b"destination", b"http://10.0.0.1/a")]
    assert PUBLIC.inward(inside, b"10.0.0.1") == [(b"destination", SEEN + b"/a")]


CONDITIONS: list[tuple[bytes, bytes]] = [
    (b"<https://dav.example.com/a> (<urn:uuid:1>)", b"<http://10.0.0.7:9000/a> (<urn:uuid:1>)"),
    (
        b'<https://dav.example.com/a>(<u:1>["e"]) <https://other.test/b> (Not <u:2>) <http://dav.example.com/c> (<u:3>)',
        b'<http://10.0.0.7:9000/a>(<u:1>["e"]) <https://other.test/b> (Not <u:2>) <http://10.0.0.7:9000/c> (<u:3>)',
    ),
    (b"</a> (<u:1>)", b"</a> (<u:1>)"),
    # state tokens are names of locks, whatever they look like; so is what stands in an entity tag
    (b"(<https://dav.example.com/lock/1>)", b"(<https://dav.example.com/lock/1>)"),
    (b'</a> (["<https://dav.example.com/a>"])', b'</a> (["<https://dav.example.com/a>"])'),
    (b"<https://dav.example.com/a> (<u:1>", b"<https://dav.example.com/a> (<u:1>"),  # nobody can read it
]


@pytest.mark.parametrize(("value", "expected"), CONDITIONS)
def test_the_resources_of_a_condition(value: bytes, expected: bytes) -> None:
    """Tagged resources are renamed, tokens and tags are not."""
    assert OWN.inward([(b"if", value)], HOST) == [(b"if", expected)]


def test_all_other_fields_stay() -> None:
    """Their order, their repetitions and their values; without one that names a resource the list itself comes back."""
    plain = [(b"host", HOST), (b"x-a", b"1"), (b"x-a", b"2"), (b"referer", b"https://dav.example.com/a")]
    assert OWN.inward(plain, HOST) is plain
    public = b"https://dav.example.com"
    fields = [plain[0], (b"destination", public + b"/a"), *plain[1:], (b"destination", public + b"/b")]
    assert OWN.inward(fields, HOST) == [plain[0], (b"destination", SEEN + b"/a"), *plain[1:], (b"destination", SEEN + b"/b")]


@given(st.binary(max_size=200))
def test_no_value_is_too_odd(value: bytes) -> None:
    """Whatever a client sends is renamed or stays; nothing raises, and a value without the public name is never changed."""
    for name in (b"destination", b"if"):
        [(_, found)] = OWN.inward([(name, value)], HOST)
        if HOST not in value.lower():
            assert found == value


@pytest.mark.parametrize("host", [b"", b"[", b"a b", b"\xff", b"a/b", b"a@b", b"a:x"])
def test_no_host_is_too_odd(host: bytes) -> None:
    """A Host that is none names nobody."""
    fields = [(b"destination", b"https://dav.example.com/a"), (b"destination", b"/a/b/c"), (b"destination", b"ftp://a/b")]
    assert OWN.inward(fields, host) == fields
