"""Fields of an answer that are looked at whatever its status, or nearly so."""

from __future__ import annotations

from urllib.parse import unquote, urljoin, urlsplit

from verbguard.http import Request, header
from verbguard.methods import BODILESS, METHODS, SAFE
from verbguard.policy import Action
from verbguard.rules import Answer, Content, Finding, Target, When, rule


def _path(reference: bytes | None, request: Request) -> str:
    """The path and query that a reference of the answer names on this server, empty when it cannot be told."""
    try:
        parts = urlsplit(urljoin(request.target.decode("latin-1"), (reference or b"").decode("latin-1").strip()))
    except ValueError:
        return ""
    host = (request.get(b"host") or b"").decode("latin-1").lower()
    if parts.netloc and parts.netloc.lower() != host:
        return ""
    return unquote(parts.path) + ("?" + parts.query if parts.query else "")


@rule(
    "response-typed",
    "Content without a type",
    cites="RFC 9110 8.3",
    when=When.CONTENT,
    content=Content.FIRST,
    methods=METHODS.keys() - {"HEAD", "CONNECT", "TRACE"},
    statuses=frozenset(range(200, 600)) - BODILESS,
    absent=b"content-type",
    strength="SHOULD",
)
def response_typed(request: Request, response: Answer, target: Target) -> Finding | None:
    """The answer has content and no Content-Type.

    Why it matters: clients guess. Browsers sniff, and what a user uploaded as an image runs as a script; libraries hand out
    bytes where JSON was meant.
    What the guard does: it tells, in every profile; the head of such an answer waits for its first piece of content.
    How to fix it: `Response(content, media_type="application/json")` in FastAPI, `Response(body, mimetype=...)` in Flask; for
    bytes of an unknown kind `application/octet-stream`, with `X-Content-Type-Options: nosniff`.
    When to switch it off: where nobody knows the type and clients shall guess, `rules={"response-typed": "off"}`.
    """
    length = header(response.headers, b"content-length") or b""
    if response.body or (response.body is None and length.isdigit() and int(length[:20]) > 0):
        return Finding("The content has no Content-Type.")
    return None


@rule(
    "location-single",
    "More than one Location",
    cites="RFC 9110 10.2.2",
    when=When.STATUS,
    statuses={201, *range(300, 400)},
    repeats={b"location"},
    strict=Action.REPLACE,
    strength="MUST",
)
def location_single(request: Request, response: Answer, target: Target) -> Finding | None:
    """The answer has two Location lines or more.

    Why it matters: the field is one reference and no list. Clients take the first, the last, or both with a comma between,
    which is a third; proxies and browsers disagree, which has been used to send people elsewhere.
    What the guard does: it tells in `guard`, as it cannot know which one is meant; `strict` puts a 500 in its place. `observe`
    only tells.
    How to fix it: set the field once: `response.headers["location"] = ...` in FastAPI and Flask replaces, `.append()` and
    `.add()` do not. Where a framework's redirect sets it, leave it to that.
    When to switch it off: `rules={"location-single": "off"}`, where a layer outside takes one of them away.
    """
    return Finding("The answer has more than one Location.", status=500)


@rule(
    "content-location-201",
    "A 201 whose content is the new resource",
    cites="RFC 9110 8.7, 15.3.2",
    when=When.STATUS,
    statuses={201},
    has={b"content-location"},
    default=Action.OFF,
    opt=Action.OBSERVE,
    strength="MAY",
)
def content_location_201(request: Request, response: Answer, target: Target) -> Finding | None:
    """Content-Location of a 201 is what was created: its Location, or the target where there is none.

    Why it matters: that says "the content is the new resource as it is now", and clients may keep it as such. It is right where
    the handler returns the resource, and wrong over a message like `{"created": true}`.
    What the guard does: nothing by itself, as it cannot tell one from the other. With `rules={"content-location-201":
    "observe"}` it tells where the claim is made, so that somebody looks.
    How to fix it: leave Content-Location out of messages; `Response(..., headers={"Location": url})` in FastAPI,
    `return body, 201, {"Location": url}` in Flask.
    When to switch it off: it is off unless a policy turns it on.
    """
    created = _path(header(response.headers, b"location"), request)
    if not created or _path(header(response.headers, b"content-location"), request) != created:
        return None
    return Finding("Content-Location says that the content is the new resource.")


@rule(
    "content-location-put-post",
    "A message that claims to be the new state",
    cites="RFC 9110 8.7, 6.4.2",
    when=When.STATUS,
    methods={"PUT", "PATCH", "POST"},
    statuses={200},
    has={b"content-location"},
    default=Action.OFF,
    opt=Action.OBSERVE,
    strength="MAY",
    risk="medium",
)
def content_location_target(request: Request, response: Answer, target: Target) -> Finding | None:
    """Content-Location of a 200 to PUT, PATCH or POST is the request's own target.

    Why it matters: that says "the content is the new state of what you wrote to", and a client may keep it and write it back.
    Over a message like `{"saved": true}` it makes clients lose the state.
    What the guard does: nothing by itself, as it cannot tell a state from a message. With
    `rules={"content-location-put-post": "observe"}` it tells where the claim is made.
    How to fix it: send the field with a state only: `response.headers["Content-Location"]` in FastAPI and Flask, in handlers
    that return the resource; leave it out elsewhere, or answer 204.
    When to switch it off: it is off unless a policy turns it on.
    """
    own = _path(b"", request)
    if not own or _path(header(response.headers, b"content-location"), request) != own:
        return None
    return Finding("Content-Location says that the content is the new state of the target.")


