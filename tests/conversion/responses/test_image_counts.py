"""How many pictures a Responses request may hold."""

from typing import Any

import pytest

from ccproxy_middleware.conversion.providers import resolve_profile
from ccproxy_middleware.conversion.responses import convert_responses_request


def image(name: str) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "url", "url": f"https://pictures.test/{name}.png"}}


MESSAGES = [
    {"role": "user", "content": [image("a"), {"type": "text", "text": "Look."}]},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "shot", "input": {}}]},
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [image("b"), image("c")]}],
    },
]


@pytest.mark.parametrize(("limit", "kept"), [(None, "abc"), (2, "bc"), (1, "c"), (0, "")])
def test_newest_images_are_kept_and_notes_stand_for_the_others(limit: int | None, kept: str) -> None:
    profile = resolve_profile("openai", {"images_max": limit} if limit is not None else {})
    data = {"model": "gpt-5.6", "max_tokens": 100, "messages": MESSAGES}
    body = convert_responses_request(data, profile).body
    lists = [item.get("content") or item.get("output") for item in body["input"] if item["type"] != "function_call"]
    parts = [part for parts in lists for part in parts if part.get("text") != "Look."]
    assert len(parts) == 3
    assert [part["image_url"][-5] for part in parts if part["type"] == "input_image"] == list(kept)
    assert all("omitted" in part["text"] for part in parts if part["type"] == "input_text")
