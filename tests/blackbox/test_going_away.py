"""Clients that leave, tasks that are cancelled, handlers that outlive their lease."""

from __future__ import annotations

import time
from typing import Any

import pytest

import verbguard
from blackbox.answers import PATIENCE, ask
from blackbox.drivers import AsgiDriver, WsgiExchange
from blackbox.replays import conflict, until_not_in_flight
from blackbox.servers import Line, talk, uvicorn_server, werkzeug_server
from blackbox.shops import FRAMEWORKS, Shop

# -- (h) clients that go away, tasks that are cancelled ---------------------------------------------------------------


def test_a_client_that_left_gets_its_answer_later(fastapi_shop: Shop) -> None:
    """The handler does not hear of the hang-up while its answer can be stored: it finishes, and the retry replays."""
    shop, gate = fastapi_shop, fastapi_shop.world.gate("watching")
    driver = shop.driver
    assert isinstance(driver, AsgiDriver)
    exchange = driver.exchange(ask("POST", "/watching", key="k", body="{}"))
    running = driver.submit(exchange.run)
    gate.wait_outside()
    driver.loop.call_soon_threadsafe(exchange.gone.set)
    gate.open.set()
    running.result(PATIENCE)
    retry = shop.send("POST", "/watching", key="k", body="{}")
    assert (retry.status, retry.replayed, retry.json()) == (200, True, {"number": 1, "gone": False})
    assert shop.runs == {"watching": 1}


def test_a_client_that_left_before_the_content_gets_it_later(flask_shop: Shop) -> None:
    """A server that gives up before the first byte closes the answer; the effect happened, so it is kept."""
    WsgiExchange(flask_shop.app.wsgi_app, ask("POST", "/items", key="k", body="{}")).run(leave_after=0)
    retry = flask_shop.send("POST", "/items", key="k", body="{}")
    assert (retry.status, retry.replayed, retry.json()["id"]) == (201, True, 1)
    assert flask_shop.runs == {"create": 1}


def test_a_cancelled_request_leaves_no_locked_key(fastapi_shop: Shop) -> None:
    """A shutdown or a timeout cancels the request's task: the key is recorded or released, never stuck."""
    shop, gate = fastapi_shop, fastapi_shop.world.gate("slow")
    running = shop.start("POST", "/slow", key="k")
    gate.wait_outside()
    running.future.cancel()
    gate.open.set()
    retry = until_not_in_flight(lambda: shop.send("POST", "/slow", key="k"))
    assert retry.status == 201


def test_an_aborted_worker_leaves_no_locked_key(flask_shop: Shop) -> None:
    """SystemExit in a handler is how gunicorn ends a worker's request: no Exception, and no lock on the key."""
    aborted = flask_shop.start("POST", "/abort", key="k").answer()
    assert isinstance(aborted.error, SystemExit)
    retry = flask_shop.send("POST", "/abort", key="k")
    assert retry.status == (500 if retry.replayed else 200)


@pytest.mark.parametrize("cut", ["error", "short"])
def test_a_body_cut_by_a_hang_up_never_runs(shop: Shop, cut: str) -> None:
    """Half a body is no request: the handler does not run and the key is still good."""
    shop.send("POST", "/items", key="k", body='{"name": "in', cut=cut)
    assert shop.runs == {}
    whole = shop.send("POST", "/items", key="k", body='{"name": "ink"}')
    assert (whole.status, whole.replayed) == (201, False)
    assert shop.runs == {"create": 1}


# -- (t) leases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_handler_may_outlive_its_lease(framework: str) -> None:
    """The lease is renewed while the handler runs: a twin that comes after several of them still finds it running."""
    with Shop(framework, store=verbguard.stores.open("memory://")) as shop:
        gate = shop.world.gate("slow")
        first = shop.start("POST", "/brief", key="k")
        gate.wait_outside()
        for _ in range(5):
            time.sleep(0.2)  # a whole lease: passing time is the subject here, nothing is waited for
            conflict(shop.send("POST", "/brief", key="k"), "idem-key-inflight-409")
        gate.open.set()
        assert first.answer().status == 201
        assert shop.send("POST", "/brief", key="k").replayed
        assert shop.runs == {"slow": 1}


# -- over sockets: hang-ups -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("framework", "server"), [("fastapi", uvicorn_server), ("flask", werkzeug_server)])
def test_a_hang_up_while_the_handler_works(framework: str, server: Any) -> None:
    """The client closes its socket and asks again on another one: it gets the first answer, from one run."""
    with Shop(framework) as shop, server(shop.app) as port:
        gate = shop.world.gate("slow")
        with Line(port) as line:
            line.ask("POST", "/slow", [("Idempotency-Key", "k")])
            gate.wait_outside()
        gate.open.set()
        retry = until_not_in_flight(lambda: talk(port, "POST", "/slow", [("Idempotency-Key", "k")]))
        assert (retry.status, retry.replayed) == (201, True)
        assert shop.runs == {"slow": 1}


@pytest.mark.parametrize(("framework", "server"), [("fastapi", uvicorn_server), ("flask", werkzeug_server)])
def test_a_hang_up_in_the_middle_of_the_body(framework: str, server: Any) -> None:
    """Ten bytes of a hundred, then nothing: no run, and the key is as good as new."""
    headers = [("Idempotency-Key", "k"), ("Content-Type", "application/json")]
    with Shop(framework) as shop, server(shop.app) as port:
        with Line(port) as line:
            line.ask("POST", "/items", headers, b'{"name": "', length=100)
        retry = until_not_in_flight(lambda: talk(port, "POST", "/items", headers, b"{}"))
        assert (retry.status, retry.replayed, retry.json()["id"]) == (201, False, 1)
        assert shop.runs == {"create": 1}
