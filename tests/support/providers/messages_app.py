"""An inner app that answers Messages requests, streamed or whole, with what a test has scripted."""

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from starlette.types import Receive, Scope, Send

from ccproxy_middleware.conversion.anthropic import message_events, new_message
from ccproxy_middleware.toolkit.asgi import BufferedBody

Content: TypeAlias = list[dict[str, Any]]
USAGE = {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 2, "output_tokens": 5}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def call(name: str, id: str = "toolu_1", **input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


class MessagesApp:
    """``script``: the content of one answer after the other, or what makes it of the request.

    A content may be an HTTP error instead, as a pair of its status and its message. ``stop``: the stop reason where it
    is not that of the content. ``size``: the bytes of each piece of the body.
    """

    def __init__(
        self,
        *script: Content | tuple[int, str],
        answer: Callable[[dict[str, Any]], Content] | None = None,
        stop: str | None = None,
        size: int = 1 << 20,
        streams: bool = True,
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        self._script = list(script)
        self._answer = answer
        self._stop = stop
        self._size = size
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = (await BufferedBody.read(scope, receive, 1 << 24)).data
        self.requests.append(request)
        content = self._answer(request) if self._answer is not None else self._script.pop(0)
        if isinstance(content, tuple):
            status, message = content
            error = {"type": "error", "error": {"type": "api_error", "message": message}}
            return await self._send(send, status, b"application/json", [json.dumps(error).encode()])
        calls = any(block["type"] == "tool_use" for block in content)
        message_ = {
            **new_message(request["model"], dict(USAGE)),
            "content": content,
            "stop_reason": self._stop or ("tool_use" if calls else "end_turn"),
        }
        if request.get("stream") and self._streams:
            return await self._send(send, 200, b"text/event-stream", message_events(message_))
        await self._send(send, 200, b"application/json", [json.dumps(message_).encode()])

    async def _send(self, send: Send, status: int, kind: bytes, pieces: Iterable[bytes]) -> None:
        body = b"".join(pieces)
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for at in range(0, len(body), self._size):
            await send({"type": "http.response.body", "body": body[at : at + self._size], "more_body": True})
        await send({"type": "http.response.body", "body": b""})
