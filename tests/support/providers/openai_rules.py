"""What OpenAI refuses in a chat completions request, in OpenAI's own words."""

import re
from collections.abc import Collection, Mapping
from typing import Any

# https://platform.openai.com/docs/api-reference/chat/create
PARAMETERS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
NOT_NULL = ("model", "messages", "tools", "tool_choice", "response_format", "parallel_tool_calls", "user")
PARTS = {
    "system": {"text"},
    "developer": {"text"},
    "tool": {"text"},
    "assistant": {"text", "refusal"},
    "user": {"text", "image_url", "input_audio", "file"},
}


class Refused(Exception):
    """A request that OpenAI answers with 400."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.body = error_body(message, param=param, code=code)


def error_body(
    message: str, type: str = "invalid_request_error", *, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def check_request(body: Any, allow: Collection[str] = ()) -> None:
    """Raise Refused for a body that OpenAI would refuse; ``allow`` names further top-level parameters."""
    if not isinstance(body, dict):
        raise Refused("We could not parse the JSON body of your request.")
    for name in body:
        if name not in PARAMETERS and name not in allow:
            raise Refused(f"Unrecognized request argument supplied: {name}")
    for name in NOT_NULL:
        if name in body and body[name] is None:
            raise _wrong_type(name, "a value", "null")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise Refused("you must provide a model parameter")
    if "messages" not in body:
        raise Refused("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    tools = _check_tools(body)
    _check_parameters(body, tools)
    _check_messages(body["messages"])


def _check_parameters(body: Mapping[str, Any], tools: Collection[str]) -> None:
    if "max_tokens" in body and "max_completion_tokens" in body:
        raise Refused("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
    for name in ("max_tokens", "max_completion_tokens"):
        limit = body.get(name, 1)
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise _wrong_type(name, "an integer", type(limit).__name__)
        if limit < 1:
            raise Refused(f"Invalid '{name}': integer below minimum value.", name, "integer_below_min_value")
    if not isinstance(body.get("stream", False), bool | None):
        raise _wrong_type("stream", "a boolean", type(body["stream"]).__name__)
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Refused("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > 4:
        raise Refused(
            "Invalid 'stop': array too long. Expected an array with maximum length 4, "
            f"but got an array with length {len(stop)} instead.",
            "stop",
            "array_above_max_length",
        )
    for name, high in (("temperature", 2), ("top_p", 1)):
        value = body.get(name)
        if value is not None and not 0 <= value <= high:
            raise Refused(f"Invalid '{name}': decimal outside of 0 to {high}.", name)
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body and not tools:
            raise Refused(f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified.", name)
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice["function"]["name"] not in tools:
        raise Refused("Tool choice: function not found in 'tools' parameter.", "tool_choice")
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        raise Refused(
            f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'.", "tool_choice"
        )


def _check_tools(body: Mapping[str, Any]) -> set[str]:
    """The names of the tools."""
    names: set[str] = set()
    if "tools" not in body:
        return names
    _check_array("tools", body["tools"])
    for n, tool in enumerate(body["tools"]):
        if tool.get("type") != "function":
            raise Refused(f"Invalid value: '{tool.get('type')}'. Supported values are: 'function' and 'custom'.")
        function = tool.get("function", {})
        path = f"tools[{n}].function"
        name = function.get("name")
        _check_name(f"{path}.name", name)
        names.add(name)
        if unknown := set(function) - {"name", "description", "parameters", "strict"}:
            raise Refused(f"Unknown parameter: '{path}.{sorted(unknown)[0]}'.", path, "unknown_parameter")
        for key, kind in (("description", str), ("parameters", dict)):
            if key in function and not isinstance(function[key], kind):
                raise _wrong_type(f"{path}.{key}", kind.__name__, _kind(function[key]))
        if "parameters" in function:
            _check_schema(name, function["parameters"], strict=function.get("strict") is True)
    return names


def _check_schema(name: str, schema: Mapping[str, Any], *, strict: bool) -> None:
    def refuse(why: str) -> Refused:
        return Refused(f"Invalid schema for function '{name}': {why}", "tools", "invalid_function_parameters")

    if not schema:
        return
    if schema.get("type") != "object":
        raise refuse(f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'.")
    if any(key in schema for key in ("anyOf", "oneOf", "allOf", "enum", "not")):
        raise refuse("schema must not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level.")
    if "properties" not in schema:
        raise refuse("In context=(), object schema missing properties.")
    if strict and schema.get("additionalProperties") is not False:
        raise refuse("In context=(), 'additionalProperties' is required to be supplied and to be false.")
    if strict and set(schema.get("required", ())) != set(schema["properties"]):
        raise refuse("In context=(), 'required' is required to be an array including every key in properties.")


def _check_messages(messages: Any) -> None:
    _check_array("messages", messages)
    waiting: list[str] = []  # ids of calls that still lack their result
    for n, message in enumerate(messages):
        role = message.get("role")
        if role != "tool" and waiting:
            raise _no_results(waiting)
        if role == "tool":
            id_ = message.get("tool_call_id")
            if id_ not in waiting:
                raise Refused(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                    "with 'tool_calls'.",
                    f"messages.[{n}].role",
                )
            waiting.remove(id_)
        elif role not in PARTS:
            raise Refused(
                f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', "
                "'tool', and 'developer'.",
                f"messages[{n}].role",
                "invalid_value",
            )
        if role == "assistant":
            waiting = _check_calls(n, message)
        _check_content(n, role, message)
    if waiting:
        raise _no_results(waiting)


def _check_calls(n: int, message: Mapping[str, Any]) -> list[str]:
    """The ids of a message's tool calls."""
    if "tool_calls" not in message:
        return []
    path = f"messages[{n}].tool_calls"
    _check_array(path, message["tool_calls"])
    for m, call in enumerate(message["tool_calls"]):
        _check_length(f"{path}[{m}].id", call.get("id"), 40)
        if call.get("type") != "function":
            raise Refused(f"Missing required parameter: '{path}[{m}].type'.", f"{path}[{m}].type")
        _check_name(f"{path}[{m}].function.name", call["function"].get("name"))
        if not isinstance(call["function"].get("arguments"), str):
            raise _wrong_type(f"{path}[{m}].function.arguments", "a string", _kind(call["function"].get("arguments")))
    return [call["id"] for call in message["tool_calls"]]


