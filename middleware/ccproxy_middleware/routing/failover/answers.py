"""A candidate's answer on its way to the client: held until it is known to be usable."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from starlette.types import Message, Scope, Send

from ...toolkit.asgi import Headers, get_header, without_headers
from ...toolkit.errors import ApiError, StreamAborted, error_event, request_id, send_error, speaks_openai
from ...toolkit.sse import sse_event
from ...toolkit.write_lock import WriteLock
from .failures import Failure, broken_off, failed_answer, failed_stream
from .held_stream import HeldStream

MAX_HELD = 16 * 1024 * 1024
"""Bytes of an answer that is no stream, which are held until it is whole; a longer one goes on as it comes."""

MAX_ERROR = 1024 * 1024
"""Bytes of an error."""

ROUTE = b"x-cc-boost-route"

_PING = sse_event("ping", {"type": "ping"})
_COMMENT = b": ping\n\n"


class ClientAnswer:
    """The client's side of an exchange, whichever candidate answers.

    streams: the client has requested a stream. model: the client's name for the model. While no content has been sent,
    a stream is started after ``grace`` seconds and gets a ping every ``interval`` seconds.
    """

    def __init__(self, scope: Scope, send: Send, *, streams: bool, model: str, grace: float, interval: float) -> None:
        self.started = False  # the start of the response has been sent
        self.begun = False  # so has message_start
        self.committed = False  # a candidate's content is being sent
        self.route: Headers = []
        self.held: HeldStream | None = None  # of the candidate that is being tried
        self.send = send
        self.lock = WriteLock()  # for which nobody waits but a ping
        self._scope = scope
        self._streams = streams
        self._model = model
        self._grace = grace
        self._interval = interval
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def is_kept_alive(self) -> bool:
        """Whether a timer may be set, or a ping may be in progress."""
        return self._timer is not None

    def keep_alive(self) -> None:
        """From now on, send pings while the client waits, if it has requested a stream."""
        if self._streams and self._timer is None:
            self._set_timer(self._grace)

    def _set_timer(self, seconds: float) -> None:
        self._due = monotonic() + seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        if not self.committed:
            self._keeper = asyncio.create_task(self._ping())

    async def _ping(self) -> None:
        frames = b""
        with suppress(OSError):  # the client has disconnected; the candidate will notice too
            async with self.lock:
                if self.committed:
                    return
                if not self.started:
                    self.started = True
                    await self.send({"type": "http.response.start", "status": 200, "headers": self._headers()})
                if speaks_openai(self._scope):
                    frames = _COMMENT
                else:
                    frames = (b"" if self.begun else self._message_start()) + _PING
                    self.begun = True
                await self.send({"type": "http.response.body", "body": frames, "more_body": True})
            self._set_timer(self._interval)

    def _headers(self) -> Headers:
        return [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            (b"request-id", request_id(self._scope).encode()),
            *self.route,
        ]

    def _message_start(self) -> bytes:
        if self.held is not None and self.held.begun is not None:
            return self.held.begun
        names = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        message: dict[str, Any] = {
            "id": f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            **dict.fromkeys(("stop_reason", "stop_sequence", "stop_details")),
            "usage": dict.fromkeys(names, 0),
        }
        return sse_event("message_start", {"type": "message_start", "message": message})

    def commit(self) -> None:
        """A candidate's content follows; send its start first, if no start has been sent."""
        self.committed = True
        if self._timer is not None:
            self._timer.cancel()

    async def close(self) -> None:
        """The exchange is over."""
        self.commit()
        if self._keeper is not None and not self._keeper.done():
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))

    async def fail(self, failure: Failure, retry_after: int | None) -> None:
        """Report a failure to the client. Raises StreamAborted where its answer has begun."""
        async with self.lock:
            self.commit()
            error = failure.error
            if self.started:
                event = error_event(self._scope, error, cut=False)
                await self.send({"type": "http.response.body", "body": event, "more_body": True})
                raise StreamAborted(error.message, error.without_frames())
            retry: Headers = [] if retry_after is None else [(b"retry-after", str(retry_after).encode())]
            spent = [b"retry-after", b"retry-after-ms"] if retry else []
            if failure.start is None:
                kept = [(name, value) for name, value in error.headers if name.encode() not in spent]
                own = [(name.decode(), value.decode()) for name, value in (*retry, *self.route)]
                told = ApiError(error.status, error.type, error.message, headers=[*kept, *own], details=error.details)
                return await send_error(self._scope, self.send, told)
            headers = without_headers(failure.start["headers"], ROUTE, *spent)
            start = {**failure.start, "headers": [*headers, *retry, *self.route]}
            await self.send(start)
            await self.send({"type": "http.response.body", "body": failure.body})


