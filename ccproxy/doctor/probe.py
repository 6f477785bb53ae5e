"""Asks the provider as the proxy does: through Forward and the custom headers, in this process."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import anyio
import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccproxy.settings import Settings
from ccproxy.upstreams import make_forward, planner_upstream
from ccproxy_middleware import CustomHeadersMiddleware, FormatConversionMiddleware, PromptedToolsMiddleware
from ccproxy_middleware.conversion.chat import split_think_tags
from ccproxy_middleware.conversion.providers import Profile, error_from_payload, is_failure
from ccproxy_middleware.models import DEFAULT_UPSTREAM
from ccproxy_middleware.toolkit.errors import ApiError, StreamAborted, send_error
from ccproxy_middleware.toolkit.sse import SSEParser

_KEY_OF_THE_CLIENT = Profile(key_mode="passthrough")  # report a refused key as such
RETRIES = 1  # a failure that repeats is reported
MAX_REQUESTS = 100
"""The maximum number of requests in one examination, since each may cost money."""


@dataclass
class Call:
    """A tool call in an answer; ``arguments`` is JSON text as far as it arrived."""

    name: str = ""
    arguments: str = ""

    def parsed(self) -> Any:
        """The arguments as an object, or None if they are not one."""
        try:
            value = orjson.loads(self.arguments)
        except orjson.JSONDecodeError:
            return None
        return value if isinstance(value, dict) else None


@dataclass
class Answer:
    """An answer: its bytes, each piece with the seconds between the request and its arrival."""

    status: int = 0
    content_type: str = ""
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    seconds: float = 0.0
    broken: bool = False

    @property
    def ok(self) -> bool:
        """Whether it is not an error."""
        return 200 <= self.status < 300 and not self.error

    @cached_property
    def body(self) -> bytes:
        """All bytes."""
        return b"".join(piece for _, piece in self.pieces)

    @cached_property
    def data(self) -> Any:
        """The body parsed as JSON; None if it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    @property
    def is_stream(self) -> bool:
        """Whether its headers say that it is an event stream."""
        return self.content_type.startswith("text/event-stream")

    @cached_property
    def events(self) -> list[tuple[float, dict[str, Any]]]:
        """The JSON objects of an event stream, each with the second at which it was complete."""
        parser = SSEParser()
        found = [(seconds, data) for seconds, piece in self.pieces for data in parser.feed(piece)]
        found += [(self.seconds, data) for data in parser.finish()]
        events = []
        for seconds, data in found:
            try:
                event = orjson.loads(data)
            except orjson.JSONDecodeError:  # such as [DONE]
                continue
            if isinstance(event, dict):
                events.append((seconds, event))
        return events

    @cached_property
    def failure(self) -> ApiError | None:
        """The error in the answer, whatever its format, as the class that a client receives."""
        payload = self.data
        if self.is_stream:
            payload = next((event for _, event in self.events if is_failure(event)), None)
        if self.status >= 300 or is_failure(payload):
            return error_from_payload(payload, self.status, _KEY_OF_THE_CLIENT)
        return None

    @property
    def error(self) -> str:
        """The message of an error; empty if there is none."""
        if self.failure is not None:
            return self.failure.message
        return "the answer broke off" if self.broken else ""

    @property
    def meaning(self) -> int:
        """The answer's status, or that of its error's class, since an error code may be more precise."""
        return self.status if self.failure is None else self.failure.status

    @cached_property
    def _parts(self) -> list[tuple[float, dict[str, Any], dict[str, Any]]]:
        """Each first choice with the message or delta in it, and its second."""
        objects = self.events if self.is_stream else [(self.seconds, self.data)]
        parts = []
        for seconds, data in objects:
            choice = _first(data.get("choices")) if isinstance(data, dict) else {}
            message = choice.get("delta" if self.is_stream else "message")
            parts.append((seconds, choice, message if isinstance(message, dict) else {}))
        return parts

    def _joined(self, *names: str) -> str:
        values = [message.get(name) for _, _, message in self._parts for name in names]
        return "".join(value for value in values if isinstance(value, str))

    @property
    def content(self) -> str:
        """The text as received."""
        return self._joined("content")

    @property
    def text(self) -> str:
        """The text without a ``<think>`` section."""
        return split_think_tags(self.content)[1].strip()

    @property
    def thinks_in_text(self) -> bool:
        """Whether there is a ``<think>`` section in the text."""
        return bool(split_think_tags(self.content)[0])

    @property
    def reasoning(self) -> str:
        """The reasoning, if it has a separate field."""
        return self._joined("reasoning_content", "reasoning").strip()

    @property
    def calls(self) -> list[Call]:
        """The tool calls, in order."""
        calls: dict[int, Call] = {}
        for _, _, message in self._parts:
            listed = message.get("tool_calls")
            for position, call in enumerate(listed if isinstance(listed, list) else ()):
                if not isinstance(call, dict):
                    continue
                index = call.get("index")
                known = calls.setdefault(index if isinstance(index, int) else position, Call())
                function = call.get("function")
                if isinstance(function, dict):
                    known.name = known.name or str(function.get("name") or "")
                    known.arguments += str(function.get("arguments") or "")
        return list(calls.values())

    @property
    def finish_reason(self) -> str:
        """The finish reason; empty if the provider does not report it."""
        reasons = [choice.get("finish_reason") for _, choice, _ in self._parts]
        return next((str(reason) for reason in reversed(reasons) if reason), "")

    @property
    def usage(self) -> Mapping[str, Any]:
        """The usage; empty if there is none."""
        objects = [event for _, event in self.events] if self.is_stream else [self.data]
        told = [item.get("usage") for item in objects if isinstance(item, dict)]
        return next((usage for usage in reversed(told) if isinstance(usage, dict) and usage), {})

    @property
    def text_times(self) -> list[float]:
        """The seconds at which pieces of text or reasoning arrived."""
        names = ("content", "reasoning_content", "reasoning")
        return [seconds for seconds, _, message in self._parts if any(message.get(name) for name in names)]


