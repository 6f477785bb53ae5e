"""The event loop goes on while a large event of a provider is looked through for secrets."""

import asyncio

import pytest

from ccproxy.forwarding.upstream import Redactor

pytestmark = pytest.mark.anyio

KEY = b"sk-0123456789-abcdefghijkl"


@pytest.mark.parametrize("filler", [b"%41", b"\\u0061", KEY[:-1]], ids=["URL", "JSON", "key's beginning"])
async def test_loop_goes_on_while_a_large_event_is_looked_through(filler: bytes) -> None:
    redactor = Redactor([KEY], text=True, events=True)
    event = b'data: {"choices":[{"index":0,"delta":{"content":"' + filler * 100_000 + b"hello " + KEY + b'"}}]}\n\n'
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    assert await redactor.take(event[:-2]) == b""
    before = turns
    out = await redactor.take(event[-2:])
    assert turns > before + 3
    task.cancel()
    assert out == event.replace(KEY, b"*" * len(KEY))
    assert await redactor.finish() == b""
