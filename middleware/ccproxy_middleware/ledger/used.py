"""The usage that a provider's answer reports, in any of the three formats."""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from ..conversion.chat import convert_usage, find_usage, has_counts
from ..conversion.context import Context
from ..conversion.responses import answer_usage
from ..toolkit.json import loads

Form = Literal["anthropic", "chat", "responses"]

_MAX_HELD = 4 * 1024 * 1024  # bytes of an answer, or of one line of a stream, that are inspected
_KEPT = 4  # lines with a usage that are kept: the last one may be all zeros
_TOLD = re.compile(rb'"usage"\s*:\s*\{')
_CONTEXT = Context(model="")


class Used(NamedTuple):
    """``usage`` is Anthropic's usage object, empty if none was reported. ``failed``: the answer is an error."""

    usage: Mapping[str, Any] = {}
    model: str | None = None
    service_tier: str | None = None
    failed: bool = False


class AnswerReader:
    """Takes the bytes of a successful answer, a stream or one JSON document, and returns its usage at the end.

    Only the parts with a usage are parsed, and only at the end.
    """

    def __init__(self, form: Form) -> None:
        self._form: Form = form
        self._is_stream: bool | None = None  # None: not yet known
        self._rest = bytearray()  # an incomplete line of a stream, or the whole document
        self._searched = 0
        self._gave_up = False
        self._first: bytes = b""  # the first line with data
        self._start: bytes = b""  # the first line with a usage
        self._lines: deque[bytes] = deque(maxlen=_KEPT)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._gave_up or not data:
            return
        if len(self._rest) + len(data) > _MAX_HELD:
            self._gave_up = True
            self._rest.clear()
            return
        self._rest += data
        if self._is_stream is None and (start := self._rest[:64].lstrip()):
            self._is_stream = not start.startswith((b"{", b"["))
        if self._is_stream:
            self._split()

    def _split(self) -> None:
        rest = self._rest
        end = rest.rfind(b"\n", self._searched) + 1
        if not end:
            self._searched = len(rest)
            return
        whole = bytes(rest[:end])
        del rest[:end]
        self._searched = 0
        if not self._first:
            self._first = next((line for line in whole.splitlines() if line.startswith(b"data:")), b"")
        if _TOLD.search(whole) is not None:
            for line in whole.split(b"\n"):
                if _TOLD.search(line) is not None:
                    self._start = self._start or line
                    self._lines.append(line)

    def result(self) -> Used:
        """The usage, as far as it has been reported."""
        if not self._is_stream:
            document = _parsed(bytes(self._rest))
            return _of_document(self._form, document)
        self._lines.append(bytes(self._rest))
        if self._form == "anthropic":
            return self._of_events()
        for document in self._documents():
            if (used := _of_document(self._form, document)).usage:
                return used
        return _of_document(self._form, _parsed(_data(self._first)))

    def _documents(self) -> Iterator[Any]:
        """Last one first."""
        return (_parsed(_data(line)) for line in reversed(self._lines))

    def _of_events(self) -> Used:
        """From Anthropic's stream, whose start reports the input and whose end the output."""
        begun = _parsed(_data(self._start))
        message = _object(begun.get("message"))
        model = _text(message.get("model"))
        for document in self._documents():
            if document.get("type") == "message_delta" and (told := _object(document.get("usage"))):
                usage = {**_object(message.get("usage")), **{k: v for k, v in told.items() if v is not None}}
                return Used(usage, model, _text(usage.get("service_tier")))
        first = _parsed(_data(self._first))
        return Used(model=model, failed=first.get("type") == "error")


def _of_document(form: Form, document: dict[str, Any]) -> Used:
    """From a whole answer, or from the event or chunk of a stream that reports the usage."""
    if form == "responses":
        document = _object(document.get("response")) or document
    failed = bool(document.get("error")) or document.get("type") == "error"
    model, tier = _text(document.get("model")), _text(document.get("service_tier"))
    usage = _object(document.get("usage"))
    if form == "anthropic":
        return Used(usage, model, _text(usage.get("service_tier")), failed)
    if form == "responses":
        known = isinstance(usage.get("input_tokens"), int)
        return Used(answer_usage(document, _CONTEXT, lambda: 0) if known else {}, model, tier, failed and not known)
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    told = find_usage(document, choice) or {}
    known = has_counts(told) and "prompt_tokens" in told
    return Used(convert_usage(told, _CONTEXT, lambda: 0) if known else {}, model, tier, failed and not known)


def _data(line: bytes) -> bytes:
    return line.strip().removeprefix(b"data:")


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        return _object(loads(text)) if text else {}
    except ValueError:
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) and value else None
