"""The content blocks of a streamed answer: which one is open, and what has to wait for its turn.

The provider may interleave reasoning, text and several tool calls, but an Anthropic stream has one open block at a
time. Thinking and text can be closed whenever something else arrives. The block of a tool call can't be closed before
its arguments are complete. Until then text waits, and so do further calls, in the order in which they appeared.
"""

from collections.abc import Sequence
from typing import Any

from ...toolkit.errors import ApiError
from ...toolkit.json import dumps
from ..context import Context
from ..counting import OutputEstimate
from .arguments import parse_arguments, repaired
from .events import EventWriter
from .names import ToolIds, client_tool_name
from .signatures import MAX_SIGNATURE_CHARS, add_details, details_size, encode_signature
from .streamed_call import StreamedCall

_MAX_THOUGHTS = 256 * 1024  # characters
_MAX_HELD = 32 * 1024 * 1024  # bytes of waiting text

MAX_BLANK = 64 * 1024
"""Bytes of whitespace that is held back: what may touch a tag, or be all that there is of a text."""

PER_PIECE = 60
"""Bytes that Python takes for a held fragment besides its characters."""


class BlockStream:
    """Write the blocks of one answer. ``text``, ``thinking`` and ``tool_call`` take fragments in the provider's order.

    ``calls`` are the answer's tool calls in the order in which they appeared; the reader of the provider's stream
    appends to them.
    """

    def __init__(self, context: Context, writer: EventWriter, calls: Sequence[StreamedCall]) -> None:
        self._context = context
        self._writer = writer
        self._calls = calls
        self._ids = ToolIds(context)
        self._opened = 0  # the number of calls whose block was opened
        self._call: StreamedCall | None = None  # the call whose block is open
        self._blank: list[str] = []  # whitespace that is written only if visible text follows
        self._blank_size = 0  # bytes
        self._waiting: list[tuple[bool, str]] = []  # (is thinking, text) received during an unfinished call
        self._held = 0  # bytes in it
        self._output = OutputEstimate()
        self._thoughts: list[str] = []  # kept while there is nothing else, since they may be the answer
        self._thoughts_size = 0
        self._only_thoughts = True
        # Provider state that still has to go into a signature
        self._source = ""
        self._details: list[dict[str, Any]] = []
        self._details_size = 0
        self._signatures: dict[str, str] = {}

    @property
    def has_tool_use(self) -> bool:
        return any(call.client_id for call in self._calls)

    @property
    def has_whole_calls(self) -> bool:
        """Whether there are calls, and all of them are complete."""
        return self.has_tool_use and all(call.whole for call in self._calls)

    @property
    def empty(self) -> bool:
        """Whether the model has produced nothing so far."""
        return self._output.empty and not self._calls

    def estimate_tokens(self) -> int:
        """An estimate of the tokens of everything that the model has written."""
        calls = [call.name + call.arguments for call in self._calls]
        return self._output.tokens("".join(calls))

    def text(self, text: str) -> None:
        if self._only_thoughts and not text.isspace():
            self._only_thoughts = False
            self._thoughts.clear()
        self._output.add(text)
        if self._writer.open == "text":
            self._writer.text(text)
        elif self._waiting or self._call is None or not text.isspace():  # whitespace after a call is dropped
            self._wait_or_write(thinking=False, text=text)

    def thinking(self, text: str, source: str) -> None:
        """Write reasoning from the given field."""
        self._output.add(text)
        if self._only_thoughts:
            self._thoughts_size += len(text)
            self._only_thoughts = self._thoughts_size <= _MAX_THOUGHTS
            self._thoughts.append(text)
        if self._context.thinking != "off":
            self._source = source
            self._wait_or_write(thinking=True, text=text)

    def details(self, details: list[dict[str, Any]]) -> None:
        """Keep reasoning details that must be returned with the conversation, as far as they fit into a signature."""
        self._details_size += sum(map(details_size, details))
        if self._details_size <= MAX_SIGNATURE_CHARS:
            add_details(self._details, details)
        else:
            self._details.clear()

    def tool_call(self, call: StreamedCall) -> None:
        """Process a call that is new or has received more of its arguments."""
        if call is self._call:
            self._write_arguments(call)
        if call.client_id:  # a signature that arrives after the block was opened
            self._signatures.update(self._signature_of(call))
        self._open_calls(last=False)

    def finish(self, *, ends_well: bool) -> None:
        """Close what is open and write what waits: calls first, then text.

        ``ends_well``: the model ended the answer itself. If there are only thoughts, they are then the answer.
        """
        if ends_well and (thoughts := self.lone_thoughts):
            self._drop_blank()
            self._wait_or_write(thinking=False, text=thoughts)
        self._open_calls(last=True)
        self._close()
        self._write_waiting()
        self._close()
        if self._blank and self._writer.blocks == 0:
            self._writer.start_text()
            self._writer.text("".join(self._blank))
            self._writer.stop_block()
        self._write_state(for_call=self.has_tool_use)

    @property
    def lone_thoughts(self) -> str:
        """The thoughts, as long as there is nothing else."""
        return "".join(self._thoughts) if self._only_thoughts and not self._calls else ""

    def _hold(self, text: str) -> None:
        self._held += len(text) + PER_PIECE
        if self._held > _MAX_HELD:
            raise ApiError(502, "api_error", f"upstream sent over {_MAX_HELD} bytes of text that has to wait")

    def _open_calls(self, *, last: bool) -> None:
        """Open the calls whose turn it is; with ``last`` also those that are incomplete."""
        while self._opened < len(self._calls):
            call = self._calls[self._opened]
            unfinished = self._call is not None and not self._call.whole
            if not last and (unfinished or not call.name_settled):
                return
            self._opened += 1
            if call.name:
                self._open_call(call)

    def _open_call(self, call: StreamedCall) -> None:
        call.client_id = self._ids.claim(call.id)
        self._signatures.update(self._signature_of(call))
        self._close()
        self._write_state(for_call=True)
        self._drop_blank()
        self._writer.start_tool_use(call.client_id, client_tool_name(call.name, self._context))
        self._call = call
        self._write_arguments(call)

    def _write_arguments(self, call: StreamedCall) -> None:
        if call.quoted or client_tool_name(call.name, self._context) in self._context.tool_schemas:
            return  # waits until it is complete and can be decoded, or compared with the schema
        if fragment := call.take():
            self._writer.input_json(fragment)

    def _wait_or_write(self, *, thinking: bool, text: str) -> None:
        if self._call is not None and not self._call.whole:
            self._hold(text)
            self._waiting.append((thinking, text))
            return
        self._write_waiting()
        self._write(thinking, text)

    def _write_waiting(self) -> None:
        waiting, self._waiting, self._held = self._waiting, [], 0
        for thinking, text in waiting:
            self._write(thinking, text)

    def _write(self, thinking: bool, text: str) -> None:
        if not thinking:
            self._write_text(text)
            return
        if self._writer.open != "thinking":
            self._close()
            self._writer.start_thinking()
        if self._context.thinking == "show":
            self._writer.thinking(text)

    def _write_text(self, text: str) -> None:
        if self._writer.open != "text":
            if text.isspace() and self._blank_size < MAX_BLANK:
                self._blank_size += len(text) + PER_PIECE
                self._blank.append(text)
                return
            self._close()
            self._write_state(for_call=False)
            self._writer.start_text()
            text = "".join((*self._blank, text))
            self._drop_blank()
        self._writer.text(text)

    def _drop_blank(self) -> None:
        self._blank.clear()
        self._blank_size = 0

    def _close(self) -> None:
        """Close the open block: thinking with its signature, a call with the rest of its arguments."""
        if self._writer.open == "thinking":
            self._writer.signature(self._take_signature())
        elif self._call is not None:
            if rest := self._last_arguments(self._call):
                self._writer.input_json(rest)
            self._call = None
        self._writer.stop_block()

    def _last_arguments(self, call: StreamedCall) -> str:
        rest = call.take_last()
        name = client_tool_name(call.name, self._context)
        schema = self._context.tool_schemas.get(name)
        if call.custom or not (call.quoted or name in self._context.tool_schemas):
            return rest
        input_ = parse_arguments(rest, cut_off=False)
        if "_raw_arguments" in input_:  # truncated, or not an object
            return rest
        fitted = repaired(input_, schema, self._context.profile)
        return rest if fitted is input_ and not call.quoted else dumps(fitted).decode()

    def _write_state(self, *, for_call: bool) -> None:
        """Write a thinking block without text, if there is provider state left that the client has to send back.

        A client that didn't request thinking gets such a block only with a tool call, which the provider would refuse
        without it.
        """
        asked = self._context.thinking != "off"
        if self._signatures or (self._details and (asked or for_call)):
            self._writer.start_thinking()
            self._writer.signature(self._take_signature())
            self._writer.stop_block()

    def _take_signature(self) -> str:
        envelope: dict[str, Any] = {"p": self._context.profile.name}
        if self._source:
            envelope["f"] = self._source
        if self._signatures:
            envelope["calls"] = self._signatures
        if self._details:
            envelope["details"] = self._details
        self._signatures, self._details, self._details_size = {}, [], 0
        return encode_signature(envelope)

    def _signature_of(self, call: StreamedCall) -> dict[str, str]:
        """Gemini's signature of the call with this client id; returned once."""
        wanted = self._context.profile.reasoning_roundtrip == "gemini"
        if not wanted or call.signature is None or call.signature_sent:
            return {}
        call.signature_sent = True
        return {call.client_id: call.signature}
