"""Refusals of parameters in a general form: many ways to say it, of any parameter, with any status."""

from typing import Any

import pytest

from ccproxy_middleware.conversion.providers.corrections import Correction, what_helped
from support.providers.openai_rules import error_body
from support.providers.refusals import Case, convert, find, find_whole

TOOL = {"name": "lookup", "description": "Look it up.", "input_schema": {"type": "object", "properties": {}}}
EVERYTHING: dict[str, Any] = {
    "stream": True, "temperature": 0.2, "top_p": 0.9, "top_k": 5, "stop_sequences": ["END"], "tools": [TOOL],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}, "metadata": {"user_id": "u"},
    "output_config": {"effort": "high"}, "service_tier": "auto",
}  # fmt: skip
OPTIONS = {
    "top_k": "pass", "user_field": "user", "prompt_cache_key": True, "service_tier": "pass",
    "efforts": ["low", "medium", "high"],
}  # fmt: skip
PARAMETERS: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_tokens_field": "max_completion_tokens"}, "temperature": {"sampling": "drop"},
    "top_k": {"top_k": "drop"}, "stop": {"stop_limit": 0}, "stream_options": {"stream_usage": False},
    "parallel_tool_calls": {"parallel_flag": False}, "reasoning_effort": {"efforts": ()},
    "prompt_cache_key": {"prompt_cache_key": False}, "service_tier": {"service_tier": "drop"},
    "user": {"user_field": "none"},
}  # fmt: skip

# The words, and the thread that quotes them of one parameter or another.
WORDINGS = [
    ("Validation: Unsupported parameter(s): `{}`", ""),
    ("Unsupported parameter(s): `n`, `{}`", ""),
    ("Parameter '{}' is immutable for kimi_k25 and must be 1.0 (thinking mode). Got 0.6.", "anomalyco/opencode#11134"),
    ("AsyncCompletions.create() got an unexpected keyword argument '{}'", "langbot-app/LangBot#828"),
    ("body -> {}\n  Extra inputs are not permitted (type=extra_forbidden)", "NVIDIA/garak#748"),
    ("[{{'type': 'extra_forbidden', 'loc': ('body', '{}'), 'msg': 'Extra inputs are not permitted', 'input': 800}}]",
     "1Panel-dev/MaxKB#2912"),
    ("1 validation error for ChatCompletionRequest\n{}\n  Extra inputs are not permitted [type=extra_forbidden]",
     "runpod-workers/worker-vllm#85"),
    ("Error in `{0}`: `{0}` is not supported for this model", "huggingface/chat-ui#296"),
    ('{{"error":{{"message":"Unsupported parameter: \'{}\' is not supported with this model.",'
     '"type":"invalid_request_error"}}}}', "musistudio/claude-code-router#948"),
    ("Unknown parameter: '{}'.", "openai/openai-python#1492"),
    ("Unrecognized request argument supplied: {}", "songquanpeng/one-api#1423"),
    ('json: unknown field "{}"', ""),
    ("Additional properties are not allowed ('{}' was unexpected)", ""),
    ("Additional properties are not allowed ('n', '{}' were unexpected)", ""),
    ("Unrecognized key(s) in object: '{}'", ""),
    ("The parameter '{}' is not supported by this model", ""),
    ("parameter `{}` is not allowed", ""),
    ("This model does not support the `{}` parameter", ""),
    ("This endpoint doesn't accept parameter '{}'", ""),
    ("Invalid request: unknown parameter `{}`", ""),
    ("Unsupported field `{}`", ""),
    ("{}: unknown field", ""),
    ("{} is an unknown parameter", ""),
    ("'{}' not supported", ""),
    ("{} cannot be set for this model", ""),
    ("You cannot specify `{}` with this model", ""),
    ("The `{}` parameter is deprecated for this model", ""),
    ("非法参数: {}", ""),
    ("{} 参数无效，该模型不支持", ""),
    ("`{}` is not supported", ""),
    ("{} is not supported by reasoning models", ""),
    ("The parameter `{}` specified in the request is not valid: not supported by this model", ""),
    ("不支持的参数: {}", ""),
    ("参数 {} 不支持", ""),
    ("当前模型不支持 {} 参数", ""),
]  # fmt: skip


