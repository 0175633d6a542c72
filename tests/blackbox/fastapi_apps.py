"""Small FastAPI programs, one for each way of putting a program together."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.exceptions import FastAPIDeprecationWarning
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware


class Thing(BaseModel):
    name: str
    size: int = 1


def things(router: Any, prefix: str = "/things") -> None:
    """A collection and its items, each method by a decorator of its own: the usual style, and none says Location."""

    @router.get(prefix)
    async def listing() -> list[str]:
        return ["ink", "pen"]

    @router.post(prefix, status_code=201)
    async def create(thing: Thing) -> dict[str, Any]:
        return {"id": 7, "name": thing.name}

    @router.get(prefix + "/{thing_id}")
    async def read(thing_id: int) -> dict[str, Any]:
        return {"id": thing_id}

    @router.put(prefix + "/{thing_id}")
    def replace(thing_id: int, thing: Thing) -> dict[str, Any]:
        return {"id": thing_id, "name": thing.name}

    @router.delete(prefix + "/{thing_id}", status_code=204)
    async def remove(thing_id: int) -> None:
        return None


def replace_all(router: Any, path: str = "/things") -> None:
    """A PUT handler on the collection itself, which no client may reach."""

    @router.put(path)
    async def put_everything(request: Request) -> dict[str, Any]:
        request.app.state.replaced = getattr(request.app.state, "replaced", 0) + 1
        return {"replaced": "everything"}


# -- layouts: where the things are ------------------------------------------------------------------------------------


def plain() -> FastAPI:
    app = FastAPI()
    things(app)
    return app


def nested() -> FastAPI:
    """Routers in routers."""
    app, middle, leaf = FastAPI(), APIRouter(prefix="/middle"), APIRouter()
    things(leaf)
    middle.include_router(leaf, prefix="/leaf")
    app.include_router(middle, prefix="/api")
    return app


def twice() -> FastAPI:
    """One router under two prefixes: the same route objects, two places."""
    app, router = FastAPI(), APIRouter()
    things(router)
    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")
    return app


def sub_app() -> FastAPI:
    """An app mounted in an app."""
    app, inner = FastAPI(), FastAPI()
    things(inner)
    app.mount("/sub", inner)
    return app


def mount_in_router() -> FastAPI:
    """An app mounted in a router that is included."""
    app, router, inner = FastAPI(), APIRouter(), FastAPI()
    things(inner)
    router.mount("/sub", inner)
    app.include_router(router, prefix="/outer")
    return app


def prefixed() -> FastAPI:
    """Behind a proxy that serves it under /pfx, by the parameter that FastAPI is giving up for the server's option."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FastAPIDeprecationWarning)
        app = FastAPI(root_path="/pfx")
    things(app)
    return app


def with_frontend(directory: Path) -> Callable[[], FastAPI]:
    """A built frontend behind the API: a catch-all for GET at low priority."""
    (directory / "index.html").write_text("<h1>shop</h1>")
    (directory / "app.js").write_text("start()")

    def make() -> FastAPI:
        app = FastAPI()
        things(app)
        app.frontend("/", directory=directory, fallback="index.html")
        return app

    return make


# -- behaviour: what handlers do --------------------------------------------------------------------------------------


class Teapot(Exception):
    """An error of the program's own, with a handler."""


async def open_session(request: Request) -> AsyncIterator[str]:
    """A database session: opened before the handler, closed after it, rolled back when it falls."""
    events = request.app.state.events
    events.append("open")
    try:
        yield "session"
    except BaseException as error:
        events.append(f"rolled back {type(error).__name__}")
        raise
    finally:
        events.append("closed")


def settings() -> str:
    return "production"


Session = Annotated[str, Depends(open_session)]


