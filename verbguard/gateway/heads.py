"""The head of a request at the gateway: what it says of its connection and content, and what no gateway forwards."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from verbguard.gateway.fields import PSEUDONYM
from verbguard.gateway.upstream import Content
from verbguard.http import Headers, Response, problem, quoted_path, reason
from verbguard.rules.methods import HOSTS

__all__ = [
    "ON_HTTP1",
    "Head",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "content_of",
    "mount_of",
    "refused",
    "reply",
    "target_of",
    "unserved",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LARGEST_HEAD = 128 << 10  # bytes of a request's fields: twice what h11 and hypercorn take, and httptools takes any number
MOST_PASSES = 8  # times that one request comes by a gateway of this kind: nobody has so many in a row

ON_HTTP1 = ("1.1", "1.0")
_VERSIONS = (*ON_HTTP1, "2", "3")


def mount_of(scope: Scope) -> str:
    """The path below which clients find the service, as it stands in a URL."""
    prefix = scope.get("root_path")
    return quoted_path(prefix.rstrip("/")) if prefix else ""


def target_of(scope: Scope) -> bytes:
    """The path below the mount and the query, as the client wrote them."""
    path = scope.get("raw_path") or quoted_path(scope["path"]).encode("ascii")
    path = path.partition(b"?")[0]
    prefix = mount_of(scope).encode("ascii")
    if prefix and (path == prefix or path.startswith(prefix + b"/")):
        path = path[len(prefix) :] or b"/"
    query = scope.get("query_string", b"")
    return path + b"?" + query if query else path


def refused(method: str, scope: Scope, head: Head) -> Response | None:
    """What no gateway of this kind forwards, whether a guard stands in front of it or not."""
    version = scope.get("http_version", "1.1")
    closing = [(b"connection", b"close")] if version in ON_HTTP1 else []
    if version not in _VERSIONS:
        # RFC 9110 15.6.6; httptools takes HTTP/0.9 for a request like any other, and h11 whatever the request line says
        return unserved(505, f"HTTP/{version} is not served.", [])
    if head.passes >= MOST_PASSES:
        # RFC 9110 7.6: nobody forwards a message to itself "unless it is protected from an infinite request loop"
        return unserved(508, "The service behind this gateway leads back to it: Via shows it.", closing)
    if head.size > LARGEST_HEAD:
        return unserved(431, f"The fields of a request hold at most {LARGEST_HEAD} bytes.", closing)  # RFC 6585 5
    if method == "CONNECT":
        return problem("connect-off", "CONNECT is not implemented", 501, "This is a gateway, and no proxy.")
    if method != method.upper():
        return problem("method-case-sensitive", "Methods are case-sensitive", 501, "This gateway knows only upper case.")
    if head.hosts != 1 and (head.hosts or version == "1.1") or head.hosts == 1 and not HOSTS[head.host]:
        detail = "Host is missing." if not head.hosts else "Host is repeated, or no host."
        return problem("host-exactly-one", "Host is missing, repeated or invalid", 400, detail)
    if head.coded and (head.length is not None or version == "1.0"):
        # RFC 9112 6.1: HTTP/1.0 has no codings, and who put the field there may not be who frames the content
        other = "Content-Length" if head.length is not None else "HTTP/1.0"
        detail = f"{other} beside Transfer-Encoding: nobody can tell where the content ends."
        return problem("framing-cl-te", "Two framing fields", 400, detail, closing)
    if head.coded and not head.chunked:
        # "A server that receives a request message with a transfer coding it does not understand SHOULD respond with 501",
        # RFC 9112 6.1. What a server has decoded is passed on as chunked, and would lose the other coding.
        return problem("framing-cl-te", "A transfer coding that is not known", 501, "This gateway knows only chunked.", closing)
    if scope["path"] != "*" and (not (target := target_of(scope)).startswith(b"/") or b"#" in target):
        # What a service makes of these nobody knows, so nobody can judge them for it: `@other.example` behind its own name is
        # another host, and what follows a `#` may be left out (RFC 9112 3.2, RFC 9110 4.2.5).
        return unserved(400, "A target begins with a slash, and has no fragment.", closing)
    if scope["path"] == "*":
        # The question is about the server that the client is connected with, which is this one.
        return Response(204, [(b"allow", b"GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE")])
    if head.hops == 0 and method == "OPTIONS":
        return Response(204)
    if head.hops == 0 and method == "TRACE":
        return problem("options-max-forwards", "TRACE is not answered here", 501, "Max-Forwards lets it go no further.")
    return None


def unserved(status: int, detail: str, further: Headers) -> Response:
    """A problem of no rule, whose type is the status itself (RFC 9457 4.2.1)."""
    body = json.dumps({"status": status, "title": reason(status), "detail": detail}).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    return Response(status, [*headers, (b"cache-control", b"no-store"), *further], body)


class Head:
    """What the fields of a request say of its connection and its content."""

    __slots__ = ("chunked", "coded", "expects", "hops", "host", "hosts", "length", "passes", "size")

    def __init__(self, headers: Headers) -> None:
        self.host: bytes | None = None
        self.hosts = 0
        self.length: int | None = None
        self.hops: int | None = None  # what Max-Forwards says
        self.coded = self.chunked = self.expects = False
        self.size = 0
        self.passes = 0  # how often Via names a gateway of this kind
        for name, value in headers:
            self.size += len(name) + len(value)
            if name == b"host":
                self.host = value
                self.hosts += 1
            elif name == b"content-length":
                self.length = int(value) if value.isdigit() else 0
            elif name == b"transfer-encoding":
                self.chunked = not self.coded and value.strip().lower() == b"chunked"
                self.coded = True
            elif name == b"expect":
                self.expects = value.lower() == b"100-continue"
            elif name == b"via":
                self.passes += value.count(PSEUDONYM)
            elif name == b"max-forwards" and value.isdigit() and len(value) < 10:
                self.hops = int(value)


async def content_of(head: Head, version: str, receive: Receive) -> Content | None:
    """The request's content, of which the first piece is here, unless the client waits to be asked for it; None without one.

    From HTTP/2 on there may be content that no field announces.
    """
    unannounced = head.length is None and not head.coded and version not in ON_HTTP1
    if not (head.chunked or head.length or unannounced):
        return None
    if head.expects and not unannounced:
        return Content(head.length, b"", False, receive)
    message = await receive()
    content = Content(head.length, message.get("body", b""), not message.get("more_body", False), receive)
    content.gone = message["type"] != "http.request"
    if unannounced and content.whole and not content.first and not content.gone:
        return None
    return content


async def reply(send: Send, answer: Response) -> None:
    """Send an answer of the gateway's own."""
    await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers]})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
