"""Ctrl-C, kept until nothing is half done."""

from __future__ import annotations

import os
import signal
import sys
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from verbguard.monitoring.draining import Drain

STATUS = 130  # the shell's exit status for it


class Interrupt:
    """From here to the end of the process, Ctrl-C is noted at once and raised only where `check` is called.

    Python raises KeyboardInterrupt between any two instructions: between a socket and whoever would close it, in a half-done
    import, in a crowd of clients that then wait for those not yet started, in the clean-up of all that. The first Ctrl-C
    therefore waits for the next check, and a second one ends the process on the spot, for whoever cannot wait.
    """

    def __init__(self) -> None:
        self._noted = False

    def __enter__(self) -> Interrupt:
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as a shell starts a script's background jobs
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # What is left is the interpreter's own clean-up, where an exception could only be printed.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def check(self) -> None:
        """Raise the KeyboardInterrupt that has come in the meantime."""
        if self._noted:
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        if self._noted:
            os._exit(STATUS)  # the servers are threads of this process and end with it
        self._noted = True


def at_once(sig: int, drain: Drain) -> NoReturn:
    """End a server on the spot: what runs is cut off as by a crash, and the store is made for those."""
    drain.forget()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + sig)
