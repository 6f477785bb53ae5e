"""The texts and the usage of calls. Token counts are added up in Anthropic's terms, as the conversion reports them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..conversion.chat import convert_usage
from ..conversion.context import Context
from ..conversion.counting import estimate_tokens
from ..toolkit.errors import ApiError

Usage = Mapping[str, int]
"""``input_tokens`` (without cached ones), ``cache_creation_input_tokens``, ``cache_read_input_tokens``,
``output_tokens``, and ``thinking_tokens``, which are part of the output."""


@dataclass(slots=True)
class Seen:
    """The facts in an answer, or in one event of it."""

    text: str = ""
    calls_tool: bool = False
    usage: Usage | None = None
    complete: bool = False
    error: ApiError | None = None


_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


def total(usages: Iterable[Usage]) -> Usage:
    """The sum."""
    usages = list(usages)
    return {name: sum(usage.get(name, 0) for usage in usages) for name in (*_COUNTS, "thinking_tokens")}


def from_openai(usage: Mapping[str, Any] | None, prompt: str, answer: str) -> Usage:
    """The counts of a completion; what it does not report is estimated from its texts."""
    context = Context(model="", estimate_input=lambda: estimate_tokens(prompt))
    return from_anthropic(convert_usage(usage, context, lambda: estimate_tokens(answer)))


def from_anthropic(usage: Mapping[str, Any]) -> Usage:
    """The counts of a message, or of a ``message_delta``."""
    counts = {name: _count(usage.get(name)) for name in _COUNTS}
    details = usage.get("output_tokens_details")
    counts["thinking_tokens"] = _count(details.get("thinking_tokens")) if isinstance(details, Mapping) else 0
    return counts


def add_to_anthropic(usage: Mapping[str, Any], more: Usage) -> dict[str, Any]:
    """A message's usage with those of other calls; only ``message_delta`` may lack some counts."""
    added = {**usage, **{name: _count(usage.get(name)) + more.get(name, 0) for name in _COUNTS if name in usage}}
    details = usage.get("output_tokens_details")
    if isinstance(details, Mapping) or more.get("thinking_tokens"):
        details = details if isinstance(details, Mapping) else {}
        thinking = _count(details.get("thinking_tokens")) + more.get("thinking_tokens", 0)
        added["output_tokens_details"] = {**details, "thinking_tokens": thinking}
    return added


def add_to_openai(usage: Mapping[str, Any], more: Usage) -> dict[str, Any]:
    """A completion's usage with those of other calls, in OpenAI's terms."""
    cached = more.get("cache_read_input_tokens", 0)
    written = more.get("cache_creation_input_tokens", 0)
    prompt = more.get("input_tokens", 0) + cached + written
    completion = more.get("output_tokens", 0)
    added = dict(usage)
    for name, count in (
        ("prompt_tokens", prompt),
        ("completion_tokens", completion),
        ("total_tokens", prompt + completion),
    ):
        added[name] = _count(usage.get(name)) + count
    for holder, name, count in (
        ("prompt_tokens_details", "cached_tokens", cached),
        ("prompt_tokens_details", "cache_write_tokens", written),
        ("completion_tokens_details", "reasoning_tokens", more.get("thinking_tokens", 0)),
    ):
        if count:
            details = added.get(holder)
            details = details if isinstance(details, Mapping) else {}
            added[holder] = {**details, name: _count(details.get(name)) + count}
    return added


def add_to_responses(usage: Mapping[str, Any], more: Usage) -> dict[str, Any]:
    """A response's usage with those of other calls."""
    chat = {chat: usage[name] for name, chat in _RESPONSES_NAMES.items() if name in usage}
    added = add_to_openai(chat, more)
    return {**usage, **{name: added[chat] for name, chat in _RESPONSES_NAMES.items() if chat in added}}


_RESPONSES_NAMES = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "total_tokens": "total_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}


def as_cached(usage: Usage) -> Usage:
    """The usage of a cached answer: its input counts as read from a cache, since clients measure the context by it."""
    read = sum(usage.get(name, 0) for name in _COUNTS if name != "output_tokens")
    return {"cache_read_input_tokens": read}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
