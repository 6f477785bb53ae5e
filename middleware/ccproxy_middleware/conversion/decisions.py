"""What the conversion of a request left out or changed, and why, for the operator's log.

The lines are derived from the two bodies afterwards, so that a request whose log is not read costs nothing. They
contain numbers, switches, and the names of fields and tools; never the content of the conversation.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..web_search import is_search_tool
from .anthropic import SERVER_BLOCKS
from .chat import FIRST_USER, NO_RESULT
from .context import ConvertedRequest
from .providers import Profile
from .schemas import fit_tool

_MAX_NAME = 64

_READ = frozenset({
    "model", "messages", "max_tokens", "system", "stream", "tools", "tool_choice", "thinking", "output_config",
    "output_format", "stop_sequences", "temperature", "top_p", "top_k", "metadata", "service_tier",
})  # fmt: skip
_REASONING = ("reasoning_effort", "reasoning", "thinking", "chat_template_kwargs", "extra_body", "enable_thinking")
_PDF = {"text": "as the text that could be read", "file": "as files"}


def explain(
    data: Mapping[str, Any],
    request: ConvertedRequest,
    patch: Mapping[str, Any] = {},
    limit_settings: Mapping[str, str] = {},
) -> list[str]:
    """A line for each decision. ``data`` is the body that ``request`` was made from.

    ``patch`` are the switches that were set for a retry because the provider refused the first request.
    ``limit_settings``: the names of the settings for ``max_output`` and ``min_output``.
    """
    corrected = [f"{name} is {value!r}: the provider has refused it otherwise" for name, value in patch.items()]
    return [
        *corrected,
        *_api(request),
        *_parameters(data, request, limit_settings),
        *_reasoning(data, request),
        *_tools(data, request),
        *_tool_choice(data.get("tool_choice"), request.body, request.context.profile),
        *_messages(data, request),
    ]


def _api(request: ConvertedRequest) -> Iterator[str]:
    if request.api == "responses":
        yield "asked by Responses: api is responses, or auto takes it for the model"


def _parameters(data: Mapping[str, Any], request: ConvertedRequest, names: Mapping[str, str]) -> Iterator[str]:
    body, profile = request.body, request.context.profile
    responses = request.api == "responses"
    asked = data.get("max_tokens")
    sent = body.get("max_output_tokens" if responses else profile.max_tokens_field)
    if sent is not None and responses and sent > asked and sent != profile.min_output:
        yield f"max_tokens {asked} becomes {sent}: Responses takes no fewer"
    elif sent is not None and sent != asked:
        limit = "max_output" if sent < asked else "min_output"
        yield f"max_tokens {asked} becomes {sent}: {names.get(limit, limit)} is {sent}"
    for name in ("temperature", "top_p", "top_k"):
        if data.get(name) is not None and name not in body:
            switch = "top_k" if name == "top_k" and profile.top_k == "drop" else "sampling"
            why = "Responses has none" if responses and name == "top_k" else f"{switch} is drop"
            yield f"{name} is left out: {why}"
    if local := request.context.local_stops:
        why = "Responses has none" if responses else f"stop_limit is {profile.stop_limit}"
        yield f"{_are(len(local), 'stop sequence')} looked for here: {why}"
    if request.stream != request.asks_stream:
        asked_for = "a stream" if request.asks_stream else "a whole answer"
        yield f"the provider is asked for {asked_for}: streaming is {profile.streaming}"
    if data.get("service_tier") and "service_tier" not in body:
        yield "service_tier is left out: service_tier is drop"
    metadata = data.get("metadata")
    if isinstance(metadata, dict) and metadata.get("user_id") and profile.user_field == "none":
        yield "metadata.user_id is left out: user_field is none"
    config = data.get("output_config")
    wanted = data.get("output_format") or (config.get("format") if isinstance(config, dict) else None)
    if wanted and profile.structured_output != "json_schema":
        instead = profile.structured_output
        yield f"the JSON schema of the answer stands in the system prompt: structured_output is {instead}"
    unread = sorted(name for name, value in data.items() if name not in _READ and value is not None)
    if unread:
        yield f"left out, for want of a counterpart: {_listed(unread)}"


def _reasoning(data: Mapping[str, Any], request: ConvertedRequest) -> Iterator[str]:
    body, profile = request.body, request.context.profile
    config = data.get("output_config")
    effort = config.get("effort") if isinstance(config, dict) else None
    responses = request.api == "responses"
    sent = (body.get("reasoning") or {}).get("effort") if responses else body.get("reasoning_effort")
    if effort is not None and sent is not None and sent != effort:
        yield f"effort {_short(effort)} becomes {sent}: {_reasoning_switches(profile)}"
    elif (effort is not None or data.get("thinking") is not None) and not any(name in body for name in _REASONING):
        yield f"thinking and effort are left out: {_reasoning_switches(profile)}"


def _reasoning_switches(profile: Profile) -> str:
    efforts = ", ".join(profile.efforts) or "none"
    return (
        f"reasoning_style is {profile.reasoning_style}, efforts are {efforts}, with tools {profile.tools_with_effort}"
    )


def _tools(data: Mapping[str, Any], request: ConvertedRequest) -> Iterator[str]:
    context = request.context
    functions = [tool.get("function", tool) for tool in request.body.get("tools", ())]
    sent = {function["name"]: function for function in functions if "name" in function}
    for upstream, name in context.tool_names.items():
        if upstream != name:
            yield f"tool {_short(name)} is called {upstream}: tool_name_max is {context.profile.tool_name_max}"
    upstream_names = {name: upstream for upstream, name in context.tool_names.items()}
    for tool in data.get("tools") or ():
        given = tool.get("name")
        name = given if isinstance(given, str) else ""  # tools that are left out are not validated
        function = sent.get(upstream_names.get(name, ""))
        if function is None:
            if context.hosted_search is not None and is_search_tool(tool):
                yield "the provider searches the web by itself: web_search is hosted"
                continue
            alone = name in context.tools and "tools" in request.body
            why = "another must be called, and tool_choice_object is off" if alone else _absence(tool)
            yield f"tool {_short(name or tool.get('type'))} is left out: {why}"
            continue
        schema = tool.get("input_schema")
        if schema is not None and schema is not function["parameters"]:
            dialect = context.profile.schema_dialect
            what = _listed([*fit_tool(schema, dialect).changed]) or "properties"
            yield f"tool {_short(name)}: its schema is fitted ({what}), schema_dialect is {dialect}"
        limit = context.profile.tool_description_max
        if limit is not None and len(tool.get("description") or "") > limit:
            yield f"tool {_short(name)}: the end of its description stands in the system prompt (tool_description_max)"
        if tool.get("strict") is True and not function.get("strict"):
            yield f"tool {_short(name)}: strict is left out, by the switch strict_tools or for its schema"


def _absence(tool: Mapping[str, Any]) -> str:
    if tool.get("defer_loading") is True:
        return "it is deferred, and no tool_reference has named it"
    if tool.get("type", "custom") != "custom" and "input_schema" not in tool:
        return "it would run on Anthropic's servers"
    return "it was removed, or can't be called directly"


def _tool_choice(choice: Any, body: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    if not isinstance(choice, dict) or "tools" not in body:
        return
    if choice.get("type") in ("any", "tool") and body.get("tool_choice") == "auto":
        yield f"tool_choice {choice['type']} becomes auto: forced_tool_choice is off"
    if choice.get("type") == "tool" and body.get("tool_choice") == "required":
        yield "tool_choice tool becomes required: tool_choice_object is off"
    if choice.get("disable_parallel_tool_use") and not profile.parallel_flag:
        yield "disable_parallel_tool_use is left out: parallel_flag is off"


def _messages(data: Mapping[str, Any], request: ConvertedRequest) -> Iterator[str]:
    body, profile = request.body, request.context.profile
    system = data.get("system") or ""
    blocks = list(_blocks([system, *(message.get("content") for message in data["messages"])]))
    count = Counter(str(block.get("type")) for block in blocks)
    first = system if isinstance(system, str) else str(system[0].get("text"))
    if first.startswith("x-anthropic-billing-header"):
        yield "the billing header of the system prompt is left out: it would defeat the provider's prefix cache"
    if profile.system_role != "system" and request.api == "chat":
        yield f"the system prompt is sent as {profile.system_role}: system_role is {profile.system_role}"
    if profile.mid_system != "inline" and any(message.get("role") == "system" for message in data["messages"]):
        yield f"system messages have moved: mid_system is {profile.mid_system}"
    marks = sum("cache_control" in block for block in [*blocks, *(data.get("tools") or ())])
    if marks and profile.cache_control == "drop":
        yield f"{_are(marks, 'cache_control mark')} left out: cache_control is drop"
    if count["image"] and not (profile.vision and profile.content_parts):
        yield f"{_are(count['image'], 'image')} left out: vision or content_parts is off"
    elif (limits := _image_limits(profile)) and (fewer := count["image"] - _images(body)) > 0:
        yield f"{_are(fewer, 'image')} left out: {limits}"
    if count["document"] and profile.pdf in _PDF:
        yield f"{_are(count['document'], 'document')} sent {_PDF[profile.pdf]}: pdf is {profile.pdf}"
    thoughts = count["thinking"] + count["redacted_thinking"]
    if thoughts and profile.reasoning_roundtrip == "drop" and request.api == "chat":
        yield f"{_are(thoughts, 'thinking block')} left out: reasoning_roundtrip is drop"
    if request.api == "responses":
        returned = sum(item.get("type") == "reasoning" for item in body["input"])
        silent = thoughts - returned - sum(request.left_out.values())
        reasons = {**request.left_out, "nothing else is left of their turn": silent}
        for reason, number in reasons.items():
            if number > 0:
                yield f"{_are(number, 'thinking block')} left out: {reason}"
    if servers := sum(count[kind] for kind in SERVER_BLOCKS - {"document"}):
        yield f"{_are(servers, 'block')} left out: made by Anthropic's servers"
    if profile.first_user and _user_is_added(body):
        yield "a user message is added in front: first_user is on"
    told = count["tool_use"] - _calls(body)
    if told > 0 and profile.unoffered_calls == "text":
        yield f"{_are(told, 'tool call')} told as text, with the result: unoffered_calls is text"
    results = _results(body)
    if missing := sum(result == NO_RESULT for result in results):
        yield f"{_are(missing, 'tool call')} answered {NO_RESULT!r} for want of a result: history_repair is on"
    told = told if profile.unoffered_calls == "text" else 0
    if (stray := count["tool_result"] - told - (len(results) - missing)) > 0:
        yield f"{_are(stray, 'tool result')} sent as text for want of the call: history_repair is on"


def _user_is_added(body: Mapping[str, Any]) -> bool:
    """Whether the first message is a user message that the client did not send."""
    firsts = (body.get("messages") or body["input"])[:2]
    contents = (first.get("content") for first in firsts if first.get("role") == "user")
    return any(content in (FIRST_USER, _FIRST_INPUT) for content in contents)


_FIRST_INPUT = [{"type": "input_text", "text": FIRST_USER}]


def _calls(body: Mapping[str, Any]) -> int:
    if "input" in body:
        return sum(item.get("type") == "function_call" for item in body["input"])
    return sum(len(message.get("tool_calls") or ()) for message in body["messages"])


def _results(body: Mapping[str, Any]) -> list[Any]:
    """The results of tools, as the body for upstream contains them."""
    if "input" in body:
        return [item["output"] for item in body["input"] if item.get("type") == "function_call_output"]
    return [message["content"] for message in body["messages"] if message["role"] == "tool"]


def _images(body: Mapping[str, Any]) -> int:
    """The number of images, including those of tool results."""
    lists = [
        content
        for item in body.get("messages") or body.get("input") or ()
        if isinstance(item, dict)
        for content in (item.get("content"), item.get("output"))
        if isinstance(content, list)
    ]
    return sum(part.get("type") in ("image_url", "input_image") for content in lists for part in content)


def _image_limits(profile: Profile) -> str:
    """The switches that exclude some images."""
    limits = {
        "images_max": profile.images_max,
        "image_formats": " and ".join(profile.image_formats) or None,
        "image_urls": "drop" if profile.image_urls == "drop" else None,
        "tool_images": "drop" if profile.tool_images == "drop" else None,
    }
    return ", ".join(f"{name} is {value}" for name, value in limits.items() if value is not None)


def _blocks(contents: list[Any]) -> Iterator[dict[str, Any]]:
    """All blocks of these contents, including those in tool results. Invalid items from a client are skipped."""
    waiting = contents
    while waiting:
        blocks = [block for content in waiting if isinstance(content, list) for block in content]
        blocks = [block for block in blocks if isinstance(block, dict)]
        yield from blocks
        waiting = [block.get("content") for block in blocks]


def _are(number: int, things: str) -> str:
    return f"1 {things} is" if number == 1 else f"{number} {things}s are"


def _listed(names: list[str]) -> str:
    shown = ", ".join(_short(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def _short(name: Any) -> str:
    text = str(name)
    return text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 3] + "..."
