"""Server-sent events: an incremental parser over bytes, and the frames that Anthropic clients read.

The format is https://html.spec.whatwg.org/multipage/server-sent-events.html. Lines end at CR LF, LF or CR and nowhere
else: text-based line iterators also split at U+2028 and the like, which are legal inside JSON strings.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from .json import dumps

MAX_EVENT_BYTES = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"


_DONE = "[DONE]"
_BETWEEN = re.compile(r"\s*(?:data:\s*)*")
_BEGINNING = re.compile(rb"data: ?\{|\{(?=\"(?:id|choices|object|created)\")")
_MAX_TRIES = 16  # places where a whole event may begin


class EventTooLarge(ValueError):
    """One event is over MAX_EVENT_BYTES."""


class SSEParser:
    """Parses the bytes of an event stream, split anywhere, into the ``data`` of its events.

    The other fields (``event``, ``id``, ``retry``) and comments carry no information for chat completions.
    """

    __slots__ = ("_at_start", "_buffer", "_held_cr", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # no event ends before this offset
        self._held_cr = False
        self._at_start = True

    @property
    def waiting(self) -> int:
        """The number of bytes held of an incomplete event."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The ``data`` of every event that this chunk completes. Raises EventTooLarge."""
        if self._held_cr:
            chunk = b"\r" + chunk
            self._held_cr = False
        if b"\r" in chunk:
            if chunk.endswith(b"\r"):  # possibly half of a CR LF
                self._held_cr = True
                chunk = chunk[:-1]
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        buffer = self._buffer
        if chunk.endswith(b"\n\n") and not buffer and not self._at_start:  # complete events, as most chunks are
            return _datas(chunk[:-2])
        buffer += chunk
        if self._at_start and not self._strip_bom():
            return []
        events: list[bytes] = []
        end = buffer.rfind(b"\n\n", self._scanned)
        if end >= 0:
            events = _datas(bytes(buffer[:end]))
            del buffer[: end + 2]
        self._scanned = max(0, len(buffer) - 1)
        if len(buffer) > MAX_EVENT_BYTES:
            raise EventTooLarge(f"one event of the stream is over {MAX_EVENT_BYTES} bytes")
        return events

    def finish(self) -> list[bytes]:
        """The ``data`` of a last event without its blank line."""
        rest = bytes(self._buffer).removeprefix(_BOM if self._at_start else b"")
        self._buffer.clear()
        self._scanned = 0
        data = _data(rest.rstrip(b"\n"))
        return [data] if data else []

    def _strip_bom(self) -> bool:
        """Remove a byte order mark at the very start; False while it may still be incomplete."""
        if len(self._buffer) < len(_BOM) and _BOM.startswith(bytes(self._buffer)):
            return False
        if self._buffer.startswith(_BOM):
            del self._buffer[: len(_BOM)]
        self._at_start = False
        return True


def _datas(blocks: bytes) -> list[bytes]:
    """The ``data`` of events with a blank line between them; events without data are skipped."""
    if blocks.startswith(b"data: "):
        datas = blocks[6:].split(b"\n\ndata: ")
        if blocks.count(b"\n") == 2 * len(datas) - 2:  # each is one line of data, as with nearly every provider
            return [data for data in datas if data]
    return [data for block in blocks.split(b"\n\n") if block and (data := _data(block))]


def _data(block: bytes) -> bytes:
    """The joined ``data`` lines of one event."""
    name, _, value = block.partition(b"\n")
    if value.startswith(b"data: ") and name.startswith(b"event:") and b"\n" not in value:  # nearly all named ones
        return value[6:]
    lines: list[bytes] = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines)


def sse_event(type: str, payload: dict[str, Any]) -> bytes:
    """One event with its ``event:`` line, without which the Anthropic SDKs skip it."""
    return b"event: " + type.encode() + b"\ndata: " + dumps(payload) + b"\n\n"


def divided(data: bytes) -> list[bytes]:
    """The parts of an event that is really several, as where the blank lines between them are missing; empty if it is
    not.
    """
    pieces: list[bytes] = []
    decoder = json.JSONDecoder()
    try:
        text = data.decode()
        at = _BETWEEN.match(text).end()  # type: ignore[union-attr]  # it matches nothing at all, too
        while at < len(text):
            end = at + len(_DONE) if text.startswith(_DONE, at) else decoder.raw_decode(text, at)[1]
            pieces.append(text[at:end].encode())
            at = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]
    except (ValueError, RecursionError):
        return []
    return pieces if len(pieces) > 1 else []


def behind(data: bytes) -> Iterator[bytes]:
    """A text that may be a complete event after one that was cut off within its line, as some servers send them."""
    return (data[start.end() - 1 :] for start in islice(_BEGINNING.finditer(data, 1), _MAX_TRIES))
