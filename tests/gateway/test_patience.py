"""The wait for an answer's head: it begins anew when the same content is sent a second time, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from verbguard.gateway.client import _Patience

SHORT = 0.01


@pytest.mark.parametrize("times", [1, 2])
async def test_a_wait_that_is_over_tells_nobody(times: int) -> None:
    loop = asyncio.get_running_loop()
    wrong: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: wrong.append(context))
    patience = _Patience(SHORT, None)
    async with asyncio.timeout(None) as patience.limit:
        for _ in range(times):
            patience.begin()
    patience.end()
    late = loop.create_future()
    loop.call_later(3 * SHORT, late.set_result, None)  # behind all that was to come
    await late
    assert wrong == []


async def test_the_second_sending_has_all_of_its_time() -> None:
    patience = _Patience(SHORT, None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as patience.limit:
            patience.begin()
            first = patience._handle
            patience.begin()
            assert first is not None and first.cancelled()
            await asyncio.get_running_loop().create_future()
    patience.end()
