"""An exchange with its store: what both adapters do in the same way, and neither has to wait for."""

from __future__ import annotations

from time import monotonic
from typing import Any

from verbguard.exchange import Exchange
from verbguard.http import Response
from verbguard.records import Claim, Outcome, Record, State
from verbguard.renewal import renewer
from verbguard.rules import replaying
from verbguard.spool import Spool
from verbguard.stores import Store

__all__ = ["FIRST_PAUSE", "LONGEST_PAUSE", "Serving"]

FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.05  # seconds between looks at a running twin; each is half as long again as the last


class Serving(Exchange):
    """One request on its way through; the adapters add the messages of their interface."""

    store: Store
    spool: Spool | None = None  # the request's content, where it is large or came in pieces
    settled_at = 0.0  # when nothing was left to record; zero while there is
    saved = False

    def ask(self, content: Any) -> Outcome | None:
        """What the store says to this request's claim; None when it was not asked, and `refusal` is the answer, if any."""
        try:
            claim = self.claim(content)
        except Exception:
            self.refusal = self.guard.fault(self.request.method)
            return None
        return self.ask_again(claim)

    def looked_into(self, content: Any) -> Response | None:
        """`inspect`, whose failure is a fault of the guard: an unsafe request is not run."""
        try:
            return self.inspect(content)
        except Exception:
            return self.guard.fault(self.request.method)

    def wary(self) -> None:
        """After a failure of the store nothing keyless is replayed for one window: it may not have heard of a write."""
        if self.mode == "keyless" and self.guard.trusted_from and monotonic() < self.guard.trusted_from:
            self.say(replaying.UNPROTECTED, "The replay store failed a moment ago.")
            self.unprotected()

    def distrust(self, error: Exception) -> None:
        """The store did not do its work."""
        self.guard.trusted_from = monotonic() + self.guard.longest_window
        self.say(replaying.UNPROTECTED, f"The replay store failed: {error!r}")

    def begin_touch(self) -> None:
        """A request without a claim starts."""
        if self.touch is not None and not self.token:
            try:
                self.store.start(self.touch)
            except Exception as error:
                self.touch = None
                self.distrust(error)

    def end_touch(self) -> None:
        """A request without a claim is over."""
        if self.touch is not None:
            try:
                self.store.end(self.touch)
            except Exception as error:
                self.distrust(error)

    def touch_again(self) -> None:
        """The app went on after its answer was recorded, and may have changed something since."""
        if self.touch is not None:
            try:
                self.store.bump(self.touch)
            except Exception as error:
                self.distrust(error)

    def linger(self) -> None:
        """The run was cut off, and a thread of it may still write."""
        if self.touch is not None:
            try:
                self.store.linger(self.touch)
            except Exception as error:
                self.distrust(error)

    def ask_again(self, claim: Claim) -> Outcome | None:
        """The store's word, or what its failure means for this request."""
        try:
            return self.store.claim(claim)
        except Exception as error:
            self.distrust(error)
            self.refusal = self.store_down()
            return None

    def hold(self) -> None:
        """Keep a claim that was won alive."""
        if self.token and self.claimed_as is not None:
            renewer.hold(self.store, self.claimed_as, self.token)

    def let_go(self) -> None:
        """The run is over: the claim is not renewed any longer."""
        renewer.held.pop(self.claimed_as, None)

    def withdraw(self) -> None:
        """The app will not run after all: a claim that was won is given back, so that the same key may try again."""
        if self.token:
            self.let_go()
            self.keep(None)

    def commit(self) -> None:
        """The answer is complete: keep it, or let the claim go."""
        if self.token and not self.settled_at:
            try:
                record = self.record()
            except Exception:
                self.guard.fault("GET")
                again = self.request.method in ("PUT", "DELETE")
                record = None if again else Record(self.status, [], b"", State.BROKEN)
            self.keep(record)

    def passed(self, piece: bytes, more: bool) -> bytes:
        """`content`, and where that fails all that the app has said so far, as it said it."""
        if type(piece) is not bytes:
            piece = bytes(piece)  # a buffer may be used again by the app while this is kept
        try:
            return self.content(piece, more)
        except Exception:
            held, self.held = self.held, b""
            self.unjudged(self.status)
            self.dropping = False
            self.finished = not more
            return held + piece

    def abandon(self, error: BaseException | None) -> None:
        """The app ended, by an error or without one, before its answer was complete; or after it, with an error."""
        if not self.token:
            return
        if not self.settled_at:
            self.keep(self.failed(error is not None and not isinstance(error, Exception)))
        elif isinstance(error, Exception) and self.saved and self.unsure:
            # a middleware may have ended the answer in the app's name before it passed the error on
            self.keep(self.demoted())

    def keep(self, record: Record | None) -> None:
        """Save a record, or release the claim where there is none; a store that fails harms no answer."""
        store, claim, token = self.store, self.claimed_as, self.token
        assert claim is not None
        self.settled_at = monotonic()
        try:
            if record is None:
                kept = store.release(claim, token)
            else:
                try:
                    kept = store.save(claim, token, record)
                except ValueError:
                    kept = store.save(claim, token, Record(record.status, [], b"", State.BROKEN))
                self.saved = kept
            if not kept:
                self.say(replaying.LEASE_LOST, "The run outlived its lease; its answer was not kept.")
        except Exception as error:
            self.distrust(error)

    def close_spool(self) -> None:
        """Give the file of a large request back."""
        if self.spool is not None:
            self.spool.close()

    def unjudged(self, status: int) -> None:
        """A rule failed on the answer: it passes as the app made it."""
        self.guard.fault("GET")
        self.given_up(status)

    def unauthorised(self) -> Response | None:
        """The application's own `authorize` failed, so that nobody knows whether the answer may be told."""
        return self.guard.fault(self.request.method)
