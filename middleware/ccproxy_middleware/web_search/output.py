"""The client's side of an answer that may combine several of the inner app's: a stream, or a whole message."""

from collections.abc import Mapping
from typing import Any, Protocol

from starlette.types import Message, Scope, Send

from ..toolkit.asgi import Headers, without_headers
from ..toolkit.errors import ApiError, StreamAborted, send_error
from ..toolkit.json import dumps, loads
from ..toolkit.sse import sse_event

Block = dict[str, Any]


class Output(Protocol):
    """The output. ``begun``: the client has got a part of it, so that a failure can't have a status of its own."""

    begun: bool

    async def start(self, start: Message, message: Mapping[str, Any]) -> None:
        """The first answer has begun with this response and this message."""
        ...

    async def start_block(self, block: Mapping[str, Any]) -> None: ...

    async def delta(self, delta: Mapping[str, Any]) -> None: ...

    async def stop_block(self) -> None: ...

    async def ping(self) -> None: ...

    async def end(self, event: Mapping[str, Any]) -> None:
        """The regular end, with its ``message_delta``."""
        ...

    async def fail(self, error: ApiError) -> None:
        """Raises StreamAborted if the client has got a part already."""
        ...

    async def relay(self, start: Message, body: bytes) -> None:
        """Pass a response that is not a message on unchanged, if nothing has been sent."""
        ...


class StreamOutput:
    """The events of a stream."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.begun = False
        self._scope = scope
        self._send = send
        self._blocks = 0

    async def start(self, start: Message, message: Mapping[str, Any]) -> None:
        headers = [
            *without_headers(start["headers"], b"content-length", b"content-type"),
            (b"content-type", b"text/event-stream; charset=utf-8"),
        ]
        self.begun = True
        await self._send({**start, "headers": headers})
        await self._event("message_start", message={**message, "content": []})

    async def start_block(self, block: Mapping[str, Any]) -> None:
        self._blocks += 1
        await self._event("content_block_start", index=self._blocks - 1, content_block=block)

    async def delta(self, delta: Mapping[str, Any]) -> None:
        await self._event("content_block_delta", index=self._blocks - 1, delta=delta)

    async def stop_block(self) -> None:
        await self._event("content_block_stop", index=self._blocks - 1)

    async def ping(self) -> None:
        await self._event("ping")

    async def end(self, event: Mapping[str, Any]) -> None:
        await self._event(**{**event, "kind": "message_delta"})
        await self._event("message_stop")
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, error: ApiError) -> None:
        if not self.begun:
            return await send_error(self._scope, self._send, error)
        await self._event("error", error=error.event()["error"])
        raise StreamAborted(error.message, error)

    async def relay(self, start: Message, body: bytes) -> None:
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})

    async def _event(self, kind: str, **fields: Any) -> None:
        frame = sse_event(kind, {**fields, "type": kind})
        await self._send({"type": "http.response.body", "body": frame, "more_body": True})


class WholeOutput:
    """A message that is sent when it is complete."""

    begun = False

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start: Message = {}
        self._message: dict[str, Any] = {}
        self._blocks: list[Block] = []
        self._pieces: list[str] = []  # of the last block

    async def start(self, start: Message, message: Mapping[str, Any]) -> None:
        self._start = start
        self._message = dict(message)

    async def start_block(self, block: Mapping[str, Any]) -> None:
        self._blocks.append(dict(block))
        self._pieces = []

    async def delta(self, delta: Mapping[str, Any]) -> None:
        add_delta(self._blocks[-1], self._pieces, delta)

    async def stop_block(self) -> None:
        finish_block(self._blocks[-1], self._pieces)

    async def ping(self) -> None:
        pass

    async def end(self, event: Mapping[str, Any]) -> None:
        more = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
        usage = {**(self._message.get("usage") or {}), **(event.get("usage") or {})}
        message = {**self._message, **more, **event["delta"], "content": self._blocks, "usage": usage}
        body = dumps(message)
        headers: Headers = [
            *without_headers(self._start["headers"], b"content-length", b"content-type"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def fail(self, error: ApiError) -> None:
        await send_error(self._scope, self._send, error)

    async def relay(self, start: Message, body: bytes) -> None:
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def add_delta(block: Block, pieces: list[str], delta: Mapping[str, Any]) -> None:
    """Add a delta to a block; its texts are collected in ``pieces``."""
    match delta.get("type"):
        case "text_delta":
            pieces.append(delta["text"])
        case "thinking_delta":
            pieces.append(delta["thinking"])
        case "input_json_delta":
            pieces.append(delta["partial_json"])
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        case "signature_delta":
            block["signature"] = delta["signature"]


def finish_block(block: Block, pieces: list[str]) -> None:
    """Put the collected texts into a block that is complete."""
    text = "".join(pieces)
    match block.get("type"):
        case "text" | "thinking" as kind:
            block[kind] = str(block.get(kind) or "") + text
        case "tool_use" | "server_tool_use" if text:
            try:
                block["input"] = loads(text)
            except ValueError:  # cut off
                block["input"] = block.get("input") or {}
