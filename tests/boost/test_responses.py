"""Boost with an executor that is asked by Responses, outside the conversion and inside it."""

from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from ccproxy_middleware.boost.conversation import read_conversation
from ccproxy_middleware.boost.responses import ResponsesDialect, SummaryResponse
from ccproxy_middleware.boost.usage import add_to_responses
from ccproxy_middleware.conversion.chat import convert_request
from ccproxy_middleware.conversion.providers import resolve_profile
from ccproxy_middleware.conversion.responses import convert_responses_request
from ccproxy_middleware.toolkit.sse import SSEParser
from support.providers.scripted import Reply, ScriptedProvider, ToolCall
from support.serving.boosted import EXECUTOR, Place, ask, boosted, question, with_result

GUIDANCE = Reply("ANALYSIS: it is in a file\nGUIDANCE: Call Read with path a.txt.")
SUMMARY = Reply("SUMMARY: It holds forty-two.")
OPTIONS: dict[str, Any] = {"provider_options": {"api": "responses"}}
HISTORY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 99,
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": "What is in a?"},
        {"role": "assistant", "content": [
            {"type": "text", "text": "I look."}, {"type": "tool_use", "id": "1", "name": "Read", "input": {"p": "a"}},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "forty-two"}]},
        {"role": "system", "content": "Hurry."},
    ],
}  # fmt: skip


def test_call_follows_the_plan(place: Place, stream: bool) -> None:
    executor = ScriptedProvider([Reply(tool_calls=[ToolCall("Read", {"path": "a.txt"})])])
    with boosted(ScriptedProvider([GUIDANCE]), executor, place, **OPTIONS) as running:
        answer = ask(running.url, question(stream=stream))
    assert (answer.status, answer.headers["x-boost-outcome"]) == (200, "guidance")
    assert [block["name"] for block in answer.message["content"]] == ["Read"]
    [body] = executor.responses
    assert body["model"] == EXECUTOR
    assert body["input"][-1]["role"] == "developer"
    assert "Call Read with path a.txt." in str(body["input"][-1])


def test_summary_is_the_answer(place: Place, stream: bool) -> None:
    executor = ScriptedProvider([])
    with boosted(ScriptedProvider([SUMMARY]), executor, place, **OPTIONS) as running:
        answer = ask(running.url, with_result(stream=stream))
    assert (answer.status, answer.headers["x-boost-outcome"]) == (200, "summary")
    assert [block["text"] for block in answer.message["content"]] == ["It holds forty-two."]
    assert answer.message["stop_reason"] == "end_turn"
    assert answer.message["usage"]["output_tokens"] > 0
    assert executor.requests == []


def test_planner_reads_the_same_conversation_by_every_api() -> None:
    chat = convert_request(HISTORY, resolve_profile("generic", {})).body
    responses = convert_responses_request(HISTORY, resolve_profile("generic", {})).body
    texts = {read_conversation(body).text() for body in (HISTORY, chat, responses)}
    assert len(texts) == 1
    assert "forty-two" in texts.pop()


@pytest.mark.parametrize(
    ("last", "added"),
    [
        ({"type": "function_call_output", "call_id": "1", "output": "x"}, -1),
        ({"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "a"}]}, -1),
        ({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}, -2),
    ],
)
def test_guidance_stands_at_the_end(last: dict[str, Any], added: int) -> None:
    guided = ResponsesDialect().with_guidance({"input": [last]}, "Do it.")
    assert guided["input"][added]["role"] == "developer"
    assert guided["input"][added]["content"][-1] == {"type": "input_text", "text": "Do it."}
    assert len(guided["input"]) == (1 if last.get("role") == "developer" else 2)


def test_final_answer_is_a_response_as_the_sdk_knows_it() -> None:
    usage = add_to_responses({}, {"input_tokens": 5, "output_tokens": 3})
    summary = SummaryResponse("m")
    frames = summary.text("Hel") + summary.text("lo") + summary.end("stop", usage)
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    events = [adapter.validate_json(data) for data in SSEParser().feed(frames)]
    assert [event.delta for event in events if event.type == "response.output_text.delta"] == ["Hel", "lo"]
    Response.model_validate(events[-1].response.model_dump())
    assert events[-1].response.output_text == "Hello"
    assert events[-1].response.usage.total_tokens == 8


@pytest.mark.parametrize("tool_choice", ["auto", "required", {"type": "function", "name": "f"}, "none", None])
def test_choice_of_tools(tool_choice: Any) -> None:
    expected = {"auto": "auto", "none": "none", None: "auto"}
    key = tool_choice if not isinstance(tool_choice, dict) else "forced"
    assert ResponsesDialect().tool_choice({"tool_choice": tool_choice}) == expected.get(key, "forced")
