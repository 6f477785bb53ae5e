"""Calls to the planner: one chat request without tools, whose answer is read as it streams."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import anyio
from starlette.types import ASGIApp, Message, Scope

from ..conversion.chat import check_finish_reason, chunks_text, find_usage, upstream_error
from ..conversion.context import Context
from ..conversion.counting import estimate_tokens
from ..toolkit.asgi import BufferedBody
from ..toolkit.errors import ApiError, StreamAborted
from ..toolkit.json import dumps, loads
from ..toolkit.record import ProviderCall
from ..toolkit.sse import EventTooLarge, SSEParser
from .dialect import AnthropicDialect
from .usage import Seen, Usage, from_anthropic, from_openai

logger = logging.getLogger("ccproxy.boost")

_MAX_ERROR = 64 * 1024  # bytes of an error's body that are read
_CONTEXT = Context(model="")
_DIALECT = AnthropicDialect()

PlannerApi = Literal["chat", "anthropic"]


class PlannerError(Exception):
    """The planner gave no usable answer; the message can be logged."""


@dataclass(frozen=True, slots=True)
class PlannerAnswer:
    """A complete answer. ``cached``: it was not made for this request."""

    text: str
    finish_reason: str
    usage: Usage
    cached: bool = False

    def dump(self) -> bytes:
        """The form in which a cache stores the answer."""
        return dumps({"text": self.text, "finish_reason": self.finish_reason, "usage": self.usage})

    @classmethod
    def load(cls, data: bytes) -> "PlannerAnswer":
        """An answer from a cache. Raises ValueError, KeyError or TypeError for data that :meth:`dump` has not
        created.
        """
        stored = loads(data)
        return cls(str(stored["text"]), str(stored["finish_reason"]), dict(stored["usage"]), cached=True)


class Planner:
    """The app that is asked for plans, and what it was found to accept.

    By ``api`` it answers ``POST /chat/completions``, or ``anthropic``: ``POST /v1/messages``. Of several models the
    first is asked, and the others stand by, if the app is a RoutingMiddleware.
    """

    def __init__(self, app: ASGIApp, *, models: Sequence[str], max_tokens: int, api: PlannerApi = "chat") -> None:
        self.models = tuple(models)
        self.model = models[0]
        self.max_tokens = max_tokens
        self._app = app
        self._api: PlannerApi = api
        self._limit_name = "max_tokens"
        self._stream_options = True

    async def ask(
        self, prompt: str, request_id: str, on_text: Callable[[str], None], calls: list[ProviderCall]
    ) -> PlannerAnswer:
        """Send the prompt; ``on_text`` gets the answer's text as it arrives. Raises PlannerError.

        The provider calls that were made for it are added to ``calls``.

        OpenAI's reasoning models refuse ``max_tokens`` and some servers ``stream_options``: after a refusal that names
        one of them the request is sent again without it.
        """
        if self._api == "anthropic":
            return await self._ask_in_messages(prompt, request_id, on_text, calls)
        limit_name, stream_options = self._limit_name, self._stream_options
        while True:
            body = {
                "model": self.model,
                "messages": [{"role": "user", "content": prompt}],
                limit_name: self.max_tokens,
                "stream": True,
            }
            if stream_options:
                body["stream_options"] = {"include_usage": True}
            answer = await self._call(body, _scope(request_id, "/chat/completions", calls), _Answer(on_text))
            if answer.status in (400, 422) and stream_options and b"stream_options" in answer.body:
                stream_options = False
            elif answer.status in (400, 422) and limit_name == "max_tokens" and b"max_tokens" in answer.body:
                limit_name = "max_completion_tokens"
            else:
                break
        result = answer.result(prompt)
        self._limit_name, self._stream_options = limit_name, stream_options
        return result

    async def _ask_in_messages(
        self, prompt: str, request_id: str, on_text: Callable[[str], None], calls: list[ProviderCall]
    ) -> PlannerAnswer:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self.max_tokens,
            "stream": True,
        }
        scope = _scope(request_id, "/v1/messages", calls)
        scope["ccproxy.model"] = {"requested": self.model, "tier": None, "fixed": True}
        scope["ccproxy.candidates"] = self.models
        answer = await self._call(body, scope, _MessagesAnswer(on_text))
        return answer.result(prompt)

    async def _call(self, body: dict[str, Any], scope: Scope, answer: "_Answer") -> "_Answer":
        try:
            await self._app(scope, BufferedBody(_never, data=body), answer.send)
        except (StreamAborted, _Failed):
            pass  # what is missing shows in the answer
        except Exception as error:
            logger.exception("the planner's app failed (%s)", scope["ccproxy.request_id"])
            raise PlannerError(f"its app raised {type(error).__name__}") from error
        return answer


class _Failed(Exception):
    """Raised through the planner's app to end an answer that is no longer needed."""


