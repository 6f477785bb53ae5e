"""A real model is told of its tools in its prompt, and calls them by a text: ``CC_BOOST_REAL=qwen``."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from anthropic.types import Message, MessageParam, TextBlock, ToolParam, ToolUseBlock

from support.providers.real_model import Unavailable, real_model
from support.serving.proxied import proxy

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The current weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
}
READ_FILE: ToolParam = {
    "name": "read_file",
    "description": "Read a text file.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
RESULTS = {"get_weather": "17 degrees and raining", "read_file": "The number is 4711."}
GREEDY = {"temperature": 0}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if "qwen" not in os.environ.get("CC_BOOST_REAL", "").split(","):
        pytest.skip("it takes a real model: CC_BOOST_REAL=qwen fetches and runs one")
    try:
        with real_model("qwen") as url:
            yield url
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="module", params=["chat", "responses"])
def client(server: str, request: pytest.FixtureRequest) -> Iterator[Anthropic]:
    options = {"tools": "prompted", "api": request.param}
    settings: dict[str, Any] = {
        "provider": "llama.cpp",
        "provider_options": options,
        "big_model": "qwen",
        "request_timeout": 600,
    }
    with (
        proxy(server, **settings) as url,
        Anthropic(api_key="k", base_url=url, max_retries=0, timeout=600) as anthropic,
    ):
        yield anthropic


def called(message: Message) -> list[ToolUseBlock]:
    return [block for block in message.content if isinstance(block, ToolUseBlock)]


def test_prompted_tool_is_called_and_its_result_is_used(client: Anthropic) -> None:
    conversation: list[MessageParam] = [{"role": "user", "content": "What is the weather in Paris? Use the tool."}]
    prompt: dict[str, Any] = {"model": "claude-opus-4-8", "system": "Be brief.", "tools": [WEATHER, READ_FILE]}
    with client.messages.stream(**prompt, max_tokens=128, messages=conversation, extra_body=GREEDY) as stream:
        asking = stream.get_final_message()
    assert asking.stop_reason == "tool_use", asking
    assert called(asking)[0].name == "get_weather"
    assert "paris" in str(called(asking)[0].input).lower()
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": use.id, "content": RESULTS[use.name]} for use in called(asking)
    ]
    # Without a question a small model would only call again.
    results.append({"type": "text", "text": "Say in one sentence what the tool has told you."})
    conversation += [{"role": "assistant", "content": asking.content}, {"role": "user", "content": results}]
    answer = client.messages.create(**prompt, max_tokens=64, messages=conversation, extra_body=GREEDY)
    said = "".join(block.text for block in answer.content if isinstance(block, TextBlock))
    assert (answer.stop_reason, "17" in said) == ("end_turn", True), answer


def test_question_without_need_of_a_tool_gets_text(client: Anthropic) -> None:
    message = client.messages.create(
        model="claude-opus-4-8",
        max_tokens=64,
        tools=[WEATHER],
        messages=[{"role": "user", "content": "Say hello. Don't use a tool."}],
        extra_body=GREEDY,
    )
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert not called(message)
