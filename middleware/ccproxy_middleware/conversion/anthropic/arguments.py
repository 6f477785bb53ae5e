"""Arguments of a tool call that miss their schema only in how a value is written, put right.

Models write the JSON of an array as a string where the schema asks for the array, or put numbers and booleans in
quotes. Clients refuse such a call, again and again. Only what the schema leaves no doubt about is changed.
"""

import html
import re
from collections.abc import Mapping
from typing import Any

from ...toolkit.json import loads
from ..providers import Profile

_MOST_LEVELS = 20
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,15})(?:\.\d{1,15})?")
_CONTAINERS: Mapping[str, type] = {"array": list, "object": dict}
_SCALARS = frozenset({"integer", "number", "boolean"})


def may_need_repair(schema: Any, levels: int = 0) -> bool:
    """Whether a schema asks for anything but strings somewhere, so that values may be written as strings instead."""
    if not isinstance(schema, dict) or levels > _MOST_LEVELS:
        return False
    properties = schema.get("properties")
    inner = list(properties.values()) if isinstance(properties, dict) else []
    inner.append(schema.get("items"))
    for value in inner:
        kind = value.get("type") if isinstance(value, dict) else None
        if isinstance(kind, str) and (kind in _SCALARS or kind in _CONTAINERS):
            return True
    return any(may_need_repair(value, levels + 1) for value in inner)


def repaired(input_: dict[str, Any], schema: Any, profile: Profile) -> dict[str, Any]:
    """The input of a call with the values that its schema asks for; the same object if nothing was to be done."""
    if profile.repair_arguments:
        input_ = _fitted(input_, schema, 0)
    return _unescaped(input_) if profile.unescape_arguments else input_


def _fitted(value: Any, schema: Any, levels: int) -> Any:
    if not isinstance(schema, dict) or levels > _MOST_LEVELS:
        return value
    kind = schema.get("type")
    if isinstance(value, str) and isinstance(kind, str) and "enum" not in schema and "const" not in schema:
        value = _decoded(value, kind)
    if isinstance(value, dict) and isinstance(properties := schema.get("properties"), dict):
        fitted = {name: _fitted(item, properties.get(name), levels + 1) for name, item in value.items()}
        return fitted if any(fitted[name] is not item for name, item in value.items()) else value
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        listed = [_fitted(item, items, levels + 1) for item in value]
        return listed if any(new is not old for new, old in zip(listed, value, strict=True)) else value
    return value


def _decoded(text: str, kind: str) -> Any:
    """What a string stands for, if it is of the kind; else the string."""
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if kind in _SCALARS:
        if not _NUMBER.fullmatch(number := text.strip()) or (kind == "integer" and "." in number):
            return text
        return loads(number)
    wanted = _CONTAINERS.get(kind)
    if wanted is None:
        return text
    try:
        decoded = loads(text)
    except ValueError:
        return text
    return decoded if isinstance(decoded, wanted) else text


def _unescaped(value: Any) -> Any:
    """Grok's API writes ``&&`` and quotes in arguments as HTML entities."""
    if isinstance(value, str):
        return html.unescape(value) if "&" in value else value
    if isinstance(value, dict):
        return {name: _unescaped(item) for name, item in value.items()}
    return [_unescaped(item) for item in value] if isinstance(value, list) else value
