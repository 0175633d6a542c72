"""The access log: one line for each request, which nobody can forge and which gives no secret away.

    2026-11-29T19:36:26.123Z 127.0.0.1:51234 "PUT /orders?draft=1&token=*** HTTP/1.1" 405 184 3.2ms rule=put-no-collection

Text by default, JSON for machines. Keys, credentials and fields are never in it; of the query, values whose names promise a
secret are `***`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any

from verbguard.monitoring.accounts import Account

__all__ = ["FORMATS", "AccessLog", "shown_target"]

logger = logging.getLogger("verbguard.access")

LONGEST = 2_000  # characters of a target: a line stays below what a pipe takes at once, so lines of processes never mix

# Names of query parameters whose values are not for a log, as parts of the name in lower case.
_SECRETS = ("auth", "code", "cred", "csrf", "jwt", "key", "otp", "passw", "pwd", "secret", "session", "sid", "sig", "token")
_PARAMETER = re.compile(r"(?P<before>[?&;])(?P<name>[^=&;?/]*)=(?P<value>[^&;/?]*)")
_USERINFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#@]*@")
_UNSAFE = re.compile(r"[^\x21\x23-\x5b\x5d-\x7e]")


def shown_target(target: bytes, query: bytes) -> str:
    """A request target as a log may have it: secrets hidden, no byte that could end the line or the quotes."""
    text = (target + b"?" + query if query and b"?" not in target else target).decode("latin-1")
    text = _USERINFO.sub(r"\1***@", text)
    if "=" in text:
        text = _PARAMETER.sub(_without_secret, text)
    text = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}" if ord(found[0]) < 256 else "?", text)
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def _without_secret(found: re.Match[str]) -> str:
    name = found["name"].lower()
    if "%" in name:
        from urllib.parse import unquote_plus

        name = unquote_plus(name).lower()
    return f"{found['before']}{found['name']}=***" if any(secret in name for secret in _SECRETS) else found[0]


def token(text: str) -> str:
    """A word of a client's, such as its method, harmless and not too long."""
    return _UNSAFE.sub("?", text)[:40] or "-"


class AccessLog:
    """The report that writes the lines, in one of FORMATS, to the logger `verbguard.access`."""

    def __init__(self, form: str = "text", clock: Callable[[], float] = time.time) -> None:
        self._line = FORMATS[form]
        self._clock = clock

    def __call__(self, account: Account) -> None:
        logger.info("%s", self._line(account, self._clock() - account.seconds))


def text_line(account: Account, began: float) -> str:
    """`time client "request" status bytes ms`, then what there is to say more, each as `name=value` or a word."""
    parts = [
        moment(began),
        _client(account),
        f'"{token(account.method)} {_target(account)} {_protocol(account)}"',
        str(_status(account) or "-"),
        str(account.size) if account.size >= 0 else "-",
        f"{account.seconds * 1000:.1f}ms",
    ]
    if account.upstream_seconds >= 0:
        parts.append(f"upstream={account.upstream_seconds * 1000:.1f}ms")
    if account.findings:
        parts.append("rule=" + ",".join(_rules(account)))
    if account.replay:
        parts.append(account.replay)
    if _fate(account):
        parts.append(_fate(account))
    return " ".join(parts)


def json_line(account: Account, began: float) -> str:
    """The same as one JSON object; what is not known is left out."""
    line: dict[str, Any] = {
        "time": moment(began),
        "client": _client(account),
        "method": token(account.method),
        "target": _target(account),
        "protocol": _protocol(account),
        "status": _status(account),
        "bytes": account.size,
        "ms": round(account.seconds * 1000, 3),
    }
    if account.size < 0:
        del line["bytes"]
    if account.upstream_seconds >= 0:
        line["upstream_ms"] = round(account.upstream_seconds * 1000, 3)
    if account.findings:
        line["rules"] = _rules(account)
    if account.replay:
        line["replay"] = account.replay
    if _fate(account):
        line["fate"] = _fate(account)
    return json.dumps(line)


FORMATS: dict[str, Callable[[Account, float], str]] = {"text": text_line, "json": json_line}


def _client(account: Account) -> str:
    if not account.client:
        return "-"
    host, port = account.client[0], account.client[1]
    return token(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _target(account: Account) -> str:
    target = account.target
    if not target:
        target = account.scope["path"].encode("utf-8", "surrogateescape")
    return shown_target(target, account.query) or "-"


def _protocol(account: Account) -> str:
    version = token(account.version)
    return f"HTTP/{version}" if account.kind == "http" else f"WebSocket/{version}"


def _status(account: Account) -> int:
    """What the client was told; an app that raises before it answers is told as 500 by the server."""
    return account.status or (500 if account.stopped and account.stopped != "cancelled" else 0)


def _rules(account: Account) -> list[str]:
    return list(dict.fromkeys(rule for rule, _ in account.findings))


def _fate(account: Account) -> str:
    """Why an answer is not what it should be."""
    if account.stopped:
        return account.stopped if account.stopped == "cancelled" else "failed"
    return "" if account.complete or account.kind != "http" else "cut"


def moment(when: float) -> str:
    """A moment in UTC, with milliseconds (RFC 3339)."""
    whole = int(when)
    return f"{_second(whole)}.{int((when - whole) * 1000):03}Z"


_seconds: dict[int, str] = {}


def _second(whole: int) -> str:
    found = _seconds.get(whole)
    if found is None:
        _seconds.clear()
        found = _seconds[whole] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return found
