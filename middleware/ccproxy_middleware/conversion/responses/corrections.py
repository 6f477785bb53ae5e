"""What a refusal of a Responses request teaches.

This module has the rules for what chat completions does not have, or has in another place. All other rules are those of
chat completions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..providers import (
    DEVELOPER,
    IN_RESULTS,
    Correction,
    Profile,
    Rule,
    Sent,
    Words,
    find_correction,
    first_correction,
    top,
    unsupported,
)
from .returned import item_digest

# OpenAI and compatible hosts, from the issues of agents that return encrypted reasoning.
_REASONING_REFUSED = Words(
    r"invalid_encrypted_content",
    r"could not be (?:verified|decrypted)",
    r"organization_id did not match",
    r"was not issued to this caller",
    r"item with id @[^\s'\"`]{1,200}@ not found",
    r"without its required following item",
    r"without its required @reasoning@ item",
    r"duplicate item found",
)


# Switches that have no meaning, or another one, with Responses.
_OF_CHAT = frozenset(
    ("assistant_null_content", "max_tokens_field", "reasoning_roundtrip", "stop_limit", "stream_usage", "system_role",
     "text_parts", "tool_images", "tool_result_name", "tools_with_effort", "top_k")
)  # fmt: skip


def find_responses_correction(status: int, body: bytes, sent: Mapping[str, Any], profile: Profile) -> Correction | None:
    """The switches to change so that the provider accepts what it refused, or None if they can't be determined.

    ``status`` and ``body`` are its answer, ``sent`` is the request body, and ``profile`` is the profile that made it.
    """
    return first_correction(_RULES, status, body, sent, profile) or find_correction(
        status, body, _as_chat(sent, profile), profile, _OF_CHAT
    )


def reasoning_refused(words: str, sent: Mapping[str, Any], profile: Profile) -> Correction | None:
    """The same request without any reasoning item, if the provider refuses one that it created itself."""
    if profile.reasoning_roundtrip == "off" or not _REASONING_REFUSED.search(words):
        return None
    items = frozenset(item_digest(item) for item in sent["input"] if item.get("type") == "reasoning")
    if not items:
        return None
    return Correction({"reasoning_roundtrip": "off"}, lasting=False, refusal=words, reasoning=items)


_PARTS = {"input_text": "text", "output_text": "text", "input_file": "file"}
_NAMED_OTHERWISE = ("input", "instructions", "max_output_tokens", "stream_options", "text", "tools")


def _as_chat(sent: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """The equivalent chat body, as far as both APIs have the fields. Returned reasoning is left out."""
    chat = {name: value for name, value in sent.items() if name not in _NAMED_OTHERWISE}
    chat["messages"] = list(_messages(sent))
    if "max_output_tokens" in sent:
        chat[profile.max_tokens_field] = sent["max_output_tokens"]
    if "tools" in sent:
        chat["tools"] = [_tool(tool) for tool in sent["tools"]]
    if "effort" in (sent.get("reasoning") or ()):
        chat["reasoning_effort"] = sent["reasoning"]["effort"]
    if form := (sent.get("text") or {}).get("format"):
        chat["response_format"] = {"type": form.get("type")}
    return chat


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """``strict`` is always sent, and matters only if it is on."""
    return {"type": "function", "function": {name: value for name, value in tool.items() if value is not False}}


def _messages(sent: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "instructions" in sent:
        yield {"role": "system", "content": sent["instructions"]}
    for item in sent["input"]:
        match item.get("type"):
            case "message":
                yield {"role": item["role"], "content": _content(item["content"])}
            case "function_call":
                yield {"role": "assistant", "tool_calls": [{"function": item}]}
            case "function_call_output":
                yield {"role": "tool", "content": _content(item["output"])}


def _content(content: Any) -> Any:
    return [_part(part) for part in content] if isinstance(content, list) else content


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "input_image":
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    return {**part, "type": _PARTS.get(part["type"], part["type"])}


def _reasoning(name: str) -> Callable[[Sent], bool]:
    return lambda sent: name in (sent.get("reasoning") or ())


def _has_developer(sent: Sent) -> bool:
    return any(item.get("role") == "developer" for item in sent["input"])


def _has_output_parts(sent: Sent) -> bool:
    return any(isinstance(item.get("output"), list) for item in sent["input"])


def _format(kind: str) -> Callable[[Sent], bool]:
    return lambda sent: ((sent.get("text") or {}).get("format") or {}).get("type") == kind


_RULES = (
    Rule(
        Words(
            r"encrypted content is not supported",
            r"reasoning\.encrypted_content@ is not",
            unsupported("include").pattern,
        ),
        top("include"),
        {"encrypted_reasoning": False},
    ),
    Rule(
        Words(
            r"must be verified to generate reasoning summaries",  # OpenAI
            unsupported("reasoning.summary", "reasoning_summary").pattern,
        ),
        _reasoning("summary"),
        {"reasoning_summary": "drop"},
    ),
    Rule(unsupported("reasoning.effort"), _reasoning("effort"), {"efforts": ()}),
    Rule(Words(r"does not support (?:thinking|reasoning)\b"), top("reasoning"), {"reasoning_style": "none"}),
    Rule(
        unsupported("stream_options", "stream_options.include_obfuscation", "include_obfuscation"),
        top("stream_options"),
        {"obfuscation": "default"},
    ),
    Rule(
        Words(
            IN_RESULTS.pattern,
            r"input\S{0,20}\boutput@?:? [^\n]{0,40}(?:expected|should be|must be) (?:a |an )?(?:valid )?string",
        ),
        _has_output_parts,
        {"tool_output_parts": False},
    ),
    *(
        Rule(
            Words(
                unsupported("text", "text.format", "text.format.type").pattern,
                r"text\.format@ of type @json_\w+@ is not supported",
                r"@json_schema@ is not supported",
            ),
            _format(sent),
            {"structured_output": instead},
        )
        for sent, instead in (("json_schema", "json_object"), ("json_object", "prompt"))
    ),
    *(
        Rule(
            Words(r"invalid schema for text\.format"),
            _format(sent),
            {"structured_output": instead},
            lasting=False,
        )
        for sent, instead in (("json_schema", "json_object"), ("json_object", "prompt"))
    ),
    Rule(
        Words(DEVELOPER.pattern, r"(?:invalid|unknown|unexpected)[^\n]{0,20} role"),
        _has_developer,
        {"mid_system": "user"},
    ),
)
