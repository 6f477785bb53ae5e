"""The requests: a small one, and Claude Code's own of any size."""

import json
from typing import Any

import orjson

from .processes import ROOT

MODEL = "claude-sonnet-4-5"

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


def claude_code(size: int, *, stream: bool = False) -> bytes:
    """A recorded request of Claude Code's, its tool loop gone on reading files until it has ``size`` bytes."""
    body: dict[str, Any] = {**json.loads(_RECORDED.read_text())["body"], "stream": stream}
    source = "".join(f"{n:>6}→    value_{n} = compute(value_{n - 1}, key='{n:08x}')\n" for n in range(1, 60))
    missing = size - len(orjson.dumps(body))
    turn = 0
    while missing > 200:
        id_ = f"toolu_{turn:024x}"
        call = {"type": "tool_use", "id": id_, "name": "Read", "input": {"file_path": f"/src/module_{turn}.py"}}
        result = {"type": "tool_result", "tool_use_id": id_, "content": source[: missing - 200]}
        pair = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
        body["messages"] = [*body["messages"], *pair]
        missing -= len(orjson.dumps(pair))
        turn += 1
    return orjson.dumps(body)


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
