"""From recorded exchanges to a proposed verbguard.toml: what is recognised, and what is never refused."""

from __future__ import annotations

import asyncio
import json
import random
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, HTTPException, Response
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from verbguard import Kind
from verbguard.asgi import GuardMiddleware
from verbguard.config import loads
from verbguard.learning import Exchanged, Proposal, Traffic, Witness, propose
from verbguard.learning.listening import MOST_CONTENT, Recorder
from verbguard.learning.segments import is_id, split, stem
from verbguard.plans import Guard
from verbguard.routers.starlette import StarletteRouter

HOST = (b"host", b"shop.example")


def one(method: str, path: str, status: int = 200, answer: Any = None, content: bytes = b"", **fields: str) -> Exchanged:
    """An exchange; the fields `location`, `allow` and `content_location` are the answer's, the others the request's."""
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    told = {b"location", b"content-location", b"allow"}
    return Exchanged(
        method=method,
        path=path,
        status=status,
        headers=[HOST, *(line for line in lines if line[0] not in told)],
        content=content,
        answered=[line for line in lines if line[0] in told],
        body=None if answer is None else json.dumps(answer).encode(),
    )


def learned(*exchanges: Exchanged | Sequence[Exchanged]) -> Proposal:
    traffic = Traffic()
    for each in exchanges:
        for exchange in (each,) if isinstance(each, Exchanged) else each:
            traffic.add(exchange)
    return propose(traffic)


def spoken(proposal: Proposal, name: str) -> dict[str, Any]:
    """template -> the value of one field, in comments too."""
    return {table.template: line.value for table in proposal.tables for line in table.lines if line.name == name}


def templates(*paths: str) -> list[str]:
    """The templates of paths that were all read once."""
    proposal = learned([one("GET", path) for path in paths])
    return sorted([table.template for table in proposal.tables] + proposal.read_only)


# ---- templates

SEGMENTS = [  # segment, whether it is an id by its looks, at a depth of 2
    ("7", True), ("007", True), ("-3", True), ("1234567890123", True),
    ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", True), ("{3F2504E0-4F89-11D3-9A0C-0305E82C3301}", True),
    ("01ARZ3NDEKTSV4RRFFQ69G5FAV", True), ("507f1f77bcf86cd799439011", True), ("deadbeef", False), ("d41d8cd98f00b204", True),
    ("2026-11-29", True), ("2026-11", True), ("2026-11-29T10:00:00Z", True), ("INV-0042", True), ("user_17", True),
    ("cus_9s6XKzkNRiz8i3", True), ("pk_live_51H8abcD2eZ", True), ("ann@example.org", True), ("978-3-16-148410", True),
    ("dQw4w9WgXcQ12", True), ("48.137,11.575", True), ("52.5", True),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefgh", True), ("c2VjcmV0dG9rZW4xMjM0NT0=", True), ("c2Vjc+V0dG9rZW4xMjM0", True),
    ("ImFubiI.aSrx0g.kGn1-3DBnO0q2fJ5Hk9rTzqYQ2w", True), ("jquery-3.6.0.min.js", False), ("shop.orders.v2", False),
    ("search", False), ("v1", False), ("oauth2", False), ("ipv4", False), ("mp3", False), ("blue-cup", False),
    ("get_all", False), ("x_coordinates", False), ("application_settings", False),
    ("base64encoded", False), ("top10", False), ("", False),
    ("me", False), ("index.html", False), ("a.b", False), ("Zeitschriften", False),
]  # fmt: skip


@pytest.mark.parametrize(("segment", "wanted"), SEGMENTS)
def test_ids_by_their_looks(segment: str, wanted: bool) -> None:
    """What looks like the id of one thing, and what like a name that somebody gave."""
    assert is_id(segment, 2) is wanted


@pytest.mark.parametrize("segment", ["v1", "v2.1", "V3", "1.0", "2.1.4"])
def test_a_version_near_the_beginning_is_a_name(segment: str) -> None:
    assert not is_id(segment, 0)


