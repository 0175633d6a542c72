"""Where a server listens, and how it is told to."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Any, Literal

import click

from verbguard.cli.target import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """What a server is told beside its app. Times are seconds."""

    host: str
    port: int
    http: Literal["h11", "httptools", "auto"] = "auto"
    root_path: str = ""
    workers: int = 1
    drain: float = 30.0
    keep_alive: float = 75.0

    @property
    def origin(self) -> str:
        """Where people find it."""
        return shown(self.host, self.port)


def shown(host: str, port: int) -> str:
    """An address as a URL."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """Bind first, so that a taken port is one line instead of a server's log."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # from here on clients are kept waiting rather than refused
    except OSError as error:
        listener.close()
        raise Trouble(f"Cannot listen on {host} port {port}: {error.strerror}. Choose another with {option}.") from None
    return listener


class Address(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions only
    """[HOST:]PORT; without a host this machine only, as what is told there is not for everybody."""

    name = "[HOST:]PORT"
    _FORM = re.compile(r"(?:(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]+)):)?(?P<port>\d{1,5})")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Host and port."""
        if isinstance(value, tuple):
            return value
        found = self._FORM.fullmatch(value)
        if found is None or int(found["port"]) > 65535:
            self.fail(f"{value!r} is no [HOST:]PORT, such as 9090 or 0.0.0.0:9090.", param, ctx)
        return found["six"] or found["host"] or "127.0.0.1", int(found["port"])
