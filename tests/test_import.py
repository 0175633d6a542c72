"""What an import costs: each program loads what it uses and nothing else. Every case is a Python of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {"starlette", "werkzeug", "http_sf", "fastapi", "flask", "click", "rich"}

WSGI_APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x"]
"""
WSGI_CALL = """
from wsgiref.util import setup_testing_defaults
for method in ("GET", "PUT", "POST"):
    environ = {"REQUEST_METHOD": method, "PATH_INFO": "/items/1", "HTTP_IDEMPOTENCY_KEY": "abc", "CONTENT_LENGTH": "0"}
    setup_testing_defaults(environ)
    b"".join(guarded(environ, lambda *_: None))
"""
ASGI_APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})
"""
ASGI_CALL = """
import asyncio

async def call(method):
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        pass

    headers = [(b"idempotency-key", b"abc")]
    scope = {"type": "http", "method": method, "path": "/items/1", "query_string": b"", "headers": headers}
    await guarded(scope, receive, send)

for method in ("GET", "PUT", "POST"):
    asyncio.run(call(method))
"""
GUARD = """
import verbguard
guarded = verbguard.guard(app, policies={"/items": verbguard.collection(), "/items/{id}": verbguard.item()})
"""
POLICIES = """
import verbguard
verbguard.Policy(replay=verbguard.Replay(window=5)), verbguard.collection(), verbguard.guarded(verbguard.item())
verbguard.ConfigError, verbguard.Kind, verbguard.Action, verbguard.Profile
"""
FLASK = """
from flask import Flask
import verbguard
app = Flask("shop")
app.post("/items")(lambda: "x")
verbguard.guard(app)
app.test_client().post("/items")
"""
STARLETTE = """
from starlette.applications import Starlette
import verbguard
verbguard.guard(Starlette())
"""

CASES = [
    # what a program does                     and what stays away
    ("import verbguard", FRAMEWORKS | {"asyncio", "ssl", "sqlite3"}),
    (POLICIES, FRAMEWORKS | {"asyncio", "ssl"}),
    ("import verbguard.rules; verbguard.rules.catalogue()", FRAMEWORKS | {"asyncio"}),
    ("import verbguard.config; verbguard.config.loads('profile = \"strict\"')", FRAMEWORKS | {"asyncio"}),
    (WSGI_APP + GUARD + WSGI_CALL, FRAMEWORKS | {"asyncio"}),
    (ASGI_APP + GUARD + ASGI_CALL, FRAMEWORKS),
    (FLASK, {"starlette", "fastapi", "rich"}),
    (STARLETTE, {"flask", "fastapi", "werkzeug", "click", "rich"}),
]
IDS = ["import", "policies", "rules", "config", "wsgi", "asgi", "flask", "starlette"]


def loaded_by(program: str) -> set[str]:
    """The top-level modules that a fresh Python has after it ran this program."""
    tail = "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program + tail], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(("program", "away"), CASES, ids=IDS)
def test_a_program_loads_only_what_it_uses(program: str, away: set[str]) -> None:
    """`import verbguard` loads no dependency, a WSGI program no ASGI framework, an ASGI program no WSGI framework."""
    assert loaded_by(program) & away == set()


def test_every_public_name_is_there_and_means_the_same_everywhere() -> None:
    """Each name of `__all__` can be used, and names that are loaded late are the same objects wherever they are taken from."""
    import verbguard
    import verbguard.doors
    import verbguard.rules

    for name in verbguard.__all__:
        assert getattr(verbguard, name) is not None
    assert verbguard.guard is verbguard.doors.guard
    assert verbguard.Finding is verbguard.rules.Finding


@pytest.mark.parametrize("module", ["asgi", "config", "fastapi", "flask", "rules", "stores", "wsgi"])
def test_modules_are_reached_as_attributes(module: str) -> None:
    """`verbguard.asgi.GuardMiddleware` and its like work after `import verbguard` alone."""
    program = f"import verbguard; assert verbguard.{module}.__name__ == 'verbguard.{module}'"
    assert "verbguard" in loaded_by(program)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """The late loading of names does not hide a misspelling."""
    import verbguard

    with pytest.raises(AttributeError, match="gaurd"):
        _ = verbguard.gaurd
