"""The WSGI adapter: an environ in, an iterable out. Read it beside asgi.py, which makes the same calls in the same order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import isawaitable
from io import BytesIO
from time import monotonic
from typing import Any

from verbguard.derived import NOT_OF_A_READ, TOLD, Look, is_derived, is_derived_in, told
from verbguard.errors import ConfigError
from verbguard.exchange import refused
from verbguard.http import NAME, Headers, Request, Response, environ_name, joined, quoted_path, reason
from verbguard.layouts import ANSWERS, Layout, Layouts
from verbguard.looking import look_blocking
from verbguard.plans import Guard
from verbguard.policy import Policy, Profile
from verbguard.recording import Current
from verbguard.records import Busy, Done, Outcome, Record, Unknown, Won, lineage
from verbguard.resources import Plan
from verbguard.routers.werkzeug import closes_quietly, router_of
from verbguard.routes import Router
from verbguard.rules import Content, Finding, replaying
from verbguard.serving import FIRST_PAUSE, LONGEST_PAUSE, LOST, Serving
from verbguard.spool import PIECE, Spool
from verbguard.stores import Store, blocking
from verbguard.transactions import is_open
from verbguard.turns import TURN, Turns, lease_of
from verbguard.workers import several_workers

__all__ = ["GuardMiddleware"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

MARK = "verbguard.guarded"  # PEP 3333: a name of ours has a dot
WAITERS = 256  # twins that may wait at once: each one holds a thread of the server's


class _EnvironNames(dict[bytes, str]):
    """Field name -> where an environ has it."""

    def __missing__(self, name: bytes) -> str:
        return self.setdefault(name, environ_name(name))


_ELSEWHERE = ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH")  # nginx passes them beside the keys that PEP 3333 has for them

# The user that the server vouches for; no client can send a field of that name.
SERVER_USER = b"(server).remote-user"


class _FieldNames(dict[str, bytes | None]):
    """The other way round: an environ's key -> field name, or None for what is no field."""

    def __missing__(self, key: str) -> bytes | None:
        name = None
        if key.startswith("HTTP_") and key not in _ELSEWHERE:
            name = key[5:].replace("_", "-").lower().encode("latin-1")
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            name = key.replace("_", "-").lower().encode("latin-1")
        if len(self) < 2_000 and len(key) <= 128:  # clients choose names; they must not fill memory
            self[key] = name
        return name


_ENVIRON = _EnvironNames()
_FIELDS = _FieldNames()


def _named(keys: tuple[str, ...]) -> Iterator[tuple[bytes, str]]:
    for key in keys:
        name = SERVER_USER if key == "REMOTE_USER" else _FIELDS[key]
        if name is not None:
            yield name, key


_BY_KEYS: Layouts[tuple[str, ...], str] = Layouts(_named)
_MAY_BE_EMPTY = frozenset(["CONTENT_TYPE", "CONTENT_LENGTH"])  # uWSGI and mod_wsgi always have them


