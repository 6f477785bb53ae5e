"""Remove secrets from an event stream, even if a secret spans several events: a model that repeats a key streams it in
pieces.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import orjson

from ..toolkit.sse import MAX_EVENT_BYTES
from .secrets import Secrets

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA = re.compile(rb"(?:\A|(?<=[\r\n]))data:[ ]?([^\r\n]*)")

_LARGE = 64 * 1024  # bytes of an event

_START = 4  # characters of a secret; an event that ends with fewer of them isn't held back
_MAX_HELD = 256  # events
_MAX_HELD_BYTES = 1024 * 1024
_MAX_PATHS = 256  # positions of strings, which a provider may invent
_LESSONS = 4  # without a match: an event with a random field is like no other
_MAX_LESSON = 64 * 1024  # bytes of an event
_PROBE = "probe"

# The fields that are the same in every event, and contain nothing from a model.
_LABELS = frozenset(
    (
        *("id", "object", "model", "type", "role", "finish_reason", "native_finish_reason", "system_fingerprint"),
        *("service_tier", "provider", "obfuscation", "usage"),
    )
)

_Path = tuple[str | int, ...]
_Place = tuple[int, int]
"""Where a secret begins in a text, and where it ends."""


class _Event:
    """One event, and the ranges in its strings that have to be masked."""

    __slots__ = ("_block", "_covered", "_document", "_span", "number", "size")

    def __init__(self, number: int, block: bytes, span: tuple[int, int], document: Any) -> None:
        self.number = number
        self.size = len(block)
        self._block = block
        self._span = span
        self._document = document
        self._covered = False

    def cover(self, path: _Path, places: list[_Place]) -> None:
        holder: Any = self._document
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = _masked(holder[path[-1]], places)
        self._covered = True

    def written(self) -> bytes:
        if not self._covered:
            return self._block
        start, end = self._span
        try:
            data = orjson.dumps(self._document)
        except orjson.JSONEncodeError:  # it is nested too deeply to be serialized
            data = b"{}"
        return self._block[:start] + data + self._block[end:]


_Piece = tuple[_Event | None, _Path, int, int]
"""A part of a text: the event that brought it, if it is still held, the place there, its start and its length."""


class _Text:
    """The end of the text that the strings at one position of the events form together, as far as it may begin a
    secret.
    """

    __slots__ = ("pieces", "recent")

    def __init__(self) -> None:
        self.recent = ""
        self.pieces: list[_Piece] = []  # the pieces that it consists of

    def close(self, text: str) -> None:
        """Hold back no more of the text; its last characters are too few to decide."""
        self.recent = text[1 - _START :]
        self.pieces = [(None, (), 0, len(self.recent))]


class EventRedactor:
    """Removes secrets from an event stream as it arrives.

    Complete events are passed on unchanged, except for those with a secret or a piece of one. An event is held back
    while its text ends with four or more characters of a secret, until later events show whether it continues.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._rest = bytearray()  # an incomplete event
        self._scanned = 0
        self._is_suspect = False  # the part of it that has been searched
        self._held: list[_Event] = []
        self._number = 0
        self._texts: dict[_Path, _Text] = {}
        self._starts = tuple({form[:_START] for form in secrets.forms})
        beginnings = {start[:size] for start in self._starts for size in range(1, _START)}
        self._beginnings = tuple(beginnings)
        plain = [start for start in self._starts if not re.search(r"[%&]|\\[u/]", start)]
        self._literals = (b"%", b"&", *(start.encode("latin-1") for start in plain))
        self._ends = tuple(part.encode("latin-1") for part in beginnings)
        last = "".join(sorted({re.escape(part[-1]) for part in beginnings}))
        self._ends_alike = re.compile(f'"(?<=[{last}]")(?!\\s*:)'.encode("latin-1"))
        self._begun: set[_Path] = set()  # the texts that may end with a secret's first characters
        self._open: dict[_Path, _Text] = {}  # those for which an event is held back
        self._before = self._after = b""  # what surrounds the text of an event that contains nothing else
        self._between = b""
        self._place: _Path = ()
        self._lessons = _LESSONS

    def feed(self, chunk: bytes) -> bytes:
        """What can be passed on."""
        if not self._rest and not self._held and self._is_harmless(chunk):
            return chunk
        rest = self._rest
        rest += chunk
        scanned = max(0, self._scanned - _START)
        ends = _ends(rest, scanned)
        out = []
        if ends:
            whole = bytes(rest[: ends[-1]])
            del rest[: ends[-1]]
            if self._held or self._begun or self._is_suspect or self._suspects(whole, scanned):
                for start, end in pairwise([0, *ends]):
                    block = whole[start:end]
                    if self._held or self._begun or self._is_suspect or self._suspects(block, scanned):
                        self._take(block)
                        out.append(self._release())
                    else:
                        out.append(block)
                    scanned = 0
                    self._is_suspect = False
            else:
                out.append(whole)
                scanned = 0
        # A large event is searched as it arrives: searching all of it at its end would block the event loop.
        if rest and not self._is_suspect:
            self._is_suspect = self._suspects(rest, scanned)
        self._scanned = len(rest)
        if len(rest) > MAX_EVENT_BYTES:
            out.append(self.finish())
        return b"".join(out)

    def takes_long(self, chunk: bytes) -> bool:
        """Whether :meth:`feed` would block the event loop: this chunk may be the end of a large event."""
        size = len(self._rest) + len(chunk)
        return size > _LARGE and (b"\n" in chunk or b"\r" in chunk or size > MAX_EVENT_BYTES)

    @property
    def holds_much(self) -> bool:
        """Whether :meth:`finish` would block it."""
        return len(self._rest) > _LARGE

    def finish(self) -> bytes:
        """What was held back at the end of the body."""
        rest, self._rest = self._secrets.redact(bytes(self._rest)), bytearray()
        self._scanned = 0
        self._is_suspect = False
        return self._let_go(len(self._held)) + rest

    def _suspects(self, data: bytes | bytearray, at: int) -> bool:
        """Whether a string from this position on has, or ends with, the start of a secret; for most data the check is
        immediate.
        """
        for literal in self._literals:
            if data.find(literal, at) >= 0:
                return True
        if data.find(b"\\", at) >= 0 and (data.find(b"\\u", at) >= 0 or data.find(b"\\/", at) >= 0):
            return True
        for quote in self._ends_alike.finditer(data, at):
            end = quote.start()
            if data[max(at, end + 1 - _START) : end].endswith(self._ends):
                return True
        return False

    def _is_harmless(self, chunk: bytes) -> bool:
        """Whether a chunk is events that differ from an earlier one only in their text, which contains nothing of a
        secret.
        """
        before, after = self._before, self._after
        if not (before and chunk.startswith(before) and chunk.endswith(after)):
            return False
        added = chunk[len(before) : len(chunk) - len(after)].replace(self._between, b"")
        if b'"' in added or b"\n" in added or b"%" in added or b"&" in added:
            return False
        if b"\\" in added and (b"\\u" in added or b"\\/" in added):
            return False
        text = self._texts[self._place]
        recent = text.recent + added.decode(errors="replace")
        for start in self._starts:
            if start in recent:
                return False
        text.close(recent)
        self._begun.add(self._place)
        self._lessons = _LESSONS
        return True

    def _take(self, block: bytes) -> None:
        """Hold an event back, and mask the secrets that it contains or completes."""
        block = self._secrets.redact(block)
        span = _data_span(block)
        try:
            document = orjson.loads(block[span[0] : span[1]])
        except ValueError:
            document = None
        event = _Event(self._number, block, span, document)
        self._number += 1
        self._held.append(event)
        places = [(path, key, text) for path, key, text in _strings(document) if text]
        for path, key, text in places:
            self._join(event, path, key, text)
        if len(places) == 1 and self._lessons and len(block) <= _MAX_LESSON:
            path, key, text = places[0]
            self._learn(block, path, key, text)

    def _join(self, event: _Event, path: _Path, key: _Path, text: str) -> None:
        if key not in self._texts and len(self._texts) >= _MAX_PATHS:
            self._texts.clear()
            self._open.clear()
            self._begun.clear()
            self._before = b""
        state = self._texts.setdefault(key, _Text())
        joined = state.recent + text
        size = 0
        for start in self._starts:
            if start in joined:
                pieces = [*state.pieces, (event, path, 0, len(text))]
                if places := self._secrets.places(joined):
                    _cover(pieces, places)
                    joined = _masked(joined, places)
                size = self._secrets.open_end(joined.encode(errors="replace"))
                if size >= _START:
                    state.pieces = _without(pieces, len(joined) - size)
                break
        if size >= _START:
            state.recent = joined[-size:]
            self._open[key] = state
            self._begun.add(key)
        else:
            state.close(joined)
            self._open.pop(key, None)
            if state.recent.endswith(self._beginnings):
                self._begun.add(key)
            else:
                self._begun.discard(key)

    def _release(self) -> bytes:
        """The held events that no unfinished secret needs."""
        count = len(self._held)
        if self._open and count <= _MAX_HELD and sum(event.size for event in self._held) <= _MAX_HELD_BYTES:
            needed = [event.number for text in self._open.values() for event, *_ in text.pieces if event is not None]
            first = min(needed, default=self._number)
            count = max(0, count - (self._number - first))
        return self._let_go(count)

    def _let_go(self, count: int) -> bytes:
        gone, self._held = self._held[:count], self._held[count:]
        return b"".join(event.written() for event in gone)

    def _learn(self, block: bytes, path: _Path, key: _Path, text: str) -> None:
        """Remember what surrounds the only text of an event."""
        self._lessons -= 1
        self._before = b""
        before, found, after = block.partition(orjson.dumps(text))
        probe = before + orjson.dumps(_PROBE) + after
        start, end = _data_span(probe)
        if not found or not after.endswith(b"\n\n"):
            return
        try:
            probed = [(path, text) for path, _, text in _strings(orjson.loads(probe[start:end])) if text]
        except ValueError:
            return
        if probed == [(path, _PROBE)]:
            self._before, self._after, self._place = before + b'"', b'"' + after, key
            self._between = self._after + self._before


