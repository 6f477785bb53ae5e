"""One request with prompted tools: passes the inner app's answer to the client, with its calls as real tool calls."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from starlette.types import ASGIApp, Message, Scope, Send

from ..boost import Dialect, Seen, Usage
from ..conversion.text_calls import Call
from ..toolkit.asgi import BufferedBody, Headers, without_headers
from ..toolkit.errors import ApiError, StreamAborted
from ..toolkit.json import dumps, loads
from ..toolkit.record import Record, get_record
from ..toolkit.sse import EventTooLarge, SSEParser
from .answers import Answer, Outcome
from .prompt import Payload, Prompt, Prompter
from .words import REPAIR

logger = logging.getLogger("ccproxy.prompted_tools")

_PING = "ping"
Ping: TypeAlias = Callable[[Payload], Awaitable[None]]
_DONE = b"data: [DONE]\n\n"


class Events:
    """The bytes of an answer as the events of a stream, or as one JSON document."""

    def __init__(self) -> None:
        self.is_stream: bool | None = None  # None: not yet known
        self.body = bytearray()  # of an answer that is not a stream
        self._parser = SSEParser()

    def feed(self, data: bytes, *, last: bool) -> list[Payload | None]:
        """The events that have arrived; None marks the end. Raises EventTooLarge."""
        if not self.is_stream:
            self.body += data
            start = self.body[:64].lstrip()
            if self.is_stream is None and start:
                self.is_stream = not start.startswith((b"{", b"["))
            if not self.is_stream:
                return []
            data = bytes(self.body)
            self.body.clear()
        found = self._parser.feed(data)
        if last:
            found += self._parser.finish()
        return [_event(event) for event in found]

    @property
    def whole(self) -> Payload | None:
        """The document, if it is one."""
        try:
            data = loads(bytes(self.body))
        except ValueError:
            return None
        return data if isinstance(data, dict) else None


def _event(data: bytes) -> Payload | None:
    if data.strip() == b"[DONE]":
        return None
    try:
        event = loads(data)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


class PromptedExchange:
    """Sends the request to the inner app and passes its answer on. ``send`` is the client's.

    answered: the provider has accepted the request.
    """

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        body: BufferedBody,
        send: Send,
        *,
        prompt: Prompt,
        prompter: Prompter,
        answer: Answer,
        dialect: Dialect,
        request_id: str,
        max_answer: int,
    ) -> None:
        self.answered = False
        self._app = app
        self._scope = scope
        self._body = body
        self._send = send
        self._prompt = prompt
        self._prompter = prompter
        self._answer = answer
        self._dialect = dialect
        self._request_id = request_id
        self._max_answer = max_answer
        self._record = get_record(scope)
        self._start: Message = {}
        self._begun = False  # the client has the start of the answer
        self._passes = False  # it gets the answer unchanged
        self._events = Events()
        self._stream = prompt.data.get("stream") is True

    async def run(self) -> None:
        """Send the request, and answer the client."""
        await self._app(self._scope, self._body.replace(self._prompt.data), self.send)
        if self._record is not None and self._prompt.tools:
            self._record.explain = partial(_explained, self._record.explain, len(self._prompt.tools))

    async def send(self, message: Message) -> None:
        """Process one message of the inner app."""
        if message["type"] == "http.response.start":
            self._start = message
            self.answered = 200 <= message["status"] < 300
            self._passes = not self.answered
            if self._passes:
                await self._send(message)
        elif message["type"] == "http.response.body" and not self._passes:
            await self._take(message.get("body", b""), last=not message.get("more_body", False))
        else:
            await self._send(message)

    async def _take(self, data: bytes, *, last: bool) -> None:
        try:
            events = self._events.feed(data, last=last)
        except EventTooLarge as error:
            await self._write([], last=False)
            failure = ApiError(502, "api_error", str(error))
            await self._send_body(self._dialect.error_frame(failure, self._request_id), more=True)
            raise StreamAborted(str(error), failure) from None
        if self._events.is_stream:
            told = [event for known in events for event in ([known] if known == {} else self._answer.event(known))]
            if last:
                told += await self._end()
            await self._write(told, last=last)
        elif last:
            await self._whole()
        elif len(self._events.body) > self._max_answer:  # too long to be held back
            self._passes = True
            await self._send(self._start)
            await self._send_body(bytes(self._events.body), more=True)

    async def _end(self) -> list[Payload | None]:
        """Send what is left after the inner app's last message."""
        if not self._answer.spoiled:
            return list(self._answer.last())
        calls, usage = await self._repair()
        return self._answer.settle(calls, partial(self._dialect.add_usage, more=usage))

    async def _write(self, events: Sequence[Payload | None], *, last: bool) -> None:
        for event in events:
            if event and event.get("type") == "message_delta":
                _note_end(self._record, event.get("usage"), (event.get("delta") or {}).get("stop_reason"))
        frames = b"".join(_DONE if event is None else self._dialect.frame(event) for event in events if event != {})
        if not self._begun:
            self._begun = True
            await self._send({**self._start, "headers": _without_length(self._start)})
        if frames or last:
            await self._send_body(frames, more=not last)

    async def _send_body(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def _whole(self) -> None:
        document = self._events.whole
        told = document and self._answer.whole(document)
        if document is None or told is not None:  # nothing to change
            self._passes = True
            await self._send(self._start)
            return await self._send_body(bytes(self._events.body), more=False)
        outcome = self._answer.outcome()
        if spoiled := self._answer.spoiled:
            calls, usage = await self._repair()
            outcome = Outcome("", calls) if calls else Outcome(spoiled)
            document = self._dialect.add_usage(document, usage)
        document = self._answer.whole_with(document, outcome)
        if self._dialect.api == "anthropic":
            _note_end(self._record, document.get("usage"), document.get("stop_reason"))
        headers = _without_length(self._start)
        if self._stream:  # an inner app that does not stream
            headers = [*without_headers(headers, b"content-type"), (b"content-type", b"text/event-stream")]
            body = b"".join(self._dialect.as_stream(document))
        else:
            body = dumps(document)
            headers.append((b"content-length", str(len(body)).encode()))
        self._passes = True
        await self._send({**self._start, "headers": headers})
        await self._send_body(body, more=False)

    async def _repair(self) -> tuple[list[Call], Usage]:
        """The calls of a second answer, and its usage; no calls if that answer can't be read either."""
        question = self._prompter.repair(self._prompt.data, self._answer.said, REPAIR)
        second = _Second(self._dialect, self._forward_ping, self._max_answer)
        with suppress(StreamAborted):  # it has no end, then
            await self._app(self._scope, self._body.replace(question), second.send)
        calls = self._answer.calls_in(second.text) if second.complete else []
        logger.warning(
            "the model's call can't be read, and %s (%s)",
            "was written again" if calls else "stays text: no call can be read in a second answer either",
            self._request_id,
        )
        return calls, second.usage

    async def _forward_ping(self, event: Payload) -> None:
        if self._stream:
            await self._write([event], last=False)


class _Second:
    """Collects the text of an answer that is not sent to the client."""

    def __init__(self, dialect: Dialect, ping: Ping, limit: int) -> None:
        self.usage: Usage = {}
        self.complete = False
        self._dialect = dialect
        self._ping = ping
        self._limit = limit
        self._texts: list[str] = []
        self._size = 0
        self._good = False
        self._failed = False
        self._events = Events()

    @property
    def text(self) -> str:
        return "".join(self._texts)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._good = 200 <= message["status"] < 300
        if message["type"] != "http.response.body" or not self._good:
            return
        last = not message.get("more_body", False)
        data = message.get("body", b"")
        self._size += len(data)
        if self._size > self._limit:
            raise StreamAborted("a second answer is too long")
        for event in self._events.feed(data, last=last):
            if event and event.get("type") == _PING:
                await self._ping(event)
            elif event:
                self._note(self._dialect.see_event(event))
        if last and not self._events.is_stream and (document := self._events.whole):
            self._note(self._dialect.see_answer(document))

    def _note(self, seen: Seen) -> None:
        self._texts.append(seen.text)
        self.usage = seen.usage or self.usage
        self._failed |= seen.error is not None
        self.complete = (self.complete or seen.complete) and not self._failed


def _note_end(record: Record | None, usage: Any, stop_reason: Any) -> None:
    """Record how the answer ended; an inner layer saw a different end."""
    if record is not None and isinstance(usage, dict):
        record.usage, record.stop_reason = usage, stop_reason


def _explained(explain: Callable[[], list[str]] | None, tools: int) -> list[str]:
    return [f"tools: {tools} as text in the prompt, since the model has none", *(explain() if explain else ())]


def _without_length(start: Message) -> Headers:
    return without_headers(start.get("headers", ()), b"content-length", b"etag", b"content-md5")
