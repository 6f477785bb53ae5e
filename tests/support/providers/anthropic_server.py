"""An endpoint that speaks Anthropic's own API, as a test tells it to: for what a client does, without the proxy."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from ccproxy_middleware.conversion.anthropic import message_events, new_message

Body = dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """An error in Anthropic's form."""

    message: str
    status: int = 400
    type: str = "invalid_request_error"
    headers: Mapping[str, str] | None = None


Content = list[dict[str, Any]]


class AnthropicServer:
    """The ASGI app. ``script`` gives the content or the refusal that answers a request's body.

    ``bodies`` and ``headers`` are those of all ``POST /v1/messages``, ``others`` the lines of all other requests.
    """

    def __init__(self, script: Callable[[Body], Content | Refusal]) -> None:
        self._script = script
        self.bodies: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.others: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = b""
        more = True
        while more:
            message = await receive()
            raw += message.get("body", b"")
            more = message.get("more_body", False)
        if scope["path"] != "/v1/messages":
            self.others.append(f"{scope['method']} {scope['path']}")
            return await _send(send, 404, {}, b"")
        body = json.loads(raw)
        self.bodies.append(body)
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        answer = self._script(body)
        if isinstance(answer, Refusal):
            error = {"type": "error", "error": {"type": answer.type, "message": answer.message}}
            return await _send(send, answer.status, answer.headers or {}, json.dumps(error).encode())
        stop = "tool_use" if any(block["type"] == "tool_use" for block in answer) else "end_turn"
        usage = {"input_tokens": 9, "output_tokens": 9}
        whole = {**new_message(body["model"], usage), "content": answer, "stop_reason": stop}
        if body.get("stream"):
            headers = {"content-type": "text/event-stream"}
            return await _send(send, 200, headers, b"".join(message_events(whole)))
        await _send(send, 200, {}, json.dumps(whole).encode())


async def _send(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    encoded = [
        (name.encode(), value.encode()) for name, value in {"content-type": "application/json", **headers}.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
