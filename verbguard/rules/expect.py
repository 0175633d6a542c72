"""Expect and early data: what a request wants to know, or risks, before it is sent as a whole.

That rules about the head decide before the content is read, and that a refusal which leaves content unread ends the
connection, is how the exchange works; no function says so.
"""

from __future__ import annotations

from verbguard.http import Request
from verbguard.methods import SAFE
from verbguard.policy import Action
from verbguard.rules import Finding, Target, When, rule
from verbguard.rules.facts import has_content

_EXPECT = frozenset([b"expect"])
_OLD = ("1.0", "1")  # granian says 1


@rule(
    "expect-unknown",
    "An expectation that nobody can meet",
    cites="RFC 9110 10.1.1",
    when=When.REQUEST,
    fields=_EXPECT,
    opt=Action.REJECT,
    strength="MAY",
)
def expect_unknown(request: Request, target: Target) -> Finding | None:
    """Expect with something else than `100-continue`.

    Why it matters: no other expectation is defined. A client that sends one relies on something that does not happen, and
    most servers ignore it in silence.
    What the guard does: it tells, in every profile; the request runs. With `rules={"expect-unknown": "reject"}` it is 417,
    before the content is read. gunicorn answers 417 itself.
    How to fix it: the client leaves it out. FastAPI and Flask never look at the field.
    When to switch it off: when it is only noise in the log, `rules={"expect-unknown": "off"}`.
    """
    said = {member.strip().lower() for member in (request.get(b"expect") or b"").split(b",")}
    strange = said - {b"100-continue", b""}
    if not strange:
        return None
    return Finding(f"The expectation {min(strange).decode('latin-1')[:40]!r} cannot be met.", status=417)


@rule(
    "expect-without-content",
    "100-continue, and nothing to continue with",
    cites="RFC 9110 10.1.1",
    when=When.REQUEST,
    fields=_EXPECT,
    default=Action.OFF,
    opt=Action.REPAIR,
    strength="MUST",
    risk="none",
)
def expect_without_content(request: Request, target: Target) -> Finding | None:
    """`Expect: 100-continue` in a request without content.

    Why it matters: little. A client must not ask whether it may send what it does not have; a server may leave out the 100,
    and a client that waits for it loses a second.
    What the guard does: nothing by itself. With `rules={"expect-without-content": "repair"}` the field is taken away before
    the app sees it, with `"observe"` it is told.
    How to fix it: the client leaves it out; some libraries add it to each POST. FastAPI and Flask need no change.
    When to switch it off: it is off.
    """
    if b"100-continue" not in (request.get(b"expect") or b"").lower() or has_content(request):
        return None
    return Finding("There is no content to wait for.", drop=_EXPECT)


@rule(
    "expect-http10",
    "100-continue from HTTP/1.0",
    cites="RFC 9110 10.1.1",
    when=When.REQUEST,
    fields=_EXPECT,
    default=Action.REPAIR,
    strength="MUST",
    risk="none",
)
def expect_http10(request: Request, target: Target) -> Finding | None:
    """`Expect: 100-continue` in a request of HTTP/1.0, which has no interim answers.

    Why it matters: the server must ignore it. A 100 would be taken for the final answer, and the real one for its content.
    What the guard does: the field is taken away before the app sees it, in `guard` and `strict`; `observe` only tells. What
    the server itself sends is out of reach.
    How to fix it: an old proxy forwards the field; let it speak HTTP/1.1 (`proxy_http_version 1.1` in nginx), or drop it there.
    FastAPI and Flask need no change.
    When to switch it off: there is hardly a reason; `rules={"expect-http10": "off"}`.
    """
    if request.version not in _OLD or b"100-continue" not in (request.get(b"expect") or b"").lower():
        return None
    return Finding("HTTP/1.0 knows no 100 (Continue).", drop=_EXPECT)


@rule(
    "early-data-unsafe",
    "A change in early data",
    cites="RFC 8470 5.1, 5.2",
    when=When.REQUEST,
    fields={b"early-data"},
    default=Action.REJECT,
    strength="MUST",
)
def early_data_unsafe(request: Request, target: Target) -> Finding | None:
    """Early-Data on a request that may change something: its content came before the TLS handshake was complete.

    Why it matters: whoever recorded early data can send it again, and the server cannot tell; a payment is made twice. A proxy
    marks such requests with `Early-Data: 1`, so that the origin can ask for them once more.
    What the guard does: 425 before the content is read and before anything is kept under an Idempotency-Key, in `guard` and
    `strict`; the client or the proxy sends it again after the handshake, and then it runs. `observe` only tells. GET and other
    safe methods pass. A value that is not `1` counts as `1`, as RFC 8470 asks.
    How to fix it: nothing: it is the protocol at work. Where the proxy never resends, let it take no early data for unsafe
    methods (nginx: `ssl_early_data off`). FastAPI and Flask do not look at the field.
    When to switch it off: on a route where each repetition is harmless, `rules={"early-data-unsafe": "off"}`.
    """
    if request.method in SAFE or request.get(b"early-data") is None:
        return None
    return Finding("The request came as early data, which can be replayed; send it again after the handshake.", status=425)
