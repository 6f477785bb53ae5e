"""An exchange whose client requested a stream."""

import asyncio
import contextlib
import logging
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any

from starlette.types import Send

from ..toolkit.answers import MAX_ANSWER_BYTES
from ..toolkit.asgi import Headers
from ..toolkit.errors import ApiError, StreamAborted
from ..toolkit.record import Record
from ..toolkit.worker_threads import in_thread
from ..toolkit.write_lock import WriteLock
from .anthropic import message_events, refusal_message
from .apis import APIS
from .context import ConvertedRequest
from .exchange import Exchange
from .providers import PromptRefused

logger = logging.getLogger("ccproxy.conversion")


class StreamExchange(Exchange):
    """An exchange whose client requested a stream; a context manager to be entered while the inner app runs.

    ``grace``: seconds of silence before the stream is started without a first event. ``interval``: seconds without
    output before a ping is sent. ``usage_wait``: seconds to wait for the usage that may follow the finish reason.
    ``idle_limit``: how long the provider may send only comments and blank lines.
    """

    def __init__(
        self,
        request: ConvertedRequest,
        request_id: str,
        send: Send,
        record: Record | None = None,
        *,
        max_answer: int = MAX_ANSWER_BYTES,
        grace: float,
        interval: float,
        usage_wait: float,
        idle_limit: float,
    ) -> None:
        super().__init__(request, request_id, send, record, max_answer=max_answer)
        self._converter = APIS[request.api].stream(request.context, request_id)
        self._grace = grace
        self._interval = interval
        self._usage_wait = usage_wait
        self._idle_limit = idle_limit
        self._moved_at = monotonic()  # when the provider last sent any of its answer
        self._choices = 0
        self._ended_at: float | None = None  # when the provider sent its finish reason
        self._lock = WriteLock()  # a ping must not be sent between two halves of an answer
        self._committed = False
        self._whole: bool | None = None  # whether the provider answers with one JSON body, once that is known
        self._last_output = monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._keeper: asyncio.Task[None] | None = None  # the task started by the timer

    @property
    def begun(self) -> bool:
        return self._committed or self.done

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
        """Set the timer for the next deadline. Output postpones the deadline, which the timer checks itself."""
        wait = self._next_action() - monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, wait), self._on_timer)

    def _on_timer(self) -> None:
        if self._next_action() > monotonic():
            self._set_timer()
        elif not self.done:
            self._keeper = asyncio.create_task(self._keep_alive())

    async def _keep_alive(self) -> None:
        """Start the stream after the grace period, send a ping while the provider is silent, end it when it is
        complete.
        """
        try:
            async with self._lock:
                if self.done:
                    return
                if self._next_action() > monotonic():  # the provider was faster than this task
                    return self._set_timer()
                if self._ended_at is not None:
                    return await self._convert(b"", more=False)
                await self._emit(self._converter.ping() if self._converter.started else self._converter.start())
        except OSError:  # the client has disconnected, as the inner app will notice too
            return
        self._set_timer()

    def _next_action(self) -> float:
        if self._ended_at is not None:
            return self._ended_at + self._usage_wait
        return self._last_output + (self._interval if self._committed else self._grace)

    async def _on_body(self, data: bytes, *, more: bool) -> None:
        async with self._lock:
            if self.correction is not None:  # what follows a refusal in a stream
                return
            if self._whole is None:
                data = data.lstrip()  # blank lines that keep the connection alive before the answer begins
                self._whole = self._is_whole(data)
                if self._whole is None and more:
                    return await self._check_idle()
            if self._whole:
                await self._hold(data)
                if not more:
                    await self._answer_whole()
            else:
                await self._convert(data, more=more)

    def restart(self, request: ConvertedRequest) -> None:
        super().restart(request)
        self._whole = None
        self._converter = APIS[request.api].stream(request.context, self._id)
        if self._committed:
            self._converter.start()  # the client already has these events

    def _is_whole(self, start: bytes) -> bool | None:
        """Whether the answer is one JSON body, as every error is. The body decides, since content types are
        unreliable.
        """
        if not 200 <= self._status < 300:
            return True
        return start.startswith((b"{", b"[")) if start else None

    async def _convert(self, data: bytes, *, more: bool) -> None:
        converter = self._converter
        if converter.takes_long(data):
            frames = await in_thread(partial(converter.feed, data))
        else:
            frames = converter.feed(data) if data else []
        if not more and not converter.finished and converter.error is None:
            frames += converter.finish()
        if converter.error is not None:
            await self._on_failure(converter.error, frames, more=more)
        elif converter.finished:
            self.done = self.answered = True
            self.notes += converter.notes
            self._note_end(converter.final_usage, converter.stop_reason)
            await self._emit(frames, more=False)
        elif frames:
            self._moved_at = monotonic()
            self.answered = converter.has_content
            await self._emit(frames)
        else:
            await self._check_idle()
        if converter.ending and self._ended_at is None:
            self._ended_at = monotonic()
            if self._timer is not None:
                self._timer.cancel()
            self._set_timer()

    async def _on_failure(self, error: ApiError, frames: list[bytes], *, more: bool) -> None:
        """The provider has reported a failure in its stream, or caused one."""
        converter = self._converter
        correction = None if converter.has_content else self._second_try_after(error, converter.failed)
        if correction is None and (converter.has_content or self._otherwise is None):
            await self._emit(frames[:-1] if converter.started else [])
        await self._refused(error, correction)
        if self.correction is not None and more:
            raise StreamAborted(error.message)  # so that the inner app stops

    async def _check_idle(self) -> None:
        """Abort a stream without progress in its answer, however active its connection is."""
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
        await self._emit(frames[1:] if self._committed else frames, more=False)

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
        self.done = True
        self.aborted = error.without_frames()
        self._note_error(error)
        logger.warning("stream broken off: %s (%s)", error.type, self._id)
        await self._emit(self._converter.fail(error))
        raise StreamAborted(error.message, self.aborted)
