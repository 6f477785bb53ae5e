"""Requests that Claude Code and the SDKs were seen to send, byte for byte but for their prose."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx
import pytest
from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from pydantic import TypeAdapter

from support.clients.sdk import accumulate
from support.paths import DATA
from support.providers.scripted import Answer, Reply, ScriptedProvider, ToolCall
from support.serving.proxied import proxied
from support.streams.grammar import check_stream

REQUESTS = DATA / "requests"
THREADS = sorted(path.stem for path in REQUESTS.glob("sdk-*-thread-*.json"))
COUNTS = ["count-tokens", "count-tokens-tools", "sdk-python-tools"]
MESSAGES = sorted({path.stem for path in REQUESTS.glob("*.json")} - {"websearch", *THREADS, *COUNTS})

_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_PARAMS: Mapping[bool, TypeAdapter[Any]] = {
    True: TypeAdapter(CompletionCreateParamsStreaming),
    False: TypeAdapter(CompletionCreateParamsNonStreaming),
}


_RESPONSE_PARAMS: Mapping[bool, TypeAdapter[Any]] = {
    True: TypeAdapter(ResponseCreateParamsStreaming),
    False: TypeAdapter(ResponseCreateParamsNonStreaming),
}


class Running(NamedTuple):
    """A proxy in front of a provider, and a client of it."""

    provider: ScriptedProvider
    client: httpx.Client


def model(body: dict[str, Any]) -> Answer:
    """Think, speak, and call the first tool that there is."""
    tools = body.get("tools") or []
    calls = [ToolCall(tool.get("function", tool)["name"], {"made": "up"}) for tool in tools[:1]]
    return Reply("An answer.", calls, reasoning="A thought.")


@pytest.fixture(scope="module", params=[("generic", {}), ("openai", {}), ("openai", {"api": "responses"})], ids=str)
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    provider = ScriptedProvider(model)
    name, options = request.param
    proxy = proxied(provider, provider=name, provider_options=options)
    with proxy as url, httpx.Client(base_url=url, timeout=20) as client:
        yield Running(provider, client)


def send(running: Running, name: str) -> tuple[dict[str, Any], httpx.Response]:
    """Send a stored request; the body that was sent, and the answer."""
    stored = json.loads((REQUESTS / f"{name}.json").read_bytes())
    running.provider.requests.clear()
    content = json.dumps(stored["body"]).encode()
    answer = running.client.request(stored["method"], stored["path"], headers=stored["headers"], content=content)
    return stored["body"], answer


@pytest.mark.parametrize("name", MESSAGES)
def test_stored_request_is_answered(running: Running, name: str) -> None:
    body, answer = send(running, name)
    assert answer.status_code == 200, answer.text
    if body.get("stream"):
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = check_stream(answer.content)
        for event in events:
            if event["type"] != "ping":
                _EVENT.validate_python(event)
        message = Message.model_validate(accumulate(answer.content))
    else:
        message = Message.model_validate(answer.json())
    thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    by_responses = bool(running.provider.responses)
    hidden = by_responses and "include" in running.provider.responses[0] and not thinks  # its state goes with the call
    expected = ["thinking"] * thinks + ["text"] + [*["thinking"] * hidden, "tool_use"] * bool(body.get("tools"))
    if by_responses and thinks and "include" not in running.provider.responses[0]:
        expected.remove("thinking")
    assert [block.type for block in message.content] == expected
    assert message.model == body["model"]
    assert message.stop_reason == ("tool_use" if body.get("tools") else "end_turn")
    [converted] = running.provider.completions + running.provider.responses
    check_params(*((with_ids(converted), _RESPONSE_PARAMS) if by_responses else (converted, _PARAMS)))
    assert converted["model"] in ("gpt-4o", "gpt-4o-mini", "gpt-5.2-codex")


@pytest.mark.parametrize("name", COUNTS)
def test_stored_count_is_answered_without_the_provider(running: Running, name: str) -> None:
    body, answer = send(running, name)
    assert answer.status_code == 200, answer.text
    count = MessageTokensCount.model_validate(answer.json())
    assert 0 < count.input_tokens < len(json.dumps(body))
    assert running.provider.requests == []


@pytest.mark.parametrize("name", THREADS)
def test_stored_thread_is_refused_so_that_the_sdk_goes_on_without(running: Running, name: str) -> None:
    _, answer = send(running, name)
    assert answer.status_code == 400
    assert answer.json()["error"]["details"]["error_code"] == "thread_unsupported_request"
    assert running.provider.requests == []


def test_stored_web_search_is_refused_with_a_reason(running: Running) -> None:
    _, answer = send(running, "websearch")
    assert answer.status_code == 424  # Claude Code, as which it was recorded, asks six times after a 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "web_search" in answer.json()["error"]["message"]
    assert running.provider.requests == []


def check_params(body: dict[str, Any], params: Mapping[bool, TypeAdapter[Any]]) -> None:
    """Validate a body against the types of OpenAI's own SDK."""
    exhaust(params[bool(body.get("stream"))].validate_python(body))


def with_ids(body: dict[str, Any]) -> dict[str, Any]:
    """The body with the ids that the SDK's types ask for, and OpenAI refuses where nothing is stored."""
    assert not any("id" in item for item in body["input"])
    made = [
        {**item, "id": "id", "status": "completed"}
        if item["type"] == "reasoning" or item.get("role") == "assistant"
        else item
        for item in body["input"]
    ]
    return {**body, "input": made}


def exhaust(value: Any) -> None:
    """Go through a validated value, since pydantic validates an Iterable only as it is iterated."""
    if isinstance(value, Mapping):
        for item in value.values():
            exhaust(item)
    elif not isinstance(value, str) and hasattr(value, "__iter__"):
        for item in value:
            exhaust(item)
