"""Tool calls of an answer: ids, names, arguments, and the assembly of calls that come in fragments."""

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from .._errors import ApiError
from .._json import dumps, loads
from .context import Context
from .reasoning import thought_signature

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
            id_ = "toolu_" + secrets.token_hex(12)
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
    if not arguments.strip():
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


def is_whole_json(text: str) -> bool:
    """Whether a text is one complete JSON value."""
    try:
        loads(text)
    except ValueError:
        return False
    return True


class StreamedCall:
    """One call as far as it has come."""

    __slots__ = (
        "_checked", "_fragments", "_whole", "client_id", "custom", "id", "name", "name_settled", "sent",
        "signature", "signature_sent",
    )  # fmt: skip

    def __init__(self, *, custom: bool = False) -> None:
        self.id = ""  # upstream's, if it sends one
        self.client_id = ""  # as soon as the block is open
        self.name = ""
        self.name_settled = False
        self.custom = custom
        self.signature: str | None = None
        self.signature_sent = False
        self.sent = 0  # so many fragments of the arguments are with the client
        self._fragments: list[str] = []
        self._checked = 0
        self._whole = False

    @property
    def arguments(self) -> str:
        return "".join(self._fragments)

    @property
    def whole(self) -> bool:
        """Whether the arguments are complete. Free text (a custom tool's input) shows no end and always counts."""
        if not self._whole and self._checked < len(self._fragments):
            self._checked = len(self._fragments)
            end = self._fragments[-1].rstrip()
            surely_open = self._fragments[0].startswith("{") and end != "" and not end.endswith("}")
            self._whole = not surely_open and is_whole_json(self.arguments)
        return self._whole or self.custom

    def add_name(self, name: Any) -> None:
        if isinstance(name, str) and name and not self.name_settled and name != self.name:
            self.name += name
            self.name_settled = bool(self._fragments)

    def add_arguments(self, fragment: str) -> None:
        if not fragment:
            return
        if self._fragments == ["{}"] and not self.sent:  # a placeholder, if anything follows
            if not fragment.strip():
                return
            self._fragments.clear()
            self._checked, self._whole = 0, False
        elif not self.custom and fragment.lstrip().startswith("{") and self.whole:
            return  # the whole object once more
        self._fragments.append(fragment)
        self.name_settled = bool(self.name)

    def take(self) -> str:
        """The arguments that came since the last time; a lone ``{}`` waits, for it may be a placeholder."""
        if self.custom or (self._fragments == ["{}"] and not self.sent):
            return ""
        new = "".join(self._fragments[self.sent :])
        self.sent = len(self._fragments)
        return new

    def take_last(self) -> str:
        """What is still to be sent when the call ends: at least an empty object."""
        if self.custom:
            return dumps({"input": self.arguments}).decode()
        rest = "".join(self._fragments[self.sent :])
        blank = not rest.strip() and not "".join(self._fragments[: self.sent]).strip()
        self.sent = len(self._fragments)
        return "{}" if blank else rest


class ToolCallAssembler:
    """Find out which call a delta belongs to.

    Servers differ: whole calls that all have index 0, no index, no id, id and name repeated on every fragment.
    """

    __slots__ = ("_by_index", "_legacy", "calls")

    def __init__(self) -> None:
        self.calls: list[StreamedCall] = []  # in order of first appearance
        self._by_index: dict[int, StreamedCall] = {}
        self._legacy: StreamedCall | None = None

    def add(self, delta: Mapping[str, Any]) -> StreamedCall:
        """Take in one item of ``delta.tool_calls``; return the call that it is part of."""
        custom = delta.get("custom")
        function = custom if isinstance(custom, dict) else delta.get("function")
        function = function if isinstance(function, dict) else {}
        call = self._find(delta, function)
        if call is None:
            for earlier in self.calls:
                earlier.name_settled = bool(earlier.name)
            call = StreamedCall(custom=isinstance(custom, dict) or delta.get("type") == "custom")
            self.calls.append(call)
        index, id_ = delta.get("index"), delta.get("id")
        if isinstance(index, int):
            self._by_index[index] = call
        if isinstance(id_, str) and id_ and not call.id:
            call.id = id_
        call.signature = call.signature or thought_signature(delta)
        self._fill(call, function, "input" if call.custom else "arguments")
        return call

    def add_legacy(self, function: Mapping[str, Any]) -> StreamedCall | None:
        """Take in ``delta.function_call``; ignored where the server sends ``tool_calls`` too."""
        if self._legacy is None:
            if self.calls:
                return None
            self._legacy = StreamedCall()
            self.calls.append(self._legacy)
        self._fill(self._legacy, function, "arguments")
        return self._legacy

    def _fill(self, call: StreamedCall, function: Mapping[str, Any], field: str) -> None:
        call.add_name(function.get("name"))
        call.add_arguments(arguments_text(function.get(field)))

    def _find(self, delta: Mapping[str, Any], function: Mapping[str, Any]) -> StreamedCall | None:
        """The known call that a delta continues, or None."""
        index, id_, name = delta.get("index"), delta.get("id"), function.get("name")
        id_ = id_ if isinstance(id_, str) else ""
        named = isinstance(name, str) and name != ""
        if isinstance(index, int):
            call = self._by_index.get(index)
            if call is None:
                return None
            if id_ and call.id and id_ != call.id:
                return next((known for known in self.calls if known.id == id_), None)
        elif id_:
            call = next((known for known in reversed(self.calls) if known.id == id_), None)
        else:
            call = None if named or not self.calls else self.calls[-1]
        if call is None or not named or not call.name or call.custom or not call.whole:
            return call
        same_id = id_ != "" and id_ == call.id
        repeated = name == call.name and (same_id or not function.get("arguments"))
        return call if repeated else None


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
