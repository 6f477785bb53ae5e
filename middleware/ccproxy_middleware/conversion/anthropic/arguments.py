"""The arguments of tool calls: parse what a model wrote, and repair values of the wrong type.

Models write the JSON of an array as a string where the schema requires an array, or put numbers and booleans in quotes.
Clients reject such a call, again and again. Only values for which the schema leaves no doubt are changed.
"""

import html
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ...toolkit.errors import ApiError
from ...toolkit.json import dumps, loads
from ..providers import Profile
from .streamed_call import NOTHING

_MOST_LEVELS = 20
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,15})(?:\.\d{1,15})?")
_CONTAINERS: Mapping[str, type] = {"array": list, "object": dict}
_DECODED = frozenset({"integer", "number", "boolean", *_CONTAINERS})
_MOST_REFERENCES = 8  # nested


def may_need_repair(schema: Any) -> bool:
    """Whether a schema requires a type other than string anywhere, so that values may be written as strings instead."""
    return _asks_for_more(schema, schema, 0)


def _asks_for_more(schema: Any, root: Any, levels: int) -> bool:
    if not isinstance(schema, dict) or levels > _MOST_LEVELS:
        return False
    properties = schema.get("properties")
    inner = list(properties.values()) if isinstance(properties, dict) else []
    inner.append(schema.get("items"))
    return any(_kind(value, root)[0] is not None or _asks_for_more(value, root, levels + 1) for value in inner)


def _kind(schema: Any, root: Any) -> tuple[str | None, Mapping[str, Any], bool]:
    """The one type other than a string that a value must have, its schema, and whether it may be null.

    The type is None where there is no such type, or several.
    """
    if not isinstance(schema, dict):
        return None, {}, False
    schema = _referred(schema, root)
    kinds = schema.get("type")
    branches = schema.get("anyOf") or schema.get("oneOf")
    if kinds is None and isinstance(branches, list):  # the way pydantic writes a nullable value
        resolved = [_referred(branch, root) if isinstance(branch, dict) else {} for branch in branches]
        kept = [branch for branch in resolved if branch.get("type") != "null"]
        if len(kept) != 1:
            return None, schema, False
        schema, kinds = kept[0], [kept[0].get("type"), *["null"] * (len(resolved) - 1)]
    listed = kinds if isinstance(kinds, list) else [kinds]
    others = [kind for kind in listed if kind != "null"]
    if len(others) != 1 or not isinstance(others[0], str) or others[0] not in _DECODED:
        return None, schema, False
    return others[0], schema, "null" in listed


def _referred(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    """The target of a schema's reference, if it is in the same document; else the schema itself."""
    for _ in range(_MOST_REFERENCES):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        target = root
        for part in reference[2:].split("/"):
            target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            break
        schema = target
    return schema


def repaired(input_: dict[str, Any], schema: Any, profile: Profile) -> dict[str, Any]:
    """The input of a call with the values that its schema requires; the same object if nothing had to be repaired."""
    if profile.repair_arguments:
        input_ = fitted(input_, schema)
    return _unescaped(input_) if profile.unescape_arguments else input_


def fitted(input_: dict[str, Any], schema: Any) -> dict[str, Any]:
    """An input in which values written as text have the type that the schema requires; the same object if all already
    do.
    """
    changed: dict[str, Any] = _fitted(input_, schema, schema, 0)
    return changed


def wants_text(schema: Any, name: str) -> bool:
    """Whether a schema allows only a string for this property."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    wanted = properties.get(name) if isinstance(properties, dict) else None
    return isinstance(wanted, dict) and _referred(wanted, schema).get("type") == "string"


def _fitted(value: Any, schema: Any, root: Any, levels: int) -> Any:
    if not isinstance(schema, dict) or levels > _MOST_LEVELS:
        return value
    kind, schema, nullable = _kind(schema, root)
    if isinstance(value, str) and kind is not None:
        value = None if nullable and value.strip() == "null" else _decoded(value, kind, schema)
    if isinstance(value, dict) and isinstance(properties := schema.get("properties"), dict):
        fitted = {name: _fitted(item, properties.get(name), root, levels + 1) for name, item in value.items()}
        return fitted if any(fitted[name] is not item for name, item in value.items()) else value
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        listed = [_fitted(item, items, root, levels + 1) for item in value]
        return listed if any(new is not old for new, old in zip(listed, value, strict=True)) else value
    return value


def _decoded(text: str, kind: str, schema: Mapping[str, Any]) -> Any:
    """The value that a string encodes, if it is of this kind; else the string."""
    value: Any = text
    if kind == "boolean":
        value = {"true": True, "false": False}.get(text.strip().lower(), text)
    elif kind in _CONTAINERS:
        with suppress(ValueError):
            decoded = loads(text)
            value = decoded if isinstance(decoded, _CONTAINERS[kind]) else text
    elif _NUMBER.fullmatch(number := text.strip()) and not (kind == "integer" and "." in number):
        value = loads(number)
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return value if not isinstance(allowed, list) or value in allowed else text


def _unescaped(value: Any) -> Any:
    """Grok's API encodes ``&&`` and quotes in arguments as HTML entities."""
    if isinstance(value, str):
        return html.unescape(value) if "&" in value else value
    if isinstance(value, dict):
        return {name: _unescaped(item) for name, item in value.items()}
    return [_unescaped(item) for item in value] if isinstance(value, list) else value


def parse_arguments(arguments: Any, *, cut_off: bool) -> dict[str, Any]:
    """The ``input`` of a tool_use block.

    Models make mistakes here. A JSON string that contains the object is decoded once more. Anything that is not an
    object becomes ``{"_raw_arguments": text}``, which the client's schema check turns into an error that the model can
    see. ``cut_off`` means that the answer hit a limit: then the part of the object that arrived is used, without its
    last value.
    """
    if arguments is None:
        return {}
    if isinstance(arguments, dict):
        return arguments if _is_writable(arguments) else {}
    if not isinstance(arguments, str):
        return {"_raw_arguments": arguments_text(arguments)}
    if arguments.strip() in NOTHING:
        return {}
    try:
        value = loads(arguments)
        if isinstance(value, str):
            value = loads(value)
    except ValueError:
        value = _parse_partial(arguments) if cut_off else None
    if isinstance(value, dict) and _is_writable(value):
        return value
    return {"_raw_arguments": arguments}


def is_whole(arguments: Any) -> bool:
    """Whether arguments are complete: one JSON value, or none at all."""
    if not isinstance(arguments, str) or not arguments.strip():
        return True
    try:
        loads(arguments)
    except ValueError:
        return False
    return True


def arguments_text(arguments: Any) -> str:
    """A fragment of arguments as text: strings unchanged, null as the empty string, whole values serialized."""
    if isinstance(arguments, str):
        return arguments
    if arguments is None:
        return ""
    try:
        return dumps(arguments).decode()
    except TypeError:
        raise ApiError(502, "api_error", "upstream sent tool arguments that are nested too deeply") from None


def _parse_partial(text: str) -> Any:
    """The part of a truncated value that arrived; None if jiter, which the SDKs use for this, is not installed."""
    try:
        import jiter
    except ImportError:
        return None
    try:
        value = jiter.from_json(text.encode(), allow_inf_nan=False, partial_mode=True)
        return loads(json.dumps(value))  # numbers over 64 bits become floats, as everywhere else
    except ValueError:
        return None


def _is_writable(value: dict[str, Any]) -> bool:
    try:
        dumps(value)
    except TypeError:
        return False
    return True
