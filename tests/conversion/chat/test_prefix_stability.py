"""What was sent in one turn is sent again in the next, byte for byte: the providers' prompt caches live on it."""

import json
from typing import Any

import pytest

from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.context import ConvertedRequest
from ccproxy_middleware.conversion.counting.document_reader import DocumentReader
from ccproxy_middleware.conversion.providers.profiles import PROFILES, Profile, resolve_profile
from ccproxy_middleware.toolkit.json import dumps
from support.clients.conversation import recorded, turns

pytestmark = pytest.mark.anyio
TURNS = 12
READER = DocumentReader()


async def converted(request: dict[str, Any], profile: Profile) -> ConvertedRequest:
    return await READER.convert(lambda: convert_request(request, profile))


def without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        marks = ("cache_control", "prompt_cache_breakpoint")
        return {k: without_marks(v) for k, v in value.items() if k not in marks}
    return [without_marks(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("provider", "options"),
    [
        *((provider, {}) for provider in PROFILES),
        ("generic", {"mid_system": "user"}),
        ("generic", {"system_role": "user"}),
        ("generic", {"content_parts": False}),
        ("generic", {"tool_images": "tool_content"}),
        ("generic", {"tool_images": "drop"}),
        ("generic", {"reasoning_roundtrip": "reasoning"}),
        ("openrouter", {"cache_control": "pass"}),
        ("openai", {"cache_control": "breakpoints"}),
    ],
    ids=str,
)
async def test_prefix_is_the_same_bytes_when_the_conversation_goes_on(provider: str, options: dict[str, Any]) -> None:
    profile = resolve_profile(provider, options)
    before: list[bytes] = []
    tools: set[bytes] = set()
    for turn in turns():
        body = without_marks((await converted(turn, profile)).body)
        messages = [dumps(message) for message in body["messages"]]
        assert messages[: len(before)] == before
        assert len(messages) > len(before)
        before = messages
        tools.add(dumps(body["tools"]))
    assert len(tools) == 1


def test_conversation_is_long_and_varied() -> None:
    requests = list(turns())
    assert len(requests) >= TURNS
    kinds = {b["type"] for m in requests[-1]["messages"] if isinstance(m["content"], list) for b in m["content"]}
    assert kinds == {"text", "tool_use", "tool_result", "document", "thinking"}
    assert [m["role"] for m in requests[-1]["messages"]].count("system") == 2
    assert all(json.dumps(r).count('"cache_control"') == 3 for r in requests)


async def test_cache_key_is_the_sessions() -> None:
    profile = resolve_profile("generic", {"prompt_cache_key": True})
    keys = {(await converted(turn, profile)).body["prompt_cache_key"] for turn in turns()}
    assert len(keys) == 1
    other = (await converted(recorded("tool-parallel-next"), profile)).body["prompt_cache_key"]
    assert other not in keys
