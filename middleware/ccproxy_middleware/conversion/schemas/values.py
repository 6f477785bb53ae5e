"""Rules for the parts of a schema that aren't schemas: types, enums, and limits of values."""

from typing import Any

from .dialects import Dialect
from .kinds import OF_TYPE, TYPES, matches
from .notes import shown

Schema = dict[str, Any]

_RANGES = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"))
_REPETITIONS = ("minLength", "maxLength", "minItems", "maxItems")
_COMBINED = frozenset({"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"})
_PLAIN = ("object", "array", "string", "number")  # that keywords imply


def infer_type(node: Schema, dialect: Dialect, empty: bool) -> None:
    """Add the type that a schema's other keywords imply, if the dialect requires one."""
    if empty or "type" in node or "anyOf" in node or "$ref" in node:
        return
    combined = _COMBINED
    if dialect.enums != "any" and "enum" in node:
        types = list(dict.fromkeys(_type_of(value) for value in node["enum"][:1000]))
        if len(types) == 1 or (len(types) == 2 and "null" in types):
            node["type"] = types[0] if len(types) == 1 else types
            return
        combined = _COMBINED - {"enum"}  # it has to be removed
    if dialect.unions == "list" and not dialect.typed:
        return
    if node.keys().isdisjoint(combined):
        for type_ in _PLAIN:
            if not node.keys().isdisjoint(OF_TYPE[type_] - {"format"}):
                node["type"] = type_
                return
        if dialect.typed:
            node["type"] = list(TYPES)


def fit_enum(node: Schema, lost: Schema, dialect: Dialect) -> None:
    """The values of an ``enum`` that the dialect accepts."""
    values, type_ = node["enum"], node.get("type")
    kept: list[Any] = []
    if dialect.enums == "strings":
        present = [value for value in values if value is not None] if type_ != "null" else []
        if type_ == "string":
            kept = [value if isinstance(value, str) else shown(value) for value in present]
            kept = list(dict.fromkeys(value for value in kept if value))
        if len(present) < len(values) and type_ != "null":
            node["nullable"] = True
        complete = kept == present and (bool(kept) or type_ == "null")
    else:
        scalars = isinstance(type_, list) or type_ in ("string", "integer", "number", "boolean", "null")
        kept = [value for value in values if matches(value, type_)] if scalars else []
        if dialect.max_enum is not None and len(kept) > dialect.max_enum:
            kept = []
        complete = len(kept) == len(values)
    if not complete:
        lost.setdefault("enum", values)
    if not kept:
        del node["enum"]
    elif kept != values:
        node["enum"] = kept


def fit_limits(node: Schema, lost: Schema, dialect: Dialect) -> None:
    """Remove formats, patterns and ranges that the dialect doesn't accept."""
    refused: set[str] = set()
    if "format" in node and dialect.formats is not None and node["format"] not in dialect.formats:
        refused.add("format")
    if "pattern" in node and dialect.patterns is not None:
        pattern = node["pattern"]
        if len(pattern) > _MAX_PATTERN or not dialect.patterns.fullmatch(pattern):
            refused.add("pattern")
    if dialect.max_repetition is not None:
        refused |= {key for key in _REPETITIONS if key in node and node[key] > dialect.max_repetition}
    if dialect.apart is not None:
        refused |= {key for key, others in dialect.apart.items() if key in node and not others.isdisjoint(node)}
    if dialect.ordered_ranges:
        for low, high in _RANGES:
            if low in node and high in node and node[low] > node[high]:
                refused |= {low, high}
        if node.get("type") == "integer":
            refused |= {key for key in ("minimum", "maximum") if not float(node.get(key, 0)).is_integer()}
    for keyword in sorted(refused):
        lost.setdefault(keyword, node.pop(keyword))


_MAX_PATTERN = 1000  # characters; the grammar for a longer one takes too long


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return next(type_ for type_ in TYPES if type_ != "integer" and matches(value, type_))
