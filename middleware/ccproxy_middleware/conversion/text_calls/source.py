"""A text that is read while it arrives, split anywhere: its expected beginning, and JSON.

The readers are generators, which yield when they need more of the text. Each character is looked at a fixed number of
times, and long parts are consumed as they arrive.
"""

import re
from collections.abc import Callable, Generator, Iterable
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Reading: TypeAlias = Generator[None, None, T]

MAX_CHARS = 1024 * 1024
"""Characters that calls may have together; more are text."""

_MAX_DEPTH = 200
_SPACE = re.compile(r"\s*")
_IN_STRING = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_ESCAPE_BEGINNING = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_SCALAR = re.compile(r"[-+.\w]*")
_SCALARS = re.compile(r"true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LONGEST_SCALAR = 400


class NoCallError(Exception):
    """There is no readable call here."""


class NotOfferedError(NoCallError):
    """The call names a tool that is not offered."""


class Marks:
    """Alternative texts, one of which may occur. ``longest``: characters of the longest.

    beginnings: their first characters, one and two.
    """

    __slots__ = ("_marks", "beginnings", "longest", "pattern")

    def __init__(self, marks: Iterable[str]) -> None:
        self._marks = sorted(marks, key=len, reverse=True)
        self.longest = max(map(len, self._marks), default=0)
        self.beginnings = frozenset(mark[:length] for mark in self._marks for length in (1, 2))
        self.pattern = re.compile("|".join(map(re.escape, self._marks)) or "(?!)")

    def may_follow(self, text: str) -> bool:
        """Whether a text is the beginning of a longer mark."""
        return any(len(mark) > len(text) and mark.startswith(text) for mark in self._marks)


class Source:
    """The text as far as it has arrived. ``ended``: it is complete. ``taken``: characters that were read."""

    __slots__ = ("at", "ended", "record", "taken", "text")

    def __init__(self, text: str, at: int, *, ended: bool) -> None:
        self.text = text
        self.at = at
        self.ended = ended
        self.taken = 0
        self.record: list[str] | None = None  # what is read, if a reader records it

    def feed(self, text: str) -> None:
        """Add more of the text."""
        self.text = self.text[self.at :] + text
        self.at = 0

    def _take(self, end: int) -> str:
        taken = self.text[self.at : end]
        self.taken += end - self.at
        self.at = end
        if self.record is not None:
            self.record.append(taken)
        if self.taken > MAX_CHARS:
            raise NoCallError
        return taken

    def _more(self) -> Reading[None]:
        if self.ended:
            raise NoCallError
        yield

    def peek(self) -> Reading[str]:
        """The next character, without consuming it; the empty string at the end."""
        while self.at >= len(self.text):
            if self.ended:
                return ""
            yield
        return self.text[self.at]

    def space(self) -> Reading[str]:
        """Read whitespace, and return the character after it."""
        while True:
            found = _SPACE.match(self.text, self.at)
            self._take(found.end() if found else self.at)
            if self.at < len(self.text) or self.ended:
                return (yield from self.peek())
            yield

    def maybe(self, marks: "Marks") -> Reading[str]:
        """Read the longest of these marks that is here; without one nothing is consumed."""
        while True:
            rest = self.text[self.at : self.at + marks.longest]
            if self.ended or len(rest) == marks.longest or not marks.may_follow(rest):
                found = marks.pattern.match(rest)
                if found is not None:
                    self._take(self.at + found.end())
                return found[0] if found is not None else ""
            yield

    def mark(self, mark: str) -> Reading[None]:
        """Read this mark."""
        for char in mark:
            if (yield from self.peek()) != char:
                raise NoCallError
            self._take(self.at + 1)

    def until(self, mark: str, limit: int = MAX_CHARS) -> Reading[str]:
        """Read everything before a mark, and the mark."""
        pieces: list[str] = []
        size = 0
        while True:
            end = self.text.find(mark, self.at)
            sure = end if end >= 0 else max(self.at, len(self.text) - len(mark) + 1)
            size += sure - self.at
            pieces.append(self._take(sure))
            if size > limit:
                raise NoCallError
            if end >= 0:
                self._take(end + len(mark))
                return "".join(pieces)
            yield from self._more()

    # JSON

    def json(self, on_key: Callable[[str, str], None]) -> Reading[str]:
        """Read an object. ``on_key`` gets each of its own keys as soon as it is read, and the value if that is a
        string.
        """
        self.record = []
        try:
            yield from self._value(on_key)
            return "".join(self.record)
        finally:
            self.record = None

    def _value(self, on_key: Callable[[str, str], None]) -> Reading[None]:
        stack: list[str] = []
        key = ""
        while True:
            next_ = yield from self.space()
            if next_ in ("{", "["):
                stack.append(next_)
                if len(stack) > _MAX_DEPTH:
                    raise NoCallError
                self._take(self.at + 1)
                closing = "}" if next_ == "{" else "]"
                if (yield from self.space()) != closing:
                    if next_ == "{":
                        key = yield from self._key(stack, on_key)
                    continue
            elif next_ == '"':
                value = yield from self._string()
                if len(stack) == 1:
                    on_key(key, value)
            else:
                yield from self._scalar()
            if (yield from self._behind(stack)):
                return
            if stack[-1] == "{":
                key = yield from self._key(stack, on_key)

    def _key(self, stack: list[str], on_key: Callable[[str, str], None]) -> Reading[str]:
        if (yield from self.space()) != '"':
            raise NoCallError
        key = yield from self._string()
        if (yield from self.space()) != ":":
            raise NoCallError
        self._take(self.at + 1)
        if len(stack) == 1:
            on_key(key, "")
        return key

    def _behind(self, stack: list[str]) -> Reading[bool]:
        """Read the closing brackets and the comma after a value; returns whether the outermost container is closed."""
        while True:
            next_ = yield from self.space()
            if next_ == ",":
                self._take(self.at + 1)
                return False
            if next_ != ("}" if stack[-1] == "{" else "]"):
                raise NoCallError
            self._take(self.at + 1)
            stack.pop()
            if not stack:
                return True

    def _string(self) -> Reading[str]:
        pieces: list[str] = []
        self._take(self.at + 1)
        while True:
            found = _IN_STRING.match(self.text, self.at)
            pieces.append(self._take(found.end() if found else self.at))
            next_ = yield from self.peek()
            if next_ == '"':
                self._take(self.at + 1)
                return "".join(pieces)
            if next_ == "\\":
                while (escape := _ESCAPE.match(self.text, self.at)) is None:
                    beginning = _ESCAPE_BEGINNING.match(self.text, self.at)
                    if beginning is None or beginning.end() < len(self.text):
                        raise NoCallError
                    yield from self._more()
                pieces.append(self._take(escape.end()))
            elif not next_ or next_ < " ":
                raise NoCallError

    def _scalar(self) -> Reading[None]:
        pieces: list[str] = []
        size = 0
        while True:
            found = _SCALAR.match(self.text, self.at)
            pieces.append(self._take(found.end() if found else self.at))
            size += len(pieces[-1])
            if size > _LONGEST_SCALAR:
                raise NoCallError
            if self.at < len(self.text):
                break
            yield from self._more()
        if not _SCALARS.fullmatch("".join(pieces)):
            raise NoCallError
