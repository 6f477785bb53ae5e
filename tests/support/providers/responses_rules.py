"""What OpenAI refuses in a Responses request without storage, in OpenAI's own words where they are known."""

from collections.abc import Collection, Mapping
from typing import Any

from .openai_rules import Refused

# https://platform.openai.com/docs/api-reference/responses/create
PARAMETERS = frozenset({
    "background", "conversation", "include", "input", "instructions", "max_output_tokens", "max_tool_calls",
    "metadata", "model", "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key",
    "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store", "stream", "stream_options",
    "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
})  # fmt: skip
INCLUDES = ("reasoning.encrypted_content", "web_search_call.action.sources", "message.output_text.logprobs")
PARTS = {
    "user": {"input_text", "input_image", "input_file"},
    "developer": {"input_text"},
    "system": {"input_text"},
    "assistant": {"output_text", "refusal"},
}
OUTPUT_PARTS = {"input_text", "input_image", "input_file"}


def check_responses_request(body: Any, allow: Collection[str] = ()) -> None:
    """Raise Refused for a body that OpenAI would refuse."""
    if not isinstance(body, dict):
        raise Refused("We could not parse the JSON body of your request.")
    for name in body:
        if name not in PARAMETERS and name not in allow:
            raise Refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    if not isinstance(body.get("model"), str):
        raise Refused("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    if not isinstance(body.get("input"), list) or not body["input"]:
        raise Refused("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    limit = body.get("max_output_tokens", 16)
    if not isinstance(limit, int) or limit < 16:
        raise Refused(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16.",
            "max_output_tokens",
            "integer_below_min_value",
        )
    for value in body.get("include", ()):
        if value not in INCLUDES:
            raise Refused(f"Invalid value: '{value}'.", "include", "invalid_value")
    if unknown := set(body.get("stream_options") or ()) - {"include_obfuscation"}:
        name = sorted(unknown)[0]
        raise Refused(f"Unknown parameter: 'stream_options.{name}'.", f"stream_options.{name}", "unknown_parameter")
    if unknown := set(body.get("reasoning") or ()) - {"effort", "summary"}:
        name = sorted(unknown)[0]
        raise Refused(f"Unknown parameter: 'reasoning.{name}'.", f"reasoning.{name}", "unknown_parameter")
    _check_tools(body)
    _check_input(body)


def _check_tools(body: Mapping[str, Any]) -> None:
    for n, tool in enumerate(body.get("tools", ())):
        if tool.get("type") != "function" or "function" in tool:
            raise Refused(f"Missing required parameter: 'tools[{n}].name'.", f"tools[{n}].name")
        if unknown := set(tool) - {"type", "name", "description", "parameters", "strict"}:
            name = sorted(unknown)[0]
            raise Refused(f"Unknown parameter: 'tools[{n}].{name}'.", f"tools[{n}].{name}", "unknown_parameter")
        if "strict" not in tool or not isinstance(tool.get("parameters"), dict):
            raise Refused(f"Invalid schema for function '{tool.get('name')}'.", f"tools[{n}].parameters")


def _check_input(body: Mapping[str, Any]) -> None:
    """The items: none has an id, each result follows its call, each call has one, reasoning leads to something."""
    waiting: set[str] = set()
    items = body["input"]
    seen: set[str] = set()
    for n, item in enumerate(items):
        path = f"input[{n}]"
        if "id" in item:
            raise Refused(
                f"Item with id '{item['id']}' not found. Items are not persisted when `store` is set to false.", path
            )
        match item.get("type"):
            case "message":
                _check_message(path, item)
            case "function_call":
                if not isinstance(item.get("arguments"), str) or len(item["call_id"]) > 64:
                    raise Refused(f"Invalid '{path}'.", path)
                waiting.add(item["call_id"])
            case "function_call_output":
                if item["call_id"] not in waiting:
                    raise Refused(f"No tool call found for function call output with call_id {item['call_id']}.", path)
                waiting.remove(item["call_id"])
                _check_output(path, item["output"])
            case "reasoning":
                if "summary" not in item:
                    raise Refused(f"Missing required parameter: '{path}.summary'.", f"{path}.summary")
                encrypted = item.get("encrypted_content")
                if not isinstance(encrypted, str):
                    raise Refused(f"Missing required parameter: '{path}.encrypted_content'.", path)
                if encrypted in seen:
                    raise Refused("Duplicate item found.", path)
                seen.add(encrypted)
                following = items[n + 1] if n + 1 < len(items) else {}
                led = following.get("role") == "assistant" or following.get("type") in ("function_call", "reasoning")
                if not led:
                    raise Refused("Item of type 'reasoning' was provided without its required following item.", path)
            case kind:
                raise Refused(f"Invalid value: '{kind}'.", f"{path}.type", "invalid_value")
    if waiting:
        raise Refused(f"No tool output found for function call {sorted(waiting)[0]}.", "input")


def _check_message(path: str, item: Mapping[str, Any]) -> None:
    role = item.get("role")
    if role not in PARTS:
        raise Refused(f"Invalid value: '{role}'.", f"{path}.role", "invalid_value")
    if not isinstance(item.get("content"), list) or not item["content"]:
        raise Refused(f"Invalid type for '{path}.content'.", f"{path}.content", "invalid_type")
    for m, part in enumerate(item["content"]):
        if part.get("type") not in PARTS[role]:
            raise Refused(f"Invalid value: '{part.get('type')}'.", f"{path}.content[{m}]", "invalid_value")
        if part["type"] == "input_image" and not isinstance(part.get("image_url"), str):
            raise Refused(f"Invalid type for '{path}.content[{m}].image_url'.", path, "invalid_type")


def _check_output(path: str, output: Any) -> None:
    if isinstance(output, str):
        return
    if not isinstance(output, list) or any(part.get("type") not in OUTPUT_PARTS for part in output):
        raise Refused(f"Invalid type for '{path}.output'.", f"{path}.output", "invalid_type")
