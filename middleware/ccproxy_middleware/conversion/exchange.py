"""One exchange with the inner app: its OpenAI answer, JSON or a stream, is sent to the client as Anthropic's.

Nothing is sent before the answer is known to be good, so that a failure still gets a real status. A stream that fails
later ends with an ``error`` event and an incomplete body, never cleanly: Claude Code treats a clean end as success.
"""

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from starlette.types import Message, Send

from ..toolkit.answers import MAX_ANSWER_BYTES, parse_answer
from ..toolkit.asgi import LARGE, Headers, get_header
from ..toolkit.errors import ApiError, FailureReason, StreamAborted, header_value
from ..toolkit.json import dumps
from ..toolkit.record import Record
from ..toolkit.worker_threads import in_thread
from .anthropic import collect_message, refusal_message
from .apis import APIS
from .context import ConvertedRequest
from .providers import Correction, PromptRefused, error_from_payload, response_headers
from .responses import answer_notes
from .second_try import fixed_api, second_try, second_try_after

logger = logging.getLogger("ccproxy.conversion")

_OF_REFUSALS = ("invalid_request_error", "not_found_error", "api_error")
_CUT_OFF = "the provider's answer ended before it was complete"


class Exchange:
    """Receives the messages of the inner app's answer and sends those of the client's.

    :meth:`send` is the inner app's ``send``. :meth:`close` is called when the inner app has returned or raised. A
    refusal that ``correction`` can avoid is not sent to the client: :meth:`restart` prepares for the answer to a
    corrected request; without it :meth:`close` sends the refusal after all. ``max_answer``: the maximum size in bytes
    of an answer that is not a stream, which is buffered until it is complete.
    """

    def __init__(
        self,
        request: ConvertedRequest,
        request_id: str,
        send: Send,
        record: Record | None = None,
        *,
        max_answer: int = MAX_ANSWER_BYTES,
    ) -> None:
        self.request = request
        self._record = record
        self._context = request.context
        self._id = request_id
        self._send = send
        self._status = 0
        self._headers: Headers = []  # the inner app's
        self._max_answer = max_answer
        self._body = bytearray()  # of an answer that is not a stream
        self._own_error: ApiError | None = None  # from one of our inner layers
        self._refusal: ApiError | None = None
        self.cause: ApiError | None = None  # why the inner app's answer broke off, as far as is known
        self.correction: Correction | None = None  # the profile switches that the refusal calls for
        self._first: ApiError | None = None  # the refusal because of which the other API is used
        self._otherwise: Correction | None = None  # what to try if that fails
        self.answered = False  # whether the provider has answered, so far without an error
        self.notes: list[str] = []  # what was left out of the answer
        self.done = False  # whether the client has the complete answer, or an aborted one
        self.aborted: ApiError | None = None  # why the client's answer was aborted

    @property
    def begun(self) -> bool:
        """Whether the client has received any of its answer."""
        return self.done

    async def send(self, message: Message) -> None:
        """Process one message of the inner app's answer."""
        if self.done or self.correction is not None:
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
        await self._hold(data)
        if not more:
            await self._answer_whole()

    async def _hold(self, data: bytes) -> None:
        """Buffer an answer until it is complete. Raises StreamAborted above the limit."""
        if len(self._body) + len(data) > self._max_answer:
            self._body = bytearray()
            words = f"the provider's answer is over the limit of {self._max_answer} bytes (MAX_ANSWER)"
            await self.fail(ApiError(502, "api_error", words))
            raise StreamAborted(words)  # so that the inner app stops
        self._body += data

    async def _answer_whole(self) -> None:
        """Answer from the complete body in ``_body``."""
        try:
            large = len(self._body) > LARGE
            message = await in_thread(self._message) if large else self._message()
        except ApiError as error:
            error.without_frames()
            await self._refused(error, self._second_try(error))
        else:
            self.answered = True
            await self._send_message(message)

    def _second_try(self, error: ApiError) -> Correction | None:
        """The retry that the failure calls for, if the complete body in ``_body`` is a refusal."""
        if self._own_error is not None:
            return None
        if not 200 <= self._status < 300:
            return second_try(self._status, bytes(self._body), self.request)
        return self._second_try_after(error, _error_in(self._body) if self.request.api == "responses" else None)

    def _second_try_after(self, error: ApiError, failed: Any = None) -> Correction | None:
        """The same if the refusal replaces an answer, or is in a stream. ``failed`` is its error object."""
        if failed is not None:
            return second_try_after(failed, self.request)
        return second_try_after({"message": error.message}, self.request) if error.type in _OF_REFUSALS else None

    async def _refused(self, error: ApiError, correction: Correction | None) -> None:
        """Hold a refusal back from the client if a retry is possible."""
        self.correction = correction or self._otherwise
        if correction is None:
            self._otherwise = None
        if self.correction is not None:
            self._refusal = error
            return
        error.message += fixed_api(self._status, bytes(self._body), self.request)
        await self.fail(self._first or error)

    def restart(self, request: ConvertedRequest) -> None:
        """Forget a refused request and its answer, and expect the answer to this one."""
        if request.api != self.request.api and self._first is None:
            self._first = self._refusal
            self._otherwise = self.correction.otherwise if self.correction is not None else None
        self.request = request
        self._context = request.context
        self._status = 0
        self._headers = []
        self._body.clear()
        self._refusal = self.correction = None

    def _message(self) -> dict[str, Any]:
        """The Anthropic message for the body. Raises ApiError if it is not a valid answer."""
        profile = self._context.profile
        if self._own_error is not None:
            raise self._own_error
        try:
            if not 200 <= self._status < 300:
                raise APIS[self.request.api].error(
                    self._status, self._headers, bytes(self._body), profile, max_tokens=self._context.max_tokens
                )
            if self.request.asks_stream and not self._body.lstrip().startswith((b"{", b"[")):
                return self._collected()
            return self._converted(parse_answer(self._body))
        except PromptRefused as refusal:
            return refusal_message(refusal.message, self._context)

    def _converted(self, payload: Any) -> dict[str, Any]:
        api = self.request.api
        if api == "chat" and isinstance(payload, dict) and payload.get("error") and not payload.get("choices"):
            raise error_from_payload(payload, None, self._context.profile, max_tokens=self._context.max_tokens)
        message = APIS[api].convert_response(payload, self._context)
        if api == "responses":
            self.notes += answer_notes(payload, hosted=self._context.hosted_search is not None)
        return message

    def _collected(self) -> dict[str, Any]:
        """The message collected from a stream, for a client that did not request one."""
        converter = APIS[self.request.api].stream(self._context, self._id)
        frames = converter.feed(bytes(self._body)) + converter.finish()
        if converter.error is not None:
            raise converter.error
        self.notes += converter.notes
        return collect_message(frames)

    async def _send_message(self, message: dict[str, Any]) -> None:
        body = dumps(message)
        self._note_end(message["usage"], message["stop_reason"])
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._send_whole(200, headers + self._own_headers(), body)

    async def fail(self, error: ApiError) -> None:
        """Send a failure to the client. Raises StreamAborted if its answer has begun."""
        body = dumps(error.body(self._id))
        self._note_error(error)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        for name, value in error.headers:
            headers += header_value(name.encode(), value)
        await self._send_whole(error.status, headers + self._own_headers(), body, error.reason)

    async def close(self) -> None:
        """The inner app has returned: whatever is still missing will not arrive."""
        if not self.done:
            await self.fail(self._first or self._refusal or self.cause or ApiError(502, "api_error", _CUT_OFF))

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

    async def _send_whole(
        self, status: int, headers: Headers, body: bytes, reason: FailureReason | None = None
    ) -> None:
        self.done = True
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        await self._send(start if reason is None else {**start, "ccproxy.reason": reason})
        await self._send({"type": "http.response.body", "body": body})


def _error_in(body: bytearray) -> Any:
    """The error object of an answer; None if it has none."""
    with contextlib.suppress(ApiError):
        answer = parse_answer(body)
        return (answer.get("error") if isinstance(answer, dict) else None) or None
    return None
