"""A text of the model's on its way to the client, with its marks converted to citations."""

from collections.abc import Mapping

from .backend import SearchResult
from .envelope import seal
from .marks import MarkReader, Piece
from .output import Block, Output

_MAX_CITED = 150  # characters, as with Anthropic


class CitedText:
    """Writes one text block of the model's as several blocks where it cites: a citation applies to the whole of its
    block.

    A block ends after a citation, and at the end of a line. ``found`` are the results by their numbers; if it is empty,
    the text is not changed.
    """

    def __init__(self, output: Output, found: Mapping[int, SearchResult]) -> None:
        self._output = output
        self._found = found
        self._marks = MarkReader(found) if found else None
        self._open = False
        self._ends = False  # the next text that is not blank starts a block
        self._has_text = False  # the open block
        self._blank = ""  # held after the end of a block

    async def feed(self, text: str) -> None:
        await self._write([Piece("text", text)] if self._marks is None else self._marks.feed(text))

    async def citation(self, citation: Block) -> None:
        """A citation that the inner app itself has created."""
        if self._open:
            await self._output.delta({"type": "citations_delta", "citation": citation})

    async def finish(self) -> None:
        """The model's block has ended."""
        if self._marks is not None:
            await self._write(self._marks.finish())
        if self._open:
            await self._output.stop_block()
        self._open = False

    async def _write(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            match piece.kind:
                case "text":
                    await self._text(piece.text)
                case "line":
                    self._ends = self._ends or self._has_text
                case "cite":
                    for number in piece.numbers:
                        await self.citation(_citation(number, self._found[number]))
                    self._ends = True

    async def _text(self, text: str) -> None:
        if self._ends and text.isspace():
            self._blank += text
            return
        if self._ends:
            await self._output.stop_block()
            self._open = self._ends = self._has_text = False
        if not self._open:
            await self._output.start_block({"type": "text", "text": ""})
            self._open = True
        await self._output.delta({"type": "text_delta", "text": self._blank + text})
        self._has_text = self._has_text or not text.isspace()
        self._blank = ""


def _citation(number: int, result: SearchResult) -> Block:
    return {
        "type": "web_search_result_location",
        "url": result.url,
        "title": result.title,
        "encrypted_index": seal({"n": number, "u": result.url}),
        "cited_text": (result.text or result.title)[:_MAX_CITED],
    }
