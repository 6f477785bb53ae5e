"""Convert a stream of Responses events to an Anthropic event stream."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ...toolkit.errors import ApiError
from ..anthropic import EventStream, StopReason, arguments_text, stop_outcome
from ..chat import service_tier
from ..context import Context
from ..hosted_search import with_searches
from ..providers import PromptRefused
from .blocks import ItemBlocks
from .ends import answer_notes, answer_usage, error_of_response, limit_or_refusal
from .event_reader import EventReader, TextDeltas
from .known_items import KnownItems
from .output_items import Kind, kind_of
from .streamed_items import Source, StreamedItem, StreamedReasoning

Event = Mapping[str, Any]


class StreamConverter(EventStream):
    """Converts the events of a response to the client's stream."""

    def __init__(self, context: Context, request_id: str) -> None:
        super().__init__(context, request_id)
        self._dropped: Counter[str] = Counter()
        self._reader = EventReader()
        self._blocks = ItemBlocks(context, self._writer)
        self._hosted = context.hosted_search is not None
        self._items = KnownItems(hosted=self._hosted)
        self._refusals: list[str] = []
        self._tier: dict[str, str] = {}
        self._deltas = TextDeltas()
        self._text_item: StreamedItem | None = None  # the item and part that the learned events belong to
        self._data = b""  # of the current event

    def _error_event(self, error: ApiError) -> dict[str, Any]:
        return error.body(self._request_id)

    def _on_event(self, data: bytes) -> None:
        item = self._text_item
        if item is not None and not self._reader.held and (text := self._deltas.text(data)):
            self._malformed = 0
            self.events_read += 1
            return self._blocks.show(item, text)
        self._data = data
        if data.startswith(b"[DONE]") and data.strip() == b"[DONE]":
            return self._on_end()
        try:
            event = self._reader.read(data)
        except ValueError:
            event = None
        kind = event.get("type") if isinstance(event, dict) else None
        if not isinstance(event, dict) or not isinstance(kind, str):
            if isinstance(event, dict) and event.get("error"):
                return self._on_failure(event["error"])
            return self._on_malformed("those of a response")
        self._malformed = 0
        handle = _HANDLERS.get(kind)
        if handle is None:
            return
        if kind != "response.output_text.delta":
            self._text_item = None
        handle(self, event)
        if self._blocks.matched is not None and not self.finished:
            self._end_message({}, None)

    def _on_end(self) -> None:
        raise ApiError(502, "api_error", "upstream stream ended before completion")

    # The response

    def _on_created(self, event: Event) -> None:
        response = _response(event)
        if response.get("error"):
            return self._on_failure(response.get("error"))
        self._tier = service_tier(response, self._context)

    def _on_completed(self, event: Event) -> None:
        response = _response(event)
        if response.get("status") == "failed":
            return self._on_failure(response.get("error"))
        self._begin()
        reason = limit_or_refusal(response)
        if reason == "max_tokens":
            self._blocks.cut_off()
        output = response.get("output")
        items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
        for known, item, index in self._items.match(items):
            if self._blocks.matched is None:
                self._finish_item(known or self._announce(item, index, item.get("id")), item)
        for known in self._items.unfinished():
            self._finish_item(known, None)
        self._end_message(response, reason)

    def _on_failed(self, event: Event) -> None:
        self._on_failure(_response(event).get("error"))

    def _on_error(self, event: Event) -> None:
        error = event.get("error")
        self._on_failure(error if error else event)

    def _on_failure(self, error: Any) -> None:
        failure = error_of_response(error, self._context)
        if not isinstance(failure, PromptRefused) or not self.started:
            self.failed = error
            raise failure
        self._refusals = [failure.message]
        for known in self._items.unfinished():
            self._finish_item(known, None)
        self._end_message({}, "refusal")

    # Items

    def _on_item_added(self, event: Event) -> None:
        item = event.get("item")
        if (
            isinstance(item, dict)
            and self._items.find(kind_of(item, hosted=self._hosted), event, item.get("id")) is None
        ):
            self._announce(item, event.get("output_index"), item.get("id"))

    def _on_item_done(self, event: Event) -> None:
        item = event.get("item")
        if not isinstance(item, dict):
            return
        found = self._items.find(kind_of(item, hosted=self._hosted), event, item.get("id"))
        self._finish_item(found or self._announce(item, event.get("output_index"), item.get("id")), item)

    def _announce(self, data: Event, index: Any, id_: Any) -> StreamedItem | None:
        """Register a new item; None for one that has no equivalent for the client."""
        kind = kind_of(data, hosted=self._hosted)
        if kind is None:
            self._dropped[str(data.get("type"))] += 1
            return None
        self.events_read += 1
        if kind != "reasoning" or self._context.thinking != "off":
            self._begin()
        item = self._items.add(kind, index, id_, data)
        self._blocks.announce(item)
        return item

    def _finish_item(self, item: StreamedItem | None, data: Event | None) -> None:
        if item is None or item.done:
            return
        self.events_read += 1
        for text, is_refusal in item.finish(data):
            self._added(item, text, is_refusal=is_refusal)
        self._blocks.finished(item)

    def _item(self, kind: Kind, event: Event) -> StreamedItem | None:
        """The item that an event belongs to, unless it is complete."""
        found = self._items.find(kind, event, event.get("item_id"))
        if found is None:
            type_ = "custom_tool_call" if "custom_tool_call" in str(event.get("type")) else "function_call"
            data = {"type": type_ if kind == "call" else kind, "name": event.get("name")}
            found = self._announce(data, event.get("output_index"), event.get("item_id"))
        return None if found is None or found.done else found

    def _added(self, item: StreamedItem, text: str, *, is_refusal: bool) -> None:
        if is_refusal and text:
            self._refusals.append(text)
        if self._blocks.matched is None:
            self._blocks.added(item, text)

    # Their parts

    def _on_text(self, event: Event) -> None:
        delta = event.get("delta")
        if isinstance(delta, str) and delta and (item := self._item("message", event)) is not None:
            self.events_read += 1
            is_refusal = event.get("type") == "response.refusal.delta"
            self._added(item, item.add(event.get("content_index"), delta), is_refusal=is_refusal)
            self._text_item = item if not is_refusal and self._blocks.shows(item) else None
            if self._text_item is not None:
                self._deltas.learn(self._data, delta)

    def _on_text_done(self, event: Event) -> None:
        is_refusal = event.get("type") == "response.refusal.done"
        self._on_message_part(event, event.get("refusal" if is_refusal else "text"), is_refusal)

    def _on_part_done(self, event: Event) -> None:
        part = event.get("part")
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, dict) and kind in ("output_text", "refusal"):
            self._on_message_part(event, part.get("text" if kind == "output_text" else "refusal"), kind == "refusal")

    def _on_message_part(self, event: Event, text: Any, is_refusal: bool) -> None:
        if isinstance(text, str) and text and (item := self._item("message", event)) is not None:
            self._added(item, item.complete(event.get("content_index"), text), is_refusal=is_refusal)

    def _on_summary(self, event: Event) -> None:
        self._on_words(event, "summary", event.get("summary_index"))

    def _on_reasoning(self, event: Event) -> None:
        self._on_words(event, "content", event.get("content_index"))

    def _on_words(self, event: Event, source: Source, part: Any) -> None:
        inner = event.get("part")
        is_delta = "delta" in event
        words = event.get("delta") if is_delta else (inner if isinstance(inner, dict) else event).get("text")
        if not isinstance(words, str) or not words:
            return
        item = self._item("reasoning", event)
        if isinstance(item, StreamedReasoning) and item.takes(source):
            self.events_read += 1
            added = item.add(part, words) if is_delta else item.complete(part, words)
            self._added(item, added, is_refusal=False)

    def _on_arguments(self, event: Event) -> None:
        item = self._item("call", event)
        if item is not None:
            self.events_read += 1
            self._added(item, item.add(0, arguments_text(event.get("delta"))), is_refusal=False)

    def _on_arguments_done(self, event: Event) -> None:
        item = self._item("call", event)
        if item is not None:
            whole = event.get("arguments", event.get("input"))
            self._added(item, item.complete(0, arguments_text(whole)), is_refusal=False)

    # Start and end

    def _begin(self) -> None:
        if not self.started:
            self._start(self._tier)

    def _end_message(self, response: Mapping[str, Any], reason: StopReason | None) -> None:
        """End successfully: close everything, and write the stop reason and the usage."""
        self._blocks.finish()
        outcome = stop_outcome(
            reason,
            matched=self._blocks.matched,
            refusal="".join(self._refusals) or None,
            has_tool_use=self._blocks.has_tool_use,
            has_whole_calls=self._blocks.has_tool_use and self._blocks.has_whole_calls,
        )
        self.notes = answer_notes(response, self._dropped)
        usage = answer_usage(response, self._context, self._blocks.estimate_tokens)
        self._end(outcome, with_searches(usage, self._blocks.searches) if self._hosted else usage)


