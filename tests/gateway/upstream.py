"""An upstream on a raw socket: it answers what a test scripts, byte for byte, and keeps every byte that it received.

A request says by `X-Case` which script answers it; the gateway must hand that field on as any other. A script is a
function of the `Talk`, or just the bytes of an answer.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

PATIENCE = 20.0  # seconds until a peer that says nothing is given up; no right conversation waits that long

Fields = list[tuple[str, str]]


class Hangup(Exception):
    """The connection is over; ends the script that meets it."""


@dataclass(slots=True)
class Seen:
    """One request as it arrived: its bytes, and what they mean."""

    connection: int
    head: bytes
    content: bytes = b""
    coded: bytes = b""  # the content with its transfer coding
    trailers: Fields = field(default_factory=list)
    complete: bool = False

    @property
    def line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode("latin-1")

    @property
    def method(self) -> str:
        return self.line.partition(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    @property
    def fields(self) -> Fields:
        """The field lines in order, names in lower case."""
        return parsed(self.head)

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.fields if found == name]

    def get(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)


def parsed(head: bytes) -> Fields:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return [(name.lower(), value.strip(" \t")) for name, _, value in pairs]


class Part:
    """One script, what came for it, and the gates at which the test and the script wait for each other."""

    def __init__(self, name: str, script: Script) -> None:
        self.name = name
        self.script = script
        self.seen: list[Seen] = []
        self.reached, self.opened, self.left = threading.Event(), threading.Event(), threading.Event()

    @property
    def only(self) -> Seen:
        """The one request that came."""
        assert len(self.seen) == 1, f"expected one request upstream, got {[seen.line for seen in self.seen]}"
        return self.seen[0]

    def wait(self, event: threading.Event) -> None:
        assert event.wait(PATIENCE), "nothing happened upstream"


class Talk:
    """One request on a connection, and the script's side of the answer."""

    def __init__(self, line: Line, seen: Seen, part: Part) -> None:
        self._line, self.seen, self.part = line, seen, part
        self.round = len(part.seen)  # 1 for the first request of this script, 2 for the next

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._line.send(piece)

    def read(self) -> bytes:
        """The content of the request, to its end."""
        self._line.content(self.seen)
        return self.seen.content

    def some(self) -> bytes:
        """What has arrived of the content so far, at least one byte, as it stands on the wire."""
        return self._line.some()

    def pause(self) -> None:
        """Tell the test that the script is here, and go on when it says so."""
        self.part.reached.set()
        if not self.part.opened.wait(PATIENCE):
            raise Hangup

    def until_left(self) -> None:
        """Wait for the gateway to close the connection, and tell the test."""
        self.part.reached.set()
        self._line.until_end()
        self.part.left.set()
        raise Hangup

    def close_after(self, answer: bytes) -> None:
        """This answer, the rest of the request, and the end."""
        self.send(answer)
        self.rest()
        self.close()

    def pours(self, size: int) -> bool:
        """Whether the other side stops taking zeros before it has this many."""
        return self._line.pours(size)

    def until_left_unread(self) -> None:
        """Read nothing until the test says so, or the gateway leaves."""
        self.pause()
        self.close()

    def rest(self) -> None:
        """Say that nothing more will be said, and take what still comes: an end that is no reset (RFC 9112 9.6)."""
        self._line.rest()

    def close(self) -> None:
        """The ordinary end of a connection."""
        raise Hangup

    def reset(self) -> None:
        """The end that a crash makes: RST, and what is on its way may be lost."""
        self._line.reset()
        raise Hangup

    def raw(self) -> socket.socket:
        """The socket, for what speaks no HTTP any longer."""
        return self._line.socket


Script = Callable[[Talk], None] | bytes


def answer(script: Script, talk: Talk) -> None:
    if isinstance(script, bytes):
        talk.read()
        talk.send(script)
        if ends(script, talk.seen.method):
            raise Hangup
    else:
        script(talk)


def ends(answered: bytes, method: str) -> bool:
    """Whether an answer in bytes is framed by the end of the connection, or announces it."""
    head = final(answered).partition(b"\r\n\r\n")[0]
    names = dict(parsed(head))
    if "close" in names.get("connection", "").lower() or head.startswith(b"HTTP/1.0"):
        return True
    bodiless = method == "HEAD" or head.split(b" ")[1:2] in ([b"204"], [b"304"])
    return not bodiless and "content-length" not in names and "transfer-encoding" not in names


