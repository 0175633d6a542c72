"""What replay decides, as tables: which key, whose, which request it is, and which answers are results."""

from __future__ import annotations

import gzip
import zlib
from copy import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verbguard import item
from verbguard.exchange import Exchange
from verbguard.http import Headers, Request, Response
from verbguard.plans import Guard
from verbguard.records import Claim
from verbguard.replay import (
    KeyProblem,
    fields_of,
    kept,
    parse_key,
    principal_of,
    readable,
    request_digest,
    stored_headers,
)

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# ---- keys

UUID = b"8e03978e-40d5-43e8-bc93-6894a57f9324"
SYNTAX, SINGLE, FORMAT = "idem-key-syntax", "idem-key-single", "idem-key-format"

KEYS: list[tuple[bytes, bytes | str, bytes | str]] = [
    # as sent                guard: the key or the rule   strict
    (b'"abc"', b"abc", b"abc"),
    (b"abc", b"abc", SYNTAX),
    (UUID, UUID, SYNTAX),
    (b'"' + UUID + b'"', UUID, UUID),
    (b' "abc" ', b"abc", b"abc"),
    (b" abc\t", b"abc", SYNTAX),
    (b"a", b"a", SYNTAX),
    (b"a b", b"a b", SYNTAX),
    (b'"a b"', b"a b", b"a b"),
    (b'"a, b"', b"a, b", b"a, b"),
    (b'"a\\"b"', b'a"b', b'a"b'),
    (b'"a\\\\b"', b"a\\b", b"a\\b"),
    (b'"a\\nb"', FORMAT, FORMAT),
    (b'"abc";v=1', b"abc", b"abc"),
    (b'"abc"; v', b"abc", b"abc"),
    (b'"a", "b"', SINGLE, SINGLE),
    (b'"a","a"', SINGLE, SINGLE),
    (b"a, b", SINGLE, SYNTAX),
    (b'a, "b"', SINGLE, SYNTAX),
    (b"", FORMAT, FORMAT),
    (b"  ", FORMAT, FORMAT),
    (b'""', FORMAT, FORMAT),
    (b'" "', FORMAT, FORMAT),
    (b'"abc', FORMAT, FORMAT),
    (b'abc"', FORMAT, SYNTAX),
    (b'a"b"c', FORMAT, SYNTAX),
    (b'"abc"x', FORMAT, FORMAT),
    (b"a\x00b", FORMAT, SYNTAX),
    (b"a\tb", FORMAT, SYNTAX),
    (b"a\x7f", FORMAT, SYNTAX),
    (b"\xc3\xa9", FORMAT, SYNTAX),
    (b'"a\x00b"', FORMAT, FORMAT),
    (b'"a\tb"', FORMAT, FORMAT),
    (b'"\xc3\xa9"', FORMAT, FORMAT),
    (b'"\x7f"', FORMAT, FORMAT),
    (b"k" * 255, b"k" * 255, SYNTAX),
    (b"k" * 256, FORMAT, SYNTAX),
    (b'"' + b"k" * 255 + b'"', b"k" * 255, b"k" * 255),
    (b'"' + b"k" * 256 + b'"', FORMAT, FORMAT),
    (b'"' + b'\\"' * 255 + b'"', b'"' * 255, b'"' * 255),
    (b'"' + b'\\"' * 256 + b'"', FORMAT, FORMAT),
    (b":YWJj:", b":YWJj:", SYNTAX),
    (b"?1", b"?1", SYNTAX),
    (b"42", b"42", SYNTAX),
    (b"'abc'", b"'abc'", SYNTAX),
]


def key_or_rule(value: bytes, *, strict: bool = False) -> bytes | str:
    try:
        return parse_key(value, strict=strict)
    except KeyProblem as problem:
        assert problem.detail and problem.detail == str(problem)
        return problem.rule


