"""Rules of the request's conversion beyond the cases."""

import json
import re
from typing import Any

import pytest

from ccproxy_middleware.conversion.anthropic.names import ToolIds
from ccproxy_middleware.conversion.anthropic.signatures import encode_signature
from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.context import ConvertedRequest
from ccproxy_middleware.conversion.providers.profiles import resolve_profile
from ccproxy_middleware.toolkit.errors import ApiError
from support.steps import count_steps

PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": TOOL["input_schema"]}}

BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 31999}}


def convert(provider: str = "generic", options: dict[str, Any] | None = None, **fields: Any) -> ConvertedRequest:
    request = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **fields}
    return convert_request(request, resolve_profile(provider, options or {}))


def messages_of(messages: list[Any], provider: str = "generic", **options: Any) -> list[dict[str, Any]]:
    body = convert(provider, options, messages=messages).body
    converted: list[dict[str, Any]] = body["messages"]
    return converted


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": [text(b) if isinstance(b, str) else b for b in blocks]}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [text(b) if isinstance(b, str) else b for b in blocks]}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def call(id_: str, name: str = "f", input_: Any = None) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": name, "input": {} if input_ is None else input_}


def result(id_: str, content: Any = "ok", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_, "content": content, **more}


def refusal(**fields: Any) -> str:
    with pytest.raises(ApiError) as refused:
        convert(**fields)
    assert (refused.value.status, refused.value.type) == (400, "invalid_request_error")
    return refused.value.message


# Fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": 5}, "model: Input should be a valid string"),
        ({"messages": {}}, "messages: Input should be a valid list"),
        ({"messages": ["hi"]}, "messages.0: Input should be a valid dictionary"),
        ({"messages": [{"content": "x"}]}, "messages.0.role: Field required"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be 'user', 'assistant'"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Input should be a valid string or list"),
        ({"messages": [user({"text": "x"})]}, "messages.0.content.0.type: Field required"),
        ({"messages": [user({"type": "text", "text": 1})]}, "messages.0.content.0.text: Input should be a"),
        ({"messages": [user({"type": "hologram"})]}, "messages.0.content.0: unsupported block type 'hologram'"),
        ({"messages": [user(" ")]}, "messages: text content blocks must be non-empty"),
        ({"messages": [user(call("a"))]}, "messages.0.content.0: `tool_use` blocks can only be in `assistant`"),
        ({"messages": [user({"type": "container_upload", "file_id": "x"})]}, "messages.0.content.0: container_upload"),
        ({"messages": [user("x"), assistant(call("a")), user(result("a")), assistant(call("a")), user("y")]},
         "messages: `tool_use` ids must be unique"),
        ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
        ({"stream": "true"}, "stream: Input should be a valid boolean"),
        ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
        ({"top_p": -0.1}, "top_p: Input should be greater than or equal to 0"),
        ({"stop_sequences": ["\n"]}, "stop_sequences.0: each stop sequence must contain non-whitespace"),
        ({"stop_sequences": [1]}, "stop_sequences.0: Input should be a valid string"),
        ({"system": 3}, "system: Input should be a valid string or list"),
        ({"system": [PNG]}, "system.0: unsupported block type 'image'"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name: Field required"),
        ({"tools": [TOOL, {"name": "g"}]}, "tools.1.input_schema: Field required"),
        ({"tools": [{"name": "g", "input_schema": []}]}, "tools.0.input_schema: Input should be a valid dictionary"),
        ({"tools": [{"type": "teleport_2030", "name": "g"}]}, "tools.0: tool type 'teleport_2030' is not supported"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice.name: Tool 'g' not found"),
        ({"tools": [TOOL], "tool_choice": {"type": "maybe"}}, "tool_choice.type: Input should be"),
        ({"thinking": {"type": "sometimes"}}, "thinking.type: Input should be"),
        ({"thinking": "yes"}, "thinking: Input should be a valid dictionary"),
        ({"container": {"skills": [{}]}}, "container.skills: skills are not supported"),
        ({"compaction": {"x": 1}}, "compaction: not supported"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type: Input should be 'json_schema'"),
        ({"metadata": {"user_id": 4}}, "metadata.user_id: Input should be a valid string"),
    ],
)  # fmt: skip
def test_refusal_names_the_field_when_input_is_wrong(fields: dict[str, Any], message: str) -> None:
    assert refusal(**fields).startswith(message)


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_refusal_when_the_body_is_no_object(data: Any) -> None:
    with pytest.raises(ApiError, match="The request body is not valid JSON"):
        convert_request(data, resolve_profile("generic", {}))


def test_refusal_of_a_thread_tells_the_tool_runner_to_go_on_without() -> None:
    with pytest.raises(ApiError) as refused:
        convert(thread={"type": "create"})
    details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    assert refused.value.body("req_1")["error"]["details"] == details


@pytest.mark.parametrize(
    ("options", "asked", "sent", "clamped"),
    [
        ({}, 64000, 64000, None),
        ({"max_output": 4096}, 64000, 4096, 64000),
        ({"max_output": 4096}, 100, 100, None),
        ({"min_output": 256}, 100, 256, None),
        ({"min_output": 256, "max_output": 512}, 1000, 512, 1000),
    ],
)
def test_max_tokens_is_kept_within_the_limits(
    options: dict[str, Any], asked: int, sent: int, clamped: int | None
) -> None:
    request = convert("generic", options, max_tokens=asked)
    assert (request.body["max_tokens"], request.clamped_from) == (sent, clamped)


def test_counting_needs_no_max_tokens_and_takes_a_last_assistant_message() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert "max_tokens" not in convert_request(body, resolve_profile("generic", {}), counting=True).body


def test_extra_body_is_merged_last_and_one_level_deep() -> None:
    options = {"reasoning_style": "chat_template", "extra_body": {"chat_template_kwargs": {"x": 1}, "seed": 7}}
    body = convert("vllm", options, thinking={"type": "disabled"}).body
    assert body["chat_template_kwargs"] == {"enable_thinking": False, "x": 1}
    assert body["seed"] == 7


def test_prompt_cache_key_is_the_same_for_a_session_and_differs_between_sessions() -> None:
    def key(user_id: str) -> str:
        return str(
            convert("openai", {"prompt_cache_key": True}, metadata={"user_id": user_id}).body["prompt_cache_key"]
        )

    assert key("a") == key("a") != key("b")
    assert len(key("a")) == 64


# System prompt


def test_billing_header_is_dropped_from_a_system_string() -> None:
    body = convert(system="x-anthropic-billing-header: cc_version=1;\nBe brief.").body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_leading_system_messages_join_the_system_prompt() -> None:
    converted = messages_of([{"role": "system", "content": "b"}, user("x")])
    assert converted == [{"role": "system", "content": "b"}, {"role": "user", "content": "x"}]


def test_system_message_keeps_its_place_behind_tool_results() -> None:
    converted = messages_of([
        user("x"), assistant(call("a")), {"role": "system", "content": "note"}, user(result("a"), "and"),
        {"role": "system", "content": [text("late"), text("er")]},
    ])  # fmt: skip
    assert [m["role"] for m in converted] == ["user", "assistant", "tool", "user", "system"]
    assert converted[-1]["content"] == "note\n\nlate\n\ner"


def test_system_message_is_hoisted_where_the_profile_says_so() -> None:
    converted = messages_of([user("x"), {"role": "system", "content": "b"}], mid_system="hoist")
    assert converted == [{"role": "system", "content": "b"}, {"role": "user", "content": "x"}]


def test_system_prompt_goes_into_the_first_user_message_where_there_is_no_system_role() -> None:
    body = convert("generic", {"system_role": "user"}, system="Be brief.").body
    assert body["messages"] == [{"role": "user", "content": "Be brief.\n\nhi"}]


# Turns


def test_results_stand_directly_behind_their_calls_in_the_order_they_came() -> None:
    converted = messages_of(
        [user("x"), assistant(call("a"), call("b")), user("also", result("b", "2"), result("a", "1"))]
    )
    assert [(m["role"], m.get("tool_call_id")) for m in converted] == [
        ("user", None), ("assistant", None), ("tool", "b"), ("tool", "a"), ("user", None),
    ]  # fmt: skip
    assert converted[-1]["content"] == "also"


def test_calls_without_results_are_answered_at_the_end_of_the_conversation() -> None:
    converted = messages_of([user("x"), assistant("t", call("a"))])
    assert converted[-1] == {"role": "tool", "tool_call_id": "a", "content": "[no result]"}


def test_result_given_twice_becomes_text_the_second_time() -> None:
    converted = messages_of([user("x"), assistant(call("a")), user(result("a", "1"), result("a", "2"))])
    assert converted[-1] == {"role": "user", "content": "[result of an earlier tool call]\n2"}


def test_bridge_separates_tool_results_from_the_user() -> None:
    converted = messages_of([user("x"), assistant(call("aaaaaaaaa")), user(result("aaaaaaaaa"), "go")], "mistral")
    assert [m["role"] for m in converted] == ["user", "assistant", "tool", "assistant", "user"]


def test_everything_before_a_compaction_is_dropped() -> None:
    compaction = {"type": "compaction", "content": "We did A."}
    converted = messages_of([user("x"), assistant("y"), user("z"), assistant(compaction, "on"), user("w")])
    assert [m["content"] for m in converted] == ["Summary of the conversation so far:\nWe did A.", "on", "w"]


def test_failed_compaction_stands_for_nothing() -> None:
    converted = messages_of([user("x"), assistant({"type": "compaction", "content": None}, "y"), user("z")])
    assert [m["content"] for m in converted] == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("input_", "arguments"),
    [
        ({"q": "ü"}, '{"q":"ü"}'),
        ({"__unparsedToolInput": {"raw": "{", "len": 1}}, '{"__unparsedToolInput":{"raw":"{","len":1}}'),
        ('{"q": 1}', '{"q":1}'),
        ("no json", '{"_raw_arguments":"no json"}'),
        ([1, 2], '{"_raw_arguments":"[1,2]"}'),
        (None, "{}"),
    ],
)
def test_arguments_are_always_an_object(input_: Any, arguments: str) -> None:
    block = {"type": "tool_use", "id": "a", "name": "f", "input": input_}
    converted = messages_of([user("x"), assistant(block), user(result("a"))])
    assert converted[1]["tool_calls"][0]["function"]["arguments"] == arguments


