"""Chat completion chunks for the tests of the stream converter, and what comes out of it in short form."""

import json
from collections.abc import Iterable
from typing import Any

from ccproxy_middleware.conversion.chat.stream import StreamConverter
from ccproxy_middleware.conversion.context import Context

from .grammar import check_stream

REQUEST_ID = "req_0123456789abcdef"


def chunk(delta: Any = None, finish: Any = None, **fields: Any) -> dict[str, Any]:
    """One chunk with one choice."""
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], **fields}


def text(content: str, finish: str | None = None) -> dict[str, Any]:
    return chunk({"content": content}, finish)


def call(arguments: Any = None, *, name: Any = None, id: Any = None, index: Any = None, **extra: Any) -> dict[str, Any]:
    """One item of ``tool_calls``; what is None is left out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    item = {key: value for key, value in (("index", index), ("id", id)) if value is not None}
    return {**item, "function": function, **extra}


def calls(*items: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return chunk({"tool_calls": list(items)}, finish)


def sse(*chunks: Any, done: bool = True) -> bytes:
    """The bytes of a stream; a chunk that is a str is sent as it is."""
    datas = [item if isinstance(item, str) else json.dumps(item) for item in chunks] + ["[DONE]"] * done
    return "".join(f"data: {data}\n\n" for data in datas).encode()


def convert(context: Context, *pieces: bytes) -> list[dict[str, Any]]:
    """The checked events of a stream that is read in these pieces and then ends."""
    converter = StreamConverter(context, REQUEST_ID)
    frames = [frame for piece in pieces for frame in converter.feed(piece)]
    frames += converter.finish()
    assert converter.started
    assert converter.finished
    return check_stream(b"".join(frames))


def blocks(events: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Each block in short: ``["text", ..]``, ``["thinking", ..]`` or ``["tool_use", id, name, arguments]``."""
    found: list[list[str]] = []
    for event in events:
        if event["type"] == "content_block_start":
            block = event["content_block"]
            found.append([block["type"], *((block["id"], block["name"]) if block["type"] == "tool_use" else ()), ""])
        elif event["type"] == "content_block_delta" and event["delta"]["type"] != "signature_delta":
            delta = event["delta"]
            found[-1][-1] += delta.get("text") or delta.get("thinking") or delta.get("partial_json")
    return found


def signatures(events: Iterable[dict[str, Any]]) -> list[str]:
    """The signatures of the thinking blocks."""
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return [delta["signature"] for delta in deltas if delta["type"] == "signature_delta"]


def ending(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The ``message_delta``'s delta and usage in one, or the ``error`` of a stream that failed."""
    if events[-1]["type"] == "error":
        error: dict[str, Any] = events[-1]["error"]
        return error
    return {**events[-2]["delta"], **events[-2]["usage"]}
