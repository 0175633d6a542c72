"""The method token and the request target: refusals that need only the request line, and Host."""

from __future__ import annotations

import re

from verbguard.http import Request, Response, problem
from verbguard.methods import METHODS, REGISTERED, allow_value
from verbguard.policy import Action
from verbguard.routes import Kind
from verbguard.rules import Finding, Target, When, rule

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_AUTHORITY = re.compile(r"(\[[^\[\]\s/?#@]+\]|[^/?#@:\s\[\]()*]+):[0-9]{1,5}")
# RFC 3986 3.2.2 without the comma, which a server puts between two lines
_HOST = re.compile(rb"(\[[0-9A-Za-z:.~_-]+\]|[0-9A-Za-z\-._~%!$&'()*+;=]*)(:[0-9]*)?")

OVERRIDE_FIELDS = frozenset([b"x-http-method-override", b"x-http-method", b"x-method-override"])


class _Hosts(dict[bytes | None, bool]):
    """A value of Host, or None for its absence -> whether nothing is wrong with it. Looked up by every unsafe request."""

    def __missing__(self, value: bytes | None) -> bool:
        plain = value is not None and _HOST.fullmatch(value) is not None
        if len(self) < 1_000 and (value is None or len(value) <= 255):  # clients choose values
            self[value] = plain
        return plain


HOSTS = _Hosts()


def _unknown(target: Target, method: str) -> bool:
    return (
        method not in REGISTERED
        and method not in target.known
        and method not in target.allow
        and method not in target.policy.named
    )


# ---- the method


@rule(
    "method-token-grammar",
    "The method is not a token",
    cites="RFC 9110 9.1",
    when=When.REQUEST,
    default=Action.REJECT,
    strength="MUST",
    risk="none",
)
def method_token_grammar(request: Request, target: Target) -> Finding | None:
    """A method with characters that no token has: a space, a control character, a letter outside ASCII, or none at all.

    Why it matters: it is no HTTP request. A server that lets it through, or a bridge that builds requests itself, gives the
    application a word that a log, a metric or a comparison may read in another way than the router did.
    What the guard does: 400 before the content is read, in `guard` and `strict`; `observe` only tells. Most servers refuse
    such a line themselves, and then nobody behind them hears of it.
    How to fix it: it is the client's, or that of whatever builds the scope or the environ. FastAPI and Flask need no change.
    When to switch it off: there is hardly a reason; `rules={"method-token-grammar": "off"}`.
    """
    if _TOKEN.fullmatch(request.method):
        return None
    return Finding("The method is not a token.", status=400)


@rule(
    "method-case-sensitive",
    "A method in the wrong case",
    cites="RFC 9110 9.1",
    when=When.REQUEST,
    default=Action.REJECT,
    map_needed=True,
    strength="MUST",
    risk="none",
)
def method_case_sensitive(request: Request, target: Target) -> Finding | None:
    """`get` or `pUT`: a common method that is spelled in another case, which makes it another method.

    Why it matters: method tokens are case-sensitive. Werkzeug's router upper-cases them and Starlette's does not, so a layer
    in front (a cache, an allow-list, this guard) may have judged another request than the one that runs.
    What the guard does: 501 in `guard` and `strict` where the application's routes are known; a finding in `observe`, and
    on an application whose routes are not. hypercorn upper-cases the token before anybody sees it.
    How to fix it: the client sends `GET`. In Flask reject it in `before_request`; FastAPI answers 405 by itself.
    When to switch it off: `rules={"method-case-sensitive": "off"}` while such clients exist; a policy's `methods={"get"}`
    makes one such word a method of its own.
    """
    if _unknown(target, request.method) and request.method.upper() in METHODS:
        return Finding(f"{request.method!r} is not {request.method.upper()}: methods are case-sensitive.", status=501)
    return None


@rule(
    "method-unknown-501",
    "A method that nobody registered",
    cites="RFC 9110 9.1, 15.6.2",
    when=When.REQUEST,
    default=Action.REJECT,
    map_needed=True,
    strength="SHOULD",
)
def method_unknown(request: Request, target: Target) -> Finding | None:
    """A method outside the IANA registry which no route and no policy of the application takes.

    Why it matters: 501 says that the server does not know the word at all, 405 that this resource does not take it. A client
    that hears 405 goes on looking for a resource that does. Handlers that answer whatever is not GET run for any word.
    What the guard does: 501 in `guard` and `strict` where the application's routes are known; a finding in `observe`, and
    on an application whose routes are not.
    How to fix it: nothing, where the word is a scanner's. For a method of your own say so: `methods=["FOO"]` on the route in
    FastAPI (`app.api_route`) and in Flask (`app.route`), or `methods={"FOO"}` in the policy of an application without routes.
    When to switch it off: in front of an application that takes whatever comes, `rules={"method-unknown-501": "off"}`.
    """
    if _unknown(target, request.method) and request.method.upper() not in METHODS:
        return Finding(f"The method {request.method[:40]!r} is not implemented here.", status=501)
    return None


