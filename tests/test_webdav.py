"""`extension = "webdav"`: a DAV server's methods all pass, Allow names the usual ones, and its `If` is read."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient
from werkzeug.test import Client as Werkzeug

import verbguard
from verbguard import Policy, collection, item
from verbguard.config import loads
from verbguard.http import Request
from verbguard.methods import EXTENSIONS, SAFE
from verbguard.plans import Guard
from verbguard.resources import Plan
from verbguard.routes import Route
from verbguard.webdav import resource_tags

DAV = EXTENSIONS["webdav"]
USUAL = {"COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "UNLOCK"}


def plan_of(path: str, method: str, policies: dict[str, Policy] | None = None, **arguments: Any) -> Plan:
    guard = Guard(policies, observers=[lambda _: None], **arguments)
    guard.compile()
    return guard.settle(Request(method, path))


def test_what_the_preset_knows() -> None:
    """The methods of RFC 4918 and of what builds on it; three of them only read."""
    assert {"ACL", "BIND", "MKCALENDAR", "ORDERPATCH", "REPORT", "SEARCH", "VERSION-CONTROL"} < DAV.methods
    assert DAV.usual == USUAL < DAV.methods
    assert DAV.methods & SAFE == {"PROPFIND", "REPORT", "SEARCH"}


# ---- what is refused, and what Allow says

FILES = "/files/{name}"
DECLARED = {"GET", "PUT", "DELETE"}
ALLOW: list[tuple[str, Policy, Policy | None, set[str]]] = [
    # case                     policy of the route                         default                     Allow
    ("no preset", item(methods=DECLARED), None, set()),
    ("a preset", item(methods=DECLARED, extension="webdav"), None, USUAL),
    ("the default's", item(methods=DECLARED), Policy(extension="webdav"), USUAL),
    ("some are named", item(methods=DECLARED | {"PROPFIND"}, extension="webdav"), None, {"PROPFIND"}),
    ("some are named, default", item(methods=DECLARED | {"LOCK"}), Policy(extension="webdav"), {"LOCK"}),
]


@pytest.mark.parametrize("profile", ["guard", "strict"])
@pytest.mark.parametrize(("policy", "default", "shown"), [row[1:] for row in ALLOW], ids=[row[0] for row in ALLOW])
def test_what_allow_names(policy: Policy, default: Policy | None, shown: set[str], profile: str) -> None:
    """The preset adds the usual methods, unless the policy itself says which of them there are."""
    plan = plan_of("/files/a", "GET", {FILES: policy}, default=default, profile=profile)
    assert plan.target.allow == DECLARED | {"HEAD", "OPTIONS"} | shown


@pytest.mark.parametrize("method", sorted(DAV.methods))
def test_none_of_its_methods_is_refused(method: str) -> None:
    """Not even in `strict`, where other methods that no route shows are 405; a policy that names some bars none of them."""

    def refused(method: str, policy: Policy | None = None, default: Policy | None = None) -> bool:
        guard = Guard({"/items": policy} if policy else {}, default, profile="strict", observers=[lambda _: None])
        guard.compile(_Shown())
        return guard.settle(Request(method, "/items")).refused is not None

    assert refused(method)
    assert not refused(method, Policy(extension="webdav"))
    assert not refused(method, Policy(methods={"PROPFIND"}, extension="webdav"))
    assert not refused(method, default=Policy(extension="webdav"))
    assert not refused(method, Policy(methods={"PROPFIND"}), Policy(extension="webdav"))
    assert refused("PATCH", Policy(extension="webdav"))


def test_nothing_is_claimed_where_nothing_is_known() -> None:
    """In front of a server of which nothing is declared the server's own Allow is the only one."""
    plan = plan_of("/anywhere", "PUT", default=Policy(extension="webdav"))
    assert plan.target.allow == frozenset()
    assert plan.refused is None


