"""An OpenAPI document of a service: what it adds, what it never takes away, and what is said of one that is malformed."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands.running import ask, run, served
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

import verbguard
from verbguard import ConfigError, Kind, Policy
from verbguard.config import load as load_config
from verbguard.config import loads as config
from verbguard.http import Request
from verbguard.methods import METHODS
from verbguard.openapi import Knowledge, load, loads
from verbguard.plans import Guard

INFO = {"title": "shop", "version": "1"}
FIXED = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
DONE = {"responses": {"200": {"description": "done"}}}
ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


def document(paths: dict[str, Any], version: str = "3.1.0", **fields: Any) -> dict[str, Any]:
    return {"openapi": version, "info": INFO, "paths": paths, **fields}


def operations(*methods: str, **fields: Any) -> dict[str, Any]:
    return {**dict.fromkeys(methods, DONE), **fields}


def created(**links: Any) -> dict[str, Any]:
    return {"responses": {"201": {"description": "made", "links": links}}}


def read(value: Any) -> Knowledge:
    return loads(json.dumps(value), "api.json")


SHOP = document({"/items": operations("get", "post"), "/items/{id}": operations("get", "delete", parameters=[ID])})
ITEM = operations("get", parameters=[ID])
NAMED = {**ITEM, "get": {**DONE, "operationId": "show"}}


def link(member: str = "$response.body#/id", **fields: Any) -> dict[str, Any]:
    return {"operationId": "show", **fields, "parameters": {"id": member}}


def linked(it: dict[str, Any], item: dict[str, Any] = NAMED, path: str = "/items/{id}") -> dict[str, Any]:
    return document({"/items": {"post": created(it=it)}, path: item})


# ---- what is read

TEMPLATES = [  # what, document, template -> methods
    ("the operations of a path", SHOP, {"/items": "GET POST", "/items/{id}": "GET DELETE"}),
    ("3.0", {**SHOP, "openapi": "3.0.3"}, {"/items": "GET POST", "/items/{id}": "GET DELETE"}),
    ("every field of 3.1", document({"/a": dict.fromkeys(FIXED, DONE)}),
        {"/a": "GET PUT POST DELETE OPTIONS HEAD PATCH TRACE"}),
    ("3.2's query", document({"/a": operations("query")}, "3.2.0"), {"/a": "QUERY"}),
    ("3.2's other methods", document({"/a": operations("get", additionalOperations={"COPY": DONE, "Foo": DONE})}, "3.2.0"),
        {"/a": "GET COPY Foo"}),
    ("a path that shows no operation", document({"/a": {"summary": "nothing yet"}}), {"/a": ""}),
    ("extensions are no paths", document({"/a": operations("get"), "x-owner": "us"}), {"/a": "GET"}),
    ("twins are one resource", document({"/i/{id}": operations("get"), "/i/{name}": operations("put", "get")}),
        {"/i/{id}": "GET PUT"}),
    ("text beside a parameter", document({"/i/{id}:publish": operations("post")}), {"/i/{id}:publish": "POST"}),
    ("encoded literals are paths", document({"/a%C3%A9": operations("get")}), {"/a\u00e9": "GET"}),
    ("the rest of a path", document({"/f/{proxy+}": operations("get"), "/g/{+path}": operations("get")}),
        {"/f/{proxy:path}": "GET", "/g/{path:path}": "GET"}),
    ("a pattern in a parameter", document({"/i/{id:[0-9]+}": operations("get")}), {"/i/{id}": "GET"}),
    ("a query is no part of a path", document({"/i{?page}": operations("get")}), {"/i": "GET"}),
    ("a server's path", document({"/a": operations("get")}, servers=[{"url": "https://api.example/v1/"}]), {"/v1/a": "GET"}),
    ("a relative server", document({"/a": operations("get")}, servers=[{"url": "/v1"}]), {"/v1/a": "GET"}),
    ("two servers", document({"/a": operations("get")}, servers=[{"url": "/v1"}, {"url": "https://x/v2"}]),
        {"/v1/a": "GET", "/v2/a": "GET"}),
    ("a server without a path", document({"/a": operations("get")}, servers=[{"url": "https://api.example"}]), {"/a": "GET"}),
    ("a variable of a server", document({"/a": operations("get")}, servers=[
        {"url": "https://x/{base}", "variables": {"base": {"default": "v1", "enum": ["v1", "v2"]}}}]),
        {"/v1/a": "GET", "/v2/a": "GET"}),
    ("a path's own server", document({"/a": operations("get", servers=[{"url": "/w"}])}, servers=[{"url": "/v1"}]),
        {"/w/a": "GET"}),
    ("an operation's own server", document({"/a": {"get": {**DONE, "servers": [{"url": "/w"}]}, "put": DONE}}),
        {"/w/a": "GET", "/a": "PUT"}),
    ("a path item by reference", document({"/a": {"$ref": "#/components/pathItems/a"}},
        components={"pathItems": {"a": operations("get")}}), {"/a": "GET"}),
    ("a reference with an operation beside it", document({"/a": {"$ref": "#/components/pathItems/a", "put": DONE}},
        components={"pathItems": {"a": operations("get")}}), {"/a": "GET PUT"}),
    ("a variable that is no part of the path", document({"/a": operations("get")}, servers=[{"url": "{scheme}://{h}:{p}/v1"}]),
        {"/v1/a": "GET"}),
    ("a server of any scheme", document({"/a": operations("get")}, servers=[{"url": "//api.example/v1"}]), {"/v1/a": "GET"}),
    ("a variable with a host", document({"/a": operations("get")}, servers=[
        {"url": "{base}/v1", "variables": {"base": {"default": "https://api.example/shop"}}}]), {"/shop/v1/a": "GET"}),
    ("a parameter with spaces", document({"/a/{ id }/{its name}": operations("get")}), {"/a/{id}/{its_name}": "GET"}),
    ("a server relative to the document", document({"/a": operations("get")}, servers=[{"url": "../v1/?x"}]), {"/v1/a": "GET"}),
    ("a variable with too many values", document({"/a": operations("get")}, servers=[
        {"url": "/{v}", "variables": {"v": {"default": "one", "enum": [str(number) for number in range(99)]}}}]),
        {"/one/a": "GET"}),
    ("a reference to another path", document({"/a/b": operations("get"), "/c": {"$ref": "#/paths/~1a~1b"}}),
        {"/a/b": "GET", "/c": "GET"}),
    ("webhooks alone", {"openapi": "3.1.0", "info": INFO, "webhooks": {}, "components": {}}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "wanted"), [row[1:] for row in TEMPLATES], ids=[row[0] for row in TEMPLATES])
def test_templates(value: dict[str, Any], wanted: dict[str, str]) -> None:
    """Paths, servers and references become templates with the methods that the document shows."""
    known = read(value)
    assert {path: " ".join(fields.get("methods", ())) for path, fields in known.templates.items()} == wanted
    assert known.notes == ()
    assert Guard(known.policies()).policies.keys() == wanted.keys()


VALID = [row[1] for row in TEMPLATES if row[0] in {"the operations of a path", "3.0", "every field of 3.1", "3.2's query"}]


@pytest.mark.parametrize("value", VALID, ids=str)
def test_what_we_read_is_openapi(value: dict[str, Any]) -> None:
    """The table above is made of documents that others call valid, too."""
    validate({**value, "paths": {"/items": value["paths"].get("/items", operations("get"))}})


@pytest.mark.parametrize(
    ("paths", "note"),
    [
        ({"/a?x=1": operations("get")}, "paths.'/a?x=1': left out"),
        ({"/a#b": operations("get")}, "left out"),
        ({"/a/{b": operations("get")}, "left out"),
        ({"/a/{}": operations("get")}, "left out"),
        ({"/a%20b": operations("get")}, "left out"),
        ({"/a": {"gett": DONE}}, "paths.'/a'.gett: there is no such field; did you mean 'get'?"),
        ({"/a": {"query": DONE}}, "there is no such field"),  # not before 3.2
        ({"/a": {"post": {**DONE, "parameters": [{"name": "idempotency-key", "in": "header", "required": True}]}}},
            "POST /a: the document requires Idempotency-Key"),
    ],
)  # fmt: skip
def test_notes(paths: dict[str, Any], note: str) -> None:
    """What cannot be used, or is worth a person's word, is told and not lost."""
    known = read(document({**paths, "/ok": operations("get")}))
    assert note in " ".join(known.notes)
    assert "/ok" in known.templates


