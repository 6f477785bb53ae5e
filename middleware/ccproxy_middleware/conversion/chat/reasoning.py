"""Reasoning in the provider's answers: the fields and formats in which it arrives."""

from collections.abc import Mapping
from typing import Any, Literal

from ..anthropic import detail_text

_THOUGHTS = frozenset({"thinking", "reasoning", "reasoning_text", "reasoning_content", "summary_text"})
_TEXTS = (
    "text",
    "content",
    "summary",
    "refusal",
    "transcript",
    "value",
)  # fields with the text of an item, unless its type names the field
_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")


def reasoning_text(message: Mapping[str, Any], source: str | None = None) -> tuple[str, str]:
    """The field that contains a message's (or delta's) reasoning, and the text: ``("", "")`` if there is none.

    Servers often send the same text in two fields, so only the first non-empty one is read; with ``source``, only that
    one.
    """
    for name in _FIELDS:
        if source in (None, name):
            text = message.get(name)
            if isinstance(text, str) and text:
                return name, text
    if source in (None, "reasoning_details") and "reasoning_details" in message:
        text = "".join(detail_text(detail) for detail in reasoning_details(message))
        if text:
            return "reasoning_details", text
    if source in (None, "content") and isinstance(message.get("content"), (list, dict)):
        text = chunks_text(message["content"], "thinking")
        if text:
            return "content", text
    return "", ""


def reasoning_details(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """OpenRouter's ``reasoning_details`` of a message or delta."""
    return _objects(message.get("reasoning_details"))


def chunks_text(chunks: Any, kind: Literal["text", "thinking"]) -> str:
    """The text of list content: of Mistral's ``{"type":"thinking","thinking":[..]}``, or of all other items.

    The text of an item of unknown type is included, so that nothing of the answer is lost.
    """
    parts: list[str] = []
    for chunk in chunks if isinstance(chunks, list) else [chunks]:
        if isinstance(chunk, str) and kind == "text":
            parts.append(chunk)
        if not isinstance(chunk, dict) or ((type_ := str(chunk.get("type"))) in _THOUGHTS) != (kind == "thinking"):
            continue
        for name in _TEXTS if type_.endswith(("url", "image", "file", "audio")) else (type_, *_TEXTS):
            value = chunk.get(name)
            if isinstance(value, dict):  # OpenAI's Assistants
                value = value.get("value")
            text = chunks_text(value, "text") if isinstance(value, list) else value
            if isinstance(text, str) and text:
                parts.append(text)
                break
    return "".join(parts)


def thought_signature(call: Mapping[str, Any]) -> str | None:
    """Gemini's signature of a tool call, which has to be returned with the call."""
    extra = call.get("extra_content")
    if not isinstance(extra, dict):
        return None
    for vendor in ("google", "vertex"):
        holder = extra.get(vendor)
        if isinstance(holder, dict) and isinstance(holder.get("thought_signature"), str):
            signature: str = holder["thought_signature"]
            return signature or None
    return None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
