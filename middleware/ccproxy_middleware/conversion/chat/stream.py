"""Convert a stream of chat completion chunks to an Anthropic event stream."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ...toolkit.errors import ApiError
from ...toolkit.sse import behind, divided
from ..anthropic import PER_PIECE, BlockStream, EventStream, StopMatcher, StreamedCall, stop_outcome
from ..context import Context
from ..hosted_search import chat_sources, found_by_chat, with_searches
from ..providers import error_from_payload
from ..text_calls import Call, as_functions, text_calls
from .choices import ChoicePicker
from .chunk_reader import ChunkReader
from .finish_reasons import check_finish_reason, cut_off, ends_well, stop_reason, upstream_stop
from .reasoning import chunks_text, reasoning_details, reasoning_text
from .response import unwrapped, upstream_error
from .streamed_calls import ToolCallAssembler
from .text_events import TextEvents, text_alone
from .think_tags import Piece, ThinkTagSplitter
from .usage import convert_usage, find_usage, has_counts, service_tier

_MAX_EXPLANATION = 64 * 1024  # bytes of a refusal that are repeated at the end


class StreamConverter(EventStream):
    """Converts the chunks of a chat completion to the client's stream."""

    def __init__(self, context: Context, request_id: str) -> None:
        super().__init__(context, request_id)
        self._reader = ChunkReader()
        self._text_events = TextEvents()
        self._calls = ToolCallAssembler(context)
        self._blocks = BlockStream(context, self._writer, self._calls.calls)
        self._choices = ChoicePicker()
        think_tags = context.profile.think_tags
        self._splitter = ThinkTagSplitter(inside=think_tags == "on") if think_tags != "off" else None
        self._matcher = StopMatcher(context.local_stops) if context.local_stops else None
        self._text_calls = text_calls(context)
        self._keeps_details = context.profile.reasoning_roundtrip == "reasoning_details"
        self._source = ""  # the source of the reasoning; it is never read from two fields
        self._lost = False  # an event that looked like JSON could not be read
        self._refusal: list[str] = []  # its beginning
        self._refusal_size = 0
        self._usage: Mapping[str, Any] | None = None
        self._finish_reason: str | None = None
        self._matched: str | None = None  # the stop sequence that ended the answer
        self._sources: dict[str, str] = {}  # titles of the cited pages, by URL

    @property
    def ending(self) -> bool:
        return self._finish_reason is not None and not self.finished

    def _on_end(self) -> None:
        self._take_held()
        if self._finish_reason is None:
            raise ApiError(502, "api_error", "upstream stream ended before completion")
        self._complete()

    def _on_event(self, data: bytes) -> None:
        # Nearly every event contains only text, which is written to the open block unchanged.
        in_text = self._writer.open == "text" and self._splitter is None and self._matcher is None
        if in_text and not self._reader.held and (text := self._text_events.text(data)):
            self._malformed = 0
            return self._show(text)
        if data.startswith(b"[DONE]") and data.strip() == b"[DONE]":
            return self._on_done()
        try:
            chunk = unwrapped(self._reader.read(data))
        except ValueError:
            if pieces := divided(data):
                return self._on_events(pieces)
            chunk = self._behind(data)
        if in_text and (text := text_alone(chunk)):
            self._malformed = 0
            self._text_events.learn(data, text)
            return self._show(text)
        if (failure := upstream_error(chunk, self._context)) is not None:
            raise failure
        if not isinstance(chunk, dict) or not isinstance(chunk.get("choices") or [], list):
            self._on_malformed("chat completion chunks")
            return
        self._malformed = 0
        if not self.started:
            self._start(service_tier(chunk, self._context))
        self._on_chunk(chunk)

    def _behind(self, data: bytes) -> Any:
        for candidate in behind(data):
            with suppress(ValueError):
                chunk = unwrapped(self._reader.read(candidate))
                if isinstance(chunk, dict) and "choices" in chunk:
                    return chunk
        self._lost = self._lost or data.lstrip().startswith(b"{")
        return None

    def _on_done(self) -> None:
        self._take_held()
        holds = self._text_calls is not None and self._text_calls.holds
        if self._finish_reason is None and self._blocks.empty and not holds:
            raise ApiError(502, "api_error", "upstream stream ended without an answer")
        self._lost = self._lost or (self._skipped and self._finish_reason is None)
        self._complete()

    def _on_chunk(self, chunk: dict[str, Any]) -> None:
        choices = self._choices.pick(chunk.get("choices") or [])
        usage = find_usage(chunk, choices[0] if choices else {})
        if usage and (self._usage is None or has_counts(usage)):
            self._usage = usage  # running totals: the last one counts
        for choice in choices:
            if not self.finished:
                self._on_choice(choice)

    def _take_held(self) -> None:
        """No more chunks follow: a choice that was held back ends the answer, if nothing else does."""
        misses_calls = self._finish_reason == "tool_calls" and not self._calls.calls
        for choice in self._choices.finish():
            if (self._finish_reason is None or misses_calls) and not self.finished:
                self._on_choice(choice)

    def _on_choice(self, choice: dict[str, Any]) -> None:
        self.events_read += 1
        if error := choice.get("error"):
            raise error_from_payload(
                {"error": error}, profile=self._context.profile, max_tokens=self._context.max_tokens
            )
        delta, message = choice.get("delta"), choice.get("message")
        if isinstance(message, dict) and not delta and self._blocks.empty:
            delta = message  # some servers send it in place of the delta, and others repeat the whole answer in it
        if isinstance(delta, dict):
            self._on_delta(delta)
        if self.finished:  # a stop sequence was found in the text
            return
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason and self._finish_reason is None:
            check_finish_reason(reason)
            self._finish_reason = reason
        self._matched = self._matched or upstream_stop(choice, self._context)

    def _on_delta(self, delta: dict[str, Any]) -> None:
        if self._context.hosted_search is not None and "annotations" in delta:
            self._sources |= chat_sources(delta)
        source, thinking = reasoning_text(delta, self._source or None)
        if thinking:
            self._on_reasoning(thinking, source)
        if self._keeps_details:
            self._blocks.details(reasoning_details(delta))
        content = delta.get("content")
        if isinstance(content, (list, dict)):
            content = chunks_text(content, "text")
        if not content and isinstance(audio := delta.get("audio"), dict):
            content = audio.get("transcript")
        if isinstance(content, str) and content:
            self._on_content(content)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._on_refusal(refusal)
        if delta.get("tool_calls") or delta.get("function_call"):
            self._on_tool_calls(delta)

    def _on_reasoning(self, thinking: str, source: str) -> None:
        self._source = source
        if self._context.thinking != "off" or self._splitter is not None:
            self._end_text()
        self._splitter = None  # then tags in the content are ordinary text
        if not self.finished:
            self._blocks.thinking(thinking, source)

    def _on_content(self, content: str) -> None:
        if self._splitter is None:
            self._on_text(content)
        else:
            self._on_pieces(self._splitter.feed(content))
            if self._splitter is not None and self._splitter.in_text:
                self._splitter = None

    def _on_pieces(self, pieces: list[Piece]) -> None:
        for kind, text in pieces:
            if kind == "thinking":
                self._source = "think_tags"
                self._blocks.thinking(text, "think_tags")
            else:
                self._on_text(text)

    def _on_text(self, text: str) -> None:
        if self.finished:
            return
        if self._matcher is None:
            self._show(text)
            return
        if text := self._matcher.feed(text):
            self._show(text)
        if self._matcher.matched is not None:
            self._matched = self._matcher.matched
            self._release()
            self._end_message()

    def _show(self, text: str) -> None:
        """Write text, but hold back what may be a call."""
        if self._text_calls is not None and not self._text_calls.passes(text):
            text = self._text_calls.feed(text)
        if text:
            self._blocks.text(text)

    def _release(self) -> None:
        """Write what was held back as a possible call but is none."""
        if self._text_calls is not None and (text := self._text_calls.release()):
            self._blocks.text(text)

    def _on_refusal(self, refusal: str) -> None:
        self._end_text()
        if not self.finished:
            if self._refusal_size < _MAX_EXPLANATION:
                self._refusal.append(refusal)
                self._refusal_size += len(refusal) + PER_PIECE
            self._blocks.text(refusal)

    def _on_tool_calls(self, delta: dict[str, Any]) -> None:
        calls = delta.get("tool_calls")
        calls = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
        legacy = delta.get("function_call")
        if calls or isinstance(legacy, dict):
            self._end_text()
            self._text_calls = None  # the server parses them itself
        if self.finished:
            return
        for delta_call in calls:
            self._on_call(self._calls.add(delta_call))
        if not calls and isinstance(legacy, dict):
            self._on_call(self._calls.add_legacy(legacy))

    def _on_call(self, call: StreamedCall | None) -> None:
        if call is not None:
            self._blocks.tool_call(call)

    def _end_text(self, *, last: bool = False) -> None:
        """Write the text that was held back as the possible beginning of a tag, a stop sequence or a call."""
        if self._splitter is not None:
            self._on_pieces(self._splitter.finish())
        if self._matcher is not None and (text := self._matcher.finish()):
            self._show(text)
        if not last:
            self._release()
        elif self._text_calls is not None and not self.finished:
            text, calls = self._text_calls.finish()
            if text:
                self._blocks.text(text)
            self._on_text_calls(calls)

    def _on_text_calls(self, calls: Iterable[Call]) -> None:
        for call in as_functions(calls):
            self._on_call(self._calls.add(call))

    def _complete(self) -> None:
        """Finish after the provider's last event."""
        if lone := self._reader.finish():
            self._on_delta(lone)
        self._end_text(last=True)
        if self._lost and not self.finished:
            raise ApiError(502, "api_error", "a piece of the provider's answer was cut off and lost")
        if not self.finished:
            self._end_message()

    def _take_thought_calls(self) -> None:
        """Take the calls at the end of thoughts that were never closed, if there is nothing else."""
        splitter = text_calls(self._context)
        if splitter is not None and (thoughts := self._blocks.lone_thoughts):
            text = splitter.feed(thoughts)
            rest, calls = splitter.finish()
            if calls and (text := text + rest).strip():
                self._blocks.text(text)
            self._on_text_calls(calls)

    def _end_message(self) -> None:
        """End successfully: close everything, and write the stop reason and the usage."""
        cut = cut_off(self._finish_reason) or self._matched is not None
        if not cut and ends_well(self._finish_reason) and self._context.profile.text_forms:
            self._take_thought_calls()
        self._calls.finish(cut_off=cut)
        self._blocks.finish(ends_well=not cut and ends_well(self._finish_reason))
        outcome = stop_outcome(
            stop_reason(self._finish_reason),
            matched=self._matched,
            refusal="".join(self._refusal),
            has_tool_use=self._blocks.has_tool_use,
            has_whole_calls=self._blocks.has_whole_calls,
        )
        usage = convert_usage(self._usage, self._context, self._blocks.estimate_tokens)
        if self._context.hosted_search is not None:
            search, count = found_by_chat(self._context.hosted_search, self._sources, self._usage)
            usage = with_searches(usage, count)
            if search is not None:
                self._writer.search(*search.blocks())
        self._end(outcome, usage)
