"""The numbered conformance vectors, run as conversations with the reference application.

`VECTORS` holds them all; `REQUIRED` the numbers this suite owes; `ELSEWHERE` what of them no process can see of itself.
"""

from __future__ import annotations

from vectors import framing, gateway, keyed, keyless, methods, post, put, query, requests, results
from vectors.conversation import Vector

VECTORS: list[Vector] = [
    *methods.VECTORS,
    *requests.VECTORS,
    *put.VECTORS,
    *post.VECTORS,
    *query.VECTORS,
    *framing.VECTORS,
    *keyed.VECTORS,
    *results.VECTORS,
    *keyless.VECTORS,
    *gateway.VECTORS,
]


def numbers(text: str) -> list[int]:
    """`"1-3 7"` is 1, 2, 3, 7."""
    spans = [part.partition("-") for part in text.split()]
    return [number for first, _, last in spans for number in range(int(first), int(last or first) + 1)]


REQUIRED = numbers("1-66 68-82 84-91 93-97 99-112")
OF_GATEWAYS = {63, 110, 111, 112}
ELSEWHERE = {
    13: "the servers that answer two Host lines themselves are named in the server matrix",
    14: "the servers that show no whole URL are named in the server matrix",
    18: "the servers that answer themselves are named in the server matrix",
    22: "that no 100 (Continue) precedes the refusal is seen on a socket, in the server matrix",
    51: "that the next answer on the connection parses is seen on a socket, in the server matrix",
}