class WsgiRequest(Request):
    """A request as the environ shows it."""

    __slots__ = ("_path_info", "_prefix", "environ")

    def __init__(self, environ: Environ, path: str, prefix: str) -> None:
        self.environ = environ
        self.method = environ["REQUEST_METHOD"]
        self.path = path
        self._prefix = prefix
        self._path_info = environ.get("PATH_INFO")
        self.query = environ.get("QUERY_STRING", "").encode("latin-1", "replace")
        self.layout = None

    @property
    def prefix(self) -> str:  # type: ignore[override]
        """SCRIPT_NAME, also when a proxy's prefix is only put in place behind the guard; a mount moves the path as well."""
        environ = self.environ
        if environ.get("PATH_INFO") != self._path_info:
            return self._prefix
        prefix = environ.get("SCRIPT_NAME", "")
        return decoded(prefix) if prefix else ""

    @property
    def headers(self) -> Headers:
        names = _FIELDS
        return [
            (name, octets(value))
            for key, value in self.environ.items()
            if (name := names[key]) is not None and (value or key[:5] == "HTTP_")
        ]

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        return dict(self.headers)

    @property
    def version(self) -> str:  # type: ignore[override]
        return str(self.environ.get("SERVER_PROTOCOL", "")).removeprefix("HTTP/")

    def moved(self, path: str) -> None:
        environ = self.environ
        prefix = environ.get("SCRIPT_NAME", "")
        info = "/" + str(environ.get("PATH_INFO", "")).partition("://")[2].partition("/")[2]
        if prefix and info.startswith(prefix + "/"):
            info = info[len(prefix) :]
        environ["PATH_INFO"] = self._path_info = info
        self.path = decoded(info)

    def _layout(self) -> Layout[str]:
        """An environ has layouts of its own, by its keys; an empty CONTENT_TYPE or CONTENT_LENGTH is none (PEP 3333)."""
        environ = self.environ
        if environ.get("CONTENT_TYPE", "-") and environ.get("CONTENT_LENGTH", "-"):
            return _BY_KEYS[tuple(environ)]
        return _BY_KEYS[tuple(key for key, value in environ.items() if value or key not in _MAY_BE_EMPTY)]

    def deciding(self, layouts: Mapping[tuple[bytes, ...], Any]) -> dict[bytes, bytes]:
        environ = self.environ
        layout = self.layout = self._layout()
        try:
            found = {name: environ[key].encode("latin-1") for name, key in layout.deciding}
        except (AttributeError, UnicodeEncodeError):  # as only test clients make them
            found = {name: octets(environ[key]) for name, key in layout.deciding}
        return found if not layout.repeats else joined((name, octets(environ[key])) for name, key in layout.deciding)

    def meaning(self, layouts: Mapping[tuple[bytes, ...], Any]) -> list[bytes]:
        environ = self.environ
        layout = self.layout or self._layout()
        try:
            return [begins + environ[key].encode("latin-1") for begins, key in layout.meaning]
        except (AttributeError, UnicodeEncodeError):
            return [begins + octets(environ[key]) for begins, key in layout.meaning]

    def get(self, name: bytes) -> bytes | None:
        value = self.environ.get("REMOTE_USER") if name == b"remote-user" else None  # the server's word before the client's
        if not value:
            value = self.environ.get(_ENVIRON[name])
        if not value and (value is None or name in (b"content-type", b"content-length")):
            return None
        return octets(value)

    def drop(self, names: frozenset[bytes]) -> None:
        for name in names:
            self.environ.pop(_ENVIRON[name], None)
        self.layout = None

    @property
    def target(self) -> bytes:
        path = quoted_path(self.prefix + self.path).encode("ascii")
        return path + b"?" + self.query if self.query else path

    @property
    def client_certificate(self) -> bytes | None:
        certificate = self.environ.get("SSL_CLIENT_CERT")
        return certificate.encode("latin-1") if certificate else None


def octets(value: Any) -> bytes:
    """A field's value as bytes. PEP 3333 has text there that fits latin-1; test clients leave bytes, numbers and other text."""
    return value if type(value) is bytes else str(value).encode("latin-1", "backslashreplace")


def _length(declared: Any) -> int:
    """The length that CONTENT_LENGTH declares, or -1."""
    if type(declared) is str and len(declared) < 19 and declared.isdecimal() and declared.isascii():
        return int(declared)
    digits = octets(declared or "")
    if not digits.isdigit():
        return -1
    return int(digits.lstrip(b"0")[:19] or b"0")  # more are never reached, and Python reads no number of 5,000


def _pairs(headers: list[tuple[str, str]]) -> Headers:
    try:
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    except (AttributeError, UnicodeEncodeError):
        return [(octets(name), octets(value)) for name, value in headers]


def _as_read(environ: Environ) -> Environ:
    """The environ of the internal GET: see `derived.asked_again`."""
    asked = {key: value for key, value in environ.items() if _FIELDS[key] not in NOT_OF_A_READ and key not in _ELSEWHERE}
    asked.pop("wsgi.file_wrapper", None)
    asked["HTTP_ACCEPT_ENCODING"] = "identity"
    asked["HTTP_CACHE_CONTROL"] = "no-cache"
    return asked


