"""Sets and removes members of a JSON object in its text. The rest of the text stays unchanged."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from json.decoder import JSONDecoder
from typing import Any

_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = JSONDecoder()
_INDENT = "  "


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    start: int  # start of the key
    value: int  # start of the value
    end: int  # end of the value


@dataclass(frozen=True, slots=True)
class _Object:
    start: int  # position of the opening brace
    members: list[_Member]
    end: int  # position of the closing brace

    def find(self, key: str) -> _Member | None:
        """The last member with this name, which is the one that counts."""
        return next((member for member in reversed(self.members) if member.key == key), None)


def set_in(text: str, values: Mapping[str, Any], *, inside: str | None = None) -> str:
    """The text of an object with these members; new ones go to the end. None removes a member.

    ``inside``: the members are in the object that is this member's value. It is created if it is missing, and removed
    if
    nothing is left in it. Raises ValueError if the text is not an object.
    """
    if inside is not None:
        whole = _scan(text, _start(text))
        member = whole.find(inside)
        if member is None or text[member.value] != "{":
            kept = {key: value for key, value in values.items() if value is not None}
            return set_in(text, {inside: kept}) if kept else text
        text = _set(text, member.value, values, depth=2)
        empty = not _scan(text, member.value).members
        return set_in(text, {inside: None}) if empty else text
    return _set(text, _start(text), values, depth=1)


def _set(text: str, start: int, values: Mapping[str, Any], depth: int) -> str:
    for key, value in values.items():
        found = _scan(text, start)
        member = found.find(key)
        if value is None:
            text = text if member is None else _without(text, found, member)
        elif member is not None:
            text = text[: member.value] + json.dumps(value, ensure_ascii=False) + text[member.end :]
        else:
            text = _with(text, found, key, value, depth)
    return text


def _with(text: str, found: _Object, key: str, value: Any, depth: int) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    if found.members:
        last = found.members[-1]
        before = text[found.members[-2].end if len(found.members) > 1 else found.start + 1 : last.start]
        blanks = before[before.index(",") + 1 :] if "," in before else before
        end = last.end
        head, tail = text[:end] + "," + (blanks or " "), text[end:]
    else:
        blanks = newline + _indent(text) * depth
        head, tail = text[: found.start + 1] + blanks, newline + _indent(text) * (depth - 1) + text[found.end :]
    return f"{head}{json.dumps(key)}: {_dumped(value, blanks, _indent(text), newline)}{tail}"


def _dumped(value: Any, blanks: str, indent: str, newline: str) -> str:
    """The JSON of a new value, on several lines if its neighbours are."""
    if "\n" not in blanks:
        return json.dumps(value, ensure_ascii=False)
    shown = json.dumps(value, ensure_ascii=False, indent=indent)
    return shown.replace("\n", newline + blanks.rpartition("\n")[2])


def _without(text: str, found: _Object, member: _Member) -> str:
    position = found.members.index(member)
    if position > 0:
        return text[: found.members[position - 1].end] + text[member.end :]
    if len(found.members) > 1:
        return text[: member.start] + text[found.members[1].start :]
    return text[: found.start + 1] + text[found.end :]


def _indent(text: str) -> str:
    """One level of indentation, as the text uses it."""
    found = re.search(r'\{\r?\n([ \t]+)"', text)
    return found[1] if found else _INDENT


def _start(text: str) -> int:
    match = _BLANKS.match(text, 1 if text.startswith("\ufeff") else 0)
    start = match.end() if match else 0
    if text[start : start + 1] != "{":
        raise ValueError("it is no JSON object")
    return start


def _scan(text: str, start: int) -> _Object:
    members: list[_Member] = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != "}":
        key, end = _DECODER.raw_decode(text, at)
        value = _skip(text, _skip(text, end) + 1)
        _, value_end = _DECODER.raw_decode(text, value)
        members.append(_Member(key, at, value, value_end))
        at = _skip(text, value_end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    return _Object(start, members, at)


def _skip(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at
