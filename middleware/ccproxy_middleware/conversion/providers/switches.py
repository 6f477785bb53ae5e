"""The values that a profile's switches may have, as a user writes them."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Every ``reasoning_effort`` that OpenAI knows, weakest first."""


def check_switch(name: str, value: Any, hint: Any) -> Any:
    """A switch's value in its own type, ``hint``; ``on``/``off`` and true/false mean the same, ``"none"`` is null.

    Raises ValueError for one that it can't have.
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
