"""The method token and the request target: refusals that need only the request line."""

from __future__ import annotations

import re

from verbguard.http import Request, Response
from verbguard.methods import METHODS, REGISTERED, allow_value
from verbguard.policy import Action
from verbguard.rules import Finding, Target, When, rule

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

OVERRIDE_FIELDS = frozenset([b"x-http-method-override", b"x-http-method", b"x-method-override"])


def _unknown(target: Target, method: str) -> bool:
    return (
        method not in REGISTERED
        and method not in target.known
        and method not in target.allow
        and method not in target.policy.methods
    )


@rule(
    "method-token-grammar",
    "The method is not a token",
    cites="RFC 9110 9.1",
    when=When.REQUEST,
    default=Action.REJECT,
)
def method_token_grammar(request: Request, target: Target) -> Finding | None:
    """A method is a token; anything else is not an HTTP request and is refused with 400."""
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
)
def method_case_sensitive(request: Request, target: Target) -> Finding | None:
    """`get` is not GET: method tokens are case-sensitive.

    Some routers upper-case the token and some do not, so that a guard and an app can disagree about what was asked. With
    a route map such a request is refused with 501; without one it is a finding.
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
)
def method_unknown(request: Request, target: Target) -> Finding | None:
    """A token outside the IANA registry and the configuration is 501, as the server cannot do it for any resource.

    A policy's `methods` makes a private method known. Without a route map the request passes with a finding.
    """
    if _unknown(target, request.method) and request.method.upper() not in METHODS:
        return Finding(f"The method {request.method[:40]!r} is not implemented here.", status=501)
    return None


@rule("trace-off", "TRACE is refused", cites="RFC 9110 9.3.8", when=When.REQUEST, methods={"TRACE"}, default=Action.REJECT)
def trace_off(request: Request, target: Target) -> Finding | None:
    """TRACE sends a request back to whoever asked, credentials included; an application has no use for it."""
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
)
def connect_port(request: Request, target: Target) -> Finding | None:
    """ "A server MUST reject a CONNECT request that targets an empty or invalid port number", RFC 9110 9.3.6."""
    _, colon, port = request.path.lstrip("/").rpartition(":")
    if colon and (not port.isdecimal() or not 0 < int(port) < 65536):
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
    """An origin server is not a tunnel; a 2xx to CONNECT would make the connection one."""
    return Finding("CONNECT is not implemented here.", status=501)


@rule(
    "target-asterisk-options-only",
    "The asterisk belongs to OPTIONS",
    cites="RFC 9110 7.1",
    when=When.REQUEST,
    default=Action.REJECT,
)
def asterisk_options_only(request: Request, target: Target) -> Finding | None:
    """`*` as a target means the server as a whole, and only OPTIONS may say so."""
    if request.path == "*" and request.method != "OPTIONS":
        return Finding("The target * is for OPTIONS only.", status=400)
    return None


@rule(
    "options-asterisk",
    "OPTIONS * asks about the server",
    cites="RFC 9110 9.3.7",
    when=When.REQUEST,
    methods={"OPTIONS"},
    default=Action.REJECT,
    routine=True,
)
def options_asterisk(request: Request, target: Target) -> Finding | None:
    """`OPTIONS *` is a ping of the server: it is answered 204 without a claim about any resource."""
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
)
def method_no_override(request: Request, target: Target) -> Finding | None:
    """The method is the request line's. A header that overrides it makes guards, caches and logs judge another request.

    With a route map the field is taken away before the app sees it; without one it passes with a finding. An app that
    needs it sets `rules = {"method-no-override": "off"}` on the route.
    """
    return Finding("A method-override field was sent; the method stays what the request line says.", drop=OVERRIDE_FIELDS)
