"""The values of a profile's switches, as a user writes them."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Every ``reasoning_effort`` that OpenAI knows, weakest first."""

IMAGE_FORMATS = ("png", "jpeg", "gif", "webp", "bmp", "tiff", "avif", "heic", "heif", "svg+xml")
"""What stands behind ``image/`` in the media types of images."""


def read_switch(name: str, hint: Any, value: Any) -> Any:
    """A switch's value in its own type, ``hint``; ``on``/``off`` and true/false mean the same, ``"none"`` is null.

    Raises ValueError, in one line, for a value that can't be.
    """
    if hint is bool:
        truth = {"on": True, "off": False, "true": True, "false": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in truth:
            return truth[value.lower()]
        raise ValueError(f"switch {name!r} can't be {value!r}; it is true or false")
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if isinstance(value, bool):
            value = "on" if value else "off"
        if value in choices:
            return value
        raise ValueError(f"switch {name!r} can't be {value!r}; there are {', '.join(choices)}")
    if name == "efforts":
        if isinstance(value, (list, tuple)) and all(item in EFFORTS for item in value):
            return tuple(sorted(value, key=EFFORTS.index))
        raise ValueError(f"switch {name!r} can't be {value!r}; it is a list out of {', '.join(EFFORTS)}")
    if name == "image_formats":
        if isinstance(value, (list, tuple)) and all(item in IMAGE_FORMATS for item in value):
            return tuple(value)
        raise ValueError(f"switch {name!r} can't be {value!r}; it is a list out of {', '.join(IMAGE_FORMATS)}")
    if name in ("effort_off", "adaptive_effort"):
        if value in (*EFFORTS, "omit"):
            return value
        raise ValueError(f"switch {name!r} can't be {value!r}; there are {', '.join(EFFORTS)}, omit")
    if name == "extra_body":
        if isinstance(value, Mapping):
            return value
        raise ValueError(f"switch {name!r} can't be {value!r}; it is a JSON object")
    if value is None or value == "none":
        if type(None) in get_args(hint):
            return None
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"switch {name!r} can't be {value!r}; it is a whole number")