class TargetAnswer:
    """One candidate's answer: :meth:`send` is the ``send`` of its target.

    ``holds``: another candidate may answer in its place, so nothing is sent before its first content. ``on_answer`` is
    called when that is sent.

    committed: it is being sent to the client. failure: the failure that it reported instead. status: its HTTP status.
    """

    def __init__(self, client: ClientAnswer, on_answer: Callable[[], None] | None, *, holds: bool) -> None:
        self.committed = False
        self.failure: Failure | None = None
        self.status: int | None = None
        self._client = client
        self._on_answer = on_answer
        self._holds = holds
        self._start: Message | None = None
        self._body = bytearray()
        self._stream: HeldStream | None = None
        client.held = None

    def send(self, message: Message) -> Awaitable[None]:
        """Process one message of the target. From the first content on, messages are passed on unchanged."""
        return self._client.send(message) if self.committed else self._take(message)

    async def _take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._goes_on_at_once(message):
                async with self._client.lock:
                    await self._commit(b"")
        elif message["type"] != "http.response.body":
            await self._client.send(message)
        elif self.failure is not None:
            await self._on_more_of_a_failure(message)
        elif self._start is None:
            raise RuntimeError("a body before the start of its response")
        elif self._stream is not None:
            await self._on_stream(self._stream, message)
        else:
            await self._on_body(self._start, message)

    def _goes_on_at_once(self, message: Message) -> bool:
        """Process the start of the response. True: it is sent to the client before any of its content has arrived."""
        headers = list(message.get("headers", ()))  # may be readable only once
        self._start = {**message, "headers": headers}
        self.status = message["status"]
        if message["status"] >= 400:
            return False
        is_stream = (get_header(headers, b"content-type") or "").startswith("text/event-stream")
        if (
            is_stream
            and (self._holds or self._client.started)
            and (get_header(headers, b"content-encoding") or "identity") == "identity"  # else it can't be inspected
        ):
            self._stream = self._client.held = HeldStream()
            return False
        if self._client.started:
            error = ApiError(502, "api_error", "the provider's answer is no stream", reason="server")
            self.failure = broken_off(error)
            return False
        return is_stream or not self._holds

    async def _on_stream(self, stream: HeldStream, message: Message) -> None:
        more = message.get("more_body", False)
        async with self._client.lock:
            shows = stream.feed(message.get("body", b""))
            if stream.error is not None:
                self.failure = failed_stream(stream.error)
            elif shows:
                await self._commit(stream, more=more)
            elif not more:
                self.failure = broken_off(None)

    async def _on_body(self, start: Message, message: Message) -> None:
        more = message.get("more_body", False)
        body: bytes | bytearray = message.get("body", b"")
        if more or self._body:
            self._body += body
            body = self._body
        if start["status"] >= 400:
            if not more or len(body) > MAX_ERROR:
                self.failure = failed_answer(start, bytes(body))
        elif not more or len(body) > MAX_HELD:
            async with self._client.lock:
                await self._commit(bytes(body), more=more)
            self._body = bytearray()

    async def _on_more_of_a_failure(self, message: Message) -> None:
        """Stop a target that continues after it has failed."""
        if message.get("more_body", False):
            raise StreamAborted("another candidate answers")

    async def _commit(self, held: bytes | HeldStream, *, more: bool = True) -> None:
        client = self._client
        self.committed = True
        started = client.started
        client.commit()
        if self._on_answer is not None:
            self._on_answer()
        if not started:
            assert self._start is not None  # noqa: S101
            client.started = True
            headers = without_headers(self._start["headers"], ROUTE)
            await client.send({**self._start, "headers": [*headers, *client.route]})
        body = held.take(started=client.begun or started) if isinstance(held, HeldStream) else held
        if body or not more:
            await client.send({"type": "http.response.body", "body": body, "more_body": more})
        client.held = None
        self._stream = None
