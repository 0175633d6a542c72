"""What many coroutines ask of PostgreSQL at once goes to it together: one statement, one transaction, one write to its disk.

Nothing waits for company: a call that finds little on its way is sent at once, and those that come meanwhile are sent as
one group when an answer is there. The server locks the rows of a group in one order, so that two groups never wait for each
other, and gives up soon when somebody else holds one: then the halves of the group are asked, and in the end whoever wants it
waits or fails alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import psycopg
from psycopg.pq.abc import PGresult

from verbguard.stores.postgres_pipe import Asked, Row, Values

__all__ = ["PATIENCE", "Form", "Together"]

_MOST = 64  # calls of one group: its rows are locked for all of its time
_LARGE = 65_536  # bytes of a value that is sent alone, and of all values of a group
_FEW = 2  # calls of one kind on their way, beside which others are sent at once: behind more they are better off together
_PAUSE = 0.001  # seconds after which those that wait are sent, whatever is on its way: a slow disk serves many at once
PATIENCE = 0.1  # seconds after which a connection's server is believed to wait for a row of somebody else

# Classes of errors with which no member would fare better alone: the connection or the server is not well, the time is over, or
# functions are missing.
_OF_ALL = ("08", "3F", "42", "53", "57", "58")


class Form(NamedTuple):
    """How calls of one kind are asked together: `text` has as many rows as there are members, in their order.

    `gather` makes its values of theirs. The first value of each is what they are sorted by, and the `size`th a large one.
    """

    text: str
    gather: Callable[[Sequence[Values]], Values]
    size: int | None = None


class Group(Asked):
    """Several that are asked as one. Nobody waits for it but they."""

    __slots__ = ("_over", "members", "rows", "turn")

    def __init__(self, form: Form, members: list[Asked], turn: int, over: Callable[[Group], None]) -> None:
        super().__init__(form.text, form.gather([each.values for each in members]), members[0].future.get_loop())
        self.members = members
        self.turn = turn
        self.rows: list[Row] = []
        self._over = over

    def take(self, result: PGresult) -> None:
        """See Asked.take."""
        self.rows = self.statement.rows(result)

    def tell(self) -> None:
        """See Asked.tell."""
        self.over = True
        self._over(self)


class Together:
    """Calls of one kind, on one event loop; `send` sends one over some connection."""

    def __init__(self, form: Form, send: Callable[[Asked], None]) -> None:
        self._form = form
        self._send = send
        self._sent = 0
        self._turn = 0
        self._waiting: deque[Asked] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, asked: Asked) -> None:
        """Send it, now or with others."""
        size = self._form.size
        if size is not None and len(asked.values[size]) > _LARGE:
            self._send(asked)
        elif self._sent < _FEW and not self._waiting:
            self._alone(asked)
        else:
            self._waiting.append(asked)
            if self._timer is None:
                self._timer = asked.future.get_loop().call_later(_PAUSE, self._impatient)

    def _alone(self, asked: Asked) -> None:
        self._sent += 1
        asked.then = partial(self._next, self._turn, 1)
        self._send(asked)

    def _impatient(self) -> None:
        """The server waits for its disk, or for somebody: those who wait here need not, and what it has counts no more."""
        self._timer = None
        self._turn += 1
        self._sent = 0
        while self._waiting:
            self._group()

    def _next(self, turn: int, answered: int) -> None:
        """The server has answered: what came meanwhile is next."""
        if turn == self._turn:
            self._sent -= answered
        if self._sent < _FEW:
            self._group()

    def _group(self) -> None:
        waiting, size, room = self._waiting, self._form.size, _LARGE
        members: list[Asked] = []
        while waiting and len(members) < _MOST and room > 0:
            asked = waiting.popleft()
            if asked.future.cancelled():
                asked.fail(psycopg.OperationalError("nobody waits for it any more"))
                continue
            members.append(asked)
            if size is not None:
                room -= len(asked.values[size])
        members.sort(key=_name)
        self._send_all(members)

    def _send_all(self, members: list[Asked]) -> None:
        if len(members) == 1:
            self._alone(members[0])
        elif members:
            self._sent += len(members)
            self._send(Group(self._form, members, self._turn, self._told))

    def _told(self, group: Group) -> None:
        error, members = group.error, group.members
        if error is None:
            for asked, row in zip(members, group.rows, strict=True):
                asked.row = row
                asked.tell()
        elif _of_all(error):
            for asked in members:
                asked.fail(error)
        else:  # by halves, so that whoever is at fault is soon by itself, and the others are together
            self._send_all(members[: len(members) // 2])
            self._send_all(members[len(members) // 2 :])
        self._next(group.turn, len(members))


def _name(asked: Asked) -> Any:
    return asked.values[0]


def _of_all(error: BaseException) -> bool:
    state = getattr(error, "sqlstate", None)
    return state is None or state[:2] in _OF_ALL
