"""What a refusal of a Responses request teaches. The wordings are the providers' own, as for chat completions."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..providers import (
    EFFORTS,
    Correction,
    Patch,
    Profile,
    Rule,
    Sent,
    Words,
    first_correction,
    forced_choice,
    top,
    unsupported,
)
from .returned import item_digest

_EFFORT_WORD = re.compile(rf"\b(?:{'|'.join(EFFORTS)})\b", re.IGNORECASE)

# OpenAI and hosts in front of it, by the issues of agents that return encrypted reasoning.
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


def find_correction(status: int, body: bytes, sent: Mapping[str, Any], profile: Profile) -> Correction | None:
    """The switches to change so that the provider takes what it has refused, or None if that can't be known.

    ``status`` and ``body`` are its answer, ``sent`` the body that it got, ``profile`` the profile that made it.
    """
    return first_correction(_RULES, status, body, sent, profile)


def reasoning_refused(words: str, sent: Mapping[str, Any], profile: Profile) -> Correction | None:
    """The same request without any reasoning item, where the provider refuses one that it has made itself."""
    if profile.reasoning_roundtrip == "off" or not _REASONING_REFUSED.search(words):
        return None
    items = frozenset(item_digest(item) for item in sent["input"] if item.get("type") == "reasoning")
    if not items:
        return None
    return Correction({"reasoning_roundtrip": "off"}, lasting=False, refusal=words, reasoning=items)


def _reasoning(name: str) -> Callable[[Sent], bool]:
    return lambda sent: name in (sent.get("reasoning") or ())


def _in_tools(key: str) -> Callable[[Sent], bool]:
    return lambda sent: any(tool.get(key) for tool in sent.get("tools") or ())


def _has_developer(sent: Sent) -> bool:
    return any(item.get("role") == "developer" for item in sent["input"])


def _has_output_parts(sent: Sent) -> bool:
    return any(isinstance(item.get("output"), list) for item in sent["input"])


def _format(kind: str) -> Callable[[Sent], bool]:
    return lambda sent: ((sent.get("text") or {}).get("format") or {}).get("type") == kind


def _listed_efforts(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    """The efforts that the refusal lists."""
    effort = sent["reasoning"]["effort"]
    listed = {word.lower() for word in _EFFORT_WORD.findall(match["list"])} - {effort}
    efforts = tuple(word for word in EFFORTS if word in listed)
    patch: dict[str, Any] = {"efforts": efforts}
    if efforts and profile.effort_off not in (*efforts, "omit"):
        patch["effort_off"] = efforts[0]
    return patch


def _listed_limit(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    limit = int(next(filter(None, match.groups())))
    return {"max_output": limit} if 0 < limit < sent["max_output_tokens"] else {}


_RULES = (
    Rule(
        Words(
            r"max_output_tokens is too large: \d+\. This model supports at most (\d{1,9})",
            r"max_output_tokens@ [^\n]{0,60}above maximum value, expected a value <= (\d{1,9})",
        ),
        top("max_output_tokens"),
        _listed_limit,
    ),
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
    Rule(
        Words(
            rf"(?:effort|unsupported value: @(?:{'|'.join(EFFORTS)})@ is not supported).{{0,120}}?"
            r"(?:supported values are|must be|should be|expected)(?: one of)?:? (?P<list>[^\[.\n]{1,120})"
        ),
        _reasoning("effort"),
        _listed_efforts,
    ),
    Rule(unsupported("reasoning.effort", "reasoning_effort"), _reasoning("effort"), {"efforts": ()}),
    Rule(
        Words(unsupported("reasoning").pattern, r"does not support (?:thinking|reasoning)"),
        top("reasoning"),
        {"reasoning_style": "none"},
    ),
    Rule(unsupported("temperature", "top_p"), top("temperature", "top_p"), {"sampling": "drop"}),
    Rule(
        unsupported("stream_options", "stream_options.include_obfuscation", "include_obfuscation"),
        top("stream_options"),
        {"obfuscation": "default"},
    ),
    Rule(unsupported("user"), top("user"), {"user_field": "none"}),
    Rule(unsupported("safety_identifier"), top("safety_identifier"), {"user_field": "none"}),
    Rule(unsupported("prompt_cache_key"), top("prompt_cache_key"), {"prompt_cache_key": False}),
    Rule(unsupported("service_tier"), top("service_tier"), {"service_tier": "drop"}),
    Rule(unsupported("parallel_tool_calls"), top("parallel_tool_calls"), {"parallel_flag": False}),
    Rule(unsupported("tool_choice"), forced_choice, {"forced_tool_choice": False}),
    Rule(
        Words(r"input\S{0,20}\boutput@?:? [^\n]{0,40}(?:expected|should be|must be) (?:a |an )?(?:valid )?string"),
        _has_output_parts,
        {"tool_output_parts": False},
    ),
    Rule(Words(r"invalid schema for function"), _in_tools("strict"), {"strict_tools": False}, lasting=False),
    Rule(Words(r"invalid schema for function"), _in_tools("parameters"), {"schema_dialect": "gemini"}, lasting=False),
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
            Words(r"invalid schema for response[_ ]format", r"invalid schema for text\.format"),
            _format(sent),
            {"structured_output": instead},
            lasting=False,
        )
        for sent, instead in (("json_schema", "json_object"), ("json_object", "prompt"))
    ),
    Rule(
        Words(
            r"role@ does not support @developer",
            r"developer@ is not one of",
            r"(?:invalid|unknown|unexpected)[^\n]{0,20} role",
        ),
        _has_developer,
        {"mid_system": "user"},
    ),
)
