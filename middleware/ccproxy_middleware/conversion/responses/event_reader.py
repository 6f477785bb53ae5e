"""The JSON of a Responses stream's events; emoji that a server has split in two are rejoined."""

import re
from typing import Any

import orjson

from ...toolkit.json import dumps
from ...toolkit.json.surrogates import PairingReader


class EventReader(PairingReader):
    """Parse the events of one stream.

    An unpaired half becomes U+FFFD if the part is sent again as a whole, and is lost if it never is.
    """

    __slots__ = ()

    def _paired(self, event: Any) -> Any:
        if isinstance(event, dict) and isinstance(event.get("delta"), str):
            return {**event, "delta": self._joined(event)}
        return event

    def _joined(self, event: dict[str, Any]) -> str:
        item = event.get("output_index", event.get("item_id"))
        part = (event.get("type"), item, event.get("content_index"), event.get("summary_index"))
        delta: str = event["delta"]
        if not all(value is None or isinstance(value, (int, str)) for value in part):
            return delta
        return self._pair(part, delta)


_LESSONS = 2  # events without a match
_STRING = rb'("[^"\\]*(?:\\.[^"\\]*)*")'
# The fields that change from one delta to the next and have no meaning here.
_COUNTER = re.compile(rb'"sequence_number":\d+')
_PADDING = re.compile(rb'"obfuscation":"[^"\\]*"')


class TextDeltas:
    """Reads the text of an event that differs from an earlier one only in its delta, its number and its padding.

    Almost all events of a stream contain only text, and only the delta of such an event has to be parsed.
    """

    __slots__ = ("_lessons", "_like")

    def __init__(self) -> None:
        self._lessons = _LESSONS
        self._like: re.Pattern[bytes] | None = None

    def text(self, data: bytes) -> str | None:
        """The delta of an event that is like the learned one; None if deciding that requires a full parse."""
        if self._like is None or (found := self._like.fullmatch(data)) is None:
            return None
        try:
            text = orjson.loads(found[1])
        except ValueError:  # includes half of a surrogate pair, which has a separate reader
            return None
        self._lessons = _LESSONS
        return text if isinstance(text, str) else None

    def learn(self, data: bytes, delta: str) -> None:
        """Remember what surrounds the delta of an event."""
        if self._lessons == 0:
            return
        self._lessons -= 1
        written = b'"delta":' + dumps(delta)
        if data.count(b'"delta":') != 1 or data.count(written) != 1:
            self._like = None
            return
        before, _, after = data.partition(written)
        self._like = re.compile(_varied(before) + b'"delta":' + _STRING + _varied(after))


def _varied(data: bytes) -> bytes:
    """A pattern for the bytes that allows other counters and paddings."""
    pattern = re.escape(data)
    for what, shown in ((_COUNTER, rb'"sequence_number":\d+'), (_PADDING, rb'"obfuscation":"[^"\\]*"')):
        if found := what.search(data):
            pattern = pattern.replace(re.escape(found[0]), shown)
    return pattern
