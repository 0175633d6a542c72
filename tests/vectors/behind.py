"""The reference application as a service on a socket of its own, and the gateway in front of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from gateway.upstream import Script, Talk, Upstream

from vectors.reference import Answer, Call, Crash, Reference, find
from vectors.servers import PATIENCE, PREFLIGHT, finished, is_preflight
from verbguard.gateway import Gateway

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


class Behind(Gateway):
    """A gateway that knows the server behind it."""

    def __init__(self, server: Upstream, **options: Any) -> None:
        super().__init__(server.url, **options)
        self.behind = server


def gateway(reference: Reference) -> Callable[..., Any]:
    """`reference.behind` holds options of the gateway, and `listening`: whether the service is up from the start."""
    options = dict(reference.behind)
    server = Upstream(listening=options.pop("listening", True), script=script(reference))
    return Behind(server, **options)


def script(reference: Reference) -> Script:
    """How the service answers a request; with `reference.hints` a 103 comes before every answer."""

    def serve(talk: Talk) -> None:
        answer = respond(reference, talk)
        if reference.hints:
            talk.send(HINT)
        bodiless = talk.seen.method == "HEAD" or answer.status in (204, 304)
        lines = [f"HTTP/1.1 {answer.status} Whatever", *(f"{name}: {value}" for name, value in answer.headers)]
        if not any(name == "content-length" for name, _ in answer.headers) and not bodiless:
            lines.append(f"content-length: {len(answer.body)}")
        talk.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if bodiless else answer.body))

    return serve


def respond(reference: Reference, talk: Talk) -> Answer:
    target, _, query = talk.seen.target.partition("?")
    path = unquote_to_bytes(target).decode()
    content = talk.read()
    if reference.cors and is_preflight(talk.seen.method, {name for name, _ in talk.seen.fields}):
        return PREFLIGHT
    found = find(talk.seen.method, path)
    if isinstance(found, Answer):
        return found
    row, params = found
    headers = tuple(talk.seen.fields)
    call = Call(method=talk.seen.method, path=path, query=query, headers=headers, body=content, params=params)
    run = reference.enter(row, call)
    if row.name in reference.holds:
        reference.opened.result(PATIENCE)
    try:
        return finished(reference, reference.perform(row, call, run), talk.seen.get("accept-encoding") or "")
    except Crash:
        return Answer(500, b"Internal Server Error")
