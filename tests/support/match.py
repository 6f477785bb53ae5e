"""Compare what was made with what a conformance case expects.

An expected value is JSON with wildcards: ``"$INT"`` and the like (see WILDCARDS), or ``{"$regex": pattern}`` for a
string in which the pattern is found. A key that is null and one that is absent are the same. ``arguments`` of tool
calls are compared as JSON. Every function returns the differences, one line each, and an empty list for a match.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Event = dict[str, Any]


def _matching(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


WILDCARDS: Mapping[str, Callable[[Any], bool]] = {
    "$ANY_STR": lambda value: isinstance(value, str),
    "$INT": lambda value: type(value) is int and value >= 0,
    "$MSG_ID": _matching(r"msg_[A-Za-z0-9_-]{8,}"),
    "$REQ_ID": _matching(r"req_[A-Za-z0-9_-]{8,}"),
    "$TOOL_ID": _matching(r"[A-Za-z0-9_-]{1,64}"),
    "$SIG": lambda value: isinstance(value, str) and value != "",
}

_FRAGMENTS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def match(expected: Any, actual: Any, path: str = "$") -> list[str]:
    """The differences between an expected value and an actual one."""
    if isinstance(expected, str) and expected in WILDCARDS:
        return [] if WILDCARDS[expected](actual) else [f"{path}: {actual!r} is no {expected}"]
    if isinstance(expected, dict):
        if expected.keys() == {"$regex"}:
            found = isinstance(actual, str) and re.search(expected["$regex"], actual)
            return [] if found else [f"{path}: {actual!r} does not match {expected['$regex']!r}"]
        return _match_objects(expected, actual, path)
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(actual) != len(expected):
            return [f"{path}: {actual!r} is no list of {len(expected)}"]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for n, (want, have) in pairs for line in match(want, have, f"{path}[{n}]")]
    same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return [] if same else [f"{path}: {actual!r} is not {expected!r}"]


def match_events(case: Mapping[str, Any], actual: Sequence[Event]) -> list[str]:
    """The differences between the events of a stream and those that a case expects.

    Pings don't count, nor does where the text of a block is cut into deltas. With ``json_fragments: parsed`` in the
    case, tool arguments are compared as JSON.
    """
    as_json = case.get("json_fragments") == "parsed"
    return match(_joined(case["expected"], as_json), _joined(actual, as_json))


def _match_objects(expected: dict[str, Any], actual: Any, path: str) -> list[str]:
    if not isinstance(actual, dict):
        return [f"{path}: {actual!r} is no object"]
    lines: list[str] = []
    for key in sorted(expected.keys() | actual.keys()):
        want, have = expected.get(key), actual.get(key)
        if key == "arguments" and isinstance(want, str) and isinstance(have, str) and not want.startswith("$"):
            want, have = json.loads(want), json.loads(have)
        lines += match(want, have, f"{path}.{key}")
    return lines


def _joined(events: Sequence[Event], as_json: bool) -> list[Event]:
    """The events without pings and with the neighbouring deltas of a block made one."""
    joined: list[Event] = []
    for event in events:
        delta = event.get("delta", {})
        name = _FRAGMENTS.get(delta.get("type", ""))
        if event["type"] == "ping" or (name and not delta[name]):
            continue
        last = joined[-1] if joined else {}
        if name and last.get("index") == event["index"] and last.get("delta", {}).get("type") == delta["type"]:
            text = last["delta"][name] + delta[name]
            joined[-1] = {**last, "delta": {**delta, name: text}}
        else:
            joined.append(event)
    return [_with_parsed_json(event) for event in joined] if as_json else joined


def _with_parsed_json(event: Event) -> Event:
    delta = event.get("delta", {})
    if delta.get("type") != "input_json_delta":
        return event
    return {**event, "delta": {**delta, "partial_json": json.loads(delta["partial_json"])}}
