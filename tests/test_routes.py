"""Templates, the kinds that they show, and the map that finds them, beside a twin that is slow and plain."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verbguard.http import Request
from verbguard.plans import Guard
from verbguard.policy import collection, item
from verbguard.routes import Kind, Route, RouteMap, bare, infer_kinds, parameters, shape

# How long an example takes is the machine's business.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

COLL, ITEM, NONE = Kind.COLLECTION, Kind.ITEM, Kind.UNKNOWN

# ---- spelling

TEMPLATES = [
    # template                    without converters        without names            parameters
    ("/items", "/items", "/items", []),
    ("/items/{id}", "/items/{id}", "/items/{}", ["id"]),
    ("/items/{id:int}", "/items/{id}", "/items/{}", ["id"]),
    ("/files/{path:path}", "/files/{path:path}", "/files/{:path}", ["path"]),
    ("/a/{x}/b/{y:uuid}", "/a/{x}/b/{y}", "/a/{}/b/{}", ["x", "y"]),
    ("/items/{id}:publish", "/items/{id}:publish", "/items/{}:publish", ["id"]),
    ("/v{major}.{minor}", "/v{major}.{minor}", "/v{}.{}", ["major", "minor"]),
    ("/", "/", "/", []),
]


@pytest.mark.parametrize(("template", "plain", "form", "names"), TEMPLATES, ids=[row[0] for row in TEMPLATES])
def test_spellings_of_a_template(template: str, plain: str, form: str, names: list[str]) -> None:
    """A converter or another name for a parameter does not make another resource; a slash inside one does."""
    assert (bare(template), shape(template), parameters(template)) == (plain, form, names)


# ---- kinds

KINDS: list[tuple[str, dict[str, Kind]]] = [
    ("a collection and its items", {"/items": COLL, "/items/{id}": ITEM}),
    ("with a converter", {"/items": COLL, "/items/{id:int}": ITEM}),
    ("with a slash at the end", {"/items/": COLL, "/items/{id}": ITEM}),
    ("with a slash at both ends", {"/items/": COLL, "/items/{id}/": ITEM}),
    ("below a prefix", {"/api/v1/items": COLL, "/api/v1/items/{id}": ITEM}),
    ("below an item", {"/shops": COLL, "/shops/{s}": ITEM, "/shops/{s}/orders": COLL, "/shops/{s}/orders/{o}": ITEM}),
    ("below an item that is no route", {"/shops/{s}/orders": COLL, "/shops/{s}/orders/{o}": ITEM}),
    ("two names for one parameter", {"/items": COLL, "/items/{id}": ITEM, "/items/{item_id}": ITEM}),
    ("no items", {"/items": NONE}),
    ("no collection", {"/items/{id}": NONE}),
    ("an item without its collection, and a stranger", {"/items/{id}": NONE, "/things": NONE}),
    ("a path is no item", {"/files": NONE, "/files/{path:path}": NONE}),
    ("a path beside an item", {"/files": COLL, "/files/{id}": ITEM, "/files/{path:path}": NONE}),
    ("search and count beside items", {"/items": COLL, "/items/{id}": ITEM, "/items/search": NONE, "/items/count": NONE}),
    ("search of its own", {"/items/search": NONE, "/items/{id}": NONE}),
    ("a batch action", {"/items": COLL, "/items/{id}": ITEM, "/items:batch": NONE}),
    ("an item's action", {"/items": COLL, "/items/{id}": ITEM, "/items/{id}:publish": NONE}),
    ("an action by path", {"/items": COLL, "/items/{id}": ITEM, "/items/{id}/publish": NONE}),
    ("an item's state", {"/items": COLL, "/items/{id}": ITEM, "/items/{id}/status": NONE}),
    ("a format at the end", {"/items": COLL, "/items/{id}": ITEM, "/items.json": NONE, "/items/{id}.json": NONE}),
    ("a format as a parameter", {"/items": COLL, "/items/{id}": ITEM, "/items.{format}": NONE}),
    ("two parameters at the end", {"/a": NONE, "/a/{x}/{y}": NONE}),
    ("two parameters and one", {"/a": COLL, "/a/{x}": ITEM, "/a/{x}/{y}": NONE}),
    ("a parameter is no collection", {"/{tenant}": NONE, "/{tenant}/{id}": NONE}),
    ("a parameter in the middle", {"/{tenant}/items": COLL, "/{tenant}/items/{id}": ITEM}),
    ("a mixed segment is no member", {"/items": NONE, "/items/v{id}": NONE}),
    ("me", {"/me": NONE, "/login": NONE}),
    ("prefixes that are alike", {"/item": NONE, "/items": COLL, "/items/{id}": ITEM}),
]


@pytest.mark.parametrize("kinds", [row[1] for row in KINDS], ids=[row[0] for row in KINDS])
def test_inferred_kinds(kinds: dict[str, Kind]) -> None:
    """A kind is inferred only where two templates corroborate each other; everything else is UNKNOWN, in any order."""
    for templates in (list(kinds), list(reversed(kinds))):
        assert {template: kind for template, (kind, _) in infer_kinds(templates).items()} == kinds


def test_an_inferred_kind_says_why() -> None:
    """Every kind comes with the sentence that start-up and `verbguard routes` print."""
    found = infer_kinds(["/items", "/items/{id}", "/me"])
    assert "/items/{id}" in found["/items"][1]
    assert "/items" in found["/items/{id}"][1]
    assert found["/me"][1]


TEMPLATE = st.lists(st.sampled_from(["items", "orders", "{id}", "{x}", "v{n}", "{path:path}"]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


@given(st.lists(TEMPLATE, unique=True, max_size=8))
def test_kinds_come_in_pairs(templates: list[str]) -> None:
    """Every COLLECTION has an ITEM with one more parameter, and every ITEM its COLLECTION, whatever the table."""
    kinds = infer_kinds(templates)
    assert kinds.keys() == set(templates)
    shapes = {shape(template).rstrip("/"): kind for template, (kind, _) in kinds.items()}
    for found, kind in shapes.items():
        if kind is COLL:
            assert shapes.get(found + "/{}") is ITEM
            assert not found.endswith("}")
        if kind is ITEM:
            assert shapes.get(found.removesuffix("/{}")) is COLL


# ---- the map


def twin(template: str) -> re.Pattern[str]:
    """The template as one regular expression, written as plainly as possible; frameworks' paths end at a line feed too."""
    pattern = re.escape(template)
    pattern = re.sub(r"\\\{[a-z]+:path\\\}", ".*", pattern)
    return re.compile(re.sub(r"\\\{[a-z]+\\\}", "[^/]+", pattern))