def _translate(environ: Environ) -> None:
    """See `derived.translated`."""
    for name in TOLD:
        value = environ.get(_ENVIRON[name])
        if type(value) is str and is_derived_in(octets(value)):
            environ[_ENVIRON[name]] = value = told(octets(value)).decode("latin-1")
            if name == b"if-match" and is_derived_in(octets(value)):
                del environ[_ENVIRON[name]]


def decoded(path: str) -> str:
    """A WSGI path, bytes in disguise, as text (PEP 3333)."""
    return path if path.isascii() else path.encode("latin-1").decode("utf-8", "replace")


class GuardMiddleware:
    """HTTP's verb semantics around a WSGI app.

    The arguments are those of `verbguard.guard`; `router` is the app's own router where one can be read. Raises
    ConfigError for arguments that cannot be meant; what needs the app's routes is checked when they are first read.
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
        router: Router | None = None,
    ) -> None:
        self.app = app
        self.guard = Guard(policies, default, profile, principal, observers)
        self.store = blocking(store)
        self.guard.shares = self.store.shared
        self._router = router or router_of(app)
        self.waiting = 0
        self.turns = Turns(WAITERS)
        self._pending = True
        if self._router is None or _has_own_routes(self._router):
            self.guard.compile(self._router)

    def __getattr__(self, name: str) -> Any:
        if name == "app":
            raise AttributeError(name)
        return getattr(self.app, name)

    # ---- start-up

    def _prepare(self, environ: Environ) -> None:
        """Read the routes again: they are complete at the first request, WSGI has no earlier moment."""
        if self._router is not None:
            self.guard.compile(self._router)
        self.guard.start(self.store.shared or not self._one_of_several(environ))
        self._pending = False

    @staticmethod
    def _one_of_several(environ: Environ) -> bool:
        # a bridge from ASGI says that there are several processes whatever is true
        return (bool(environ.get("wsgi.multiprocess")) and "asgi.scope" not in environ) or several_workers()

    # ---- requests

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if MARK in environ:
            # another guard outside of this one acts already
            return self.app(environ, start_response)
        path = environ.get("PATH_INFO") or "/"
        if not path.isascii():
            path = decoded(path)
        prefix = environ.get("SCRIPT_NAME", "")
        try:
            resource = self.guard.find(path)
            plan = resource.plans.get(environ["REQUEST_METHOD"]) if resource is not None else None
            if plan is None:
                request = WsgiRequest(environ, path, decoded(prefix))
                plan = self._settled(request)
                path = request.path
        except ConfigError:
            raise
        except Exception:
            return self.faulty(environ, start_response)
        if not plan.light or plan.watches and not environ.keys().isdisjoint(plan.environ_watches) and _shows(environ, plan):
            if plan.passes:
                return self.app(environ, start_response)
            environ[MARK] = plan
            request = WsgiRequest(environ, path, decoded(prefix))
            if not plan.refuses:
                return _Serving(self, plan, request, start_response).run()
            try:
                answer = refused(self.guard, plan, request)
            except Exception:
                return self.faulty(environ, start_response)
            return reply(start_response, answer)

        environ[MARK] = plan
        if plan.idle:
            return self.app(environ, start_response)
        heads = plan.heads
        serving: _Serving | None = None
        started = False

        def checked(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal serving, started
            started = True
            if serving is None:
                awaited = heads[status]
                concerned = awaited is not None
                if awaited:
                    for name, _ in headers:
                        if awaited[name]:
                            break
                    else:
                        concerned = False
                if not concerned or not plan.checks_given.of(int(status[:3]), ANSWERS[tuple(map(NAME, headers))]):
                    return start_response(status, headers) if exc_info is None else start_response(status, headers, exc_info)
                serving = _Serving(self, plan, WsgiRequest(environ, path, decoded(prefix)), start_response)
            return serving.start_response(status, headers, exc_info)

        result = self.app(environ, checked)
        if serving is not None:
            return serving.sent(result)
        return result if started else _Late(result, lambda: serving)

    def _settled(self, request: WsgiRequest) -> Plan:
        """The plan for a request that the map alone does not decide, or that is the first."""
        if self._pending:
            self._prepare(request.environ)
        return self.guard.settle(request)

    def faulty(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The guard itself failed: a safe request runs unguarded, an unsafe one is refused before the app runs."""
        answer = self.guard.fault(environ["REQUEST_METHOD"])
        return self.app(environ, start_response) if answer is None else reply(start_response, answer)


