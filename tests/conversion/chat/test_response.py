"""A whole chat completion as a message: every field, and bodies that are none."""

from typing import Any

import pytest
from anthropic.types import Message

from ccproxy_middleware.conversion.anthropic.message import empty_message, message_events
from ccproxy_middleware.conversion.anthropic.signatures import decode_signature
from ccproxy_middleware.conversion.chat.response import convert_response
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers.profiles import PROFILES, resolve_profile
from ccproxy_middleware.toolkit.errors import ApiError
from support.streams.chunks import blocks, chunk, convert, ending, sse
from support.streams.grammar import check_stream

PLAIN = Context(model="m", estimate_input=lambda: 7)
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
FN = {"name": "f", "arguments": '{"a":1}'}


def completion(message: Any, finish: Any = "stop", **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE, **fields}


def content(message: Any, context: Context = PLAIN, finish: Any = "stop") -> list[dict[str, Any]]:
    converted = convert_response(completion(message, finish), context)
    Message.model_validate(converted)
    check_stream(b"".join(message_events(converted)))
    found: list[dict[str, Any]] = converted["content"]
    return found


def call(arguments: Any, **fields: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}, **fields}


def input_of(arguments: Any, finish: str = "tool_calls") -> Any:
    (block,) = content({"tool_calls": [call(arguments)]}, finish=finish)
    return block["input"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (None, {}),
        ("", {}),
        (" \n", {}),
        ('{"a": 1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('"text"', {"_raw_arguments": '"text"'}),
        ("[1]", {"_raw_arguments": "[1]"}),
        ([1], {"_raw_arguments": "[1]"}),
        (5, {"_raw_arguments": "5"}),
        ("{oops", {"_raw_arguments": "{oops"}),
        ('{"a": 1', {"_raw_arguments": '{"a": 1'}),
        ('{"a": NaN}', {"_raw_arguments": '{"a": NaN}'}),
        (r'{"a": "\ud83d"}', {"a": "\ufffd"}),
    ],
)
def test_arguments(arguments: Any, expected: Any) -> None:
    assert input_of(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"p": "a", "t": "lo', {"p": "a"}),
        ('{"p": "a", "t', {"p": "a"}),
        ('{"p": [1, {"q": "a', {"p": [1, {}]}),
        ("{", {}),
        ('{"n": 123456789012345678901234567890, "t": "', {"n": 1.2345678901234568e29}),
        ('{"a": 1}', {"a": 1}),
        ("[1, 2", {"_raw_arguments": "[1, 2"}),
        ("oops", {"_raw_arguments": "oops"}),
    ],
)
def test_arguments_when_the_answer_was_cut(arguments: str, expected: Any) -> None:
    assert input_of(arguments, finish="length") == expected
    assert input_of(arguments, finish="model_length") == expected


def test_arguments_that_are_nested_too_deeply() -> None:
    text = '{"a":' * 400 + "1" + "}" * 400
    assert input_of(text) == {"_raw_arguments": text}


def test_blocks_come_in_claudes_order() -> None:
    message = {"tool_calls": [call("{}")], "content": "x", "reasoning_content": "r"}
    kinds = [block["type"] for block in content(message, Context(model="m", thinking="show"))]
    assert kinds == ["thinking", "text", "tool_use"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": " \n"}, [" \n"]),
        ({"content": ""}, []),
        ({"content": " \n", "reasoning": "r"}, ["r", "r"]),
        ({"content": "a", "refusal": ""}, ["a"]),
        ({"content": None, "audio": {"transcript": "hi"}}, ["hi"]),
        ({"content": "a", "audio": {"transcript": "hi"}}, ["a"]),
        (
            {
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "reference"},
                    {"type": "text", "text": "b"},
                ]
            },
            ["ab"],
        ),
        ({"content": [{"type": "thinking", "thinking": "r"}, {"type": "text", "text": "a"}]}, ["r", "a"]),
        ({"content": "a", "reasoning_text": "r"}, ["r", "a"]),
        ({"content": "a", "reasoning_content": "", "reasoning": "r"}, ["r", "a"]),
        (
            {"content": "a", "reasoning_details": [{"type": "reasoning.summary", "summary": "r"}, None]},
            ["r", "a"],
        ),
        ({"content": "a", "reasoning_details": [{"type": "reasoning.encrypted", "data": "Z"}]}, ["a"]),
        ({"content": "a", "reasoning": {"text": "r"}}, ["a"]),
    ],
)
def test_text_and_thinking(message: Any, expected: list[str]) -> None:
    found = content(message, Context(model="m", thinking="show"))
    assert [block.get("thinking") or block.get("text") for block in found] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>\na\n</think>\n\nb", ["a", "b"]),
        ("a</think>b", ["a", "b"]),
        ("<think>a", ["a", "a"]),  # never closed: it is the answer too
        ("x <think>a</think>", ["x <think>a</think>"]),
        ("plain", ["plain"]),
    ],
)
@pytest.mark.parametrize("mode", ["auto", "on"])
def test_think_tags(text: str, expected: list[str], mode: str) -> None:
    context = Context(model="m", profile=resolve_profile("generic", {"think_tags": mode}), thinking="show")
    found = content({"content": text}, context)
    assert [block.get("thinking") or block.get("text") for block in found] == expected


