"""What providers say that they have used, noted down as it passes."""

import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import MeterMiddleware
from ccproxy_middleware.toolkit.asgi import BufferedBody
from ccproxy_middleware.toolkit.errors import StreamAborted
from ccproxy_middleware.toolkit.record import ProviderCall, Record, observe
from support.asgi import Inner, call, http_scope

pytestmark = pytest.mark.anyio

SSE = {"content-type": "text/event-stream"}
CHAT_USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "total_tokens": 1050,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
CHAT_COUNTS = {
    "input_tokens": 600,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 400,
    "output_tokens": 50,
    "output_tokens_details": {"thinking_tokens": 20},
}
RESPONSES_USAGE = {
    "input_tokens": 1000,
    "output_tokens": 50,
    "total_tokens": 1050,
    "input_tokens_details": {"cached_tokens": 400},
    "output_tokens_details": {"reasoning_tokens": 20},
}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}


def frames(*events: Any, done: bool = False) -> bytes:
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return body + b"data: [DONE]\n\n" if done else body


async def metered(inner: ASGIApp, path: str = "/v1/chat/completions", body: Any = None) -> list[ProviderCall]:
    """The calls that an endpoint's answer to a request comes to."""
    records: list[Record] = []
    app = MeterMiddleware(inner, upstream="near", provider="openai")

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        await observe(app, scope, receive, send, records.append)

    with contextlib.suppress(StreamAborted):
        await call(observed, http_scope("POST", path), {"model": "m-1", "stream": True} if body is None else body)
    return records[0].calls


CHUNK = {"id": "c", "model": "m-1-2026", "choices": [{"index": 0, "delta": {"content": "hi"}}], "usage": None}
MESSAGE = {"type": "message", "model": "claude-x", "content": [], "usage": {"input_tokens": 7, "output_tokens": 1}}
ANTHROPIC_END = {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": 5}
WHOLE = {
    "chat": ("/v1/chat/completions", {"model": "m-1-2026", "choices": [CHOICE], "usage": CHAT_USAGE}, CHAT_COUNTS),
    "responses": (
        "/v1/responses",
        {"model": "m-1-2026", "output": [], "error": None, "usage": RESPONSES_USAGE},
        CHAT_COUNTS,
    ),
    "anthropic": ("/v1/messages", {**MESSAGE, "usage": ANTHROPIC_END}, ANTHROPIC_END),
}
STREAMS = {
    "chat": (
        "/v1/chat/completions",
        frames(CHUNK, CHUNK, {**CHUNK, "choices": [], "usage": CHAT_USAGE}, done=True),
        CHAT_COUNTS,
    ),
    "zeros at the end": (
        "/v1/chat/completions",
        frames(CHUNK, {**CHUNK, "usage": CHAT_USAGE}, {**CHUNK, "usage": {"prompt_tokens": 0}}, done=True),
        CHAT_COUNTS,
    ),
    "in x_groq": (
        "/v1/chat/completions",
        frames(CHUNK, {"model": "m-1-2026", "choices": [], "x_groq": {"usage": CHAT_USAGE}}, done=True),
        CHAT_COUNTS,
    ),
    "responses": (
        "/v1/responses",
        frames(
            {"type": "response.created", "response": {"model": "m-1-2026", "usage": None}},
            {"type": "response.output_text.delta", "delta": "hi"},
            {"type": "response.completed", "response": {"model": "m-1-2026", "output": [], "usage": RESPONSES_USAGE}},
        ),
        CHAT_COUNTS,
    ),
    "anthropic": (
        "/v1/messages",
        frames(
            {"type": "message_start", "message": MESSAGE},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": '"usage":{'}},
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5, "cache_read_input_tokens": 3}},
            {"type": "message_stop"},
        ),
        ANTHROPIC_END,
    ),
}


@pytest.mark.parametrize("form", WHOLE)
async def test_whole_answer_is_counted(form: str) -> None:
    path, answer, expected = WHOLE[form]
    (made,) = await metered(Inner(json.dumps(answer).encode()), path)
    assert made.usage == expected
    assert (made.upstream, made.provider, made.model) == ("near", "openai", "m-1")
    assert made.answered_model == ("claude-x" if form == "anthropic" else "m-1-2026")


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("form", STREAMS)
async def test_stream_is_counted_however_it_is_cut(form: str, size: int) -> None:
    path, body, expected = STREAMS[form]
    pieces = [body[n : n + size] for n in range(0, len(body), size)]
    (made,) = await metered(Inner(pieces, headers=SSE), path)
    assert made.usage == expected


