"""What refusals of Responses requests teach: the rules of chat completions, and those of fields of its own."""

import json
from typing import Any

import pytest

from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers import LearnedProfiles
from ccproxy_middleware.conversion.providers.tool_limit import TOOL_LIMIT_REMEDY
from ccproxy_middleware.conversion.responses import (
    convert_responses_request,
    error_of_http,
    error_of_response,
    find_responses_correction,
)
from support.providers.openai_rules import error_body
from support.providers.refusals import BASE, MODEL, Case


def image(media_type: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": "iVBORw0KGgo="}}


def said(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


TEXT = {"type": "text", "text": "What is this?"}
REMOTE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
TOOL = {"name": "Bash", "description": "d" * 2000, "input_schema": {"type": "object", "properties": {}}}
STRICT = {
    **TOOL,
    "strict": True,
    "input_schema": {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
}
USE = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.txt"}
HI = {"role": "user", "content": "hi"}

ONE = {"messages": [said(image(), TEXT)]}
MANY = {"messages": [said(*[image()] * 60, TEXT)]}
WEBP = {"messages": [said(image("image/webp"), image(), TEXT)]}
BY_URL = {"messages": [said(REMOTE, TEXT)]}
IN_RESULT = {"messages": [HI, said(USE, role="assistant"), said({**RESULT, "content": [image()]})]}
LATE = {"messages": [HI, {"role": "assistant", "content": "Hi."}, {"role": "system", "content": "Be kind."}, HI]}
LOOP = {"messages": [HI, said(USE, role="assistant"), said(RESULT, TEXT)], "tools": [TOOL]}
GONE = {"messages": LOOP["messages"]}
ASSISTANT_FIRST = {"messages": LOOP["messages"][1:], "tools": [TOOL]}
TOOLS = {"tools": [TOOL]}
ODD = {"tools": [{**TOOL, "input_schema": {"type": "object", "properties": {"a": {"const": 1}}}}]}
FORCED = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "Bash"}}
ONE_BY_ONE = {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
FORMAT = {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}
SAMPLED = {"temperature": 0.5}
CALLER = {"metadata": {"user_id": "u"}}
EFFORT = {"output_config": {"effort": "max"}}
THINKING = {"thinking": {"type": "adaptive"}, **EFFORT}

KINDS: dict[str, tuple[Any, dict[str, Any], list[str]]] = {  # what is learned, of which request, in which words
    "vision": ({"vision": False}, ONE, [
        "Invalid value: 'input_image'. Supported values are: 'input_text'.",
        "This model does not support image inputs.",
        "input_image is not supported by this model", "unknown variant `input_image`, expected `input_text`",
        "当前模型不支持图片输入",
    ]),
    "count": ({"images_max": 10}, MANY, [
        "Too many images in request. Max is 10.", "At most 10 image(s) may be provided in one request.",
        "The maximum number of images is 10, got 60",
    ]),
    "format": ({"image_formats": ("png", "jpeg", "gif")}, WEBP, [
        "You uploaded an unsupported image. Please make sure your image has one of the following formats: ['png', "
        "'jpeg', 'gif'].", "Unsupported image format. Supported formats: png, jpeg, gif",
        "image format is not supported, only png, jpeg and gif are allowed",
    ]),
    "url": ({"image_urls": "drop"}, BY_URL, [
        "Failed to download image from https://example.com/a.png.", "Remote image urls are not supported",
        "image_url must be base64 encoded",
    ]),
    "unreadable": ({"images_max": 1}, MANY, [
        "The image data you provided does not represent a valid image.", "Could not process image",
        "Invalid image: image 3 is corrupt",
    ]),
    "unreadable alone": ({"vision": False}, ONE, [
        "The image data you provided does not represent a valid image.", "Could not process image", "Invalid image.",
    ]),
    "in results": ({"tool_output_parts": False}, IN_RESULT, [
        "Images are not supported in tool outputs", "tool messages cannot contain image content",
        "input[2].output: Input should be a valid string",
    ]),
    "developer": ({"mid_system": "user"}, LATE, [
        "Invalid value: 'developer'. Supported values are: 'assistant', 'system' and 'user'.",
        "'developer' is not one of ['system', 'assistant', 'user']", "Unexpected message role.",
        "System message must be at the beginning.", "Conversation roles must alternate user/assistant/user/assistant",
    ]),
    "user first": ({"first_user": True}, ASSISTANT_FIRST, [
        "No user query found in messages.", "A conversation must start with a user message.",
        "Please ensure that function call turn comes immediately after a user turn or after a function response turn.",
    ]),
    "user after result": ({"bridge_after_tool": True}, LOOP, [
        "Unexpected role 'user' after role 'tool'", "After the system message, roles must alternate",
        "messages: roles should be alternating",
    ]),
    "lists": ({"content_parts": False}, {}, [
        "input.0.content: Input should be a valid string", "can only concatenate str (not \"list\") to str",
        "invalid type: sequence, expected a string",
    ]),
    "sampling": ({"sampling": "drop"}, SAMPLED, [
        "Unsupported parameter: 'temperature' is not supported with this model.",
        "temperature must be 1 for this model", "Model does not support parameter temperature",
    ]),
    "user": ({"user_field": "none"}, CALLER, [
        "Unknown parameter: 'safety_identifier'.", "safety_identifier: Extra inputs are not permitted",
        "json: unknown field \"safety_identifier\"",
    ]),
    "service tier": ({"service_tier": "drop"}, {"service_tier": "auto"}, [
        "Unknown parameter: 'service_tier'.", "property 'service_tier' is unsupported",
        "不支持的参数: service_tier",
    ]),
    "parallel": ({"parallel_flag": False}, ONE_BY_ONE, [
        "Unsupported parameter: 'parallel_tool_calls'.", "Unrecognized request argument supplied: parallel_tool_calls",
        "parallel_tool_calls is not supported",
    ]),
    "limit": ({"max_output": 32_000}, {}, [
        "max_output_tokens is too large: 64000. This model supports at most 32000 completion tokens.",
        "max_output_tokens: Input should be less than or equal to 32000",
        "max_output_tokens must be between 1 and 32000",
    ]),
    "effort": ({"efforts": ("low", "medium", "high"), "effort_off": "low"}, EFFORT, [
        "Unsupported value: 'max' is not supported with the 'some-model' model. Supported values are: 'low', 'medium', "
        "and 'high'.", "reasoning.effort must be one of low, medium, high",
        "Invalid reasoning value: 'max'. Supported values are: low, medium, high",
    ]),
    "no effort": ({"efforts": ()}, EFFORT, [
        "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
        "Unknown parameter: 'reasoning.effort'.", "reasoning_effort is not supported by this model",
    ]),
    "no reasoning": ({"reasoning_style": "none"}, EFFORT, [
        "Unsupported parameter: 'reasoning' is not supported with this model.",
        "reasoning: Extra inputs are not permitted",
        "some-model does not support thinking",
    ]),
    "summary": ({"reasoning_summary": "drop"}, THINKING, [
        "Your organization must be verified to generate reasoning summaries.",
        "Unsupported parameter: 'reasoning.summary' is not supported with this model.",
        "Unknown parameter: 'reasoning.summary'.",
    ]),
    "include": ({"encrypted_reasoning": False}, EFFORT, [
        "Encrypted content is not supported with this model.", "Unknown parameter: 'include'.",
        "'reasoning.encrypted_content' is not a valid value",
    ]),
    "obfuscation": ({"obfuscation": "default"}, {"stream": True}, [
        "Unknown parameter: 'stream_options.include_obfuscation'.", "stream_options: Extra inputs are not permitted",
        "Unsupported parameter: 'stream_options'.",
    ]),
    "no stream": ({"streaming": "never"}, {"stream": True}, [
        "This model does not support streaming.", "streaming is not supported", "'stream' does not support true",
    ]),
    "only streams": ({"streaming": "always"}, {}, [
        "This model only supports streaming", "stream must be set to true", "non-streaming is not supported",
    ]),
    "choice": ({"forced_tool_choice": False}, FORCED, [
        "Unsupported parameter: 'tool_choice'.", "tool_choice only supports auto", "forced tool use is not supported",
    ]),
    "choice by name": ({"tool_choice_object": False}, FORCED, [
        "Invalid tool_choice type: 'object'. Supported string values: none, auto, required",
        "tool_choice must be a string", "tool_choice: invalid type: map, expected a string",
    ]),
    "strict": ({"strict_tools": False}, {"tools": [STRICT]}, [
        "'strict' mode on function call is currently not supported", "tools.0.strict: Extra inputs are not permitted",
        "Unknown parameter: 'tools[0].strict'.",
    ]),
    "schema": ({"schema_dialect": "gemini"}, ODD, [
        "Invalid schema for function 'Bash': nothing is right.", "invalid schema for function Bash",
        "Unknown name \"$ref\" at 'tools[0].parameters': Cannot find field.",
    ]),
    "description": ({"tool_description_max": 1024}, TOOLS, [
        "Invalid 'tools[0].description': string too long. Expected a string with maximum length 1024, but got 2000.",
        "tools.0.description: String should have at most 1024 characters", "tool description exceeds limit 1024",
    ]),
    "unoffered": ({"unoffered_calls": "text"}, GONE, [
        "attempted to call tool 'Bash' which was not in request.tools", "Tool 'Bash' not found", "Unknown tool: Bash",
    ]),
    "text format": ({"structured_output": "json_object"}, FORMAT, [
        "Unsupported parameter: 'text.format' is not supported with this model.",
        "Invalid parameter: 'text.format' of type 'json_schema' is not supported with this model.",
        "response_format 'json_schema' is not supported", "Invalid schema for text.format 'response': no",
    ]),
}  # fmt: skip
CASES = [
    Case(f"{kind} {n}", "", words, patch, request, "openai")
    for kind, (patch, request, wordings) in KINDS.items()
    for n, words in enumerate(wordings)
]


def convert(case: Case, patch: dict[str, Any] | None = None) -> dict[str, Any]:
    profile = LearnedProfiles(case.profile).get(MODEL, patch or {})
    return convert_responses_request({**BASE, **case.request}, profile).body


def find(case: Case) -> dict[str, Any] | None:
    return find_responses_correction(case.status, case.raw, convert(case), case.profile)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refusal_changes_the_request(case: Case) -> None:
    found = find(case)
    assert found == case.patch
    assert convert(case, found) != convert(case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refusal_of_what_was_not_sent_teaches_nothing(case: Case) -> None:
    if case.name.startswith(("lists", "only streams", "no stream")):  # these are about any request
        return
    assert find(Case("", "", case.body, {}, {"max_tokens": 100})) is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_content_of_one_request_has_caused_is_not_remembered(case: Case) -> None:
    found = find_responses_correction(case.status, case.raw, convert(case), case.profile)
    assert found is not None
    of_content = case.name.startswith("unreadable") or "nvalid schema" in str(case.body) or "download" in str(case.body)
    assert found.lasting is not of_content


@pytest.mark.parametrize(
    "words",
    [
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "Unsupported parameter: 'stop' is not supported with this model.",
    ],
)
def test_refusal_of_what_only_chat_completions_have_teaches_nothing(words: str) -> None:
    request = {**FORCED, **EFFORT, "system": "s", "stop_sequences": ["a"]}
    assert find(Case("", "", words, {}, request, "openai")) is None


@pytest.mark.parametrize(
    "words",
    [
        "unknown variant `input_file`, expected `input_text`",
        "File inputs are not supported",
        "This model does not support PDF",
    ],
)
def test_refused_document_is_sent_as_its_text(words: str) -> None:
    assert find(Case("", "", words, {}, {"messages": [said(PDF, TEXT)]}, "openai")) == {"pdf": "text"}


@pytest.mark.parametrize("status", [400, 404, 422, 429, 500])
def test_words_of_a_refusal_count_and_not_its_status(status: int) -> None:
    words = "This model does not support image inputs."
    assert find(Case("", "", words, {}, ONE, "openai", status=status)) == {"vision": False}


@pytest.mark.parametrize("kind", ["count", "sampling", "developer"])
def test_overflow_or_rate_beside_the_words_teaches_nothing(kind: str) -> None:
    _, request, wordings = KINDS[kind]
    body = error_body(wordings[0], code="rate_limit_exceeded")
    assert find(Case("", "", body, {}, request, "openai", status=429)) is None


TOO_MANY_TOOLS = [
    "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 325.",
    "Too many tools: 150",
    "The number of tools (150) exceeds the limit 128",
]


@pytest.mark.parametrize("message", TOO_MANY_TOOLS)
def test_remedy_is_told_where_there_are_too_many_tools(message: str) -> None:
    profile = Case("", "", "", {}, {}, "openai").profile
    body = error_body(message, code="array_above_max_length")
    context = Context(model="m", profile=profile)
    errors = [
        error_of_http(400, [], json.dumps(body).encode(), profile, max_tokens=None),
        error_of_response({"code": "invalid_request_error", "message": message}, context),
        error_of_response({"code": "array_above_max_length", "message": message}, context),
    ]
    assert [error.status for error in errors] == [400, 400, 502]
    assert {error.message for error in errors} == {f"{message} {TOOL_LIMIT_REMEDY}"}
