"""Who is asking: every replay record belongs to one principal."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

__all__ = ["CREDENTIAL", "CREDENTIALS", "SECRETS", "fields_of", "principal_of"]


# Fields that prove who is asking.
SECRETS = frozenset(
    [
        b"authorization",
        b"proxy-authorization",
        b"x-api-key",
        b"api-key",
        b"apikey",
        b"x-auth-token",
        b"x-access-token",
        b"x-session-token",
        b"x-csrf-session",
        b"private-token",
        b"x-client-cert",
        b"x-ssl-client-cert",
        b"x-forwarded-client-cert",
        b"client-cert",
        b"x-amzn-oidc-identity",
        b"x-goog-iap-jwt-assertion",
        b"cf-access-jwt-assertion",
    ]
)
# Fields that say who is asking, as a proxy in front has found out; cookies say more than that.
_IDENTITIES = frozenset(
    [
        b"cookie",
        b"remote-user",
        b"x-account-id",
        b"x-auth-request-email",
        b"x-auth-request-user",
        b"x-authenticated-userid",
        b"x-forwarded-email",
        b"x-forwarded-user",
        b"x-organization-id",
        b"x-remote-user",
        b"x-tenant-id",
        b"x-user",
        b"x-user-id",
    ]
)
# A request's principal is one digest of all of these that it carries together.
CREDENTIALS = SECRETS | _IDENTITIES

# Nobody can list what every vendor calls its key; a name that sounds like one is one. The price is at most a retry that runs.
_SOUNDS = re.compile(
    rb"(?:^|[-_.])(?:access|account|api-?key|auth\w*|bearer|credentials?|customer|identity|jwt|key|org|organi[sz]ation|"
    rb"passw\w*|secret|session\w*|sid|signature|tenant|token|user|userid)(?:[-_.](?:id|name|email))?$"
)
_NOT_ONE = re.compile(rb"idempotency|csrf|xsrf|websocket|cache|surrogate|agent|trace|content|range|method|control")


class _Credential(dict[bytes, bool]):
    """Field name -> whether it says who is asking; worked out when a name is first seen."""

    def __missing__(self, name: bytes) -> bool:
        found = name in CREDENTIALS or (_SOUNDS.search(name) is not None and _NOT_ONE.search(name) is None)
        if len(self) < 2_000 and len(name) <= 128:  # clients choose names; they must not fill memory
            self[name] = found
        return found


CREDENTIAL = _Credential()

SESSION_COOKIES = frozenset(
    [b"session", b"sessionid", b"session_id", b"sid", b"connect.sid", b"phpsessid", b"jsessionid", b"asp.net_sessionid"]
)


def principal_of(credentials: list[tuple[bytes, bytes]], certificate: bytes | None = None) -> bytes:
    """The digest of every credential that a request carries together, empty for a request without one.

    Of the cookies only those count that are known to name a session; when none is known, all do.
    """
    if not credentials and certificate is None:
        return b""
    digest = sha256()
    for name, value in sorted(credentials):
        if name == b"cookie":
            value = _session_of(value)
        digest.update(b"%s %d " % (name, len(value)) + value)
    if certificate is not None:
        digest.update(b"certificate " + certificate)
    return digest.digest()[:16]


def _session_of(cookies: bytes) -> bytes:
    pairs = sorted({pair.strip() for pair in cookies.split(b";")})
    sessions = [pair for pair in pairs if pair.partition(b"=")[0].strip().lower() in SESSION_COOKIES]
    return b"; ".join(sessions or pairs)


def fields_of(value: Any) -> bytes:
    """What a principal callable may return, as the bytes that enter the digest. Raises TypeError for anything else."""
    if not isinstance(value, (bytes, str, int)):
        raise TypeError(f"a principal is a text or bytes, not {value!r}")
    if isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogatepass")