async def test_answer_passes_as_it_is() -> None:
    pieces = [b"data: {}\n\n", b'data: {"usage":{}}\n', b"\ndata: [DONE]\n\n"]
    scope = {**http_scope("POST", "/v1/chat/completions"), "ccproxy.calls": []}
    answer = await call(MeterMiddleware(Inner(pieces, headers=SSE)), scope, {"model": "m"})
    assert [message.get("body") for message in answer.messages[1:]] == pieces


@pytest.mark.parametrize(
    ("status", "body", "count"),
    [
        (429, b'{"error":{"message":"slow down"}}', 0),
        (200, b'{"error":{"message":"overloaded"}}', 0),
        (200, b'{"choices":[]}', 1),  # it may have cost something, nobody knows what
        (200, b"no JSON", 1),
    ],
)
async def test_refusal_is_no_call_and_an_answer_without_usage_is_one(status: int, body: bytes, count: int) -> None:
    calls = await metered(Inner(body, status=status))
    assert [made.usage for made in calls] == [{}] * count


async def test_stream_that_begins_with_an_error_is_no_call() -> None:
    assert await metered(Inner(frames({"error": {"message": "no"}}), headers=SSE)) == []
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}
    assert await metered(Inner(frames(error), headers=SSE), "/v1/messages") == []


@pytest.mark.parametrize("form", ["chat", "responses", "anthropic"])
async def test_stream_that_is_cut_off_has_no_usage_unless_it_came(form: str) -> None:
    path, body, expected = STREAMS[form]

    async def cut(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": sent, "more_body": True})
        raise StreamAborted("the connection is gone")

    sent = body[: body.rindex(b"data: ", 0, body.index(b'"output_tokens_details"') if form == "responses" else -60)]
    (made,) = await metered(cut, path)
    assert made.usage == {}
    sent = body
    (made,) = await metered(cut, path)
    assert made.usage == expected


async def test_encoded_answer_is_not_read() -> None:
    (made,) = await metered(Inner(b"\x1f\x8b", headers={"content-encoding": "gzip"}))
    assert made.usage == {}


async def test_very_long_answer_is_not_held() -> None:
    long = [b'{"choices":[],"usage":{"prompt_tokens":1},"x":"', *[b"x" * 65536] * 80, b'"}']
    (made,) = await metered(Inner(long))
    assert made.usage == {}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"model":1}', b"{"])
async def test_request_without_a_model_is_counted(body: bytes) -> None:
    (made,) = await metered(Inner(json.dumps(WHOLE["chat"][1]).encode()), body=body)
    assert (made.model, made.usage) == (None, CHAT_COUNTS)


async def test_model_is_known_from_a_body_that_others_have_read() -> None:
    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        body = await BufferedBody.read(scope, receive, 1000)
        await MeterMiddleware(Inner(b'{"choices":[]}'))(scope, body.replace({"model": "other"}), send)

    records: list[Record] = []

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        await observe(reading, scope, receive, send, records.append)

    await call(observed, http_scope("POST", "/v1/responses"), {"model": "m-1"})
    assert [made.model for made in records[0].calls] == ["other"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/models"), ("POST", "/v1/messages/count_tokens")])
async def test_other_requests_are_no_calls(method: str, path: str) -> None:
    calls: list[ProviderCall] = []
    await call(MeterMiddleware(Inner(b"{}")), {**http_scope(method, path), "ccproxy.calls": calls})
    assert calls == []


def test_cost_is_known_only_if_all_of_it_is() -> None:
    record = Record("r", "POST", "/v1/messages", price=lambda call: Decimal(2) if call.model == "dear" else None)
    record.settle_cost()
    assert record.cost is None
    record.calls.append(ProviderCall(model="dear", usage={"input_tokens": 1}))
    record.settle_cost()
    assert record.cost == 2
    record.calls.append(ProviderCall(model="dear"))  # cancelled
    record.settle_cost()
    assert record.cost is None
