"""The events of an Anthropic stream, in the only order that clients accept.

``message_start``, then one block after another with indices from 0, then ``message_delta`` and ``message_stop``.
"""

from typing import Any, Literal

from ...toolkit.json import dumps
from ...toolkit.sse import sse_event

_TEXT_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":'
)

PING = sse_event("ping", {"type": "ping"})


class EventWriter:
    """Write events as SSE frames; at most one block is open at a time.

    open: the type of the open block, or None.
    blocks: how many blocks have been opened so far.
    """

    __slots__ = ("_frames", "_text_delta", "blocks", "open")

    def __init__(self) -> None:
        self.open: Literal["text", "thinking", "tool_use"] | None = None
        self.blocks = 0
        self._frames: list[bytes] = []

    def take(self) -> list[bytes]:
        """The frames written since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def message_start(self, message: dict[str, Any]) -> None:
        self._frames.append(sse_event("message_start", {"type": "message_start", "message": message}))
        self._frames.append(PING)

    def start_text(self) -> None:
        self._text_delta = _TEXT_DELTA % self.blocks
        self._start("text", {"type": "text", "text": ""})

    def start_thinking(self) -> None:
        self._start("thinking", {"type": "thinking", "thinking": "", "signature": ""})

    def start_tool_use(self, id_: str, name: str) -> None:
        self._start("tool_use", {"type": "tool_use", "id": id_, "name": name, "input": {}})

    def text(self, text: str) -> None:
        self._frames.append(self._text_delta + dumps(text) + b"}}\n\n")  # nearly every event of a stream

    def thinking(self, text: str) -> None:
        self._delta({"type": "thinking_delta", "thinking": text})

    def signature(self, signature: str) -> None:
        self._delta({"type": "signature_delta", "signature": signature})

    def input_json(self, fragment: str) -> None:
        self._delta({"type": "input_json_delta", "partial_json": fragment})

    def search(self, call: dict[str, Any], result: dict[str, Any]) -> None:
        """Write the two blocks of a completed web search."""
        for block in (call, result):
            shown = {**block, "input": {}} if block is call else block
            event = {"type": "content_block_start", "index": self.blocks, "content_block": shown}
            self._frames.append(sse_event("content_block_start", event))
            self.blocks += 1
            if block is call:
                self.input_json(dumps(call["input"]).decode())
            event = {"type": "content_block_stop", "index": self.blocks - 1}
            self._frames.append(sse_event("content_block_stop", event))

    def stop_block(self) -> None:
        """Close the open block, if there is one."""
        if self.open is not None:
            self.open = None
            event = {"type": "content_block_stop", "index": self.blocks - 1}
            self._frames.append(sse_event("content_block_stop", event))

    def message_end(self, outcome: dict[str, Any], usage: dict[str, Any]) -> None:
        """``message_delta`` and ``message_stop``. ``outcome`` holds stop_reason, stop_sequence, stop_details."""
        event = {"type": "message_delta", "delta": outcome, "usage": usage}
        self._frames.append(sse_event("message_delta", event))
        self._frames.append(sse_event("message_stop", {"type": "message_stop"}))

    def _start(self, kind: Literal["text", "thinking", "tool_use"], block: dict[str, Any]) -> None:
        event = {"type": "content_block_start", "index": self.blocks, "content_block": block}
        self._frames.append(sse_event("content_block_start", event))
        self.open = kind
        self.blocks += 1

    def _delta(self, delta: dict[str, Any]) -> None:
        event = {"type": "content_block_delta", "index": self.blocks - 1, "delta": delta}
        self._frames.append(sse_event("content_block_delta", event))
