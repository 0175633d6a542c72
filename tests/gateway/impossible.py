"""What an ASGI server does not let a gateway do: the reason, and what happens there instead.

Each is asserted to happen, so that the day on which it becomes possible is a failed test. A server's name of "asgi" stands
for all of them: the interface itself has no place for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.cases import Case
from gateway.judge import Gets, Sees


@dataclass(frozen=True, slots=True, kw_only=True)
class Impossible:
    reason: str
    gets: Gets | None = None  # None: as in the case
    sees: Sees | None = None
    unseen: bool = False  # the upstream sees nothing


PARSER = "the parser answers, and the application is never asked"
OF_THE_SERVER = Gets(status=400, then="close")
FINE = Gets(status=200, content=b"fine")

# fmt: off
IMPOSSIBLE: dict[tuple[str, str], Impossible] = {
    ("asgi", "an empty query"): Impossible(
        reason="ASGI has no place for the question mark before nothing", sees=Sees(line="GET /x HTTP/1.1")),
    ("asgi", "a phrase of its own"): Impossible(
        reason="ASGI has no place for the phrase behind a status", gets=Gets(status=200, content=b"fine", phrase="OK")),
    ("hypercorn", "a phrase of its own"): Impossible(
        reason="hypercorn writes no phrase", gets=Gets(status=200, content=b"fine", phrase="")),
    ("asgi", "a chunked upload with trailers"): Impossible(
        reason="ASGI has no place for the trailers of a request", sees=Sees(content=b"abc", framing="chunked")),
    ("asgi", "the spelling of a name"): Impossible(
        reason="ASGI has names in lower case", sees=Sees(spelled="\r\nx-camelcase: 1\r\n")),
    ("asgi", "trailers"): Impossible(reason="aiohttp reads trailers and shows them to nobody", gets=FINE),
    ("uvicorn-httptools", "103 before the answer"): Impossible(reason="uvicorn has no message for interim answers", gets=FINE),
    ("uvicorn-h11", "103 before the answer"): Impossible(reason="uvicorn has no message for interim answers", gets=FINE),
    ("hypercorn", "103 before the answer"): Impossible(reason="hypercorn sends 103 by HTTP/2 only: test_http2.py", gets=FINE),
    ("uvicorn-httptools", "Upgrade to what nobody speaks"): Impossible(
        reason="after Upgrade nothing more is read from the connection", gets=Gets(status=200, content=b"fine", then="end")),
    ("uvicorn-httptools", "a whole URL of an evil host"): Impossible(
        reason="the server hands on the path, and nothing of the authority", gets=FINE,
        sees=Sees(line="GET /x HTTP/1.1", fields={"host": "api.example"})),
    ("uvicorn-httptools", "a whole URL of an evil host, to write"): Impossible(
        reason="the server hands on the path, and nothing of the authority", gets=FINE,
        sees=Sees(line="PUT /items/1 HTTP/1.1", content=b"a=1&b=2", fields={"host": "api.example"})),
    ("uvicorn-httptools", "FOO on what nobody knows"): Impossible(reason=PARSER, gets=OF_THE_SERVER, unseen=True),
    ("uvicorn-httptools", "FOO on what a policy knows"): Impossible(reason=PARSER, gets=OF_THE_SERVER),
    ("uvicorn-httptools", "CONNECT"): Impossible(reason=PARSER, gets=OF_THE_SERVER),
}


def impossible(server: str, case: Case) -> Impossible | None:
    return IMPOSSIBLE.get((server, case.name)) or IMPOSSIBLE.get(("asgi", case.name))
