"""The beginning of a stream, until it has content."""

import re
from typing import Any, Literal

from ...toolkit.json import loads

MAX_HELD = 256 * 1024
"""Bytes of a stream's beginning that are held; what is longer counts as content."""

_MAX_PINGS = 4 * 1024  # bytes of these events that are kept; later ones add no information
Kind = Literal["nothing", "start", "opening", "content", "error"]
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_BY_NAME: dict[bytes, Kind] = {
    b"event: message_start": "start",
    b"event: ping": "nothing",
    b"event: content_block_delta": "content",
}
_LINE = re.compile(rb"\r\n|\n|\r")
_EMPTY_BLOCKS = {"text": "text", "thinking": "thinking"}
_BEFORE_CONTENT = ("response.created", "response.queued", "response.in_progress")


class HeldStream:
    """Bytes of an event stream in Anthropic's or OpenAI's format, held until some content of the answer has arrived.

    begun: the frame of ``message_start``, if it has arrived. error: the object with which the stream reports a failure.
    """

    __slots__ = ("_frames", "_pings", "_rest", "_size", "begun", "error")

    def __init__(self) -> None:
        self.begun: bytes | None = None
        self.error: Any = None
        self._frames: list[bytes] = []
        self._rest = bytearray()  # of an incomplete event
        self._size = 0
        self._pings = 0

    def feed(self, data: bytes) -> bool:
        """Take bytes of the stream. True: it has content now, or is too long to be held."""
        rest = self._rest
        rest += data
        while end := _end(rest):
            frame = bytes(rest[:end])
            del rest[:end]
            kind, payload = _read(frame)
            if kind == "error":
                self.error = payload
                return False
            if kind == "start" and self.begun is None:
                self.begun = frame
            if kind == "nothing":
                self._pings += len(frame)
                if self._pings > _MAX_PINGS:
                    continue
            self._frames.append(frame)
            self._size += len(frame)
            if kind == "content":
                return True
        return self._size + len(rest) > MAX_HELD

    def take(self, *, started: bool) -> bytes:
        """All that is held. ``started``: without ``message_start`` and other events that the client already has."""
        frames = self._frames
        if started:
            frames = [frame for frame in frames if frame is not self.begun and _read(frame)[0] != "nothing"]
        return b"".join((*frames, bytes(self._rest)))


def _end(data: bytearray) -> int:
    """Where the first event ends; 0 where none does."""
    if b"\r" not in data:
        return data.find(b"\n\n") + 2 if b"\n\n" in data else 0
    found = _END.search(data)
    return found.end() if found else 0


def _read(frame: bytes) -> tuple[Kind, Any]:
    """The type of an event, and its object if it had to be parsed."""
    if (known := _BY_NAME.get(frame[: frame.find(b"\n")])) is not None:
        return known, None
    lines = [line[5:].removeprefix(b" ") for line in _LINE.split(frame) if line.startswith(b"data:")]
    data = b"\n".join(lines)
    if not data.strip():
        return "nothing", None
    try:
        payload = loads(data)
    except ValueError:  # [DONE], or an event that the client handles better
        return "content", None
    return _kind(payload), payload


def _kind(payload: Any) -> Kind:
    if not isinstance(payload, dict):
        return "content"
    type_ = payload.get("type")
    if type_ == "ping":
        return "nothing"
    if type_ == "message_start":
        return "start"
    if type_ in ("error", "response.failed") or (payload.get("error") and not payload.get("choices")):
        return "error"
    if type_ == "content_block_start":
        block = payload.get("content_block")
        if not isinstance(block, dict):
            return "content"
        empty = _EMPTY_BLOCKS.get(str(block.get("type")))
        return "opening" if empty is not None and not block.get(empty) else "content"
    if type_ in _BEFORE_CONTENT:
        return "opening"
    choices = payload.get("choices")
    if isinstance(choices, list) and not payload.get("usage") and all(map(_says_nothing, choices)):
        return "opening"
    return "content"


def _says_nothing(choice: Any) -> bool:
    """Whether a choice of a chat completion's chunk contains nothing of the answer."""
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict) or choice.get("finish_reason"):
        return False
    return all(name == "role" or not value for name, value in delta.items())
