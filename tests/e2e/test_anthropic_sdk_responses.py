"""The ``anthropic`` SDK through the proxy, with a provider that is asked by Responses."""

from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, beta_tool
from anthropic.types import MessageParam
from pydantic import BaseModel

from support.providers.scripted import Reply, ScriptedProvider, ToolCall
from support.serving.proxied import proxied

MODEL = "claude-opus-4-8"
RESPONSES: dict[str, Any] = {"provider": "openai", "big_model": "gpt-5.6"}
HELLO: list[MessageParam] = [{"role": "user", "content": "Hello"}]
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}


def client_of(url: str) -> Anthropic:
    return Anthropic(base_url=url, api_key="client-key", max_retries=0, timeout=20)


def test_stream_gives_thinking_and_text_as_they_come() -> None:
    provider = ScriptedProvider([Reply(["Good ", "morning."], reasoning="A greeting.")])
    with proxied(provider, **RESPONSES) as url, client_of(url) as client:
        stream = client.messages.stream(model=MODEL, max_tokens=2000, messages=HELLO, thinking=THINKING)
        with stream as streamed:
            texts = list(streamed.text_stream)
            message = streamed.get_final_message()
    assert texts == ["Good ", "morning."]
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].type == "thinking"
    assert message.content[0].thinking == "A greeting."
    assert (message.model, message.stop_reason) == (MODEL, "end_turn")
    assert len(provider.responses) == 1


@beta_tool
def add(a: int, b: int) -> str:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return str(a + b)


@pytest.mark.parametrize("thinking", [{}, {"thinking": THINKING}], ids=["not asked", "thinking"])
def test_tool_runner_returns_the_providers_reasoning(thinking: dict[str, Any]) -> None:
    turn = Reply(tool_calls=[ToolCall("add", {"a": 2, "b": 3})], reasoning="Add them.")
    provider = ScriptedProvider([turn, Reply("It is 5.")])
    with proxied(provider, **RESPONSES) as url, client_of(url) as client:
        runner = client.beta.messages.tool_runner(
            model=MODEL, max_tokens=2000, tools=[add], messages=[{"role": "user", "content": "2 + 3?"}], **thinking
        )
        message = runner.until_done()
    assert [block.text for block in message.content if block.type == "text"] == ["It is 5."]
    kinds = [item["type"] for item in provider.responses[1]["input"]]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output"]
    [issued] = provider.issued
    assert provider.responses[1]["input"][1]["encrypted_content"] == issued["encrypted_content"]


class Capital(BaseModel):
    city: str


def test_parse_gives_structured_output() -> None:
    provider = ScriptedProvider([Reply('{"city": "Oslo"}')])
    with proxied(provider, **RESPONSES) as url, client_of(url) as client:
        message = client.messages.parse(model=MODEL, max_tokens=100, messages=HELLO, output_format=Capital)
    assert message.parsed_output == Capital(city="Oslo")
    assert provider.responses[0]["text"]["format"]["type"] == "json_schema"


def test_count_tokens_counts_without_the_provider() -> None:
    provider = ScriptedProvider([])
    with proxied(provider, **RESPONSES) as url, client_of(url) as client:
        counted = client.messages.count_tokens(model=MODEL, messages=HELLO, system="Be brief.")
    assert 5 < counted.input_tokens < 30
    assert provider.requests == []


def test_refusal_of_the_key_is_told() -> None:
    provider = ScriptedProvider(api_key="another")
    with (
        proxied(provider, **RESPONSES) as url,
        client_of(url) as client,
        pytest.raises(anthropic.InternalServerError, match="refused the proxy's API key"),
    ):
        client.messages.create(model=MODEL, max_tokens=20, messages=HELLO)
    assert len(provider.responses) == 1
