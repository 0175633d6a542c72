"""An exchange with its store: what both adapters do in the same way, and neither has to wait for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from verbguard.exchange import Exchange
from verbguard.http import Response
from verbguard.outages import debts
from verbguard.records import Claim, Outcome, Record, State, Won
from verbguard.renewal import renewer
from verbguard.rules import replaying
from verbguard.spool import Spool
from verbguard.transactions import is_open

__all__ = ["FIRST_PAUSE", "LONGEST_PAUSE", "LOST", "Later", "Serving", "unframed"]

# Tells a client that this run outlived its lease, so that another may have run for the same key.
LOST = (b"idempotency-status", b"lease-lost")

Later = Awaitable[None] | None  # what a store of asyncio's still has to do; None where it is done

FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.05  # seconds between looks at a running twin; each is half as long again as the last

# Seconds after its answer in which an app that ends has done nothing more: a shared store is spared a round trip for each key.
AT_ONCE = 0.001


class Serving(Exchange):
    """One request on its way through; the adapters add the messages of their interface.

    Each method that tells the store something has done so when it returns; `Awaiting` has the same ones for stores that must
    be awaited.
    """

    store: Any
    middleware: Any
    spool: Spool | None = None  # the request's content, where it is large or came in pieces
    settled_at = 0.0  # when nothing was left to record; zero while there is
    told_at = 0.0  # when the store had heard of it
    saved = False
    away = False  # whether the store has failed during this request
    in_transaction = False  # whether the application records the answer in a transaction of its own, which then decides
    driver: Any = None  # the connection that this transaction is in
    spared = False  # whether a gateway knows that its service never got the request
    unanswered = False  # whether the client was told that nobody knows what became of it
    deferred = False  # whether the answer is kept only when the app has returned
    turn = ""  # the target that no other request may write to meanwhile, where its policy wants that
    lease: Claim | None = None  # the same turn among the processes that share the store
    lease_token = 0
    superseded = False  # whether that transaction may not be committed, since another run of the key was first

    def ask(self, content: Any) -> Any:
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

    def wary(self) -> Later:
        """After a failure of the store nothing keyless is replayed for one window: it may not have heard of a write."""
        guard = self.guard
        if self.mode == "keyless" and monotonic() < guard.trusted_from:
            self.say(replaying.UNPROTECTED, "The replay store failed a moment ago.")
            self.unprotected()
        if debts.owed:
            debts.hurry()
        if guard.owes_epoch:
            guard.owes_epoch = False  # one request at a time tries to tell the others
            return self.renew_epoch()
        return None

    def renew_epoch(self) -> Later:
        """Tell all who share the store that it may have missed a write."""
        if (epoch := getattr(self.store, "epoch", None)) is not None:
            self.attempt(epoch)
        return None

    def distrust(self, error: BaseException) -> None:
        """The store did not do its work."""
        self.guard.trusted_from = monotonic() + self.guard.longest_window
        self.away = True
        if self.store.shared:
            self.owe_epoch()
        self.say(replaying.UNPROTECTED, f"The replay store failed: {error!r}")

    def owe_epoch(self) -> None:
        """The others who share the store must hear that it may have missed a write."""
        debts.owe(self.store)

    def attempt(self, tell: Callable[..., Any], *arguments: Any) -> bool:
        """Tell the store something that it need not answer; False when that failed."""
        try:
            tell(*arguments)
        except Exception as error:
            self.distrust(error)
            return False
        return True

    def begin_touch(self) -> Later:
        """A request without a claim starts."""
        if self.away:
            self.touch = None  # it is covered by the epoch that is owed; to ask again would only take as long again
        if self.touch is not None and not self.token and not self.attempt(self.store.start, self.touch):
            self.touch = None
        return None

    def end_touch(self) -> Later:
        """A request without a claim is over."""
        if self.touch is not None:
            self.attempt(self.store.end, self.touch)
        return None

    def touch_again(self) -> Later:
        """The app went on after its answer was recorded, and may have changed something since."""
        if self.touch is not None and not self.ended_at_once:
            self.attempt(self.store.bump, self.touch)
        return None

    @property
    def ended_at_once(self) -> bool:
        """Whether too little time has passed since the answer for another process to have come in between."""
        return bool(self.store.shared) and monotonic() - self.told_at < AT_ONCE

    def linger(self) -> Later:
        """The run was cut off, and a thread of it may still write."""
        if self.touch is not None:
            self.attempt(self.store.linger, self.touch)
        return None

    def ask_again(self, claim: Claim) -> Any:
        """The store's word, or what its failure means for this request."""
        try:
            return self.store.claim(claim)
        except Exception as error:
            return self.unasked(error)

    def ask_to_rerun(self) -> Any:
        """What the store says when a run whose outcome nobody knew may be repeated after all."""
        assert self.claimed_as is not None
        self.claimed_as.rerun = True
        return self.ask_again(self.claimed_as)

    @property
    def lost(self) -> bool:
        """Whether this run outlived its lease, as far as is known."""
        return self.claimed_as is not None and self.claimed_as.lost

    def unasked(self, error: BaseException) -> None:
        """The store could not be asked: `refusal` is what that means for this request."""
        self.distrust(error)
        self.refusal = self.store_down()

    def hold(self) -> None:
        """Keep a claim that was won alive."""
        if self.token and self.claimed_as is not None:
            renewer.hold(self.store, self.claimed_as, self.token)

    def let_go(self) -> None:
        """The run is over: the claim is not renewed any longer."""
        renewer.held.pop(self.claimed_as, None)

    def keep_alive(self, claim: Claim, token: int) -> None:
        """Renew the lease of a turn until it is forgotten."""
        renewer.hold(self.store, claim, token)

    def forget(self, claim: Claim | None) -> None:
        """Renew the lease of a turn no longer."""
        renewer.held.pop(claim, None)

    def not_run(self) -> None:
        """A gateway's service never got the request: whatever the gateway answers, the key may be used again."""
        self.spared = True

    def withdraw(self) -> Later:
        """The app will not run after all: a claim that was won is given back, so that the same key may try again."""
        if not self.token:
            return None
        self.let_go()
        return self.keep(None)

    def commit(self) -> Later:
        """The answer is complete: keep it, or let the claim go. What will come of a transaction of the application that is
        still open is asked when the application is over (`abandon`)."""
        if self.token and not (self.settled_at or self.deferred or (self.in_transaction and is_open(self.driver))):
            try:
                record = None if self.spared else self.record()
                if self.plan.verifies and self.mode == "keyless":
                    record = self.sighted(record)
            except Exception:
                self.guard.fault("GET")
                again = self.request.method in ("PUT", "DELETE")
                record = None if again else Record(self.status, [], b"", State.BROKEN)
            return self.keep(record)
        return None

    def passed(self, piece: bytes, more: bool) -> bytes:
        """`content`, and where that fails all that the app has said so far, as it said it."""
        if type(piece) is not bytes:
            piece = bytes(piece)  # a buffer may be used again by the app while this is kept
        try:
            return self.content(piece, more)
        except Exception:
            held, self.held = bytes(self.held), b""
            self.unjudged(self.status)
            self.dropping = False
            self.finished = not more
            return held + piece

    def abandon(self, error: BaseException | None) -> Later:
        """The app ended, by an error or without one, before its answer was complete; or after it, with an error."""
        if not self.token:
            return None
        if not self.settled_at and self.unanswered:
            if self.plan.reruns:
                self.linger()  # the service may still be at it
                return self.keep(None)  # what may be repeated need not wait for the end of a lease
            self.let_go()  # the claim ends with its lease, as if this process had died
            self.settled_at = monotonic()
            return None
        if not self.settled_at:
            return self.keep(self.failed(error is not None and not isinstance(error, Exception)))
        if isinstance(error, Exception) and self.saved and self.unsure:
            # a middleware may have ended the answer in the app's name before it passed the error on
            return self.keep(self.demoted())
        return None

    def stopped(self, error: BaseException) -> Later:
        """The app was stopped by an error, its own or one that cuts it off from outside."""
        if not isinstance(error, Exception):
            self.cut_off()
            self.linger()
        return self.abandon(error)

    def cut_off(self) -> None:
        """A run ends here that may go on elsewhere: a service behind a gateway does not hear of it."""
        if self.guard.gateway and not self.spared and not self.begun:
            self.unanswered = True

    def keep(self, record: Record | None) -> Later:
        """Save a record, or release the claim where there is none; a store that fails harms no answer."""
        self.settled_at = monotonic()
        try:
            self.told(self.end_in(self.store, record))
        except Exception as error:
            self.distrust(error)
            if self.store.shared:
                debts.insist(lambda: self.end_in(self.store, record))
        return None

    def end_in(self, store: Any, record: Record | None) -> bool:
        """Tell a store the end of this run. False when its claim was lost."""
        claim, token = self.claimed_as, self.token
        assert claim is not None
        if self.in_transaction:
            store.settle(claim, token)
            return True  # what was rolled back was not lost
        if record is None:
            return bool(store.release(claim, token))
        try:
            self.saved = store.save(claim, token, record)
        except ValueError:
            self.saved = store.save(claim, token, unframed(record))
        return self.saved

    def told(self, kept: bool) -> None:
        """The store has heard of the end of this run."""
        self.told_at = monotonic()
        self.let_go()  # a renewal that arrives after the end finds nothing to renew, and must not take that for a lost lease
        assert self.claimed_as is not None
        self.claimed_as.lost = not kept
        if not kept:
            self.say(replaying.LEASE_LOST, "The run outlived its lease; its answer was not kept.")

    # ---- turns

    def ask_for_turn(self) -> Any:
        """What the store says to the lease on this request's turn; None where it fails."""
        assert self.lease is not None
        try:
            return self.store.claim(self.lease)
        except Exception as error:
            return self.distrust(error)

    def turned(self, outcome: Outcome | None) -> Response | None:
        """The refusal of a request that has no turn among the processes; None where it may go on."""
        if isinstance(outcome, Won):
            self.lease_token = outcome.token
            assert self.lease is not None
            self.keep_alive(self.lease, outcome.token)
            return None
        if outcome is not None:
            return self.crowded("Another write on this target is still running.")
        if self.layout.conditional:  # a condition that another process may make false at any moment protects nothing
            return self.crowded("Nobody knows whether another process writes to this target now.")
        return None

    def end_turn(self) -> None:
        """Others may write to the target; also when the turn had not begun for good."""
        turn, self.turn = self.turn, ""
        if self.lease_token:
            self.forget(self.lease)
            if self.lease is not None and self.lease.lost:
                self.say(replaying.LEASE_LOST, "The turn on the target outlived its lease; another process may have written.")
            self.end_lease()
        if turn:
            self.middleware.turns.release(turn)

    def end_lease(self) -> None:
        """Tell the store that the turn is over; where it does not hear, the lease ends by itself."""
        token, self.lease_token = self.lease_token, 0
        self.attempt(self.store.release, self.lease, token)

    def outdated(self) -> Later:
        """The target changed where the store could not see it: what is kept of it is not to be replayed."""
        if self.touch is not None:
            self.attempt(self.store.bump, self.touch)
        return None

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


def unframed(record: Record) -> Record:
    """What is kept of an answer whose field lines cannot be."""
    return Record(record.status, [], b"", State.BROKEN)
