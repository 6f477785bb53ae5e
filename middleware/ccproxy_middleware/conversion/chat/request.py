"""Convert an Anthropic Messages request to a Chat Completions request."""

from collections.abc import Mapping
from typing import Any

from ...toolkit.field_checks import optional, required
from ...toolkit.safety_checks import is_safety_check
from ...web_search import last_query
from ..anthropic import (
    add_extra,
    no_prefill,
    read_format,
    read_history,
    read_max_tokens,
    read_model,
    read_stops,
    read_top_k,
    refuse_unsupported,
    schema_rule,
    set_identity,
    set_sampling,
    system_blocks,
    thinking_emission,
    upstream_tool_name,
    without_billing,
)
from ..context import Context, ConvertedRequest, UpstreamBody
from ..counting import estimate_request
from ..hosted_search import add_to_chat, search_tool
from ..providers import Profile, Reasoning, for_safety_check, profile_for_model, read_reasoning, reasoning_params
from ..schemas import fit_format, is_strict
from .content import Part, mark_cached, text_part
from .messages import Message, convert_turns, join_texts
from .tools import ToolConverter, convert_tool_choice


def convert_request(
    data: Any,
    provider: Profile,
    *,
    model: str | None = None,
    counting: bool = False,
    tool_converter: ToolConverter | None = None,
) -> ConvertedRequest:
    """Convert a parsed ``POST /v1/messages`` body.

    ``model`` is the name that the answer carries if an outer layer has replaced the client's own. ``counting`` accepts
    a ``count_tokens`` body, which has no ``max_tokens`` and may end with an assistant message. ``tool_converter``
    caches tools from one request to the next. Raises ApiError (400) for what can't be converted; fields that are only
    hints are dropped.
    """
    name = read_model(data)
    profile = profile_for_model(provider, name, "chat")
    checks_safety = is_safety_check(data)
    if checks_safety:
        profile = for_safety_check(profile)
    messages = required(data, "messages", list)
    refuse_unsupported(data)
    stream = optional(data, "stream", bool) or False
    history = read_history(messages, profile)
    offered = optional(data, "tools", list) or []
    search = search_tool(data, profile)
    tools = (tool_converter or ToolConverter()).convert(offered, history, profile)

    body: dict[str, Any] = {"model": name}
    clamped_from = None
    if not counting:
        body[profile.max_tokens_field], clamped_from = read_max_tokens(data, profile)
    system = [
        mark_cached(text_part(block["text"]), block, profile)
        for block in [*system_blocks(data), *without_billing(history.system)]
    ]
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
        choice = None if search is not None and search.chosen else data.get("tool_choice")
        body |= convert_tool_choice(choice, tools.names, profile, offered)
        if body.get("tool_choice") == "required" and data["tool_choice"]["type"] == "tool":
            _offer_alone(upstream_tool_name(data["tool_choice"]["name"], profile), body, json)
    if search is not None:
        add_to_chat(body, json, search, profile)
    effort = history.effort or optional(config, "effort", str, "output_config")
    asked = Reasoning(False) if checks_safety else read_reasoning(data.get("thinking"), effort, profile)
    body |= reasoning_params(asked, effort is not None, body, profile)
    stops = read_stops(data, profile.stop_limit)
    if stops.upstream:
        body["stop"] = list(stops.upstream)
    set_sampling(body, data, profile)
    top_k = read_top_k(data)
    if top_k is not None and profile.top_k == "pass" and profile.sampling == "pass":
        body["top_k"] = top_k
    set_identity(body, data, profile)
    asks_stream = stream if profile.streaming == "asked" else profile.streaming == "always"
    if asks_stream:
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    add_extra(body, json, profile)

    upstream = UpstreamBody(body, estimate_request)
    context = Context(
        model=model or name,
        profile=profile,
        thinking=thinking_emission(data.get("thinking"), profile),
        tool_names=tools.by_upstream,
        tools=tools.names,
        tool_schemas=tools.schemas,
        text_tools=tools.offered if body.get("tool_choice") != "none" else {},
        used_tool_ids=used_ids,
        stop_sequences=stops.all,
        local_stops=stops.local,
        max_tokens=body.get(profile.max_tokens_field),
        hosted_search=None if search is None else last_query(messages),
        estimate_input=upstream.tokens,
    )
    return ConvertedRequest(upstream, context, stream, asks_stream, str(body.get("model")), clamped_from, json)


def _offer_alone(name: str, body: dict[str, Any], json: dict[str, bytes]) -> None:
    """Offer only the tool that must be called, if the provider accepts no name beside ``required``."""
    body["tools"] = [tool for tool in body["tools"] if tool["function"]["name"] == name]
    del json["tools"]


def _with_system(system: list[dict[str, Any]], chat: list[Message], profile: Profile) -> list[Message]:
    if not system:
        return chat
    content = join_texts(system)
    if profile.system_role != "user":
        return [{"role": profile.system_role, "content": content}, *chat]
    if not chat or chat[0]["role"] != "user":
        return [{"role": "user", "content": content}, *chat]
    first = chat[0]["content"]  # templates without a system role often require alternating turns
    if isinstance(content, str) and isinstance(first, str):
        return [{"role": "user", "content": f"{content}\n\n{first}"}, *chat[1:]]
    head = [text_part(content)] if isinstance(content, str) else content
    tail = [text_part(first)] if isinstance(first, str) else first
    return [{"role": "user", "content": [*head, *tail]}, *chat[1:]]


def _set_response_format(
    body: dict[str, Any], data: Mapping[str, Any], config: Mapping[str, Any], profile: Profile
) -> list[Part]:
    """Convert ``output_config.format`` to ``response_format``; returns the text that the system prompt must add
    for it.
    """
    schema = read_format(data, config, profile)
    if schema is None:
        return []
    if profile.structured_output == "json_schema":
        fitted = fit_format(schema, profile.schema_dialect).schema
        json_schema: dict[str, Any] = {"name": "response", "schema": fitted}
        if is_strict(fitted):
            json_schema["strict"] = True
        body["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        return []
    if profile.structured_output == "json_object":
        body["response_format"] = {"type": "json_object"}
    return [text_part(schema_rule(schema))]


def _set_prefill(body: dict[str, Any], profile: Profile) -> None:
    last: Message = body["messages"][-1]
    if last["role"] != "assistant":
        return
    if profile.prefill == "refuse":
        raise no_prefill()
    if profile.prefill == "vllm":
        body["add_generation_prompt"] = False
        body["continue_final_message"] = True
    elif profile.prefill == "prefix":
        last["prefix"] = True
