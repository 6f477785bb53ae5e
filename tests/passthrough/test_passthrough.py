"""PassthroughMiddleware in front of a strict server of Anthropic's API."""

import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ccproxy_middleware import PassthroughMiddleware, RoutingMiddleware
from ccproxy_middleware.conversion.anthropic import encode_signature
from ccproxy_middleware.toolkit.record import Record, observe
from support.asgi import Answer, Inner, call, http_scope
from support.providers.anthropic_rules import signature
from support.providers.anthropic_server import AnthropicServer, Body, Content, Refusal
from support.providers.targets import Target, event, frames
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

OURS = encode_signature({"p": "openai"})
ENABLED = {"type": "enabled", "budget_tokens": 2000}
LAST = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01", "content": "ok"}]}


def hello(body: Body) -> Content:
    return [{"type": "thinking", "thinking": "well"}, {"type": "text", "text": "Hello"}]


def loop(*first: dict[str, Any], **more: Any) -> dict[str, Any]:
    used = {"type": "tool_use", "id": "toolu_01", "name": "Read", "input": {}}
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [*first, used]}, LAST]
    return {"model": "claude-sonnet-4-5", "max_tokens": 9000, "messages": messages, "thinking": ENABLED, **more}


def foreign(text: str = "a", signed: str = "signed-elsewhere") -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signed}


async def ask(app: Any, body: Any, path: str = "/v1/messages", record: Record | None = None) -> Answer:
    scope = http_scope("POST", path, {"x-claude-code-session-id": "s"})
    return await call(app, {**scope, "ccproxy.record": record}, body, chunks=2)


@pytest.mark.parametrize("stream", [False, True])
async def test_request_of_anthropics_own_passes_byte_by_byte(stream: bool) -> None:
    server = AnthropicServer(hello, strict=True)
    native = loop(foreign("t", signature("t")), stream=stream)
    raw = json.dumps(native, indent=1).replace("9000", "9000.0").encode() + b"\n"
    answer = await call(PassthroughMiddleware(server), http_scope("POST", "/v1/messages"), raw, chunks=3)
    assert answer.status == 200
    assert answer.complete
    assert server.raws == [raw]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_what_ours_have_made_is_never_sent(path: str) -> None:
    server = AnthropicServer(hello, strict=True)
    answer = await ask(PassthroughMiddleware(server), loop(foreign(signed=OURS)), path)
    assert answer.status == 200
    assert server.refused == []
    assert OURS not in json.dumps(server.bodies)
    assert server.bodies[0]["thinking"] == {"type": "disabled"}


async def test_only_what_must_change_does() -> None:
    server = AnthropicServer(hello, strict=True)
    body = loop(foreign(signed=OURS), metadata={"n": "N"})
    raw = json.dumps(body).replace('"N"', '1E5, "\\ud83d": 1.0').encode()
    await call(PassthroughMiddleware(server), http_scope("POST", "/v1/messages"), raw)
    assert b'"metadata": {"n": 1E5, "\\ud83d": 1.0}' in server.raws[0]
    assert OURS not in server.raws[0].decode()


async def test_unknown_signature_costs_one_retry_and_is_known_then() -> None:
    server = AnthropicServer(hello, strict=True)
    app = PassthroughMiddleware(server)
    record = Record("req_1", "POST", "/v1/messages")
    answer = await ask(app, loop(foreign()), record=record)
    assert (answer.status, answer.json()["content"][1]["text"]) == (200, "Hello")
    assert server.refused == ["messages.1.content.0: Invalid `signature` in `thinking` block"]
    assert len(server.bodies) == 2
    assert record.retries == 1
    assert record.decisions == [
        "1 thinking blocks are left out: Anthropic did not sign them",
        "thinking is off: the tool loop goes on from a turn without a thinking block",
    ]
    assert (await ask(app, loop(foreign()))).status == 200
    assert len(server.bodies) == 3


async def test_loop_of_a_model_that_did_not_think_costs_one_retry() -> None:
    server = AnthropicServer(hello, strict=True)
    app = PassthroughMiddleware(server)
    for _ in range(2):
        assert (await ask(app, loop())).status == 200
    assert [body["thinking"]["type"] for body in server.bodies] == ["enabled", "disabled", "disabled"]


