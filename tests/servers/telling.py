"""What happened on a connection, in the words in which the matrix expects it.

405 put-no-collection [GET POST] close; end    the answer, its rule, its Allow, Connection: close; then the end
204; next 200                                  the answer; the request pipelined behind it was answered in step
205 7 bytes (Content-Length on 204)            content where none belongs, and faults of framing
200, 200 replayed; ran 1                       two answers, and how often the handler ran
"""

from __future__ import annotations

from collections.abc import Callable

from servers.processes import Running
from servers.wire import Answer, Broken, Connection, Ended, request


def tell(answer: Answer) -> str:
    words = [", ".join(map(str, (*answer.interim, answer.status)))]
    if answer.rule:
        words.append(answer.rule)
    elif answer.status >= 400:
        words.append("of the app" if answer.get("x-app") else "of the server")
    if answer.status == 405 or answer.get("allow"):
        words.append(f"[{' '.join(sorted(answer.members('allow')))}]")
    if answer.status == 201 and answer.get("location"):
        words.append("Location")
    if answer.status == 409 and not answer.get("retry-after"):
        words.append("without Retry-After")
    if answer.content and answer.status in (204, 205, 304):
        words.append(f"{len(answer.content)} bytes")
    words += ["replayed"] * answer.replayed + [f"({fault})" for fault in answer.faults] + ["close"] * answer.closes
    return " ".join(words)


def hear(connection: Connection, method: str = "GET") -> str:
    """The next answer in words."""
    try:
        return tell(connection.answer(method))
    except Ended:
        return "closed without an answer"
    except Broken as broken:
        return f"broken, {broken}"


def marker(guard: str) -> bytes:
    return request("GET", "/marker", x_guard=guard)


def following(connection: Connection) -> str:
    """Whether the marker behind a request was understood as one, and answered in step."""
    try:
        answer = connection.answer()
    except Ended:
        return "closed"
    except Broken as broken:
        return f"next lost, {broken}"
    return f"next {answer.status}" if answer.content == b"marker" else f"next is another answer, {tell(answer)}"


def ending(connection: Connection) -> str:
    """What follows `Connection: close`: nothing, whatever was sent behind the request."""
    try:
        rest = connection.rest()
    except Broken:
        return "left open"
    return f"then {rest[:40]!r}" if rest else "end"


def hear_to_the_end(connection: Connection, method: str = "GET", after: Callable[[Connection], str] = following) -> str:
    """An answer, and what became of the request that was sent behind its own."""
    words = hear(connection, method)
    if words.startswith(("closed", "broken")):
        return words
    return f"{words}; {ending(connection) if words.endswith(' close') else after(connection)}"


def ran(server: Running, method: str, path: str) -> int:
    """How often the handler of this method and path has run."""
    runs: int = server.ask(request("GET", f"/count/{method}{path}", x_guard="off")).json()
    return runs


def open_gate(server: Running, name: str) -> None:
    server.ask(request("GET", f"/open/{name}", x_guard="off"))


def reach_gate(server: Running, name: str) -> None:
    """Return when a handler stands at the gate: what a test waits for instead of sleeping."""
    assert server.ask(request("GET", f"/reached/{name}", x_guard="off")).status == 200, "no handler came to the gate"