def _shows(environ: Environ, plan: Plan) -> bool:
    """Whether one of the keys that are watched for is really a field: some servers always have CONTENT_LENGTH."""
    return any(environ[key] or key not in _MAY_BE_EMPTY for key in plan.environ_watches if key in environ)


def _has_own_routes(router: Router) -> bool:
    """Whether routes were registered already, beside the one that Flask makes itself for static files."""
    return any(not (route.native or "").endswith("<path:filename>") for route in router.routes())


def reply(start_response: StartResponse, answer: Response) -> Iterable[bytes]:
    """Send a whole answer."""
    start_response(f"{answer.status} {reason(answer.status)}", _text(answer.headers))
    return [answer.body]


class _Titles(dict[bytes, str]):
    """Field name -> as it is written in WSGI."""

    def __missing__(self, name: bytes) -> str:
        title = (name.title() if name.islower() else name).decode("latin-1")
        if len(self) < 2_000:  # an app may make names up
            self[name] = title
        return title


_TITLES = _Titles()


def _text(headers: Headers) -> list[tuple[str, str]]:
    return [(_TITLES[name], value.decode("latin-1")) for name, value in headers]


class _Late:
    """An app that calls start_response while its iterable is read: what it says decides there."""

    def __init__(self, result: Iterable[bytes], serving: Callable[[], _Serving | None]) -> None:
        self._result = result
        self._serving = serving
        self._pieces: Iterator[bytes] = self._read()

    def _read(self) -> Iterator[bytes]:
        iterator = iter(self._result)
        for piece in iterator:
            serving = self._serving()
            if serving is not None:
                yield from serving.rest(piece, iterator)
                return
            yield piece
        serving = self._serving()
        if serving is not None:
            yield from serving.rest(b"", iterator)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        close = getattr(self._result, "close", None)
        if close is not None:
            close()


