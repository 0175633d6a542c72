"""One request on its way through the gateway, and its answer on its way back."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from verbguard.gateway.fields import answered
from verbguard.gateway.heads import ON_HTTP1, Message, Receive, Scope, Send, mount_of, reply, unserved
from verbguard.gateway.upstream import Answer, Content, Forbidden, Hints, Late, Malformed, Truncated, Unreached
from verbguard.http import Headers, header, problem

if TYPE_CHECKING:
    from verbguard.gateway.proxy import Gateway

__all__ = ["Passing"]

logger = logging.getLogger("verbguard")

LINGER = 5.0  # seconds in which a client may finish what is not wanted any more, as the usual servers give it
LOOK = 0.05  # seconds until somebody looks whether the client is still there: most answers are out by then

_RULE = "gateway-502-504"
_LATE = 504, "The service has not answered in time", "What became of the request is not known."


class Passing:
    """One request on its way to the service, and the answer on its way back."""

    def __init__(self, gateway: Gateway, scope: Scope, receive: Receive, send: Send, content: Content | None) -> None:
        self.gateway = gateway
        self.scope = scope
        self.receive = receive
        self.send = send
        self.content = content
        self.claim: Any = scope.get("verbguard.run")  # what a guard holds for this request, if it holds a claim
        self.told: asyncio.Task[None] | None = None  # the client is told that its answer is late
        self.hinting: asyncio.Task[None] | None = None  # the early hints on their way to the client
        self.gone = False  # whether the client is away
        self.look: asyncio.TimerHandle | None = None
        self.watch: asyncio.Task[None] | None = None
        self.limit: asyncio.Timeout | None = None

    async def run(self, method: str, target: bytes, fields: Headers) -> None:
        """Ask and answer, until the client goes away."""
        loop = asyncio.get_running_loop()
        self.look = loop.call_later(LOOK, self._watch)
        try:
            async with asyncio.timeout(None) as self.limit:
                answer = await self._asked(method, target, fields)
                if answer is not None:
                    try:
                        await self._pass(answer)
                    finally:
                        answer.close()
        except TimeoutError:
            if not self.gone:
                raise
        except OSError:
            self.gone = True  # as a server says it when something is sent to a client that left

    async def _asked(self, method: str, target: bytes, fields: Headers) -> Answer | None:
        """The service's answer; None where there is none and the client has been told."""
        try:
            overdue = None if self.claim is None else self._overdue
            answer = await self.gateway.client.ask(method, target, fields, self.content, overdue, self._hints())
        except Forbidden as error:
            await self._tell(400, "The request cannot be forwarded", f"It cannot be passed on unchanged: {error}.", ran=False)
        except Unreached as error:
            logger.warning("verbguard: the service at %s was not reached: %s", self.gateway.upstream, error)
            status, title = (504, "The service was not reached in time") if error.late else (502, "The service was not reached")
            await self._tell(status, title, "The request was not sent to it; it may be repeated.", ran=False)
        except Malformed as error:
            if self.content is not None and self.content.gone:
                self.gone = True
                return None
            if self.content is not None and self.content.stopped:
                # RFC 9110 15.5.9; with a key all of the content was here before, so no claim has to hear of it
                closing = [(b"connection", b"close")] if self.scope.get("http_version", "1.1") in ON_HTTP1 else []
                await reply(self.send, unserved(408, "The rest of the content did not come in time.", closing))
                return None
            logger.warning("verbguard: the service at %s gave no answer: %s", self.gateway.upstream, error)
            await self._tell(502, "The service gave no valid answer", "What became of the request is not known.")
        except Late:
            await self._tell(*_LATE)
        else:
            if self.told is not None:
                await self.told
            await self._hinted()
            if 200 <= answer.status <= 599:
                return answer
            answer.close()
            logger.warning("verbguard: the service at %s answered with the status %s", self.gateway.upstream, answer.status)
            await self._tell(502, "The service gave no final status", f"It said {answer.status}.")
        return None

    async def _tell(self, status: int, title: str, detail: str, ran: bool = True) -> None:
        """An answer of the gateway's own. A guard that holds a claim learns whether the request can have run."""
        self.scope["verbguard.unanswered"] = status  # who counts what the service owes looks for it
        answer = problem(_RULE, title, status, detail)
        await self._hinted()
        if self.told is not None:
            await self.told
        elif self.claim is None:
            await reply(self.send, answer)
        elif ran:
            await self.claim.unknown(answer)
        else:
            self.claim.not_run()
            await reply(self.send, answer)

    def _hints(self) -> Hints | None:
        """Where early hints go; None where the server or its client does not take them (RFC 9110 15.2)."""
        scope = self.scope
        if "http.response.early_hint" not in (scope.get("extensions") or ()) or scope.get("http_version") == "1.0":
            return None
        return self._hint

    def _hint(self, links: list[bytes]) -> None:
        message = {"type": "http.response.early_hint", "links": links}
        self.hinting = asyncio.get_running_loop().create_task(self._say_hint(message, self.hinting))

    async def _say_hint(self, message: Message, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        with suppress(OSError):  # whether the client is there is seen when the answer is sent
            await self.send(message)

    async def _hinted(self) -> None:
        """The answer comes behind all hints."""
        if self.hinting is not None:
            await self.hinting

    def _overdue(self) -> float:
        """The client is told that the answer is late; for its retry the answer is still wanted."""
        self.told = asyncio.get_running_loop().create_task(self.claim.unknown(problem(_RULE, _LATE[1], 504, _LATE[2])))
        return self.gateway.late

    async def _pass(self, answer: Answer) -> None:
        """The answer, piece by piece: the next is read when the last has been taken."""
        http1 = self.scope.get("http_version", "1.1") in ON_HTTP1
        headers = answered(answer.status, answer.headers, self.scope["method"], http1)
        if mount := mount_of(self.scope):
            host = header(self.scope["headers"], b"host")
            headers = self.gateway.names.outward(answer.status, headers, host, mount)
        else:
            headers = self.gateway.names.outward(answer.status, headers)
        content = self.content
        if content is not None and not content.whole and http1:
            headers.append((b"connection", b"close"))  # what the client still sends is not the next request
        bodiless = self.scope["method"] == "HEAD" or answer.status in (204, 304)
        await self.send({"type": "http.response.start", "status": answer.status, "headers": headers})
        try:
            piece, more = b"", not bodiless
            while more:
                piece = await answer.read()
                more = bool(piece) and not answer.ended()
                if more:
                    await self._hand({"type": "http.response.body", "body": piece, "more_body": True})
            if content is not None and content.coming:
                await self._hand({"type": "http.response.body", "body": piece, "more_body": True})
                answer.close()
                await content.spend(LINGER)
                piece = b""
            await self.send({"type": "http.response.body", "body": piece, "more_body": False})
        except Truncated as error:
            # The server cuts the connection of an app that leaves in the middle: the client must not take this for all.
            if not self.gone:
                logger.warning("verbguard: the service at %s: %s", self.gateway.upstream, error)

    async def _hand(self, message: Message) -> None:
        """A piece to a client that takes it in time; one that does not would hold a connection to the service."""
        try:
            async with asyncio.timeout(self.gateway.timeout) as limit:
                await self.send(message)
        except TimeoutError:
            if not limit.expired():
                raise
            self.gone = True
            logger.info("verbguard: a client took nothing of an answer for %g s", self.gateway.timeout)
            raise Truncated("the client takes nothing") from None

    # ---- the client's presence

    def _watch(self) -> None:
        """Somebody has to notice when the client goes away; not while its content is still being received."""
        content = self.content
        if content is not None and not content.whole:
            self.look = asyncio.get_running_loop().call_later(LOOK, self._watch)
            return
        self.watch = asyncio.get_running_loop().create_task(self._wait_for_the_end())

    async def _wait_for_the_end(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time())

    def over(self) -> None:
        """Nobody has to look any longer."""
        if self.look is not None:
            self.look.cancel()
        for task in (self.watch, self.hinting):
            if task is not None:
                task.cancel()