class _Answer:
    """The messages of the planner's app as text, finish reason and usage."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.status = 0
        self.body = bytearray()  # of an answer that is not a stream
        self._on_text = on_text
        self._parser = SSEParser()
        self._streams: bool | None = None  # None: not yet known
        self._text: list[str] = []
        self._finish_reason = ""
        self._usage: Any = None
        self._complete = False
        self._failure = ""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        if message["type"] != "http.response.body":
            return
        try:
            self._take(message.get("body", b""), at_end=not message.get("more_body", False))
        except (ApiError, EventTooLarge) as error:
            self._failure = str(error)
            raise _Failed from error

    def result(self, prompt: str) -> PlannerAnswer:
        """The result, when the app has returned. Raises PlannerError."""
        if not 200 <= self.status < 300:
            raise PlannerError(f"HTTP {self.status}" if self.status else "no answer")
        if self._failure or not self._complete:
            raise PlannerError(self._failure or "its answer broke off")
        text = "".join(self._text)
        return PlannerAnswer(text, self._finish_reason or "stop", self._usage_of(prompt, text))

    def _usage_of(self, prompt: str, text: str) -> Usage:
        return from_openai(self._usage, prompt, text)

    def _take(self, data: bytes, *, at_end: bool) -> None:
        if not 200 <= self.status < 300:
            self.body += data[: max(0, _MAX_ERROR - len(self.body))]
            return
        if not self._streams:
            self.body += data
            start = self.body[:64].lstrip()
            if self._streams is None and (start or at_end):
                self._streams = not start.startswith((b"{", b"["))
            data = bytes(self.body)
        if self._streams:
            events = self._parser.feed(data)
            for event in events + self._parser.finish() if at_end else events:
                self._on_event(event)
        elif self._streams is False and at_end:
            self._on_whole(data)

    def _on_event(self, event: bytes) -> None:
        if event.strip() == b"[DONE]":
            self._complete = bool(self._text or self._finish_reason)
            return
        try:
            chunk = loads(event)
        except ValueError:
            return
        self._read(chunk, "delta")

    def _on_whole(self, body: bytes) -> None:
        try:
            completion = loads(body)
        except ValueError:
            raise ApiError(502, "api_error", "its answer is not JSON") from None
        self._read(completion, "message")
        self._complete = self._complete or bool(self._text)

    def _read(self, data: Any, holder: str) -> None:
        if (failure := upstream_error(data, _CONTEXT)) is not None:
            raise failure
        choices = data.get("choices") if isinstance(data, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices else {}
        if not isinstance(data, dict) or not isinstance(choice, dict):
            return
        self._usage = find_usage(data, choice) or self._usage
        said = choice.get(holder)
        content = said.get("content") if isinstance(said, dict) else None
        text = chunks_text(content, "text") if isinstance(content, list) else content
        if isinstance(text, str) and text:
            self._text.append(text)
            self._on_text(text)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            check_finish_reason(reason)
            self._finish_reason = reason
            self._complete = True


class _MessagesAnswer(_Answer):
    """The same for an answer in Anthropic's protocol."""

    def _on_event(self, event: bytes) -> None:
        try:
            data = loads(event)
        except ValueError:
            return
        if isinstance(data, dict):
            self._see(_DIALECT.see_event(data), data.get("delta"))

    def _on_whole(self, body: bytes) -> None:
        try:
            data = loads(body)
        except ValueError:
            raise ApiError(502, "api_error", "its answer is not JSON") from None
        if isinstance(data, dict):
            self._see(_DIALECT.see_answer(data), data)

    def _see(self, seen: Seen, holder: Any) -> None:
        if seen.error is not None:
            raise seen.error
        if seen.text:
            self._text.append(seen.text)
            self._on_text(seen.text)
        self._usage = seen.usage or self._usage
        if isinstance(holder, dict) and holder.get("stop_reason"):
            self._finish_reason = "length" if holder["stop_reason"] == "max_tokens" else "stop"
        self._complete |= seen.complete

    def _usage_of(self, prompt: str, text: str) -> Usage:
        estimate = {"input_tokens": estimate_tokens(prompt), "output_tokens": estimate_tokens(text)}
        return estimate if self._usage is None else {**from_anthropic({}), **self._usage}


def _scope(request_id: str, path: str, calls: list[ProviderCall]) -> Scope:
    """A request of our own: the planner's provider gets no header of the client's, no custom header and no key."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"accept", b"text/event-stream")],
        "client": None,
        "server": None,
        "ccproxy.request_id": request_id,
        "ccproxy.calls": calls,
    }


async def _never() -> Message:
    """The client of a request of our own doesn't disconnect: the whole call is cancelled instead."""
    await anyio.sleep_forever()
    raise AssertionError
