"""The official ``anthropic`` SDK through the running proxy: everything that succeeds."""

import base64
from typing import Any

import anthropic
import anyio
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import (
    Message,
    MessageParam,
    TextBlock,
    ThinkingBlock,
    ToolParam,
    ToolResultBlockParam,
    ToolUseBlock,
)
from pydantic import BaseModel

from support.paths import DATA
from support.providers.scripted import Endless, Reply, ScriptedProvider, ToolCall
from support.serving.proxied import PROVIDER_KEY, proxied
from support.serving.servers import eventually

MODEL = "claude-opus-4-8"
GRADIENT = DATA / "files" / "gradient.png"

USAGE = {
    "prompt_tokens": 50,
    "completion_tokens": 7,
    "total_tokens": 57,
    "prompt_tokens_details": {"cached_tokens": 20},
}
RATE_LIMITS = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1s",
}
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
HELLO: list[MessageParam] = [{"role": "user", "content": "Hello"}]


def sync_client(url: str) -> Anthropic:
    return Anthropic(base_url=url, api_key="client-key", max_retries=0, timeout=20)


def async_client(url: str) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=url, api_key="client-key", max_retries=0, timeout=20)


def ask(client: Anthropic, messages: list[MessageParam], stream: bool, **options: Any) -> Message:
    if not stream:
        message: Message = client.messages.create(model=MODEL, max_tokens=2000, messages=messages, **options)
        return message
    with client.messages.stream(model=MODEL, max_tokens=2000, messages=messages, **options) as streamed:
        return streamed.get_final_message()


def texts(message: Message) -> list[str]:
    """The text of each block; no other block may be there."""
    assert all(isinstance(block, TextBlock) for block in message.content)
    return [block.text for block in message.content if isinstance(block, TextBlock)]


def test_create_gives_the_providers_answer_under_the_clients_model() -> None:
    provider = ScriptedProvider([Reply("Good morning.", usage=USAGE)])
    with proxied(provider) as url, sync_client(url) as client:
        message = client.messages.create(
            model=MODEL, max_tokens=100, system="Be brief.", messages=HELLO, stop_sequences=["END"]
        )
    assert texts(message) == ["Good morning."]
    assert (message.model, message.role, message.stop_reason) == (MODEL, "assistant", "end_turn")
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (30, 20, 7)
    [body] = provider.completions
    assert body["model"] == "gpt-4o"
    assert body["stop"] == ["END"]
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    assert provider.requests[0].headers["authorization"] == f"Bearer {PROVIDER_KEY}"


def test_create_tells_of_the_exchange_in_headers() -> None:
    provider = ScriptedProvider([Reply("Hi.", headers=RATE_LIMITS)] * 2)
    with proxied(provider) as url, sync_client(url) as client:
        whole = client.messages.with_raw_response.create(model=MODEL, max_tokens=100, messages=HELLO)
        streamed = client.messages.with_raw_response.create(
            model="claude-haiku-4-5", max_tokens=100, messages=HELLO, stream=True
        )
        streamed.http_response.read()
    for response, upstream in ((whole, "gpt-4o"), (streamed, "gpt-4o-mini")):
        assert response.headers["request-id"].startswith("req_")
        assert response.headers["x-upstream-model"] == upstream
        assert response.headers["anthropic-ratelimit-requests-limit"] == "60"
        assert response.headers["anthropic-ratelimit-requests-remaining"] == "59"
        assert response.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert whole.headers["request-id"] != streamed.headers["request-id"]
    assert whole.parse()._request_id == whole.headers["request-id"]


def test_stream_gives_text_as_it_comes_and_the_final_message() -> None:
    provider = ScriptedProvider([Reply(["One, ", "two, ", "three."], usage=USAGE)])
    with (
        proxied(provider) as url,
        sync_client(url) as client,
        client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream,
    ):
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert pieces == ["One, ", "two, ", "three."]
    assert texts(message) == ["One, two, three."]
    assert (message.model, message.stop_reason) == (MODEL, "end_turn")
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (30, 20, 7)


@pytest.mark.parametrize("stream", [False, True])
def test_tools_make_a_round_trip_with_parallel_calls(stream: bool) -> None:
    calls = [
        ToolCall("get_weather", {"city": "Oslo"}, id="call_oslo"),
        ToolCall("get_weather", {"city": "Rome"}, id="call_rome"),
    ]
    provider = ScriptedProvider([Reply("Let me look.", tool_calls=calls), Reply("Rome is warmer.")])
    history: list[MessageParam] = [{"role": "user", "content": "Where is it warmer, Oslo or Rome?"}]
    with proxied(provider) as url, sync_client(url) as client:
        first = ask(client, history, stream, tools=[WEATHER])
        uses = [block for block in first.content if isinstance(block, ToolUseBlock)]
        assert first.stop_reason == "tool_use"
        assert [(use.name, use.input) for use in uses] == [
            ("get_weather", {"city": "Oslo"}),
            ("get_weather", {"city": "Rome"}),
        ]
        results: list[ToolResultBlockParam] = [  # in the order in which they are ready, as Claude Code sends them
            {"type": "tool_result", "tool_use_id": uses[1].id, "content": "21 degrees"},
            {"type": "tool_result", "tool_use_id": uses[0].id, "content": "no data", "is_error": True},
        ]
        history += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
        second = ask(client, history, stream, tools=[WEATHER])

    assert texts(second) == ["Rome is warmer."]
    sent = provider.completions[1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]
    assert sent[1]["content"] == "Let me look."
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["call_oslo", "call_rome"]
    assert [result["tool_call_id"] for result in sent[2:]] == ["call_rome", "call_oslo"]
    assert sent[2]["content"] == "21 degrees"
    assert "no data" in sent[3]["content"]