def test_a_required_key_by_reference_is_told_once() -> None:
    """Parameters stand on the operation or on the path, in place or by reference."""
    key = {"name": "Idempotency-Key", "in": "header", "required": True}
    value = document(
        {"/a": {"parameters": [{"$ref": "#/components/parameters/Key"}, {"$ref": "other.yaml#/x"}], "post": DONE}},
        components={"parameters": {"Key": key}},
    )
    (note,) = read(value).notes
    assert "POST /a" in note
    assert read(value).policies()["/a"].replay == Policy().replay, "told, and not enforced"


LOCATIONS = [  # what, document, location of what POST /items creates
    ("a link by its operation", linked(link()), "/items/{id}"),
    ("a member of another name", linked(link("$response.body#/number")), "/items/{number}"),
    ("path.id", linked({"operationId": "show", "parameters": {"path.id": "$response.body#/no"}}), "/items/{no}"),
    ("a link by reference", linked(link(operationId=None, operationRef="#/paths/~1items~1{id}/get")),
        "/items/{id}"),
    ("an encoded reference", linked(link(operationId=None, operationRef="#/paths/~1items~1%7Bid%7D/get")),
        "/items/{id}"),
    ("no link", document({"/items": {"post": created()}, "/items/{id}": NAMED}), None),
    ("an operation that nobody has", linked(link(operationId="lost")), None),
    ("a write", linked(link(),
        {"put": {**DONE, "operationId": "show"}}), None),
    ("a member deep inside", linked(link("$response.body#/data/id")), None),
    ("a field of the answer", linked(link("$response.header.X-Id")), None),
    ("no parameter told", linked({"operationId": "show"}), None),
    ("nothing new", linked({"operationId": "list"}, {"get": {**DONE, "operationId": "list"}}, "/all"), None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "wanted"), [row[1:] for row in LOCATIONS], ids=[row[0] for row in LOCATIONS])
