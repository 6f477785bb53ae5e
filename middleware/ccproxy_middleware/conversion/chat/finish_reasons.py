"""The meaning of the finish reasons of chat completions, including the providers' own values."""

from collections.abc import Mapping
from typing import Any

from ...toolkit.errors import ApiError
from ..anthropic import StopReason
from ..context import Context

_LIMITS: dict[str, StopReason] = {
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "model_length": "model_context_window_exceeded",
}
_REFUSALS = ("content_filter", "safety", "sensitive", "recitation")
_FAILURES = ("error", "network_error", "abort", "malformed", "function_call_filter")


def check_finish_reason(finish_reason: str | None) -> None:
    """Raise ApiError if the finish reason means that the answer failed: 529 or 502."""
    reason = (finish_reason or "").lower()
    if reason == "insufficient_system_resource":
        raise ApiError(529, "overloaded_error", "upstream ran out of resources")
    if reason.startswith(_FAILURES) or "malformed" in reason:
        raise ApiError(502, "api_error", f"upstream failed while answering: {finish_reason}"[:200])


def cut_off(finish_reason: str | None) -> bool:
    """Whether the answer hit a limit, so that its last value may be incomplete."""
    return (finish_reason or "").lower() in _LIMITS


def ends_well(finish_reason: str | None) -> bool:
    """Whether the model ended its answer itself."""
    word = (finish_reason or "stop").lower()
    return word not in _LIMITS and not word.startswith(_REFUSALS)


def upstream_stop(choice: Mapping[str, Any], context: Context) -> str | None:
    """The stop sequence that the provider reports (vLLM, SGLang); a number there is the id of an end token."""
    for word in (choice.get("stop_reason"), choice.get("matched_stop")):
        if isinstance(word, str) and word in context.stop_sequences:
            return word
    return None


def stop_reason(finish_reason: str | None) -> StopReason | None:
    """The limit or the refusal that a finish reason reports; None: the model ended its answer itself."""
    word = (finish_reason or "").lower()
    return _LIMITS.get(word) or ("refusal" if word.startswith(_REFUSALS) else None)
