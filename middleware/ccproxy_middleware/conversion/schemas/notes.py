"""Describe to the model, in the description, what a dialect has no keyword for."""

from typing import Any

from ...toolkit.json import dumps

_MAX_NOTE = 1000  # characters
_MAX_VALUE = 300


def told(description: Any, lost: dict[str, Any]) -> str:
    """The description with these keywords of JSON Schema added; long values are shortened."""
    note = "JSON Schema: {" + ",".join(f"{shown(keyword)}:{shown(value)}" for keyword, value in lost.items()) + "}"
    if len(note) > _MAX_NOTE:
        note = note[:_MAX_NOTE] + "..."
    return f"{description}\n{note}" if isinstance(description, str) and description else note


def shown(value: Any, most: int = _MAX_VALUE) -> str:
    """A value's JSON, shortened."""
    try:
        text = dumps(value).decode()
    except TypeError:  # nested too deeply to be serialized
        return "..."
    return text if len(text) <= most else text[:most] + "..."