def test_locations(value: dict[str, Any], wanted: str | None) -> None:
    """The links of a POST's 201 tell where its creation is; on any doubt nothing does."""
    assert read(value).policies()["/items"].location == wanted


def test_a_location_below_another_member() -> None:
    """The parameters of the request's own path are filled from it, and the prefix of the servers is kept."""
    told = {"operationId": "show", "parameters": {"user": "$request.path.user", "id": "$response.body#/nr"}}
    show = {"get": {**DONE, "operationId": "show"}}
    value = document({"/u/{user}/p": {"post": created(it=told)}, "/u/{user}/p/{id}": show}, servers=[{"url": "/v1"}])
    assert read(value).policies()["/v1/u/{user}/p"].location == "/v1/u/{user}/p/{nr}"


# ---- what is malformed

# Ten lists, each of nine times the one before it
BILLION = "a: &a [x]\n" + "".join(f"{to}: &{to} [{', '.join(['*' + of] * 9)}]\n" for of, to in pairwise("abcdefghijk"))

WRONG = [  # document, what is said
    ("[]", "api.json = []: an OpenAPI document is an object"),
    ("{", "line 1, column 2"),
    ("a: [", "line 2, column 1: did not find expected node content"),
    ("a: 2026-99-99", "cannot be read as YAML"),
    ("", "api.json = null: an OpenAPI document is an object"),
    (b"\xff".decode("latin-1") + ": {", "line 2"),
    ("[" * 100_000, "nested too deeply|line 1"),
    ({"swagger": "2.0"}, "swagger = '2.0': convert it to OpenAPI 3"),
    ({"info": INFO}, "no field 'openapi'"),
    ({"openapi": "4.0.0", "paths": {}}, "openapi = \"4.0.0\": 3.0, 3.1 and 3.2 can be read"),
    ({"openapi": "3.0.0"}, "it has no paths"),
    ({"openapi": "3.1.0"}, "it has no paths"),
    (document([]), "api.json: paths = []: an object is wanted here"),  # type: ignore[arg-type]
    (document({"items": {}}), "paths.items: a path starts with a slash"),
    (document({"/a": 5}), "paths.'/a' = 5: an object is wanted here"),
    (document({"/a": {"get": []}}), "paths.'/a'.get = []: an object"),
    (document({"/a": {"get": {"parameters": {}}}}), "paths.'/a'.get.parameters = {}: a list"),
    (document({"/a": {"get": {"parameters": [1]}}}), "paths.'/a'.get.parameters[0] = 1: an object"),
    (document({"/a": {"post": {"responses": []}}}), "paths.'/a'.post.responses = []: an object"),
    (document({"/a": {"post": created(it=3)}}), "paths.'/a'.post.responses.'201'.links.it = 3: an object"),
    (document({"/a": {"$ref": "paths/a.yaml"}}), "only references within the document are followed (#/...): bundle"),
    (document({"/a": {"$ref": "#/components/nothing"}}), "the document has nothing at 'components'"),
    (document({"/a": {"$ref": "#a"}}), "is a path such as"),
    (document({"/a": {"$ref": 5}}), "$ref is a text"),
    (document({"/a": {"$ref": "#/paths/~1a"}}), "leads in a circle"),
    ('{"openapi": "3.1.0", "paths": ' + "1" * 5_000 + "}", "api.json: it cannot be read"),
    ("openapi: 3.1.0\npaths: &p\n  - *p\n", "api.json: paths = [...: an object"),  # it holds itself
    (BILLION + "openapi: 3.1.0\npaths: *k\n", "an object"),
    (document({"/a": {"$ref": "#/paths/~1b"}, "/b": {"$ref": "#/paths/~1a"}}), "leads in a circle"),
    (document({"/a": DONE}, "3.2.0", servers={}), "there is no such field|a list is wanted"),
    (document({"/a": operations("get")}, servers={}), "servers = {}: a list"),
    (document({"/a": operations("get")}, servers=[{}]), "servers[0] = {}: a server has a url"),
    (document({"/a": operations("get")}, servers=[{"url": "/{v}"}]), "variables has no 'v'"),
    (document({"/a": operations("get")}, servers=[{"url": "/{v}", "variables": {"v": {}}}]), "has a default"),
    (document({"/a": operations("get")}, servers=[{"url": "https://h/a%20b"}]), "a path with spaces or braces"),
    (document({"/a": {"additionalOperations": {"A B": {}}}}, "3.2.0"), "'A B' is no method"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "said"), WRONG, ids=range(len(WRONG)))
