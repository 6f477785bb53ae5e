"""A stream as one Message, for a client that asked for no stream where the model gives nothing else."""

from typing import Any

from ...toolkit.json import loads
from ..anthropic.tool_calls import parse_arguments
from ..context import Context
from .stream import StreamConverter


def collect_stream(body: bytes, context: Context, request_id: str) -> dict[str, Any]:
    """The Message of a whole stream of chunks. Raises ApiError for one that failed."""
    converter = StreamConverter(context, request_id)
    frames = converter.feed(body)
    if not converter.finished and converter.error is None:
        frames += converter.finish()
    if converter.error is not None:
        raise converter.error
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
        if block["type"] == "tool_use":
            block["input"] = parse_arguments(text, cut_off=message["stop_reason"] == "max_tokens")
        else:
            block[block["type"]] = text
    return message