def _check_content(n: int, role: str, message: Mapping[str, Any]) -> None:
    path = f"messages[{n}].content"
    content = message.get("content")
    if content is None:
        if role == "assistant" and (message.get("tool_calls") or message.get("refusal")):
            return
        raise _wrong_type(path, "one of a string or array of objects", "null")
    if isinstance(content, str):
        return
    _check_array(path, content)
    for m, part in enumerate(content):
        if part.get("type") not in PARTS[role]:
            raise Refused(
                f"Invalid value: '{part.get('type')}'. Supported values are: {sorted(PARTS[role])}.",
                f"{path}[{m}].type",
                "invalid_value",
            )
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise _wrong_type(f"{path}[{m}].text", "a string", _kind(part.get("text")))
        if part["type"] == "image_url" and not isinstance(part.get("image_url"), dict):
            raise _wrong_type(f"{path}[{m}].image_url", "an object", _kind(part.get("image_url")))


def _check_array(path: str, value: Any) -> None:
    if not isinstance(value, list):
        raise _wrong_type(path, "an array of objects", _kind(value))
    if not value:
        raise Refused(
            f"Invalid '{path}': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            path,
            "empty_array",
        )


def _check_name(path: str, name: Any) -> None:
    _check_length(path, name, 64)
    if not re.fullmatch(r"[a-zA-Z0-9_-]+", name):
        raise Refused(
            f"Invalid '{path}': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'.",
            path,
            "invalid_value",
        )


def _check_length(path: str, text: Any, limit: int) -> None:
    if not isinstance(text, str) or not text:
        raise _wrong_type(path, "a string", _kind(text))
    if len(text) > limit:
        raise Refused(
            f"Invalid '{path}': string too long. Expected a string with maximum length {limit}, "
            f"but got a string with length {len(text)} instead.",
            path,
            "string_above_max_length",
        )


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _wrong_type(path: str, expected: str, got: str) -> Refused:
    return Refused(f"Invalid type for '{path}': expected {expected}, but got {got} instead.", path, "invalid_type")


def _no_results(ids: Collection[str]) -> Refused:
    return Refused(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
        "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(ids),
        "messages",
    )
