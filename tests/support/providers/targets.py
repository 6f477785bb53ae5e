"""Toy targets of a RoutingMiddleware: ASGI apps that answer, or fail, as they are told."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from ccproxy_middleware.toolkit.asgi import BufferedBody
from ccproxy_middleware.toolkit.errors import ApiError, StreamAborted, error_event, send_error

Behaviour = Callable[["Target", Scope, Send], Awaitable[None]]


def event(payload: dict[str, Any]) -> bytes:
    """A frame of an Anthropic stream."""
    return f"event: {payload['type']}\ndata: {json.dumps(payload)}\n\n".encode()


USAGE = {
    "input_tokens": 5,
    "output_tokens": 2,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
}
PING = event({"type": "ping"})


def message(text: str) -> dict[str, Any]:
    """An Anthropic message."""
    return {
        "id": f"msg_{text}",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": USAGE,
    }


def begin(text: str) -> bytes:
    """The message_start of a stream."""
    return event({"type": "message_start", "message": {**message(text), "content": [], "stop_reason": None}})


def frames(text: str) -> list[bytes]:
    """A whole stream that says a text in two deltas, each event by itself."""
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    parts = [text[:1], text[1:]] if len(text) > 1 else [text]
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}} for part in parts
    ]
    end = {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None}
    return [
        begin(text),
        PING,
        event(start),
        *(event(delta) for delta in deltas),
        event({"type": "content_block_stop", "index": 0}),
        event({"type": "message_delta", "delta": end, "usage": USAGE}),
        event({"type": "message_stop"}),
    ]


class Target:
    """An upstream by name. It does what ``behaviours`` say in turn, the last one for ever; its answer is its name."""

    def __init__(self, name: str, *behaviours: Behaviour) -> None:
        self.name = name
        self.requests: list[dict[str, Any]] = []
        self.scopes: list[Scope] = []
        self.left = 0  # exchanges that ended by their client's leaving
        self._behaviours = list(behaviours) or [answers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await BufferedBody.read(scope, receive, 1 << 24)
        await body()
        self.scopes.append(scope)
        self.requests.append(body.data)
        behaviour = self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                while (await body())["type"] != "http.disconnect":
                    pass
                self.left += 1
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            try:
                await behaviour(self, scope, send)
            except Exception as error:
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    @property
    def asked(self) -> int:
        """How many requests it has got."""
        return len(self.requests)


async def start(send: Send, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
    """The start of a response."""
    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode()), *told]})


async def more(send: Send, data: bytes) -> None:
    """A piece of a body that goes on."""
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def answers(target: Target, scope: Scope, send: Send) -> None:
    """A good answer, streamed where it is asked for."""
    if target.requests[-1].get("stream") is not True:
        await start(send, kind="application/json")
        return await send({"type": "http.response.body", "body": json.dumps(message(target.name)).encode()})
    await start(send)
    for frame in frames(target.name):
        await more(send, frame)
    await send({"type": "http.response.body", "body": b""})


def status(code: int, type_: str = "api_error", words: str = "no", **headers: str) -> Behaviour:
    """An error in Anthropic's form."""

    async def behave(target: Target, scope: Scope, send: Send) -> None:
        await start(send, code, "application/json", **headers)
        error = {"type": "error", "error": {"type": type_, "message": f"{words} ({target.name})"}}
        await send({"type": "http.response.body", "body": json.dumps(error).encode()})

    return behave


def tells(error: ApiError) -> Behaviour:
    """An error of a layer or endpoint of ours."""

    async def behave(target: Target, scope: Scope, send: Send) -> None:
        await send_error(scope, send, error)

    return behave


def breaks_off(pieces: int, error: ApiError | None = None, *, told: bool = True, pause: float = 0.0) -> Behaviour:
    """An answer that ends after so many events, with an ``error`` event where it is ``told``; or half a whole one."""

    async def behave(target: Target, scope: Scope, send: Send) -> None:
        failure = error or ApiError(502, "api_error", f"{target.name} has broken off", reason="server")
        if target.requests[-1].get("stream") is True:
            await start(send)
            for frame in frames(target.name)[:pieces]:
                await more(send, frame)
            await anyio.sleep(pause)
            if told:
                await more(send, error_event(scope, failure, cut=False))
        else:
            await start(send, kind="application/json", content_length="500")
            await more(send, json.dumps(message(target.name)).encode()[: 10 * pieces])
        raise StreamAborted(failure.message, failure)

    return behave


def waits(seconds: float, then: Behaviour = answers) -> Behaviour:
    """Silence before what follows."""

    async def behave(target: Target, scope: Scope, send: Send) -> None:
        await anyio.sleep(seconds)
        await then(target, scope, send)

    return behave


async def raises(target: Target, scope: Scope, send: Send) -> None:
    """A bug."""
    raise ZeroDivisionError(target.name)