def test_a_malformed_document_names_the_place(value: Any, said: str) -> None:
    """ConfigError says where in the document, what stands there, and what is wanted."""
    with pytest.raises(ConfigError) as caught:
        loads(value, "api.json") if isinstance(value, str) else read(value)
    assert any(each in str(caught.value) for each in said.split("|"))
    assert str(caught.value).startswith("api.json")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The error names the document, and the file that named it."""
    with pytest.raises(ConfigError, match="no.yaml"):
        load(tmp_path / "no.yaml")
    (tmp_path / "verbguard.toml").write_text('openapi = "no.yaml"\n')
    with pytest.raises(ConfigError, match=r"verbguard\.toml:1: openapi = 'no\.yaml'"):
        load_config(tmp_path / "verbguard.toml")


@pytest.mark.parametrize("value", ["5", '""', "[]", "true"])
def test_the_field_is_a_path(value: str) -> None:
    """What is no path is told with an example."""
    with pytest.raises(ConfigError, match="the path of an OpenAPI document"):
        config(f"openapi = {value}")


def test_without_pyyaml_json_is_read_and_yaml_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """YAML is read where PyYAML is; elsewhere the error says how to have it."""
    import sys

    monkeypatch.setitem(sys.modules, "yaml", None)
    assert read(SHOP).templates
    with pytest.raises(ConfigError, match="pip install .verbguard.openapi."):
        loads(yaml.safe_dump(SHOP), "api.yaml")


def test_yaml_and_json_are_one_document() -> None:
    """In YAML a status is a number and a version may lack its quotes."""
    value = linked(link())
    assert loads(yaml.safe_dump(value)).templates == read(value).templates
    numbers = yaml.safe_dump(value).replace("'201'", "201").replace("3.1.0", "3.1")
    assert "'201'" not in numbers
    assert loads(numbers).templates == read(value).templates


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "/a", "/{id}", "#/paths/~1a", "3.1.0", "x", "{", "a\0b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["get", "post", "$ref", "parameters", "servers", "url", "variables", "/a", "/a/{id}", "responses",
                         "201", "links", "it", "operationId", "additionalOperations", "/{", "x-y", "name", "in", "required"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(
    paths=st.dictionaries(st.sampled_from(["/a", "/a/{id}", "/a/{x}", "b", "/{", "/a?x"]), JSON, max_size=4),
    servers=st.none() | JSON,
    version=st.sampled_from(["3.0.1", "3.1.0", "3.2.0"]),
)
def test_any_document_is_knowledge_or_a_config_error(paths: Any, servers: Any, version: str) -> None:
    """Whatever stands in a document, it gives policies that the guard takes, or one kind of error."""
    value = document(paths, version) | ({} if servers is None else {"servers": servers})
    try:
        known = read(value)
    except ConfigError as error:
        assert str(error).startswith("api.json")
    else:
        Guard(known.policies()).compile()


# ---- what it adds, and what it never takes away


def test_kinds_are_those_of_a_router() -> None:
    """FastAPI's own document tells the kinds that its routes tell."""
    app = FastAPI()

    def nothing() -> None: ...

    for path in ("/items", "/items/{id}", "/items/search", "/me", "/u/{user}/p", "/u/{user}/p/{id}", "/i/{id}:publish"):
        app.get(path)(nothing)
    told = Guard(read(app.openapi()).policies())
    told.compile()
    shown = Guard()
    verbguard.guard(app)
    from verbguard.routers.starlette import StarletteRouter

    shown.compile(StarletteRouter(app))
    kinds = {place[1]: kind for place, (kind, _) in shown._kinds.items() if place[1] in app.openapi()["paths"]}
    assert kinds == {place[1]: kind for place, (kind, _) in told._kinds.items()}
    assert kinds["/items"] is Kind.COLLECTION
    assert told.map is not None
    assert not told.map.junction(told.map.settle("/items"), told.map.settle("/items")).declared, "a guess stays a guess"


