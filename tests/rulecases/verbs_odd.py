"""The rules of the verbs, attacked: what is repeated, empty, long, unreadable, nearly right or out of place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rulecases import ACTION, COLLECTION, ITEM, UNKNOWN, Case, ask, at, says
from rulecases.verbs import item
from verbguard import Kind, Policy
from verbguard.http import Request, Response
from verbguard.rules import Answer, Target

SPOKEN: dict[str, object] = {"set_status": 0, "drop": frozenset(), "add": [], "answer": None}  # a finding without a mend
FAILS: dict[str, object] = {**SPOKEN, "status": 500}
LONG = "x" * 8192
FOR_EVER = {"cache_control": "public, max-age=60"}
NEVER = {"drop": {b"cache-control", b"expires"}, "add": [(b"cache-control", b"no-store")]}
BEFORE, AFTER = "Fri, 30 Jun 2023 23:59:58 GMT", "Fri, 30 Jun 2023 23:59:59 GMT"
MERGE = "application/merge-patch+json"
JSON = {"content_type": "application/json"}
PATCHES = at(accept_patch=[MERGE])
FORMATS = [(b"accept-patch", MERGE.encode())]
PREFLIGHT = {"origin": "http://a", "access_control_request_method": "QUERY"}
GARBAGE = Answer(200, [(b"Allow", b"\xff\x00,,"), (b"Cache-Control", b'max-age="'), (b"Location", b"http://[")])


def raw(method: str, *fields: tuple[bytes, bytes], path: str = "/items/7") -> Request:
    return Request(method, path, list(fields))


def answer(status: int, *fields: tuple[bytes, bytes]) -> Answer:
    return Answer(status, list(fields))


def allows(value: bytes) -> dict[str, object]:
    return {"drop": {b"allow"}, "add": [(b"allow", value)]}


# ---- PUT


def declared(kind: Kind, **promises: Any) -> Target:
    """A target whose kind a policy says."""
    return replace(at(kind, allow={"GET", "POST", "DELETE"}), policy=Policy(kind=kind, **promises))


PUT_7 = ask("PUT", "/items/7")
OTHER = {"status": 400}

IDENTITY: list[Case] = [
    # rule          target  request content                  finds
    ("put-identity", item(), PUT_7, b'{"id": 8}', OTHER),
    ("put-identity", item(), PUT_7, b'{"id": "8"}', OTHER),
    ("put-identity", item(), PUT_7, b'{"name": "pen", "id": "07"}', OTHER),
    ("put-identity", item(), PUT_7, b'{"id": 7.0}', OTHER),
    ("put-identity", item(), PUT_7, b'{"id": true}', OTHER),
    ("put-identity", item(), PUT_7, b'{"id": ["7"]}', OTHER),
    ("put-identity", item(), PUT_7, b'{"id": {"id": 7}}', OTHER),
    ("put-identity", item(), PUT_7, b'{"id": ""}', OTHER),
    ("put-identity", item(), PUT_7, b'{"id": 7, "id": 8}', OTHER),  # parsers differ in which one they keep
    ("put-identity", item(), PUT_7, b'{"id": 8, "id": 7}', OTHER),
    ("put-identity", item(), PUT_7, b'\xef\xbb\xbf{"id": 8}', OTHER),
    ("put-identity", item(), PUT_7, '{"id": 8}'.encode("utf-16"), OTHER),
    ("put-identity", item(), PUT_7, b'{"id": ' + b"8" * 8192 + b"}", OTHER),
    ("put-identity", item(), ask("PUT", "/items/7", content_type="text/plain"), b'{"id": 8}', None),
    ("put-identity", item(), ask("PUT", "/items/7", content_encoding="Identity"), b'{"id": 8}', OTHER),
    ("put-identity", item(), ask("PUT", "/items/7/"), b'{"id": 8}', OTHER),
    ("put-identity", item(), ask("PUT", "//items//7"), b'{"id": 8}', OTHER),
    ("put-identity", item("/items/{id}/"), PUT_7, b'{"id": 8}', OTHER),
    ("put-identity", item("/shops/{shop}/items/{id}"), ask("PUT", "/shops/8/items/7"), b'{"id": "8"}', OTHER),
    ("put-identity", item("/files/{name:path}", "name"), ask("PUT", "/files/a/b"), b'{"name": "b"}', OTHER),
    ("put-identity", item(), ask("PATCH", "/items/7"), b'{"id": 8}', OTHER),
    ("put-identity", item(), ask("PATCH", "/items/7"), b'{"id": null}', OTHER),  # a merge patch removes what is null
    ("put-identity", item(), PUT_7, b'{"id": 7}', None),
    ("put-identity", item(), PUT_7, b'{"id": "7"}', None),
    ("put-identity", item(), PUT_7, b'{"id": 7, "id": "7"}', None),
    ("put-identity", item(), PUT_7, b'{"id": null}', None),
    ("put-identity", item(), PUT_7, b'{"name": "pen"}', None),
    ("put-identity", item(), PUT_7, b'{"inner": {"id": 8}}', None),
    ("put-identity", item(), PUT_7, b'[{"id": 8}]', None),
    ("put-identity", item(), ask("PATCH", "/items/7"), b'[{"op": "add", "path": "/id", "value": 8}]', None),
    ("put-identity", item(), PUT_7, b'{"id": 8', None),
    ("put-identity", item(), PUT_7, b"", None),
    ("put-identity", item(), PUT_7, b"[" * 100_000, None),
    ("put-identity", item(), PUT_7, b"\xff\xfe\x00", None),
    ("put-identity", item(), PUT_7, (b'{"id"', b": 8}"), None),  # content in pieces is too large to be judged
    ("put-identity", item(), ask("PUT", "/items/7", content_encoding="gzip"), b'{"id": 8}', None),
    ("put-identity", item(), ask("PUT", "/items/\xfc 1"), '{"id": "\xfc 1"}'.encode(), None),
    ("put-identity", item("/me"), ask("PUT", "/me"), b'{"id": 8}', None),
    ("put-identity", item("/shops/{shop}/items/{id}"), ask("PUT", "/shops/8/items/7"), b'{"id": 7}', None),
    ("put-identity", item("/files/{name:path}", "name"), ask("PUT", "/files/a/b"), b'{"name": "a/b"}', None),
    ("put-identity", at(ITEM), PUT_7, b'{"id": 8}', None),
    ("put-identity", item(), ask("POST", "/items/7"), b'{"id": 8}', None),
]

PUT: list[Case] = [
    # rule                        target request answer finds
    ("put-no-patch-media", at(), ask("PUT", content_type=MERGE), None, {"status": 415}),
    ("put-no-patch-media", at(), ask("PUT", content_type="Application/JSON-Patch+json ; x=1"), None, {"status": 415}),
    ("put-no-patch-media", at(), ask("PUT", **JSON), None, None),
    ("put-no-patch-media", at(), ask("PUT", content_type=""), None, None),
    ("put-no-patch-media", at(), raw("PUT", (b"content-type", b"\xff" * 8192)), None, None),
    ("put-no-patch-media", at(), ask("PATCH", content_type=MERGE), None, None),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(200, location="/items/8"), FAILS),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(204, content_location="/archive/7"), FAILS),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(200, location="8"), FAILS),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(200, location="https://other.example/"), FAILS),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(200, content_location="/items/7/versions/2"), None),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(200, location="http://testserver/api/items/7?v=2"), None),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(200, location=""), None),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(200, location="7/"), None),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(200, location="?v=2"), None),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(200, location="http://["), None),
    ("put-other-target-3xx", at(ITEM), ask("PUT", "/"), says(200, location="/items"), None),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(303, location="/items/8"), None),
    ("put-other-target-3xx", at(ITEM), PUT_7, says(202, content_location="/jobs/1"), None),
    ("put-201-location-is-target", at(ITEM), PUT_7, says(201, location="/items/8"), SPOKEN),
    ("put-201-location-is-target", at(ITEM), PUT_7, says(201, location="/items/77"), SPOKEN),
    ("put-201-location-is-target", at(ITEM), PUT_7, says(201, location=LONG), SPOKEN),
    ("put-201-location-is-target", at(ITEM), PUT_7, says(201, location="/items/%37"), None),
    ("put-201-location-is-target", at(ITEM), PUT_7, says(201, location="/items/7#part"), None),
    ("put-201-location-is-target", at(ITEM), PUT_7, answer(201, (b"location", b"\xff\xff")), SPOKEN),
    ("put-201-location-is-target", at(ITEM), PUT_7, says(201), None),
    ("put-201-location-is-target", at(ITEM), ask("POST", "/items"), says(201, location="/items/8"), None),
    ("put-not-cacheable", at(), PUT_7, says(200, **FOR_EVER), NEVER),
    ("put-not-cacheable", at(), PUT_7, says(201, cache_control="S-MaxAge=5"), NEVER),
    ("put-not-cacheable", at(), PUT_7, says(204, expires=AFTER, date=BEFORE), NEVER),
    ("put-not-cacheable", at(), PUT_7, answer(200, (b"cache-control", b"private"), (b"cache-control", b"max-age=1")), NEVER),
    ("put-not-cacheable", at(), PUT_7, says(200, cache_control="max-age=0"), None),
    ("put-not-cacheable", at(), PUT_7, says(200, cache_control="no-store, max-age=60"), None),
    ("put-not-cacheable", at(), PUT_7, says(200, cache_control="max-age=soon"), None),
    ("put-not-cacheable", at(), PUT_7, says(200, cache_control="max-age"), None),
    ("put-not-cacheable", at(), PUT_7, says(200, expires=BEFORE, date=AFTER), None),
    ("put-not-cacheable", at(), PUT_7, says(200, expires=AFTER), None),
    ("put-not-cacheable", at(), PUT_7, says(200, expires="0", date=AFTER), None),
    ("put-not-cacheable", at(), PUT_7, GARBAGE, None),
    ("put-not-cacheable", at(), PUT_7, says(404, **FOR_EVER), None),
    ("put-not-cacheable", at(), ask("GET"), says(200, **FOR_EVER), None),
]

# ---- POST

POST: list[Case] = [
    ("post-created-as-200", at(COLLECTION), ask("POST"), says(200, location="/items/9"), SPOKEN),
    ("post-created-as-200", at(ACTION), ask("POST"), says(200, location="/items/9"), None),
    ("post-created-as-200", at(), ask("POST"), says(200), None),
    ("post-created-as-200", at(), ask("QUERY"), says(200, location="/searches/9"), None),
    ("post-created-as-200", at(), ask("POST"), says(202, location="/jobs/9"), None),
    ("post-location-specific", at(), ask("POST"), says(201, location="/items#9"), SPOKEN),
    ("post-location-specific", at(), ask("POST"), says(201, location="/items/1, /items/2"), SPOKEN),
    ("post-location-specific", at(), ask("POST"), says(201, location="/items/1,https://a/items/2"), SPOKEN),
    ("post-location-specific", at(), ask("POST"), says(201, location="/items/1,2"), None),
    ("post-location-specific", at(), ask("POST"), says(201, location=""), SPOKEN),
    ("post-location-specific", at(), ask("POST"), says(201, location=LONG), None),
    ("post-location-specific", at(), ask("POST"), says(302, location="/items#9"), None),
    ("post-303-location", at(), ask("POST"), says(303), FAILS),
    ("post-303-location", at(), ask("POST"), says(303, location="/items/9"), None),
    ("post-303-location", at(), ask("PUT"), says(303), None),
    ("post-cacheable-complete", at(), ask("POST"), says(200, **FOR_EVER), NEVER),
    ("post-cacheable-complete", at(), ask("POST"), says(201, content_location="/items/9", **FOR_EVER), NEVER),
    ("post-cacheable-complete", at(), ask("POST"), says(200, content_location="/items", **FOR_EVER), None),
    ("post-cacheable-complete", at(), ask("POST"), says(200, content_location="", **FOR_EVER), None),
    ("post-cacheable-complete", at(), ask("POST"), says(200, cache_control="no-cache"), None),
    ("post-cacheable-complete", at(), ask("POST"), GARBAGE, None),
    ("post-202-status", at(), ask("POST"), says(202, b""), SPOKEN),
    ("post-202-status", at(), ask("POST"), says(202, b"queued"), None),
    ("post-202-status", at(), ask("POST"), says(202), None),
    ("post-202-status", at(), ask("POST"), says(202, b"", location="/jobs/1"), None),
    ("post-202-status", at(), ask("POST"), says(202, b"", link="</jobs/1>; rel=status"), None),
    ("post-202-status", at(), ask("PUT"), says(202, b""), None),
]

# ---- PATCH

PATCH: list[Case] = [
    ("patch-media-type", PATCHES, ask("PATCH", content_type="text/plain"), None, {"status": 415, "headers": FORMATS}),
    ("patch-media-type", PATCHES, ask("PATCH", content_length="5"), None, {"status": 415, "headers": FORMATS}),
    ("patch-media-type", PATCHES, ask("PATCH", transfer_encoding="chunked"), None, {"status": 415}),
    ("patch-media-type", PATCHES, ask("PATCH", content_type="", content_length="5"), None, {"status": 415}),
    ("patch-media-type", PATCHES, raw("PATCH", (b"content-type", b"\xff/\xff")), None, {"status": 415}),
    ("patch-media-type", PATCHES, ask("PATCH", content_type=LONG), None, {"status": 415}),
    ("patch-media-type", PATCHES, ask("PATCH", content_type=f"{MERGE}, text/plain"), None, {"status": 415}),
    ("patch-media-type", at(accept_patch=["text/x-diff"]), ask("PATCH", **JSON), None, {"status": 415}),
    ("patch-media-type", PATCHES, ask("PATCH", content_type="Application/Merge-Patch+JSON; charset=utf-8"), None, None),
    ("patch-media-type", PATCHES, ask("PATCH", **JSON), None, None),
    ("patch-media-type", at(accept_patch=["application/*"]), ask("PATCH", content_type="application/x"), None, None),
    ("patch-media-type", PATCHES, ask("PATCH"), None, None),
    ("patch-media-type", PATCHES, ask("PATCH", content_length="0"), None, None),
    ("patch-media-type", at(), ask("PATCH", content_type="text/plain"), None, None),
    ("patch-media-type", PATCHES, ask("PUT", content_type="text/plain"), None, None),
    ("patch-conditional", at(), ask("PATCH"), None, {"status": 428, "headers": [(b"cache-control", b"no-store")]}),
    ("patch-conditional", at(), ask("PATCH", if_match='"a"'), None, None),
    ("patch-conditional", at(), ask("PATCH", idempotency_key='"k"'), None, None),
    ("patch-conditional", at(), ask("PUT"), None, None),
    ("patch-415-accept-patch", PATCHES, ask("PATCH"), says(415), {"add": FORMATS}),
    ("patch-415-accept-patch", PATCHES, ask("PATCH"), says(415, accept_patch="a/b"), None),
    ("patch-415-accept-patch", PATCHES, ask("PATCH"), says(415, accept_encoding="gzip"), None),
    ("patch-415-accept-patch", at(), ask("PATCH"), says(415), None),
    ("patch-415-accept-patch", PATCHES, ask("POST"), says(415), None),
    ("patch-allow-consistent", at(allow=()), ask("OPTIONS"), says(200, accept_patch="a/b", allow="GET"), allows(b"GET, PATCH")),
    ("patch-allow-consistent", at(), ask("PUT"), says(405, accept_patch="a/b", allow=""), allows(b"PATCH")),
    ("patch-allow-consistent", at(allow={"GET"}), ask("GET"), says(200, accept_patch="a/b", allow="GET"), None),
    ("patch-allow-consistent", at(), ask("OPTIONS"), says(200, accept_patch="a/b", allow="GET,PATCH"), None),
    ("patch-allow-consistent", at(), ask("OPTIONS"), says(200, accept_patch="a/b"), None),
    (
        "patch-allow-consistent",
        at(),
        ask("GET"),
        answer(200, (b"Accept-Patch", b"a/b"), (b"Allow", b"GET"), (b"Allow", b"PATCH")),
        None,
    ),
    ("patch-allow-consistent", at(), ask("PATCH"), says(405, accept_patch="a/b", allow="GET"), None),
]

# ---- DELETE

GONE = {"set_status": 204}

DELETE: list[Case] = [
    (
        "delete-collection-guard",
        declared(COLLECTION),
        ask("DELETE"),
        None,
        {"status": 405, "headers": [(b"allow", b"GET, POST")]},
    ),
    ("delete-collection-guard", at(COLLECTION, allow={"GET"}), ask("DELETE"), None, None),
    ("delete-collection-guard", declared(COLLECTION, require_precondition=True), ask("DELETE"), None, None),
    ("delete-collection-guard", at(COLLECTION), ask("DELETE"), None, None),
    ("delete-collection-guard", declared(ITEM), ask("DELETE"), None, None),
    ("delete-collection-guard", declared(COLLECTION), ask("PUT"), None, None),
    ("delete-always-204", at(), ask("DELETE"), says(404), GONE),
    ("delete-always-204", at(mapped=False, allow=()), ask("DELETE"), says(404), GONE),
    ("delete-always-204", at(allow={"GET"}), ask("DELETE"), says(404), None),
    ("delete-always-204", at(allow=()), ask("DELETE"), says(404), None),
    ("delete-always-204", at(), ask("DELETE"), says(403), None),
    ("delete-always-204", at(), ask("GET"), says(404), None),
    (
        "delete-content-location",
        at(),
        ask("DELETE", "/items/7"),
        says(200, content_location="/items/7"),
        {"drop": {b"content-location"}},
    ),
    ("delete-content-location", at(), ask("DELETE", "/items/7"), says(200, content_location="/deletions/1"), None),
    ("delete-content-location", at(), ask("DELETE", "/items/7"), says(200, content_location="/items/7/report"), None),
    ("delete-content-location", at(), ask("DELETE", "/items/7"), says(200), None),
    ("delete-not-cacheable", at(), ask("DELETE"), says(200, **FOR_EVER), NEVER),
    ("delete-not-cacheable", at(), ask("DELETE"), says(200, cache_control="no-store"), None),
    ("delete-not-cacheable", at(), ask("DELETE"), GARBAGE, None),
]

# ---- GET and HEAD

READS: list[Case] = [
    ("head-content-length-exact", at(), ask("HEAD"), says(200, content_length="0", **JSON), {"drop": {b"content-length"}}),
    ("head-content-length-exact", at(), ask("HEAD"), says(200, content_length="0"), None),
    ("head-content-length-exact", at(), ask("HEAD"), says(200, content_length="5", **JSON), None),
    ("head-content-length-exact", at(), ask("HEAD"), says(200, **JSON), None),
    ("head-content-length-exact", at(), ask("GET"), says(200, content_length="0", **JSON), None),
    ("get-validators", at(), ask("GET"), says(200), SPOKEN),
    ("get-validators", at(), ask("GET"), says(200, etag='"a"'), None),
    ("get-validators", at(), ask("GET"), says(200, last_modified=BEFORE), None),
    ("get-validators", at(), ask("GET"), says(404), None),
    ("get-202-409", at(), ask("GET"), says(202), SPOKEN),
    ("get-202-409", at(), ask("POST"), says(409), None),
    ("get-202-409", at(), ask("GET"), says(200), None),
]

# ---- Allow, OPTIONS, TRACE, CONNECT

POSTS = {"GET", "HEAD", "POST", "OPTIONS"}
SECRETS = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
LENGTHS = frozenset({b"content-length", b"transfer-encoding"})

ALLOW: list[Case] = [
    ("status-405-needs-allow", at(allow={"GET"}), ask("PUT"), says(405, allow="GET, PUT"), allows(b"GET")),
    ("status-405-needs-allow", at(allow={"GET"}), ask("PUT"), answer(405, (b"allow", b"LOCK"), (b"Allow", b"GET")), None),
    ("status-405-needs-allow", at(allow=()), ask("PUT"), says(405, allow="PUT, GET"), allows(b"GET")),
    ("allow-consistent", at(), ask("PUT"), says(204, allow="GET"), SPOKEN),
    ("allow-consistent", at(), ask("GET"), answer(200, (b"Allow", b"\xff\x00,,")), SPOKEN),
    ("allow-consistent", at(), ask("PUT"), says(405, allow="GET"), None),
    ("allow-consistent", at(), ask("PUT"), says(200, allow="GET, PUT"), None),
    ("allow-consistent", at(), ask("HEAD"), says(200, allow="GET"), None),
    ("allow-consistent", at(), ask("OPTIONS"), says(200, allow="GET"), None),
    ("allow-consistent", at(), ask("PUT"), says(404, allow="GET"), None),
]

# ---- QUERY

ASKS = {"GET", "HEAD", "OPTIONS", "QUERY"}
QUERIES = at(allow=ASKS, accepts={"QUERY": ["application/json", 'application/sql;Charset="utf-8"']})
TYPES = [(b"accept-query", b'application/json, application/sql;charset="utf-8"')]
ANY = at(allow=ASKS)
TOKEN = "Bearer s3cr3t-t0ken"

QUERY: list[Case] = [
    ("query-content-type", ANY, ask("QUERY"), None, {"status": 400}),
    ("query-content-type", at(UNKNOWN, allow=()), ask("QUERY"), None, {"status": 400}),
    ("query-content-type", ANY, ask("QUERY", content_type=""), None, {"status": 400}),
    ("query-content-type", ANY, ask("QUERY", content_type="json"), None, {"status": 400}),
    ("query-content-type", ANY, ask("QUERY", content_type="a/b, c/d"), None, {"status": 400}),
    ("query-content-type", ANY, ask("QUERY", content_type=LONG), None, {"status": 400}),
    ("query-content-type", ANY, raw("QUERY", (b"content-type", b"a/\xff")), None, {"status": 400}),
    ("query-content-type", ANY, ask("QUERY", content_type="Application/JSON ;charset=utf-8"), None, None),
    ("query-content-type", at(allow={"GET"}), ask("QUERY"), None, None),
    ("query-content-type", ANY, ask("GET"), None, None),
    ("query-media-accepted", QUERIES, ask("QUERY", content_type="text/csv"), None, {"status": 415, "headers": TYPES}),
    ("query-media-accepted", QUERIES, ask("QUERY", content_type="APPLICATION/JSON;x=1"), None, None),
    ("query-media-accepted", QUERIES, ask("QUERY", content_type="application/sql;charset=UTF-8"), None, None),
    ("query-media-accepted", at(allow=ASKS, accepts={"QUERY": ["*/*"]}), ask("QUERY", content_type="a/b"), None, None),
    ("query-media-accepted", QUERIES, ask("QUERY", content_type="nonsense"), None, {"status": 415}),
    ("query-media-accepted", ANY, ask("QUERY", content_type="text/csv"), None, None),
    ("query-media-accepted", QUERIES, ask("POST", content_type="text/csv"), None, None),
    ("query-redirect", ANY, ask("QUERY"), says(301, location="/a"), SPOKEN),
    ("query-redirect", ANY, ask("QUERY"), says(302, location="/a"), SPOKEN),
    ("query-redirect", ANY, ask("QUERY"), says(307, location="/a"), None),
    ("query-redirect", ANY, ask("GET"), says(302, location="/a"), None),
    (
        "accept-query-sf",
        QUERIES,
        ask("GET"),
        says(200, accept_query="application/json,"),
        {"add": TYPES, "drop": {b"accept-query"}},
    ),
    (
        "accept-query-sf",
        ANY,
        ask("OPTIONS"),
        says(200, accept_query="application/json;q=0.5.5"),
        {"drop": {b"accept-query"}, "add": []},
    ),
    ("accept-query-sf", ANY, ask("GET"), says(200, accept_query="1"), {"drop": {b"accept-query"}, "add": []}),
    ("accept-query-sf", ANY, ask("GET"), says(200, accept_query="json"), {"drop": {b"accept-query"}, "add": []}),
    ("accept-query-sf", ANY, ask("GET"), says(200, accept_query="(application/json)"), {"drop": {b"accept-query"}, "add": []}),
    ("accept-query-sf", ANY, ask("GET"), says(200, accept_query="@99999999999999"), {"drop": {b"accept-query"}, "add": []}),
    (
        "accept-query-sf",
        ANY,
        ask("GET"),
        answer(200, (b"Accept-Query", b"\xff" * 8192)),
        {"drop": {b"accept-query"}, "add": []},
    ),
    ("accept-query-sf", ANY, ask("GET"), says(200, accept_query='a/b, "c/d+json";charset="utf-8"'), None),
    ("accept-query-sf", ANY, ask("GET"), answer(200, (b"accept-query", b"a/b"), (b"Accept-Query", b"*/*")), None),
    ("accept-query-sf", ANY, ask("GET"), says(200, accept_query=""), None),
    ("accept-query-sf", ANY, ask("GET"), says(200), None),
    (
        "query-cors",
        ANY,
        ask("OPTIONS", **PREFLIGHT),
        says(200, access_control_allow_origin="*", access_control_allow_methods="GET, PUT"),
        SPOKEN,
    ),
    ("query-cors", ANY, ask("OPTIONS", **PREFLIGHT), says(204, access_control_allow_origin="*"), SPOKEN),
    (
        "query-cors",
        ANY,
        ask("OPTIONS", **PREFLIGHT),
        says(200, access_control_allow_origin="*", access_control_allow_methods="GET,QUERY"),
        None,
    ),
    (
        "query-cors",
        ANY,
        ask("OPTIONS", **PREFLIGHT),
        says(200, access_control_allow_origin="*", access_control_allow_methods="*"),
        None,
    ),
    ("query-cors", ANY, ask("OPTIONS", **PREFLIGHT), says(403), None),
    ("query-cors", at(), ask("OPTIONS", **PREFLIGHT), says(200, access_control_allow_origin="*"), None),
    ("query-cors", ANY, ask("OPTIONS"), says(200, access_control_allow_origin="*"), None),
    (
        "options-auto",
        QUERIES,
        ask("OPTIONS"),
        says(405),
        {"answer": Response(204, [(b"allow", b"GET, HEAD, QUERY, OPTIONS"), *TYPES])},
    ),
]

CASES: list[Case] = [*IDENTITY, *PUT, *POST, *PATCH, *DELETE, *READS, *ALLOW, *QUERY]
