"""JSON Schemas of tools and formats, fitted to what providers take."""

from collections.abc import Callable, Mapping
from typing import Any

from .._json import dumps

Schema = dict[str, Any]

_TOP_LEVEL_REFUSED = frozenset({"anyOf", "oneOf", "allOf", "enum", "not"})
_GEMINI_FORMATS = frozenset({"date-time", "enum", "int32", "int64", "float", "double"})
_GEMINI_DROPPED = frozenset({
    "$schema", "$id", "$defs", "definitions", "$comment", "additionalProperties", "default", "exclusiveMinimum",
    "exclusiveMaximum", "propertyNames", "patternProperties", "unevaluatedProperties", "dependentRequired",
    "examples", "deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType",
})  # fmt: skip
_MAX_REF_DEPTH = 8  # a recursive schema can't be written out
_MAX_UNFOLDED = 5000  # schemas; definitions that each refer to others many times grow without end

# Keywords whose values are schemas: by name, in a list, or one.
_NAMED = ("properties", "$defs", "definitions", "patternProperties")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "not", "additionalProperties", "contains", "if", "then", "else")


def tool_parameters(schema: Mapping[str, Any], dialect: str) -> tuple[Schema, str | None]:
    """A tool's ``input_schema`` as ``parameters``, and a text for the description where detail was lost.

    OpenAI refuses an object without ``properties`` and a combination at the top level; the branches of one are
    merged into one object with nothing required.
    """
    parameters = dict(schema)
    note = None
    if dialect != "full" and not _TOP_LEVEL_REFUSED.isdisjoint(schema):
        parameters = _merge_branches(schema)
        note = f"Input schema: {dumps(schema).decode()}"
    parameters.setdefault("type", "object")
    if parameters["type"] == "object" and "properties" not in parameters:
        parameters["properties"] = {}
    if dialect == "gemini":
        parameters = for_gemini(parameters)
    return parameters, note


def is_strict(schema: Any) -> bool:
    """Whether a schema is in the subset that ``strict`` takes.

    Every object is closed and requires all its properties; there are no defaults and no open maps.
    """
    if not isinstance(schema, dict):
        return False
    if "default" in schema or "patternProperties" in schema:
        return False
    types = schema.get("type")
    if types == "object" or (isinstance(types, list) and "object" in types) or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
            return False
        listed = schema.get("required", [])
        if not isinstance(listed, list) or set(properties) != {name for name in listed if isinstance(name, str)}:
            return False
    return all(is_strict(child) for child in _children(schema))


def for_gemini(schema: Schema) -> Schema:
    """A schema in the part of OpenAPI that Gemini reads: references written out, foreign keywords left out."""
    definitions = {**_object(schema, "definitions"), **_object(schema, "$defs")}
    cleaned = _Cleaner(definitions).clean(schema, 0)
    return cleaned if isinstance(cleaned, dict) else {"type": "object", "properties": {}}


def _merge_branches(schema: Mapping[str, Any]) -> Schema:
    properties: Schema = {}
    for keyword in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(keyword)
        for branch in branches if isinstance(branches, list) else []:
            for name, value in _object(branch, "properties").items():
                properties.setdefault(name, value)
    kept = {k: v for k, v in schema.items() if k not in _TOP_LEVEL_REFUSED | {"properties", "required"}}
    own = _object(schema, "properties")
    merged = {**kept, "type": "object", "properties": {**own, **properties}}
    if "required" in schema and own:
        merged["required"] = schema["required"]
    return merged


def _object(schema: Any, key: str) -> Schema:
    value = schema.get(key) if isinstance(schema, Mapping) else None
    return value if isinstance(value, dict) else {}


def _children(schema: Schema) -> list[Any]:
    children: list[Any] = []
    for keyword in _NAMED:
        children += _object(schema, keyword).values()
    for keyword in _LISTED:
        listed = schema.get(keyword)
        children += listed if isinstance(listed, list) else []
    for keyword in _SINGLE:
        if isinstance(schema.get(keyword), dict):
            children.append(schema[keyword])
    return children


class _Cleaner:
    """Writes references out until there are enough schemas; those that remain become any object."""

    def __init__(self, definitions: Schema) -> None:
        self._definitions = definitions
        self._left = _MAX_UNFOLDED

    def clean(self, schema: Any, depth: int) -> Any:
        """A schema below ``depth`` references, cleaned."""
        if not isinstance(schema, dict):
            return {"type": "string"} if isinstance(schema, bool) else schema
        self._left -= depth > 0
        reference = schema.get("$ref")
        if isinstance(reference, str):
            target = self._definitions.get(reference.rpartition("/")[2])
            rest = {k: v for k, v in schema.items() if k != "$ref"}
            if not isinstance(target, dict) or depth >= _MAX_REF_DEPTH or self._left <= 0:
                return {"type": "object", **{k: v for k, v in rest.items() if k == "description"}}
            return self.clean({**target, **rest}, depth + 1)
        cleaned: Schema = {}
        for keyword, value in schema.items():
            if keyword in _GEMINI_DROPPED or (keyword == "format" and value not in _GEMINI_FORMATS):
                continue
            cleaned |= _clean_keyword(keyword, value, lambda child: self.clean(child, depth))
        return cleaned


def _clean_keyword(keyword: str, value: Any, clean: Callable[[Any], Any]) -> Schema:
    if keyword == "properties" and isinstance(value, dict):  # names may look like keywords
        return {keyword: {name: clean(child) for name, child in value.items()}}
    if keyword in _LISTED and isinstance(value, list):
        return {keyword: [clean(child) for child in value]}
    if keyword in _SINGLE and isinstance(value, dict):
        return {keyword: clean(value)}
    if keyword == "const":
        return {"enum": [value]}
    if keyword == "type" and isinstance(value, list):
        types = [item for item in value if item != "null"]
        single: Schema = {"type": types[0]} if len(types) == 1 else {"anyOf": [{"type": item} for item in types]}
        return {**single, "nullable": True} if "null" in value else single
    return {keyword: value}
