"""A question on its way to a server: who has asked may wait for the answer, or leave word what is to be done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

__all__ = ["Asked"]


class Asked:
    """Awaited, it gives what `read` makes of the answer. `began` is a moment of the loop's clock; `again` says that the
    question was sent a second time.

    Whoever waits may be cancelled: the question is sent, and what was noted is done whoever is still there.
    """

    __slots__ = ("_found", "_note", "_read", "again", "began", "future", "question")

    def __init__(self, question: Any, read: Callable[[Any], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.question = question
        self.future: asyncio.Future[Any] = loop.create_future()
        self.began = loop.time()
        self.again = False
        self._read = read
        self._found: tuple[Any, BaseException | None] | None = None
        self._note: Callable[[Any, BaseException | None], Any] | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self.future.__await__()

    def noted(self, note: Callable[[Any, BaseException | None], Any]) -> asyncio.Future[Any]:
        """Call `note` with what was read, or with the error, as soon as it is known; the future has what that returns."""
        self._note = note
        if self._found is not None:  # it could not even be sent
            if not self.future.cancelled():
                self.future.exception()
            self.future = self.future.get_loop().create_future()
            self._over(*self._found)
        return self.future

    def tell(self, answer: Any) -> None:
        """The server has answered."""
        try:
            value = self._read(answer)
        except Exception as error:
            self.fail(error)
        else:
            self._over(value, None)

    def fail(self, error: BaseException) -> None:
        """There will be no answer."""
        self._over(None, error)

    def _over(self, value: Any, error: BaseException | None) -> None:
        self._found = value, error
        if self._note is not None:
            try:
                value, error = self._note(value, error), None
            except Exception as fault:
                error = fault
        future = self.future
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
