"""What providers refuse in a tool's schema, each rule as the provider states it; written apart from the repair."""

import re
from collections.abc import Callable, Iterator
from typing import Any

TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}
_GEMINI = {
    "type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties", "required",
    "minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "anyOf", "propertyOrdering",
    "default", "items", "minimum", "maximum",
}  # fmt: skip
_COMMON = {"type", "description", "title", "default"}
_MOONSHOT = {
    "object": _COMMON | {"properties", "required", "additionalProperties", "$defs"},
    "array": _COMMON | {"items", "minItems", "maxItems"},
    "string": _COMMON | {"minLength", "maxLength", "pattern", "enum"},
    "number": _COMMON | {"minimum", "maximum", "enum"},
    "integer": _COMMON | {"minimum", "maximum", "enum"},
    "boolean": _COMMON | {"enum"},
    "null": _COMMON | {"enum"},
}
_PYTHON: dict[str, Any] = {
    "string": str, "number": (int, float), "integer": (int, float), "boolean": bool, "null": type(None),
    "object": dict, "array": list,
}  # fmt: skip
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "not", "additionalProperties", "contains", "if", "then", "else", "propertyNames")

Faults = Iterator[str]


def children(schema: dict[str, Any]) -> Iterator[Any]:
    for keyword in _NAMED:
        yield from schema.get(keyword, {}).values()
    for keyword in _LISTED:
        yield from schema.get(keyword, ())
    for keyword in _SINGLE:
        if keyword in schema and not (keyword == "additionalProperties" and isinstance(schema[keyword], bool)):
            yield schema[keyword]


def wrong_values(schema: dict[str, Any]) -> Faults:
    """JSON Schema's own schema: ``None is not of type 'array'``."""
    kinds: dict[Any, tuple[str, ...]] = {
        dict: _NAMED, list: (*_LISTED, "enum", "required"), str: ("description", "title", "pattern", "format", "$ref"),
        (dict, bool): _SINGLE, (int, float): ("minimum", "maximum", "exclusiveMinimum", "multipleOf"),
        int: ("minLength", "maxLength", "minItems", "maxItems", "minProperties"),
    }  # fmt: skip
    for kind, keywords in kinds.items():
        for keyword in keywords:
            value = schema.get(keyword)
            if keyword in schema and (not isinstance(value, kind) or (kind in (int, (int, float)) and value is True)):
                yield f"{keyword}: {value!r} is not of type {kind}"
    names = schema.get("required")
    if isinstance(names, list) and len({name for name in names if isinstance(name, str)}) < len(names):
        yield "required: not unique strings"
    types = schema.get("type", "object")
    if not types or not all(isinstance(t, str) and t in TYPES for t in (types if isinstance(types, list) else [types])):
        yield f"type: {types!r}"


def has_type(schema: dict[str, Any], type_: str) -> bool:
    types = schema.get("type")
    return types == type_ or (isinstance(types, list) and type_ in types)


def openai_root(schema: dict[str, Any]) -> Faults:
    if schema.get("type") != "object":
        yield "schema must be of type object"
    if not isinstance(schema.get("properties"), dict):
        yield "object schema missing properties"
    if found := {"anyOf", "oneOf", "allOf", "enum", "not"} & schema.keys():
        yield f"{found} at the top level"


def openai(schema: Any, root: dict[str, Any]) -> Faults:
    if isinstance(schema, bool):
        return
    yield from any_provider(schema, root)
    if has_type(schema, "array") and "items" not in schema:
        yield "array schema missing items"


def any_provider(schema: dict[str, Any], root: dict[str, Any]) -> Faults:
    yield from wrong_values(schema)
    reference = schema.get("$ref", "#")
    if reference != "#" and found(reference, root) is None:
        yield f"can't resolve {reference}"


def found(reference: str, root: dict[str, Any]) -> Any:
    here: Any = root
    for part in reference.split("/")[1:]:
        here = here.get(part) if isinstance(here, dict) else None
    return here if reference.startswith("#/") and isinstance(here, dict) else None


def gemini(schema: Any, root: dict[str, Any]) -> Faults:
    if not isinstance(schema, dict):
        yield "Invalid value"
        return
    yield from wrong_values(schema)
    if unknown := schema.keys() - _GEMINI:
        yield f"Unknown name {unknown}"
    if isinstance(schema.get("type"), list):
        yield "type: Proto field is not repeating, cannot start list"
    if "enum" in schema and (schema.get("type") != "string" or not all(schema["enum"])):
        yield "enum: only allowed for STRING type, cannot be empty"
    if not all(isinstance(value, str) for value in schema.get("enum", ())):
        yield "enum: TYPE_STRING"
    if schema.get("type") == "array" and "items" not in schema:
        yield "items: missing field"
    if set(schema.get("required", ())) - schema.get("properties", {}).keys():
        yield "required: property is not defined"
    for keyword, type_ in (("properties", "object"), ("required", "object"), ("items", "array")):
        if keyword in schema and schema.get("type") != type_:
            yield f"{keyword}: only allowed for {type_.upper()} type"
    if "anyOf" in schema and len(schema) > 1:
        yield "when using any_of, it must be the only field set"
    if schema.get("format", "enum") not in {"date-time", "enum", "int32", "int64", "float", "double"}:
        yield "only 'enum' and 'date-time' are supported for STRING type"