@pytest.mark.parametrize(("value", "expected", "strict"), KEYS, ids=lambda value: ascii(value)[:30])
def test_keys(value: bytes, expected: bytes | str, strict: bytes | str) -> None:
    """Bare and quoted spellings are one key, 255 bytes at most; two, none or an unprintable one names the rule it breaks."""
    assert key_or_rule(value) == expected


@pytest.mark.parametrize(("value", "lenient", "expected"), KEYS, ids=lambda value: ascii(value)[:30])
def test_keys_in_strict(value: bytes, lenient: bytes | str, expected: bytes | str) -> None:
    """In `strict` only an RFC 9651 String is a key."""
    assert key_or_rule(value, strict=True) == expected


@given(st.binary(max_size=300) | st.text('"\\,; =a:?', max_size=20).map(str.encode), st.booleans())
def test_any_bytes_are_a_key_or_a_problem(value: bytes, strict: bool) -> None:
    """Garbage in Idempotency-Key names a rule and raises nothing else; what passes is short and visible."""
    found = key_or_rule(value, strict=strict)
    if isinstance(found, str):
        assert found in (SYNTAX, SINGLE, FORMAT)
    else:
        assert 0 < len(found) <= 255
        assert all(0x20 <= byte < 0x7F for byte in found)
        assert found.strip()


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255).filter(str.strip))
def test_a_quoted_key_survives(key: str) -> None:
    """Every String of visible ASCII and spaces is the key that its client meant."""
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert parse_key(quoted.encode()) == key.encode()
    assert parse_key(quoted.encode(), strict=True) == key.encode()


# ---- principals

PRINCIPALS: list[tuple[str, Headers, Headers, bool]] = [
    # promise                        one request                            another                           one principal
    ("nobody is nobody", [], [], True),
    ("a token", [(b"authorization", b"Bearer a")], [(b"authorization", b"Bearer a")], True),
    ("another token", [(b"authorization", b"Bearer a")], [(b"authorization", b"Bearer b")], False),
    ("no token", [(b"authorization", b"Bearer a")], [], False),
    ("an API key", [(b"x-api-key", b"a")], [(b"x-api-key", b"b")], False),
    ("the same word elsewhere", [(b"x-api-key", b"a")], [(b"x-auth-token", b"a")], False),
    ("all together", [(b"authorization", b"a"), (b"x-api-key", b"1")], [(b"authorization", b"a"), (b"x-api-key", b"2")], False),
    ("in any order", [(b"authorization", b"a"), (b"x-api-key", b"1")], [(b"x-api-key", b"1"), (b"authorization", b"a")], True),
    ("a session", [(b"cookie", b"session=1")], [(b"cookie", b"session=2")], False),
    ("a session among others", [(b"cookie", b"session=1; seen=3")], [(b"cookie", b"seen=4; session=1")], True),
    ("Django's", [(b"cookie", b"sessionid=1; a=1")], [(b"cookie", b"sessionid=1; a=2")], True),
    ("PHP's", [(b"cookie", b"PHPSESSID=1")], [(b"cookie", b"PHPSESSID=2")], False),
    ("cookies nobody knows", [(b"cookie", b"a=1; b=2")], [(b"cookie", b"a=1; b=3")], False),
    ("in any order", [(b"cookie", b"a=1; b=2")], [(b"cookie", b"b=2;a=1")], True),
    ("nothing runs together", [(b"x-user", b"ab"), (b"x-user-id", b"c")], [(b"x-user", b"a"), (b"x-user-id", b"bc")], False),
    ("nor into a name", [(b"x-user", b"a x-user-id 1 b")], [(b"x-user", b"a"), (b"x-user-id", b"b")], False),
]


@pytest.mark.parametrize(("one", "other", "same"), [row[1:] for row in PRINCIPALS], ids=[row[0] for row in PRINCIPALS])
def test_principals(one: Headers, other: Headers, same: bool) -> None:
    """A record belongs to whoever sent all of a request's credentials together."""
    assert (principal_of(one) == principal_of(other)) is same


