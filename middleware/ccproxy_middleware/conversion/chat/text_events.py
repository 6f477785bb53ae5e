"""Events that contain only text, as most events of a stream do."""

from typing import Any

import orjson

from ...toolkit.json import dumps

_LESSONS = 4  # events without a match; a value that changes with every event, such as a random field, can't be learned
_PROBE = "probe"


def text_alone(chunk: Any) -> str | None:
    """The text of a chunk that contains only text; None for any other chunk."""
    try:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        text = delta["content"]
        if len(delta) > 1 or choice["index"] != 0 or choice.get("finish_reason") is not None:
            return None
    except (TypeError, KeyError, ValueError):
        return None
    told = chunk.get("error") or chunk.get("usage") or chunk.get("x_groq") or chunk.get("object") == "error"
    if told or choice.get("error") or choice.get("usage") or choice.get("stop_reason"):
        return None
    return text if isinstance(text, str) else None


class TextEvents:
    """Reads the text of an event that differs from an earlier one only in its text, so that only the text has to be
    parsed.

    The bytes before and after a JSON string are learned from one event. If another event has the same bytes there, with
    a single string between them, it is the same document with another text.
    """

    __slots__ = ("_after", "_before", "_lessons")

    def __init__(self) -> None:
        self._before = b""
        self._after = b""
        self._lessons = _LESSONS

    def text(self, data: bytes) -> str | None:
        """The text of an event that contains only text; None if deciding that requires a full parse."""
        before, after = self._before, self._after
        if not (before and data.startswith(before) and data.endswith(after)):
            return None
        try:
            text = orjson.loads(data[len(before) : len(data) - len(after)])
        except ValueError:  # includes half of a surrogate pair, which has a separate reader
            return None
        self._lessons = _LESSONS
        return text if isinstance(text, str) else None

    def learn(self, data: bytes, text: str) -> None:
        """Remember what surrounds the text of an event that contains only ``text``."""
        if self._lessons == 0:
            return
        self._lessons -= 1
        before, found, after = data.partition(dumps(text))
        try:  # the same string may occur elsewhere in it
            proven = found != b"" and text_alone(orjson.loads(before + dumps(_PROBE) + after)) == _PROBE
        except ValueError:
            proven = False
        self._before, self._after = (before, after) if proven else (b"", b"")