def route_map(templates: list[str]) -> RouteMap:
    routes = [Route(template=template, methods=frozenset({"GET"})) for template in templates]
    return RouteMap(routes, lambda landing, reached: (landing, reached))


def expected(templates: list[str], path: str) -> list[str]:
    return [template for template in templates if twin(template).fullmatch(path)]


def agrees(templates: list[str], path: str) -> None:
    """The map reaches what the twin does, and its fast answer is right where it has one."""
    found = route_map(templates)
    wanted = expected(templates, path)
    assert [route.template for route in found.settle(path)] == wanted
    quick = found.find(path)
    if quick is not None:
        landing, reached = quick
        assert [route.template for route in reached] == [route.template for route in landing] == wanted


SEGMENT = st.sampled_from(["items", "me", "a", "1", "{id}", "{name}", "{id}:publish", "v{n}", "{x}.{y}", "{id}.json"])
PLAIN = st.lists(SEGMENT, max_size=4).map(lambda parts: "/" + "/".join(parts))
SLASHED = st.builds(lambda template, end: template + end, PLAIN, st.sampled_from(["", "/"]))
TAIL = st.builds(lambda template, end: template.rstrip("/") + end, PLAIN, st.sampled_from(["/{path:path}"]))
INSIDE = st.builds(
    lambda template, middle, end: template.rstrip("/") + middle + end,
    PLAIN,
    st.sampled_from(["/{path:path}", "/f{path:path}"]),
    st.sampled_from(["", "/meta", "/{id}", ":publish", ".json"]),
)
PIECE = st.sampled_from(["items", "me", "a", "1", "2", "", "v1", "x.y", "1:publish", "1.json", "{id}", "é", "a b", "\n", "fa"])
PATH = st.lists(PIECE, max_size=6).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(SLASHED | TAIL, max_size=8), PATH)
def test_the_map_agrees_with_its_twin(templates: list[str], path: str) -> None:
    """Literals, parameters, mixed segments and a path at the end: the tree finds every template that matches."""
    agrees(templates, path)


