"""What a provider's refusal teaches, in the provider's own words."""

import json
import logging
from typing import Any

import pytest

from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.providers.corrections import find_correction
from ccproxy_middleware.conversion.providers.learned import LearnedProfiles
from ccproxy_middleware.conversion.providers.profiles import PROFILES, SWITCHES, Profile, resolve_profile
from support.providers.openai_rules import error_body
from support.providers.refusals import BASE, MODEL, Case, convert, find

TOOL = {
    "name": "lookup",
    "description": "Look it up.",
    "input_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TOOLS = {"tools": [TOOL]}
PATTERN = {"tools": [{**TOOL, "input_schema": {"type": "object", "properties": {"a": {"pattern": "[a-z]+"}}}}]}
MIXED = {"tools": [{**TOOL, "input_schema": {"type": "object", "properties": {}, "additionalProperties": False},
                    "strict": True}, {**TOOL, "name": "other"}]}  # fmt: skip
STRICT = {"tools": [{**TOOL, "strict": True}]}
FORCED = {**TOOLS, "tool_choice": {"type": "any"}}
SERIAL = {**TOOLS, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
EFFORT = {"output_config": {"effort": "high"}}
FORMAT = {"output_config": {"format": {"type": "json_schema", "schema": TOOL["input_schema"]}}}
STREAM = {"stream": True}
WARM = {"temperature": 0.2}
SYSTEM = {"system": "Be brief."}
CALL: list[dict[str, Any]] = [
    {"role": "user", "content": "Where?"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"city": "X"}}]},
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "there"},
            {"type": "text", "text": "And now?"},
        ],
    },
]
LATE = {
    "messages": [*BASE["messages"], {"role": "assistant", "content": "Yes?"}, {"role": "system", "content": "Hurry."}]
}
REASONED = {
    "messages": [
        BASE["messages"][0],
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""}, *CALL[1]["content"]],
        },
        CALL[2],
    ],
    **TOOLS,
}


def pydantic(*location: Any) -> dict[str, Any]:
    return {"type": "extra_forbidden", "loc": ["body", *location], "msg": "Extra inputs are not permitted", "input": 1}


def unsupported(parameter: str) -> dict[str, Any]:
    """OpenAI's object for a parameter that a reasoning model doesn't take."""
    return error_body(
        f"Unsupported parameter: '{parameter}' is not supported with this model.",
        param=parameter,
        code="unsupported_parameter",
    )


def listed(value: str, values: str) -> str:
    return (
        f"Unsupported value: 'reasoning_effort' does not support '{value}' with this model. "
        f"Supported values are: {values}."
    )