def moonshot(schema: Any, root: dict[str, Any]) -> Faults:
    if not isinstance(schema, dict):
        yield "schema must be an object"
        return
    yield from wrong_values(schema)
    types = schema.get("type")
    if "$ref" in schema:
        if len(schema) > 1:
            yield "keyword is not allowed at the same level as $ref"
        if schema["$ref"] != "#" and not (schema["$ref"].count("/") == 2 and found(schema["$ref"], root) is not None):
            yield "references must start with #/$defs/"
    if "anyOf" in schema and schema.keys() - {"anyOf", "description", "title"}:
        yield "type should be defined in anyOf items, keyword not allowed at the same level as anyOf"
    for branch in schema.get("anyOf", ()):
        if {*branch} & {*schema} - {"anyOf"}:
            yield "conflicting keywords found in anyOf with parent"
    if isinstance(types, list) and len(types) > 1 and schema.keys() - {"type", "description", "title"}:
        yield "keyword is not allowed in combination with multiple types"
    if isinstance(types, str) and (unknown := schema.keys() - _MOONSHOT[types]):
        yield f"invalid keywords: {unknown}"
    if "$defs" in schema and schema is not root:
        yield "keyword $defs must be at root level"
    if "enum" in schema:
        if types is None:
            yield "type is not defined"
        elif not all(fits(value, types) for value in schema["enum"]) or not 1 <= len(schema["enum"]) <= 1000:
            yield "enum value does not match any type"
    if set(schema.get("required", ())) - schema.get("properties", {}).keys():
        yield "required property is not defined in properties"
    if {"", "$defs", "$ref", "anyOf", "required", "additionalProperties"} & schema.get("properties", {}).keys():
        yield "property name is reserved for JSON Schema keywords"
    for low, high in (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")):
        if low in schema and high in schema and schema[low] > schema[high]:
            yield f"{low} cannot be greater than {high}"


def fits(value: Any, types: Any) -> bool:
    if isinstance(types, list):
        return any(fits(value, type_) for type_ in types)
    if isinstance(value, bool) and types != "boolean":
        return False
    return isinstance(value, _PYTHON[types]) and (types != "integer" or float(value).is_integer())


def llama_cpp(schema: Any, root: dict[str, Any]) -> Faults:
    if not isinstance(schema, dict):
        yield "json.exception"
        return
    yield from any_provider(schema, root)
    pattern = schema.get("pattern", "^$")
    if not (pattern.startswith("^") and pattern.endswith("$")):
        yield "Pattern must start with '^' and end with '$'"
    if re.search(r"\\[A-Za-z0-9]|\(\?", pattern):
        yield "failed to parse grammar"
    if any(schema.get(keyword, 0) > 2000 for keyword in ("minLength", "maxLength", "minItems", "maxItems")):
        yield "number of repetitions exceeds sane defaults"
    if schema and schema.keys().isdisjoint({"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}):
        yield "Unrecognized schema"


def xgrammar(schema: Any, root: dict[str, Any]) -> Faults:
    if isinstance(schema, bool):
        return
    yield from any_provider(schema, root)
    lengths = {"minLength", "maxLength"} & schema.keys()
    if has_type(schema, "string") and {"pattern", "format"} & schema.keys() and lengths:
        yield "pattern and length"
    if has_type(schema, "string") and schema.get("format", "uri") not in {"date", "time", "date-time", "uri", "email"}:
        yield "format"
    if {"multipleOf", "uniqueItems", "contains", "minContains", "patternProperties", "propertyNames"} & schema.keys():
        yield "unsupported keyword"


RULES: dict[str, Callable[[Any, dict[str, Any]], Faults]] = {
    "openai": openai, "cerebras": openai, "gemini": gemini, "moonshot": moonshot, "llama.cpp": llama_cpp,
    "xgrammar": xgrammar,
}  # fmt: skip


def faults(schema: dict[str, Any], dialect: str) -> list[str]:
    """What a provider with this dialect would refuse in a tool's schema."""
    result = list(openai_root(schema))
    todo: list[Any] = [schema]
    while todo:
        here = todo.pop()
        wrong = list(RULES[dialect](here, schema))
        result += wrong
        if isinstance(here, dict) and not wrong:
            todo += children(here)
    return result
