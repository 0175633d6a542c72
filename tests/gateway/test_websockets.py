"""WebSocket through a real gateway: a real client, two real servers, and messages that arrive as they were sent."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from blackbox.servers import uvicorn_server
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import verbguard
from verbguard.gateway import Gateway

CLOSED: list[tuple[int, str]] = []  # codes and reasons that the service heard
HEARD = threading.Event()


async def echo(service: WebSocket) -> None:
    chosen = service.scope["subprotocols"][-1] if service.scope["subprotocols"] else None
    told = [(b"x-service", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    await service.accept(subprotocol=chosen, headers=told)
    try:
        while True:
            message = await service.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"], message.get("reason"))
            text = message.get("text")
            if text == "fields":
                await service.send_json([[name, value] for name, value in service.headers.items()])
            elif text == "path":
                await service.send_text(f"{service.scope['raw_path'].decode()}?{service.scope['query_string'].decode()}")
            elif text == "leave":
                await service.close(4002, "enough")
                return
            elif text is not None:
                await service.send_text(text)
            else:
                await service.send_bytes(message["bytes"])
    except WebSocketDisconnect as ended:
        CLOSED.append((ended.code, ended.reason))
        HEARD.set()


async def page(request: Any) -> PlainTextResponse:
    return PlainTextResponse("no socket here", 426, headers={"upgrade": "other", "x-why": "page"})


def served(app: Any) -> AbstractContextManager[int]:
    return uvicorn_server(app, ws="websockets-sansio", lifespan="auto", timeout_graceful_shutdown=1)


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with served(Starlette(routes=[WebSocketRoute("/echo", echo), WebSocketRoute("/a/b", echo), Route("/page", page)])) as port:
        yield port


@pytest.fixture(scope="module", params=["gateway", "guarded"])
def gateway(request: pytest.FixtureRequest, service: int) -> Iterator[str]:
    app: Any = Gateway(f"http://127.0.0.1:{service}")
    with served(verbguard.guard(app) if request.param == "guarded" else app) as port:
        yield f"ws://127.0.0.1:{port}"


async def asked(connection: ClientConnection, message: str | bytes) -> str | bytes:
    await connection.send(message)
    return await asyncio.wait_for(connection.recv(), 10)


async def test_messages_pass_both_ways(gateway: str) -> None:
    async with connect(f"{gateway}/echo") as connection:
        for message in ("", "text", "é" * 1_000, b"", b"\x00\xff" * 3, b"x" * (1 << 20)):
            assert await asked(connection, message) == message


async def test_the_target_and_the_fields_pass(gateway: str) -> None:
    sent = {"Cookie": "c=1", "X-A": "1", "Authorization": "Bearer t"}
    async with connect(f"{gateway}/a%2Fb?x=%zz&y", additional_headers=sent, origin="http://page.example") as connection:  # type: ignore[arg-type]
        assert await asked(connection, "path") == "/a%2Fb?x=%zz&y"
        fields = str(await asked(connection, "fields"))
        for wanted in ('["cookie","c=1"]', '["x-a","1"]', '["authorization","Bearer t"]', '["origin","http://page.example"]'):
            assert wanted in fields
        assert fields.count("sec-websocket-key") == 1
        assert '["via","1.1 verbguard"]' in fields


async def test_the_handshake_is_the_services(gateway: str) -> None:
    async with connect(f"{gateway}/echo", subprotocols=["one", "two"]) as connection:  # type: ignore[list-item]
        assert connection.subprotocol == "two"
        assert connection.response is not None
        assert connection.response.headers["x-service"] == "1"
        assert connection.response.headers.get_all("set-cookie") == ["a=1", "b=2"]


async def test_the_client_hears_how_the_service_closes(gateway: str) -> None:
    async with connect(f"{gateway}/echo") as connection:
        with pytest.raises(ConnectionClosed) as closed:
            await asked(connection, "leave")
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4002, "enough")


async def test_the_service_hears_how_the_client_closes(gateway: str) -> None:
    CLOSED.clear()
    HEARD.clear()
    async with connect(f"{gateway}/echo") as connection:
        await asked(connection, "here")
        await connection.close(4001, "bye")
    assert await asyncio.to_thread(HEARD.wait, 10)
    assert CLOSED == [(4001, "bye")]


async def test_a_service_that_opens_no_socket_answers_by_itself(gateway: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{gateway}/page"):
            raise AssertionError("nothing opens here")
    assert refused.value.response.status_code == 403  # Starlette's for a path that is no WebSocket


async def test_a_service_that_is_down_is_a_bad_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unheard:
        port = unheard.getsockname()[1]
    with served(Gateway(f"http://127.0.0.1:{port}")) as front:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://127.0.0.1:{front}/echo"):
                raise AssertionError("nothing opens here")
        assert refused.value.response.status_code == 502
        assert b"gateway-502-504" in (refused.value.response.body or b"")
