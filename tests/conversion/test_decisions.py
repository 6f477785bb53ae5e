"""What the log tells of a conversion: each thing that was left out or changed, and nothing that was said."""

import json
from typing import Any

import pytest

from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.decisions import explain
from ccproxy_middleware.conversion.providers.profiles import resolve_profile
from ccproxy_middleware.conversion.responses import convert_responses_request
from ccproxy_middleware.conversion.responses.state import encode_state
from support.paths import DATA

TOOL = {"name": "t", "input_schema": {"type": "object", "properties": {}}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
REMOTE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
THOUGHT = {"type": "thinking", "thinking": "secret words", "signature": "x"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "secret words"}
CASES = [json.loads(path.read_text()) for path in sorted((DATA / "cases").glob("r*.json"))]


def said(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(blocks) or "secret words"}


def explained(request: dict[str, Any], provider: str = "generic", **options: Any) -> list[str]:
    data = {"model": "m", "max_tokens": 9, "messages": [said()], **request}
    return explain(data, convert_request(data, resolve_profile(provider, options)))


@pytest.mark.parametrize(
    ("request_", "options", "decision"),
    [
        ({}, {}, None),
        ({"max_tokens": 99}, {"max_output": 50}, "max_tokens 99 becomes 50: max_output is 50"),
        ({"max_tokens": 9}, {"min_output": 20}, "max_tokens 9 becomes 20: min_output is 20"),
        ({"top_k": 3}, {}, "top_k is left out: top_k is drop"),
        ({"top_k": 3}, {"top_k": "pass", "sampling": "drop"}, "top_k is left out: sampling is drop"),
        ({"temperature": 1}, {"sampling": "drop"}, "temperature is left out: sampling is drop"),
        ({"stop_sequences": ["a", "b"]}, {"stop_limit": 1}, "1 stop sequence is looked for here: stop_limit is 1"),
        ({"service_tier": "auto"}, {}, "service_tier is left out: service_tier is drop"),
        ({"metadata": {"user_id": "u"}}, {}, "metadata.user_id is left out: user_field is none"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {"structured_output": "prompt"},
            "the JSON schema of the answer stands in the system prompt: structured_output is prompt",
        ),
        (
            {f"field_{n:02}": 1 for n in range(12)},
            {},
            "left out, for want of a counterpart: " + ", ".join(f"field_{n:02}" for n in range(10)) + " and 2 more",
        ),
        ({"x" * 99: 1}, {}, f"left out, for want of a counterpart: {'x' * 61}..."),
        (
            {"output_config": {"effort": "max"}},
            {"efforts": ["low", "high"]},
            "effort max becomes high: reasoning_style is openai, efforts are low, high, with tools ok",
        ),
        (
            {"thinking": {"type": "adaptive"}},
            {"reasoning_style": "none"},
            "thinking and effort are left out: reasoning_style is none, efforts are none, with tools ok",
        ),
        (
            {"tools": [{**TOOL, "defer_loading": True}]},
            {},
            "tool t is left out: it is deferred, and no tool_reference has named it",
        ),
        (
            {"tools": [{**TOOL, "allowed_callers": []}]},
            {},
            "tool t is left out: it was removed, or can't be called directly",
        ),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            {"server_tools": "drop"},
            "tool web_search is left out: it would run on Anthropic's servers",
        ),
        ({"tools": [{**TOOL, "name": "a b"}]}, {}, "tool a b is called ab_c8687a08: tool_name_max is 64"),
        (
            {"tools": [{"name": "t", "input_schema": {"anyOf": [{"type": "object"}]}}]},
            {},
            "tool t: its schema is fitted (anyOf), schema_dialect is openai",
        ),
        (
            {"tools": [{**TOOL, "strict": True}]},
            {"strict_tools": False},
            "tool t: strict is left out, by the switch strict_tools or for its schema",
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "any"}},
            {"forced_tool_choice": False},
            "tool_choice any becomes auto: forced_tool_choice is off",
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            {"parallel_flag": False},
            "disable_parallel_tool_use is left out: parallel_flag is off",
        ),
        (
            {"system": [{"type": "text", "text": "x-anthropic-billing-header: 1"}]},
            {},
            "the billing header of the system prompt is left out: it would defeat the provider's prefix cache",
        ),
        (
            {"system": "s"},
            {"system_role": "developer"},
            "the system prompt is sent as developer: system_role is developer",
        ),
        (
            {"messages": [said(), said(role="assistant"), said(role="system"), said()]},
            {"mid_system": "hoist"},
            "system messages have moved: mid_system is hoist",
        ),
        (
            {"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]},
            {},
            "1 cache_control mark is left out: cache_control is drop",
        ),
        ({"messages": [said(IMAGE)]}, {"vision": False}, "1 image is left out: vision or content_parts is off"),
        (
            {"messages": [said({"type": "document", "source": {"type": "text", "data": "secret words"}})]},
            {},
            "1 document is sent as the text that could be read: pdf is text",
        ),
        (
            {"messages": [said(), said(THOUGHT, {"type": "text", "text": "a"}, role="assistant"), said()]},
            {},
            "1 thinking block is left out: reasoning_roundtrip is drop",
        ),
        (
            {
                "messages": [
                    said(),
                    said({"type": "server_tool_use"}, {"type": "text", "text": "a"}, role="assistant"),
                    said(),
                ]
            },
            {},
            "1 block is left out: made by Anthropic's servers",
        ),
        (
            {"messages": [said(), said(CALL, role="assistant"), said()]},
            {},
            "1 tool call is answered '[no result]' for want of a result: history_repair is on",
        ),
        ({"messages": [said(IMAGE, IMAGE)]}, {"images_max": 1}, "1 image is left out: images_max is 1"),
        ({"messages": [said(IMAGE)]}, {"image_formats": ["gif"]}, "1 image is left out: image_formats is gif"),
        ({"messages": [said(REMOTE, IMAGE)]}, {"image_urls": "drop"}, "1 image is left out: image_urls is drop"),
        ({}, {"streaming": "always"}, "the provider is asked for a stream: streaming is always"),
        ({"stream": True}, {"streaming": "never"}, "the provider is asked for a whole answer: streaming is never"),
        (
            {"messages": [said(CALL, role="assistant"), said(RESULT)], "tools": [TOOL]},
            {"first_user": True},
            "a user message is added in front: first_user is on",
        ),
        (
            {"messages": [said(), said(CALL, role="assistant"), said(RESULT)]},
            {"unoffered_calls": "text"},
            "1 tool call is told as text, with the result: unoffered_calls is text",
        ),
        (
            {"tools": [{**TOOL, "description": "d" * 200}]},
            {"tool_description_max": 100},
            "tool t: the end of its description stands in the system prompt (tool_description_max)",
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "t"}},
            {"tool_choice_object": False},
            "tool_choice tool becomes required: tool_choice_object is off",
        ),
        ({"messages": [said(RESULT)]}, {}, "1 tool result is sent as text for want of the call: history_repair is on"),
    ],
)
def test_decision_is_told(request_: dict[str, Any], options: dict[str, Any], decision: str | None) -> None:
    told = explained(request_, **options)
    assert told == ([] if decision is None else [decision])
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    ("messages", "options", "decision"),
    [
        (
            [said(CALL, role="assistant"), said(RESULT)],
            {"first_user": True},
            "a user message is added in front: first_user is on",
        ),
        ([said(), said(CALL, role="assistant"), said(RESULT)], {"first_user": True}, None),
        (
            [said(), said({**CALL, "name": "gone"}, role="assistant"), said(RESULT)],
            {"unoffered_calls": "text"},
            "1 tool call is told as text, with the result: unoffered_calls is text",
        ),
        ([said(), said(CALL, role="assistant"), said(RESULT)], {"unoffered_calls": "text"}, None),
    ],
)
def test_decision_is_told_of_responses(
    messages: list[dict[str, Any]], options: dict[str, Any], decision: str | None
) -> None:
    data = {"model": "m", "max_tokens": 99, "messages": messages, "tools": [TOOL]}
    asked, *told = explain(data, convert_responses_request(data, resolve_profile("generic", options)))
    assert asked.startswith("asked by Responses")
    assert told == ([] if decision is None else [decision])


