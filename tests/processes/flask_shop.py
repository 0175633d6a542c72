"""The shop in Flask, guarded."""

from __future__ import annotations

import os
import time

from flask import Flask, Response, json, request

import verbguard
from processes.shop import BLOCKED, BUSY, HELD, Reply, Shop

shop = Shop()
app = Flask(__name__, static_folder=None)


def told(reply: Reply) -> Response:
    return Response(json.dumps(reply.content), reply.status, reply.headers, content_type="application/json")


def done() -> Reply:
    return shop.done(request.method, request.path, request.get_data())


@app.get("/pid")
def pid() -> Response:
    return told(Reply(200, {}, {"pid": os.getpid()}))


@app.post("/orders")
def order() -> Response:
    reply = done()
    time.sleep(BUSY)
    return told(reply)


@app.get("/things/<name>")
def show(name: str) -> Response:
    return told(shop.shown(name))


def change(name: str) -> Response:
    return told(done())


app.add_url_rule("/things/<name>", view_func=change, methods=["PUT", "POST", "PATCH", "DELETE"])
app.add_url_rule("/required/<name>", view_func=change, methods=["POST"])


def hold(name: str) -> Response:
    reply = done()
    while not shop.ledger.is_open(name):
        time.sleep(0.01)
    return told(reply)


for family in HELD:
    app.add_url_rule(f"/{family}/<name>", view_func=hold, methods=["PUT", "POST"])


@app.post("/blocking/<name>")
def block(name: str) -> Response:
    reply = done()
    time.sleep(BLOCKED)
    return told(reply)


verbguard.guard(app, **shop.options)

if os.environ.get("VERBGUARD_TEST_WARM"):
    # a server that forks its workers later: they must not use the parent's connections, locks and threads
    before = app.test_client().post(
        "/orders",
        "http://api.example",
        data="before",
        content_type="text/plain",
        headers={"Idempotency-Key": "before"},
    )
    assert before.status_code == 201
