"""What was sent in one turn is sent again in the next: the provider's prompt cache lives on it."""

from functools import partial
from typing import Any

import pytest

from ccproxy_middleware.conversion.counting.document_reader import DocumentReader
from ccproxy_middleware.conversion.providers.profiles import resolve_profile
from ccproxy_middleware.conversion.responses.request import convert_request
from ccproxy_middleware.toolkit.json import dumps
from support.clients.conversation import turns

pytestmark = pytest.mark.anyio
READER = DocumentReader()


def without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_marks(item) for name, item in value.items() if name != "prompt_cache_breakpoint"}
    return [without_marks(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("provider", "options"),
    [
        ("openai", {}),
        ("azure", {}),
        ("xai", {}),
        ("generic", {}),
        ("vllm", {"reasoning_roundtrip": "reasoning_text"}),
        ("openai", {"mid_system": "user"}),
        ("openai", {"tool_output_parts": False}),
        ("openai", {"cache_control": "breakpoints"}),
        ("openai", {"content_parts": False}),
        ("openai", {"structured_output": "json_object"}),
    ],
    ids=str,
)
async def test_items_of_a_turn_are_those_of_the_turn_before_and_more(provider: str, options: dict[str, Any]) -> None:
    profile = resolve_profile(provider, options)
    before: list[bytes] = []
    heads: set[bytes] = set()
    for turn in turns():
        body = without_marks((await READER.convert(partial(convert_request, turn, profile))).body)
        items = [dumps(item) for item in body["input"]]
        assert items[: len(before)] == before
        assert len(items) > len(before)
        before = items
        heads.add(dumps([body["instructions"], body["tools"]]))
    assert len(heads) == 1
