"""Detect in a single pass whether JSON that arrives in fragments is complete."""

import re

from ...toolkit.json import loads

_IN_STRING = re.compile(r'["\\]')
_OUTSIDE = re.compile(r'["{}\[\]]')
_LONGEST_SCALAR = 400  # characters of a number, true, false or null


class JsonProgress:
    """Follows one JSON value through its fragments. Each character is looked at once.

    whole: one value is complete, and only whitespace follows it.
    """

    __slots__ = ("_closed", "_depth", "_escaped", "_in_string", "_is_container", "_parts", "whole")

    def __init__(self) -> None:
        self.whole = False
        self._parts: list[str] = []
        self._is_container: bool | None = None  # an object, a list or a string, whose end is marked
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._closed = False

    def feed(self, fragment: str) -> None:
        """Process the next fragment."""
        if self._is_container is None:
            self._parts.append(fragment)
            fragment = fragment.lstrip()
            if not fragment:
                return
            self._is_container = fragment[0] in '{["'
        else:
            self._parts.append(fragment)
        if self._closed:
            if fragment.strip():
                self.whole = False
        elif not self._is_container:
            text = "".join(self._parts)
            self._parts = [text]
            self.whole = len(text) <= _LONGEST_SCALAR and _is_json(text)
        elif self._ends_in(fragment):
            self._closed = True
            self.whole = _is_json("".join(self._parts))

    def _ends_in(self, fragment: str) -> bool:
        """Whether the value ends in this fragment."""
        position = 0
        while position < len(fragment):
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            found = (_IN_STRING if self._in_string else _OUTSIDE).search(fragment, position)
            if found is None:
                return False
            position = found.end()
            match found[0]:
                case "\\":
                    self._escaped = True
                case '"':
                    self._in_string = not self._in_string
                case "{" | "[":
                    self._depth += 1
                case _:
                    self._depth -= 1
            if self._depth <= 0 and not self._in_string:
                return True
        return False


def _is_json(text: str) -> bool:
    try:
        loads(text)
    except ValueError:
        return False
    return True
