"""A provider without tools, in every API: it refuses them, and calls what its prompt describes by a text."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from ccproxy.demo.responses import message_item, response, response_events
from ccproxy_middleware.toolkit.asgi import BufferedBody

REFUSAL = "registry.ollama.ai/library/gemma:2b does not support tools"
USAGE = {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}


def call_text(name: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


class Toolless:
    """An endpoint whose model answers as ``script`` says: a text for a body, by all that stands in it.

    Streams are cut into pieces of ``size`` characters. ``refuses``: a request with tools gets ``REFUSAL``.
    """

    def __init__(self, script: Callable[[str], str], *, size: int = 7, refuses: bool = True) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self._script = script
        self._size = size
        self._refuses = refuses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await BufferedBody.read(scope, receive, 1 << 24)).data
        self.bodies.append(body)
        self.paths.append(scope["path"])
        if self._refuses and any(body.get(name) for name in ("tools", "functions", "tool_choice")):
            error = {"error": {"message": REFUSAL, "type": "api_error", "param": None, "code": None}}
            return await _send(send, 400, b"application/json", [json.dumps(error).encode()])
        text = self._script(told(body))
        make = {"/v1/chat/completions": _chat, "/v1/responses": _response}.get(scope["path"], _message)
        whole, events = make(text, [text[at : at + self._size] for at in range(0, len(text), self._size)])
        if body.get("stream"):
            await _send(send, 200, b"text/event-stream", events)
        else:
            await _send(send, 200, b"application/json", [json.dumps(whole).encode()])


def told(body: Mapping[str, Any]) -> str:
    """What the model is asked last: the text of the last message."""
    content = body["messages" if "messages" in body else "input"][-1]["content"]
    return content if isinstance(content, str) else "".join(str(part.get("text") or "") for part in content)


async def _send(send: Send, status: int, kind: bytes, chunks: list[bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _chat(text: str, pieces: list[str]) -> tuple[dict[str, Any], list[bytes]]:
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "real"}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]
    chunks += [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": USAGE}]
    events = [
        b"data: " + json.dumps({**head, "object": "chat.completion.chunk", **c}).encode() + b"\n\n" for c in chunks
    ]
    return {**head, "choices": [choice], "usage": USAGE}, [*events, b"data: [DONE]\n\n"]


def _response(text: str, pieces: list[str]) -> tuple[dict[str, Any], list[bytes]]:
    usage = {"input_tokens": 20, "output_tokens": 4, "total_tokens": 24}
    whole = response({"id": "resp_1", "created_at": 1, "model": "real"}, [message_item("msg_1", text)], usage)
    events = response_events(whole, lambda _: pieces)
    return whole, [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


def _message(text: str, pieces: list[str]) -> tuple[dict[str, Any], list[bytes]]:
    cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    usage = {"input_tokens": 20, **cache, "output_tokens": 4}
    end = {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None}
    head = {"id": "msg_0123456789", "type": "message", "role": "assistant", "model": "real"}
    deltas: list[Any] = [{"type": "text_delta", "text": piece} for piece in pieces]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**head, "content": [], **end, "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": usage},
        {"type": "message_stop"},
    ]
    whole = {**head, "content": [{"type": "text", "text": text}], **end, "usage": usage}
    return whole, [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]
