"""The conversations of the matrix: each is played on a server and tells what happened (`telling`).

`guard` is who answers: "guard", "strict", or "off" for the bare application.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import count

from servers.processes import Running
from servers.telling import ending, following, hear, hear_to_the_end, marker, open_gate, ran, reach_gate, tell
from servers.wire import Answer, Connection, Ended, request

Play = Callable[[Running, str], str]

MUCH = 200_000  # bytes of content: more than any server takes in beside the head of a request
TWINS = 20
_numbers = count(1)


def fresh() -> str:
    """A name that no other conversation of this session has used."""
    return f"n{next(_numbers)}"


def fresh_key() -> str:
    """As the draft spells it: the strict profile takes no other spelling."""
    return f'"{fresh()}"'


# -- one request, and another one pipelined behind it ------------------------------------------------------------------


def once(method: str, target: str, content: bytes | None = None, **headers: str) -> Play:
    """The framing of the first answer decides what becomes of the second."""

    def play(server: Running, guard: str) -> str:
        with server.connect() as connection:
            connection.send(request(method, target, content, x_guard=guard, **headers) + marker(guard))
            return hear_to_the_end(connection, method)

    return play


def spelled(data: bytes, old: bytes, new: bytes) -> Play:
    """A request that no client library writes, and another one pipelined behind it."""

    def play(server: Running, guard: str) -> str:
        profile = b"X-Guard: " + guard.encode() + b"\r\n"
        sent = data.replace(old, new, 1).replace(b"\r\n\r\n", b"\r\n" + profile + b"\r\n", 1)
        with server.connect() as connection:
            connection.send(sent + marker(guard))
            return hear_to_the_end(connection, data.partition(b" ")[0].decode())

    return play


def to_http10(target: str) -> Play:
    """A client of HTTP/1.0 hears the final answer and the end, and no interim one."""

    def play(server: Running, guard: str) -> str:
        with server.connect() as connection:
            connection.send(request("GET", target, x_guard=guard).replace(b" HTTP/1.1", b" HTTP/1.0", 1))
            return f"{hear(connection).removesuffix(' close')}; {ending(connection)}"

    return play


def counting(method: str, path: str, play: Play) -> Play:
    """The same, and how often the handler of `path` ran meanwhile."""

    def play_and_count(server: Running, guard: str) -> str:
        before = ran(server, method, path)
        return f"{play(server, guard)}; ran {ran(server, method, path) - before}"

    return play_and_count


def head_like_get(server: Running, guard: str) -> str:
    """HEAD says the length of GET's content or none, never another one."""
    with server.connect() as connection:
        length = connection.send(request("GET", "/items/1", x_guard=guard)).answer().get("content-length")
        connection.send(request("HEAD", "/items/1", x_guard=guard) + marker(guard))
        head = connection.answer("HEAD")
        same = "as GET" if head.get("content-length") in (None, length) else "another length than GET"
        return f"{tell(head)} {same}; {following(connection)}"


def lean_304(server: Running, guard: str) -> str:
    """RFC 9110 15.4.5: a 304 keeps its validators and leaves out what describes content."""
    with server.connect() as connection:
        connection.send(request("GET", "/echo/304", x_guard=guard, if_none_match='"v1"') + marker(guard))
        answer, words = connection.answer(), ["304"]
        words += [name for name in ("etag", "content-type", "content-length") if answer.get(name)]
        after = ending(connection) if answer.closes else following(connection)
        return f"{' '.join(words)}{' close' * answer.closes}; {after}"


def pipelined(server: Running, guard: str) -> str:
    """Refusals of every kind, one behind the other, on a connection that goes on."""
    keys = {"idempotency_key": '"a", "b"', "x_guard": guard}
    with server.connect() as connection:
        connection.send(
            request("PUT", "/items", b"{}", x_guard=guard)
            + request("POST", "/items", b"{}", **keys)
            + request("PUT", "/items/1", b"{}", content_range="bytes 0-1/9", x_guard=guard)
            + marker(guard)
        )
        answers = [hear(connection, method) for method in ("PUT", "POST", "PUT")]
        return f"{', '.join(answers)}; {following(connection)}"


# -- content that is still to come -------------------------------------------------------------------------------------


def sends_all(server: Running, guard: str) -> bool:
    """Whether an answer waits for the content: the bare application reads it, and some servers do before any."""
    return guard == "off" or server.server.reads_first