class Probe:
    """One provider, asked through its own API."""

    def __init__(self, app: ASGIApp) -> None:
        self.requests = 0  # that were asked

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if self.requests >= MAX_REQUESTS:
                message = f"not asked: {MAX_REQUESTS} requests are the most that are made"
                return await send_error(scope, send, ApiError(429, "rate_limit_error", message))
            self.requests += 1
            await app({**scope, "ccproxy.key": self._key}, receive, send)

        self.app: ASGIApp = counted
        self._key = 0

    @contextmanager
    def with_key(self, number: int) -> Iterator[None]:
        """Use another key of the pool; 0 is the first."""
        self._key = number
        try:
            yield
        finally:
            self._key = 0

    async def get(self, path: str) -> Answer:
        """The answer to a GET of ``/v1`` + path."""
        return await exchange(self.app, "GET", f"/v1{path}")

    async def complete(self, body: Mapping[str, Any], *, below: str = "") -> Answer:
        """The answer to a chat completions request. ``below``: a path below the base URL to try."""
        return await exchange(self.app, "POST", f"/v1{below}/chat/completions", body)

    async def respond(self, body: Mapping[str, Any]) -> Answer:
        """The answer to a Responses request."""
        return await exchange(self.app, "POST", "/v1/responses", body)

    async def message(self, body: Mapping[str, Any]) -> Answer:
        """The answer to a request in Anthropic's protocol."""
        return await exchange(self.app, "POST", "/v1/messages", body)


@asynccontextmanager
async def open_probe(settings: Settings, upstream: str = DEFAULT_UPSTREAM) -> AsyncIterator[Probe]:
    """A probe for an upstream of these settings."""
    asked = settings.upstream(upstream)
    forward = make_forward(_hurried(settings), asked)
    async with forward.lifespan():
        yield Probe(CustomHeadersMiddleware(forward, headers=asked.headers))


@asynccontextmanager
async def open_planner(settings: Settings) -> AsyncIterator[Probe]:
    """A probe for the planner at these settings' BOOST_BASE_URL."""
    planner = planner_upstream(settings)
    assert planner is not None  # noqa: S101
    forward = make_forward(_hurried(settings), planner)
    async with forward.lifespan():
        yield Probe(forward)


def _hurried(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_retries": min(settings.max_retries, RETRIES)})


async def converse(
    app: ASGIApp, provider: str, options: Mapping[str, Any], request: Mapping[str, Any]
) -> tuple[Answer, Mapping[str, Any]]:
    """The answer to an Anthropic request that is converted before this app, and the switches that corrections have
    learned.
    """
    learned: dict[str, Any] = {}

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        if (corrections := scope.get("ccproxy.corrections")) is None:
            return await app(scope, receive, send)
        for switches in corrections.learned().values():
            learned.update(switches)

    converted: ASGIApp = FormatConversionMiddleware(inner, provider=provider, options=options)
    converted = PromptedToolsMiddleware(converted, provider=provider, options=options)
    answer = await exchange(converted, "POST", "/v1/messages", request)
    await exchange(converted, "GET", "/test-connection")  # passes the corrections to the inner app
    return answer, learned


async def exchange(app: ASGIApp, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
    """Send one request to an ASGI app in this process."""
    answer = Answer()
    raw = b"" if body is None else orjson.dumps(body)
    headers = [(b"accept", b"*/*"), (b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "server": ("127.0.0.1", 0),
        "client": ("127.0.0.1", 0),
    }
    sent = False
    begun = time.perf_counter()

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await anyio.sleep_forever()
        sent = True
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            names = {name.lower(): value for name, value in message["headers"]}
            answer.content_type = names.get(b"content-type", b"").decode("latin-1").lower()
        elif message["type"] == "http.response.body" and message.get("body"):
            answer.pieces.append((time.perf_counter() - begun, message["body"]))

    try:
        await app(scope, receive, send)
    except StreamAborted:
        answer.broken = True
    answer.seconds = time.perf_counter() - begun
    return answer


def _first(choices: Any) -> dict[str, Any]:
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else {}
