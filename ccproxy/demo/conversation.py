"""The demo's client: a streamed Messages conversation with a tool call, and a check that everything arrived."""

import json
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ccproxy_middleware.toolkit.sse import SSEParser

MODEL = "claude-sonnet-5"
LIMIT_SECONDS = 20.0

READ_FILE = {
    "name": "read_file",
    "description": "Read a text file of the working directory.",
    "input_schema": {
        "type": "object",
        "properties": {"path": {"type": "string"}, "reason": {"type": "string"}},
        "required": ["path"],
    },
}

Print = Callable[[str], None]


@dataclass(slots=True)
class Message:
    """The contents of one streamed answer."""

    id: str = ""
    model: str = ""
    content: list[dict[str, Any]] = field(default_factory=list)
    stop_reason: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    complete: bool = False  # message_stop came
    outcome: str | None = None  # of boost

    def text(self) -> str:
        return "".join(block["text"] for block in self.content if block["type"] == "text")

    def tool_uses(self) -> list[dict[str, Any]]:
        return [block for block in self.content if block["type"] == "tool_use"]


class Failed(Exception):
    """The proxy answered with an error, or broke off the stream."""


async def converse(base_url: str, api_key: str, write: Print, *, boost: bool = False) -> list[str]:
    """Hold the conversation with the proxy at ``base_url`` and print it as it streams.

    ``boost``: expect a planner behind the proxy.

    Returns what did not arrive as it should; nothing if everything did.
    """
    question = "Which number stands in note.txt?"
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    headers = {"x-api-key": api_key, "anthropic-version": "2023-06-01"}
    with tempfile.TemporaryDirectory(prefix="cc-boost-demo-") as directory:
        number = _write_note(Path(directory))
        async with httpx.AsyncClient(
            base_url=base_url, headers=headers, timeout=LIMIT_SECONDS, trust_env=False
        ) as client:
            write(f"\nyou      {question}\n")
            try:
                first = await _ask(client, messages, write)
                missing = check_call(first)
                if missing:
                    return missing
                messages.append({"role": "assistant", "content": first.content})
                results = [_run(use, Path(directory), write) for use in first.tool_uses()]
                messages.append({"role": "user", "content": results})
                second = await _ask(client, messages, write)
            except (httpx.HTTPError, Failed, ValueError) as exc:
                write("\n")
                return [f"the conversation broke off: {exc or type(exc).__name__}"]
    if boost:
        return check_answer(first, second, number, boost=True) + check_boost(first, second)
    return check_answer(first, second, number)


def _write_note(directory: Path) -> str:
    """Write the file that the question is about. Returns a number that only the file contains."""
    number = str(secrets.randbelow(900_000) + 100_000)
    (directory / "note.txt").write_text(f"The number is {number}.\n", encoding="utf-8")
    return number


def check_call(message: Message) -> list[str]:
    """What is missing from the answer with the tool call."""
    missing = _check_any(message)
    if not message.text():
        missing.append("the text before the tool call")
    if [(use["name"], use["input"].get("path")) for use in message.tool_uses()] != [("read_file", "note.txt")]:
        missing.append("one tool call, read_file of note.txt")
    if message.stop_reason != "tool_use":
        missing.append(f"stop reason tool_use (it was {message.stop_reason})")
    return missing


def check_boost(first: Message, second: Message) -> list[str]:
    """What boost failed to do: it should guide the tool call, and give the final answer itself."""
    return [
        f"the header x-boost-outcome: {wanted} (it was {message.outcome})"
        for wanted, message in (("guidance", first), ("summary", second))
        if message.outcome != wanted
    ]


def check_answer(first: Message, second: Message, number: str, *, boost: bool = False) -> list[str]:
    """What is missing from the final answer. With boost, the first turn's usage includes the planner's and the
    provider's.
    """
    missing = _check_any(second)
    if number not in second.text():
        missing.append("the number from the file in the final text")
    if second.stop_reason != "end_turn":
        missing.append(f"stop reason end_turn (it was {second.stop_reason})")
    if second.id == first.id:
        missing.append("a message id of its own for each answer")
    if not boost and second.usage.get("input_tokens", 0) <= first.usage.get("input_tokens", 0):
        missing.append("more input tokens in the second turn than in the first")
    return missing


def _check_any(message: Message) -> list[str]:
    missing = []
    if not message.complete:
        missing.append("the end of the stream, message_stop")
    if message.model != MODEL:
        missing.append(f"the model's name as it was asked for, {MODEL} (it was {message.model})")
    for name in ("input_tokens", "output_tokens"):
        if not message.usage.get(name):
            missing.append(f"usage.{name}")
    return missing


async def _ask(client: httpx.AsyncClient, messages: list[dict[str, Any]], write: Print) -> Message:
    """Send the conversation and collect the streamed answer, printing it as it arrives."""
    request = {"model": MODEL, "max_tokens": 1024, "stream": True, "tools": [READ_FILE], "messages": messages}
    message = Message()
    parser = SSEParser()
    write("\nmodel    ")
    async with client.stream("POST", "/v1/messages", json=request) as response:
        if response.status_code != 200:
            raise Failed(f"HTTP {response.status_code}: {(await response.aread()).decode(errors='replace')[:500]}")
        message.outcome = response.headers.get("x-boost-outcome")
        async for chunk in response.aiter_raw():
            for data in parser.feed(chunk):
                _take(json.loads(data), message, write)
    usage = f"{message.usage.get('input_tokens')} tokens in, {message.usage.get('output_tokens')} out"
    boost = f", boost: {message.outcome}" if message.outcome else ""
    write(f"\n         ({message.stop_reason}, {usage}{boost})\n")
    return message


def _take(event: dict[str, Any], message: Message, write: Print) -> None:
    """Add one event to the message."""
    match event["type"]:
        case "message_start":
            message.id = event["message"]["id"]
            message.model = event["message"]["model"]
            message.usage.update(_counts(event["message"]["usage"]))
        case "content_block_start":
            block = dict(event["content_block"])
            if block["type"] == "tool_use":
                block["input"] = ""  # JSON text until the block stops
                write(f"\ncall     {block['name']} ")
            message.content.append(block)
        case "content_block_delta" if event["delta"]["type"] == "text_delta":
            message.content[-1]["text"] += event["delta"]["text"]
            write(event["delta"]["text"].replace("\n", "\n         "))
        case "content_block_delta" if event["delta"]["type"] == "signature_delta":
            message.content[-1]["signature"] = event["delta"]["signature"]
        case "content_block_delta" if event["delta"]["type"] == "input_json_delta":
            message.content[-1]["input"] += event["delta"]["partial_json"]
            write(event["delta"]["partial_json"])
        case "content_block_stop" if message.content[-1]["type"] == "tool_use":
            message.content[-1]["input"] = json.loads(message.content[-1]["input"] or "{}")
        case "message_delta":
            message.stop_reason = event["delta"]["stop_reason"]
            message.usage.update(_counts(event["usage"]))
        case "message_stop":
            message.complete = True
        case "error":
            raise Failed(event["error"]["message"])


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in usage.items() if isinstance(count, int) and count > 0}


def _run(use: dict[str, Any], directory: Path, write: Print) -> dict[str, Any]:
    """Run the tool call, only in the demo's own directory, and return its result block."""
    text = (directory / Path(use["input"]["path"]).name).read_text(encoding="utf-8")
    write(f"\ntool     {text}")
    return {"type": "tool_result", "tool_use_id": use["id"], "content": text}
