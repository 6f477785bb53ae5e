"""Token counts of an answer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..context import Context

_SERVICE_TIERS = {
    "default": "standard", "flex": "standard", "scale": "standard", "auto": "standard",
    "priority": "priority", "fast": "priority",
}  # fmt: skip


# The fields in which hosts report cached prompt tokens, beside the prompt's details or in them. All are included in
# ``prompt_tokens``; the first field that is present counts.
_CACHE_READ = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "cache_read_tokens")
_CACHE_WRITE = (
    "cache_write_tokens",
    "cache_creation_input_tokens",
    "cache_creation_tokens",
    "created_cache_tokens",
)


def has_counts(usage: Mapping[str, Any]) -> bool:
    """Whether a usage has any counts: some servers end with one that is all zeros."""
    return any(_count(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))


def find_usage(body: dict[str, Any], choice: dict[str, Any]) -> dict[str, Any] | None:
    """The usage of a completion or chunk: at the top, in the choice (Moonshot) or under ``x_groq``."""
    groq = body.get("x_groq")
    for usage in (body.get("usage"), choice.get("usage"), groq.get("usage") if isinstance(groq, dict) else None):
        if usage and isinstance(usage, dict):
            return usage
    return None


def convert_usage(
    usage: Mapping[str, Any] | None, context: Context, estimate_output: Callable[[], int]
) -> dict[str, Any]:
    """OpenAI's usage in Anthropic's terms, where cached tokens are not part of ``input_tokens``.

    What the provider doesn't report is estimated, never null: clients use it to decide when to compact.
    """
    usage = usage or {}
    prompt = _count(usage, "prompt_tokens")
    completion = _count(usage, "completion_tokens")
    total = _count(usage, "total_tokens")
    if prompt is not None and total is not None and total > prompt + (completion or 0):
        completion = total - prompt  # Gemini and some Grok hosts count reasoning in the total only
    details = usage.get("prompt_tokens_details")
    cache_read = next(_counts((details, usage), _CACHE_READ), 0)
    cache_write = next(filter(None, _counts((details, usage), _CACHE_WRITE)), 0) or _cache_creation(usage)
    if prompt is None:
        prompt = context.estimate_input() + cache_read + cache_write
    converted: dict[str, Any] = {
        "input_tokens": max(0, prompt - cache_read - cache_write),
        "cache_creation_input_tokens": cache_write,
        "cache_read_input_tokens": cache_read,
        "output_tokens": completion if completion is not None else estimate_output(),
    }
    thinking = _count(usage.get("completion_tokens_details"), "reasoning_tokens")
    if thinking is not None:
        converted["output_tokens_details"] = {"thinking_tokens": thinking}
    return converted


def service_tier(body: Mapping[str, Any], context: Context) -> dict[str, str]:
    """``usage.service_tier``, if the client's own choice of a tier was passed on and the provider reports one."""
    tier = body.get("service_tier")
    if context.profile.service_tier == "pass" and isinstance(tier, str) and tier in _SERVICE_TIERS:
        return {"service_tier": _SERVICE_TIERS[tier]}
    return {}


def _counts(holders: Iterable[Any], names: Iterable[str]) -> Iterator[int]:
    for holder in holders:
        if isinstance(holder, dict):
            for name in names:
                if name in holder and (count := _count(holder, name)) is not None:
                    yield count


def _cache_creation(usage: Mapping[str, Any]) -> int:
    """Anthropic's own format, as some gateways pass it on: the tokens written, by cache lifetime."""
    by_time = usage.get("cache_creation")
    if by_time is None:
        return 0
    names = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
    return sum(_count(by_time, name) or 0 for name in names)


def _count(holder: Any, name: str) -> int | None:
    """A count if it is valid: JSON from the provider may contain anything."""
    value = holder.get(name) if isinstance(holder, dict) else None
    if type(value) is int and 0 <= value < 2**53:
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        return None
    return value
