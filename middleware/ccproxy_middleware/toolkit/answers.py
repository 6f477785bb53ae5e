"""For a layer that calls an inner app itself: the whole answer, and whether the client is still connected."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import anyio.lowlevel
from starlette.types import ASGIApp, Message, Receive, Scope

from .asgi import Headers, without_headers
from .errors import ApiError, StreamAborted
from .json import loads

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""The longest answer that is held."""


# Parts of a client's scope or headers that are not passed on to a question of the layer's own.
_OF_REQUEST = ("ccproxy.safeguards", "ccproxy.key", "ccproxy.max_retries", "ccproxy.route", "ccproxy.safety_check")
_NOT_SENT = (b"accept-encoding", b"content-length", b"content-type", b"idempotency-key", b"transfer-encoding")


class WholeAnswer(NamedTuple):
    """``error``: the failure in the answer, if one of our layers or endpoints has created it."""

    status: int
    headers: Headers
    body: bytes
    error: ApiError | None


def question_scope(scope: Scope, models: Sequence[str]) -> Scope:
    """A client's scope, adapted to a layer's own question to the first of ``models``; the others are fallbacks.

    Facts about the answer to the question are not added to the record of the client's request.
    """
    headers = without_headers(scope["headers"], *_NOT_SENT)
    headers += [(b"accept-encoding", b"identity"), (b"content-type", b"application/json")]
    return {
        **{name: value for name, value in scope.items() if name not in _OF_REQUEST},
        "query_string": b"",
        "headers": headers,
        "ccproxy.record": None,
        "ccproxy.model": {"requested": models[0], "tier": None, "fixed": True},
        "ccproxy.candidates": tuple(models),
    }


async def ask_inside(app: ASGIApp, scope: Scope, receive: Receive) -> WholeAnswer | None:
    """Call the app; None if it returns without an answer, as it does when the client has disconnected.

    Raises ApiError for an answer that breaks off, or that is too long to be held.
    """
    start: Message | None = None
    body = bytearray()
    whole = False

    async def collect(message: Message) -> None:
        nonlocal start, whole
        if message["type"] == "http.response.start":
            start = message
        elif message["type"] == "http.response.body":
            if len(body) + len(message.get("body", b"")) > MAX_ANSWER_BYTES:
                raise ApiError(502, "api_error", f"the provider's answer is over {MAX_ANSWER_BYTES} bytes")
            body.extend(message.get("body", b""))
            whole = not message.get("more_body", False)

    try:
        await app(scope, receive, collect)
    except StreamAborted as abort:
        raise _cut_off(abort) from abort
    if start is None:
        return None
    if not whole:
        raise _cut_off()
    return WholeAnswer(start["status"], list(start.get("headers", ())), bytes(body), start.get("ccproxy.error"))


def _cut_off(abort: StreamAborted | None = None) -> ApiError:
    known = None if abort is None else abort.error
    return known or ApiError(502, "api_error", "the provider's answer ended before it was complete")


def parse_answer(body: bytearray) -> Any:
    """The JSON of an answer, with invalid UTF-8 replaced as in a stream. Raises ApiError if it is not JSON."""
    with suppress(ValueError):
        return loads(body)
    if not body.isascii():
        with suppress(ValueError):
            return loads(body.decode("utf-8", "replace"))
    raise ApiError(502, "api_error", "the provider's answer is not JSON")


class Leaving:
    """A ``receive`` on which several tasks may wait for the client to disconnect; a server's own need not notify them
    all.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._turn = asyncio.Lock()
        self._left: Message | None = None

    async def __call__(self) -> Message:
        async with self._turn:
            if self._left is not None:
                return self._left
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._left = message
            return message

    async def wait(self) -> None:
        """Return when the client has disconnected."""
        while (await self())["type"] != "http.disconnect":
            await anyio.lowlevel.checkpoint()  # a foreign receive may return other messages without end
