"""The requests: a small one, and Claude Code's own, turn by turn, of any size."""

import json
from typing import Any

import orjson

from .processes import ROOT

MODEL = "claude-sonnet-4-5"

_SIDE_BY_SIDE = 8

_RECORDED = ROOT / "tests" / "data" / "requests" / "tool-loop-turn6.json"


def small(text: str = "Say hello.", *, stream: bool = False) -> bytes:
    """A request of about 300 bytes."""
    system = "You are a helpful assistant. Answer in one short sentence, in the language of the question."
    body = {
        "model": MODEL,
        "max_tokens": 1024,
        "temperature": 0.7,
        "system": system,
        "messages": [{"role": "user", "content": text}],
        "metadata": {"user_id": "bench-0123456789"},
        "stream": stream,
    }
    return orjson.dumps(body)


def claude_code_sessions(size: int, *, sessions: int = 32, turns: int = 10) -> list[bytes]:
    """Claude Code's requests of about ``size`` bytes: the last turns of many sessions, eight of them side by side."""
    bodies: list[bytes] = []
    for first in range(0, sessions, _SIDE_BY_SIDE):
        group = [_session(size, turns, f"session-{first + n}") for n in range(_SIDE_BY_SIDE)]
        bodies += [session[turn] for turn in range(turns) for session in group]
    return bodies


def _session(size: int, turns: int, name: str) -> list[bytes]:
    """A recorded request, its tool loop gone on reading files until it is nearly that large, then with short turns."""
    body: dict[str, Any] = {**json.loads(_RECORDED.read_text())["body"], "stream": False}
    first, *messages = body["messages"]
    messages = [{**first, "content": [{"type": "text", "text": name}, *first["content"]]}, *map(_unmarked, messages)]
    body = {**body, "metadata": {"user_id": name}}
    source = "".join(f"{n}\t    value_{n} = compute(value_{n - 1}, key='{n:08x}')\n" for n in range(1, 60))
    missing = size - turns * 300 - len(orjson.dumps({**body, "messages": messages}))
    while missing > 300:
        messages += _pair(len(messages), "Read", {"file_path": f"/src/{name}.py"}, source[: missing - 250])
        missing -= len(orjson.dumps(messages[-2:]))
    requests = []
    for turn in range(turns):
        messages += _pair(len(messages), "Bash", {"command": f"make test-{turn}"}, "passed")
        *before, last = messages
        marked = {**last, "content": [{**last["content"][0], "cache_control": {"type": "ephemeral"}}]}
        requests.append(orjson.dumps({**body, "messages": [*before, marked]}))
    return requests


def _pair(number: int, name: str, input_: dict[str, Any], content: str) -> list[dict[str, Any]]:
    """A call of a tool and its result."""
    id_ = f"toolu_{number:024x}"
    call = {"type": "tool_use", "id": id_, "name": name, "input": input_}
    result = {"tool_use_id": id_, "type": "tool_result", "content": content}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]


def _unmarked(message: dict[str, Any]) -> dict[str, Any]:
    if isinstance(message["content"], str):
        return message
    blocks = [{k: v for k, v in block.items() if k != "cache_control"} for block in message["content"]]
    return {**message, "content": blocks}


def long_text(size: int) -> dict[str, Any]:
    """A request whose text has ``size`` bytes."""
    return _question("All work and no play. " * (size // 22))


def many_tools(count: int) -> dict[str, Any]:
    """A request with so many tools, each with a schema of the usual kind."""
    properties = {
        "path": {"type": "string", "description": "The absolute path of the file."},
        "limit": {"type": ["integer", "null"], "description": "How many lines.", "minimum": 1},
        "mode": {"enum": ["fast", "full"], "default": "fast"},
        "edits": {"type": "array", "items": {"type": "object", "properties": {"old": {"type": "string"}}}},
    }
    schema = {"type": "object", "properties": properties, "required": ["path"], "additionalProperties": False}
    tools = [{"name": f"tool_{n}", "description": "Reads a file. " * 20, "input_schema": schema} for n in range(count)]
    return {**_question("Use a tool."), "tools": tools}


def many_messages(count: int) -> dict[str, Any]:
    """A conversation of so many messages, half of them tool calls and their results."""
    messages: list[dict[str, Any]] = []
    for turn in range(count // 4):
        id_ = f"toolu_{turn:024x}"
        call = {"type": "tool_use", "id": id_, "name": "Read", "input": {"file_path": "/a"}}
        result = {"type": "tool_result", "tool_use_id": id_, "content": "The contents of the file."}
        messages += [
            {"role": "user", "content": "Read the file, please."},
            {"role": "assistant", "content": [{"type": "text", "text": "I read it."}, call]},
            {"role": "user", "content": [result]},
            {"role": "assistant", "content": "I have read it."},
        ]
    messages.append({"role": "user", "content": "Thank you."})
    tool = {"name": "Read", "description": "Reads.", "input_schema": {"type": "object", "properties": {}}}
    return {**_question(""), "messages": messages, "tools": [tool]}


def _question(text: str) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 1024, "messages": [{"role": "user", "content": text}]}
