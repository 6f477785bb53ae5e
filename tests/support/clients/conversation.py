"""A session of Claude Code's, turn by turn, put together of recorded requests."""

import json
from collections.abc import Iterator
from typing import Any

from ..paths import DATA

REQUESTS = DATA / "requests"
MARK = {"type": "ephemeral"}

Message = dict[str, Any]


def recorded(name: str) -> dict[str, Any]:
    """The body of a request that Claude Code sent."""
    body: dict[str, Any] = json.loads((REQUESTS / f"{name}.json").read_text())["body"]
    return body


def unmarked(message: Message) -> Message:
    if isinstance(message["content"], str):
        return message
    return {**message, "content": [{k: v for k, v in b.items() if k != "cache_control"} for b in message["content"]]}


def conversation() -> list[Message]:
    """Calls in a row, parallel calls with results out of order, an image, a PDF, thinking, reminders of the system."""
    messages: list[Message] = recorded("tool-loop-turn6")["messages"]
    for name in ("tool-parallel-next", "tool-read-png", "tool-read-pdf-parallel", "thinking-loop"):
        start = next(n for n, m in enumerate(recorded(name)["messages"]) if m["role"] == "assistant")
        messages += recorded(name)["messages"][start:]
    return [unmarked(message) for message in messages]


def turns() -> Iterator[dict[str, Any]]:
    """The requests of the conversation, each with what came before, its own billing header, and the mark moved on."""
    request = recorded("tool-loop-turn6")
    messages = conversation()
    ends = [n for n, m in enumerate(messages) if m["role"] == "user"]
    for turn, end in enumerate(ends):
        said = messages[: end + 1]
        *blocks, last = said[-1]["content"]
        said[-1] = {**said[-1], "content": [*blocks, {**last, "cache_control": MARK}]}
        if messages[end + 1 : end + 2] and messages[end + 1]["role"] == "system":
            said.append(messages[end + 1])
        header = {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1.197.{turn:03x}"}
        yield {**request, "messages": said, "system": [header, *request["system"][1:]]}