def test_think_tags_are_text_where_a_field_holds_the_reasoning() -> None:
    context = Context(model="m", profile=resolve_profile("generic", {"think_tags": "auto"}), thinking="show")
    found = content({"content": "<think>x</think>", "reasoning": "r"}, context)
    assert found[1] == {"type": "text", "text": "<think>x</think>"}


def test_local_stop_sequence_cuts_the_text_and_what_comes_after() -> None:
    context = Context(model="m", local_stops=("END", "STOP"))
    message = convert_response(completion({"content": "a STOP b END", "tool_calls": [call("{}")]}), context)
    assert message["content"] == [{"type": "text", "text": "a "}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "STOP")


def test_tool_ids_are_unique_in_the_answer_and_the_history() -> None:
    context = Context(model="m", used_tool_ids=frozenset({"old"}))
    ids = ["new", "new", "old", "bad id", None, 5, "x" * 65]
    found = content({"tool_calls": [call("{}", id=id_) for id_ in ids]}, context)
    assert found[0]["id"] == "new"
    assert all(block["id"].startswith("toolu_") and len(block["id"]) == 30 for block in found[1:])
    assert len({block["id"] for block in found}) == len(ids)


def test_nine_character_ids_of_mistral_are_kept() -> None:
    found = content({"tool_calls": [call("{}", id="aB3dE6gH9")]}, Context(model="m", profile=PROFILES["mistral"]))
    assert found[0]["id"] == "aB3dE6gH9"


def test_custom_call() -> None:
    custom = {"id": "c1", "type": "custom", "custom": {"name": "f", "input": 'say "hi"'}}
    assert content({"tool_calls": [custom]})[0]["input"] == {"input": 'say "hi"'}


def test_function_call_beside_tool_calls_is_ignored() -> None:
    assert len(content({"tool_calls": [call("{}")], "function_call": FN})) == 1


