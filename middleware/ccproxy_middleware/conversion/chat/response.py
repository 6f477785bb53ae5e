"""A chat completion as an Anthropic Message."""

from collections.abc import Mapping
from typing import Any

from ...toolkit.errors import ApiError
from ...toolkit.json import dumps
from ..anthropic import (
    StopMatcher,
    ToolIds,
    client_tool_name,
    encode_signature,
    is_whole,
    nameless,
    new_message,
    parse_arguments,
    repaired,
    stop_outcome,
)
from ..context import Context
from ..counting import estimate_tokens
from ..hosted_search import chat_sources, found_by_chat, with_searches
from ..providers import error_from_payload, is_failure
from ..text_calls import as_functions, text_calls
from .choices import chosen
from .finish_reasons import check_finish_reason, cut_off, ends_well, stop_reason, upstream_stop
from .reasoning import chunks_text, reasoning_details, reasoning_text, thought_signature
from .think_tags import split_think_tags
from .usage import convert_usage, find_usage, service_tier

Block = dict[str, Any]

_INSIDE = ("data", "result", "response", "output", "completion")
_ENVELOPES = 3  # nested


def convert_response(data: Any, context: Context) -> dict[str, Any]:
    """Convert one chat completion to one Anthropic Message.

    Raises ApiError for a body that is not a completion: the error that an error object in it represents, else a 502 (no
    choice, wrong types, a finish reason that means the answer failed).
    """
    data = unwrapped(data)
    choice = _choice(data, context)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise _not_a_completion("it has no message")
    finish_reason = choice.get("finish_reason")
    finish_reason = finish_reason if isinstance(finish_reason, str) else None
    check_finish_reason(finish_reason)

    refusal = message.get("refusal")
    refusal = refusal if isinstance(refusal, str) and refusal else None
    source, thinking, text = _thinking_and_text(message, context)
    matcher = StopMatcher(context.local_stops)
    text = matcher.feed(text) + matcher.finish()
    calls = _calls(message) if matcher.matched is None else []
    shown = text + (refusal or "")
    if thinking and not (shown.strip() or calls) and ends_well(finish_reason) and matcher.matched is None:
        text = thinking  # there is nothing else, so it is the answer
    splitter = text_calls(context)
    if not calls and splitter is not None and matcher.matched is None:
        text = splitter.feed(text)
        rest, found = splitter.finish()
        text, calls = text + rest, as_functions(found)

    stopped = upstream_stop(choice, context)
    cut = cut_off(finish_reason) or stopped is not None
    tool_uses, signatures = _tool_uses(calls, context, cut_off=cut)
    envelope = _envelope(message, source, signatures, context)
    blocks: list[Block] = []
    if _emits_thinking(thinking, envelope, tool_uses, context):
        shown = thinking if context.thinking == "show" else ""
        blocks.append({"type": "thinking", "thinking": shown, "signature": encode_signature(envelope)})
    text += refusal or ""
    if text.strip() or (text and not blocks and not tool_uses):
        blocks.append({"type": "text", "text": text})
    blocks += tool_uses

    outcome = stop_outcome(
        stop_reason(finish_reason),
        matched=matcher.matched or stopped,
        refusal=refusal,
        has_tool_use=bool(tool_uses),
        has_whole_calls=bool(tool_uses) and all(map(_has_whole_arguments, calls)),
    )
    told = find_usage(data, choice)
    usage = convert_usage(told, context, lambda: _estimate_output(thinking, text, tool_uses))
    if context.hosted_search is not None:
        search, count = found_by_chat(context.hosted_search, chat_sources(message), told)
        usage = with_searches(usage, count)
        if search is not None:
            place = int(bool(blocks) and blocks[0]["type"] == "thinking")
            blocks[place:place] = search.blocks()
    return {
        **new_message(context.model, {**usage, **service_tier(data, context)}),
        "content": blocks,
        **outcome,
    }


def unwrapped(data: Any) -> Any:
    """A completion, or an error, without the envelope that some hosts put around it.

    For example ``{"data": {...}, "success": true}``; DashScope's own format has the usage beside ``output``.
    """
    for _ in range(_ENVELOPES):
        if isinstance(data, list) and len(data) == 1 and isinstance(data[0], dict) and "choices" in data[0]:
            data = data[0]
        if not isinstance(data, dict) or "choices" in data or is_failure(data):
            break
        inner = next((data[name] for name in _INSIDE if isinstance(data.get(name), dict)), None)
        if inner is None:
            break
        data = {"usage": data["usage"], **inner} if "usage" in data else inner
    return data


def upstream_error(data: Any, context: Context) -> ApiError | None:
    """The error that a provider reports in place of an answer or of a part of one."""
    if not is_failure(data):
        return None
    return error_from_payload(data, profile=context.profile, max_tokens=context.max_tokens)


