"""JSON as the two protocols need it: fast, and lenient only about lone surrogates."""

import json
import math
import re
from typing import Any

import orjson

dumps = orjson.dumps
"""Compact UTF-8 JSON. Raises JSONEncodeError, a TypeError, for more than 254 levels."""

_DEPTH_AROUND = 54  # levels that converters may add around a client's document; orjson writes 254


# An escaped surrogate or an escaped pair; the text before it shows whether its backslash is escaped itself. It begins
# with plain characters, which makes the search forty times as fast.
_SURROGATE = re.compile(rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|[c-fC-F][0-9a-fA-F]{2})")
_MAX_SURROGATES = 100_000  # of a document that contains a lone one


def loads(data: bytes | bytearray | str) -> Any:
    """Parse one JSON document; lone surrogate escapes become U+FFFD, and nothing else changes.

    orjson refuses ``"\\ud83d"`` without its partner, which JavaScript clients do send when they cut a string in
    the middle of an emoji. Raises ValueError for everything that is not JSON, ``NaN`` and ``Infinity`` included.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        reason = str(error)  # the error itself would hold the document
    raw = replace_surrogates(data).encode() if isinstance(data, str) else data
    readable, count = _SURROGATE.subn(_without_lone, raw, _MAX_SURROGATES + 1)
    if count > _MAX_SURROGATES and readable != raw:
        raise ValueError(f"over {_MAX_SURROGATES:,} escaped surrogates, and not all are pairs")
    if readable != data:
        try:
            return orjson.loads(readable)
        except orjson.JSONDecodeError as error:
            reason = str(error)
    if "depth" in reason or "recursion" in reason.lower():
        reason = "the document is nested too deeply"
    raise ValueError(reason)


def _without_lone(found: re.Match[bytes]) -> bytes:
    if _is_escaped(found.string, found.start()):  # then the second half of the apparent pair is lone
        return found[0][:6] + (b"\\ufffd" if found[1] else b"")
    return found[0] if found[1] else b"\\ufffd"


def _is_escaped(text: bytes, place: int) -> bool:
    """Whether this backslash is escaped by one before it, which may be escaped too, and so on."""
    size = 16
    while True:
        before = text[max(0, place - size) : place]
        run = len(before) - len(before.rstrip(b"\\"))
        if run < len(before) or size >= place:
            return run % 2 == 1
        size *= 16


def loads_lenient(data: bytes | str) -> Any:
    """Parse like :func:`loads`, but keep lone surrogates in the strings (they can't be encoded as UTF-8)."""
    text = data.decode() if isinstance(data, bytes) else data
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_int=_parse_int, parse_float=_parse_float)
    except RecursionError:
        raise ValueError("the document is nested too deeply") from None


def replace_surrogates(value: Any) -> Any:
    """A copy of a parsed document in which surrogate pairs are joined and lone surrogates are U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {replace_surrogates(key): replace_surrogates(item) for key, item in value.items()}
    return value


def check_depth(value: Any) -> None:
    """Raise ValueError for a parsed document that could not be serialized again: orjson reads more levels than it
    writes.
    """
    for _ in range(_DEPTH_AROUND):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise ValueError("the document is nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _parse_int(digits: str) -> int | float:
    """An integer of 64 bits, as orjson reads and writes them; a float beyond."""
    if len(digits) <= 20 and -(2**63) <= (value := int(digits)) < 2**64:
        return value
    return _parse_float(digits)


def _parse_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value