def test_prefill_is_marked_for_providers_that_continue_it() -> None:
    converted = messages_of([user("x"), assistant("The answer")], prefill="prefix")
    assert converted[-1] == {"role": "assistant", "content": "The answer", "prefix": True}


# Content


def test_attachments_of_results_are_numbered_over_the_turn() -> None:
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
    converted = messages_of(
        [user("x"), assistant(call("a"), call("b")), user(result("a", [PNG, text("t")]), result("b", [PNG, pdf]))],
        pdf="file",
    )
    assert converted[2]["content"] == "[image 1]\n\nt"
    assert converted[3]["content"] == "[image 2]\n\n[document 1]"
    parts = converted[4]["content"]
    assert [part.get("text") or part["type"] for part in parts] == [
        "[image 1]", "image_url", "[image 2]", "image_url", "[document 1]", "file",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "tool", "last"),
    [
        ({"vision": False}, "[image omitted: this model does not accept images]", "tool"),
        ({"tool_images": "drop"}, "[image omitted]", "tool"),
        ({"tool_images": "tool_content"}, [text("[image 1]"), text("[image 1]"), PNG_PART], "tool"),
        ({"content_parts": False}, "[image omitted: this model does not accept images]", "tool"),
    ],
)
def test_image_in_a_result_by_profile(options: dict[str, Any], tool: Any, last: str) -> None:
    converted = messages_of([user("x"), assistant(call("a")), user(result("a", [PNG]))], **options)
    assert (converted[-1]["role"], converted[-1]["content"]) == (last, tool)


def test_failed_result_says_so_once() -> None:
    turns = [user("x"), assistant(call("a"), call("b"), call("c"))]
    results = user(
        result("a", "boom", is_error=True), result("b", "ERROR: no", is_error=True), result("c", "", is_error=True)
    )
    converted = messages_of([*turns, results])
    assert [m["content"] for m in converted[2:]] == ["Error: boom", "ERROR: no", "Error: (no output)"]


def test_image_by_url_is_refused_where_the_profile_says_so() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    message = refusal(options={"image_urls": "refuse"}, messages=[user(image)])
    assert message == "messages.0.content.0: an image by URL is not supported by this endpoint"


@pytest.mark.parametrize("source", [{"type": "url", "url": "https://e.x/a.pdf"}, {"type": "file", "file_id": "f"}])
def test_document_that_would_have_to_be_fetched_is_refused(source: dict[str, str]) -> None:
    message = refusal(messages=[user({"type": "document", "source": source})])
    assert message.startswith("messages.0.content.0: a document with a source of type")


def test_pdf_without_text_is_named_and_does_not_end_the_session() -> None:
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}
    assert messages_of([user(pdf)])[0]["content"] == "[document omitted: no text could be read from it]"


def test_cache_marks_pass_on_text_results_and_system() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    body = convert(
        "openrouter", {"cache_control": "pass"},
        system=[text("a"), {**text("b"), **mark}],
        messages=[user("x"), assistant(call("a")), user(result("a", "r", **mark))],
    ).body  # fmt: skip
    assert body["messages"][0]["content"] == [text("a"), {**text("b"), **mark}]
    assert body["messages"][-1]["content"] == [{**text("r"), **mark}]


