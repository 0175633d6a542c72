"""wsgidav, a DAV server that passes all of litmus, on the folder that DAV_FILES names."""

from __future__ import annotations

import os
from typing import Any


def create() -> Any:
    """The server as a WSGI app, for `waitress --call`."""
    from wsgidav.wsgidav_app import WsgiDAVApp

    return WsgiDAVApp(
        {
            "provider_mapping": {"/": os.environ["DAV_FILES"]},
            "simple_dc": {"user_mapping": {"*": True}},
            "lock_storage": True,
            "property_manager": True,
            "verbose": 1,
            "logging": {"enable": False},
        }
    )
