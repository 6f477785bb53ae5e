"""Field checks with errors in the Messages API's own wording: ``<dotted.path>: Input should be ..``.

A ``path`` is a string, or an object that is converted to one when an error needs it, such as a Block.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import invalid_request

T = TypeVar("T")

_EXPECTED: Mapping[type, str] = {
    bool: "a valid boolean",
    dict: "a valid dictionary",
    float: "a valid number",
    int: "a valid integer",
    list: "a valid list",
    str: "a valid string",
}


def expect(value: Any, kind: type[T], path: object) -> T:
    """The value itself if it has that JSON type. Raises a 400 that names the path."""
    if type(value) is kind:
        return value
    found: Any = value
    if kind is int and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        found = int(value)
    if kind is float and isinstance(value, int):
        found = float(value)
    if isinstance(found, kind) and (kind is bool or not isinstance(value, bool)):
        return found
    raise invalid_request(f"{path}: Input should be {_EXPECTED[kind]}")


def required(data: Mapping[str, Any], key: str, kind: type[T], path: object = "") -> T:
    """A field that must be present."""
    value = data.get(key)
    if type(value) is kind:
        return value
    full = f"{path}.{key}" if path else key
    if key not in data:
        raise invalid_request(f"{full}: Field required")
    return expect(value, kind, full)


def optional(data: Mapping[str, Any], key: str, kind: type[T], path: object = "") -> T | None:
    """A field that may be absent or null."""
    value = data.get(key)
    if value is None or type(value) is kind:
        return value
    return expect(value, kind, f"{path}.{key}" if path else key)


def in_range(value: float | None, low: float, high: float, path: str) -> None:
    """Raise a 400 for a number outside its closed range."""
    if value is not None and not low <= value <= high:
        side = f"greater than or equal to {low:g}" if value < low else f"less than or equal to {high:g}"
        raise invalid_request(f"{path}: Input should be {side}")
