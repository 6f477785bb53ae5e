"""Whether a schema is in the subset that ``strict`` accepts."""

from typing import Any

from .dialects import STRICT_KEYWORDS


def is_strict(schema: Any) -> bool:
    """Whether a schema is in the subset that ``strict`` accepts.

    Every object is closed and requires all its properties. There are no defaults, no open maps and no combinations
    except ``anyOf``.
    """
    if not isinstance(schema, dict) or not schema.keys() <= STRICT_KEYWORDS:
        return False
    types, properties = schema.get("type"), schema.get("properties", {})
    if not isinstance(properties, dict):
        return False
    if types == "object" or (isinstance(types, list) and "object" in types) or "properties" in schema:
        listed = schema.get("required", [])
        if schema.get("additionalProperties") is not False or not isinstance(listed, list):
            return False
        if set(properties) != {name for name in listed if isinstance(name, str)}:
            return False
    children = list(properties.values())
    for keyword in ("$defs", "definitions"):
        named = schema.get(keyword, {})
        children += named.values() if isinstance(named, dict) else [None]
    branches = schema.get("anyOf", [])
    children += branches if isinstance(branches, list) else [None]
    if "items" in schema:
        children.append(schema["items"])
    return all(is_strict(child) for child in children)
