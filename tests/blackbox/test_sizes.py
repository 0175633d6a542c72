"""Large requests, large answers, many records, and work that goes on behind an answer."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import verbguard
from blackbox.answers import ask
from blackbox.drivers import Exchange, WsgiExchange
from blackbox.replays import conflict, once_more
from blackbox.shop import digest
from blackbox.shops import Shop

# -- size -------------------------------------------------------------------------------------------------------------

MIB = 1 << 20


UPLOADS = [("POST", "/upload", "k"), ("PUT", "/upload/1", "k"), ("PUT", "/upload/1", None)]


def megabytes(last: bytes = b"end") -> Iterator[bytes]:
    """32 MiB and a bit, made while they are sent."""
    for number in range(32):
        yield bytes([number]) * MIB
    yield last


@pytest.mark.parametrize(("method", "target", "key"), UPLOADS)
def test_a_large_upload_is_whole_and_never_all_in_memory(shop: Shop, method: str, target: str, key: str | None) -> None:
    """32 MiB reach the handler unchanged and cost a fraction of that in memory."""
    tracemalloc.start()
    try:
        answer = shop.send(method, target, key=key, body=megabytes())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.json() == {"number": 1, **digest(megabytes())}
    assert peak < 12 * MIB


@pytest.mark.parametrize(("method", "target"), [("POST", "/upload"), ("PUT", "/upload/1")])
def test_a_large_upload_is_known_again(shop: Shop, method: str, target: str) -> None:
    """A retry of 32 MiB replays, and one that differs in its last bytes is another request."""
    first, second = (shop.send(method, target, key="k", body=megabytes()) for _ in range(2))
    once_more(first, second)
    conflict(shop.send(method, target, key="k", body=megabytes(b"END")), "idem-key-reuse-422", 422)
    assert shop.runs == {"upload": 1}


@pytest.mark.parametrize("size", [1000, 900_000])
def test_answers_under_the_bound_are_replayed(shop: Shop, size: int) -> None:
    """Up to the bound an answer is kept whole."""
    first, second = (shop.send("POST", f"/large/{size}", key="k") for _ in range(2))
    once_more(first, second)
    assert (len(second.body), shop.runs) == (size, {"large": 1})


@pytest.mark.parametrize("size", [2_000_000, 20_000_000])
def test_answers_over_the_bound_never_run_again(shop: Shop, size: int) -> None:
    """The first client gets its megabytes; a retry hears that they were not kept, and the effect happens once."""
    first = shop.send("POST", f"/large/{size}", key="k")
    assert (first.status, len(first.body)) == (201, size)
    for _ in range(2):
        conflict(shop.send("POST", f"/large/{size}", key="k"), "idem-not-retained")
    assert shop.runs == {"large": 1}


def test_a_background_task_delays_nothing(shop: Shop) -> None:
    """The answer arrives while the task goes on behind it, and a retry replays without waiting for the task."""
    gate = shop.world.gate("task")
    first = shop.start("POST", "/task", key="k")
    assert first.chunk() == b'{"number": 1}'
    gate.wait_outside()
    retry = shop.send("POST", "/task", key="k")
    assert (retry.status, retry.replayed, retry.json()) == (202, True, {"number": 1})
    gate.open.set()
    once_more(first.answer(), retry)
    assert shop.runs == {"task": 1}


# -- (r) growth -------------------------------------------------------------------------------------------------------


def test_many_keys_cost_no_more_than_few_over_asgi() -> None:
    """With thousands of records a claim does as much work as with a hundred, and the oldest live key still replays."""
    guarded = verbguard.guard(plain_asgi)

    def work(number: int) -> int:
        return calls(lambda: asyncio.run(Exchange(guarded, ask("POST", "/", key=f"k{number}"), "2.3").run()))

    async def fill() -> None:
        for number in range(5000):
            await Exchange(guarded, ask("POST", "/", key=f"k{number}"), "2.3").run()

    before = min(work(number) for number in range(10_000, 10_005))
    asyncio.run(fill())
    after = min(work(number) for number in range(20_000, 20_005))
    assert after <= before * 1.5
    assert asyncio.run(Exchange(guarded, ask("POST", "/", key="k0"), "2.3").run()).replayed


def test_many_keys_cost_no_more_than_few_over_wsgi() -> None:
    """The same through the other adapter."""
    guarded = verbguard.guard(plain_wsgi)

    def work(number: int) -> int:
        return calls(lambda: WsgiExchange(guarded, ask("POST", "/", key=f"k{number}")).run())

    before = min(work(number) for number in range(10_000, 10_005))
    for number in range(5000):
        WsgiExchange(guarded, ask("POST", "/", key=f"k{number}")).run()
    after = min(work(number) for number in range(20_000, 20_005))
    assert after <= before * 1.5
    assert WsgiExchange(guarded, ask("POST", "/", key="k0")).run().replayed


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"done"})


def plain_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"done"]


def calls(function: Callable[[], object]) -> int:
    """How many functions one exchange calls, Python's and C's: the same on a fast machine and on a slow one."""
    counted = [0]

    def count(frame: Any, event: str, arg: Any) -> None:
        counted[0] += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return counted[0]
