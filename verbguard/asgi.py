"""The ASGI adapter: messages in, messages out. Read it beside wsgi.py, which makes the same calls in the same order."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from time import monotonic
from typing import Any

from verbguard.derived import TOLD, Look, asked_again, plainly_asked, translated
from verbguard.errors import ConfigError
from verbguard.exchange import refused
from verbguard.http import NAME, Headers, Request, Response, quoted_path, without
from verbguard.layouts import ANSWERS
from verbguard.looking import look, unsent
from verbguard.plans import Guard
from verbguard.policy import Policy, Profile
from verbguard.recording import Current
from verbguard.records import Busy, Done, Outcome, Record, Unknown, Won, lineage
from verbguard.resources import Plan, StatusChecks
from verbguard.routers.starlette import StarletteRouter, router_of
from verbguard.rules import Content, Finding, replaying
from verbguard.serving import FIRST_PAUSE, LONGEST_PAUSE, LOST, Later, Serving
from verbguard.spool import Spool
from verbguard.stores import Store, for_asyncio
from verbguard.turns import TURN, Turns, lease_of
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

_PAIR = (tuple, list)
_SHUT_DOWN = frozenset(["lifespan.shutdown.complete", "lifespan.shutdown.failed"])
_CLOSED = "the handler is closed"  # how uvloop says, by a RuntimeError, that the server has given a connection up
_UNSEEN = frozenset(["http.response.pathsend", "http.response.zerocopysend"])  # the server reads the content itself


class AsgiRequest(Request):
    """A request as the scope shows it."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope, path: str, prefix: str) -> None:
        self.scope = scope
        self.method = scope["method"]
        self.path = path
        self.prefix = prefix
        self.query = scope.get("query_string", b"")
        self._fields = self.layout = None
        headers = scope.get("headers", ())
        if type(headers) is not list or headers and type(headers[0]) not in _PAIR:
            scope["headers"] = pairs(headers)

    @property
    def headers(self) -> Headers:
        return self.scope["headers"]  # type: ignore[no-any-return]

    def drop(self, names: frozenset[bytes]) -> None:
        self.scope["headers"] = without(list(self.scope["headers"]), names)
        self._fields = self.layout = None

    @property
    def version(self) -> str:  # type: ignore[override]
        return str(self.scope.get("http_version", ""))

    def moved(self, path: str) -> None:
        scope = self.scope
        scope["path"] = path
        if raw := scope.get("raw_path"):
            scope["raw_path"] = b"/" + raw.partition(b"://")[2].partition(b"/")[2]
        self.path = below(path, self.prefix)

    @property
    def target(self) -> bytes:
        raw = self.scope.get("raw_path")
        if raw and not self.prefix and raw.find(b"?") < 0:
            return raw + b"?" + self.query if self.query else raw  # type: ignore[no-any-return]
        path = raw.partition(b"?")[0] if raw else quoted_path(self.scope["path"]).encode("ascii")
        prefix = quoted_path(self.prefix).encode("ascii")
        if prefix and not path.startswith(prefix + b"/") and path != prefix:
            path = prefix + path
        return path + b"?" + self.query if self.query else path

    @property
    def client_certificate(self) -> bytes | None:
        extensions = self.scope.get("extensions")
        if not extensions or "tls" not in extensions:
            return None
        chain = extensions["tls"].get("client_cert_chain")
        return str(next(iter(chain))).encode() if chain else None


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
        self.store = for_asyncio(store)
        self.guard.shares = self.store.shared
        self.guard.gateway = bool(getattr(app, "__verbguard_gateway__", False))
        self.serving = _serving_for(self.store)
        self.waiting = 0
        self.turns = Turns(WAITERS)
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
            elif message["type"] in _SHUT_DOWN and self.serving.distant:
                # uvicorn ends its process as soon as it hears this; what it has cancelled must be told to the store before
                await self.serving.quiet(self.store)
            await send(message)

        await self.app(scope, receive, started)

    # ---- requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope.get("type")
        if kind != "http" or "verbguard" in scope:
            # another guard outside of this one acts already; WebSocket and what is not known yet are not ours
            await (self._lifespan if kind == "lifespan" else self.app)(scope, receive, send)
            return
        prefix = scope.get("root_path", "")
        path = below(scope["path"], prefix) if prefix else scope["path"]
        try:
            resource = self.guard.find(path)
            plan = resource.plans.get(scope["method"]) if resource is not None else None
            if plan is None:
                request = AsgiRequest(scope, path, prefix)
                plan = self._settled(request)
                path = request.path
        except ConfigError:
            raise
        except Exception:
            await self.faulty(scope, receive, send)
            return
        if not plan.light or plan.watches and not plan.watches.isdisjoint(map(NAME, listed(scope))):
            if plan.passes:
                await self.app(scope, receive, send)
                return
            scope["verbguard"] = plan  # who watches from outside learns which route it was
            request = AsgiRequest(scope, path, prefix)
            if not plan.refuses:
                await self.serving(self, plan, request, receive, send).run()
                return
            try:
                answer = refused(self.guard, plan, request, may_close(scope))
            except Exception:
                await self.faulty(scope, receive, send)
                return
            await reply(send, answer)
            return

        scope["verbguard"] = plan
        if plan.idle:
            await self.app(scope, receive, send)
            return
        heads = plan.heads
        serving: _Serving | None = None

        def checked(message: Message) -> Awaitable[None]:
            nonlocal serving
            if serving is not None:
                return serving.send(message)
            if message["type"] == "http.response.start" and (awaited := heads[message["status"]]) is not None:
                headers = message.get("headers", ())
                if awaited and type(headers) is list:  # not `any`, nor a function: each ordinary answer comes by here
                    for name, _ in headers:
                        if awaited[name]:
                            break
                    else:
                        return send(message)
                if _concerned(plan.checks_given, message):
                    serving = self.serving(self, plan, AsgiRequest(scope, path, prefix), receive, send)
                    return serving.send(message)
            return send(message)

        await self.app(scope, receive, checked)

    def _settled(self, request: AsgiRequest) -> Plan:
        """The plan for a request that the map alone does not decide, or that is the first."""
        if self._pending:
            self._prepare()
        return self.guard.settle(request)

    async def faulty(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The guard itself failed: a safe request runs unguarded, an unsafe one is refused before the app runs."""
        answer = self.guard.fault(scope["method"])
        if answer is None:
            await self.app(scope, receive, send)
        else:
            await reply(send, answer)


def _serving_for(store: Any) -> type[_Serving]:
    """How requests are served: a store of asyncio's must be awaited."""
    if not getattr(store, "asynchronous", False):
        return _Serving
    from verbguard.awaiting import Awaiting

    return Awaiting


def may_close(scope: Scope) -> bool:
    """HTTP/2 has no connection fields."""
    return scope.get("http_version", "1.1") in ("1.1", "1.0")


def _concerned(checks: StatusChecks, message: Message) -> bool:
    """Whether a rule has something to say of an answer with this head; what is no list may be readable once only."""
    headers = message.get("headers", ())
    return type(headers) is not list or bool(checks.of(message["status"], ANSWERS[tuple(map(NAME, headers))]))


def listed(scope: Scope) -> Headers:
    """The request's fields as a list, which the scope keeps."""
    headers = scope.get("headers", ())
    if type(headers) is not list:
        headers = scope["headers"] = pairs(headers)
    return headers  # type: ignore[no-any-return]


def pairs(headers: Any) -> Headers:
    """Fields that can be read again: by the standard they are an iterable of iterables, and some can be read once only."""
    if type(headers) is list and (not headers or type(headers[0]) in _PAIR):
        return headers
    return [(name, value) for name, value in headers]


def below(path: str, prefix: str) -> str:
    """The path below root_path; a server in front may have taken the prefix away already."""
    if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("/", ""):
        return path[len(prefix) :]
    return path


async def reply(send: Send, answer: Response) -> None:
    """Send a whole answer; layers outside may change the list of headers, and a refusal is one for all requests."""
    await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers]})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


