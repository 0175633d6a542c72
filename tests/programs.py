"""Programs of other people that some tests run: nginx, json-server, litmus."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from started import ROOT

__all__ = ["needs"]

_MODULE = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")
_BIN = ROOT / "examples" / "json_server" / "node_modules" / ".bin"


def _nginx() -> bool:
    return (shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")) is not None and _MODULE.exists()


PROGRAMS: dict[str, tuple[Callable[[], bool], str]] = {
    "nginx": (_nginx, "apt-get install nginx-light libnginx-mod-http-dav-ext"),
    "litmus": (lambda: shutil.which("litmus") is not None, "apt-get install litmus"),
    "json-server": (
        lambda: (shutil.which("json-server", path=_BIN) or shutil.which("json-server")) is not None,
        "npm install --prefix examples/json_server --no-package-lock",
    ),
}


def needs(name: str) -> None:
    """Skip with a reason where a program is missing; fail where VERBGUARD_REQUIRE_PROGRAMS says that it was installed."""
    there, install = PROGRAMS[name]
    if there():
        return
    reason = f"{name} is not installed: {install}"
    if os.environ.get("VERBGUARD_REQUIRE_PROGRAMS"):
        pytest.fail(reason)
    pytest.skip(reason)
