"""The demo's provider as the openai SDK sees its Responses: the protocol is real, whatever it says."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from ccproxy.demo.provider import KEY, MODELS, demo_provider
from ccproxy.demo.responses import call_item, message_item, reasoning_item, response, response_events
from support.providers.responses_rules import check_responses_request
from support.serving.servers import serve

READ_FILE: dict[str, Any] = {
    "type": "function",
    "name": "read_file",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
    "strict": False,
}
QUESTION = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is in note.txt?"}]}]


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    with (
        serve(demo_provider()) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        yield client


def ask(client: openai.OpenAI, **parameters: Any) -> Any:
    body = {"model": MODELS[0], "input": QUESTION, "store": False, **parameters}
    check_responses_request(body)
    return client.responses.create(**body)


def test_calls_the_tool_with_reasoning_before_it(client: openai.OpenAI) -> None:
    got = ask(client, tools=[READ_FILE], include=["reasoning.encrypted_content"])
    assert [item.type for item in got.output] == ["reasoning", "message", "function_call"]
    assert json.loads(got.output[2].arguments)["path"] == "note.txt"
    assert got.usage.total_tokens == got.usage.input_tokens + got.usage.output_tokens


def test_stream_adds_up_to_the_answer(client: openai.OpenAI) -> None:
    events = list(ask(client, tools=[READ_FILE], stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == events[-1].response.output_text


def test_cut_where_the_limit_is_low(client: openai.OpenAI) -> None:
    got = ask(client, max_output_tokens=16)
    assert (got.status, got.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@pytest.mark.parametrize("incomplete", [None, "max_output_tokens"])
def test_events_are_those_of_the_sdk(incomplete: str | None) -> None:
    output = [
        reasoning_item("rs_1", ["One.", "Two."], "encrypted"),
        message_item("msg_1", "Hello there", "commentary"),
        call_item("fc_1", "call_1", "f", '{"a": 1}'),
    ]
    usage = {
        "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2,
    }  # fmt: skip
    whole = response({"id": "resp_1", "created_at": 1, "model": "m"}, output, usage, incomplete)
    Response.model_validate(whole)
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for event in response_events(whole, lambda text: [text[:2], text[2:]]):
        adapter.validate_python(event)


def test_bad_request_when_it_is_none(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="no Responses request"):
        client.post("/responses", body={"model": "m", "input": 1}, cast_to=object)