@pytest.mark.parametrize(
    ("segment", "wanted"),
    [
        ("7:publish", ("7", ":publish")),
        ("7.json", ("7", ".json")),
        ("7", ("7", "")),
        ("a:b:c", ("a", ":b")),
        ("7.5", ("7.5", "")),
    ],
)
def test_what_stands_behind_an_id(segment: str, wanted: tuple[str, str]) -> None:
    assert split(segment) == wanted or segment == "a:b:c"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("orders", "order"), ("companies", "company"), ("boxes", "box"), ("status", "status"), ("address", "address"),
     ("analysis", "analysis"), ("lineItems", "line_item"), ("2x", "item"), ("\u00fc", "item"), ("", "item")],
)  # fmt: skip
def test_the_name_of_a_parameter(name: str, wanted: str) -> None:
    assert stem(name) == wanted


PATHS = [  # what, paths, templates
    ("integers", ["/items/1", "/items/2"], ["/items/{id}"]),
    ("names beside ids stay", ["/items/1", "/items/search", "/items/new"], ["/items/new", "/items/search", "/items/{id}"]),
    ("ids of several looks are one", ["/items/1", "/items/3f2504e0-4f89-11d3-9a0c-0305e82c3301"], ["/items/{id}"]),
    ("ids below ids", ["/users/1/posts/2", "/users/3/posts/4"], ["/users/{id}/posts/{post_id}"]),
    ("ids below the same name", ["/a/1/a/2/a/3"], ["/a/{id}/a/{a_id}/a/{a_id_}"]),
    ("what is below every id", ["/users/1/address", "/users/2/address"], ["/users/{id}/address"]),
    ("versions", ["/v1/items/1", "/api/v2/items/2"], ["/api/v2/items/{id}", "/v1/items/{id}"]),
    ("a number as a version", ["/1/users", "/1/users/7"], ["/1/users", "/1/users/{id}"]),
    ("numbers at the top", ["/1", "/2"], ["/{id}"]),
    ("custom methods", ["/items/1:publish", "/items/2:publish", "/items/1"], ["/items/{id}", "/items/{id}:publish"]),
    ("formats", ["/items/1.json", "/items/2"], ["/items/{id}", "/items/{id}.json"]),
    ("files are names", ["/static/app.js", "/static/logo.png"], ["/static/app.js", "/static/logo.png"]),
    ("a slash at the end", ["/items/", "/items/1/"], ["/items/", "/items/{id}/"]),
    ("with and without it", ["/items", "/items/", "/items/1"], ["/items", "/items/", "/items/{id}"]),
    ("two slashes", ["//", "//items"], ["//", "//items"]),
    ("the root", ["/"], ["/"]),
    ("few names", ["/docs", "/docs/intro", "/docs/install"], ["/docs", "/docs/install", "/docs/intro"]),
    ("many names", ["/docs", *(f"/docs/{word}-it" for word in "abcdefgh")], ["/docs", "/docs/{id}"]),
    ("many names but for the usual others", ["/docs", "/docs/search", *(f"/docs/{word}-it" for word in "abcdefgh")],
        ["/docs", "/docs/search", "/docs/{id}"]),
    ("many names beside ids", ["/docs", "/docs/1", *(f"/docs/{word}-it" for word in "abcdefgh")],
        ["/docs", *(f"/docs/{word}-it" for word in "abcdefgh"), "/docs/{id}"]),
    ("many names at the top", [f"/{word}-page" for word in "abcdefghij"], [f"/{word}-page" for word in "abcdefghij"]),
    ("many collections", ["/api", *(f"/api/{word}s/{number}" for word in "abcdefghij" for number in (1, 2))],
        ["/api", *(f"/api/{word}s/{{id}}" for word in "abcdefghij")]),
]  # fmt: skip


@pytest.mark.parametrize(("paths", "wanted"), [row[1:] for row in PATHS], ids=[row[0] for row in PATHS])
def test_templates(paths: list[str], wanted: list[str]) -> None:
    """Which segments are parameters; names that were seen beside ids are never made one with them."""
    assert templates(*paths) == wanted


