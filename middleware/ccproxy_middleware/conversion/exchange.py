"""One exchange with the inner app: its OpenAI answer, JSON or a stream, goes to the client as Anthropic's.

Nothing is sent before the answer is known to be good, so that a failure still gets a real status. A stream that
fails later ends in an ``error`` event and a broken body, never cleanly: Claude Code takes a clean end for success.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from time import monotonic
from types import TracebackType
from typing import Any

from starlette.types import Message, Send

from ..toolkit.asgi import Headers, get_header
from ..toolkit.errors import ApiError, StreamAborted, header_value
from ..toolkit.json import dumps, loads
from ..toolkit.record import Record
from ..toolkit.write_lock import WriteLock
from .chat.response import convert_response, message_events, refusal_message
from .chat.stream import StreamConverter
from .converted import ConvertedRequest
from .providers.corrections import Correction, find_correction
from .providers.errors import PromptRefused, error_from_payload, error_from_response
from .providers.rate_limits import response_headers

logger = logging.getLogger("ccproxy.conversion")

_CUT_OFF = "the provider's answer ended before it was complete"


class Exchange:
    """Receives the messages of the inner app's answer and sends those of the client's.

    :meth:`send` is the inner app's ``send``. :meth:`close` is called when the inner app has returned or raised.
    A refusal that ``correction`` can avoid is kept from the client: :meth:`restart` makes ready for the answer to a
    corrected request, :meth:`close` tells it all the same.
    """

    def __init__(self, request: ConvertedRequest, request_id: str, send: Send, record: Record | None = None) -> None:
        self.request = request
        self._record = record
        self._context = request.context
        self._id = request_id
        self._send = send
        self._status = 0
        self._headers: Headers = []  # the inner app's
        self._body = bytearray()  # of an answer that is not a stream
        self._own_error: ApiError | None = None  # an inner layer's of ours
        self._refusal: ApiError | None = None
        self.cause: ApiError | None = None  # why the inner app's answer broke off, as far as it tells
        self.correction: Correction | None = None  # the profile switches that the refusal asks for
        self.done = False  # the client has the whole answer, or an aborted one
        self.aborted = False

    async def send(self, message: Message) -> None:
        """Take one message of the inner app's answer."""
        if self.done:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = list(message.get("headers", ()))
            self._own_error = message.get("ccproxy.error")
        elif message["type"] == "http.response.body":
            await self._on_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            await self._send(message)

    async def _on_body(self, data: bytes, *, more: bool) -> None:
        self._body += data
        if not more:
            await self._answer_whole()

    async def _answer_whole(self) -> None:
        """Answer from the complete body in ``_body``."""
        try:
            message = self._message()
        except ApiError as error:
            profile = self._context.profile
            self.correction = find_correction(self._status, bytes(self._body), self.request.body, profile)
            if self.correction is None:
                await self.fail(error)
            else:
                self._refusal = error
        else:
            await self._send_message(message)

    def restart(self, request: ConvertedRequest) -> None:
        """Forget a refused request and its answer, and expect the answer to this one."""
        self.request = request
        self._context = request.context
        self._status = 0
        self._headers = []
        self._body.clear()
        self._refusal = self.correction = None

    def _message(self) -> dict[str, Any]:
        """The Anthropic message of the body. Raises ApiError if it is none."""
        profile = self._context.profile
        if self._own_error is not None:
            raise self._own_error
        try:
            if not 200 <= self._status < 300:
                raise error_from_response(
                    self._status, self._headers, bytes(self._body), profile, max_tokens=self._context.max_tokens
                )
            try:
                payload = _parse(bytes(self._body))
            except ValueError:
                raise ApiError(502, "api_error", "the provider's answer is not JSON") from None
            if isinstance(payload, dict) and payload.get("error") and not payload.get("choices"):
                raise error_from_payload(payload, None, profile, max_tokens=self._context.max_tokens)
            return convert_response(payload, self._context)
        except PromptRefused as refusal:
            return refusal_message(refusal.message, self._context)

    async def _send_message(self, message: dict[str, Any]) -> None:
        body = dumps(message)
        self._note_end(message["usage"], message["stop_reason"])
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._send_whole(200, headers + self._own_headers(), body)

    async def fail(self, error: ApiError) -> None:
        """Tell the client of a failure. Raises StreamAborted if its answer has begun."""
        body = dumps(error.body(self._id))
        self._note_error(error)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        for name, value in error.headers:
            headers += header_value(name.encode(), value)
        await self._send_whole(error.status, headers + self._own_headers(), body)

    async def close(self) -> None:
        """The inner app is through: whatever is missing now will never come."""
        if not self.done:
            await self.fail(self._refusal or self.cause or ApiError(502, "api_error", _CUT_OFF))

    async def break_off(self) -> None:
        """The inner app has raised: an answer that has begun must not look complete."""
        self.done = True

    def _note_end(self, usage: Mapping[str, Any], stop_reason: str | None) -> None:
        if self._record is not None:
            self._record.usage, self._record.stop_reason = usage, stop_reason

    def _note_error(self, error: ApiError) -> None:
        if self._record is not None:
            self._record.fail(error)

    def _own_headers(self) -> Headers:
        headers: Headers = [(b"request-id", self._id.encode())]
        for name, value in response_headers(self._headers):
            headers += header_value(name.encode(), value)
        headers += [(name, value) for name, value in self._headers if name.lower().startswith(b"x-boost-")]
        model = get_header(self._headers, b"x-upstream-model") or self.request.upstream_model
        return headers + header_value(b"x-upstream-model", model)

    async def _send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.done = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _parse(body: bytes) -> Any:
    """The JSON of an answer, bytes that are no UTF-8 replaced as in a stream. Raises ValueError if it is none."""
    try:
        return loads(body)
    except ValueError:
        return loads(body.decode("utf-8", "replace"))


