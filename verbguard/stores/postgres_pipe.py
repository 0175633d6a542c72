"""Many coroutines on few connections of PostgreSQL: a statement is sent when it is asked for, whether others are on their way.

libpq's pipeline mode, with a synchronisation point behind each statement: each is a transaction of its own and fails alone.
psycopg's own cursors do the same at three times the price: they find out anew how each value is sent, and watch the socket
for each statement anew.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from itertools import count
from struct import Struct
from typing import Any

import psycopg
from psycopg.pq import DiagnosticField as Field
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

__all__ = ["Asked", "Line", "Row", "Values", "silent"]

Row = tuple[Any, ...]
Values = tuple[Any, ...]

_numbers = count()
_PLACE = re.compile(r"%[bs](?:::(\w+(?:\[\])?))?")
_INT4, _INT8, _FLOAT8 = Struct("!i"), Struct("!q"), Struct("!d")
_VALUE = Struct("!Ii")
_ARRAY, _LENGTH = Struct("!iiiii"), Struct("!i")  # dimensions, nulls, type of the items, how many, the first's number
_BOOL, _BYTEA, _BIGINT, _INTEGER, _DOUBLE = 16, 17, 20, 23, 701
_RECORD, _BOOLS, _BYTEAS, _BIGINTS, _INTEGERS, _DOUBLES = 2249, 1000, 1001, 1016, 1007, 1022


def _array(items: list[bytes]) -> bytes:
    if not items:
        return _ARRAY.pack(0, 0, _BYTEA, 0, 0)[:12]
    parts = [_ARRAY.pack(1, 0, _BYTEA, len(items), 1)]
    for item in items:
        parts += (_LENGTH.pack(len(item)), item)
    return b"".join(parts)


@lru_cache(256)
def _fixed(kind: str, count: int) -> Struct:
    return Struct("!iiiii" + f"i{kind}" * count)


def _numbers_array(kind: str, oid: int) -> Callable[[list[Any]], bytes]:
    """Packs items of one size, without nulls."""
    size = Struct(f"!{kind}").size

    def pack(items: list[Any]) -> bytes:
        parts = [size] * (2 * len(items))
        parts[1::2] = items
        return _fixed(kind, len(items)).pack(1, 0, oid, len(items), 1, *parts)

    return pack


# How the values of a statement are sent: by what stands behind their place.
_SENT: dict[str | None, tuple[int, Callable[[Any], bytes]]] = {
    "bigint": (_BIGINT, _INT8.pack),
    "integer": (_INTEGER, _INT4.pack),
    "float8": (_DOUBLE, _FLOAT8.pack),
    "bytea[]": (_BYTEAS, _array),
    "boolean[]": (_BOOLS, _numbers_array("?", _BOOL)),
    "bigint[]": (_BIGINTS, _numbers_array("q", _BIGINT)),
    "integer[]": (_INTEGERS, _numbers_array("i", _INTEGER)),
    "float8[]": (_DOUBLES, _numbers_array("d", _DOUBLE)),
}
_BYTES = (_BYTEA, bytes)
_TRUTH = (_BOOL, lambda truth: b"\x01" if truth else b"\x00")

_READ: dict[int, Callable[[bytes], Any]] = {
    _BOOL: lambda data: data == b"\x01",
    _BIGINT: lambda data: _INT8.unpack(data)[0],
    _INTEGER: lambda data: _INT4.unpack(data)[0],
    _DOUBLE: lambda data: _FLOAT8.unpack(data)[0],
}


def _record(data: bytes) -> Row:
    """A row in a row: each value behind its type and its length."""
    found: list[Any] = []
    place = 4
    while place < len(data):
        kind, length = _VALUE.unpack_from(data, place)
        place += 8
        if length < 0:
            found.append(None)
        else:
            found.append(_READ.get(kind, bytes)(data[place : place + length]))
            place += length
    return tuple(found)


_READ[_RECORD] = _record


class Statement:
    """A text with places for values as psycopg has them, where `%b` is bytes and `%s` without a type is a truth."""

    def __init__(self, text: str, name: bytes) -> None:
        self.name = name
        kinds = [_BYTES if each[0].startswith("%b") else _SENT.get(each[1], _TRUTH) for each in _PLACE.finditer(text)]
        self.types = [kind for kind, _ in kinds]
        self.formats = [1] * len(kinds)
        self._packed = [pack for _, pack in kinds]
        numbers = iter(range(1, len(kinds) + 1))
        self.text = _PLACE.sub(lambda place: f"${next(numbers)}" + (f"::{place[1]}" if place[1] else ""), text).encode()
        self._columns: list[Callable[[bytes], Any]] | None = None

    def pack(self, values: Values) -> list[bytes | None]:
        """The values as they are sent."""
        return [None if value is None else pack(value) for pack, value in zip(self._packed, values, strict=True)]

    def row(self, result: PGresult) -> Row | None:
        """The first row of an answer."""
        return self._row(result, 0) if result.ntuples else None

    def rows(self, result: PGresult) -> list[Row]:
        """All rows of an answer."""
        return [self._row(result, number) for number in range(result.ntuples)]

    def _row(self, result: PGresult, number: int) -> Row:
        columns = self._columns
        if columns is None:
            columns = self._columns = [_READ.get(result.ftype(column), bytes) for column in range(result.nfields)]
        found = [result.get_value(number, column) for column in range(len(columns))]
        return tuple([None if data is None else read(data) for read, data in zip(columns, found, strict=True)])


@lru_cache(64)
def _statement(text: str) -> Statement:
    return Statement(text, b"verbguard%d" % next(_numbers))


class Asked:
    """A statement on its way. `future` has its row, unless whoever waited for it was cancelled: then `again` has it.

    `then` is called when it is over.
    """

    __slots__ = ("began", "error", "future", "over", "prepares", "row", "statement", "then", "values")

    def __init__(self, text: str, values: Values, loop: asyncio.AbstractEventLoop) -> None:
        self.statement = _statement(text)
        self.values = values
        self.future: asyncio.Future[Row | None] = loop.create_future()
        self.row: Row | None = None
        self.error: BaseException | None = None
        self.over = self.prepares = False
        self.began = 0.0
        self.then: Callable[[], None] | None = None

    def take(self, result: PGresult) -> None:
        """The server's answer is there."""
        self.row = self.statement.row(result)

    def tell(self) -> None:
        """It is over."""
        self.over = True
        if not self.future.done():
            if self.error is not None:
                self.future.set_exception(self.error)
            else:
                self.future.set_result(self.row)
        if self.then is not None:
            self.then()

    def fail(self, error: BaseException) -> None:
        """It is over, by an error."""
        self.error = error
        self.tell()

    async def again(self) -> Row | None:
        """Its row, for somebody else than the first who waited."""
        if not self.over:
            self.future = asyncio.get_running_loop().create_future()
            return await self.future
        if self.error is not None:
            raise self.error
        return self.row


