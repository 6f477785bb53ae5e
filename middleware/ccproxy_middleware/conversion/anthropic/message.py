"""Messages in the client's format: empty, refused, as the events of a stream, or collected from these."""

import secrets
from typing import Any

from ...toolkit.json import dumps, loads
from ..context import Context
from .arguments import parse_arguments
from .events import EventWriter
from .stops import StopReason


def new_message(model: str, usage: dict[str, Any]) -> dict[str, Any]:
    """A Message without content that hasn't ended yet."""
    return {
        "id": "msg_" + secrets.token_hex(12),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": usage,
    }


def start_usage(context: Context) -> dict[str, Any]:
    """The usage of ``message_start``: an estimate of the input, and nothing yet."""
    return {
        "input_tokens": context.estimate_input(),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }


def empty_message(context: Context, *, stop_reason: StopReason = "end_turn") -> dict[str, Any]:
    """An empty Message, returned without a request to the provider."""
    return {**new_message(context.model, start_usage(context)), "stop_reason": stop_reason}


def refusal_message(explanation: str, context: Context) -> dict[str, Any]:
    """The Message with which Claude reports that a prompt was refused."""
    details = {"type": "refusal", "category": None, "explanation": explanation}
    return {**empty_message(context, stop_reason="refusal"), "stop_details": details}


def message_events(message: dict[str, Any]) -> list[bytes]:
    """A complete Message as the frames of a stream, for a provider that answers a streaming request with JSON.

    The first frame is ``message_start``.
    """
    usage = message["usage"]
    counts = {name: n for name, n in usage.items() if name != "service_tier"}
    start = {name: n for name, n in usage.items() if name != "output_tokens_details"}
    writer = EventWriter()
    writer.message_start({**new_message(message["model"], {**start, "output_tokens": 0}), "id": message["id"]})
    calls: dict[str, dict[str, Any]] = {}  # of web searches
    for block in message["content"]:
        match block["type"]:
            case "server_tool_use":
                calls[block["id"]] = block
            case "web_search_tool_result":
                writer.search(calls[block["tool_use_id"]], block)
            case "thinking":
                writer.start_thinking()
                if block["thinking"]:
                    writer.thinking(block["thinking"])
                writer.signature(block["signature"])
            case "text":
                writer.start_text()
                writer.text(block["text"])
            case _:
                writer.start_tool_use(block["id"], block["name"])
                writer.input_json(dumps(block["input"]).decode())
        writer.stop_block()
    outcome = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    if "safeguard_results" in message:
        outcome["safeguard_results"] = message["safeguard_results"]
    writer.message_end(outcome, counts)
    return writer.take()


def collect_message(frames: list[bytes]) -> dict[str, Any]:
    """The Message that the frames of a whole stream make up."""
    message: dict[str, Any] = {}
    texts: list[list[str]] = []  # of each block, in pieces
    for frame in frames:
        event = loads(frame.partition(b"\ndata: ")[2])
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
                texts.append([])
            case "content_block_delta":
                delta = event["delta"]
                if delta["type"] == "signature_delta":
                    message["content"][-1]["signature"] = delta["signature"]
                else:
                    texts[-1].append(delta.get("text") or delta.get("thinking") or delta.get("partial_json") or "")
            case "message_delta":
                message |= event["delta"]
                message["usage"] = {**message["usage"], **event["usage"]}
    for block, pieces in zip(message["content"], texts, strict=True):
        text = "".join(pieces)
        if block["type"] == "web_search_tool_result":
            continue
        if block["type"] in ("tool_use", "server_tool_use"):
            block["input"] = parse_arguments(text, cut_off=message["stop_reason"] == "max_tokens")
        else:
            block[block["type"]] = text
    return message