def _choice(data: Any, context: Context) -> dict[str, Any]:
    """The choice that is the answer, merged from several if they have no distinct indexes."""
    choices = data.get("choices") if isinstance(data, dict) else None
    if (not choices or "base_resp" in data) and (failure := upstream_error(data, context)) is not None:
        raise failure
    found = chosen(choices)
    if not found:
        raise _not_a_completion("it has no choices")
    if any(choice.get("finish_reason") == "tool_calls" for choice in found) and not any(map(_has_calls, found)):
        found = [choice for choice in choices or () if isinstance(choice, dict)]  # the answer is split over all of them
    for choice in found:
        error = choice.get("error") or (data.get("error") if choice.get("finish_reason") == "error" else None)
        if error:
            raise error_from_payload({"error": error}, profile=context.profile, max_tokens=context.max_tokens)
    return found[0] if len(found) == 1 else _joined(found)


def _has_calls(choice: dict[str, Any]) -> bool:
    message = choice.get("message")
    return isinstance(message, dict) and bool(message.get("tool_calls") or message.get("function_call"))


def _joined(choices: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge several choices into one: texts are concatenated, all calls are kept, and of other fields the last
    value.
    """
    joined: dict[str, Any] = {}
    message: dict[str, Any] = {}
    for choice in choices:
        joined |= {name: value for name, value in choice.items() if value is not None}
        part = choice.get("message")
        for name, value in part.items() if isinstance(part, dict) else ():
            known = message.get(name)
            if name == "role":
                message[name] = value
            elif isinstance(known, str) and isinstance(value, str):
                message[name] = known + value
            elif isinstance(known, list) and isinstance(value, list):
                message[name] = [*known, *value]
            elif value is not None:
                message[name] = value
    return {**joined, "message": message}


def _thinking_and_text(message: Mapping[str, Any], context: Context) -> tuple[str, str, str]:
    """The field that contained the reasoning, the reasoning, and the text."""
    content = message.get("content")
    if isinstance(content, (list, dict)):
        text = chunks_text(content, "text")
    elif content is None or isinstance(content, str):
        text = content or ""
    else:
        raise _not_a_completion("its content is no text")
    audio = message.get("audio")
    if not text and isinstance(audio, dict) and isinstance(audio.get("transcript"), str):
        text = audio["transcript"]
    source, thinking = reasoning_text(message)
    if not thinking and context.profile.think_tags != "off":
        thinking, text = split_think_tags(text)
        source = "think_tags"
    return source, thinking, text


def _calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise _not_a_completion("its tool_calls are no list of calls")
    legacy = message.get("function_call")
    if not calls and isinstance(legacy, dict):
        calls = [{"function": legacy}]
    return calls


def _tool_uses(calls: list[dict[str, Any]], context: Context, *, cut_off: bool) -> tuple[list[Block], dict[str, str]]:
    """The tool_use blocks, and Gemini's signatures by the client's ids."""
    blocks: list[Block] = []
    signatures: dict[str, str] = {}
    ids = ToolIds(context)
    for call in calls:
        custom = call.get("custom")
        function = custom if isinstance(custom, dict) else call.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not name:
            if cut_off or not (call.get("id") or (isinstance(function, dict) and function.get("arguments"))):
                continue  # cut off in the middle of its name, or empty
            raise nameless()
        if isinstance(custom, dict):
            text = custom.get("input")
            input_: dict[str, Any] = {"input": text if isinstance(text, str) else ""}
        else:
            input_ = parse_arguments(function.get("arguments"), cut_off=cut_off)
        id_ = ids.claim(call.get("id"))
        name = client_tool_name(name, context)
        if name in context.tool_schemas:
            input_ = repaired(input_, context.tool_schemas[name], context.profile)
        blocks.append({"type": "tool_use", "id": id_, "name": name, "input": input_})
        if signature := thought_signature(call):
            signatures[id_] = signature
    return blocks, signatures


def _has_whole_arguments(call: Mapping[str, Any]) -> bool:
    function = call.get("function")
    return not isinstance(function, dict) or is_whole(function.get("arguments"))


def _envelope(message: Mapping[str, Any], source: str, signatures: dict[str, str], context: Context) -> dict[str, Any]:
    """The provider state that is stored in the signature of the thinking block."""
    envelope: dict[str, Any] = {"p": context.profile.name}
    if source:
        envelope["f"] = source
    if signatures and context.profile.reasoning_roundtrip == "gemini":
        envelope["calls"] = signatures
    details = reasoning_details(message)
    if details and context.profile.reasoning_roundtrip == "reasoning_details":
        envelope["details"] = details
    return envelope


def _emits_thinking(thinking: str, envelope: Mapping[str, Any], tool_uses: list[Block], context: Context) -> bool:
    """Whether to emit a thinking block; if not requested, only if tool calls would otherwise come back without their
    state.
    """
    has_state = "calls" in envelope or "details" in envelope
    if context.thinking == "off":
        return has_state and bool(tool_uses)
    return has_state or bool(thinking)


def _estimate_output(thinking: str, text: str, tool_uses: list[Block]) -> int:
    inputs = "".join(block["name"] + dumps(block["input"]).decode() for block in tool_uses)
    return estimate_tokens(thinking + text + inputs)


def _not_a_completion(why: str) -> ApiError:
    return ApiError(502, "api_error", f"the provider's answer is not a chat completion: {why}")