def test_a_certificate_is_a_credential() -> None:
    """Where the server shows the client's certificate it counts, alone and with the others."""
    token = [(b"authorization", b"Bearer a")]
    found = {principal_of(fields, certificate) for fields in ([], token) for certificate in (None, b"one", b"two")}
    assert len(found) == 6


def test_credentials_are_not_kept() -> None:
    """What is stored of a credential is a digest of one length."""
    assert {len(principal_of([(b"authorization", b"x" * size)])) for size in (1, 100, 10_000)} == {16}
    assert b"secret" not in principal_of([(b"authorization", b"secret")])


@pytest.mark.parametrize(("value", "expected"), [("ada", b"ada"), (b"ada", b"ada"), (7, b"7"), ("é", b"\xc3\xa9")])
def test_what_a_principal_may_be(value: object, expected: bytes) -> None:
    """A principal callable may return text, bytes or a number."""
    assert fields_of(value) == expected


def test_a_principal_may_be_any_text() -> None:
    """A claim of a token is text that a client chose; half a surrogate pair in it fails nothing."""
    assert fields_of("\ud800") != fields_of("\ud801")


# ---- which request it is


def guard(**promises: Any) -> Guard:
    """A guard of one item whose PUT may be replayed, with a key or without."""
    made = Guard({"/items/{id}": item(**promises), "/": item(), "/items": item()}, observers=[lambda finding: None])
    made.compile()
    return made


def put(path: str = "/items/1", headers: Headers | None = None, query: bytes = b"", method: str = "PUT") -> Request:
    return Request(method, path, [(b"host", b"a"), (b"content-type", b"application/json"), *(headers or [])], query)


def claim_of(request: Request, content: Any = b"{}", form: str = "bytes") -> Claim:
    """What the store is asked when this request arrives."""
    made = guard(replay={"fingerprint": form})
    exchange = Exchange(made, made.settle(request), request)
    assert exchange.open() is None
    assert exchange.mode
    return exchange.claim(content)


def keyed(request: Request, content: Any = b"{}", form: str = "bytes") -> bytes:
    """The fingerprint of the request with a key."""
    sent = copy(request)
    sent._headers = [*request.headers, (b"idempotency-key", b"k")]
    sent._fields = None
    return claim_of(sent, content, form).fingerprint


def keyless(request: Request, content: Any = b"{}") -> bytes:
    """Under which name the answer to this PUT is kept."""
    return claim_of(request, content).ident


def with_field(name: bytes, value: bytes) -> Request:
    return put(headers=[(name, value)])


MATTER = [
    # what differs                     request                                            keyed   keyless
    ("the path", put("/items/2"), True, True),
    ("the query", put(query=b"v=2"), True, True),
    ("the case of the path", put("/items/A"), True, True),
    ("Content-Encoding", with_field(b"content-encoding", b"gzip"), True, True),
    ("a header nobody knows", with_field(b"x-copy-source", b"/b"), False, True),
    ("a version of the API", with_field(b"api-version", b"2"), False, True),
    ("Prefer", with_field(b"prefer", b"return=minimal"), False, True),
    ("Destination", with_field(b"destination", b"/b"), False, True),
    ("the host", Request("PUT", "/items/1", [(b"host", b"b"), (b"content-type", b"application/json")]), True, True),
    ("the host that a proxy was asked for", with_field(b"x-forwarded-host", b"tenant-b.example"), False, True),
]
CONDITIONS = [(b"if-match", b'"1"'), (b"if-none-match", b"*"), (b"if-unmodified-since", b"Mon, 01 Jan 2024 00:00:00 GMT")]
PROOF = {
    b"accept": b"text/html",
    b"accept-encoding": b"gzip",
    b"accept-language": b"de",
    b"cache-control": b"max-age=0",
    b"connection": b"keep-alive",
    b"content-length": b"2",
    b"date": b"now",
    b"expect": b"100-continue",
    b"traceparent": b"00-1",
    b"tracestate": b"a=1",
    b"user-agent": b"curl",
    b"via": b"1.1 a",
    b"x-forwarded-for": b"10.0.0.1",
    b"x-real-ip": b"10.0.0.1",
    b"x-request-id": b"1",
    b"x-correlation-id": b"1",
    b"x-b3-traceid": b"1",
    b"baggage": b"a=1",
    b"sentry-trace": b"1",
    b"x-amzn-trace-id": b"1",
}


