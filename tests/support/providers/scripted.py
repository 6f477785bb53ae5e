"""A provider that speaks OpenAI's chat completions and Responses and answers what a test tells it to.

Serve it on a real socket: ``with serve(provider := ScriptedProvider([Reply("Hi")])) as server: ...``
"""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.types import Receive, Scope, Send

from .openai_answers import (
    Answer,
    Body,
    Chunks,
    Endless,
    Failure,
    Raw,
    Reply,
    Silence,
    ToolCall,
    json_answer,
    render,
)
from .openai_rules import Refused, check_request, error_body
from .responses_answers import render_response
from .responses_rules import check_responses_request

__all__ = [
    "Answer",
    "Chunks",
    "Disconnect",
    "Endless",
    "Failure",
    "Raw",
    "Recorded",
    "Reply",
    "ScriptedProvider",
    "Silence",
    "ToolCall",
    "error_body",
]

Script: TypeAlias = Callable[[dict[str, Any]], Answer]


@dataclass
class Recorded:
    """A request as the provider got it. ``body`` is the parsed JSON, or None.

    Names of headers are in lower case. ``sent`` counts the answer's body bytes that the server has taken.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw: bytes
    body: Any
    sent: int = 0


@dataclass(frozen=True)
class Disconnect:
    """A request whose client went away before the end of its answer, and when (``time.monotonic``)."""

    request: Recorded
    time: float


class ScriptedProvider:
    """The ASGI app. ``script`` is one answer per completion in order, or a function of the request's body.

    requests: everything that was asked, refused requests included.
    active: requests that are being answered now.
    disconnects: requests whose client left before the end.

    A request that OpenAI would refuse gets OpenAI's own 400. ``allow`` names further top-level parameters
    that this provider takes; without ``has_responses`` it has chat completions alone. With ``api_key`` every other
    bearer token or ``api-key`` gets a 401.
    """

    def __init__(
        self,
        script: Iterable[Answer] | Script | None = None,
        *,
        models: Sequence[str | Mapping[str, Any]] = ("gpt-4o", "gpt-4o-mini"),
        api_key: str | None = None,
        allow: Collection[str] = (),
        has_responses: bool = True,
    ) -> None:
        self._has_responses = has_responses
        self._script = script if callable(script) else None
        self._queue = [] if script is None or callable(script) else list(script)
        self._default = script is None
        self._models = models
        self._api_key = api_key
        self._allow = allow
        self.requests: list[Recorded] = []
        self.disconnects: list[Disconnect] = []
        self.active = 0
        self.issued: list[dict[str, Any]] = []  # the reasoning items of its responses

    @property
    def responses(self) -> list[Any]:
        """The bodies of the responses that were asked for."""
        return [request.body for request in self.requests if request.path.endswith("/responses")]

    @property
    def completions(self) -> list[Any]:
        """The bodies of the completions that were asked for."""
        return [request.body for request in self.requests if request.path.endswith("/chat/completions")]

    def add(self, *answers: Answer) -> None:
        """Append to the queue."""
        self._queue += answers
        self._default = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        raw = await _read(receive)
        request = Recorded(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode(),
            headers={name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]},
            raw=raw,
            body=_parse(raw),
        )
        self.requests.append(request)
        self.active += 1
        answer = asyncio.ensure_future(self._answer(request, send))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                self.disconnects.append(Disconnect(request, time.monotonic()))
        finally:
            self.active -= 1
            answer.cancel()
            gone.cancel()
            results = await asyncio.gather(answer, gone, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _answer(self, request: Recorded, send: Send) -> None:
        status, headers, body = self._decide(request)
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with aclosing(body):
            if status:
                await send({"type": "http.response.start", "status": status, "headers": encoded})
            async for chunk in body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                request.sent += len(chunk)
        await send({"type": "http.response.body", "body": b""})

    def _decide(self, request: Recorded) -> tuple[int, Mapping[str, str], Body]:
        """The status, headers and body of the answer to a request."""
        credential = request.headers.get("api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._api_key is not None and credential != self._api_key:
            return json_answer(401, error_body("Incorrect API key provided.", code="invalid_api_key"))
        if request.method in ("GET", "HEAD") and request.path.endswith("/models"):
            told = [{"id": model} if isinstance(model, str) else model for model in self._models]
            models = [{"object": "model", "created": 1, "owned_by": "test", **entry} for entry in told]
            return json_answer(200, {"object": "list", "data": models})
        paths = ("/chat/completions", "/responses") if self._has_responses else ("/chat/completions",)
        if request.method != "POST" or not request.path.endswith(paths):
            return json_answer(404, error_body(f"Invalid URL ({request.method} {request.path})"))
        by_responses = request.path.endswith("/responses")
        try:
            (check_responses_request if by_responses else check_request)(request.body, self._allow)
        except Refused as exc:
            return json_answer(400, exc.body)
        answer = self._next(request.body)
        return render_response(answer, request.body, self.issued) if by_responses else render(answer, request.body)

    def _next(self, body: dict[str, Any]) -> Answer:
        if self._script is not None:
            return self._script(body)
        if self._default:
            return Reply("Hello from the provider.")
        if not self._queue:
            return Failure(500, error_body("the test's script has no answer left", "server_error"))
        return self._queue.pop(0)


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


async def _read(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