def test_cache_breakpoints_take_openais_form() -> None:
    block = {**text("x"), "cache_control": {"type": "ephemeral"}}
    converted = messages_of([user(block)], "openai", cache_control="breakpoints")
    assert converted[0]["content"] == [{**text("x"), "prompt_cache_breakpoint": {"mode": "explicit"}}]


# Tools


def test_combination_at_the_top_of_a_schema_is_merged_and_told_in_the_description() -> None:
    schema = {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                        {"type": "object", "properties": {"b": {"type": "integer"}}}]}  # fmt: skip
    tools = convert(tools=[{"name": "f", "description": "d", "input_schema": schema}]).body["tools"]
    function = tools[0]["function"]
    assert function["parameters"] == {
        "type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
    }  # fmt: skip
    assert json.loads(function["description"].partition("Input schema: ")[2]) == schema


def test_schema_for_gemini_keeps_only_what_gemini_reads() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "default": {"type": ["string", "null"], "default": "x", "format": "uri"},
            "when": {"type": "string", "format": "date-time"},
            "kind": {"const": "a"},
            "n": {"type": "integer", "exclusiveMinimum": 0, "minimum": 1},
            "ref": {"$ref": "#/$defs/Point"},
            "either": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Point"}]},
        },
        "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "number"}}}},
    }
    point = {"type": "object", "properties": {"x": {"type": "number"}}}
    tools = convert("gemini", tools=[{"name": "f", "input_schema": schema}]).body["tools"]
    assert tools[0]["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "default": {
                "type": "string", "nullable": True, "description": 'JSON Schema: {"default":"x","format":"uri"}',
            },
            "when": {"type": "string", "format": "date-time"},
            "kind": {"enum": ["a"], "type": "string"},
            "n": {"type": "integer", "minimum": 1, "description": 'JSON Schema: {"exclusiveMinimum":0}'},
            "ref": point,
            "either": {"anyOf": [{"type": "string"}, point]},
        },
    }  # fmt: skip


def test_recursive_schema_for_gemini_comes_to_an_end() -> None:
    schema = {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}},
              "$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}}}  # fmt: skip
    assert len(json.dumps(convert("gemini", tools=[{"name": "f", "input_schema": schema}]).body)) < 2000


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("text_editor_20250728", "str_replace_based_edit_tool"), ("memory_20250818", "memory"),
        ("computer_20251124", "computer"),
    ],
)  # fmt: skip
def test_client_tool_gets_its_published_schema(kind: str, name: str) -> None:
    tool = {"type": kind, "name": name, "display_width_px": 800, "display_height_px": 600}
    function = convert(tools=[tool]).body["tools"][0]["function"]
    assert function["name"] == name
    assert function["description"]
    assert function["parameters"]["properties"]


def test_server_tool_is_left_out_where_the_profile_says_so() -> None:
    body = convert(
        "generic", {"server_tools": "drop"}, tools=[{"type": "web_search_20250305", "name": "web_search"}, TOOL]
    ).body
    assert body["tools"] == [FUNCTION]


WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search"}
ADVISOR = {"type": "advisor_20260301", "name": "advisor"}


@pytest.mark.parametrize("choice", [None, {"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "f"}])
def test_server_tool_beside_others_is_left_out_if_nothing_forces_it(choice: Any) -> None:
    more = {} if choice is None else {"tool_choice": choice}
    assert convert(tools=[WEB_SEARCH, TOOL], **more).body["tools"] == [FUNCTION]


@pytest.mark.parametrize(
    ("tools", "more", "where"),
    [
        ([WEB_SEARCH], {}, "tools.0"),
        ([WEB_SEARCH, {"type": "web_fetch_20250910", "name": "web_fetch"}], {}, "tools.0"),
        ([TOOL, WEB_SEARCH], {"tool_choice": {"type": "tool", "name": "web_search"}}, "tools.1"),
    ],
    ids=["alone", "two", "forced"],
)
def test_server_tool_that_is_alone_or_forced_is_refused_with_the_remedy(tools: Any, more: Any, where: str) -> None:
    message = refusal(tools=tools, **more)
    assert message.startswith(f"{where}: server tool 'web_search_20250305' is not supported by this endpoint: ")
    assert """PROVIDER_OPTIONS='{"server_tools": "drop"}'""" in message


@pytest.mark.parametrize("server_tools", ["refuse", "drop"])
def test_advisor_is_refused_in_the_words_on_which_claude_code_goes_on(server_tools: str) -> None:
    message = refusal(options={"server_tools": server_tools}, tools=[TOOL, ADVISOR])
    assert message.startswith("tools.1: Input tag 'advisor_20260301' found using 'type' does not match any of the")


def test_search_for_tools_by_the_server_sends_every_deferred_tool() -> None:
    search = {"type": "tool_search_tool_bm25_20251119", "name": "search"}
    assert convert(tools=[search, {**TOOL, "defer_loading": True}]).body["tools"] == [FUNCTION]


def test_tool_that_only_code_may_call_is_left_out() -> None:
    body = convert(tools=[TOOL, {**TOOL, "name": "g", "allowed_callers": ["code_execution_20260120"]}]).body
    assert body["tools"] == [FUNCTION]


def test_tool_changes_in_system_messages_are_applied() -> None:
    added = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {**TOOL, "name": "g"}}}
    removed = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "f"}}
    messages = [user("x"), {"role": "system", "content": [added, removed]}]
    body = convert(tools=[TOOL], messages=messages).body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
    assert [m["role"] for m in body["messages"]] == ["user"]


