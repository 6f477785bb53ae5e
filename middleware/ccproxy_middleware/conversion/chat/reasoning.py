"""Reasoning in upstream's answers: the fields and forms in which it comes."""

from collections.abc import Mapping
from typing import Any, Literal

from ..anthropic import detail_text

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
    if source in (None, "content") and isinstance(message.get("content"), list):
        text = chunks_text(message["content"], "thinking")
        if text:
            return "content", text
    return "", ""


def reasoning_details(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """OpenRouter's ``reasoning_details`` of a message or delta."""
    return _objects(message.get("reasoning_details"))


def chunks_text(chunks: list[Any], kind: Literal["text", "thinking"]) -> str:
    """The text of one kind of chunk in list content, as Mistral sends it: ``{"type":"thinking","thinking":[..]}``."""
    parts: list[str] = []
    for chunk in chunks:
        if isinstance(chunk, dict) and chunk.get("type") == kind:
            value = chunk.get(kind)
            if isinstance(value, list):
                parts.append(chunks_text(value, "text"))
            elif isinstance(value, str):
                parts.append(value)
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
