"""An Anthropic Messages request becomes a Chat Completions request."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal

from ...toolkit.errors import ApiError, invalid_request
from ...toolkit.field_checks import expect, in_range, optional, required
from ...toolkit.json import dumps
from ...toolkit.safety_checks import is_safety_check
from ..anthropic import (
    BILLING_HEADER,
    is_blank,
    read_blocks,
    read_history,
    upstream_tool_name,
    without_billing_header,
)
from ..context import Context, ConvertedRequest, UpstreamBody
from ..providers import Profile, Reasoning, for_safety_check, profile_for_model, read_reasoning, reasoning_params
from ..schemas import fit_format, is_strict
from .content import mark_cached, text_part
from .messages import Message, convert_turns, join_texts
from .tools import ToolConverter, convert_tool_choice

_NO_PREFILL = "This model does not support assistant message prefill. The conversation must end with a user message."
_USER_ID_MAX = 128
_MODEL_MAX = 1000  # characters of a model's name
_STOPS_MAX = 8191  # sequences, as at Anthropic's API
_STOPS_LENGTH_MAX = 32 * 1024  # characters of those that are looked for here


def convert_request(
    data: Any,
    provider: Profile,
    *,
    model: str | None = None,
    counting: bool = False,
    tool_converter: ToolConverter | None = None,
) -> ConvertedRequest:
    """Convert a parsed ``POST /v1/messages`` body.

    ``model`` is the name that the answer shall carry, where an outer layer has replaced the client's own.
    ``counting`` takes a ``count_tokens`` body, which has no ``max_tokens`` and may end with the assistant.
    ``tool_converter`` remembers tools from one request to the next.
    Raises ApiError (400) for what can't be converted; fields that are only hints are dropped.
    """
    if not isinstance(data, dict):
        raise invalid_request("The request body is not valid JSON: it must be an object")
    name = required(data, "model", str)
    if len(name) > _MODEL_MAX:
        raise invalid_request(f"model: String should have at most {_MODEL_MAX} characters")
    profile = profile_for_model(provider, name)
    checks_safety = is_safety_check(data)
    if checks_safety:
        profile = for_safety_check(profile)
    messages = required(data, "messages", list)
    _refuse_unsupported(data)
    stream = optional(data, "stream", bool) or False
    history = read_history(messages, profile)
    offered = optional(data, "tools", list) or []
    tools = (tool_converter or ToolConverter()).convert(offered, history, profile)

    body: dict[str, Any] = {"model": name}
    clamped_from = None if counting else _set_max_tokens(body, data, profile)
    system = _system_parts(data, profile)
    system += _without_billing(history.system, profile)
    system += map(text_part, tools.told)
    chat, used_ids = convert_turns(history.turns, profile, tools.names)
    config = optional(data, "output_config", dict) or {}
    system += _set_response_format(body, data, config, profile)
    body["messages"] = _with_system(system, chat, profile)
    if not counting:
        _set_prefill(body, profile)
    json: dict[str, bytes] = {}
    if tools.tools:
        body["tools"], json["tools"] = tools.tools, tools.json
        body |= convert_tool_choice(data.get("tool_choice"), tools.names, profile, offered)
        if body.get("tool_choice") == "required" and data["tool_choice"]["type"] == "tool":
            _offer_alone(upstream_tool_name(data["tool_choice"]["name"], profile), body, json)
    effort = history.effort or optional(config, "effort", str, "output_config")
    asked = Reasoning(False) if checks_safety else read_reasoning(data.get("thinking"), effort, profile)
    body |= reasoning_params(asked, effort is not None, body, profile)
    stops, local_stops = _set_stops(body, data, profile)
    _set_sampling(body, data, profile)
    _set_identity(body, data, profile)
    asks_stream = stream if profile.streaming == "asked" else profile.streaming == "always"
    if asks_stream:
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    for key, value in profile.extra_body.items():
        old = body.get(key)
        body[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
        json.pop(key, None)

    upstream = UpstreamBody(body)
    context = Context(
        model=model or name,
        profile=profile,
        thinking=_emission(data.get("thinking"), profile),
        tool_names=tools.by_upstream,
        tools=tools.names,
        tool_schemas=tools.schemas,
        used_tool_ids=used_ids,
        stop_sequences=stops,
        local_stops=local_stops,
        max_tokens=body.get(profile.max_tokens_field),
        estimate_input=upstream.tokens,
    )
    return ConvertedRequest(upstream, context, stream, asks_stream, str(body.get("model")), clamped_from, json)


def _offer_alone(name: str, body: dict[str, Any], json: dict[str, bytes]) -> None:
    """Offer the tool that must be called and no other, where the provider takes no name beside ``required``."""
    body["tools"] = [tool for tool in body["tools"] if tool["function"]["name"] == name]
    del json["tools"]


def _refuse_unsupported(data: Mapping[str, Any]) -> None:
    """Refuse what can't be left out without changing the meaning of the request."""
    if data.get("mcp_servers"):
        raise invalid_request("mcp_servers: remote MCP servers are not supported by this endpoint")
    container = data.get("container")
    if isinstance(container, dict) and container.get("skills"):
        raise invalid_request("container.skills: skills are not supported by this endpoint")
    for name in ("thread", "compaction"):
        if data.get(name):
            message = f"{name}: not supported by this endpoint"
            if name == "compaction":
                raise invalid_request(message)
            # By this code the SDK's tool runner knows to go on without a thread.
            details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
            raise ApiError(400, "invalid_request_error", message, details=details)


