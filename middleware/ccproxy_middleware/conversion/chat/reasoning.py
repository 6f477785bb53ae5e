"""Reasoning in upstream's answers, and the signature in which a provider's state rides through the client's history.

Some providers refuse a conversation that comes back without what they sent beside the text: thought signatures of
tool calls (Gemini), reasoning details (OpenRouter). Claude clients return thinking blocks unchanged, so the state
travels in a thinking block's ``signature``, and the proxy remembers nothing.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal

from ...toolkit.json import dumps, loads

MAX_SIGNATURE_CHARS = 64 * 1024

_PREFIX = "p1."
_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")
_DETAIL_FIELDS = {"reasoning.text": "text", "reasoning.summary": "summary"}  # encrypted ones have no text


def encode_signature(envelope: Mapping[str, Any]) -> str:
    """The signature of a thinking block: ``p1.`` and the envelope as unpadded base64url JSON.

    The envelope's keys, all optional: ``p`` the profile's name, ``f`` the field that the text came from, ``calls``
    a thought signature by tool id, ``details`` the provider's list of reasoning details. If the result would be over
    MAX_SIGNATURE_CHARS, the bulk (``details``, then ``calls``) is left out.
    """
    kept = dict(envelope)
    for bulk in ("details", "calls"):
        try:
            text = _pack(kept)
        except TypeError:  # nested too deeply to be written
            text = ""
        if 0 < len(text) <= MAX_SIGNATURE_CHARS:
            return text
        kept.pop(bulk, None)
    return _pack(kept)


def decode_signature(text: str) -> dict[str, Any] | None:
    """The envelope in a signature of ours; None for a foreign, damaged or oversized one.

    Where they are present, ``calls`` is a dict of strings and ``details`` a list of objects, whoever wrote them.
    """
    if not text.startswith(_PREFIX) or len(text) > MAX_SIGNATURE_CHARS:
        return None
    encoded = text[len(_PREFIX) :]
    try:
        envelope = loads(base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
    if not isinstance(envelope, dict):
        return None
    calls, details = envelope.get("calls"), envelope.get("details")
    if calls is not None:
        envelope["calls"] = _strings(calls)
    if details is not None:
        envelope["details"] = _objects(details)
    return envelope


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
        text = "".join(_detail_text(detail) for detail in reasoning_details(message))
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


def add_details(details: list[dict[str, Any]], more: list[dict[str, Any]]) -> None:
    """Append a delta's reasoning details; a fragment of the last detail's text continues it."""
    for detail in more:
        last = details[-1] if details else {}
        name = _DETAIL_FIELDS.get(str(detail.get("type")))
        same = all(last.get(key) == detail.get(key) for key in ("type", "index"))
        if name and same and isinstance(last.get(name), str):
            merged = {**last, **{key: value for key, value in detail.items() if value is not None}}
            merged[name] = last[name] + _detail_text(detail)
            details[-1] = merged
        else:
            details.append(detail)


def details_size(detail: Mapping[str, Any]) -> int:
    """About how many characters a detail takes in a signature."""
    return sum(len(value) if isinstance(value, str) else 8 for value in detail.values())


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


def _pack(envelope: Mapping[str, Any]) -> str:
    return _PREFIX + base64.urlsafe_b64encode(dumps(envelope)).decode().rstrip("=")


def _detail_text(detail: Mapping[str, Any]) -> str:
    text = detail.get(_DETAIL_FIELDS.get(str(detail.get("type")), ""))
    return text if isinstance(text, str) else ""


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: Any) -> dict[str, str]:
    return {key: item for key, item in value.items() if isinstance(item, str)} if isinstance(value, dict) else {}
