"""The values that the keywords of JSON Schema allow: their JSON types, and which keywords go with which type.

Tool servers send ``"required": null``, ``"type": ""``, ``"type": "String"`` and the like. A provider validates a schema
against JSON Schema's own schema and refuses the whole request.
"""

from collections.abc import Callable, Mapping
from typing import Any

TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_ALIASES = {
    "str": "string", "text": "string", "int": "integer", "long": "integer", "float": "number", "double": "number",
    "decimal": "number", "bool": "boolean", "dict": "object", "map": "object", "list": "array", "none": "null",
}  # fmt: skip

MISSING: Any = object()
"""Instead of a value that can't be used."""


def mended(keyword: str, value: Any) -> Any:
    """The value itself if it is valid for the keyword, else the value that was meant, else ``MISSING``."""
    kind = KINDS.get(keyword)
    return value if kind is None else kind(value)


def is_empty(value: Any) -> bool:
    """Whether a value has no effect, so that it can be removed."""
    return value is None or value is True or value is False or value in ("", [], {})


def matches(value: Any, type_: Any) -> bool:
    """Whether a JSON value is of a type, or of one of several types."""
    if isinstance(type_, list):
        return any(matches(value, one) for one in type_)
    if isinstance(value, bool):
        return bool(type_ == "boolean")
    if type_ == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return type_ in _PYTHON and isinstance(value, _PYTHON[type_])


_PYTHON: Mapping[str, Any] = {
    "string": str, "number": (int, float), "object": dict, "array": list, "null": type(None),
}  # fmt: skip


def _schema(value: Any) -> Any:
    return value if isinstance(value, (dict, bool)) else MISSING


def _items(value: Any) -> Any:
    if not isinstance(value, list):
        return _schema(value)
    branches = [item for item in value if isinstance(item, dict)]  # tuples, as in older drafts
    return {"anyOf": branches} if branches else MISSING


def _schemas(value: Any) -> Any:
    if not isinstance(value, list):
        return MISSING
    if all(isinstance(item, (dict, bool)) for item in value):
        return value or MISSING
    return [item for item in value if isinstance(item, (dict, bool))] or MISSING


def _named_schemas(value: Any) -> Any:
    if not isinstance(value, dict):
        return MISSING
    if all(isinstance(item, (dict, bool)) for item in value.values()):
        return value
    return {name: item if isinstance(item, (dict, bool)) else {} for name, item in value.items()}


def _string(value: Any) -> Any:
    return value if isinstance(value, str) else MISSING


def _number(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else MISSING


def _count(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**63 or value != int(value):
        return MISSING
    return value if isinstance(value, int) else int(value)


def _boolean(value: Any) -> Any:
    return value if isinstance(value, bool) else MISSING


def _list(value: Any) -> Any:
    return value if isinstance(value, list) else MISSING


def _object(value: Any) -> Any:
    return value if isinstance(value, dict) else MISSING


def _names(value: Any) -> Any:
    if not isinstance(value, list):
        return MISSING
    if not all(isinstance(item, str) for item in value):
        value = [item for item in value if isinstance(item, str)]
    return value if len(unique := dict.fromkeys(value)) == len(value) else list(unique)


def _values(value: Any) -> Any:
    return value if isinstance(value, list) and value else MISSING


def _type(value: Any) -> Any:
    if isinstance(value, str):
        if value in TYPES:
            return value
        lower = value.strip().lower()
        return lower if lower in TYPES else _ALIASES.get(lower, MISSING)
    if not isinstance(value, list):
        return MISSING
    types = list(dict.fromkeys(t for item in value if isinstance(item, str) and (t := _type(item)) is not MISSING))
    return value if types == value and types else types or MISSING


KINDS: Mapping[str, Callable[[Any], Any]] = {
    "type": _type,
    "required": _names,
    "items": _items,
    "enum": _values,
    "examples": _list,
    "dependentRequired": _object,
    **dict.fromkeys(("uniqueItems", "nullable", "deprecated", "readOnly", "writeOnly"), _boolean),
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"), _named_schemas),
    **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), _schemas),
    **dict.fromkeys(
        (
            "not", "if", "then", "else", "contains", "additionalProperties", "additionalItems", "propertyNames",
            "unevaluatedItems", "unevaluatedProperties", "contentSchema",
        ),
        _schema,
    ),
    **dict.fromkeys(
        (
            "description", "title", "pattern", "format", "$ref", "$id", "$schema", "$anchor", "$comment",
            "contentEncoding", "contentMediaType",
        ),
        _string,
    ),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), _number),
    **dict.fromkeys(
        (
            "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains",
            "maxContains",
        ),
        _count,
    ),
}  # fmt: skip

NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
SINGLE = (
    "items", "not", "additionalProperties", "contains", "if", "then", "else", "propertyNames", "additionalItems",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip

OF_TYPE: Mapping[str, frozenset[str]] = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType"}),
    **dict.fromkeys(
        ("number", "integer"),
        frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"}),
    ),
    "boolean": frozenset(),
    "null": frozenset(),
    "array": frozenset({
        "items", "prefixItems", "additionalItems", "unevaluatedItems", "contains", "minContains", "maxContains",
        "minItems", "maxItems", "uniqueItems",
    }),
    "object": frozenset({
        "properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
        "maxProperties", "dependentRequired", "dependentSchemas", "unevaluatedProperties", "propertyOrdering",
    }),
}  # fmt: skip
"""The keywords that say something of values of one type only."""

STANDARD = (frozenset(KINDS).union(*OF_TYPE.values()) - {"nullable", "propertyOrdering"}) | {
    "const", "default", "$dynamicRef", "$dynamicAnchor", "$vocabulary",
}  # fmt: skip
"""All keywords of JSON Schema."""

SILENT = frozenset({
    "$schema", "$id", "$comment", "$anchor", "$dynamicAnchor", "$vocabulary", "$defs", "definitions", "deprecated",
    "readOnly", "writeOnly", "title", "propertyOrdering",
})  # fmt: skip
"""Keywords that say nothing of the value that is wanted."""