def silent(socket: int) -> Callable[[], bool]:
    """What tells whether nothing waits to be read: a server says something to an idle connection when it closes it."""
    if not hasattr(select, "poll"):
        return lambda: not select.select([socket], [], [], 0)[0]
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return lambda: not poll.poll(0)


class Line:
    """One connection, and what is on its way over it. `ended` hears when it can be used no more.

    Nobody waits for the server longer than `limit` seconds: a connection that has been silent for so long is given up, with
    all that is on its way.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], limit: float, ended: Callable[[Line], None]) -> None:
        self.connection = connection
        self.flight: deque[Asked] = deque()
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._ended = ended
        self._pg: PGconn = connection.pgconn
        self._fd = self._pg.socket
        self.silent = silent(self._fd)
        self._known: set[bytes] = set()  # statements that the server has, or is about to
        self._refused: dict[bytes, psycopg.Error] = {}  # why it did not take one
        self._timer: asyncio.TimerHandle | None = None
        self._writing = False
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._loop.add_reader(self._fd, self._read)

    def send(self, asked: Asked) -> None:
        """Send it, behind what is on its way."""
        statement = asked.statement
        try:
            values = statement.pack(asked.values)
        except Exception as error:
            asked.fail(error)
            return
        asked.began = self._loop.time()
        self.flight.append(asked)
        try:
            if statement.name not in self._known:
                self._known.add(statement.name)
                asked.prepares = True
                self._pg.send_prepare(statement.name, statement.text, statement.types)
            self._pg.send_query_prepared(statement.name, values, statement.formats, 1)
            self._pg.pipeline_sync()
            self._flush()
        except Exception as error:
            self.end(error)
            return
        if self._timer is None:
            self._timer = self._loop.call_later(self._limit, self._overdue)

    def waits(self, seconds: float) -> bool:
        """Whether the server has been at what it does for longer than that."""
        return bool(self.flight) and self._loop.time() - self.flight[0].began > seconds

    def _flush(self) -> None:
        if self._pg.flush():  # the server does not take all of it yet
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._fd, self._write)
        elif self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)

    def _write(self) -> None:
        try:
            self._flush()
        except psycopg.Error as error:
            self.end(error)

    def _read(self) -> None:
        try:
            self._pg.consume_input()
            if self._writing:
                self._flush()
            if not self.flight and not self._pg.is_busy() and self._pg.get_result() is not None:
                raise psycopg.OperationalError("the server said what nobody has asked for")
            while self.flight and not self._pg.is_busy():
                result = self._pg.get_result()
                if result is not None:
                    self._heard(result)
        except Exception as error:
            self.end(error)

    def _heard(self, result: PGresult) -> None:
        asked, status = self.flight[0], result.status
        if status == ExecStatus.TUPLES_OK:
            asked.take(result)
        elif status == ExecStatus.PIPELINE_SYNC:
            self.flight.popleft().tell()
        elif status == ExecStatus.COMMAND_OK:
            asked.prepares = False
        elif status == ExecStatus.FATAL_ERROR:
            asked.error = _error(result)
            name = asked.statement.name
            if asked.prepares:
                self._known.discard(name)
                self._refused[name] = asked.error
            elif isinstance(asked.error, psycopg.errors.InvalidSqlStatementName):
                asked.error = self._refused.get(name, asked.error)  # sent before that was heard
            # uvloop does not always hear that a socket is closed, but a server that closes it says so before
            ends = result.error_field(Field.SEVERITY_NONLOCALIZED) in (b"FATAL", b"PANIC")
            if ends or self._pg.status != psycopg.pq.ConnStatus.OK:
                raise asked.error

    def _overdue(self) -> None:
        self._timer = None
        if not self.flight:
            return
        left = self.flight[0].began + self._limit - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._overdue)
        else:
            self.end(psycopg.OperationalError(f"timeout: the server has said nothing for {self._limit:g} s"))

    def end(self, error: BaseException | None = None) -> None:
        """Close the connection. What is on its way fails."""
        if self._timer is not None:
            self._timer.cancel()
        with suppress(ValueError, OSError, RuntimeError):
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
        self._ended(self)
        self._pg.finish()
        while self.flight:
            self.flight.popleft().fail(error or psycopg.OperationalError("the connection was closed"))


def _error(result: PGresult) -> psycopg.Error:
    state = (result.error_field(Field.SQLSTATE) or b"").decode()
    try:
        kind: type[psycopg.Error] = psycopg.errors.lookup(state)
    except KeyError:
        kind = psycopg.OperationalError
    return kind(result.get_error_message())
