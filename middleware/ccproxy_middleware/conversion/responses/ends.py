"""How an answer ended: the reason, the usage and what was left out; or the failure."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import Any

from ...toolkit.errors import ApiError
from ..anthropic import StopReason
from ..chat import convert_usage
from ..context import Context
from ..providers import Profile, error_from_payload, error_from_response
from .output_items import kind_of

_REASONS: dict[str, StopReason] = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}
_MAX_NAME = 64

# The fields in which a provider gives the time to wait: over HTTP, in a failed response or in an event.
_AGAIN = re.compile(r"try again in (\d{1,6}(?:\.\d{1,6})?) ?(ms|s|m)\b", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def answer_usage(response: Mapping[str, Any], context: Context, estimate_output: Callable[[], int]) -> dict[str, Any]:
    """The usage of a response, estimated if it has none."""
    usage = response.get("usage")
    known = usage if isinstance(usage, dict) else {}
    chat = {
        "prompt_tokens": known.get("input_tokens"),
        "completion_tokens": known.get("output_tokens"),
        "prompt_tokens_details": known.get("input_tokens_details"),
        "completion_tokens_details": known.get("output_tokens_details"),
    }
    return convert_usage(chat, context, estimate_output)


def limit_or_refusal(response: Mapping[str, Any]) -> StopReason | None:
    """Why a response is incomplete; None: the model ended it itself."""
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return _REASONS.get(reason) if isinstance(reason, str) else None


def answer_notes(response: Any, dropped: Counter[str] | None = None, *, hosted: bool = False) -> list[str]:
    """What was left out, a line for each. ``dropped``: the types of a streamed answer's items that have no
    equivalent.
    """
    if not isinstance(response, Mapping):
        return []
    if dropped is None:
        output = response.get("output")
        items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
        dropped = Counter(str(item.get("type")) for item in items if kind_of(item, hosted=hosted) is None)
    notes = [
        f"answer: {number} {kind[:_MAX_NAME]} left out: it means nothing to the client"
        for kind, number in dropped.items()
    ]
    changes = response.get("input_transformations")
    reasons = Counter(
        str(change.get("reason"))[:_MAX_NAME]
        for change in (changes if isinstance(changes, list) else ())
        if isinstance(change, dict)
    )
    return notes + [f"the provider has left out {n} of its own reasoning: {why}" for why, n in reasons.items()]


def error_of_http(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, profile: Profile, *, max_tokens: int | None
) -> ApiError:
    """The error for an answer that is not 2xx."""
    return _with_time(error_from_response(status, headers, body, profile, max_tokens=max_tokens))


def error_of_response(error: Any, context: Context) -> ApiError:
    """The error for the content of ``error`` in a failed response, or in an ``error`` event."""
    fields = dict(error) if isinstance(error, Mapping) else {"message": error if isinstance(error, str) else ""}
    code, kind = fields.get("code"), fields.get("type")
    status = None
    if code:
        fields.pop("type", None)  # it is less specific
    elif not kind or kind == "error":
        fields.pop("type", None)
        status = 500
    failure = error_from_payload({"error": fields}, status, context.profile, max_tokens=context.max_tokens)
    return _with_time(failure)


def _with_time(error: ApiError) -> ApiError:
    """The error with the time to wait that its message contains."""
    names = {name for name, _ in error.headers}
    if error.status == 429 and "retry-after" not in names and (found := _AGAIN.search(error.message)):
        seconds = ceil(float(found[1]) * _SECONDS[found[2].lower()])
        error.headers = (*error.headers, ("retry-after", str(max(1, seconds))))
    return error
