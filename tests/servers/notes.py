"""Two naive applications that ignore every condition, guarded by a policy that tells the state: `fastapi_app`, `flask_app`.

/notes/{id}   GET with an ETag; PUT, PATCH and DELETE that write without looking
/runs         GET: how many writes ran
"""

from __future__ import annotations

from typing import Any

import fastapi
import flask

import verbguard
from verbguard import item


class Notes:
    """Texts with versions, and a count of the writes."""

    def __init__(self) -> None:
        self.texts: dict[str, tuple[int, str]] = {}
        self.runs = 0

    def tag(self, name: str) -> str | None:
        return f'"v{self.texts[name][0]}"' if name in self.texts else None

    def write(self, name: str, text: str) -> int:
        self.runs += 1
        created = name not in self.texts
        self.texts[name] = (1 if created else self.texts[name][0] + 1, text)
        return 201 if created else 204

    def remove(self, name: str) -> int:
        self.runs += 1
        return 204 if self.texts.pop(name, None) else 404


def name_of(request: Any) -> str:
    return str(request.path).rpartition("/")[2]


def _fastapi() -> fastapi.FastAPI:
    notes = Notes()
    app = fastapi.FastAPI()

    async def current(request: Any) -> str | None:
        return notes.tag(name_of(request))

    @app.get("/notes/{name}")
    def read(name: str) -> fastapi.Response:
        if name not in notes.texts:
            return fastapi.Response(status_code=404)
        return fastapi.Response(notes.texts[name][1], headers={"ETag": notes.tag(name) or ""})

    @app.put("/notes/{name}")
    @app.patch("/notes/{name}")
    async def write(name: str, request: fastapi.Request) -> fastapi.Response:
        return fastapi.Response(status_code=notes.write(name, (await request.body()).decode()))

    @app.delete("/notes/{name}")
    def remove(name: str) -> fastapi.Response:
        return fastapi.Response(status_code=notes.remove(name))

    @app.get("/runs")
    def runs() -> int:
        return notes.runs

    return verbguard.guard(app, policies={"/notes/{name}": item(validator=current, require_precondition=True)})


def _flask() -> flask.Flask:
    notes = Notes()
    app = flask.Flask(__name__)

    @app.get("/notes/<name>")
    def read(name: str) -> Any:
        if name not in notes.texts:
            return "", 404
        return notes.texts[name][1], 200, {"ETag": notes.tag(name)}

    @app.route("/notes/<name>", methods=["PUT", "PATCH"])
    def write(name: str) -> Any:
        return "", notes.write(name, flask.request.get_data(as_text=True))

    @app.delete("/notes/<name>")
    def remove(name: str) -> Any:
        return "", notes.remove(name)

    @app.get("/runs")
    def runs() -> str:
        return str(notes.runs)

    def current(request: Any) -> str | None:
        return notes.tag(name_of(request))

    return verbguard.guard(app, policies={"/notes/<name>": item(validator=current, require_precondition=True)})


fastapi_app, flask_app = _fastapi(), _flask()
