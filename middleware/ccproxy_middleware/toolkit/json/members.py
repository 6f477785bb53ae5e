"""Finds and replaces members of a JSON object in its text without changing any other byte."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .codec import dumps, loads

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE = re.compile(rb"[ \t\r\n]*+")
_KEY = re.compile(rb"[ \t\r\n]*+(" + _STRING + rb")[ \t\r\n]*+:[ \t\r\n]*+", re.DOTALL)
_SCALAR = re.compile(_STRING + rb'|[^",:\[\]{}\s]++', re.DOTALL)
_BRACKETS = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+([\[\]{}]++)', re.DOTALL)
_OPENING = b"[{"
_MOST_AT_SIGHT = 8  # places where a member may stand


class Member(NamedTuple):
    """A member of an object: the offset of its start, and those of the start and end of its value."""

    name: str
    start: int
    value: int
    end: int


def members(text: bytes) -> Iterator[Member]:
    """The members of the object in this text, in order, including those with a duplicate name.

    Raises ValueError if it is not an object. The values of its members are not validated.
    """
    place = _skip(text, 0)
    if text[place : place + 1] != b"{":
        raise ValueError("no object")
    place = _skip(text, place + 1)
    if text[place : place + 1] == b"}":
        return
    while True:
        key = _KEY.match(text, place)
        if key is None:
            raise ValueError("no member")
        name: str = loads(key[1])
        end = _value_end(text, key.end())
        yield Member(name, key.start(1), key.end(), end)
        place = _skip(text, end)
        mark = text[place : place + 1]
        if mark == b"}":
            return
        if mark != b",":
            raise ValueError("no end of a member")
        place += 1


def with_members(text: bytes, changed: Mapping[str, bytes | None]) -> bytes:
    """The object's text with other values for these members. None removes a member, a new one is added at the end.

    A member that occurs twice is changed in both places, since parsers differ in which of them counts. Raises
    ValueError if the text is not an object.
    """
    if len(changed) == 1 and (replaced := _replaced_at_sight(text, *changed.items())) is not None:
        return replaced
    found = list(members(text))
    missing = {name: value for name, value in changed.items() if value is not None}
    for member in found:
        missing.pop(member.name, None)
    new = [dumps(name) + b":" + value for name, value in missing.items()]
    removed = {name for name, value in changed.items() if value is None}
    if removed & {member.name for member in found} or not found:
        kept = [member for member in found if member.name not in removed]
        return b"{" + b",".join([*(_changed(text, member, changed) for member in kept), *new]) + b"}"
    pieces: list[bytes] = []
    place = 0
    for member in found:
        value = changed.get(member.name)
        if value is not None:
            pieces += (text[place : member.value], value)
            place = member.end
    if new:
        pieces += (text[place : found[-1].end], *(b"," + piece for piece in new))
        place = found[-1].end
    return b"".join([*pieces, text[place:]])


def _replaced_at_sight(text: bytes, change: tuple[str, bytes | None]) -> bytes | None:
    """The text with the one change, if its place can be determined without scanning all of the text.

    A member of the outer object is followed by an object, once a brace is put before it; after a member of an inner
    object there are too many closing brackets.
    """
    name, value = change
    if value is None or not name.isascii() or _may_be_escaped(text, name):
        return None
    key = dumps(name)
    places: list[int] = []
    place = text.find(key)
    while place >= 0 and len(places) <= _MOST_AT_SIGHT:
        places.append(place)
        place = text.find(key, place + len(key))
    if len(places) > _MOST_AT_SIGHT:
        return None
    first = _skip(text, _skip(text, 0) + 1)
    pieces: list[bytes] = []
    copied = 0
    for place in places:
        found = _KEY.match(text, place)
        if found is None or not (place == first or _is_object(b"{" + text[place:])):
            continue
        pieces += (text[copied : found.end()], value)
        copied = _value_end(text, found.end())
    return b"".join([*pieces, text[copied:]]) if pieces else None


def _may_be_escaped(text: bytes, name: str) -> bool:
    """Whether the text may contain the name in an escaped form."""
    return b"\\u00" in text and any(b"\\u00%x" % row in text for row in {ord(letter) >> 4 for letter in name})


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(loads(text), dict)
    except ValueError:
        return False


def _changed(text: bytes, member: Member, changed: Mapping[str, bytes | None]) -> bytes:
    value = changed.get(member.name)
    return text[member.start : member.end] if value is None else text[member.start : member.value] + value


def _skip(text: bytes, place: int) -> int:
    """The offset after whitespace."""
    found = _SPACE.match(text, place)
    return place if found is None else found.end()


def _value_end(text: bytes, place: int) -> int:
    """The end of the value that begins here. Raises ValueError if it has none."""
    if text[place : place + 1] not in (b"[", b"{"):
        scalar = _SCALAR.match(text, place)
        if scalar is None:
            raise ValueError("no value")
        return scalar.end()
    depth = 0
    for found in _BRACKETS.finditer(text, place):
        if found.start() != place:
            break  # an unterminated string
        place = found.end()
        run = found[1]
        opened = run.count(b"[") + run.count(b"{")
        if depth > len(run) - opened:
            depth += 2 * opened - len(run)
            continue
        for n, mark in enumerate(run):
            depth += 1 if mark in _OPENING else -1
            if depth == 0:
                return found.start(1) + n + 1
    raise ValueError("no end of a value")