@given(st.lists(INSIDE | SLASHED, max_size=6), PATH)
def test_the_map_agrees_with_its_twin_about_paths_anywhere(templates: list[str], path: str) -> None:
    """A parameter that spans slashes may have text around it or segments behind it."""
    agrees(templates, path)


PATHS_INSIDE = [
    (["/files/{path:path}/meta"], "/files/a/b"),
    (["/files/{path:path}/meta"], "/files/a/b/meta"),
    (["/files/{path:path}", "/files/{path:path}/meta"], "/files/a"),
    (["/files/{path:path}:publish"], "/files/a/b:publish"),
    (["/files/{path:path}:publish"], "/files/a/b"),
    (["/f{path:path}"], "/fa/b"),
    (["/f{path:path}"], "/f"),
    (["/files/{path:path}"], "/files"),
    (["/files/{path:path}"], "/files/"),
    (["/{path:path}"], "/"),
    (["/{path:path}", "/items"], "/items"),
]


@pytest.mark.parametrize(("templates", "path"), PATHS_INSIDE, ids=str)
def test_paths_that_span_slashes(templates: list[str], path: str) -> None:
    """The cases of the properties above that once were, or might be, wrong."""
    agrees(templates, path)


def test_settle_keeps_the_order_of_the_table() -> None:
    """Routes come back as they were declared, for a router where the first one wins."""
    templates = ["/items/{id}", "/items/search", "/{a}/{b}", "/items/{path:path}"]
    for order in (templates, list(reversed(templates))):
        assert [route.template for route in route_map(order).settle("/items/search")] == order


@pytest.mark.parametrize("path", ["", "*", "/", "//", "items", "http://host/items", "/items/../x", "\x00", "/" * 500])
def test_any_path_may_be_looked_up(path: str) -> None:
    """A server hands over whatever a client sent."""
    found = route_map(["/items", "/items/{id}", "/files/{path:path}"])
    assert found.find(path) is None
    found.settle(path)


def test_many_templates_do_not_multiply_the_work() -> None:
    """Alternatives at every level are looked at once each: a long path through parameters and literals comes back."""
    templates = ["/" + "/".join("a" if bits >> at & 1 else "{p}" for at in range(8)) for bits in range(256)]
    assert len(route_map(templates).settle("/a" * 8)) == 256


# ---- on an app that shows no routes


SPELLINGS = ["/items", "/items/", "//items", "/./items", "/x/../items", "http://host/items", "HTTP://host/items", "//items//"]


@pytest.mark.parametrize("path", SPELLINGS)
def test_a_declared_collection_is_found_however_it_is_spelled(path: str) -> None:
    """Where nobody can be asked how the app reads a path, no spelling of it evades the refusal."""
    guard = Guard({"/items": collection(), "/items/{id}": item()})
    guard.compile()
    assert guard.settle(Request("PUT", path)).refused is not None


@pytest.mark.parametrize("path", ["/items/1", "/items/..", "/itemsx", "/other", "/items/1/more", "/items%2f"])
def test_other_paths_are_not_the_collection(path: str) -> None:
    """And nothing else is refused with it."""
    guard = Guard({"/items": collection(), "/items/{id}": item()})
    guard.compile()
    assert guard.settle(Request("PUT", path)).refused is None


def test_literals_are_preferred_to_parameters() -> None:
    """On such an app `/items/search` is the policy of that name, not an item called search."""
    guard = Guard({"/items/{id}": item(), "/items/search": collection()})
    guard.compile()
    assert guard.settle(Request("PUT", "/items/search")).target.template == "/items/search"
    assert guard.settle(Request("PUT", "/items/7")).target.template == "/items/{id}"
