"""Bodies as shapes: their fields, types and sizes, without the conversation's text."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

MAX_ITEMS = 40
"""The maximum number of items shown per list, after equal ones in a row are merged."""

_KEPT = frozenset(
    [
        "type",
        "role",
        "model",
        "stop_reason",
        "finish_reason",
        "object",
        "media_type",
        "status",
        "reasoning_effort",
        "effort",
        "service_tier",
        "format",
        "detail",
        "ttl",
        "native_finish_reason",
        "code",
        "param",
    ]
)
"""Fields whose values belong to the protocol, not to a conversation."""

_FREE = frozenset(("input", "arguments", "partial_json", "metadata", "extra_body", "parsed"))
"""Fields whose values may have field names chosen by the user."""

_NAMED = frozenset(("properties", "patternProperties", "$defs", "definitions"))
"""Fields of a JSON Schema below which the user chooses the names."""

_WORD = re.compile(r"[\w.:/+-]{1,80}")


def shape(value: Any, name: str = "", *, sizes: bool = True) -> Any:
    """A JSON value with its texts replaced: ``<12 characters>``, or ``<text>`` if ``sizes`` is false.

    Objects keep their field names, except those that come from a tool or the user. Numbers, true, false and null stay.
    Equal items in a row of a list are merged into one, with their number.
    """
    if isinstance(value, str):
        if name in _KEPT and _WORD.fullmatch(value):
            return value
        return f"<{len(value)} characters>" if sizes else "<text>"
    if isinstance(value, Mapping):
        if name in _FREE:
            return f"<object with {len(value)} fields>"
        if name in _NAMED:
            return runs([shape(item, sizes=sizes) for item in value.values()])
        return {key: shape(item, key, sizes=sizes) for key, item in value.items()}
    if isinstance(value, Sequence):
        return runs([shape(item, name, sizes=sizes) for item in value])
    return value


def runs(items: Sequence[Any]) -> list[Any]:
    """A list in which equal items in a row are merged into one with their number; at most MAX_ITEMS."""
    found: list[Any] = []
    for _, group in groupby(items, key=lambda item: json.dumps(item, sort_keys=True)):
        same = list(group)
        found.append(same[0] if len(same) == 1 else {"times": len(same), "each": same[0]})
    more = len(found) - MAX_ITEMS
    return found if more <= 0 else [*found[:MAX_ITEMS], f"<{more} more>"]