def _ends(data: bytearray, at: int) -> list[int]:
    """Where events end, from this position on."""
    if data.find(b"\r", at) >= 0:
        return [found.end() for found in _END.finditer(data, at)]
    ends = []
    end = data.find(b"\n\n", at)
    while end >= 0:
        ends.append(end + 2)
        end = data.find(b"\n\n", end + 2)
    return ends


def _data_span(block: bytes) -> tuple[int, int]:
    """The position of an event's data; none, if it has several data lines."""
    if block.startswith(b"data: ") and block.endswith(b"\n\n") and block.count(b"\n") == 2:
        return 6, len(block) - 2
    datas = list(_DATA.finditer(block))
    return datas[0].span(1) if len(datas) == 1 else (0, 0)


def _cover(pieces: list[_Piece], places: list[_Place]) -> None:
    at = 0
    for event, path, offset, length in pieces:
        if event is not None:
            own = [
                (offset + max(0, start - at), offset + min(length, end - at))
                for start, end in places
                if at < end and start < at + length
            ]
            if own:
                event.cover(path, own)
        at += length


def _masked(text: str, places: list[_Place]) -> str:
    """The text with asterisks in these ranges, which are in order."""
    parts: list[str] = []
    at = 0
    for start, end in places:
        parts += (text[at:start], "*" * (end - start))
        at = end
    return "".join((*parts, text[at:]))


def _without(pieces: list[_Piece], drop: int) -> list[_Piece]:
    """The pieces without this many characters at their beginning."""
    kept = []
    for event, path, offset, length in pieces:
        gone = min(drop, length)
        drop -= gone
        if length > gone:
            kept.append((event, path, offset + gone, length - gone))
    return kept


def _strings(document: Any) -> Iterator[tuple[_Path, _Path, str]]:
    """The strings of a document except labels, each with its position and its name, in which list items are
    identified by their ``index``.
    """
    left: list[tuple[_Path, _Path, Any]] = [((), (), document)]
    while left:
        path, key, value = left.pop()
        if isinstance(value, str):
            yield path, key, value
        elif isinstance(value, dict):
            for name, item in value.items():
                if isinstance(item, (str, dict, list)) and name not in _LABELS:
                    left.append(((*path, name), (*key, name), item))
        elif isinstance(value, list):
            for n, item in enumerate(value):
                index = item.get("index") if isinstance(item, dict) else None
                left.append(((*path, n), (*key, index if isinstance(index, int) else n), item))