def gemini(message: str) -> list[dict[str, Any]]:
    return [{"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}]


def cerebras(message: str) -> dict[str, Any]:
    return {
        "message": message, "type": "invalid_request_error", "param": "validation_error", "code": "wrong_api_format",
    }  # fmt: skip


_AZURE = ". Please contact us through an Azure support request at: https://go.microsoft.com/fwlink/?linkid=2213926"
_UNKNOWN = 'Invalid JSON payload received. Unknown name "{}"{}: Cannot find field.'
_AT = " at 'request.tools[0].function_declarations[34].parameters.properties[6].value.items'"

MAX_TOKENS = [
    Case(
        "openai", "ITSpecialist111/ai_automation_suggester#38",
        error_body(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            param="max_tokens", code="unsupported_parameter",
        ),
        {"max_tokens_field": "max_completion_tokens"},
    ),
    Case(
        "github-copilot", "caozhiyuan/copilot-api#164",
        {"error": {
            "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.", "code": "invalid_request_body",
        }},
        {"max_tokens_field": "max_completion_tokens"},
    ),
    Case(
        "mistral-two-fields", "Gitlawb/openclaude#739",
        {"detail": [pydantic("store"), pydantic("max_completion_tokens")]},
        {"max_tokens_field": "max_tokens"}, provider="openai", status=422,
    ),
    Case(
        "mistral-nested", "editor-code-assistant/eca#231",
        {
            "object": "error", "message": {"detail": [pydantic("max_completion_tokens")]},
            "type": "invalid_request_error", "param": None, "code": None,
        },
        {"max_tokens_field": "max_tokens"}, provider="openai", status=422,
    ),
    Case(
        "openai-limit", "diffbot/code-gpt-docs#284",
        "max_tokens is too large: 64000. This model supports at most 16384 completion tokens, "
        "whereas you provided 64000.",
        {"max_output": 16384},
    ),
    Case(
        "deepseek-limit", "deepseek-ai/DeepSeek-V3#69",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", {"max_output": 8192},
    ),
    Case(
        "alibaba-limit", "open-webui/open-webui#10507",
        "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]", {"max_output": 8192},
    ),
    Case(
        "volcengine-limit", "Gitlawb/openclaude#331",
        "The parameter `max_completion_tokens` specified in the request are not valid: integer above maximum value, "
        "expected a value <= 12288, but got 32000 instead.",
        {"max_output": 12288}, provider="openai",
    ),
    Case(
        "claude-limit", "continuedev/continue#4225",
        "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet",
        {"max_output": 8192},
    ),
]  # fmt: skip

SAMPLING = [
    Case(
        "openai-value", "gabrii/Cursor-Azure-GPT-5#33",
        error_body(
            "Unsupported value: 'temperature' does not support 0.2 with this model. "
            "Only the default (1) value is supported.", param="temperature", code="unsupported_value",
        ),
        {"sampling": "drop"}, WARM,
    ),
    Case(
        "openai-temperature", "appatalks/eva-agent#83", unsupported("temperature"), {"sampling": "drop"}, WARM
    ),
    Case(
        "openai-top-p", "devoxx/DevoxxGenieIDEAPlugin#1240", unsupported("top_p"),
        {"sampling": "drop"}, {"top_p": 0.9},
    ),
    Case(
        "chatgpt-top-p", "ChatGPTNextWeb/NextChat#6774", {"detail": "Unsupported parameter: top_p"},
        {"sampling": "drop"}, {"top_p": 0.9},
    ),
    Case(
        "moonshot", "Narcooo/inkos#174",
        "invalid temperature: only 1 is allowed for this model",
        {"sampling": "drop"}, WARM,
    ),
    Case(
        "claude-deprecated", "Mintplex-Labs/anything-llm#5461", "`temperature` is deprecated for this model.",
        {"sampling": "drop"}, WARM,
    ),
    Case(
        "claude-both", "BerriAI/litellm#15070",
        "litellm.BadRequestError: BedrockException - The model returned the following errors: `temperature` and "
        "`top_p` cannot both be specified for this model. Please use only one.",
        {"sampling": "drop"}, {**WARM, "top_p": 0.9},
    ),
    Case(
        "litellm", "kortix-ai/suna#254",
        "litellm.UnsupportedParamsError: bedrock does not support parameters: ['temperature'], for "
        "model=deepseek.r1-v1:0. To drop these, set `litellm.drop_params=True` or for proxy:",
        {"sampling": "drop"}, WARM,
    ),
    Case(
        "mistral-top-k", "as Gitlawb/openclaude#739", {"detail": [pydantic("top_k")]},
        {"top_k": "drop"}, {"top_k": 5}, "vllm",
    ),
]  # fmt: skip

STREAM_OPTIONS = [
    Case(
        "mistral", "as partITech/php-mistral#76",
        {
            "object": "Error", "detail": [pydantic("stream_options")], "message": [pydantic("stream_options")],
            "type": "invalid_request_error", "code": 3001,
        },
        {"stream_usage": False}, STREAM, status=422,
    ),
    Case(
        "mistral-text", "mistralai/platform-docs-public#7",
        {"object": "error", "message": json.dumps({"detail": [pydantic("stream_options")]}), "code": "1000"},
        {"stream_usage": False}, STREAM, status=422,
    ),
    Case(
        "azure", "songquanpeng/one-api#1423", f"Unrecognized request argument supplied: stream_options{_AZURE}",
        {"stream_usage": False}, STREAM, "azure",
    ),
    Case(
        "azure-newer", "agno-agi/agno#1066",
        error_body("Unknown parameter: 'stream_options'.", param="stream_options", code="unknown_parameter"),
        {"stream_usage": False}, STREAM, "azure",
    ),
    Case(
        "groq", "vercel/ai#1578",
        {"error": {
            "message": "property 'stream_options' is unsupported, did you mean 'stream'?",
            "type": "invalid_request_error",
        }},
        {"stream_usage": False}, STREAM, "groq",
    ),
    Case(
        "fireworks", "FlowiseAI/Flowise#2866", "Extra inputs are not permitted, field: 'stream_options' ",
        {"stream_usage": False}, STREAM, "fireworks",
    ),
]  # fmt: skip

PARALLEL = [
    Case(
        "azure", "Azure/azure-sdk-for-net#45719", "Unrecognized request argument supplied: parallel_tool_calls",
        {"parallel_flag": False}, SERIAL, "azure",
    ),
    Case(
        "azure-newer", "openai/openai-python#1492",
        error_body("Unknown parameter: 'parallel_tool_calls'.", param="parallel_tool_calls", code="unknown_parameter"),
        {"parallel_flag": False}, SERIAL, "azure",
    ),
    Case("openai", "evalstate/fast-agent#279", unsupported("parallel_tool_calls"), {"parallel_flag": False}, SERIAL),
    Case(
        "gemini", "jackmpcollins/magentic#382", gemini(_UNKNOWN.format("parallel_tool_calls", "")),
        {"parallel_flag": False}, SERIAL,
    ),
    Case(
        "litellm", "BerriAI/litellm#6456",
        "litellm.UnsupportedParamsError: anthropic does not support parameters: {'parallel_tool_calls': False}, for "
        "model=claude-3-5-sonnet-20241022. To drop these, set `litellm.drop_params=True` or for proxy:",
        {"parallel_flag": False}, SERIAL,
    ),
]  # fmt: skip

_ALL = {"efforts": ["none", "minimal", "low", "medium", "high", "xhigh", "max"]}
_LMH = ("low", "medium", "high")
_OFF = {"thinking": {"type": "disabled"}}

REASONING = [
    Case(
        "xai", "chenyme/grok2api#814",
        {
            "code": "invalid-argument",
            "error": "Model grok-4.20-0309-reasoning does not support parameter reasoningEffort.",
        },
        {"efforts": ()}, EFFORT, "xai", _ALL,
    ),
    Case(
        "openai-gpt-4o", "yaroslavyaroslav/OpenAI-sublime-text#146",
        "Unrecognized request argument supplied: reasoning_effort", {"efforts": ()}, EFFORT, "openai",
    ),
    Case(
        "openai-tools", "pipecat-ai/pipecat#4043",
        error_body(
            "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. "
            "Please use /v1/responses instead.", param="reasoning_effort",
        ),
        {"tools_with_effort": "none"}, {**EFFORT, **TOOLS}, "openai",
    ),
    Case(
        "openai-tools-alone", "BerriAI/litellm#34569",
        "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. "
        "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
        {"tools_with_effort": "none"}, TOOLS, "openai",
    ),
    Case(
        "openai-tools-with-none", "as pipecat-ai/pipecat#4043",
        "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions.",
        {"tools_with_effort": "drop"}, TOOLS, "openai", {"tools_with_effort": "none"},
    ),
    Case(
        "openai-no-none", "Kilo-Org/cloud#3807", listed("none", "'minimal', 'low', 'medium', and 'high'"),
        {"efforts": ("minimal", *_LMH), "effort_off": "minimal"}, _OFF, "openai",
    ),
    Case(
        "openai-no-none-with-tools", "as Kilo-Org/cloud#3807", listed("none", "'low', 'medium', and 'high'"),
        {"efforts": _LMH, "effort_off": "low", "tools_with_effort": "drop"}, TOOLS, "openai",
        {"tools_with_effort": "none"},
    ),
    Case(
        "openai-by-value", "anomalyco/opencode#4451",
        "Unsupported value: 'minimal' is not supported with the 'gpt-5.1' model. "
        "Supported values are: 'none', 'low', 'medium', and 'high'.",
        {"efforts": ("none", *_LMH)}, {"output_config": {"effort": "minimal"}}, "openai",
    ),
    Case(
        "groq", "iamsrikanthnani/pluely#219",
        "`reasoning_effort` must be one of `none` or `default`",
        {"efforts": ("none",)}, EFFORT, "groq", _ALL,
    ),
    Case(
        "groq-format", "0xPlaygrounds/rig#1134", "`reasoning_format` is not supported with this model",
        {"reasoning_style": "openai"}, EFFORT, "groq", _ALL,
    ),
    Case(
        "cerebras", "egoist/chatwise-releases#1325",
        cerebras(
            "1 validation error for ChatCompletionServerRequest\nreasoning_effort\n Input should be 'low', 'medium' or "
            "'high' [type=enum, input_value='none', input_type=str]\n For further information visit "
            "https://errors.pydantic.dev/2.8/v/enum"
        ),
        {"efforts": _LMH, "effort_off": "low"}, _OFF, "cerebras", _ALL,
    ),
    Case(
        "cerebras-object", "proxysoul/Empryo#209", cerebras("property 'reasoning' is unsupported"),
        {"reasoning_style": "none"}, EFFORT, "openrouter",
    ),
    Case(
        "azure-object", "musistudio/claude-code-router#724",
        "Unrecognized request argument supplied: reasoning (request id: 2025)",
        {"reasoning_style": "none"}, EFFORT, "openrouter",
    ),
    Case(
        "bedrock", "BerriAI/litellm#14225",
        "Failed to deserialize the JSON body into the target type: thinking: unknown field `thinking`, expected one of "
        "`messages`, `model`, `reasoning_effort`, `stop`, `temperature` at line 1 column 212",
        {"reasoning_style": "none"}, {"thinking": {"type": "adaptive"}}, "deepseek",
    ),
    Case(
        "vllm-template", "as mistralai/platform-docs-public#7", {"detail": [pydantic("chat_template_kwargs")]},
        {"reasoning_style": "none"}, _OFF, "generic", {"reasoning_style": "chat_template"},
    ),
    Case(
        "ollama-value", "DevEmperor/DictateKeyboard#186",
        "invalid reasoning value: 'minimal' (must be \"high\", \"medium\", \"low\", \"max\", or \"none\")",
        {"efforts": ("none", *_LMH, "max")}, {"output_config": {"effort": "minimal"}}, "ollama", _ALL,
    ),
    Case(
        "ollama-model", "ollama/ollama#12561",
        {"error": {"message": 'think value "high" is not supported for this model', "type": "api_error"}},
        {"efforts": ()}, EFFORT, "ollama", _ALL,
    ),
    Case(
        "ollama-no-thinking", "CherryHQ/cherry-studio#18744", '"gemma4:26b" does not support thinking',
        {"efforts": ()}, EFFORT, "ollama", _ALL,
    ),
    Case(
        "cerebras-history", "Alishahryar1/free-claude-code#1136",
        cerebras(
            "messages.1.assistant.reasoning_content: property 'messages.1.assistant.reasoning_content' is unsupported"
        ),
        {"reasoning_roundtrip": "drop"}, REASONED, "generic", {"reasoning_roundtrip": "reasoning_content"},
    ),
    Case(
        "mistral-history", "charmbracelet/crush#1590",
        {"detail": [pydantic("messages", 1, "assistant", "reasoning_content")]},
        {"reasoning_roundtrip": "drop"}, REASONED, "generic", {"reasoning_roundtrip": "reasoning_content"},
    ),
    Case(
        "deepseek-history", "borawong/AiMaMi#8",
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        {"reasoning_roundtrip": "reasoning_content"}, REASONED,
    ),
    Case(
        "moonshot-history", "mastra-ai/mastra#12592",
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
        {"reasoning_roundtrip": "reasoning_content"}, REASONED,
    ),
]  # fmt: skip

TOOL_CHOICE = [
    Case(
        "deepseek", "tickernelz/opencode-mem#253",
        error_body("Thinking mode does not support this tool_choice", code="invalid_request_error"),
        {"forced_tool_choice": False}, FORCED,
    ),
    Case(
        "alibaba", "cloudwego/eino#994",
        error_body(
            "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support being set to "
            "required or object in thinking mode", code="invalid_parameter_error",
        ),
        {"forced_tool_choice": False}, {**TOOLS, "tool_choice": {"type": "tool", "name": "lookup"}},
    ),
    Case(
        "moonshot", "AstrBotDevs/AstrBot#7805", "tool_choice 'required' is incompatible with thinking enabled",
        {"forced_tool_choice": False}, FORCED,
    ),
    Case(
        "vllm", "vllm-project/vllm#16880",
        {
            "object": "error", "message": "The provided JSON schema contains features not supported by xgrammar.",
            "type": "BadRequestError", "param": None, "code": 400,
        },
        {"forced_tool_choice": False}, FORCED, "vllm",
    ),
]  # fmt: skip

SCHEMAS = [
    Case(
        "gemini-schema", "router-for-me/CLIProxyAPI#97",
        gemini(_UNKNOWN.format("$schema", " at 'request.tools[0].function_declarations[0].parameters'")),
        {"schema_dialect": "gemini"}, TOOLS,
    ),
    Case(
        "gemini-keyword", "jackmpcollins/magentic#382", gemini(_UNKNOWN.format("additionalProperties", _AT)),
        {"schema_dialect": "gemini"}, TOOLS,
    ),
    Case(
        "gemini-behind-a-gateway", "musistudio/claude-code-router#187",
        "Error from provider: " + json.dumps({"error": {"message": _UNKNOWN.format("additionalProperties", _AT)}}),
        {"schema_dialect": "gemini"}, TOOLS,
    ),
    Case(
        "gemini-type-list", "zed-industries/zed#53919",
        gemini(
            "Invalid JSON payload received. Unknown name \"type\" at 'tools[0].function_declarations[93].parameters."
            "properties[4].value': Proto field is not repeating, cannot start list."
        ),
        {"schema_dialect": "gemini"}, TOOLS,
    ),
    Case(
        "openai-strict", "makenotion/notion-mcp-server#117",
        error_body(
            "Invalid schema for function 'lookup': In context=('properties', 'city'), 'allOf' is not permitted.",
            param="tools[0].function.parameters", code="invalid_function_parameters",
        ),
        {"strict_tools": False}, STRICT, "openai",
    ),
    Case(
        "openai-not-strict", "as makenotion/notion-mcp-server#117",
        "Invalid schema for function 'lookup': In context=('properties', 'city'), 'allOf' is not permitted.",
        {"schema_dialect": "gemini"}, STRICT, "openai", {"strict_tools": False},
    ),
    Case(
        "moonshot-schema", "a report of pydantic/logfire#2191",
        error_body(
            "Invalid request: tools.function.parameters is not a valid moonshot flavored json schema, details: "
            "<At path 'properties.a': when using anyOf, type should be defined in anyOf items instead of the parent "
            "schema>"
        ),
        {"schema_dialect": "moonshot"}, TOOLS,
    ),
    Case(
        "llama.cpp-pattern", "common/json-schema-to-grammar.cpp",
        error_body("JSON schema conversion failed:\nPattern must start with '^' and end with '$'"),
        {"schema_dialect": "llama.cpp"}, PATTERN,
    ),
    Case(
        "llama.cpp-grammar", "tools/server/server.cpp",
        error_body("Failed to initialize samplers: failed to parse grammar"),
        {"schema_dialect": "llama.cpp"}, PATTERN,
    ),
    Case(
        "cerebras-mixed-strict", "inference-docs.cerebras.ai",
        {
            "message": "Tools with mixed values for 'strict' are not allowed. Please set all tools to "
            "'strict: true' or 'strict: false'",
            "type": "invalid_request_error", "param": "tools", "code": "wrong_api_format",
        },
        {"schema_dialect": "cerebras"}, MIXED,
    ),
    Case(
        "xai-strict", "pydantic/pydantic-ai#1846",
        {
            "code": "Client specified an invalid argument",
            "error": "Invalid request content: `strict` mode on function call is currently not supported.",
        },
        {"strict_tools": False}, STRICT, "xai",
    ),
]  # fmt: skip

OTHERS = [
    Case("openai-stop", "langgenius/dify#18971", unsupported("stop"), {"stop_limit": 0}, {"stop_sequences": ["END"]}),
    Case(
        "xai-stop", "lidge-jun/opencodex#5278",
        {"code": "invalid-argument", "error": "Model grok-4.6 does not support parameter stop."},
        {"stop_limit": 0}, {"stop_sequences": ["END"]}, "xai",
    ),
    Case(
        "xai-stop-older", "BerriAI/litellm#12635",
        {"code": "Client specified an invalid argument", "error": "Argument not supported on this model: stop"},
        {"stop_limit": 0}, {"stop_sequences": ["END"]}, "xai",
    ),
    Case(
        "azure-cache-key", "MoonshotAI/kimi-code#2611", "Unrecognized request argument supplied: prompt_cache_key",
        {"prompt_cache_key": False}, {"metadata": {"user_id": "u"}}, "azure", {"prompt_cache_key": True},
    ),
    Case(
        "user", "as Gitlawb/openclaude#739", {"detail": [pydantic("user")]},
        {"user_field": "none"}, {"metadata": {"user_id": "u"}}, "azure",
    ),
    Case(
        "safety-identifier", "as agno-agi/agno#1066", error_body("Unknown parameter: 'safety_identifier'."),
        {"user_field": "none"}, {"metadata": {"user_id": "u"}}, "openai",
    ),
    Case(
        "service-tier", "as agno-agi/agno#1066", error_body("Unknown parameter: 'service_tier'."),
        {"service_tier": "drop"}, {"service_tier": "auto"}, "openai",
    ),
    Case(
        "deepseek-format", "llm-exe/llm-exe#662", "This response_format type is unavailable now",
        {"structured_output": "json_object"}, FORMAT,
    ),
    Case(
        "deepseek-format-older", "BerriAI/litellm#7580",
        "Failed to deserialize the JSON body into the target type: response_format: response_format.type `json_schema` "
        "is unavailable now at line 1 column 1193",
        {"structured_output": "json_object"}, FORMAT, status=422,
    ),
    Case(
        "openai-format", "web-infra-dev/midscene#259",
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model. Learn more about "
        "supported models at the Structured Outputs guide: https://platform.openai.com/docs/guides/structured-outputs",
        {"structured_output": "json_object"}, FORMAT, "openai",
    ),
    Case(
        "groq-format", "i-am-bee/beeai-framework#1215",
        "invalid schema for response format: response_format/json_schema/next_step: minItems is not supported",
        {"structured_output": "json_object"}, FORMAT, "groq",
    ),
    Case(
        "openai-json-object", "as web-infra-dev/midscene#259",
        "Invalid parameter: 'response_format' of type 'json_object' is not supported with this model.",
        {"structured_output": "prompt"}, FORMAT, "openai", {"structured_output": "json_object"},
    ),
]  # fmt: skip

_DEVELOPER = {"system_role": "developer"}
_ROLE = "Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant `developer`, "

ROLES = [
    Case(
        "openai-developer", "lobehub/lobehub#5704",
        "Unsupported value: 'messages[0].role' does not support 'developer' with this model.",
        {"system_role": "system"}, SYSTEM, "openai", _DEVELOPER,
    ),
    Case(
        "deepseek-developer", "earendil-works/pi#1048",
        f"{_ROLE}expected one of `system`, `user`, `assistant`, `tool` at line 1 column 60",
        {"system_role": "system"}, SYSTEM, "generic", _DEVELOPER,
    ),
    Case(
        "alibaba-developer", "BenedictKing/ccx#161",
        "developer is not one of ['system', 'assistant', 'user', 'tool', 'function'] - 'messages.['0].role'",
        {"system_role": "system"}, SYSTEM, "generic", _DEVELOPER,
    ),
    Case(
        "vllm-developer", "ogx-ai/ogx#6069", "Unexpected message role.", {"system_role": "system"}, SYSTEM, "vllm",
        _DEVELOPER,
    ),
    Case(
        "pydantic-developer", "earendil-works/pi#6238",
        {"detail": [{
            "type": "enum", "loc": ["body", "messages", 0, "role"], "input": "developer",
            "msg": "Input should be 'system', 'user', 'assistant', 'function' or 'tool'",
        }]},
        {"system_role": "system"}, SYSTEM, "generic", _DEVELOPER, 422,
    ),
    Case(
        "openai-system", "tailcallhq/forgecode#1177",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        {"system_role": "user"}, SYSTEM, "openai",
    ),
    Case(
        "gemma-system", "vllm-project/vllm#2964",
        {
            "object": "error", "message": "System role not supported", "type": "BadRequestError", "param": None,
            "code": 400,
        },
        {"system_role": "user"}, SYSTEM, "vllm",
    ),
    Case(
        "gemma-late-system", "as vllm-project/vllm#2964", "System role not supported",
        {"mid_system": "user"}, LATE, "vllm",
    ),
    Case(
        "qwen-late-system", "router-for-me/CLIProxyAPI#3608", "System message must be at the beginning.",
        {"mid_system": "user"}, LATE, "vllm",
    ),
    Case(
        "gemma-alternate", "suitenumerique/conversations#197",
        "Conversation roles must alternate user/assistant/user/assistant/...", {"mid_system": "user"}, LATE, "vllm",
    ),
    Case(
        "mistral-user-after-tool", "avante-corp/avante.nvim#2695",
        {
            "object": "error", "message": "Unexpected role 'user' after role 'tool'",
            "type": "invalid_request_message_order", "param": None, "code": "3230",
        },
        {"bridge_after_tool": True}, {"messages": CALL, **TOOLS}, "nvidia",
    ),
]  # fmt: skip

CASES = [*MAX_TOKENS, *SAMPLING, *STREAM_OPTIONS, *PARALLEL, *REASONING, *TOOL_CHOICE, *SCHEMAS, *OTHERS, *ROLES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{'-'.join(case.patch)}")
def test_refusal_is_corrected_when_it_names_what_was_sent(case: Case) -> None:
    assert find(case) == case.patch
    corrected = LearnedProfiles(case.profile).get(MODEL, case.patch)
    changed = convert(case, corrected)
    assert changed != convert(case, case.profile)
    again = find_correction(case.status, case.raw, changed, corrected)
    assert again is None or changed != convert(case, LearnedProfiles(corrected).get(MODEL, again))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{'-'.join(case.patch)}")
def test_refusal_teaches_nothing_when_the_parameter_was_not_sent(case: Case) -> None:
    bare = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    assert find_correction(case.status, case.raw, bare, case.profile) is None


@pytest.mark.parametrize("status", [200, 302, 501, 502, 503, 529])
def test_only_a_refusal_of_the_request_teaches(status: int) -> None:
    assert find(MAX_TOKENS[0], status) is None


EVERYTHING: dict[str, Any] = {
    **EFFORT, **STREAM, **WARM, **SYSTEM, **STRICT, "top_p": 0.9, "stop_sequences": ["END"], "messages": CALL,
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True}, "metadata": {"user_id": "u"},
}  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 72192 tokens (8192 in the "
        "messages, 64000 in the completion). Please reduce the length of the messages or completion.",
        "'max_tokens' or 'max_completion_tokens' is too large: 64000. This model's maximum context length is 64001 "
        "tokens and your request has 24235 input tokens (64000 > 64001 - 24235). None",
        error_body("Your input exceeds the context window of this model.", code="context_length_exceeded"),
        error_body("The model `gpt-9` does not exist", code="model_not_found"),
        error_body("Model some-model does not support parameter stop.", code="model_not_found"),
        error_body("'temperature' is not supported with this plan.", code="insufficient_quota"),
        error_body("'temperature' is not supported with this model.", code="content_filter"),
        error_body("'temperature' is not supported with this model.", code="rate_limit_exceeded"),
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 1, but got 1.2 instead.",
        "top_p must be in (0, 1]",
        "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        "Missing required parameter: 'messages'.",
        "Unsupported parameter: 'frequency_penalty' is not supported with this model.",
        "Invalid value for 'tool_choice': expected one of 'none', 'auto', 'required'.",
        {"detail": [pydantic("tools", 0, "function", "parameters", "properties", "stop")]},
        {"detail": [pydantic("messages", 0, "user", "temperature")]},
        {"detail": [{"type": "missing", "loc": ["body", "model"], "msg": "Field required"}]},
        "Invalid max_tokens value, the valid range of max_tokens is [1, 65536]",
        "The user is not supported in your region",
        "An error occurred. 'tools' and 'temperature'",
        "",
        [],
        {"error": {}},
        "x" * 100_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("provider", ["generic", "openai", "deepseek"])
def test_other_refusals_teach_nothing(body: Any, provider: str) -> None:
    case = Case("other", "", body, {}, EVERYTHING, provider)
    assert find(case) is None


@pytest.mark.parametrize("raw", [b"", b"<html>Unsupported</html>", b"\xff", b"null", b"1"])
def test_answer_that_is_no_json_teaches_nothing(raw: bytes) -> None:
    sent = convert_request({**BASE, **EVERYTHING}, Profile()).body
    assert find_correction(400, raw, sent, Profile()) is None


def test_every_correction_is_an_option_that_may_be_set() -> None:
    for case in CASES:
        as_json = json.loads(json.dumps(dict(case.patch)))
        checked = resolve_profile("generic", as_json).options
        assert checked == case.patch
        assert set(case.patch) <= set(SWITCHES)


def test_learned_profile_beats_the_models_own_switches() -> None:
    learned = LearnedProfiles(PROFILES["openai"])
    learned.remember("gpt-5.4", {"tools_with_effort": "drop"})
    assert learned.get("gpt-5.4", {}).for_model("gpt-5.4").tools_with_effort == "drop"
    assert learned.get("gpt-5.5", {}) is PROFILES["openai"]
    assert learned.get(["gpt-5.4"], {}) is PROFILES["openai"]


def test_what_helped_is_told_once_with_the_options_that_make_it_permanent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    options = {"stream_usage": True, "max_output": 4096}
    learned = LearnedProfiles(resolve_profile("generic", options))
    for _ in range(2):
        learned.remember("m\nx", {"stream_usage": False, "efforts": ("low", "high")})
    (record,) = caplog.records
    line = record.getMessage()
    assert "\n" not in line
    assert "'m\\nx'" in line
    assert "against the option stream_usage" in line
    permanent = json.loads(line.partition("PROVIDER_OPTIONS=")[2])
    assert permanent == {"stream_usage": False, "efforts": ["low", "high"]}
    assert resolve_profile("generic", {**permanent, "max_output": 4096}) == learned.get("m\nx", {})


def test_two_requests_that_learn_at_the_same_time_both_teach() -> None:
    learned = LearnedProfiles(Profile())
    learned.remember("m", {"sampling": "drop"})
    learned.remember("m", {"stream_usage": False})
    profile = learned.get("m", {})
    assert (profile.sampling, profile.stream_usage) == ("drop", False)


def test_memory_is_bounded() -> None:
    learned = LearnedProfiles(Profile())
    for n in range(300):
        learned.remember(f"m{n}", {"sampling": "drop"})
    kept = [n for n in range(300) if learned.get(f"m{n}", {}).sampling == "drop"]
    assert kept == list(range(44, 300))