def test_a_declared_collection_says_what_it_takes() -> None:
    """PUT on it is refused with an Allow that a DAV client can use."""
    plan = plan_of("/files", "PUT", {"/files": collection(extension="webdav")})
    assert plan.refused is not None
    assert plan.target.allow == {"GET", "HEAD", "DELETE", "OPTIONS"} | USUAL


class _Shown:
    """A router with one route."""

    declared_order = True

    def routes(self) -> list[Route]:
        return [Route(template="/items", methods=frozenset({"GET"}))]

    def version(self) -> object:
        return 1

    def matching(self, request: Request) -> list[Route]:
        return self.routes()

    def native_allow(self, routes: Any, method: str) -> str | None:
        return None


@pytest.mark.parametrize(
    ("policies", "shown"), [({}, set()), ({"/items": Policy(extension="webdav")}, USUAL)], ids=["not", "own"]
)
def test_a_default_claims_nothing_for_an_applications_own_routes(policies: dict[str, Policy], shown: set[str]) -> None:
    """An application with a DAV server mounted in it has routes of its own, and they take what they show."""
    guard = Guard(policies, Policy(extension="webdav"), profile="strict", observers=[lambda _: None])
    guard.compile(_Shown())
    plan = guard.settle(Request("PROPFIND", "/items"))
    assert plan.target.allow == {"GET", "HEAD", "OPTIONS"} | shown
    assert plan.refused is None


def test_reads_claim_nothing_and_writes_age() -> None:
    """PROPFIND, REPORT and SEARCH are safe; no other method of the preset is, and none needs a condition."""
    policies = {FILES: item(extension="webdav", require_precondition=True, methods=DECLARED)}
    for method in DAV.methods:
        plan = plan_of("/files/a", method, policies)
        assert plan.unsafe == (method not in {"PROPFIND", "REPORT", "SEARCH"})
        assert not plan.keyed and not plan.keyless
        assert not any(rule.id in ("put-conditional-required", "lost-update-428") for rule, _ in plan.triggers)


def test_the_file_spelling() -> None:
    """One line in the file does it; the house table may then speak of the preset's methods."""
    default = loads('[default]\nextension = "webdav"\nstatuses = { PROPFIND = [207], MKCOL = ["2xx"] }\n').default
    assert default is not None and default == Policy(extension="webdav", statuses={"PROPFIND": {207}, "MKCOL": {"2xx"}})
    assert plan_of("/a", "LOCK", default=default).target.policy.house.keys() == {"PROPFIND", "MKCOL"}


# ---- If

VALUES: list[tuple[bytes, list[bytes] | None]] = [
    # RFC 4918 section 10.4 has most of these
    (b'(<urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2>\n ["I am an ETag"])'.replace(b"\n", b""), []),
    (b'(["I am another ETag"])', []),
    (b"(Not <urn:uuid:1> <urn:uuid:2>)", []),
    (b"(<urn:uuid:1>)(Not <DAV:no-lock>)", []),
    (b'</resource1> (<urn:uuid:1> [W/"A weak ETag"]) (["strong ETag"])', [b"/resource1"]),
    (
        b"<http://www.example.com/users/f/fielding/index.html>(<urn:uuid:1>)",
        [b"http://www.example.com/users/f/fielding/index.html"],
    ),
    (b"</a> (<u:1>) <http://host/b> (<u:2>)", [b"/a", b"http://host/b"]),
    (b"</a> (<u:1>), </b> (<u:2>)", [b"/a", b"/b"]),  # two field lines
    (b'(["a ) < [ tag"]) </c>(["("])', [b"/c"]),
    (b"", []),
    (b"(", None),
    (b"</a", None),
    (b"</a> (<u:1>", None),
    (b"(<u:1>))", None),
    (b'(["open)', None),
    (b'"*"', None),
    (b"/a (<u:1>)", None),
]


@pytest.mark.parametrize(("value", "tags"), VALUES)
def test_which_resources_a_condition_names(value: bytes, tags: list[bytes] | None) -> None:
    """Those in front of their lists; state tokens and entity tags are none, whatever stands in them."""
    spans = resource_tags(value)
    assert (None if spans is None else [value[start:end] for start, end in spans]) == tags


