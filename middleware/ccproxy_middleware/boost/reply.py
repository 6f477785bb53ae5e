"""The client's side of one boosted request: what is sent to it, and when.

Nothing is sent before there is content, so that a failure still gets a real status. Only an Anthropic stream is started
with ``message_start`` when the silence lasts too long, and gets pings; after that a failure is an ``error`` event, and
the body never ends cleanly.
"""

import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Any

import anyio
from starlette.types import Message, Scope, Send

from ..conversion.chat import StreamConverter, convert_response
from ..conversion.context import Context
from ..toolkit.asgi import Headers
from ..toolkit.errors import ApiError, StreamAborted, header_value, request_id, send_error
from ..toolkit.json import dumps
from ..toolkit.write_lock import WriteLock
from .dialect import DONE, Dialect
from .responses import SummaryResponse
from .usage import Usage, add_to_openai, add_to_responses

_STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Reply:
    """Sends the answer. Writers send only whole events, so a ping may come between any two of them.

    model: the client's name for the model. planner: the model that writes final answers. committed: the response has
    started. done: it is complete, or aborted. opened_early: message_start has been sent before there was an answer.
    """

    def __init__(
        self,
        scope: Scope,
        send: Send,
        dialect: Dialect,
        *,
        model: str,
        planner: str,
        stream: bool,
        include_usage: bool,
        estimate_input: Callable[[], int],
    ) -> None:
        self.stream = stream
        self.committed = False
        self.done = False
        self.aborted = False
        self.opened_early = False
        self._scope = scope
        self._send = send
        self._dialect = dialect
        self._planner = planner
        self._include_usage = include_usage
        self._context = Context(model=model, estimate_input=estimate_input)
        self._request_id = request_id(scope)
        self._converter = (
            StreamConverter(self._context, self._request_id) if dialect.api == "anthropic" and stream else None
        )
        self._response = SummaryResponse(model) if dialect.api == "responses" else None
        self._lock = WriteLock()
        self._last_output = time.monotonic()
        self._chunk = {
            "id": "chatcmpl-boost" + secrets.token_hex(12),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }

    async def keep_alive(self, grace: float, interval: float) -> None:
        """Start the stream when the grace period is over, then send pings while nothing else is sent."""
        converter = self._converter
        if converter is None:
            return
        with contextlib.suppress(OSError):  # the client has disconnected; the other tasks will notice too
            while not self.done:
                wait = self._last_output + (interval if self.committed else grace) - time.monotonic()
                if wait > 0:
                    await anyio.sleep(wait)
                    continue
                async with self._lock:
                    if self.done:
                        return
                    if self.committed:
                        await self._body(b'event: ping\ndata: {"type":"ping"}\n\n')
                    else:
                        self.opened_early = True
                        await self._start(_ok(_STREAM_HEADERS))
                        await self._body(b"".join(converter.start()))

    # An answer of the inner app's

    async def begin(self, start: Message) -> None:
        """Start the response with this message, unless it has been started."""
        async with self._lock:
            if not self.committed:
                await self._start(start)

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send a piece of the body."""
        async with self._lock:
            self.done = self.done or not more
            await self._body(data, more=more)

    async def whole(self, start: Message, body: bytes) -> None:
        """Send a response that is complete."""
        await self.begin({**start, "headers": [*start["headers"], (b"content-length", str(len(body)).encode())]})
        await self.write(body, more=False)

    async def fail(self, error: ApiError) -> None:
        """Report a failure to the client. Raises StreamAborted if its answer has begun."""
        async with self._lock:
            self.done = True
            if not self.committed:
                return await send_error(self._scope, self._send, error)
            self.aborted = True
            if self.stream:
                await self._body(self._dialect.error_frame(error, self._request_id))
        raise StreamAborted(error.message, error)

    # The planner's final answer

    async def summary_text(self, text: str, headers: Headers) -> None:
        """Stream a piece of the final answer."""
        if self._response is not None:
            return await self._summary(self._response.text(text), headers)
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        if not self.committed:
            choice["delta"] = {"role": "assistant", "content": text}
        await self._summary(self._frame({"choices": [choice]}), headers)

    async def summary_end(self, text: str, finish_reason: str, usage: Usage, headers: Headers) -> None:
        """End the final answer; ``text`` is all of it, which is sent here if the client did not request a stream."""
        counts = add_to_openai({}, usage)
        if not self.stream and self._response is not None:
            whole = self._response.whole(text, finish_reason, add_to_responses({}, usage))
            return await self._send_json(whole, headers)
        if not self.stream:
            return await self._summary_whole(text, finish_reason, counts, headers)
        if self._response is not None:
            end = self._response.end(finish_reason, add_to_responses({}, usage))
            return await self._summary(end, headers, more=False)
        last = self._frame({"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
        if self._include_usage:
            last += self._frame({"choices": [], "usage": counts})
        await self._summary(last + DONE, headers, more=False)

    async def _summary(self, chunks: bytes, headers: Headers, *, more: bool = True) -> None:
        frames = b"".join(self._converter.feed(chunks)) if self._converter is not None else chunks
        await self.begin(_ok([*_STREAM_HEADERS, *self._own_headers(headers)]))
        if frames or not more:
            await self.write(frames, more=more)

    async def _summary_whole(self, text: str, finish_reason: str, usage: dict[str, Any], headers: Headers) -> None:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        completion = {**self._chunk, "object": "chat.completion", "choices": [choice], "usage": usage}
        anthropic = self._dialect.api == "anthropic"
        await self._send_json(convert_response(completion, self._context) if anthropic else completion, headers)

    async def _send_json(self, answer: dict[str, Any], headers: Headers) -> None:
        kind: Headers = [(b"content-type", b"application/json")]
        await self.whole(_ok([*kind, *self._own_headers(headers)]), dumps(answer))

    def _frame(self, fields: dict[str, Any]) -> bytes:
        return b"data: " + dumps({**self._chunk, **fields}) + b"\n\n"

    def _own_headers(self, headers: Headers) -> Headers:
        id_: Headers = [(b"request-id", self._request_id.encode())]
        return [*id_, *header_value(b"x-upstream-model", self._planner), *headers]

    async def _start(self, start: Message) -> None:
        self.committed = True
        await self._send(start)

    async def _body(self, data: bytes, *, more: bool = True) -> None:
        self._last_output = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


def _ok(headers: Headers) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": headers}
