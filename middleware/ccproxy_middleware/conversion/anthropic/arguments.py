"""The arguments of tool calls: read from what a model has written, and put right where a value is written otherwise.

Models write the JSON of an array as a string where the schema asks for the array, or put numbers and booleans in
quotes. Clients refuse such a call, again and again. Only what the schema leaves no doubt about is changed.
"""

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from ...toolkit.errors import ApiError
from ...toolkit.json import dumps, loads
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


def parse_arguments(arguments: Any, *, cut_off: bool) -> dict[str, Any]:
    """The ``input`` of a tool_use block.

    Models err here: a JSON string that holds the object is decoded once more, and what is no object becomes
    ``{"_raw_arguments": text}``, which the client's schema check turns into an error that the model can see.
    ``cut_off`` says that the answer hit a limit: then what there is of the object counts, without its last value.
    """
    if arguments is None:
        return {}
    if isinstance(arguments, dict):
        return arguments if _is_writable(arguments) else {}
    if not isinstance(arguments, str):
        return {"_raw_arguments": arguments_text(arguments)}
    if arguments.strip() in ("", "null"):
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
    """A fragment of arguments as text: strings as they are, null as nothing, whole values serialised."""
    if isinstance(arguments, str):
        return arguments
    if arguments is None:
        return ""
    try:
        return dumps(arguments).decode()
    except TypeError:
        raise ApiError(502, "api_error", "upstream sent tool arguments that are nested too deeply") from None


def _parse_partial(text: str) -> Any:
    """What there is of a value that was cut off; None where jiter, which the SDKs use for it, is not installed."""
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
