"""``<think>`` sections, which some servers leave in the text of an answer.

The tags count only at the very start of the content: later they are text about tags. Templates that put the opening tag
into the prompt produce only the closing one. The tags are removed together with adjacent whitespace.
"""

from typing import Literal

from ..anthropic import MAX_BLANK, PER_PIECE, held_suffix

OPENING = "<think>"
CLOSING = "</think>"

Piece = tuple[Literal["thinking", "text"], str]


def split_think_tags(content: str) -> tuple[str, str]:
    """A whole answer's thinking and text; the thinking is empty if there are no tags."""
    stripped = content.lstrip()
    if stripped.startswith(OPENING):
        thinking, _, text = stripped[len(OPENING) :].partition(CLOSING)
        return thinking.strip(), text.lstrip()
    thinking, closing, text = content.partition(CLOSING)
    if closing and OPENING not in thinking:
        return thinking.strip(), text.lstrip()
    return "", content


class ThinkTagSplitter:
    """The same for an answer that arrives in fragments, split anywhere.

    In a stream, a closing tag without an opening one comes too late: the text before it has already been sent.
    ``inside`` means that the template opens the tag in the prompt: then the content starts inside thinking, whether or
    not the opening tag is repeated.
    """

    __slots__ = ("_held", "_held_is_blank", "_held_size", "_inside", "_state")

    def __init__(self, *, inside: bool) -> None:
        self._inside = inside
        self._state: Literal["start", "opened", "thinking", "closed", "text"] = "start"
        self._held: list[str] = []  # whitespace that may be next to a tag, or the possible beginning of a tag
        self._held_is_blank = True
        self._held_size = 0  # bytes

    def feed(self, fragment: str) -> list[Piece]:
        """The pieces of the content that are now certain."""
        if self._held and self._held_is_blank and fragment.isspace():
            self._held.append(fragment)  # joined once, when something follows
            self._held_size += len(fragment) + PER_PIECE
            return self._let_go() if self._held_size > MAX_BLANK else []
        pieces: list[Piece] = []
        rest = "".join((*self._held, fragment))
        self._held.clear()
        if self._state == "start":
            stripped = rest.lstrip()
            if stripped.startswith(OPENING):
                self._state, rest = "opened", stripped[len(OPENING) :]
            elif OPENING.startswith(stripped):
                self._hold(rest)
                return []
            else:
                self._state = "opened" if self._inside else "text"
        if self._state == "opened":
            rest = rest.lstrip()
            if not rest:
                return []
            self._state = "thinking"
        if self._state == "thinking":
            thinking, closing, after = rest.partition(CLOSING)
            if not closing:
                thinking = thinking[: len(thinking) - held_suffix(thinking, (CLOSING,))]
            if sure := thinking.rstrip():
                pieces.append(("thinking", sure))
            if not closing:
                self._hold(rest[len(sure) :])
                return pieces
            self._state, rest = "closed", after
        if self._state == "closed":
            rest = rest.lstrip()
            if rest:
                self._state = "text"
        if rest:
            pieces.append(("text", rest))
        return pieces

    def _hold(self, text: str) -> None:
        self._held_size = len(text)
        if text:
            self._held.append(text)
        self._held_is_blank = not text.strip()

    def _let_go(self) -> list[Piece]:
        """Return what is held back, since so much whitespace can't be next to a tag."""
        kind: Literal["thinking", "text"] = "thinking" if self._state == "thinking" else "text"
        held = "".join(self._held)
        self._held.clear()
        self._state = kind
        return [(kind, held)]

    @property
    def in_text(self) -> bool:
        """Whether everything that follows is text."""
        return self._state == "text"

    def finish(self) -> list[Piece]:
        """What was held back, when the content ends or is interrupted."""
        held = "".join(self._held)
        self._held.clear()
        if held and self._state == "start":
            self._state = "text"
        if self._state == "thinking":
            held = held.rstrip()
            return [("thinking", held)] if held else []
        return [("text", held)] if held else []