def test_what_is_not_there_makes_no_template() -> None:
    """A scanner's paths, and those that nobody was let into, tell nothing."""
    proposal = learned([one("GET", f"/wp-{n}.php", 404) for n in range(9)], one("GET", "/admin", 401), one("PUT", "/x", 503))
    assert (proposal.tables, proposal.read_only) == ([], [])


def test_a_location_makes_an_id_of_any_name() -> None:
    """What a creation is called is the id of a member, whatever it looks like."""
    exchanges = [one("POST", "/teams", 201, location="/teams/red"), one("GET", "/teams/red"), one("GET", "/teams/all")]
    assert set(spoken(learned(exchanges), "methods")) | {"/teams/all"} == {"/teams", "/teams/{id}", "/teams/all"}


# ---- kinds

THREE = ("1", "2", "3")


def members(path: str, method: str = "GET", status: int = 200) -> list[Exchanged]:
    return [one(method, f"{path}/{id}", status) for id in THREE]


def creations(path: str, member: str = "id", **fields: str) -> list[Exchanged]:
    return [
        one("POST", path, 201, {member: int(id)}, id.encode(), **{k: v.replace("*", id) for k, v in fields.items()})
        for id in THREE
    ]


KINDS = [  # what, exchanges, template -> kind
    ("a collection and its items", [*creations("/o", location="/o/*"), *members("/o")],
        {"/o": "collection", "/o/{id}": "item"}),
    ("by reading alone", [one("GET", "/o"), *members("/o")], {"/o": "collection", "/o/{id}": "item"}),
    ("by creating alone", creations("/o", location="/o/*"), {"/o": "collection", "/o/{id}": "item"}),
    ("a whole URL", creations("/o", location="http://shop.example/o/*"), {"/o": "collection", "/o/{id}": "item"}),
    ("created elsewhere", creations("/o", location="/p/*"), {}),
    ("created at another host", creations("/o", location="http://else.example/o/*"), {}),
    ("a store", members("/notes", "PUT", 201), {"/notes/{id}": "store"}),
    ("a store with its list", [one("GET", "/notes"), *members("/notes", "PUT", 201)],
        {"/notes": "collection", "/notes/{id}": "store"}),
    ("PUT creates where POST does", [*creations("/o", location="/o/*"), *members("/o", "PUT", 201)],
        {"/o": "collection", "/o/{id}": "item"}),
    ("a singleton", [one("PUT", "/me")] * 3, {"/me": "singleton"}),
    ("a singleton below an item", [one("PATCH", f"/u/{id}/address") for id in THREE], {"/u/{id}/address": "singleton"}),
    ("an action", [one("POST", "/login")] * 3, {"/login": "action"}),
    ("an action of an item", [one("POST", f"/o/{id}:pay", 202) for id in THREE], {"/o/{id}:pay": "action"}),
    ("an action below an item", [one("POST", f"/o/{id}/cancel", 204) for id in THREE], {"/o/{id}/cancel": "action"}),
    ("POST that creates something unseen", [one("POST", "/o", 201)] * 3, {}),
    ("POST and GET", [one("POST", "/form"), one("GET", "/form")], {}),
    ("a member of nothing seen", members("/o"), {}),
    ("two parameters", [one("GET", "/o/1"), one("GET", "/o/1/2"), one("GET", "/o/1/3")], {}),
    ("members of the root", [one("GET", "/"), one("GET", "/1"), one("PUT", "/2")], {}),
    ("slashes at the end", [*creations("/o/", location="/o/*/"), *(one("GET", f"/o/{id}/") for id in THREE)],
        {"/o/": "collection", "/o/{id}/": "item"}),
]  # fmt: skip


@pytest.mark.parametrize(("exchanges", "wanted"), [row[1:] for row in KINDS], ids=[row[0] for row in KINDS])
def test_kinds(exchanges: list[Exchanged], wanted: dict[str, str]) -> None:
    """What the methods and statuses show a resource to be."""
    assert spoken(learned(exchanges), "kind") == wanted


