"""A hand-written guard for exactly the routes of `traffic.py`: what CPython itself charges for the duties.

No options, no hooks, no waiting for a twin, no size limits, one process. What it does, it does correctly: it finds
the route, checks the status, refuses PUT on a collection before the content is read, scopes a record to the caller,
compares fingerprints, claims before the application runs and lets go when it fails, saves before the last byte leaves,
and replays a keyless PUT only while nothing else touched the target. A record is one bytes object, which the cyclic
collector never looks at. A library can hardly be cheaper and keep its promises; how near it comes is the question.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable
from hashlib import sha256
from time import monotonic
from typing import Any

from traffic import TEMPLATES, ASGIApp, Message, Scope, WSGIApp

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
STATUSES = frozenset({200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 409, 412, 415, 422, 429, 500, 503})
REASONS = {200: "200 OK", 201: "201 Created", 202: "202 Accepted", 204: "204 No Content", 400: "400 Bad Request"}
REASONS |= {405: "405 Method Not Allowed", 409: "409 Conflict", 422: "422 Unprocessable Content"}
REASONS |= {500: "500 Internal Server Error"}
ALLOW = "GET, HEAD, OPTIONS, POST"
KEEP, WINDOW, LEASE, SWEEP = 86_400.0, 30.0, 10.0, 5.0  # seconds, as verbguard's
RECORD = struct.Struct("<dIHI32s")  # expires, generation, status, length of the header block, fingerprint


def routes() -> Callable[[str], str | None]:
    """A tree of path segments; a parameter stands under None, what a path is under "."."""
    root: dict[str | None, Any] = {}
    for template in TEMPLATES:
        node = root
        for segment in template.split("/")[1:]:
            node = node.setdefault(None if segment[0] == "{" else segment, {})
        node["."] = "item" if template.endswith("}") else "collection"

    def find(path: str) -> str | None:
        node = root
        for segment in path.split("/")[1:]:
            below = node.get(segment) or node.get(None)
            if below is None:
                return None
            node = below
        return node.get(".")

    return find


class Records:
    """Claims and answers of one life-time: a tuple is a running request, bytes are an answer."""

    __slots__ = ("kept", "lifetime", "sweep_at")

    def __init__(self, lifetime: float) -> None:
        self.kept: dict[bytes, bytes | tuple[float, bytes]] = {}
        self.lifetime = lifetime
        self.sweep_at = 0.0

    def claim(self, identity: bytes, fingerprint: bytes, now: float) -> tuple[float, bytes]:
        if now >= self.sweep_at:
            self.sweep(now)
        claim = self.kept[identity] = (now + LEASE, fingerprint)
        return claim

    def head(self, claim: tuple[float, bytes], generation: int, status: int, block: bytes) -> bytes:
        """A record up to its content."""
        return RECORD.pack(claim[0] - LEASE + self.lifetime, generation, status, len(block), claim[1]) + block

    def release(self, identity: bytes, claim: tuple[float, bytes]) -> None:
        if self.kept.get(identity) is claim:
            del self.kept[identity]

    def sweep(self, now: float) -> None:
        """The oldest stand in front, since all live equally long."""
        self.sweep_at = now + SWEEP
        dead = []
        for identity, kept in self.kept.items():
            if (kept[0] if isinstance(kept, tuple) else RECORD.unpack_from(kept)[0]) > now:
                break
            dead.append(identity)
        for identity in dead:
            del self.kept[identity]


class Memory:
    """The records with a key, those without one, and a generation for each target that was touched."""

    __slots__ = ("generations", "keyed", "keyless")

    def __init__(self) -> None:
        self.keyed, self.keyless = Records(KEEP), Records(WINDOW)
        self.generations: dict[str, int] = {}

    def touch(self, target: str) -> int:
        generation = self.generations[target] = self.generations.get(target, 0) + 1
        return generation

    def known(self, identity: bytes, target: str, keyed: bool, fingerprint: bytes, now: float) -> int | bytes | None:
        """The status of a refusal, the record to replay, or None when the request has to run."""
        kept = (self.keyed if keyed else self.keyless).kept.get(identity)
        if kept is None:
            return None
        if isinstance(kept, tuple):
            return 409 if kept[0] > now else None
        expires, generation, _, _, print_ = RECORD.unpack_from(kept)
        if expires <= now:
            return None
        if keyed:
            return kept if print_ == fingerprint else 422
        return kept if print_ == fingerprint and generation == self.generations.get(target) else None


def opened(record: bytes) -> tuple[int, list[bytes], bytes]:
    """Status, header lines and content of a record."""
    _, _, status, length, _ = RECORD.unpack_from(record)
    end = RECORD.size + length
    return status, record[RECORD.size : end].split(b"\n"), record[end:]


# ------------------------------------------------------------------------------------------------------- ASGI
async def _problem(send: Any, status: int) -> None:
    content = b'{"title": "refused", "status": %d}' % status
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(content))]
    if status == 405:
        headers.append((b"allow", ALLOW.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})


async def _nothing() -> None:
    return None


class FloorASGI:
    """The floor for ASGI. Inside, plain functions return the awaitable of the next layer: a frame less for each."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.find = routes()
        self.memory = Memory()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        kind = self.find(scope["path"])
        method = scope["method"]
        if kind is None or method in SAFE:
            await self._checked(scope, receive, send)
        elif method == "PUT" and kind == "collection":
            await _problem(send, 405)
        else:
            await self._guarded(scope, receive, send)

    def _checked(self, scope: Scope, receive: Any, send: Any) -> Any:
        bad = False

        def checked(message: Message) -> Any:
            nonlocal bad
            if bad:
                return _nothing()
            if message["type"] == "http.response.start" and message["status"] not in STATUSES:
                bad = True
                return _problem(send, 500)
            return send(message)

        return self.app(scope, receive, checked)

    async def _guarded(self, scope: Scope, receive: Any, send: Any) -> None:
        key = caller = b""
        for name, value in scope["headers"]:
            if name == b"idempotency-key":
                if key:
                    return await _problem(send, 400)
                key = value
            elif name == b"authorization":
                caller = value
        part = await receive()
        content = part["body"]
        while part.get("more_body", False):
            part = await receive()
            content += part.get("body", b"")
        memory, target, keyed, now = self.memory, scope["path"], key != b"", monotonic()
        fingerprint = sha256(content).digest()
        method = scope["method"].encode()
        identity = b"\n".join((caller, key, method, target.encode(), scope["query_string"]))
        known = memory.known(identity, target, keyed, fingerprint, now)
        if type(known) is int:
            return await _problem(send, known)
        if type(known) is bytes:
            return await self._replay(send, known)
        records = memory.keyed if keyed else memory.keyless
        claim = records.claim(identity, fingerprint, now)
        started = memory.touch(target)
        whole: Message | None = {"type": "http.request", "body": content, "more_body": False}
        status, headers, parts = 0, [], []

        async def repeated() -> Any:
            nonlocal whole
            if whole is None:
                return await receive()
            message, whole = whole, None
            return message

        def captured(message: Message) -> Any:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
                if status not in STATUSES:
                    status = 0
                    return _problem(send, 500)
            elif not status:
                return _nothing()
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    ended = memory.touch(target)
                    if keyed or ended == started + 1:
                        block = b"\n".join([name + b":" + value for name, value in headers])
                        head = records.head(claim, ended, status, block)
                        records.kept[identity] = head + b"".join(parts)
            return send(message)

        try:
            await self.app(scope, repeated, captured)
        finally:
            records.release(identity, claim)

    async def _replay(self, send: Any, record: bytes) -> None:
        status, lines, content = opened(record)
        headers = [tuple(line.split(b":", 1)) for line in lines]
        headers.append((b"idempotent-replayed", b"true"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content, "more_body": False})


