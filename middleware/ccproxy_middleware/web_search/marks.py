"""The marks ``[1]`` with which a model cites results, found in a text that arrives in pieces.

A mark cites the text before it. It does not count at the start of a line, as in a list of sources, in code, before a
``(`` or ``:``, as in links, or if no result has its number.
"""

import re
from collections.abc import Container
from typing import Literal, NamedTuple

_NUMBERS = r"\[(?P<numbers>\d{1,3}(?:, ?\d{1,3}){0,19})\]"
_SPECIAL = re.compile(rf"(?P<ticks>`+)|(?P<lines>\n+)|[ \t]*{_NUMBERS}(?![(:])")
_LONGEST = 120  # characters that a possible mark may have
# The end of a piece that may begin a mark, or the blanks before it; a complete one waits for what follows.
_BEGUN = re.compile(r"(?:`+|[ \t]+|[ \t]*\[(?:\d{1,3}(?:, ?\d{1,3}){0,19}(?:,? ?|\]))?)\Z")


class Piece(NamedTuple):
    """``text``; or a ``cite`` of the text before it, with numbers; or a ``line`` that begins after it."""

    kind: Literal["text", "cite", "line"]
    text: str = ""
    numbers: tuple[int, ...] = ()


class MarkReader:
    """Removes marks from a text. ``known`` are the numbers of the results."""

    def __init__(self, known: Container[int]) -> None:
        self._known = known
        self._held = ""
        self._ticks = 0  # the number of backticks that opened the code
        self._line_has_text = False

    def feed(self, text: str) -> list[Piece]:
        """The pieces of the next part of the text."""
        text = self._held + text
        begun = _BEGUN.search(text, max(0, len(text) - _LONGEST))
        end = begun.start() if begun is not None else len(text)
        self._held = text[end:]
        return self._read(text, end)

    def finish(self) -> list[Piece]:
        """The held pieces, at the end of the text."""
        text, self._held = self._held, ""
        return self._read(text, len(text))

    def _read(self, text: str, end: int) -> list[Piece]:
        pieces: list[Piece] = []
        done = 0

        def take(until: int) -> None:
            nonlocal done
            if until > done:
                pieces.append(Piece("text", text[done:until]))
                self._line_has_text = self._line_has_text or not text[done:until].isspace()
                done = until

        for found in _SPECIAL.finditer(text, 0, end):
            if found["ticks"]:
                take(found.end())
                count = len(found["ticks"])
                self._ticks = 0 if self._ticks == count else self._ticks or count
            elif found["lines"]:
                take(found.end())
                pieces.append(Piece("line"))
                self._line_has_text = False
                if self._ticks < 3:  # inline code
                    self._ticks = 0
            elif not self._ticks:
                take(found.start())
                numbers = [int(number) for number in found["numbers"].split(",")]
                cited = tuple(dict.fromkeys(number for number in numbers if number in self._known))
                if cited and self._line_has_text:
                    pieces.append(Piece("cite", numbers=cited))
                    done = found.end()
        take(end)
        return pieces