def behaviour() -> FastAPI:
    app = FastAPI()
    app.state.events = []
    events: list[str] = app.state.events

    @app.api_route("/http-error", methods=["GET", "POST", "PUT"])
    async def http_error() -> None:
        raise HTTPException(409, {"why": "conflict"}, headers={"X-Why": "conflict"})

    @app.api_route("/own-error", methods=["GET", "POST", "PUT"])
    async def own_error() -> None:
        raise Teapot("short and stout")

    @app.exception_handler(Teapot)
    async def teapot(request: Request, error: Teapot) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)

    @app.api_route("/unhandled", methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    async def unhandled() -> None:
        raise ZeroDivisionError("unhandled")

    @app.api_route("/session", methods=["GET", "POST", "PUT"])
    async def with_session(session: Session) -> dict[str, str]:
        events.append("used")
        return {"session": session}

    @app.post("/session/broken")
    async def with_broken_session(session: Session) -> None:
        raise ZeroDivisionError("inside the session")

    @app.api_route("/settings", methods=["GET", "PUT"])
    async def read_settings(value: Annotated[str, Depends(settings)]) -> dict[str, str]:
        return {"settings": value}

    @app.post("/background", status_code=202)
    async def background(tasks: BackgroundTasks, fail: bool = False) -> dict[str, bool]:
        def work() -> None:
            events.append("worked")
            if fail:
                raise ZeroDivisionError("in the background")

        tasks.add_task(work)
        return {"accepted": True}

    @app.api_route("/stream", methods=["GET", "POST", "PUT"])
    async def stream(fail: bool = False) -> StreamingResponse:
        async def content() -> AsyncIterator[bytes]:
            yield b"one "
            yield b"two "
            if fail:
                raise ZeroDivisionError("in the stream")
            yield b"three"

        return StreamingResponse(content(), media_type="text/plain")

    @app.api_route("/sync-stream", methods=["GET", "POST"])
    def sync_stream() -> StreamingResponse:
        def content() -> Iterator[str]:
            yield from ("alpha ", "beta")

        return StreamingResponse(content(), media_type="text/plain")

    @app.api_route("/events", methods=["GET", "POST"], response_class=EventSourceResponse)
    async def event_stream() -> AsyncIterator[dict[str, int]]:
        for number in range(3):
            yield {"number": number}

    @app.api_route("/endless", methods=["GET", "POST"])
    async def endless(request: Request) -> StreamingResponse:
        async def content() -> AsyncIterator[bytes]:
            while not await request.is_disconnected():
                yield b"data: tick\n\n"
                await asyncio.sleep(0)
            events.append("left")

        return StreamingResponse(content(), media_type="text/event-stream")

    @app.api_route("/until-gone", methods=["GET", "POST"])
    async def until_gone(request: Request) -> dict[str, bool]:
        await request.body()
        events.append("waiting")
        while not await request.is_disconnected():
            await asyncio.sleep(0)
        events.append("gone")
        return {"gone": True}

    @app.api_route("/text", methods=["GET", "POST"])
    async def text(request: Request) -> PlainTextResponse:
        answer = PlainTextResponse(b"bytes \xe9", headers={"X-Method": request.method})
        answer.set_cookie("a", "1")
        answer.set_cookie("b", "2")
        return answer

    @app.websocket("/socket/{name}")
    async def socket(websocket: WebSocket, name: str) -> None:
        await websocket.accept(headers=[(b"x-name", name.encode())])
        await websocket.send_json({"got": await websocket.receive_text()})
        await websocket.close(code=4000)

    return app


def behind_base_http_middleware() -> FastAPI:
    """The same behind the middleware that re-chunks bodies and swallows a stream's missing end."""
    app = behaviour()

    async def dispatch(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["X-Between"] = "yes"
        return response

    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    return app


def with_lifespan() -> FastAPI:
    """State made at start-up, seen by every request."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"database": "open"}

    app = FastAPI(lifespan=lifespan)
    things(app)

    @app.get("/state")
    async def state(request: Request) -> dict[str, str]:
        return {"database": request.state.database}

    return app


def overlapping() -> FastAPI:
    """Templates that overlap, and shapes that look like a collection and are none."""
    app = FastAPI()

    @app.get("/items/search")
    async def search() -> list[str]:
        return []

    @app.get("/items/{name}")
    async def read(name: str) -> dict[str, str]:
        return {"name": name}

    @app.put("/items/{name}")
    async def write(name: str) -> dict[str, str]:
        return {"wrote": name}

    @app.get("/files")
    async def files() -> list[str]:
        return []

    @app.put("/files")
    async def write_files() -> dict[str, str]:
        return {"wrote": "files"}

    @app.get("/files/{path:path}")
    async def file(path: str) -> dict[str, str]:
        return {"path": path}

    @app.get("/numbers/{number:int}")
    async def number(number: int) -> int:
        return number

    @app.put("/numbers/{number:int}")
    async def write_number(number: int) -> int:
        return number

    return app