@pytest.mark.parametrize(("other", "for_keyed"), [(row[1], row[2]) for row in MATTER], ids=[row[0] for row in MATTER])
def test_what_makes_a_keyed_request_another(other: Request, for_keyed: bool) -> None:
    """Method, target and content do; what a client may vary between attempts does not."""
    assert (keyed(put()) != keyed(other)) is for_keyed


@pytest.mark.parametrize(("other", "for_keyless"), [(row[1], row[3]) for row in MATTER], ids=[row[0] for row in MATTER])
def test_what_makes_a_keyless_put_another(other: Request, for_keyless: bool) -> None:
    """Every field that can carry meaning does, also one that nobody here has heard of."""
    assert (keyless(put()) != keyless(other)) is for_keyless


def test_the_method_makes_a_keyed_request_another() -> None:
    """One key for a PUT and a DELETE is used twice."""
    assert len({keyed(put(method=method)) for method in ("PUT", "POST", "PATCH", "DELETE")}) == 4


@pytest.mark.parametrize(("name", "value"), CONDITIONS, ids=[name.decode() for name, _ in CONDITIONS])
def test_a_condition_makes_a_keyed_request_another(name: bytes, value: bytes) -> None:
    """With a key a conditional request is one operation, and its condition belongs to it."""
    assert keyed(put()) != keyed(with_field(name, value))
    assert keyed(with_field(name, b"other")) != keyed(with_field(name, value))


@pytest.mark.parametrize("name", sorted(PROOF), ids=bytes.decode)
def test_what_never_makes_another_request(name: bytes) -> None:
    """Delivery, tracing and negotiation are no part of what is asked."""
    assert keyed(with_field(name, PROOF[name])) == keyed(put())
    assert keyless(with_field(name, PROOF[name])) == keyless(put())


def test_a_keyed_operation_outlives_a_token() -> None:
    """With a principal callable a fresh token is the same request of the same client."""
    assert keyed(with_field(b"authorization", b"Bearer a")) == keyed(with_field(b"authorization", b"Bearer b"))


def test_one_principal_never_meets_another() -> None:
    """Records of two clients have two names, with a key and without."""
    one, other = (with_field(b"authorization", token) for token in (b"Bearer a", b"Bearer b"))
    assert keyless(one) != keyless(other)
    names = [
        claim_of(put(headers=[(b"authorization", token), (b"idempotency-key", b"k")])).ident
        for token in (b"Bearer a", b"Bearer b")
    ]
    assert names[0] != names[1]


def test_a_cookie_that_is_no_session_can_carry_meaning() -> None:
    """Beside a session, which is the principal, a PUT with `cart=2` asks for something else than one with `cart=1`."""
    assert keyless(with_field(b"cookie", b"session=1; cart=1")) != keyless(with_field(b"cookie", b"session=1; cart=2"))


def test_content_and_its_type_make_another_request() -> None:
    """The bytes count, and so does what they are called."""
    text = Request("PUT", "/items/1", [(b"host", b"a"), (b"content-type", b"text/plain")])
    for fingerprint in (keyed, keyless):
        assert fingerprint(put(), b"{}") != fingerprint(put(), b"{ }")
        assert fingerprint(put(), b"{}") != fingerprint(put(), b"")
        assert fingerprint(put()) != fingerprint(text)


