"""The cache in memory, and the usage of calls added up."""

from typing import Any

import anyio
import pytest

from ccproxy_middleware import MemoryBoostCache
from ccproxy_middleware.boost.usage import add_to_anthropic, add_to_openai, from_anthropic, from_openai, total

pytestmark = pytest.mark.anyio


async def test_least_used_goes_first() -> None:
    cache = MemoryBoostCache(entries=2)
    await cache.set("a", b"1")
    await cache.set("b", b"2")
    assert await cache.get("a") == b"1"
    await cache.set("c", b"3")
    assert [await cache.get(key) for key in "abc"] == [b"1", None, b"3"]
    await cache.set("a", b"4")
    assert await cache.get("a") == b"4"


async def test_values_have_a_size_together() -> None:
    cache = MemoryBoostCache(size=10)
    for key, value in (("a", b"1234"), ("b", b"1234"), ("c", b"1234")):
        await cache.set(key, value)
    assert [await cache.get(key) for key in "abc"] == [None, b"1234", b"1234"]
    await cache.set("c", b"1")
    await cache.set("d", b"12345")
    assert [await cache.get(key) for key in "bcd"] == [b"1234", b"1", b"12345"]
    await cache.set("e", b"12345678901")
    assert [await cache.get(key) for key in "bcde"] == [None] * 4


async def test_old_values_are_gone() -> None:
    cache = MemoryBoostCache(seconds=0.02)
    await cache.set("a", b"1")
    assert await cache.get("a") == b"1"
    await anyio.sleep(0.03)
    assert await cache.get("a") is None


@pytest.mark.parametrize("options", [{"seconds": 0}, {"entries": 0}])
async def test_cache_needs_room(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cache"):
        MemoryBoostCache(**options)


OPENAI = {
    "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 10, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 5},
}  # fmt: skip
ANTHROPIC = {
    "input_tokens": 60, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 30, "output_tokens": 20,
    "output_tokens_details": {"thinking_tokens": 5},
}  # fmt: skip


async def test_usage_is_the_same_in_both_dialects() -> None:
    assert from_openai(OPENAI, "", "") == from_anthropic(ANTHROPIC)
    spent = from_openai(OPENAI, "", "")
    assert from_openai(add_to_openai(OPENAI, spent), "", "") == total([spent, spent])
    assert from_anthropic(add_to_anthropic(ANTHROPIC, spent)) == total([spent, spent])


async def test_usage_that_was_not_told_is_estimated() -> None:
    usage = from_openai(None, "a" * 360, "b" * 36)
    assert (usage["input_tokens"], usage["output_tokens"]) == (100, 10)


async def test_counts_that_are_none_count_nothing() -> None:
    odd = {"input_tokens": -1, "output_tokens": None, "cache_read_input_tokens": True}
    assert not any(from_anthropic(odd).values())
    assert add_to_anthropic({"output_tokens": 1}, from_anthropic(ANTHROPIC)) == {
        "output_tokens": 21, "output_tokens_details": {"thinking_tokens": 5},
    }  # fmt: skip
