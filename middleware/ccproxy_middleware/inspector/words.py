"""A one-line summary of a request: the beginning of the user's last text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_WORDS = 160  # characters
MAX_AFTER = 80
WORDS_COST = 4 * (MAX_WORDS + MAX_AFTER) + 300  # bytes that a Words takes at most

_MAX_LOOKED_AT = 4000  # characters of a text
_ADDED = re.compile(r"\s*<(system-reminder|local-command-\w+|command-\w+|bash-\w+)>.*?</\1>", re.DOTALL)
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Words:
    """``said``: the beginning of a user's last text. ``after``: the tools whose results followed it, if any."""

    said: str | None = None
    after: str | None = None


def read_words(body: Any) -> Words:
    """From the parsed body of a request of Messages, Chat Completions or Responses; empty for anything else."""
    if not isinstance(body, dict):
        return Words()
    turns = body.get("messages", body.get("input"))
    if isinstance(turns, str):
        return Words(_line(turns, MAX_WORDS))
    if not isinstance(turns, list):
        return Words()
    results: list[str] = []
    for turn in reversed(turns):
        if not isinstance(turn, dict):
            continue
        said = [text for text in _texts(turn) if text] if turn.get("role") == "user" else []
        if said:
            return Words(_line(said[-1], MAX_WORDS), _after(turns, results))
        results += _results(turn)
    return Words(None, _after(turns, results))


def _texts(turn: dict[str, Any]) -> Iterator[str]:
    """The texts of a turn, without those that the client adds by itself."""
    content = turn.get("content")
    for part in content if isinstance(content, list) else [content]:
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            yield _ADDED.sub("", text[:_MAX_LOOKED_AT]).strip()


def _results(turn: dict[str, Any]) -> list[str]:
    """The ids of the calls whose results are in a turn."""
    if turn.get("role") == "tool" or turn.get("type") == "function_call_output":
        ids = [turn.get("tool_call_id", turn.get("call_id"))]
    else:
        content = turn.get("content")
        blocks = content if isinstance(content, list) else []
        ids = [block.get("tool_use_id") for block in blocks if isinstance(block, dict)]
    return [id_ for id_ in ids if isinstance(id_, str)]


def _after(turns: list[Any], results: list[str]) -> str | None:
    """The names of the tools that were called last, in the order of their calls, each once."""
    if not results:
        return None
    wanted = set(results)
    names: dict[str, None] = {}
    for turn in reversed(turns):
        found = [name for id_, name in _calls(turn) if id_ in wanted] if isinstance(turn, dict) else []
        if found:
            names |= dict.fromkeys(found)
            break
    return _line(", ".join(names), MAX_AFTER) if names else None


def _calls(turn: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    content, calls = turn.get("content"), turn.get("tool_calls")
    candidates = [*(content if isinstance(content, list) else ()), *(calls if isinstance(calls, list) else ()), turn]
    for call in candidates:
        if not isinstance(call, dict):
            continue
        function = call.get("function")
        name = function.get("name") if isinstance(function, dict) else call.get("name")
        if isinstance(name, str):
            yield call.get("call_id", call.get("id")), name


def _line(text: str, limit: int) -> str:
    line = _SPACE.sub(" ", text[: 4 * limit]).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"