def final(answered: bytes) -> bytes:
    """The answer without the interim ones before it."""
    while answered[9:10] == b"1" and answered[9:12] != b"101":
        answered = answered.partition(b"\r\n\r\n")[2]
    return answered


class Line:
    """One connection of the upstream."""

    def __init__(self, accepted: socket.socket, number: int) -> None:
        self.socket, self.number = accepted, number
        self._ahead = b""
        accepted.settimeout(PATIENCE)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError:
            raise Hangup from None

    def some(self) -> bytes:
        if not self._ahead:
            self._fill()
        data, self._ahead = self._ahead, b""
        return data

    def head(self) -> Seen:
        return Seen(self.number, self._until(b"\r\n\r\n"))

    def content(self, seen: Seen) -> None:
        if seen.complete:
            return
        if "chunked" in (seen.get("transfer-encoding") or "").lower():
            self._chunks(seen)
        else:
            seen.content = seen.coded = self._exactly(int(seen.get("content-length") or 0))
        seen.complete = True

    def _chunks(self, seen: Seen) -> None:
        while True:
            line = self._until(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            if not size:
                break
            piece = self._exactly(size + 2)
            seen.content += piece[:-2]
            seen.coded += line + piece
        trailers = self._until(b"\r\n")
        while not trailers.endswith(b"\r\n\r\n") and trailers != b"\r\n":
            trailers += self._until(b"\r\n")
        seen.trailers = parsed(b"\r\n" + trailers)
        seen.coded += line + trailers

    def until_end(self) -> None:
        with suppress(Hangup):
            while True:
                self._fill()

    def pours(self, size: int) -> bool:
        return pours(self.socket, size)

    def rest(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        self.until_end()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        self.socket.close()

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._ahead:
            self._fill()
        end = self._ahead.index(mark) + len(mark)
        data, self._ahead = self._ahead[:end], self._ahead[end:]
        return data

    def _exactly(self, size: int) -> bytes:
        while len(self._ahead) < size:
            self._fill()
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _fill(self) -> None:
        try:
            data = self.socket.recv(65536)
        except OSError:
            raise Hangup from None
        if not data:
            raise Hangup
        self._ahead += data


STILL = 2.0  # seconds without any progress that count as standing still


def pours(into: socket.socket, size: int) -> bool:
    """Whether a peer stops taking zeros before it has this many; one that takes them all was waited for in vain."""
    into.settimeout(STILL)
    piece = bytes(1 << 20)
    try:
        for _ in range(0, size, len(piece)):
            into.sendall(piece)
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


ORDINARY = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\nordinary"


class Upstream:
    """The server: a thread for each connection, a script for each case."""

    def __init__(self, listening: bool = True, script: Script | None = None) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.accepted = 0  # connections since the start
        self.strays = Part("", script or ORDINARY)  # what came and named no case
        self._parts: dict[str, Part] = {}
        self._numbers = count(1)
        self._lines: set[Line] = set()
        if listening:
            self.listen()

    def listen(self) -> None:
        """From now on connections are taken; before, they are refused."""
        self._socket.listen(128)
        threading.Thread(target=self._accept, daemon=True, name="upstream").start()

    def plays(self, script: Script) -> Part:
        """A script under a name that no other test has."""
        part = Part(f"c{next(self._numbers)}", script)
        self._parts[part.name] = part
        return part

    @property
    def open(self) -> int:
        """Connections that stand now."""
        return len(self._lines)

    def hang_up(self) -> None:
        """Close every connection, as a server does that restarts."""
        for line in list(self._lines):
            with suppress(OSError):
                line.socket.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            line = Line(accepted, self.accepted)
            self._lines.add(line)
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: Line) -> None:
        try:
            while True:
                seen = line.head()
                part = self._parts.get(seen.get("x-case") or "", self.strays)
                part.seen.append(seen)
                answer(part.script, Talk(line, seen, part))
        except Hangup:
            pass
        finally:
            line.close()
            self._lines.discard(line)