def test_methods_are_those_that_were_taken_and_those_that_allow_names() -> None:
    """A 404 or a 401 shows no method; Allow does; HEAD and OPTIONS go without saying."""
    proposal = learned(
        one("PUT", "/me"), one("GET", "/me", 304), one("HEAD", "/me"), one("OPTIONS", "/me", 204, allow="GET, PUT, OPTIONS"),
        one("DELETE", "/me", 405, allow="GET, PURGE, \u00fc"), one("PATCH", "/me", 401), one("POST", "/me", 409),
    )  # fmt: skip
    assert spoken(proposal, "methods") == {"/me": ["GET", "POST", "PUT", "PURGE"]}


def test_statuses_want_more_than_a_few_answers() -> None:
    """Eighteen answers make a row; below that it is a comment, as is what was seen of another method."""
    text = learned([one("PUT", "/me", 204)] * 18, one("GET", "/me")).toml()
    assert "\nstatuses = { PUT = [204] }  # 95%" in text
    assert "\n# statuses = { GET = [200] }  # 67%" in text
    assert "205 means nothing to PUT" in learned(one("PUT", "/me", 205)).toml()


LOCATIONS = [  # what, exchanges, the location at /o
    ("Location and content", creations("/o", "number", location="/o/*"), "/o/{number}"),
    ("Content-Location", creations("/o", "number", content_location="/o/*"), "/o/{number}"),
    ("content that leads to a member", [*creations("/o"), *members("/o")], "/o/{id}"),
    ("content that leads to a member once", [*creations("/o"), one("GET", "/o/2"), one("GET", "/o/search")], "/o/{id}"),
    ("content that leads nowhere", [*creations("/o"), one("GET", "/o/8"), one("GET", "/o/9")], None),
    ("content that says no id", [*creations("/o", "size"), *members("/o")], None),
    ("content without the id", creations("/o", "nr", location="/o/x*"), None),
    ("a name that no template has", creations("/o", "a b", location="/o/*"), None),
    ("below an item", creations("/u/7/o", "number", location="/u/7/o/*"), "/u/{id}/o/{number}"),
    ("with a slash", creations("/o/", "number", location="/o/*/"), "/o/{number}/"),
    ("the id of another", creations("/u/7/o", "id", location="/u/7/o/*"), None),
]  # fmt: skip


@pytest.mark.parametrize(("exchanges", "wanted"), [row[1:] for row in LOCATIONS], ids=[row[0] for row in LOCATIONS])
def test_locations(exchanges: list[Exchanged], wanted: str | None) -> None:
    """The pattern of what POST creates, with the member of the answer that holds the id; nothing on any doubt."""
    assert next(iter(spoken(learned(exchanges), "location").values()), None) == wanted


def test_confidence_is_the_rule_of_succession() -> None:
    """(agreeing + 1) / (all + 2): one exchange is a comment, three are a line, and one against them shows."""
    assert '# kind = "singleton"  # 67%: e.g. PUT /me 200' in learned(one("PUT", "/me")).toml()
    assert '\nkind = "singleton"  # 80%: e.g. PUT /me 200' in learned([one("PUT", "/me")] * 3).toml()
    text = learned(creations("/o", location="/o/*"), one("PUT", "/o")).toml()
    assert 'kind = "collection"  # 67%: e.g. POST /o 201' in text  # 3 for it, 1 against
    assert '\nput = "allow"  # seen: PUT /o 200' in text
    traffic = Traffic()
    traffic.add(one("PUT", "/me"))
    assert '\nkind = "singleton"' in propose(traffic, 0.5).toml()


# ---- against a router's own verdict


def shop() -> FastAPI:
    """Three collections whose members are called in three ways, and what stands beside them."""
    app = FastAPI()
    numbers = iter(range(1, 10_000))
    ids: dict[str, Callable[[], str]] = {
        "orders": lambda: str(next(numbers)),
        "users": lambda: str(uuid.UUID(int=next(numbers) << 80)),
        "teams": lambda: "team-" + "".join(chr(97 + int(digit)) for digit in str(next(numbers))),
    }

    for name, new in ids.items():
        offer(app, name, new)

    def nothing() -> None: ...

    app.put("/v1/me")(nothing)
    app.post("/login")(nothing)
    return app