class StreamExchange(Exchange):
    """An exchange whose client asked for a stream, to be entered while the inner app is at work.

    ``grace`` is how many seconds of silence may pass before the stream is begun without a first event,
    ``interval`` after how many without output a ping follows, and ``usage_wait`` how many the usage may take that
    follows the finish reason. ``idle_limit``: how long upstream may send comments and blanks and nothing else.
    """

    def __init__(
        self,
        request: ConvertedRequest,
        request_id: str,
        send: Send,
        record: Record | None = None,
        *,
        grace: float,
        interval: float,
        usage_wait: float,
        idle_limit: float,
    ) -> None:
        super().__init__(request, request_id, send, record)
        self._converter = StreamConverter(request.context, request_id)
        self._grace = grace
        self._interval = interval
        self._usage_wait = usage_wait
        self._idle_limit = idle_limit
        self._moved_at = monotonic()  # when upstream has last said something of its answer
        self._choices = 0
        self._ended_at: float | None = None  # when upstream has told its finish reason
        self._lock = WriteLock()  # a ping must not come in between two halves of an answer
        self._committed = False
        self._whole: bool | None = None  # whether upstream answers with one JSON body, once that is known
        self._last_output = monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._keeper: asyncio.Task[None] | None = None  # what the timer has set to work

    async def __aenter__(self) -> "StreamExchange":
        self._set_timer()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
            if kind is None and not self._keeper.cancelled() and (failure := self._keeper.exception()) is not None:
                raise failure

    def _set_timer(self) -> None:
        """Look again when something is due. Output puts that off, which the timer finds out itself."""
        wait = self._next_action() - monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, wait), self._on_timer)

    def _on_timer(self) -> None:
        if self._next_action() > monotonic():
            self._set_timer()
        elif not self.done:
            self._keeper = asyncio.create_task(self._keep_alive())

    async def _keep_alive(self) -> None:
        """Start the stream when the grace is over, send a ping where upstream is silent, end it when all is said."""
        try:
            async with self._lock:
                if self.done:
                    return
                if self._next_action() > monotonic():  # upstream was faster than this task
                    return self._set_timer()
                if self._ended_at is not None:
                    return await self._convert(b"", more=False)
                await self._emit(self._converter.ping() if self._converter.started else self._converter.start())
        except OSError:  # the client is gone, as the inner app will find out too
            return
        self._set_timer()

    def _next_action(self) -> float:
        if self._ended_at is not None:
            return self._ended_at + self._usage_wait
        return self._last_output + (self._interval if self._committed else self._grace)

    async def _on_body(self, data: bytes, *, more: bool) -> None:
        async with self._lock:
            if self._whole is None:
                data = data.lstrip()  # blanks that keep the connection alive while nothing is said yet
                self._whole = self._is_whole(data)
                if self._whole is None and more:
                    return await self._check_idle()
            if self._whole:
                self._body += data
                if not more:
                    await self._answer_whole()
            else:
                await self._convert(data, more=more)

    def restart(self, request: ConvertedRequest) -> None:
        super().restart(request)
        self._whole = None
        begun = self._converter.started
        self._converter = StreamConverter(request.context, self._id)
        if begun:
            self._converter.start()  # the client has these events already

    def _is_whole(self, start: bytes) -> bool | None:
        """Whether the answer is one JSON body, as every error is. Told by the body: content types lie."""
        if not 200 <= self._status < 300:
            return True
        return start.startswith((b"{", b"[")) if start else None

    async def _convert(self, data: bytes, *, more: bool) -> None:
        converter = self._converter
        frames = converter.feed(data) if data else []
        if not more and not converter.finished and converter.error is None:
            frames += converter.finish()
        if converter.error is not None:
            await self._emit(frames[:-1] if converter.started else [])
            await self.fail(converter.error)
        elif converter.finished:
            self.done = True
            self._note_end(converter.final_usage, converter.stop_reason)
            await self._emit(frames, more=False)
        elif frames:
            self._moved_at = monotonic()
            await self._emit(frames)
        else:
            await self._check_idle()
        if converter.ending and self._ended_at is None:
            self._ended_at = monotonic()
            if self._timer is not None:
                self._timer.cancel()
            self._set_timer()

    async def _check_idle(self) -> None:
        """Break off a stream that says nothing of its answer, however lively its connection is."""
        now = monotonic()
        if self._converter.events_read != self._choices:  # such as thoughts that the client doesn't see
            self._choices = self._converter.events_read
            self._moved_at = now
        elif now - self._moved_at > self._idle_limit:
            words = f"the provider timed out in its answer: nothing with content came for {self._idle_limit:g} seconds"
            await self.fail(ApiError(504, "timeout_error", words))
            raise StreamAborted(words)  # so that the inner app stops

    async def _emit(self, frames: list[bytes], *, more: bool = True) -> None:
        if not self._committed:
            if not frames:
                return
            self._committed = True
            headers: Headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-cache"),
                (b"x-accel-buffering", b"no"),
                *self._own_headers(),
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        self._last_output = monotonic()
        await self._send({"type": "http.response.body", "body": b"".join(frames), "more_body": more})

    async def _send_message(self, message: dict[str, Any]) -> None:
        frames = message_events(message)
        self._note_end(message["usage"], message["stop_reason"])
        self.done = True
        await self._emit(frames[1:] if self._converter.started else frames, more=False)

    async def break_off(self) -> None:
        if self._committed and not self.done:
            with contextlib.suppress(StreamAborted):
                await self.fail(ApiError(500, "api_error", "Internal proxy error"))
        self.done = True

    async def fail(self, error: ApiError) -> None:
        if isinstance(error, PromptRefused) and not self._converter.has_content:
            return await self._send_message(refusal_message(error.message, self._context))
        if not self._committed:
            return await super().fail(error)
        self.done = self.aborted = True
        self._note_error(error)
        logger.warning("stream broken off: %s (%s)", error.type, self._id)
        await self._emit(self._converter.fail(error))
        raise StreamAborted(error.message)