class _Serving(Serving):
    """One request on its way through ASGI."""

    middleware: GuardMiddleware
    # Defaults stand on the class: a request sets only what it makes different.
    _message: Message | None = None  # the head of the answer while it is held
    _messages: Any = None  # the request's content, to be received again
    distant = False  # whether the store's words must be awaited
    _as_get = False  # the app runs a GET whose content nobody wants
    _client_gone = False
    _unshielded: asyncio.Event | None = None
    _untold: Scope | None = None  # the scope before the run, where the state after it is to be looked at

    def __init__(self, middleware: GuardMiddleware, plan: Plan, request: AsgiRequest, receive: Receive, send: Send) -> None:
        self.guard = middleware.guard
        self.store = middleware.store
        self.plan = plan
        self.request = request
        self.scope = request.scope
        self.middleware = middleware
        self.receive_inner = receive
        self.send_inner = send

    # ---- the request

    async def run(self) -> None:
        try:
            answer = self.open()
        except Exception:
            return await self.middleware.faulty(self.scope, self.receive_inner, self.send_inner)
        if self.guard.trusted_from and (later := self.wary()) is not None:
            await later
        if answer is None and (self.mode or self.inspections):
            message = await self.receive_inner()
            if message["type"] != "http.request":
                return await reply(self.send_inner, self.incomplete())
            if message.get("more_body", False):
                if not await self._read(message):
                    return await reply(self.send_inner, self.incomplete())
            else:
                self._messages = message
            if self.inspections:
                answer = self.looked_into(message.get("body", b"") if self.spool is None else self.spool.content)
            if self.mode and answer is None:
                outcome = self.ask(message.get("body", b"") if self.spool is None else self.spool.content)
                if self.distant:
                    outcome = await outcome
                if type(outcome) is Busy and self.patience:
                    outcome = await self._waited(outcome)
                if type(outcome) is Unknown and self.plan.replay.on_unknown is not None:
                    outcome = await self._reconciled(outcome)
                if type(outcome) is Done and self.plan.verifies and self.mode == "keyless":
                    outcome = await self._verified(outcome)
                if type(outcome) is Done and self.plan.replay.authorize is not None:
                    answer = await self._authorised(outcome)
                else:
                    answer = self.refusal if outcome is None else self.claimed(outcome)
                self.hold()
        if answer is None and self.conditional:
            answer = await self._against_state()
        if answer is not None:
            self.close_spool()
            return await reply(self.send_inner, answer)
        if not self.token and (later := self.begin_touch()) is not None:
            try:
                await later
            except BaseException:
                self.end_turn()
                raise
        if self.plan.looks:
            self._prepare_look()
        current = Current(self) if self.key else None
        if self.token and self.guard.gateway:
            self.scope["verbguard.run"] = self
        try:
            if self.request.method == "HEAD":
                await self._head_of()
            else:
                receive = self.receive if self._messages is not None else self.receive_inner
                await self.middleware.app(self.scope, receive, self.send)
            if self.deferred:
                await self._look_after()
        except BaseException as error:
            await self._patiently(self.stopped(error), error)
            mine = not self.superseded or self.begun or not isinstance(error, Exception)
            if mine or (answer := await self._theirs()) is None:
                raise
            await reply(self.send_inner, answer)
        finally:
            if current is not None:
                current.over()
            if (later := self._end()) is not None:
                await later
        return None

    async def _theirs(self) -> Response | None:
        """The answer that another run of the key has committed; None where it cannot be had."""
        claim = self.claimed_as
        assert claim is not None
        found = self.ask_again(claim)
        outcome = await found if self.distant else found
        if isinstance(outcome, Won):  # its time has just run out
            self.token = outcome.token
            if (later := self.withdraw()) is not None:
                await later
            return None
        return self.claimed(outcome) if isinstance(outcome, Done) else None

    @staticmethod
    async def quiet(store: Any) -> None:
        """Wait, for a bounded time, until the store has heard of the end of every run."""

    async def _patiently(self, later: Later, error: BaseException) -> None:
        """What the store still has to hear is on its way; a coroutine that is being closed may not wait for it."""
        if later is not None and not isinstance(error, GeneratorExit):
            await later

    @property
    def may_close(self) -> bool:  # type: ignore[override]
        return may_close(self.scope)

    async def _read(self, message: Message) -> bool:
        """The rest of the request's content; False when the client went away before its end."""
        spool = self.spool = Spool(self.plan.replay.max_request)
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

    async def _waited(self, outcome: Outcome | None) -> Outcome | None:
        """Look again until the twin is done, this request's turn comes, or its patience ends."""
        middleware, claim = self.middleware, self.claimed_as
        assert claim is not None
        if middleware.waiting >= WAITERS:
            return outcome
        end = monotonic() + self.patience
        pause = FIRST_PAUSE
        middleware.waiting += 1
        try:
            while type(outcome) is Busy and (left := end - monotonic()) > 0:
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 1.5, LONGEST_PAUSE)
                found = self.ask_again(claim)
                outcome = await found if self.distant else found
        finally:
            middleware.waiting -= 1
        return outcome

    async def _authorised(self, outcome: Done) -> Response | None:
        """A stored answer, once the application's own `authorize` has nothing against it."""
        authorize = self.plan.replay.authorize
        assert authorize is not None
        try:
            verdict = authorize(self.request)
            allowed = await verdict if inspect.isawaitable(verdict) else verdict
        except Exception:
            return self.unauthorised()
        return self.claimed(outcome) if allowed else self.forbidden()

    async def _reconciled(self, outcome: Unknown) -> Outcome | None:
        """What the application's `on_unknown` knows of a run that was cut off."""
        hook = self.plan.replay.on_unknown
        assert hook is not None
        try:
            verdict = hook(self.request)
            verdict = await verdict if inspect.isawaitable(verdict) else verdict
            answer = self.reconciled(verdict)
        except Exception:
            self.refusal = self.guard.fault(self.request.method)
            return None
        if verdict is None or verdict is False:
            return outcome
        found = self.ask_to_rerun()
        found = await found if self.distant else found
        if not isinstance(found, Won) or answer is None:
            return found  # type: ignore[no-any-return]
        return await self._completed(found, answer)

    async def _completed(self, won: Won, answer: Record) -> Outcome:
        self.token = won.token
        if (later := self.keep(answer)) is not None:
            await later
        self.token = 0
        return Done(answer)

    async def _against_state(self) -> Response | None:
        """The refusal of a request whose condition is false for the state that the policy's `validator` tells, or an internal
        GET shows."""
        validator = self.plan.target.policy.validator
        try:
            if validator is None:
                answer = await self._in_turn()
            else:
                current = validator(self.request)
                answer = self.conditions(await current if inspect.isawaitable(current) else current)
        except Exception:
            answer = self.unvalidated()
        except BaseException as error:
            self.end_turn()
            await self._patiently(self.withdraw(), error)
            raise
        if answer is not None:
            self.end_turn()
            if (later := self.withdraw()) is not None:
                await later
        return answer

    async def unknown(self, answer: Response) -> None:
        """A gateway tells the client that nobody knows what the service does with its request.

        What the service answers after all is kept for a retry. Where it answers nothing, the outcome stays unknown.
        """
        self.unanswered = True
        if not self._client_gone:
            await reply(self.send_inner, answer)
            self._client_gone = True

    # ---- a state that nobody tells

    async def _in_turn(self) -> Response | None:
        """Wait until nobody else writes to the target, and look at its state where a condition of the request asks for it."""
        name, end = lineage(self.request.path)[0], monotonic() + TURN
        if not await self.middleware.turns.take(name, TURN):
            return self.crowded("Too many writes on this target wait, or one of them takes too long.")
        self.turn = name
        answer = await self._among_processes(end) if self.store.shared else None
        if answer is not None or not self.layout.conditional:
            return answer
        return self.judged((await self._look(self.scope)).state())

    async def _among_processes(self, end: float) -> Response | None:
        """The same turn among all who share the store."""
        self.lease = lease_of(self.guard.scope, self.turn, self.plan.replay.lease)
        pause = FIRST_PAUSE
        while True:
            found = self.ask_for_turn()
            outcome = await found if self.distant else found
            if type(outcome) is not Busy or monotonic() >= end:
                return self.turned(outcome)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _look(self, scope: Scope) -> Awaitable[Look]:
        return look(self.middleware.app, scope, asked_again(listed(scope)), self.plan.replay.max_response)

    async def _verified(self, outcome: Done) -> Outcome | None:
        """A stored answer while the target is as its run left it; otherwise the claim of a request that runs again."""
        claim = self.claimed_as
        assert claim is not None
        if self.still_so(outcome.record, await self._look(self.scope)):
            return outcome
        found = self.ask_again(claim)
        again: Outcome | None = await found if self.distant else found
        if self.is_still(outcome, again):
            self.say(replaying.UNVERIFIED, "The target is not as the first request left it; this one runs.")
            if (later := self.outdated()) is not None:
                await later
            found = self.ask_again(claim)
            again = await found if self.distant else found
        return await self._waited(again) if type(again) is Busy and self.patience else again

    async def _look_after(self) -> None:
        """What a verified answer is kept with: the target's ETag after the run, shown by another look.

        When the app has returned, as some end their transaction only then; a retry that comes before waits for its twin.
        """
        self.deferred = False
        scope = self._untold
        if scope is None or self.settled_at or not self.finished:
            return
        if 200 <= self.status <= 299:
            self.seen = self.left(await self._look(scope))
        if (later := self.commit()) is not None:
            await later

    def _prepare_look(self) -> None:
        """Remember what is to be asked again after the run, and name states as the app does; or let it show its content's own
        bytes, which are digested."""
        scope = self.scope
        if not self.plan.tags:
            if self.conditional and self.layout.names & TOLD:
                scope["headers"] = translated(listed(scope))
            if self.plan.verifies and self.token and self.mode == "keyless":
                self._untold = {**scope}  # routers write into the scope
                self.deferred = True
            return
        scope["headers"] = plainly_asked(listed(scope))
        if "extensions" in scope:
            scope["extensions"] = unsent(scope["extensions"])

    # ---- the app

    async def _head_of(self) -> None:
        """HEAD, and where the app refuses it, GET for its head only."""
        app, scope = self.middleware.app, self.scope
        original = {**scope}
        if self.plan.tags:
            self.only_as_get()
        else:
            await app(scope, self.receive_inner, self.send)
        if self.again:
            self.again = False
            self._as_get = True
            self._messages = {"type": "http.request", "body": b"", "more_body": False}  # the first run took the server's
            try:
                await app({**original, "method": "GET"}, self.receive, self.send)
            except Exception:
                # once its head is out, whatever stopped the app has no content to lose
                if not self.begun:
                    raise

    def _end(self) -> Later:
        """The app has returned, whatever became of its answer."""
        if self.token:
            self.let_go()
            if not self.settled_at:
                self.abandon(None)
            # What a PUT without a key still does after its answer is its own, and leaves the state that its answer tells.
            if self.mode == "keyed":
                self.touch_again()
        else:
            self.end_touch()
        if self.turn:
            self.end_turn()
        self._release_shield()
        self.close_spool()
        return None

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
        if message["type"] == "http.disconnect" and not self.settled_at and self.storable:
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
        """The app's `send`: the head waits while the exchange holds it; the record is saved before the last piece leaves."""
        kind = message["type"]
        if kind == "http.response.body":
            if not self.untouched:
                return await self._content(message)
            if message.get("more_body", False):
                self.passed(message.get("body", b""), True)
                if self._unshielded is not None and not self.storable:
                    self._release_shield()
            else:
                self.passed(message.get("body", b""), False)
                if (later := self.commit()) is not None:
                    await later
                self._release_shield()
        elif kind == "http.response.start":
            headers = message.get("headers", ())
            if type(headers) is not list or headers and type(headers[0]) not in _PAIR:
                headers = pairs(headers)
                message = {**message, "headers": headers}
            try:
                # layers outside change the list that they are given; what is kept is what the app said
                self.answered(message["status"], [*headers] if self.capturing else headers)
            except Exception:
                self.unjudged(message["status"])
            if self.superseded and self.status >= 500:
                if (later := self.abandon(None)) is not None:
                    await later
                self.replaced = await self._theirs()
                self.untouched = self.untouched and self.replaced is None
            if self.token and self.lost:
                self.untouched = False
                self.headers = [*self.headers, LOST]
            if not self.untouched:
                return await self._started(message)
            self.begun = True
            if self._unshielded is not None and not self.storable:
                self._release_shield()
        elif kind in _UNSEEN:
            self.unseen()
            if self._message is not None:
                self.unheld()
                await self._head(self._message)
            if (later := self.commit()) is not None:
                await later
            self._release_shield()
        if self._client_gone:
            return None
        try:
            await self.send_inner(message)
        except (OSError, RuntimeError) as error:
            self._gone(error)
        return None

    async def _started(self, message: Message) -> None:
        if self.again:
            return
        if self.replaced is not None:
            await self._replace(self.replaced)
        elif self.holding is not Content.NONE:
            self._message = message
        else:
            await self._head(message)

    async def _head(self, message: Message) -> None:
        self.begun = True
        self._message = None
        if message["status"] != self.status or message.get("headers") is not self.headers:
            message = {**message, "status": self.status, "headers": [*self.headers]}
        await self._out(message)
        if not self.storable:
            self._release_shield()

    async def _replace(self, answer: Response) -> None:
        self.finished = True
        if (later := self.commit()) is not None:
            await later
        self._release_shield()
        self.begun = True
        await self._out({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers]})
        body = b"" if self.request.method == "HEAD" else answer.body
        await self._out({"type": "http.response.body", "body": body, "more_body": False})

    async def _content(self, message: Message) -> None:
        if self.replaced is not None or self.again:
            return
        piece, more = message.get("body", b""), message.get("more_body", False)
        out = self.passed(piece, more)
        if self.replaced is not None:
            return await self._replace(self.replaced)
        if self._unshielded is not None and not self.storable:
            self._release_shield()
        if self.holding is not Content.NONE:
            return None
        if self._message is not None:
            await self._head(self._message)
        if not more:
            if (later := self.commit()) is not None:
                await later
            self._release_shield()
        elif self.dropping:
            if self._as_get:
                self.finished = True
                await self._out({"type": "http.response.body", "body": b"", "more_body": False})
                raise _HeadIsOut
            out = b""  # the app still hears whether its client is there
        if out is not piece:
            message = {**message, "body": out, "more_body": more}
        await self._out(message)
        return None

    async def _out(self, message: Message) -> None:
        if not self._client_gone:
            try:
                await self.send_inner(message)
            except (OSError, RuntimeError) as error:
                self._gone(error)

    def _gone(self, error: OSError | RuntimeError) -> None:
        """A client that went away does not stop an app whose answer may still be recorded."""
        left = isinstance(error, OSError) or _CLOSED in str(error)
        if not left or not self.token or (not self.settled_at and not self.storable):
            raise
        self._client_gone = True

    def _release_shield(self) -> None:
        if self._unshielded is not None:
            self._unshielded.set()


class _HeadIsOut(Exception):
    """Stops an app that streams the content of an answer to HEAD."""