def _response(event: Event) -> dict[str, Any]:
    response = event.get("response")
    return response if isinstance(response, dict) else {}


_HANDLERS: Mapping[str, Callable[[StreamConverter, Event], None]] = {
    "response.created": StreamConverter._on_created,
    "response.in_progress": StreamConverter._on_created,
    "response.queued": StreamConverter._on_created,
    "response.completed": StreamConverter._on_completed,
    "response.done": StreamConverter._on_completed,
    "response.incomplete": StreamConverter._on_completed,
    "response.failed": StreamConverter._on_failed,
    "error": StreamConverter._on_error,
    "response.output_item.added": StreamConverter._on_item_added,
    "response.output_item.done": StreamConverter._on_item_done,
    "response.output_text.delta": StreamConverter._on_text,
    "response.refusal.delta": StreamConverter._on_text,
    "response.output_text.done": StreamConverter._on_text_done,
    "response.refusal.done": StreamConverter._on_text_done,
    "response.content_part.done": StreamConverter._on_part_done,
    "response.reasoning_summary_text.delta": StreamConverter._on_summary,
    "response.reasoning_summary_text.done": StreamConverter._on_summary,
    "response.reasoning_summary_part.done": StreamConverter._on_summary,
    "response.reasoning_text.delta": StreamConverter._on_reasoning,
    "response.reasoning_text.done": StreamConverter._on_reasoning,
    "response.function_call_arguments.delta": StreamConverter._on_arguments,
    "response.function_call_arguments.done": StreamConverter._on_arguments_done,
    "response.custom_tool_call_input.delta": StreamConverter._on_arguments,
    "response.custom_tool_call_input.done": StreamConverter._on_arguments_done,
}
"""What is done for each type of event. All others mean nothing to the client."""

HANDLED = frozenset(_HANDLERS)