@pytest.mark.parametrize("profile", ["guard", "strict"])
@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"TRACE", "CONNECT"} | {"PROPFIND", "PURGE"}))
@pytest.mark.parametrize("path", ["/items", "/items/{id}", "/elsewhere"])
def test_a_method_that_the_document_does_not_show_reaches_the_service(profile: str, method: str, path: str) -> None:
    """A document may be incomplete: nothing but PUT on what it shows to be a collection is refused for its sake."""
    guard = Guard(read(SHOP).policies(), profile=profile)
    guard.compile()
    assert guard.map is not None
    routes = guard.map.settle(path.replace("{id}", "7"))
    plan = guard.map.junction(routes, routes).plan(method) if routes else guard.unmapped.plan(method)
    assert (plan.refused is not None) is (method == "PUT" and path == "/items")


MERGED = [  # what, tables of the file, key, field, value
    ("alone", "", "/items", "methods", {"GET", "POST"}),
    ("another field", "[policies.'/items']\nlocation = '/items/{no}'", "/items", "methods", {"GET", "POST"}),
    ("methods are united", "[policies.'/items']\nmethods = ['PURGE']", "/items", "methods", {"GET", "POST", "PURGE"}),
    ("whatever a parameter is called", "[policies.'/items/{nr}']\nkind = 'store'", "/items/{nr}", "methods", {"GET", "DELETE"}),
    ("in Flask's spelling", "[policies.'/items/<int:nr>']\nkind = 'store'", "/items/<int:nr>", "methods", {"GET", "DELETE"}),
    ("the file's kind", "[policies.'/items/{nr}']\nkind = 'store'", "/items/{nr}", "kind", Kind.STORE),
    ("a table for one method", "[policies.'POST /items']\nreplay = false", "POST /items", "methods", {"GET", "POST"}),
    ("beside the rest", "[policies.'POST /items']\nreplay = false", "/items", "replay", Policy().replay),
    ("a path of its own", "[policies.'/me']\nkind = 'singleton'", "/me", "methods", frozenset()),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "name", "value"), [row[1:] for row in MERGED], ids=[row[0] for row in MERGED])
def test_the_file_wins_field_by_field(tmp_path: Path, text: str, key: str, name: str, value: Any) -> None:
    """What a table of verbguard.toml says stands; what it does not say is the document's."""
    (tmp_path / "api.json").write_text(json.dumps(SHOP))
    (tmp_path / "verbguard.toml").write_text(f'openapi = "api.json"\n{text}\n')
    found = load_config(tmp_path / "verbguard.toml")
    assert getattr(found.policies[key], name) == value
    assert len({key.rpartition(" ")[2].replace("<int:nr>", "{}") for key in found.policies} - {"/me"}) == 2
    verbguard.guard(lambda environ, start: [], **found.arguments())