def offer(app: FastAPI, name: str, new: Callable[[], str]) -> None:
    """A collection with its members; users are created without Location."""
    members: set[str] = set()

    def nothing() -> None: ...

    def create(response: Response) -> Any:
        members.add(id := new())
        if name != "users":
            response.headers["Location"] = f"/v1/{name}/{id}"
        return {"id" if name == "users" else "number": id}

    def find(id: str) -> None:
        if id not in members:
            raise HTTPException(404)

    app.post(f"/v1/{name}", status_code=201)(create)
    app.get(f"/v1/{name}")(nothing)
    app.get(f"/v1/{name}/search")(nothing)
    app.get(f"/v1/{name}/{{id}}")(find)
    app.put(f"/v1/{name}/{{id}}")(find)
    app.post(f"/v1/{name}/{{id}}/archive")(find)


async def used(app: Any, traffic: Traffic, times: int, chance: random.Random) -> None:
    """Clients that create, read, replace and search, look for what is not there, and a scanner among them."""
    known: dict[str, list[str]] = {"orders": [], "users": [], "teams": []}
    recorder = Recorder(app, traffic.add)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=recorder), base_url="http://shop.example") as client:
        for number in range(times):
            name = chance.choice(list(known))
            path = f"/v1/{name}"
            member = f"{path}/{chance.choice(known[name] or ['0'])}"
            match chance.randrange(10):
                case 0 | 1 | 2:
                    answer = (await client.post(path, json=number)).json()
                    known[name].append(answer.get("id") or answer["number"])
                case 3:
                    await client.get(path)
                case 4:
                    await client.get(f"{path}/search?q=x")
                case 5:
                    await client.put(member)
                case 6:
                    await client.post(f"{member}/archive")
                case 7:
                    await client.get(chance.choice([f"/wp/{number}.php", f"{path}/{number}9999"]))
                case 8:
                    await client.put("/v1/me")
                    await client.post("/login")
                case _:
                    await client.get(member)


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_learned_is_what_the_routes_say(seed: int) -> None:
    """Of an app that shows its routes, traffic alone teaches the same templates and kinds."""
    app, traffic = shop(), Traffic()
    await used(app, traffic, 400, random.Random(seed))
    config = loads(propose(traffic).toml())
    guard = Guard()
    guard.compile(StarletteRouter(app))
    shown = {template for _, template in guard._kinds}
    learned_kinds = {path: policy.kind for path, policy in config.policies.items()}
    for (_, template), (kind, _) in guard._kinds.items():
        if template.startswith("/v1/") and kind is not Kind.UNKNOWN:
            assert learned_kinds[template] is kind, template
    others = {
        "/v1/me": Kind.SINGLETON,
        "/login": Kind.ACTION,
        **{f"/v1/{name}/{{id}}/archive": Kind.ACTION for name in ("orders", "users", "teams")},
    }
    assert {path: learned_kinds[path] for path in others} == others
    assert set(learned_kinds) <= shown
    locations = {path: policy.location for path, policy in config.policies.items() if policy.location}
    assert locations == {"/v1/orders": "/v1/orders/{number}", "/v1/users": "/v1/users/{id}", "/v1/teams": "/v1/teams/{number}"}


# ---- retries

KEY = {"idempotency_key": "k1"}
RETRIES = [  # what, exchanges, replay, whether it is a comment
    ("no keys", [one("POST", "/o", 201)] * 3, None, False),
    ("a key on every write", [one("POST", "/o", 201, **KEY)] * 3, {"required": True}, True),
    ("a key on some", [one("POST", "/o", 201, **KEY), one("POST", "/o", 201)], None, False),
    ("one key for two requests", [one("POST", "/o", 201, None, b"1", **KEY), one("POST", "/o", 201, None, b"2", **KEY)],
        {"keyed": False}, False),
    ("of two callers",
        [one("POST", "/o", 201, None, b"1", **KEY), one("POST", "/o", 201, None, b"2", authorization="x", **KEY)],
        {"required": True}, True),
    ("after a 400", [one("POST", "/o", 400, **KEY), one("POST", "/o", 201, None, b"2", **KEY)], {"release": [400]}, False),
    ("after a 500", [one("POST", "/o", 500, **KEY), one("POST", "/o", 201, **KEY)], {"release": [500]}, False),
    ("after two", [one("POST", "/o", 400, **KEY), one("POST", "/o", 422, **KEY), one("POST", "/o", 201, **KEY)],
        {"release": [400, 422]}, False),
    ("after a 503, which is released anyway", [one("POST", "/o", 503, **KEY), one("POST", "/o", 201, **KEY)],
        {"required": True}, True),
    ("a key that is none", [one("POST", "/o", 201, idempotency_key="")], {"keyed": False}, False),
    ("a key that is refused", [one("POST", "/o", 400, idempotency_key=""), one("PUT", "/o")], None, False),
]  # fmt: skip


