"""Negotiation: what a client prefers, and what the answer says about it."""

from __future__ import annotations

from collections.abc import Iterator

from verbguard.http import Request, header
from verbguard.policy import Action
from verbguard.rules import Answer, Finding, Target, When, rule

_PREFER = frozenset([b"prefer"])
_VARY = frozenset([b"vary"])
_APPLIED = b"preference-applied"
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


def _preferences(value: bytes | None) -> Iterator[tuple[str, str]]:
    """(name in lower case, value without quotes) of Prefer or Preference-Applied; parameters are left out."""
    from werkzeug.http import parse_list_header

    for member in parse_list_header((value or b"").decode("latin-1")):
        name, _, said = member.partition(";")[0].partition("=")
        if name.strip():
            yield name.strip().lower(), said.strip().strip('"').lower()


def _returns(value: bytes | None) -> set[str]:
    return {said for name, said in _preferences(value) if name == "return"}


@rule(
    "prefer-contradiction",
    "Two preferences that exclude each other",
    cites="RFC 7240 4.2",
    when=When.REQUEST,
    methods=_WRITES,
    fields=_PREFER,
    default=Action.REPAIR,
    risk="none",
)
def prefer_contradiction(request: Request, target: Target) -> Finding | None:
    """Prefer with `return=minimal` and `return=representation`, or both values of `handling`.

    Why it matters: the client asked for a short answer and for a full one. Which of them a handler finds first is chance, and a
    change of a library changes the answer. Both are treated as not said.
    What the guard does: a Prefer that says nothing else is taken away before the app sees it; beside other preferences, and in
    `observe`, it only tells.
    How to fix it: the client sends one; often a default of its HTTP library is joined with the caller's own. In FastAPI read
    `request.headers.get("prefer")` in one dependency, in Flask in one helper, and treat both as neither.
    When to switch it off: where the application has an order of its own, `rules={"prefer-contradiction": "off"}`.
    """
    said: dict[str, set[str]] = {}
    for name, value in _preferences(request.get(b"prefer")):
        said.setdefault(name, set()).add(value)
    both = [
        name
        for name, values in (("return", {"minimal", "representation"}), ("handling", {"strict", "lenient"}))
        if values <= said.get(name, set())
    ]
    if not both:
        return None
    return Finding(f"Prefer asks for both values of {both[0]}.", drop=_PREFER if set(both) == said.keys() else frozenset())


@rule(
    "preference-applied-asked",
    "A preference was applied that nobody had",
    cites="RFC 7240 3",
    when=When.STATUS,
    has={_APPLIED},
    risk="none",
)
def preference_applied_asked(request: Request, response: Answer, target: Target) -> Finding | None:
    """Preference-Applied names a preference that the request did not carry.

    Why it matters: the field tells a client which of its wishes were followed. A name that it never sent is usually a
    constant in the code: the client then takes a full answer for a minimal one, or does not wait for work that is not done.
    What the guard does: it tells, in every profile.
    How to fix it: set the field from the request: in FastAPI `if "return=minimal" in request.headers.get("prefer", "")`, in
    Flask `request.headers.get("Prefer", "")`, and only where it was followed.
    When to switch it off: `rules={"preference-applied-asked": "off"}`, where a proxy in front takes Prefer away.
    """
    asked = {name for name, _ in _preferences(request.get(b"prefer"))}
    extra = [name for name, _ in _preferences(header(response.headers, _APPLIED)) if name not in asked]
    if not extra:
        return None
    return Finding(f"Preference-Applied names {extra[0][:40]!r}, which was not asked for.")


@rule(
    "prefer-minimal",
    "A client that wants no content gets some",
    cites="RFC 7240 4.2",
    when=When.STATUS,
    methods={"PUT", "PATCH"},
    statuses={200},
    given=_PREFER,
    default=Action.OFF,
    opt=Action.REPAIR,
    risk="medium",
)
def prefer_minimal(request: Request, response: Answer, target: Target) -> Finding | None:
    """A PUT or PATCH with `Prefer: return=minimal` is answered 200 with content.

    Why it matters: the client said that it does not need the representation back; on a slow line the answer is most of the
    cost. Nothing is wrong with a server that does not follow a preference.
    What the guard does: nothing by itself. With `rules={"prefer-minimal": "repair"}` the content is dropped, the answer becomes
    204 and says `Preference-Applied: return=minimal`.
    How to fix it: look at Prefer in the handler: FastAPI `return Response(status_code=204)`, Flask `return "", 204`.
    When to switch it off: leave it off where clients read the answer to a PUT in spite of what they prefer.
    """
    if _returns(request.get(b"prefer")) != {"minimal"}:
        return None
    return Finding(
        "The client prefers no content.",
        set_status=204,
        drop=frozenset([_APPLIED]),
        add=[(_APPLIED, b"return=minimal")],
    )


@rule(
    "vary-prefer",
    "A preference decides, and Vary does not say so",
    cites="RFC 7240 2",
    when=When.STATUS,
    methods={"GET", "HEAD", "QUERY"},
    has={_APPLIED},
    default=Action.REPAIR,
    strength="MUST",
)
def vary_prefer(request: Request, response: Answer, target: Target) -> Finding | None:
    """An answer to a read that followed a preference, without Prefer in its Vary.

    Why it matters: a cache that does not know what an answer depends on gives it to everybody: one client asks for the
    minimal form, and the next one, who wanted everything, gets it too.
    What the guard does: it adds `Vary: Prefer`; in `observe` it only tells.
    How to fix it: wherever Preference-Applied is set: `response.headers.append("Vary", "Prefer")` in FastAPI,
    `response.vary.add("Prefer")` in Flask.
    When to switch it off: hardly ever; where nothing caches, it costs nothing. `rules={"vary-prefer": "off"}`.
    """
    given = b", ".join(value for name, value in response.headers if name.lower() == b"vary").strip(b" ,")
    listed = {name.strip().lower() for name in given.split(b",")}
    if b"prefer" in listed or b"*" in listed:
        return None
    vary = given + b", Prefer" if given else b"Prefer"
    return Finding("The answer depends on Prefer.", drop=_VARY, add=[(b"vary", vary)])


@rule(
    "accept-post-put-hint",
    "415 that does not say what is accepted",
    cites="RFC 9110 15.5.16, 12.5.1",
    when=When.STATUS,
    methods={"POST", "PUT"},
    statuses={415},
    absent=b"accept",
    default=Action.REPAIR,
    routine=True,
    strength="MAY",
    risk="none",
)
def accept_hint(request: Request, response: Answer, target: Target) -> Finding | None:
    """A 415 to POST or PUT without Accept, where the policy knows which media types are taken.

    Why it matters: the client learns that its content has the wrong type and not which would be right; it has to guess or to
    find documentation. Accept in an answer is made for this.
    What the guard does: it adds Accept with the types that the policy's `accepts` names; without them it says nothing, and
    nothing where Accept-Encoding shows that the coding was the reason. In `observe` it only tells.
    How to fix it: `item(accepts={"PUT": ["application/json"]})`; or in the handler `raise HTTPException(415,
    headers={"Accept": "application/json"})` in FastAPI, `abort(Response(status=415, headers=...))` in Flask.
    When to switch it off: where the types are nobody's business, `rules={"accept-post-put-hint": "off"}`.
    """
    types = target.policy.accepts.get(target.method, ())
    if not types or header(response.headers, b"accept-encoding") is not None:
        return None
    value = ", ".join(types).encode("latin-1", "replace")
    return Finding(f"415 says that {target.method} takes {value.decode('latin-1')[:80]}.", add=[(b"accept", value)])
