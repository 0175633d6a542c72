"""Where a created resource is: derived by a fixed chain, checked against the router, left out on any doubt."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verbguard.http import Headers, Request
from verbguard.location import derive, safe
from verbguard.policy import collection
from verbguard.routes import Kind
from verbguard.rules import Answer, Target

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

ROUTES = re.compile(r"/customers/[^/]+|/shops/[^/]+/orders/[^/]+|/customers|/about")


def target(
    location: str | None = None, child: str | None = None, *, template: str = "/customers", mapped: bool = True
) -> Target:
    """What POST /customers reaches, in an app with the routes above."""
    return Target(
        method="POST",
        template=template,
        kind=Kind.COLLECTION,
        policy=collection(location=location),
        allow=frozenset({"GET", "HEAD", "POST", "OPTIONS"}),
        mapped=mapped,
        child=child,
        resolves=lambda path: ROUTES.fullmatch(path) is not None,
    )


def located(
    document: Any, headers: Headers | None = None, to: Target | None = None, *, path: str = "/customers", prefix: str = ""
) -> str | None:
    """The derived Location of a POST that answered with this JSON document, or with these bytes."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    request = Request("POST", path, [(b"host", b"shop.example")], prefix=prefix)
    return derive(request, Answer(201, headers or [], body), to or target())[0]


POLICY = target(location="/customers/{id}")
CHILD = target(child="/customers/{customer_id}")

CHAIN = [
    # promise                                 target    document                                  fields           Location
    ("the policy's template", POLICY, {"id": 9}, [], "/customers/9"),
    ("a string is an id too", POLICY, {"id": "ada"}, [], "/customers/ada"),
    ("zero is an id", POLICY, {"id": 0}, [], "/customers/0"),
    ("the one member template", CHILD, {"customer_id": 9}, [], "/customers/9"),
    ("its parameter may be called id", CHILD, {"id": 9}, [], "/customers/9"),
    ("the parameter's own name comes first", CHILD, {"id": 1, "customer_id": 9}, [], "/customers/9"),
    ("the policy comes before the routes", target("/customers/{id}", "/customers/{n}"), {"id": 9, "n": 1}, [], "/customers/9"),
    ("Content-Location comes first", POLICY, {"id": 9}, [(b"content-location", b"/customers/7")], "/customers/7"),
    ("its name in any case", POLICY, {"id": 9}, [(b"Content-Location", b"/customers/7")], "/customers/7"),
    ("on this very host", POLICY, {"id": 9}, [(b"content-location", b"http://shop.example/customers/7")], "/customers/7"),
    ("with its query", POLICY, {}, [(b"content-location", b"/customers/7?v=2")], "/customers/7?v=2"),
    ("HAL", target(), {"_links": {"self": {"href": "/customers/9"}}}, [], "/customers/9"),
    ("JSON:API, in the document", target(), {"links": {"self": "/customers/9"}}, [], "/customers/9"),
    ("JSON:API, in the resource", target(), {"data": {"links": {"self": "/customers/9"}}}, [], "/customers/9"),
    ("JSON:API, as an object", target(), {"links": {"self": {"href": "/customers/9"}}}, [], "/customers/9"),
    ("Link", target(), {}, [(b"link", b'</customers/9>; rel="self"')], "/customers/9"),
    ("Link, bare word", target(), {}, [(b"link", b"</customers/9>; rel=self")], "/customers/9"),
    ("Link among others", target(), {}, [(b"link", b'</x>; rel="next", </customers/9>; rel="self"')], "/customers/9"),
    ("Link with several relations", target(), {}, [(b"link", b'</customers/9>; rel="edit self"')], "/customers/9"),
    ("Link of another relation", target(), {}, [(b"link", b'</customers/9>; rel="itself"')], None),
    ("the template comes before links", POLICY, {"id": 9, "links": {"self": "/customers/7"}}, [], "/customers/9"),
    ("links come after a template that cannot be filled", POLICY, {"links": {"self": "/customers/7"}}, [], "/customers/7"),
    (
        "and after a Content-Location elsewhere",
        POLICY,
        {"id": 9},
        [(b"content-location", b"//evil/customers/7")],
        "/customers/9",
    ),
    ("a document says nothing", target(), {"id": 9}, [], None),
    ("no id", POLICY, {"name": "Ada"}, [], None),
    ("no document", POLICY, b"", [], None),
    ("not JSON", POLICY, b"{", [], None),
    ("a list", POLICY, [{"id": 9}], [], None),
    ("null", POLICY, None, [], None),
]


@pytest.mark.parametrize(("to", "document", "headers", "expected"), [row[1:] for row in CHAIN], ids=[row[0] for row in CHAIN])
def test_the_chain(to: Target, document: Any, headers: Headers, expected: str | None) -> None:
    """Content-Location, the policy's template, the one member template, hypermedia: the first that holds is taken."""
    assert located(document, headers, to) == expected


