"""The ASGI adapter: messages in, messages out. Read it beside wsgi.py, which makes the same calls in the same order."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from time import monotonic
from typing import Any

from verbguard.errors import ConfigError, StoreError
from verbguard.exchange import Exchange
from verbguard.guard import Guard, Plan
from verbguard.http import Headers, Request, Response, joined, quoted_path, without
from verbguard.policy import Action, Policy, Profile
from verbguard.records import Busy, Claim, Done, Outcome, Record, State
from verbguard.renewal import renewer
from verbguard.routers.starlette import StarletteRouter, router_of
from verbguard.rules import Content, Finding, replaying
from verbguard.spool import Spool
from verbguard.stores import Store
from verbguard.stores import open as open_store
from verbguard.workers import several_workers

__all__ = ["GuardMiddleware"]

logger = logging.getLogger("verbguard")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SHIELD = 60.0  # seconds that an app is kept from seeing that its client went away; longer than most clients wait to retry
WAITERS = 1_000  # twins that may wait at once; more would make a retry storm a memory problem

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05  # seconds between looks at a running twin


class AsgiRequest(Request):
    """A request as the scope shows it."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope, path: str, prefix: str) -> None:
        self.scope = scope
        self.method = scope["method"]
        self.path = path
        self.prefix = prefix
        self.query = scope.get("query_string", b"")
        self._fields = None

    @property
    def headers(self) -> Headers:
        return self.scope["headers"]  # type: ignore[no-any-return]

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        fields = self._fields
        if fields is None:
            headers = self.scope["headers"]
            fields = dict(headers)
            if len(fields) != len(headers):
                fields = joined(headers)
            self._fields = fields
        return fields

    @property
    def names(self) -> Any:
        return self.fields.keys()

    def get(self, name: bytes) -> bytes | None:
        return self.fields.get(name)

    def drop(self, names: frozenset[bytes]) -> None:
        self.scope["headers"] = without(list(self.scope["headers"]), names)
        self._fields = None

    @property
    def target(self) -> bytes:
        raw = self.scope.get("raw_path")
        path = raw.partition(b"?")[0] if raw else quoted_path(self.scope["path"]).encode("ascii")
        prefix = quoted_path(self.prefix).encode("ascii")
        if prefix and not path.startswith(prefix + b"/") and path != prefix:
            path = prefix + path
        return path + b"?" + self.query if self.query else path

    @property
    def client_certificate(self) -> bytes | None:
        extensions = self.scope.get("extensions")
        tls = extensions.get("tls") if extensions else None
        chain = tls.get("client_cert_chain") if tls else None
        return str(next(iter(chain))).encode() if chain else None

    @property
    def http2(self) -> bool:
        return self.scope.get("http_version", "1.1") not in ("1.0", "1.1")


