"""The demo's provider as the openai SDK sees it: the protocol is real, whatever it says."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from ccproxy.demo.provider import KEY, MODELS, demo_provider, example_of
from support.providers.openai_rules import check_request
from support.providers.scripted import ScriptedProvider
from support.serving.servers import serve

READ_FILE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "read_file",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
    },
}
BASH: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "Bash",
        "parameters": {
            "type": "object",
            "properties": {"command": {"type": "string"}},
            "required": ["command"],
        },
    },
}


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    with (
        serve(demo_provider()) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        yield client


def ask(client: openai.OpenAI, content: Any, **parameters: Any) -> Any:
    messages: Any = content if isinstance(content, list) else [{"role": "user", "content": content}]
    check_request({"model": MODELS[0], "messages": messages, **parameters})
    return client.chat.completions.create(model=MODELS[0], messages=messages, **parameters)


def test_says_what_it_is_when_asked_anything(client: openai.OpenAI) -> None:
    completion = ask(client, "Hello")
    assert "demo provider" in completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 20


def test_calls_the_tool_in_pieces_when_streamed(client: openai.OpenAI) -> None:
    text, arguments, finish_reasons, usages = "", [], [], []
    question = "What is in note.txt?"
    stream = ask(client, question, tools=[READ_FILE], stream=True, stream_options={"include_usage": True})
    for chunk in stream:
        usages.append(chunk.usage)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish_reasons.append(choice.finish_reason)
            arguments += [call.function.arguments for call in choice.delta.tool_calls or ()]
    assert text == "I will look into note.txt."
    assert len(arguments) > 3
    assert json.loads("".join(arguments))["path"] == "note.txt"
    assert [reason for reason in finish_reasons if reason] == ["tool_calls"]
    assert [usage for usage in usages if usage] == usages[-1:]


def test_no_usage_when_a_stream_does_not_ask_for_it(client: openai.OpenAI) -> None:
    assert [chunk.usage for chunk in ask(client, "Hello", stream=True) if chunk.usage] == []


def test_lists_files_when_bash_is_offered(client: openai.OpenAI) -> None:
    reminder = "<system-reminder>\nnever mind\n</system-reminder>"
    parts = [{"type": "text", "text": reminder}, {"type": "text", "text": "Which files are here?"}]
    (call,) = ask(client, [{"role": "user", "content": parts}], tools=[BASH]).choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)["command"]) == ("Bash", "ls -la")
    history = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump(exclude_none=True)]},
        {"role": "tool", "tool_call_id": call.id, "content": "a.txt\nb.txt"},
        {"role": "system", "content": "a reminder about files"},
    ]
    answer = ask(client, history, tools=[BASH]).choices[0]
    assert "a.txt\nb.txt" in answer.message.content
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("<system-reminder>list the files</system-reminder>Hello", {}),
        ("List the files", {"tool_choice": "none"}),
        ("CRITICAL: Respond with TEXT ONLY. Summarise, list the files.", {}),
    ],
)
def test_no_tool_call_when_none_is_asked_for(client: openai.OpenAI, text: str, parameters: dict[str, Any]) -> None:
    message = ask(client, text, tools=[BASH], **parameters).choices[0].message
    assert message.tool_calls is None
    assert message.content


def test_calls_the_named_tool_when_forced(client: openai.OpenAI) -> None:
    forced = {"type": "function", "function": {"name": "Bash"}}
    choice = ask(client, "Hello", tools=[BASH], tool_choice=forced).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"command": "Trying cc-boost"}


def test_fits_the_schema_when_the_output_is_structured(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    format_ = {"type": "json_schema", "json_schema": {"name": "title", "schema": schema}}
    content = ask(client, "Name this", response_format=format_).choices[0].message.content
    assert json.loads(content) == {"title": "Trying cc-boost"}


@pytest.mark.parametrize("stream", [True, False])
def test_cut_when_the_limit_is_low(client: openai.OpenAI, stream: bool) -> None:
    answer = ask(client, "Which files are here?", tools=[BASH], max_tokens=2, stream=stream)
    choices = [choice for chunk in answer for choice in chunk.choices] if stream else answer.choices
    assert choices[-1].finish_reason == "length"
    assert all(not (choice.delta if stream else choice.message).tool_calls for choice in choices)


def test_refused_when_the_key_is_wrong(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        ask(client.with_options(api_key="other"), "Hello")


@pytest.mark.parametrize("body", [{"model": "m"}, {"model": "m", "messages": 1}, {"model": "m", "messages": [{}]}])
def test_bad_request_when_it_is_no_completion(client: openai.OpenAI, body: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError, match="no chat completion request"):
        client.post("/chat/completions", body=body, cast_to=object)


def test_models_when_listed(client: openai.OpenAI) -> None:
    assert tuple(model.id for model in client.models.list()) == MODELS


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({}, {}),
        (
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}, "b": {}}},
            {"a": 3, "b": {}},
        ),
        ({"type": "object", "properties": {"a": {}}, "required": ["c"]}, {"c": "Trying cc-boost"}),
        ({"type": "array", "minItems": 1, "items": {"type": "boolean"}}, [False]),
        ({"type": "array", "items": {}}, []),
        ({"enum": ["x", "y"]}, "x"),
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"type": ["number", "null"]}, 0),
    ],
)
def test_example_of_a_schema(schema: dict[str, Any], example: Any) -> None:
    assert example_of(schema) == example


def test_same_shape_as_the_scripted_provider_when_streamed(client: openai.OpenAI) -> None:
    """Both stand-ins were written from the same protocol by different hands."""
    with (
        serve(ScriptedProvider()) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="k") as other,
    ):
        shapes = []
        for each in (client, other):
            chunks = list(ask(each, "Hello", stream=True, stream_options={"include_usage": True}))
            shapes.append((bool(chunks[0].choices[0].delta.role), chunks[-1].choices, bool(chunks[-1].usage)))
    assert shapes[0] == shapes[1] == (True, [], True)