def test_long_and_illegal_names_agree_in_tools_choice_and_history() -> None:
    name = "mcp__server.with.dots__" + "x" * 60
    request = convert(
        tools=[{**TOOL, "name": name}],
        tool_choice={"type": "tool", "name": name},
        messages=[user("x"), assistant(call("a", name)), user(result("a"))],
    )
    body = request.body
    sent = body["tools"][0]["function"]["name"]
    assert len(sent) == 64
    assert "." not in sent
    assert body["tool_choice"]["function"]["name"] == sent
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == sent
    assert request.context.tool_names[sent] == name


# Reasoning


@pytest.mark.parametrize(
    ("provider", "options", "fields", "params"),
    [
        ("generic", {}, {"thinking": {"type": "enabled", "budget_tokens": 9000}}, {}),
        ("openai", {}, {"thinking": {"type": "adaptive"}}, {}),
        ("openai", {"adaptive_effort": "medium"}, {"thinking": {"type": "adaptive"}}, {"reasoning_effort": "medium"}),
        ("openai", {}, {"thinking": {"type": "between_tools"}}, {"reasoning_effort": "low"}),
        ("openai", {}, {"output_config": {"effort": "xhigh"}}, {"reasoning_effort": "xhigh"}),
        ("openai", {}, {"output_config": {"effort": "ultra"}}, {}),
        ("openai", {}, {"model": "gpt-4o", "output_config": {"effort": "high"}}, {}),
        ("openai", {}, {"model": "gpt-5.5", "tools": [TOOL]}, {"reasoning_effort": "none"}),
        ("openai", {}, {"model": "o3", "thinking": {"type": "disabled"}}, {}),
        ("deepseek", {}, {"thinking": {"type": "enabled", "budget_tokens": 32000}},
         {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
        ("deepseek", {}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"thinking": {"type": "enabled"}}),
        ("deepseek", {}, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        ("deepseek", {}, {"thinking": {"type": "adaptive"}, "tools": [TOOL], "tool_choice": {"type": "any"}},
         {"thinking": {"type": "disabled"}}),
        ("openrouter", {}, {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 2048}},
         {"reasoning": {"max_tokens": 2048}}),
        ("openrouter", {"max_output": 4096}, {"max_tokens": 32000, **BUDGET}, {"reasoning": {"max_tokens": 2048}}),
        ("openrouter", {"max_output": 1500}, {"max_tokens": 32000, **BUDGET}, {"reasoning": {"max_tokens": 1024}}),
        ("openrouter", {"max_output": 1024}, {"max_tokens": 32000, **BUDGET}, {}),
        ("openrouter", {}, {"output_config": {"effort": "low"}}, {"reasoning": {"effort": "low"}}),
        ("openrouter", {}, {"thinking": {"type": "disabled"}}, {"reasoning": {"enabled": False}}),
        ("together", {}, {"thinking": {"type": "adaptive"}}, {"reasoning": {"enabled": True}}),
        ("z.ai", {}, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        ("vllm", {"reasoning_style": "chat_template"}, {"model": "deepseek-v3.1", "thinking": {"type": "adaptive"}},
         {"chat_template_kwargs": {"thinking": True}}),
        ("groq", {}, {"model": "openai/gpt-oss-120b", "output_config": {"effort": "max"}},
         {"reasoning_effort": "high", "reasoning_format": "parsed"}),
        ("gemini", {"reasoning_style": "gemini"},
         {"model": "gemini-2.5-flash", "max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 2000}},
         {"extra_body": {"google": {"thinking_config": {"include_thoughts": True, "thinking_budget": 2000}}}}),
        ("gemini", {"reasoning_style": "gemini"}, {"model": "gemini-3-pro", "output_config": {"effort": "high"}},
         {"extra_body": {"google": {"thinking_config": {"include_thoughts": True, "thinking_level": "high"}}}}),
        ("openai", {"tools_with_effort": "drop"}, {"tools": [TOOL], "output_config": {"effort": "high"}}, {}),
        ("generic", {"reasoning_style": "none"}, {"thinking": {"type": "adaptive"}}, {}),
    ],
)  # fmt: skip
def test_reasoning_parameters(
    provider: str, options: dict[str, Any], fields: dict[str, Any], params: dict[str, Any]
) -> None:
    body = convert(provider, options, **fields).body
    known = ("reasoning_effort", "reasoning", "thinking", "chat_template_kwargs", "extra_body", "reasoning_format")
    assert {key: body[key] for key in known if key in body} == params


def test_effort_of_a_system_message_wins() -> None:
    messages = [user("x"), {"role": "system", "content": "n", "output_config": {"effort": "low"}}]
    body = convert("openai", messages=messages, output_config={"effort": "high"}).body
    assert body["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    ("provider", "blocks", "field", "value"),
    [
        ("deepseek", [{"type": "thinking", "thinking": "hm", "signature": "foreign"}], "reasoning_content", "hm"),
        ("deepseek", [], "reasoning_content", ""),
        ("openrouter", [{"type": "thinking", "thinking": "", "signature": "$E"}], "reasoning_details", [{"d": 1}]),
        ("openrouter", [{"type": "redacted_thinking", "data": "$E"}], "reasoning_details", [{"d": 1}]),
        ("generic", [{"type": "thinking", "thinking": "hm", "signature": "$E"}], "reasoning_content", None),
    ],
)
def test_provider_state_goes_back_with_the_turn(provider: str, blocks: list[Any], field: str, value: Any) -> None:
    envelope = encode_signature({"p": provider, "details": [{"d": 1}]})
    blocks = [{key: envelope if v == "$E" else v for key, v in block.items()} for block in blocks]
    converted = messages_of([user("x"), assistant(*blocks, call("a")), user(result("a"))], provider)
    assert converted[1].get(field) == value


def test_gemini_call_without_signature_gets_the_skip_value() -> None:
    converted = messages_of([user("x"), assistant(call("a")), user(result("a"))], "gemini")
    extra = converted[1]["tool_calls"][0]["extra_content"]
    assert extra == {"google": {"thought_signature": "skip_thought_signature_validator"}}


@pytest.mark.parametrize(
    ("thinking", "options", "shown"),
    [
        (None, {}, "off"),
        ({"type": "disabled"}, {}, "off"),
        ({"type": "adaptive"}, {}, "show"),
        ({"type": "adaptive", "display": "omitted"}, {}, "omit"),
        ({"type": "between_tools"}, {}, "show"),
        (None, {"emit_thinking": "on"}, "show"),
        ({"type": "adaptive"}, {"emit_thinking": "off"}, "off"),
    ],
)
def test_thinking_is_shown_where_it_was_asked_for(thinking: Any, options: dict[str, Any], shown: str) -> None:
    fields = {} if thinking is None else {"thinking": thinking}
    assert convert("generic", options, **fields).context.thinking == shown


# Structured output


def test_schema_goes_into_the_prompt_where_the_provider_only_knows_json_mode() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    body = convert("deepseek", output_config={"format": {"type": "json_schema", "schema": schema}}, system="s").body
    assert body["response_format"] == {"type": "json_object"}
    system = body["messages"][0]["content"]
    assert system.startswith("s\n\n")
    assert "JSON" in system
    assert json.dumps(schema, separators=(",", ":")) in system


def test_older_output_format_is_the_same() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    body = convert(output_format={"type": "json_schema", "schema": schema}).body
    assert body["response_format"]["json_schema"] == {"name": "response", "schema": schema, "strict": True}


def test_schema_outside_the_strict_subset_is_not_sent_as_strict() -> None:
    body = convert(output_format={"type": "json_schema", "schema": {"type": "object"}}).body
    assert "strict" not in body["response_format"]["json_schema"]


# Order and stability


def test_context_remembers_what_the_answer_needs() -> None:
    request = convert(
        "openai", {"stop_limit": 1}, stop_sequences=["A", "B"], tools=[TOOL],
        messages=[user("x"), assistant(call("a")), user(result("a"))],
    )  # fmt: skip
    context = request.context
    assert request.body["stop"] == ["A"]
    assert (context.stop_sequences, context.local_stops) == (("A", "B"), ("B",))
    assert context.used_tool_ids == {"a"}
    assert context.tools == {"f"}
    assert context.estimate_input() > 0


def test_conversion_leaves_the_request_as_it_was() -> None:
    request = {
        "model": "m", "max_tokens": 5, "system": "s", "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "messages": [user("x"), assistant(call("a")), user(result("a", [PNG]))],
    }  # fmt: skip
    before = json.dumps(request)
    for provider in ("generic", "gemini", "mistral", "openrouter"):
        convert_request(request, resolve_profile(provider, {}))
    assert json.dumps(request) == before


# System messages, billing, results


def test_results_of_parallel_calls_stay_with_their_calls_when_a_system_message_stands_between() -> None:
    messages = [
        user("x"),
        assistant(call("a"), call("b"), call("c")),
        user(result("a", "RA")),
        {"role": "system", "content": "one"},
        user(result("b", "RB")),
        {"role": "system", "content": "two"},
        user(result("c", "RC"), "go on"),
        {"role": "system", "content": "three"},
    ]
    converted = messages_of(messages)[2:]
    assert [(m["role"], m["content"]) for m in converted] == [
        ("tool", "RA"),
        ("tool", "RB"),
        ("tool", "RC"),
        ("user", "go on"),
        ("system", "one\n\ntwo\n\nthree"),
    ]


def test_system_message_between_user_messages_keeps_its_place() -> None:
    messages = [user("a"), {"role": "system", "content": "s"}, user("b"), assistant("c"), user("d")]
    assert [m["role"] for m in messages_of(messages)] == ["user", "system", "user", "assistant", "user"]


BILLING = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli;"


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ([text(BILLING), text("You are.")], "You are."),
        ([text("You are."), text(BILLING)], "You are."),
        ([text("a"), text(BILLING + "\n"), text("b")], "a\n\nb"),
        ([text(BILLING + "\nYou are.")], "You are."),
        (BILLING + "\nYou are.", "You are."),
        ("You are.\n" + BILLING, "You are.\n"),
        ("a\n" + BILLING + "\nb", "a\nb"),
        ("About the x-anthropic-billing-header.", "About the x-anthropic-billing-header."),
    ],
)
def test_billing_header_is_left_out_wherever_it_stands(system: Any, expected: str) -> None:
    assert convert(system=system).body["messages"][0] == {"role": "system", "content": expected}
    late = [user("x"), {"role": "system", "content": system}]
    assert messages_of(late)[1] == {"role": "system", "content": expected}


def test_system_message_that_is_all_billing_goes() -> None:
    assert [m["role"] for m in messages_of([user("x"), {"role": "system", "content": BILLING}])] == ["user"]
    assert "system" not in [m["role"] for m in convert(system=BILLING).body["messages"]]


# Limits


def test_name_of_a_model_is_limited() -> None:
    assert convert(model="m" * 1000).body["model"] == "m" * 1000
    assert refusal(model="m" * 1001) == "model: String should have at most 1000 characters"


def test_stop_sequences_are_limited() -> None:
    assert len(convert(stop_sequences=[str(n) for n in range(1000)]).context.local_stops) == 996
    assert "at most 8191 items" in refusal(stop_sequences=["x"] * 8192)
    assert "over 32768 characters" in refusal(stop_sequences=["a", "b", "c", "d", "x" * 32769])


def history(kind: str, n: int) -> dict[str, Any]:
    match kind:
        case "user messages":
            return {"messages": [user("a")] * n}
        case "assistant messages":
            return {"messages": [user("q"), *[assistant("a")] * n, user("q")]}
        case "system messages":
            return {"messages": [*[{"role": "system", "content": "s"}] * n, user("q")]}
        case "late system messages":
            return {"messages": [user("q"), *[{"role": "system", "content": "s"}, user("r")] * n]}
        case "assistant texts":
            return {"messages": [user("q"), assistant(*["a" * 34] * n), user("q")]}
        case "user texts":
            return {"messages": [user(*["a"] * n)]}
        case "texts of a document":
            source = {"type": "content", "content": [text("a")] * n}
            return {"messages": [user({"type": "document", "source": source})]}
        case "calls and results":
            calls = [call(f"c{i}") for i in range(n)]
            return {"messages": [user("q"), assistant(*calls), user(*[result(f"c{i}") for i in range(n)])]}
        case "results with a system message between":
            calls = [call(f"c{i}") for i in range(n)]
            results = [m for i in range(n) for m in (user(result(f"c{i}")), {"role": "system", "content": "s"})]
            return {"messages": [user("q"), assistant(*calls), *results]}
        case "stop sequences":
            return {"stop_sequences": [f"{i:04d}" for i in range(n)]}
        case _:
            tools = [{**TOOL, "name": f"f{i}"} for i in range(n)]
            return {"tools": tools, "messages": [user("q")]}


@pytest.mark.parametrize(
    "kind",
    [
        "user messages",
        "assistant messages",
        "system messages",
        "late system messages",
        "assistant texts",
        "user texts",
        "texts of a document",
        "calls and results",
        "results with a system message between",
        "stop sequences",
        "tools",
    ],
)
def test_conversion_takes_time_in_proportion_to_the_request(kind: str) -> None:
    few, many = history(kind, 500), history(kind, 1000)
    assert count_steps(lambda: convert(**many)) < 2.5 * count_steps(lambda: convert(**few))


# Reasoning that goes back, Kimi's ids


def thought(words: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": encode_signature({"p": "vllm"})}


LOOP = [
    user("one"),
    assistant(thought("old"), call("a")),
    user(result("a")),
    assistant(thought("done"), "answer"),
    user("two"),
    assistant(thought("new"), call("b")),
    user(result("b"), "<system-reminder>x</system-reminder>"),
    assistant(call("c")),
    user(result("c")),
]


@pytest.mark.parametrize(
    ("provider", "name"), [("vllm", "reasoning"), ("ollama", "reasoning"), ("llama.cpp", "reasoning_content")]
)
def test_thinking_of_an_open_tool_loop_goes_back_to_servers_whose_templates_use_it(provider: str, name: str) -> None:
    converted = messages_of(LOOP, provider)
    assert [m.get(name) for m in converted if m["role"] == "assistant"] == [None, None, "new", None]
    assert all(name not in m for m in messages_of([*LOOP, assistant("end"), user("three")], provider))


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        ({"type": "disabled"}, {"reasoning_effort": "none"}),
        ({"type": "enabled", "budget_tokens": 2000}, {"reasoning_effort": "low"}),
        (None, {}),
    ],
)
def test_ollama_is_told_how_to_think(thinking: Any, expected: dict[str, Any]) -> None:
    body = convert("ollama", thinking=thinking).body
    assert {name: value for name, value in body.items() if "reasoning" in name} == expected


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        ({"type": "disabled"}, {"reasoning_effort": "none", "reasoning_format": "parsed"}),
        ({"type": "enabled", "budget_tokens": 2000}, {"reasoning_format": "parsed"}),
        ({"type": "adaptive"}, {"reasoning_format": "parsed"}),
        (None, {"reasoning_format": "parsed"}),
    ],
)
def test_groqs_qwen_keeps_its_thinking_out_of_the_text(thinking: Any, expected: dict[str, Any]) -> None:
    body = convert("groq", model="qwen/qwen3-32b", thinking=thinking).body
    assert {name: value for name, value in body.items() if name.startswith("reason")} == expected
    assert not [name for name in convert("groq", model="llama-3.3-70b").body if name.startswith("reason")]


