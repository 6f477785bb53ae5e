"""Reasoning in upstream's answers: the fields and forms in which it comes."""

from collections.abc import Mapping
from typing import Any, Literal

from ..anthropic import detail_text

_THOUGHTS = frozenset({"thinking", "reasoning", "reasoning_text", "reasoning_content", "summary_text"})
_TEXTS = ("text", "content", "summary", "refusal", "value")  # where an item has its text, unless by its type
_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")


def reasoning_text(message: Mapping[str, Any], source: str | None = None) -> tuple[str, str]:
    """The field that holds a message's (or delta's) reasoning, and the text: ``("", "")`` if there is none.

    Servers often send the same text in two fields, so only the first that holds any is read; with ``source``, only
    that one.
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

    An item of a type that nobody knows is shown for its text, so that nothing of the answer is lost.
    """
    parts: list[str] = []
    for chunk in chunks if isinstance(chunks, list) else [chunks]:
        if isinstance(chunk, str) and kind == "text":
            parts.append(chunk)
        if not isinstance(chunk, dict) or ((type_ := str(chunk.get("type"))) in _THOUGHTS) != (kind == "thinking"):
            continue
        for name in (type_, *_TEXTS):
            value = chunk.get(name)
            if isinstance(value, dict):  # of OpenAI's Assistants
                value = value.get("value")
            text = chunks_text(value, "text") if isinstance(value, list) else value
            if isinstance(text, str) and text:
                parts.append(text)
                break
    return "".join(parts)


def thought_signature(call: Mapping[str, Any]) -> str | None:
    """Gemini's signature on a tool call, which has to come back with it."""
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
