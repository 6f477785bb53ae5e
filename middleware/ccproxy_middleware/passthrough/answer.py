"""Inspection of an answer while it passes: its usage for the record, and a refusal that is worth another attempt."""

import re
from typing import Any

from starlette.types import Message, Send

from ..toolkit.asgi import get_header
from ..toolkit.errors import ApiError, error_type
from ..toolkit.json import loads
from ..toolkit.record import Record
from ..toolkit.sse import EventTooLarge, SSEParser

_MAX_REFUSAL = 64 * 1024
_MAX_READ = 4 * 1024 * 1024  # bytes of a whole answer that are inspected
_TOLD = (b'"message_start"', b'"message_delta"')
_ERROR = re.compile(rb'\s*\{\s*"(?:type"\s*:\s*"error"|error"|request_id")')


class WatchedAnswer:
    """The ``send`` for one attempt. A 400 is held if ``holds`` says so, until :meth:`release`; all else passes.

    ok: an answer has begun that is not an error. refusal: the body of a held 400.
    """

    def __init__(self, send: Send, record: Record | None, *, holds: bool) -> None:
        self._send = send
        self._record = record
        self._holds = holds
        self._held: list[Message] = []
        self._is_held = False
        self._status = 0
        self._body = bytearray()
        self._reads = False
        self._events: SSEParser | None = None
        self.ok = False
        self.refusal: bytes | None = None

    async def send(self, message: Message) -> None:
        """Process a message of the app."""
        if message["type"] == "http.response.start":
            self._begin(message)
        elif message["type"] == "http.response.body":
            self._look(message)
        if not self._is_held:
            return await self._send(message)
        self._held.append(message)
        if len(self._body) > _MAX_REFUSAL:
            await self.release()
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.refusal = bytes(self._body)

    async def release(self) -> None:
        """Send the held messages."""
        self._is_held = False
        held, self._held = self._held, []
        for message in held:
            await self._send(message)

    def _begin(self, message: Message) -> None:
        self._status = message["status"]
        self.ok = self._status < 400
        self._is_held = self._holds and self._status == 400
        headers = list(message.get("headers", ()))
        kind = (get_header(headers, b"content-type") or "").lower()
        plain = (get_header(headers, b"content-encoding") or "identity") == "identity"
        self._reads = self._is_held or (plain and self._record is not None)
        if self._reads and kind.startswith("text/event-stream"):
            self._events = SSEParser()

    def _look(self, message: Message) -> None:
        if not self._reads:
            return
        chunk = message.get("body", b"")
        if self._events is not None:
            try:
                events = self._events.feed(chunk)
            except EventTooLarge:
                self._reads = False
                return
            for event in events:
                if any(name in event for name in _TOLD) or _ERROR.match(event):
                    self._note(event)
            return
        self._body += chunk
        if len(self._body) > _MAX_READ:
            self._reads = False
            self._body.clear()
        elif not message.get("more_body", False):
            self._note(bytes(self._body))

    def _note(self, text: bytes) -> None:
        """Record the facts about the exchange in a JSON object of Anthropic's."""
        record = self._record
        if record is None:
            return
        try:
            data = loads(text)
        except ValueError:
            return
        if not isinstance(data, dict):
            return
        if self._status >= 400 or data.get("type") == "error":
            error = _object(data.get("error"))
            type_, told = error.get("type"), error.get("message")
            default = error_type(self._status) if self._status >= 400 else "api_error"
            record.fail(
                ApiError(
                    self._status,
                    type_ if isinstance(type_, str) else default,
                    told if isinstance(told, str) else "",
                )
            )
            if self._status < 400:
                record.outcome = "aborted"
            return
        holder = _object(data.get("message")) if data.get("type") == "message_start" else data
        usage = holder.get("usage")
        if isinstance(usage, dict):
            record.usage = {**record.usage, **{name: value for name, value in usage.items() if value is not None}}
        stop = holder.get("stop_reason") or _object(data.get("delta")).get("stop_reason")
        if isinstance(stop, str):
            record.stop_reason = stop


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