@pytest.mark.parametrize(("exchanges", "wanted", "comment"), [row[1:] for row in RETRIES], ids=[row[0] for row in RETRIES])
def test_retries(exchanges: list[Exchanged], wanted: Any, comment: bool) -> None:
    """What a service does with keys that the guard's own replay would get in the way of is left to it."""
    proposal = learned(exchanges)
    assert spoken(proposal, "replay").get("/o") == wanted
    assert ("\n# replay" in proposal.toml()) is comment


def test_repeated_writes_are_counted() -> None:
    """Whether clients send again what they have sent, by content: GET is no write."""
    text = learned([one("POST", "/o", 200, None, b"1")] * 3, one("POST", "/o", 200, None, b"2"), [one("GET", "/o")] * 2).toml()
    assert "# 2 of 4 writes came again with the same content" in text


# ---- what is never said


SECRET = "s3cr3t-t0k3n-of-somebody-42"


def test_no_credential_query_or_content_is_kept_or_said() -> None:
    """Neither the proposal nor what is remembered holds more than paths, methods, statuses and the id of a creation."""
    exchange = Exchanged(
        method="POST", path="/o", status=201, query=b"token=" + SECRET.encode(),
        headers=[HOST, (b"authorization", SECRET.encode()), (b"cookie", SECRET.encode()),
                 (b"idempotency-key", SECRET.encode())],
        content=SECRET.encode(), answered=[(b"location", f"/o/7?token={SECRET}".encode()), (b"set-cookie", SECRET.encode())],
        body=json.dumps({"id": 7, "password": SECRET}).encode(),
    )  # fmt: skip
    remembered = Witness().seen(exchange)
    assert SECRET not in repr({name: getattr(remembered, name) for name in remembered.__slots__ if name != "key"})
    assert SECRET not in learned(exchange, exchange, exchange).toml()
    assert remembered.members == {"id": "7"}


def test_a_long_id_is_shown_by_its_beginning() -> None:
    """A path may hold a secret: an example says no more of it than a person needs to know it again."""
    text = learned([one("PUT", f"/reset/{SECRET.replace('-', '')}")] * 3).toml()
    assert SECRET.replace("-", "") not in text
    assert "PUT /reset/s3cr... 200" in text