def test_a_location_of_the_file_wins() -> None:
    """Field by field, also for what a link tells."""
    known = read(linked(link()))
    tables = {"/items": {"location": "/things/{id}"}, "/items/{id}": 5}
    assert known.joined(tables)["/items"]["location"] == "/things/{id}"
    assert known.joined(tables)["/items/{id}"] == 5, "for config to judge"


DEFAULT = """
openapi = "api.json"
[default]
put = "allow"
methods = ["PURGE"]
replay = { keep = 60 }
[policies."/items/{id}"]
kind = "store"
"""


def test_the_default_policy_holds_where_the_document_speaks(tmp_path: Path) -> None:
    """What a route without a table gets, it gets with a document too; a table stands in place of it, as ever."""
    (tmp_path / "api.json").write_text(json.dumps(SHOP))
    (tmp_path / "verbguard.toml").write_text(DEFAULT)
    found = load_config(tmp_path / "verbguard.toml")
    assert found.default is not None
    items, item = found.policies["/items"], found.policies["/items/{id}"]
    assert (items.put, items.methods, items.replay) == ("allow", {"GET", "POST", "PURGE"}, verbguard.Replay(keep=60))
    assert (item.put, item.methods, item.replay) == ("refuse", {"GET", "DELETE"}, verbguard.Replay())
    assert found.openapi is not None
    assert found.openapi.policies(found.default)["/items"] == items


@pytest.mark.parametrize("value", ['"GET"', "5", "[5]", "[[]]"])
def test_methods_that_are_none_are_told(tmp_path: Path, value: str) -> None:
    """Joined with a document or not, a wrong field is named by the file and the table."""
    (tmp_path / "api.json").write_text(json.dumps(SHOP))
    (tmp_path / "verbguard.toml").write_text(f'openapi = "api.json"\n[policies."/items"]\nmethods = {value}\n')
    with pytest.raises(ConfigError, match=r"verbguard\.toml.*'/items'.*methods"):
        load_config(tmp_path / "verbguard.toml")


@pytest.mark.parametrize(
    ("methods", "file", "refused"),
    [
        (("get", "post"), "", True),  # nobody says that PUT means anything here
        (("get", "put"), "", False),  # a document never shrinks Allow
        (("get", "put"), '[policies."/items"]\nput = "refuse"', True),  # the file's word wins
    ],
)
def test_put_on_a_documented_collection(tmp_path: Path, methods: tuple[str, ...], file: str, refused: bool) -> None:
    (tmp_path / "api.json").write_text(json.dumps(document({"/items": operations(*methods), "/items/{id}": ITEM})))
    (tmp_path / "verbguard.toml").write_text(f'openapi = "api.json"\n{file}')
    guard = Guard(load_config(tmp_path / "verbguard.toml").policies)
    guard.compile()
    guard.start(shared=True)
    plan = guard.settle(Request("PUT", "/items", [(b"host", b"shop.example")]))
    assert plan.refuses is refused
    assert ("PUT" in plan.target.allow) is not refused


# ---- a service that shows no routes, as a process