def test_repeated_fields_count_in_full() -> None:
    """A second line of a field is seen, wherever it stands."""
    one = put(headers=[(b"x-tag", b"a"), (b"x-tag", b"b")])
    assert keyless(one) != keyless(put(headers=[(b"x-tag", b"a")]))


class Raw(Request):
    """A request whose target is known as it was sent."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        super().__init__("PUT", "/", [(b"host", b"a")])
        self.raw = raw

    @property
    def target(self) -> bytes:
        return self.raw


TARGETS = [
    # two spellings                          one target
    (b"/items/%7e", b"/items/~", True),
    (b"/items/%7E", b"/items/~", True),
    (b"/items/%61", b"/items/a", True),
    (b"/items/%c3%a9", b"/items/%C3%A9", True),
    (b"/items?q=%7ea", b"/items?q=~a", True),
    (b"/items/a%2Fb", b"/items/a/b", False),
    (b"/items/a%2fb", b"/items/a%2Fb", True),
    (b"/items/%25", b"/items/%", False),
    (b"/items/%2561", b"/items/%61", False),
    (b"/items?a=1&b=2", b"/items?b=2&a=1", False),
    (b"/items/", b"/items", False),
    (b"/items/%zz", b"/items/%ZZ", False),
]


@pytest.mark.parametrize(("one", "other", "same"), TARGETS)
def test_percent_encoding_has_one_spelling(one: bytes, other: bytes, same: bool) -> None:
    """RFC 3986 section 6.2.2: an unreserved character is the same escaped or not; a slash is not."""
    assert (keyed(Raw(one)) == keyed(Raw(other))) is same
    assert (keyless(Raw(one)) == keyless(Raw(other))) is same


JSON = [
    # two documents                             one in json mode
    (b'{"a":1,"b":2}', b'{"b": 2, "a": 1}', True),
    (b'{"a":{"x":1,"y":2}}', b'{"a":{"y":2,"x":1}}', True),
    (b'{"a":"\\u00e9"}', '{"a":"é"}'.encode(), True),
    (b"[1,2]", b"[2,1]", False),
    (b'{"a":1}', b'{"a":"1"}', False),
    (b'{"a":1}', b'{"a":2}', False),
    (b'{"a":true}', b'{"a":1}', False),
    (b'{"a":null}', b"{}", False),
    (b"{", b"{ ", False),
    (b"[" * 5_000, b"[" * 5_001, False),
    (b"\xff", b"\xfe", False),
]


@pytest.mark.parametrize(("one", "other", "same"), JSON, ids=lambda value: ascii(value)[:24])
def test_json_in_another_order(one: bytes, other: bytes, same: bool) -> None:
    """With `fingerprint="json"` members may come in another order; by bytes they may not."""
    assert (keyed(put(), one, "json") == keyed(put(), other, "json")) is same
    assert keyed(put(), one) != keyed(put(), other)


def test_json_mode_leaves_other_content_alone() -> None:
    """Only what is called JSON is read as JSON."""
    text = Request("PUT", "/items/1", [(b"host", b"a"), (b"content-type", b"text/plain")])
    assert keyed(text, b'{"a":1,"b":2}', "json") != keyed(text, b'{"b":2,"a":1}', "json")


Part = tuple[bytes, bytes]


def form(boundary: bytes, *parts: Part) -> tuple[bytes, bytes]:
    """(Content-Type, content) of a form as a client with this boundary would send it."""
    lines = [
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary, disposition, value)
        for disposition, value in parts
    ]
    return b"multipart/form-data; boundary=" + boundary, b"".join(lines) + b"--%s--\r\n" % boundary


def form_digest(kind: bytes, body: bytes, size: int = 0) -> bytes:
    """The fingerprint of a form that comes whole, or in pieces of some size."""
    content = body if not size else [body[at : at + size] for at in range(0, len(body), size)]
    return request_digest(b"head", content, kind)


NAME, FILE = b'name="a"', b'name="f"; filename="x.bin"'
ONE = form(b"one", (NAME, b"1"), (FILE, b"\r\n--two\r\n"))

FORMS: list[tuple[str, tuple[bytes, bytes], bool]] = [
    ("another boundary", form(b"other-2", (NAME, b"1"), (FILE, b"\r\n--two\r\n")), True),
    ("a quoted boundary", (b'multipart/form-data; boundary="one"', ONE[1]), True),
    ("a type in capitals", (b"Multipart/Form-Data; boundary=one", ONE[1]), True),
    ("another value", form(b"one", (NAME, b"2"), (FILE, b"\r\n--two\r\n")), False),
    ("another name", form(b"one", (b'name="b"', b"1"), (FILE, b"\r\n--two\r\n")), False),
    ("another file name", form(b"one", (NAME, b"1"), (b'name="f"; filename="y.bin"', b"\r\n--two\r\n")), False),
    ("another order", form(b"one", (FILE, b"\r\n--two\r\n"), (NAME, b"1")), False),
    ("one part less", form(b"one", (NAME, b"1")), False),
    ("one part twice", form(b"one", (NAME, b"1"), (NAME, b"1"), (FILE, b"\r\n--two\r\n")), False),
    ("no parts", form(b"one"), False),
]


@pytest.mark.parametrize(("other", "same"), [row[1:] for row in FORMS], ids=[row[0] for row in FORMS])
def test_a_form_counts_by_its_parts(other: tuple[bytes, bytes], same: bool) -> None:
    """Every attempt of a client makes up a boundary; the parts are what it sends."""
    assert (form_digest(*ONE) == form_digest(*other)) is same


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_a_form_in_pieces_is_the_same_form(size: int) -> None:
    """A form that was too large to be held is fingerprinted in pieces, wherever they are cut."""
    assert form_digest(*ONE, size) == form_digest(*ONE)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_content_in_pieces_is_the_same_content(size: int) -> None:
    """A fingerprint does not depend on how content arrived."""
    body = bytes(range(256))
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert request_digest(b"head", pieces, b"text/plain") == request_digest(b"head", body, b"text/plain")


MALFORMED = [
    b"multipart/form-data",
    b"multipart/form-data; boundary=",
    b'multipart/form-data; boundary="',
    b"multipart/form-data; boundary*=utf-8''%E2%82%AC",
    b"multipart/form-data; boundary*=latin-1''%FF",
    b"multipart/form-data; boundary*0=a; boundary*1=b",
    b"multipart/form-data; boundary=\xff\xfe",
    b"multipart/form-data; boundary=" + b"x" * 10_000,
    b"multipart/form-data; boundary=(((",
    b"multipart/; boundary=one",
    b"multipart/related; boundary=one",
]
BROKEN = [
    b"",
    b"--one",
    b"--one\r\n\r\n",
    b"--one\r\nA\r\n\r\nx",
    b"no boundary at all",
    ONE[1][:-9],
    b"--one--",
    b"\r\n" * 500,
]


@pytest.mark.parametrize("kind", MALFORMED, ids=lambda kind: ascii(kind)[:60])
def test_a_malformed_form_counts_by_its_bytes(kind: bytes) -> None:
    """What cannot be read as parts is fingerprinted as it is: no client can make the fingerprint fail."""
    for body in (*BROKEN, ONE[1]):
        assert form_digest(kind, body) == form_digest(kind, body, 3)
    assert form_digest(kind, b"a") != form_digest(kind, b"b")


@given(st.binary(max_size=200), st.binary(max_size=60), st.sampled_from(["bytes", "json"]))
def test_no_content_makes_the_fingerprint_raise(body: bytes, tail: bytes, mode: str) -> None:
    """Whatever the bytes and whatever they are called, there is a fingerprint, and always the same one."""
    for kind in (b"multipart/form-data; boundary=" + tail, b"multipart/" + tail, b"application/json" + tail, tail):
        digests = {request_digest(b"head", body, kind, mode) for _ in range(2)}
        assert len(digests) == 1


@given(
    st.lists(st.tuples(st.from_regex(r'name="[a-z]{1,3}"', fullmatch=True).map(str.encode), st.binary(max_size=30)), max_size=4)
)
def test_forms_have_one_digest_whatever_the_boundary(parts: list[Part]) -> None:
    """Two clients that send the same parts send the same request."""
    one, other = form(b"boundary-one-1f2e", *parts), form(b"2222boundary", *parts)
    if parts:
        assert form_digest(*one) == form_digest(*other)


# ---- which answers are results

RELEASED = (307, 308, 401, 404, 405, 407, 408, 409, 411, 412, 413, 415, 417, 421, 423, 425, 428, 429, 431, 503)
RESULTS = (200, 201, 202, 203, 204, 205, 207, 301, 302, 303, 400, 402, 403, 406, 410, 414, 418, 422, 424, 426, 451)
ERRORS = (500, 501, 502, 504, 505, 507, 599)


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_outcomes(method: str) -> None:
    """Answers that prove that nothing was done let the key go; other 2xx, 3xx and 4xx are the result; 5xx as the verb says."""
    repeats = method in ("PUT", "DELETE")
    assert {status for status in range(200, 600) if not kept(method, status, None, frozenset())} == {
        *RELEASED,
        *(status for status in range(500, 600) if repeats),
    }
    assert all(kept(method, status, None, frozenset()) for status in RESULTS)
    assert all(kept(method, status, None, frozenset()) is not repeats for status in ERRORS)


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_a_route_decides_about_its_errors(method: str) -> None:
    """`on_error` is the fate of a 5xx on its route, and of nothing else."""
    for status in ERRORS:
        assert kept(method, status, "keep", frozenset())
        assert not kept(method, status, "release", frozenset())
    for status in (*RESULTS, *RELEASED):
        if status < 500:
            assert kept(method, status, "release", frozenset()) == kept(method, status, None, frozenset())
            assert kept(method, status, "keep", frozenset()) == kept(method, status, None, frozenset())


def test_a_route_releases_further_statuses() -> None:
    """`release` lists statuses after which the same key may run again, also where an error would be kept."""
    assert not kept("POST", 422, None, frozenset({422}))
    assert not kept("POST", 502, "keep", frozenset({502}))
    assert kept("POST", 400, None, frozenset({422}))


# ---- the fields of a replay

NEVER = [
    b"set-cookie",
    b"date",
    b"age",
    b"retry-after",
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"te",
    b"trailer",
    b"upgrade",
    b"via",
    b"server",
    b"server-timing",
    b"alt-svc",
    b"clear-site-data",
    b"traceparent",
    b"x-request-id",
    b"ratelimit",
    b"x-ratelimit-remaining",
    b"www-authenticate",
    b"proxy-authenticate",
    b"authentication-info",
]
ALWAYS = [
    b"location",
    b"content-location",
    b"content-type",
    b"etag",
    b"last-modified",
    b"link",
    b"vary",
    b"cache-control",
    b"x-any",
]
ALWAYS += [b"content-encoding", b"content-language", b"content-disposition", b"repr-digest", b"content-digest", b"allow"]


@pytest.mark.parametrize("spell", [bytes.lower, bytes.title, bytes.upper], ids=["lower", "title", "upper"])
@pytest.mark.parametrize("name", NEVER, ids=bytes.decode)
def test_fields_that_are_never_stored(name: bytes, spell: object) -> None:
    """Made anew for each message, about one connection, or stale by the time of a replay."""
    spelled = spell(name)  # type: ignore[operator]
    assert stored_headers([(b"x-before", b"1"), (spelled, b"x"), (b"X-After", b"2")]) == [
        (b"x-before", b"1"),
        (b"x-after", b"2"),
    ]


@pytest.mark.parametrize("name", ALWAYS, ids=bytes.decode)
def test_fields_that_are_stored(name: bytes) -> None:
    """What says what was done is repeated."""
    assert stored_headers([(name, b"x")]) == [(name, b"x")]
    assert stored_headers([(name.title(), b"x")]) == [(name, b"x")]


def test_stored_fields_are_ordered_pairs() -> None:
    """Repeated lines stay, in their order."""
    pairs = [(b"Link", b"</a>"), (b"x", b"1"), (b"link", b"</b>"), (b"Set-Cookie", b"c"), (b"X", b"2")]
    assert stored_headers(pairs) == [(b"link", b"</a>"), (b"x", b"1"), (b"link", b"</b>"), (b"x", b"2")]


@pytest.mark.parametrize("lines", [[b"close, X-Hop , x-other"], [b"x-hop", b"X-OTHER"]], ids=["one line", "two lines"])
def test_fields_that_connection_names_go_with_it(lines: list[bytes]) -> None:
    """RFC 9110 section 7.6.1: what Connection lists concerns that connection only."""
    pairs = [(b"Connection", line) for line in lines]
    assert stored_headers([*pairs, (b"X-Hop", b"1"), (b"x-other", b"2"), (b"x-kept", b"3")]) == [(b"x-kept", b"3")]


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=8))
def test_no_field_makes_storing_raise(pairs: Headers) -> None:
    """An app may send any pairs; what is kept is a part of them, in order."""
    kept_pairs = stored_headers(pairs)
    lowered = iter([(name.lower(), value) for name, value in pairs])
    assert all(pair in lowered for pair in kept_pairs)


# ---- another content coding

TEXT = b"content " * 50
GZIP, DEFLATE = gzip.compress(TEXT, mtime=0), zlib.compress(TEXT)
ENCODED: Headers = [(b"content-type", b"text/plain"), (b"content-encoding", b"gzip"), (b"etag", b'"z"')]

CODINGS = [
    # stored as            the retry accepts          it can read
    (b"gzip", GZIP, None, GZIP),
    (b"gzip", GZIP, b"gzip", GZIP),
    (b"gzip", GZIP, b"br, gzip;q=0.5", GZIP),
    (b"gzip", GZIP, b"*", GZIP),
    (b"gzip", GZIP, b"identity", TEXT),
    (b"gzip", GZIP, b"br", TEXT),
    (b"gzip", GZIP, b"gzip;q=0", TEXT),
    (b"GZip", GZIP, b"identity", TEXT),
    (b"x-gzip", GZIP, b"gzip", GZIP),
    (b"deflate", DEFLATE, b"identity", TEXT),
    (b"br", b"opaque", b"identity", b"opaque"),
    (b"gzip", b"not gzip", b"identity", b"not gzip"),
]


@pytest.mark.parametrize(("coding", "stored", "accepts", "expected"), CODINGS)
def test_a_replay_can_be_read(coding: bytes, stored: bytes, accepts: bytes | None, expected: bytes) -> None:
    """A retry that does not accept the first answer's coding gets the plain content, with fields that say so."""
    pairs = [(b"content-encoding", coding), (b"content-length", b"%d" % len(stored)), (b"vary", b"accept-encoding")]
    response = readable(Response(200, pairs, stored), accepts)
    assert response.body == expected
    fields = dict(response.headers)
    assert fields[b"content-length"] == b"%d" % len(expected)
    assert (b"content-encoding" in fields) is (expected is not TEXT)
    assert fields[b"vary"] == b"accept-encoding"


@given(st.binary(max_size=60), st.binary(max_size=30))
def test_no_coding_makes_a_replay_raise(body: bytes, accepts: bytes) -> None:
    """Broken codings and garbage in Accept-Encoding leave the stored answer readable as it is."""
    for coding in (b"gzip", b"deflate", accepts):
        readable(Response(200, [(b"content-encoding", coding)], body), accepts)