def test_a_template_that_is_not_a_route_is_left_out() -> None:
    """The router has the last word: a Location that GET does not find is none."""
    assert located({"id": 9}, to=target("/clients/{id}")) is None
    assert located({}, [(b"content-location", b"/nowhere")]) is None


def test_the_collection_itself_is_not_what_was_created() -> None:
    """A self link or Content-Location that names the target says nothing about the new member."""
    assert located({"links": {"self": "/customers"}}) is None
    assert located({}, [(b"content-location", b"/customers")]) is None


def test_without_a_route_table_the_template_is_believed() -> None:
    """On an app that shows no routes, the developer's template is all there is to ask."""
    assert located({"id": 9}, to=target("/clients/{id}", mapped=False)) == "/clients/9"


ORDERS = target(child="/shops/{shop}/orders/{order}", template="/shops/{shop}/orders")
ORDERS_BY_POLICY = target("/shops/{shop}/orders/{order}", template="/shops/{shop}/orders")


@pytest.mark.parametrize("to", [ORDERS, ORDERS_BY_POLICY], ids=["routes", "policy"])
def test_a_nested_member_belongs_to_the_collection_that_was_asked(to: Target) -> None:
    """The outer parameters are those of the request: an order's `id` is never the shop's."""
    assert located({"id": 9}, to=to, path="/shops/5/orders") in ("/shops/5/orders/9", None)
    assert located({"order": 9}, to=to, path="/shops/5/orders") in ("/shops/5/orders/9", None)
    assert located({"id": 9, "shop": 6}, to=to, path="/shops/5/orders") in ("/shops/5/orders/9", None)


@pytest.mark.parametrize("to", [ORDERS, ORDERS_BY_POLICY], ids=["routes", "policy"])
def test_a_nested_member_is_located(to: Target) -> None:
    """POST on a collection below an item says where, like any other."""
    assert located({"id": 9}, to=to, path="/shops/5/orders") == "/shops/5/orders/9"


# ---- prefixes

PREFIXES = [
    # prefix      fields                                          Location
    ("/api", [], "/api/customers/9"),
    ("/a/b", [], "/a/b/customers/9"),
    ("/café", [], "/caf%C3%A9/customers/9"),
    ("/api", [(b"content-location", b"/api/customers/7")], "/api/customers/7"),
    ("/api", [(b"content-location", b"/customers/7")], "/api/customers/9"),
    ("/api", [(b"content-location", b"/apis/customers/7")], "/api/customers/9"),
]


@pytest.mark.parametrize(("prefix", "headers", "expected"), PREFIXES)
def test_the_public_prefix_is_there_exactly_once(prefix: str, headers: Headers, expected: str) -> None:
    """Below root_path or SCRIPT_NAME the Location starts with it, however the app spells its own references."""
    assert located({"id": 9}, headers, POLICY, prefix=prefix) == expected


# ---- injection

IDS = [
    # an id that an attacker may choose     the one harmless spelling, or nothing
    ("9\r\nSet-Cookie: a=b", None),
    ("9\n", None),
    ("9\x00", None),
    ("9\t", None),
    ("9\x7f", None),
    ("/evil.example", None),
    ("//evil.example", None),
    ("a/b", None),
    ("..", None),
    (".", None),
    ("../admin", None),
    ("..\\admin", None),
    ("a\\b", None),
    ("", None),
    (None, None),
    (True, None),
    (1.5, None),
    ([9], None),
    ({"id": 9}, None),
    ("\ud800", None),
    ("http://evil.example/", None),
    ("javascript:alert(1)", "/customers/javascript:alert(1)"),
    ("user@evil.example", "/customers/user@evil.example"),
    ("%2e%2e", "/customers/%252e%252e"),
    ("%0d%0a", "/customers/%250d%250a"),
    ("a b", "/customers/a%20b"),
    ("a?b#c", "/customers/a%3Fb%23c"),
    ('"<>', "/customers/%22%3C%3E"),
    ("ünïcode", "/customers/%C3%BCn%C3%AFcode"),
    ("数", "/customers/%E6%95%B0"),
    (-1, "/customers/-1"),
    (10**40, "/customers/" + "1" + "0" * 40),
]


@pytest.mark.parametrize(("identity", "expected"), IDS, ids=lambda value: ascii(value)[:30])
@pytest.mark.parametrize("to", [POLICY, CHILD], ids=["policy", "routes"])
def test_no_id_leaves_its_segment(to: Target, identity: Any, expected: str | None) -> None:
    """An id becomes exactly one percent-encoded segment of the member template, or there is no Location."""
    assert located({"id": identity}, to=to) == expected


