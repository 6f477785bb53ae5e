"""An endpoint that speaks Anthropic's own API, as a test tells it to: for what a client does, without the proxy."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from ccproxy_middleware.conversion.anthropic import message_events, new_message

from .anthropic_rules import refusal_of, signature

Body = dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """An error in Anthropic's form."""

    message: str
    status: int = 400
    type: str = "invalid_request_error"
    headers: Mapping[str, str] | None = None


Content = list[dict[str, Any]]

TOLD = {
    "anthropic-organization-id": "org-1",
    "anthropic-ratelimit-requests-remaining": "49",
    "set-cookie": "__cf_bm=1",
    "server": "cloudflare",
}
"""Headers of a strict server's answers, beside ``request-id``."""


class AnthropicServer:
    """The ASGI app. ``script`` gives the content or the refusal that answers a request's body.

    ``bodies``, ``raws`` and ``headers`` are those of all ``POST /v1/messages``, ``others`` the lines of all other
    requests. With ``strict`` it refuses what Anthropic refuses of a conversation, signs its thinking, and counts
    tokens. With ``credentials`` every other ``x-api-key`` or bearer token gets a 401. ``cut``: a stream breaks off
    after so many of its events. ``salt`` makes its signatures others than another server's; ``signed`` are they.
    """

    def __init__(
        self,
        script: Callable[[Body], Content | Refusal],
        *,
        strict: bool = False,
        credentials: Collection[str] = (),
        cut: int | None = None,
        salt: str = "",
    ) -> None:
        self.script = script
        self._strict = strict
        self.credentials = credentials
        self._cut = cut
        self._salt = salt
        self.signed: list[str] = []
        self.bodies: list[Body] = []
        self.raws: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.refused: list[str] = []  # words of refusals that the script has not made
        self.others: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = b""
        more = True
        while more:
            message = await receive()
            raw += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        answered = {**TOLD, "request-id": f"req_{len(self.headers)}"} if self._strict else {}
        refusal = self._entry(headers)
        if scope["path"] != "/v1/messages":
            self.others.append(f"{scope['method']} {scope['path']}")
            if refusal is None and self._strict:
                return await self._other(scope, raw, headers, answered, send)
            return await _send(send, 404, {}, b"")
        self.raws.append(raw)
        self.headers.append(headers)
        body = json.loads(raw)
        self.bodies.append(body)
        answer = refusal or self._refusal(body) or self.script(body)
        if isinstance(answer, Refusal):
            return await _refuse(send, answer, answered)
        for block in answer if self._strict else ():
            if block["type"] == "thinking":
                block.setdefault("signature", signature(block["thinking"], self._salt))
                self.signed.append(block["signature"])
        stop = "tool_use" if any(block["type"] == "tool_use" for block in answer) else "end_turn"
        usage = {"input_tokens": 9, "output_tokens": 9}
        whole = {**new_message(body["model"], usage), "content": answer, "stop_reason": stop}
        if body.get("stream"):
            headers = {**answered, "content-type": "text/event-stream"}
            events = list(message_events(whole))
            if self._cut is not None:
                return await _send_half(send, headers, b"".join(events[: self._cut]))
            return await _send(send, 200, headers, b"".join(events))
        await _send(send, 200, answered, json.dumps(whole).encode())

    async def _other(
        self, scope: Scope, raw: bytes, headers: dict[str, str], answered: dict[str, str], send: Send
    ) -> None:
        if scope["path"] == "/v1/messages/count_tokens":
            self.headers.append(headers)
            body = json.loads(raw)
            self.bodies.append(body)
            if (refusal := self._refusal(body)) is not None:
                return await _refuse(send, refusal, answered)
            return await _send(send, 200, answered, b'{"input_tokens":12}')
        if scope["path"] == "/v1/models":
            models = [{"type": "model", "id": "claude-sonnet-4-5", "display_name": "S", "created_at": "2025-09-29"}]
            page = {"data": models, "has_more": False, "first_id": models[0]["id"], "last_id": models[0]["id"]}
            return await _send(send, 200, answered, json.dumps(page).encode())
        await _refuse(send, Refusal("Not found", 404, "not_found_error"), answered)

    def _entry(self, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request is not let in."""
        if not self.credentials:
            return None
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if not {headers.get("x-api-key"), bearer} & set(self.credentials):
            self.refused.append("invalid x-api-key")
            return Refusal("invalid x-api-key", 401, "authentication_error")
        if bearer and "oauth" not in headers.get("anthropic-beta", ""):
            self.refused.append("OAuth authentication is currently not supported.")
            return Refusal("OAuth authentication is currently not supported.", 401, "authentication_error")
        return None

    def _refusal(self, body: Body) -> Refusal | None:
        words = refusal_of(body, self._salt) if self._strict else None
        if words is not None:
            self.refused.append(words)
        return None if words is None else Refusal(words)


async def _refuse(send: Send, refusal: Refusal, answered: Mapping[str, str]) -> None:
    error = {"type": "error", "error": {"type": refusal.type, "message": refusal.message}}
    await _send(send, refusal.status, {**answered, **(refusal.headers or {})}, json.dumps(error).encode())


async def _send_half(send: Send, headers: Mapping[str, str], body: bytes) -> None:
    """Begin an answer and break it off."""
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _send(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    encoded = [
        (name.encode(), value.encode()) for name, value in {"content-type": "application/json", **headers}.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
