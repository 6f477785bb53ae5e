"""The tool calls of an Anthropic answer, assembled from its events or taken from a whole message."""

from collections.abc import Mapping
from typing import Any

from ..toolkit.json import loads
from .question import MAX_QUESTION


class Call:
    """One ``tool_use`` block."""

    __slots__ = ("_input", "_length", "_parts", "id", "name", "problem")

    def __init__(self, block: Mapping[str, Any]) -> None:
        self.id = str(block.get("id"))
        self.name = str(block.get("name"))
        self.problem: str | None = None  # why it can't be judged
        self._input = block.get("input")
        self._parts: list[str] = []
        self._length = 0

    @property
    def input(self) -> Any:
        """The arguments, once all of them have arrived."""
        return self._input

    def add(self, fragment: str) -> None:
        """Take the next piece of the arguments' JSON."""
        self._length += len(fragment)
        if self._length > MAX_QUESTION:
            self.problem = "input_too_long"
            self._parts.clear()
        else:
            self._parts.append(fragment)

    def end(self, stop_reason: Any) -> None:
        """The answer is complete."""
        if self.problem is not None:
            return
        if text := "".join(self._parts):
            try:
                self._input = loads(text)
            except ValueError:
                self.problem = "truncated" if stop_reason == "max_tokens" else "input_unparsed"
        if self.problem is None and not isinstance(self._input, dict):
            self.problem = "input_unparsed"


class ToolCalls:
    """The calls of one answer, in order."""

    def __init__(self) -> None:
        self._calls: dict[Any, Call] = {}  # by the block's index

    def take_event(self, event: Mapping[str, Any]) -> None:
        """Process an event of a stream."""
        index = event.get("index")
        if event.get("type") == "content_block_start":
            self._take_block(index, event.get("content_block"))
        elif event.get("type") == "content_block_delta" and (call := self._calls.get(index)) is not None:
            delta = event.get("delta")
            call.add(str(delta.get("partial_json") or "") if isinstance(delta, Mapping) else "")

    def take_message(self, message: Mapping[str, Any]) -> None:
        """Process a whole message."""
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            self._take_block(index, block)

    def ended(self, stop_reason: Any) -> list[Call]:
        """All calls of the answer, which is complete."""
        calls = list(self._calls.values())
        for call in calls:
            call.end(stop_reason)
        return calls

    def _take_block(self, index: Any, block: Any) -> None:
        if isinstance(block, Mapping) and block.get("type") == "tool_use":
            self._calls[index] = Call(block)