@pytest.mark.parametrize("parameter", PARAMETERS)
@pytest.mark.parametrize("wording", [wording for wording, _ in WORDINGS])
def test_parameter_is_left_out_when_it_is_refused_in_any_of_many_words(wording: str, parameter: str) -> None:
    case = Case("", "", wording.format(parameter), PARAMETERS[parameter], EVERYTHING, options=OPTIONS)
    correction = find_whole(case)
    assert correction == case.patch
    assert correction.lasting


@pytest.mark.parametrize("status", [400, 402, 404, 409, 413, 422, 429, 500])
def test_words_count_and_not_the_status(status: int) -> None:
    case = Case("", "", "Unsupported parameter(s): `temperature`", {}, EVERYTHING, status=status)
    assert find(case) == {"sampling": "drop"}


@pytest.mark.parametrize("status", [200, 302, 502, 503, 529])
def test_other_statuses_teach_nothing(status: int) -> None:
    assert find(Case("", "", "Unsupported parameter(s): `temperature`", {}, EVERYTHING, status=status)) is None


@pytest.mark.parametrize("type_", ["rix_api_error", "rate_limit_error", "billing_error", "insufficient_quota", None])
@pytest.mark.parametrize("status", [402, 429, 500])
def test_refusal_inside_the_error_of_a_relay_counts(status: int, type_: str | None) -> None:
    inner = (
        '{"type":"error","error":{"type":"invalid_request_error","message":"`temperature` and `top_p` cannot both be '
        'specified for this model. Please use only one."},"request_id":"req_1"}（traceid: b7）'
    )
    correction = find_whole(Case("", "", {"error": {"message": inner, "type": type_}}, {}, EVERYTHING, status=status))
    assert (correction, correction.lasting) == ({"sampling": "drop"}, False)


@pytest.mark.parametrize("parameter", [name for name in PARAMETERS if "_" in name])
@pytest.mark.parametrize(
    "wording", ["{} unsupported", "This model does not support {}", "Model m does not support {}.", "{} not permitted"]
)
def test_name_that_is_no_plain_word_needs_no_quotes(wording: str, parameter: str) -> None:
    case = Case("", "", wording.format(parameter), PARAMETERS[parameter], EVERYTHING, options=OPTIONS)
    assert find(case) == case.patch


REALLY_ELSE = [
    "'{0}' must be at most 1", "Invalid '{0}': expected a number, but got a string", "{0}: Field required",
    "Invalid value for {0}: 2. Must be between 0 and 1", "`{0}` and `n` are mutually exclusive",
    "Rate limit reached: set a lower {0} or wait", "The {0} you gave is too long",
    "You exceeded your current quota; {0} is counted", "{0} above 1 is not supported", "{0} 超过最大值",
    "{0} 不支持大于 2 的值", "The service is unavailable, {0} was not read",
]  # fmt: skip


@pytest.mark.parametrize("parameter", PARAMETERS)
@pytest.mark.parametrize("wording", REALLY_ELSE)
@pytest.mark.parametrize("status", [400, 429, 500])
def test_words_that_refuse_a_value_or_something_else_switch_nothing_off(
    wording: str, parameter: str, status: int
) -> None:
    assert find(Case("", "", wording.format(parameter), {}, EVERYTHING, options=OPTIONS, status=status)) is None