class GuardMiddleware:
    """HTTP's verb semantics around an ASGI app.

    The arguments are those of `verbguard.guard`. Raises ConfigError for arguments that cannot be meant; what needs the
    app's routes is checked when the app starts.
    """

    __verbguard_layer__ = True

    def __init__(
        self,
        app: App,
        *,
        policies: Mapping[str, Policy] | None = None,
        default: Policy | None = None,
        profile: str | Profile = Profile.GUARD,
        store: Store | str | None = None,
        principal: Callable[[Any], Any] | None = None,
        observers: Iterable[Callable[[Finding], Any]] = (),
    ) -> None:
        self.app = app
        self.guard = Guard(policies, default, profile, principal, observers)
        self.store = open_store(store or "memory://") if store is None or isinstance(store, str) else store
        self._waiting = 0
        self._pending = True
        if router_of(app) is None:
            self.guard.compile()

    def __getattr__(self, name: str) -> Any:
        if name == "app":
            raise AttributeError(name)
        return getattr(self.app, name)

    # ---- start-up

    def _prepare(self) -> None:
        """Read the routes: when lifespan start-up is over, or at the first request where there is no lifespan."""
        if self.guard.router is None and router_of(self.app) is not None:
            self.guard.compile(StarletteRouter(self.app))
        self.guard.start(self.store.shared or not several_workers())
        self._pending = False

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Routes may still be added while the app starts up, so they are read when it says that it has."""

        async def started(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                try:
                    self._prepare()
                except ConfigError as error:
                    logger.error("verbguard: %s", error)
                    message = {"type": "lifespan.startup.failed", "message": f"verbguard: {error}"}
            await send(message)

        await self.app(scope, receive, started)

    # ---- requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind != "http" or "verbguard" in scope:
            # another guard outside of this one acts already; WebSocket and what is not known yet are not ours
            await (self._lifespan if kind == "lifespan" else self.app)(scope, receive, send)
            return
        if self._pending:
            self._prepare()
        prefix = scope.get("root_path", "")
        path = below(scope["path"], prefix) if prefix else scope["path"]
        method = scope["method"]
        try:
            resource = self.guard.find(path)
            plan = resource.plans.get(method) if resource is not None else None
            if plan is None:
                plan = self.guard.settle(AsgiRequest(scope, path, prefix))
        except Exception:
            await self._faulty(scope, receive, send, method)
            return
        if plan.passes:
            await self.app(scope, receive, send)
            return
        scope["verbguard"] = True
        if not plan.light or plan.watches and not plan.watches.isdisjoint([name for name, _ in scope["headers"]]):
            await _Serving(self, plan, AsgiRequest(scope, path, prefix), receive, send).run()
            return

        checks = plan.checks
        serving: _Serving | None = None

        def checked(message: Message) -> Awaitable[None]:
            nonlocal serving
            if serving is not None:
                return serving.send(message)
            if message["type"] == "http.response.start" and checks[message["status"]]:
                serving = _Serving(self, plan, AsgiRequest(scope, path, prefix), receive, send)
                return serving.send(message)
            return send(message)

        await self.app(scope, receive, checked)

    async def _faulty(self, scope: Scope, receive: Receive, send: Send, method: str) -> None:
        """The guard itself failed: a safe request runs unguarded, an unsafe one is refused before the app runs."""
        answer = self.guard.fault(method)
        if answer is None:
            await self.app(scope, receive, send)
        else:
            await reply(send, answer)


def below(path: str, prefix: str) -> str:
    """The path below root_path; a server in front may have taken the prefix away already."""
    if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("/", ""):
        return path[len(prefix) :]
    return path


async def reply(send: Send, answer: Response) -> None:
    """Send a whole answer."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