@pytest.mark.parametrize(
    "value", [b"(" * 50_000, b"<" * 50_000, b"([" * 50_000, b"(<" * 50_000, b'(["' * 50_000, b"(<a>" * 50_000]
)
def test_no_value_takes_long(value: bytes) -> None:
    """A value that is nonsense to its end is given up after one look at each byte."""
    assert resource_tags(value) is None


# ---- names that end in a slash

SLASHES = {
    "/files/{path:path}/": collection(methods={"GET", "DELETE", "PROPFIND", "MKCOL"}),
    "/files/{path:path}": Policy(kind="store", methods={"GET", "PUT", "DELETE", "PROPFIND", "MOVE"}),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("path", "refused"),
    [("/files/a/", True), ("/files/a/b/", True), ("/files/a", False), ("/files/a/b", False), ("/x/", False)],
)
def test_a_slash_at_the_end_tells_a_collection(path: str, refused: bool, reverse: bool) -> None:
    """Of two templates that match, the one that says more of the path counts, whatever the method and their order."""
    policies = dict(sorted(SLASHES.items(), reverse=reverse))
    plan = plan_of(path, "PUT", policies)
    assert (plan.refused is not None) is refused
    assert plan.keyless is (not refused and path.startswith("/files"))
    if refused:
        assert plan.target.allow == {"GET", "HEAD", "DELETE", "PROPFIND", "MKCOL", "MOVE", "OPTIONS"}


def test_a_collection_of_no_extension_is_as_it_was() -> None:
    """What a policy adds elsewhere says nothing of a collection of which nothing is shown."""
    assert plan_of("/files", "PUT", {"/files": collection()}).target.allow == {"GET", "HEAD", "POST", "OPTIONS"}


# ---- around an app, by either interface


def files(environ: dict[str, Any], start: Any) -> list[bytes]:
    """A service that counts what it runs."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    RAN.append(environ["REQUEST_METHOD"])
    start("204 No Content", [])
    return []


async def files_asgi(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    RAN.append(scope["method"])
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


RAN: list[str] = []
FOLDERS = {"/files/{path:path}": Policy(kind="store", extension="webdav")}
TALKS: list[tuple[list[tuple[str, str, dict[str, str]]], int]] = [
    # what is sent between two equal PUTs of /files/a, and how often the service runs
    ([], 1),
    ([("PROPFIND", "/files/a", {"Depth": "0"})], 2),
    ([("MOVE", "/files/b", {"Destination": "/files/a"})], 3),
    ([("MOVE", "/elsewhere", {"Destination": "http://localhost/files/%61"})], 3),
    ([("LOCK", "/files/a", {})], 3),
    ([("LOCK", "/files/b", {})], 2),
    ([("LOCK", "/files", {})], 3),
    ([("POST", "/elsewhere", {"If": "<http://localhost/files/a> (<urn:uuid:1>)"})], 3),
]


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
@pytest.mark.parametrize(("between", "runs"), TALKS)
def test_what_a_dav_client_does_between_two_puts(between: Any, runs: int, interface: str) -> None:
    """The second PUT is answered from the store only if nothing has touched the file; a PUT with a lock never is."""
    RAN.clear()
    app = verbguard.guard(files if interface == "wsgi" else files_asgi, policies=FOLDERS)
    client = Werkzeug(app) if interface == "wsgi" else TestClient(app)
    send = client.open if interface == "wsgi" else (lambda path, method, **more: client.request(method, path, **more))
    content = {"data": b"a"} if interface == "wsgi" else {"content": b"a"}
    send("/files/a", method="PUT", **content)
    for method, path, fields in between:
        send(path, method=method, headers=fields)
    send("/files/a", method="PUT", **content)
    assert len(RAN) == runs
    for _ in range(2):
        send("/files/c", method="PUT", headers={"If": "(<urn:uuid:1>)"}, **content)
    assert len(RAN) == runs + 2