def expecting(target: str, content: bytes, *, refused: bool = False) -> Play:
    """`Expect: 100-continue`: the content is kept back until a 100 asks for it, and for good where it is refused."""

    def play(server: Running, guard: str) -> str:
        expect = {"expect": "100-continue", "content_length": str(len(content)), "x_guard": guard}
        with server.connect() as connection:
            connection.send(request("PUT", target, **expect))
            invited = "100, " if connection.invited() else ""
            if refused and not (invited and sends_all(server, guard)):
                return invited + _refused_unread(server, connection)
            return invited + hear_to_the_end(connection.send(content + marker(guard)), "PUT")

    return play


def withheld(*, chunked: bool) -> Play:
    """A PUT to a collection whose content is announced, or begun in chunked coding, and not sent to its end."""

    def play(server: Running, guard: str) -> str:
        content = {"chunks": [b"x" * MUCH]} if chunked else {"content": b"x" * MUCH}
        whole = request("PUT", "/items", x_guard=guard, **content)
        with server.connect() as connection:
            if sends_all(server, guard):
                return hear_to_the_end(connection.send(whole + marker(guard)), "PUT")
            return _refused_unread(server, connection.send(whole[:-MUCH]))

    return play


def _refused_unread(server: Running, connection: Connection) -> str:
    """The answer to an upload that is not sent on, and the end of the connection."""
    words = hear(connection, "PUT")
    if server.server.interface == "asgi" and words.endswith(" close"):
        return f"{words}; {ending(connection)}"
    # PEP 3333 leaves Connection to the server, which says close or does not as its own timing has it: what counts is
    # that the connection ends when the client, which has no use for its upload any more, gives up.
    return f"{words.removesuffix(' close')}; given up, {ending(connection.give_up())}"


