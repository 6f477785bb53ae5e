"""Convert an Anthropic Messages request to a Responses request: stateless, including the provider's own reasoning."""

from collections.abc import Callable
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
from ..chat import ToolConverter, convert_tool_choice
from ..context import Context, ConvertedRequest, UpstreamBody
from ..hosted_search import responses_tool, search_tool
from ..providers import Profile, Reasoning, effort_word, for_safety_check, profile_for_model, read_reasoning
from ..schemas import fit_format, is_strict
from .counting import estimate_request
from .input_items import convert_turns

_MIN_OUTPUT = 16  # the API refuses fewer tokens
_INCLUDE = "reasoning.encrypted_content"
_INCLUDE_SOURCES = "web_search_call.action.sources"


def _none_refused(digest: str) -> bool:
    return False


def convert_request(
    data: Any,
    provider: Profile,
    *,
    model: str | None = None,
    counting: bool = False,
    tool_converter: ToolConverter | None = None,
    refused: Callable[[str], bool] = _none_refused,
) -> ConvertedRequest:
    """Convert a parsed ``POST /v1/messages`` body.

    ``model`` is the name that the answer carries if an outer layer has replaced the client's own. ``counting`` accepts
    a ``count_tokens`` body, which has no ``max_tokens`` and may end with an assistant message. ``tool_converter``
    caches tools from one request to the next. ``refused`` takes a digest and returns whether the provider has refused
    that reasoning item. Raises ApiError (400) for what can't be converted; fields that are only hints are dropped.
    """
    name = read_model(data)
    profile = profile_for_model(provider, name, "responses")
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

    body: dict[str, Any] = {"model": name, "store": False}
    clamped_from = None
    if not counting:
        limit, clamped_from = read_max_tokens(data, profile)
        body["max_output_tokens"] = max(limit, _MIN_OUTPUT)
    if profile.efforts and profile.encrypted_reasoning:
        body["include"] = [_INCLUDE]
    converted = convert_turns(history.turns, profile, name, refused, tools.names)
    if (
        not counting
        and converted.items
        and converted.items[-1].get("role") == "assistant"
        and profile.prefill != "pass"
    ):
        raise no_prefill()
    system = [block["text"] for block in [*system_blocks(data), *without_billing(history.system)]]
    system += tools.told
    config = optional(data, "output_config", dict) or {}
    items = converted.items
    schema = read_format(data, config, profile)
    if schema is not None:
        items = [*_set_format(body, schema, system, profile), *items]
    if system:
        body["instructions"] = "\n\n".join(system)
    body["input"] = items
    json: dict[str, bytes] = {}
    if tools.tools:
        choice = None if search is not None and search.chosen else data.get("tool_choice")
        body["tools"], json["tools"] = tools.tools, tools.json
        body |= convert_tool_choice(choice, tools.names, profile, offered)
        if body.get("tool_choice") == "required" and data["tool_choice"]["type"] == "tool":
            name_there = upstream_tool_name(data["tool_choice"]["name"], profile)
            body["tools"] = [tool for tool in tools.tools if tool["name"] == name_there]
            del json["tools"]
    if search is not None:
        body["tools"] = [*body.get("tools", ()), responses_tool(search)]
        body["include"] = [*body.get("include", ()), _INCLUDE_SOURCES]
        json.pop("tools", None)
        if search.chosen:
            body["tool_choice"] = {"type": "web_search"}
    emission = thinking_emission(data.get("thinking"), profile)
    effort = history.effort or optional(config, "effort", str, "output_config")
    asked = Reasoning(False) if checks_safety else read_reasoning(data.get("thinking"), effort, profile)
    reasoning = _reasoning(asked, emission == "show", profile)
    if reasoning:
        body["reasoning"] = reasoning
    stops = read_stops(data, 0)  # the API has no parameter for them
    set_sampling(body, data, profile)
    read_top_k(data)
    set_identity(body, data, profile)
    asks_stream = stream if profile.streaming == "asked" else profile.streaming == "always"
    if asks_stream:
        body["stream"] = True
        if profile.obfuscation == "off":
            body["stream_options"] = {"include_obfuscation": False}
    add_extra(body, json, profile)

    upstream = UpstreamBody(body, estimate_request)
    context = Context(
        model=model or name,
        profile=profile,
        upstream_model=name,
        thinking=emission,
        tool_names=tools.by_upstream,
        tools=tools.names,
        tool_schemas=tools.schemas,
        text_tools=tools.offered if body.get("tool_choice") != "none" else {},
        used_tool_ids=frozenset(converted.ids),
        stop_sequences=stops.all,
        local_stops=stops.local,
        max_tokens=body.get("max_output_tokens"),
        hosted_search=None if search is None else last_query(messages),
        estimate_input=upstream.tokens,
    )
    return ConvertedRequest(
        upstream,
        context,
        stream,
        asks_stream,
        str(body.get("model")),
        clamped_from,
        json,
        "responses",
        converted.left_out,
    )


def _set_format(
    body: dict[str, Any], schema: dict[str, Any], system: list[str], profile: Profile
) -> list[dict[str, Any]]:
    """Convert ``output_config.format`` to ``text.format``; instructions for the model go into the system prompt, or
    into the returned items.
    """
    if profile.structured_output == "json_schema":
        fitted = fit_format(schema, profile.schema_dialect).schema
        form = {"type": "json_schema", "name": "response", "schema": fitted, "strict": is_strict(fitted)}
        body["text"] = {"format": form}
        return []
    if profile.structured_output == "json_object":
        body["text"] = {"format": {"type": "json_object"}}
        # The word JSON has to be in the input: the instructions don't count.
        text = {"type": "input_text", "text": schema_rule(schema)}
        role = "user" if profile.mid_system == "user" else "developer"
        return [{"type": "message", "role": role, "content": [text]}]
    system.append(schema_rule(schema))
    return []


def _reasoning(asked: Reasoning, shown: bool, profile: Profile) -> dict[str, Any]:
    if profile.reasoning_style == "none":
        return {}
    reasoning: dict[str, Any] = {}
    if word := effort_word(asked, profile):
        reasoning["effort"] = word
    if shown and profile.reasoning_summary == "auto":
        reasoning["summary"] = "auto"
    return reasoning
