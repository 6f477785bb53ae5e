"""The subsets of JSON Schema that providers accept, as data: one row for each dialect."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .kinds import OF_TYPE, STANDARD


@dataclass(frozen=True, slots=True)
class Dialect:
    """The rules of one dialect. The defaults are those of OpenAI's, which accepts almost all of JSON Schema."""

    keywords: frozenset[str] = STANDARD  # others are left out
    unknown: bool = True  # keep keywords that JSON Schema doesn't know
    # definitions: keep only references to #/$defs. write_out: replace a reference by a copy of its target.
    references: Literal["keep", "definitions", "write_out"] = "keep"
    # Lists of types. nullable: only null as a second type, by that keyword. branches: no keywords of one type beside.
    unions: Literal["list", "nullable", "branches"] = "list"
    beside_any_of: frozenset[str] | None = None  # none: any keyword
    by_type: Mapping[str, frozenset[str]] | None = None  # the keywords allowed for each type
    enums: Literal["any", "strings", "scalars"] = "any"
    max_enum: int | None = None  # values
    items: Mapping[str, Any] | None = None  # for an array without items
    typed: bool = False  # every schema that isn't empty states its type
    boolean_schemas: bool = True  # true and false as schemas, except in additionalProperties
    defined_names: bool = False  # required names are properties; no property has an empty name
    reserved_names: frozenset[str] = frozenset()  # of properties
    ordered_ranges: bool = False  # no minimum above the maximum, and whole numbers for integers
    formats: frozenset[str] | None = None
    patterns: re.Pattern[str] | None = None
    max_repetition: int | None = None  # of lengths and numbers of items
    apart: Mapping[str, frozenset[str]] | None = None  # by keyword, the keywords that it can't be combined with
    max_depth: int = 200  # levels of schemas; a request's JSON has no more
    tool_name: re.Pattern[str] = re.compile(r"[A-Za-z0-9_-]*")
    name_prefix: str = ""  # for names of tools that begin otherwise
    uniform_strict: bool = False  # either all tools are strict, or none


_COMMON = frozenset({"type", "description", "title", "enum"})

# https://ai.google.dev/api/caching#Schema: an OpenAPI subset, "Unknown name ... Cannot find field" for all others.
# Enums: strings that are not empty, for type string only. anyOf "must be the only field set": BerriAI/litellm#11164.
# A keyword is allowed only with its own type: "properties: only allowed for OBJECT type".
# `default` is documented as ignored. Names: "Must start with a letter or an underscore".
_GEMINI = Dialect(
    keywords=_COMMON
    | {
        "format", "nullable", "items", "minItems", "maxItems", "properties", "required", "minProperties",
        "maxProperties", "propertyOrdering", "minLength", "maxLength", "pattern", "minimum", "maximum", "anyOf",
    },
    unknown=False,
    references="write_out",
    unions="nullable",
    beside_any_of=frozenset(),
    by_type={type_: _COMMON | {"nullable", "anyOf"} | keywords for type_, keywords in OF_TYPE.items()},
    enums="strings",
    items={"type": "string"},
    boolean_schemas=False,
    defined_names=True,
    formats=frozenset({"date-time", "enum", "int32", "int64", "float", "double"}),
    max_depth=50,
    tool_name=re.compile(r"[A-Za-z_][A-Za-z0-9_-]*"),
    name_prefix="_",
)  # fmt: skip

_ANY_TYPE = frozenset({"type", "description", "title", "default"})

# "Moonshot Flavored JSON Schema", by its specification and its validator: MoonshotAI/walle, docs/mfjs-spec.md,
# model.go (keywords of each type), keyword_validators.go (references, enums, ranges), conf.go (limits).
_MOONSHOT = Dialect(
    keywords=_ANY_TYPE
    | {
        "enum", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "minLength",
        "maxLength", "pattern", "minimum", "maximum", "anyOf", "$defs", "$ref",
    },
    unknown=False,
    references="definitions",
    unions="branches",
    beside_any_of=frozenset({"description", "title", "$defs"}),
    by_type={
        "object": _ANY_TYPE | {"properties", "required", "additionalProperties"},
        "array": _ANY_TYPE | {"items", "minItems", "maxItems"},
        "string": _ANY_TYPE | {"minLength", "maxLength", "pattern", "enum"},
        "boolean": _ANY_TYPE | {"enum"},
        "null": _ANY_TYPE | {"enum"},
        **dict.fromkeys(("number", "integer"), _ANY_TYPE | {"minimum", "maximum", "enum"}),
    },
    enums="scalars",
    max_enum=1000,
    boolean_schemas=False,
    defined_names=True,
    reserved_names=frozenset({"$defs", "$ref", "anyOf", "required", "additionalProperties"}),
    ordered_ranges=True,
    max_depth=30,
    tool_name=re.compile(r"[A-Za-z][A-Za-z0-9_-]*"),
    name_prefix="t",
)  # fmt: skip

# llama.cpp builds a grammar from all tools: common/json-schema-to-grammar.cpp ("Pattern must start with '^' and end
# with '$'", "Unrecognized schema" without a type) and src/llama-grammar.cpp (at most 2,000 repetitions; no classes
# like \d, no lookaround).
_LITERAL = r"[^\\()\[\]{}|*+?.^$]|\\[-\\^$*+?.()|{}\[\]/\"]"
_CLASS = r"\[\^?(?:[^\\\[\]^]|\\[-\\\[\]^/.])+\]"
_TIMES = r"(?:[*+?]|\{[0-9]{1,3}(?:,[0-9]{0,3})?\})?"
_LLAMA_CPP = Dialect(
    typed=True,
    boolean_schemas=False,
    patterns=re.compile(rf"\^(?:(?:{_LITERAL}|{_CLASS}|\.){_TIMES})*\$"),
    max_repetition=2000,
)

# vLLM's has_xgrammar_unsupported_json_features, vllm/v1/structured_output/backend_xgrammar.py
_XGRAMMAR = Dialect(
    keywords=STANDARD
    - {
        "multipleOf", "uniqueItems", "contains", "minContains", "maxContains", "patternProperties", "propertyNames",
    },
    formats=frozenset({
        "email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid", "uri", "uri-reference",
        "uri-template", "json-pointer", "relative-json-pointer",
    }),
    apart=dict.fromkeys(("minLength", "maxLength"), frozenset({"pattern", "format"})),
)  # fmt: skip

DIALECTS: Mapping[str, Dialect] = {
    "openai": Dialect(items={}),  # "array schema missing items"
    "cerebras": Dialect(items={}, uniform_strict=True),  # "Tools with mixed values for 'strict' are not allowed"
    "gemini": _GEMINI,
    "moonshot": _MOONSHOT,
    "llama.cpp": _LLAMA_CPP,
    "xgrammar": _XGRAMMAR,
}
"""Every dialect by the value of the switch ``schema_dialect``; ``full`` has no rules."""

# https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
STRICT_KEYWORDS = frozenset({
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref", "$defs",
    "definitions", "title", "description", "pattern", "format", "multipleOf", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "minLength", "maxLength", "$schema",
})  # fmt: skip
"""The keywords that OpenAI takes in a strict schema."""
