"""The signature of a thinking block, which carries a provider's state through the client's history.

Some providers refuse a returned conversation without the extra data that they sent beside the text: thought signatures
of tool calls (Gemini), reasoning details (OpenRouter). Claude clients return thinking blocks unchanged. The state is
therefore stored in a thinking block's ``signature``, and the proxy itself stays stateless.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from ...toolkit.json import dumps, loads

MAX_SIGNATURE_CHARS = 64 * 1024

_PREFIX = "p1."
_DETAIL_FIELDS = {"reasoning.text": "text", "reasoning.summary": "summary"}  # encrypted ones have no text


def encode_signature(envelope: Mapping[str, Any]) -> str:
    """The signature of a thinking block: ``p1.`` and the envelope as unpadded base64url JSON.

    The envelope's keys, all optional: ``p`` the profile's name, ``f`` the field that the text came from, ``calls`` a
    thought signature by tool id, ``details`` the provider's list of reasoning details. If the result would exceed
    MAX_SIGNATURE_CHARS, ``details`` is left out first, then ``calls``.
    """
    kept = dict(envelope)
    for bulk in ("details", "calls"):
        try:
            text = _pack(kept)
        except TypeError:  # nested too deeply to be serialized
            text = ""
        if 0 < len(text) <= MAX_SIGNATURE_CHARS:
            return text
        kept.pop(bulk, None)
    return _pack(kept)


def is_own_state(text: Any) -> bool:
    """Whether a signature, or the value in its place, was made by the proxy; Anthropic's contain no full stop."""
    return isinstance(text, str) and text.startswith(_PREFIX)


def decode_signature(text: str) -> dict[str, Any] | None:
    """The envelope in a signature made by the proxy; None for a foreign, damaged or oversized one.

    If present, ``calls`` is always a dict of strings and ``details`` a list of objects, whoever wrote them.
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


def add_details(details: list[dict[str, Any]], more: list[dict[str, Any]]) -> None:
    """Append a delta's reasoning details; a fragment of the last detail's text is joined to it."""
    for detail in more:
        last = details[-1] if details else {}
        name = _DETAIL_FIELDS.get(str(detail.get("type")))
        same = all(last.get(key) == detail.get(key) for key in ("type", "index"))
        if name and same and isinstance(last.get(name), str):
            merged = {**last, **{key: value for key, value in detail.items() if value is not None}}
            merged[name] = last[name] + detail_text(detail)
            details[-1] = merged
        else:
            details.append(detail)


def details_size(detail: Mapping[str, Any]) -> int:
    """The approximate number of characters that a detail takes in a signature."""
    return sum(len(value) if isinstance(value, str) else 8 for value in detail.values())


def detail_text(detail: Mapping[str, Any]) -> str:
    """The text of a reasoning detail; encrypted ones have none."""
    text = detail.get(_DETAIL_FIELDS.get(str(detail.get("type")), ""))
    return text if isinstance(text, str) else ""


def _pack(envelope: Mapping[str, Any]) -> str:
    return _PREFIX + base64.urlsafe_b64encode(dumps(envelope)).decode().rstrip("=")


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: Any) -> dict[str, str]:
    return {key: item for key, item in value.items() if isinstance(item, str)} if isinstance(value, dict) else {}