@rule(
    "age-only-caches",
    "Age on an answer to a write",
    cites="RFC 9111 5.1, 4",
    when=When.STATUS,
    methods=METHODS.keys() - SAFE,
    has={b"age"},
    strength="MUST",
    risk="none",
)
def age(request: Request, response: Answer, target: Target) -> Finding | None:
    """The app's answer to POST, PUT, PATCH or DELETE carries Age.

    Why it matters: "the presence of an Age header field implies that the response was not generated or validated by the origin
    server for this request". A write must always reach the origin, so either it did not happen or the field is wrong.
    What the guard does: it tells, in every profile. Of a replay the question does not come up: Age is never stored.
    How to fix it: where the app hands on another service's answer, copy the fields that you know and not all of them; `httpx`
    or `requests` give them in `response.headers`, in FastAPI and Flask alike.
    When to switch it off: where a private field happens to be called so, `rules={"age-only-caches": "off"}`.
    """
    return Finding("Age says that the answer was not made for this request.")


@rule(
    "invalidate-groups",
    "A safe method that invalidates",
    cites="RFC 9875 3",
    when=When.STATUS,
    methods=METHODS.keys() & SAFE,
    has={b"cache-group-invalidation"},
    default=Action.OFF,
    opt=Action.OBSERVE,
    strength="MUST",
    risk="none",
)
def invalidates_groups(request: Request, response: Answer, target: Target) -> Finding | None:
    """The answer to a safe method carries Cache-Group-Invalidation, which caches ignore there.

    Why it matters: the field asks caches to forget a group of answers, after a write. On GET, HEAD, OPTIONS or QUERY it "MUST
    be ignored", so what somebody hoped for does not happen, and old answers stay.
    What the guard does: nothing by itself, as it keeps no cache. With `rules={"invalidate-groups": "observe"}` it tells.
    How to fix it: send the field with the answer to the POST, PUT, PATCH or DELETE that changes the group:
    `response.headers["Cache-Group-Invalidation"] = '"scripts"'` in FastAPI and Flask alike.
    When to switch it off: it is off unless a policy turns it on.
    """
    return Finding("Caches ignore Cache-Group-Invalidation in the answer to a safe method.")


@rule(
    "deprecation-date",
    "Deprecation that is no date",
    cites="RFC 9745 2.1, RFC 9651 3.3.7",
    when=When.STATUS,
    has={b"deprecation"},
    strength="MUST",
)
def deprecation_date(request: Request, response: Answer, target: Target) -> Finding | None:
    """Deprecation is no date of structured fields, such as `@1688169599`.

    Why it matters: programs that watch for the field drop what they cannot parse, so nobody hears that the resource is on its
    way out. `true` and `Sun, 11 Nov 2024 23:59:59 GMT` are of older drafts.
    What the guard does: it tells, in every profile; the answer stays as it is.
    How to fix it: `response.headers["Deprecation"] = f"@{int(when.timestamp())}"`, in FastAPI and Flask alike, with
    `Link: <...>; rel="deprecation"` for the reasons.
    When to switch it off: while clients still read an older spelling, `rules={"deprecation-date": "off"}`.
    """
    return Finding("Deprecation is no date such as @1688169599.") if _deprecated_at(response) is None else None


@rule(
    "sunset-after-deprecation",
    "A sunset before the deprecation",
    cites="RFC 9745 4, RFC 8594 3",
    when=When.STATUS,
    has={b"sunset"},
    strength="MUST",
    risk="none",
)
def sunset_after(request: Request, response: Answer, target: Target) -> Finding | None:
    """Sunset, when the resource stops answering, is earlier than Deprecation, when it should no longer be used.

    Why it matters: clients plan by both. A resource that is gone before it was deprecated leaves them no time, and mostly means
    that the two dates were swapped or one was forgotten.
    What the guard does: it tells, in every profile; the answer stays as it is. Dates that it cannot read it leaves to others.
    How to fix it: one place that knows both dates: a dependency in FastAPI, an `after_request` function in Flask. Sunset is an
    HTTP date (`werkzeug.http.http_date(when)`), Deprecation is `@` and seconds.
    When to switch it off: `rules={"sunset-after-deprecation": "off"}`; nothing is known that would need it.
    """
    from werkzeug.http import parse_date

    deprecated = _deprecated_at(response)
    sunset = parse_date((header(response.headers, b"sunset") or b"").decode("latin-1"))
    if deprecated is None or sunset is None or sunset.timestamp() >= deprecated:
        return None
    return Finding("Sunset is earlier than Deprecation.")


def _deprecated_at(response: Answer) -> float | None:
    """Deprecation in seconds since 1970, None where it is missing, repeated or no structured date."""
    from datetime import datetime

    from http_sf import StructuredFieldError, parse

    values = [value for name, value in response.headers if name.lower() == b"deprecation"]
    if len(values) != 1:
        return None
    try:
        found = parse(values[0], tltype="item")
    except (StructuredFieldError, ValueError, OverflowError):
        return None
    when = found[0] if isinstance(found, tuple) else None
    return when.timestamp() if isinstance(when, datetime) else None