@pytest.mark.parametrize(
    "body",
    [
        error_body("Rate limit reached for requests: stream_options", code="rate_limit_exceeded"),
        error_body("Unsupported parameter: 'temperature'", code="rate_limit_exceeded"),
        error_body("Unsupported parameter: 'temperature'", code="insufficient_quota"),
        "Overloaded",
        "The user is not supported in your region",
        "'user' is not supported in this region",
        "The tool 'stop' is not supported",
        "invalid result: 'user' is not allowed to run sudo",
        "messages[0].user: unknown field",
        "You cannot specify `temperature` with `top_p` above 1",
        "the tool 'set_temperature' does not support temperature 30",
        "role: 'user' is not supported",
        "Unknown field 'temperature' in messages[2]",
        "Unsupported parameter: 'user' in messages[0]",
        "模型不支持 user 角色",
        "Unsupported value: 'messages[0].role' does not support 'user' with this model.",
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "messages", 0, "user"], "msg": "Field required"}]},
        "Additional properties are not allowed ('stop' was unexpected) - 'tools.0.function'",
    ],
)
@pytest.mark.parametrize("status", [400, 402, 429, 500])
def test_failures_of_another_kind_switch_nothing_off(body: Any, status: int) -> None:
    assert find(Case("", "", body, {}, EVERYTHING, options=OPTIONS, status=status)) is None


# Models that stream always or never

WHOLE: dict[str, Any] = {}
STREAMED = {"stream": True}
STREAMS = [
    Case("alibaba", "langchain4j/langchain4j#3974",
         "parameter.enable_thinking must be set to false for non-streaming calls", {"streaming": "always"}, WHOLE),
    Case("alibaba-chinese", "alibaba/spring-ai-alibaba#867",
         "parameter.enable_thinking必须设置为false才能进行非流式调用", {"streaming": "always"}, WHOLE),
    Case("qwq", "infiniflow/ragflow#5912",
         "This model only support stream mode, please enable the stream parameter to access the model. ",
         {"streaming": "always"}, WHOLE),
    Case("modelscope", "musistudio/claude-code-router#948", "enable thinking can not be support when `stream=False`.",
         {"streaming": "always"}, WHOLE),
    Case("plain", "", "Non-streaming requests are not supported", {"streaming": "always"}, WHOLE),
    Case("must", "", "'stream' must be set to true", {"streaming": "always"}, WHOLE),
    Case("chinese", "", "该模型仅支持流式输出", {"streaming": "always"}, WHOLE),
    Case("o1", "github/gh-models#31",
         "Unsupported value: 'stream' does not support true with this model. Supported values are: false.",
         {"streaming": "never"}, STREAMED),
    Case("llama.cpp", "OpenAgentPlatform/Dive#90",
         {"error": {"code": 500, "message": "Cannot use tools with stream", "type": "server_error"}},
         {"streaming": "never"}, STREAMED, status=500),
    Case("azure", "stulzq/azure-openai-proxy#63",
         {"message": "Streaming completion is not support yet, please remove 'stream' key value in the request."},
         {"streaming": "never"}, STREAMED),
    Case("hugging-face", "huggingface/chat-ui#296", {"error": ["Error in `stream`: `stream` is not supported for this "
         "model"]}, {"streaming": "never"}, STREAMED),
    Case("never", "", "This model does not support streaming", {"streaming": "never"}, STREAMED),
]  # fmt: skip


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_model_is_asked_in_the_way_that_it_answers(case: Case) -> None:
    assert find_whole(case) == case.patch
    other = Case(case.name, "", case.body, {}, WHOLE if case.request is STREAMED else STREAMED, status=case.status)
    assert find(other) is None


@pytest.mark.parametrize(
    "words",
    ["stream closed", "The stream was interrupted", "upstream is not supported", "stream_options: invalid", "timeout"],
)
@pytest.mark.parametrize("stream", [True, False])
def test_other_words_about_streams_teach_nothing(words: str, stream: bool) -> None:
    assert not (find(Case("", "", words, {}, {"stream": stream})) or {}).keys() & {"streaming"}


# Limits that are told

