"""What a gateway cannot be told, and what it says then."""

from __future__ import annotations

from typing import Any

import pytest

from verbguard import ConfigError
from verbguard.gateway import Gateway

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("", {}, "upstream = '': an origin such as 'http://127.0.0.1:9000'"),
    ("127.0.0.1:9000", {}, "upstream = '127.0.0.1:9000': an origin such as 'http://127.0.0.1:9000'"),
    ("ftp://files", {}, "upstream = 'ftp://files': an origin"),
    ("http://shop:port", {}, "upstream = 'http://shop:port': Port could not be cast to integer"),
    ("http://shop/base", {}, "without a path: the client's is passed on as it is"),
    ("http://shop/?a", {}, "without a path"),
    ("http://me:secret@shop", {}, "upstream: it holds a user's name"),
    ("http://shop", {"public": "api.example"}, "public = 'api.example': an origin"),
    ("http://shop", {"host": "mine"}, "host = 'mine': 'public' for the client's Host, or 'upstream'"),
    ("http://shop", {"timeout": 0}, "timeout = 0: seconds, more than zero"),
    ("http://shop", {"connect_timeout": "5"}, "connect_timeout = '5': seconds"),
    ("http://shop", {"late": True}, "late = True: seconds"),
    ("http://shop", {"connections": 0}, "connections = 0: a number of connections"),
    ("http://shop", {"trust_forwarded": "yes"}, "trust_forwarded = 'yes': True or False"),
]


@pytest.mark.parametrize(
    ("upstream", "more", "said"), WRONG, ids=[f"{row[0]} {row[1] or ''}".strip() or "none" for row in WRONG]
)
def test_wrong_arguments_are_told_at_once(upstream: str, more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        Gateway(upstream, **more)
    assert said in str(error.value)
    assert "secret" not in str(error.value)