def test_tools_beside_the_one_that_must_be_called_are_told() -> None:
    request = {"tools": [TOOL, {**TOOL, "name": "u"}], "tool_choice": {"type": "tool", "name": "t"}}
    assert explained(request, tool_choice_object=False) == [
        "tool u is left out: another must be called, and tool_choice_object is off",
        "tool_choice tool becomes required: tool_choice_object is off",
    ]


def test_limits_have_the_names_by_which_they_are_set() -> None:
    names = {"max_output": "MAX_TOKENS_LIMIT", "min_output": "MIN_TOKENS_LIMIT"}
    for asked, sent, setting in ((99, 50, "MAX_TOKENS_LIMIT"), (3, 7, "MIN_TOKENS_LIMIT")):
        data = {"model": "m", "max_tokens": asked, "messages": [said()]}
        request = convert_request(data, resolve_profile("generic", {"max_output": 50, "min_output": 7}))
        assert explain(data, request, {}, names) == [f"max_tokens {asked} becomes {sent}: {setting} is {sent}"]


def test_what_a_provider_has_refused_is_told_first() -> None:
    data = {"model": "m", "max_tokens": 9, "messages": [said()]}
    request = convert_request(data, resolve_profile("generic", {}))
    assert explain(data, request, {"stop_limit": 1}) == ["stop_limit is 1: the provider has refused it otherwise"]