async def test_thinking_stays_on_for_a_model_that_can_not_do_without() -> None:
    server = AnthropicServer(hello, strict=True)
    app = PassthroughMiddleware(server)
    body = loop(foreign(signed=OURS), model="claude-fable-5", thinking={"type": "adaptive"})
    for _ in range(2):
        assert (await ask(app, body)).status == 200
    assert [body["thinking"]["type"] for body in server.bodies] == ["disabled", "adaptive", "adaptive"]
    assert OURS not in json.dumps(server.bodies)


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("max_tokens: 9000000 > 64000, which is the maximum allowed number of output tokens"),
        Refusal("messages.1.content.0: Invalid `signature` in `thinking` block"),  # there is nothing left to leave out
        Refusal("x" * 100_000),
        Refusal("Overloaded", 529, "overloaded_error"),
    ],
)
async def test_other_refusals_pass_as_they_are(refusal: Refusal) -> None:
    server = AnthropicServer(lambda body: refusal)
    body = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}]}
    record = Record("req_1", "POST", "/v1/messages")
    answer = await ask(PassthroughMiddleware(server), body, record=record)
    assert answer.status == refusal.status
    assert answer.json()["error"]["message"] == refusal.message
    assert len(server.bodies) == 1
    assert answer.complete
    assert record.error == refusal.type


@pytest.mark.parametrize("stream", [False, True])
async def test_record_is_told_of_the_usage(stream: bool) -> None:
    record = Record("req_1", "POST", "/v1/messages")
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    await ask(PassthroughMiddleware(AnthropicServer(hello, strict=True)), body, record=record)
    assert record.usage["input_tokens"] == record.usage["output_tokens"] == 9
    assert (record.stop_reason, record.provider, record.session_id) == ("end_turn", "anthropic", "s")
    assert record.stream is stream


async def test_stream_passes_message_by_message() -> None:
    sent: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for piece in (b"event: message_st", b"art\ndata: {}\n\n", b": ping\n\n"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            assert sent[-1] == piece
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}"}

    record = Record("req_1", "POST", "/v1/messages")
    scope = {**http_scope("POST", "/v1/messages"), "ccproxy.record": record}
    await PassthroughMiddleware(app)(scope, receive, send)
    assert len(sent) == 5


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b"null", b'{"messages":{}}'])
async def test_body_that_is_none_of_anthropics_passes(body: bytes) -> None:
    seen: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    answer = await call(PassthroughMiddleware(app), http_scope("POST", "/v1/messages"), body)
    assert (answer.status, answer.body, seen) == (400, b"no", [body])


def _overloaded(count: int) -> bytes:
    """A stream of Anthropic's that ends as it should, after an ``error`` event behind so many frames."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_2"}
    return b"".join([*frames("Hi")[:count], event(error)])


@pytest.mark.parametrize("count", [0, 1, 3, 4, 6])
async def test_error_event_of_the_provider_is_recorded_and_passes_as_it_is(count: int) -> None:
    body = _overloaded(count)
    seen: list[Record] = []
    app = PassthroughMiddleware(Inner(body, headers={"content-type": "text/event-stream"}))

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        await observe(app, scope, receive, send, seen.append)

    answer = await ask(observed, loop(stream=True))
    assert (answer.status, answer.body, answer.complete) == (200, body, True)
    assert [(r.outcome, r.error, r.error_message) for r in seen] == [("aborted", "overloaded_error", "Overloaded")]


async def test_error_event_that_a_standby_makes_good_is_not_the_end() -> None:
    seen: list[Record] = []
    failing = PassthroughMiddleware(Inner(_overloaded(1), headers={"content-type": "text/event-stream"}))
    app = RoutingMiddleware(Inner(), targets={"a": failing, "b": Target("good")})

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        await observe(app, {**scope, "ccproxy.candidates": ("a:m", "b:m")}, receive, send, seen.append)

    scope = http_scope("POST", "/v1/messages")
    answer = await call(observed, scope, loop(stream=True))
    assert check_stream(answer.body)[-1]["type"] == "message_stop"
    assert [(r.outcome, r.error) for r in seen] == [("complete", None)]
