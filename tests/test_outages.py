"""What a shared store did not hear it hears later, and what a deployment changes it does not forget."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from typing import Any

import pytest
from shared.files import fresh_file

import verbguard
from verbguard import Policy, Replay
from verbguard.awaiting import heard
from verbguard.outages import Debts, debts
from verbguard.stores.sqlite import SqliteStore

PATIENCE = 20.0  # seconds; what is waited for takes a fraction of one
KEYED = {"/orders": Policy(methods={"POST"}, replay=Replay(required=True, lease=0.2))}


class Shop:
    """An app that does something with its store's file while it runs, and answers."""

    def __init__(self, meanwhile: Callable[[], Any]) -> None:
        self.runs = 0
        self.meanwhile = meanwhile

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        self.runs += 1
        self.meanwhile()
        await send({"type": "http.response.start", "status": 201, "headers": [(b"location", b"/orders/1")]})
        await send({"type": "http.response.body", "body": b"run %d" % self.runs})

    def wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        self.runs += 1
        self.meanwhile()
        start_response("201 Created", [("Location", "/orders/1"), ("Content-Length", "5")])
        return [b"run %d" % self.runs]


def post_asgi(app: Any, key: str = "k") -> tuple[int, bytes]:
    """(status, content) of one POST."""
    headers = [(b"host", b"h"), (b"content-length", b"0"), (b"idempotency-key", key.encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/orders",
        "headers": headers,
        "http_version": "1.1",
        "query_string": b"",
    }
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(app(scope, receive, send))
    return said[0]["status"], said[-1]["body"]


def post_wsgi(app: Any, key: str = "k") -> tuple[int, bytes]:
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/orders", "HTTP_HOST": "h", "CONTENT_LENGTH": "0"}
    environ |= {"HTTP_IDEMPOTENCY_KEY": key, "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.input": BytesIO(), "wsgi.multiprocess": False}
    said: list[str] = []
    content = b"".join(app(environ, lambda status, headers, exc_info=None: said.append(status)))
    return int(said[-1][:3]), content


POST: dict[str, Callable[..., tuple[int, bytes]]] = {"asgi": post_asgi, "wsgi": post_wsgi}


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("interface", POST)
def test_an_answer_that_could_not_be_kept_is_kept_later(interface: str) -> None:
    """The store fails between effect and record: the client has its answer, and so does the retry, once the store is back."""
    path = fresh_file()
    with closing(SqliteStore(path, timeout=0.05)) as store:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        shop = Shop(lambda: other.execute("BEGIN EXCLUSIVE"))
        app = verbguard.guard(getattr(shop, interface), policies=KEYED, store=store, observers=[lambda finding: None])
        assert POST[interface](app) == (201, b"run 1")
        assert debts.ends
        other.execute("ROLLBACK")
        other.close()
        until(lambda: not debts.ends)
        until(lambda: POST[interface](app) == (201, b"run 1"))
        assert shop.runs == 1


@pytest.mark.parametrize("interface", POST)
def test_a_deployment_that_adds_a_route_forgets_no_key(interface: str) -> None:
    """Old and new processes run side by side, with different routes: a retry that meets the other kind runs nothing."""
    with closing(SqliteStore(fresh_file())) as store:
        shop = Shop(lambda: None)
        app = getattr(shop, interface)
        old = verbguard.guard(app, policies=KEYED, store=store)
        new = verbguard.guard(app, policies={**KEYED, "/refunds": Policy(methods={"POST"})}, store=store)
        assert POST[interface](old) == POST[interface](new) == (201, b"run 1")
        assert shop.runs == 1


def test_whoever_waits_for_a_word_that_fails_hears_so() -> None:
    """A word to the store that ends in an error of any kind ends the waiting for it, too."""

    async def fails() -> None:
        raise RuntimeError("no thread can be started")

    async def waits() -> None:
        async with asyncio.timeout(PATIENCE):
            await heard(fails())

    with pytest.raises(RuntimeError, match="no thread"):
        asyncio.run(waits())


def test_an_end_that_can_never_be_told_holds_up_no_other() -> None:
    """The ends of runs are told in turn, also past one that always fails."""
    owing, told = Debts(), []

    def never() -> None:
        raise RuntimeError

    owing.insist(never)
    owing.insist(lambda: told.append("heard"))
    until(lambda: told == ["heard"])
    owing.ends.clear()


def test_a_store_of_ones_own_need_not_know_epochs() -> None:
    """It is owed nothing, and the thread that tells the others lives on."""
    owing, told = Debts(), []
    owing.owe(object())  # type: ignore[arg-type]
    owing.insist(lambda: told.append("heard"))
    until(lambda: told == ["heard"])
