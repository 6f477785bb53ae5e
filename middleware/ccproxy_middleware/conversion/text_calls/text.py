"""Tool calls in the text of an answer, in the model's own format, for a server that does not parse them.

A call may be at the beginning of a line outside a code block, followed only by other calls; everything else is text. It
is held back from its beginning until it turns out not to be a call, or the answer ends.
"""

import re
from collections.abc import Mapping
from typing import Any

from .calls import Call, Grammar
from .forms import FormSet
from .source import MAX_CHARS, NoCallError, NotOfferedError, Reading, Source

_INDENT = 3  # spaces that may precede it; four begin a code block
_MOST_VAIN = 256 * 1024  # characters that are read twice
_LONGEST_FENCE = 300  # characters of a line that begins or ends a code block
_OPENS = re.compile(r" {0,3}(?:(`{3,})[^`]*|(~{3,}).*)", re.DOTALL)
_CLOSES = re.compile(r" {0,3}(`{3,}|~{3,})\s*")
_OPENING, _CLOSING = "<tool_call>", "</tool_call>"


class TextCalls:
    """Splits a text into what can be shown and calls at its end.

    ``tools``: the schemas of the offered tools, by name. ``forms``: the formats that are looked for. ``keep_spoiled``:
    anything unreadable between complete ``<tool_call>`` marks is not returned as text, but stored in ``spoiled``.
    """

    __slots__ = (
        "_blank",
        "_fence",
        "_grammar",
        "_held",
        "_keeps_spoiled",
        "_line",
        "_reading",
        "_size",
        "_source",
        "_vain",
        "spoiled",
    )

    def __init__(self, tools: Mapping[str, Any], forms: FormSet, *, keep_spoiled: bool = False) -> None:
        self.spoiled = ""  # including the marks, once the answer has ended
        self._grammar = Grammar(tools, forms)
        self._keeps_spoiled = keep_spoiled
        self._blank = True  # only whitespace has arrived
        self._line: str | None = ""  # the beginning of the current line; None: it no longer matters
        self._fence = ""  # the fence that opened the current code block
        self._source: Source | None = None  # from where calls may have begun
        self._reading: Reading[list[Call]] | None = None  # None: they are unreadable, and may be spoiled
        self._held: list[str] = []
        self._size = 0  # of what is held back
        self._vain = 0  # characters that were read as calls but are none

    @property
    def holds(self) -> bool:
        """Whether a part of the text is held back."""
        return self._source is not None

    def passes(self, text: str) -> bool:
        """Whether this piece has nothing to do with a call, as almost all pieces have."""
        return self._line is None and self._source is None and "\n" not in text

    def feed(self, text: str) -> str:
        """The part of the text so far that can be shown."""
        if self._source is None:
            return self._scan(text, ended=False)[0]
        self._held.append(text)
        self._size += len(text)
        self._source.feed(text)
        self._read()
        return "" if self._source is not None else self._go_back(ended=False)[0]

    def finish(self) -> tuple[str, list[Call]]:
        """Finish at the end of the answer: the rest as text, and the calls after it."""
        if self._source is None:
            return "", []
        self._source.ended = True
        calls = self._read()
        if calls or self._is_spoiled():
            self._forget()
            return "", calls
        return self._go_back(ended=True)

    def release(self) -> str:
        """The rest as text, because something else follows it."""
        rest = "".join(self._held)
        self._forget()
        self._line = ""
        self._blank = self._blank and not rest
        return rest

    def _forget(self) -> None:
        self._source = self._reading = None
        self._held = []
        self._size = 0

    def _read(self) -> list[Call]:
        """The calls at the end of the text; none before the end, or if there are none. Releases what can't be a
        call.
        """
        source = self._source
        if source is None:
            return []
        try:
            if self._reading is not None:
                next(self._reading)
        except StopIteration as end:
            calls: list[Call] = end.value
            return calls
        except NoCallError as error:
            self._vain += source.taken
            self._reading = None
            if not self._keeps_spoiled or isinstance(error, NotOfferedError):
                self._source = None
        if self._reading is None and self._size > MAX_CHARS:
            self._source = None
        return []

    def _is_spoiled(self) -> bool:
        """Whether the held text is a complete pair of marks with something between them, and nothing else."""
        if self._source is None or not self._keeps_spoiled:
            return False
        text = "".join(self._held)
        *calls, rest = text.split(_CLOSING)
        if not calls or rest.strip() or not all(call.lstrip().startswith(_OPENING) for call in calls):
            return False
        self.spoiled = text
        return True

    def _go_back(self, *, ended: bool) -> tuple[str, list[Call]]:
        """The held text is not a call; but a call may begin on another line of it."""
        text = "".join(self._held)
        self._forget()
        self._line = None
        self._blank = False
        return self._scan(text, ended=ended)

    def _scan(self, text: str, *, ended: bool) -> tuple[str, list[Call]]:
        """Search lines for the beginning of a call: the text before it, and what it is if the answer has ended."""
        at = 0
        while at < len(text):
            if self._line is None:
                end = text.find("\n", at)
                if end < 0:
                    break
                self._line, at = "", end + 1
            elif "`" in self._line or "~" in self._line:
                at = self._in_fence_line(text, at)
            elif (char := text[at]) == "\n":
                self._line, at = "", at + 1
            elif char.isspace() and (self._blank or (char == " " and len(self._line) < _INDENT)):
                self._line, at = self._line if self._blank else self._line + " ", at + 1
            elif char in "`~":
                self._line, at = self._line + char, at + 1
                self._blank = False
            else:
                if self._may_begin(text, at) and (found := self._begin(text, at, ended=ended)) is not None:
                    return text[:at], found
                self._line = None
                self._blank = False
        return text, []

    def _begin(self, text: str, at: int, *, ended: bool) -> list[Call] | None:
        """Begin to read calls; None: there are none. What can't be decided yet is held back."""
        self._source = Source(text, at, ended=ended)
        self._reading = self._grammar.read(self._source, bare=self._blank)
        calls = self._read()
        if self._source is None:
            return None
        self._held, self._size = [text[at:]], len(text) - at
        if not ended:
            return []
        is_spoiled = not calls and self._is_spoiled()
        self._forget()
        return calls if calls or is_spoiled else None

    def _may_begin(self, text: str, at: int) -> bool:
        if self._fence or self._vain > _MOST_VAIN:
            return False
        return self._grammar.may_begin(text, at, bare=self._blank)

    def _in_fence_line(self, text: str, at: int) -> int:
        """Continue reading a line that may begin or end a code block."""
        line = self._line or ""
        end = text.find("\n", at)
        stop = min(len(text) if end < 0 else end, at + _LONGEST_FENCE - len(line))
        line += text[at:stop]
        self._line = line
        if stop == end:
            self._end_line(line)
            return end + 1
        if len(line) >= _LONGEST_FENCE:
            self._line = None
        return stop

    def _end_line(self, line: str) -> None:
        self._line = ""
        if self._fence:
            closes = _CLOSES.fullmatch(line)
            if closes and closes[1].startswith(self._fence):
                self._fence = ""
        elif opens := _OPENS.fullmatch(line):
            self._fence = opens[1] or opens[2]
