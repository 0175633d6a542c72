"""`identity`: what the content says it is, held against the URL before anything is claimed or run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from vectors.conversation import EVERYWHERE, GUARD, STRICT, Vector, but, say
from vectors.stage import converse

from verbguard import Replay, asgi, item, wsgi
from verbguard.stores.memory import MemoryStore

NAMED = but("/items/{id}", identity="id")
MERGE = "application/merge-patch+json"

CONVERSATIONS = [
    *[
        Vector(
            0,
            f"{method} whose content names another resource is 400, and its key is not used up",
            [
                say(method, "/items/7", b'{"id": 8}', key='"k"', content_type=kind).gives(400, rule="put-identity", runs=0),
                say(method, "/items/7", b'{"id": "7"}', key='"k"', content_type=kind).gives(200, 204, runs=1, finds=""),
                say(method, "/items/7", b'{"name": "cup"}', content_type=kind).gives(200, 204, runs=2),
                say("GET", "/items/7").gives(200, runs=3),
            ],
            items=("7",),
            policies=NAMED,
        )
        for method, kind in (("PUT", "application/json"), ("PATCH", MERGE))
    ],
    Vector(
        0,
        "a PUT without a key is not answered from the store where its content names another resource",
        [
            say("PUT", "/items/7", b'{"id": 8}').gives(400, rule="put-identity", runs=0),
            say("PUT", "/items/7", b'{"id": 7}').gives(201, runs=1, location="/items/7"),
            say("PUT", "/items/7", b'{"id": 8}').gives(400, rule="put-identity", runs=1),
            say("PUT", "/items/7", b'{"id": 7}').replays(1, runs=1),
        ],
        policies=NAMED,
    ),
    Vector(
        0,
        "the segment is compared as it is decoded",
        [
            say("PUT", "/items/a%20b", b'{"id": "a b"}').gives(201, runs=1),
            say("PUT", "/items/%C3%BC", '{"id": "\u00fc"}'.encode()).gives(201, runs=2),
            say("PUT", "/items/%C3%BC", b'{"id": "u"}').gives(400, rule="put-identity", runs=2),
        ],
        policies=NAMED,
    ),
]


@pytest.mark.parametrize("profile", [GUARD, STRICT])
@pytest.mark.parametrize("door", EVERYWHERE)
@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
async def test_the_content_names_its_resource(conversation: Vector, door: str, profile: str) -> None:
    """A refusal runs nothing and takes no key."""
    await converse(conversation, door, profile)


# ---- however the content comes

OTHER = b'{"name": "pen", "id": 8}'
LARGE = b'{"id": 8, "name": "' + b"x" * 200 + b'"}'
POLICIES = {"/items/{id}": item(identity="id", replay=Replay(max_request=100))}

CONTENTS = [
    # promise                           pieces                              profile    status, what the app read
    ("in one piece", [OTHER], "guard", 400, None),
    ("in many pieces", [OTHER[at : at + 1] for at in range(len(OTHER))], "guard", 400, None),
    ("with empty pieces", [b"", OTHER, b""], "guard", 400, None),
    ("too large for memory", [LARGE], "guard", 204, LARGE),
    ("too large, in pieces", [LARGE[:50], LARGE[50:]], "guard", 204, LARGE),
    ("none at all", [b""], "guard", 204, b""),
    ("in observe", [OTHER[:5], OTHER[5:]], "observe", 204, OTHER),
]
FIELDS = [(b"host", b"a"), (b"content-type", b"application/json")]


@pytest.mark.parametrize("key", [None, b'"k"'], ids=["keyless", "keyed"])
@pytest.mark.parametrize(
    ("pieces", "profile", "status", "seen"), [row[1:] for row in CONTENTS], ids=[row[0] for row in CONTENTS]
)
def test_asgi_content(pieces: list[bytes], profile: str, status: int, seen: bytes | None, key: bytes | None) -> None:
    """Content is judged in memory, and the app reads all of it where it runs."""
    read: list[bytes] = []
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            read.append(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    messages = [{"type": "http.request", "body": piece, "more_body": at < len(pieces) - 1} for at, piece in enumerate(pieces)]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [*FIELDS, *([(b"idempotency-key", key)] if key else [])]
    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/items/7",
        "headers": headers,
        "query_string": b"",
        "http_version": "1.1",
    }
    guarded = asgi.GuardMiddleware(
        app, policies=POLICIES, profile=profile, store=MemoryStore(), observers=[lambda finding: None]
    )
    asyncio.run(guarded(scope, receive, send))
    assert sent[0]["status"] == status
    assert (b"put-identity" in sent[1]["body"]) is (status == 400)
    assert (b"".join(read) if read else None) == seen


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize("key", [None, '"k"'], ids=["keyless", "keyed"])
@pytest.mark.parametrize(
    ("pieces", "profile", "status", "seen"), [row[1:] for row in CONTENTS], ids=[row[0] for row in CONTENTS]
)
def test_wsgi_content(
    pieces: list[bytes], profile: str, status: int, seen: bytes | None, key: str | None, declared: bool
) -> None:
    """The same through WSGI, with a length or without."""
    read: list[bytes] = []
    said: list[str] = []

    def app(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
        length = environ.get("CONTENT_LENGTH")
        read.append(environ["wsgi.input"].read(int(length)) if length else environ["wsgi.input"].read())
        start("204 No Content", [])
        return iter([b""])

    content = b"".join(pieces)
    environ = {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": "/items/7",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "HTTP_HOST": "a",
        "SERVER_NAME": "a",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(content),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_TYPE": "application/json",
        **({"CONTENT_LENGTH": str(len(content))} if declared else {"wsgi.input_terminated": True}),
        **({"HTTP_IDEMPOTENCY_KEY": key} if key else {}),
    }
    guarded = wsgi.GuardMiddleware(
        app, policies=POLICIES, profile=profile, store=MemoryStore(), observers=[lambda finding: None]
    )
    result = guarded(environ, lambda line, headers, exc_info=None: said.append(line) or bytes)
    answer = b"".join(result)
    getattr(result, "close", list)()
    assert said[0].startswith(str(status))
    assert (b"put-identity" in answer) is (status == 400)
    assert (b"".join(read) if read else None) == seen