def test_call_without_a_name_goes_when_it_says_nothing_or_was_cut_off() -> None:
    calls = [{"function": {"name": "", "arguments": ""}}, {}, call("{}", id="c3")]
    assert [block["id"] for block in content({"tool_calls": calls})] == ["c3"]
    cut = completion({"content": "a", "tool_calls": [{"id": "c1", "function": {"arguments": ""}}]}, "length")
    message = convert_response(cut, PLAIN)
    assert [block["type"] for block in message["content"]] == ["text"]
    assert message["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("index", [1, 7, -1, None])
def test_only_choice_is_the_answer_whatever_its_index(index: Any) -> None:
    body = completion({"content": "a"})
    body["choices"][0]["index"] = index
    assert convert_response(body, PLAIN)["content"] == [{"type": "text", "text": "a"}]


def test_choices_without_distinct_indexes_are_one_answer() -> None:
    """GitHub Copilot sends the text and the calls of a Claude model's turn as two choices."""
    choices = [
        {"finish_reason": "tool_calls", "message": {"role": "assistant", "content": "Let me look."}},
        {"finish_reason": "tool_calls", "message": {"role": "assistant", "content": None, "tool_calls": [call("{}")]}},
    ]
    message = convert_response({"choices": choices}, PLAIN)
    assert [block["type"] for block in message["content"]] == ["text", "tool_use"]
    assert message["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("message", "fields", "expected"),
    [
        pytest.param(
            {"tool_calls": [call('{"a":1}')]}, {"stop_reason": "END"}, ("tool_use", {"a": 1}), id="whole call"
        ),
        pytest.param(
            {"tool_calls": [call('{"a":1,"b":"c')]}, {"stop_reason": "END"}, ("stop_sequence", {"a": 1}), id="cut call"
        ),
        pytest.param({"content": "a"}, {"matched_stop": "END"}, ("stop_sequence", None), id="SGLang"),
        pytest.param({"content": "a"}, {"matched_stop": 151645}, ("end_turn", None), id="SGLang's end token"),
    ],
)
def test_stop_sequence_that_upstream_met(message: Any, fields: dict[str, Any], expected: tuple[str, Any]) -> None:
    body = completion(message)
    body["choices"][0] |= fields
    answer = convert_response(body, Context(model="m", stop_sequences=("END",)))
    (block,) = answer["content"]
    assert (answer["stop_reason"], block.get("input")) == expected


def test_gemini_signatures_ride_in_one_thinking_block() -> None:
    context = Context(model="m", profile=PROFILES["gemini"], used_tool_ids=frozenset({"c2"}))
    signed = {"extra_content": {"google": {"thought_signature": "S"}}}
    thinking, first, second = content({"tool_calls": [call("{}", **signed), call("{}", id="c2", **signed)]}, context)
    assert thinking["thinking"] == ""
    assert first["id"] == "c1"
    assert second["id"] != "c2"
    assert decode_signature(thinking["signature"]) == {"p": "gemini", "calls": {"c1": "S", second["id"]: "S"}}


def test_openrouter_details_ride_unasked_only_with_calls() -> None:
    context = Context(model="m", profile=PROFILES["openrouter"])
    message = {"content": "a", "reasoning_details": [{"type": "reasoning.text", "text": "r"}]}
    assert [block["type"] for block in content(message, context)] == ["text"]
    thinking, *_ = content({**message, "tool_calls": [call("{}")]}, context)
    assert thinking["thinking"] == ""
    envelope = decode_signature(thinking["signature"])
    assert envelope is not None
    assert envelope["details"] == message["reasoning_details"]


def test_upstream_stop_string_needs_to_be_the_clients() -> None:
    body = completion({"content": "a"})
    body["choices"][0]["stop_reason"] = "END"
    assert convert_response(body, PLAIN)["stop_reason"] == "end_turn"
    assert convert_response(body, Context(model="m", stop_sequences=("END",)))["stop_sequence"] == "END"


def test_service_tier() -> None:
    body = completion({"content": "a"}, service_tier="flex")
    assert "service_tier" not in convert_response(body, PLAIN)["usage"]
    openai = Context(model="m", profile=PROFILES["openai"])
    assert convert_response(body, openai)["usage"]["service_tier"] == "standard"
    assert "service_tier" not in convert_response({**body, "service_tier": "odd"}, openai)["usage"]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USAGE, {"input_tokens": 100, "output_tokens": 20}),
        (
            {**USAGE, "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30}},
            {"input_tokens": 10, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30},
        ),
        (
            {**USAGE, "prompt_tokens_details": {"cached_tokens": 160}},
            {"input_tokens": 0, "cache_read_input_tokens": 160},
        ),
        ({**USAGE, "prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 9}, {"input_tokens": 100}),
        ({**USAGE, "prompt_tokens_details": None, "prompt_cache_hit_tokens": 9}, {"input_tokens": 91}),
        (
            {**USAGE, "prompt_tokens_details": {"cached_tokens": 60, "created_cache_tokens": 30}},
            {"input_tokens": 10, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30},
        ),
        (
            {**USAGE, "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_tokens": 30}},
            {"input_tokens": 10, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30},
        ),
        (
            {**USAGE, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30},
            {"input_tokens": 10, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30},
        ),
        (
            {
                **USAGE,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30, "cache_creation_tokens": 30},
                "cache_read_input_tokens": 60,
                "cache_creation_input_tokens": 30,
            },
            {"input_tokens": 10, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30},
        ),
        (
            {**USAGE, "prompt_tokens_details": {"cache_write_tokens": 0}, "cache_creation_input_tokens": 30},
            {"input_tokens": 70, "cache_creation_input_tokens": 30},
        ),
        (
            {**USAGE, "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10}},
            {"input_tokens": 70, "cache_creation_input_tokens": 30},
        ),
        ({**USAGE, "cached_tokens": 60}, {"input_tokens": 40, "cache_read_input_tokens": 60}),
        ({**USAGE, "total_tokens": 150}, {"output_tokens": 50}),
        ({**USAGE, "total_tokens": 90}, {"output_tokens": 20}),
        ({"prompt_tokens": 10, "total_tokens": 15}, {"input_tokens": 10, "output_tokens": 5}),
        ({"completion_tokens": 5.0}, {"input_tokens": 7, "output_tokens": 5}),
        ({"prompt_tokens": 10**30, "completion_tokens": -5}, {"input_tokens": 7, "output_tokens": 1}),
        (
            {**USAGE, "completion_tokens_details": {"reasoning_tokens": 8}},
            {"output_tokens_details": {"thinking_tokens": 8}},
        ),
        ([], {"input_tokens": 7, "output_tokens": 1}),
    ],
)
def test_usage(usage: Any, expected: dict[str, Any]) -> None:
    converted = convert_response(completion({"content": "abc"}, usage=usage), PLAIN)["usage"]
    assert expected.items() <= converted.items()


