"""PATCH: a change described by its content (RFC 5789)."""

from __future__ import annotations

from collections.abc import Sequence

from verbguard.http import Headers, Request, header
from verbguard.methods import allow_value
from verbguard.policy import Action, Policy
from verbguard.rules import Answer, Finding, Target, When, rule
from verbguard.rules.allow import allowed
from verbguard.rules.facts import accepted, has_content, listed, media_type


def patch_types(policy: Policy) -> Sequence[str]:
    """The media types of PATCH that a policy names, by either of its fields."""
    return policy.accept_patch or policy.accepts.get("PATCH", ())


@rule(
    "patch-media-type",
    "A patch in a format that is not taken",
    cites="RFC 5789 2.2, RFC 9110 15.5.16",
    when=When.REQUEST,
    methods={"PATCH"},
    lacks=(),
    default=Action.OFF,
    opt=Action.REJECT,
    opted=lambda policy: bool(patch_types(policy)),
    strength="SHOULD",
    risk="medium",
)
def patch_media_type(request: Request, target: Target) -> Finding | None:
    """PATCH with content of a media type that the route does not take, or of none.

    Why it matters: a patch is read by its media type. `application/json` with a null means "set to null" to one program and
    "remove" to another, and json-patch read as merge-patch destroys the resource.
    What the guard does: nothing until the route says what it takes, `item(accept_patch=["application/merge-patch+json"])`.
    Then any other type is refused with 415 and Accept-Patch before the handler runs.
    How to fix it: send the type that Accept-Patch names. FastAPI reads any JSON type into a model, Flask with
    `request.get_json(force=True)`.
    When to switch it off: many clients say plain application/json and mean merge-patch; that passes where merge-patch is
    listed. List what else your clients send.
    """
    types = patch_types(target.policy)
    value = request.get(b"content-type")
    kind = media_type(value)
    if not types or (not value and not has_content(request)):
        return None
    if kind == "application/json" and accepted(b"application/merge-patch+json", types) or (kind and accepted(value, types)):
        return None
    what = f"{kind[:80]} is no patch format of this resource" if kind else "A patch says its media type"
    return Finding(f"{what}: {', '.join(types)}.", status=415, headers=[(b"accept-patch", listed(types))])


@rule(
    "patch-415-accept-patch",
    "415 to PATCH says what is taken",
    cites="RFC 5789 2.2, 3.1",
    when=When.STATUS,
    methods={"PATCH"},
    statuses={415},
    absent=b"accept-patch",
    default=Action.REPAIR,
    routine=True,
    strength="SHOULD",
    risk="none",
)
def patch_415(request: Request, response: Answer, target: Target) -> Finding | None:
    """A 415 to PATCH without Accept-Patch.

    Why it matters: the client has to guess which patch format would have been right.
    What the guard does: it adds Accept-Patch from the policy's `accept_patch`, in `guard` and `strict`; without such a list,
    and where Accept-Encoding shows that the coding was the reason, it is silent.
    How to fix it: name the formats in the policy, `item(accept_patch=["application/merge-patch+json"])`; nothing has to change
    in the FastAPI or Flask handler.
    When to switch it off: `{"patch-415-accept-patch": "off"}` where the formats must not be told.
    """
    types = patch_types(target.policy)
    add: Headers = [(b"accept-patch", listed(types))]
    if not types or header(response.headers, b"accept-encoding") is not None:
        return None
    return Finding("Accept-Patch was added from the policy.", add=add)


@rule(
    "patch-allow-consistent",
    "Accept-Patch where PATCH is not allowed",
    cites="RFC 5789 3.1",
    when=When.FRAMING,
    has={b"accept-patch"},
    default=Action.REPAIR,
    routine=True,
)
def patch_allow(request: Request, response: Answer, target: Target) -> Finding | None:
    """An answer with Accept-Patch whose Allow does not list PATCH.

    Why it matters: Accept-Patch implies that PATCH is allowed; a client that reads only Allow believes that it is not.
    What the guard does: it adds PATCH to the Allow that is there, in `guard` and `strict`, unless the routes show that the
    resource has no PATCH.
    How to fix it: leave Allow to the router, or list PATCH in it.
    When to switch it off: `{"patch-allow-consistent": "off"}`.
    """
    methods = allowed(response)
    if methods is None or (target.allow and "PATCH" not in target.allow):
        return None
    if "PATCH" in methods or response.status == 405 and target.method == "PATCH":
        return None
    return Finding(
        "Accept-Patch is there and PATCH was added to Allow.",
        drop=frozenset([b"allow"]),
        add=[(b"allow", allow_value(methods | {"PATCH"}))],
    )


@rule(
    "patch-conditional",
    "A patch that is meant for no state in particular",
    cites="RFC 5789 2",
    when=When.REQUEST,
    methods={"PATCH"},
    lacks={b"if-match", b"if-none-match", b"if-unmodified-since", b"idempotency-key"},
    default=Action.OFF,
    opt=Action.REJECT,
    strength="SHOULD",
    risk="high",
)
def patch_conditional(request: Request, target: Target) -> Finding | None:
    """PATCH with neither a precondition nor an Idempotency-Key.

    Why it matters: a patch that is relative to a state ("add one", "append") is applied twice when it is sent again, and to
    another state than the client read when somebody wrote in between.
    What the guard does: nothing by itself. With `rules={"patch-conditional": "reject"}` such a request is 428.
    How to fix it: send If-Match with the ETag that was read, or a key. In FastAPI and Flask give the GET handler an ETag
    (`response.headers["ETag"]`, `response.set_etag(...)`), and the policy a `validator`.
    When to switch it off: it is off; patches that set values to what they shall be do not need it.
    """
    return Finding(
        "Send If-Match with the ETag that you read, or an Idempotency-Key.",
        status=428,
        headers=[(b"cache-control", b"no-store")],
    )