@anthropic.beta_tool
def add(a: int, b: int) -> str:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return str(a + b)


@anthropic.beta_async_tool
async def multiply(a: int, b: int) -> str:
    """Multiply two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return str(a * b)


def test_tool_runner_goes_on_without_a_thread() -> None:
    provider = ScriptedProvider([Reply(tool_calls=[ToolCall("add", {"a": 2, "b": 3})]), Reply("It is 5.")])
    with proxied(provider) as url, sync_client(url) as client:
        runner = client.beta.messages.tool_runner(
            model=MODEL, max_tokens=100, tools=[add], messages=[{"role": "user", "content": "2 + 3?"}]
        )
        message = runner.until_done()
    assert [block.text for block in message.content if block.type == "text"] == ["It is 5."]
    assert provider.completions[1]["messages"][-1]["content"] == "5"


@pytest.mark.anyio
async def test_async_tool_runner_goes_on_without_a_thread_when_it_streams() -> None:
    provider = ScriptedProvider([Reply(tool_calls=[ToolCall("multiply", {"a": 2, "b": 3})]), Reply("It is 6.")])
    with proxied(provider) as url:
        async with async_client(url) as client:
            runner = client.beta.messages.tool_runner(
                model=MODEL,
                max_tokens=100,
                tools=[multiply],
                messages=[{"role": "user", "content": "2 * 3?"}],
                stream=True,
            )
            messages = [await stream.get_final_message() async for stream in runner]
    assert [message.stop_reason for message in messages] == ["tool_use", "end_turn"]
    assert provider.completions[1]["messages"][-1]["content"] == "6"


def test_count_tokens_counts_without_the_provider() -> None:
    provider = ScriptedProvider()
    with proxied(provider) as url, sync_client(url) as client:
        short = client.messages.count_tokens(model=MODEL, messages=HELLO)
        long = client.messages.count_tokens(model=MODEL, messages=HELLO, system="Be brief. " * 50, tools=[WEATHER])
    assert 0 < short.input_tokens < 20
    assert long.input_tokens > short.input_tokens + 150
    assert provider.requests == []


def test_models_are_the_tiers_page_by_page() -> None:
    with proxied(ScriptedProvider(), small_model="little-one") as url, sync_client(url) as client:
        page = client.models.list(limit=2)
        everything = [model.id for model in client.models.list(limit=1)]
        haiku = client.models.retrieve("claude-haiku")
        with pytest.raises(anthropic.NotFoundError):
            client.models.retrieve("no-such-model")
    assert [model.id for model in page.data] == everything[:2]
    assert page.has_more
    assert len(everything) == 3
    assert all(id_.startswith("claude") for id_ in everything)
    assert (haiku.type, haiku.id, haiku.display_name) == ("model", "claude-haiku", "little-one")


def test_image_reaches_the_provider() -> None:
    data = base64.b64encode(GRADIENT.read_bytes()).decode()
    provider = ScriptedProvider([Reply("A gradient.")])
    with proxied(provider) as url, sync_client(url) as client:
        client.messages.create(
            model=MODEL,
            max_tokens=100,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": data},
                        },
                        {"type": "text", "text": "What is it?"},
                    ],
                }
            ],
        )
    image, text = provider.completions[0]["messages"][0]["content"]
    assert image["image_url"]["url"] == f"data:image/png;base64,{data}"
    assert text == {"type": "text", "text": "What is it?"}


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_comes_in_its_own_block(stream: bool) -> None:
    provider = ScriptedProvider([Reply("42.", reasoning=["Six ", "times seven."])])
    with proxied(provider) as url, sync_client(url) as client:
        message = ask(client, HELLO, stream, thinking={"type": "enabled", "budget_tokens": 1024})
    thinking, text = message.content
    assert isinstance(thinking, ThinkingBlock)
    assert thinking.thinking == "Six times seven."
    assert isinstance(text, TextBlock)
    assert text.text == "42."


class Capital(BaseModel):
    city: str
    people: int


def test_parse_gives_structured_output() -> None:
    provider = ScriptedProvider([Reply('{"city": "Oslo", "people": 700000}')])
    with proxied(provider) as url, sync_client(url) as client:
        message = client.messages.parse(model=MODEL, max_tokens=100, messages=HELLO, output_format=Capital)
    assert message.parsed_output == Capital(city="Oslo", people=700000)
    wanted = provider.completions[0]["response_format"]
    assert wanted["type"] == "json_schema"
    assert set(wanted["json_schema"]["schema"]["properties"]) == {"city", "people"}


def test_leaving_a_stream_closes_the_providers() -> None:
    provider = ScriptedProvider([Endless()])
    with proxied(provider) as url, sync_client(url) as client:
        with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
            assert next(iter(stream.text_stream))
        anyio.run(eventually, lambda: provider.disconnects)
    assert provider.active == 0


@pytest.mark.anyio
async def test_async_create_and_stream_and_models() -> None:
    provider = ScriptedProvider([Reply("First."), Reply(["Sec", "ond."])])
    with proxied(provider) as url:
        async with async_client(url) as client:
            whole = await client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
            async with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
                pieces = [piece async for piece in stream.text_stream]
                final = await stream.get_final_message()
            counted = await client.messages.count_tokens(model=MODEL, messages=HELLO)
            models = [model.id async for model in client.models.list(limit=1)]
    assert texts(whole) == ["First."]
    assert pieces == ["Sec", "ond."]
    assert (final.model, final.stop_reason) == (MODEL, "end_turn")
    assert counted.input_tokens > 0
    assert len(models) == 3
