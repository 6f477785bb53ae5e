"""JSON as the two protocols need it: fast, and forgiving about lone surrogates only."""

import json
from typing import Any

import orjson

dumps = orjson.dumps
"""Compact UTF-8 JSON. Raises JSONEncodeError, a TypeError, for more than 254 levels."""

_DEPTH_AROUND = 54  # levels that converters may put around a client's document; orjson writes 254


def loads(data: bytes | str) -> Any:
    """Parse one JSON document; lone surrogate escapes become U+FFFD.

    orjson refuses ``"\\ud83d"`` without its partner, which JavaScript clients do send when they cut a string in
    the middle of an emoji. Raises ValueError for everything that is not JSON, ``NaN`` and ``Infinity`` included.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        escape = b"\\u" if isinstance(data, bytes) else "\\u"
        if escape not in data:  # type: ignore[operator]
            raise
        try:
            return replace_surrogates(loads_lenient(data))
        except RecursionError:
            raise ValueError("the document is nested too deeply") from None


def loads_lenient(data: bytes | str) -> Any:
    """Parse like :func:`loads`, but keep lone surrogates in the strings (they can't be encoded as UTF-8)."""
    text = data.decode() if isinstance(data, bytes) else data
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_int=_parse_int)
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
    """Raise ValueError for a parsed document that could not be written again: orjson reads deeper than it writes."""
    for _ in range(_DEPTH_AROUND):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise ValueError("the document is nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) < 19 else float(digits)  # orjson reads and writes 64 bits
