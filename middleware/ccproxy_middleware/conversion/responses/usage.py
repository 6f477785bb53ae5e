"""Token counts and the end of a Responses answer, in the terms of chat completions, which the client's side knows."""

from collections.abc import Callable, Mapping
from typing import Any

from ..chat.usage import convert_usage
from ..context import Context

_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


def answer_usage(response: Mapping[str, Any], context: Context, estimate_output: Callable[[], int]) -> dict[str, Any]:
    """The usage of a response, estimated where it tells none."""
    usage = response.get("usage")
    known = usage if isinstance(usage, dict) else {}
    chat = {
        "prompt_tokens": known.get("input_tokens"),
        "completion_tokens": known.get("output_tokens"),
        "prompt_tokens_details": known.get("input_tokens_details"),
        "completion_tokens_details": known.get("output_tokens_details"),
    }
    return convert_usage(chat, context, estimate_output)


def finish_reason(response: Mapping[str, Any]) -> str:
    """Why a response ended, as chat completions would say it."""
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return _FINISH_REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"