@pytest.mark.parametrize(("provider", "model"), [("moonshot", "kimi-k2"), ("vllm", "moonshotai/Kimi-K2-Instruct")])
def test_kimi_gets_its_own_ids_back(provider: str, model: str) -> None:
    context = convert(provider, model=model, tools=[TOOL]).context
    ids = ToolIds(context)
    first, second = ids.claim("functions.f:0"), ids.claim("functions.f:1")
    assert re.fullmatch("[A-Za-z0-9_-]{1,64}", first)
    assert first != second
    history = [user("x"), assistant(call(first), call(second)), user(result(second), result(first))]
    messages = convert(provider, model=model, messages=history).body["messages"]
    assert [c["id"] for c in messages[1]["tool_calls"]] == ["functions.f:0", "functions.f:1"]
    assert [m["tool_call_id"] for m in messages[2:]] == ["functions.f:1", "functions.f:0"]
    assert messages_of(history, "openai")[1]["tool_calls"][0]["id"] == first


def test_structured_output_is_refused_in_the_words_on_which_claude_code_goes_on() -> None:
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    message = refusal(options={"structured_output": "refuse"}, output_config={"format": schema})
    assert message.startswith("output_config.format: Extra inputs are not permitted")


def test_unknown_tool_change_is_refused_in_anthropics_words() -> None:
    added = {"type": "tool_addition", "tool": {"type": "tool_rumour", "name": "f"}}
    message = refusal(messages=[user("x"), {"role": "system", "content": [added]}], tools=[TOOL])
    assert message.startswith("messages.1.content.0.tool: Input tag 'tool_rumour' found using 'type' does not match")