# ------------------------------------------------------------------------------------------------------- WSGI
def _refused(start_response: Any, status: int) -> list[bytes]:
    content = b'{"title": "refused", "status": %d}' % status
    headers = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(content)))]
    if status == 405:
        headers.append(("Allow", ALLOW))
    start_response(REASONS[status], headers)
    return [content]


class FloorWSGI:
    """The floor for WSGI."""

    def __init__(self, app: WSGIApp) -> None:
        self.app = app
        self.find = routes()
        self.memory = Memory()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        kind = self.find(environ["PATH_INFO"])
        method = environ["REQUEST_METHOD"]
        if kind is None or method in SAFE:
            return self._checked(environ, start_response)
        if method == "PUT" and kind == "collection":
            return _refused(start_response, 405)
        return self._guarded(environ, start_response)

    def _checked(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        bad = False

        def checked(status: str, headers: Any, exc_info: Any = None) -> Any:
            nonlocal bad
            bad = int(status[:3]) not in STATUSES
            if bad:
                return lambda data: None
            return start_response(status, headers) if exc_info is None else start_response(status, headers, exc_info)

        answer = self.app(environ, checked)
        return _refused(start_response, 500) if bad else answer

    def _guarded(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        memory, target, now = self.memory, environ["PATH_INFO"], monotonic()
        key = environ.get("HTTP_IDEMPOTENCY_KEY", "")
        content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        fingerprint = sha256(content).digest()
        parts = (environ.get("HTTP_AUTHORIZATION", ""), key, environ["REQUEST_METHOD"], target, environ["QUERY_STRING"])
        identity = "\n".join(parts).encode("latin-1")
        known = memory.known(identity, target, key != "", fingerprint, now)
        if type(known) is int:
            return _refused(start_response, known)
        if type(known) is bytes:
            code, lines, content = opened(known)
            replayed = [tuple(line.decode("latin-1").split(":", 1)) for line in lines]
            start_response(REASONS[code], [*replayed, ("Idempotent-Replayed", "true")])
            return [content]
        records = memory.keyed if key else memory.keyless
        claim = records.claim(identity, fingerprint, now)
        started = memory.touch(target)
        environ["wsgi.input"] = io.BytesIO(content)
        status, headers = 0, []

        def captured(line: str, pairs: Any, exc_info: Any = None) -> Any:
            nonlocal status, headers
            status, headers = int(line[:3]), pairs
            if status not in STATUSES:
                return lambda data: None
            return start_response(line, pairs) if exc_info is None else start_response(line, pairs, exc_info)

        try:
            answer = self.app(environ, captured)
            try:
                data = b"".join(answer)
            finally:
                if close := getattr(answer, "close", None):
                    close()
            if status not in STATUSES:
                return _refused(start_response, 500)
            ended = memory.touch(target)
            if key or ended == started + 1:
                block = "\n".join([f"{name}:{value}" for name, value in headers]).encode("latin-1")
                records.kept[identity] = records.head(claim, ended, status, block) + data
            return [data]
        finally:
            records.release(identity, claim)
