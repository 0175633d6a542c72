"""The rules of HTTP's verbs that are no function here, each with the reason: together with the catalogue they are all.

A guard stands between a server and an application. What only a cache, a gateway or the server can see or do, what shows only in
two answers side by side, and what the application meant, it cannot find. Other rules are how the guard itself works.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FURTHER", "UNSEEN", "WHY", "Unseen", "Why"]

Why = Literal["cache", "engine", "gateway", "intention", "other", "pair", "principle", "server"]

WHY: dict[Why, str] = {
    "cache": "a rule for caches, and the guard keeps none",
    "engine": "how the guard itself works; there is nothing to find",
    "gateway": "verbguard's gateway keeps it; a guard inside an app forwards nothing",
    "intention": "only the application knows what it meant",
    "other": "another rule finds it",
    "pair": "it shows only in two answers side by side",
    "principle": "something to know or to decide, and nothing to find",
    "server": "the server sees to it, or keeps it from the guard",
}

# Subjects without a module of rules.
FURTHER = {
    "caching": "Caching and invalidation: what a cache owes to unsafe methods.",
    "gateway": "Gateways: what is owed by whoever forwards requests.",
}


@dataclass(frozen=True, slots=True)
class Unseen:
    """A rule without a function, the family whose page tells of it, and the reason."""

    id: str
    family: str
    cites: str
    why: Why
    reason: str


_KEY = "draft-ietf-httpapi-idempotency-key-header-07"

_ROWS = [
    # ---- methods and targets
    Unseen(
        "target-one-canonical-key",
        "methods",
        "RFC 9110 4.2.3",
        "engine",
        "Records are kept under one canonical path; the path that the application gets is never rewritten.",
    ),
    Unseen(
        "safe-no-unsafe-action",
        "methods",
        "RFC 9110 9.2.1",
        "intention",
        "What a handler changes cannot be seen from its messages.",
    ),
    # ---- request content
    Unseen(
        "content-too-large",
        "content",
        "RFC 9110 15.5.14",
        "engine",
        "Content above a bound goes to a file while it is fingerprinted, so nothing has to be refused for its size.",
    ),
    Unseen(
        "expect-decide-early",
        "expect",
        "RFC 9110 10.1.1",
        "engine",
        "What the head of a request decides is answered before any content is read; so a server that can, sends no 100.",
    ),
    Unseen(
        "early-answer-close",
        "expect",
        "RFC 9110 10.1.1",
        "engine",
        "A refusal that leaves content unread ends the connection, where the interface lets an answer say so.",
    ),
    # ---- PUT, POST, PATCH, DELETE
    Unseen(
        "put-status-set",
        "put",
        "RFC 9110 9.3.4, 15",
        "other",
        "status-method-table finds every code that means nothing to PUT.",
    ),
    Unseen(
        "put-inconsistent-409-415",
        "put",
        "RFC 9110 9.3.4",
        "intention",
        "Whether a 400 or 422 meant that the representation does not suit the resource, only the application knows.",
    ),
    Unseen(
        "put-idempotent-effect",
        "put",
        "RFC 9110 9.2.2",
        "engine",
        "A repeated PUT is answered from the store: idem-replay-result says so.",
    ),
    Unseen(
        "post-no-206-304-416",
        "post",
        "RFC 9110 9.3.3",
        "other",
        "status-method-table finds 206, if-none-match-unsafe-412 finds 304, and status-416-needs-range finds 416.",
    ),
    Unseen("post-key-required", "post", f"{_KEY} 2.7", "other", "idem-key-missing-400 refuses, on routes that require a key."),
    Unseen(
        "patch-advertise",
        "patch",
        "RFC 5789 3.1",
        "other",
        "options-auto and options-allow tell the media types of `accept_patch`.",
    ),
    Unseen(
        "patch-atomic",
        "patch",
        "RFC 5789 2",
        "pair",
        "A patch that was applied in part shows only to a GET at the same moment.",
    ),
    Unseen(
        "patch-malformed-400-422",
        "patch",
        "RFC 5789 2.2",
        "intention",
        "Why the application refused a patch, and so which code is the right one, only it knows.",
    ),
    Unseen(
        "patch-not-put-fields",
        "patch",
        "RFC 5789 2",
        "intention",
        "Whether a field of the patch was taken for one of the resource does not show in the answer.",
    ),
    Unseen(
        "patch-status-set", "patch", "RFC 9110 15", "other", "status-method-table finds every code that means nothing to PATCH."
    ),
    Unseen(
        "delete-repeat-free",
        "delete",
        "RFC 9110 9.2.2",
        "principle",
        "A second DELETE may answer 404 or 410; the guard leaves it so, and replays the first answer only to a key.",
    ),
    # ---- QUERY
    Unseen("query-no-sniff", "query", "RFC 10008 2.1", "intention", "Whether the application guessed a type cannot be seen."),
    Unseen(
        "query-unprocessable",
        "query",
        "RFC 10008 2.1",
        "intention",
        "Whether a query was understood and impossible, only the application knows.",
    ),
    Unseen(
        "query-location-meaning",
        "query",
        "RFC 10008 2.3, 2.4",
        "engine",
        "Location in an answer to QUERY names the query; rules about creation are not asked of QUERY.",
    ),
    Unseen(
        "query-conditional",
        "query",
        "RFC 10008 2.6",
        "engine",
        "The status table lets QUERY answer 304 and 412, as it does GET.",
    ),
    Unseen("query-cache-key", "query", "RFC 10008 2.7", "cache", "An answer to QUERY must be kept under its content as well."),
    Unseen(
        "query-no-replay-store",
        "query",
        "RFC 10008 2",
        "engine",
        "An Idempotency-Key on QUERY is passed over: repeating is harmless by definition.",
    ),
    # ---- HEAD, OPTIONS, TRACE, CONNECT
    Unseen(
        "head-fields-as-get",
        "allow",
        "RFC 9110 9.3.2",
        "pair",
        "What GET would have said is not known; where HEAD is made of GET, they agree.",
    ),
    Unseen(
        "options-max-forwards",
        "gateway",
        "RFC 9110 7.6.2",
        "gateway",
        "The gateway counts Max-Forwards down, and answers OPTIONS and TRACE itself where none is left.",
    ),
    Unseen(
        "allow-complete",
        "allow",
        "RFC 9110 15.5.6",
        "other",
        "status-405-needs-allow also completes an Allow that lacks methods.",
    ),
    Unseen("trace-no-secrets", "allow", "RFC 9110 9.3.8", "other", "trace-off refuses TRACE, so nothing is echoed."),
    Unseen(
        "connect-2xx-no-framing",
        "allow",
        "RFC 9110 8.6, 9.3.6",
        "other",
        "connect-off refuses CONNECT, so none is answered by 2xx.",
    ),
    # ---- status codes and framing
    Unseen(
        "status-1xx-not-http10",
        "status",
        "RFC 9110 15.2",
        "server",
        "Interim answers are the server's to send, and it knows the client's version.",
    ),
    Unseen(
        "length-true",
        "framing",
        "RFC 9110 8.6",
        "server",
        "Servers count an answer against its Content-Length; the guard mends or drops the lengths that it changes itself.",
    ),
    Unseen(
        "date-present", "framing", "RFC 9110 6.6.1", "server", "Servers add Date after the guard, with the clock they have."
    ),
    # ---- validators, conditions, ranges, negotiation, integrity
    Unseen(
        "etag-per-encoding",
        "validators",
        "RFC 9110 8.8.1, 8.8.3.3",
        "pair",
        "Whether two codings share a strong ETag shows only in both; where the guard changes content, it sees to its own.",
    ),
    Unseen(
        "precondition-order",
        "preconditions",
        "RFC 9110 13.2.2",
        "engine",
        "Where a policy has a `validator`, conditions are evaluated in the order of the RFC.",
    ),
    Unseen(
        "precondition-after-checks",
        "preconditions",
        "RFC 9110 13.2.1",
        "engine",
        "Conditions are evaluated when nothing else refuses or answers the request.",
    ),
    Unseen(
        "precondition-forward",
        "gateway",
        "RFC 9110 13.2.1",
        "gateway",
        "Without the policy's `validator` conditions pass to the application untouched.",
    ),
    Unseen(
        "conditional-retry-2xx",
        "preconditions",
        "RFC 9110 13.1.1, 13.1.4, 13.2.2",
        "engine",
        "A retry with a key is answered from the store before its condition is evaluated.",
    ),
    Unseen(
        "status-206-fields",
        "ranges",
        "RFC 9110 15.3.7",
        "pair",
        "Which fields the whole answer would have had is not known.",
    ),
    Unseen(
        "vary-negotiated",
        "negotiation",
        "RFC 9110 12.5.5",
        "pair",
        "That content varies shows only in the answers to two requests.",
    ),
    Unseen(
        "prefer-unknown-ignored",
        "negotiation",
        "RFC 7240 2",
        "intention",
        "Whether a request was refused for a preference, only the application knows.",
    ),
    Unseen(
        "prefer-forwarded",
        "gateway",
        "RFC 7240 2",
        "gateway",
        "Prefer passes to the application, unless it contradicts itself: see prefer-contradiction.",
    ),
    Unseen(
        "digest-not-trusted",
        "integrity",
        "RFC 9530 6.5",
        "engine",
        "Requests are compared by a digest that the guard computes, never by one that a client sent.",
    ),
    Unseen(
        "problem-allowed-always",
        "integrity",
        "RFC 9457 3",
        "engine",
        "The guard's own refusals are problem documents, whatever Accept says.",
    ),
    Unseen(
        "problem-keeps-app-body",
        "integrity",
        "RFC 9457 1",
        "engine",
        "What the application says in an error of its own stays as it is in `guard`.",
    ),
    # ---- Idempotency-Key
    Unseen(
        "idem-key-reuse-target",
        "replaying",
        f"{_KEY} 2.7",
        "other",
        "idem-key-reuse-422 compares the method and the target too.",
    ),
    Unseen(
        "idem-no-store-pre-execution",
        "replaying",
        f"{_KEY} 2.6",
        "engine",
        "A request that is refused before its handler ran leaves its key free.",
    ),
    Unseen(
        "idem-methods",
        "replaying",
        f"{_KEY} 1",
        "engine",
        "Keys are honoured on POST, PATCH, PUT and DELETE, and passed over on safe methods.",
    ),
    Unseen(
        "idem-marker",
        "replaying",
        f"{_KEY} 2.6",
        "engine",
        "Every replay carries `Idempotent-Replayed: true`, exposed by CORS.",
    ),
    Unseen(
        "idem-expiry-published",
        "replaying",
        f"{_KEY} 2.3, 2.5",
        "principle",
        "How long keys are kept belongs into your documentation; `Replay(keep=...)` is a day.",
    ),
    Unseen("idem-key-forward", "gateway", f"{_KEY} 2", "gateway", "The guard takes the key from no request."),
    Unseen("idem-key-not-logged", "replaying", f"{_KEY} 5", "engine", "No finding and no line of the log holds a key."),
    # ---- caching
    Unseen(
        "unsafe-write-through",
        "caching",
        "RFC 9111 4",
        "principle",
        "The store of replays is no cache: it answers a repeated request only, and never a GET.",
    ),
    Unseen(
        "invalidate-target",
        "caching",
        "RFC 9111 4.4",
        "cache",
        "An unsafe request that succeeds makes what a cache has of its target stale.",
    ),
    Unseen(
        "invalidate-location",
        "caching",
        "RFC 9111 4.4",
        "cache",
        "A cache may also forget what Location and Content-Location of such an answer name.",
    ),
    Unseen(
        "invalidate-cross-origin", "caching", "RFC 9111 4.4", "cache", "A cache forgets nothing that belongs to another origin."
    ),
    Unseen(
        "invalidate-on-replay",
        "caching",
        "RFC 9111 4.4",
        "cache",
        "A replay passes a cache in front of the guard as any answer.",
    ),
    Unseen(
        "authorised-not-shared",
        "caching",
        "RFC 9111 3.5",
        "engine",
        "A record belongs to one caller, and nobody else is told.",
    ),
    # ---- gateways and retries
    Unseen(
        "interim-forwarded",
        "gateway",
        "RFC 9110 15.2",
        "gateway",
        "A 103 passes where the server takes it (hypercorn, to HTTP/2); other interim answers end at the gateway.",
    ),
    Unseen(
        "retry-idempotent-only",
        "gateway",
        "RFC 9110 9.2.2",
        "gateway",
        "The gateway sends a request again only where its method is idempotent and all of its content is at hand.",
    ),
    Unseen("retry-once", "gateway", "RFC 9110 9.2.2", "gateway", "The gateway sends a request again once, at most."),
    Unseen(
        "retry-expected",
        "gateway",
        "RFC 9110 9.2.2",
        "principle",
        "Proxies and HTTP clients repeat requests by themselves; that is why there is replay.",
    ),
    Unseen(
        "hop-by-hop-stripped",
        "gateway",
        "RFC 9110 7.6.1",
        "gateway",
        "The gateway forwards no fields of one connection, either way; in the store of replays there are none.",
    ),
    Unseen("via-inbound", "gateway", "RFC 9110 7.6.3", "gateway", "The gateway adds itself to Via."),
    Unseen("no-transform", "gateway", "RFC 9110 7.7", "gateway", "The gateway leaves all content as it is."),
    Unseen(
        "gateway-502-504",
        "gateway",
        "RFC 9110 15.6.3, 15.6.5",
        "gateway",
        "A service that was not reached or gave no valid answer is 502, one that took too long 504; both say which.",
    ),
    Unseen(
        "no-reject-after-effect",
        "gateway",
        "RFC 9110 9.2.2",
        "principle",
        "What has run and succeeded is never turned into a failure in `guard`; `strict` may, in tests.",
    ),
]

UNSEEN: dict[str, Unseen] = {row.id: row for row in _ROWS}
