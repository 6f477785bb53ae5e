"""How large a JSON document is once it is parsed, told from its text."""

import re

MAX_NODES = 500_000
"""The most values of one request. It is ten times what the longest conversations have."""

_PER_NODE = 180  # bytes; an object with one member takes the most: its table, and its name where that occurs once
_PER_BYTE = 30  # of a text that isn't worth counting, at most: of objects in objects
_UNCOUNTED = 128 * 1024
_AT_ONCE = 1024 * 1024  # bytes; other threads have their turn in between
_WHILE_WRITTEN = 2  # times its bytes: orjson keeps the UTF-8 of a string in it, and what it writes is copied once
_OUTLINE = (b",", b"[", b"{")  # each value but the first has one of them before it, or is empty

# Two strings at most stand together, a name and its value, until there is something of the outline again.
_TO_OUTLINE = re.compile(rb'[^",\[{]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"?[^",\[{]*+){0,2}+([,\[{]*+)', re.DOTALL)


def parsed_size(text: bytes) -> int:
    """The most bytes that the parsed document may take, beside its text. Commas in its strings count as values."""
    if len(text) <= _UNCOUNTED:
        return _PER_BYTE * len(text)
    return _size(text, sum(map(text.count, _OUTLINE)))


def nodes_and_size(text: bytes) -> tuple[int, int]:
    """How many values the document has at most, and how many bytes it takes until it is written again, beside its text.

    Both are exact enough to refuse it. The values are not counted further than MAX_NODES.
    """
    nodes = sum(text.count(mark, at, at + _AT_ONCE) for at in range(0, len(text), _AT_ONCE) for mark in _OUTLINE)
    if nodes > MAX_NODES:
        nodes = _count(text)
    return nodes, _size(text, nodes) + _WHILE_WRITTEN * len(text)


def _size(text: bytes, nodes: int) -> int:
    # Of a character, in a string that has one beyond 16 bits.
    width = 1 if text.isascii() and not _has_escapes(text) else 4
    return width * len(text) + _PER_NODE * nodes


def _has_escapes(text: bytes) -> bool:
    return any(text.find(b"\\u", at, at + _AT_ONCE + 1) >= 0 for at in range(0, len(text), _AT_ONCE))


def _count(text: bytes) -> int:
    """The values of the document, without what its strings say."""
    nodes = 0
    for found in _TO_OUTLINE.finditer(text):
        more = found.end() - found.start(1)
        nodes += more
        if not more or nodes > MAX_NODES:  # at its end, or where it is not JSON
            break
    return nodes
