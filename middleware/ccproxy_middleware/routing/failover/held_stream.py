"""The beginning of a stream, until it has content."""

import re
from typing import Any, Literal

from ...toolkit.json import loads

MAX_HELD = 256 * 1024
"""Bytes of a stream's beginning that are held; what is longer counts as content."""

_MAX_PINGS = 4 * 1024  # bytes of them that are kept; further ones say nothing new
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")
_EMPTY_BLOCKS = {"text": "text", "thinking": "thinking"}
_BEFORE_CONTENT = ("response.created", "response.queued", "response.in_progress")

Kind = Literal["nothing", "start", "opening", "content", "error"]


class HeldStream:
    """Bytes of an event stream in Anthropic's or OpenAI's form, held as long as nothing of the answer shows.

    begun: the frame of ``message_start``, if it has come. error: the object by which the stream tells of a failure.
    """

    __slots__ = ("_frames", "_pings", "_rest", "_size", "begun", "error")

    def __init__(self) -> None:
        self.begun: bytes | None = None
        self.error: Any = None
        self._frames: list[bytes] = []
        self._rest = bytearray()  # of an event that is not whole
        self._size = 0
        self._pings = 0

    def feed(self, data: bytes) -> bool:
        """Take bytes of the stream. True: it has content now, or is too long to be held."""
        rest = self._rest
        rest += data
        while (end := _END.search(rest)) is not None:
            frame = bytes(rest[: end.end()])
            del rest[: end.end()]
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
        """All that is held. ``started``: without ``message_start`` and what the client need not get again."""
        frames = self._frames
        if started:
            frames = [frame for frame in frames if frame is not self.begun and _read(frame)[0] != "nothing"]
        return b"".join((*frames, bytes(self._rest)))


def _read(frame: bytes) -> tuple[Kind, Any]:
    """What an event is, and its object."""
    lines = [line[5:].removeprefix(b" ") for line in _LINE.split(frame) if line.startswith(b"data:")]
    data = b"\n".join(lines)
    if not data.strip():
        return "nothing", None
    try:
        payload = loads(data)
    except ValueError:  # [DONE], or what the client can say more about
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
        empty = _EMPTY_BLOCKS.get(str(block.get("type"))) if isinstance(block, dict) else None
        return "opening" if empty is not None and not block.get(empty) else "content"
    if type_ in _BEFORE_CONTENT:
        return "opening"
    choices = payload.get("choices")
    if isinstance(choices, list) and not payload.get("usage") and all(map(_says_nothing, choices)):
        return "opening"
    return "content"


def _says_nothing(choice: Any) -> bool:
    """Whether a choice of a chat completion's chunk has nothing of the answer."""
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict) or choice.get("finish_reason"):
        return False
    return all(name == "role" or not value for name, value in delta.items())
