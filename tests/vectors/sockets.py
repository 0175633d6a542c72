"""A client on a socket: the application is served by uvicorn, and every request is bytes on a connection of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import uvicorn
from gateway.upstream import Upstream
from servers.wire import Broken, Connection, Ended

from vectors.conversation import Reply, Request
from vectors.drivers import HOST

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
NUMBER = b"x-exchange"  # which exchange a request belongs to; nobody behind the outermost layer sees it


class SocketExchange:
    """One request over a socket, and what the application did with it."""

    def __init__(self, request: Request, faults: list[str], number: int) -> None:
        self.request, self.faults, self.number = request, faults, number
        self.read: Future[None] = Future()  # the application has the content completely
        self.touched = False
        self.connection: Connection | None = None

    def run(self, port: int) -> Reply:
        request = self.request
        with Connection(port) as connection:
            self.connection = connection
            connection.send(self.bytes())
            if request.declared > len(request.body):
                connection.give_up()  # the client goes away before the end of its content
            try:
                answer = connection.answer(request.method)
            except Ended:
                return Reply(0, [], b"", self.touched)
            except Broken as broken:
                return Reply(-1, [], str(broken).encode(), self.touched)
            if answer.closes and connection.rest():
                self.faults.append("something follows the last answer")
        self.faults += answer.faults
        if answer.interim and request.version == "1.0":
            self.faults.append(f"{answer.interim} before an answer to HTTP/1.0")
        return Reply(answer.status, list(answer.headers), answer.content, self.touched)

    def bytes(self) -> bytes:
        request = self.request
        lines = [f"{request.method} {request.target} HTTP/{request.version}", f"Host: {HOST}", f"X-Exchange: {self.number}"]
        lines += [f"{name}: {value}" for name, value in request.headers]
        if request.body and not any(name == "content-length" for name, _ in request.headers):
            lines.append(f"Content-Length: {len(request.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body

    def leave(self, send: str) -> None:
        if self.connection is not None:
            with suppress(OSError):
                self.connection.socket.shutdown(socket.SHUT_RDWR)


class SocketClient:
    """uvicorn with the parser `http` around the application, on the loop of the test."""

    http = "h11"

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app
        self.faults: list[str] = []
        self.exchanges: list[SocketExchange] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._socket.getsockname()[1]

    async def open(self) -> None:
        config = uvicorn.Config(
            self.watched, interface="asgi3", http=self.http, ws="none", lifespan="on", log_config=None, proxy_headers=False
        )
        config.server_header = config.date_header = False
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        self._server.should_exit = True
        await self._serving
        self.service.stop()

    @property
    def service(self) -> Upstream:
        """The server behind the gateway, however many layers are around it."""
        layer = self.app
        while not hasattr(layer, "behind"):
            layer = layer.app
        return layer.behind

    def listen(self) -> None:
        """The service behind the gateway comes up."""
        self.service.listen()

    def start(self, request: Request) -> tuple[SocketExchange, asyncio.Future[Reply]]:
        exchange = SocketExchange(request, self.faults, len(self.exchanges))
        self.exchanges.append(exchange)
        return exchange, asyncio.ensure_future(asyncio.to_thread(exchange.run, self._port))

    async def watched(
        self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """The application, and a note of what it asks of a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        numbers = [int(value) for name, value in scope["headers"] if name == NUMBER]
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != NUMBER]
        exchange = self.exchanges[numbers[0]]

        async def watching() -> Any:
            message = await receive()
            exchange.touched = exchange.touched or message["type"] == "http.request"
            if not message.get("more_body", False) and not exchange.read.done():
                exchange.read.set_result(None)
            return message

        await self.app(scope, watching, send)
        return None


class FastSocketClient(SocketClient):
    http = "httptools"
