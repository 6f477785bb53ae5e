"""The total usage of several answers."""

from collections.abc import Iterable, Mapping
from typing import Any

_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


def total(usages: Iterable[Mapping[str, Any]], searches: int) -> dict[str, Any]:
    """The sum of the counts; all other fields are those of the last answer. ``searches`` is the number of searches that
    were run.
    """
    usages = list(usages)
    summed: dict[str, Any] = dict(usages[-1]) if usages else {}
    for name in _COUNTS:
        if any(name in usage for usage in usages):
            summed[name] = sum(_count(usage.get(name)) for usage in usages)
    details = [d for usage in usages if isinstance(d := usage.get("output_tokens_details"), Mapping)]
    if details:
        thinking = sum(_count(detail.get("thinking_tokens")) for detail in details)
        summed["output_tokens_details"] = {**details[-1], "thinking_tokens": thinking}
    told = summed.get("server_tool_use")
    summed["server_tool_use"] = {**(told if isinstance(told, Mapping) else {}), "web_search_requests": searches}
    return summed


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