def _set_max_tokens(body: dict[str, Any], data: Mapping[str, Any], profile: Profile) -> int | None:
    asked = required(data, "max_tokens", int)
    in_range(asked, 0, float("inf"), "max_tokens")
    limit = asked if profile.max_output is None else min(asked, profile.max_output)
    body[profile.max_tokens_field] = max(limit, profile.min_output or 0)
    return asked if limit < asked else None


def _system_parts(data: Mapping[str, Any], profile: Profile) -> list[dict[str, Any]]:
    """The top-level ``system`` as text parts.

    Claude Code puts a billing header into it that changes from session to session; it would defeat every prefix cache
    behind the proxy.
    """
    system = data.get("system")
    if system is None:
        return []
    blocks = read_blocks(system, "system")
    for block in blocks:
        if block.type != "text":
            raise invalid_request(f"{block}: unsupported block type '{block.type}'")
    return _without_billing([block.data for block in blocks], profile)


def _without_billing(blocks: list[dict[str, Any]], profile: Profile) -> list[dict[str, Any]]:
    """Text blocks as parts, without the lines that only Anthropic's billing is interested in."""
    parts: list[dict[str, Any]] = []
    for block in blocks:
        text: str = block["text"]
        if BILLING_HEADER in text and is_blank(text := without_billing_header(text)):
            continue
        parts.append(mark_cached(text_part(text), block, profile))
    return parts


def _with_system(system: list[dict[str, Any]], chat: list[Message], profile: Profile) -> list[Message]:
    if not system:
        return chat
    content = join_texts(system)
    if profile.system_role != "user":
        return [{"role": profile.system_role, "content": content}, *chat]
    if not chat or chat[0]["role"] != "user":
        return [{"role": "user", "content": content}, *chat]
    first = chat[0]["content"]  # templates without a system role often want turns to alternate
    if isinstance(content, str) and isinstance(first, str):
        return [{"role": "user", "content": f"{content}\n\n{first}"}, *chat[1:]]
    head = [text_part(content)] if isinstance(content, str) else content
    tail = [text_part(first)] if isinstance(first, str) else first
    return [{"role": "user", "content": [*head, *tail]}, *chat[1:]]


