"""Conversations of an odd form: who speaks first, and calls of tools that are not offered."""

from typing import Any

import pytest

from ccproxy_middleware.conversion.providers import resolve_profile
from ccproxy_middleware.conversion.responses import convert_responses_request
from ccproxy_middleware.conversion.responses.state import Following, encode_state
from ccproxy_middleware.toolkit.errors import ApiError
from support.providers.responses_rules import check_responses_request

USE = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.txt"}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://pictures.test/a.png"}}
ITEM = {"type": "reasoning", "summary": [], "encrypted_content": "E1"}
ASK = {"role": "user", "content": "ls"}
GO_ON = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go on."}]}
AS_TEXT = '[called the tool Bash with {"command":"ls"}]'


def tool(name: str) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object", "properties": {}}}


def said(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def sent(messages: list[Any], tools: tuple[str, ...] = (), **options: Any) -> list[dict[str, Any]]:
    data = {"model": "m", "max_tokens": 99, "messages": messages, "tools": [tool(name) for name in tools]}
    body = convert_responses_request(data, resolve_profile("openai", options)).body
    check_responses_request(body)
    items: list[dict[str, Any]] = body["input"]
    return items


def texts(items: list[dict[str, Any]]) -> list[str]:
    """The items in short."""
    return [
        item["type"] if "content" not in item else " ".join(part.get("text", "[image]") for part in item["content"])
        for item in items
    ]


@pytest.mark.parametrize(
    "messages",
    [
        [said(USE, role="assistant"), said(RESULT)],
        [said({"type": "text", "text": "Hi."}, role="assistant"), ASK],
        [{"role": "system", "content": "Be kind."}, said(USE, role="assistant"), said(RESULT)],
    ],
)
def test_user_message_is_added_in_front_of_what_the_assistant_says_first(messages: list[Any]) -> None:
    assert sent(messages, ("Bash",), first_user=True) == [GO_ON, *sent(messages, ("Bash",))]


def test_no_user_message_is_added_where_the_user_speaks_first() -> None:
    assert sent([ASK, said(USE, role="assistant"), said(RESULT)], first_user=True)[1]["type"] == "function_call"


def test_calls_without_their_tools_are_told_as_text() -> None:
    messages = [
        ASK,
        said({"type": "text", "text": "I look."}, USE, role="assistant"),
        said(RESULT, {"type": "text", "text": "Sum up."}),
    ]
    assert texts(sent(messages, unoffered_calls="text")) == [
        "ls",
        f"I look.\n\n{AS_TEXT}",
        "[result of an earlier tool call]\na.txt Sum up.",
    ]
    assert texts(sent(messages)) == ["ls", "I look.", "function_call", "function_call_output", "Sum up."]


def test_calls_of_offered_tools_stay_calls_beside_others() -> None:
    read = {"type": "tool_use", "id": "toolu_2", "name": "Read", "input": {}}
    image = {**RESULT, "content": [IMAGE]}
    messages = [ASK, said(USE, read, role="assistant"), said(image, {**RESULT, "tool_use_id": "toolu_2"})]
    items = sent(messages, ("Read",), unoffered_calls="text")
    told = "[result of an earlier tool call] [image]"
    assert texts(items) == ["ls", AS_TEXT, "function_call", "function_call_output", told]
    assert [item["name"] for item in items if item["type"] == "function_call"] == ["Read"]
    assert sent(messages, ("Read", "Bash"), unoffered_calls="text") == sent(messages, ("Read", "Bash"))


@pytest.mark.parametrize(("tools", "kept"), [((), 0), (("Bash",), 1)])
def test_reasoning_of_a_call_that_is_told_as_text_is_left_out(tools: tuple[str, ...], kept: int) -> None:
    signature = encode_state("openai", "m", ITEM, Following("call", "toolu_1"))
    thought = {"type": "thinking", "thinking": "", "signature": signature}
    messages = [ASK, said(thought, USE, role="assistant"), said(RESULT)]
    assert sum(item["type"] == "reasoning" for item in sent(messages, tools, unoffered_calls="text")) == kept


def test_histories_are_refused_as_before_where_calls_are_told_as_text() -> None:
    history = [ASK, said(USE, role="assistant"), said(RESULT)]
    options: dict[str, Any] = {"unoffered_calls": "text", "history_repair": "refuse"}
    assert len(sent(history, **options)) == 3
    with pytest.raises(ApiError, match="ids must be unique"):
        sent([*history, *history[1:]], **options)
    stray = [ASK, said({"type": "text", "text": "x"}, role="assistant"), said(RESULT)]
    with pytest.raises(ApiError, match="unexpected `tool_use_id`"):
        sent(stray, **options)
