"""HTTP/1.1 over a socket, byte for byte: what a client and the proxy before it would have to make of the answer.

Two kinds of wrong are told apart. A *fault* breaks a rule but can be read past (`Content-Length` on a 204);
`Broken` means that the next answer on this connection is lost.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

PATIENCE = 8.0  # seconds until a silent server is called stuck; no test waits that long for a right answer

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([0-9]{3}) ([\t \x21-\x7e\x80-\xff]*)")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(;.*)?")


class Broken(Exception):
    """The bytes on the connection are not the answer that RFC 9112 frames here."""


class Ended(Broken):
    """The server closed the connection where an answer could have begun."""


@dataclass(frozen=True, slots=True)
class Head:
    status: int
    headers: tuple[tuple[str, str], ...]
    faults: tuple[str, ...] = ()
    phrase: str = ""

    def all(self, name: str) -> list[str]:
        return [value for field, value in self.headers if field == name.lower()]

    def get(self, name: str) -> str | None:
        """The field's one value; two lines of a field that has one value are a bug wherever they come from."""
        values = self.all(name)
        if len(values) > 1:
            raise Broken(f"{name} appears {len(values)} times: {values}")
        return values[0] if values else None

    def members(self, name: str) -> set[str]:
        """The members of a list field (Allow, Connection), however many lines carry it."""
        return {member.strip() for value in self.all(name) for member in value.split(",") if member.strip()}

    @property
    def closes(self) -> bool:
        return "close" in {member.lower() for member in self.members("connection")}


@dataclass(frozen=True, slots=True)
class Answer(Head):
    content: bytes = b""
    interim: tuple[int, ...] = ()
    trailers: tuple[tuple[str, str], ...] = ()

    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def rule(self) -> str | None:
        """The rule id of a problem document, None for any other content."""
        return self.json().get("rule") if self.get("content-type") == "application/problem+json" else None

    @property
    def replayed(self) -> bool:
        return self.get("idempotent-replayed") == "true"


def request(
    method: str,
    target: str,
    content: bytes | None = None,
    *,
    chunks: Iterable[bytes] | None = None,
    **headers: str,
) -> bytes:
    """A request as bytes. `if_match="x"` spells the field If-Match; `chunks` sends the content in chunked coding."""
    fields = {"Host": "api.example"} | {name.replace("_", "-").title(): value for name, value in headers.items()}
    if chunks is not None:
        fields["Transfer-Encoding"] = "chunked"
        content = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    elif content is not None:
        fields.setdefault("Content-Length", str(len(content)))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (content or b"")


