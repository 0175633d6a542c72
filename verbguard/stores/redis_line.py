"""One connection to Redis for many coroutines: a command is sent when it is asked for, behind those that are on their way.

The client library makes the connection: it finds the server, encrypts, authenticates. Then its stream is ours: the library
sends and reads for one caller at a time, and waits anew for each, at half the price of the round trip itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from verbguard.errors import StoreError
from verbguard.stores.asked import Asked
from verbguard.stores.redis_commands import Call

parser: Any
try:
    import hiredis as parser
except ImportError:  # redis-py works without
    parser = None

__all__ = ["CLOSED", "Line", "evalsha", "failed", "line_over"]

CLOSED = "the server closed the connection"

# Times the limit that a question waits for its turn: with the store's own limit, as long as a guard waits for other stores.
_QUEUED = 3
_NOT_ALL = object()  # what the parser says to the beginning of an answer


def evalsha(call: Call, *, source: bool = False) -> tuple[Any, ...]:
    """The command that runs a script: by its digest, or by its source, after which the digest will do."""
    script, arguments = call
    return ("EVAL", script.source, *arguments) if source else ("EVALSHA", script.sha, *arguments)


def failed(error: BaseException) -> StoreError:
    """What went wrong with a client, as what a store raises."""
    raised = StoreError(f"Redis: {str(error) or type(error).__name__}")
    raised.__cause__ = error
    return raised


class Line(asyncio.Protocol):
    """`ended` hears when it can be used no more, with what was on its way and why: None says that the server closed it.

    A connection that owes answers and has been silent for `limit` seconds is given up, with all that is on its way. In a long
    queue, of a server that answers without a pause, the last ones may wait three times as long, and then fail alone.
    """

    def __init__(
        self,
        connection: Any,
        transport: asyncio.Transport,
        limit: float,
        ended: Callable[[Line, list[Asked], BaseException | None], None],
    ) -> None:
        self.connection = connection
        self.flight: deque[Asked] = deque()
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._ended = ended
        self._reader = parser.Reader(notEnoughData=_NOT_ALL, replyError=ResponseError)
        self._pack = parser.pack_command
        self._behind: list[bytes] = []  # what goes out together when the loop has run through
        self._timer: asyncio.TimerHandle | None = None
        self._transport = transport
        self._before: Any = transport.get_protocol()
        self._over = False
        self._idle: float = getattr(connection, "health_check_interval", 0) or float("inf")
        self._heard = self._loop.time()  # when the server last said something, or began to owe an answer
        transport.set_protocol(self)

    def stale(self) -> bool:
        """Whether the client would look, after such a pause, if the connection is still there."""
        return not self.flight and self._loop.time() - self._heard > self._idle

    def ask(self, call: Call, read: Callable[[Any], Any]) -> Asked:
        """Send a script, whose answer may be StoreError."""
        asked = Asked(call, read, self._loop)
        self.send(asked)
        return asked

    def send(self, asked: Asked, *, source: bool = False) -> None:
        """Send it, behind what is on its way."""
        if self._over:
            asked.fail(failed(ConnectionError(CLOSED)))
            return
        command = self._pack(evalsha(asked.question, source=source))
        if not self.flight:
            self._transport.write(command)
            self._heard = self._loop.time()
        else:  # the server is at work: what is asked until the loop has run through is one message
            if not self._behind:
                self._loop.call_soon(self._flush)
            self._behind.append(command)
        self.flight.append(asked)
        if self._timer is None:
            self._timer = self._loop.call_later(self._limit, self._overdue)

    def _flush(self) -> None:
        behind, self._behind = self._behind, []
        if len(behind) == len(self.flight):  # it was owed nothing before
            self._heard = self._loop.time()
        if not self._over:
            self._transport.write(b"".join(behind))

    def data_received(self, data: bytes) -> None:
        """The server has answered."""
        reader, flight = self._reader, self.flight
        self._heard = self._loop.time()
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOT_ALL:
                kind = type(reply)
                if kind is parser.PushNotification:  # news of the server, which nobody here has asked for
                    continue
                asked = flight.popleft()
                if kind is ResponseError:
                    self._refused(asked, reply)
                else:
                    asked.tell(reply)
        except Exception as error:
            self.end(error)

    def _refused(self, asked: Asked, reply: Exception) -> None:
        said = str(reply)
        if said.startswith("NOSCRIPT"):  # the server was restarted, or another has taken over
            self.send(asked, source=True)
        elif said.startswith("READONLY") and not asked.again:  # another is the master now
            self.flight.appendleft(asked)
            self.end(None)
        else:
            asked.fail(failed(reply))

    def _overdue(self) -> None:
        self._timer = None
        if not self.flight:
            return
        now = self._loop.time()
        if now - self._heard >= self._limit:
            return self.end(TimeoutError(f"the server has said nothing for {self._limit:g} s"))
        patience = _QUEUED * self._limit
        for asked in self.flight:
            if now - asked.began < patience:
                break
            asked.fail(failed(TimeoutError(f"the server has not come to it for {patience:g} s")))
        self._timer = self._loop.call_later(self._heard + self._limit - now, self._overdue)

    def connection_lost(self, error: BaseException | None) -> None:
        """The connection is closed, by us or by the server."""
        self._before.connection_lost(error)  # for whoever waits until the library's stream is closed
        self.end(None)

    def end(self, error: BaseException | None) -> None:
        """Close the connection."""
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        flight = list(self.flight)
        self.flight.clear()
        self._ended(self, flight, error)


def line_over(
    connection: Any,
    limit: float,
    ended: Callable[[Line, list[Asked], BaseException | None], None],
) -> Line | None:
    """The line over a connection of redis-py's, or valkey-py's; None where it is not over a stream of asyncio's."""
    transport: Any = getattr(getattr(connection, "_writer", None), "transport", None)
    if parser is None or not hasattr(transport, "set_protocol"):
        return None
    own = getattr(connection, "socket_timeout", None)
    return Line(connection, transport, min(limit, own or limit), ended)
