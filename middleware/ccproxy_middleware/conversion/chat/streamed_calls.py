"""Assign the fragments of streamed tool calls to their calls.

A fragment that belongs to no call is an error that the client sees: a call with missing arguments would otherwise be
run.
"""

from collections.abc import Mapping
from typing import Any

from ...toolkit.errors import ApiError
from ..anthropic import StreamedCall, arguments_text, nameless
from ..context import Context
from .reasoning import thought_signature

MAX_ARGUMENTS = 32 * 1024 * 1024  # characters of all arguments in an answer


class ToolCallAssembler:
    """Finds the call that a delta belongs to.

    Servers differ. Some send complete calls that all have index 0; some send no index or no id; some repeat id and name
    on every fragment; some use another id or another index on every fragment.
    """

    __slots__ = ("_by_id", "_by_index", "_legacy", "_size", "_tools", "_unfinished", "calls")

    def __init__(self, context: Context) -> None:
        self.calls: list[StreamedCall] = []  # in order of first appearance
        self._tools = context.tools | context.tool_names.keys()  # a name is complete if it is one of these
        self._by_id: dict[str, StreamedCall] = {}
        self._by_index: dict[int, StreamedCall] = {}
        self._unfinished: list[StreamedCall] = []
        self._legacy: StreamedCall | None = None
        self._size = 0

    def add(self, delta: Mapping[str, Any]) -> StreamedCall | None:
        """Process one item of ``delta.tool_calls``; returns the call that it is part of, or None if it is empty.

        Raises ApiError for arguments that belong to no call.
        """
        custom = delta.get("custom")
        function = custom if isinstance(custom, dict) else delta.get("function")
        function = function if isinstance(function, dict) else {}
        is_custom = isinstance(custom, dict) or delta.get("type") == "custom"
        arguments = arguments_text(function.get("input" if is_custom else "arguments"))
        name = function.get("name")
        name = name if isinstance(name, str) else ""
        id_ = delta.get("id")
        id_ = id_ if isinstance(id_, str) else ""
        index = delta.get("index")
        index = index if isinstance(index, int) else None
        self._count(arguments)

        call = self._find(index, id_, name, arguments)
        if call is None:
            if not (name or id_ or arguments.strip()):
                return None
            call = self._announce(StreamedCall(custom=is_custom))
        self._bind(call, index, id_)
        call.signature = call.signature or thought_signature(delta)
        call.add_name(name)
        call.add_arguments(arguments)
        again = call.repetition
        if again is not None and not again.could_be_whole:
            raise _unassigned()
        if again is not None and name and again.whole:  # another object under the same name is another call
            other = self._announce(StreamedCall())
            self._bind(other, index, "")
            other.add_name(name)
            for fragment in call.take_repetition().fragments:
                other.add_arguments(fragment)
            return other
        return call

    def add_legacy(self, function: Mapping[str, Any]) -> StreamedCall | None:
        """Process ``delta.function_call``; ignored if the server sends ``tool_calls`` too."""
        if self._legacy is None:
            if self.calls or not (function.get("name") or function.get("arguments")):
                return None
            self._legacy = self._announce(StreamedCall())
        arguments = arguments_text(function.get("arguments"))
        self._count(arguments)
        self._legacy.add_name(function.get("name"))
        self._legacy.add_arguments(arguments)
        return self._legacy

    def finish(self, *, cut_off: bool) -> None:
        """Finish after the last fragment. ``cut_off`` means that the answer hit a limit, perhaps in the middle of a
        name.

        Raises ApiError if a call has no name, or if there are arguments that belong to no call.
        """
        for call in self.calls:
            if not call.name and not (cut_off and call.blank):
                raise nameless()
            if call.repetition is not None:
                raise _unassigned()

    def _announce(self, call: StreamedCall) -> StreamedCall:
        if self.calls:
            self.calls[-1].name_settled = bool(self.calls[-1].name)
        self.calls.append(call)
        self._unfinished.append(call)
        return call

    def _bind(self, call: StreamedCall, index: int | None, id_: str) -> None:
        if index is not None:
            self._by_index[index] = call
            call.index = index if call.index is None else call.index
        if id_:
            self._by_id.setdefault(id_, call)
            call.id = call.id or id_

    def _count(self, arguments: str) -> None:
        self._size += len(arguments)
        if self._size > MAX_ARGUMENTS:
            raise ApiError(502, "api_error", f"upstream sent tool arguments of over {MAX_ARGUMENTS} characters")

    def _find(self, index: int | None, id_: str, name: str, arguments: str) -> StreamedCall | None:
        """The existing call that a delta continues, or None."""
        call = self._by_index.get(index) if index is not None else None
        if id_ and (call is None or call.id != id_) and id_ in self._by_id:
            call = self._by_id[id_]
        elif index is None and not id_ and self.calls:
            call = self.calls[-1]
        same_id = call is not None and id_ != "" and call.id == id_
        if name:
            if call is None or (id_ and call.id and not same_id):
                return None
            return call if self._continues(call, index, same_id, name, arguments) else None
        if call is not None and (same_id or call.takes_more or not arguments.strip()):
            return call
        if id_ and not arguments.strip():
            return None  # the beginning of a call whose name is still to come
        while self._unfinished and not self._unfinished[-1].takes_more:
            self._unfinished.pop()
        return self._unfinished[-1] if self._unfinished else call

    def _continues(self, call: StreamedCall, index: int | None, same_id: bool, name: str, arguments: str) -> bool:
        """Whether a delta with a name continues the call with its id, or the last call at its index."""
        if not call.name or call.custom:
            return True
        if name == call.name:  # repeated on every fragment; without an id, complete arguments are another call's
            return same_id or not call.whole or not arguments.strip()
        if call.whole or (index is not None and call.index not in (None, index)):
            return False
        if not call.blank:
            return True
        if call.id and name not in self._tools:
            return True  # the rest of a name
        return any(tool.startswith(call.name + name) for tool in self._tools)


def _unassigned() -> ApiError:
    return ApiError(502, "api_error", "upstream sent arguments that belong to no tool call")