class _Serving(Serving):
    """One request on its way through WSGI."""

    middleware: GuardMiddleware
    # Defaults stand on the class: a request sets only what it makes different.
    _head: tuple[str, list[tuple[str, str]], Headers, Any] | None = None  # the head of the answer while it is held
    _write: Callable[[bytes], Any] | None = None
    _answered = False  # the server has been given a head
    _over = False
    _untold: Environ | None = None  # the environ before the run, where the state after it is to be looked at

    def __init__(self, middleware: GuardMiddleware, plan: Plan, request: WsgiRequest, start_response: StartResponse) -> None:
        self.guard = middleware.guard
        self.store = middleware.store
        self.plan = plan
        self.request = request
        self.middleware = middleware
        self._start = start_response

    # ---- the request

    def run(self) -> Iterable[bytes]:
        environ: Environ = self.request.environ  # type: ignore[attr-defined]
        try:
            answer = self.open()
        except Exception:
            return self.middleware.faulty(environ, self._start)
        if self.guard.trusted_from:
            self.wary()
        if answer is None and (self.mode or self.inspections):
            content = self._read(environ)
            if content is None:
                answer = self.incomplete()
            elif self.inspections:
                answer = self.looked_into(content if self.spool is None else self.spool.content)
            if self.mode and answer is None:
                outcome = self.ask(content if self.spool is None else self.spool.content)
                if type(outcome) is Busy and self.patience:
                    outcome = self._waited(outcome)
                if type(outcome) is Unknown and self.plan.replay.on_unknown is not None:
                    outcome = self._reconciled(outcome)
                if type(outcome) is Done and self.plan.verifies and self.mode == "keyless":
                    outcome = self._verified(outcome)
                if type(outcome) is Done and self.plan.replay.authorize is not None:
                    answer = self._authorised(outcome)
                else:
                    answer = self.refusal if outcome is None else self.claimed(outcome)
                self.hold()
            if self.spool is not None:
                self.spool.file()  # back to the beginning, for the app
        if answer is None and self.conditional:
            answer = self._against_state()
        if answer is not None:
            self.close_spool()
            return reply(self._start, answer)
        if self.plan.looks:
            self._prepare_look(environ)
        return self._serve(environ)

    def _read(self, environ: Environ) -> Any:
        """All of the request's content, put back for the app; None when it ended before its declared length."""
        left = _length(environ.get("CONTENT_LENGTH"))
        if left < 0 and not environ.get("wsgi.input_terminated"):
            if "HTTP_TRANSFER_ENCODING" in environ:
                self.unreadable()
                return ()
            return b""
        bound = self.plan.replay.max_request
        stream = environ["wsgi.input"]
        if 0 <= left <= bound:
            content = stream.read(left)
            while len(content) < left:
                piece = stream.read(left - len(content))
                if not piece:
                    return None
                content += piece
            environ["wsgi.input"] = BytesIO(content)
            return content
        spool = self.spool = Spool(bound)
        while left != 0:
            piece = stream.read(PIECE if left < 0 else min(PIECE, left))
            if not piece:
                break
            spool.add(piece)
            left -= len(piece) if left > 0 else 0
        if left > 0:
            return None
        environ["wsgi.input"] = spool.file()
        environ["CONTENT_LENGTH"] = str(spool.size)
        environ["wsgi.input_terminated"] = True
        return spool.content

    def _waited(self, outcome: Outcome | None) -> Outcome | None:
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
                time.sleep(min(pause, left))
                pause = min(pause * 1.5, LONGEST_PAUSE)
                outcome = self.ask_again(claim)
        finally:
            middleware.waiting -= 1
        return outcome

    def _authorised(self, outcome: Done) -> Response | None:
        """A stored answer, once the application's own `authorize` has nothing against it."""
        authorize = self.plan.replay.authorize
        assert authorize is not None
        try:
            allowed = authorize(self.request)
            if isawaitable(allowed):
                raise ConfigError("replay.authorize is a coroutine function, and WSGI cannot wait for it")
        except Exception:
            return self.unauthorised()
        return self.claimed(outcome) if allowed else self.forbidden()

    def _reconciled(self, outcome: Unknown) -> Outcome | None:
        """What the application's `on_unknown` knows of a run that was cut off."""
        hook = self.plan.replay.on_unknown
        assert hook is not None
        try:
            verdict = hook(self.request)
            if isawaitable(verdict):
                _close(verdict)
                raise ConfigError("replay.on_unknown is a coroutine function, and WSGI cannot wait for it")
            answer = self.reconciled(verdict)
        except Exception:
            self.refusal = self.guard.fault(self.request.method)
            return None
        if verdict is None or verdict is False:
            return outcome
        found: Outcome | None = self.ask_to_rerun()
        return self._completed(found, answer) if isinstance(found, Won) and answer is not None else found

    def _completed(self, won: Won, answer: Record) -> Outcome:
        self.token = won.token
        self.keep(answer)
        self.token = 0
        return Done(answer)

    def _against_state(self) -> Response | None:
        """The refusal of a request whose condition is false for the state that the policy's `validator` tells, or an internal
        GET shows."""
        validator = self.plan.target.policy.validator
        try:
            if validator is None:
                answer = self._in_turn()
            else:
                current = validator(self.request)
                if isawaitable(current):
                    _close(current)
                    raise ConfigError("the validator is a coroutine function, and WSGI cannot wait for it")
                answer = self.conditions(current)
        except Exception:
            answer = self.unvalidated()
        except BaseException:
            self.end_turn()
            self.withdraw()
            raise
        if answer is not None:
            self.end_turn()
            self.withdraw()
        return answer

    # ---- a state that nobody tells

    def _in_turn(self) -> Response | None:
        """Wait until nobody else writes to the target, and look at its state where a condition of the request asks for it."""
        name, end = lineage(self.request.path)[0], monotonic() + TURN
        if not self.middleware.turns.take_blocking(name, TURN):
            return self.crowded("Too many writes on this target wait, or one of them takes too long.")
        self.turn = name
        answer = self._among_processes(end) if self.store.shared else None
        if answer is not None or not self.layout.conditional:
            return answer
        return self.judged(self._look(self.request.environ).state())  # type: ignore[attr-defined]

    def _among_processes(self, end: float) -> Response | None:
        """The same turn among all who share the store."""
        self.lease = lease_of(self.guard.scope, self.turn, self.plan.replay.lease)
        pause = FIRST_PAUSE
        while True:
            outcome = self.ask_for_turn()
            if type(outcome) is not Busy or monotonic() >= end:
                return self.turned(outcome)
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _look(self, environ: Environ) -> Look:
        return look_blocking(self.middleware.app, _as_read(environ), self.plan.replay.max_response)

    def _verified(self, outcome: Done) -> Outcome | None:
        """A stored answer while the target is as its run left it; otherwise the claim of a request that runs again."""
        claim = self.claimed_as
        assert claim is not None
        if self.still_so(outcome.record, self._look(self.request.environ)):  # type: ignore[attr-defined]
            return outcome
        again: Outcome | None = self.ask_again(claim)
        if self.is_still(outcome, again):
            self.say(replaying.UNVERIFIED, "The target is not as the first request left it; this one runs.")
            self.outdated()
            again = self.ask_again(claim)
        return self._waited(again) if type(again) is Busy and self.patience else again

    def sighted(self, record: Record | None) -> Record | None:
        if record is not None and self._untold is not None:
            self.seen = self.left(self._look(self._untold))
        return super().sighted(record)

    def _prepare_look(self, environ: Environ) -> None:
        """Remember what is to be asked again after the run, and name states as the app does; or let it show its content's own
        bytes, which are digested."""
        if not self.plan.tags:
            if self.conditional:
                _translate(environ)
            if self.plan.verifies and self.token and self.mode == "keyless":
                self._untold = {**environ}
            return
        environ["HTTP_ACCEPT_ENCODING"] = "identity"
        if is_derived(environ.get("HTTP_IF_RANGE", "")):  # the application has never heard of it: it is to show everything
            del environ["HTTP_IF_RANGE"]
            environ.pop("HTTP_RANGE", None)
        environ.pop("wsgi.file_wrapper", None)  # the server would send a file itself, and its bytes would not come by here

    # ---- the app

    def _serve(self, environ: Environ) -> Iterable[bytes]:
        if not self.token:
            self.begin_touch()
        original = {**environ} if self.request.method == "HEAD" else None
        try:
            if original is not None and self.plan.tags:
                self.only_as_get()
                return self._as_get([], original)
            current = Current(self) if self.key else None
            try:
                result = self.middleware.app(environ, self.start_response)
            finally:
                if current is not None:
                    current.over()
            if original is not None and not self.status:
                result = _begun(result)
            if self.again and original is not None:
                return self._as_get(result, original)
            return self.sent(result)
        except BaseException as error:
            self.abandon(error)
            self._end()
            self.close_spool()
            mine = not self.superseded or self._answered or not isinstance(error, Exception)
            if mine or (answer := self._theirs()) is None:
                raise
            return reply(self._start, answer)

    def _theirs(self) -> Response | None:
        """The answer that another run of the key has committed; None where it cannot be had."""
        claim = self.claimed_as
        assert claim is not None
        outcome = self.ask_again(claim)
        if isinstance(outcome, Won):  # its time has just run out
            self.token = outcome.token
            self.withdraw()
            return None
        return self.claimed(outcome) if isinstance(outcome, Done) else None

    def _as_get(self, refused: Iterable[bytes], environ: Environ) -> Iterable[bytes]:
        """Run the app as GET for its head only."""
        _close(refused)
        self.again = False
        self.status = 0
        result = self.middleware.app({**environ, "REQUEST_METHOD": "GET"}, self.start_response)
        if not self.status:
            result = _begun(result)
        if self.holding is Content.WHOLE:
            self._hear_out(result)
        self._release_hold()
        self.finished = True
        _close(result)
        if self.replaced is not None:
            return self._replacement()
        self._end()
        self.close_spool()
        return []

    def _hear_out(self, result: Iterable[bytes]) -> None:
        """Read what the head waits for."""
        for piece in result:
            self.passed(piece, True)
            if self.holding is Content.NONE:
                return
        self.passed(b"", False)

    def sent(self, result: Iterable[bytes]) -> Iterable[bytes]:
        """The app's iterable, or what stands for it."""
        if self.replaced is not None:
            _close(result)
            return self._replacement()
        if type(result) in (list, tuple) and self.status:
            return self._whole(result)  # type: ignore[arg-type]
        wrapper = self.request.environ.get("wsgi.file_wrapper")  # type: ignore[attr-defined]
        if isinstance(wrapper, type) and isinstance(result, wrapper) and self.status:
            return self._file(result)
        body = _Body(self, result)
        if self._head is not None or not self.status:
            try:
                body.begin()
            except BaseException:
                body.close()
                raise
        return body

    def _whole(self, result: list[bytes] | tuple[bytes, ...]) -> Iterable[bytes]:
        """An answer that is all there: recorded before it is handed over, and handed over as it came."""
        last = len(result) - 1
        out = [self.passed(piece, index < last) for index, piece in enumerate(result)] or [self.passed(b"", False)]
        if self.replaced is not None:
            return self._replacement()
        self._release_hold()
        self.commit()
        self._end()
        self.close_spool()
        if len(out) == len(result) and all(map(_same, out, result)):
            return result
        return [piece for piece in out if piece]

    def _file(self, result: Iterable[bytes]) -> Iterable[bytes]:
        """A file that the server sends itself; its content is never seen here."""
        self.unseen()
        self._release_hold()
        self.commit()
        self._end()
        self.close_spool()
        if self.dropping:
            _close(result)
            return []
        return result

    def rest(self, piece: bytes, iterator: Iterator[bytes]) -> Iterator[bytes]:
        """What is sent of an answer whose head came late: this piece and the rest."""
        if self.replaced is not None:
            yield from self._replacement()
            return
        body = _Body(self, iterator)
        first = self.piece(piece)
        if first:
            yield first
        yield from body

    # ---- the answer

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], Any]:
        """The app's start_response: the head waits while the exchange holds it."""
        if self._answered and exc_info is not None:
            self._start(status, headers, exc_info)
            return self.write
        pairs = _pairs(headers)
        try:
            self.answered(int(status[:3]), pairs)
        except Exception:
            self.unjudged(int(status[:3]))
        if self.superseded and self.status >= 500:
            self.abandon(None)
            self.replaced = self._theirs()
        if self.lost:
            self.untouched = False
            self.headers = [*self.headers, LOST]
        self._head = (status, headers, pairs, exc_info)
        if not self.again and self.replaced is None and self.holding is Content.NONE:
            self._send_head()
        return self.write

    def _send_head(self) -> None:
        assert self._head is not None
        status, headers, pairs, exc_info = self._head
        if int(status[:3]) != self.status:
            status = f"{self.status} {reason(self.status)}"
        if self.headers is not pairs and self.headers != pairs:
            headers = _text(self.headers)
        self._head = None
        self._answered = True
        self._write = self._start(status, headers) if exc_info is None else self._start(status, headers, exc_info)

    def _release_hold(self) -> None:
        if self._head is not None:
            self.unheld()
            if self.replaced is None:
                self._send_head()

    def _replacement(self) -> Iterable[bytes]:
        answer = self.replaced
        assert answer is not None
        self.finished = True
        self.commit()
        self._end()
        self.close_spool()
        self._answered = True
        self._start(f"{answer.status} {reason(answer.status)}", _text(answer.headers))
        return [] if self.request.method == "HEAD" else [answer.body]

    def write(self, piece: bytes) -> None:
        """The write callable of PEP 3333, into the same stream of pieces."""
        out = self.passed(piece, True)
        if self._head is not None and self.holding is Content.NONE and self.replaced is None:
            self._send_head()
        if out and self._write is not None:
            self.begun = True
            self._write(out)

    def piece(self, piece: bytes) -> bytes:
        """One piece of the app's iterable; returns what of it may be sent now."""
        last = self.last(piece)
        out = self.passed(piece, not last)
        if self._head is not None and self.holding is Content.NONE and self.replaced is None:
            self._send_head()
        if last and not (self.in_transaction and is_open(self.driver)):  # then the app ends it when it is read to its end
            self.commit()
            self._end()
        if out:
            self.begun = True
        return out

    def ended(self) -> Iterable[bytes]:
        """The app's iterable is exhausted; what is left to send."""
        if not self.status:
            self.abandon(None)
            return ()
        out = b"" if self.finished else self.passed(b"", False)
        if self.replaced is not None and not self._answered:
            return self._replacement()
        self._release_hold()
        self.commit()
        self._end()
        return (out,) if out else ()

    def _end(self) -> None:
        """The run is over, whatever became of it."""
        if self._over:
            return
        self._over = True
        if self.token:
            self.let_go()
            if not self.settled_at:
                self.abandon(None)
        else:
            self.end_touch()
        if self.turn:
            self.end_turn()