@rule(
    "method-registered-only",
    "A private method",
    cites="RFC 9205 4.5, RFC 9110 16.1.1",
    when=When.REQUEST,
    strength="MUST",
)
def method_registered_only(request: Request, target: Target) -> Finding | None:
    """A method that the application takes and that is not in the IANA registry.

    Why it matters: nobody between client and server knows whether such a method is safe or may be repeated. Proxies and
    firewalls refuse it, caches do not drop what it changed, clients do not retry it, and OpenAPI has no place for it.
    What the guard does: it tells, in every profile, and treats the request as unsafe.
    How to fix it: POST to a resource that stands for the action: `@app.post("/orders/{id}/archive")` in FastAPI,
    `@app.post("/orders/<id>/archive")` in Flask, and `action()` as its policy.
    When to switch it off: `rules={"method-registered-only": "off"}` where all clients and everything between are yours.
    """
    method = request.method
    if method in REGISTERED or _unknown(target, method) or not _TOKEN.fullmatch(method):
        return None
    return Finding(f"{method[:40]!r} is no registered method.")


_OVERRIDABLE = (Action.OFF, Action.OBSERVE)


@rule(
    "method-not-allowed-405",
    "A method that this resource does not take",
    cites="RFC 9110 9.1, 15.5.6",
    when=When.REQUEST,
    methods=REGISTERED - {"TRACE", "CONNECT"},
    strict=Action.REJECT,
    map_needed=True,
    strength="SHOULD",
    risk="medium",
)
def method_not_allowed(request: Request, target: Target) -> Finding | None:
    """A known method on a resource whose routes take others.

    Why it matters: the answer is 405, and it names in Allow what the resource does take. Frameworks name the methods of the
    first route only, or run a catch-all instead; dependencies and hooks of the application run before anybody says no.
    What the guard does: in `guard` it tells, and completes the Allow of the application's own 405 (`status-405-needs-allow`).
    In `strict`, or with `rules={"method-not-allowed-405": "reject"}`, it is 405 with every method of the resource in Allow
    before the content is read. Where the routes are not known, or one of them takes any method, it does not refuse.
    How to fix it: the client looks at Allow. A method that is taken although no route shows it is declared:
    `methods={"LOCK"}` in the policy. FastAPI: `@app.api_route(path, methods=[...])`; Flask: `@app.route(path, methods=[...])`.
    When to switch it off: where a middleware inside the application answers methods that its routes do not show, or the
    application's own page for 405 is wanted: `rules={"method-not-allowed-405": "off"}`.
    """
    method, policy = request.method, target.policy
    if not target.allow or method in target.allow or method in policy.named:
        return None
    if method == "PUT" and target.kind is Kind.COLLECTION:
        return None  # put-no-collection has more to say
    if policy.rules.get("method-no-override") in _OVERRIDABLE:
        return None  # another layer may still make another method of it
    return Finding(f"{method} is not allowed here.", status=405, headers=[(b"allow", allow_value(target.allow))])


@rule(
    "trace-off",
    "TRACE is refused",
    cites="RFC 9110 9.3.8",
    when=When.REQUEST,
    methods={"TRACE"},
    default=Action.REJECT,
)
def trace_off(request: Request, target: Target) -> Finding | None:
    """TRACE, unless the policy of the resource names it among its methods.

    Why it matters: TRACE sends a request back to whoever asked, and with it the credentials that a proxy added on the way.
    It is a tool for looking at a chain of proxies; an application has no use for it.
    What the guard does: 405 with Allow, or 501 where nothing is known of the resource, in `guard` and `strict`; with content,
    400 (`trace-no-content`). `observe` only tells. Nothing of the request is echoed.
    How to fix it: remove the route: FastAPI has `@app.trace`, Flask takes it only when `methods` names it.
    When to switch it off: `methods={"TRACE"}` in the policy of a resource that really echoes, without credentials.
    """
    if "TRACE" in target.policy.methods:
        return None
    if target.allow:
        return Finding("TRACE is not allowed here.", status=405, headers=[(b"allow", allow_value(target.allow))])
    return Finding("TRACE is not implemented here.", status=501)