@pytest.mark.parametrize("case", [case for case in CASES if case["kind"] != "error"], ids=lambda case: case["name"])
def test_every_request_can_be_explained(case: dict[str, Any]) -> None:
    data = case["anthropic_request"]
    request = convert_request(data, resolve_profile(case["profile"]["base"], case["profile"]["overrides"]))
    assert all(isinstance(line, str) and len(line) < 800 for line in explain(data, request))


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": [said(), said({"type": "mcp_tool_result", "content": ["x", 1, None]}, role="assistant"), said()]},
        {"messages": [said(), said({"type": "fallback", "content": [[["x"]]]}, role="assistant"), said()]},
        {"tools": [{"type": "web_search_20250305", "name": ["no", "name"]}]},
        {"tools": [{"type": "web_search_20250305", "name": {"no": "name"}}, TOOL]},
    ],
)
def test_what_nobody_has_looked_at_is_explained_too(request_: dict[str, Any]) -> None:
    assert explained(request_, server_tools="drop")


def test_blocks_of_any_depth_are_explained() -> None:
    block: dict[str, Any] = {"type": "mcp_tool_result"}
    for _ in range(5_000):
        block = {"type": "mcp_tool_result", "content": [block]}
    told = explained({"messages": [said(), said(block, role="assistant"), said()]})
    assert told == ["5001 blocks are left out: made by Anthropic's servers"]


def test_tools_that_extra_body_has_put_there_are_no_functions() -> None:
    explained({"tools": [TOOL]}, extra_body={"tools": [{"type": "web_search"}]})


def by_responses(request: dict[str, Any], **options: Any) -> list[str]:
    data = {"model": "m", "max_tokens": 99, "messages": [said()], **request}
    profile = resolve_profile("openai", {"api": "responses", **options})
    return explain(data, convert_responses_request(data, profile))


OURS = {"type": "thinking", "thinking": "secret words"}


@pytest.mark.parametrize(
    ("request_", "decision"),
    [
        ({}, "asked by Responses: api is responses, or auto takes it for the model"),
        ({"max_tokens": 9}, "max_tokens 9 becomes 16: Responses takes no fewer"),
        ({"stop_sequences": ["a"]}, "1 stop sequence is looked for here: Responses has none"),
        ({"top_k": 3}, "top_k is left out: Responses has none"),
        (
            {"messages": [said(), said(THOUGHT, CALL, role="assistant"), said(RESULT)]},
            "1 thinking block is left out: it is another provider's, or its signature was changed",
        ),
        (
            {"messages": [said(), said({**OURS, "signature": encode_state("openai", "other", {}, None)}, CALL,
                                       role="assistant"), said(RESULT)]},
            "1 thinking block is left out: another provider or model made it",
        ),
        (
            {"messages": [said(), said(CALL, role="assistant")]},
            "1 tool call is answered '[no result]' for want of a result: history_repair is on",
        ),
        (
            {"tools": [{**TOOL, "strict": True}]},
            "tool t: strict is left out, by the switch strict_tools or for its schema",
        ),
    ],
)  # fmt: skip
def test_decision_by_responses(request_: dict[str, Any], decision: str) -> None:
    decisions = by_responses(request_)
    assert decision in decisions
    assert "secret" not in "".join(decisions)


def test_responses_cases_are_explained() -> None:
    for path in sorted((DATA / "responses-cases").glob("q*.json")):
        case = json.loads(path.read_text())
        if case["kind"] == "request":
            request = case["anthropic_request"]
            profile = resolve_profile(case["profile"]["base"], case["profile"]["overrides"])
            assert all(isinstance(line, str) for line in explain(request, convert_responses_request(request, profile)))
