"""The demo's client: one connection, kept alive, that shows what really came over it."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import h11

PATIENCE = 20.0  # seconds: far beyond any answer of the demo, so that a server that died ends the demo too

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as the client saw it; status 0 when what came was not an answer, and its bytes as content."""

    status: int
    headers: Headers = ()
    content: bytes = b""

    def field(self, name: str) -> str | None:
        """The value of a header, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def members(self) -> dict[str, Any]:
        """The JSON object in the content, or an empty one."""
        try:
            value = json.loads(self.content)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class Connection:
    """One TCP connection; every `ask` is one request and its answer, in turn."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._http = h11.Connection(h11.CLIENT)
        self._came = b""  # since the last request was sent, and what an earlier answer had left over

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def ask(self, method: str, target: str, value: object = None, headers: Headers = ()) -> Answer:
        """Send one request, with a JSON body where there is a value, and wait for its answer."""
        content = b"" if value is None else json.dumps(value).encode()
        sent = [("host", "127.0.0.1"), *headers]
        if value is not None:
            sent += [("content-type", "application/json"), ("content-length", str(len(content)))]
        self._came = self._http.trailing_data[0]
        try:
            self._send(h11.Request(method=method, target=target, headers=sent))
            self._send(h11.Data(data=content))
            self._send(h11.EndOfMessage())
            return self._answer()
        except (h11.RemoteProtocolError, OSError):
            return Answer(0, content=self._came)

    def _send(self, event: Any) -> None:
        self._socket.sendall(self._http.send(event) or b"")

    def _answer(self) -> Answer:
        head = self._event()
        content = b""
        while isinstance(part := self._event(), h11.Data):
            content += bytes(part.data)
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers)
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return Answer(head.status_code, headers, content)

    def _event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = self._socket.recv(65536)
            self._came += data
            self._http.receive_data(data)
        return event