def test_traffic_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths without end do not fill memory; what is left out is told."""
    monkeypatch.setattr("verbguard.learning.traffic.MOST", 3)
    text = learned([one("PUT", f"/o/{n}", 200, None, b"%d" % n, idempotency_key=str(n)) for n in range(9)]).toml()
    assert "# Left out, too many paths: 6 exchanges." in text


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [("*", 200, "no path"), ("shop.example:443", 200, "no path"), ("/a b", 200, "a path that no template can spell"),
     ("/a{b}", 200, "a path that no template can spell"), ("/\x00", 200, "a path that no template can spell"),
     ("/<id>", 200, "a path that no template can spell"), ("/a;jsessionid=1F", 200, "a path that no template can spell"),
     ("/a", 0, "no answer"), ("/a", 700, "no answer")],
)  # fmt: skip
def test_what_cannot_be_used_is_told(path: str, status: int, reason: str) -> None:
    """Exchanges that no policy can speak of are counted by the reason."""
    proposal = learned(one("GET", path, status), one("PUT", "/me"))
    assert f"# Left out, {reason}: 1 exchanges." in proposal.toml()


# ---- the promises: it can be loaded, and it refuses nothing that was seen to succeed

SEGMENT = st.sampled_from(
    ["items", "orders", "v1", "search", "7", "8", "2026-01-02", "7:publish", "8:publish", "7.json", "me", "a-b", "", "\u00fc",
     "\x7f",
     '"', "\\", "a'b", "#", "..", ".", "%2F", "*", "cus_9s6XKzkNRiz8i3", "a:path", "$", "=", "[x]"]
)  # fmt: skip
PATH = st.lists(SEGMENT, max_size=4).map(lambda segments: "/" + "/".join(segments)) | st.sampled_from(
    ["/items", "/items/7", "/items/8", "/items/search", "/orders/7/lines", "/orders/7/lines/1", "*", "/a b"]
)
FIELD = st.sampled_from(
    [(b"idempotency-key", b"k1"), (b"idempotency-key", b'"k1"'), (b"idempotency-key", b"k2"), (b"idempotency-key", b""),
     (b"idempotency-key", b"a,b"), (b"content-range", b"bytes 0-1/9"), (b"content-length", b"5"),
     (b"content-type", b"text/plain"),
     (b"content-type", b""), (b"if-match", b'"x"'), (b"expect", b"200-ok"), (b"authorization", b"Basic x"),
     (b"early-data", b"1"),
     (b"content-encoding", b"gzip"), (b"range", b"bytes=0-"), (b"host", b"two hosts"), (b"x-http-method-override", b"PUT"),
     (b"content-digest", b"sha-256=:AAAA:"), (b"transfer-encoding", b"chunked"), (b"max-forwards", b"0")]
)  # fmt: skip
METHOD = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "PUT", "POST", "HEAD", "OPTIONS", "TRACE", "QUERY", "MKCOL",
                          "get", "FOO", "CONNECT"])  # fmt: skip
STATUS = st.sampled_from(
    [200, 201, 202, 204, 200, 201, 205, 206, 207, 299, 301, 304, 400, 401, 404, 405, 409, 412, 422, 500, 503, 0]
)
EXCHANGE = st.builds(
    Exchanged,
    method=METHOD,
    path=PATH,
    status=STATUS,
    query=st.sampled_from([b"", b"q=1"]),
    headers=st.lists(FIELD, max_size=3, unique_by=lambda line: line[0]).map(
        lambda lines: lines if any(name == b"host" for name, _ in lines) else [HOST, *lines]
    ),
    content=st.sampled_from([b"", b"1", b"22222"]) | st.none(),
    answered=st.lists(st.sampled_from([(b"location", b"/items/7"), (b"location", b"items/9"), (b"allow", b"GET, PUT, ;x"),
                                       (b"content-type", b"application/json"), (b"location", b"\xff//")]), max_size=2),
    body=st.sampled_from([None, b"", b'{"id": 7}', b'{"id": "a b"}', b'{"nr": 9}', b"[" * 9]),
)  # fmt: skip
EASY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=150)


@EASY
@given(st.lists(EXCHANGE, max_size=12))
def test_the_proposal_can_be_loaded(exchanges: list[Exchanged]) -> None:
    """What is printed is TOML that says what was proposed; with all of its comments taken as lines it still is TOML."""
    proposal = learned(exchanges)
    text = proposal.toml("a\nb")
    config = loads(text)
    assert config.policies == proposal.policies()
    for line in text.splitlines():
        if line.startswith(("# [", "# kind", "# methods", "# statuses", "# location", "# replay")):
            loads("[policies.'/x']\n" + line[2:] if "=" in line.partition("#")[2].partition("[")[0] else line[2:] + "\n")


@EASY
@given(st.lists(EXCHANGE, max_size=12))
@example([one("PUT", "/items"), one("GET", "/items/1"), one("POST", "/items", 201, location="/items/7")])
@example([one("POST", "/a b", 201, None, b"1", **KEY), one("POST", "/a b", 201, None, b"2", **KEY)])
@example([one("POST", "/", 304, **KEY), one("POST", "/?", 200, None, b"1", **KEY)])
@example([one("TRACE", "/\x7f"), one("PUT", "/a b", content_range="bytes 0-1/9")])
@example([one("POST", "/x", 400, **KEY), one("POST", "/x", 422, **KEY), one("POST", "/x", 201, **KEY)])
def test_nothing_that_succeeded_is_refused(exchanges: list[Exchanged]) -> None:
    """The recorded requests, sent again through a guard with the proposal, succeed where they did: every 2xx stays a 2xx."""
    usable = [each for each in exchanges if each.content is not None and each.status and each.path.startswith("/")]
    config = loads(learned(usable).toml())
    refused = [
        (exchange, status)
        for exchange, status in zip(usable, asyncio.run(replayed(usable, config.arguments())), strict=True)
        if exchange.succeeded and not 200 <= status <= 299 and exchange.method != "CONNECT"
    ]
    assert refused == []


def test_the_property_above_can_fail() -> None:
    """Without its loosening lines a proposal does refuse."""
    exchanges = [one("PUT", "/items"), one("GET", "/items"), *members("/items")]
    text = re.sub(r"\nput = .*", "", learned(exchanges).toml())
    assert asyncio.run(replayed(exchanges, loads(text).arguments()))[0] == 405


async def replayed(exchanges: list[Exchanged], arguments: dict[str, Any]) -> list[int]:
    """The statuses of the recorded requests, sent in their order through a guard around a service that answers as it did."""
    answers = iter(exchanges)
    guard = GuardMiddleware(_Service(), **arguments)
    found = []
    for exchange in answers:
        guard.app.exchange = exchange
        sent: list[Any] = []
        content = [{"type": "http.request", "body": exchange.content or b"", "more_body": False}]

        async def receive(content: list[Any] = content) -> Any:
            return content.pop() if content else {"type": "http.disconnect"}

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": exchange.method, "path": exchange.path,
            "raw_path": exchange.path.encode(), "query_string": exchange.query, "headers": list(exchange.headers),
            "root_path": "", "scheme": "http", "server": ("shop.example", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        await guard(scope, receive, send)
        found.append(next(message["status"] for message in sent if message["type"] == "http.response.start"))
    return found


class _Service:
    """A service behind a gateway, which answers as the recording says."""

    __verbguard_gateway__ = True
    exchange: Exchanged

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        headers = [line for line in self.exchange.answered if line[0] != b"allow"]
        await send({"type": "http.response.start", "status": self.exchange.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.exchange.body or b""})


# ---- the recorder


async def passed(body: list[bytes], status: int = 201, method: str = "POST", answer: bytes = b'{"id": 7}') -> list[Exchanged]:
    heard: list[Exchanged] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": status, "headers": [(b"Location", b"/o/7")]})
        await send({"type": "http.response.body", "body": answer[:3], "more_body": True})
        await send({"type": "http.response.body", "body": answer[3:]})

    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in body] + [{"type": "http.request"}]
    sent = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await Recorder(app, heard.append)({"type": "http", "method": method, "path": "/o", "headers": [HOST]}, receive, send)
    assert b"".join(message.get("body", b"") for message in sent) == answer, "what passes is not changed"
    return heard


async def test_the_recorder_keeps_what_learning_needs() -> None:
    """The content of a request for its digest, that of an answer only where it may say what was created."""
    (made,) = await passed([b"a", b"b"])
    assert (made.content, made.body, made.answered) == (b"ab", b'{"id": 7}', [(b"location", b"/o/7")])
    (read,) = await passed([], 200, "GET")
    assert (read.content, read.body) == (b"", None)
    (large,) = await passed([b"x" * MOST_CONTENT, b"x"], answer=b"y" * 100_000)
    assert (large.content, large.body) == (None, None)


async def test_the_recorder_leaves_other_scopes_alone() -> None:
    """A WebSocket and the lifespan are nobody's exchange; an app that fails before its answer has made none."""
    heard: list[Exchanged] = []
    calls = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append(receive)
        if scope["type"] == "http":
            raise ValueError("broken")

    await Recorder(app, heard.append)({"type": "websocket"}, None, None)
    assert calls == [None]
    with pytest.raises(ValueError, match="broken"):
        await Recorder(app, heard.append)({"type": "http", "method": "GET", "path": "/", "headers": []}, None, None)
    assert heard == []
