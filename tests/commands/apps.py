"""The apps and files that the tests hand to the command line."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

APPS = {
    "fast": """
        from typing import Any
        import verbguard
        from fastapi import FastAPI, Request
        app = FastAPI()
        @app.get("/notes")
        async def listed() -> dict[str, Any]: return {"ran": "listed"}
        @app.put("/notes")
        async def replaced() -> dict[str, Any]: return {"ran": "replaced"}
        @app.post("/notes", status_code=201)
        async def added() -> dict[str, Any]: return {"id": 7}
        @app.get("/notes/{id}")
        async def shown(id: int) -> dict[str, Any]: return {"id": id}
        @app.put("/notes/{id}")
        @verbguard.guarded(verbguard.item(replay=verbguard.Replay(window=12)))
        async def put(id: int) -> dict[str, Any]: return {"id": id}
        @app.post("/search")
        async def search(request: Request) -> dict[str, Any]: return {"length": len(await request.body())}
        def create_app() -> FastAPI: return app
    """,
    "flasky": """
        from flask import Flask, request
        app = Flask(__name__)
        @app.route("/notes", methods=["GET", "POST", "PUT"])
        def notes(): return {"length": len(request.get_data()), "many": request.environ["wsgi.multiprocess"]}
        @app.route("/notes/<int:id>", methods=["GET", "PUT"])
        def note(id): return {"id": id}
    """,
    "guarded_fast": """
        import verbguard
        from fastapi import FastAPI
        app = verbguard.guard(FastAPI(), policies={"/me": verbguard.singleton()})
        @app.get("/me")
        async def me() -> str: return "me"
    """,
    "guarded_flask": """
        import verbguard
        from flask import Flask
        app = Flask(__name__)
        @app.get("/you")
        def you(): return "you"
        verbguard.guard(app, policies={"/you": verbguard.singleton()})
    """,
    "wrapped_flask": """
        import verbguard.wsgi
        from flasky import app as inner
        app = verbguard.wsgi.GuardMiddleware(inner, profile="guard")
    """,
    "legacy": """
        def application(environ, start_response):
            length = int(environ.get("CONTENT_LENGTH") or 0)
            content = environ["wsgi.input"].read(length)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"%s %d" % (environ["REQUEST_METHOD"].encode(), len(content))]
    """,
    "plain": """
        async def app(scope, receive, send):
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 205, "headers": [(b"content-length", b"4")]})
            await send({"type": "http.response.body", "body": b"oops"})
    """,
    "sick": "import json\nraise RuntimeError('the database is\\nnot there')\n",
    "script": "import sys\nsys.exit(4)\n",
    "needy": "import no_such_library\n",
    "typo": "def app(:\n",
    "words": "app = 'text'\n",
}


FILES = {
    "basket.toml": """
        [policies."/basket"]
        kind = "collection"
    """,
    "notes.toml": """
        [policies."/notes"]
        kind = "collection"
        location = "/notes/{id}"
    """,
    "sealed.toml": """
        [store]
        url = "sqlite:///replays.db"
        keys_env = "NO_SUCH_VARIABLE"
    """,
    "wrong.toml": """
        [policies."/basket"]
        kimd = "collection"
    """,
}


def write(folder: Path) -> None:
    """Put all of them into a folder."""
    for name, text in ({f"{name}.py": text for name, text in APPS.items()} | FILES).items():
        (folder / name).write_text(dedent(text).lstrip())
