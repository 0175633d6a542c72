"""The table `[gateway]` of verbguard.toml, judged when the program starts.

    [gateway]
    upstream = "http://127.0.0.1:9000"
    public = "https://api.example.com"

The fields are those of `verbguard.gateway.Gateway`; what cannot be meant is a ConfigError that says why and what to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from verbguard.errors import ConfigError
from verbguard.policy import build

__all__ = ["GatewayTable", "gateway_table", "origin"]

_EXAMPLES = {"upstream": "http://127.0.0.1:9000", "public": "https://api.example.com"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayTable:
    """What the table says. Times are seconds. Raises ConfigError for a value that cannot work."""

    upstream: str | None = None  # the service's origin; None: `--upstream` names it
    public: str | None = None  # the origin that clients see; None: it is told by paths alone
    connect_timeout: float = 5.0  # until the upstream has accepted: longer than two lost SYN packets take
    timeout: float = 60.0  # without a byte from the upstream; slow reports take most of a minute
    late: float = 30.0  # that an upstream's answer is still waited for when nobody else does, to be recorded
    # or "upstream": whose Host the upstream is told; with the public one it builds its links as if it stood alone
    host: str = "public"
    trust_forwarded: bool = False  # believe Forwarded and X-Forwarded-*: only behind a proxy that sets them
    connections: int = 100  # to the upstream at once; more requests wait for one

    def __post_init__(self) -> None:
        for name in ("upstream", "public"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, origin(value, name))
        for name in ("connect_timeout", "timeout", "late"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not isfinite(value) or value <= 0:
                raise ConfigError(f"{name} = {value!r}: seconds, more than zero")
            object.__setattr__(self, name, float(value))
        if self.host not in ("public", "upstream"):
            raise ConfigError(f"host = {self.host!r}: 'public' for the client's Host, or 'upstream' for the service's own")
        if not isinstance(self.trust_forwarded, bool):
            raise ConfigError(f"trust_forwarded = {self.trust_forwarded!r}: True or False")
        if not isinstance(self.connections, int) or isinstance(self.connections, bool) or self.connections < 1:
            raise ConfigError(f"connections = {self.connections!r}: a number of connections, at least one")

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of `Gateway`; its upstream is its first argument."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "upstream"}


def gateway_table(value: Any, where: str) -> GatewayTable:
    """The table that a file has under `[gateway]`. Raises ConfigError, naming the field and its nearest spelling."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} = {value!r}: a table, such as [gateway] with upstream = 'http://127.0.0.1:9000'")
    table: GatewayTable = build(GatewayTable, value, where)
    return table


def origin(value: Any, name: str) -> str:
    """An origin as it is written in a URL: scheme, host and port, without a slash at its end.

    Raises ConfigError for anything that a URL may have besides, with the reason.
    """
    mend = f"an origin such as {_EXAMPLES[name]!r}"
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} = {value!r}: {mend}")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(f"{name}: {mend}, in printable ASCII without spaces")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{name} = {value!r}: {error}; {mend}") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{name}: it holds a user's name; who asks is told by the client's own Authorization")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{name} = {value!r}: {mend}, with http:// or https:// and a host")
    if parts.path not in ("", "/") or "?" in value or "#" in value:
        bare = f"{parts.scheme}://{parts.netloc}"
        raise ConfigError(
            f"{name} = {value!r}: write {bare!r}, without a path: the client's is passed on as it is, query and all"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" if port is None else f"{parts.scheme}://{host}:{port}"