def _set_response_format(
    body: dict[str, Any], data: Mapping[str, Any], config: Mapping[str, Any], profile: Profile
) -> list[dict[str, Any]]:
    """``output_config.format`` as ``response_format``; what the system prompt must say for it is returned."""
    path = "output_config.format"
    wanted = optional(config, "format", dict, "output_config")
    if wanted is None:
        path = "output_format"
        wanted = optional(data, "output_format", dict)
    if wanted is None:
        return []
    kind = required(wanted, "type", str, path)
    if kind != "json_schema":
        raise invalid_request(f"{path}.type: Input should be 'json_schema', not '{kind}'")
    schema = required(wanted, "schema", dict, path)
    if profile.structured_output == "refuse":
        # In Anthropic's words, by which Claude Code goes on without it.
        raise invalid_request(f"{path}: Extra inputs are not permitted (structured_output is refuse)")
    if profile.structured_output == "json_schema":
        fitted = fit_format(schema, profile.schema_dialect).schema
        json_schema: dict[str, Any] = {"name": "response", "schema": fitted}
        if is_strict(fitted):
            json_schema["strict"] = True
        body["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        return []
    if profile.structured_output == "json_object":
        body["response_format"] = {"type": "json_object"}
    rule = "Answer with one JSON object and nothing else. It must be valid against this JSON Schema:\n"
    return [text_part(rule + dumps(schema).decode())]


def _set_prefill(body: dict[str, Any], profile: Profile) -> None:
    last: Message = body["messages"][-1]
    if last["role"] != "assistant":
        return
    if profile.prefill == "refuse":
        raise invalid_request(_NO_PREFILL)
    if profile.prefill == "vllm":
        body["add_generation_prompt"] = False
        body["continue_final_message"] = True
    elif profile.prefill == "prefix":
        last["prefix"] = True


def _set_stops(
    body: dict[str, Any], data: Mapping[str, Any], profile: Profile
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All stop sequences, and those that upstream isn't told of."""
    stops = optional(data, "stop_sequences", list) or []
    if len(stops) > _STOPS_MAX:
        raise invalid_request(f"stop_sequences: List should have at most {_STOPS_MAX} items, not {len(stops)}")
    for n, stop in enumerate(stops):
        if not expect(stop, str, f"stop_sequences.{n}").strip():
            raise invalid_request(f"stop_sequences.{n}: each stop sequence must contain non-whitespace")
    limit = len(stops) if profile.stop_limit is None else profile.stop_limit
    if stops[:limit]:
        body["stop"] = stops[:limit]
    local = tuple(stops[limit:])
    if sum(map(len, local)) > _STOPS_LENGTH_MAX:
        raise invalid_request(
            f"stop_sequences: those beyond the first {limit} have over {_STOPS_LENGTH_MAX} characters together"
        )
    return tuple(stops), local


def _set_sampling(body: dict[str, Any], data: Mapping[str, Any], profile: Profile) -> None:
    for name in ("temperature", "top_p"):
        value = optional(data, name, float)
        in_range(value, 0, 1, name)
        if value is not None and profile.sampling == "pass":
            body[name] = data[name]
    top_k = optional(data, "top_k", int)
    in_range(top_k, 0, float("inf"), "top_k")
    if top_k is not None and profile.top_k == "pass" and profile.sampling == "pass":
        body["top_k"] = top_k


def _set_identity(body: dict[str, Any], data: Mapping[str, Any], profile: Profile) -> None:
    """Who asks, for the provider's abuse checks and its cache's routing, and the service tier."""
    metadata = optional(data, "metadata", dict) or {}
    user_id = optional(metadata, "user_id", str, "metadata")
    if user_id and (profile.user_field != "none" or profile.prompt_cache_key):
        digest = sha256(user_id.encode()).hexdigest()
        if profile.user_field != "none":
            body[profile.user_field] = user_id if len(user_id) <= _USER_ID_MAX else digest
        if profile.prompt_cache_key:
            body["prompt_cache_key"] = digest
    tier = optional(data, "service_tier", str)
    if tier and profile.service_tier == "pass":
        body["service_tier"] = "default" if tier == "standard_only" else "auto"


def _emission(thinking: Any, profile: Profile) -> Literal["show", "omit", "off"]:
    if profile.emit_thinking != "auto":
        return "show" if profile.emit_thinking == "on" else "off"
    if not isinstance(thinking, dict) or thinking.get("type") not in ("enabled", "adaptive", "between_tools"):
        return "off"
    return "omit" if thinking.get("display") == "omitted" else "show"