def smuggled(server: Running, guard: str) -> str:
    """A PUT to a collection whose content, sent to the last byte, reads like requests: none of it may be answered."""
    inside = marker(guard)
    content = inside * (MUCH // len(inside))
    with server.connect() as connection:
        connection.send(request("PUT", "/items", content, x_guard=guard) + request("GET", "/items", x_guard=guard))
        words = hear(connection, "PUT").removesuffix(" close")  # said or not: whoever has read the content may go on
        try:
            second = connection.answer()
        except Ended:
            return f"{words}; closed"
        return f"{words}; {'next is from inside the content' if second.content == b'marker' else f'next {second.status}'}"


def cut_off(method: str, *, key: bool) -> Play:
    """An upload that ends in its middle, with the connection, is not an upload; the retry is the first whole one."""

    def play(server: Running, guard: str) -> str:
        path = "/items" if key else f"/items/{fresh()}"
        before = ran(server, method, path)
        headers = {"x_guard": guard} | ({"idempotency_key": fresh_key()} if key else {})
        whole = request(method, path, b"0123456789", **headers)
        with server.connect() as connection:
            connection.send(whole[:-6])
        ran(server, method, path)  # a round trip after the close, so that the server has seen it
        answer = server.ask(whole)
        return f"retry {tell(answer)}; ran {ran(server, method, path) - before}"

    return play


# -- the same upload twice ---------------------------------------------------------------------------------------------


def repeated(*sendings: tuple[bytes, ...] | bytes, key: bool) -> Play:
    """Uploads on one connection, POST with a key or PUT without: a tuple goes as those chunks, bytes in one piece."""

    def play(server: Running, guard: str) -> str:
        method, path = ("POST", "/items") if key else ("PUT", f"/items/{fresh()}")
        headers = {"x_guard": guard, "content_type": "text/plain"} | ({"idempotency_key": fresh_key()} if key else {})
        before = ran(server, method, path)
        with server.connect() as connection:
            told = [hear(connection.send(_upload(method, path, each, headers)), method) for each in sendings]
            after = following(connection.send(marker(guard)))
        return f"{', '.join(told)}; ran {ran(server, method, path) - before}; {after}"

    return play


def _upload(method: str, path: str, sending: tuple[bytes, ...] | bytes, headers: dict[str, str]) -> bytes:
    if isinstance(sending, bytes):
        return request(method, path, sending, **headers)
    return request(method, path, chunks=sending, **headers)


# -- handlers that take their time -------------------------------------------------------------------------------------


def streaming(method: str, **headers: str) -> Play:
    """The first chunk arrives while the handler waits for the second to be asked for, by another request."""

    def play(server: Running, guard: str) -> str:
        name = fresh()
        with server.connect() as connection:
            connection.send(request(method, f"/stream/{name}", x_guard=guard, **_numbered(headers)))
            pieces = connection.pieces(head := connection.head(), method)
            first = next(pieces)
            open_gate(server, name)
            words = f"{head.status} {first.decode()} | {b''.join(pieces).decode()}"
            after = ending(connection) if head.closes else following(connection.send(marker(guard)))
            return f"{words}{' close' * head.closes}; {after}"

    return play


def _numbered(headers: dict[str, str]) -> dict[str, str]:
    return {name: value.format(fresh_key=fresh_key()) for name, value in headers.items()}


def disconnected(server: Running, guard: str) -> str:
    """The client goes while the handler runs; the handler ends, and a retry gets its answer."""
    name = fresh()
    post = _keyed("POST", f"/slow/{name}", guard)
    with server.connect() as connection:
        connection.send(post)
        reach_gate(server, name)
    ran(server, "POST", f"/slow/{name}")  # a round trip after the close, so that the server has seen it
    open_gate(server, name)
    return f"retry {tell(_until_settled(server, post))}; ran {ran(server, 'POST', f'/slow/{name}')}"


def left_midway(server: Running, guard: str) -> str:
    """The client goes in the middle of a streamed answer; the handler comes to its end, and a retry gets all of it."""
    name = fresh()
    post = _keyed("POST", f"/stream/{name}", guard)
    with server.connect() as connection:
        next(connection.send(post).pieces(connection.head()))
    ran(server, "POST", f"/stream/{name}")  # a round trip after the close, so that the server has seen it
    open_gate(server, name)
    answer = _until_settled(server, post)
    return f"retry {tell(answer)} {answer.content.decode()}; ran {ran(server, 'POST', f'/stream/{name}')}"


def _until_settled(server: Running, data: bytes) -> Answer:
    """Retry while the first attempt is in flight, as its Retry-After invites; the handler is past its gate."""
    for _ in range(2000):
        if (answer := server.ask(data)).status != 409:
            break
    return answer


def _keyed(method: str, path: str, guard: str) -> bytes:
    return request(method, path, b"{}", content_type="application/json", idempotency_key=fresh_key(), x_guard=guard)


def in_flight(server: Running, guard: str) -> str:
    """A retry while the first attempt runs, and one after."""
    name = fresh()
    path, post = f"/slow/{name}", _keyed("POST", f"/slow/{name}", guard)
    with server.connect() as first, server.connect() as second:
        first.send(post)
        reach_gate(server, name)
        second.send(post)
        if guard == "off":  # nobody refuses the second one: it stands at the gate as well
            open_gate(server, name)
        meanwhile = hear(second, "POST")
        open_gate(server, name)
        told = [hear(first, "POST"), meanwhile, hear(second.send(post), "POST")]
        return f"{', '.join(told)}; ran {ran(server, 'POST', path)}; {following(second.send(marker(guard)))}"


def at_once(method: str, prefix: str, twins: int, *, key: bool) -> Play:
    """Equal requests on as many connections, all sent before the handler may end."""

    def play(server: Running, guard: str) -> str:
        name = fresh()
        path = f"/{prefix}/{name}"
        data = _keyed(method, path, guard) if key else request(method, path, b"{}", x_guard=guard)
        with ExitStack() as stack:
            connections = [stack.enter_context(server.connect()).send(data) for _ in range(twins)]
            reach_gate(server, name)
            open_gate(server, name)
            answers = [connection.answer(method) for connection in connections]
        again = tell(server.ask(data))
        return f"{_sorted_out(answers)}; again {again}; ran {ran(server, method, path)}"

    return play


def _sorted_out(answers: Iterable[Answer]) -> str:
    """How many ran, and how many were told so: by a replay or, while the first was in flight, by a 409."""
    kinds = [_kind(answer) for answer in answers]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))


def _kind(answer: Answer) -> str:
    in_flight = answer.status == 409 and answer.rule == "idem-key-inflight-409" and answer.get("retry-after")
    if answer.status == 200 and not answer.replayed:
        return "answered"
    return "spared" if in_flight or (answer.status == 200 and answer.replayed) else tell(answer)
