"""Events of a stream that are no JSON, and what can be read of them all the same."""

import re
from collections.abc import Iterator
from itertools import islice

from ...toolkit.json import loads

_END = re.compile(rb"(?<=\})\s*(?:data: ?)?(?=\{|\[DONE\])")
_BEGINNING = re.compile(rb"data: ?\{|\{(?=\"(?:id|choices|object|created)\")")
_MAX_TRIES = 16  # places where a whole event may begin


def divided(data: bytes) -> list[bytes]:
    """The events of one that is several, as where the blank lines between them are missing; none if it is not."""
    pieces = _END.split(data)
    if len(pieces) == 1:
        return []
    try:
        for piece in pieces:
            if piece.strip() != b"[DONE]":
                loads(piece)
    except ValueError:
        return []
    return pieces


def behind(data: bytes) -> Iterator[bytes]:
    """What may be the whole event behind one that was cut off in its line, as some servers send them."""
    return (data[start.end() - 1 :] for start in islice(_BEGINNING.finditer(data, 1), _MAX_TRIES))
