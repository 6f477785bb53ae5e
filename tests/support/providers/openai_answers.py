"""The answers that a scripted provider can give, and their bytes as OpenAI would send them."""

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .openai_rules import error_body

JSON_HEADERS = {"content-type": "application/json"}
SSE_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


@dataclass(frozen=True)
class ToolCall:
    """A call in an answer; ``arguments`` is JSON text, whole or broken, or an object to be dumped."""

    name: str
    arguments: str | Mapping[str, Any] = "{}"
    id: str | None = None

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True)
class Reply:
    """A well-formed answer, streamed or whole as the request asks.

    ``text`` and ``reasoning`` given as a sequence are streamed with these very deltas. ``finish_reason``
    follows from the content if None. ``delay`` is the pause in seconds before each chunk. ``gate`` holds an answer
    back until the test sets it; of a stream the first two chunks come before.
    """

    text: str | Sequence[str] = ""
    tool_calls: Sequence[ToolCall] = ()
    reasoning: str | Sequence[str] = ""
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    gate: threading.Event | None = None


@dataclass(frozen=True)
class Chunks:
    """A stream of these JSON chunks as they are; ``done`` ends it with ``[DONE]``."""

    chunks: Sequence[Mapping[str, Any]]
    done: bool = True
    delay: float = 0.0


@dataclass(frozen=True)
class Raw:
    """These bytes, one write each; a number among them is a pause in seconds."""

    body: Sequence[bytes | float]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: SSE_HEADERS)


@dataclass(frozen=True)
class Failure:
    """An error status with a body: text, or an object to be dumped."""

    status: int
    body: Mapping[str, Any] | str = field(
        default_factory=lambda: error_body("The server had an error.", "server_error")
    )
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Endless:
    """A text stream without end: ``size`` characters of content every ``interval`` seconds."""

    interval: float = 0.01
    size: int = 8


@dataclass(frozen=True)
class Silence:
    """No answer at all: the request is read and kept open."""


Body: TypeAlias = AsyncGenerator[bytes, None]
Answer: TypeAlias = Reply | Chunks | Raw | Failure | Endless | Silence
_ids = itertools.count(1)


def render(answer: Answer, body: dict[str, Any]) -> tuple[int, Mapping[str, str], Body]:
    """The status (0: none is ever sent), headers and body bytes of an answer to a request with this body."""
    match answer:
        case Reply():
            if not body.get("stream"):
                return json_answer(200, _completion(answer, body), answer.headers, after=answer.gate or answer.delay)
            events = _events(_stream(answer, body), done=True, delay=answer.delay, gate=answer.gate)
            return 200, {**SSE_HEADERS, **answer.headers}, events
        case Chunks():
            return 200, SSE_HEADERS, _events(answer.chunks, done=answer.done, delay=answer.delay)
        case Raw():
            return answer.status, answer.headers, _raw(answer.body)
        case Failure():
            if isinstance(answer.body, str):
                return (
                    answer.status,
                    {"content-type": "text/plain", **answer.headers},
                    _raw([answer.body.encode()]),
                )
            return json_answer(answer.status, answer.body, answer.headers)
        case Endless():
            return 200, SSE_HEADERS, _endless(answer, body)
        case Silence():
            return 0, {}, _silence()


def json_answer(
    status: int,
    document: Mapping[str, Any],
    headers: Mapping[str, str] = JSON_HEADERS,
    *,
    after: float | threading.Event = 0.0,
) -> tuple[int, Mapping[str, str], Body]:
    """A JSON document as an answer, its body after a pause or an event."""
    raw = json.dumps(document).encode()
    return (
        status,
        {**JSON_HEADERS, "content-length": str(len(raw)), **headers},
        _raw([after, raw] if after else [raw]),
    )


async def _raw(parts: Iterable[bytes | float | threading.Event]) -> Body:
    for part in parts:
        if isinstance(part, bytes):
            yield part
        elif isinstance(part, threading.Event):
            await _is_set(part)
        else:
            await asyncio.sleep(part)


async def _is_set(gate: threading.Event) -> None:
    while not gate.is_set():  # noqa: ASYNC110 - the gate is another thread's
        await asyncio.sleep(0.01)


async def _events(
    chunks: Iterable[Mapping[str, Any]], *, done: bool, delay: float, gate: threading.Event | None = None
) -> Body:
    for number, chunk in enumerate(chunks):
        if number == 2 and gate is not None:
            await _is_set(gate)
        await asyncio.sleep(delay)
        yield _event(chunk)
    if done:
        yield b"data: [DONE]\n\n"


async def _endless(answer: Endless, body: Mapping[str, Any]) -> Body:
    piece = _event(_chunk(body, {"content": "x" * answer.size}))
    while True:  # until the client leaves
        yield piece
        await asyncio.sleep(answer.interval)


async def _silence() -> Body:
    await asyncio.Event().wait()
    yield b""


def _event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _chunk(body: Mapping[str, Any], delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    chunk: dict[str, Any] = {
        "id": "chatcmpl-test",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_test",
        "choices": [choice],
    }
    if (body.get("stream_options") or {}).get("include_usage"):
        chunk["usage"] = None
    return chunk


def _stream(reply: Reply, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks as OpenAI cuts them: role, content, calls with arguments in fragments, finish, usage."""
    yield _chunk(body, {"role": "assistant", "content": "", "refusal": None})
    for piece in _pieces(reply.reasoning):
        yield _chunk(body, {"reasoning_content": piece})
    for piece in _pieces(reply.text):
        yield _chunk(body, {"content": piece})
    for index, call in enumerate(reply.tool_calls):
        function = {"name": call.name, "arguments": ""}
        first = {"index": index, "id": _call_id(call), "type": "function", "function": function}
        yield _chunk(body, {"tool_calls": [first]})
        for piece in _pieces(call.text):
            yield _chunk(body, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield _chunk(body, {}, _finish_reason(reply))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**_chunk(body, {}), "choices": [], "usage": _usage(reply, body)}


def _completion(reply: Reply, body: Mapping[str, Any]) -> dict[str, Any]:
    text = "".join(reply.text)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if reply.reasoning:
        message["reasoning_content"] = "".join(reply.reasoning)
    if reply.tool_calls:
        message["content"] = text or None
        message["tool_calls"] = [
            {
                "id": _call_id(call),
                "type": "function",
                "function": {"name": call.name, "arguments": call.text},
            }
            for call in reply.tool_calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(reply)}
    return {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [choice],
        "usage": _usage(reply, body),
        "service_tier": "default",
        "system_fingerprint": "fp_test",
    }


def _pieces(text: str | Sequence[str]) -> Sequence[str]:
    if not isinstance(text, str):
        return text
    return [text[n : n + 7] for n in range(0, len(text), 7)]


def _call_id(call: ToolCall) -> str:
    return f"call_{next(_ids):024d}" if call.id is None else call.id


def _finish_reason(reply: Reply) -> str:
    return reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")


def _usage(reply: Reply, body: Mapping[str, Any]) -> Mapping[str, Any]:
    if reply.usage is not None:
        return reply.usage
    prompt = len(json.dumps(body["messages"])) // 4 + 1
    completion = len("".join(reply.text)) // 4 + 1
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