SERVICE = """
def application(environ, start_response):
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if method == "POST":
        start_response("201 Created", [("Content-Type", "application/json")])
        return [b'{"number": 7}']
    if method == "OPTIONS":
        start_response("405 Method Not Allowed", [("Allow", "GET, PURGE, PUT"), ("Content-Length", "0")])
        return [b""]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{method} {path} ran".encode()]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "service.py").write_text(SERVICE)
    paths = {"/items": {"get": DONE, "post": created(it=link("$response.body#/number"))}, "/items/{id}": {**NAMED, "put": DONE}}
    (tmp_path / "api.yaml").write_text(yaml.safe_dump(document(paths, servers=[{"url": "https://api.example/v1"}])))
    return tmp_path


def test_a_service_is_guarded_by_what_its_document_tells(folder: Path) -> None:
    """Kinds, Allow and Location are known of a WSGI script without routes; what the document leaves out still runs."""
    with served("service:application", "--openapi", "api.yaml", cwd=folder) as service:
        refused, content = ask(service, "PUT", "/v1/items", b"[]")
        assert refused.status == 405
        assert refused.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
        assert json.loads(content)["rule"] == "put-no-collection"
        made, _ = ask(service, "POST", "/v1/items", b"{}")
        assert (made.status, made.headers["Location"]) == (201, "/v1/items/7")
        asked, _ = ask(service, "OPTIONS", "/v1/items")
        assert (asked.status, asked.headers["Allow"]) == (204, "GET, HEAD, POST, PURGE, OPTIONS")
        for method, path in (("PURGE", "/v1/items"), ("PATCH", "/v1/items/7"), ("PUT", "/items"), ("PUT", "/v1/other")):
            ran, content = ask(service, method, path, b"x")
            assert (ran.status, content) == (200, f"{method} {path} ran".encode())
        first, second = (ask(service, "PUT", "/v1/items/7", b"x")[0] for _ in range(2))
        assert (first.headers["Idempotent-Replayed"], second.headers["Idempotent-Replayed"]) == (None, "true")


def test_the_gateway_knows_what_a_document_tells(folder: Path) -> None:
    """The same in front of a service over HTTP: `verbguard serve --upstream`."""
    with served("service:application", "--profile", "observe", cwd=folder) as service:
        upstream = f"http://127.0.0.1:{service.port}"
        with served("--upstream", upstream, "--openapi", "api.yaml", cwd=folder) as gateway:
            refused, content = ask(gateway, "PUT", "/v1/items", b"[]")
            assert (refused.status, json.loads(content)["rule"]) == (405, "put-no-collection")
            made, _ = ask(gateway, "POST", "/v1/items", b"{}")
            assert (made.status, made.headers["Location"]) == (201, "/v1/items/7")
            ran, content = ask(gateway, "PURGE", "/v1/items")
            assert (ran.status, content) == (200, b"PURGE /v1/items ran")


def test_routes_without_an_app(folder: Path) -> None:
    """The table of what a document and a file tell, with the source of each."""
    (folder / "verbguard.toml").write_text('openapi = "api.yaml"\n[policies."/v1/items/{nr}"]\nkind = "store"\n')
    done = run("routes", "--config", "verbguard.toml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    rows = {row["template"]: row for row in json.loads(done.stdout)}
    assert {path: row["kind"] for path, row in rows.items()} == {"/v1/items": "collection", "/v1/items/{nr}": "store"}
    assert [promise["source"] for row in rows.values() for promise in row["policies"]] == [
        "api.yaml",
        "verbguard.toml, api.yaml",
    ]
    plain = run("routes", "--openapi", "api.yaml", cwd=folder)
    assert plain.returncode == 0, plain.stderr
    assert "/v1/items/{id}" in plain.stdout


def test_mistakes_at_the_command_line(folder: Path) -> None:
    """One line: which document, where in it, and what is wrong; or that the app knows better."""
    (folder / "broken.yaml").write_text("openapi: 3.1.0\npaths:\n  items: {}\n")
    for command in (("routes",), ("serve", "service:application")):
        done = run(*command, "--openapi", "broken.yaml", cwd=folder)
        assert done.returncode == 2
        assert "broken.yaml: paths.items: a path starts with a slash" in done.stderr
    (folder / "fast.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    done = run("routes", "fast:app", "--openapi", "api.yaml", cwd=folder)
    assert (done.returncode, "this app shows them" in done.stderr) == (2, True)
    (folder / "none.toml").write_text("")
    assert "names no route" in run("routes", "--config", "none.toml", cwd=folder).stdout
    assert "Name the app" in run("routes", cwd=folder).stderr


def test_a_large_document_is_read_at_once() -> None:
    """Fifteen hundred paths make a guard by work that grows with them, counted in the calls of `shape`."""
    import verbguard.plans as plans

    value = document({f"/r{n}{end}": operations("get", "post") for n in range(750) for end in ("", "/{id}")})
    calls = 0
    own = plans.shape

    def counted(template: str) -> str:
        nonlocal calls
        calls += 1
        return own(template)

    plans.shape = counted
    try:
        Guard(read(value).policies()).compile()
    finally:
        plans.shape = own
    assert calls < 40 * 1500