class Connection:
    """One connection: what is sent, and the answers in order."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ahead = b""
        self._head: Head | None = None
        self._trailers: tuple[tuple[str, str], ...] = ()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Connection:
        # A server may close while the content of a refused request is still on its way: that is its right
        # (RFC 9112 9.6), and what it answered before is still to be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)
        return self

    def answer(self, method: str = "GET") -> Answer:
        """The next final answer with all of its content, and the interim ones before it."""
        interim: list[int] = []
        while (head := self.head()).status // 100 == 1 and head.status != 101:
            interim.append(head.status)
        content = b"".join(self.pieces(head, method))
        faults = head.faults + _framing_faults(head, method)
        return Answer(
            head.status,
            head.headers,
            faults,
            phrase=head.phrase,
            content=content,
            interim=tuple(interim),
            trailers=self._trailers,
        )

    def begun(self) -> None:
        """Return when something of the next answer is here, or the end."""
        if not self._ahead:
            with suppress(Broken):
                self._fill()

    def invited(self) -> bool:
        """Whether the server says 100 before its answer, so that content kept back may follow."""
        head = self.head()
        if head.status != 100:
            self._head = head
        return head.status == 100

    def head(self) -> Head:
        if self._head:
            head, self._head = self._head, None
            return head
        start = self._line(first=True)
        if not (match := STATUS_LINE.fullmatch(start)):
            raise Broken(f"not a status line: {start[:40]!r}")
        return Head(int(match[2]), tuple(self._fields()), phrase=match[3].decode("latin-1"))

    def pieces(self, head: Head, method: str = "GET") -> Iterator[bytes]:
        """The content as it arrives: chunk by chunk, or read by read."""
        self._trailers = ()
        if method == "HEAD" or head.status // 100 == 1 or head.status in (204, 304):
            return
        if coding := head.get("transfer-encoding"):
            if coding.lower() != "chunked":
                raise Broken(f"Transfer-Encoding: {coding}")
            yield from self._chunks()
        elif (length := head.get("content-length")) is not None:
            yield from self._counted(length)
        else:
            yield from self._until_end()

    def give_up(self) -> Connection:
        """Say that nothing more will be sent, as a client does that stops its upload."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        return self

    def rest(self) -> bytes:
        """All that comes until the server closes; a reset after a refused upload is a close too."""
        return b"".join(self._until_end())

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = self._line()
            if not (match := CHUNK_SIZE.fullmatch(line)):
                raise Broken(f"not a chunk size: {line[:40]!r}")
            if not (size := int(match[1], 16)):
                self._trailers = tuple(self._fields())
                return
            yield self._exactly(size)
            if end := self._line():
                raise Broken(f"a chunk of {size} bytes goes on: {end[:40]!r}")

    def _counted(self, length: str) -> Iterator[bytes]:
        if not re.fullmatch("[0-9]+", length):
            raise Broken(f"Content-Length: {length}")
        left = int(length)
        while left:
            yield (piece := self._some(left))
            left -= len(piece)

    def _until_end(self) -> Iterator[bytes]:
        while True:
            try:
                yield self._some(65536)
            except Ended:
                return

    def _fields(self) -> Iterator[tuple[str, str]]:
        while line := self._line():
            if not (match := FIELD_LINE.fullmatch(line)):
                raise Broken(f"not a field line: {line[:60]!r}")
            yield match[1].decode("ascii").lower(), match[2].decode("latin-1")

    def _line(self, *, first: bool = False) -> bytes:
        while b"\n" not in self._ahead:
            try:
                self._fill()
            except Ended as end:
                if first and not self._ahead:
                    raise
                raise Broken(f"cut off after {self._ahead[-40:]!r}") from end
        line, _, self._ahead = self._ahead.partition(b"\n")
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise Broken(f"a line that does not end in CR LF: {line[:60]!r}")
        return line[:-1]

    def _exactly(self, size: int) -> bytes:
        while len(self._ahead) < size:
            try:
                self._fill()
            except Ended as end:
                raise Broken(f"cut off {size - len(self._ahead)} bytes before the end") from end
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _some(self, most: int) -> bytes:
        if not self._ahead:
            self._fill()
        data, self._ahead = self._ahead[:most], self._ahead[most:]
        return data

    def _fill(self) -> None:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        except TimeoutError:
            raise Broken(f"silent after {self._ahead[-40:]!r}") from None
        if not data:
            raise Ended("closed by the server")
        self._ahead += data


def _framing_faults(head: Head, method: str) -> tuple[str, ...]:
    """Fields that frame content where RFC 9110 8.6 and RFC 9112 6.1 allow none."""
    bodiless = head.status // 100 == 1 or head.status == 204
    faults = [f"{name} on {head.status}" for name in ("Content-Length", "Transfer-Encoding") if bodiless and head.all(name)]
    if head.status == 304 and head.all("content-length"):
        # Legal only with the length a 200 would have had; an application that sends content with it was not asked.
        faults.append("Content-Length on 304")
    if head.all("content-length") and head.all("transfer-encoding"):
        faults.append("Content-Length beside Transfer-Encoding")
    if method == "CONNECT" and head.status // 100 == 2:
        faults.append("a tunnel was promised")
    return tuple(faults)
