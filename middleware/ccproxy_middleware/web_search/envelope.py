"""The content of ``encrypted_content`` and ``encrypted_index``: our own, readable when the client returns it."""

import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import Any

from ..toolkit.json import dumps, loads

_PREFIX = "ccws1."
_MAX_CHARS = 64 * 1024
_ID = "srvtoolu_ccws"


def new_call_id() -> str:
    """An id for a search of this layer."""
    return _ID + secrets.token_hex(10)


def is_ours(call_id: Any) -> bool:
    """Whether an id was made by :func:`new_call_id`."""
    return isinstance(call_id, str) and call_id.startswith(_ID)


def seal(fields: Mapping[str, Any]) -> str:
    """The envelope with these fields."""
    return _PREFIX + base64.urlsafe_b64encode(dumps(fields)).decode().rstrip("=")


def unseal(text: Any) -> dict[str, Any] | None:
    """The fields of one of our envelopes; None for a foreign or damaged one."""
    if not isinstance(text, str) or not text.startswith(_PREFIX) or len(text) > _MAX_CHARS:
        return None
    encoded = text[len(_PREFIX) :]
    try:
        fields = loads(base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return None
    return fields if isinstance(fields, dict) else None
