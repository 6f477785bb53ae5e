"""Adds ``safeguard_results`` to an Anthropic answer, in its ``message_delta`` or at the top level of its message."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.types import Message, Send

from ..toolkit.answers import MAX_ANSWER_BYTES
from ..toolkit.asgi import BufferedBody, Headers, get_header, without_headers
from ..toolkit.errors import ApiError, StreamAborted
from ..toolkit.json import dumps, loads
from ..toolkit.sse import MAX_EVENT_BYTES, SSEParser, sse_event
from .question import background
from .tool_calls import Call, ToolCalls
from .verdicts import KIND, UNSUPPORTED, Verdict, results

Ask = Callable[[str | None, Sequence[Call]], Awaitable[dict[str, Verdict]]]

_PING_INTERVAL = 10.0  # seconds
_PING = sse_event("ping", {"type": "ping"})
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LOOKED_AT = re.compile(rb'"message_delta"|"tool_use"|"input_json_delta"')


def asks_for_verdicts(request: Any) -> bool:
    """Whether a Messages request requests verdicts on the tool calls of its answer."""
    asked = request.get("safeguards") if isinstance(request, dict) else None
    return isinstance(asked, list) and any(isinstance(item, Mapping) and item.get("type") == KIND for item in asked)


class SafeguardedAnswer:
    """The ``send`` for one answer: passes it on, and holds its end until there are verdicts on the calls.

    judge: called for the verdicts, with the background of the question and the calls; None: they are reported to the
    client as unsupported. ``body`` is the client's request.
    """

    def __init__(self, send: Send, body: BufferedBody) -> None:
        self.judge: Ask | None = None
        self._send = send
        self._body = body
        self._calls = ToolCalls()
        self._start: Message | None = None  # held until a JSON body is complete
        self._passes = False  # an error, or not an answer
        self._stream = False
        self._rest = bytearray()  # of a JSON body, or of an incomplete event
        self._scanned = 0  # no event ends before this offset

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._on_start(message)
        elif message["type"] != "http.response.body" or self._passes:
            await self._send(message)
        elif self._stream:
            await self._on_events(message)
        else:
            await self._on_json(message)

    async def _on_start(self, message: Message) -> None:
        headers: Headers = list(message.get("headers", ()))
        kind = get_header(headers, b"content-type") or ""
        self._stream = kind.startswith("text/event-stream")
        encoded = (get_header(headers, b"content-encoding") or "identity") != "identity"
        is_json = kind.startswith("application/json")
        self._passes = message["status"] != 200 or encoded or not (self._stream or is_json)
        if self._passes:
            return await self._send(message)
        message = {**message, "headers": without_headers(headers, b"content-length", b"etag", b"content-md5")}
        if self._stream:
            await self._send(message)
        else:
            self._start = message

    async def _on_json(self, message: Message) -> None:
        self._rest += message.get("body", b"")
        assert self._start is not None  # noqa: S101
        if len(self._rest) > MAX_ANSWER_BYTES:  # it is passed on unchanged
            self._passes = True
            await self._send(self._start)
            return await self._send({**message, "body": bytes(self._rest)})
        if message.get("more_body", False):
            return
        body = bytes(self._rest)
        try:
            answer = loads(body)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and answer.get("type") == "message" and "safeguard_results" not in answer:
            self._calls.take_message(answer)
            found = await self._results(answer.get("stop_reason"))
            body = dumps({**answer, "safeguard_results": found})
        headers = [*self._start["headers"], (b"content-length", str(len(body)).encode())]
        await self._send({**self._start, "headers": headers})
        await self._send({**message, "body": body})

    async def _on_events(self, message: Message) -> None:
        body, more = message.get("body", b""), message.get("more_body", False)
        if not self._rest and body.endswith(b"\n\n") and not _LOOKED_AT.search(body):  # true of most events
            return await self._send(message)
        self._rest += body
        ready = b""
        for event in self._whole_events(last=not more):
            if _LOOKED_AT.search(event):
                for payload in self._payloads(event):
                    if payload.get("type") == "message_delta":
                        if ready:
                            await self._send({**message, "body": ready, "more_body": True})
                            ready = b""
                        event = await self._with_results(payload, event)
                    else:
                        self._calls.take_event(payload)
            ready += event
        await self._send({**message, "body": ready})

    def _whole_events(self, *, last: bool) -> list[bytes]:
        """The bytes of the complete events, each with its end; of the last message everything that is left."""
        events: list[bytes] = []
        begun = 0
        for found in _EVENT_END.finditer(self._rest, self._scanned):
            events.append(bytes(self._rest[begun : found.end()]))
            begun = found.end()
        del self._rest[:begun]
        self._scanned = max(0, len(self._rest) - 3)
        if last and self._rest:
            events.append(bytes(self._rest))
            self._rest.clear()
        if len(self._rest) > MAX_EVENT_BYTES:
            error = ApiError(502, "api_error", f"one event of the stream is over {MAX_EVENT_BYTES} bytes")
            raise StreamAborted(error.message, error)
        return events

    def _payloads(self, event: bytes) -> list[dict[str, Any]]:
        parser = SSEParser()
        payloads = []
        for data in [*parser.feed(event), *parser.finish()]:
            try:
                payload = loads(data)
            except ValueError:
                continue
            if isinstance(payload, dict):
                payloads.append(payload)
        return payloads

    async def _with_results(self, payload: dict[str, Any], event: bytes) -> bytes:
        """The frame of a ``message_delta`` with the results; unchanged if it is not the end, or has results."""
        delta = payload.get("delta")
        if not isinstance(delta, dict) or delta.get("stop_reason") is None or "safeguard_results" in delta:
            return event
        found = await self._results(delta.get("stop_reason"))
        return sse_event("message_delta", {**payload, "delta": {**delta, "safeguard_results": found}})

    async def _results(self, stop_reason: Any) -> list[dict[str, Any]]:
        """The verdicts on the calls. While they are computed, a stream gets pings."""
        if self.judge is None:
            return UNSUPPORTED
        calls = self._calls.ended(stop_reason)
        if not calls:
            return results({})
        told = await self._body.work(lambda: background(self._body.data))
        self._body.let_go()
        judging = asyncio.ensure_future(self.judge(told, calls))
        try:
            while not (await asyncio.wait((judging,), timeout=_PING_INTERVAL))[0]:
                if self._stream:
                    await self._send({"type": "http.response.body", "body": _PING, "more_body": True})
            return results(await judging)
        finally:
            if not judging.done():
                judging.cancel()
                await asyncio.wait((judging,))
