"""Tool calls of an answer: ids, names and arguments."""

import json
import re
from typing import Any

from ...toolkit.errors import ApiError
from ...toolkit.json import dumps, loads
from ..context import Context
from .names import client_tool_id
from .streamed_call import NOTHING

_LEGAL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ToolIds:
    """The ids of one answer's calls. Claude Code drops turns in which an id of the conversation is repeated."""

    __slots__ = ("_history", "_taken")

    def __init__(self, context: Context) -> None:
        self._history = context.used_tool_ids
        self._taken: set[str] = set()

    def claim(self, upstream_id: Any) -> str:
        """Upstream's own id if it is legal and new in the conversation, else one of ours."""
        id_ = upstream_id if isinstance(upstream_id, str) else ""
        if not _LEGAL_ID.fullmatch(id_) or id_ in self._taken or id_ in self._history:
            id_ = client_tool_id(id_)
        self._taken.add(id_)
        return id_


def client_tool_name(name: str, context: Context) -> str:
    """The client's name of a tool: a shortened one restored, one in the wrong case (``bash``) put right."""
    if name in context.tool_names:
        return context.tool_names[name]
    if name not in context.tools:
        alike = [tool for tool in context.tools if tool.lower() == name.lower()]
        if len(alike) == 1:
            return alike[0]
    return name


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