class _Body:
    """The app's iterable on its way to the server. Whoever stops reading early, the app's answer is read to its end
    while it may still be recorded; `close` of the app's iterable is called exactly once."""

    __slots__ = ("_closed", "_first", "_iterator", "_left", "_result", "_serving")

    def __init__(self, serving: _Serving, result: Iterable[bytes]) -> None:
        self._serving = serving
        self._result = result
        self._iterator: Iterator[bytes] | None = None
        self._left: Iterator[bytes] | None = None
        self._first: bytes | None = None
        self._closed = False

    def begin(self) -> None:
        """Read until the head is out: a server may look for it before it reads the first piece (granian does)."""
        self._first = next(self, None)

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._left is not None:
            return next(self._left)
        serving = self._serving
        try:
            if self._iterator is None:
                self._iterator = iter(self._result)
            while (piece := self._next()) is not None:
                out = serving.piece(piece)
                if serving.replaced is not None:
                    break
                if out:
                    return out
        except BaseException as error:
            serving.abandon(error)
            raise
        self._left = iter(tuple(serving.ended()))
        return next(self._left)

    def _next(self) -> bytes | None:
        """The app's next piece. An app that is a generator does its work here, and may ask for `current`."""
        assert self._iterator is not None
        if not self._serving.key:
            return next(self._iterator, None)
        current = Current(self._serving)
        try:
            return next(self._iterator, None)
        finally:
            current.over()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        serving = self._serving
        goes_on = serving.mode != "keyless" and hasattr(self._result, "close") and not closes_quietly(self._result)
        try:
            if self._left is None and serving.storable and not serving.settled_at:
                for _ in self:
                    if not serving.storable:
                        break
        finally:
            try:
                _close(self._result)
            finally:
                serving._end()
                serving.close_spool()
                if goes_on:
                    serving.touch_again()  # what the app does when it is closed comes after its answer


def _same(one: bytes, other: bytes) -> bool:
    return one is other


def _begun(result: Iterable[bytes]) -> Iterable[bytes]:
    """Read the first piece of a lazy app, so that its start_response is called."""
    iterator = iter(result)
    first = next(iterator, None)
    return _Resumed(result, iterator, first)


class _Resumed:
    def __init__(self, result: Iterable[bytes], iterator: Iterator[bytes], first: bytes | None) -> None:
        self._result = result
        self._iterator = iterator
        self._first = first

    def __iter__(self) -> Iterator[bytes]:
        if self._first is not None:
            yield self._first
        yield from self._iterator

    def close(self) -> None:
        _close(self._result)


def _close(result: Any) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()