REFERENCES = [
    "//evil.example/customers/9",
    "/\\evil.example",
    "/customers/..%2f..%2fadmin",
    "/customers/../admin",
    "/customers/%2e%2e/admin",
    "/customers/.",
    "/customers/9\r\nSet-Cookie: a=b",
    "/customers/%0d%0aSet-Cookie:a=b",
    "/customers/%00",
    "/customers/%5c9",
    "/customers/9 9",
    "/customers/\t9",
    "/customers/ü",
    "http://evil.example/customers/9",
    "https://user@shop.example/customers/9",
    "http://user:password@shop.example/customers/9",
    "http://shop.example:81/customers/9",
    "http://shop.example.evil.example/customers/9",
    "ftp://shop.example/customers/9",
    "javascript:alert(1)",
    "JaVaScRiPt://shop.example/%0aalert(1)",
    "data:text/html,x",
    "http:///customers/9",
    "http:customers/9",
    "http://[::1/customers/9",
    "customers/9",
    "?id=9",
    "#9",
    "",
    " /customers/9",
]


@pytest.mark.parametrize("reference", REFERENCES, ids=ascii)
def test_no_reference_of_the_answer_leads_elsewhere(reference: str) -> None:
    """A self link or Content-Location with a scheme, authority, userinfo, dot segment or control character is not used."""
    assert located({"_links": {"self": {"href": reference}}}) is None
    assert located({"links": {"self": reference}}) is None
    if reference.isascii():
        assert located({}, [(b"content-location", reference.encode())]) is None
        assert located({}, [(b"link", b'<%s>; rel="self"' % reference.encode())]) is None


def test_the_host_field_never_enters() -> None:
    """A Location is path-absolute, so that a forged Host changes nothing."""
    request = Request("POST", "/customers", [(b"host", b"evil.example")])
    assert derive(request, Answer(201, [], b'{"id": 9}'), POLICY)[0] == "/customers/9"
    named = Answer(201, [(b"content-location", b"http://evil.example/customers/9")], b"{}")
    assert derive(request, named, target())[0] in ("/customers/9", None)


SAFE = [
    # reference                    safe
    ("/", True),
    ("/items/9", True),
    ("/items/9?q=a/b", True),
    ("/items/a%20b", True),
    ("/items/9?to=..", True),
    ("items", False),
    ("//items", False),
    ("/items/..", False),
    ("/items/%2E%2e", False),
    ("/items/a\\b", False),
    ("/items/%5Cb", False),
    ("/items/%0A", False),
    ("/items/\n", False),
    ("/items\n", False),
    ("/items#x", False),
    ("/it ems", False),
    ("/ï", False),
    ("", False),
]


@pytest.mark.parametrize(("reference", "expected"), SAFE, ids=lambda value: ascii(value))
def test_what_is_safe(reference: str, expected: bool) -> None:
    """Only a path-absolute ASCII reference without dot segments, controls or backslashes is sent."""
    assert safe(reference) is expected


# ---- properties

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None))
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "data", "links", "_links", "self", "href", "order"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(DOCUMENTS, st.sampled_from([POLICY, CHILD, target(), ORDERS]), st.sampled_from(["", "/api"]))
def test_any_document_gives_a_safe_path_or_nothing(document: Any, to: Target, prefix: str) -> None:
    """Whatever JSON the app sends, nothing is raised, and what is derived stays on this server, below the prefix."""
    found = located(document, to=to, prefix=prefix)
    if found is not None:
        assert safe(found)
        assert ROUTES.fullmatch(unquote(found.removeprefix(prefix).partition("?")[0]))
        assert found.startswith(prefix)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_reason_to_raise(body: bytes) -> None:
    """Content that claims to be JSON and is not derives nothing and harms nothing."""
    assert located(body) is None


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"id":' * 50_000, b"1" * 5_000, b'{"id": ' + b"1" * 5_000 + b"}", b"\xff\xfe"]
)
def test_hostile_json_is_no_reason_to_raise(body: bytes) -> None:
    """Deep nesting, numbers without end and broken text derive nothing."""
    assert located(body, to=POLICY) is None


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_field_is_no_reason_to_raise(named: bytes, link: bytes) -> None:
    """Garbage in Content-Location or Link derives nothing but a safe path."""
    found = located({}, [(b"content-location", named), (b"link", link)])
    assert found is None or safe(found)


@given(st.text(min_size=1, max_size=12))
def test_an_id_survives(identity: str) -> None:
    """What a client decodes from the Location is the id that the app gave."""
    found = located({"id": identity}, to=POLICY)
    assert found is None or unquote(found) == f"/customers/{identity}"