@pytest.mark.parametrize(
    ("body", "status", "type"),
    [
        pytest.param({"choices": []}, 502, "api_error", id="no choices"),
        pytest.param({}, 502, "api_error", id="empty object"),
        pytest.param(None, 502, "api_error", id="null"),
        pytest.param("text", 502, "api_error", id="string"),
        pytest.param([], 502, "api_error", id="list"),
        pytest.param({"choices": {"index": 0}}, 502, "api_error", id="choices no list"),
        pytest.param({"choices": [None, 5]}, 502, "api_error", id="no choice"),
        pytest.param(
            completion({"tool_calls": [{"id": "c1", "function": {"name": None, "arguments": "{}"}}]}),
            502,
            "api_error",
            id="tool call without a name",
        ),
        pytest.param(
            completion({"tool_calls": [{"id": "c1", "function": {"name": "", "arguments": "{}"}}]}),
            502,
            "api_error",
            id="tool call with an empty name",
        ),
        pytest.param({"choices": [{"index": 0}]}, 502, "api_error", id="no message"),
        pytest.param(completion({"content": 5}), 502, "api_error", id="content a number"),
        pytest.param(completion({"tool_calls": {"a": 1}}), 502, "api_error", id="tool_calls no list"),
        pytest.param(completion({"tool_calls": [5]}), 502, "api_error", id="tool call a number"),
        pytest.param(completion({"content": "a"}, "error"), 502, "api_error", id="finish error"),
        pytest.param(completion({"tool_calls": [call("{}")]}, "abort"), 502, "api_error", id="finish abort"),
        pytest.param(completion({}, "insufficient_system_resource"), 529, "overloaded_error", id="no resources"),
        pytest.param(completion({}, "error", error={"code": 429, "message": "x"}), 429, "rate_limit_error", id="both"),
        pytest.param({"error": {"code": 429, "message": "x"}}, 429, "rate_limit_error", id="error"),
        pytest.param([{"error": {"code": 429, "message": "x"}}], 429, "rate_limit_error", id="error in a list"),
        pytest.param({"object": "error", "message": "x", "code": 429}, 429, "rate_limit_error", id="top-level error"),
    ],
)  # fmt: skip
def test_body_that_is_no_completion(body: Any, status: int, type: str) -> None:
    with pytest.raises(ApiError) as caught:
        convert_response(body, PLAIN)
    assert (caught.value.status, caught.value.type) == (status, type)


def test_odd_fields_are_overlooked() -> None:
    message: dict[str, Any] = {
        "content": "a",
        "tool_calls": None,
        "function_call": None,
        "refusal": 5,
        "audio": "x",
        "reasoning": [],
    }
    assert content(message, finish={"a": 1}) == [{"type": "text", "text": "a"}]


def test_empty_message() -> None:
    message = empty_message(PLAIN, stop_reason="max_tokens")
    Message.model_validate(message)
    assert (message["content"], message["stop_reason"], message["usage"]["input_tokens"]) == (
        [],
        "max_tokens",
        7,
    )
    assert [event["type"] for event in check_stream(b"".join(message_events(message)))] == [
        "message_start", "ping", "message_delta", "message_stop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        {"content": "a"},
        {"content": "a", "reasoning": "r"},
        {"content": "a ", "refusal": "No."},
        {"content": " ", "tool_calls": [call('{"a":1}', index=0)]},
        {"reasoning_content": "r", "content": "\n", "tool_calls": [call('{"a":1}', index=0)]},
        {"content": "\n\n", "reasoning": "r"},
        {"content": "\n\n"},
        {"content": "a E"},
        {"content": "a END b"},
    ],
)
@pytest.mark.parametrize("thinking", ["show", "omit", "off"])
def test_whole_and_streamed_answers_agree(message: dict[str, Any], thinking: Any) -> None:
    context = Context(model="m", thinking=thinking, local_stops=("END",))
    whole = convert_response(completion(message), context)
    streamed = convert(context, sse(chunk(message, usage=USAGE), chunk(finish="stop")))
    assert blocks(streamed) == blocks(check_stream(b"".join(message_events(whole))))
    assert ending(streamed).items() <= {**whole, **whole["usage"]}.items()
