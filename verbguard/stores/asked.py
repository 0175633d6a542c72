"""A question on its way to a server: who has asked may wait for the answer, or leave word what is to be done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from typing import Any

__all__ = ["Asked"]


class Asked:
    """Awaited, it gives what `read` makes of the answer. `began` is a moment of the loop's clock; `again` says that the
    question was sent a second time.

    Whoever waits may be cancelled: the question is sent, and what was noted is done whoever is still there.
    """

    __slots__ = ("_context", "_found", "_note", "_read", "again", "began", "future", "question")

    def __init__(self, question: Any, read: Callable[[Any], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.question = question
        self.future: asyncio.Future[Any] = loop.create_future()
        self.began = loop.time()
        self.again = False
        self._read = read
        self._found: tuple[Any, BaseException | None] | None = None
        self._note: Callable[[Any, BaseException | None], Any] | None = None
        self._context: Context | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self.future.__await__()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of who has asked."""
        return self.future.get_loop()

    def noted(self, note: Callable[[Any, BaseException | None], Any]) -> asyncio.Future[Any]:
        """Call `note` with what was read, or with the error, as soon as it is known; the future has what that returns.

        It is called in the context of who notes it: an answer is read in that of whoever opened the connection.
        """
        self._note, self._context = note, copy_context()
        if self._found is not None:  # it could not even be sent
            if not self.future.cancelled():
                self.future.exception()
            self.future = self.future.get_loop().create_future()
            self._over(*self._found)
        return self.future

    def tell(self, answer: Any) -> None:
        """The server has answered."""
        if self._found is not None:
            return  # too late
        try:
            value = self._read(answer)
        except Exception as error:
            self.fail(error)
        else:
            self._over(value, None)

    def fail(self, error: BaseException) -> None:
        """There will be no answer, or none that anybody waits for."""
        if self._found is None:
            self._over(None, error)

    def _over(self, value: Any, error: BaseException | None) -> None:
        self._found = value, error
        if self._note is not None and self._context is not None:
            try:
                value, error = self._context.run(self._note, value, error), None
            except Exception as fault:
                error = fault
                if self.future.done():  # nobody is there to hear of it but the log
                    self.get_loop().call_exception_handler({"message": "verbguard: what was noted failed", "exception": fault})
        future = self.future
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
