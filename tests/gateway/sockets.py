"""A WebSocket server inside an upstream's script, and the frames of it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

from gateway.client import said
from gateway.upstream import Hangup, Talk

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3


def echo(talk: Talk) -> None:
    """Every message comes back, and so does the reason to close; `close` as a text closes from this side."""
    agree(talk)
    connection = Connection(ConnectionType.SERVER)
    for event in events(talk, connection):
        if isinstance(event, CloseConnection):
            talk.part.left.set()
            talk.send(connection.send(event.response()))
            talk.close()
        elif isinstance(event, Ping):
            talk.send(connection.send(event.response()))
        elif isinstance(event, TextMessage) and event.data == "close":
            talk.send(connection.send(CloseConnection(code=4001, reason="as you say")))
        elif isinstance(event, (TextMessage, BytesMessage)):
            talk.send(connection.send(event))


def agree(talk: Talk) -> None:
    key = (talk.seen.get("sec-websocket-key") or "").encode()
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
    offered = (talk.seen.get("sec-websocket-protocol") or "").split(",")[0].strip()
    chosen = [f"Sec-WebSocket-Protocol: {offered}"] if offered else []
    fields = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}", "X-Agreed: 1", *chosen)
    talk.send(said("101 Switching Protocols", *fields))


def events(talk: Talk, connection: Connection) -> Iterator[Event]:
    while True:
        try:
            connection.receive_data(talk.some())
        except Hangup:
            talk.part.left.set()
            raise
        yield from connection.events()
