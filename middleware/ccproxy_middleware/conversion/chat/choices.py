"""Select the choices of a chunk that make up the answer.

One answer is requested, so one choice is expected, with index 0. Some servers give the only choice another index,
increment its index from chunk to chunk, or split one answer over several choices without distinct indexes.
"""

from typing import Any

Choice = dict[str, Any]

_LONGEST = 10  # digits of a quoted index


def chosen(choices: Any) -> list[Choice]:
    """The choices of a whole answer that make up the message: those with index 0 or none, else those with the
    lowest.
    """
    objects = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    if not objects:
        return []
    index = min(map(_index, objects))
    return [choice for choice in objects if _index(choice) == index]


class ChoicePicker:
    """The same for the chunks of a stream, one after another."""

    __slots__ = ("_answer", "_counts_up", "_held", "_last")

    def __init__(self) -> None:
        self._answer: int | None = None  # the index of the answer
        self._last: int | None = None
        self._counts_up = False
        self._held: list[Choice] = []  # choices with the next index: another choice, or the next piece of the answer

    def pick(self, choices: list[Any]) -> list[Choice]:
        """The choices of the next chunk that belong to the answer, and those held back for it."""
        found = chosen(choices)
        if not found:
            return []
        index = _index(found[0])
        if index == self._answer or self._answer is None or (index == 0 and not self._counts_up):
            self._answer = self._last = index
            self._held.clear()
            return found
        if self._held and index == self._last:
            self._held += found
            return []
        if self._last is not None and index == self._last + 1:
            self._last = index
            if self._counts_up:
                return found
            if self._held:  # it was incremented twice
                self._counts_up = True
                return self.finish() + found
            self._held = found
        return []

    def finish(self) -> list[Choice]:
        """What is still held back, if the answer has not ended without it."""
        held, self._held = self._held, []
        return held


def _index(choice: Choice) -> int:
    index = choice.get("index")
    if isinstance(index, str) and index.isdecimal() and len(index) < _LONGEST:
        return int(index)
    return index if isinstance(index, int) else 0