class _Serving:
    """One request on its way through: the exchange, and what ASGI makes of its decisions."""

    __slots__ = (
        "_answered",
        "_as_get",
        "_client_gone",
        "_message",
        "_messages",
        "_saved",
        "_settled",
        "_unshielded",
        "exchange",
        "handle",
        "middleware",
        "receive_inner",
        "send_inner",
        "spool",
    )

    def __init__(self, middleware: GuardMiddleware, plan: Plan, request: AsgiRequest, receive: Receive, send: Send) -> None:
        self.middleware = middleware
        self.exchange = Exchange(middleware.guard, plan, request)
        self.receive_inner = receive
        self.send_inner = send
        self.spool: Spool | None = None
        self.handle = 0
        self._message: Message | None = None  # the head of the answer while it is held
        self._messages: Any = None  # the request's content, to be received again
        self._answered = False  # a head has left
        self._as_get = False  # the app runs a GET whose content nobody wants
        self._settled = False  # nothing is left to record
        self._saved = False
        self._client_gone = False
        self._unshielded: asyncio.Event | None = None

    # ---- the request

    async def run(self) -> None:
        exchange = self.exchange
        try:
            answer = exchange.open()
        except Exception:
            scope = exchange.request.scope  # type: ignore[attr-defined]
            return await self.middleware._faulty(scope, self.receive_inner, self.send_inner, exchange.request.method)
        if answer is not None:
            return await reply(self.send_inner, answer)
        if exchange.mode:
            if not await self._read():
                return None  # the content is incomplete, so nothing may run
            if (answer := await self._claimed()) is not None:
                return await reply(self.send_inner, answer)
        await self._serve()

    async def _read(self) -> bool:
        """All of the request's content; False when the client went away before its end."""
        message = await self.receive_inner()
        if message["type"] != "http.request":
            return False
        if not message.get("more_body", False):
            self._messages = message
            return True
        spool = self.spool = Spool(self.exchange.plan.replay.max_request)
        while True:
            spool.add(message.get("body", b""))
            if not message.get("more_body", False):
                break
            message = await self.receive_inner()
            if message["type"] != "http.request":
                spool.close()
                return False
        self._messages = spool.stream()
        return True

    async def _claimed(self) -> Response | None:
        """Claim the request; the answer to send instead of running it, or None."""
        exchange = self.exchange
        try:
            content = self._messages.get("body", b"") if self.spool is None else self.spool.content
            claim = exchange.claim(content)
        except Exception:
            return self._fault()
        try:
            outcome = self.middleware.store.claim(claim)
            if type(outcome) is Busy and exchange.patience:
                outcome = await self._waited(claim, outcome)
        except StoreError as error:
            return exchange.store_down(error)
        except Exception as error:
            return exchange.store_down(error)
        if type(outcome) is Done and exchange.plan.replay.authorize is not None and not await self._authorised():
            return exchange.forbidden()
        answer = exchange.claimed(outcome)
        if exchange.token:
            self.handle = renewer.hold(self.middleware.store, claim, exchange.token)
        return answer

    async def _waited(self, claim: Claim, outcome: Outcome) -> Outcome:
        """Look again until the twin is done, this request's turn comes, or its patience ends."""
        middleware = self.middleware
        if middleware._waiting >= WAITERS:
            return outcome
        end = monotonic() + self.exchange.patience
        pause = _FIRST_PAUSE
        middleware._waiting += 1
        try:
            while type(outcome) is Busy and (left := end - monotonic()) > 0:
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 1.5, _LONGEST_PAUSE)
                outcome = middleware.store.claim(claim)
        finally:
            middleware._waiting -= 1
        return outcome

    async def _authorised(self) -> bool:
        authorize = self.exchange.plan.replay.authorize
        assert authorize is not None
        verdict = authorize(self.exchange.request)
        return bool(await verdict if inspect.isawaitable(verdict) else verdict)

    def _fault(self) -> Response | None:
        answer = self.middleware.guard.fault(self.exchange.request.method)
        if answer is None:
            self.exchange.unprotected()
        return answer

    # ---- the app

    async def _serve(self) -> None:
        exchange = self.exchange
        store = self.middleware.store
        touch = exchange.touch
        if touch is not None and not exchange.token:
            store.start(touch)
        try:
            await self._call()
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            if self.handle:
                renewer.drop(self.handle)
            if exchange.token and not self._settled:
                self._failed(None)
            if touch is not None and (exchange.mode != "keyless" or not exchange.token):
                store.end(touch)
            if self.spool is not None:
                self.spool.close()

    async def _call(self) -> None:
        exchange = self.exchange
        scope = exchange.request.scope  # type: ignore[attr-defined]
        app = self.middleware.app
        receive = self.receive if self._messages is not None or exchange.token else self.receive_inner
        if exchange.request.method != "HEAD":
            await app(scope, receive, self.send)
            return
        original = {**scope}
        await app(scope, receive, self.send)
        if exchange.again:
            exchange.again = False
            self._as_get = True
            try:
                await app({**original, "method": "GET"}, receive, self.send)
            except Exception:
                # once its head is out, whatever stopped the app has no content to lose
                if not self._answered:
                    raise

    async def receive(self) -> Message:
        """The content that was read before, then what the server says; not that the client left, while it is shielded."""
        messages = self._messages
        if messages is not None:
            if self.spool is None:
                self._messages = None
                return messages  # type: ignore[no-any-return]
            piece = next(messages, b"")
            self.spool.size -= len(piece)
            if self.spool.size <= 0:
                self._messages = None
            return {"type": "http.request", "body": piece, "more_body": self.spool.size > 0}
        message = await self.receive_inner()
        if message["type"] == "http.disconnect" and not self._settled and self.exchange.storable:
            await self._shielded()
        return message

    async def _shielded(self) -> None:
        event = self._unshielded
        if event is None:
            event = self._unshielded = asyncio.Event()
        try:
            async with asyncio.timeout(SHIELD):
                await event.wait()
        except TimeoutError:
            pass

    # ---- the answer

    async def send(self, message: Message) -> None:
        """The app's `send`: the head waits while the exchange holds it, the record is saved before the last piece leaves."""
        exchange = self.exchange
        kind = message["type"]
        if kind == "http.response.body":
            await self._content(message)
        elif kind == "http.response.start":
            try:
                exchange.answered(message["status"], list(message.get("headers", ())))
            except Exception:
                self.middleware.guard.fault("GET")
                exchange.status, exchange.holding = message["status"], Content.NONE
            if exchange.again:
                return
            if exchange.replaced is not None:
                await self._replace(exchange.replaced)
            elif exchange.holding is not Content.NONE:
                self._message = message
            else:
                await self._head(message)
        else:
            if not exchange.storable:
                self._release_shield()
            await self._out(message)

    async def _head(self, message: Message) -> None:
        exchange = self.exchange
        self._answered = True
        self._message = None
        if message["status"] != exchange.status or message.get("headers") is not exchange.headers:
            message = {**message, "status": exchange.status, "headers": exchange.headers}
        await self._out(message)
        if not exchange.storable:
            self._release_shield()

    async def _replace(self, answer: Response) -> None:
        self.exchange.finished = True
        self._commit()
        self._answered = True
        await self._out({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        body = b"" if self.exchange.request.method == "HEAD" else answer.body
        await self._out({"type": "http.response.body", "body": body, "more_body": False})

    async def _content(self, message: Message) -> None:
        exchange = self.exchange
        if exchange.replaced is not None or exchange.again:
            return
        piece, more = message.get("body", b""), message.get("more_body", False)
        out = exchange.content(piece, more)
        if exchange.replaced is not None:
            return await self._replace(exchange.replaced)
        if exchange.holding is not Content.NONE:
            return None
        if self._message is not None:
            await self._head(self._message)
        if not more:
            self._commit()
        elif exchange.dropping:
            if self._as_get:
                exchange.finished = True
                await self._out({"type": "http.response.body", "body": b"", "more_body": False})
                raise _HeadIsOut
            return None
        if out is not piece or "body" not in message:
            message = {**message, "body": out, "more_body": more}
        await self._out(message)
        return None

    async def _out(self, message: Message) -> None:
        """To the server. A client that went away does not stop an app whose answer may still be recorded."""
        if self._client_gone:
            return
        if not self.exchange.token:
            await self.send_inner(message)
            return
        try:
            await self.send_inner(message)
        except OSError:
            if not self._settled and not self.exchange.storable:
                raise
            self._client_gone = True

    # ---- the record

    def _commit(self) -> None:
        """The answer is complete: keep it, or let the claim go."""
        exchange = self.exchange
        if not exchange.token or self._settled:
            return
        self._keep(exchange.record())

    def _failed(self, error: BaseException | None) -> None:
        exchange = self.exchange
        if not exchange.token:
            return
        if self._settled:
            if isinstance(error, Exception) and self._saved and exchange.unsure:
                # a middleware may have ended the answer in the app's name before it passed the error on
                self._keep(exchange.demoted())
            return
        cancelled = error is not None and not isinstance(error, Exception)
        self._keep(exchange.failed(cancelled))

    def _keep(self, record: Record | None) -> None:
        exchange, store = self.exchange, self.middleware.store
        claim = exchange.claimed_as
        assert claim is not None
        self._settled = True
        self._release_shield()
        try:
            if record is None:
                kept = store.release(claim, exchange.token)
            else:
                try:
                    kept = store.save(claim, exchange.token, record)
                except ValueError:
                    kept = store.save(claim, exchange.token, Record(record.status, [], b"", State.BROKEN))
                self._saved = kept
            if not kept:
                exchange.say(replaying.LEASE_LOST, "The run outlived its lease; its answer was not kept.")
        except Exception as error:
            exchange.say(replaying.UNPROTECTED, f"The answer could not be kept: {error}", Action.OBSERVE)

    def _release_shield(self) -> None:
        if self._unshielded is not None:
            self._unshielded.set()


class _HeadIsOut(Exception):
    """Stops an app that streams the content of an answer to HEAD."""
