"""A real model behind a real OpenAI-compatible server, and Anthropic's SDK in front of the proxy.

``CC_BOOST_REAL=smol`` runs the chats, ``CC_BOOST_REAL=smol,qwen`` the tool calls too. The first run fetches some
0.3 GB, or 0.7 GB.
"""

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest
from anthropic import Anthropic, BadRequestError
from anthropic.types import (
    Message,
    MessageParam,
    TextBlock,
    TextBlockParam,
    ToolChoiceAnyParam,
    ToolChoiceAutoParam,
    ToolParam,
    ToolResultBlockParam,
    ToolUseBlock,
)

from support.paths import DATA
from support.providers.real_model import CONTEXT, Unavailable, real_model
from support.serving.proxied import proxy

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

USAGE = DATA / "usage"
OPTIONS = {"count_tokens": "llama.cpp", "list_models": "upstream"}
GREEDY = {"temperature": 0}  # the same answer each time
RECORDED_MAX = 700  # prompt tokens of the recorded requests that are sent again: each takes some seconds


def serving(name: str) -> Iterator[str]:
    if name not in os.environ.get("CC_BOOST_REAL", "").split(","):
        pytest.skip(f"it takes a real model: CC_BOOST_REAL={name} fetches and runs one")
    try:
        with real_model(name) as url:
            yield url
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="module")
def smol() -> Iterator[str]:
    """The URL of a server with a model that chats."""
    yield from serving("smol")


@pytest.fixture(scope="module")
def qwen() -> Iterator[str]:
    """The URL of a server with a model that calls tools."""
    yield from serving("qwen")


@pytest.fixture(scope="module")
def chat(smol: str) -> Iterator[Anthropic]:
    yield from client(smol, "smol")


@pytest.fixture(scope="module", params=["chat", "responses"])
def caller(qwen: str, request: pytest.FixtureRequest) -> Iterator[Anthropic]:
    yield from client(qwen, "qwen", api=request.param)


def client(upstream: str, model: str, **options: Any) -> Iterator[Anthropic]:
    settings: dict[str, Any] = {
        "provider": "llama.cpp",
        "provider_options": {**OPTIONS, **options},
        "big_model": model,
        "small_model": model,
    }
    with proxy(upstream, **settings) as url, Anthropic(api_key="k", base_url=url, max_retries=0) as anthropic:
        yield anthropic


def read(message: Message) -> int:
    """All of the prompt's tokens; the server keeps the beginning of one that it has seen."""
    return message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)


def said(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


def test_model_chats_over_two_turns_and_the_provider_counts_what_it_reads(chat: Anthropic) -> None:
    conversation: list[MessageParam] = [{"role": "user", "content": "Name a colour."}]
    for question in ("And another one?", None):
        prompt: dict[str, Any] = {"model": "claude-haiku-4-5", "system": "Be brief.", "messages": conversation}
        counted = chat.messages.count_tokens(**prompt)
        message = chat.messages.create(**prompt, max_tokens=24, extra_body=GREEDY)
        assert message.model == "claude-haiku-4-5"
        assert message.stop_reason in ("end_turn", "max_tokens")
        assert said(message)
        assert read(message) == counted.input_tokens
        assert 0 < message.usage.output_tokens <= 24
        conversation += [{"role": "assistant", "content": said(message)}]
        if question:
            conversation += [{"role": "user", "content": question}]


@pytest.fixture(scope="module")
def by_responses(smol: str) -> Iterator[Anthropic]:
    yield from client(smol, "smol", api="responses")


def test_model_is_asked_by_responses(by_responses: Anthropic) -> None:
    """This server numbers no items, and tells them apart by their ids."""
    prompt: dict[str, Any] = {"model": "claude-opus-4-8", "messages": [{"role": "user", "content": "Count to nine."}]}
    whole = by_responses.messages.create(**prompt, max_tokens=32, extra_body=GREEDY)
    with by_responses.messages.stream(**prompt, max_tokens=32, extra_body=GREEDY) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) > 2
    assert "".join(pieces) == said(message) == said(whole)
    assert read(message) == read(whole) > 0
    assert 0 < message.usage.output_tokens <= 32


def test_stream_brings_the_text_piece_by_piece_and_the_usage_at_its_end(chat: Anthropic) -> None:
    prompt: dict[str, Any] = {"model": "claude-opus-4-8", "messages": [{"role": "user", "content": "Count to nine."}]}
    with chat.messages.stream(**prompt, max_tokens=32, extra_body=GREEDY) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) > 2
    assert "".join(pieces) == said(message)
    assert read(message) == chat.messages.count_tokens(**prompt).input_tokens
    assert 0 < message.usage.output_tokens <= 32


def test_prompt_that_is_too_long_is_told_in_claudes_words(chat: Anthropic) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": "word " * 2 * CONTEXT}]
    with pytest.raises(BadRequestError, match=rf"prompt is too long: \d+ tokens > {CONTEXT} maximum"):
        chat.messages.create(model="claude-opus-4-8", max_tokens=8, messages=messages)


def test_servers_own_model_is_listed_behind_the_aliases_with_its_window(chat: Anthropic) -> None:
    models = {model.id: model for model in chat.models.list()}
    assert list(models) == ["claude-opus", "claude-sonnet", "claude-haiku", "smol"]
    assert models["smol"].max_input_tokens == CONTEXT


def test_recorded_usage_is_what_the_server_still_reports(smol: str) -> None:
    recorded = json.loads((USAGE / "smol.json").read_text())
    for request in [r for r in recorded if r["prompt_tokens"] <= RECORDED_MAX]:
        body = json.dumps({**request["body"], "max_tokens": 1}).encode()
        with urlopen(Request(f"{smol}/v1/chat/completions", body), timeout=120) as answer:  # noqa: S310
            assert json.load(answer)["usage"]["prompt_tokens"] == request["prompt_tokens"]


WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The current weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "any"}], ids=["auto", "any"])
def test_tool_is_called_and_its_result_is_used_in_a_streamed_conversation(
    caller: Anthropic, choice: ToolChoiceAutoParam | ToolChoiceAnyParam
) -> None:
    conversation: list[MessageParam] = [{"role": "user", "content": "What is the weather in Paris? Use the tool."}]
    prompt: dict[str, Any] = {"model": "claude-opus-4-8", "system": "Be brief.", "tools": [WEATHER]}
    with caller.messages.stream(
        **prompt, max_tokens=128, messages=conversation, tool_choice=choice, extra_body=GREEDY
    ) as stream:
        fragments = [event.partial_json for event in stream if event.type == "input_json"]
        asking = stream.get_final_message()
    assert asking.stop_reason == "tool_use"
    (call,) = [block for block in asking.content if isinstance(block, ToolUseBlock)]
    assert call.name == "get_weather"
    assert "paris" in str(call.input).lower()
    assert json.loads("".join(fragments)) == call.input

    result: ToolResultBlockParam = {"type": "tool_result", "tool_use_id": call.id, "content": "17 degrees and raining"}
    conversation += [{"role": "assistant", "content": asking.content}]
    # Without a question a small model would only call again.
    question: TextBlockParam = {"type": "text", "text": "Say in one sentence what the tool has told you."}
    conversation += [{"role": "user", "content": [result, question]}]
    prompt |= {"messages": conversation}
    counted = caller.messages.count_tokens(**prompt)
    with caller.messages.stream(**prompt, max_tokens=64, extra_body=GREEDY) as stream:
        answer = stream.get_final_message()
    assert answer.stop_reason == "end_turn"
    assert "17" in said(answer)
    assert read(answer) == counted.input_tokens
