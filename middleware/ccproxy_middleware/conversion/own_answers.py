"""Answers that are sent to the client without converting an answer of the inner app."""

from typing import Any

from starlette.types import Scope, Send

from ..toolkit.asgi import Headers
from ..toolkit.errors import request_id
from ..toolkit.json import dumps
from .anthropic import empty_message, message_events
from .context import ConvertedRequest


async def send_prewarmed(scope: Scope, request: ConvertedRequest, send: Send) -> None:
    """Answer ``max_tokens: 0``, which warms Anthropic's prompt cache; here there is nothing to do."""
    message = empty_message(request.context, stop_reason="max_tokens")
    if not request.stream:
        return await send_json(scope, send, message)
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    await _send(scope, send, headers, b"".join(message_events(message)))


async def send_json(scope: Scope, send: Send, answer: dict[str, Any]) -> None:
    """Send an answer with this object."""
    body = dumps(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await _send(scope, send, headers, body)


async def _send(scope: Scope, send: Send, headers: Headers, body: bytes) -> None:
    headers = [*headers, (b"request-id", request_id(scope).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
