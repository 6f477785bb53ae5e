"""A provider's reasoning item, stored in the signature of a thinking block.

Nothing is stored here or at the provider: the client returns its thinking blocks unchanged, including the provider's
own state. The item must be returned directly before the item it belonged to, so the signature records which one that
was.
"""

import base64
import binascii
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from ...toolkit.json import dumps, loads

MAX_STATE = 1024 * 1024
"""Characters of a signature; an item that would make it longer is left out of it."""

_PREFIX = "p1."
_CHECK = 8  # hexadecimal digits at the end

Item = dict[str, Any]


class Following(NamedTuple):
    """What followed a reasoning item, of the items that gave the client a block: a message, a call, more reasoning.

    ``value`` is the message's ``phase`` if it had one, or the client's id of the call.
    """

    kind: Literal["message", "call", "reasoning"]
    value: str | None = None


class State(NamedTuple):
    """The contents of a signature.

    before: how many messages that came after the item are before its thinking block; 0: the block is in its original
    position.
    """

    profile: str
    model: str
    item: Item | None
    following: Following | None
    before: int


def kept_item(item: Mapping[str, Any]) -> Item | None:
    """The fields of a reasoning item that must be returned; None if the provider could not use it."""
    encrypted = item.get("encrypted_content")
    summary = item.get("summary")
    kept: Item = {"summary": summary if isinstance(summary, list) else []}
    if isinstance(encrypted, str) and encrypted:
        return {**kept, "encrypted_content": encrypted}
    content = item.get("content")
    if isinstance(content, list) and content:
        return {**kept, "content": content}
    return kept if summary_text(kept) else None


def summary_text(item: Mapping[str, Any]) -> str:
    """The summary of a reasoning item: its non-empty texts, separated by blank lines."""
    return part_texts(item.get("summary"))


def part_texts(parts: Any) -> str:
    """The non-empty texts of parts, separated by blank lines."""
    found = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return "\n\n".join(text for text in found if isinstance(text, str) and text)


def encode_state(
    profile: str, model: str, item: Mapping[str, Any], following: Following | None, *, before: int = 0
) -> str:
    """The signature for a reasoning item. ``model`` is the name that the provider was asked for."""
    envelope: dict[str, Any] = {"p": profile, "m": model}
    if following is not None:
        envelope["n"] = [value for value in following if value is not None]
    if before:
        envelope["b"] = before
    if kept := kept_item(item):
        try:
            text = _pack({**envelope, "r": kept})
        except TypeError:  # nested too deeply to be serialized
            text = ""
        if 0 < len(text) <= MAX_STATE:
            return text
    return _pack(envelope)


def decode_state(signature: Any) -> State | None:
    """The contents of a signature; None for a foreign or damaged one."""
    if not isinstance(signature, str) or not signature.startswith(_PREFIX) or len(signature) > MAX_STATE:
        return None
    encoded, _, check = signature.removeprefix(_PREFIX).rpartition(".")
    if not encoded or check != _check(encoded):
        return None
    try:
        envelope = loads(base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
    return _state(envelope) if isinstance(envelope, dict) else None


def _state(envelope: dict[str, Any]) -> State:
    item, before = envelope.get("r"), envelope.get("b", 0)
    following = envelope.get("n")
    found = None
    if isinstance(following, list) and following and following[0] in ("message", "call", "reasoning"):
        value = following[1] if len(following) > 1 else None
        found = Following(following[0], value if isinstance(value, str) else None)
    return State(
        str(envelope.get("p")),
        str(envelope.get("m")),
        item if isinstance(item, dict) else None,
        found,
        before if isinstance(before, int) else 0,
    )


def _pack(envelope: Mapping[str, Any]) -> str:
    encoded = base64.urlsafe_b64encode(dumps(envelope)).decode().rstrip("=")
    return f"{_PREFIX}{encoded}.{_check(encoded)}"


def _check(encoded: str) -> str:
    """A checksum that detects a modified signature; it does not protect against forgery."""
    return sha256(encoded.encode("utf-8", "surrogatepass")).hexdigest()[:_CHECK]