@rule(
    "connect-port",
    "CONNECT needs a port",
    cites="RFC 9110 9.3.6",
    when=When.REQUEST,
    methods={"CONNECT"},
    default=Action.REJECT,
    strength="MUST",
    risk="none",
)
def connect_port(request: Request, target: Target) -> Finding | None:
    """CONNECT whose target has an empty or impossible port number.

    Why it matters: "A server MUST reject a CONNECT request that targets an empty or invalid port number", RFC 9110 9.3.6.
    A proxy that guesses one opens a tunnel to somewhere else.
    What the guard does: 400 in `guard` and `strict`; `observe` only tells. With a valid port `connect-off` answers.
    How to fix it: the client names a port, `CONNECT example.org:443`. Neither FastAPI nor Flask has routes for CONNECT.
    When to switch it off: there is no reason, as long as `connect-off` is on; `rules={"connect-port": "off"}`.
    """
    _, colon, port = request.path.lstrip("/").rpartition(":")
    if colon and (not (port.isdecimal() and port.isascii()) or len(port) > 5 or not 0 < int(port) < 65536):
        return Finding("CONNECT names no valid port.", status=400)
    return None


@rule(
    "connect-off",
    "CONNECT is refused",
    cites="RFC 9110 9.3.6",
    when=When.REQUEST,
    methods={"CONNECT"},
    default=Action.REJECT,
)
def connect_off(request: Request, target: Target) -> Finding | None:
    """CONNECT to an application, which is no proxy.

    Why it matters: a 2xx to CONNECT makes the connection a tunnel. A catch-all route that answers 200 to everything loses
    the connection under some servers, and under others sends content where the client expects the other end's bytes.
    What the guard does: 501 before the application is asked, in `guard` and `strict`; `observe` only tells.
    How to fix it: leave CONNECT out of the methods of catch-all routes: `app.api_route(path, methods=[...])` in FastAPI,
    `app.route(path, methods=[...])` in Flask.
    When to switch it off: in front of an application that is a proxy, `rules={"connect-off": "off"}`.
    """
    return Finding("CONNECT is not implemented here.", status=501)


@rule(
    "options-asterisk",
    "OPTIONS * asks about the server",
    cites="RFC 9110 9.3.7",
    when=When.REQUEST,
    methods={"OPTIONS"},
    default=Action.REJECT,
    routine=True,
    risk="none",
)
def options_asterisk(request: Request, target: Target) -> Finding | None:
    """`OPTIONS *`, which asks about the server as a whole.

    Why it matters: it is a ping. It concerns no resource, so an answer with Allow or Accept-Patch would claim something of
    all of them; most frameworks have no route for it and answer 404, and a monitor believes that the server is down.
    What the guard does: 204 with nothing in it, in `guard` and `strict`; `observe` only tells.
    How to fix it: nothing. FastAPI and Flask cannot route a target that does not begin with a slash.
    When to switch it off: where a layer inside answers it, `rules={"options-asterisk": "off"}` in the default policy.
    """
    if request.path == "*":
        return Finding("OPTIONS * was answered.", status=204, answer=Response(204))
    return None


@rule(
    "method-no-override",
    "A field that would change the method",
    cites="RFC 9110 9.1",
    when=When.REQUEST,
    fields=OVERRIDE_FIELDS,
    default=Action.REPAIR,
    map_needed=True,
    risk="medium",
)
def method_no_override(request: Request, target: Target) -> Finding | None:
    """X-HTTP-Method-Override, X-HTTP-Method or X-Method-Override: a field that would make another method of the request's.

    Why it matters: "The request method token is the primary source of request semantics", RFC 9110 9.1. With an override a
    cache, a firewall, a log and this guard judge a POST while the application runs a DELETE, or a GET from a link does.
    What the guard does: where the application's routes are known it takes the fields away before the app sees them, in
    `guard` and `strict`; elsewhere, and in `observe`, it only tells. `_method` in a query or a form is not looked for.
    How to fix it: clients send the method that they mean; every browser's fetch can. Remove the middleware that honours the
    field: in Flask a wrapper around `app.wsgi_app`, in FastAPI an `app.middleware("http")`.
    When to switch it off: on routes with old clients, `rules={"method-no-override": "off"}`; then only for POST, never for
    GET, and with a policy for what the request becomes.
    """
    return Finding("A method-override field was sent; the method stays what the request line says.", drop=OVERRIDE_FIELDS)


# ---- the target


@rule(
    "target-asterisk-options-only",
    "The asterisk belongs to OPTIONS",
    cites="RFC 9110 7.1",
    when=When.REQUEST,
    default=Action.REJECT,
    strength="MUST",
    risk="none",
)
def asterisk_options_only(request: Request, target: Target) -> Finding | None:
    """The target `*` with another method than OPTIONS.

    Why it matters: `*` means the server as a whole, and only OPTIONS can ask about that. `PUT *` has no meaning; an
    application that matches any path would replace something by it.
    What the guard does: 400 before the content is read, in `guard` and `strict`; `observe` only tells.
    How to fix it: the client names a path. FastAPI and Flask need no change.
    When to switch it off: there is hardly a reason; `rules={"target-asterisk-options-only": "off"}` in the default policy.
    """
    if request.path == "*" and request.method != "OPTIONS":
        return Finding("The target * is for OPTIONS only.", status=400)
    return None


