"""The content blocks of a streamed answer: which item is open, and what has to wait for its turn.

An Anthropic stream has one open block at a time. Items are written in the order of the answer; what arrives for another
item in the meantime is held back.
"""

from collections.abc import Mapping
from heapq import heappop, heappush
from typing import Any

from ...toolkit.errors import ApiError
from ...toolkit.json import dumps
from ..anthropic import (
    EventWriter,
    StopMatcher,
    ToolIds,
    client_tool_name,
    is_whole,
    nameless,
    parse_arguments,
    repaired,
)
from ..chat import MAX_ARGUMENTS
from ..context import Context
from ..counting import OutputEstimate
from ..hosted_search import HostedSearch, read_call, response_sources
from ..text_calls import Call, TextCalls, as_functions, text_calls
from .response import held_signature
from .state import Following, encode_state
from .streamed_items import StreamedCall, StreamedItem, StreamedMessage, StreamedReasoning

_MAX_HELD = 32 * 1024 * 1024  # waiting characters


class ItemBlocks:
    """Writes the blocks of an answer's items.

    matched: the stop sequence that ended the answer; nothing after it is written.
    """

    def __init__(self, context: Context, writer: EventWriter) -> None:
        self.matched: str | None = None
        self.has_tool_use = False
        self.has_whole_calls = True
        self.searches = 0  # successful web searches
        self._context = context
        self._writer = writer
        self._ids = ToolIds(context)
        self._matcher = StopMatcher(context.local_stops) if context.local_stops else None
        self._output = OutputEstimate()
        self._queue: list[tuple[int, int, StreamedItem]] = []  # by position in the answer, then by arrival
        self._arrived = 0
        self._cut_off = False
        self._current: StreamedItem | None = None
        self._held = 0  # characters of items that are still waiting
        self._thinking: StreamedReasoning | None = None  # its block stays open until the next item is known
        self._hidden: list[tuple[StreamedReasoning, int]] = []  # with the number of messages before it
        self._phases: list[str | None] = []  # of the messages that have begun
        self._blank: list[str] = []  # messages with only whitespace
        self._splitter: TextCalls | None = None  # of the current message
        self._last: StreamedMessage | None = None  # a message that may be the last item, with calls at its end
        self._unnamed: list[HostedSearch] = []  # without sources: the cited pages take their place
        self._cited: dict[str, str] = {}

    def announce(self, item: StreamedItem) -> None:
        """Register a new item."""
        self._arrived += 1
        heappush(self._queue, (self._arrived if item.index is None else item.index, self._arrived, item))
        self._advance()

    def added(self, item: StreamedItem, text: str) -> None:
        """``text`` has arrived for an item and was added to its pending text."""
        if not text:
            return
        self._output.add(text)
        if item is self._current:
            if item.kind == "call" and item.size > MAX_ARGUMENTS:
                raise ApiError(502, "api_error", f"upstream sent tool arguments of over {MAX_ARGUMENTS} characters")
            return self._write(item)
        if self._is_hidden(item):
            item.pending.clear()
            return
        self._held += len(text)
        if self._held > _MAX_HELD:
            raise ApiError(502, "api_error", f"upstream sent over {_MAX_HELD} characters that have to wait")

    def shows(self, item: StreamedItem | None) -> bool:
        """Whether the text of an item is sent to the client unchanged as it arrives."""
        return item is not None and item is self._current and self._writer.open == "text" and self._matcher is None

    def show(self, item: StreamedItem, text: str) -> None:
        """Write the text of such an item."""
        item.sent(text)
        self._output.add(text)
        if self._splitter is not None and not self._splitter.passes(text):
            text = self._splitter.feed(text)
        if text:
            self._writer.text(text)

    def finished(self, item: StreamedItem) -> None:
        """An item is complete."""
        if item is self._current:
            self._advance()

    def cut_off(self) -> None:
        """The answer has hit a limit: a call may have no name."""
        self._cut_off = True

    def finish(self) -> None:
        """Close what is open, once all items are complete or a stop sequence was found."""
        self._end_text(last=self.matched is None and not self.has_tool_use)
        self._before(None)
        self._writer.stop_block()
        if isinstance(self._current, StreamedMessage) and self._current.blank:
            self._blank.append("".join(self._current.blank))
        if self._writer.blocks == 0:
            for text in self._blank:
                self._writer.start_text()
                self._writer.text(text)
                self._writer.stop_block()
        for search in self._unnamed:
            search.name(self._cited)
            self._writer.search(*search.blocks())

    def estimate_tokens(self) -> int:
        """An estimate of the tokens of everything that the model has written."""
        return self._output.tokens()

    def _is_hidden(self, item: StreamedItem) -> bool:
        return item.kind == "reasoning" and self._context.thinking == "off"

    def _advance(self) -> None:
        """Write the items whose turn it is."""
        while self.matched is None:
            if self._current is None:
                if not self._queue:
                    return
                self._end_text(last=False)
                self._current = heappop(self._queue)[2]
                self._held -= sum(map(len, self._current.pending))
            item = self._current
            self._write(item)
            if not item.done or self.matched is not None:
                return
            self._close(item)
            self._current = None

    def _write(self, item: StreamedItem) -> None:
        match item:
            case StreamedMessage():
                if text := item.take():
                    self._write_text(item, text)
            case StreamedReasoning():
                self._write_reasoning(item)
            case StreamedCall():
                self._write_call(item)

    def _close(self, item: StreamedItem) -> None:
        match item:
            case StreamedMessage():
                self._close_message(item)
            case StreamedReasoning():
                self._close_reasoning(item)
            case StreamedCall():
                self._close_call(item)
            case _:
                self._close_search(item)

    # Messages

    def _write_text(self, item: StreamedMessage, text: str) -> None:
        if self._last is not item:
            self._last, self._splitter = item, text_calls(self._context)
        if self._matcher is not None:
            text = self._matcher.feed(text)
            self.matched = self._matcher.matched
        if self._splitter is not None and not self._splitter.passes(text):
            text = self._splitter.feed(text)
        if text:
            self._show_text(item, text)

    def _show_text(self, item: StreamedMessage, text: str) -> None:
        if not item.opened:
            if text.isspace():
                item.blank.append(text)
                return
            item.opened = True
            text = "".join((*item.blank, text))
            item.blank.clear()
            self._phases.append(item.phase)
            self._before(Following("message", item.phase))
            self._writer.start_text()
        self._writer.text(text)

    def _close_message(self, item: StreamedMessage) -> None:
        """Complete a message. Its block stays open until it is known whether something follows."""
        if self._matcher is not None and (rest := self._matcher.finish()):
            if self._splitter is not None:
                rest = self._splitter.feed(rest)
            if rest:
                self._show_text(item, rest)
        if self._unnamed:
            self._cited |= response_sources(item.data)

    def _end_text(self, *, last: bool) -> None:
        """Write the rest of a message's text. ``last``: it is also the end of the answer."""
        item, splitter = self._last, self._splitter
        if item is None:
            return
        calls: list[Call] = []
        rest = ""
        if splitter is not None:
            rest, calls = splitter.finish() if last else (splitter.release(), [])
        if rest:
            self._show_text(item, rest)
        if item.opened:
            self._writer.stop_block()
        elif item.blank:
            self._blank.append("".join(item.blank))
            item.blank.clear()
        self._last = self._splitter = None
        for call in as_functions(calls):
            self._write_text_call(call["function"])

    def _write_text_call(self, function: Mapping[str, Any]) -> None:
        call = StreamedCall(None, None, {"type": "function_call", **function})
        call.finish(call.data)
        self._write_call(call)
        self._close_call(call)

    # Web searches

    def _close_search(self, item: StreamedItem) -> None:
        search = read_call(item.data)
        if search is None:
            return
        self.searches += not search.failed
        if not search.sources and not search.failed:
            self._unnamed.append(search)
            return
        self._before(None)
        self._writer.search(*search.blocks())

    # Reasoning

    def _write_reasoning(self, item: StreamedReasoning) -> None:
        words = item.take()
        if self._context.thinking == "off" or not words:
            return
        self._open_thinking(item)
        if self._context.thinking == "show":
            self._writer.thinking(words)

    def _open_thinking(self, item: StreamedReasoning) -> None:
        if not item.opened:
            item.opened = True
            self._before(Following("reasoning"))
            self._writer.start_thinking()

    def _close_reasoning(self, item: StreamedReasoning) -> None:
        if self._context.thinking == "off":
            if item.has_state:
                self._hidden.append((item, len(self._phases)))
            return
        if item.has_state:
            self._open_thinking(item)
        if item.opened:
            self._thinking = item

    def _before(self, following: Following | None) -> None:
        """Close the thinking block that waits for the next item."""
        if self._thinking is not None:
            context = self._context
            state = encode_state(context.profile.name, context.upstream_model, self._thinking.data, following)
            self._writer.signature(state)
            self._writer.stop_block()
            self._thinking = None

    # Calls

    def _write_call(self, item: StreamedCall) -> None:
        if not item.opened:
            if not item.name:
                return
            item.opened = True
            item.client_id = self._ids.claim(item.upstream_id)
            self._before(Following("call", item.client_id))
            for reasoning, count in self._hidden:
                self._writer.start_thinking()
                state = held_signature(reasoning.data, count, self._phases, item.client_id, self._context)
                self._writer.signature(state)
                self._writer.stop_block()
            self._hidden.clear()
            self.has_tool_use = True
            self._writer.start_tool_use(item.client_id, client_tool_name(item.name, self._context))
        if not self._waits_until_whole(item) and (fragment := item.take()):
            self._writer.input_json(fragment)

    def _waits_until_whole(self, item: StreamedCall) -> bool:
        return item.custom or client_tool_name(item.name, self._context) in self._context.tool_schemas

    def _close_call(self, item: StreamedCall) -> None:
        if not item.opened:
            if not self._cut_off and (item.size or item.upstream_id):
                raise nameless()
            return
        if self._waits_until_whole(item):
            self._writer.input_json(self._whole_arguments(item))
        elif not item.arguments.strip():
            self._writer.input_json("{}")
        if self._matcher is not None:  # otherwise unused
            self.has_whole_calls = self.has_whole_calls and (item.custom or is_whole(item.arguments))
        self._writer.stop_block()

    def _whole_arguments(self, item: StreamedCall) -> str:
        text = item.take()
        if item.custom:
            return dumps({"input": text}).decode()
        if not text.strip():
            return "{}"
        input_: dict[str, Any] = parse_arguments(text, cut_off=False)
        if "_raw_arguments" in input_:  # truncated, or not an object
            return text
        name = client_tool_name(item.name, self._context)
        fitted = repaired(input_, self._context.tool_schemas[name], self._context.profile)
        return text if fitted is input_ else dumps(fitted).decode()
