"""The size of a JSON document once it is parsed, estimated from its text."""

import re

MAX_NODES = 500_000
"""The most values of one request. It is ten times what the longest conversations have."""

_PER_NODE = 180  # bytes; an object with one member takes the most: its table, and its name if that occurs only once
_PER_BYTE = 30  # maximum share of a text that isn't worth counting: of objects in objects
_UNCOUNTED = 128 * 1024
_AT_ONCE = 1024 * 1024  # bytes; other threads can run in between
_WHILE_WRITTEN = 2  # times its bytes: orjson caches the UTF-8 of a string in it, and the output is copied once
_OUTLINE = (b",", b"[", b"{")  # each value but the first has one of them before it, or is empty

# At most two strings are adjacent, a name and its value, until there is a structural character again.
_TO_OUTLINE = re.compile(rb'[^",\[{]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"?[^",\[{]*+){0,2}+([,\[{]*+)', re.DOTALL)


def parsed_size(text: bytes) -> int:
    """The most bytes that the parsed document may take, beside its text. Commas in its strings count as values."""
    if len(text) <= _UNCOUNTED:
        return _PER_BYTE * len(text)
    return _size(text, sum(map(text.count, _OUTLINE)))


def nodes_and_size(text: bytes) -> tuple[int, int]:
    """The maximum number of values in the document, and of bytes that it takes until it is serialized again, without
    its text.

    Both are exact enough to refuse it. Values beyond MAX_NODES are not counted.
    """
    nodes = sum(text.count(mark, at, at + _AT_ONCE) for at in range(0, len(text), _AT_ONCE) for mark in _OUTLINE)
    if nodes > MAX_NODES:
        nodes = _count(text)
    return nodes, _size(text, nodes) + _WHILE_WRITTEN * len(text)


def _size(text: bytes, nodes: int) -> int:
    # per character, in a string that contains one beyond 16 bits
    width = 1 if text.isascii() and not _has_escapes(text) else 4
    return width * len(text) + _PER_NODE * nodes


def _has_escapes(text: bytes) -> bool:
    return any(text.find(b"\\u", at, at + _AT_ONCE + 1) >= 0 for at in range(0, len(text), _AT_ONCE))


def _count(text: bytes) -> int:
    """The number of values in the document, ignoring the contents of its strings."""
    nodes = 0
    for found in _TO_OUTLINE.finditer(text):
        more = found.end() - found.start(1)
        nodes += more
        if not more or nodes > MAX_NODES:  # at its end, or where it is not JSON
            break
    return nodes
