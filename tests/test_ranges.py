"""Ranges on their way to an application: what means nothing is not seen by it."""

from __future__ import annotations

from typing import Any

import fastapi
import flask
import pytest
from blackbox.answers import Answer
from blackbox.drivers import AsgiDriver, Client, WsgiDriver

import verbguard

FIELDS = ("range", "if-range", "if-match", "prefer")


def by_fastapi(**arguments: Any) -> Client:
    app = fastapi.FastAPI()

    @app.api_route("/files/{name}", methods=["GET", "PUT", "OPTIONS"])
    def show(name: str, request: fastapi.Request) -> dict[str, str | None]:
        return {field: request.headers.get(field) for field in FIELDS}

    return Client(AsgiDriver(verbguard.guard(app, **arguments)))


def by_flask(**arguments: Any) -> Client:
    app = flask.Flask(__name__)

    @app.route("/files/<name>", methods=["GET", "PUT", "OPTIONS"])
    def show(name: str) -> dict[str, str | None]:
        return {field: flask.request.headers.get(field) for field in FIELDS}

    return Client(WsgiDriver(verbguard.guard(app, **arguments)))


SEEN = [
    # method    sent                                                 what of it is seen
    ("GET", {"Range": "bytes=0-3"}, {"range"}),
    ("GET", {"Range": "bytes=0-3", "If-Range": '"a"'}, {"range", "if-range"}),
    ("GET", {"Range": "bytes=0-3", "If-Range": 'W/"a"'}, set()),
    ("GET", {"If-Range": '"a"'}, set()),
    ("GET", {"Range": "items=0-3"}, {"range"}),
    ("PUT", {"Range": "bytes=0-3"}, set()),
    ("PUT", {"Prefer": "return=minimal, return=representation"}, set()),
    ("PUT", {"Prefer": "return=minimal"}, {"prefer"}),
    ("OPTIONS", {"If-Match": '"a"'}, set()),
]


@pytest.mark.parametrize("served", [by_fastapi, by_flask])
@pytest.mark.parametrize(("method", "sent", "seen"), SEEN)
def test_what_an_application_sees(served: Any, method: str, sent: dict[str, str], seen: set[str]) -> None:
    with served() as client:
        answer: Answer = client.send(method, "/files/a", headers=list(sent.items()))
        assert answer.status == 200
        assert {field for field, value in answer.json().items() if value is not None} == seen
    with served(profile="observe") as client:
        answer = client.send(method, "/files/a", headers=list(sent.items()))
        assert {field for field, value in answer.json().items() if value is not None} == {name.lower() for name in sent}


@pytest.mark.parametrize("served", [by_fastapi, by_flask])
def test_a_policy_can_take_a_foreign_unit_away(served: Any) -> None:
    with served(default=verbguard.Policy(rules={"range-unknown-unit": "repair"})) as client:
        answer: Answer = client.send("GET", "/files/a", headers=[("Range", "items=0-3")])
        assert answer.json()["range"] is None
