"""A store with the processes that share it: one of FastAPI under uvicorn, one of Flask under gunicorn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from servers.processes import Running, starting
from servers.wire import Answer, Connection, request

from processes.ledger import Ledger
from processes.places import PLACES, Place

__all__ = ["FRAMEWORKS", "Asked", "Site", "lasting", "opened"]

FRAMEWORKS = {
    "fastapi": ("processes.fastapi_shop:app", "uvicorn-httptools"),
    "flask": ("processes.flask_shop:app", "gunicorn"),
}
OF_THE_CONNECTION = ("date", "server", "connection", "keep-alive", "idempotent-replayed")


def lasting(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """What of an answer a replay must say again, byte for byte."""
    return answer.status, sorted(pair for pair in answer.headers if pair[0] not in OF_THE_CONNECTION), answer.content


class Asked:
    """A request that is under way, on a connection of its own."""

    def __init__(self, server: Running, data: bytes) -> None:
        self._connection = server.connect().send(data)
        self._method = data.split(b" ", 1)[0].decode()

    def answer(self) -> Answer:
        try:
            return self._connection.answer(self._method)
        finally:
            self._connection.close()

    def drop(self) -> None:
        """Hear no answer any more."""
        self._connection.close()


class Site:
    """`servers` by framework; more can be started beside them."""

    def __init__(self, name: str, place: Place, home: Path) -> None:
        self.name, self.place, self.ledger = name, place, Ledger(home)
        self.servers: dict[str, Running] = {}

    @contextmanager
    def beside(self, *frameworks: str, options: tuple[str, ...] = (), **environment: str) -> Iterator[dict[str, Running]]:
        """More processes on the same store."""
        told = {"VERBGUARD_TEST_STORE": self.place.url, "VERBGUARD_TEST_HOME": str(self.ledger.home)} | environment
        with ExitStack() as stack:
            found = {each: stack.enter_context(starting(*FRAMEWORKS[each], *options, environment=told)) for each in frameworks}
            for server in found.values():
                server.wait_until_listening()
            yield found

    @property
    def both(self) -> tuple[Running, Running]:
        return self.servers["fastapi"], self.servers["flask"]

    def send(self, framework: str, method: str, path: str, content: str = "", key: str = "", **fields: str) -> Answer:
        """One request and its answer."""
        return self.start(self.servers[framework], method, path, content, key, **fields).answer()

    def start(self, server: Running, method: str, path: str, content: str = "", key: str = "", **fields: str) -> Asked:
        """A request on its way to any process."""
        return Asked(server, message(method, path, content, key, **fields))


def message(method: str, path: str, content: str = "", key: str = "", **fields: str) -> bytes:
    if key:
        fields["idempotency_key"] = key
    return request(method, path, content.encode(), content_type="text/plain", **fields)


def on(connection: Connection, method: str, path: str, content: str = "", key: str = "") -> Answer:
    """The same on a connection that stays with its worker."""
    return connection.send(message(method, path, content, key)).answer(method)


@contextmanager
def opened(name: str, **options: Any) -> Iterator[Site]:
    """A store of this kind that nobody else uses, with both processes."""
    with PLACES[name]() as place, TemporaryDirectory(prefix="verbguard-shop-") as home:
        site = Site(name, place, Path(home))
        with site.beside(*FRAMEWORKS) as servers:
            site.servers = servers
            yield site