LIMITS = [
    Case("responses", "",
         "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 1 instead.",
         {"min_output": 16}, {"max_tokens": 1}),
    Case("reasoning-probe", "",
         "Could not finish the message because max_tokens or model output limit was reached. Please try again with "
         "higher max_tokens.", {"min_output": 1024}, {"max_tokens": 1}),
    Case("stops", "QwenLM/Qwen-Agent#228",
         "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 5 "
         "instead.", {"stop_limit": 4}, {"stop_sequences": list("abcde")}, options={"stop_limit": None}),
    *(
        Case("stops-in-other-words", "", words, {"stop_limit": 2}, {"stop_sequences": list("abcde")})
        for words in (
            "stop: List should have at most 2 items after validation, not 4", "stop sequences: maximum 2 allowed",
            "at most 2 stop sequences are allowed", "The number of stop sequences exceeds the limit of 2",
        )
    ),
    *(
        Case("output-in-other-words", "", words, {"max_output": 8192})
        for words in (
            "max_tokens must be less than or equal to 8192", "max_tokens: Input should be less than or equal to 8192",
            "max_tokens (64000) exceeds the maximum output tokens 8192", "`max_tokens` must be between 1 and 8192",
            "max_tokens=64000 cannot be greater than max_model_len=max_total_tokens=8192. Please request fewer output "
            "tokens.", "max_tokens 不能大于 8192", "max_tokens 参数非法：取值范围为 [1, 8192]",
        )
    ),
    Case("effort-alone", "", "Invalid value: 'high'. Supported values are: 'low', and 'medium'.",
         {"efforts": ("low", "medium")}, {"output_config": {"effort": "high"}},
         options={"efforts": ["low", "medium", "high"], "effort_off": "omit"}),
]  # fmt: skip


@pytest.mark.parametrize("case", LIMITS, ids=lambda case: case.name)
def test_limit_that_is_told_is_kept(case: Case) -> None:
    assert find_whole(case) == case.patch


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens must be at least 1024", "max_tokens per minute: limit 8192",
        "Insufficient credits: You requested up to 64000 max_tokens, but can only afford up to 8192.",
        "Invalid value: 'none'. Supported values are: 'auto', 'required'.",
    ],
)  # fmt: skip
def test_no_limit_is_kept_when_another_is_told(words: str) -> None:
    assert find(Case("", "", words, {}, {**EVERYTHING, "max_tokens": 64000}, options=OPTIONS)) is None


BUDGET = {"max_tokens": 2000, "output_config": {"effort": "high"}}


@pytest.mark.parametrize(
    "words",
    [
        "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation",
        "max_tokens must be greater than budget_tokens",
        "`temperature` may only be set to 1 when thinking is enabled",
    ],
)
def test_what_this_request_cannot_have_together_changes_no_other(words: str) -> None:
    case = Case("", "", words, {}, {**BUDGET, "temperature": 0.5}, options={"efforts": ["high"]})
    correction = find_whole(case)
    assert not correction.lasting
    assert convert(case, case.profile)["reasoning_effort"] == "high"


# What is remembered


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("not supported (ref: b1fe)", "not supported (ref: 77ab)"),
        ("not supported, request id: 0217888467", "not supported, request id: 0217888468"),
        ("x b8bd630e-4a39-4b57-82af-9158ee9d5703", "x 77ab630e-4a39-4b57-82af-9158ee9d5703"),
    ],
)
def test_same_refusal_is_known_by_its_words_when_its_ids_differ(first: str, second: str) -> None:
    body = "Unsupported parameters: 'temperature', 'stop' {}"
    both = {"temperature": 0.1, "stop_sequences": ["x"]}
    case = Case("", "", body.format(first), {}, both)
    applied = [find_whole(case)]
    without = Case("", "", body.format(second), {}, {"stop_sequences": ["x"]})
    applied.append(find_whole(without))
    assert what_helped(applied) == applied[1]
    assert isinstance(applied[0], Correction)
