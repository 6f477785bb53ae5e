"""An answer of the executor: held until it is known to be useful, then passed on as it arrives."""

from typing import Literal

from starlette.types import Message

from ..conversion.providers import Profile, error_from_response
from ..toolkit.asgi import Headers, get_header, without_headers
from ..toolkit.errors import ApiError, StreamAborted
from ..toolkit.json import dumps, loads
from ..toolkit.sse import SSEParser
from .dialect import DONE, Dialect, Payload
from .reply import Reply
from .usage import Seen, Usage

WaitFor = Literal["call", "content", "nothing"]

# How servers report a model's output that is no proper call: a guided model may fail where a plain one does not.
_SPOILED = (b"tool_use_failed", b"failed_generation", b"Failed to call a function")  # Groq
_SPOILED_STATUS = (500, 502)
_CUT_OFF = "the provider's answer ended before it was complete"
_PROFILE = Profile()


class ExecutorAnswer:
    """Receives the messages of the inner app (:meth:`send`) and passes them to the client.

    wait_for: what it must begin with before it is sent to the client: a tool ``call``, any ``content`` (a call, or
        text), or ``nothing``.
    headers: additional headers of the response. spent: the usage of the other calls.
    may_fail: while nothing has been sent, a failure that the guidance may have caused is not passed on, but set as
    ``failed``.
    text, usage: its text and its usage, as far as they have arrived.
    """

    def __init__(
        self,
        dialect: Dialect,
        reply: Reply,
        *,
        wait_for: WaitFor,
        headers: Headers,
        spent: Usage,
        may_fail: bool,
    ) -> None:
        self.text = ""
        self.usage: Usage = {}
        self.flows = False  # it is being sent to the client
        self.failed = False
        self._dialect = dialect
        self._reply = reply
        self._wait_for = wait_for
        self._extra_headers = headers
        self._spent = spent
        self._may_fail = may_fail
        self._start: Message = {"type": "http.response.start", "status": 0}
        self._headers: Headers = []  # of the start
        self._own_error: ApiError | None = None  # an inner layer's of ours
        self._parser = SSEParser()
        self._streams: bool | None = None  # None: not yet known
        self._body = bytearray()  # of an answer that is not a stream
        self._held: list[Payload | None] = []  # events; None is [DONE]
        self._whole: Payload | None = None
        self._error: ApiError | None = None  # an event that reported a failure before anything was sent
        self._calls_tool = False
        self._complete = False
        self._ended = False  # the inner app has sent everything

    @property
    def is_answer(self) -> bool:
        """Whether it is complete and not empty."""
        return self._complete and bool(self.text.strip())

    async def send(self, message: Message) -> None:
        """Process one message of the inner app."""
        if self._ended:
            return
        if message["type"] == "http.response.start":
            self._start = message
            self._headers = list(message.get("headers", ()))
            self._own_error = message.get("ccproxy.error")
        elif message["type"] == "http.response.body":
            self._ended = not message.get("more_body", False)
            await self._take(message.get("body", b""))

    async def close(self) -> None:
        """The inner app has returned, or its answer broke off. Raises StreamAborted if the client has a part of an
        answer.
        """
        if self._reply.aborted:
            raise StreamAborted  # even if the inner app did not pass it on
        if self._reply.done or self.failed:
            return
        if self._error is not None and self.flows:
            raise StreamAborted(self._error.message, self._error)  # the client has got it in the event
        if self._error is not None or not (self._complete and self._ended):
            error = self._error or ApiError(502, "api_error", _CUT_OFF)
            self.failed = self._may_fail and not self.flows and error.status in _SPOILED_STATUS
            if not self.failed:
                await self._reply.fail(error)

    async def release(self, *, headers: Headers, spent: Usage) -> None:
        """Send a held answer."""
        self._extra_headers = headers
        self._spent = spent
        await self._flow()

    async def _take(self, data: bytes) -> None:
        if not 200 <= self._start["status"] < 300:
            self._body += data
            if self._ended:
                await self._pass_error()
            return
        if not self._streams:
            self._body += data
            start = self._body[:64].lstrip()
            if self._streams is None and (start or self._ended):
                self._streams = not start.startswith((b"{", b"[")) and self._reply.stream
            data = bytes(self._body)
        if self._streams:
            await self._take_events(data)
        elif self._ended:
            await self._take_whole(data)

    async def _pass_error(self) -> None:
        """The inner app's own error, unchanged."""
        spoiled = any(word in self._body for word in _SPOILED)
        self.failed = self._may_fail and (spoiled or self._start["status"] in _SPOILED_STATUS)
        if self.failed:
            return
        if self._reply.committed:
            own = self._start.get("ccproxy.error")  # a layer of ours tells what it is
            error = error_from_response(self._start["status"], self._headers, bytes(self._body), _PROFILE)
            await self._reply.fail(own or error)
        headers = [*without_headers(self._headers, b"content-length"), *self._extra_headers]
        await self._reply.whole({**self._start, "headers": headers}, bytes(self._body))

    async def _take_whole(self, body: bytes) -> None:
        try:
            answer = loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self._error = ApiError(502, "api_error", "the provider's answer is not JSON")
            return
        self._whole = answer
        self._note(self._dialect.see_answer(answer))
        if self._complete and (self._wanted() or self._wait_for == "nothing"):
            await self._flow()

    async def _take_events(self, data: bytes) -> None:
        events = self._parser.feed(data)
        if self._ended:
            events += self._parser.finish()
        fresh: list[Payload | None] = []
        for event in events:
            payload = None if event.strip() == b"[DONE]" else _parse(event)
            if payload == {}:
                continue
            fresh.append(payload)
            self._note(Seen(complete=True) if payload is None else self._dialect.see_event(payload))
        if self.flows:
            return await self._write(fresh)
        self._held += fresh
        if self._error is None and self._wanted():
            await self._flow()

    def _note(self, seen: Seen) -> None:
        self.text += seen.text
        self.usage = seen.usage or self.usage
        self._calls_tool |= seen.calls_tool
        self._complete |= seen.complete
        self._error = self._error or seen.error

    def _wanted(self) -> bool:
        if self._wait_for == "nothing":
            return bool(self._held)
        return self._calls_tool or (self._wait_for == "content" and bool(self.text.strip()))

    async def _flow(self) -> None:
        """Begin to pass the answer on."""
        self.flows = True
        reply = self._reply
        kind = get_header(self._headers, b"content-type")
        if self._whole is None:
            await reply.begin(self._started(kind or "text/event-stream"))
            held, self._held = self._held, []
            return await self._write(held)
        answer = self._dialect.add_usage(self._whole, self._spent)
        if not reply.stream:
            return await reply.whole(self._started(kind or "application/json"), dumps(answer))
        try:
            frames = self._dialect.as_stream(answer)
        except ApiError as error:
            return await reply.fail(error)
        await reply.begin(self._started("text/event-stream; charset=utf-8"))
        await reply.write(b"".join(frames[1:] if reply.opened_early else frames), more=False)  # without message_start

    def _started(self, kind: str) -> Message:
        """The inner app's start, adapted to a body that has been changed."""
        headers = without_headers(self._headers, b"content-length", b"etag", b"content-md5", b"content-type")
        return {**self._start, "headers": [(b"content-type", kind.encode("latin-1")), *headers, *self._extra_headers]}

    async def _write(self, events: list[Payload | None]) -> None:
        """Send events on; only a complete answer may end."""
        frames = b"".join(self._frame(event) for event in events)
        is_end = self._ended and self._complete and self._error is None
        if frames or is_end:
            await self._reply.write(frames, more=not is_end)

    def _frame(self, event: Payload | None) -> bytes:
        if event is None:
            return DONE
        if event.get("type") == "message_start" and self._reply.opened_early:
            return b""
        return self._dialect.frame(self._dialect.add_usage(event, self._spent))


def _parse(event: bytes) -> Payload:
    """An event's object; an empty one for anything else."""
    try:
        payload = loads(event)
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}