@rule(
    "target-authority-connect-only",
    "A host and a port as a target",
    cites="RFC 9110 7.1, RFC 9112 3.2.3",
    when=When.REQUEST,
    methods=REGISTERED - {"CONNECT"},
    default=Action.REJECT,
    strength="MUST",
    risk="none",
)
def authority_connect_only(request: Request, target: Target) -> Finding | None:
    """`GET example.org:443`: a target that is a host and a port, with another method than CONNECT.

    Why it matters: such a target asks a proxy for a tunnel. With any other method it names nothing; routers that put a
    slash in front, or match any path, take it for a resource of the application.
    What the guard does: 400 before the content is read, in `guard` and `strict`; `observe` only tells. Servers that parse
    targets themselves refuse it first, or hand on a path that shows nothing of it.
    How to fix it: the client sends a path, or to a proxy the whole URL. FastAPI and Flask need no change.
    When to switch it off: there is hardly a reason; `rules={"target-authority-connect-only": "off"}` in the default policy.
    """
    if request.path[:1] == "/" or not _AUTHORITY.fullmatch(request.path):
        return None
    return Finding(f"{request.method} takes no host and port as its target; only CONNECT does.", status=400)


def origin_form(path: str) -> str | None:
    """The path in a target that is a whole URL, or None for any other target."""
    scheme, separator, rest = path.partition("://")
    if not separator or scheme.lower() not in _PORTS:
        return None
    return "/" + rest.partition("/")[2]


_PORTS = {"http": ":80", "https": ":443"}


def _elsewhere(request: Request) -> bool:
    """Whether the URL in the request line and Host name different authorities."""
    host = request.get(b"host")
    if host is None:
        return False
    scheme, _, rest = request.path.partition("://")
    port = _PORTS[scheme.lower()]
    named = rest.partition("/")[0].rpartition("@")[2].lower()
    return named.removesuffix(port) != host.decode("latin-1").strip().lower().removesuffix(port)


@rule(
    "target-absolute-form",
    "A whole URL as a target",
    cites="RFC 9112 3.2.2, RFC 9110 7.4",
    when=When.REQUEST,
    default=Action.REPAIR,
    strength="MUST",
)
def absolute_form(request: Request, target: Target) -> Finding | None:
    """`GET http://example.org/items/1`: a target that is a whole URL, as clients send it to proxies.

    Why it matters: a server has to accept it, and it means the path. uvicorn with h11 and hypercorn hand the URL on as if
    it were one: the router says 404, and rules about paths are evaded. A URL and a Host that name different authorities are
    how caches are poisoned.
    What the guard does: the application gets the path, in `guard` and `strict`, on every kind of application; where Host names
    another authority it is 421 and nothing runs. `observe` only tells. Other servers do the first, and hide the second.
    How to fix it: nothing. A client that sends such targets believes that it speaks to a proxy: look at its proxy settings.
    FastAPI under uvicorn: `--http httptools` hands on the path; Flask's servers do.
    When to switch it off: in front of an application that is a proxy, `rules={"target-absolute-form": "off"}`.
    """
    if origin_form(request.path) is None:
        return None
    if not _elsewhere(request):
        return Finding("The target is a whole URL; it stands for the path in it.")
    detail = "The URL in the request line and Host name different authorities."
    return Finding(detail, status=421, answer=problem("target-absolute-form", "A whole URL as a target", 421, detail))


# ---- Host


@rule(
    "host-exactly-one",
    "Host is repeated or invalid",
    cites="RFC 9112 3.2",
    when=When.REQUEST,
    fields={b"host"},
    default=Action.REJECT,
    strength="MUST",
    risk="none",
)
def host_exactly_one(request: Request, target: Target) -> Finding | None:
    """Two Host lines, or a value that is no host.

    Why it matters: who reads the first line and who reads the last speak of different sites: that is how a cache is filled
    with another site's answer, and how links in a mail lead elsewhere. RFC 9112 3.2 asks for 400.
    What the guard does: 400 before the content is read, in `guard` and `strict`; `observe` only tells. GET is not
    asked: a look at each of them would cost every reader something. h11, hypercorn and gunicorn refuse most of these
    themselves, httptools and waitress do not.
    How to fix it: the client, or the proxy that adds a second line. In FastAPI use Starlette's `TrustedHostMiddleware`, in
    Flask `TRUSTED_HOSTS`: they hold Host against a list, for GET too.
    When to switch it off: `rules={"host-exactly-one": "off"}`. A missing Host is left to the server: test clients that call an
    app in its own process often send none.
    """
    host = request.get(b"host")
    if host is None or HOSTS[host.strip()]:
        return None
    return Finding("Host is repeated, or no host.", status=400)
