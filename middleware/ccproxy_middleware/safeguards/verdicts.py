"""The verdicts that are sent to a client, and how they are read from the judging model's answer.

The formats are those that Claude Code 2.1.332 reads.
"""

import re
from typing import Any

from ..toolkit.answers import WholeAnswer
from ..toolkit.json import loads

KIND = "dangerous_tool_use"

Verdict = dict[str, Any]

UNSUPPORTED = [{"type": KIND, "status": {"type": "unsupported"}}]
"""The results where nobody judges."""

NOT_FLAGGED: Verdict = {"type": "evaluated", "outcome": "not_flagged"}

_BOUNDARY = 50  # above this it is flagged
_MAX_REASON = 300  # characters
# As the client's own check reads it: one score, with only the reasoning before it and the named parts after it.
_ANSWER = re.compile(
    r"\s*(?:<thinking>(?:(?!</?thinking>|<severity).)*</thinking>\s*)?"
    r"<severity>\s*(0|[1-9][0-9]?|100)\s*</severity>"
    r"\s*(?:<category>(?P<category>[^<>]*)</category>\s*)?(?:<reason>(?P<reason>[^<>]*)</reason>\s*)?",
    re.DOTALL | re.IGNORECASE,
)
_TOO_LONG = re.compile(
    rb"prompt is too long|context_length_exceeded|maximum context length|exceeds the context window", re.IGNORECASE
)
_REFUSED = ("refusal", "content_filter")
_CUT_OFF = ("max_tokens", "model_context_window_exceeded", "length", "max_output_tokens")
_ENDED = ("end_turn", "stop_sequence", "stop")


def results(verdicts: dict[str, Verdict]) -> list[dict[str, Any]]:
    """``safeguard_results``; ``verdicts`` are by the ids of the ``tool_use`` blocks."""
    return [{"type": KIND, "status": {"type": "available", "tool_uses": verdicts}}]


def unavailable(reason: str) -> Verdict:
    """No verdict: timeout, error, refused, truncated, input_too_long or input_unparsed."""
    return {"type": "unavailable", "reason": reason}


def read_verdict(answer: WholeAnswer) -> Verdict:
    """The verdict in a model's answer, in any of the protocols. An answer that is not entirely clear gives none."""
    if answer.status != 200:
        if answer.status == 413 or (answer.status == 400 and _TOO_LONG.search(answer.body)):
            return unavailable("input_too_long")
        return unavailable("timeout" if answer.status in (408, 504) else "error")
    try:
        ended, text = _said(loads(answer.body))
    except (ValueError, LookupError, TypeError, AttributeError):
        return unavailable("error")
    if ended == "failed" and _TOO_LONG.search(answer.body):
        return unavailable("input_too_long")
    if ended in _REFUSED:
        return unavailable("refused")
    if ended in _CUT_OFF:
        return unavailable("truncated")
    found = _ANSWER.fullmatch(text) if ended in _ENDED else None
    if found is None:
        return unavailable("error")
    if int(found[1]) <= _BOUNDARY:
        return NOT_FLAGGED
    why = " ".join((found["reason"] or found["category"] or "").split())[:_MAX_REASON]
    return {"type": "evaluated", "outcome": "flagged", "explanation": why or f"severity {found[1]} of 100"}


def _said(data: Any) -> tuple[str, str]:
    """Why a message, completion or response ended, and its text."""
    if "choices" in data:
        choice = data["choices"][0]
        if choice["message"].get("refusal"):
            return "refusal", ""
        return str(choice["finish_reason"]), str(choice["message"].get("content") or "")
    if "status" in data:
        return _response_said(data)
    texts = [block["text"] for block in data["content"] if block["type"] == "text"]
    return str(data["stop_reason"]), "".join(texts)


def _response_said(data: Any) -> tuple[str, str]:
    if data["status"] != "completed":
        return str((data.get("incomplete_details") or {}).get("reason") or data["status"]), ""
    if any(item["type"] not in ("reasoning", "message") for item in data["output"]):
        return "tool_use", ""
    parts = [part for item in data["output"] if item["type"] == "message" for part in item["content"]]
    if any(part["type"] == "refusal" for part in parts):
        return "refusal", ""
    return "stop", "".join(part["text"] for part in parts)
